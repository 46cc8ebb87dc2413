/* Byte pair encoding: the two neighbours of the lowest rank are merged until none are left.
 * arXiv:1508.07909, section 3.2.  Words are remembered with their tokens. */
#include "tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 23, WORD_IDS = 7, CACHE = 1 << 15, SPACE_MARK = 0x2581 };

/* A token in the making: length in bytes of the piece (letters of byte-level pieces: one each);
 * before, after: neighbours, -1 at the ends; id < 0: merged into the one before. */
typedef struct { int32_t id, length, before, after; } symbol;
typedef struct { uint64_t order; int32_t id; } candidate;       /* order: rank, then place */
/* A line of the cache: the word's bytes, its length in the last one; n tokens (0: none) with their
 * lengths. */
typedef struct { uint64_t key[3]; int32_t id[WORD_IDS]; uint8_t n, length[WORD_IDS]; } word;

_Static_assert(sizeof(word) == 64, "a line of the processor's cache");

struct rl_bpe {
    rl_vocab *vocab;
    bool bytes, fallback, fuse, whole;      /* whole: a piece that is a token is not merged */
    int unk, byte_id[256];                  /* -1: none */
    rl_merges merges;
    bool cut;                               /* no merge goes over the space mark before a word */
    word *cache; char *room;                /* cache: in room, at a multiple of its line's size */
    symbol *symbols; candidate *heap; int nsymbols, nheap, symbol_room, heap_room;
    char *spelled; int spelled_room;
};

void rl_tokens_add(rl_tokens *t, int id, int from, int to) {
    if (t->n == t->room)
        t->at = realloc(t->at, sizeof *t->at * (size_t)(t->room = t->room ? 2 * t->room : 256));
    t->at[t->n++] = (rl_token){ id, from, to };
}

/* GPT-2's letters: printable bytes stand for themselves, the others for U+0100 onwards. */
static bool printable(int b) { return (b > 32 && b < 127) || (b > 160 && b != 173); }

uint32_t rl_letter_of_byte(int b) {
    if (printable(b)) return (uint32_t)b;
    return (uint32_t)(256 + (b <= 32 ? b : b < 161 ? b - 127 + 33 : 67));
}

int rl_byte_of_letter(uint32_t c) {
    if (c < 256) return printable((int)c) ? (int)c : -1;
    return c < 289 ? (int)c - 256 : c < 323 ? (int)c - 289 + 127 : c == 323 ? 173 : -1;
}

/* ---- loading ---- */

/* Why "token": id cannot be taken. */
static int refuse_token(const rl_bpe *b, rl_where *p, int node) {
    const rl_json_node *n = rl_where_node(p, node);
    int id, length;
    char key[100];
    snprintf(key, sizeof key, "vocab['%.80s']", n->text);
    if (rl_where_whole(p, node + 1, key, RL_MAX_ID, &id)) return -1;
    if (rl_vocab_id(b->vocab, n->text, n->length) >= 0)
        return rl_refuse("%s: %s.%s: expected it once, found it twice", p->file, p->at, key);
    return rl_refuse("%s: %s.%s: expected an id of its own, found %d, which is that of '%.80s'",
                     p->file, p->at, key, id, rl_vocab_text(b->vocab, id, &length));
}

static int read_vocab(rl_bpe *b, rl_where *p, int node) {
    const rl_json_node *nodes = rl_json_nodes(p->doc);
    for (int i = 0, at = node + 1; i < nodes[node].count; i++, at = nodes[at + 1].next) {
        const rl_json_node *n = &nodes[at];
        const double id = n[1].kind == RL_JSON_INT ? rl_json_number(p->doc, at + 1, -1) : -1;
        if (!(id >= 0 && id <= RL_MAX_ID) || rl_vocab_add(b->vocab, n->text, n->length, (int)id))
            return refuse_token(b, p, at);
    }
    return 0;
}

