/* The pre-tokenizer: cuts a text into the pieces that the model sees one by one. */
#include "tokenizer.h"
#include <stdlib.h>
#include <string.h>

typedef enum { SPLIT, DIGITS, DIGIT_RUNS, BYTE_LEVEL, METASPACE } step_kind;
typedef enum { ISOLATED, REMOVED, WITH_PREVIOUS, WITH_NEXT, CONTIGUOUS } behaviour;
typedef enum { NEVER, FIRST, ALWAYS } scheme;
/* mark: what METASPACE writes for a space; prefix: whether a mark or space goes before a piece */
typedef struct {
    step_kind kind; rl_pattern pattern; behaviour behave;
    bool invert, split; scheme prefix; uint32_t mark;
} step;

/* a, b, spare: pieces and text between steps */
struct rl_splitter { step *steps; int n; bool letters; rl_pieces a, b; rl_glyphs spare; };

static const char gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* Index of the member's text among n names; -1 refused. */
static int choose(const rl_where *p, int object, const char *key, const char *const *names, int n,
                  const char *expected) {
    const int node = rl_json_get(p->doc, object, key);
    for (int i = 0; i < n; i++) if (rl_json_is(p->doc, node, names[i])) return i;
    return rl_where_refuse(p, key, expected, node);
}

static int add_split(const rl_where *p, int at, step *t) {
    static const char *const names[] = { "Isolated", "Removed", "MergedWithPrevious",
                                         "MergedWithNext", "Contiguous" };
    const int b = choose(p, at, "behavior", names, 5, "Isolated, Removed, MergedWithPrevious, "
                         "MergedWithNext or Contiguous");
    t->behave = (behaviour)b;
    return b < 0 || rl_where_flag(p, at, "invert", false, &t->invert) ? -1
         : rl_pattern_read(&t->pattern, p, at);
}

static int add_metaspace(const rl_where *p, int at, step *t) {
    static const char *const names[] = { "never", "first", "always" };
    const int node = rl_where_text(p, at, "replacement");
    if (node < 0) return -1;
    rl_glyphs mark = { 0 };
    rl_glyphs_read(&mark, rl_where_node(p, node)->text, rl_where_node(p, node)->length);
    const int n = mark.n;
    if (n) t->mark = mark.at[0].c;
    free(mark.at);
    if (n != 1) return rl_where_refuse(p, "replacement", "one character", node);
    bool add;
    if (rl_where_flag(p, at, "split", true, &t->split)) return -1;
    if (rl_json_get(p->doc, at, "prepend_scheme") < 0) {        /* as older files say it */
        if (rl_where_flag(p, at, "add_prefix_space", true, &add)) return -1;
        t->prefix = add ? ALWAYS : NEVER;
        return 0;
    }
    const int k = choose(p, at, "prepend_scheme", names, 3, "never, first or always");
    t->prefix = (scheme)k;
    return k < 0 ? -1 : 0;
}

static int add_byte_level(const rl_where *p, int at, step *t) {
    bool add, regex;
    if (rl_where_flag(p, at, "add_prefix_space", true, &add) ||
        rl_where_flag(p, at, "use_regex", true, &regex)) return -1;
    t->prefix = add ? ALWAYS : NEVER, t->mark = ' ';
    if (regex) t->pattern.regex = rl_regex_new(gpt2, (int)strlen(gpt2), p);
    return 0;
}

static int add(void *to, rl_where *p, int at) {
    rl_splitter *s = to;
    s->steps = realloc(s->steps, sizeof *s->steps * (size_t)(s->n + 1));
    step *t = &s->steps[s->n++];
    *t = (step){ 0 };
    if (rl_where_is(p, at, "Split")) return add_split(p, at, t);
    if (rl_where_is(p, at, "Metaspace")) { t->kind = METASPACE; return add_metaspace(p, at, t); }
    if (rl_where_is(p, at, "ByteLevel")) { t->kind = BYTE_LEVEL; return add_byte_level(p, at, t); }
    if (rl_where_is(p, at, "Digits")) {
        bool alone;
        if (rl_where_flag(p, at, "individual_digits", false, &alone)) return -1;
        t->kind = alone ? DIGITS : DIGIT_RUNS;
        return 0;
    }
    return rl_where_refuse(p, "type", "Split, Digits, ByteLevel, Metaspace or Sequence",
                           rl_json_get(p->doc, at, "type"));
}

rl_splitter *rl_splitter_new(rl_where *p, int node) {
    rl_unicode_ready();
    rl_splitter *s = calloc(1, sizeof *s);
    const int mark = rl_where_enter(p, "pre_tokenizer", -1);
    if (rl_where_each(p, node, "pretokenizers", s, add)) { rl_splitter_free(s); return NULL; }
    rl_where_leave(p, mark);
    return s;
}

void rl_splitter_free(rl_splitter *s) {
    if (!s) return;
    for (int i = 0; i < s->n; i++) rl_pattern_free(&s->steps[i].pattern);
    free(s->steps), free(s->a.at), free(s->b.at), free(s->spare.at), free(s);
}

bool rl_splitter_bytes(const rl_splitter *s) {
    return s->n && s->steps[s->n - 1].kind == BYTE_LEVEL;
}

