/* Reads tokenizer.json with messages that name the file and the place in it. */
#include "tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const rl_json_node *rl_where_node(const rl_where *p, int node) {
    return &rl_json_nodes(p->doc)[node];
}

int rl_where_enter(rl_where *p, const char *key, int i) {
    const int mark = (int)strlen(p->at);
    snprintf(p->at + mark, sizeof p->at - (size_t)mark, i < 0 ? "%s%s" : "%s%s[%d]",
             mark && key[0] ? "." : "", key, i);
    return mark;
}

void rl_where_leave(rl_where *p, int mark) { p->at[mark] = 0; }

int rl_where_refuse(const rl_where *p, const char *key, const char *expected, int node) {
    static const char *const kinds[] = { "null", "false", "true", "", "", "", "an array",
                                         "an object" };
    const rl_json_node *n = node < 0 ? NULL : rl_where_node(p, node);
    const char *dot = p->at[0] && key ? "." : "";
    if (n && n->kind >= RL_JSON_INT && n->kind <= RL_JSON_STRING)
        return rl_refuse("%s: %s%s%s: expected %s, found '%.100s'", p->file, p->at, dot,
                         key ? key : "", expected, n->text);
    return rl_refuse("%s: %s%s%s: expected %s, found %s", p->file, p->at, dot, key ? key : "",
                     expected, n ? kinds[n->kind] : "none");
}

int rl_where_flag(const rl_where *p, int object, const char *key, bool dflt, bool *out) {
    const int node = rl_json_get(p->doc, object, key);
    *out = dflt;
    if (node < 0) return 0;
    const int kind = rl_where_node(p, node)->kind;
    if (kind != RL_JSON_TRUE && kind != RL_JSON_FALSE)
        return rl_where_refuse(p, key, "true or false", node);
    *out = kind == RL_JSON_TRUE;
    return 0;
}

int rl_where_whole(const rl_where *p, int node, const char *key, int most, int *out) {
    const double v = node >= 0 && rl_where_node(p, node)->kind == RL_JSON_INT
                   ? rl_json_number(p->doc, node, -1) : -1;
    char expected[64];
    snprintf(expected, sizeof expected, "a whole number from 0 to %d", most);
    if (!(v >= 0 && v <= most)) return rl_where_refuse(p, key, expected, node);
    *out = (int)v;
    return 0;
}

int rl_where_text(const rl_where *p, int object, const char *key) {
    const int node = rl_json_get(p->doc, object, key);
    if (node >= 0 && rl_where_node(p, node)->kind == RL_JSON_STRING) return node;
    return rl_where_refuse(p, key, "a text", node);
}

bool rl_where_is(const rl_where *p, int object, const char *type) {
    return rl_json_is(p->doc, rl_json_get(p->doc, object, "type"), type);
}

int rl_where_each(rl_where *p, int node, const char *list, void *to,
                  int (*add)(void *to, rl_where *p, int object)) {
    if (node < 0 || rl_where_node(p, node)->kind == RL_JSON_NULL) return 0;
    if (rl_where_node(p, node)->kind != RL_JSON_OBJECT)
        return rl_where_refuse(p, NULL, "an object or null", node);
    if (!rl_where_is(p, node, "Sequence")) return add(to, p, node);
    const int members = rl_json_get(p->doc, node, list);
    if (members < 0 || rl_where_node(p, members)->kind != RL_JSON_ARRAY)
        return rl_where_refuse(p, list, "an array", members);
    for (int i = 0, m = members + 1; i < rl_where_node(p, members)->count; i++) {
        const int mark = rl_where_enter(p, list, i);
        if (rl_where_node(p, m)->kind != RL_JSON_OBJECT)
            return rl_where_refuse(p, NULL, "an object", m);
        if (rl_where_each(p, m, list, to, add)) return -1;
        rl_where_leave(p, mark);
        m = rl_where_node(p, m)->next;
    }
    return 0;
}
