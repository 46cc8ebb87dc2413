/* Rotary positions: the table, and the turn of pairs (j, j + half). */
#include "row.h"

void CPU(rope_table)(rl_part p, float *table, const int32_t *positions, const float *inv_freq,
                     const int32_t *axis, int64_t rows, int64_t half) {
    for (int64_t r = first(p, rows); r < last(p, rows); r++)
        for (int64_t j = 0; j < half; j++) {
            const float angle = (float)positions[axis[j] * rows + r] * inv_freq[j];
            sin_cos(angle, &table[r * 2 * half + half + j], &table[r * 2 * half + j]);
        }
}

/* One head of a row: a [2 half] turned by cosines c and sines s [half] into to. */
static inline void turn(float *to, const float *a, const float *c, const float *s, int64_t half,
                        float sign, int add) {
#pragma omp simd
    for (int64_t j = 0; j < half; j++) {
        const float u = a[j] * c[j] - a[j + half] * (sign * s[j]);
        const float v = a[j + half] * c[j] + a[j] * (sign * s[j]);
        to[j] = add ? to[j] + u : u;
        to[j + half] = add ? to[j + half] + v : v;
    }
}

void CPU(rope)(rl_part p, float *y, const float *x, const float *table, int64_t rows,
               int64_t heads, int64_t half, int64_t y_stride, int64_t x_stride, int sign,
               int add) {
    for (int64_t r = first(p, rows); r < last(p, rows); r++) {
        const float *c = table + r * 2 * half;
        for (int64_t h = 0; h < heads; h++)
            turn(y + r * y_stride + h * 2 * half, x + r * x_stride + h * 2 * half, c, c + half,
                 half, (float)sign, add);
    }
}
