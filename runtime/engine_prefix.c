/* Prompts in the cache: groups with the same prompt share its rows, and those that no group uses
 * stay for later ones while pages are spare and the weights are the same. */
#include "engine.h"
#include <stdlib.h>
#include <string.h>

static int pages_for(int rows) { return (rows + RL_PAGE - 1) / RL_PAGE; }

static bool current(const rl_engine *e, const rl_prefix *f) {
    return f->version == e->version && f->writes == rl_param_writes();
}

static bool same(const void *a, const void *b, int n) {
    return a && b ? !memcmp(a, b, 4 * (size_t)n) : a == b;
}

/* The prompt of g by the weights as they are, NULL where none has it. */
static rl_prefix *find(const rl_engine *e, const rl_group *g) {
    const rl_request *ask = &g->ask;
    for (rl_prefix *f = e->prefixes; f; f = f->next) {
        if (f->n != ask->n || !current(e, f)) continue;
        if (same(f->ids, ask->prompt, f->n) && same(f->positions, ask->positions, 3 * f->n) &&
            !memcmp(f->media, g->media, sizeof f->media)) return f;
    }
    return NULL;
}

static int32_t *copy(const void *from, int n) {
    return from ? memcpy(malloc(4 * (size_t)n), from, 4 * (size_t)n) : NULL;
}

static rl_prefix *add(rl_engine *e, const rl_group *g) {
    rl_prefix *f = malloc(sizeof *f);
    *f = (rl_prefix){ .n = g->ask.n, .ids = copy(g->ask.prompt, g->ask.n), .last_row = -1,
                      .positions = copy(g->ask.positions, 3 * g->ask.n), .version = e->version,
                      .writes = rl_param_writes(), .next = e->prefixes };
    memcpy(f->media, g->media, sizeof f->media);
    return e->prefixes = f;
}

static void take_out(rl_engine *e, rl_prefix *f) {
    rl_prefix **at = &e->prefixes;
    while (*at != f) at = &(*at)->next;
    *at = f->next;
}

/* One that no group uses goes for good. */
static void forget(rl_engine *e, rl_prefix *f) {
    take_out(e, f);
    e->spared -= f->rows.npages;
    rl_rows_release(&f->rows, e->pages);
    free(f->ids), free(f->positions), free(f);
}

/* The unused one that was used longest ago. */
static rl_prefix *oldest(const rl_engine *e) {
    rl_prefix *last = NULL;
    for (rl_prefix *f = e->prefixes; f; f = f->next)
        if (!f->users) last = f;
    return last;
}

bool rl_prefix_admit(rl_engine *e, rl_group *g) {
    rl_prefix *f = find(e, g);
    const int total = rl_pages_total(e->pages), own = g->ask.samples * pages_for(g->ask.max_new);
    const int need = own + (f && f->users ? 0 : pages_for(g->ask.n));
    if (e->reserved + need > total) return false;
    if (f) e->count[5] += f->n;
    else f = add(e, g);
    if (!f->users++) e->spared -= f->rows.npages;
    e->reserved += need;
    g->prefix = f, g->pages = own;
    while (e->reserved + e->spared > total) forget(e, oldest(e));
    return true;
}

void rl_prefix_leave(rl_engine *e, rl_group *g) {
    rl_prefix *f = g->prefix;
    if (!f) return;
    g->prefix = NULL;
    e->reserved -= g->pages;
    if (--f->users) return;
    e->reserved -= pages_for(f->n), e->spared += f->rows.npages;
    if (f->rows.rows < f->n || !current(e, f)) {
        forget(e, f);
        return;
    }
    take_out(e, f);
    f->next = e->prefixes, e->prefixes = f;
}

void rl_prefix_drop_unused(rl_engine *e) {
    for (rl_prefix *f; (f = oldest(e));) forget(e, f);
}
