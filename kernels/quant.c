/* Products over weights of 8 or 4 bits: sums of a group are whole numbers, so every path gives the
 * same bits. */
#include "panel.h"
#include "product.h"
#include <stdbool.h>

enum { GROUP = RL_QUANT_GROUP, QUADS = GROUP / 4 };

static inline int64_t groups_of(int64_t k) { return (k + GROUP - 1) / GROUP; }
static inline int64_t group_bytes(int bits) { return QUADS * RL_PANEL * 4 * bits / 8; }

/* To the nearest whole number, ties to even; |x| below 2^22. */
static inline int32_t nearest(float x) { return (int32_t)((x + 12582912.f) - 12582912.f); }

/* ---- weights ---- */

/* One scale a column: in 8 bits the largest size is 127, in 4 bits the largest number is -8. */
static void scales_of(int bits, float *scale, const float *w, int64_t depth) {
    for (int l = 0; l < RL_PANEL; l++) {
        float low = 0, high = 0;
        for (int64_t i = 0; i < depth; i++) {
            const float x = w[i * RL_PANEL + l];
            low = x < low ? x : low, high = x > high ? x : high;
        }
        const float most = high > -low ? high : low;
        scale[l] = as_bf16(bits == 8 ? fabsf(most) / 127 : most / -8);
    }
}

static inline uint8_t code_of(int bits, float x, float inverse) {
    const int32_t zero = 1 << (bits - 1), most = zero - 1, least = bits == 8 ? -most : -zero;
    const int32_t q = nearest(x * inverse);
    return (uint8_t)((q < least ? least : q > most ? most : q) + zero);
}

void CPU(quantise)(rl_part p, int bits, uint8_t *codes, uint16_t *scales, const float *w, int64_t n,
                   int64_t k) {
    const int64_t groups = groups_of(k), shares = panels_of(n) * groups, bytes = group_bytes(bits);
    for (int64_t s = first(p, shares); s < last(p, shares); s++) {
        const int64_t i0 = s % groups * GROUP, depth = least(GROUP, k - i0);
        const float *from = w + (s / groups * k + i0) * RL_PANEL;
        float scale[RL_PANEL], inverse[RL_PANEL];
        scales_of(bits, scale, from, depth);
        for (int l = 0; l < RL_PANEL; l++) {
            scales[s * RL_PANEL + l] = (uint16_t)(to_bits(scale[l]) >> 16);
            inverse[l] = scale[l] != 0 ? 1 / scale[l] : 0;
        }
        memset(codes + s * bytes, 0, (size_t)bytes);
        for (int64_t i = 0; i < GROUP; i++)
            for (int l = 0; l < RL_PANEL; l++) {
                const uint8_t q = code_of(bits, i < depth ? from[i * RL_PANEL + l] : 0, inverse[l]);
                const int64_t quad = i / 4, row = bits == 8 ? quad : quad / 2;
                codes[s * bytes + (row * RL_PANEL + l) * 4 + i % 4] |=
                    (uint8_t)(bits == 8 ? q : q << quad % 2 * 4);
            }
    }
}

/* ---- what the paths differ in: MOST rows against PANELS panels at once ---- */

