/* The rollout engine: a thread that plans rows, replays the tape, draws tokens, and hands out finished
 * samples.  An error belongs to the samples of its step and comes back in their results. */
#include "engine.h"
#include "memory.h"
#include "replay.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- samples end ---- */

static void end_sample(rl_engine *e, rl_sample *x, int finish) {
    rl_group *g = x->group;
    x->ended = true, x->finish = finish;
    rl_rows_release(&x->rows, e->pages);
    x->result = (rl_result){ g->request, x->number, x->n, finish, x->version, x->tokens, x->versions,
                             x->logp, x->entropy, g->error };
    x->next = NULL;
    *e->finished_end = x, e->finished_end = &x->next;
    e->pending--;
    if (--g->left == 0) rl_prefix_leave(e, g);
    pthread_cond_broadcast(&e->news);
}

static void end_group(rl_engine *e, rl_group *g, int finish, const char *error) {
    if (error) g->error = strdup(error);
    for (int k = 0; k < g->ask.samples; k++)
        if (!g->samples[k].ended) end_sample(e, &g->samples[k], finish);
}

/* ---- one step ---- */

static void take_token(rl_engine *e, rl_sample *x, int token, float logp, float entropy) {
    if (x->n == 0) x->version = e->version;
    x->group->suspect = false;
    x->tokens[x->n] = token, x->versions[x->n] = e->version, x->logp[x->n] = logp, x->entropy[x->n] = entropy;
    x->n++;
    e->count[1]++;
    if (rl_sample_stops(x, token)) end_sample(e, x, RL_STOPPED);
    else if (x->n == x->group->ask.max_new) end_sample(e, x, RL_LENGTH);
}

static const float *output(const rl_replay *r, int i) { return r->value[0][r->asked[i].value->id].data; }

static void drop_cached(rl_engine *e, rl_group *g) {
    rl_rows_release(&g->prefix->rows, e->pages);
    for (int k = 0; k < g->ask.samples; k++) {
        rl_rows_release(&g->samples[k].rows, e->pages);
        g->samples[k].done = 0;
    }
}

/* A step failed.  The fault of a group that was alone in it is its own; of several each is tried alone. */
static void blame(rl_engine *e) {
    int groups = 0;
    for (rl_group *g = e->groups; g; g = g->next) groups += g->in_step;
    for (rl_group *g = e->groups; g; g = g->next) {
        if (!g->in_step) continue;
        drop_cached(e, g);
        if (groups == 1) end_group(e, g, RL_FAILED, rl_error());
        else g->suspect = true;
    }
}

/* The tokens of a sample whose answers begin with answer i, as long as what was drafted before them is what was drawn;
 * the rows behind are given back -> the next sample's first answer. */
static int take_answers(rl_engine *e, int i) {
    const rl_plan_rows *s = &e->step;
    rl_sample *x = s->who[i];
    const int first = i;
    int accepted = -1;
    for (bool right = true; i < s->nanswers && s->who[i] == x; i++) {
        right = right && !x->ended && (i == first || s->ids[s->answers[i]] == s->label[i - 1]);
        if (!right) continue;
        accepted++;
        take_token(e, x, s->label[i], output(e->replay, 0)[i], output(e->replay, 1)[i]);
    }
    e->count[3] += i - first - 1, e->count[4] += accepted;
    rl_sample_judge(x, i - first - 1, accepted);
    if (!x->ended) rl_rows_cut(&x->rows, e->pages, x->done = x->n - 1);
    return i;
}

/* Runs what was planned; the lock is open meanwhile. */
static void run_step(rl_engine *e) {
    rl_plan_rows *s = &e->step;
    pthread_mutex_unlock(&e->lock);
    const int failed = rl_engine_bind_step(e) || rl_replay_forward(e->replay);
    pthread_mutex_lock(&e->lock);
    if (failed) blame(e);
    for (int i = 0; !failed && i < s->nanswers;) i = take_answers(e, i);
}

