/* Blocks of products: operands packed, tiles chosen, narrow panels by way of a copy. */
#include "panel.h"
#include "product.h"
#include <stdlib.h>

enum { ROWS = 240 };        /* rows of a packed at once: they stay in the second cache while all panels pass by */

float *CPU(scratch)(int which, int64_t floats) {
    static _Thread_local struct { float *p; int64_t room; } kept[16];
    if (kept[which].room < floats) {
        free(kept[which].p);
        kept[which].room = floats + floats / 4;
        kept[which].p = aligned_alloc(64, ((size_t)kept[which].room * 4 + 63) / 64 * 64);
    }
    return kept[which].p;
}

/* ---- operands ---- */

static inline uint16_t to_bf16(float x) { return (uint16_t)(to_bits(as_bf16(x)) >> 16); }

void CPU(pack_rows)(form f, float *out, const float *x, int64_t stride, int64_t rows, int64_t depth) {
    for (int64_t r = 0; r < rows; r++, x += stride, out += A_ROW) {
        if (f == FLOATS) {
            memcpy(out, x, 4 * (size_t)depth);
        } else if (f == WIDE) {
            for (int64_t p = 0; p < depth; p++) out[p] = as_bf16(x[p]);
            if (depth % 2) out[depth] = 0;
        } else {
            uint16_t *to = (uint16_t *)out;
            for (int64_t p = 0; p < depth; p++) to[p] = to_bf16(x[p]);
            if (depth % 2) to[depth] = 0;
        }
    }
}

/* m columns of one tile, row by row; in DOT two rows at once, as pairs. */
static inline __attribute__((always_inline)) void pack_tile(form f, float *out, const float *x, int64_t stride,
                                                            const int m, int64_t depth) {
    static const float zeros[TILE];
    if (f == DOT) {
        for (int64_t p = 0; p < depth; p += 2, x += 2 * stride, out += TILE) {
            const float *odd = p + 1 < depth ? x + stride : zeros;
            uint32_t *to = (uint32_t *)out;
#pragma omp simd
            for (int i = 0; i < m; i++) to[i] = pair(x[i], odd[i]);
        }
        return;
    }
    for (int64_t p = 0; p < depth; p++, x += stride)
        for (int i = 0; i < m; i++) out[p * TILE + i] = f == FLOATS ? x[i] : as_bf16(x[i]);
    for (int i = 0; f == WIDE && depth % 2 && i < m; i++) out[depth * TILE + i] = 0;
}

/* NEAR rows at a time, so that each is read from memory in one piece. */
void CPU(pack_columns)(form f, float *out, const float *x, int64_t stride, int64_t columns, int64_t depth) {
    for (int64_t p = 0; p < depth; p += NEAR, x += NEAR * stride, out += steps_of(f == WIDE ? FLOATS : f, NEAR) * TILE) {
        const int64_t here = least(depth - p, NEAR);
        float *to = out;
        for (int64_t c = 0; c < columns; c += TILE, to += TILE * DEPTH) {
            if (columns - c < TILE) pack_tile(f, to, x + c, stride, (int)(columns - c), here);
            else if (f == FLOATS) pack_tile(FLOATS, to, x + c, stride, TILE, here);
            else if (f == WIDE) pack_tile(WIDE, to, x + c, stride, TILE, here);
            else pack_tile(DOT, to, x + c, stride, TILE, here);
        }
    }
}

/* ---- tiles ---- */

#define CASE(m, n) case (m) * 16 + (n): tile_run(f, columns, m, n, a, b, step, depth, o); break;
#if defined(__AVX512F__)
#define CASES CASE(1, 1) CASE(1, 2) CASE(1, 4) CASE(1, 8) CASE(2, 1) CASE(2, 2) CASE(2, 4) \
    CASE(3, 1) CASE(3, 2) CASE(3, 4) CASE(4, 1) CASE(4, 2) CASE(5, 1) CASE(5, 2) CASE(6, 1) CASE(6, 2) \
    CASE(7, 1) CASE(7, 2) CASE(8, 1) CASE(8, 2) CASE(9, 1) CASE(9, 2) CASE(10, 1) CASE(10, 2) \
    CASE(11, 1) CASE(11, 2) CASE(12, 1) CASE(12, 2)
#elif defined(__AVX2__)
#define CASES CASE(1, 1) CASE(1, 2) CASE(1, 4) CASE(2, 1) CASE(2, 2) CASE(3, 1) CASE(3, 2) CASE(4, 1) CASE(5, 1) CASE(6, 1)
#else
#define CASES CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1)
#endif
#define TILES(name, form_, columns_) \
static __attribute__((noinline)) void name(int m, int n, const float *a, const float *b, int64_t step, \
                                           int64_t depth, tile_out o) { \
    const form f = form_; \
    const bool columns = columns_; \
    switch (m * 16 + n) { CASES } \
}

TILES(rows_floats, FLOATS, false)
TILES(rows_wide, WIDE, false)
TILES(columns_floats, FLOATS, true)
TILES(columns_wide, WIDE, true)
#if defined(__AVX512F__)
TILES(rows_dot, DOT, false)
TILES(columns_dot, DOT, true)
#endif
#undef TILES
#undef CASES
#undef CASE

