/* Normalisation over the last axis. */
#include "runtime.h"
#include <stdlib.h>

static void rmsnorm_run(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0], *w = n->in[1], *y = n->out[0], *rstd = n->out[1];
    rl_k->rmsnorm(p, y->data, rstd->data, x->data, w->data, rl_nrows(x), rl_cols(x),
                  (float)n->f[0]);
}
static void rmsnorm_grad(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0], *w = n->in[1], *y = n->out[0], *rstd = n->out[1];
    rl_k->rmsnorm_grad(p, rl_grad_or_null(x), rl_grad_or_null(w), rl_grad(y), x->data, w->data,
                       rstd->data, rl_nrows(x), rl_cols(x));
}
static const rl_op rmsnorm = { "rmsnorm", rmsnorm_run, rmsnorm_grad, 3, 2, NULL };

static int check_vector(const char *op, const char *which, const rl_tensor *x, const rl_tensor *w) {
    if (rl_want_floats(op, "x", x) || rl_want_floats(op, which, w)) return -1;
    if (x->ndim && w->ndim == 1 && w->dim[0] == rl_cols(x)) return 0;
    return rl_refuse("%s: %s: expected [%lld], the last axis of x %s, got %s", op, which,
                     (long long)rl_cols(x), rl_shape(x), rl_shape(w));
}

/* A number for each row of x. */
static rl_tensor *by_row(const rl_tensor *x) { return rl_new(RL_F32, x->ndim - 1, x->dim); }

static int check_eps(const char *op, double eps) {
    return eps > 0 ? 0 : rl_refuse("%s: eps: expected a number above 0, got %g", op, eps);
}

rl_tensor *rl_rmsnorm(rl_tensor *x, rl_tensor *w, double eps) {
    if (!x || !w) return NULL;                  /* an earlier op failed: its message stands */
    if (check_vector("rmsnorm", "w", x, w) || check_eps("rmsnorm", eps)) return NULL;
    const rl_node n = { .in = { x, w }, .out = { rl_like(x), by_row(x) }, .f = { eps } };
    return rl_apply(&rmsnorm, n);
}

static void layernorm_run(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2];
    rl_tensor *y = n->out[0], *mean = n->out[1], *rstd = n->out[2];
    rl_k->layernorm(p, y->data, mean->data, rstd->data, x->data, w->data, b->data,
                    rl_nrows(x), rl_cols(x), (float)n->f[0]);
}
static void layernorm_grad(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2];
    rl_tensor *y = n->out[0], *mean = n->out[1], *rstd = n->out[2];
    rl_k->layernorm_grad(p, rl_grad_or_null(x), rl_grad_or_null(w), rl_grad_or_null(b), rl_grad(y),
                         x->data, w->data, mean->data, rstd->data, rl_nrows(x), rl_cols(x));
}
static const rl_op layernorm = { "layernorm", layernorm_run, layernorm_grad, 3, 6, NULL };

rl_tensor *rl_layernorm(rl_tensor *x, rl_tensor *w, rl_tensor *b, double eps) {
    if (!x || !w || !b) return NULL;
    if (check_vector("layernorm", "w", x, w) || check_vector("layernorm", "b", x, b)) return NULL;
    if (check_eps("layernorm", eps)) return NULL;
    rl_tensor *y = rl_like(x), *mean = by_row(x), *rstd = by_row(x);
    const rl_node n = { .in = { x, w, b }, .out = { y, mean, rstd }, .f = { eps } };
    return rl_apply(&layernorm, n);
}
