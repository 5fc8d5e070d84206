/* The passes of a small model on a CPU: over tokens that are encoded, over a canvas that is denoised, and what a step
   wants of its logits.

   The rows of a pass are shared out among threads. A row needs no other but where it attends, so a thread takes its
   rows through the whole model in its own cache, and waits for the others once a layer: when all keys are written.
   The computation is that of dgengine.model; so are the names. All sizes are multiples of 32. */

#include "vectors.h"
#include "products.h"
#include "team.h"

typedef struct {
    Matrix qkv, output, gate_up, down, router; /* norms that come before a matrix are part of it */
    const Matrix *experts_gate_up, *experts_down;
    const float *qk_norm; /* [H + KV, d] */
    const float *post_attention, *post_dense, *post_experts, *post_feedforward;
    const float *expert_scale;
    long kv_heads, head_dim;
    int has_values; /* or else they are made from the keys */
    float encoder_scalar, decoder_scalar;
} Layer;

typedef struct {
    long hidden, heads, layers, experts, top_k, vocabulary;
    int bf16;
    float eps, embedding_scale, softcap;
    const void *embedding; /* [V, D] */
    Matrix soft, head;     /* the embedding for means over the vocabulary, and for logits */
    Matrix conditioning_gate_up, conditioning_down;
    const float *conditioning_norm, *head_norm;
    const Layer *layer;
} Model;

/* Where a layer's keys and values lie: [KV, seen, d], those of the pass at the end. */
typedef struct {
    void *keys, *values;
    long stride, seen; /* between heads, in numbers; and how many rows are seen */
    long window;       /* how many a token sees that is encoded, its own included; 0 for all before it */
    const float *cosine, *sine; /* [C, d], the sine with its sign */
} Place;

/* One call, which all threads share. */
typedef struct {
    Team team;
    const Model *model;
    const Place *places;
    const int64_t *ids; /* [C] */
    long count;
    int encoding; /* causal, with the encoder's scalars, and no more of the last layer than its keys and values */
    const float *shares, *totals; /* [C, V] and [C]: the softmax of the step before; null at the first */
    float *logits;                /* [C, V] */
    char *scratch;                /* `dg_scratch` bytes for each thread */
} Pass;

/* What one thread works with; M rows of its own. */
typedef struct {
    float *hidden, *x, *raw, *attended, *first, *second, *inner, *gathered, *both; /* [M, width] */
    float *queries, *scores, *mixed;                                              /* of 32 queries */
    float *keys, *values;                                                         /* [seen, d], where not float32 */
    uint16_t *halves;                                                             /* [M, the widest input] */
    float *weights;                                                               /* [M, E], of the experts */
    long *rows;                                                                   /* [M] */
} Scratch;

static long most(long a, long b) { return a > b ? a : b; }

/* Hands out room from `base`, in whole lines of the cache; with no base it only counts. */
static void *take(char *base, long *used, long bytes) {
    void *own = base + *used;
    *used += (bytes + 63) / 64 * 64;
    return own;
}

static long lay_out(Scratch *s, char *base, const Model *m, long rows, long seen) {
    long used = 0, d = 0, qkv = 0, inner = m->conditioning_gate_up.n / 2, router = 0;
    for (long i = 0; i < m->layers; i++) {
        const Layer *own = &m->layer[i];
        d = most(d, own->head_dim);
        qkv = most(qkv, own->qkv.n);
        router = most(router, own->router.n);
        inner = most(inner, most(own->gate_up.n, own->experts_gate_up[0].n) / 2);
    }
    long widest = most(most(m->hidden, m->heads * d), inner), f = sizeof(float);
    s->hidden = take(base, &used, rows * m->hidden * f);
    s->x = take(base, &used, rows * m->hidden * f);
    s->raw = take(base, &used, rows * most(qkv, router) * f);
    s->attended = take(base, &used, rows * m->heads * d * f);
    s->first = take(base, &used, rows * m->hidden * f);
    s->second = take(base, &used, rows * m->hidden * f);
    s->inner = take(base, &used, rows * inner * f);
    s->gathered = take(base, &used, rows * m->hidden * f);
    s->both = take(base, &used, rows * 2 * PANEL * f);
    s->queries = take(base, &used, d * PANEL * f);
    s->scores = take(base, &used, seen * PANEL * f);
    s->mixed = take(base, &used, PANEL * d * f);
    s->keys = take(base, &used, m->bf16 ? seen * d * f : 0);
    s->values = take(base, &used, m->bf16 ? seen * d * f : 0);
    s->halves = take(base, &used, m->bf16 ? rows * widest * 2 : 0);
    s->weights = take(base, &used, rows * m->experts * f);
    s->rows = take(base, &used, rows * sizeof(long));
    return used;
}

