/* Replaying a tape: rows and inputs are bound, every thread of the pool walks the steps, and they meet
 * where one needs what another made. */
#include "replay.h"
#include "memory.h"
#include "profile.h"
#include <stdlib.h>
#include <string.h>

static int ask(rl_replay *r, const char *outputs) {
    while (*outputs) {
        const size_t n = strcspn(outputs, " ");
        char name[128];
        if (n >= sizeof name) return rl_refuse("replay: output: expected a short name, got %s", outputs);
        memcpy(name, outputs, n), name[n] = 0;
        rl_tensor *x = rl_tape_find(r->tape, name);
        if (!x) return -1;
        r->asked = realloc(r->asked, (size_t)(r->nasked + 1) * sizeof *r->asked);
        int k = 0;
        while (strcmp(r->tape->names[k].name, name)) k++;
        r->asked[r->nasked++] = (rl_asked){ x, NULL, r->tape->names[k].name };
        outputs += n + (outputs[n] == ' ');
    }
    return 0;
}

static bool multiplies(const rl_node *n, const rl_tensor *w) { return w && w->panels && n->op != &rl_op_embedding; }

static int check_weights(const rl_replay *r) {
    for (int s = 0; r->t == RL_BF16 && s < r->nforward; s++) {
        const rl_node *n = &r->steps[s].node;
        for (int k = 0; k < RL_MAX_IN; k++)
            if (multiplies(n, n->in[k]) && !n->in[k]->param)
                return rl_refuse("replay: %s: w: expected a parameter where products are in bf16, got a value of the tape",
                                 n->op->name);
    }
    return 0;
}

/* Before the first run: numbers of all parameters, and copies in bf16 or in few bits of those that the
 * steps multiply by. */
static int get_ready(rl_replay *r) {
    for (int s = 0; !r->ready && s < r->nforward; s++) {
        const rl_node *n = &r->steps[s].node;
        for (int k = 0; k < RL_MAX_IN; k++)
            if (rl_param_touch(n->in[k], r->t == RL_BF16 && !n->quant && multiplies(n, n->in[k]))) return -1;
    }
    if (!r->ready && rl_quant_make(r)) return -1;
    r->ready = true;
    return 0;
}

rl_replay *rl_replay_new(rl_tape *t, const char *outputs, int train, int recompute, int dtype) {
    if (!t) return NULL;
    if (dtype != RL_FLOAT && dtype != RL_HALF) return rl_fail("replay: dtype: expected RL_FLOAT or RL_HALF, got %d", dtype);
    rl_replay *r = calloc(1, sizeof *r);
    *r = (rl_replay){ .tape = t, .train = train, .recompute = recompute && train, .t = (rl_dtype)dtype,
                       .phase = train ? "update" : "scoring" };
    r->rows = malloc(sizeof *r->rows * (size_t)(t->nkinds + 1));
    for (int i = 0; i < t->nkinds; i++) r->rows[i] = -1;
    if (ask(r, outputs) || rl_plan_build(r) || check_weights(r)) { rl_replay_free(r); return NULL; }
    return r;
}

void rl_replay_free(rl_replay *r) {
    if (!r) return;
    for (int s = 0; s < r->nsteps; s++) free(r->steps[s].zero);
    rl_quant_free(r);
    rl_alloc_free(r->arena);
    free(r->value[0]), free(r->value[1]), free(r->steps), free(r->lives), free(r->asked);
    free(r->rows), free(r->most), free(r);
}

int rl_replay_rows(rl_replay *r, const char *kind, int rows) {
    if (!r) return -1;
    for (int i = 0; i < r->tape->nkinds; i++) {
        if (strcmp(r->tape->kinds[i], kind)) continue;
        if (r->rows[i] != rows) r->rows[i] = rows, r->laid_out = false;
        return 0;
    }
    return rl_refuse("replay: rows: the tape has no rows of kind '%s'", kind);
}

const char *rl_replay_kind(const rl_replay *r, int i) {
    return i >= 0 && i < r->tape->nkinds ? r->tape->kinds[i] : NULL;
}

int rl_replay_bind(rl_replay *r, const char *input, const void *numbers) {
    rl_tensor *x = r ? rl_tape_find(r->tape, input) : NULL;
    if (!x) return -1;
    r->value[0][x->id].data = r->value[1][x->id].data = (void *)numbers;
    return 0;
}

double rl_replay_bytes(rl_replay *r) {
    if (!r->laid_out) r->needed = rl_plan_lay_out(r, r->rows);
    return rl_bytes_of((double)r->needed);
}

