/* Rotary positions: a table of cosines and sines, once a replay, turns q and k of every layer. */
#include "runtime.h"

static void table_run(const rl_node *n, rl_part p) {
    const rl_tensor *positions = n->in[0], *inv_freq = n->in[1], *axis = n->in[2];
    rl_k->rope_table(p, n->out[0]->data, positions->data, inv_freq->data, axis->data,
                     positions->dim[0], inv_freq->dim[0]);
}
static const rl_op table = { "rope_table", table_run, NULL, 0, 0, NULL };

/* Each frequency's axis is one that positions have, where these are known. */
static int check_axes(const rl_tensor *positions, const rl_tensor *axis) {
    const long long axes = positions->ndim > 1 ? rl_cols(positions) : 1;
    const int32_t *at = positions->tape || axis->tape ? NULL : axis->data;
    for (int64_t j = 0; at && j < axis->dim[0]; j++)
        if (at[j] < 0 || at[j] >= axes)
            return rl_refuse("rope_table: axis: expected one of the %lld that positions have, "
                             "got %d", axes, at[j]);
    return 0;
}

rl_tensor *rl_rope_table(rl_tensor *positions, rl_tensor *inv_freq, rl_tensor *axis) {
    if (!positions || !inv_freq || !axis) return NULL;
    if (rl_want_floats("rope_table", "inv_freq", inv_freq)) return NULL;
    if (positions->dtype != RL_I32 || positions->ndim < 1 || axis->dtype != RL_I32 ||
        axis->ndim != 1 || inv_freq->ndim != 1 || axis->dim[0] != inv_freq->dim[0])
        return rl_fail("rope_table: expected integer positions and one axis a frequency, "
                       "got %s, %s, %s", rl_shape(positions), rl_shape(inv_freq), rl_shape(axis));
    if (check_axes(positions, axis)) return NULL;
    const int64_t dim[] = { positions->dim[0], 2 * inv_freq->dim[0] };
    rl_tensor *y = rl_new(RL_F32, 2, dim);
    return rl_apply(&table, (rl_node){ .in = { positions, inv_freq, axis }, .out = { y } });
}

/* to, from: shaped as x [rows, heads, 2 half]; sign and add as of the kernel. */
static void turn(rl_part p, const rl_tensor *x, const rl_tensor *cs, float *to, const float *from,
                 int sign, int add) {
    const int64_t stride = x->dim[1] * x->dim[2];
    rl_k->rope(p, to, from, cs->data, x->dim[0], x->dim[1], x->dim[2] / 2, stride, stride, sign,
               add);
}

static void rope_run(const rl_node *n, rl_part p) {
    turn(p, n->in[0], n->in[1], n->out[0]->data, n->in[0]->data, 1, 0);
}
static void rope_grad(const rl_node *n, rl_part p) {
    turn(p, n->in[0], n->in[1], rl_grad(n->in[0]), rl_grad(n->out[0]), -1, 1);
}
static const rl_op rope = { "rope", rope_run, rope_grad, 2, 0, NULL };

rl_tensor *rl_rope(rl_tensor *x, rl_tensor *cs) {
    if (!x || !cs) return NULL;
    if (rl_want_floats("rope", "x", x) || rl_want_floats("rope", "table", cs)) return NULL;
    if (x->ndim != 3 || cs->ndim != 2 || x->dim[2] != rl_cols(cs) || x->dim[0] != cs->dim[0])
        return rl_fail("rope: x: expected [rows, heads, %lld] with the rows of the table %s, "
                       "got %s", (long long)rl_cols(cs), rl_shape(cs), rl_shape(x));
    return rl_apply(&rope, (rl_node){ .in = { x, cs }, .out = { rl_like(x) } });
}
