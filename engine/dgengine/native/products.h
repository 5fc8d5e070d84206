/* Products with matrices that lie in panels of 32 columns, and each panel row by row.

   A tile of a few rows by a vector or two of columns stays in registers while all of their inputs go by. In bfloat16 a
   panel holds two rows side by side, as the processor's dot product of pairs wants them; sums are float32.

   All matrices lie in the order of their use, so that what is wanted next is what comes behind a panel: the first tiles
   of a panel ask for it while they reckon, and no later one waits for memory. */

#define PANEL 32
#define WIDE 2 /* vectors of a tile */
#define TILE (WIDE * LANES)
/* Rows of a tile: enough sums for the products to follow each other, and no more than there are registers. */
#define TALL (LANES == 16 ? 8 : 4)

typedef struct {
    const void *panels; /* [n / 32, k, 32] in float32, or [n / 32, k / 2, 32, 2] in bfloat16 */
    long k, n;          /* inputs, and outputs; n counts whole panels */
} Matrix;

#define LINE 64 /* bytes of the cache that are fetched at a time */

/* The part of the next panel that a tile asks for: a line for each of its steps. */
typedef struct {
    const char *from;
    long stride; /* 0 where there is nothing to ask for: the same line again costs nothing */
} Ahead;

/* c[i, :] = sum over p of a[i, p] b[p, :], for `rows` rows; strides in floats. */
ALWAYS void tile(const int rows, long k, const float *a, long a_row, long a_k, const float *b, long b_k, float *c,
                 long c_row, Ahead ahead) {
    Vector sum[TALL][WIDE] = {};
    for (long p = 0; p < k; p++) {
        __builtin_prefetch(ahead.from + p * ahead.stride, 0, 2);
        Vector columns[WIDE];
#pragma GCC unroll 2
        for (int j = 0; j < WIDE; j++) columns[j] = load(b + p * b_k + j * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            float own = a[i * a_row + p * a_k];
#pragma GCC unroll 2
            for (int j = 0; j < WIDE; j++) sum[i][j] += own * columns[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < WIDE; j++) store(c + i * c_row + j * LANES, sum[i][j]);
}

/* The same for any number of rows and all 32 columns of a panel, of which `next` comes behind; null for none. */
static void panel_product(long rows, long k, const float *a, long a_row, long a_k, const float *b, long b_k, float *c,
                          long c_row, const char *next) {
    for (int column = 0; column < PANEL; column += TILE) {
        const float *from = a;
        float *to = c + column;
        long left = rows, asked = 0, lines = next ? k * PANEL * sizeof(float) / LINE : 0;
        for (; left >= TALL; left -= TALL, from += TALL * a_row, to += TALL * c_row, asked += k) {
            Ahead ahead = asked < lines ? (Ahead){next + asked * LINE, LINE} : (Ahead){(const char *)from, 0};
            tile(TALL, k, from, a_row, a_k, b + column, b_k, to, c_row, ahead);
        }
        for (; left >= 2; left -= 2, from += 2 * a_row, to += 2 * c_row)
            tile(2, k, from, a_row, a_k, b + column, b_k, to, c_row, (Ahead){(const char *)from, 0});
        if (left) tile(1, k, from, a_row, a_k, b + column, b_k, to, c_row, (Ahead){(const char *)from, 0});
    }
}

#ifdef __AVX512BF16__
/* The same in bfloat16: a [rows, k] in pairs, b a panel [k / 2, 32, 2]. */
ALWAYS void tile_of_pairs(const int rows, long pairs, const uint16_t *a, long a_row, const uint16_t *b, float *c,
                          long c_row, Ahead ahead) {
    __m512 sum[TALL][WIDE];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < WIDE; j++) sum[i][j] = _mm512_setzero_ps();
    for (long p = 0; p < pairs; p++) {
        __builtin_prefetch(ahead.from + p * ahead.stride, 0, 2);
        __m512bh columns[WIDE];
#pragma GCC unroll 2
        for (int j = 0; j < WIDE; j++)
            columns[j] = (__m512bh)_mm512_loadu_si512(b + p * 2 * PANEL + j * 2 * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            int32_t pair;
            memcpy(&pair, a + i * a_row + 2 * p, 4);
            __m512bh own = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 2
            for (int j = 0; j < WIDE; j++) sum[i][j] = _mm512_dpbf16_ps(sum[i][j], own, columns[j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < WIDE; j++) _mm512_storeu_ps(c + i * c_row + j * LANES, sum[i][j]);
}

static void panel_of_pairs(long rows, long pairs, const uint16_t *a, long a_row, const uint16_t *b, float *c,
                           long c_row) {
    const char *next = (const char *)(b + pairs * 2 * PANEL);
    long asked = 0, lines = pairs * 2 * PANEL * sizeof(uint16_t) / LINE;
    for (; rows >= TALL; rows -= TALL, a += TALL * a_row, c += TALL * c_row, asked += pairs) {
        Ahead ahead = asked < lines ? (Ahead){next + asked * LINE, LINE} : (Ahead){(const char *)a, 0};
        tile_of_pairs(TALL, pairs, a, a_row, b, c, c_row, ahead);
    }
    for (; rows >= 2; rows -= 2, a += 2 * a_row, c += 2 * c_row)
        tile_of_pairs(2, pairs, a, a_row, b, c, c_row, (Ahead){(const char *)a, 0});
    if (rows) tile_of_pairs(1, pairs, a, a_row, b, c, c_row, (Ahead){(const char *)a, 0});
}
#endif

/* The rows that a matrix multiplies: float32, and in bfloat16 where the model computes in it. */
typedef struct {
    const float *floats;    /* [rows, k] */
    const uint16_t *halves; /* the same; null in float32 */
    long rows, k;
} Input;

/* One panel of a product: c [rows, 32]. */
static void product_panel(Input x, const Matrix *matrix, long panel, float *c, long c_row) {
#ifdef __AVX512BF16__
    if (x.halves) {
        const uint16_t *own = (const uint16_t *)matrix->panels + panel * x.k * PANEL;
        panel_of_pairs(x.rows, x.k / 2, x.halves, x.k, own, c, c_row);
        return;
    }
#endif
    const float *own = (const float *)matrix->panels + panel * x.k * PANEL;
    panel_product(x.rows, x.k, x.floats, x.k, 1, own, PANEL, c, c_row, (const char *)(own + x.k * PANEL));
}

/* x [rows, k] times a matrix: c [rows, n]. */
static void product(Input x, const Matrix *matrix, float *c) {
    for (long panel = 0; panel < matrix->n / PANEL; panel++)
        product_panel(x, matrix, panel, c + panel * PANEL, matrix->n);
}

/* gelu(gate) * up of a matrix whose panels are gate and up in turn: c [rows, n / 2], while both are in the cache.
   `both`: room for [rows, 64]. */
static void gated_product(Input x, const Matrix *matrix, float *both, float *c) {
    long width = matrix->n / 2;
    for (long panel = 0; panel < width / PANEL; panel++) {
        product_panel(x, matrix, 2 * panel, both, 2 * PANEL);
        product_panel(x, matrix, 2 * panel + 1, both + PANEL, 2 * PANEL);
        for (long row = 0; row < x.rows; row++)
            for (int i = 0; i < PANEL; i += LANES) {
                const float *own = both + row * 2 * PANEL + i;
                store(c + row * width + panel * PANEL + i, gated(load(own), load(own + PANEL)));
            }
    }
}
