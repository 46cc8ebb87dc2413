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

/* Row asks for the token that is `ahead` places behind the sample's next one. */
static void add_answer(rl_plan_rows *s, int row, rl_sample *who, int ahead) {
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
        (uint64_t)who->number << 32 | (uint64_t)(who->n + ahead), ask->bias_id, ask->bias, ask->nbias };
    s->first[s->nanswers] = s->nanswers;
}

static const rl_rows none;

/* Rows [from, from + n) of a prompt, whose slots are set. */
static void add_rows_of_prompt(rl_engine *e, rl_group *g, int from, int n) {
    rl_plan_rows *s = &e->step;
    const int row = s->rows, *positions = g->ask.positions;
    memcpy(s->ids + row, g->ask.prompt + from, 4 * (size_t)n);
    for (int i = from; i < from + n; i++)
        for (int a = 0; a < 3; a++)
            s->positions[3 * (row + i - from) + a] = positions ? positions[a * g->ask.n + i] : i;
    s->rows += n;
    add_run(s, row, n, &none, &g->prefix->rows);
    rl_media_pack_add(s->media, g->ask.media, row, from, from + n);
    if (from + n == g->ask.n) g->prefix->last_row = row + n - 1;
    g->in_step = true;
    e->count[0] += n;
}

/* The next n rows of a prompt. */
static void add_prompt(rl_engine *e, rl_group *g, int n) {
    rl_plan_rows *s = &e->step;
    rl_prefix *f = g->prefix;
    const int from = f->rows.rows, row = s->rows;
    room_for_rows(s, n);
    rl_rows_add(&f->rows, e->pages, n, s->slots + row);
    add_rows_of_prompt(e, g, from, n);
}

/* The last row of a prompt that is cached whole, once more: its answer is not. */
static void add_last(rl_engine *e, rl_group *g) {
    const rl_rows *rows = &g->prefix->rows;
    room_for_rows(&e->step, 1);
    e->step.slots[e->step.rows] = rows->page[rows->npages - 1] * RL_PAGE + (rows->rows - 1) % RL_PAGE;
    add_rows_of_prompt(e, g, rows->rows - 1, 1);
    e->count[5]--;
}

/* The next n tokens of a sample that are not cached yet, and behind its last one a draft: each of its rows draws what
 * would be drawn there if all before it were right. */
static void add_sample(rl_engine *e, rl_sample *x, int n) {
    rl_plan_rows *s = &e->step;
    const int row = s->rows, last = x->done + n == x->n;
    room_for_rows(s, n + x->group->ask.lookup);
    memcpy(s->ids + row, x->tokens + x->done, 4 * (size_t)n);
    const int drafted = last ? rl_sample_draft(x, s->ids + row + n) : 0;
    x->done += n;
    n += drafted;
    for (int i = 0; i < 3 * n; i++) s->positions[3 * row + i] = x->group->next_position + x->rows.rows + i / 3;
    rl_rows_add(&x->rows, e->pages, n, s->slots + row);
    s->rows += n;
    add_run(s, row, n, &x->group->prefix->rows, &x->rows);
    for (int i = 0; last && i <= drafted; i++) add_answer(s, row + n - 1 - drafted + i, x, i);
    x->group->in_step = true;
}

/* How many of a prompt's rows go into a step with room for `left`.  One with pictures is cut only if it is longer
 * than any step: each piece computes the tower again. */
static int prompt_piece(const rl_engine *e, const rl_group *g, int left) {
    const int rest = g->ask.n - g->prefix->rows.rows;
    if (rest <= left) return rest;
    return g->ask.media && rest <= e->prompt_rows ? 0 : left;
}

static bool whole(const rl_group *g) { return g->prefix && g->prefix->rows.rows == g->prefix->n; }

/* May a group start beside so many running samples? */
static bool admit(rl_engine *e, rl_group *g, int running) {
    return (!running || running + g->ask.samples <= e->at_once) && rl_prefix_admit(e, g);
}

/* Does a sample wait for its first token? */
static bool begins(const rl_group *g) {
    for (int k = 0; k < g->ask.samples; k++)
        if (!g->samples[k].ended && g->samples[k].n == 0) return true;
    return false;
}

/* Asks for the first tokens of samples where the prompt's last row is in the step. */
static void ask_first(rl_plan_rows *s, rl_group *g) {
    for (int k = 0; g->prefix->last_row >= 0 && k < g->ask.samples; k++) {
        if (g->samples[k].ended || g->samples[k].n) continue;
        add_answer(s, g->prefix->last_row, &g->samples[k], 0);
        g->in_step = true;
    }
}

/* A group's prompt, as far as there is room for it -> rows that are left; -1: it does not fit. */
static int plan_prompt(rl_engine *e, rl_group *g, int left) {
    if (!whole(g)) {
        const int n = prompt_piece(e, g, left);
        if (!n) return -1;
        add_prompt(e, g, n);
        left -= n;
    } else if (g->prefix->last_row < 0 && begins(g)) {
        if (!left--) return -1;
        add_last(e, g);
    }
    ask_first(&e->step, g);
    return left;
}

/* Prompts in the order of their coming (of one group alone where `only` is given) -> rows left in the step. */
static int plan_prompts(rl_engine *e, const rl_group *only) {
    int running = 0, left = e->prompt_rows;
    for (rl_prefix *f = e->prefixes; f; f = f->next) f->last_row = -1;
    for (rl_group *g = e->groups; g; g = g->next)
        if (g->prefix) running += g->left;
    for (rl_group *g = e->groups; g; g = g->next) {
        if (!g->left || (only && g != only)) continue;
        if (!g->prefix) {
            if (!admit(e, g, running)) break;                       /* first come, first served */
            running += g->left;
        }
        const int now = plan_prompt(e, g, left);
        if (now < 0) break;
        left = now;
    }
    return left;
}

/* Samples below complete prompts: one row each, and more, as far as there is room, after the weights changed. */
static void plan_samples(rl_engine *e, const rl_group *only, int left) {
    int decoded = 0;
    for (rl_group *g = e->groups; g; g = g->next)
        for (int k = 0; whole(g) && (!only || g == only) && k < g->ask.samples; k++) {
            rl_sample *x = &g->samples[k];
            int n = x->n - x->done;
            if (x->ended || !n) continue;
            if (decoded++ == e->at_once) return;
            if (n > 1) left -= n = n < left ? n : left;
            if (n) add_sample(e, x, n);
        }
}

void rl_engine_plan(rl_engine *e) {
    rl_plan_rows *s = &e->step;
    s->rows = s->nruns = s->nspans = s->nanswers = 0;
    rl_media_pack_clear(s->media);
    const rl_group *suspect = NULL;
    for (rl_group *g = e->groups; g; g = g->next) {
        g->in_step = false;
        if (!suspect && g->suspect && g->left) suspect = g;
    }
    plan_samples(e, suspect, plan_prompts(e, suspect));
    if (s->rows > e->count[2]) e->count[2] = s->rows;
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
