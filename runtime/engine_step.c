/* One step of the engine: which rows, what they see in the cache, which of them are asked for a token. */
#include "engine.h"
#include <stdlib.h>
#include <string.h>

#define GROW(list, room, need) ((list) = (need) > (room) ? realloc((list), 2 * (size_t)(need) * sizeof *(list)) : (list))

static void room_for_rows(rl_plan_rows *s, int n) {
    const int need = s->rows + n;
    if (need <= s->room) return;
    GROW(s->ids, s->room, need), GROW(s->slots, s->room, need);
    s->positions = realloc(s->positions, 3 * 4 * 2 * (size_t)need);
    s->packed = realloc(s->packed, 3 * 4 * 2 * (size_t)need);
    s->room = 2 * need;
}

/* Rows [q0, q0 + qn) of this step see the prompt's cached rows, then their own segment's. */
static void add_run(rl_plan_rows *s, int q0, int qn, const rl_rows *prompt, const rl_rows *own) {
    const int most = prompt->npages + own->npages;
    if (s->nspans + most > s->span_room) {
        GROW(s->spans, s->span_room, s->nspans + most);
        s->span_room = 2 * (s->nspans + most);
    }
    if (s->nruns + 1 > s->run_room) {
        GROW(s->runs, s->run_room, s->nruns + 1);
        s->run_room = 2 * (s->nruns + 1);
    }
    int n = rl_rows_spans(prompt, s->spans + s->nspans);
    n += rl_rows_spans(own, s->spans + s->nspans + n);
    s->runs[s->nruns++] = (rl_run){ q0, qn, s->nspans, n, prompt->rows + own->rows, 1 };
    s->nspans += n;
}

static void add_answer(rl_plan_rows *s, int row, rl_sample *who) {
    const rl_request *ask = &who->group->ask;
    const int need = s->nanswers + 2;
    if (need > s->answer_room) {
        GROW(s->answers, s->answer_room, need), GROW(s->first, s->answer_room, need), GROW(s->label, s->answer_room, need);
        GROW(s->how, s->answer_room, need), GROW(s->who, s->answer_room, need);
        s->answer_room = 2 * need;
    }
    s->answers[s->nanswers] = row, s->first[s->nanswers] = s->nanswers, s->label[s->nanswers] = 0;
    s->who[s->nanswers] = who;
    s->how[s->nanswers++] = (rl_sampling){ (float)ask->temperature, (float)ask->top_p, (float)ask->min_p, ask->top_k,
        (uint64_t)ask->seed * 0x9e3779b97f4a7c15u + (uint64_t)ask->stream,
        (uint64_t)who->number << 32 | (uint64_t)who->n };
    s->first[s->nanswers] = s->nanswers;
}

static const rl_rows none;

/* The prompt's rows; every sample that has no token yet is asked for its first at the last of them. */
static void add_prompt(rl_engine *e, rl_group *g) {
    rl_plan_rows *s = &e->step;
    const int n = g->ask.n, row = s->rows;
    room_for_rows(s, n);
    memcpy(s->ids + row, g->prompt, 4 * (size_t)n);
    for (int i = 0; i < n; i++)
        for (int a = 0; a < 3; a++) s->positions[3 * (row + i) + a] = g->positions ? g->positions[a * n + i] : i;
    rl_rows_add(&g->rows, e->pages, n, s->slots + row);
    s->rows += n;
    add_run(s, row, n, &none, &g->rows);
    rl_media_pack_add(s->media, g->ask.media, row);
    for (int k = 0; k < g->ask.samples; k++)
        if (!g->samples[k].ended && g->samples[k].n == 0) add_answer(s, row + n - 1, &g->samples[k]);
    g->cached = true;
    e->count[0] += n;
}

/* The tokens of a sample that are not cached yet: the last one, or all after the weights changed. */
static void add_sample(rl_engine *e, rl_sample *x) {
    rl_plan_rows *s = &e->step;
    const int n = x->n - x->done, row = s->rows;
    room_for_rows(s, n);
    memcpy(s->ids + row, x->tokens + x->done, 4 * (size_t)n);
    for (int i = 0; i < 3 * n; i++) s->positions[3 * row + i] = x->group->next_position + x->done + i / 3;
    rl_rows_add(&x->rows, e->pages, n, s->slots + row);
    s->rows += n, x->done += n;
    add_run(s, row, n, &x->group->rows, &x->rows);
    add_answer(s, row + n - 1, x);
}

static int pages_for(int rows) { return (rows + RL_PAGE - 1) / RL_PAGE; }

/* Room for the whole of a group is set aside before it starts, so that none ever waits half done. */
static bool admit(rl_engine *e, rl_group *g, int running) {
    const int need = pages_for(g->ask.n) + g->ask.samples * pages_for(g->ask.max_new);
    if (e->reserved + need > rl_pages_total(e->pages)) return false;
    if (running && running + g->ask.samples > e->at_once) return false;
    g->pages = need, g->admitted = true;
    e->reserved += need;
    return true;
}

void rl_engine_plan(rl_engine *e) {
    rl_plan_rows *s = &e->step;
    int running = 0;
    s->rows = s->nruns = s->nspans = s->nanswers = 0;
    rl_media_pack_clear(s->media);
    for (rl_group *g = e->groups; g; g = g->next)
        if (g->admitted) running += g->left;
    for (rl_group *g = e->groups; g; g = g->next) {
        if (!g->left || g->cached) continue;
        if (s->rows && s->rows + g->ask.n > e->prompt_rows) break;
        if (!g->admitted) {
            if (!admit(e, g, running)) break;                       /* first come, first served */
            running += g->left;
        }
        add_prompt(e, g);
    }
    for (rl_group *g = e->groups; g; g = g->next)
        for (int k = 0; g->cached && k < g->ask.samples; k++)
            if (!g->samples[k].ended && g->samples[k].n > g->samples[k].done) add_sample(e, &g->samples[k]);
}

int rl_engine_bind_step(rl_engine *e) {
    static _Thread_local rl_table table;
    static _Thread_local rl_pairs head;
    rl_plan_rows *s = &e->step;
    rl_replay *r = e->replay;
    for (int i = 0; i < s->rows; i++)
        for (int a = 0; a < 3; a++) s->packed[a * s->rows + i] = s->positions[3 * i + a];
    table = (rl_table){ .runs = s->runs, .spans = s->spans, .nruns = s->nruns, .cache = rl_pages_cache(e->pages),
                        .slots = s->slots };
    head = (rl_pairs){ .first = s->first, .label = s->label, .temperature = 1, .how = s->how, .banned = e->banned };
    return rl_replay_rows(r, "tokens", s->rows) || rl_replay_rows(r, "answers", s->nanswers) ||
           rl_replay_rows(r, "pairs", s->nanswers) || rl_media_pack_bind(s->media, r) ||
           rl_replay_bind(r, "ids", s->ids) || rl_replay_bind(r, "positions", s->packed) ||
           rl_replay_bind(r, "segments", &table) || rl_replay_bind(r, "answers", s->answers) ||
           rl_replay_bind(r, "pairs", &head) ? -1 : 0;
}

void rl_engine_free_step(rl_engine *e) {
    rl_plan_rows *s = &e->step;
    free(s->ids), free(s->positions), free(s->slots), free(s->packed), free(s->runs), free(s->spans);
    free(s->answers), free(s->first), free(s->label), free(s->how), free(s->who);
    rl_media_pack_free(s->media);
}
