/* The optimizer's pass over weights, sums of squares, and normal numbers to begin with. */
#include "adamw.h"
#include "philox.h"

void CPU(sum_squares)(rl_part p, double *partial, const float *x, int64_t n) {
    enum { BLOCK = 4096 };
    const int64_t blocks = (n + BLOCK - 1) / BLOCK;
    for (int64_t b = first(p, blocks); b < last(p, blocks); b++) {
        const int64_t from = b * BLOCK, to = from + BLOCK < n ? from + BLOCK : n;
        double lane[8] = { 0 };
        for (int64_t i = from; i < to; i += 8)
            for (int64_t l = 0; l < 8 && i + l < to; l++) lane[l] += (double)x[i + l] * x[i + l];
        partial[b] = ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
                     ((lane[1] + lane[5]) + (lane[3] + lane[7]));
    }
}

void CPU(adamw)(rl_part p, float *w, float *g, float *m, float *v, int64_t n, float grad_scale,
                double lr, double b1, double b2, double eps, double decay, double c1, double c2) {
    const rates a = rates_of(grad_scale, lr, b1, b2, eps, decay, c1, c2);
#pragma omp simd
    for (int64_t i = first(p, n); i < last(p, n); i++) move(&a, &w[i], &g[i], &m[i], &v[i]);
}

/* Box-Muller: two normal numbers from each counter. */
void CPU(normal)(rl_part p, float *w, int64_t n, uint64_t seed, float mean, float std) {
    for (int64_t i = first(p, n); i < last(p, n); i++) {
        uint32_t r[4];
        philox(seed, (uint64_t)i / 2, r);
        const float u = (float)((r[0] >> 8) + 1) * (1.f / 16777216);
        const float angle = (float)(r[1] >> 8) * (6.2831853f / 16777216);
        float s, c;
        sin_cos(angle, &s, &c);
        w[i] = mean + std * sqrtf(-2 * log_(u)) * (i % 2 ? s : c);
    }
}