/* After an update nothing that was cached is true: groups in flight are computed again from their tokens, unless
 * they may be stale. */
static void update(rl_engine *e) {
    rl_prefix_drop_unused(e);
    for (rl_group *g = e->groups; g && !e->stale; g = g->next) {
        if (!g->prefix) continue;
        drop_cached(e, g);
        g->prefix->version = e->version, g->prefix->writes = rl_param_writes();
    }
    e->replay->ready = false;                       /* copies of the weights in few bits are made anew */
}

static void end_cancelled(rl_engine *e) {
    for (rl_group *g = e->groups; g; g = g->next)
        if (g->cancelled && g->left) end_group(e, g, RL_CANCELLED, NULL);
}

void *rl_engine_work(void *arg) {
    rl_engine *e = arg;
    int seen = e->version;
    pthread_mutex_lock(&e->lock);
    while (!e->quit) {
        end_cancelled(e);
        if (seen != e->version) update(e);
        seen = e->version;
        if (!e->held) rl_engine_plan(e);
        if (e->held || !e->step.rows) {
            pthread_cond_wait(&e->wake, &e->lock);
            continue;
        }
        e->stepping = true;
        run_step(e);
        e->stepping = false;
        pthread_cond_broadcast(&e->gate);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* ---- the face ---- */

/* Rows of the matrix that the head multiplies by. */
static int vocabulary(const rl_tape *t) {
    for (int i = 0; i < t->nnodes; i++)
        if (t->nodes[i].op == &rl_op_logprob) return (int)t->nodes[i].in[1]->dim[0];
    return 0;
}

static void make_locks(rl_engine *e) {
    pthread_condattr_t forward;
    pthread_condattr_init(&forward);
    pthread_condattr_setclock(&forward, CLOCK_MONOTONIC);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->news, &forward), pthread_cond_init(&e->wake, NULL), pthread_cond_init(&e->gate, NULL);
    pthread_condattr_destroy(&forward);
}

rl_engine *rl_engine_new(rl_tape *tape, int dtype, int slots, int at_once, int tokens,
                         const unsigned char *banned, int vocab) {
    if (slots < 1 || at_once < 1 || tokens < 1)
        return rl_fail("engine: expected slots, samples at once and tokens of a step, got %d, %d, %d", slots, at_once,
                       tokens);
    rl_replay *replay = rl_replay_new(tape, "logp entropy", 0, 0, dtype);
    if (!replay) return NULL;
    replay->phase = "sampling";
    rl_engine *e = calloc(1, sizeof *e);
    *e = (rl_engine){ .replay = replay, .at_once = at_once, .prompt_rows = tokens, .vocab = vocabulary(tape), .quit = true };
    e->finished_end = &e->finished;
    e->step.media = rl_media_pack_new();
    make_locks(e);
    if (banned && vocab != e->vocab) {
        rl_fail("engine: banned: expected %d, the rows of the head, got %d", e->vocab, vocab);
        rl_engine_free(e);
        return NULL;
    }
    if (banned) e->banned = memcpy(malloc((size_t)vocab), banned, (size_t)vocab);
    e->pages = rl_pages_new(tape, dtype, slots);
    if (e->pages && !rl_engine_start(e)) return e;
    rl_engine_free(e);
    return NULL;
}

static void free_group(rl_group *g) {
    rl_stop_free(g);
    for (int k = 0; k < g->ask.samples; k++) {
        rl_sample *x = &g->samples[k];
        free(x->tokens), free(x->versions), free(x->logp), free(x->entropy), free(x->rows.page);
    }
    const void *lists[] = { g->ask.prompt, g->ask.positions, g->ask.stop, g->ask.bias_id, g->ask.bias, g->error };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) free((void *)lists[i]);
    free(g->samples), free(g);
}

