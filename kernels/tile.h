/* The product's inner tile, the same chain of fused multiply-adds on every path:
 *   c[i, j] = fma(a[i, p], b[p, j], c[i, j]) for p in order
 * In bf16 each pair of p is taken at once, as the bf16 dot instruction does: first the odd, then the even one,
 * denormals flushed to zero.  b stands in panels [depth][16] of floats, or [depth / 2][16][2] of bf16. */
#ifndef RL_TILE_H
#define RL_TILE_H
#include "part.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
typedef __m512 vec;
typedef __m512i pairs;
enum { VL = 16, TILE = 12, WIDEST = 8, DEPTH = 384 };
static inline vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vec_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
static inline vec vec_all(float x) { return _mm512_set1_ps(x); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline pairs pairs_load(const float *p) { return _mm512_loadu_si512(p); }
static inline vec pairs_even(pairs x) { return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)); }
static inline vec pairs_odd(pairs x) {
    return _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000)));
}
static inline vec vec_dot(float a, pairs b, vec c) {
    return _mm512_dpbf16_ps(c, (__m512bh)_mm512_castps_si512(_mm512_set1_ps(a)), (__m512bh)b);
}
static inline bool has_dot(void) { return __builtin_cpu_supports("avx512bf16"); }
#elif defined(__AVX2__)
typedef __m256 vec;
typedef __m256i pairs;
enum { VL = 8, TILE = 6, WIDEST = 4, DEPTH = 256 };
static inline vec vec_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vec_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
static inline vec vec_all(float x) { return _mm256_set1_ps(x); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline pairs pairs_load(const float *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline vec pairs_even(pairs x) { return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)); }
static inline vec pairs_odd(pairs x) {
    return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000)));
}
static inline vec vec_dot(float a, pairs b, vec c) { return c; }
static inline bool has_dot(void) { return false; }
#else
typedef struct { float x[4]; } vec;
typedef struct { uint32_t x[4]; } pairs;
enum { VL = 4, TILE = 4, WIDEST = 1, DEPTH = 256 };
static inline vec vec_load(const float *p) { vec v; memcpy(&v, p, sizeof v); return v; }
static inline void vec_store(float *p, vec v) { memcpy(p, &v, sizeof v); }
static inline vec vec_all(float x) { return (vec){ { x, x, x, x } }; }
static inline vec vec_fma(vec a, vec b, vec c) {
    for (int i = 0; i < 4; i++) c.x[i] = fmaf(a.x[i], b.x[i], c.x[i]);
    return c;
}
static inline vec vec_add(vec a, vec b) {
    for (int i = 0; i < 4; i++) a.x[i] += b.x[i];
    return a;
}
static inline pairs pairs_load(const float *p) { pairs x; memcpy(&x, p, sizeof x); return x; }
static inline vec pairs_half(pairs x, int shift) {
    vec v;
    for (int i = 0; i < 4; i++) x.x[i] = x.x[i] << shift & 0xffff0000u;
    memcpy(&v, &x, sizeof v);
    return v;
}
static inline vec pairs_even(pairs x) { return pairs_half(x, 16); }
static inline vec pairs_odd(pairs x) { return pairs_half(x, 0); }
static inline vec vec_dot(float a, pairs b, vec c) { return c; }
static inline bool has_dot(void) { return false; }
#endif

enum { VECS = RL_PANEL / VL };                  /* vectors of a panel's row */

/* How products take their operands: floats; pairs of bf16 by the dot instruction; the same by widening. */
typedef enum { FLOATS, DOT, WIDE } form;
static inline form form_of(rl_dtype t) { return t != RL_BF16 ? FLOATS : has_dot() ? DOT : WIDE; }

/* Element (i, p) of a stands at a[i * A_ROW + p] (rows), or at a[p * TILE + i] (columns of a tile).  For DOT a
 * float there is a pair, and p counts pairs. */
enum { A_ROW = DEPTH + 16 };

/* c of one tile: row i of panel q at c[i * row + q * panel]; fresh: from 0, not from what stands there.  next: the
 * panels that are read after these; asking for them into the second cache hides the memory's latency. */
typedef struct { float *c; int64_t row, panel; bool fresh; const float *next; } tile_out;

/* The a of (row i, step p); of a pair's odd or even half where a is wide. */
#define P_AT(half) (f == WIDE ? 2 * p + (half) : p)
#define A_AT(half) (columns ? a[P_AT(half) * TILE + i] : a[i * A_ROW + P_AT(half)])

/* m rows by n panels (step floats apart), depth steps; f, columns, m and n are constants where it is called. */
static inline __attribute__((always_inline)) void tile_run(const form f, const bool columns, const int m, const int n,
        const float *a, const float *b, int64_t step, int64_t depth, tile_out o) {
    vec acc[TILE][WIDEST * VECS];
    for (int i = 0; i < m; i++)
        for (int v = 0; v < n * VECS; v++)
            acc[i][v] = o.fresh ? vec_all(0) : vec_load(o.c + i * o.row + v / VECS * o.panel + v % VECS * VL);
    for (int64_t p = 0; p < depth; p++) {
        for (int q = 0; q < n; q++) __builtin_prefetch(o.next + q * step + p * RL_PANEL, 0, 2);
        if (f == WIDE) {
#pragma GCC unroll 2
            for (int half = 1; half >= 0; half--) {
                vec x[WIDEST * VECS];
                for (int v = 0; v < n * VECS; v++) {
                    const pairs both = pairs_load(b + v / VECS * step + p * RL_PANEL + v % VECS * VL);
                    x[v] = half ? pairs_odd(both) : pairs_even(both);
                }
#pragma GCC unroll 12
                for (int i = 0; i < m; i++)
                    for (int v = 0; v < n * VECS; v++) acc[i][v] = vec_fma(vec_all(A_AT(half)), x[v], acc[i][v]);
            }
        } else if (f == DOT) {
            pairs x[WIDEST * VECS];
            for (int v = 0; v < n * VECS; v++) x[v] = pairs_load(b + v / VECS * step + p * RL_PANEL + v % VECS * VL);
#pragma GCC unroll 12
            for (int i = 0; i < m; i++)
                for (int v = 0; v < n * VECS; v++) acc[i][v] = vec_dot(A_AT(0), x[v], acc[i][v]);
        } else {
            vec x[WIDEST * VECS];
            for (int v = 0; v < n * VECS; v++) x[v] = vec_load(b + v / VECS * step + p * RL_PANEL + v % VECS * VL);
#pragma GCC unroll 12
            for (int i = 0; i < m; i++)
                for (int v = 0; v < n * VECS; v++) acc[i][v] = vec_fma(vec_all(A_AT(0)), x[v], acc[i][v]);
        }
    }
    for (int i = 0; i < m; i++)
        for (int v = 0; v < n * VECS; v++) vec_store(o.c + i * o.row + v / VECS * o.panel + v % VECS * VL, acc[i][v]);
}
#undef A_AT
#undef P_AT

/* Panels taken at once beside m rows: enough sums to hide an addition's latency, few enough for the registers. */
static inline int widest(int m) {
    if (WIDEST == 8) return m == 1 ? 8 : m < 4 ? 4 : 2;
    if (WIDEST == 4) return m == 1 ? 4 : m < 4 ? 2 : 1;
    return 1;
}

#endif
