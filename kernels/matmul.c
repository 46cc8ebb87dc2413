/* Matrix products over weights in panels.  Every output element is one chain of fused multiply-adds over the
 * reduction in order; blocks of it go on from what stands in memory, so no cut changes a bit. */
#include "row.h"
#include "tile.h"
#include <stdlib.h>

enum { DEPTH = 384 };                           /* of one block of the reduction */

/* Scratch of this thread, kept from call to call. */
static float *scratch(int which, int64_t floats) {
    static _Thread_local struct { float *p; int64_t room; } kept[2];
    if (kept[which].room < floats) {
        free(kept[which].p);
        kept[which].p = aligned_alloc(64, ((size_t)floats * 4 + 63) / 64 * 64);
        kept[which].room = floats;
    }
    return kept[which].p;
}

/* ---- layout ---- */

void CPU(pack)(rl_part p, float *panels, const float *w, int64_t n, int64_t k) {
    const int64_t count = (n + RL_PANEL - 1) / RL_PANEL;
    for (int64_t j = first(p, count); j < last(p, count); j++)
        for (int64_t i = 0; i < k; i++)
            for (int64_t l = 0; l < RL_PANEL; l++)
                panels[(j * k + i) * RL_PANEL + l] = j * RL_PANEL + l < n ? w[(j * RL_PANEL + l) * k + i] : 0;
}

void CPU(unpack)(rl_part p, float *w, const float *panels, int64_t n, int64_t k) {
    for (int64_t j = first(p, n); j < last(p, n); j++)
        for (int64_t i = 0; i < k; i++) w[j * k + i] = panels[(j / RL_PANEL * k + i) * RL_PANEL + j % RL_PANEL];
}

void CPU(pack_bf16)(rl_part p, uint16_t *panels16, const float *panels, int64_t n, int64_t k) {
    const int64_t count = (n + RL_PANEL - 1) / RL_PANEL, pairs = (k + 1) / 2;
    for (int64_t j = first(p, count); j < last(p, count); j++)
        for (int64_t i = 0; i < 2 * pairs; i++)
            for (int64_t l = 0; l < RL_PANEL; l++) {
                const float x = i < k ? panels[(j * k + i) * RL_PANEL + l] : 0;
                panels16[((j * pairs + i / 2) * RL_PANEL + l) * 2 + i % 2] = (uint16_t)(to_bits(as_bf16(x)) >> 16);
            }
}

/* Rows [0, rows) of x (stride apart), columns [0, depth), as tiles [depth][m]. */
static void pack_rows(float *out, const float *x, int64_t stride, int64_t rows, int64_t depth) {
    for (int64_t r = 0; r < rows; r += TILE) {
        const int64_t m = rows - r < TILE ? rows - r : TILE;
        for (int64_t i = 0; i < m; i++)
            for (int64_t q = 0; q < depth; q++) out[q * m + i] = x[(r + i) * stride + q];
        out += m * depth;
    }
}

/* Columns [0, cols) of x (rows stride apart), rows [0, depth), as tiles [depth][m]. */
static void pack_columns(float *out, const float *x, int64_t stride, int64_t cols, int64_t depth) {
    for (int64_t c = 0; c < cols; c += TILE) {
        const int64_t m = cols - c < TILE ? cols - c : TILE;
        for (int64_t q = 0; q < depth; q++)
            for (int64_t i = 0; i < m; i++) out[q * m + i] = x[q * stride + c + i];
        out += m * depth;
    }
}

/* ---- the block product ---- */

/* How c is laid out: element (r, 16 q + l) at c[r * row + q * panel + l]; columns in all. */
typedef struct { float *c; int64_t row, panel, columns; } matrix;

/* rows of c, panels [q, q + n) of b (panel_step apart), one block of depth; a: tiles of rows. */
static void block(const float *a, const float *b, int64_t panel_step, int64_t depth, matrix c, int64_t rows, int64_t q, int n,
                  bool fresh) {
    int width[2];
    for (int i = 0; i < 2; i++) {
        const int64_t left = c.columns - (q + i) * RL_PANEL;
        width[i] = left > RL_PANEL ? RL_PANEL : (int)left;
    }
    const bool whole = width[n - 1] == RL_PANEL;
    for (int64_t r = 0; r < rows; r += TILE) {
        const int m = (int)(rows - r < TILE ? rows - r : TILE);
        float *at = c.c + r * c.row + q * c.panel;
        const tile_out o = { { at, at + c.panel }, c.row, fresh };
        if (whole) tile(m, n, a + r * depth, b, b + panel_step, depth, o);
        else tile_narrow(m, n, a + r * depth, b, b + panel_step, depth, o, width);
    }
}

typedef struct { int64_t row0, rows, panel0, panels; } share;

/* Many rows: by rows, in whole tiles; few: by panels. */
static share split(rl_part p, int64_t rows, int64_t panels) {
    const int64_t tiles = (rows + TILE - 1) / TILE;
    if (tiles < 4 * p.n && panels >= p.n) return (share){ 0, rows, first(p, panels), last(p, panels) - first(p, panels) };
    const int64_t from = first(p, tiles) * TILE, to = last(p, tiles) * TILE;
    return (share){ from, (to < rows ? to : rows) - from, 0, panels };
}

/* ---- products ---- */

enum { ROWS = 96 };                             /* rows packed at once: stay in the second cache */