void rl_engine_free(rl_engine *e) {
    if (!e) return;
    rl_engine_end(e);
    while (e->groups) {
        rl_group *g = e->groups;
        e->groups = g->next;
        free_group(g);
    }
    for (rl_prefix *f; (f = e->prefixes);) {
        e->prefixes = f->next;
        free(f->ids), free(f->positions), free(f->rows.page), free(f);
    }
    rl_engine_free_step(e);
    rl_pages_free(e->pages), rl_replay_free(e->replay);
    free(e->banned), free(e);
}

static void *copy(const void *from, int n) { return from ? memcpy(malloc(4 * (size_t)n + 1), from, 4 * (size_t)n) : NULL; }

static rl_group *new_group(const rl_request *q) {
    rl_group *g = calloc(1, sizeof *g);
    g->ask = *q;
    g->ask.prompt = copy(q->prompt, q->n), g->ask.positions = copy(q->positions, 3 * q->n);
    g->ask.stop = copy(q->stop, q->nstop), g->ask.stop_text = rl_stop_copy(q);
    g->ask.bias_id = copy(q->bias_id, q->nbias), g->ask.bias = copy(q->bias, q->nbias);
    g->next_position = q->n;
    rl_media_hash(q->media, g->media);
    for (int i = 0, top = -1; q->positions && i < 3 * q->n; i++)
        if (q->positions[i] > top) g->next_position = (top = q->positions[i]) + 1;
    g->samples = calloc((size_t)q->samples, sizeof *g->samples);
    g->left = g->remembered = q->samples;
    for (int k = 0; k < q->samples; k++) {
        const size_t bytes = 4 * (size_t)q->max_new;
        g->samples[k] = (rl_sample){ .group = g, .number = q->first_sample + k, .hope = 2, .tokens = malloc(bytes),
                                     .versions = malloc(bytes), .logp = malloc(bytes), .entropy = malloc(bytes) };
    }
    return g;
}

static int check_ids(const rl_engine *e, const char *what, const int *ids, int n) {
    for (int i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= e->vocab)
            return rl_refuse("engine: request: %s %d: expected 0 to %d, got %d", what, i, e->vocab - 1, ids[i]);
    return 0;
}

static int check_settings(const rl_request *q) {
    if (!(q->temperature >= 0 && q->temperature < 1e6))
        return rl_refuse("engine: request: temperature: expected 0 or more, got %g", q->temperature);
    if (!(q->top_p > 0 && q->top_p <= 1))
        return rl_refuse("engine: request: top_p: expected above 0 to 1, got %g", q->top_p);
    if (!(q->min_p >= 0 && q->min_p <= 1)) return rl_refuse("engine: request: min_p: expected 0 to 1, got %g", q->min_p);
    if (q->lookup < 0 || q->lookup > 64)
        return rl_refuse("engine: request: lookup: expected 0 to 64, got %d", q->lookup);
    if (q->top_k < 0) return rl_refuse("engine: request: top_k: expected 0 or more, got %d", q->top_k);
    if (!(q->seed >= 0 && q->seed < 9007199254740992.) ||
        !(q->stream >= 0 && q->stream < 2147483648.) || q->first_sample < 0)
        return rl_refuse("engine: request: expected a seed below 2^53 and a stream below 2^31, got %g, %g", q->seed,
                         q->stream);
    for (int i = 0; i < q->nbias; i++)
        if (!(q->bias[i] - q->bias[i] == 0)) return rl_refuse("engine: request: bias %d: expected a finite number", i);
    return 0;
}

static int check(const rl_engine *e, const rl_request *q) {
    if (q->n < 1 || q->samples < 1 || q->max_new < 1)
        return rl_refuse("engine: request: expected a prompt, samples and new tokens, got %d, %d, %d",
                         q->n, q->samples, q->max_new);
    if (check_settings(q) || check_ids(e, "prompt", q->prompt, q->n) || check_ids(e, "stop", q->stop, q->nstop) ||
        check_ids(e, "bias_id", q->bias_id, q->nbias) || rl_stop_check(q) || rl_media_check(q->media, q->n)) return -1;
    const int64_t need = (q->n + RL_PAGE - 1) / RL_PAGE + (int64_t)q->samples * ((q->max_new + RL_PAGE - 1) / RL_PAGE);
    if (need > rl_pages_total(e->pages))
        return rl_refuse("engine: request: expected at most %d slots of cache, %d samples of %d + %d tokens need %lld",
                         rl_pages_total(e->pages) * RL_PAGE, q->samples, q->n, q->max_new, (long long)need * RL_PAGE);
    return 0;
}

