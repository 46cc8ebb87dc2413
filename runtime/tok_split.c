/* Before the merges: the normalizer, and the pre-tokenizer that cuts text into pieces. */
#include "tokenizer.h"
#include <stdlib.h>
#include <string.h>

typedef enum { NFC, LOWERCASE, PREPEND, REPLACE, STRIP, SPLIT, DIGITS, DIGIT_RUNS, BYTE_LEVEL, METASPACE } step_kind;
typedef enum { ISOLATED, REMOVED, WITH_PREVIOUS, WITH_NEXT } behaviour;
typedef enum { NEVER, FIRST, ALWAYS } prefix;
typedef struct {
    step_kind kind;
    rl_regex *regex;                        /* SPLIT; BYTE_LEVEL where it splits */
    uint32_t from[16], to[16]; int nfrom, nto;
    behaviour behave; prefix scheme; bool split, left, right;
} step;

struct rl_splitter { step normal[16], cut[16]; int nnormal, ncut; bool bytes; };

static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

typedef struct { const rl_json *doc; const char *file, *part; } context;

static const rl_json_node *node(const context *c, int at) { return &rl_json_nodes(c->doc)[at]; }

static bool flag(const context *c, int object, const char *key, bool dflt) {
    const int at = rl_json_get(c->doc, object, key);
    return at < 0 ? dflt : node(c, at)->kind == RL_JSON_TRUE;
}

static int text_of(const context *c, int at, uint32_t *out, int *n) {
    if (at < 0 || node(c, at)->kind != RL_JSON_STRING)
        return rl_refuse("%s: %s: expected a text, found none", c->file, c->part);
    rl_text t = { 0 };
    rl_text_read(&t, node(c, at)->text, node(c, at)->length);
    const int status = t.n > 16 ? rl_refuse("%s: %s: expected at most 16 characters, found %d", c->file, c->part, t.n) : 0;
    for (int i = 0; !status && i < t.n; i++) out[i] = t.at[i].c;
    *n = t.n;
    free(t.at);
    return status;
}

static int unknown(const context *c, int object, const char *known) {
    const int at = rl_json_get(c->doc, object, "type");
    return rl_refuse("%s: %s: type: expected one of %s, found %s", c->file, c->part, known,
                     at < 0 || node(c, at)->kind != RL_JSON_STRING ? "none" : node(c, at)->text);
}

static bool is(const context *c, int object, const char *type) {
    return rl_json_is(c->doc, rl_json_get(c->doc, object, "type"), type);
}

/* A Sequence's members, or the one thing itself, through add. */
static int each(rl_splitter *s, context *c, int at, const char *list, int (*add)(rl_splitter *, context *, int)) {
    if (at < 0 || node(c, at)->kind == RL_JSON_NULL) return 0;
    if (node(c, at)->kind != RL_JSON_OBJECT) return rl_refuse("%s: %s: expected an object", c->file, c->part);
    if (!is(c, at, "Sequence")) return add(s, c, at);
    const int members = rl_json_get(c->doc, at, list);
    for (int i = 0, m; (m = rl_json_at(c->doc, members, i)) >= 0; i++)
        if (each(s, c, m, list, add)) return -1;
    return 0;
}

/* pattern: { "String": ... } or { "Regex": ... } */
static int pattern(const context *c, int object, step *t) {
    const int at = rl_json_get(c->doc, object, "pattern"), text = rl_json_get(c->doc, at, "String");
    if (text >= 0) return text_of(c, text, t->from, &t->nfrom);
    const int regex = rl_json_get(c->doc, at, "Regex");
    if (regex < 0 || node(c, regex)->kind != RL_JSON_STRING)
        return rl_refuse("%s: %s: pattern: expected String or Regex, found neither", c->file, c->part);
    t->regex = rl_regex_new(node(c, regex)->text, c->file);
    return t->regex ? 0 : -1;
}

static int add_normalizer(rl_splitter *s, context *c, int at) {
    if (s->nnormal == 16) return rl_refuse("%s: %s: expected at most 16 steps", c->file, c->part);
    step *t = &s->normal[s->nnormal++];
    *t = (step){ 0 };
    if (is(c, at, "NFC")) { t->kind = NFC; return 0; }
    if (is(c, at, "Lowercase")) { t->kind = LOWERCASE; return 0; }
    if (is(c, at, "Strip")) {
        t->kind = STRIP, t->left = flag(c, at, "strip_left", true), t->right = flag(c, at, "strip_right", true);
        return 0;
    }
    if (is(c, at, "Prepend")) { t->kind = PREPEND; return text_of(c, rl_json_get(c->doc, at, "prepend"), t->to, &t->nto); }
    if (!is(c, at, "Replace")) return unknown(c, at, "NFC, Lowercase, Strip, Prepend, Replace, Sequence");
    t->kind = REPLACE;
    return pattern(c, at, t) || text_of(c, rl_json_get(c->doc, at, "content"), t->to, &t->nto) ? -1 : 0;
}

