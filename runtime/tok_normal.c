/* The normalizer of a tokenizer: what is done to the text before it is cut. */
#include "tokenizer.h"
#include <stdlib.h>
#include <string.h>

typedef enum { FORM, LOWERCASE, PREPEND, REPLACE, STRIP } step_kind;
/* text: what PREPEND and REPLACE put in */
typedef struct {
    step_kind kind; rl_normal_form form; rl_pattern pattern; rl_glyphs text; bool left, right;
} step;

struct rl_normalizer { step *steps; int n; };

static int read_text(rl_glyphs *out, const rl_where *p, int object, const char *key) {
    const int node = rl_where_text(p, object, key);
    if (node < 0) return -1;
    rl_glyphs_read(out, rl_where_node(p, node)->text, rl_where_node(p, node)->length);
    return out->n > 256 ? rl_where_refuse(p, key, "at most 256 characters", node) : 0;
}

static int add(void *to, rl_where *p, int at) {
    static const char *const forms[] = { "NFC", "NFD", "NFKC", "NFKD" };
    rl_normalizer *s = to;
    s->steps = realloc(s->steps, sizeof *s->steps * (size_t)(s->n + 1));
    step *t = &s->steps[s->n++];
    *t = (step){ 0 };
    for (int i = 0; i < 4; i++)
        if (rl_where_is(p, at, forms[i])) { t->form = (rl_normal_form)i; return 0; }
    if (rl_where_is(p, at, "Lowercase")) { t->kind = LOWERCASE; return 0; }
    if (rl_where_is(p, at, "Strip")) {
        t->kind = STRIP;
        return rl_where_flag(p, at, "strip_left", true, &t->left) ||
               rl_where_flag(p, at, "strip_right", true, &t->right) ? -1 : 0;
    }
    if (rl_where_is(p, at, "Prepend")) {
        t->kind = PREPEND;
        return read_text(&t->text, p, at, "prepend");
    }
    if (rl_where_is(p, at, "Replace")) {
        t->kind = REPLACE;
        if (rl_pattern_read(&t->pattern, p, at)) return -1;
        return read_text(&t->text, p, at, "content");
    }
    return rl_where_refuse(p, "type",
                           "NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace or Sequence",
                           rl_json_get(p->doc, at, "type"));
}

rl_normalizer *rl_normalizer_new(rl_where *p, int node) {
    rl_normalizer *s = calloc(1, sizeof *s);
    const int mark = rl_where_enter(p, "normalizer", -1);
    if (rl_where_each(p, node, "normalizers", s, add)) { rl_normalizer_free(s); return NULL; }
    rl_where_leave(p, mark);
    return s;
}

void rl_normalizer_free(rl_normalizer *s) {
    if (!s) return;
    for (int i = 0; i < s->n; i++) rl_pattern_free(&s->steps[i].pattern), free(s->steps[i].text.at);
    free(s->steps), free(s);
}

/* What is put in stands for the last character that it replaces. */
static void replace(const step *t, rl_glyphs *x) {
    int end, i = rl_pattern_find(&t->pattern, x->at, x->n, 0, &end), from = 0;
    if (t->text.n == 1 && !t->pattern.regex && t->pattern.text.n == 1) {
        for (; i < x->n; i++)
            if (x->at[i].c == t->pattern.text.at[0].c) x->at[i].c = t->text.at[0].c;
        return;
    }
    rl_glyphs out = { 0 };
    for (; i < x->n; i = rl_pattern_find(&t->pattern, x->at, x->n, from, &end)) {
        for (; from < i; from++)
            rl_glyphs_add(&out, x->at[from].c, x->at[from].from, x->at[from].to);
        const rl_glyph last = x->at[end - 1];
        for (int k = 0; k < t->text.n; k++)
            rl_glyphs_add(&out, t->text.at[k].c, last.from, last.to);
        from = end;
    }
    for (; from < x->n; from++)
        rl_glyphs_add(&out, x->at[from].c, x->at[from].from, x->at[from].to);
    free(x->at);
    *x = out;
}

static void prepend(const rl_glyphs *what, rl_glyphs *x) {
    if (!x->n || x->n > RL_MAX_GLYPHS - what->n) return;
    const rl_glyph first = x->at[0];
    for (int k = 0; k < what->n; k++) rl_glyphs_add(x, 0, 0, 0);
    memmove(x->at + what->n, x->at, sizeof *x->at * (size_t)(x->n - what->n));
    for (int k = 0; k < what->n; k++)
        x->at[k] = (rl_glyph){ what->at[k].c, first.from, first.to };
}

static bool space(rl_glyph g) { return rl_unicode_classes[g.c] & RL_SPACE; }

static void strip(const step *t, rl_glyphs *x) {
    int from = 0;
    while (t->right && x->n && space(x->at[x->n - 1])) x->n--;
    while (t->left && from < x->n && space(x->at[from])) from++;
    if (from) memmove(x->at, x->at + from, sizeof *x->at * (size_t)(x->n -= from));
}

static void lowercase(rl_glyphs *x) {
    rl_glyphs out = { 0 };
    for (int i = 0; i < x->n; i++) {
        const rl_glyph g = x->at[i];
        rl_glyphs_add(&out, rl_unicode_lower(g.c), g.from, g.to);
        if (g.c == 0x130) rl_glyphs_add(&out, 0x307, g.from, g.to);   /* I with a dot keeps it */
    }
    free(x->at);
    *x = out;
}

void rl_normalizer_run(const rl_normalizer *s, rl_glyphs *x) {
    for (int i = 0; i < s->n; i++) {
        const step *t = &s->steps[i];
        switch (t->kind) {
        case FORM: rl_glyphs_normalize(x, t->form); break;
        case LOWERCASE: lowercase(x); break;
        case PREPEND: prepend(&t->text, x); break;
        case REPLACE: replace(t, x); break;
        case STRIP: strip(t, x); break;
        }
    }
}
