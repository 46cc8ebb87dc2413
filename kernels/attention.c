/* Attention, forward: all scores of some query rows, their exact maximum, then one chain over the keys. */
#include "attention.h"

/* The cache keeps keys as panels of its slots, [slots / 16][steps of width][16], so that a product reads them where
 * they lie, and values row by row. */
void CPU(cache_rows)(rl_part p, rl_dtype kv, void *keys, void *values, const float *k, const float *v,
                     const int32_t *slots, int64_t rows, int64_t width) {
    for (int64_t r = first(p, rows); r < last(p, rows); r++) {
        const int64_t page = slots[r] / RL_PANEL, lane = slots[r] % RL_PANEL;
        const float *kr = k + r * width, *vr = v + r * width;
        if (kv == RL_BF16) {
            uint16_t *to = (uint16_t *)keys + page * width * RL_PANEL + 2 * lane;
            uint16_t *down = (uint16_t *)values + slots[r] * width;
            for (int64_t i = 0; i < width; i++)
                to[i / 2 * 2 * RL_PANEL + i % 2] = (uint16_t)(to_bits(as_bf16(kr[i])) >> 16);
#pragma omp simd
            for (int64_t i = 0; i < width; i++) down[i] = (uint16_t)(to_bits(as_bf16(vr[i])) >> 16);
        } else {
            float *to = (float *)keys + page * width * RL_PANEL + lane;
            for (int64_t i = 0; i < width; i++) to[i * RL_PANEL] = kr[i];
            memcpy((float *)values + slots[r] * width, vr, 4 * (size_t)width);
        }
    }
}

typedef struct {
    rl_dtype t;
    bool cached;
    float *out, *max, *sum, scale;
    const float *q;
    const void *k, *v;
    int64_t heads, group, dim, q_stride, kv_stride;
} pass;

/* Row r of s: p = exp(scale s - max) for the keys it sees, 0 behind them; gives their sum. */
static float soften(float *s, int64_t see, int64_t keys, float scale, float *max) {
    const float top = *max = MAX(j, see, s[j] * scale);
#pragma omp simd
    for (int64_t j = 0; j < see; j++) s[j] = exp_(s[j] * scale - top);
    memset(s + see, 0, 4 * (size_t)(keys - see));
    return SUM(j, see, s[j]);
}

/* Scores of rows against the first keys of a run, straight from the cache's panels.  A span begins with a page;
 * what stands behind its last row is overwritten by the next one's. */
static void cached_scores(const pass *a, const rl_run *u, const rl_span *spans, float *s, int64_t stride, const float *q,
                          int64_t rows, int64_t head, int64_t keys) {
    const form f = form_of(a->t);
    const int64_t step = steps_of(f, a->kv_stride) * RL_PANEL, from = steps_of(f, head * a->dim) * RL_PANEL;
    for (int64_t i = u->span0, j = 0; j < keys; j += spans[i++].n) {
        const float *b = (const float *)a->k + spans[i].row / RL_PANEL * step + from;
        const matrix c = { s + j, stride, RL_PANEL, up16(least(spans[i].n, keys - j)) };
        CPU(multiply)(f, false, c, rows, q, a->dim, b, step, a->dim, true, NULL);
    }
}

/* Queries [i, i + count) of a run against the panels of keys and values of kv head `head`. */
static void some_queries(const pass *a, const rl_run *u, const rl_span *spans, int64_t i, int64_t count, int64_t head,
                         const float *k, const float *v) {
    const form f = form_of(a->t);
    const int64_t rows = count * a->group, dim = a->dim, keys = seen(u, i + count - 1), stride = up16(u->keys) + 16;
    float *q = room(2, rows * dim), *s = room(3, rows * stride), *o = room(4, rows * dim), *sums = room(5, rows);
    gather_queries(q, a->q, a->q_stride, u->q0 + i, count, head, a->group, dim);
    if (a->cached) cached_scores(a, u, spans, s, stride, q, rows, head, keys);
    else product_of_rows(f, s, stride, q, dim, k, dim, rows, up16(keys), dim);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = (u->q0 + i + r / a->group) * a->heads + head * a->group + r % a->group;
        float max;
        sums[r] = soften(s + r * stride, seen(u, i + r / a->group), keys, a->scale, &max);
        if (a->max) a->max[at] = max, a->sum[at] = sums[r];
    }
    product_of_rows(f, o, dim, s, stride, v, u->keys, rows, dim, keys);
    for (int64_t r = 0; r < rows; r++) {
        const float inverse = 1 / sums[r];
        float *to = a->out + (u->q0 + i + r / a->group) * a->heads * dim + (head * a->group + r % a->group) * dim;
#pragma omp simd
        for (int64_t d = 0; d < dim; d++) to[d] = o[r * dim + d] * inverse;
    }
}

/* A run's queries for one kv head, as far as they are this part's: those whose count of scores so far is mine. */
static int64_t one_run(const pass *a, rl_part p, const rl_run *u, const rl_span *spans, int64_t head,
                       int64_t before, int64_t all) {
    const int64_t block = queries_of(u, a->group);
    const rl_dtype stored = a->cached ? a->t : RL_F32;
    float *k = NULL, *v = NULL;
    for (int64_t i = 0; i < u->qn; i += block) {
        const int64_t count = least(block, u->qn - i), mine = before * p.n / all;
        before += (count + (i ? 0 : 2)) * u->keys;
        if (mine != p.i) continue;
        if (!v) {
            const int32_t *row = rows_of(u, spans);
            const source ks = { stored, a->k, a->kv_stride, head, a->dim };
            const source vs = { stored, a->v, a->kv_stride, head, a->dim };
            if (!a->cached) keys_across(a->t, k = room(0, up16(u->keys) * up2(a->dim)), &ks, row, u->keys);
            keys_down(a->t, v = room(1, up2(u->keys) * up16(a->dim)), &vs, row, u->keys);
        }
        some_queries(a, u, spans, i, count, head, k, v);
    }
    return before;
}

/* Shares are (run, kv head, some queries), dealt out so that each part has about the same number of scores. */
void CPU(attention)(rl_part p, rl_dtype t, int cached, float *out, float *max, float *sum, const float *q, const void *k,
                    const void *v, const rl_run *runs, int64_t nruns, const rl_span *spans, int64_t heads,
                    int64_t kv_heads, int64_t head_dim, int64_t q_stride, int64_t kv_stride, float scale) {
    const pass a = { t, cached, out, max, sum, scale, q, k, v, heads, heads / kv_heads, head_dim, q_stride, kv_stride };
    int64_t all = 1, before = 0;
    for (int64_t r = 0; r < nruns; r++) all += (int64_t)(runs[r].qn + 2) * runs[r].keys * kv_heads;
    for (int64_t r = 0; r < nruns; r++)
        for (int64_t h = 0; h < kv_heads; h++) before = one_run(&a, p, &runs[r], spans, h, before, all);
}