/* Rows for each thread: whole tiles, so that the last thread may have fewer. */
static long share(long count, long threads) { return (count + 8 * threads - 1) / (8 * threads) * 8; }

/* Bytes of scratch for each of so many threads, where the longest layer sees `seen` rows. */
long dg_scratch(const Model *model, long count, long seen, long threads) {
    Scratch s;
    return lay_out(&s, 0, model, share(count, threads), seen);
}

static Input input(const Model *m, Scratch *s, const float *x, long rows, long k) {
    if (m->bf16) all_to_bf16(s->halves, x, rows * k);
    return (Input){x, m->bf16 ? s->halves : 0, rows, k};
}

static void norm_rows(float *to, const float *x, const float *weight, long rows, long n, float eps) {
    for (long row = 0; row < rows; row++) rms_norm(to + row * n, x + row * n, weight, n, eps);
}

/* The mean of the embeddings under the softmax of the step before -> s->first [rows, D].
   Most positions are sure of a word or two: words that none of a few rows thinks of take no time. */
static void soft_words(const Pass *pass, Scratch *s, long begin, long rows) {
    const Model *m = pass->model;
    long words = m->vocabulary;
    const float *shares = pass->shares + begin * words;
    memset(s->first, 0, rows * m->hidden * sizeof(float));
    for (long row = 0; row < rows; row += TALL) {
        long some = rows - row < TALL ? rows - row : TALL, from = 0;
        while (from < words) {
            long upto = from;
            for (; upto < words; upto += LANES) { /* a stretch in which each vector has a word */
                Vector any = {};
                for (long i = 0; i < some; i++) any += load(shares + (row + i) * words + upto);
                if (lane_sum(any) == 0.0f) break; /* NaN goes on */
            }
            for (long panel = 0; panel < m->hidden / PANEL && upto > from; panel++) {
                const float *own = (const float *)m->soft.panels + (panel * words + from) * PANEL;
                float part[TALL * PANEL];
                panel_product(some, upto - from, shares + row * words + from, words, 1, own, PANEL, part, PANEL, 0);
                for (long i = 0; i < some; i++)
                    for (int j = 0; j < PANEL; j++)
                        s->first[(row + i) * m->hidden + panel * PANEL + j] += part[i * PANEL + j];
            }
            from = upto + LANES;
        }
        for (long i = 0; i < some; i++)
            for (long j = 0; j < m->hidden; j++) s->first[(row + i) * m->hidden + j] /= pass->totals[begin + row + i];
    }
}

/* What a canvas is taken for besides its words: the self-conditioning MLP of the step before -> s->first. */
static void condition(const Pass *pass, Scratch *s, long begin, long rows) {
    const Model *m = pass->model;
    long n = m->hidden;
    soft_words(pass, s, begin, rows);
    for (long i = 0; i < rows * n; i++) s->first[i] *= m->embedding_scale;
    norm_rows(s->x, s->first, m->conditioning_norm, rows, n, m->eps);
    gated_product(input(m, s, s->x, rows, n), &m->conditioning_gate_up, s->both, s->inner);
    product(input(m, s, s->inner, rows, m->conditioning_down.k), &m->conditioning_down, s->first);
}

