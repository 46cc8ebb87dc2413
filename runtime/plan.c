/* The plan of a replay: which operations run, when each value's numbers live, where they lie. */
#include "replay.h"
#include "memory.h"
#include "profile.h"
#include <stdlib.h>
#include <string.h>

/* ---- which nodes are needed, which values have gradients ---- */

typedef struct {
    rl_replay *r;
    bool *needed;                   /* by node */
    bool *grad;                     /* by value */
    int *maker, *segment;           /* by value: its node, -1 for inputs; by node: between which marks */
    int nsegments;
} builder;

static int root(const rl_tensor *x) { return x->base ? x->base->id : x->id; }

static void find_needed(builder *b) {
    const rl_tape *t = b->r->tape;
    bool *wanted = calloc((size_t)t->nvalues + 1, 1);
    for (int i = 0; i < b->r->nasked; i++) wanted[root(b->r->asked[i].value)] = true;
    for (int i = t->nnodes - 1; i >= 0; i--) {
        const rl_node *n = &t->nodes[i];
        for (int k = 0; k < RL_MAX_OUT && n->out[k]; k++) b->needed[i] |= wanted[n->out[k]->id];
        for (int k = 0; b->needed[i] && k < RL_MAX_IN; k++)
            if (n->in[k] && n->in[k]->tape) wanted[root(n->in[k])] = true;
    }
    free(wanted);
}

static bool wants_grad(const builder *b, const rl_tensor *x) {
    if (!x) return false;
    return x->tape ? b->grad[root(x)] && !x->detached : x->needs_grad;
}

static void find_grads(builder *b) {
    const rl_tape *t = b->r->tape;
    for (int i = 0; i < t->nnodes; i++) {
        const rl_node *n = &t->nodes[i];
        bool any = false;
        for (int k = 0; k < RL_MAX_IN; k++) any |= wants_grad(b, n->in[k]);
        for (int k = 0; k < RL_MAX_OUT && n->out[k]; k++) {
            b->grad[n->out[k]->id] = any && n->op->grad && b->needed[i];
            b->maker[n->out[k]->id] = i;
        }
    }
}

static void find_segments(builder *b) {
    const rl_tape *t = b->r->tape;
    b->nsegments = 1;
    for (int i = 0, m = 0; i < t->nnodes; i++) {
        for (; m < t->nmarks && t->marks[m] <= i; m++)
            if (t->marks[m] > 0) b->nsegments++;
        b->segment[i] = b->nsegments - 1;
    }
}

/* ---- steps ---- */

/* Value x as a step of that segment sees it: what the segment makes again, or what the forward pass left. */
static rl_tensor *seen(const builder *b, rl_tensor *x, int segment, bool again) {
    if (!x || !x->tape) return x;
    const int maker = b->maker[root(x)];
    return &b->r->value[again && maker >= 0 && b->segment[maker] == segment][x->id];
}

static void add_step(builder *b, int node, bool backward, bool again) {
    rl_replay *r = b->r;
    rl_step *s = &r->steps[r->nsteps++];
    *s = (rl_step){ .node = r->tape->nodes[node], .backward = backward };
    for (int i = node; i >= 0 && !s->weight; i--) s->weight = rl_profile_weight(&r->tape->nodes[i]);
    s->node.t = r->t;
    for (int k = 0; k < RL_MAX_IN; k++) s->node.in[k] = seen(b, s->node.in[k], b->segment[node], again);
    for (int k = 0; k < RL_MAX_OUT; k++) s->node.out[k] = seen(b, s->node.out[k], b->segment[node], again);
}

static void build_steps(builder *b) {
    rl_replay *r = b->r;
    const rl_tape *t = r->tape;
    r->steps = calloc((size_t)t->nnodes * 3 + 1, sizeof *r->steps);
    for (int i = 0; i < t->nnodes; i++)
        if (b->needed[i]) add_step(b, i, false, false);
    r->nforward = r->nsteps;
    for (int s = r->train ? b->nsegments - 1 : -1; s >= 0; s--) {
        const bool again = r->recompute && s < b->nsegments - 1;
        for (int i = 0; again && i < t->nnodes; i++)
            if (b->needed[i] && b->segment[i] == s && b->grad[t->nodes[i].out[0]->id]) add_step(b, i, false, true);
        for (int i = t->nnodes - 1; i >= 0; i--)
            if (b->needed[i] && b->segment[i] == s && b->grad[t->nodes[i].out[0]->id]) add_step(b, i, true, again);
    }
}

/* ---- lives ---- */

static rl_life *life_of(rl_replay *r, int *index, rl_tensor *x, bool grad) {
    const int which = grad ? 2 : x >= r->value[1] && x < r->value[1] + r->tape->nvalues;
    int *at = &index[which * r->tape->nvalues + x->id];
    if (*at < 0) {
        *at = r->nlives++;
        r->lives[*at] = (rl_life){ .value = x, .grad = grad, .first = -1, .last = -1 };
    }
    return &r->lives[*at];
}

static void use(rl_replay *r, int *index, rl_tensor *x, bool grad, int step) {
    if (!x || x->id < 0) return;                                /* a parameter */
    if (x->base) x = x->base;
    if (x->name) return;                                        /* an input */
    rl_life *l = life_of(r, index, x, grad);
    if (l->first < 0) l->first = step;
    if (step > l->last) l->last = step;
}

