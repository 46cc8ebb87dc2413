/* GGUF: a model in one file, little endian.
 * "GGUF", u32 version, u64 tensors, u64 keys; { text key, u32 type, value }; { text name, u32 axes,
 * u64 dim [axes] (fastest first), u32 format, u64 offset }; padding; the numbers.
 * text: u64, bytes. */
#include "files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BOOL = 7, TEXT = 8, LIST = 9, TYPES = 13 };
enum { MAX_NAME = 65535, MAX_AXES = 4, MAX_LIST = 1 << 28, MAX_COUNT = 1 << 24 };

/* Bytes of the types of values by their numbers: u8, i8, u16, i16, u32, i32, f32, bool, text, list,
 * u64, i64, f64. */
static const int size_of[TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

/* type: of the value, or of a list's items; data: these, end to end; texts [count]: where each
 * text's length stands. */
typedef struct {
    char *key;
    int type;
    bool list;
    uint64_t count;
    const uint8_t *data, **texts;
} value;

struct rl_gguf {
    rl_map *map;
    value *values;
    rl_stored *tensors;
    int nvalues, ntensors, *order;
};

/* at: the next byte; place: what is being read, for messages; after a failure reads give 0. */
typedef struct {
    const char *file;
    const uint8_t *data;
    uint64_t size, at;
    char place[160];
    bool failed;
} reader;

static uint64_t little(const uint8_t *p, int bytes) {
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* The next n items of so many bytes; NULL where the file ends before. */
static const uint8_t *take(reader *r, uint64_t n, uint64_t bytes) {
    if (r->failed) return NULL;
    if (n > (r->size - r->at) / bytes) {
        r->failed = true;
        return rl_fail("%s: %s: expected %.0f bytes at byte %.0f, but the file ends at byte %.0f",
                       r->file, r->place, (double)n * (double)bytes, (double)r->at,
                       (double)r->size);
    }
    const uint8_t *p = r->data + r->at;
    r->at += n * bytes;
    return p;
}

static uint64_t take_number(reader *r, int bytes) {
    const uint8_t *p = take(r, 1, (uint64_t)bytes);
    return p ? little(p, bytes) : 0;
}

static int fail(reader *r, const char *what, const char *expected, double found) {
    r->failed = true;
    return rl_refuse("%s: %s: %s: expected %s, found %.0f", r->file, r->place, what, expected,
                     found);
}

/* A key or a tensor's name (free); NULL refused. */
static char *take_name(reader *r) {
    const uint64_t n = take_number(r, 8);
    if (!r->failed && (n == 0 || n > MAX_NAME))
        fail(r, "length of the name", "1 to 65535", (double)n);
    const uint8_t *p = take(r, n, 1);
    if (p && memchr(p, 0, (size_t)n)) fail(r, "name", "no zeros in it, byte", 0);
    return r->failed ? NULL : strndup((const char *)p, (size_t)n);
}

/* ---- keys and values ---- */

static int take_texts(reader *r, value *v) {
    if (v->count > (r->size - r->at) / 8)
        return fail(r, "length of the list", "what the file has room for", (double)v->count);
    v->texts = malloc(sizeof *v->texts * ((size_t)v->count + 1));
    for (uint64_t i = 0; i < v->count && !r->failed; i++) {
        v->texts[i] = r->data + r->at;
        take(r, take_number(r, 8), 1);
    }
    return r->failed ? -1 : 0;
}

static int take_items(reader *r, value *v) {
    if (v->type < 0 || v->type >= TYPES || v->type == LIST)
        return fail(r, v->list ? "type of the items" : "type",
                    "0 to 12 (a list within a list is not read)", v->type);
    if (v->type == TEXT) return take_texts(r, v);
    v->data = take(r, v->count, (uint64_t)size_of[v->type]);
    for (uint64_t i = 0; v->data && v->type == BOOL && i < v->count; i++)
        if (v->data[i] > 1) return fail(r, "bool", "0 or 1", v->data[i]);
    return r->failed ? -1 : 0;
}

static int take_value(reader *r, value *v, int i) {
    snprintf(r->place, sizeof r->place, "key %d", i);
    if (!(v->key = take_name(r))) return -1;
    snprintf(r->place, sizeof r->place, "key '%.120s'", v->key);
    v->type = (int)take_number(r, 4), v->count = 1, v->list = v->type == LIST;
    if (v->list) {
        v->type = (int)take_number(r, 4), v->count = take_number(r, 8);
        if (v->count > MAX_LIST)
            return fail(r, "length of the list", "at most 2^28", (double)v->count);
    }
    return r->failed ? -1 : take_items(r, v);
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const value *)a)->key, ((const value *)b)->key);
}