typedef void run(int m, int n, const float *a, const float *b, int64_t step, int64_t depth, tile_out o);

static run *tile_of(form f, bool columns) {
#if defined(__AVX512F__)
    if (f == DOT) return columns ? columns_dot : rows_dot;
#endif
    if (f == WIDE) return columns ? columns_wide : rows_wide;
    return columns ? columns_floats : rows_floats;
}

/* One panel of which only the first width columns exist in c. */
static void narrow(run *tile, int m, const float *a, const float *b, int64_t depth, tile_out o, int width) {
    float copy[TILE * RL_PANEL] = { 0 };
    for (int i = 0; !o.fresh && i < m; i++) memcpy(copy + i * RL_PANEL, o.c + i * o.row, 4 * (size_t)width);
    tile(m, 1, a, b, 0, depth, (tile_out){ copy, RL_PANEL, 0, o.fresh, b });
    for (int i = 0; i < m; i++) memcpy(o.c + i * o.row, copy + i * RL_PANEL, 4 * (size_t)width);
}

static void add_bias(float *c, int64_t row, int m, const float *bias, int width) {
    for (int i = 0; i < m; i++)
#pragma omp simd
        for (int l = 0; l < width; l++) c[i * row + l] += bias[l];
}

/* The rounding mode of the dot instruction, for its emulation: denormals are zero, in and out. */
static unsigned flush_denormals(form f) {
#if defined(__x86_64__)
    const unsigned before = _mm_getcsr(), now = before | 0x8040;
    if (f == WIDE) __asm__ volatile("ldmxcsr %0" :: "m"(now) : "memory");
    return before;
#else
    return 0;
#endif
}
static void restore(form f, unsigned before) {
#if defined(__x86_64__)
    if (f == WIDE) __asm__ volatile("ldmxcsr %0" :: "m"(before) : "memory");
#endif
}

/* The next tile of c into the first cache: its rows lie too far apart to be guessed. */
static inline void ask_for(const float *at, matrix c, int64_t n) {
    for (int i = 0; i < TILE; i++)
        for (int64_t q = 0; q < n; q++) __builtin_prefetch(at + i * c.row + q * c.panel, 1, 3);
}

void CPU(product)(form f, bool columns, const float *a, const float *b, int64_t step, int64_t depth, matrix c,
                  int64_t rows, bool fresh, const float *bias) {
    run *tile = tile_of(f, columns);
    const int64_t tiles = (rows + TILE - 1) / TILE, steps = steps_of(f, depth), whole = c.columns / RL_PANEL;
    const int most = (int)((rows + tiles - 1) / (tiles ? tiles : 1));       /* rows of the largest tile */
    const unsigned before = flush_denormals(f);
    for (int64_t q = 0, n; q * RL_PANEL < c.columns; q += n) {
        for (n = widest(most); n > 1 && q + n > whole;) n /= 2;
        const int width = q < whole ? (int)n * RL_PANEL : (int)(c.columns - q * RL_PANEL);
        for (int64_t r = 0, t = tiles, m; t > 0; r += m, t--) {
            m = columns ? (rows - r < TILE ? rows - r : TILE) : (rows - r + t - 1) / t;
            const float *next = b + (t > tiles - 3 ? q + n : q) * step;
            const tile_out o = { c.c + r * c.row + q * c.panel, c.row, c.panel, fresh, next };
            const float *at = columns ? a + r * DEPTH : a + r * A_ROW;
            if (!fresh && t > 1) ask_for(o.c + m * c.row, c, n);
            if (q < whole) tile((int)m, (int)n, at, b + q * step, step, steps, o);
            else narrow(tile, (int)m, at, b + q * step, steps, o, width);
            if (bias) add_bias(o.c, c.row, (int)m, bias + q * RL_PANEL, width);
        }
    }
    restore(f, before);
}

void CPU(multiply)(form f, bool columns, matrix c, int64_t rows, const float *a, int64_t stride, const float *b,
                   int64_t step, int64_t depth, bool fresh, const float *bias) {
    for (int64_t r = 0, here; r < rows; r += here, c.c += here * c.row) {
        here = least(rows - r, ROWS);
        const bool alone = here == 1 && !columns;       /* one row fits whole: each panel is read in one piece */
        const int64_t room = columns ? room_columns(here) : alone ? depth + 1 : room_rows(here);
        float *packed = CPU(scratch)(0, room);
        for (int64_t d = 0, block; d < depth; d += block) {
            block = alone ? depth : next_block(f, depth, d);
            if (columns) CPU(pack_columns)(f, packed, a + d * stride + r, stride, here, block);
            else CPU(pack_rows)(f, packed, a + r * stride + d, stride, here, block);
            CPU(product)(f, columns, packed, b + steps_of(f, d) * RL_PANEL, step, block, c, here, fresh && d == 0,
                         d + block == depth ? bias : NULL);
        }
    }
}
