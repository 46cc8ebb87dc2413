/* What every step of every replay costs, while it is asked for: time, FLOP, bytes. */
#include "profile.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 22 };            /* events kept; later ones are only counted */

_Atomic int rl_profiling;

static struct {
    pthread_mutex_t lock;
    rl_event *events; int n, room, lost;
} kept = { .lock = PTHREAD_MUTEX_INITIALIZER };

int rl_profile(int on) {
    pthread_mutex_lock(&kept.lock);
    if (on) kept.n = kept.lost = 0;
    rl_profiling = on != 0;
    pthread_mutex_unlock(&kept.lock);
    return 0;
}

const rl_event *rl_profile_events(int *n, int *lost) {
    *n = kept.n, *lost = kept.lost;
    return kept.events;
}

void rl_profile_add(rl_event e) {
    pthread_mutex_lock(&kept.lock);
    if (kept.n == kept.room && kept.n < MOST) {
        const int room = kept.room ? 2 * kept.room : 4096;
        rl_event *more = realloc(kept.events, (size_t)room * sizeof *more);
        if (more) kept.events = more, kept.room = room;
    }
    if (kept.n < kept.room) kept.events[kept.n++] = e;
    else kept.lost++;
    pthread_mutex_unlock(&kept.lock);
}

static bool is(const rl_node *n, const char *name) { return !strcmp(n->op->name, name); }

/* Multiply-adds of a product count 2; backward, once towards x and once towards w, where asked. */
static double flop_of(const rl_node *n, bool backward) {
    const rl_tensor *x = n->in[0], *w = n->in[1];
    if (is(n, "linear")) {
        const double once = 2.0 * (double)rl_nrows(x) * (double)w->dim[0] * (double)w->dim[1];
        return backward ? once * ((x->needs_grad != 0) + (w->needs_grad != 0)) : once;
    }
    if (n->op == &rl_op_logprob) {
        const double once = 2.0 * (double)x->dim[0] * (double)w->dim[0] * (double)w->dim[1];
        return backward ? once * (1 + (x->needs_grad != 0) + (w->needs_grad != 0)) : once;
    }
    if (n->op == &rl_op_attention) {
        const rl_table *t = n->in[3]->data;
        double seen = 0;
        for (int i = 0; t && i < t->nruns; i++) {
            const double qn = t->runs[i].qn, keys = t->runs[i].keys;
            seen += t->runs[i].causal ? qn * keys - qn * (qn - 1) / 2 : qn * keys;
        }
        return (backward ? 10 : 4) * seen * (double)rl_cols(n->out[0]);
    }
    return (double)rl_numel(n->out[0]);
}

/* Every operand once: what is read and written at least.  In bf16 products read weights of two
 * bytes, quantised ones of a byte or half of one, and their scales. */
static double bytes_of(const rl_node *n, bool backward) {
    double bytes = 0;
    for (int k = 0; k < RL_MAX_IN; k++) {
        const rl_tensor *x = n->in[k];
        if (!x || x->dtype == RL_TABLE) continue;
        const bool look_up = n->op == &rl_op_embedding, few = n->quant && k == 1;
        const bool half = n->t == RL_BF16 && x->panels && !look_up;
        const double size = few ? n->quant->bits / 8. + 1. / 16 : half ? 2 : 4;
        const double count = (double)rl_numel(look_up && k == 1 ? n->out[0] : x);
        bytes += size * count + (backward && x->needs_grad ? 8 * count : 0);
    }
    for (int k = 0; k < RL_MAX_OUT && n->out[k]; k++) bytes += 4.0 * (double)rl_numel(n->out[k]);
    return bytes;
}

const char *rl_profile_weight(const rl_node *n) {
    for (int k = 0; k < RL_MAX_IN; k++)
        if (n->in[k] && n->in[k]->param) return n->in[k]->name;
    return NULL;
}

void rl_profile_node(const rl_node *n, int pass, double start, const char *phase,
                     const char *weight) {
    rl_profile_add((rl_event){ n->op->name, weight, phase, pass, start, rl_clock() - start,
                               flop_of(n, pass == RL_BACKWARD), bytes_of(n, pass == RL_BACKWARD) });
}