static void use_step(rl_replay *r, int *index, int s) {
    const rl_step *step = &r->steps[s];
    const rl_node *n = &step->node;
    for (int k = 0; k < RL_MAX_IN; k++) {
        if (!step->backward || n->op->saves_in >> k & 1) use(r, index, n->in[k], false, s);
        if (step->backward && n->in[k] && n->in[k]->needs_grad) use(r, index, n->in[k], true, s);
    }
    for (int k = 0; k < RL_MAX_OUT && n->out[k]; k++) {
        if (!step->backward || n->op->saves_out >> k & 1) use(r, index, n->out[k], false, s);
        if (step->backward && n->out[k]->dtype == RL_F32) use(r, index, n->out[k], true, s);
    }
}

static void build_lives(rl_replay *r) {
    const int n = r->tape->nvalues;
    int *index = malloc(sizeof(int) * 3 * (size_t)(n + 1));
    for (int i = 0; i < 3 * n; i++) index[i] = -1;
    r->lives = calloc(3 * (size_t)n + 1, sizeof *r->lives);
    for (int s = 0; s < r->nsteps; s++) use_step(r, index, s);
    for (int i = 0; i < r->nasked; i++) {
        rl_tensor *x = &r->value[0][r->asked[i].value->id];
        use(r, index, x, false, r->nsteps);                     /* outputs stay to the end */
        if (!r->train || !x->needs_grad) continue;
        rl_life *l = life_of(r, index, x->base ? x->base : x, true);
        l->seed = true, l->first = r->nforward - 1;             /* backward sets it */
        if (l->last < r->nforward) l->last = r->nforward;
    }
    for (int i = 0; i < r->nlives; i++) {
        rl_life *l = &r->lives[i];
        if (!l->grad || l->seed) continue;
        rl_step *before = &r->steps[--l->first];
        before->zero = realloc(before->zero, (size_t)(before->nzero + 1) * sizeof *before->zero);
        before->zero[before->nzero++] = l->value;
    }
    free(index);
}

/* A parameter that the tape looks up and also multiplies by. */
static void find_tied(const rl_tape *t) {
    for (int i = 0; i < t->nnodes; i++) {
        if (t->nodes[i].op != &rl_op_embedding) continue;
        rl_tensor *w = t->nodes[i].in[1];
        for (int j = 0; j < t->nnodes; j++)
            if (j != i && t->nodes[j].in[1] == w) rl_param_tie(w);
    }
}

int rl_plan_build(rl_replay *r) {
    const rl_tape *t = r->tape;
    const size_t nv = (size_t)t->nvalues + 1, nn = (size_t)t->nnodes + 1;
    builder b = { r, calloc(nn, 1), calloc(nv, 1), malloc(nv * sizeof(int)), calloc(nn, sizeof(int)), 0 };
    for (int i = 0; i < t->nvalues; i++) b.maker[i] = -1;
    find_needed(&b);
    find_grads(&b);
    find_segments(&b);
    for (int epoch = 0; epoch < 2; epoch++) {
        r->value[epoch] = calloc(nv, sizeof(rl_tensor));
        for (int i = 0; i < t->nvalues; i++) {
            rl_tensor *x = &r->value[epoch][i];
            *x = *t->values[i];
            x->tape = NULL, x->data = NULL, x->grad = NULL;
            x->needs_grad = r->train && wants_grad(&b, t->values[i]);
            if (x->base) x->base = &r->value[epoch][x->base->id];
        }
    }
    build_steps(&b);
    build_lives(r);
    if (r->train) find_tied(t);
    free(b.needed), free(b.grad), free(b.maker), free(b.segment);
    return 0;
}

/* ---- offsets ---- */

static int by_first(const void *a, const void *b) {
    const rl_life *x = *(rl_life *const *)a, *y = *(rl_life *const *)b;
    return x->first != y->first ? x->first - y->first : x->value->id - y->value->id;
}

static int64_t bytes_of(const rl_life *l) { return (4 * rl_numel(l->value) + 63) / 64 * 64; }

typedef struct { int64_t at, bytes; int last; } room;

/* First fit: the lowest gap among what is alive. */
static int64_t place(room *alive, int *n, int64_t bytes, int first, int last) {
    int kept = 0;
    for (int i = 0; i < *n; i++)
        if (alive[i].last >= first) alive[kept++] = alive[i];
    int64_t at = 0;
    int i = 0;
    for (; i < kept && alive[i].at < at + bytes; i++) at = alive[i].at + alive[i].bytes;
    memmove(alive + i + 1, alive + i, (size_t)(kept - i) * sizeof *alive);
    alive[i] = (room){ at, bytes, last };
    *n = kept + 1;
    return at;
}

static void bind_shapes(rl_replay *r, const int64_t *rows) {
    const rl_tape *t = r->tape;
    for (int i = 0; i < t->nvalues; i++) {
        const int64_t kind = t->values[i]->dim[0];
        if (t->values[i]->ndim && kind < 0)
            r->value[0][i].dim[0] = r->value[1][i].dim[0] = rows[-kind - 1] < 0 ? 0 : rows[-kind - 1];
    }
}

int64_t rl_plan_lay_out(rl_replay *r, const int64_t *rows) {
    bind_shapes(r, rows);
    rl_life **order = malloc(sizeof *order * (size_t)(r->nlives + 1));
    room *alive = malloc(sizeof *alive * (size_t)(r->nlives + 2));
    int n = 0;
    int64_t top = 0;
    for (int i = 0; i < r->nlives; i++) order[i] = &r->lives[i];
    qsort(order, (size_t)r->nlives, sizeof *order, by_first);
    for (int i = 0; i < r->nlives; i++) {
        const int64_t bytes = bytes_of(order[i]);
        if (!bytes) continue;
        order[i]->offset = place(alive, &n, bytes, order[i]->first, order[i]->last);
        if (order[i]->offset + bytes > top) top = order[i]->offset + bytes;
    }
    free(order), free(alive);
    if (rows != r->rows) bind_shapes(r, r->rows);
    return top;
}
