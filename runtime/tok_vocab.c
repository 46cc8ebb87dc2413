/* Texts with ids: a hash table one way, an array the other. */
#include "tokenizer.h"
#include <stdlib.h>
#include <string.h>

typedef struct { int64_t at; int n; } entry;        /* by id; n < 0: none */

typedef struct { uint32_t hash; int32_t id; } slot;             /* id + 1, 0: empty */

/* slots: by hash of the text; at most half full. */
struct rl_vocab {
    char *bytes; int64_t nbytes, byte_room;
    entry *ids; int size, id_room, count;
    slot *slots; uint32_t mask;
};

static uint64_t mix(uint64_t h, uint64_t word) {
    h = (h ^ word) * 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

static uint32_t hash(const char *s, int n) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ (uint64_t)n, word;
    for (; n >= 8; s += 8, n -= 8) memcpy(&word, s, 8), h = mix(h, word);
    for (word = 0; n > 0; n--) word = word << 8 | (uint8_t)*s++;
    return (uint32_t)mix(h, word);
}

rl_vocab *rl_vocab_new(int count) {
    rl_vocab *v = calloc(1, sizeof *v);
    for (v->mask = 63; v->mask / 2 < (uint32_t)count;) v->mask = 2 * v->mask + 1;
    v->slots = calloc((size_t)v->mask + 1, sizeof *v->slots);
    return v;
}

void rl_vocab_free(rl_vocab *v) {
    if (!v) return;
    free(v->bytes), free(v->ids), free(v->slots), free(v);
}

/* The slot that holds the text, or the empty one where it belongs. */
static slot *find(const rl_vocab *v, const char *text, int n, uint32_t h) {
    for (uint32_t i = h;; i++) {
        slot *s = &v->slots[i & v->mask];
        if (!s->id) return s;
        const entry *e = &v->ids[s->id - 1];
        if (s->hash == h && e->n == n && !memcmp(v->bytes + e->at, text, (size_t)n)) return s;
    }
}

int rl_vocab_id(const rl_vocab *v, const char *text, int n) {
    return find(v, text, n, hash(text, n))->id - 1;
}

const char *rl_vocab_text(const rl_vocab *v, int id, int *n) {
    if (id < 0 || id >= v->size || v->ids[id].n < 0) return NULL;
    *n = v->ids[id].n;
    return v->bytes + v->ids[id].at;
}

int rl_vocab_size(const rl_vocab *v) { return v->size; }
int rl_vocab_count(const rl_vocab *v) { return v->count; }

static void grow(rl_vocab *v) {
    const slot *old = v->slots;
    const uint32_t n = v->mask + 1;
    v->mask = 2 * v->mask + 1;
    v->slots = calloc((size_t)v->mask + 1, sizeof *v->slots);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = old[i].hash;
        while (v->slots[k & v->mask].id) k++;
        if (old[i].id) v->slots[k & v->mask] = old[i];
    }
    free((slot *)old);
}

static void make_room(rl_vocab *v, int id, int n) {
    while (v->nbytes + n + 1 > v->byte_room)
        v->bytes = realloc(v->bytes, (size_t)(v->byte_room = 2 * v->byte_room + 4096));
    while (id >= v->id_room)
        v->ids = realloc(v->ids, sizeof *v->ids * (size_t)(v->id_room = 2 * v->id_room + 1024));
    for (; v->size <= id; v->size++) v->ids[v->size].n = -1;
}

int rl_vocab_add(rl_vocab *v, const char *text, int n, int id) {
    const uint32_t h = hash(text, n);
    slot *s = find(v, text, n, h);
    if (s->id || (id < v->size && v->ids[id].n >= 0)) return -1;
    make_room(v, id, n);
    memcpy(v->bytes + v->nbytes, text, (size_t)n);
    v->ids[id] = (entry){ v->nbytes, n };
    v->nbytes += n;
    v->bytes[v->nbytes++] = 0;
    *s = (slot){ h, id + 1 };
    if ((uint32_t)++v->count * 2 > v->mask) grow(v);
    return 0;
}
