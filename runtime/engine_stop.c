/* What ends a sample by its own tokens: a stop id, or a stop text in what they decode to. */
#define _GNU_SOURCE
#include "engine.h"
#include <stdlib.h>
#include <string.h>

static int longest(const rl_request *ask) {
    size_t most = 1;
    for (int i = 0; i < ask->nstop_text; i++)
        if (strlen(ask->stop_text[i]) > most) most = strlen(ask->stop_text[i]);
    return (int)most;
}

/* Does a stop text end in what the token adds?  Of the text only so much is kept as one of them may begin in. */
static bool says_stop(rl_sample *x, int token) {
    const rl_request *ask = &x->group->ask;
    if (!x->text) x->text = rl_stream_new(ask->tokenizer, 0);
    const int more = rl_stream_put(x->text, token);
    if (more <= 0) return false;
    x->tail = realloc(x->tail, (size_t)(x->ntail + more));
    memcpy(x->tail + x->ntail, rl_stream_text(x->text), (size_t)more);
    x->ntail += more;
    for (int i = 0; i < ask->nstop_text; i++)
        if (memmem(x->tail, (size_t)x->ntail, ask->stop_text[i], strlen(ask->stop_text[i]))) return true;
    const int keep = longest(ask) - 1 < x->ntail ? longest(ask) - 1 : x->ntail;
    memmove(x->tail, x->tail + x->ntail - keep, (size_t)keep);
    x->ntail = keep;
    return false;
}

bool rl_sample_stops(rl_sample *x, int token) {
    const rl_request *ask = &x->group->ask;
    for (int i = 0; i < ask->nstop; i++)
        if (ask->stop[i] == token) return true;
    return ask->nstop_text && says_stop(x, token);
}

int rl_stop_check(const rl_request *q) {
    if (q->nstop_text && !q->tokenizer) return rl_refuse("engine: request: stop_text: expected a tokenizer, got none");
    for (int i = 0; i < q->nstop_text; i++)
        if (!q->stop_text[i][0]) return rl_refuse("engine: request: stop_text %d: expected some text, got none", i);
    return 0;
}

const char *const *rl_stop_copy(const rl_request *q) {
    char **texts = calloc((size_t)q->nstop_text + 1, sizeof *texts);
    for (int i = 0; i < q->nstop_text; i++) texts[i] = strdup(q->stop_text[i]);
    return (const char *const *)texts;
}

void rl_stop_free(rl_group *g) {
    for (int k = 0; k < g->ask.samples; k++) rl_stream_free(g->samples[k].text), free(g->samples[k].tail);
    for (int i = 0; i < g->ask.nstop_text; i++) free((void *)g->ask.stop_text[i]);
    free((void *)g->ask.stop_text);
}
