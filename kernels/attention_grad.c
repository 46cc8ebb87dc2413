/* Attention, backward.  With p = exp(scale s - max) / sum and D = dout . out:
 *   ds = p (dout . v - D) scale,   dq += ds k,   dk += ds^T q,   dv += p^T dout
 * Every element is a chain over keys (dq) or over runs, queries and heads in order (dk, dv). */
#include "attention.h"

typedef struct {
    rl_dtype t;
    float *dq, *dk, *dv, scale;
    const float *dout, *out, *max, *sum, *q, *k, *v;
    int64_t heads, group, dim, q_stride, kv_stride;
} pass;

/* s, dp [rows][stride] -> p and ds in their places. */
static void slopes(const pass *a, const rl_run *u, int64_t i, int64_t rows, int64_t head, int64_t keys, int64_t stride,
                   float *s, float *dp) {
    for (int64_t r = 0; r < rows; r++) {
        const int64_t row = u->q0 + i + r / a->group, h = head * a->group + r % a->group, see = seen(u, i + r / a->group);
        const float *g = a->dout + (row * a->heads + h) * a->dim, *o = a->out + (row * a->heads + h) * a->dim;
        const float max = a->max[row * a->heads + h], inverse = 1 / a->sum[row * a->heads + h];
        const float d = SUM(c, a->dim, g[c] * o[c]);
        float *sr = s + r * stride, *dr = dp + r * stride;
#pragma omp simd
        for (int64_t j = 0; j < see; j++) {
            const float p = exp_(sr[j] * a->scale - max) * inverse;
            dr[j] = p * (dr[j] - d) * a->scale;
            sr[j] = p;
        }
        memset(sr + see, 0, 4 * (size_t)(keys - see));
        memset(dr + see, 0, 4 * (size_t)(keys - see));
    }
}

/* grad rows of the keys += w^T x: w [rows][stride] by keys, x as panels. */
static void add_to_keys(const pass *a, float *grad, const rl_run *u, const rl_span *spans, int64_t head, const float *w,
                        int64_t stride, const float *x, int64_t rows, int64_t keys) {
    const form f = form_of(a->t);
    for (int64_t i = u->span0, j = 0; j < keys; j += spans[i++].n) {
        const matrix to = { grad + spans[i].row * a->kv_stride + head * a->dim, a->kv_stride, RL_PANEL, a->dim };
        const int64_t n = least(keys - j, spans[i].n), step = steps_of(f, rows) * RL_PANEL;
        CPU(multiply)(f, true, to, n, w + j, stride, x, step, rows, false, NULL);
    }
}

/* Panels of a run for one kv head: keys across and down, values across. */
typedef struct { const float *kt, *kd, *vt; } packed;

static void some_queries(const pass *a, const rl_run *u, const rl_span *spans, int64_t i, int64_t count, int64_t head,
                         packed x) {
    const form f = form_of(a->t);
    const int64_t rows = count * a->group, dim = a->dim, keys = seen(u, i + count - 1), stride = up16(u->keys);
    float *q = room(3, rows * dim), *g = room(4, rows * dim), *s = room(6, rows * stride), *ds = room(7, rows * stride);
    float *panels = room(8, up2(rows) * up16(dim)), *dq = room(9, rows * dim);
    gather_queries(q, a->q, a->q_stride, u->q0 + i, count, head, a->group, dim);
    gather_queries(g, a->dout, a->heads * dim, u->q0 + i, count, head, a->group, dim);
    product_of_rows(f, s, stride, q, dim, x.kt, dim, rows, up16(keys), dim);
    product_of_rows(f, ds, stride, g, dim, x.vt, dim, rows, up16(keys), dim);
    slopes(a, u, i, rows, head, keys, stride, s, ds);
    CPU(panels_of_rows)(a->t, panels, g, dim, rows, dim);
    if (a->dv) add_to_keys(a, a->dv, u, spans, head, s, stride, panels, rows, keys);
    CPU(panels_of_rows)(a->t, panels, q, dim, rows, dim);
    if (a->dk) add_to_keys(a, a->dk, u, spans, head, ds, stride, panels, rows, keys);
    if (!a->dq) return;
    product_of_rows(f, dq, dim, ds, stride, x.kd, u->keys, rows, dim, keys);
    for (int64_t r = 0; r < rows; r++) {
        float *to = a->dq + (u->q0 + i + r / a->group) * a->q_stride + (head * a->group + r % a->group) * dim;
#pragma omp simd
        for (int64_t d = 0; d < dim; d++) to[d] += dq[r * dim + d];
    }
}

static void one_run(const pass *a, const rl_run *u, const rl_span *spans, int64_t head) {
    const source ks = { RL_F32, a->k, a->kv_stride, head, a->dim }, vs = { RL_F32, a->v, a->kv_stride, head, a->dim };
    const int64_t keys = u->keys, block = queries_of(u, 2 * a->group);
    float *kt = room(0, up16(keys) * up2(a->dim)), *vt = room(1, up16(keys) * up2(a->dim));
    float *kd = room(2, up2(keys) * up16(a->dim));
    const int32_t *row = rows_of(u, spans);
    keys_across(a->t, kt, &ks, row, keys);
    keys_across(a->t, vt, &vs, row, keys);
    keys_down(a->t, kd, &ks, row, keys);
    for (int64_t i = 0; i < u->qn; i += block)
        some_queries(a, u, spans, i, least(block, u->qn - i), head, (packed){ kt, kd, vt });
}

void CPU(attention_grad)(rl_part p, rl_dtype t, float *dq, float *dk, float *dv, const float *dout, const float *out,
                         const float *max, const float *sum, const float *q, const float *k, const float *v,
                         const rl_run *runs, const int32_t *trees, int64_t ntrees, const rl_span *spans, int64_t heads,
                         int64_t kv_heads, int64_t head_dim, int64_t q_stride, int64_t kv_stride, float scale) {
    const pass a = { t, dq, dk, dv, scale, dout, out, max, sum, q, k, v, heads, heads / kv_heads, head_dim,
                     q_stride, kv_stride };
    int64_t all = 0, before = 0;
    for (int64_t r = 0; r < trees[ntrees]; r++) all += (int64_t)(runs[r].qn + 4) * runs[r].keys * kv_heads;
    for (int64_t tree = 0; tree < ntrees; tree++)
        for (int64_t h = 0; h < kv_heads; h++) {
            const int64_t mine = before * p.n / (all ? all : 1);
            for (int32_t r = trees[tree]; r < trees[tree + 1]; r++) {
                before += (int64_t)(runs[r].qn + 4) * runs[r].keys;
                if (mine == p.i) one_run(&a, &runs[r], spans, h);
            }
        }
}