#if defined(__AVX512F__)
#define TARGET __attribute__((target("avx512vnni")))
typedef __m512i ints;
enum { MOST = 6, PANELS = 2, SIGNED = false };
TARGET static inline ints ints_load(const void *p) { return _mm512_loadu_si512(p); }
TARGET static inline ints ints_all(int32_t x) { return _mm512_set1_epi32(x); }
TARGET static inline ints low_half(ints x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
TARGET static inline ints high_half(ints x) { return low_half(_mm512_srli_epi16(x, 4)); }
TARGET static inline ints dot8(ints acc, ints w, int32_t x) {
    return _mm512_dpbusd_epi32(acc, w, ints_all(x));
}
TARGET static inline ints dot4(ints acc, ints w, int32_t x) { return dot8(acc, w, x); }
TARGET static inline vec scales_at(const uint16_t *s) {
    const ints both = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)s));
    return _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
}
TARGET static inline vec as_floats(ints x) { return _mm512_cvtepi32_ps(x); }
TARGET static inline vec times(vec a, float b) { return _mm512_mul_ps(a, vec_all(b)); }
#elif defined(__AVX2__)
#define TARGET
typedef __m256i ints;
enum { MOST = 4, PANELS = 1, SIGNED = true };
static inline ints ints_load(const void *p) { return _mm256_loadu_si256(p); }
static inline ints ints_all(int32_t x) { return _mm256_set1_epi32(x); }
static inline ints low_half(ints x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
static inline ints high_half(ints x) { return low_half(_mm256_srli_epi16(x, 4)); }
static inline ints sums(ints acc, ints pairs) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
/* By sizes, the signs given to x: 2 * 127 * 127 stays within 16 bits. */
static inline ints dot8(ints acc, ints w, int32_t x) {
    const ints q = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
    return sums(acc, _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(ints_all(x), q)));
}
static inline ints dot4(ints acc, ints w, int32_t x) {
    return sums(acc, _mm256_maddubs_epi16(w, ints_all(x)));
}
static inline vec scales_at(const uint16_t *s) {
    const ints both = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)s));
    return _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
}
static inline vec as_floats(ints x) { return _mm256_cvtepi32_ps(x); }
static inline vec times(vec a, float b) { return _mm256_mul_ps(a, vec_all(b)); }
#else
#define TARGET
typedef struct { int32_t x[4]; } ints;
enum { MOST = 4, PANELS = 1, SIGNED = false };
static inline ints ints_load(const void *p) { ints v; memcpy(&v, p, sizeof v); return v; }
static inline ints ints_all(int32_t x) { return (ints){ { x, x, x, x } }; }
static inline ints low_half(ints x) {
    for (int i = 0; i < 4; i++) x.x[i] &= 0x0f0f0f0f;
    return x;
}
static inline ints high_half(ints x) {
    for (int i = 0; i < 4; i++) x.x[i] = (int32_t)((uint32_t)x.x[i] >> 4);
    return low_half(x);
}
static inline ints dot8(ints acc, ints w, int32_t x) {
    for (int i = 0; i < 4; i++)
        for (int b = 0; b < 32; b += 8)
            acc.x[i] += (int32_t)((uint32_t)w.x[i] >> b & 255) * (int8_t)((uint32_t)x >> b);
    return acc;
}
static inline ints dot4(ints acc, ints w, int32_t x) { return dot8(acc, w, x); }
static inline vec scales_at(const uint16_t *s) {
    return (vec){ { of_bf16(s[0]), of_bf16(s[1]), of_bf16(s[2]), of_bf16(s[3]) } };
}
static inline vec as_floats(ints x) {
    return (vec){ { (float)x.x[0], (float)x.x[1], (float)x.x[2], (float)x.x[3] } };
}
static inline vec times(vec a, float b) {
    for (int i = 0; i < 4; i++) a.x[i] *= b;
    return a;
}
#endif

/* ---- rows ---- */

/* A group of a tile of up to MOST rows of x in 8 bits: quads of codes, scales, and minus zero times
 * the sums of codes, from which the product starts. */
typedef struct { int32_t quad[MOST][QUADS]; float scale[MOST]; int32_t start[MOST]; } coded;

/* What is not finite makes the scale NaN. */
static void code_group(coded *c, int64_t r, const float *x, int64_t depth, int32_t zero) {
    float held[GROUP] = { 0 };
    memcpy(held, x, 4 * (size_t)depth);
    const float most = MAX(i, GROUP, fabsf(held[i])), odd = SUM(i, GROUP, held[i] * 0);
    const float inverse = most > 0 && odd == 0 ? 127 / most : 0;
    int8_t *to = (int8_t *)c->quad[r];
    int32_t sum = 0;
    for (int i = 0; i < GROUP; i++) {
        const int32_t q = odd == 0 ? nearest(held[i] * inverse) : 0;
        to[i] = (int8_t)q, sum += q;
    }
    c->scale[r] = most / 127 + odd, c->start[r] = -zero * sum;
}

/* Rows of the next of t tiles that share what is left: all are of about the same height. */
static inline int64_t tile_rows(int64_t left, int64_t t) { return (left + t - 1) / t; }

/* x [rows, k] -> [tiles][groups]. */
static coded *code_rows(const float *x, int64_t rows, int64_t k, int32_t zero) {
    const int64_t groups = groups_of(k), tiles = (rows + MOST - 1) / MOST;
    coded *all = (coded *)CPU(scratch)(0, tiles * groups * (int64_t)sizeof *all / 4), *c = all;
    for (int64_t t = tiles, m; t > 0; t--, rows -= m, x += m * k, c += groups) {
        m = tile_rows(rows, t);
        for (int64_t g = 0; g < groups; g++)
            for (int64_t r = 0, i = g * GROUP; r < m; r++)
                code_group(c + g, r, x + r * k + i, least(GROUP, k - i), zero);
    }
    return all;
}

/* ---- tiles ---- */

/* m rows against lanes [lane, lane + VL) of n panels -> y [m][PANELS][16].  The panels behind them
 * are asked for into the second cache meanwhile. */
