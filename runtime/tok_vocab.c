/* Texts with ids: a hash table one way, an array the other. */
#include "tokenizer.h"
#include <stdlib.h>
#include <string.h>

typedef struct { int64_t at; int n; } entry;        /* by id; n < 0: none */

/* slots: id + 1 by hash of its text, 0 empty; at most half full. */
struct rl_vocab {
    char *bytes; int64_t nbytes, byte_room;
    entry *ids; int size, id_room, count;
    int32_t *slots; int nslots;
};

static uint64_t hash(const char *s, int n) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ (uint64_t)n, word;
    for (; n > 0; s += 8, n -= 8) {
        word = 0;
        memcpy(&word, s, n < 8 ? (size_t)n : 8);
        h = (h ^ word) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    return h;
}

rl_vocab *rl_vocab_new(void) {
    rl_vocab *v = calloc(1, sizeof *v);
    v->slots = calloc((size_t)(v->nslots = 1024), sizeof *v->slots);
    return v;
}

void rl_vocab_free(rl_vocab *v) {
    if (!v) return;
    free(v->bytes), free(v->ids), free(v->slots), free(v);
}

/* The slot that holds the text, or the empty one where it belongs. */
static int32_t *slot(const rl_vocab *v, const char *text, int n) {
    for (uint64_t h = hash(text, n);; h++) {
        int32_t *s = &v->slots[h & (uint64_t)(v->nslots - 1)];
        if (!*s) return s;
        const entry e = v->ids[*s - 1];
        if (e.n == n && !memcmp(v->bytes + e.at, text, (size_t)n)) return s;
    }
}

int rl_vocab_id(const rl_vocab *v, const char *text, int n) { return *slot(v, text, n) - 1; }

const char *rl_vocab_text(const rl_vocab *v, int id, int *n) {
    if (id < 0 || id >= v->size || v->ids[id].n < 0) return NULL;
    *n = v->ids[id].n;
    return v->bytes + v->ids[id].at;
}

int rl_vocab_size(const rl_vocab *v) { return v->size; }
int rl_vocab_count(const rl_vocab *v) { return v->count; }

static void grow(rl_vocab *v) {
    free(v->slots);
    v->slots = calloc((size_t)(v->nslots *= 2), sizeof *v->slots);
    for (int id = 0; id < v->size; id++)
        if (v->ids[id].n >= 0) *slot(v, v->bytes + v->ids[id].at, v->ids[id].n) = id + 1;
}

static void make_room(rl_vocab *v, int id, int n) {
    while (v->nbytes + n + 1 > v->byte_room)
        v->bytes = realloc(v->bytes, (size_t)(v->byte_room = 2 * v->byte_room + 4096));
    while (id >= v->id_room)
        v->ids = realloc(v->ids, sizeof *v->ids * (size_t)(v->id_room = 2 * v->id_room + 1024));
    for (; v->size <= id; v->size++) v->ids[v->size].n = -1;
}

int rl_vocab_add(rl_vocab *v, const char *text, int n, int id) {
    if (*slot(v, text, n) || (id < v->size && v->ids[id].n >= 0)) return -1;
    make_room(v, id, n);
    memcpy(v->bytes + v->nbytes, text, (size_t)n);
    v->ids[id] = (entry){ v->nbytes, n };
    v->nbytes += n;
    v->bytes[v->nbytes++] = 0;
    *slot(v, text, n) = id + 1;
    if (++v->count * 2 > v->nslots) grow(v);
    return 0;
}