static void embed(const Pass *pass, Scratch *s, long begin, long rows) {
    const Model *m = pass->model;
    long n = m->hidden;
    for (long row = 0; row < rows; row++) {
        long id = pass->ids[begin + row];
        float *own = s->hidden + row * n;
        if (m->bf16) all_from_bf16(own, (const uint16_t *)m->embedding + id * n, n);
        else memcpy(own, (const float *)m->embedding + id * n, n * sizeof(float));
        for (long i = 0; i < n; i++) own[i] *= m->embedding_scale;
    }
    if (pass->encoding) return;
    if (pass->shares) {
        condition(pass, s, begin, rows);
        for (long i = 0; i < rows * n; i++) s->hidden[i] += s->first[i];
    }
    norm_rows(s->hidden, s->hidden, 0, rows, n, m->eps);
}

/* Turns a head's normed row in pairs (i, i + d / 2). */
static void rotate(float *to, const float *x, const float *cosine, const float *sine, long d) {
    for (long i = 0; i < d / 2; i++) {
        float one = x[i], other = x[i + d / 2];
        to[i] = one * cosine[i] + other * sine[i];
        to[i + d / 2] = other * cosine[i + d / 2] + one * sine[i + d / 2];
    }
}

static void keep(const Model *m, void *buffer, long at, const float *row, long d) {
    if (m->bf16) all_to_bf16((uint16_t *)buffer + at, row, d);
    else memcpy((float *)buffer + at, row, d * sizeof(float));
}

/* Norms and rotates what the projection made of one row, from the head `first` on: queries stay where they are, keys
   and values are kept. */
static void place_row(const Pass *pass, const Layer *layer, const Place *place, float *raw, long position, long first) {
    const Model *m = pass->model;
    long d = layer->head_dim, at = (place->seen - pass->count + position) * d;
    const float *cosine = place->cosine + position * d, *sine = place->sine + position * d;
    float normed[d], turned[d];
    for (long head = first; head < m->heads + layer->kv_heads; head++) {
        float *own = raw + (head - first) * d;
        long kv = head - m->heads;
        rms_norm(normed, own, 0, d, m->eps);
        if (kv >= 0 && !layer->has_values) keep(m, place->values, kv * place->stride + at, normed, d);
        for (long i = 0; i < d; i++) normed[i] *= layer->qk_norm[head * d + i];
        rotate(turned, normed, cosine, sine, d);
        if (kv >= 0) keep(m, place->keys, kv * place->stride + at, turned, d);
        else memcpy(own, turned, d * sizeof(float));
    }
    for (long kv = 0; kv < layer->kv_heads && layer->has_values; kv++) {
        rms_norm(normed, raw + (m->heads + layer->kv_heads + kv - first) * d, 0, d, m->eps);
        keep(m, place->values, kv * place->stride + at, normed, d);
    }
}

/* Projects normed rows, from the head `first` on, and waits until all threads have put their keys and values down. */
static void project(Pass *pass, const Layer *layer, const Place *place, Scratch *s, long begin, long rows, long first) {
    const Model *m = pass->model;
    long n = m->hidden, skipped = first * layer->head_dim;
    Matrix part = {(const char *)layer->qkv.panels + skipped * n * (m->bf16 ? 2 : 4), n, layer->qkv.n - skipped};
    norm_rows(s->x, s->hidden, 0, rows, n, m->eps);
    product(input(m, s, s->x, rows, n), &part, s->raw);
    for (long row = 0; row < rows; row++)
        place_row(pass, layer, place, s->raw + row * part.n, begin + row, first);
    wait_for_all(&pass->team);
}

/* The softmax over keys of scores [seen, 32], a column for each query; not divided by the sums, which are returned. */
static void soften(float *scores, long seen, float sums[PANEL]) {
    for (int column = 0; column < PANEL; column += LANES) {
        float *own = scores + column;
        Vector peak = load(own), sum = {};
        for (long key = 1; key < seen; key++) {
            Vector score = load(own + key * PANEL);
            peak = chosen(score > peak, score, peak);
        }
        for (long key = 0; key < seen; key++) {
            Vector weight = exponential(load(own + key * PANEL) - peak);
            store(own + key * PANEL, weight);
            sum += weight;
        }
        store(sums + column, sum);
    }
}

