/* The linear layer, over weights that live in panels. */
#include "runtime.h"
#include <stdlib.h>

static const void *weights(const rl_node *n) {
    return n->t == RL_BF16 ? (void *)n->in[1]->half : n->in[1]->data;
}

static void linear_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *b = n->in[2];
    rl_multiply(n, p, n->out[0]->data, x->data, b ? b->data : NULL, rl_nrows(x));
}
static void linear_grad(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0], *w = n->in[1];
    const float *dy = rl_grad(n->out[0]);
    const int64_t rows = rl_nrows(x);
    float *dx = rl_grad_or_null(x), *dw = rl_grad_or_null(w), *db = rl_grad_or_null(n->in[2]);
    if (dx) rl_k->matmul_dx(p, n->t, dx, dy, w->dim[0], weights(n), rows, w->dim[0], w->dim[1]);
    if (dw) rl_k->matmul_dw(p, n->t, dw, dy, x->data, rows, w->dim[0], w->dim[1]);
    if (db) rl_k->column_sum(p, db, dy, rows, w->dim[0]);
}
static double linear_work(const rl_node *n) {
    return (double)rl_numel(n->out[0]) * (double)rl_cols(n->in[0]) / 4;
}
static const rl_op linear = { "linear", linear_run, linear_grad, 3, 0, linear_work };

static void pack_run(const rl_node *n, rl_part p) {
    rl_k->pack(p, n->out[0]->data, n->in[0]->data, n->in[0]->dim[0], n->in[0]->dim[1]);
}
/* dw += the gradient out of its panels */
static void pack_grad(const rl_node *n, rl_part p) {
    const int64_t rows = n->in[0]->dim[0], k = n->in[0]->dim[1];
    const float *from = rl_grad(n->out[0]);
    float *dw = rl_grad(n->in[0]);
    for (int64_t r = p.i * rows / p.n; r < (p.i + 1) * rows / p.n; r++)
        for (int64_t i = 0; i < k; i++)
            dw[r * k + i] += from[(r / RL_PANEL * k + i) * RL_PANEL + r % RL_PANEL];
}
static const rl_op pack = { "pack", pack_run, pack_grad, 0, 0, NULL };

rl_tensor *rl_linear(rl_tensor *x, rl_tensor *w, rl_tensor *bias) {
    if (!x || !w) return NULL;
    if (rl_want_floats("linear", "x", x) || rl_want_floats("linear", "w", w)) return NULL;
    if (bias && rl_want_floats("linear", "bias", bias)) return NULL;
    if (w->ndim != 2 || w->dim[1] != rl_cols(x))
        return rl_fail("linear: w: expected [n, %lld], the last axis of x %s, got %s",
                       (long long)rl_cols(x), rl_shape(x), rl_shape(w));
    if (bias && (bias->ndim != 1 || bias->dim[0] != w->dim[0]))
        return rl_fail("linear: bias: expected [%lld] as w %s, got %s", (long long)w->dim[0],
                       rl_shape(w), rl_shape(bias));
    if (!w->panels) {
        rl_tensor *packed = rl_like(w);
        packed->panels = true;
        w = rl_apply(&pack, (rl_node){ .in = { w }, .out = { packed } });
        if (!w) return NULL;
        w->released = true;
    }
    rl_tensor *y = rl_like_cols(x, w->dim[0]);
    return rl_apply(&linear, (rl_node){ .in = { x, w, bias }, .out = { y } });
}
