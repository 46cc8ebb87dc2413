/* What is searched for in a text: a regular expression, or the text itself. */
#include "tokenizer.h"
#include <stdlib.h>

int rl_pattern_read(rl_pattern *out, const rl_where *p, int object) {
    const int at = rl_json_get(p->doc, object, "pattern");
    const int text = rl_json_get(p->doc, at, "String"), regex = rl_json_get(p->doc, at, "Regex");
    const int node = text >= 0 ? text : regex;
    *out = (rl_pattern){ 0 };
    if (node < 0 || rl_where_node(p, node)->kind != RL_JSON_STRING)
        return rl_where_refuse(p, "pattern", "{\"String\": text} or {\"Regex\": text}", at);
    const rl_json_node *n = rl_where_node(p, node);
    if (text >= 0) rl_glyphs_read(&out->text, n->text, n->length);
    else out->regex = rl_regex_new(n->text, n->length, p);
    return text >= 0 || out->regex ? 0 : -1;
}

void rl_pattern_free(rl_pattern *x) { free(x->text.at), rl_regex_free(x->regex); }

static int match(const rl_pattern *x, const rl_glyph *t, int n, int i) {
    if (x->regex) return rl_regex_match(x->regex, t, n, i);
    if (n - i < x->text.n) return -1;
    for (int k = 0; k < x->text.n; k++) if (t[i + k].c != x->text.at[k].c) return -1;
    return i + x->text.n;
}

int rl_pattern_find(const rl_pattern *x, const rl_glyph *t, int n, int i, int *end) {
    if (i == 0) rl_regex_begin(n);
    for (; i < n; i++) {
        *end = match(x, t, n, i);
        if (*end > i) return i;
    }
    return *end = n;
}