/* Up to 32 queries of one head, and the rows of the room that any of them sees. */
typedef struct {
    long head, row, some; /* rows of this thread, from `row` on */
    long from, upto;
    long own, window; /* where the first query's own key lies, and `Place.window`; window < 0 where all see all */
} Queries;

static Queries queries_at(const Pass *pass, const Place *place, long head, long row, long begin, long rows) {
    Queries q = {.head = head, .row = row, .some = rows - row < PANEL ? rows - row : PANEL};
    q.own = place->seen - pass->count + begin + row;
    q.window = pass->encoding ? place->window : -1;
    q.from = q.window > 0 ? most(0, q.own - q.window + 1) : 0;
    q.upto = q.window < 0 ? place->seen : q.own + q.some;
    return q;
}

/* Scores so low where a query does not see a key that they have no weight. */
static void hide(Queries q, float *scores) {
    if (q.window < 0) return;
    for (long key = q.own + 1; key < q.upto; key++) /* later ones */
        for (long i = 0; i < key - q.own; i++) scores[(key - q.from) * PANEL + i] = -1e30f;
    if (q.window == 0) return;
    for (long key = q.from; key <= q.own + q.some - 1 - q.window; key++) /* those that the window has left behind */
        for (long i = most(0, key + q.window - q.own); i < q.some; i++) scores[(key - q.from) * PANEL + i] = -1e30f;
}

/* -> s->attended; keys and values [seen, d] of the head. */
static void attend_queries(const Model *m, const Layer *layer, Scratch *s, const float *keys, const float *values,
                           Queries q) {
    long d = layer->head_dim, width = m->heads * d, seen = q.upto - q.from;
    float sums[PANEL];
    memset(s->queries, 0, d * PANEL * sizeof(float));
    for (long i = 0; i < q.some; i++) /* [d, 32], so that keys are the rows of a product, and none has to be turned */
        for (long j = 0; j < d; j++)
            s->queries[j * PANEL + i] = s->raw[(q.row + i) * layer->qkv.n + q.head * d + j];
    panel_product(seen, d, keys + q.from * d, d, 1, s->queries, PANEL, s->scores, PANEL, 0);
    hide(q, s->scores);
    soften(s->scores, seen, sums);
    for (long column = 0; column < d; column += PANEL)
        panel_product(q.some, seen, s->scores, 1, PANEL, values + q.from * d + column, d, s->mixed + column, d, 0);
    for (long i = 0; i < q.some; i++) {
        float *to = s->attended + (q.row + i) * width + q.head * d;
        for (long j = 0; j < d; j++) to[j] = s->mixed[i * d + j] / sums[i];
    }
}

static void attend(const Pass *pass, const Layer *layer, const Place *place, Scratch *s, long begin, long rows) {
    const Model *m = pass->model;
    long d = layer->head_dim, group = m->heads / layer->kv_heads;
    for (long kv = 0; kv < layer->kv_heads; kv++) {
        const float *keys = (const float *)place->keys + kv * place->stride;
        const float *values = (const float *)place->values + kv * place->stride;
        if (m->bf16) {
            all_from_bf16(s->keys, (const uint16_t *)place->keys + kv * place->stride, place->seen * d);
            all_from_bf16(s->values, (const uint16_t *)place->values + kv * place->stride, place->seen * d);
            keys = s->keys, values = s->values;
        }
        for (long head = kv * group; head < (kv + 1) * group; head++)
            for (long row = 0; row < rows; row += PANEL)
                attend_queries(m, layer, s, keys, values, queries_at(pass, place, head, row, begin, rows));
    }
}

/* The weights of a row's experts, zero where one is not chosen: the softmax of the highest scores, then scaled. */
static void route(const Model *m, const Layer *layer, const float *scores, float *weights) {
    float sum = 0.0f, peak = 0.0f;
    for (long e = 0; e < m->experts; e++) weights[e] = 0.0f;
    for (long k = 0; k < m->top_k; k++) {
        long best = -1;
        for (long e = 0; e < m->experts; e++)
            if (weights[e] == 0.0f && (best < 0 || (scores[best] == scores[best] && !(scores[e] <= scores[best]))))
                best = e; /* NaN is chosen, and so shows */
        if (k == 0) peak = scores[best];
        weights[best] = expf(scores[best] - peak) + 1e-30f; /* never quite zero, which is for those not chosen */
        sum += weights[best];
    }
    for (long e = 0; e < m->experts; e++) weights[e] *= layer->expert_scale[e] / sum;
}