rl_replay *rl_engine_replay(rl_engine *e) { return e ? e->replay : NULL; }

int rl_engine_quantise(rl_engine *e, int bits) { return e ? rl_replay_quantise(e->replay, bits) : -1; }

int rl_engine_pictures(rl_engine *e, const rl_media *media, int n) {
    return e && media ? rl_media_pack_reserve(e->step.media, media, n) : -1;
}

int rl_engine_submit(rl_engine *e, const rl_request *q) {
    if (!e || check(e, q)) return -1;
    rl_group *g = new_group(q), **end = &e->groups;
    pthread_mutex_lock(&e->lock);
    const int number = g->request = e->requests++;
    while (*end) end = &(*end)->next;
    *end = g;
    e->pending += q->samples;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);
    return number;
}

const rl_result *rl_engine_next(rl_engine *e, double seconds) {
    if (!e) return NULL;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const double at = (double)until.tv_sec + 1e-9 * (double)until.tv_nsec + seconds;
    until = (struct timespec){ (time_t)at, (long)((at - (double)(time_t)at) * 1e9) };
    pthread_mutex_lock(&e->lock);
    while (!e->finished && e->pending && seconds > 0 && !pthread_cond_timedwait(&e->news, &e->lock, &until)) {}
    rl_sample *x = e->finished;
    if (x && !(e->finished = x->next)) e->finished_end = &e->finished;
    pthread_mutex_unlock(&e->lock);
    return x ? &x->result : NULL;
}

void rl_engine_forget(rl_engine *e, const rl_result *result) {
    pthread_mutex_lock(&e->lock);
    for (rl_group **at = &e->groups; *at; at = &(*at)->next) {
        rl_group *g = *at;
        if (g->request != result->request) continue;
        if (--g->remembered == 0) {
            *at = g->next;
            free_group(g);
        }
        break;
    }
    pthread_mutex_unlock(&e->lock);
}

int rl_engine_pending(rl_engine *e) {
    pthread_mutex_lock(&e->lock);
    const int n = e->pending;
    pthread_mutex_unlock(&e->lock);
    return n;
}

int rl_engine_cancel(rl_engine *e, int request) {
    if (!e) return -1;
    pthread_mutex_lock(&e->lock);
    for (rl_group *g = e->groups; g; g = g->next)
        if (request < 0 || g->request == request) g->cancelled = true;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);
    return 0;
}

int rl_engine_hold(rl_engine *e) {
    if (!e) return -1;
    pthread_mutex_lock(&e->lock);
    e->held++;
    while (e->stepping) pthread_cond_wait(&e->gate, &e->lock);
    pthread_mutex_unlock(&e->lock);
    return 0;
}

int rl_engine_go(rl_engine *e) {
    if (!e) return -1;
    pthread_mutex_lock(&e->lock);
    const bool was_held = e->held > 0;
    if (was_held) e->held--, e->version++;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);
    return was_held ? 0 : rl_refuse("engine: go: expected a hold before it");
}

int rl_engine_stale(rl_engine *e, int on) {
    if (!e) return -1;
    pthread_mutex_lock(&e->lock);
    e->stale = on;
    pthread_mutex_unlock(&e->lock);
    return 0;
}

int rl_engine_version(rl_engine *e) {
    pthread_mutex_lock(&e->lock);
    const int v = e->version;
    pthread_mutex_unlock(&e->lock);
    return v;
}

double rl_engine_count(rl_engine *e, int which) {
    pthread_mutex_lock(&e->lock);
    const double n = e->count[which < 0 || which > 5 ? 0 : which];
    pthread_mutex_unlock(&e->lock);
    return n;
}
