/* The product's inner tile, the same chain of fused multiply-adds on every path:
 *   c[i, j] = fma(a[p, i], b[p, j], c[i, j]) for p in order
 * a [depth][m] and b [depth][16] are packed; c stands in up to two panels of 16 columns. */
#ifndef RL_TILE_H
#define RL_TILE_H
#include "part.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
typedef __m512 vec;
enum { VL = 16, TILE = 12, PANELS = 2 };
static inline vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vec_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
static inline vec vec_all(float x) { return _mm512_set1_ps(x); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(__AVX2__)
typedef __m256 vec;
enum { VL = 8, TILE = 6, PANELS = 1 };
static inline vec vec_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vec_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
static inline vec vec_all(float x) { return _mm256_set1_ps(x); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
#else
typedef struct { float x[4]; } vec;
enum { VL = 4, TILE = 4, PANELS = 1 };
static inline vec vec_load(const float *p) { vec v; memcpy(&v, p, sizeof v); return v; }
static inline void vec_store(float *p, vec v) { memcpy(p, &v, sizeof v); }
static inline vec vec_all(float x) { return (vec){ { x, x, x, x } }; }
static inline vec vec_fma(vec a, vec b, vec c) {
    for (int i = 0; i < 4; i++) c.x[i] = fmaf(a.x[i], b.x[i], c.x[i]);
    return c;
}
#endif
enum { VECS = RL_PANEL / VL };                  /* vectors of a panel's row */

/* c of one tile: rows stride apart, panel q at c[q]. */
typedef struct { float *c[2]; int64_t stride; bool fresh; } tile_out;

/* m rows by n panels; both constants where it is called. */
static inline __attribute__((always_inline)) void tile_run(const int m, const int n, const float *a, const float *b0,
                                                           const float *b1, int64_t depth, tile_out o) {
    vec acc[TILE][PANELS * VECS];
    for (int i = 0; i < m; i++)
        for (int q = 0; q < n; q++)
            for (int v = 0; v < VECS; v++)
                acc[i][q * VECS + v] = o.fresh ? vec_all(0) : vec_load(o.c[q] + i * o.stride + v * VL);
    for (int64_t p = 0; p < depth; p++) {
        vec b[PANELS * VECS];
        for (int v = 0; v < VECS; v++) b[v] = vec_load(b0 + p * RL_PANEL + v * VL);
        for (int v = 0; n > 1 && v < VECS; v++) b[(n - 1) * VECS + v] = vec_load(b1 + p * RL_PANEL + v * VL);
#pragma GCC unroll 12
        for (int i = 0; i < m; i++) {
            const vec x = vec_all(a[p * m + i]);
            for (int v = 0; v < n * VECS; v++) acc[i][v] = vec_fma(x, b[v], acc[i][v]);
        }
    }
    for (int i = 0; i < m; i++)
        for (int q = 0; q < n; q++)
            for (int v = 0; v < VECS; v++) vec_store(o.c[q] + i * o.stride + v * VL, acc[i][q * VECS + v]);
}

#define TILE_CASE(M) case M: { \
    if (n == 2 && PANELS == 2) tile_run(M, PANELS, a, b0, b1, depth, o); \
    else tile_run(M, 1, a, b0, b0, depth, o); \
    break; }
static void tile(int m, int n, const float *a, const float *b0, const float *b1, int64_t depth, tile_out o) {
    switch (m) {
    TILE_CASE(1) TILE_CASE(2) TILE_CASE(3) TILE_CASE(4)
#if defined(__AVX2__)
    TILE_CASE(5) TILE_CASE(6)
#endif
#if defined(__AVX512F__)
    TILE_CASE(7) TILE_CASE(8) TILE_CASE(9) TILE_CASE(10) TILE_CASE(11) TILE_CASE(12)
#endif
    }
}
#undef TILE_CASE

/* The same where only width[q] of a panel's columns exist in c: by way of a copy. */
static void tile_narrow(int m, int n, const float *a, const float *b0, const float *b1, int64_t depth, tile_out o,
                        const int *width) {
    float copy[2][TILE * RL_PANEL] = { { 0 } };
    for (int q = 0; !o.fresh && q < n; q++)
        for (int i = 0; i < m; i++) memcpy(copy[q] + i * RL_PANEL, o.c[q] + i * o.stride, 4 * (size_t)width[q]);
    tile(m, n, a, b0, b1, depth, (tile_out){ { copy[0], copy[1] }, RL_PANEL, o.fresh });
    for (int q = 0; q < n; q++)
        for (int i = 0; i < m; i++) memcpy(o.c[q] + i * o.stride, copy[q] + i * RL_PANEL, 4 * (size_t)width[q]);
}

#endif