/* Options that must be absent, null, empty or 0. */
static int refuse_options(const rl_where *p, int model) {
    static const char *const names[] = { "dropout", "continuing_subword_prefix",
                                         "end_of_word_suffix" };
    for (int i = 0; i < 3; i++) {
        const int node = rl_json_get(p->doc, model, names[i]);
        if (node < 0 || rl_where_node(p, node)->kind == RL_JSON_NULL) continue;
        if (i > 0 ? !rl_json_is(p->doc, node, "") : rl_json_number(p->doc, node, 1) != 0)
            return rl_where_refuse(p, names[i], i > 0 ? "null or \"\"" : "null or 0", node);
    }
    return 0;
}

/* The ids of single bytes, as letters or as "<0x0A>". */
static void find_bytes(rl_bpe *b) {
    char text[8];
    for (int i = 0; i < 256; i++)
        b->byte_id[i] = rl_vocab_id(b->vocab, text, rl_utf8_put(rl_letter_of_byte(i), text));
    for (int i = 0; i < 256; i++) b->bytes &= b->byte_id[i] >= 0;
    for (int i = 0; i < 256 && !b->bytes; i++)
        b->byte_id[i] = !b->fallback ? -1
                      : rl_vocab_id(b->vocab, text, snprintf(text, sizeof text, "<0x%02X>", i));
}

static int read_unk(rl_bpe *b, const rl_where *p, int model) {
    const int node = rl_json_get(p->doc, model, "unk_token");
    b->unk = -1;
    if (node < 0 || rl_where_node(p, node)->kind == RL_JSON_NULL) return 0;
    const rl_json_node *n = rl_where_node(p, node);
    if (n->kind == RL_JSON_STRING) b->unk = rl_vocab_id(b->vocab, n->text, n->length);
    return b->unk < 0 && !b->bytes
        ? rl_where_refuse(p, "unk_token", "null or a token of the vocabulary", node) : 0;
}

rl_bpe *rl_bpe_new(rl_where *p, int model, bool bytes) {
    const int mark = rl_where_enter(p, "model", -1);
    if (model < 0 || rl_where_node(p, model)->kind != RL_JSON_OBJECT)
        return rl_where_refuse(p, NULL, "an object", model), NULL;
    const int type = rl_json_get(p->doc, model, "type");
    if (type >= 0 && !rl_json_is(p->doc, type, "BPE"))
        return rl_where_refuse(p, "type", "BPE", type), NULL;
    const int vocab = rl_json_get(p->doc, model, "vocab");
    if (vocab < 0 || rl_where_node(p, vocab)->kind != RL_JSON_OBJECT)
        return rl_where_refuse(p, "vocab", "an object", vocab), NULL;
    rl_bpe *b = calloc(1, sizeof *b);
    b->vocab = rl_vocab_new(rl_where_node(p, vocab)->count), b->bytes = bytes;
    if (refuse_options(p, model) || rl_where_flag(p, model, "byte_fallback", false, &b->fallback) ||
        rl_where_flag(p, model, "fuse_unk", false, &b->fuse) ||
        rl_where_flag(p, model, "ignore_merges", false, &b->whole) ||
        read_vocab(b, p, vocab) ||
        rl_merges_read(&b->merges, p, rl_json_get(p->doc, model, "merges"), b->vocab) ||
        read_unk(b, p, model)) {
        rl_bpe_free(b);
        return NULL;
    }
    find_bytes(b);
    b->cut = b->merges.cut && !b->bytes && !b->whole &&
             rl_vocab_id(b->vocab, "\xe2\x96\x81", 3) >= 0;
    b->room = calloc(CACHE + 1, sizeof *b->cache);      /* pages come as they are touched */
    b->cache = (word *)(b->room + (64 - (uintptr_t)b->room % 64) % 64);
    rl_where_leave(p, mark);
    return b;
}

void rl_bpe_free(rl_bpe *b) {
    if (!b) return;
    rl_vocab_free(b->vocab);
    free(b->merges.at), free(b->room), free(b->symbols), free(b->heap), free(b->spelled), free(b);
}

bool rl_bpe_bytes(const rl_bpe *b) { return b->bytes; }
const rl_vocab *rl_bpe_vocab(const rl_bpe *b) { return b->vocab; }

/* ---- merging ---- */

