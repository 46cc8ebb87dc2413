/* Into panels and out of them; panels of the transpose. */
#include "panel.h"

/* ---- weights ---- */

void CPU(pack)(rl_part p, float *panels, const float *w, int64_t n, int64_t k) {
    for (int64_t j = first(p, panels_of(n)); j < last(p, panels_of(n)); j++)
        for (int64_t i = 0; i < k; i++)
            for (int64_t l = 0; l < RL_PANEL; l++)
                panels[(j * k + i) * RL_PANEL + l] = j * RL_PANEL + l < n ? w[(j * RL_PANEL + l) * k + i] : 0;
}

void CPU(unpack)(rl_part p, float *w, const float *panels, int64_t n, int64_t k) {
    for (int64_t j = first(p, n); j < last(p, n); j++)
        for (int64_t i = 0; i < k; i++) w[j * k + i] = panels[(j / RL_PANEL * k + i) * RL_PANEL + j % RL_PANEL];
}

void CPU(pack_bf16)(rl_part p, uint16_t *panels16, const float *panels, int64_t n, int64_t k) {
    uint32_t *out = (uint32_t *)panels16;
    for (int64_t j = first(p, panels_of(n)); j < last(p, panels_of(n)); j++) {
        const float *from = panels + j * k * RL_PANEL;
        uint32_t *to = out + j * ((k + 1) / 2) * RL_PANEL;
        for (int64_t i = 0; i + 1 < k; i += 2, from += 2 * RL_PANEL, to += RL_PANEL)
#pragma omp simd
            for (int64_t l = 0; l < RL_PANEL; l++) to[l] = pair(from[l], from[RL_PANEL + l]);
        for (int64_t l = 0; k % 2 && l < RL_PANEL; l++) to[l] = pair(from[l], 0);
    }
}

/* ---- the transpose ---- */

#if defined(__AVX2__)
/* Blocks of 4 by 4 of 64 bits, each four bf16 a b c d, which become a c b d. */
static inline void transpose4(uint64_t *out, int64_t out_row, const uint64_t *in, int64_t in_row) {
    __m256d a[4], b[4];
    for (int i = 0; i < 4; i++) a[i] = _mm256_loadu_pd((const double *)(in + i * in_row));
    for (int i = 0; i < 4; i += 2)
        b[i] = _mm256_unpacklo_pd(a[i], a[i + 1]), b[i + 1] = _mm256_unpackhi_pd(a[i], a[i + 1]);
    for (int i = 0; i < 2; i++) {
        a[i] = _mm256_permute2f128_pd(b[i], b[i + 2], 0x20);
        a[i + 2] = _mm256_permute2f128_pd(b[i], b[i + 2], 0x31);
    }
    for (int i = 0; i < 4; i++) {
        const __m256i x = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(_mm256_castpd_si256(a[i]), 0xd8), 0xd8);
        _mm256_storeu_si256((__m256i *)(out + i * out_row), x);
    }
}
#else
static inline void transpose4(uint64_t *out, int64_t out_row, const uint64_t *in, int64_t in_row) {
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const uint64_t x = in[i * in_row + j];
            out[j * out_row + i] = (x & 0xffff00000000ffffu) | (x >> 16 & 0xffff) << 32 | (x >> 32 & 0xffff) << 16;
        }
}
#endif

/* Columns [c, c + 16) of w's rows [d, d + depth): one panel of the transpose.  d is a multiple of 16 but where the
 * blocks of a reduction begin elsewhere: then element by element. */
static void transpose_floats(float *out, const float *w, int64_t k, int64_t d, int64_t depth, int64_t c) {
    const int64_t columns = k - c < RL_PANEL ? k - c : RL_PANEL;
    for (int64_t r = 0; r < depth;) {
        const float *from = w + ((d + r) / RL_PANEL * k + c) * RL_PANEL + (d + r) % RL_PANEL;
        float *to = out + r * RL_PANEL;
        if ((d + r) % 8 || depth - r < 8 || columns < RL_PANEL) {
            for (int64_t l = 0; l < RL_PANEL; l++) to[l] = l < columns ? from[l * RL_PANEL] : 0;
            r++;
        } else {
            transpose8(to, RL_PANEL, from, RL_PANEL);
            transpose8(to + 8, RL_PANEL, from + 8 * RL_PANEL, RL_PANEL);
            r += 8;
        }
    }
}

