/* One element's step of AdamW, whatever its moments are kept in. */
#ifndef RL_ADAMW_H
#define RL_ADAMW_H
#include "row.h"

typedef struct { float scale, keep, step, root, old1, new1, old2, new2, least; } rates;

/* 1 - 0.999 in f32 is off by 1e-5 of itself: what is derived from the betas is so in double. */
static inline rates rates_of(float scale, double lr, double b1, double b2, double eps, double decay,
                             double c1, double c2) {
    return (rates){ scale, (float)(1 - lr * decay), (float)(lr / c1), (float)(1 / sqrt(c2)),
                    (float)b1, (float)(1 - b1), (float)b2, (float)(1 - b2), (float)eps };
}

/* The gradient is taken: zero afterwards. */
static inline __attribute__((always_inline)) void move(const rates *a, float *w, float *g, float *m,
                                                       float *v) {
    const float h = *g * a->scale;
    *g = 0;
    *m = a->old1 * *m + a->new1 * h;
    *v = a->old2 * *v + a->new2 * h * h;
    *w = *w * a->keep - a->step * (*m / (sqrtf(*v) * a->root + a->least));
}

#endif
