/* Panels: a matrix in groups of sixteen columns, as products read it. */
#ifndef RL_PANEL_H
#define RL_PANEL_H
#include "row.h"

static inline int64_t panels_of(int64_t columns) { return (columns + RL_PANEL - 1) / RL_PANEL; }

/* Panels [q, q + many) of w^T: w [n, k] in panels of t, its rows [d, d + depth), d even.
 * out [many][depth][16] of floats, or [many][ceil(depth / 2)][16][2] of bf16; zeros behind the last column. */
void CPU(transpose_panels)(rl_dtype t, float *out, const void *w, int64_t n, int64_t k, int64_t d, int64_t depth,
                           int64_t q, int64_t many);
/* depth rows of x (stride apart), columns of each, as panels of t; zeros behind the last column. */
void CPU(panels_of_rows)(rl_dtype t, float *out, const float *x, int64_t stride, int64_t depth, int64_t columns);

#endif
