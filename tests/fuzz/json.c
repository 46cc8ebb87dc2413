/* Fuzz target: JSON.  What is parsed must be one tree that fills the array of nodes. */
#include "rllava.h"
#include <stdlib.h>

static int walk(const rl_json_node *nodes, int i) {
    const rl_json_node *n = &nodes[i];
    if (n->kind >= RL_JSON_INT && n->kind <= RL_JSON_STRING && n->text[n->length]) abort();
    int at = i + 1;
    if (n->kind >= RL_JSON_ARRAY)
        for (int k = 0; k < n->count; k++) {
            if (n->kind == RL_JSON_OBJECT && nodes[at++].kind != RL_JSON_STRING) abort();
            at = walk(nodes, at);
        }
    if (at != n->next) abort();
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rl_json *doc = rl_json_parse((const char *)data, (double)size, "fuzz");
    if (doc) walk(rl_json_nodes(doc), 0);
    rl_json_free(doc);
    return 0;
}
