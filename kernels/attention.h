/* What attention's two passes share: the rows of a run laid out for tile.h. */
#ifndef RL_ATTENTION_H
#define RL_ATTENTION_H
#include "row.h"
#include "tile.h"
#include <stdlib.h>

enum { QUERIES = 64 };                          /* queries of one share of the work */

/* Scratch of this thread, one block a purpose, kept from call to call. */
static float *room(int which, int64_t floats) {
    static _Thread_local struct { float *p; int64_t size; } kept[12];
    if (kept[which].size < floats) {
        free(kept[which].p);
        kept[which].size = floats + floats / 4;
        kept[which].p = aligned_alloc(64, ((size_t)kept[which].size * 4 + 63) / 64 * 64);
    }
    return kept[which].p;
}

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

/* Row-major x [rows][stride] as tiles [depth][m] of its rows. */
static void tiles_of_rows(float *out, const float *x, int64_t stride, int64_t rows, int64_t depth) {
    for (int64_t r = 0; r < rows; r += TILE) {
        const int64_t m = rows - r < TILE ? rows - r : TILE;
        for (int64_t i = 0; i < m; i++)
            for (int64_t d = 0; d < depth; d++) out[d * m + i] = x[(r + i) * stride + d];
        out += m * depth;
    }
}

/* c [rows][stride] (+)= a (tiles of rows) times b [panels][depth][16]; columns of c. */
static void product(float *c, int64_t stride, const float *a, const float *b, int64_t rows, int64_t columns, int64_t depth,
                    bool fresh) {
    for (int64_t q = 0; q < columns; q += 16 * PANELS) {
        const int n = columns - q > 16 ? PANELS : 1;
        const int64_t last_width = columns - q - 16 * (n - 1);
        const int width[2] = { columns - q < 16 ? (int)(columns - q) : 16, last_width < 16 ? (int)last_width : 16 };
        for (int64_t r = 0; r < rows; r += TILE) {
            const int m = (int)(rows - r < TILE ? rows - r : TILE);
            const float *b0 = b + q * depth, *at = a + r * depth;
            const tile_out o = { { c + r * stride + q, c + r * stride + q + 16 }, stride, fresh };
            if (width[n - 1] == 16) tile(m, n, at, b0, b0 + 16 * depth, depth, o);
            else tile_narrow(m, n, at, b0, b0 + 16 * depth, depth, o, width);
        }
    }
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