static void add_symbol(rl_bpe *b, int id, int length) {
    if (b->nsymbols == b->symbol_room) {
        b->symbol_room = 2 * b->symbol_room + 64;
        b->symbols = realloc(b->symbols, sizeof *b->symbols * (size_t)b->symbol_room);
    }
    b->symbols[b->nsymbols] = (symbol){ id, length, b->nsymbols - 1, b->nsymbols + 1 };
    b->nsymbols++;
}

/* Characters of s as symbols; those without a token as bytes or as unknown ones, which may stand
 * for several. */
static void add_characters(rl_bpe *b, const char *s, int n) {
    int unknown = 0;                                /* bytes of unknown ones still to be added */
    for (int i = 0, used; i < n; i += used) {
        rl_utf8_take(s + i, n - i, &used);
        const int id = rl_vocab_id(b->vocab, s + i, used);
        if (id >= 0) {
            if (unknown) add_symbol(b, b->unk, unknown);
            unknown = 0;
            add_symbol(b, id, used);
            continue;
        }
        bool all = b->fallback;
        for (int k = 0; k < used; k++) all &= b->byte_id[(unsigned char)s[i + k]] >= 0;
        if (all) {
            for (int k = 0; k < used; k++) add_symbol(b, b->byte_id[(unsigned char)s[i + k]], 1);
        } else if (b->unk >= 0) {
            if (unknown && !b->fuse) add_symbol(b, b->unk, unknown), unknown = 0;
            unknown += used;
        }
    }
    if (unknown) add_symbol(b, b->unk, unknown);
}

static void push(rl_bpe *b, int at) {
    if (at < 0 || b->symbols[at].after < 0) return;
    const rl_merge *m = rl_merges_find(&b->merges, b->symbols[at].id,
                                       b->symbols[b->symbols[at].after].id);
    if (m->rank < 0) return;
    if (b->nheap == b->heap_room) {
        b->heap_room = 2 * b->heap_room + 64;
        b->heap = realloc(b->heap, sizeof *b->heap * (size_t)b->heap_room);
    }
    const candidate c = { (uint64_t)m->rank << 32 | (uint32_t)at, m->id };
    int i = b->nheap++;
    for (; i > 0 && b->heap[(i - 1) / 2].order > c.order; i = (i - 1) / 2)
        b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = c;
}

static candidate pop(rl_bpe *b) {
    const candidate top = b->heap[0], last = b->heap[--b->nheap];
    int i = 0;
    for (int k; (k = 2 * i + 1) < b->nheap; i = k) {
        k += k + 1 < b->nheap && b->heap[k + 1].order < b->heap[k].order;
        if (b->heap[k].order >= last.order) break;
        b->heap[i] = b->heap[k];
    }
    b->heap[i] = last;
    return top;
}

/* A candidate is stale unless its place still makes the same token. */
static void merge_all(rl_bpe *b) {
    symbol *s = b->symbols;
    if (b->nsymbols) s[b->nsymbols - 1].after = -1;
    b->nheap = 0;
    for (int i = 0; i + 1 < b->nsymbols; i++) push(b, i);
    while (b->nheap) {
        const candidate c = pop(b);
        const int at = (int)(uint32_t)c.order, next = s[at].after;
        if (s[at].id < 0 || next < 0) continue;
        const rl_merge *m = rl_merges_find(&b->merges, s[at].id, s[next].id);
        if (m->rank < 0 || m->id != c.id) continue;
        s[at].id = c.id, s[at].length += s[next].length, s[at].after = s[next].after;
        s[next].id = -1;
        if (s[at].after >= 0) s[s[at].after].before = at;
        push(b, s[at].before), push(b, at);
    }
    int n = 0;
    for (int i = 0; i < b->nsymbols; i++) if (s[i].id >= 0) s[n++] = s[i];
    b->nsymbols = n;
}

/* The whole piece as a token; -1: it is none. */
static int whole_id(const rl_bpe *b, const char *s, int n) {
    char text[512];
    int length = 0;
    if (!b->bytes) return rl_vocab_id(b->vocab, s, n);
    if (n > 256) return -1;
    for (int i = 0; i < n; i++)
        length += rl_utf8_put(rl_letter_of_byte((unsigned char)s[i]), text + length);
    return rl_vocab_id(b->vocab, text, length);
}

