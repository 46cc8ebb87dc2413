/* Attention over the forest of segments: in training over the rows of the batch, in a rollout over
 * the cache that the rows are first put into. */
#include "runtime.h"

static void attention_run(const rl_node *n, rl_part p) {
    const rl_tensor *q = n->in[0], *k = n->in[1], *v = n->in[2];
    const rl_table *t = n->in[3]->data;
    const int l = n->i[0];
    const int64_t heads = q->dim[1], kv_heads = k->dim[1], hd = q->dim[2];
    const void *kd = k->data, *vd = v->data;
    if (t->cache) {
        kd = t->cache->k[l], vd = t->cache->v[l];
        rl_k->cache_rows(p, n->t, t->cache->k[l], t->cache->v[l], k->data, v->data, t->slots,
                         k->dim[0], kv_heads * hd);
        rl_pool_meet(p);
    }
    const rl_tensor *out = n->out[0], *max = n->out[1], *sum = n->out[2];
    rl_k->attention(p, n->t, t->cache != NULL, out->data, max->data, sum->data, q->data, kd, vd,
                    t->runs, t->nruns, t->spans, heads, kv_heads, hd, heads * hd, kv_heads * hd,
                    (float)n->f[0]);
}

static void attention_grad(const rl_node *n, rl_part p) {
    rl_tensor *q = n->in[0], *k = n->in[1], *v = n->in[2];
    const rl_table *t = n->in[3]->data;
    const int64_t heads = q->dim[1], kv_heads = k->dim[1], hd = q->dim[2];
    rl_tensor *out = n->out[0], *max = n->out[1], *sum = n->out[2];
    rl_k->attention_grad(p, n->t, rl_grad_or_null(q), rl_grad_or_null(k), rl_grad_or_null(v),
                         rl_grad(out), out->data, max->data, sum->data, q->data, k->data, v->data,
                         t->runs, t->trees, t->ntrees, t->spans, heads, kv_heads, hd, heads * hd,
                         kv_heads * hd, (float)n->f[0]);
}

static double attention_work(const rl_node *n) {
    const rl_table *t = n->in[3]->data;
    double keys = 0;
    for (int i = 0; i < t->nruns; i++) keys += (double)t->runs[i].qn * t->runs[i].keys;
    return keys * (double)rl_cols(n->out[0]) / 2;
}
const rl_op rl_op_attention = { "attention", attention_run, attention_grad, 15, 7, attention_work };

/* How many attentions over this table the tape holds already: the layer of its cache. */
static int layer(const rl_tensor *table) {
    int l = 0;
    const rl_tape *t = table->tape;
    for (int i = 0; t && i < t->nnodes; i++)
        l += t->nodes[i].op == &rl_op_attention && t->nodes[i].in[3] == table;
    return l;
}

/* q [rows, heads, d], k and v [rows, kv_heads, d], heads a multiple of kv_heads */
static bool fit(const rl_tensor *q, const rl_tensor *k, const rl_tensor *v) {
    if (q->ndim != 3 || k->ndim != 3 || v->ndim != 3 || k->dim[1] < 1) return false;
    for (int i = 0; i < 3; i++)
        if (v->dim[i] != k->dim[i]) return false;
    return q->dim[0] == k->dim[0] && q->dim[1] % k->dim[1] == 0 && q->dim[2] == k->dim[2];
}

rl_tensor *rl_attention(rl_tensor *q, rl_tensor *k, rl_tensor *v, rl_tensor *table, double scale) {
    if (!q || !k || !v || !table) return NULL;
    if (!fit(q, k, v))
        return rl_fail("attention: expected q [rows, heads, d], k and v [rows, kv_heads, d], "
                       "got %s, %s, %s", rl_shape(q), rl_shape(k), rl_shape(v));
    if (table->dtype != RL_TABLE)
        return rl_fail("attention: table: expected a table of segments, got numbers");
    const int64_t out[] = { q->dim[0], q->dim[1] * q->dim[2] }, stat[] = { q->dim[0], q->dim[1] };
    rl_node n = { .in = { q, k, v, table }, .f = { scale }, .i = { layer(table) } };
    n.out[0] = rl_new(RL_F32, 2, out);
    n.out[1] = rl_new(RL_F32, 2, stat), n.out[2] = rl_new(RL_F32, 2, stat);     /* max, sum */
    return rl_apply(&rl_op_attention, n);
}
