/* The normal forms: decompose, order the marks, compose.  Unicode Standard, section 3.11. */
#include "tokenizer.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RANGE(k, a, b)
#define MARK(k, a, b)
#define SPLIT(c, a, b)
#define NOT_JOINED(c)
#define LOWER(c, l)
#define COMPAT(c, s)

typedef struct { uint32_t whole, first, second; } split;
typedef struct { uint32_t whole; const char *parts; } compat;

static const split splits[] = {
#undef SPLIT
#define SPLIT(c, a, b) { c, a, b },
#include "unicode.def"
#undef SPLIT
#define SPLIT(c, a, b)
};
static const compat compats[] = {
#undef COMPAT
#define COMPAT(c, s) { c, s },
#include "unicode.def"
#undef COMPAT
#define COMPAT(c, s)
};
static const uint32_t apart[] = {
#undef NOT_JOINED
#define NOT_JOINED(c) c,
#include "unicode.def"
};

enum { NSPLITS = sizeof splits / sizeof *splits, NCOMPATS = sizeof compats / sizeof *compats };

/* Pairs that join, sorted by their parts. */
static split joins[NSPLITS];
static size_t njoins;

static int by_code(const void *key, const void *row) {
    const uint32_t a = *(const uint32_t *)key, b = *(const uint32_t *)row;
    return a < b ? -1 : a > b;
}

static int by_parts(const void *x, const void *y) {
    const split *a = x, *b = y;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->second < b->second ? -1 : a->second > b->second;
}

static void build(void) {
    for (int i = 0; i < NSPLITS; i++)
        if (splits[i].second &&
            !bsearch(&splits[i].whole, apart, sizeof apart / sizeof *apart, sizeof *apart, by_code))
            joins[njoins++] = splits[i];
    qsort(joins, njoins, sizeof *joins, by_parts);
}

/* While a form is made, from of a glyph counts the input characters that it brings beyond its own
 * (1: it was put in, 0, or below 0: it took others in). */
static void give(rl_glyphs *out, uint32_t c, bool *first) {
    rl_glyphs_add(out, c, *first ? 0 : 1, 0);
    *first = false;
}

static void decompose(rl_glyphs *out, uint32_t c, bool all, bool *first) {
    if (c >= 0xac00 && c < 0xd7a4) {                        /* Hangul syllables, by arithmetic */
        const uint32_t s = c - 0xac00;
        give(out, 0x1100 + s / 588, first), give(out, 0x1161 + s % 588 / 28, first);
        if (s % 28) give(out, 0x11a7 + s % 28, first);
        return;
    }
    const compat *k = all ? bsearch(&c, compats, NCOMPATS, sizeof *compats, by_code) : NULL;
    if (k) {
        for (int i = 0, used, n = (int)strlen(k->parts); i < n; i += used)
            give(out, (uint32_t)rl_utf8_take(k->parts + i, n - i, &used), first);
        return;
    }
    const split *d = bsearch(&c, splits, NSPLITS, sizeof *splits, by_code);
    if (!d) { give(out, c, first); return; }
    decompose(out, d->first, all, first);
    if (d->second) decompose(out, d->second, all, first);
}

/* A run of marks by combining class, those of one class as they stood. */
static void order_run(rl_glyph *g, int n) {
    int first[257] = { 0 };
    if (n < 2) return;
    rl_glyph *copy = malloc(sizeof *g * (size_t)n);
    memcpy(copy, g, sizeof *g * (size_t)n);
    for (int i = 0; i < n; i++) first[rl_unicode_marks[g[i].c] + 1]++;
    for (int k = 0; k < 256; k++) first[k + 1] += first[k];
    for (int i = 0; i < n; i++) g[first[rl_unicode_marks[copy[i].c]]++] = copy[i];
    free(copy);
}

static void order_marks(rl_glyphs *t) {
    for (int i = 0, end; i < t->n; i = end + 1) {
        for (end = i; end < t->n && rl_unicode_marks[t->at[end].c];) end++;
        order_run(t->at + i, end - i);
    }
}

static uint32_t join(uint32_t a, uint32_t b) {
    if (a >= 0x1100 && a < 0x1113 && b >= 0x1161 && b < 0x1176)
        return 0xac00 + ((a - 0x1100) * 21 + b - 0x1161) * 28;
    if (a >= 0xac00 && a < 0xd7a4 && (a - 0xac00) % 28 == 0 && b > 0x11a7 && b < 0x11c3)
        return a + b - 0x11a7;
    const split key = { 0, a, b };
    const split *found = bsearch(&key, joins, njoins, sizeof *joins, by_parts);
    return found ? found->whole : 0;
}

static void compose(rl_glyphs *t) {
    int starter = -1, n = 0, last = -1;                     /* last: class of what stands between */
    for (int i = 0; i < t->n; i++) {
        const rl_glyph g = t->at[i];
        const int k = rl_unicode_marks[g.c];
        const uint32_t whole = starter >= 0 && (last < k || last == -1)
            ? join(t->at[starter].c, g.c) : 0;
        if (whole) {
            t->at[starter].c = whole, t->at[starter].from += g.from - 1;
            continue;
        }
        if (k == 0) starter = n, last = -1;
        else last = k;
        t->at[n++] = g;
    }
    t->n = n;
}

/* From counts to places in the original: what was put in stands where the one before came from. */
static void put_places(rl_glyphs *t, const rl_glyphs *old) {
    for (int i = 0, at = 0; i < t->n; i++) {
        const int more = t->at[i].from, k = more > 0 ? at - 1 : at;
        t->at[i].from = k < 0 || k >= old->n ? 0 : old->at[k].from;
        t->at[i].to = k < 0 || k >= old->n ? 0 : old->at[k].to;
        at += 1 - more;
    }
}

void rl_glyphs_normalize(rl_glyphs *t, rl_normal_form form) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const uint32_t plain[] = { 0x300, 0xc0, 0xa0, 0xa0 };    /* all below stays as it is */
    const uint32_t limit = plain[form];
    uint32_t most = 0;
    for (int i = 0; i < t->n; i++) most = t->at[i].c > most ? t->at[i].c : most;
    if (most < limit) return;
    pthread_once(&once, build);
    rl_unicode_ready();
    rl_glyphs out = { 0 };
    for (int i = 0; i < t->n; i++) {
        bool first = true;
        decompose(&out, t->at[i].c, form == RL_NFKC || form == RL_NFKD, &first);
    }
    order_marks(&out);
    if (form == RL_NFC || form == RL_NFKC) compose(&out);
    put_places(&out, t);
    free(t->at);
    *t = out;
}
