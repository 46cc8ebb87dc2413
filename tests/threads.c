/* Pool and engine driven without Lua, so that ThreadSanitizer sees every thread: a tiny random
 * model, requests from two threads, updates of the weights in flight, cancelling, other replays
 * beside it. */
#include "rllava.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 97, D = 48, HEADS = 4, PARAMS = 5 };

typedef struct { rl_tape *tape; rl_tensor *w[PARAMS]; } model;

static void check(int status, const char *what) {
    if (status >= 0) return;
    fprintf(stderr, "%s: %s\n", what, rl_error());
    exit(1);
}

/* One layer: embedding, attention with a residual, the tied head. */
static void record(model *m) {
    static const char *const names[PARAMS] = { "embed", "q", "k", "v", "o" };
    for (int i = 0; i < PARAMS; i++) {
        m->w[i] = rl_param_new(names[i], i ? D : VOCAB, D);
        rl_param_normal(m->w[i], i + 1, 0, 0.3);
        rl_param_train(m->w[i], 1);
    }
    rl_tape *t = m->tape = rl_tape_new();
    rl_tensor *ids = rl_tape_input(t, "ids", "tokens", 0, RL_INT);
    rl_tape_input(t, "positions", "tokens", 0, RL_INT);
    rl_tensor *segments = rl_tape_table(t, "segments");
    rl_tensor *answers = rl_tape_input(t, "answers", "answers", 0, RL_INT);
    rl_tensor *pairs = rl_tape_table(t, "pairs"), *h = rl_embedding(ids, m->w[0]), *part[3];
    for (int i = 0; i < 3; i++) part[i] = rl_heads(rl_linear(h, m->w[i + 1], NULL), D / HEADS);
    rl_tensor *seen = rl_attention(part[0], part[1], part[2], segments, 0.3);
    h = rl_binary(h, rl_linear(seen, m->w[4], NULL), "add");
    rl_tensor *logp = rl_logprob(rl_gather(h, answers), m->w[0], pairs);
    check(rl_tape_output(t, "logp", logp), "logp");
    check(rl_tape_output(t, "entropy", rl_entropy_of(logp)), "entropy");
}

/* A prompt with three responses below it, every response token asked for. */
static void lay(rl_batch *b) {
    int ids[40];
    unsigned char asked[40];
    for (int i = 0; i < 40; i++) ids[i] = i * 7 % VOCAB, asked[i] = 1;
    const int root = rl_batch_segment(b, -1, ids, 40, NULL, NULL, 0, 0);
    for (int k = 0; k < 3; k++)
        check(rl_batch_segment(b, root, ids + k, 20 + k, NULL, asked, 1, 0), "segment");
}

static void backward(const model *m, rl_replay *r, rl_batch *b) {
    rl_scope_open();
    check(rl_batch_bind(b, r, 1), "bind");
    check(rl_replay_forward(r), "forward");
    check(rl_backward(rl_unary(rl_sum(rl_replay_output(r, "logp"), -1), "neg", 0, 0)), "backward");
    check(rl_replay_backward(r), "replay backward");
    rl_scope_close();
}

/* Scores a batch again and again beside everything else: its log-probs only read weights that do
 * not change. */
static void *score(void *arg) {
    const model *m = arg;
    rl_replay *r = rl_replay_new(m->tape, "logp", 0, 0, RL_FLOAT);
    rl_batch *b = rl_batch_new();
    lay(b);
    for (int i = 0; i < 20; i++) {
        check(rl_batch_bind(b, r, 1), "bind");
        check(rl_replay_forward(r), "score");
    }
    rl_batch_free(b), rl_replay_free(r);
    return NULL;
}

static int submit(rl_engine *e, int n, int samples, int max_new, int stream) {
    int prompt[64];
    for (int i = 0; i < n; i++) prompt[i] = (i + stream) % VOCAB;
    const rl_request q = { .prompt = prompt, .n = n, .samples = samples, .max_new = max_new,
                           .temperature = 1, .top_p = 1, .seed = 5, .stream = stream };
    const int number = rl_engine_submit(e, &q);
    check(number, "submit");
    return number;
}

static void *submit_many(void *arg) {
    for (int i = 0; i < 8; i++) submit(arg, 5 + 7 * i, 1 + i % 3, 10, 100 + i);
    return NULL;
}

static void collect(rl_engine *e) {
    while (rl_engine_pending(e) > 0) {
        const rl_result *x = rl_engine_next(e, 1);
        if (x) rl_engine_forget(e, x);
    }
    for (const rl_result *x; (x = rl_engine_next(e, 0));) rl_engine_forget(e, x);
}

/* Samples of one request, as one number, whatever else is in flight. */
static unsigned draw(rl_engine *e, int crowd) {
    pthread_t thread;
    if (crowd) pthread_create(&thread, NULL, submit_many, e);
    const int mine = submit(e, 33, 4, 12, 1);
    unsigned sums[4] = { 0 };
    for (int left = 4; left > 0;) {
        const rl_result *x = rl_engine_next(e, 1);
        if (!x) continue;
        if (x->request == mine) {
            unsigned *sum = &sums[x->sample];
            for (int i = 0; i < x->n; i++) *sum = *sum * 31 + (unsigned)x->tokens[i];
            left--;
        }
        rl_engine_forget(e, x);
    }
    if (crowd) pthread_join(thread, NULL);
    collect(e);
    return sums[0] ^ sums[1] * 3 ^ sums[2] * 5 ^ sums[3] * 7;
}

/* Weights change between steps of the engine while samples are in flight. */
static void update_in_flight(const model *m, rl_engine *e) {
    const double decay[PARAMS] = { 0 };
    rl_adamw *o = rl_adamw_new((rl_tensor **)m->w, PARAMS, 0.9, 0.999, 1e-8, 8);
    rl_replay *r = rl_replay_new(m->tape, "logp", 1, 1, RL_FLOAT);
    rl_batch *b = rl_batch_new();
    lay(b);
    submit(e, 20, 6, 40, 2);
    for (int step = 0; step < 5; step++) {
        backward(m, r, b);                  /* beside the engine: both only read weights */
        check(rl_engine_hold(e), "hold");
        check(rl_adamw_step(o, 1e-3, decay, 1), "adamw");
        check(rl_engine_go(e), "go");
    }
    check(rl_engine_cancel(e, -1), "cancel");
    collect(e);
    rl_batch_free(b), rl_replay_free(r), rl_adamw_free(o);
}

int main(void) {
    model m;
    record(&m);
    unsigned want = 0;
    for (int n = 1; n <= 4; n++) {
        rl_threads(n);
        rl_engine *e = rl_engine_new(m.tape, RL_FLOAT, 4096, 8, 16, NULL, VOCAB);
        pthread_t scoring;
        pthread_create(&scoring, NULL, score, &m);
        for (int crowd = 0; crowd < 2; crowd++) {
            const unsigned got = draw(e, crowd);
            if (!want) want = got;
            if (got != want) return fprintf(stderr, "%d threads: other tokens\n", n), 1;
        }
        pthread_join(scoring, NULL);
        if (n == 3) submit(e, 10, 4, 100, 3);               /* freed with samples in flight */
        rl_engine_free(e);
    }
    rl_engine *e = rl_engine_new(m.tape, RL_FLOAT, 4096, 8, 16, NULL, VOCAB);
    update_in_flight(&m, e);
    rl_engine_free(e);
    rl_threads(1);
    rl_tape_free(m.tape);
    for (int i = 0; i < PARAMS; i++) rl_param_free(m.w[i]);
    return puts("threads: ok"), 0;
}
