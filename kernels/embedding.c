/* Rows by index: look-up in panels, gathering, scattering; and columns. */
#include "row.h"

/* Element (row, i) of a matrix with d columns in panels. */
static int64_t in_panel(int64_t row, int64_t i, int64_t d) {
    return (row / RL_PANEL * d + i) * RL_PANEL + row % RL_PANEL;
}

void CPU(embedding)(rl_part p, float *y, const int32_t *ids, const float *w, int64_t rows,
                    int64_t d) {
    for (int64_t r = first(p, rows); r < last(p, rows); r++)
        for (int64_t i = 0; i < d; i++) y[r * d + i] = w[in_panel(ids[r], i, d)];
}

void CPU(embedding_grad)(rl_part p, float *dw, const int32_t *ids, const float *dy, int64_t rows,
                         int64_t d) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = first(p, d); i < last(p, d); i++)
            dw[in_panel(ids[r], i, d)] += dy[r * d + i];
}

void CPU(gather_rows)(rl_part p, float *y, const float *x, const int32_t *index, int64_t rows,
                      int64_t d) {
    for (int64_t r = first(p, rows); r < last(p, rows); r++)
        if (index[r] < 0) memset(y + r * d, 0, 4 * (size_t)d);
        else memcpy(y + r * d, x + index[r] * d, 4 * (size_t)d);
}

/* By columns, so that rows which go to one place do so in order. */
void CPU(scatter_rows)(rl_part p, float *y, const float *x, const int32_t *index, int64_t rows,
                       int64_t d, int add) {
    for (int64_t r = 0; r < rows; r++) {
        if (index[r] < 0) continue;
        const float *from = x + r * d;
        float *to = y + index[r] * d;
#pragma omp simd
        for (int64_t i = first(p, d); i < last(p, d); i++) to[i] = add ? to[i] + from[i] : from[i];
    }
}

void CPU(take_columns)(rl_part p, float *y, const float *x, int64_t rows, int64_t d, int64_t from,
                       int64_t x_stride) {
    for (int64_t r = first(p, rows); r < last(p, rows); r++)
        memcpy(y + r * d, x + r * x_stride + from, 4 * (size_t)d);
}

void CPU(take_columns_grad)(rl_part p, float *dx, const float *dy, int64_t rows, int64_t d,
                            int64_t from, int64_t x_stride) {
    for (int64_t r = first(p, rows); r < last(p, rows); r++)
#pragma omp simd
        for (int64_t i = 0; i < d; i++) dx[r * x_stride + from + i] += dy[r * d + i];
}
