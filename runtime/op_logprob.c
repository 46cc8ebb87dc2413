/* The vocabulary head: log-probabilities of labels without ever holding [rows x vocabulary]; logits
 * are made some rows at a time, and made again in backward. */
#include "runtime.h"
#include "memory.h"

enum { LOGITS = 6 << 20 };              /* numbers in the scratch: rows at a time x vocabulary */

int64_t rl_logprob_rows(int64_t vocab) {
    const int64_t rows = LOGITS / vocab / 8 * 8;
    return rows < 16 ? 16 : rows > 256 ? 256 : rows;
}

/* Labels for rows [r, r + rows): one a row, drawn from its logits. */
static void draw(const rl_node *n, rl_part p, const rl_pairs *q, int64_t r, int64_t rows,
                 float *logits) {
    rl_k->sample(p, q->label + r, logits, q->banned, q->how + r, rows, n->in[1]->dim[0]);
    rl_pool_meet(p);
}

/* Runs of rows that share a temperature are answered together;
 * a greedy row counts as temperature 1. */
static float temperature(const rl_pairs *q, int64_t r) {
    if (!q->how) return q->temperature;
    return q->how[r].temperature > 0 ? q->how[r].temperature : 1;
}

static void answer(const rl_node *n, rl_part p, const rl_pairs *q, int64_t r, int64_t rows,
                   const float *logits) {
    float *logp = n->out[0]->data, *entropy = n->out[1]->data, *lse = n->out[2]->data;
    const int64_t vocab = n->in[1]->dim[0];
    for (int64_t i = 0, j; i < rows; i = j) {
        const float t = temperature(q, r + i);
        for (j = i + 1; j < rows && temperature(q, r + j) == t;) j++;
        rl_k->logprob(p, logp, entropy, lse + r + i, logits + i * vocab, q->first + r + i,
                      q->label, j - i, vocab, 1 / t);
    }
}

static void logprob_run(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *w = n->in[1];
    const rl_pairs *q = n->in[2]->data;
    float *logits = n->out[3]->data;
    const int64_t d = w->dim[1], vocab = w->dim[0], at_once = rl_logprob_rows(vocab);
    for (int64_t r = 0; r < x->dim[0]; r += at_once) {
        const int64_t rows = x->dim[0] - r < at_once ? x->dim[0] - r : at_once;
        rl_multiply(n, p, logits, (float *)x->data + r * d, NULL, rows);
        rl_pool_meet(p);
        if (q->how) draw(n, p, q, r, rows, logits);
        answer(n, p, q, r, rows, logits);
        rl_pool_meet(p);
    }
}

/* Ids whose logits are made at once in backward, and ids of one sum towards x, in whole panels;
 * rows whose sums stay in the cache. */
enum { WIDE = 2048, SLICE = 512, BLOCK = 256 };

static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* The weights of ids from v on. */
static const void *weights_from(const rl_node *n, int64_t v) {
    const int64_t d = n->in[1]->dim[1];
    if (n->t == RL_BF16) return n->in[1]->half + v * ((d + 1) / 2 * 2);
    return (float *)n->in[1]->data + v * d;
}

/* dx [rows, d] += dlogits [rows, ids] w, for the ids from v on and this part's rows.  The ids are
 * summed slice by slice: in one chain over the whole vocabulary the many small probabilities would
 * be lost behind the few large ones (0.2% of the gradient of norms, with 49152 ids).
 * sums [rows, d]: scratch. */
static void add_slices(const rl_node *n, rl_part p, float *dx, const float *dlogits, int64_t rows,
                       int64_t v, int64_t ids, float *sums) {
    const int64_t d = n->in[1]->dim[1], last = (p.i + 1) * rows / p.n;
    const rl_part own = { 0, 1 };
    for (int64_t r = p.i * rows / p.n, here; r < last; r += here) {
        here = least_of(last - r, BLOCK);
        for (int64_t u = 0, some; u < ids; u += some) {
            const float *dy = dlogits + r * ids + u;
            const void *w = weights_from(n, v + u);
            some = least_of(ids - u, SLICE);
            rl_k->fill(own, sums + r * d, 0, here * d);
            rl_k->matmul_dx(own, n->t, sums + r * d, dy, ids, w, here, some, d);
            rl_k->accumulate(own, dx + r * d, sums + r * d, here * d);
        }
    }
}

