/* Parameters: one copy each, matrices in panels. */
#include "runtime.h"
#include "memory.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A tied embedding is used twice: by the head's product and by the look-up.  Each of its gradient
 * elements must be one chain whatever the micro-batches are, so the rows of the look-up wait here
 * until the mini-batch ends. */
struct rl_late { int32_t *ids; float *dy; int64_t rows, room; };

static const rl_part whole = { 0, 1 };
static pthread_mutex_t touching = PTHREAD_MUTEX_INITIALIZER;

rl_tensor *rl_param_new(const char *name, int rows, int cols) {
    if (rows < 1 || cols < 0)
        return rl_fail("parameter %s: expected a shape, got [%d, %d]", name, rows, cols);
    const int64_t dim[] = { rows, cols };
    rl_tensor *w = rl_new(RL_F32, cols ? 2 : 1, dim);
    w->panels = cols > 0, w->param = w->owned = true;
    w->name = strdup(name);
    return w;
}

/* Numbers of the copy in bf16: rows in panels of 16, columns in pairs. */
static int64_t halves(const rl_tensor *w) {
    return (w->dim[0] + 15) / 16 * 16 * ((w->dim[1] + 1) / 2 * 2);
}

double rl_param_bytes(const rl_tensor *w, int which) {
    if (which == 1) return w->panels ? rl_bytes_of(2.0 * (double)halves(w)) : 0;
    return which == 2 && !w->needs_grad ? 0 : rl_bytes_of(4.0 * (double)rl_storage(w));
}

static void halve(void *arg, rl_part p) {
    const rl_tensor *w = arg;
    rl_k->pack_bf16(p, w->half, w->data, w->dim[0], w->dim[1]);
}

static int make_half(rl_tensor *w) {
    if (!w->half && !(w->half = rl_alloc(2.0 * (double)halves(w)))) return -1;
    if (halves(w) > 65536) rl_pool_run(halve, w);
    else halve(w, whole);
    return 0;
}

int rl_param_touch(rl_tensor *x, bool half) {
    if (!x || !x->param) return 0;
    int status = 0;
    pthread_mutex_lock(&touching);          /* the engine's first step may meet another's */
    if (!x->data) {
        const size_t bytes = 4 * (size_t)rl_storage(x);
        float *data = rl_alloc((double)bytes);
        if (data) memset(data, 0, bytes);
        x->data = data;
        status = data ? 0 : -1;
    }
    if (!status && half && x->panels && !x->half) status = make_half(x);
    pthread_mutex_unlock(&touching);
    return status;
}

void rl_param_free(rl_tensor *w) {
    if (!w) return;
    if (w->late) rl_alloc_free(w->late->ids), rl_alloc_free(w->late->dy), free(w->late);
    rl_alloc_free(w->data), rl_alloc_free(w->grad), rl_alloc_free(w->half);
    free((char *)w->name), free(w);
}

static _Atomic unsigned writes;
void rl_param_wrote(void) { writes++; }
unsigned rl_param_writes(void) { return writes; }

int rl_param_set(rl_tensor *w, const float *values) {
    if (!w || !values || rl_param_touch(w, false)) return -1;
    rl_param_wrote();
    if (w->panels) rl_k->pack(whole, w->data, values, w->dim[0], w->dim[1]);
    else memcpy(w->data, values, 4 * (size_t)w->dim[0]);
    return w->half ? rl_param_half(w) : 0;
}

int rl_param_get(rl_tensor *w, float *values) {
    if (!w || !values || rl_param_touch(w, false)) return -1;
    if (w->panels) rl_k->unpack(whole, values, w->data, w->dim[0], w->dim[1]);
    else memcpy(values, w->data, 4 * (size_t)w->dim[0]);
    return 0;
}

int rl_param_normal(rl_tensor *w, double seed, double mean, double std) {
    if (!w) return -1;
    float *values = rl_alloc(4.0 * (double)rl_numel(w));
    if (!values) return -1;
    rl_k->normal(whole, values, rl_numel(w), (uint64_t)seed, (float)mean, (float)std);
    const int status = rl_param_set(w, values);
    rl_alloc_free(values);
    return status;
}

int rl_param_train(rl_tensor *w, int trained) {
    if (!w) return -1;
    w->needs_grad = trained;
    return 0;
}

int rl_param_half(rl_tensor *w) {
    if (!w || rl_param_touch(w, false)) return -1;
    return w->panels ? make_half(w) : 0;
}

void rl_param_tie(rl_tensor *w) {
    if (!w->late) w->late = calloc(1, sizeof *w->late);
}

int rl_param_reserve_late(rl_tensor *w, int64_t rows, bool more) {
    struct rl_late *l = w->late;
    if (more) rows += l->rows;
    if (rows <= l->room) return 0;
    if (more && l->rows) rows += rows / 2;  /* was not reserved: grows with the micro-batches */
    const int64_t d = w->dim[1];
    int32_t *ids = rl_alloc(4.0 * (double)rows);
    float *dy = ids ? rl_alloc(4.0 * (double)(rows * d)) : NULL;
    if (!dy) { rl_alloc_free(ids); return -1; }
    if (l->rows) {
        memcpy(ids, l->ids, 4 * (size_t)l->rows);
        memcpy(dy, l->dy, 4 * (size_t)(l->rows * d));
    }
    rl_alloc_free(l->ids), rl_alloc_free(l->dy);
    l->ids = ids, l->dy = dy, l->room = rows;
    return 0;
}

void rl_param_keep_late(rl_tensor *w, const int32_t *ids, const float *dy, int64_t rows) {
    struct rl_late *l = w->late;
    const int64_t d = w->dim[1];
    memcpy(l->ids + l->rows, ids, 4 * (size_t)rows);
    memcpy(l->dy + l->rows * d, dy, 4 * (size_t)(rows * d));
    l->rows += rows;
}

void rl_param_settle(rl_tensor *w) {
    struct rl_late *l = w->late;
    if (!l || !l->rows) return;
    rl_k->embedding_grad(whole, rl_grad(w), l->ids, l->dy, l->rows, w->dim[1]);
    l->rows = 0;
}

int rl_param_zero_grad(rl_tensor *w) {
    if (!w) return -1;
    if (w->late) w->late->rows = 0;
    rl_alloc_free(w->grad);
    w->grad = NULL;
    return 0;
}

typedef struct { const float *x; double *partial; int64_t n; } squares_arg;
static void squares(void *arg, rl_part p) {
    const squares_arg *a = arg;
    rl_k->sum_squares(p, a->partial, a->x, a->n);
}

double rl_param_grad_squares(rl_tensor *w) {
    rl_param_settle(w);
    if (!w->grad) return 0;
    const int64_t n = rl_storage(w), blocks = (n + 4095) / 4096;
    squares_arg a = { w->grad, malloc(8 * (size_t)blocks), n };
    if (n > 65536) rl_pool_run(squares, &a);
    else squares(&a, whole);
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++) sum += a.partial[b];
    free(a.partial);
    return sum;
}