void rl_splitter_letters(rl_splitter *s) { s->letters = true; }

/* ---- cutting ---- */

static void put(rl_pieces *p, int from, int to) {
    if (from == to) return;
    if (p->n == p->room)
        p->at = realloc(p->at, sizeof *p->at * (size_t)(p->room = p->room ? 2 * p->room : 256));
    p->at[p->n++] = (rl_piece){ from, to };
}

/* A stretch that matches, or one between matches.  base: the pieces before this one's. */
static void stretch(const step *t, int from, int to, bool match, bool *before, int base,
                    rl_pieces *out) {
    if (from == to) return;
    match ^= t->invert;
    const bool join = out->n > base &&
        (t->behave == WITH_PREVIOUS ? match && !*before : t->behave == WITH_NEXT ? !match && *before
         : t->behave == CONTIGUOUS && match == *before);
    if (join) out->at[out->n - 1].to = to;
    else if (t->behave != REMOVED || !match) put(out, from, to);
    *before = match;
}

static void by_pattern(const step *t, const rl_glyph *g, rl_piece x, rl_pieces *out) {
    const int base = out->n, n = x.to - x.from;
    bool before = false;
    for (int from = 0, end; from < n; from = end) {
        const int i = rl_pattern_find(&t->pattern, g + x.from, n, from, &end);
        stretch(t, x.from + from, x.from + i, false, &before, base, out);
        stretch(t, x.from + i, x.from + end, true, &before, base, out);
    }
}

static bool digit(rl_glyph g) { return rl_unicode_classes[g.c] & RL_NUMBER; }

static void by_digits(bool alone, const rl_glyph *g, rl_piece x, rl_pieces *out) {
    int from = x.from;
    for (int i = x.from + 1; i < x.to; i++)
        if (digit(g[i]) != digit(g[i - 1]) || (alone && digit(g[i]))) put(out, from, i), from = i;
    put(out, from, x.to);
}

static void by_mark(uint32_t mark, const rl_glyph *g, rl_piece x, rl_pieces *out) {
    int from = x.from;
    for (int i = x.from + 1; i < x.to; i++) if (g[i].c == mark) put(out, from, i), from = i;
    put(out, from, x.to);
}

/* Puts the mark before the pieces that the step's prefix asks for. */
static void put_prefixes(rl_splitter *s, const step *t, rl_glyphs *x) {
    rl_glyphs *y = &s->spare;
    y->n = 0;
    for (int i = 0; i < s->a.n; i++) {
        const rl_piece p = s->a.at[i];
        const rl_glyph first = x->at[p.from];
        const int from = y->n;
        if (first.c != t->mark && (t->prefix == ALWAYS || first.from == 0))
            rl_glyphs_add(y, t->mark, first.from, first.to);
        for (int k = p.from; k < p.to; k++)
            rl_glyphs_add(y, x->at[k].c, x->at[k].from, x->at[k].to);
        s->a.at[i] = (rl_piece){ from, y->n };
    }
    const rl_glyphs old = *x;
    *x = *y, *y = old;
}

/* Bytes as letters, for the steps behind. */
static void put_letters(rl_splitter *s, rl_glyphs *x) {
    rl_glyphs *y = &s->spare;
    y->n = 0;
    for (int i = 0; i < s->a.n; i++) {
        const int from = y->n;
        for (int k = s->a.at[i].from; k < s->a.at[i].to; k++) {
            char bytes[4];
            const int n = rl_utf8_put(x->at[k].c, bytes);
            const rl_glyph g = x->at[k];
            for (int j = 0; j < n; j++)
                rl_glyphs_add(y, rl_letter_of_byte((unsigned char)bytes[j]), g.from, g.to);
        }
        s->a.at[i] = (rl_piece){ from, y->n };
    }
    const rl_glyphs old = *x;
    *x = *y, *y = old;
}

static void cut(rl_splitter *s, const step *t, const rl_glyphs *x) {
    s->b.n = 0;
    for (int i = 0; i < s->a.n; i++) {
        const rl_piece p = s->a.at[i];
        if (t->kind == METASPACE) by_mark(t->mark, x->at, p, &s->b);
        else if (t->kind == DIGITS || t->kind == DIGIT_RUNS)
            by_digits(t->kind == DIGITS, x->at, p, &s->b);
        else by_pattern(t, x->at, p, &s->b);
    }
    const rl_pieces old = s->a;
    s->a = s->b, s->b = old;
}

const rl_pieces *rl_splitter_cut(rl_splitter *s, rl_glyphs *x) {
    s->a.n = 0;
    put(&s->a, 0, x->n);
    for (int k = 0; k < s->n; k++) {
        const step *t = &s->steps[k];
        if (t->kind == METASPACE)
            for (int i = 0; i < x->n; i++) if (x->at[i].c == ' ') x->at[i].c = t->mark;
        if (t->prefix != NEVER) put_prefixes(s, t, x);
        if (t->kind == METASPACE ? t->split : t->kind != BYTE_LEVEL || t->pattern.regex)
            cut(s, t, x);
        if (t->kind == BYTE_LEVEL && (s->letters || k + 1 < s->n)) put_letters(s, x);
    }
    return &s->a;
}
