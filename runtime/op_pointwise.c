/* Element by element: one number in, or two with broadcasting. */
#include "runtime.h"
#include <string.h>

/* The index of name in a list of words separated by blanks, or -1. */
static int word(const char *list, const char *name) {
    const size_t n = strlen(name);
    for (int i = 0; *list; i++) {
        const size_t w = strcspn(list, " ");
        if (w == n && !memcmp(list, name, n)) return i;
        list += w + (list[w] == ' ');
    }
    return -1;
}

static void unary_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *y = n->out[0];
    const float a = (float)n->f[0], b = (float)n->f[1];
    rl_k->unary(p, n->i[0], y->data, x->data, rl_numel(x), a, b);
}
static void unary_grad(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0], *y = n->out[0];
    const float a = (float)n->f[0], b = (float)n->f[1];
    rl_k->unary_grad(p, n->i[0], rl_grad(x), rl_grad(y), x->data, y->data, rl_numel(x), a, b);
}
static const rl_op unary = { "unary", unary_run, unary_grad, 1, 1, NULL };

rl_tensor *rl_unary(rl_tensor *x, const char *op, double a, double b) {
    static const char names[] = "neg exp log sqrt abs sqr silu sigmoid tanh gelu gelu_tanh "
                                "gelu_quick clamp affine pow";
    if (!x) return NULL;
    const int kind = word(names, op);
    if (kind < 0) return rl_fail("unary: op: expected one of %s, got %s", names, op);
    if (rl_want_floats(op, "x", x)) return NULL;
    if (kind == RL_CLAMP && a > b)
        return rl_fail("clamp: bounds: expected the lower first, got %g, %g", a, b);
    const rl_node n = { .in = { x }, .out = { rl_like(x) }, .i = { kind }, .f = { a, b } };
    return rl_apply(&unary, n);
}

/* Broadcasting as NumPy's: axes are matched from the last one; stride 0 where a length is 1. */
typedef struct { int64_t dim[4], a[4], b[4]; } shapes;

static int64_t axis_from_end(const rl_tensor *x, int k) {
    return k < x->ndim ? x->dim[x->ndim - 1 - k] : 1;
}

static shapes broadcast(const rl_tensor *a, const rl_tensor *b) {
    shapes s;
    int64_t na = 1, nb = 1;
    for (int k = 0; k < 4; k++) {
        const int64_t da = axis_from_end(a, k), db = axis_from_end(b, k);
        s.dim[3 - k] = da == 1 ? db : da;
        s.a[3 - k] = da == 1 ? 0 : na;
        s.b[3 - k] = db == 1 ? 0 : nb;
        na *= da, nb *= db;
    }
    return s;
}

static void binary_run(const rl_node *n, rl_part p) {
    const shapes s = broadcast(n->in[0], n->in[1]);
    rl_k->binary(p, n->i[0], n->out[0]->data, n->in[0]->data, n->in[1]->data, s.dim, s.a, s.b);
}
static void binary_grad(const rl_node *n, rl_part p) {
    rl_tensor *a = n->in[0], *b = n->in[1];
    const float *dy = rl_grad(n->out[0]);
    const shapes s = broadcast(a, b);
    for (int which = 0; which < 2; which++) {
        float *dx = rl_grad_or_null(n->in[which]);
        if (dx) rl_k->binary_grad(p, n->i[0], which, dx, dy, a->data, b->data, s.dim, s.a, s.b);
        if (rl_root(a) == rl_root(b)) rl_pool_meet(p);      /* both add to the same place */
    }
}
static const rl_op binary = { "binary", binary_run, binary_grad, 3, 0, NULL };
/* Sums need no input for their gradient. */
static const rl_op add = { "add", binary_run, binary_grad, 0, 0, NULL };

rl_tensor *rl_binary(rl_tensor *a, rl_tensor *b, const char *op) {
    static const char names[] = "add sub mul div min max lt le eq";
    if (!a || !b) return NULL;
    const int kind = word(names, op);
    if (kind < 0) return rl_fail("binary: op: expected one of %s, got %s", names, op);
    if (rl_want_floats(op, "a", a) || rl_want_floats(op, "b", b)) return NULL;
    int64_t dim[RL_MAX_DIM];
    const int ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int k = 0; k < ndim; k++) {
        const int64_t da = axis_from_end(a, k), db = axis_from_end(b, k);
        if (da != db && da != 1 && db != 1)
            return rl_fail("%s: b: expected a shape that goes with %s, got %s", op, rl_shape(a),
                           rl_shape(b));
        dim[ndim - 1 - k] = da == 1 ? db : da;
    }
    const rl_node n = { .in = { a, b }, .out = { rl_new(RL_F32, ndim, dim) }, .i = { kind } };
    return rl_apply(kind == RL_ADD || kind == RL_SUB ? &add : &binary, n);
}

static void swiglu_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *up = n->in[1];
    rl_k->swiglu(p, n->out[0]->data, x->data, up->data, rl_numel(x));
}
static void swiglu_grad(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0], *up = n->in[1];
    rl_k->swiglu_grad(p, rl_grad_or_null(x), rl_grad_or_null(up), rl_grad(n->out[0]),
                      x->data, up->data, rl_numel(x));
}
static const rl_op swiglu = { "swiglu", swiglu_run, swiglu_grad, 3, 0, NULL };

rl_tensor *rl_swiglu(rl_tensor *x, rl_tensor *up) {
    if (!x || !up) return NULL;
    if (rl_want_floats("swiglu", "x", x) || rl_want_floats("swiglu", "up", up)) return NULL;
    if (x->ndim != up->ndim || memcmp(x->dim, up->dim, sizeof x->dim))
        return rl_fail("swiglu: up: expected %s as x, got %s", rl_shape(x), rl_shape(up));
    return rl_apply(&swiglu, (rl_node){ .in = { x, up }, .out = { rl_like(x) } });
}
