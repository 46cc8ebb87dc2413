/* A tape is a list of operations over values: run as it is made (live), or recorded with symbolic
 * rows for a replay. */
#include "runtime.h"
#include "memory.h"
#include "profile.h"
#include <stdlib.h>
#include <string.h>

/* ---- recording ---- */

rl_tape *rl_tape_new(void) { return calloc(1, sizeof(rl_tape)); }

void rl_tape_free(rl_tape *t) {
    if (!t) return;
    for (int i = 0; i < t->nvalues; i++) {
        t->values[i]->closed = true, t->values[i]->tape = NULL;
        if (t->values[i]->released) free(t->values[i]);
    }
    for (int i = 0; i < t->nkinds; i++) free(t->kinds[i]);
    for (int i = 0; i < t->nnames; i++) free(t->names[i].name);
    free(t->values), free(t->nodes), free(t->kinds), free(t->marks), free(t->names), free(t);
}

int rl_tape_kind(rl_tape *t, const char *kind) {
    for (int i = 0; i < t->nkinds; i++)
        if (!strcmp(t->kinds[i], kind)) return i;
    t->kinds = realloc(t->kinds, (size_t)(t->nkinds + 1) * sizeof *t->kinds);
    t->kinds[t->nkinds] = strdup(kind);
    return t->nkinds++;
}

static void add_value(rl_tape *t, rl_tensor *x) {
    if (t->nvalues == t->value_room) {
        t->value_room = t->value_room ? 2 * t->value_room : 256;
        t->values = realloc(t->values, (size_t)t->value_room * sizeof *t->values);
    }
    x->tape = t, x->id = t->nvalues;
    t->values[t->nvalues++] = x;
}

static void add_name(rl_tape *t, const char *name, rl_tensor *x) {
    t->names = realloc(t->names, (size_t)(t->nnames + 1) * sizeof *t->names);
    t->names[t->nnames].name = strdup(name);
    t->names[t->nnames++].value = x;
}

rl_tensor *rl_tape_find(const rl_tape *t, const char *name) {
    for (int i = 0; i < t->nnames; i++)
        if (!strcmp(t->names[i].name, name)) return t->names[i].value;
    return rl_fail("tape: no input or output is named '%s'", name);
}

rl_tensor *rl_tape_input(rl_tape *t, const char *name, const char *kind, int cols, int dtype) {
    const int64_t dim[] = { -rl_tape_kind(t, kind) - 1, cols };
    rl_tensor *x = rl_new(dtype, cols ? 2 : 1, dim);
    add_value(t, x);
    add_name(t, name, x);
    x->name = t->names[t->nnames - 1].name;
    return x;
}

rl_tensor *rl_tape_table(rl_tape *t, const char *name) {
    rl_tensor *x = rl_tape_input(t, name, name, 0, RL_TABLE);
    if (!strcmp(name, "pairs")) rl_tape_kind(t, "answers");
    return x;
}

int rl_tape_output(rl_tape *t, const char *name, rl_tensor *x) {
    if (!x) return -1;
    if (x->tape != t) return rl_refuse("tape: output '%s': expected a value of this tape", name);
    add_name(t, name, x);
    return 0;
}

int rl_tape_mark(rl_tensor *x) {
    if (!x) return -1;
    rl_tape *t = x->tape;
    if (!t) return 0;                                   /* live: nothing is dropped */
    t->marks = realloc(t->marks, (size_t)(t->nmarks + 1) * sizeof *t->marks);
    t->marks[t->nmarks++] = t->nnodes;
    return 0;
}

/* ---- views: no node, the same numbers ---- */

static rl_tensor *view(rl_tensor *x, int ndim, const int64_t *dim) {
    if (x->closed) return rl_fail("tensor %s: its scope is closed", rl_shape(x));
    if (rl_param_touch(x, false)) return NULL;
    rl_tensor *y = rl_new(x->dtype, ndim, dim);
    y->base = x->base ? x->base : x;
    y->data = x->data, y->needs_grad = x->needs_grad;
    if (x->tape) add_value(x->tape, y);
    else rl_scope_add(y);
    return y;
}

rl_tensor *rl_reshape(rl_tensor *x, int ndim, const int *dim) {
    if (!x) return NULL;
    int64_t d[RL_MAX_DIM] = { 0 }, have = 1;
    double n = 1;                                       /* of lengths whose product may be any */
    const int first = x->tape ? 1 : 0;                  /* symbolic rows stay */
    if (ndim + first > RL_MAX_DIM) return rl_fail("reshape: expected at most 4 axes, got %d", ndim);
    if (first) d[0] = x->dim[0];
    for (int i = 0; i < ndim; i++) {
        if (dim[i] < 0) return rl_fail("reshape: axis %d: expected a length, got %d", i, dim[i]);
        n *= dim[i], d[i + first] = dim[i];
    }
    for (int i = first; i < x->ndim; i++) have *= x->dim[i];
    if (n != (double)have)
        return rl_fail("reshape: expected %lld elements as in %s, got %.0f", (long long)have,
                       rl_shape(x), n);
    return view(x, ndim + first, d);
}

rl_tensor *rl_heads(rl_tensor *x, int head_dim) {
    if (!x) return NULL;
    const int64_t cols = rl_cols(x);
    if (x->ndim != 2) return rl_fail("heads: x: expected [rows, d], got %s", rl_shape(x));
    if (head_dim < 1 || cols % head_dim)
        return rl_fail("heads: head_dim: expected a divisor of the last axis of x %s, got %d",
                       rl_shape(x), head_dim);
    const int64_t dim[] = { x->dim[0], cols / head_dim, head_dim };
    return view(x, 3, dim);
}

