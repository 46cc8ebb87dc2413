/* The merges of byte pair encoding: pairs of tokens, their ranks, the tokens that they make. */
#include "tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { const char *text; int n; } side;

/* The two sides of merge i: "a b" or ["a", "b"]. */
static int read_sides(rl_where *p, int node, int i, side out[2]) {
    const rl_json_node *at = rl_where_node(p, node);
    if (at->kind == RL_JSON_STRING) {
        const char *end = at->text + at->length, *space = memchr(at->text, ' ', (size_t)at->length);
        if (space && !memchr(space + 1, ' ', (size_t)(end - space - 1))) {
            out[0] = (side){ at->text, (int)(space - at->text) };
            out[1] = (side){ space + 1, (int)(end - space - 1) };
            return 0;
        }
    }
    if (at->kind == RL_JSON_ARRAY && at->count == 2 && at[1].kind == RL_JSON_STRING &&
        at[2].kind == RL_JSON_STRING) {
        for (int k = 0; k < 2; k++) out[k] = (side){ at[1 + k].text, at[1 + k].length };
        return 0;
    }
    rl_where_enter(p, "merges", i);
    return rl_where_refuse(p, NULL, "\"left right\" or [\"left\", \"right\"]", node);
}

static bool is_mark(const char *s) { return !memcmp(s, "\xe2\x96\x81", 3); }

/* Whether the right side begins with a space mark that the left one does not end with. */
static bool goes_over(const side s[2]) {
    return s[1].n >= 3 && is_mark(s[1].text) && !(s[0].n >= 3 && is_mark(s[0].text + s[0].n - 3));
}

static void put(rl_merges *m, rl_merge x) {
    uint32_t h = rl_merges_hash(x.left, x.right);
    for (; m->at[h & m->mask].rank >= 0; h++)
        if (m->at[h & m->mask].left == x.left && m->at[h & m->mask].right == x.right) break;
    m->at[h & m->mask] = x;
}

/* made: room for both sides */
static int read_merge(rl_merges *m, rl_where *p, int node, int i, const rl_vocab *vocab,
                      rl_bytes *made) {
    side s[3] = { 0 };
    int id[3];
    if (read_sides(p, node, i, s)) return -1;
    made->n = 0;
    rl_bytes_add(made, s[0].text, s[0].n), rl_bytes_add(made, s[1].text, s[1].n);
    s[2] = (side){ made->at, (int)made->n };
    for (int k = 0; k < 3; k++) {
        id[k] = rl_vocab_id(vocab, s[k].text, s[k].n);
        if (id[k] >= 0) continue;
        rl_where_enter(p, "merges", i);
        return rl_refuse("%s: %s: expected tokens of the vocabulary, found '%.*s'", p->file, p->at,
                         s[k].n < 100 ? s[k].n : 100, s[k].text);
    }
    if (goes_over(s)) m->cut = false;
    put(m, (rl_merge){ id[0], id[1], i, id[2] });
    return 0;
}

int rl_merges_read(rl_merges *m, rl_where *p, int node, const rl_vocab *vocab) {
    if (node < 0 || rl_where_node(p, node)->kind != RL_JSON_ARRAY)
        return rl_where_refuse(p, "merges", "an array", node);
    const rl_json_node *nodes = rl_json_nodes(p->doc);
    const int n = nodes[node].count;
    for (m->mask = 15; (int)(m->mask / 2) <= n;) m->mask = 2 * m->mask + 1;
    m->at = malloc(sizeof *m->at * ((size_t)m->mask + 1));
    for (uint32_t i = 0; i <= m->mask; i++) m->at[i].rank = -1;
    m->cut = true;
    rl_bytes made = { 0 };
    int status = 0;
    for (int i = 0, at = node + 1; i < n && !status; i++, at = nodes[at].next)
        status = read_merge(m, p, at, i, vocab, &made);
    free(made.at);
    return status;
}
