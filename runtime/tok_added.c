/* Added tokens: found in the text before anything else, the longest at each place. */
#include "tokenizer.h"
#include <stdlib.h>
#include <string.h>

void rl_added_free(rl_added *a) {
    for (int i = 0; i < a->n; i++)
        free(a->at[i].content.at), free(a->at[i].normal.at), free(a->at[i].text);
    free(a->at), free(a->raw.at), free(a->normal.at);
}

static int place_of(const rl_added *a, int id) {        /* sorted by id */
    int low = 0, high = a->n;
    while (low < high) {
        const int mid = (low + high) / 2;
        if (a->at[mid].id < id) low = mid + 1;
        else high = mid;
    }
    return low;
}

const rl_added_token *rl_added_find(const rl_added *a, int id) {
    const int i = place_of(a, id);
    return i < a->n && a->at[i].id == id ? &a->at[i] : NULL;
}

void rl_added_put(rl_added *a, const char *content, int n, int id, int flags) {
    const int i = place_of(a, id);
    a->sorted = false;
    if (i < a->n && a->at[i].id == id) { a->at[i].flags = flags; return; }
    if (a->n == a->room)
        a->at = realloc(a->at, sizeof *a->at * (size_t)(a->room = 2 * a->room + 16));
    memmove(a->at + i + 1, a->at + i, sizeof *a->at * (size_t)(a->n++ - i));
    a->at[i] = (rl_added_token){ .id = id, .flags = flags };
    rl_glyphs_read(&a->at[i].content, content, n);
}

static int by_text(const void *x, const void *y) {
    const rl_added_token *a = *(const rl_added_token *const *)x;
    const rl_added_token *b = *(const rl_added_token *const *)y;
    for (int i = 0; i < a->normal.n && i < b->normal.n; i++)
        if (a->normal.at[i].c != b->normal.at[i].c)
            return a->normal.at[i].c < b->normal.at[i].c ? -1 : 1;
    if (a->normal.n != b->normal.n) return a->normal.n < b->normal.n ? -1 : 1;
    const int special = (b->flags & RL_SPECIAL) - (a->flags & RL_SPECIAL);
    return special ? special : a->id < b->id ? -1 : 1;
}

static void sort(rl_search *s) {
    qsort(s->at, (size_t)s->n, sizeof *s->at, by_text);
    s->first[0] = s->first[1] = 0, s->beyond = false;
    for (int i = 0; i < s->n; i++) {
        const uint32_t c = s->at[i]->normal.at[0].c;
        if (c < 128) s->first[c >> 6] |= 1ull << (c & 63);
        else s->beyond = true;
    }
}

static void spell(rl_added_token *t) {
    t->text = realloc(t->text, 4 * (size_t)t->normal.n + 1), t->bytes = 0;
    for (int i = 0; i < t->normal.n; i++)
        t->bytes += rl_utf8_put(t->normal.at[i].c, t->text + t->bytes);
    t->text[t->bytes] = 0;
}

void rl_added_sort(rl_added *a, const rl_normalizer *s) {
    if (a->sorted) return;
    a->raw.at = realloc(a->raw.at, sizeof *a->raw.at * ((size_t)a->n + 1));
    a->normal.at = realloc(a->normal.at, sizeof *a->normal.at * ((size_t)a->n + 1));
    a->raw.n = a->normal.n = 0;
    for (int i = 0; i < a->n; i++) {
        rl_added_token *t = &a->at[i];
        rl_search *list = t->flags & RL_NORMALIZED ? &a->normal : &a->raw;
        rl_glyphs_copy(&t->normal, t->content.at, t->content.n);
        if (t->flags & RL_NORMALIZED) rl_normalizer_run(s, &t->normal);
        spell(t);
        if (t->normal.n) list->at[list->n++] = t;
    }
    sort(&a->raw), sort(&a->normal);
    a->sorted = true;
}

/* The longest token at i; NULL: none. */
static const rl_added_token *longest(const rl_search *s, const rl_glyphs *t, int i) {
    const rl_added_token *best = NULL;
    int low = 0, high = s->n;                           /* those that begin as the text does */
    for (int d = 0; i + d <= t->n; d++) {
        if (low < high && s->at[low]->normal.n == d) {
            best = s->at[low];
            while (low < high && s->at[low]->normal.n == d) low++;
        }
        if (low == high || i + d == t->n) break;
        const uint32_t c = t->at[i + d].c;
        int from = low, to = high, end = high;
        while (from < to) {
            const int mid = (from + to) / 2;
            if (s->at[mid]->normal.at[d].c < c) from = mid + 1;
            else to = mid;
        }
        for (low = from; from < end;) {
            const int mid = (from + end) / 2;
            if (s->at[mid]->normal.at[d].c <= c) from = mid + 1;
            else end = mid;
        }
        high = from;
    }
    return best;
}

static bool is(const rl_glyphs *t, int i, int class) {
    return i >= 0 && i < t->n && rl_unicode_classes[t->at[i].c] & class;
}

static void add(rl_stretches *s, int id, int from, int to) {
    if (from == to) return;
    if (s->n == s->room)
        s->at = realloc(s->at, sizeof *s->at * (size_t)(s->room = 2 * s->room + 16));
    s->at[s->n++] = (rl_stretch){ id, from, to };
}

void rl_added_cut(const rl_search *s, bool plain, const rl_glyphs *t, rl_stretches *out) {
    int done = 0, spaces = 0;                   /* spaces: the end of the last run of them */
    out->n = 0;
    for (int i = 0; s->n && i < t->n;) {
        const uint32_t c = t->at[i].c;
        const bool begins = c < 128 ? s->first[c >> 6] >> (c & 63) & 1 : s->beyond;
        const rl_added_token *k = begins ? longest(s, t, i) : NULL;
        if (!k) { i++; continue; }
        int from = i, to = i += k->normal.n;
        if (plain && k->flags & RL_SPECIAL) continue;
        if (k->flags & RL_SINGLE_WORD && (is(t, from - 1, RL_WORD) || is(t, to, RL_WORD))) continue;
        if (k->flags & RL_LSTRIP) {
            while (from > done && is(t, from - 1, RL_SPACE)) from--;
            if (from < done) from = done < to ? done : to;
        }
        if (k->flags & RL_RSTRIP) {
            if (spaces < to) for (spaces = to; is(t, spaces, RL_SPACE);) spaces++;
            to = spaces;
        }
        if (done < from) add(out, -1, done, from);
        add(out, k->id, from, to);
        done = to;
    }
    if (done < t->n) add(out, -1, done, t->n);
}