rl_tensor *rl_tape_rows(rl_tensor *x, const char *kind, int cols) {
    if (!x) return NULL;
    if (!x->tape) {
        if (cols < 1 || rl_numel(x) % cols)
            return rl_fail("tape_rows: cols: expected a divisor of %lld, the elements of x %s, "
                           "got %d", (long long)rl_numel(x), rl_shape(x), cols);
        const int64_t dim[] = { rl_numel(x) / cols, cols };
        return view(x, 2, dim);
    }
    const int64_t dim[] = { -rl_tape_kind(x->tape, kind) - 1, cols };
    return view(x, 2, dim);
}

rl_tensor *rl_detach(rl_tensor *x) {
    if (!x) return NULL;
    rl_tensor *y = view(x, x->ndim, x->dim);
    if (!y) return NULL;
    y->needs_grad = false;
    y->detached = true;
    return y;
}

/* ---- apply ---- */

static rl_tensor *record(rl_tape *t, rl_node *n) {
    for (int i = 0; i < RL_MAX_OUT && n->out[i]; i++) add_value(t, n->out[i]);
    if (t->nnodes == t->node_room) {
        t->node_room = t->node_room ? 2 * t->node_room : 256;
        t->nodes = realloc(t->nodes, (size_t)t->node_room * sizeof *t->nodes);
    }
    t->nodes[t->nnodes++] = *n;
    return n->out[0];
}

/* Of a node that does not come to be. */
static rl_tensor *drop_outputs(const rl_node *n) {
    for (int i = 0; i < RL_MAX_OUT && n->out[i]; i++) {
        rl_alloc_free(n->out[i]->data);
        free(n->out[i]);
    }
    return NULL;
}

static rl_tensor *run_live(rl_node *n, bool differentiable) {
    for (int i = 0; i < RL_MAX_IN; i++)
        if (rl_param_touch(n->in[i], false)) return drop_outputs(n);
    for (int i = 0; i < RL_MAX_OUT && n->out[i]; i++)
        if (rl_tensor_allocate(n->out[i])) return drop_outputs(n);
    for (int i = 0; i < RL_MAX_OUT && n->out[i]; i++) {
        n->out[i]->needs_grad = differentiable;
        rl_scope_add(n->out[i]);
    }
    rl_run_node(n, false);
    if (differentiable) rl_scope_record(n);
    return n->out[0];
}

rl_tensor *rl_apply(const rl_op *op, rl_node n) {
    rl_tape *t = NULL;
    bool differentiable = false;
    n.op = op;
    for (int i = 1; i < RL_MAX_OUT && n.out[i]; i++)
        n.out[i]->released = true;                      /* nobody holds any but the first */
    for (int i = 0; i < RL_MAX_IN; i++) {
        if (!n.in[i]) continue;
        if (n.in[i]->closed) {
            drop_outputs(&n);
            return rl_fail("%s: an input's scope is closed", op->name);
        }
        if (n.in[i]->tape) t = n.in[i]->tape;
        differentiable |= n.in[i]->needs_grad && op->grad;
    }
    return t ? record(t, &n) : run_live(&n, differentiable);
}

typedef struct { const rl_node *node; bool backward; } run_arg;

static void run_part(void *arg, rl_part p) {
    const run_arg *a = arg;
    (a->backward ? a->node->op->grad : a->node->op->run)(a->node, p);
}

double rl_work_rows(const rl_node *n) { return (double)rl_numel(n->out[0]); }

bool rl_is_small(const rl_node *n) {
    const double work = n->op->work ? n->op->work(n) : rl_work_rows(n);
    return work < 20000;
}

void rl_run_node(const rl_node *n, bool backward) {
    run_arg a = { n, backward };
    const bool counted = rl_is_profiling();
    const double start = counted ? rl_clock() : 0;
    if (rl_is_small(n)) run_part(&a, (rl_part){ 0, 1 });
    else rl_pool_run(run_part, &a);
    if (counted) rl_profile_node(n, backward ? RL_BACKWARD : RL_FORWARD, start, "loss", NULL);
}

/* Room for all gradients that n reads or writes on the way back: its parts must not race for it. */
static int make_gradients(const rl_node *n) {
    for (int k = 0; k < RL_MAX_IN; k++)
        if (n->in[k] && n->in[k]->needs_grad && !rl_grad(n->in[k])) return -1;
    for (int k = 0; k < RL_MAX_OUT && n->out[k]; k++)
        if (!rl_grad(n->out[k])) return -1;
    return 0;
}

int rl_backward(rl_tensor *loss) {
    if (!loss || !rl_data(loss)) return -1;
    if (rl_numel(loss) != 1)
        return rl_refuse("backward: loss: expected one element, got %s", rl_shape(loss));
    if (!loss->needs_grad) return rl_refuse("backward: loss: nothing in it needs a gradient");
    if (!rl_grad(loss)) return -1;
    rl_grad(loss)[0] += 1;
    rl_node *nodes;
    for (int i = rl_scope_nodes(&nodes) - 1; i >= 0; i--) {
        const rl_node *n = &nodes[i];
        const bool reached = n->out[0]->grad || (n->out[1] && n->out[1]->grad);
        if (!reached) continue;
        if (make_gradients(n)) return -1;
        rl_run_node(n, true);
    }
    rl_scope_clear_tape();
    return 0;
}
