/* Normalisation of rows: RMSNorm and LayerNorm, forward and backward. */
#include "row.h"

void CPU(rmsnorm)(rl_part p, float *y, float *rstd, const float *x, const float *w, int64_t rows,
                  int64_t d, float eps) {
    for (int64_t r = first(p, rows); r < last(p, rows); r++) {
        const float *xr = x + r * d;
        const float s = rstd[r] = 1 / sqrtf(SUM(i, d, sqr(xr[i])) / (float)d + eps);
#pragma omp simd
        for (int64_t i = 0; i < d; i++) y[r * d + i] = xr[i] * s * w[i];
    }
}

/* With n = x rstd and g = w dy:  dx += rstd (g - n mean(g n)),  dw += dy n.
 * dx by rows; dw by columns, each one chain over the rows in order. */
void CPU(rmsnorm_grad)(rl_part p, float *dx, float *dw, const float *dy, const float *x,
                       const float *w, const float *rstd, int64_t rows, int64_t d) {
    for (int64_t r = first(p, rows); dx && r < last(p, rows); r++) {
        const float *xr = x + r * d, *dyr = dy + r * d, s = rstd[r];
        const float gn = SUM(i, d, w[i] * dyr[i] * (xr[i] * s)) / (float)d;
#pragma omp simd
        for (int64_t i = 0; i < d; i++) dx[r * d + i] += s * (w[i] * dyr[i] - xr[i] * s * gn);
    }
    for (int64_t r = 0; dw && r < rows; r++)
#pragma omp simd
        for (int64_t i = first(p, d); i < last(p, d); i++)
            dw[i] = fmaf(dy[r * d + i], x[r * d + i] * rstd[r], dw[i]);
}

void CPU(layernorm)(rl_part p, float *y, float *mean, float *rstd, const float *x, const float *w,
                    const float *b, int64_t rows, int64_t d, float eps) {
    for (int64_t r = first(p, rows); r < last(p, rows); r++) {
        const float *xr = x + r * d, m = mean[r] = SUM(i, d, xr[i]) / (float)d;
        const float s = rstd[r] = 1 / sqrtf(SUM(i, d, sqr(xr[i] - m)) / (float)d + eps);
#pragma omp simd
        for (int64_t i = 0; i < d; i++) y[r * d + i] = (xr[i] - m) * s * w[i] + b[i];
    }
}

/* With n = (x - mean) rstd and g = w dy:
 * dx += rstd (g - mean(g) - n mean(g n)),  dw += dy n,  db += dy. */
void CPU(layernorm_grad)(rl_part p, float *dx, float *dw, float *db, const float *dy,
                         const float *x, const float *w, const float *mean, const float *rstd,
                         int64_t rows, int64_t d) {
    for (int64_t r = first(p, rows); dx && r < last(p, rows); r++) {
        const float *xr = x + r * d, *dyr = dy + r * d, m = mean[r], s = rstd[r];
        const float g = SUM(i, d, w[i] * dyr[i]) / (float)d;
        const float gn = SUM(i, d, w[i] * dyr[i] * ((xr[i] - m) * s)) / (float)d;
#pragma omp simd
        for (int64_t i = 0; i < d; i++)
            dx[r * d + i] += s * (w[i] * dyr[i] - g - (xr[i] - m) * s * gn);
    }
    for (int64_t r = 0; r < rows; r++)
#pragma omp simd
        for (int64_t i = first(p, d); i < last(p, d); i++) {
            if (dw) dw[i] = fmaf(dy[r * d + i], (x[r * d + i] - mean[r]) * rstd[r], dw[i]);
            if (db) db[i] += dy[r * d + i];
        }
}