static int add_split(const context *c, int at, step *t) {
    static const char *const names[] = { "Isolated", "Removed", "MergedWithPrevious", "MergedWithNext" };
    const int b = rl_json_get(c->doc, at, "behavior");
    t->kind = SPLIT;
    for (t->behave = ISOLATED; t->behave <= WITH_NEXT && !rl_json_is(c->doc, b, names[t->behave]);) t->behave++;
    if (t->behave > WITH_NEXT || flag(c, at, "invert", false))
        return rl_refuse("%s: pre_tokenizer: Split: expected Isolated, Removed or Merged..., not inverted", c->file);
    return pattern(c, at, t);
}

static int add_metaspace(const context *c, int at, step *t) {
    const int scheme = rl_json_get(c->doc, at, "prepend_scheme");
    t->kind = METASPACE, t->split = flag(c, at, "split", true);
    t->scheme = rl_json_is(c->doc, scheme, "never") ? NEVER : rl_json_is(c->doc, scheme, "first") ? FIRST
              : flag(c, at, "add_prefix_space", true) ? ALWAYS : NEVER;
    return text_of(c, rl_json_get(c->doc, at, "replacement"), t->to, &t->nto);
}

static int add_cut(rl_splitter *s, context *c, int at) {
    if (s->ncut == 16) return rl_refuse("%s: %s: expected at most 16 steps", c->file, c->part);
    step *t = &s->cut[s->ncut++];
    *t = (step){ 0 };
    if (is(c, at, "Split")) return add_split(c, at, t);
    if (is(c, at, "Metaspace")) return add_metaspace(c, at, t);
    if (is(c, at, "Digits")) { t->kind = flag(c, at, "individual_digits", false) ? DIGITS : DIGIT_RUNS; return 0; }
    if (!is(c, at, "ByteLevel")) return unknown(c, at, "Split, Digits, ByteLevel, Metaspace, Sequence");
    t->kind = BYTE_LEVEL, t->scheme = flag(c, at, "add_prefix_space", true) ? ALWAYS : NEVER;
    s->bytes = true;
    if (flag(c, at, "use_regex", true) && !(t->regex = rl_regex_new(gpt2, c->file))) return -1;
    return 0;
}

rl_splitter *rl_splitter_new(const rl_json *doc, int normalizer, int pre_tokenizer, const char *file) {
    rl_splitter *s = calloc(1, sizeof *s);
    context c = { doc, file, "normalizer" }, d = { doc, file, "pre_tokenizer" };
    if (each(s, &c, normalizer, "normalizers", add_normalizer) || each(s, &d, pre_tokenizer, "pretokenizers", add_cut)) {
        rl_splitter_free(s);
        return NULL;
    }
    return s;
}

void rl_splitter_free(rl_splitter *s) {
    if (!s) return;
    for (int i = 0; i < s->nnormal; i++) rl_regex_free(s->normal[i].regex);
    for (int i = 0; i < s->ncut; i++) rl_regex_free(s->cut[i].regex);
    free(s);
}

bool rl_splitter_bytes(const rl_splitter *s) { return s->bytes; }

/* ---- the normalizer ---- */

/* End of step t's pattern at i, or -1. */
static int match(const step *t, const rl_glyph *g, int n, int i) {
    if (t->regex) return rl_regex_match(t->regex, g, n, i);
    if (i + t->nfrom > n || !t->nfrom) return -1;
    for (int k = 0; k < t->nfrom; k++) if (g[i + k].c != t->from[k]) return -1;
    return i + t->nfrom;
}

static void replace(const step *t, rl_text *x) {
    rl_text out = { 0 };
    for (int i = 0; i < x->n;) {
        const int end = match(t, x->at, x->n, i);
        if (end <= i) { rl_text_add(&out, x->at[i].c, x->at[i].from, x->at[i].to); i++; continue; }
        for (int k = 0; k < t->nto; k++) rl_text_add(&out, t->to[k], x->at[i].from, x->at[end - 1].to);
        i = end;
    }
    free(x->at);
    *x = out;
}

static void prepend(const uint32_t *c, int n, rl_text *x) {
    if (!x->n) return;
    for (int k = 0; k < n; k++) rl_text_add(x, 0, 0, 0);
    memmove(x->at + n, x->at, sizeof *x->at * (size_t)(x->n - n));
    for (int k = 0; k < n; k++) x->at[k] = (rl_glyph){ c[k], x->at[n].from, x->at[n].to };
}