/* n of the header: what it counts takes `least` bytes each. */
static int take_count(reader *r, const char *what, uint64_t n, uint64_t least) {
    snprintf(r->place, sizeof r->place, "header");
    if (n > (r->size - r->at) / least || n > MAX_COUNT)
        return fail(r, what, "what the file has room for", (double)n);
    return (int)n;
}

static int take_values(reader *r, rl_gguf *g, uint64_t keys) {
    const int n = take_count(r, "number of keys", keys, 13);
    if (n < 0) return -1;
    g->values = calloc((size_t)n + 1, sizeof *g->values);
    for (int i = 0; i < n; i++)
        if (g->nvalues++, take_value(r, &g->values[i], i)) return -1;
    qsort(g->values, (size_t)n, sizeof *g->values, by_key);
    for (int i = 1; i < n; i++)
        if (!by_key(&g->values[i - 1], &g->values[i]))
            return rl_refuse("%s: key '%.120s': expected once, found twice", r->file,
                             g->values[i].key);
    return 0;
}

/* ---- tensors ---- */

static int take_shape(reader *r, rl_stored *t) {
    const uint64_t axes = take_number(r, 4);
    if (axes > MAX_AXES) return fail(r, "shape", "at most 4 axes", (double)axes);
    t->ndim = (int)axes;
    for (int i = t->ndim - 1; i >= 0; i--) {
        const uint64_t n = take_number(r, 8);
        if (n > (uint64_t)1 << 46)
            return fail(r, "shape", "at most 2^46 elements along an axis", (double)n);
        t->dim[i] = (double)n;
    }
    return r->failed ? -1 : 0;
}

/* One tensor info; its offset is from the start of the numbers, which stand behind all infos. */
static int take_tensor(reader *r, rl_stored *t, int i, uint64_t alignment, uint64_t *offset) {
    snprintf(r->place, sizeof r->place, "tensor %d", i);
    if (!(t->name = take_name(r))) return -1;
    snprintf(r->place, sizeof r->place, "tensor '%.120s'", t->name);
    if (take_shape(r, t)) return -1;
    const uint64_t number = take_number(r, 4);
    *offset = take_number(r, 8);
    if (r->failed) return -1;
    const rl_format *format = number < 256 ? rl_format_numbered((int)number) : NULL;
    if (!format)
        return fail(r, "format", "F32, F16, BF16, F64, I8 .. I64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or "
                    "Q2_K .. Q6_K by their numbers", (double)number);
    if (*offset % alignment)
        return rl_refuse("%s: %s: offset: expected a multiple of %.0f, found %.0f", r->file,
                         r->place, (double)alignment, (double)*offset);
    return rl_stored_size(t, format, r->file);
}

/* Each tensor's numbers lie behind the padding that ends the infos. */
static int place_tensors(reader *r, rl_gguf *g, const uint64_t *offset, uint64_t alignment) {
    uint64_t start = (r->at + alignment - 1) / alignment * alignment;
    if (g->ntensors == 0 || start > r->size) start = r->size;
    const uint64_t size = r->size - start;
    for (int i = 0; i < g->ntensors; i++) {
        rl_stored *t = &g->tensors[i];
        if (offset[i] > size || t->bytes > (double)(size - offset[i]))
            return rl_refuse("%s: tensor '%s': expected %.0f bytes at byte %.0f of the data, which "
                             "ends at byte %.0f", r->file, t->name, t->bytes, (double)offset[i],
                             (double)size);
        t->data = r->data + start + offset[i];
    }
    g->order = rl_stored_check(g->tensors, g->ntensors, r->file, (const char *)r->data + start,
                               (double)size, true);
    return g->order ? 0 : -1;
}

/* What offsets are multiples of; -1 refused. */
static int alignment_of(const reader *r, const rl_gguf *g) {
    const int key = rl_gguf_meta(g, "general.alignment");
    const double found = key < 0 ? 32 : rl_gguf_number(g, key, 0);
    for (int n = 1; n <= 1 << 20; n *= 2)
        if (n == found) return n;
    return rl_refuse("%s: key 'general.alignment': expected a power of two up to 2^20, found %g",
                     r->file, found);
}

static int take_tensors(reader *r, rl_gguf *g, uint64_t tensors) {
    const int n = take_count(r, "number of tensors", tensors, 25);
    const int alignment = n < 0 ? -1 : alignment_of(r, g);
    if (alignment < 0) return -1;
    g->tensors = calloc((size_t)n + 1, sizeof *g->tensors);
    uint64_t *offset = calloc((size_t)n + 1, sizeof *offset);
    int status = 0;
    for (int i = 0; i < n && !status; i++)
        g->ntensors++, status = take_tensor(r, &g->tensors[i], i, (uint64_t)alignment, &offset[i]);
    if (!status) status = place_tensors(r, g, offset, (uint64_t)alignment);
    free(offset);
    return status;
}

