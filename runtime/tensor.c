/* Tensors: shape, numbers, views. */
#include "runtime.h"
#include "memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The kernels are chosen before anything runs. */
__attribute__((constructor)) static void choose_kernels(void) {
    const char *forced = getenv("RLLAVA_CPU");
    if (!forced || rl_kernels_choose(forced)) rl_kernels_choose(NULL);
    if (forced && strcmp(forced, rl_k->isa))
        fprintf(stderr, "rllava: RLLAVA_CPU=%s: not on this machine, using %s\n", forced,
                rl_k->isa);
}

const char *rl_cpu(const char *name) {
    if (name && rl_kernels_choose(name))
        return rl_fail("cpu: expected generic, avx2 or avx512 as this machine has them, got %s",
                       name);
    return rl_k->isa;
}

double rl_uniform(double seed, double counter) {
    double u;
    rl_k->uniform((rl_part){ 0, 1 }, &u, (uint64_t)seed, (uint64_t)counter);
    return u;
}

int rl_want_floats(const char *op, const char *which, const rl_tensor *x) {
    if (x->dtype == RL_F32) return 0;
    return rl_refuse("%s: %s: expected f32, got %s %s", op, which,
                     x->dtype == RL_TABLE ? "a table" : "integers", rl_shape(x));
}

rl_tensor *rl_new(int dtype, int ndim, const int64_t *dim) {
    rl_tensor *x = calloc(1, sizeof *x);
    x->dtype = dtype, x->ndim = ndim, x->id = -1;
    for (int i = 0; i < ndim; i++) x->dim[i] = dim[i];
    return x;
}

rl_tensor *rl_like(const rl_tensor *x) { return x ? rl_new(x->dtype, x->ndim, x->dim) : NULL; }

rl_tensor *rl_like_cols(const rl_tensor *x, int64_t cols) {
    rl_tensor *y = rl_like(x);
    if (y) y->dim[y->ndim - 1] = cols;
    return y;
}

int64_t rl_numel(const rl_tensor *x) {
    int64_t n = 1;
    for (int i = 0; i < x->ndim; i++) n *= x->dim[i];
    return n;
}

int64_t rl_cols(const rl_tensor *x) { return x->ndim ? x->dim[x->ndim - 1] : 1; }

int64_t rl_nrows(const rl_tensor *x) {
    int64_t n = 1;
    for (int i = 0; i + 1 < x->ndim; i++) n *= x->dim[i];
    return n;
}

/* "rows" where the tape that knew it is gone. */
static const char *kind_of_rows(const rl_tensor *x, int64_t dim) {
    return x->tape ? x->tape->kinds[-dim - 1] : "rows";
}

const char *rl_shape(const rl_tensor *x) {
    static _Thread_local char texts[8][128];
    static _Thread_local int next;
    char *text = texts[next++ % 8];
    int n = sprintf(text, "[");
    for (int i = 0; i < x->ndim; i++) {
        n += sprintf(text + n, "%s", i ? ", " : "");
        if (x->dim[i] < 0) n += sprintf(text + n, "%.28s", kind_of_rows(x, x->dim[i]));
        else n += sprintf(text + n, "%lld", (long long)x->dim[i]);
    }
    sprintf(text + n, "]");
    return text;
}

int64_t rl_storage(const rl_tensor *x) {
    return x->panels ? (x->dim[0] + RL_PANEL - 1) / RL_PANEL * RL_PANEL * x->dim[1] : rl_numel(x);
}

int rl_tensor_allocate(rl_tensor *x) {
    x->data = rl_alloc(4.0 * (double)rl_storage(x));
    x->owned = true;
    return x->data ? 0 : -1;
}

rl_tensor *rl_tensor_new(int dtype, int ndim, const int *dim) {
    int64_t d[RL_MAX_DIM] = { 0 };
    double n = 1;
    if (ndim < 0 || ndim > RL_MAX_DIM)
        return rl_fail("tensor: ndim: expected 0 to %d, got %d", RL_MAX_DIM, ndim);
    for (int i = 0; i < ndim; i++) {
        if (dim[i] < 0) return rl_fail("tensor: axis %d: expected a length, got %d", i, dim[i]);
        n *= dim[i], d[i] = dim[i];
    }
    if (n > 0x1p46) return rl_fail("tensor: expected at most 2^46 elements, got %.0f", n);
    rl_tensor *x = rl_new(dtype, ndim, d);
    if (rl_tensor_allocate(x)) { free(x); return NULL; }
    memset(x->data, 0, 4 * (size_t)rl_numel(x));
    rl_scope_add(x);
    return x;
}

int rl_ndim(const rl_tensor *x) { return x->ndim; }
int rl_dim(const rl_tensor *x, int i) { return (int)x->dim[i]; }
int rl_dtype_of(const rl_tensor *x) { return x->dtype; }
const char *rl_shape_text(const rl_tensor *x) { return rl_shape(x); }
int rl_needs_grad(const rl_tensor *x) { return x->needs_grad; }

void *rl_data(rl_tensor *x) {
    if (!x) return NULL;
    if (x->closed) return rl_fail("tensor %s: its scope is closed", rl_shape(x));
    if (x->tape)
        return rl_fail("tensor %s: recorded with symbolic rows, it has no numbers", rl_shape(x));
    return rl_param_touch(x, false) ? NULL : x->data;
}

int rl_require_grad(rl_tensor *x) {
    if (!x || !rl_data(x)) return -1;
    if (x->dtype != RL_F32) return rl_refuse("require_grad: expected f32, got integers");
    x->needs_grad = true;
    return 0;
}

float *rl_grad(rl_tensor *x) {
    if (x->base) return rl_grad(x->base);
    if (!x->grad) {
        const size_t bytes = 4 * (size_t)rl_storage(x);
        x->grad = rl_alloc((double)bytes);
        if (x->grad) memset(x->grad, 0, bytes);
    }
    return x->grad;
}

float *rl_grad_or_null(rl_tensor *x) { return x && x->needs_grad ? rl_grad(x) : NULL; }

rl_tensor *rl_grad_of(rl_tensor *x) {
    if (!x || !rl_data(x)) return NULL;
    rl_tensor *g = rl_new(RL_F32, x->ndim, x->dim);
    if (rl_tensor_allocate(g)) { free(g); return NULL; }
    rl_scope_add(g);
    rl_param_settle(x);
    const float *from = rl_grad(x);
    if (!from) { rl_tensor_release(g); return NULL; }
    if (x->panels) rl_k->unpack((rl_part){ 0, 1 }, g->data, from, rl_nrows(x), rl_cols(x));
    else memcpy(g->data, from, 4 * (size_t)rl_numel(x));
    return g;
}
