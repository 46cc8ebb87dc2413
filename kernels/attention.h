/* What attention's two passes share: the rows of a run laid out for products. */
#ifndef RL_ATTENTION_H
#define RL_ATTENTION_H
#include "product.h"

enum { QUERIES = 64 };                          /* queries of one share of the work */

static inline float *room(int which, int64_t floats) { return CPU(scratch)(4 + which, floats); }

static inline int64_t up16(int64_t n) { return (n + 15) / 16 * 16; }

/* What is read of one kv head, and how. */
typedef struct { rl_dtype t, kv; const void *base; int64_t stride, head, dim; } source;

static inline float read_one(const source *s, int64_t row, int64_t i) {
    const int64_t at = row * s->stride + s->head * s->dim + i;
    if (s->kv == RL_BF16) return of_bf16(((const uint16_t *)s->base)[at]);
    const float x = ((const float *)s->base)[at];
    return s->t == RL_BF16 ? as_bf16(x) : x;
}

/* Keys side by side: out [ceil(keys/16)][dim][16], zeros behind the last. */
static void keys_across(float *out, const source *s, const rl_run *u, const rl_span *spans, int64_t keys) {
    int64_t j = 0;
    for (int i = 0; i < u->spans; i++)
        for (int64_t r = spans[u->span0 + i].row, end = r + spans[u->span0 + i].n; r < end; r++, j++)
            for (int64_t d = 0; d < s->dim; d++) out[(j / 16 * s->dim + d) * 16 + j % 16] = read_one(s, r, d);
    for (; j < up16(keys); j++)
        for (int64_t d = 0; d < s->dim; d++) out[(j / 16 * s->dim + d) * 16 + j % 16] = 0;
}

/* Keys one below another: out [ceil(dim/16)][keys][16], zeros behind the last column. */
static void keys_down(float *out, const source *s, const rl_run *u, const rl_span *spans, int64_t keys) {
    int64_t j = 0;
    for (int i = 0; i < u->spans; i++)
        for (int64_t r = spans[u->span0 + i].row, end = r + spans[u->span0 + i].n; r < end; r++, j++)
            for (int64_t d = 0; d < up16(s->dim); d++)
                out[(d / 16 * keys + j) * 16 + d % 16] = d < s->dim ? read_one(s, r, d) : 0;
}

/* c [rows][stride] (+)= a [rows][a_row] times b [ceil(columns / 16)][b_rows][16], over depth. */
static inline void product_of_rows(float *c, int64_t stride, const float *a, int64_t a_row, const float *b, int64_t b_rows,
                                   int64_t rows, int64_t columns, int64_t depth) {
    CPU(multiply)(FLOATS, false, (matrix){ c, stride, RL_PANEL, columns }, rows, a, a_row, b, b_rows * RL_PANEL, depth, true, NULL);
}

static inline int64_t seen(const rl_run *u, int64_t query) { return u->causal ? u->keys - u->qn + query + 1 : u->keys; }

/* Queries [i, i + count) of a run for the heads of one kv head: row (query, head) of out [count * group][dim]. */
static void gather_queries(float *out, rl_dtype t, const float *q, int64_t stride, int64_t row, int64_t count, int64_t head,
                           int64_t group, int64_t dim) {
    for (int64_t i = 0; i < count; i++) {
        const float *from = q + (row + i) * stride + head * group * dim;
        for (int64_t d = 0; d < group * dim; d++) out[i * group * dim + d] = t == RL_BF16 ? as_bf16(from[d]) : from[d];
    }
}

#endif