void CPU(matmul)(rl_part p, rl_dtype t, float *y, const float *x, const void *w, const float *bias,
                 int64_t rows, int64_t n, int64_t k) {
    const share s = split(p, rows, (n + RL_PANEL - 1) / RL_PANEL);
    float *a = scratch(0, ROWS * DEPTH);
    for (int64_t r = s.row0; r < s.row0 + s.rows; r += ROWS) {
        const int64_t here = s.row0 + s.rows - r < ROWS ? s.row0 + s.rows - r : ROWS;
        const matrix c = { y + r * n, n, RL_PANEL, n };
        for (int64_t d = 0; d < k; d += DEPTH) {
            const int64_t depth = k - d < DEPTH ? k - d : DEPTH;
            pack_rows(a, x + r * k + d, k, here, depth);
            for (int64_t q = s.panel0; q < s.panel0 + s.panels; q += PANELS) {
                const int many = s.panel0 + s.panels - q < PANELS ? 1 : PANELS;
                block(a, (const float *)w + (q * k + d) * RL_PANEL, k * RL_PANEL, depth, c, here, q, many, d == 0);
            }
        }
        for (int64_t i = r; bias && i < r + here; i++)
            for (int64_t j = s.panel0 * RL_PANEL; j < n && j < (s.panel0 + s.panels) * RL_PANEL; j++) y[i * n + j] += bias[j];
    }
}

/* Panels over k of w^T for rows [d, d + depth) of w: out [panels][depth][16]. */
static void transpose(float *out, const float *w, int64_t k, int64_t n, int64_t d, int64_t depth, int64_t q, int many) {
    for (int i = 0; i < many; i++)
        for (int64_t r = 0; r < depth; r++) {
            const float *from = w + ((d + r) / RL_PANEL * k + (q + i) * RL_PANEL) * RL_PANEL + (d + r) % RL_PANEL;
            const int64_t cols = k - (q + i) * RL_PANEL < RL_PANEL ? k - (q + i) * RL_PANEL : RL_PANEL;
            for (int64_t l = 0; l < RL_PANEL; l++)
                out[(i * depth + r) * RL_PANEL + l] = l < cols ? from[l * RL_PANEL] : 0;
        }
}

void CPU(matmul_dx)(rl_part p, rl_dtype t, float *dx, const float *dy, const void *w, int64_t rows, int64_t n, int64_t k) {
    const int64_t panels = (k + RL_PANEL - 1) / RL_PANEL;
    const share s = panels >= 2 * p.n ? (share){ 0, rows, first(p, panels), last(p, panels) - first(p, panels) }
                                      : split(p, rows, panels);
    float *a = scratch(0, s.rows * DEPTH + 1), *b = scratch(1, PANELS * DEPTH * RL_PANEL);
    for (int64_t d = 0; d < n; d += DEPTH) {
        const int64_t depth = n - d < DEPTH ? n - d : DEPTH;
        pack_rows(a, dy + s.row0 * n + d, n, s.rows, depth);
        for (int64_t q = s.panel0; q < s.panel0 + s.panels; q += PANELS) {
            const int many = s.panel0 + s.panels - q < PANELS ? 1 : PANELS;
            transpose(b, w, k, n, d, depth, q, many);
            block(a, b, depth * RL_PANEL, depth, (matrix){ dx + s.row0 * k, k, RL_PANEL, k }, s.rows, q, many, false);
        }
    }
}

/* Columns of dy for panels [q, q + many), rows [0, depth): out [panels][depth][16]. */
static void pack_dy(float *out, const float *dy, int64_t n, int64_t depth, int64_t q, int many) {
    for (int i = 0; i < many; i++)
        for (int64_t r = 0; r < depth; r++) {
            const int64_t from = (q + i) * RL_PANEL, cols = n - from < RL_PANEL ? n - from : RL_PANEL;
            float *to = out + (i * depth + r) * RL_PANEL;
            memcpy(to, dy + r * n + from, 4 * (size_t)cols);
            memset(to + cols, 0, 4 * (size_t)(RL_PANEL - cols));
        }
}

void CPU(matmul_dw)(rl_part p, rl_dtype t, float *dw, const float *dy, const float *x, int64_t rows, int64_t n, int64_t k) {
    const int64_t panels = (n + RL_PANEL - 1) / RL_PANEL;
    const share s = panels >= p.n ? (share){ 0, k, first(p, panels), last(p, panels) - first(p, panels) } : split(p, k, panels);
    float *a = scratch(0, s.rows * DEPTH + 1), *b = scratch(1, PANELS * DEPTH * RL_PANEL);
    for (int64_t d = 0; d < rows; d += DEPTH) {
        const int64_t depth = rows - d < DEPTH ? rows - d : DEPTH;
        pack_columns(a, x + d * k + s.row0, k, s.rows, depth);
        for (int64_t q = s.panel0; q < s.panel0 + s.panels; q += PANELS) {
            const int many = s.panel0 + s.panels - q < PANELS ? 1 : PANELS;
            pack_dy(b, dy + d * n, n, depth, q, many);
            const matrix c = { dw + s.row0 * RL_PANEL, RL_PANEL, k * RL_PANEL, panels * RL_PANEL };
            block(a, b, depth * RL_PANEL, depth, c, s.rows, q, many, false);
        }
    }
}

void CPU(column_sum)(rl_part p, float *db, const float *dy, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; r++)
#pragma omp simd
        for (int64_t j = first(p, n); j < last(p, n); j++) db[j] += dy[r * n + j];
}