/* ---- the file ---- */

static int take_all(reader *r, rl_gguf *g) {
    const uint8_t *magic = take(r, 4, 1);
    if (magic && memcmp(magic, "GGUF", 4))
        return rl_refuse("%s: byte 0: expected GGUF, found 0x%08x", r->file,
                         (unsigned)little(magic, 4));
    const uint64_t version = take_number(r, 4);
    if (!r->failed && version != 2 && version != 3)
        return fail(r, "version", "2 or 3, little endian", (double)version);
    const uint64_t tensors = take_number(r, 8), keys = take_number(r, 8);
    return r->failed || take_values(r, g, keys) || take_tensors(r, g, tensors) ? -1 : 0;
}

rl_gguf *rl_gguf_parse(const char *file, const void *data, double size) {
    rl_gguf *g = calloc(1, sizeof *g);
    reader r = { .file = file, .data = data, .size = (uint64_t)size, .place = "header" };
    if (!take_all(&r, g)) return g;
    rl_gguf_close(g);
    return NULL;
}

rl_gguf *rl_gguf_open(const char *path) {
    rl_map *map = rl_map_open(path);
    rl_gguf *g = map ? rl_gguf_parse(path, map->data, map->size) : NULL;
    if (g) g->map = map;
    else rl_map_close(map);
    return g;
}

void rl_gguf_close(rl_gguf *g) {
    if (!g) return;
    for (int i = 0; i < g->nvalues; i++) free(g->values[i].key), free(g->values[i].texts);
    for (int i = 0; i < g->ntensors; i++) free((char *)g->tensors[i].name);
    free(g->values), free(g->tensors), free(g->order);
    rl_map_close(g->map);
    free(g);
}

int rl_gguf_count(const rl_gguf *g) { return g ? g->ntensors : -1; }

const rl_stored *rl_gguf_at(const rl_gguf *g, int i) {
    return g && i >= 0 && i < g->ntensors ? &g->tensors[i] : NULL;
}

int rl_gguf_find(const rl_gguf *g, const char *name) {
    return g ? rl_stored_find(g->tensors, g->order, g->ntensors, name) : -1;
}

/* ---- values ---- */

int rl_gguf_keys(const rl_gguf *g) { return g ? g->nvalues : -1; }

static const value *value_at(const rl_gguf *g, int key) {
    return g && key >= 0 && key < g->nvalues ? &g->values[key] : NULL;
}

const char *rl_gguf_key(const rl_gguf *g, int key) {
    return value_at(g, key) ? g->values[key].key : NULL;
}

int rl_gguf_meta(const rl_gguf *g, const char *key) {
    const value wanted = { .key = (char *)key };
    if (!g || !g->nvalues) return -1;
    const value *v = bsearch(&wanted, g->values, (size_t)g->nvalues, sizeof wanted, by_key);
    return v ? (int)(v - g->values) : -1;
}

int rl_gguf_kind(const rl_gguf *g, int key) {
    const value *v = value_at(g, key);
    if (!v) return -1;
    return v->type == TEXT ? RL_GGUF_TEXT : v->type == BOOL ? RL_GGUF_BOOL : RL_GGUF_NUMBER;
}

int rl_gguf_length(const rl_gguf *g, int key) {
    const value *v = value_at(g, key);
    return v && v->list ? (int)v->count : -1;
}

double rl_gguf_number(const rl_gguf *g, int key, int i) {
    const value *v = value_at(g, key);
    if (!v || v->type == TEXT || i < 0 || (uint64_t)i >= v->count) return 0;
    const int bytes = size_of[v->type];
    const uint64_t bits = little(v->data + (uint64_t)i * (uint64_t)bytes, bytes);
    const uint32_t low = (uint32_t)bits;
    float f;
    double d;
    switch (v->type) {
    case 1: return (int8_t)bits;
    case 3: return (int16_t)bits;
    case 5: return (int32_t)bits;
    case 6: memcpy(&f, &low, 4); return f;
    case 11: return (double)(int64_t)bits;
    case 12: memcpy(&d, &bits, 8); return d;
    default: return (double)bits;
    }
}

const char *rl_gguf_text(const rl_gguf *g, int key, int i, int *bytes) {
    const value *v = value_at(g, key);
    if (!v || v->type != TEXT || i < 0 || (uint64_t)i >= v->count) return NULL;
    const uint64_t n = little(v->texts[i], 8);
    if (n > INT32_MAX) return NULL;
    *bytes = (int)n;
    return (const char *)v->texts[i] + 8;
}