/* s [n bytes] -> b->symbols */
static void tokenize(rl_bpe *b, const char *s, int n) {
    b->nsymbols = 0;
    const int id = b->whole ? whole_id(b, s, n) : -1;
    if (id >= 0) { add_symbol(b, id, n); return; }
    if (!b->bytes) add_characters(b, s, n);
    else for (int i = 0; i < n; i++) add_symbol(b, b->byte_id[(unsigned char)s[i]], 1);
    merge_all(b);
}

/* ---- words ---- */

static int size(uint32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

/* Takes length bytes off the glyphs from *k on, of which *used are taken -> the token's place. */
static void place(const rl_glyph *g, int n, int *k, int *used, int length, int id, rl_tokens *out) {
    const int from = g[*k].from;
    for (int left; length > (left = size(g[*k].c) - *used) && *k + 1 < n; ++*k)
        length -= left, *used = 0;
    *used += length;
    rl_tokens_add(out, id, from, g[*k].to);
    if (*used >= size(g[*k].c) && *k + 1 < n) ++*k, *used = 0;
}

static void encode_long(rl_bpe *b, const rl_glyph *g, int n, rl_tokens *out) {
    if (4 * n > b->spelled_room)
        b->spelled = realloc(b->spelled, (size_t)(b->spelled_room = 4 * n));
    int length = 0, k = 0, used = 0;
    for (int i = 0; i < n; i++) length += rl_utf8_put(g[i].c, b->spelled + length);
    tokenize(b, b->spelled, length);
    for (int i = 0; i < b->nsymbols; i++)
        place(g, n, &k, &used, b->symbols[i].length, b->symbols[i].id, out);
}

/* Fills the cache's line for its key; false where there are too many tokens, or none. */
static bool fill(rl_bpe *b, word *w, const uint64_t key[3]) {
    tokenize(b, (const char *)key, ((const uint8_t *)key)[WORD]);
    if (!b->nsymbols || b->nsymbols > WORD_IDS) return false;
    memcpy(w->key, key, sizeof w->key);
    w->n = (uint8_t)b->nsymbols;
    for (int i = 0; i < b->nsymbols; i++)
        w->id[i] = b->symbols[i].id, w->length[i] = (uint8_t)b->symbols[i].length;
    return true;
}

static void encode_word(rl_bpe *b, const rl_glyph *g, int n, rl_tokens *out) {
    uint64_t key[3] = { 0 };
    char *s = (char *)key;
    int length = 0, k = 0, used = 0;
    for (int i = 0; i < n; i++) {
        if (length + size(g[i].c) > WORD) { encode_long(b, g, n, out); return; }
        if (g[i].c < 0x80) s[length++] = (char)g[i].c;
        else length += rl_utf8_put(g[i].c, s + length);
    }
    s[WORD] = (char)length;
    const uint64_t h = key[0] ^ key[1] * 0x9e3779b97f4a7c15u ^ key[2] * 0xbf58476d1ce4e5b9u;
    word *w = &b->cache[h * 0xd6e8feb86659fd93u >> 49];
    if ((!w->n || memcmp(w->key, key, sizeof key)) && !fill(b, w, key)) {
        for (int i = 0; i < b->nsymbols; i++)
            place(g, n, &k, &used, b->symbols[i].length, b->symbols[i].id, out);
        return;
    }
    for (int i = 0; i < w->n; i++) {
        if (length == n)
            rl_tokens_add(out, w->id[i], g[k].from, g[k + w->length[i] - 1].to), k += w->length[i];
        else place(g, n, &k, &used, w->length[i], w->id[i], out);
    }
}

void rl_bpe_encode(rl_bpe *b, const rl_glyph *g, int n, rl_tokens *out) {
    if (!b->cut) { encode_word(b, g, n, out); return; }
    for (int from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && !(g[to].c == SPACE_MARK && g[to - 1].c != SPACE_MARK);) to++;
        encode_word(b, g + from, to - from, out);
    }
}