static void strip(const step *t, rl_text *x) {
    int from = 0;
    while (t->right && x->n && rl_unicode_class(x->at[x->n - 1].c) & RL_SPACE) x->n--;
    while (t->left && from < x->n && rl_unicode_class(x->at[from].c) & RL_SPACE) from++;
    memmove(x->at, x->at + from, sizeof *x->at * (size_t)(x->n - from));
    x->n -= from;
}

static void lowercase(rl_text *x) {
    rl_text out = { 0 };
    for (int i = 0; i < x->n; i++) {
        const rl_glyph g = x->at[i];
        if (g.c == 0x130) rl_text_add(&out, 'i', g.from, g.to), rl_text_add(&out, 0x307, g.from, g.to);
        else rl_text_add(&out, rl_unicode_lower(g.c), g.from, g.to);
    }
    free(x->at);
    *x = out;
}

void rl_splitter_normalize(const rl_splitter *s, rl_text *x) {
    for (int i = 0; i < s->nnormal; i++) {
        const step *t = &s->normal[i];
        if (t->kind == NFC) rl_text_nfc(x);
        else if (t->kind == LOWERCASE) lowercase(x);
        else if (t->kind == PREPEND) prepend(t->to, t->nto, x);
        else if (t->kind == STRIP) strip(t, x);
        else replace(t, x);
    }
}

/* ---- the pre-tokenizer ---- */

typedef struct { int *start, n, room; } cuts;

static void cut(cuts *c, int at) {
    if (c->n && c->start[c->n - 1] == at) return;
    if (c->n == c->room) c->start = realloc(c->start, sizeof *c->start * (size_t)(c->room = c->room ? 2 * c->room : 32));
    c->start[c->n++] = at;
}

/* Cuts of glyphs [from, to) by a pattern, each match as its behaviour says. */
static void by_pattern(const step *t, const rl_glyph *g, int from, int to, cuts *out) {
    cut(out, from);
    for (int i = from; i < to;) {
        int end = match(t, g + from, to - from, i - from);
        if (end >= 0) end += from;
        if (end <= i) { i++; continue; }
        if (t->behave != WITH_PREVIOUS) cut(out, i);
        if (t->behave != WITH_NEXT) cut(out, end);
        i = end;
    }
}

static void by_digits(bool alone, const rl_glyph *g, int from, int to, cuts *out) {
    for (int i = from; i < to; i++) {
        const bool here = rl_unicode_class(g[i].c) & RL_NUMBER, before = i > from && rl_unicode_class(g[i - 1].c) & RL_NUMBER;
        if (i == from || here != before || (here && alone)) cut(out, i);
    }
}

static void by_metaspace(const step *t, const rl_glyph *g, int from, int to, cuts *out) {
    cut(out, from);
    for (int i = from; t->split && i < to; i++) if (g[i].c == t->to[0]) cut(out, i);
}

/* Marks and leading spaces that a step puts in before it cuts. */
static void put_in(const step *t, rl_text *x, bool first) {
    static const uint32_t space = ' ';
    if (t->kind == BYTE_LEVEL && t->scheme == ALWAYS && x->n && !(rl_unicode_class(x->at[0].c) & RL_SPACE)) prepend(&space, 1, x);
    if (t->kind != METASPACE) return;
    for (int i = 0; i < x->n; i++) if (x->at[i].c == ' ') x->at[i].c = t->to[0];
    if ((t->scheme == ALWAYS || (t->scheme == FIRST && first)) && x->n && x->at[0].c != t->to[0]) prepend(t->to, t->nto, x);
}

int rl_splitter_cut(const rl_splitter *s, rl_text *x, bool first, int **start) {
    for (int k = 0; k < s->ncut; k++) put_in(&s->cut[k], x, first);
    cuts now = { 0 };
    cut(&now, 0);
    for (int k = 0; k < s->ncut; k++) {
        const step *t = &s->cut[k];
        cuts next = { 0 };
        for (int i = 0; i < now.n; i++) {
            const int from = now.start[i], to = i + 1 < now.n ? now.start[i + 1] : x->n;
            if (t->kind == DIGITS || t->kind == DIGIT_RUNS) by_digits(t->kind == DIGITS, x->at, from, to, &next);
            else if (t->kind == METASPACE) by_metaspace(t, x->at, from, to, &next);
            else if (t->kind == SPLIT || t->regex) by_pattern(t, x->at, from, to, &next);
            else cut(&next, from);
        }
        free(now.start);
        now = next;
    }
    while (now.n && now.start[now.n - 1] >= x->n) now.n--;
    const int n = now.n;
    cut(&now, x->n);
    *start = now.start;
    return n;
}
