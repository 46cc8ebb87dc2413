/* A block of a product: rows of a against panels of b, added to a matrix in memory. */
#ifndef RL_PRODUCT_H
#define RL_PRODUCT_H
#include "row.h"
#include "tile.h"

/* Element (r, 16 q + l) at c[r * row + q * panel + l]; columns in all, where the last panel may be narrow. */
typedef struct { float *c; int64_t row, panel, columns; } matrix;

/* Elements of the reduction that a packed row of a has room for. */
static inline int64_t depth_of(form f) { return f == DOT ? 2 * DEPTH : DEPTH; }

/* Steps of a reduction over depth elements: a pair of bf16 is one. */
static inline int64_t steps_of(form f, int64_t depth) { return f == FLOATS ? depth : (depth + 1) / 2; }

/* rows of x (stride apart), depth columns, in the form of f: out [rows][A_ROW]. */
void CPU(pack_rows)(form f, float *out, const float *x, int64_t stride, int64_t rows, int64_t depth);
/* depth rows of x (stride apart), columns in tiles: out [ceil(columns / TILE)][DEPTH][TILE]. */
void CPU(pack_columns)(form f, float *out, const float *x, int64_t stride, int64_t columns, int64_t depth);
/* c (+)= a b over one block of depth: a packed by rows, or by columns (rows of c); b in panels, step floats apart;
 * fresh: from 0, else from what stands in c; bias [c.columns] or NULL is added behind the last. */
void CPU(product)(form f, bool columns, const float *a, const float *b, int64_t step, int64_t depth, matrix c,
                  int64_t rows, bool fresh, const float *bias);
/* The same over any depth, from a as it lies in memory: its rows [rows][depth] stride apart, or with columns
 * [depth][rows]. */
void CPU(multiply)(form f, bool columns, matrix c, int64_t rows, const float *a, int64_t stride, const float *b,
                   int64_t step, int64_t depth, bool fresh, const float *bias);

/* Floats of a's packed rows or columns. */
static inline int64_t room_rows(int64_t rows) { return rows * A_ROW; }
static inline int64_t room_columns(int64_t columns) { return (columns + TILE - 1) / TILE * TILE * DEPTH; }

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The next block of a reduction over depth at d: all of about the same length, of whole pairs but for the last. */
static inline int64_t next_block(form f, int64_t depth, int64_t d) {
    const int64_t most = depth_of(f), left = (depth - d + most - 1) / most;
    return least(((depth - d + left - 1) / left + 15) / 16 * 16, depth - d);
}

/* Scratch of this thread, one block a purpose, kept from call to call. */
float *CPU(scratch)(int which, int64_t floats);

#endif
