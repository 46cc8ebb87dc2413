/* Weights of few bits, beside the parameters that they stand for: what a rollout may multiply
 * by. */
#include "replay.h"
#include "memory.h"
#include <stdlib.h>

/* In how many bits a product takes its parameter; 0: n is none.  The head keeps 8: its rounding
 * would go into every probability at once. */
static int bits_of(const rl_replay *r, const rl_node *n) {
    const rl_tensor *w = n->in[1];
    if (!w || !w->param || !w->panels || n->op == &rl_op_embedding) return 0;
    return n->op == &rl_op_logprob ? 8 : r->bits;
}

static int64_t groups(const rl_tensor *w) {
    const int64_t panels = (w->dim[0] + RL_PANEL - 1) / RL_PANEL;
    return panels * ((w->dim[1] + RL_QUANT_GROUP - 1) / RL_QUANT_GROUP);
}
static int64_t code_bytes(const rl_tensor *w, int bits) {
    return groups(w) * RL_PANEL * RL_QUANT_GROUP * bits / 8;
}
static double bytes_of(const rl_tensor *w, int bits) {
    return rl_bytes_of((double)(code_bytes(w, bits) + groups(w) * RL_PANEL * 2));
}

static rl_quant *find(const rl_replay *r, const rl_tensor *w, int bits) {
    for (int i = 0; i < r->nquants; i++)
        if (r->quants[i]->w == w && r->quants[i]->bits == bits) return r->quants[i];
    return NULL;
}

/* Lists what the steps multiply by, without numbers. */
static void list(rl_replay *r) {
    for (int s = 0; s < r->nforward; s++) {
        rl_node *n = &r->steps[s].node;
        const int bits = bits_of(r, n);
        if (!bits) continue;
        rl_quant *q = find(r, n->in[1], bits);
        if (!q) {
            q = malloc(sizeof *q);
            *q = (rl_quant){ .w = n->in[1], .bits = bits };
            r->quants = realloc(r->quants, sizeof *r->quants * (size_t)(r->nquants + 1));
            r->quants[r->nquants++] = q;
        }
        n->quant = q;
    }
}

int rl_replay_quantise(rl_replay *r, int bits) {
    if (!r) return -1;
    if (r->train || r->bits || (bits != 4 && bits != 8))
        return rl_refuse("replay: quantise: expected 8 or 4 bits, once, and no training, got %d",
                         bits);
    r->bits = bits;
    list(r);
    return 0;
}

double rl_replay_quant_bytes(const rl_replay *r) {
    double bytes = 0;
    for (int i = 0; i < r->nquants; i++) bytes += bytes_of(r->quants[i]->w, r->quants[i]->bits);
    return bytes;
}

static void code(void *arg, rl_part p) {
    const rl_replay *r = arg;
    for (int i = 0; i < r->nquants; i++) {
        const rl_quant *q = r->quants[i];
        rl_k->quantise(p, q->bits, q->codes, q->scales, q->w->data, q->w->dim[0], q->w->dim[1]);
    }
}

int rl_quant_make(rl_replay *r) {
    for (int i = 0; i < r->nquants; i++) {
        rl_quant *q = r->quants[i];
        if (!q->codes && !(q->codes = rl_alloc(bytes_of(q->w, q->bits)))) return -1;
        q->scales = (uint16_t *)(q->codes + code_bytes(q->w, q->bits));
    }
    if (r->nquants) rl_pool_run(code, r);
    return 0;
}

void rl_quant_free(rl_replay *r) {
    for (int i = 0; i < r->nquants; i++) rl_alloc_free(r->quants[i]->codes), free(r->quants[i]);
    free(r->quants);
}

void rl_multiply(const rl_node *n, rl_part p, float *y, const float *x, const float *bias,
                 int64_t rows) {
    const rl_tensor *w = n->in[1];
    const int64_t columns = w->dim[0], k = w->dim[1];
    const rl_quant *q = n->quant;
    const void *numbers = n->t == RL_BF16 ? (void *)w->half : w->data;
    if (q) rl_k->matmul_quant(p, q->bits, y, x, q->codes, q->scales, bias, rows, columns, k);
    else rl_k->matmul(p, n->t, y, x, numbers, bias, rows, columns, k);
}
