/* Panels: a matrix in groups of sixteen columns, as products read it. */
#ifndef RL_PANEL_H
#define RL_PANEL_H
#include "row.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

enum { NEAR = 16 };        /* rows of a matrix that are packed together; even */

static inline int64_t panels_of(int64_t columns) { return (columns + RL_PANEL - 1) / RL_PANEL; }

/* Panels [q, q + many) of w^T: w [n, k] in panels of t, its rows [d, d + depth), d even.
 * out [many][depth][16] of floats, or [many][ceil(depth / 2)][16][2] of bf16; zeros behind the last column. */
void CPU(transpose_panels)(rl_dtype t, float *out, const void *w, int64_t n, int64_t k, int64_t d, int64_t depth,
                           int64_t q, int64_t many);
/* depth rows of x (stride apart), columns of each, as panels of t; zeros behind the last column. */
void CPU(panels_of_rows)(rl_dtype t, float *out, const float *x, int64_t stride, int64_t depth, int64_t columns);

/* A block of 8 by 8 floats: out[j][i] = in[i][j], rows out_row and in_row apart. */
#if defined(__AVX2__)
static inline void transpose8(float *out, int64_t out_row, const float *in, int64_t in_row) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(in + i * in_row);
    for (int i = 0; i < 8; i += 2)
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]), b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    for (int i = 0; i < 8; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44), a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44), a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * out_row, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * out_row, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}
#else
static inline void transpose8(float *out, int64_t out_row, const float *in, int64_t in_row) {
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) out[j * out_row + i] = in[i * in_row + j];
}
#endif

/* Two floats as a pair of bf16: the even one below. */
static inline uint32_t pair(float even, float odd) { return to_bits(as_bf16(even)) >> 16 | to_bits(as_bf16(odd)); }

#endif