/* The experts of normed rows x -> s->second: each multiplies the rows that chose it. */
static void mix_experts(const Model *m, const Layer *layer, Scratch *s, long rows) {
    long n = m->hidden;
    product(input(m, s, s->x, rows, n), &layer->router, s->raw);
    for (long row = 0; row < rows; row++)
        route(m, layer, s->raw + row * layer->router.n, s->weights + row * m->experts);
    memset(s->second, 0, rows * n * sizeof(float));
    for (long e = 0; e < m->experts; e++) {
        long some = 0;
        for (long row = 0; row < rows; row++) {
            if (s->weights[row * m->experts + e] == 0.0f) continue;
            memcpy(s->gathered + some * n, s->x + row * n, n * sizeof(float));
            s->rows[some++] = row;
        }
        if (!some) continue;
        gated_product(input(m, s, s->gathered, some, n), &layer->experts_gate_up[e], s->both, s->inner);
        product(input(m, s, s->inner, some, layer->experts_down[e].k), &layer->experts_down[e], s->gathered);
        for (long i = 0; i < some; i++) {
            float weight = s->weights[s->rows[i] * m->experts + e], *to = s->second + s->rows[i] * n;
            for (long j = 0; j < n; j++) to[j] += weight * s->gathered[i * n + j];
        }
    }
}

static void feed_forward(const Model *m, const Layer *layer, Scratch *s, long rows, float scalar) {
    long n = m->hidden;
    norm_rows(s->x, s->hidden, 0, rows, n, m->eps);
    gated_product(input(m, s, s->x, rows, n), &layer->gate_up, s->both, s->inner);
    product(input(m, s, s->inner, rows, layer->down.k), &layer->down, s->first);
    mix_experts(m, layer, s, rows);
    for (long row = 0; row < rows; row++) {
        float *first = s->first + row * n, *hidden = s->hidden + row * n;
        rms_norm(first, first, layer->post_dense, n, m->eps);
        add_rms_norm(first, s->second + row * n, layer->post_experts, n, m->eps);
        add_rms_norm(hidden, first, layer->post_feedforward, n, m->eps);
        for (long i = 0; i < n; i++) hidden[i] *= scalar;
    }
}

static void run_layer(Pass *pass, const Layer *layer, const Place *place, Scratch *s, long begin, long rows) {
    const Model *m = pass->model;
    long n = m->hidden;
    project(pass, layer, place, s, begin, rows, 0);
    attend(pass, layer, place, s, begin, rows);
    product(input(m, s, s->attended, rows, layer->output.k), &layer->output, s->first);
    for (long row = 0; row < rows; row++)
        add_rms_norm(s->hidden + row * n, s->first + row * n, layer->post_attention, n, m->eps);
    feed_forward(m, layer, s, rows, pass->encoding ? layer->encoder_scalar : layer->decoder_scalar);
}

static void find_logits(const Pass *pass, Scratch *s, long begin, long rows) {
    const Model *m = pass->model;
    long words = m->vocabulary;
    norm_rows(s->x, s->hidden, m->head_norm, rows, m->hidden, m->eps);
    Input x = input(m, s, s->x, rows, m->hidden);
    for (long panel = 0; panel < words / PANEL; panel++) {
        float *to = pass->logits + begin * words + panel * PANEL;
        product_panel(x, &m->head, panel, to, words);
        for (long row = 0; row < rows; row++)
            for (int i = 0; i < PANEL; i += LANES) { /* cap * tanh(x / cap); the norm's weight is over the cap */
                float *own = to + row * words + i;
                store(own, m->softcap - 2.0f * m->softcap / (exponential(load(own) * 2.0f) + 1.0f));
            }
    }
}

