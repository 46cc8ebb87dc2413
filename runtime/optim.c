/* AdamW, fused with clipping: one pass over weights, gradients and moments. */
#include "runtime.h"
#include "memory.h"
#include "profile.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rl_adamw {
    rl_tensor **params; float **m, **v;
    int n, steps;
    double beta1, beta2, eps;
};

rl_adamw *rl_adamw_new(rl_tensor **params, int n, double beta1, double beta2, double eps) {
    rl_adamw *o = calloc(1, sizeof *o);
    *o = (rl_adamw){ malloc((size_t)n * sizeof *params), calloc((size_t)n, sizeof(float *)),
                     calloc((size_t)n, sizeof(float *)), n, 0, beta1, beta2, eps };
    memcpy(o->params, params, (size_t)n * sizeof *params);
    for (int i = 0; i < n; i++) {
        const size_t bytes = 4 * (size_t)rl_storage(params[i]);
        if (!params[i]->needs_grad) continue;
        if (!(o->m[i] = rl_alloc((double)bytes)) || !(o->v[i] = rl_alloc((double)bytes))) {
            rl_adamw_free(o);
            return NULL;
        }
        memset(o->m[i], 0, bytes), memset(o->v[i], 0, bytes);
    }
    return o;
}

void rl_adamw_free(rl_adamw *o) {
    if (!o) return;
    for (int i = 0; i < o->n; i++) rl_alloc_free(o->m[i]), rl_alloc_free(o->v[i]);
    free(o->params), free(o->m), free(o->v), free(o);
}

typedef struct { rl_adamw *o; const double *decay; float scale; double lr, c1, c2; } step_arg;

static void step(void *arg, rl_part p) {
    const step_arg *a = arg;
    const rl_adamw *o = a->o;
    for (int i = 0; i < o->n; i++) {
        rl_tensor *w = o->params[i];
        if (!o->m[i] || !w->grad) continue;
        rl_k->adamw(p, w->data, w->grad, o->m[i], o->v[i], rl_storage(w), a->scale, a->lr, o->beta1, o->beta2,
                    o->eps, a->decay[i], a->c1, a->c2);
        rl_k->fill(p, w->grad, 0, rl_storage(w));
    }
}

/* Weights, gradients and moments are read and written; a dozen operations each. */
static void count(const rl_adamw *o, double start) {
    double n = 0;
    for (int i = 0; i < o->n; i++)
        if (o->m[i] && o->params[i]->grad) n += (double)rl_storage(o->params[i]);
    rl_profile_add((rl_event){ "adamw", NULL, "optimizer", RL_FORWARD, start, rl_clock() - start, 12 * n, 32 * n });
}

int rl_adamw_step(rl_adamw *o, double lr, const double *decay, double grad_scale) {
    if (!o) return -1;
    const double start = rl_clock();
    for (int i = 0; i < o->n; i++) rl_param_settle(o->params[i]);
    o->steps++;
    step_arg a = { o, decay, (float)grad_scale, lr, 1 - pow(o->beta1, o->steps), 1 - pow(o->beta2, o->steps) };
    rl_pool_run(step, &a);
    for (int i = 0; i < o->n; i++)
        if (o->params[i]->half && o->m[i]) rl_param_half(o->params[i]);
    if (rl_is_profiling()) count(o, start);
    return 0;
}

int rl_adamw_count(const rl_adamw *o) { return o->steps; }
int rl_adamw_set_count(rl_adamw *o, int steps) { o->steps = steps; return 0; }
float *rl_adamw_moment(rl_adamw *o, int i, int which) { return which ? o->v[i] : o->m[i]; }
double rl_adamw_floats(const rl_adamw *o, int i) { return o->m[i] ? (double)rl_storage(o->params[i]) : 0; }
