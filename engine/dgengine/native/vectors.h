/* Vectors as wide as the processor's registers, and what is computed element by element on them. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__) && defined(__FMA__)
#define LANES 8
#else
#error "this processor has neither AVX-512 nor AVX2 with FMA"
#endif

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS Vector load(const float *from) { return *(const Vector *)from; }
ALWAYS void store(float *to, Vector value) { *(Vector *)to = value; }
ALWAYS Vector filled(float value) { return value - (Vector){}; }

/* `yes` in the lanes where the mask is set, else `no`. */
ALWAYS Vector chosen(Integers mask, Vector yes, Vector no) {
    return (Vector)(((Integers)yes & mask) | ((Integers)no & ~mask));
}

ALWAYS float lane_sum(Vector v) {
    float sum = 0.0f;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

ALWAYS float lane_max(Vector v) {
    float most = v[0];
    for (int i = 1; i < LANES; i++) most = v[i] > most ? v[i] : most;
    return most;
}

/* e^x within 2 ulp: 2^n times a polynomial of the rest, which is the method and the coefficients of Cephes' expf.
   NaN stays NaN. Above 88 it is e^88, and below -80 e^-80: what is multiplied with it is not denormal either, which would take many times
   as long. */
ALWAYS Vector exponential(Vector x) {
    const Vector low = filled(-80.0f), high = filled(88.0f), round = filled(12582912.0f); /* 1.5 * 2^23 */
    x = chosen(x < low, low, x);
    x = chosen(x > high, high, x);
    Vector n = (x * 1.44269504088896341f + round) - round;
    Vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Vector p = filled(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    /* NaN has no integer, but anything times it is NaN */
    Integers power = __builtin_convertvector(chosen(n == n, n, (Vector){}), Integers);
    return p * (Vector)((power + 127) << 23);
}

/* gelu(gate) * up, with the tanh approximation of gelu: x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)). */
ALWAYS Vector gated(Vector gate, Vector up) {
    Vector inner = gate * (gate * gate * (0.044715f * 1.5957691216057308f) + 1.5957691216057308f);
    return gate * up / (exponential(-inner) + 1.0f);
}

/* The inverse of the root mean square of `n` numbers. */
ALWAYS float inverse_rms(const float *x, long n, float eps) {
    Vector sum = {};
    for (long i = 0; i < n; i += LANES) sum += load(x + i) * load(x + i);
    return 1.0f / sqrtf(lane_sum(sum) / n + eps);
}

/* x over its root mean square, times `weight` unless that is null. */
ALWAYS void rms_norm(float *to, const float *x, const float *weight, long n, float eps) {
    float inverse = inverse_rms(x, n, eps);
    for (long i = 0; i < n; i += LANES) {
        Vector normed = load(x + i) * inverse;
        if (weight) normed *= load(weight + i);
        store(to + i, normed);
    }
}

/* `to` plus the norm of x. */
ALWAYS void add_rms_norm(float *to, const float *x, const float *weight, long n, float eps) {
    float inverse = inverse_rms(x, n, eps);
    for (long i = 0; i < n; i += LANES) store(to + i, load(to + i) + load(x + i) * inverse * load(weight + i));
}

/* bfloat16 is the upper half of a float32; this rounds to the nearest, to even where two are as near. */
ALWAYS uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (value != value) return 0x7fc0;
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

ALWAYS float from_bf16(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
}

static void all_to_bf16(uint16_t *restrict to, const float *restrict from, long n) {
    for (long i = 0; i < n; i++) to[i] = to_bf16(from[i]);
}

static void all_from_bf16(float *restrict to, const uint16_t *restrict from, long n) {
    for (long i = 0; i < n; i++) to[i] = from_bf16(from[i]);
}
