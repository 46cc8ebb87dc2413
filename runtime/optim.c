/* AdamW, fused with clipping: one pass over weights, gradients and moments. */
#include "runtime.h"
#include "memory.h"
#include "profile.h"
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct rl_adamw {
    rl_tensor **params; void **m, **v;
    int n, steps, bits;
    double beta1, beta2, eps;
};

/* ---- moments ---- */

/* Numbers of a parameter whose moments are kept in 8 bits. */
enum { LEAST_CODED = 4096 };

static bool coded(const rl_tensor *w, int bits) {
    return bits == 8 && rl_storage(w) >= LEAST_CODED;
}

/* Codes stand before the largest magnitudes of their blocks. */
static int64_t codes_of(const rl_tensor *w) { return (rl_storage(w) + 63) / 64 * 64; }
static float *most_of(const rl_tensor *w, void *moment) {
    return (float *)((uint8_t *)moment + codes_of(w));
}

static int64_t moment_bytes(const rl_tensor *w, int bits) {
    if (!coded(w, bits)) return 4 * rl_storage(w);
    return codes_of(w) + (rl_storage(w) + RL_CODE_BLOCK - 1) / RL_CODE_BLOCK * 4;
}

double rl_adamw_bytes(const rl_tensor *w, int bits) {
    return w->needs_grad ? 2 * rl_bytes_of((double)moment_bytes(w, bits)) : 0;
}

static void *zeros(int64_t bytes) {
    void *p = rl_alloc((double)bytes);
    return p ? memset(p, 0, (size_t)bytes) : NULL;
}

/* ---- codes ---- */

static rl_code codes[2];                /* of m, with signs, and of v */

/* Magnitudes by rank: 0; in each of 7 decades, 10^(i - 7) to 10^(i - 6), the middles of `least` 2^i
 * equal cells; 1.  arXiv:2110.02861, section 1.3: dynamic tree quantization -> how many */
static int magnitudes(float *x, int least) {
    int n = 1;
    x[0] = 0;
    for (int i = 0; i < 7; i++)
        for (int k = 0, cells = least << i; k < cells; k++)
            x[n++] = (float)(pow(10, i - 6) * (0.1 + 0.9 * (k + 0.5) / cells));
    x[n++] = 1;
    return n;
}

static void make_code(rl_code *c, bool sign) {
    float x[256];
    const int n = magnitudes(x, sign ? 1 : 2);
    for (int k = 0; k < n; k++) c->value[k + (sign ? RL_CODE_ZERO : 0)] = x[k];
    for (int k = 1; sign && k <= RL_CODE_ZERO; k++) c->value[RL_CODE_ZERO - k] = -x[k];
    for (int k = 0; k < 256; k++) c->above[k] = k + 1 < n ? (x[k] + x[k + 1]) / 2 : INFINITY;
    for (int cell = 0, k = 0; cell < RL_CODE_CELLS; cell++) {
        const union { uint32_t u; float f; } low = { (uint32_t)(cell + RL_CODE_FIRST) << 16 };
        while (low.f > c->above[k]) k++;
        c->start[cell] = k;
    }
}

static void make_codes(void) { make_code(&codes[0], true), make_code(&codes[1], false); }

/* ---- the optimizer ---- */

rl_adamw *rl_adamw_new(rl_tensor **params, int n, double beta1, double beta2, double eps,
                       int bits) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (bits != 8 && bits != 32) return rl_fail("adamw: bits: expected 8 or 32, got %d", bits);
    pthread_once(&once, make_codes);
#if defined(__GLIBC__)
    malloc_trim(0);                     /* gaps that the loading of weights left in the heap */
#endif
    rl_adamw *o = calloc(1, sizeof *o);
    *o = (rl_adamw){ malloc((size_t)n * sizeof *params), calloc((size_t)n, sizeof(void *)),
                     calloc((size_t)n, sizeof(void *)), n, 0, bits, beta1, beta2, eps };
    memcpy(o->params, params, (size_t)n * sizeof *params);
    for (int i = 0; i < n; i++) {
        const int64_t bytes = moment_bytes(params[i], bits);
        if (!params[i]->needs_grad) continue;
        if (!(o->m[i] = zeros(bytes)) || !(o->v[i] = zeros(bytes))) {
            rl_adamw_free(o);
            return NULL;
        }
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
        if (coded(w, o->bits))
            rl_k->adamw8(p, w->data, w->grad, o->m[i], most_of(w, o->m[i]), o->v[i],
                         most_of(w, o->v[i]), rl_storage(w), codes, a->scale, a->lr, o->beta1,
                         o->beta2, o->eps, a->decay[i], a->c1, a->c2);
        else
            rl_k->adamw(p, w->data, w->grad, o->m[i], o->v[i], rl_storage(w), a->scale, a->lr,
                        o->beta1, o->beta2, o->eps, a->decay[i], a->c1, a->c2);
    }
}

/* Weights, gradients and moments are read and written; a dozen operations each. */
static void count(const rl_adamw *o, double start) {
    double n = 0, bytes = 0;
    for (int i = 0; i < o->n; i++) {
        if (!o->m[i] || !o->params[i]->grad) continue;
        n += (double)rl_storage(o->params[i]);
        bytes += 4.0 * (double)moment_bytes(o->params[i], o->bits);
    }
    rl_profile_add((rl_event){ "adamw", NULL, "optimizer", RL_FORWARD, start, rl_clock() - start,
                               12 * n, 16 * n + bytes });
}

int rl_adamw_step(rl_adamw *o, double lr, const double *decay, double grad_scale) {
    if (!o) return -1;
    const double start = rl_clock();
    for (int i = 0; i < o->n; i++) rl_param_settle(o->params[i]);
    o->steps++;
    const double c1 = 1 - pow(o->beta1, o->steps), c2 = 1 - pow(o->beta2, o->steps);
    step_arg a = { o, decay, (float)grad_scale, lr, c1, c2 };
    rl_param_wrote();
    rl_pool_run(step, &a);
    for (int i = 0; i < o->n; i++)
        if (o->params[i]->half && o->m[i]) rl_param_half(o->params[i]);
    if (rl_is_profiling()) count(o, start);
    return 0;
}

int rl_adamw_bits(const rl_adamw *o) { return o->bits; }
int rl_adamw_count(const rl_adamw *o) { return o->steps; }
int rl_adamw_set_count(rl_adamw *o, int steps) { o->steps = steps; return 0; }
void *rl_adamw_moment(rl_adamw *o, int i, int which) { return which ? o->v[i] : o->m[i]; }
double rl_adamw_words(const rl_adamw *o, int i) {
    return o->m[i] ? (double)moment_bytes(o->params[i], o->bits) / 4 : 0;
}
