/* Sums: over an axis, over everything, over runs of elements. */
#include "runtime.h"
#include <stdlib.h>

/* x as [outer, n, inner], n the axis that goes; axis -1: all of x. */
static void cut(const rl_tensor *x, int axis, int64_t *outer, int64_t *n, int64_t *inner) {
    *outer = *inner = 1, *n = axis < 0 ? rl_numel(x) : x->dim[axis];
    for (int i = 0; axis >= 0 && i < x->ndim; i++)
        if (i < axis) *outer *= x->dim[i];
        else if (i > axis) *inner *= x->dim[i];
}

static void sum_run(const rl_node *n, rl_part p) {
    int64_t outer, len, inner;
    cut(n->in[0], n->i[0], &outer, &len, &inner);
    rl_k->sum(p, n->out[0]->data, n->in[0]->data, outer, len, inner);
}
static void sum_grad(const rl_node *n, rl_part p) {
    int64_t outer, len, inner;
    cut(n->in[0], n->i[0], &outer, &len, &inner);
    rl_k->sum_grad(p, rl_grad(n->in[0]), rl_grad(n->out[0]), outer, len, inner);
}
static double sum_work(const rl_node *n) { return (double)rl_numel(n->in[0]); }
static const rl_op sum = { "sum", sum_run, sum_grad, 0, 0, sum_work };

rl_tensor *rl_sum(rl_tensor *x, int axis) {
    if (!x) return NULL;
    if (rl_want_floats("sum", "x", x)) return NULL;
    if (axis < -1 || axis >= x->ndim)
        return rl_fail("sum: axis: expected -1 to %d, got %d", x->ndim - 1, axis);
    int64_t dim[RL_MAX_DIM];
    int ndim = 0;
    for (int i = 0; axis >= 0 && i < x->ndim; i++)
        if (i != axis) dim[ndim++] = x->dim[i];
    rl_tensor *y = rl_new(RL_F32, ndim, dim);
    return rl_apply(&sum, (rl_node){ .in = { x }, .out = { y }, .i = { axis } });
}

static void segment_sum_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *first = n->in[1], *y = n->out[0];
    rl_k->segment_sum(p, y->data, x->data, first->data, rl_numel(y));
}
static void segment_sum_grad(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0], *y = n->out[0];
    rl_k->segment_expand(p, rl_grad(x), rl_grad(y), n->in[1]->data, rl_numel(y), 1);
}
static const rl_op segment_sum = {
    "segment_sum", segment_sum_run, segment_sum_grad, 2, 0, sum_work
};

static void segment_expand_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *first = n->in[1];
    rl_k->segment_expand(p, n->out[0]->data, x->data, first->data, rl_numel(x), 0);
}
/* dx[s] += sum of dy over the segment, in double and in order. */
static void segment_expand_grad(const rl_node *n, rl_part p) {
    const int64_t segments = rl_numel(n->in[0]);
    const int32_t *first = n->in[1]->data;
    const float *dy = rl_grad(n->out[0]);
    float *dx = rl_grad(n->in[0]);
    for (int64_t s = p.i * segments / p.n; s < (p.i + 1) * segments / p.n; s++) {
        double total = 0;
        for (int32_t i = first[s]; i < first[s + 1]; i++) total += dy[i];
        dx[s] += (float)total;
    }
}
static const rl_op segment_expand = {
    "segment_expand", segment_expand_run, segment_expand_grad, 2, 0, NULL
};

/* x: numbers on one axis.  first: rising from 0, for so many segments (below 0: for at least none);
 * its last element is what x or y holds (elements; below 0: whatever it is). */
static int check_segments(const char *op, const rl_tensor *x, const rl_tensor *first,
                          int64_t segments, int64_t elements) {
    if (rl_want_floats(op, "x", x)) return -1;
    if (x->ndim != 1) return rl_refuse("%s: x: expected one axis, got %s", op, rl_shape(x));
    if (segments < 0) segments = 0;
    if (first->dtype != RL_I32 || first->ndim != 1 || first->dim[0] != segments + 1)
        return rl_refuse("%s: first: expected [%lld] integers, got %s", op,
                         (long long)segments + 1, rl_shape(first));
    const int32_t *f = first->data;
    if (!f) return rl_refuse("%s: first: expected numbers, got symbolic rows", op);
    for (int64_t s = 0; s < segments; s++)
        if (f[s + 1] < f[s])
            return rl_refuse("%s: first: expected rising numbers, got %d after %d", op, f[s + 1],
                             f[s]);
    if (f[0] != 0 || (elements >= 0 && f[segments] != elements))
        return rl_refuse("%s: first: expected 0 to %lld, got %d to %d", op, (long long)elements,
                         f[0], f[segments]);
    return 0;
}

rl_tensor *rl_segment_sum(rl_tensor *x, rl_tensor *first) {
    if (!x || !first) return NULL;
    const int64_t segments = first->dim[0] - 1;
    if (check_segments("segment_sum", x, first, segments, x->dim[0])) return NULL;
    rl_tensor *y = rl_new(RL_F32, 1, &segments);
    return rl_apply(&segment_sum, (rl_node){ .in = { x, first }, .out = { y } });
}

rl_tensor *rl_segment_expand(rl_tensor *x, rl_tensor *first) {
    if (!x || !first) return NULL;
    if (check_segments("segment_expand", x, first, x->dim[0], -1)) return NULL;
    const int64_t elements = ((int32_t *)first->data)[x->dim[0]];
    rl_tensor *y = rl_new(RL_F32, 1, &elements);
    return rl_apply(&segment_expand, (rl_node){ .in = { x, first }, .out = { y } });
}
