/* Attention, forward: all scores of some query rows, their exact maximum, then one chain over the keys. */
#include "attention.h"

/* Row r of s [keys]: p = exp(scale s - max) for the keys it sees, 0 behind them; gives their sum. */
static float soften(float *s, int64_t see, int64_t keys, float scale, float *max) {
    float top = -INFINITY;
    for (int64_t j = 0; j < see; j++) {
        s[j] *= scale;
        top = s[j] > top ? s[j] : top;
    }
#pragma omp simd
    for (int64_t j = 0; j < see; j++) s[j] = exp_(s[j] - top);
    for (int64_t j = see; j < keys; j++) s[j] = 0;
    *max = top;
    return SUM(j, see, s[j]);
}

typedef struct {
    rl_dtype t;
    float *out, *max, *sum, scale;
    const float *q;
    int64_t heads, group, dim, q_stride;
} pass;

/* Queries [i, i + count) of a run against the packed keys and values of kv head `head`. */
static void some_queries(const pass *a, const rl_run *u, int64_t i, int64_t count, int64_t head, const float *k, const float *v) {
    const int64_t rows = count * a->group, keys = seen(u, i + count - 1), stride = up16(u->keys);
    float *q = room(2, rows * a->dim);
    float *s = room(4, rows * stride), *o = room(5, rows * a->dim);
    gather_queries(q, a->t, a->q, a->q_stride, u->q0 + i, count, head, a->group, a->dim);
    product_of_rows(s, stride, q, a->dim, k, a->dim, rows, up16(keys), a->dim);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = (u->q0 + i + r / a->group) * a->heads + head * a->group + r % a->group;
        float max, sum = soften(s + r * stride, seen(u, i + r / a->group), keys, a->scale, &max);
        if (a->max) a->max[at] = max, a->sum[at] = sum;
        o[r] = sum;
        for (int64_t j = 0; a->t == RL_BF16 && j < keys; j++) s[r * stride + j] = as_bf16(s[r * stride + j]);
    }
    for (int64_t r = 0; r < rows; r++) q[r] = 1 / o[r];
    product_of_rows(o, a->dim, s, stride, v, u->keys, rows, a->dim, keys);
    for (int64_t r = 0; r < rows; r++) {
        float *to = a->out + (u->q0 + i + r / a->group) * a->heads * a->dim + (head * a->group + r % a->group) * a->dim;
        for (int64_t d = 0; d < a->dim; d++) to[d] = o[r * a->dim + d] * q[r];
    }
}

/* Shares are (run, kv head, 64 queries), dealt out so that each part has about the same number of scores. */
void CPU(attention)(rl_part p, rl_dtype t, rl_dtype kv, float *out, float *max, float *sum, const float *q, const void *k,
                    const void *v, const rl_run *runs, int64_t nruns, const rl_span *spans, int64_t heads,
                    int64_t kv_heads, int64_t head_dim, int64_t q_stride, int64_t kv_stride, float scale) {
    const pass a = { t, out, max, sum, scale, q, heads, heads / kv_heads, head_dim, q_stride };
    int64_t all = 0, before = 0;
    for (int64_t r = 0; r < nruns; r++) all += (int64_t)(runs[r].qn + 2) * runs[r].keys * kv_heads;
    for (int64_t r = 0; r < nruns; r++) {
        const rl_run *u = &runs[r];
        for (int64_t h = 0; h < kv_heads; h++) {
            float *kt = NULL, *vt = NULL;
            for (int64_t i = 0; i < u->qn; i += QUERIES) {
                const int64_t count = u->qn - i < QUERIES ? u->qn - i : QUERIES;
                const int64_t mine = before * p.n / (all ? all : 1);
                before += (count + (i ? 0 : 2)) * u->keys;
                if (mine != p.i) continue;
                if (!kt) {
                    keys_across(kt = room(0, up16(u->keys) * head_dim), &(source){ t, kv, k, kv_stride, h, head_dim }, u, spans, u->keys);
                    keys_down(vt = room(1, u->keys * up16(head_dim)), &(source){ t, kv, v, kv_stride, h, head_dim }, u, spans, u->keys);
                }
                some_queries(&a, u, i, count, h, kt, vt);
            }
        }
    }
}