static void transpose_halves(uint16_t *out, const uint16_t *w, int64_t n, int64_t k, int64_t d, int64_t depth, int64_t c) {
    const int64_t columns = k - c < RL_PANEL ? k - c : RL_PANEL, pairs = (k + 1) / 2;
    for (int64_t r = 0; r < depth;) {
        const int64_t lane = (d + r) % RL_PANEL;
        const uint16_t *from = w + ((d + r) / RL_PANEL * pairs + c / 2) * RL_PANEL * 2 + lane * 2;
        uint16_t *to = out + r * RL_PANEL;
        if (lane % 8 || depth - r < 8 || columns < RL_PANEL) {
            for (int64_t l = 0; l < RL_PANEL; l++) {
                to[2 * l] = l < columns ? from[l / 2 * RL_PANEL * 2 + l % 2] : 0;
                to[2 * l + 1] = l < columns && r + 1 < depth ? from[l / 2 * RL_PANEL * 2 + l % 2 + 2] : 0;
            }
            r += 2;
        } else {
            const uint64_t *in = (const uint64_t *)from;
            transpose4((uint64_t *)to, RL_PANEL / 2, in, RL_PANEL / 2);
            transpose4((uint64_t *)to + 4, RL_PANEL / 2, in + 4 * RL_PANEL / 2, RL_PANEL / 2);
            r += 8;
        }
    }
}

void CPU(transpose_panels)(rl_dtype t, float *out, const void *w, int64_t n, int64_t k, int64_t d, int64_t depth,
                           int64_t q, int64_t many) {
    for (int64_t i = q; i < q + many; i++)
        if (t == RL_BF16) {
            transpose_halves((uint16_t *)out, w, n, k, d, depth, i * RL_PANEL);
            out += (depth + 1) / 2 * RL_PANEL;
        } else {
            transpose_floats(out, w, k, d, depth, i * RL_PANEL);
            out += depth * RL_PANEL;
        }
}

/* ---- rows ---- */

static inline void row_of_panel(rl_dtype t, float *out, const float *even, const float *odd, const int columns) {
    if (t != RL_BF16) {
        memcpy(out, even, 4 * (size_t)columns);
        return;
    }
    uint32_t *to = (uint32_t *)out;
#pragma omp simd
    for (int l = 0; l < columns; l++) to[l] = pair(even[l], odd[l]);
}

/* Rows of the columns of one panel, or of as many as there are. */
static void panel_of_rows(rl_dtype t, float *out, const float *x, int64_t stride, int64_t depth, int64_t columns) {
    static const float zeros[RL_PANEL];
    for (int64_t r = 0; r < depth; r += t == RL_BF16 ? 2 : 1, out += RL_PANEL) {
        const float *even = x + r * stride, *odd = r + 1 < depth ? even + stride : zeros;
        if (columns >= RL_PANEL) row_of_panel(t, out, even, odd, RL_PANEL);
        else memset(out, 0, 4 * RL_PANEL), row_of_panel(t, out, even, odd, (int)columns);
    }
}

/* NEAR rows at a time, so that each is read from memory in one piece. */
void CPU(panels_of_rows)(rl_dtype t, float *out, const float *x, int64_t stride, int64_t depth, int64_t columns) {
    const int64_t step = (t == RL_BF16 ? (depth + 1) / 2 : depth) * RL_PANEL;
    for (int64_t r = 0; r < depth; r += NEAR, out += (t == RL_BF16 ? NEAR / 2 : NEAR) * RL_PANEL)
        for (int64_t c = 0; c < columns; c += RL_PANEL)
            panel_of_rows(t, out + c / RL_PANEL * step, x + r * stride + c, stride,
                          depth - r < NEAR ? depth - r : NEAR, columns - c);
}