double rl_replay_halves(const rl_replay *r) {
    double bytes = 0;
    for (int s = 0; r->t == RL_BF16 && s < r->nforward; s++) {
        const rl_node *n = &r->steps[s].node;
        for (int k = 0; k < RL_MAX_IN; k++) {
            if (!multiplies(n, n->in[k])) continue;
            bool first = true;
            for (int z = 0; z < s && first; z++)
                for (int j = 0; j < RL_MAX_IN; j++)
                    first &= r->steps[z].node.in[j] != n->in[k] || !multiplies(&r->steps[z].node, n->in[k]);
            if (first) bytes += rl_param_bytes(n->in[k], 1);
        }
    }
    return bytes;
}

int rl_replay_reserve(rl_replay *r) {
    if (!r) return -1;
    r->needed = rl_plan_lay_out(r, r->rows), r->laid_out = false;
    const size_t bytes = sizeof *r->most * (size_t)(r->tape->nkinds + 1);
    if (r->needed > r->arena_bytes) {
        rl_alloc_free(r->arena);
        r->arena_bytes = 0;
        if (!(r->arena = rl_alloc((double)r->needed))) return -1;
        r->arena_bytes = r->needed;
    }
    if (!r->most) r->most = malloc(bytes);
    memcpy(r->most, r->rows, bytes);
    return 0;
}

double rl_replay_late(rl_replay *r, int rows, int reserve) {
    double bytes = 0;
    for (int s = 0; r->train && s < r->nforward; s++) {
        rl_tensor *w = r->steps[s].node.op == &rl_op_embedding ? r->steps[s].node.in[1] : NULL;
        if (!w || !w->late || !w->needs_grad) continue;
        bytes += rl_bytes_of(4.0 * rows) + rl_bytes_of(4.0 * rows * (double)w->dim[1]);
        if (reserve && rl_param_reserve_late(w, rows, false)) return -1;
    }
    return bytes;
}

static bool within(const rl_replay *r) {
    for (int i = 0; r->most && i < r->tape->nkinds; i++)
        if (r->rows[i] > r->most[i]) return false;
    return r->most != NULL;
}

/* Points every value and gradient at its place, and notes which steps are small or have nothing to do. */
static int lay_out(rl_replay *r) {
    if (r->laid_out) return 0;
    r->needed = rl_plan_lay_out(r, r->rows);
    if (r->needed > r->arena_bytes && within(r)) r->needed = rl_plan_lay_out(r, r->most);   /* first fit is not monotonic */
    if (r->needed > r->arena_bytes) {
        rl_alloc_free(r->arena);
        r->arena_bytes = 0;
        if (!(r->arena = rl_alloc((double)r->needed))) return -1;
        r->arena_bytes = r->needed;
    }
    for (int i = 0; i < r->nlives; i++) {
        rl_life *l = &r->lives[i];
        void *at = r->arena + l->offset;
        if (!l->grad) { l->value->data = at; continue; }
        r->value[0][l->value->id].grad = r->value[1][l->value->id].grad = at;
    }
    r->laid_out = true;
    return 0;
}

static void prepare_steps(rl_replay *r) {
    for (int e = 0; e < 2; e++)
        for (int i = 0; i < r->tape->nvalues; i++)
            if (r->value[e][i].base) r->value[e][i].data = r->value[e][i].base->data;
    for (int s = 0; s < r->nsteps; s++) {
        rl_step *step = &r->steps[s];
        step->skip = rl_numel(step->node.out[0]) == 0;
        step->small = step->skip || rl_is_small(&step->node);
    }
}

static void clear(const rl_tensor *x, rl_part p) {
    const int64_t n = rl_numel(x), from = p.i * n / p.n, to = (p.i + 1) * n / p.n;
    memset(x->grad + from, 0, 4 * (size_t)(to - from));
}

typedef struct { rl_replay *r; int from, to; } walk_arg;

/* Small steps are done by part 0 alone; the parts meet after a shared step and before one. */
static void walk(void *arg, rl_part p) {
    const walk_arg *a = arg;
    for (int s = a->from; s < a->to; s++) {
        const rl_step *step = &a->r->steps[s];
        const rl_part mine = step->small ? (rl_part){ 0, 1 } : p;
        const bool counted = rl_is_profiling() && p.i == 0 && !step->skip;
        const double start = counted ? rl_clock() : 0;
        if (!step->small || p.i == 0) {
            if (!step->skip) (step->backward ? step->node.op->grad : step->node.op->run)(&step->node, mine);
            for (int z = 0; z < step->nzero; z++) clear(step->zero[z], mine);
        }
        if (!step->small || (s + 1 < a->to && !a->r->steps[s + 1].small)) rl_pool_meet(p);
        if (counted)
            rl_profile_node(&step->node, step->backward ? RL_BACKWARD : s < a->r->nforward ? RL_FORWARD : RL_AGAIN, start,
                            a->r->phase, step->weight);
    }
}