static void run_part(void *shared, long thread) {
    Pass *pass = shared;
    const Model *m = pass->model;
    long each = share(pass->count, pass->team.threads), begin = thread * each, seen = 0, last = m->layers - 1;
    long rows = begin >= pass->count ? 0 : pass->count - begin < each ? pass->count - begin : each;
    for (long i = 0; i < m->layers; i++) seen = most(seen, pass->places[i].seen);
    Scratch s;
    long bytes = lay_out(&s, 0, m, each, seen);
    lay_out(&s, pass->scratch + thread * bytes, m, each, seen);
    embed(pass, &s, begin, rows);
    for (long i = 0; i < last; i++) run_layer(pass, &m->layer[i], &pass->places[i], &s, begin, rows);
    if (pass->encoding) {
        project(pass, &m->layer[last], &pass->places[last], &s, begin, rows, m->heads);
        return;
    }
    run_layer(pass, &m->layer[last], &pass->places[last], &s, begin, rows);
    find_logits(pass, &s, begin, rows);
}

/* A pass; 0, or -1 where there were fewer threads than that, and nothing was done. */
int dg_pass(Pass *pass) { return together(&pass->team, run_part, pass); }

/* What a step wants of logits [C, V], which are divided by the temperature in place. */
typedef struct {
    Team team;
    float *logits;
    long count, words;
    float temperature;
    const double *uniforms;       /* [C], from 0 to below 1 */
    int64_t *argmax, *sample;     /* [C] */
    float *entropy;               /* [C], nats; NaN where a logit is not finite */
    float *shares, *totals;       /* [C, V] and [C]: the softmax, but for a factor a row */
} Statistics;

/* A word whose logit is so far below the row's peak has no share: some thousands of them together are less than what
   rounding the others costs, and the vocabularies of small models are no larger. */
#define NOTHING 25.0f

/* The first word up to which the running sum of `shares` is above the target; never one of no share. */
static long drawn(const float *shares, long words, double target) {
    double running = 0.0;
    long from = 0;
    for (; from + LANES < words; from += LANES) { /* past vectors whose sums are not above it */
        double after = running + lane_sum(load(shares + from));
        if (after > target) break;
        running = after;
    }
    for (; from < words; from++) {
        running += shares[from];
        if (running > target) return from;
    }
    while (words > 1 && shares[words - 1] == 0.0f) words--; /* rounding has left the target above the sum */
    return words - 1;
}

static void look_at_row(const Statistics *all, long row) {
    long words = all->words, best = 0;
    float *logits = all->logits + row * words, *shares = all->shares + row * words;
    Vector peaks = filled(-INFINITY), off = {};
    for (long i = 0; i < words; i += LANES) {
        Vector logit = load(logits + i) / all->temperature;
        store(logits + i, logit);
        off += logit - logit; /* NaN, unless all are finite */
        peaks = chosen(logit > peaks, logit, peaks);
    }
    float peak = lane_max(peaks), bad = lane_sum(off);
    while (best < words - 1 && logits[best] != peak) best++;
    Vector total = {}, moment = {};
    for (long i = 0; i < words; i += LANES) {
        Vector below = load(logits + i) - peak;
        Vector weight = chosen(below < -NOTHING, (Vector){}, exponential(below));
        store(shares + i, weight);
        total += weight;
        moment += below * weight;
    }
    float sum = lane_sum(total);
    all->argmax[row] = best;
    all->entropy[row] = logf(sum) - lane_sum(moment) / sum + bad;
    all->totals[row] = sum;
    all->sample[row] = bad == bad ? drawn(shares, words, all->uniforms[row] * sum) : best;
}

static void look_at_part(void *shared, long thread) {
    const Statistics *all = shared;
    for (long row = thread; row < all->count; row += all->team.threads) look_at_row(all, row);
}

/* Likewise. */
int dg_look(Statistics *all) { return together(&all->team, look_at_part, all); }

int dg_has_bf16(void) {
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

/* The sizes of the structures, for whoever declares them anew. */
void dg_sizes(long sizes[6]) {
    sizes[0] = sizeof(Matrix), sizes[1] = sizeof(Layer), sizes[2] = sizeof(Model);
    sizes[3] = sizeof(Place), sizes[4] = sizeof(Pass), sizes[5] = sizeof(Statistics);
}