TARGET static inline __attribute__((always_inline)) void tile_quant(const int bits, const int m,
        const int n, const coded *c, int64_t groups, const uint8_t *codes, const uint16_t *scales,
        int lane, float *y) {
    const int64_t bytes = group_bytes(bits), step = groups * bytes;
    vec sum[MOST][PANELS];
    for (int r = 0; r < m; r++)
        for (int v = 0; v < n; v++) sum[r][v] = vec_all(0);
    for (int64_t g = 0; g < groups; g++, c++) {
        ints acc[MOST][PANELS], q[PANELS];
        for (int r = 0; r < m; r++)
            for (int v = 0; v < n; v++) acc[r][v] = ints_all(c->start[r]);
#pragma GCC unroll 8
        for (int u = 0; u < QUADS; u++) {
            for (int v = 0; v < n; v++) {
                const int row = bits == 8 ? u : u / 2;
                const uint8_t *at = codes + v * step + g * bytes + (row * RL_PANEL + lane) * 4;
                const ints w = ints_load(at);
                q[v] = bits == 8 ? w : u % 2 ? high_half(w) : low_half(w);
                if (bits == 8 || u % 2 == 0) __builtin_prefetch(at + n * step, 0, 2);
            }
            for (int r = 0; r < m; r++)
                for (int v = 0; v < n; v++)
                    acc[r][v] = (bits == 8 ? dot8 : dot4)(acc[r][v], q[v], c->quad[r][u]);
        }
        for (int v = 0; v < n; v++) {
            const vec scale = scales_at(scales + (v * groups + g) * RL_PANEL + lane);
            for (int r = 0; r < m; r++)
                sum[r][v] = vec_fma(as_floats(acc[r][v]), times(scale, c->scale[r]), sum[r][v]);
        }
    }
    for (int r = 0; r < m; r++)
        for (int v = 0; v < n; v++) vec_store(y + (r * PANELS + v) * RL_PANEL + lane, sum[r][v]);
}

#define CASE(m, n) case (m) * 16 + (n): \
    tile_quant(bits, m, n, c, groups, codes, scales, lane, y); break;
#define TILES(name, bits_) \
TARGET static __attribute__((noinline)) void name(int m, int n, const coded *c, int64_t groups, \
                                                  const uint8_t *codes, const uint16_t *scales, \
                                                  int lane, float *y) { \
    const int bits = bits_; \
    switch (m * 16 + n) { CASES } \
}
#if defined(__AVX512F__)
#define CASES CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1) CASE(5, 1) CASE(6, 1) \
    CASE(1, 2) CASE(2, 2) CASE(3, 2) CASE(4, 2) CASE(5, 2) CASE(6, 2)
#else
#define CASES CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1)
#endif
TILES(tile_8, 8)
TILES(tile_4, 4)

/* y of a tile, as far as its columns exist. */
static void put_tile(float *y, int64_t row, const float *out, const float *bias, int64_t m,
                     int64_t width) {
    for (int64_t r = 0; r < m; r++, y += row, out += PANELS * RL_PANEL)
#pragma omp simd
        for (int64_t l = 0; l < width; l++) y[l] = out[l] + (bias ? bias[l] : 0);
}

typedef struct {
    int bits;
    const uint8_t *codes;
    const uint16_t *scales;
    const float *bias;
    int64_t n, groups;
} weights;

/* Coded rows against panels [q0, q1) of y [rows, n]. */
static void multiply_codes(const weights *w, float *y, const coded *c, int64_t rows, int64_t q0,
                           int64_t q1) {
    const int64_t tiles = (rows + MOST - 1) / MOST;
    for (int64_t q = q0, n; q < q1; q += n) {
        n = least(PANELS, q1 - q);
        const int64_t width = least(n * RL_PANEL, w->n - q * RL_PANEL), at = q * w->groups;
        const uint8_t *codes = w->codes + at * group_bytes(w->bits);
        for (int64_t r = 0, t = 0, m; t < tiles; r += m, t++) {
            float out[MOST * PANELS * RL_PANEL], *to = y + r * w->n + q * RL_PANEL;
            m = tile_rows(rows - r, tiles - t);
            for (int lane = 0; lane < RL_PANEL; lane += VL)
                (w->bits == 8 ? tile_8 : tile_4)((int)m, (int)n, c + t * w->groups, w->groups,
                                                 codes, w->scales + at * RL_PANEL, lane, out);
            put_tile(to, w->n, out, w->bias ? w->bias + q * RL_PANEL : NULL, m, width);
        }
    }
}

enum { AT_ONCE = 240 };                             /* coded rows: they stay in the second cache */

void CPU(matmul_quant)(rl_part p, int bits, float *y, const float *x, const uint8_t *codes,
                       const uint16_t *scales, const float *bias, int64_t rows, int64_t n,
                       int64_t k) {
#if defined(__AVX512F__)
    if (!__builtin_cpu_supports("avx512vnni")) {
        rl_avx2_matmul_quant(p, bits, y, x, codes, scales, bias, rows, n, k);
        return;
    }
#endif
    const weights w = { bits, codes, scales, bias, n, groups_of(k) };
    const int32_t zero = SIGNED && bits == 8 ? 0 : 1 << (bits - 1);
    for (int64_t r = 0, here; r < rows; r += here) {
        here = least(AT_ONCE, rows - r);
        const coded *c = code_rows(x + r * k, here, k, zero);
        multiply_codes(&w, y + r * n, c, here, first(p, panels_of(n)), last(p, panels_of(n)));
    }
}