static int check_bound(const rl_replay *r) {
    for (int i = 0; i < r->tape->nnames; i++) {
        const rl_tensor *x = r->tape->names[i].value;
        if (x->name && !r->value[0][x->id].data && rl_numel(&r->value[0][x->id]) > 0)
            return rl_refuse("replay: input '%s' is not bound", x->name);
    }
    return 0;
}

static int run(rl_replay *r, int from, int to) {
    walk_arg a = { r, from, to };
    rl_pool_run(walk, &a);
    return 0;
}

static int check_range(const char *what, const int32_t *ids, int64_t n, int64_t vocab) {
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return rl_refuse("replay: %s %lld: expected 0 to %lld, got %d", what, (long long)i,
                             (long long)vocab - 1, ids[i]);
    return 0;
}

/* Ids and labels index the vocabulary, and every row attends: they come from outside, and are looked at before
 * anything runs. */
static int check_inputs(const rl_replay *r) {
    for (int s = 0; s < r->nforward; s++) {
        const rl_node *n = &r->steps[s].node;
        const int64_t vocab = n->in[1] ? n->in[1]->dim[0] : 0;
        if (r->steps[s].skip) continue;
        if (n->op == &rl_op_embedding && n->in[0]->data &&
            check_range("id", n->in[0]->data, rl_numel(n->in[0]), vocab)) return -1;
        const rl_table *t = n->op == &rl_op_attention ? n->in[3]->data : NULL;
        int64_t rows = 0;
        for (int i = 0; t && i < t->nruns; i++) rows += t->runs[i].qn;
        if (t && rows != n->in[0]->dim[0])
            return rl_refuse("replay: %s: expected segments of %lld rows, got %lld", n->in[3]->name,
                             (long long)n->in[0]->dim[0], (long long)rows);
        const rl_pairs *q = n->op == &rl_op_logprob ? n->in[2]->data : NULL;
        if (q && !q->how && check_range("label", q->label, rl_numel(n->out[0]), vocab)) return -1;
    }
    return 0;
}

int rl_replay_forward(rl_replay *r) {
    if (!r || get_ready(r) || lay_out(r)) return -1;
    for (int i = 0; i < r->nasked; i++) r->asked[i].live = NULL;
    if (check_bound(r)) return -1;
    prepare_steps(r);
    if (check_inputs(r)) return -1;
    return run(r, 0, r->nforward);
}

rl_tensor *rl_replay_output(rl_replay *r, const char *name) {
    for (int i = 0; r && i < r->nasked; i++) {
        if (strcmp(r->asked[i].name, name)) continue;
        const rl_tensor *x = &r->value[0][r->asked[i].value->id];
        rl_tensor *y = rl_new(RL_F32, x->ndim, x->dim);
        if (rl_tensor_allocate(y)) return NULL;
        memcpy(y->data, x->data, 4 * (size_t)rl_numel(x));
        y->needs_grad = x->needs_grad;
        rl_scope_add(y);
        return r->asked[i].live = y;
    }
    return rl_fail("replay: output: '%s' was not asked for", name);
}

/* Gradients of parameters, made here: parts must not race to make them.  Without rows: no gradient, no decay. */
static int make_grads(rl_replay *r) {
    for (int s = r->nforward; s < r->nsteps; s++) {
        const rl_node *n = &r->steps[s].node;
        for (int k = 0; !r->steps[s].skip && k < RL_MAX_IN; k++)
            if (n->in[k] && n->in[k]->id < 0 && n->in[k]->needs_grad && !rl_grad(n->in[k])) return -1;
        rl_tensor *w = r->steps[s].backward && n->op == &rl_op_embedding ? n->in[1] : NULL;
        if (w && w->late && rl_param_reserve_late(w, rl_numel(n->in[0]), true)) return -1;
    }
    return 0;
}

int rl_replay_backward(rl_replay *r) {
    if (!r || !r->train || !r->laid_out) return rl_refuse("replay: backward: expected a training replay after its forward");
    for (int i = 0; i < r->nasked; i++) {                       /* seeds, zeros where the loss used none */
        const rl_asked *a = &r->asked[i];
        rl_tensor *x = &r->value[0][a->value->id];
        if (!x->needs_grad) continue;
        const size_t bytes = 4 * (size_t)rl_numel(x);
        if (a->live && a->live->grad) memcpy(rl_grad(x), a->live->grad, bytes);
        else memset(rl_grad(x), 0, bytes);
    }
    return make_grads(r) ? -1 : run(r, r->nforward, r->nsteps);
}
