/* What attention's two passes share: the rows of a run laid out as panels. */
#ifndef RL_ATTENTION_H
#define RL_ATTENTION_H
#include "panel.h"
#include "product.h"

static inline float *room(int which, int64_t floats) { return CPU(scratch)(4 + which, floats); }

enum { AHEAD = 16 };                            /* rows that are asked for before they are read */

static inline int64_t up16(int64_t n) { return (n + 15) / 16 * 16; }
static inline int64_t up2(int64_t n) { return (n + 1) / 2 * 2; }

/* Keys or values of one head: rows of floats or (of the cache) bf16, stride elements apart. */
typedef struct { rl_dtype stored; const void *base; int64_t stride, head, dim; } source;

/* The rows of a run's keys in order. */
static inline int32_t *rows_of(const rl_run *u, const rl_span *spans) {
    int32_t *row = (int32_t *)room(10, u->keys + 1), *at = row;
    for (int i = 0; i < u->spans; i++)
        for (int32_t r = 0; r < spans[u->span0 + i].n; r++) *at++ = spans[u->span0 + i].row + r;
    return row;
}

static inline const float *floats_of(const source *s, int32_t row) {
    return (const float *)s->base + row * s->stride + s->head * s->dim;
}

/* A row as bf16: where it lies, or rounded into buffer. */
static inline const uint16_t *halves_of(const source *s, int32_t row, uint16_t *buffer) {
    if (s->stored == RL_BF16) return (const uint16_t *)s->base + row * s->stride + s->head * s->dim;
    const float *x = floats_of(s, row);
#pragma omp simd
    for (int64_t d = 0; d < s->dim; d++) buffer[d] = (uint16_t)(to_bits(as_bf16(x[d])) >> 16);
    return buffer;
}

/* Sixteen rows of width floats side by side: out [width][16]. */
static inline void across16(float *out, const float *rows, int64_t width) {
    const int64_t whole = width / 8 * 8;
    for (int64_t d = 0; d < whole; d += 8)
        for (int h = 0; h < 16; h += 8) transpose8(out + d * 16 + h, 16, rows + h * width + d, width);
    for (int64_t d = whole; d < width; d++)
        for (int l = 0; l < 16; l++) out[d * 16 + l] = rows[l * width + d];
}

/* Keys side by side as products take them: out [ceil(keys / 16)][steps of dim][16], zeros behind the last. */
static inline void keys_across(rl_dtype t, float *out, const source *s, const int32_t *row, int64_t keys) {
    const int64_t width = t == RL_BF16 ? up2(s->dim) / 2 : s->dim;
    float *rows = room(11, 16 * width);
    for (int64_t j = 0; j < keys; j += 16, out += 16 * width) {
        memset(rows, 0, 4 * (size_t)(16 * width));
        for (int64_t l = 0; l < 16 && j + l < keys; l++) {
            float *to = rows + l * width;
            if (t != RL_BF16) memcpy(to, floats_of(s, row[j + l]), 4 * (size_t)width);
            else {
                const uint16_t *half = halves_of(s, row[j + l], (uint16_t *)to);
                if (half != (uint16_t *)to) memcpy(to, half, 2 * (size_t)s->dim);
            }
        }
        across16(out, rows, width);
    }
}

/* Keys one below another as products take them: out [ceil(dim / 16)][steps of keys][16], zeros behind the last column. */
static inline void keys_down(rl_dtype t, float *out, const source *s, const int32_t *row, int64_t keys) {
    const int64_t steps = t == RL_BF16 ? up2(keys) / 2 : keys, wide = up16(s->dim);
    uint16_t *buffer = (uint16_t *)room(11, wide);
    for (int64_t c = 0; s->dim % 16 && c < steps; c++) memset(out + ((s->dim / 16) * steps + c) * 16, 0, 64);
    for (int64_t j = 0; t != RL_BF16 && j < keys; j++) {
        const float *x = floats_of(s, row[j]), *soon = floats_of(s, row[least(j + AHEAD, keys - 1)]);
        for (int64_t d = 0; d < s->dim; d += 16) __builtin_prefetch(soon + d);
        int64_t d = 0;
        for (; d + 16 <= s->dim; d += 16) memcpy(out + (d / 16 * keys + j) * 16, x + d, 64);
        if (d < s->dim) memcpy(out + (d / 16 * keys + j) * 16, x + d, 4 * (size_t)(s->dim - d));
    }
    for (int64_t j = 0; t == RL_BF16 && j < keys; j += 2) {
        const uint16_t *even = halves_of(s, row[j], buffer), *odd = buffer + wide;
        if (j + 1 < keys) odd = halves_of(s, row[j + 1], buffer + wide);
        else memset(buffer + wide, 0, 2 * (size_t)wide);
        for (int64_t d = 0; d < s->dim; d += 16) {
            uint32_t *to = (uint32_t *)out + (d / 16 * steps + j / 2) * 16;
            if (s->dim - d >= 16) {
#pragma omp simd
                for (int l = 0; l < 16; l++) to[l] = even[d + l] | (uint32_t)odd[d + l] << 16;
            } else for (int64_t l = 0; d + l < s->dim; l++) to[l] = even[d + l] | (uint32_t)odd[d + l] << 16;
        }
    }
}

/* c [rows][stride] = a [rows][a_row] times b [ceil(columns / 16)][steps of b_rows][16], over depth. */
static inline void product_of_rows(form f, float *c, int64_t stride, const float *a, int64_t a_row, const float *b,
                                   int64_t b_rows, int64_t rows, int64_t columns, int64_t depth) {
    const matrix to = { c, stride, RL_PANEL, columns };
    CPU(multiply)(f, false, to, rows, a, a_row, b, steps_of(f, b_rows) * RL_PANEL, depth, true, NULL);
}

/* How many of its keys a query of a run sees. */
static inline int64_t seen(const rl_run *u, int64_t query) {
    return u->causal ? u->keys - u->qn + query + 1 : u->keys;
}

/* Queries taken at once: even, and so many that their scores stay in the second cache. */
static inline int64_t queries_of(const rl_run *u, int64_t group) {
    const int64_t fit = 98304 / (group * (u->keys + 1)) / 2 * 2;
    return fit < 8 ? 8 : fit > 64 ? 64 : fit;
}

/* Queries [row, row + count) for the heads of one kv head: row (query, head) of out [count * group][dim]. */
static inline void gather_queries(float *out, const float *q, int64_t stride, int64_t row, int64_t count, int64_t head,
                                  int64_t group, int64_t dim) {
    const int64_t n = group * dim;
    for (int64_t i = 0; i < count; i++) memcpy(out + i * n, q + (row + i) * stride + head * n, 4 * (size_t)n);
}

#endif
