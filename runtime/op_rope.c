/* Rotary positions: a table of cosines and sines once a replay, turned into q and k of every layer. */
#include "runtime.h"

static void table_run(const rl_node *n, rl_part p) {
    rl_k->rope_table(p, n->out[0]->data, n->in[0]->data, n->in[1]->data, n->in[2]->data, n->in[0]->dim[0],
                     n->in[1]->dim[0]);
}
static const rl_op table = { "rope_table", table_run, NULL, 0, 0, NULL };

rl_tensor *rl_rope_table(rl_tensor *positions, rl_tensor *inv_freq, rl_tensor *axis) {
    if (!positions || !inv_freq || !axis) return NULL;
    if (positions->dtype != RL_I32 || axis->dtype != RL_I32 || inv_freq->ndim != 1 || axis->dim[0] != inv_freq->dim[0])
        return rl_fail("rope_table: expected integer positions and one axis a frequency, got %s, %s, %s",
                       rl_shape(positions), rl_shape(inv_freq), rl_shape(axis));
    const int64_t dim[] = { positions->dim[0], 2 * inv_freq->dim[0] };
    return rl_apply(&table, (rl_node){ .in = { positions, inv_freq, axis }, .out = { rl_new(RL_F32, 2, dim) } });
}

static void rope_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0];
    const int64_t stride = x->dim[1] * x->dim[2];
    rl_k->rope(p, n->out[0]->data, x->data, n->in[1]->data, x->dim[0], x->dim[1], x->dim[2] / 2, stride, stride, 1, 0);
}
static void rope_grad(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0];
    const int64_t stride = x->dim[1] * x->dim[2];
    rl_k->rope(p, rl_grad(x), rl_grad(n->out[0]), n->in[1]->data, x->dim[0], x->dim[1], x->dim[2] / 2, stride,
               stride, -1, 1);
}
static const rl_op rope = { "rope", rope_run, rope_grad, 2, 0, NULL };

rl_tensor *rl_rope(rl_tensor *x, rl_tensor *cs) {
    if (!x || !cs) return NULL;
    if (x->ndim != 3 || cs->ndim != 2 || x->dim[2] != rl_cols(cs) || x->dim[0] != cs->dim[0])
        return rl_fail("rope: x: expected [rows, heads, %lld] with the rows of the table %s, got %s",
                       (long long)rl_cols(cs), rl_shape(cs), rl_shape(x));
    return rl_apply(&rope, (rl_node){ .in = { x, cs }, .out = { rl_like(x) } });
}