/* Rows [r, r + rows) for the ids from v on. */
static void wide_grad(const rl_node *n, rl_part p, int64_t r, int64_t rows, int64_t v,
                      float *logits, float *sums) {
    rl_tensor *x = n->in[0], *w = n->in[1];
    const rl_pairs *q = n->in[2]->data;
    const int64_t d = w->dim[1], ids = least_of(w->dim[0] - v, WIDE);
    const float *xr = (float *)x->data + r * d, *entropy = n->out[1]->data;
    const float *lse = (float *)n->out[2]->data + r;
    float *dx = rl_grad_or_null(x), *dw = rl_grad_or_null(w);
    rl_k->matmul(p, n->t, logits, xr, weights_from(n, v), NULL, rows, ids, d);
    rl_pool_meet(p);
    rl_k->logprob_grad(p, logits, rl_grad(n->out[0]), rl_grad(n->out[1]), lse, entropy,
                       q->first + r, q->label, rows, v, ids, 1 / q->temperature);
    rl_pool_meet(p);
    if (dw) rl_k->matmul_dw(p, n->t, dw + v * d, logits, xr, rows, ids, d);
    if (dx) add_slices(n, p, dx + r * d, logits, rows, v, ids, sums);
    rl_pool_meet(p);
}

static void logprob_grad(const rl_node *n, rl_part p) {
    const rl_tensor *x = n->in[0], *w = n->in[1];
    const int64_t d = w->dim[1], vocab = w->dim[0], wide = least_of(vocab, WIDE);
    const int64_t room = rl_logprob_rows(vocab) * vocab / (wide + d);
    const int64_t at_once = room < 2 ? 2 : room / 2 * 2;
    /* [at_once, wide], behind it [at_once, d] */
    float *logits = n->out[3]->data, *sums = logits + at_once * wide;
    for (int64_t r = 0; r < x->dim[0]; r += at_once) {
        const int64_t rows = least_of(x->dim[0] - r, at_once);
        for (int64_t v = 0; v < vocab; v += WIDE) wide_grad(n, p, r, rows, v, logits, sums);
    }
}

static double logprob_work(const rl_node *n) {
    return (double)rl_numel(n->in[0]) * (double)n->in[1]->dim[0];
}
const rl_op rl_op_logprob = { "logprob", logprob_run, logprob_grad, 7, 15, logprob_work };

rl_tensor *rl_logprob(rl_tensor *x, rl_tensor *w, rl_tensor *pairs) {
    if (!x || !w || !pairs) return NULL;
    if (x->ndim != 2 || w->ndim != 2 || !w->panels || w->dim[1] != x->dim[1])
        return rl_fail("logprob: w: expected a parameter [vocab, %lld] as x %s, got %s",
                       (long long)rl_cols(x), rl_shape(x), rl_shape(w));
    if (pairs->dtype != RL_TABLE)
        return rl_fail("logprob: pairs: expected a table of pairs, got numbers");
    const int64_t vocab = w->dim[0], rows = rl_logprob_rows(vocab);
    const int64_t least = (2 * (WIDE + w->dim[1]) + vocab - 1) / vocab;
    const int64_t scratch[] = { rows > least ? rows : least, vocab };
    rl_tensor *logp = rl_new(RL_F32, 1, pairs->dim), *entropy = rl_new(RL_F32, 1, pairs->dim);
    rl_tensor *lse = rl_new(RL_F32, 1, x->dim);
    rl_tensor *logits = rl_new(RL_I32, 2, scratch);         /* integers: they have no gradient */
    const rl_node n = { .in = { x, w, pairs }, .out = { logp, entropy, lse, logits } };
    return rl_apply(&rl_op_logprob, n);
}

rl_tensor *rl_entropy_of(rl_tensor *logprob) {
    if (!logprob) return NULL;
    const rl_tape *t = logprob->tape;
    for (int i = 0; t && i < t->nnodes; i++)
        if (t->nodes[i].out[0] == logprob && t->nodes[i].op == &rl_op_logprob) {
            t->nodes[i].out[1]->released = false;
            return t->nodes[i].out[1];
        }
    return rl_fail("entropy_of: expected what logprob gave on a tape");
}
