/* Matrix products over weights in panels.  Every output element is one chain of fused multiply-adds over the
 * reduction in order; blocks of it go on from what stands in memory, so no cut changes a bit. */
#include "panel.h"
#include "product.h"

enum { ROWS = 516 /* of a packed at once */, GROUP = 8 /* panels of b that are made for one product */ };

typedef struct { int64_t row0, rows, panel0, panels; } share;

/* A grid of parts over rows and panels whose largest share is least; panels are cut rather than rows, so that each
 * is read by few. */
static share split(rl_part p, int64_t rows, int64_t panels) {
    int by_rows = 1;
    int64_t best = INT64_MAX;
    for (int r = 1; r <= p.n; r++) {
        if (p.n % r) continue;
        const int64_t c = p.n / r, cost = (rows + r - 1) / r * ((panels + c - 1) / c);
        if (cost < best) best = cost, by_rows = r;
    }
    const rl_part pr = { p.i % by_rows, by_rows }, pc = { p.i / by_rows, p.n / by_rows };
    const int64_t row0 = first(pr, rows), panel0 = first(pc, panels);
    return (share){ row0, last(pr, rows) - row0, panel0, last(pc, panels) - panel0 };
}

/* Columns of panels [from, from + panels) where columns are in all. */
static int64_t columns_of(int64_t from, int64_t panels, int64_t columns) {
    return least(panels * RL_PANEL, columns - from * RL_PANEL);
}

void CPU(matmul)(rl_part p, rl_dtype t, float *y, const float *x, const void *w, const float *bias,
                 int64_t rows, int64_t n, int64_t k) {
    const form f = form_of(t);
    const share s = split(p, rows, panels_of(n));
    const int64_t step = steps_of(f, k) * RL_PANEL, from = s.panel0 * RL_PANEL;
    const matrix c = { y + s.row0 * n + from, n, RL_PANEL, columns_of(s.panel0, s.panels, n) };
    CPU(multiply)(f, false, c, s.rows, x + s.row0 * k, k, (const float *)w + s.panel0 * step, step, k, true,
                  bias ? bias + from : NULL);
}

void CPU(matmul_dx)(rl_part p, rl_dtype t, float *dx, const float *dy, int64_t dy_stride, const void *w,
                    int64_t rows, int64_t n, int64_t k) {
    const form f = form_of(t);
    const share s = split(p, rows, panels_of(k));
    float *b = CPU(scratch)(1, GROUP * DEPTH * RL_PANEL);
    for (int64_t r = s.row0, here; r < s.row0 + s.rows; r += here) {
        here = least(s.row0 + s.rows - r, ROWS);
        float *a = CPU(scratch)(0, room_rows(here));
        for (int64_t d = 0, depth; d < n; d += depth) {
            depth = next_block(f, n, d);
            CPU(pack_rows)(f, a, dy + r * dy_stride + d, dy_stride, here, depth);
            const int64_t step = steps_of(f, depth) * RL_PANEL;
            for (int64_t q = s.panel0, many; q < s.panel0 + s.panels; q += many) {
                many = least(s.panel0 + s.panels - q, GROUP);
                CPU(transpose_panels)(t, b, w, n, k, d, depth, q, many);
                const matrix c = { dx + r * k + q * RL_PANEL, k, RL_PANEL, columns_of(q, many, k) };
                CPU(product)(f, false, a, b, step, depth, c, here, false, NULL);
            }
        }
    }
}

void CPU(matmul_dw)(rl_part p, rl_dtype t, float *dw, const float *dy, const float *x, int64_t rows, int64_t n, int64_t k) {
    const form f = form_of(t);
    const share s = split(p, k, panels_of(n));
    float *b = CPU(scratch)(1, GROUP * DEPTH * RL_PANEL);
    for (int64_t r = s.row0, here; r < s.row0 + s.rows; r += here) {
        here = least(s.row0 + s.rows - r, ROWS);
        float *a = CPU(scratch)(0, room_columns(here));
        for (int64_t d = 0, depth; d < rows; d += depth) {
            depth = next_block(f, rows, d);
            CPU(pack_columns)(f, a, x + d * k + r, k, here, depth);
            const int64_t step = steps_of(f, depth) * RL_PANEL;
            for (int64_t q = s.panel0, many; q < s.panel0 + s.panels; q += many) {
                many = least(s.panel0 + s.panels - q, GROUP);
                CPU(panels_of_rows)(t, b, dy + d * n + q * RL_PANEL, n, depth, columns_of(q, many, n));
                const matrix c = { dw + (q * k + r) * RL_PANEL, RL_PANEL, k * RL_PANEL, many * RL_PANEL };
                CPU(product)(f, true, a, b, step, depth, c, here, false, NULL);
            }
        }
    }
}

void CPU(column_sum)(rl_part p, float *db, const float *dy, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; r++)
#pragma omp simd
        for (int64_t j = first(p, n); j < last(p, n); j++) db[j] += dy[r * n + j];
}
