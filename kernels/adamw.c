/* The optimizer's pass over weights, sums of squares, and normal numbers to begin with. */
#include "philox.h"
#include "row.h"

void CPU(sum_squares)(rl_part p, double *partial, const float *x, int64_t n) {
    enum { BLOCK = 4096 };
    const int64_t blocks = (n + BLOCK - 1) / BLOCK;
    for (int64_t b = first(p, blocks); b < last(p, blocks); b++) {
        const int64_t from = b * BLOCK, to = from + BLOCK < n ? from + BLOCK : n;
        double lane[8] = { 0 };
        for (int64_t i = from; i < to; i += 8)
            for (int64_t l = 0; l < 8 && i + l < to; l++) lane[l] += (double)x[i + l] * x[i + l];
        partial[b] = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
    }
}

/* 1 - 0.999 in f32 is off by 1e-5 of itself: what is derived from the betas is so in double. */
void CPU(adamw)(rl_part p, float *w, const float *g, float *m, float *v, int64_t n, float grad_scale, double lr,
                double b1, double b2, double eps, double decay, double c1, double c2) {
    const float keep = (float)(1 - lr * decay), step = (float)(lr / c1), root = (float)(1 / sqrt(c2));
    const float old1 = (float)b1, new1 = (float)(1 - b1), old2 = (float)b2, new2 = (float)(1 - b2), least = (float)eps;
#pragma omp simd
    for (int64_t i = first(p, n); i < last(p, n); i++) {
        const float h = g[i] * grad_scale;
        m[i] = old1 * m[i] + new1 * h;
        v[i] = old2 * v[i] + new2 * h * h;
        w[i] = w[i] * keep - step * (m[i] / (sqrtf(v[i]) * root + least));
    }
}

/* Box-Muller: two normal numbers from each counter. */
void CPU(normal)(rl_part p, float *w, int64_t n, uint64_t seed, float mean, float std) {
    for (int64_t i = first(p, n); i < last(p, n); i++) {
        uint32_t r[4];
        philox(seed, (uint64_t)i / 2, r);
        const float u = (float)((r[0] >> 8) + 1) * (1.f / 16777216), angle = (float)(r[1] >> 8) * (6.2831853f / 16777216);
        float s, c;
        sin_cos(angle, &s, &c);
        w[i] = mean + std * sqrtf(-2 * log_(u)) * (i % 2 ? s : c);
    }
}
