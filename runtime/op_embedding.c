/* Rows by index: the embedding, gathering, placing; and columns. */
#include "runtime.h"
#include <stdlib.h>
#include <string.h>

/* [rows] integers from least to below - 1 (below < 0: symbolic), where their numbers are known. */
static int check_index(const char *op, const rl_tensor *index, int64_t least, int64_t below) {
    if (index->dtype != RL_I32 || index->ndim != 1)
        return rl_refuse("%s: index: expected [rows] integers, got %s", op, rl_shape(index));
    const int32_t *at = index->tape || below < 0 ? NULL : index->data;
    for (int64_t i = 0; at && i < index->dim[0]; i++)
        if (at[i] < least || at[i] >= below)
            return rl_refuse("%s: index %lld: expected below %lld, got %d", op, (long long)i,
                             (long long)below, at[i]);
    return 0;
}

/* ---- embedding ---- */

static void embedding_run(const rl_node *n, rl_part p) {
    const rl_tensor *ids = n->in[0], *w = n->in[1];
    rl_k->embedding(p, n->out[0]->data, ids->data, w->data, rl_numel(ids), w->dim[1]);
}
static void embedding_grad(const rl_node *n, rl_part p) {
    const rl_tensor *ids = n->in[0];
    rl_tensor *w = n->in[1];
    const float *dy = rl_grad(n->out[0]);
    if (!w->late) rl_k->embedding_grad(p, rl_grad(w), ids->data, dy, rl_numel(ids), w->dim[1]);
    else if (p.i == 0) rl_param_keep_late(w, ids->data, dy, rl_numel(ids));
}
const rl_op rl_op_embedding = { "embedding", embedding_run, embedding_grad, 1, 0, NULL };

rl_tensor *rl_embedding(rl_tensor *ids, rl_tensor *w) {
    if (!ids || !w) return NULL;
    if (w->ndim != 2 || !w->panels)
        return rl_fail("embedding: w: expected a parameter [vocab, d], got %s", rl_shape(w));
    if (check_index("embedding", ids, 0, w->dim[0])) return NULL;
    const int64_t dim[] = { ids->dim[0], w->dim[1] };
    rl_tensor *y = rl_new(RL_F32, 2, dim);
    return rl_apply(&rl_op_embedding, (rl_node){ .in = { ids, w }, .out = { y } });
}

/* ---- gather, place ---- */

static int64_t row_size(const rl_tensor *x) {
    int64_t n = 1;
    for (int i = 1; i < x->ndim; i++) n *= x->dim[i];
    return n;
}

static void gather_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *index = n->in[1];
    rl_k->gather_rows(p, n->out[0]->data, x->data, index->data, index->dim[0], row_size(x));
}
static void gather_grad(const rl_node *n, rl_part p) {
    const rl_tensor *index = n->in[1];
    rl_tensor *x = n->in[0];
    rl_k->scatter_rows(p, rl_grad(x), rl_grad(n->out[0]), index->data, index->dim[0],
                       row_size(x), 1);
}
static const rl_op gather = { "gather", gather_run, gather_grad, 2, 0, NULL };

rl_tensor *rl_gather(rl_tensor *x, rl_tensor *index) {
    if (!x || !index) return NULL;
    if (!x->ndim) return rl_fail("gather: x: expected rows, got %s", rl_shape(x));
    if (check_index("gather", index, INT32_MIN, x->dim[0])) return NULL;
    rl_tensor *y = rl_like(x);
    y->dim[0] = index->dim[0];
    return rl_apply(&gather, (rl_node){ .in = { x, index }, .out = { y } });
}

static void place_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *rows = n->in[1], *index = n->in[2];
    float *y = n->out[0]->data;
    const int64_t count = rl_numel(x), from = p.i * count / p.n, to = (p.i + 1) * count / p.n;
    memcpy(y + from, (float *)x->data + from, 4 * (size_t)(to - from));
    rl_pool_meet(p);
    rl_k->scatter_rows(p, y, rows->data, index->data, index->dim[0], row_size(x), 0);
}
/* drows += dy at their places;  dx += dy where nothing was placed. */
static void place_grad(const rl_node *n, rl_part p) {
    const int32_t *index = n->in[2]->data;
    const int64_t d = row_size(n->in[0]), rows = n->in[2]->dim[0], all = n->in[0]->dim[0];
    const float *dy = rl_grad(n->out[0]);
    float *dx = rl_grad_or_null(n->in[0]), *drows = rl_grad_or_null(n->in[1]);
    for (int64_t r = p.i * rows / p.n; drows && r < (p.i + 1) * rows / p.n; r++)
        for (int64_t i = 0; index[r] >= 0 && i < d; i++)
            drows[r * d + i] += dy[index[r] * d + i];
    if (!dx) return;
    uint8_t *placed = calloc((size_t)all + 1, 1);
    for (int64_t r = 0; r < rows; r++)
        if (index[r] >= 0) placed[index[r]] = 1;
    for (int64_t t = p.i * all / p.n; t < (p.i + 1) * all / p.n; t++)
        for (int64_t i = 0; !placed[t] && i < d; i++) dx[t * d + i] += dy[t * d + i];
    free(placed);
}
static const rl_op place = { "place", place_run, place_grad, 4, 0, NULL };

rl_tensor *rl_place(rl_tensor *x, rl_tensor *rows, rl_tensor *index) {
    if (!x || !rows || !index) return NULL;
    if (rl_want_floats("place", "x", x) || rl_want_floats("place", "rows", rows)) return NULL;
    if (x->ndim != 2 || rows->ndim != 2)
        return rl_fail("place: expected x [n, d] and rows [m, d], got %s, %s", rl_shape(x),
                       rl_shape(rows));
    if (check_index("place", index, INT32_MIN, x->dim[0])) return NULL;
    if (rows->dim[0] != index->dim[0])
        return rl_fail("place: rows: expected one for each index %s, got %s", rl_shape(index),
                       rl_shape(rows));
    if (rl_cols(x) != rl_cols(rows))
        return rl_fail("place: rows: expected rows as of x %s, got %s", rl_shape(x),
                       rl_shape(rows));
    return rl_apply(&place, (rl_node){ .in = { x, rows, index }, .out = { rl_like(x) } });
}

/* ---- columns ---- */

static void columns_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *y = n->out[0];
    rl_k->take_columns(p, y->data, x->data, rl_nrows(x), rl_cols(y), n->i[0], rl_cols(x));
}
static void columns_grad(const rl_node *n, rl_part p) {
    rl_tensor *x = n->in[0], *y = n->out[0];
    rl_k->take_columns_grad(p, rl_grad(x), rl_grad(y), rl_nrows(x), rl_cols(y), n->i[0],
                            rl_cols(x));
}
static const rl_op columns = { "columns", columns_run, columns_grad, 0, 0, NULL };

rl_tensor *rl_columns(rl_tensor *x, int from, int d) {
    if (!x || rl_want_floats("columns", "x", x)) return NULL;
    const long long to = (long long)from + d;
    if (from < 0 || d < 1 || to > rl_cols(x))
        return rl_fail("columns: expected a range within the last axis of x %s, got %d to %lld",
                       rl_shape(x), from, to);
    rl_tensor *y = rl_like_cols(x, d);
    return rl_apply(&columns, (rl_node){ .in = { x }, .out = { y }, .i = { from } });
}
