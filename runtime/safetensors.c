/* safetensors: 8 bytes of header length, a JSON header, the numbers.
 * {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]},
 *  "__metadata__": {..}} */
#include "files.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100 << 20 };           /* the format's own limit */

struct rl_safetensors { rl_map *map; rl_json *header; rl_stored *tensors; int *order, count; };

/* All numbers of an array of the header. */
static int take_numbers(const rl_json *h, int array, const char *what, const rl_stored *t,
                        const char *file, double *out) {
    const rl_json_node *nodes = rl_json_nodes(h);
    for (int i = 0, n = array + 1; i < nodes[array].count; i++, n = nodes[n].next) {
        out[i] = nodes[n].kind == RL_JSON_INT ? rl_json_number(h, n, -1) : -1;
        if (!(out[i] >= 0 && out[i] <= 0x1p53))
            return rl_refuse("%s: tensor '%s': %s: expected whole numbers from 0, found %s", file,
                             t->name, what, nodes[n].text ? nodes[n].text : "something else");
    }
    return 0;
}

/* t's numbers are bytes [from, to) of data [size]. */
static int take_place(rl_stored *t, const char *file, const char *data, double size, double from,
                      double to) {
    if (to - from != t->bytes)
        return rl_refuse("%s: tensor '%s': expected %.0f bytes for its shape and dtype, "
                         "found offsets %.0f to %.0f", file, t->name, t->bytes, from, to);
    if (to > size)
        return rl_refuse("%s: tensor '%s': expected to end at byte %.0f of the data, "
                         "but the file ends at %.0f", file, t->name, to, size);
    t->data = data + (size_t)from;
    return 0;
}

static bool has_kind(const rl_json *h, int node, int kind) {
    return node >= 0 && rl_json_nodes(h)[node].kind == kind;
}

/* One header entry.  data [size]: everything behind the header. */
static int entry(const rl_json *h, int object, rl_stored *t, const char *file, const char *data,
                 double size) {
    const rl_json_node *nodes = rl_json_nodes(h);
    const int dtype = rl_json_get(h, object, "dtype"), shape = rl_json_get(h, object, "shape");
    const int place = rl_json_get(h, object, "data_offsets");
    if (!has_kind(h, dtype, RL_JSON_STRING) || !has_kind(h, shape, RL_JSON_ARRAY) ||
        !has_kind(h, place, RL_JSON_ARRAY) || nodes[place].count != 2 || nodes[object].count != 3)
        return rl_refuse("%s: tensor '%s': expected dtype, shape and two data_offsets", file,
                         t->name);
    const rl_format *format = rl_format_named(nodes[dtype].text);
    if (!format || format->block > 1)
        return rl_refuse("%s: tensor '%s': dtype: expected F64, F32, F16, BF16, I64 .. I8, "
                         "U64 .. U8 or BOOL, found '%s'", file, t->name, nodes[dtype].text);
    t->ndim = nodes[shape].count;
    if (t->ndim > 8)
        return rl_refuse("%s: tensor '%s': shape: expected at most 8 axes, found %d", file, t->name,
                         t->ndim);
    double offset[2];
    if (take_numbers(h, shape, "shape", t, file, t->dim) ||
        take_numbers(h, place, "data_offsets", t, file, offset)) return -1;
    if (rl_stored_size(t, format, file)) return -1;
    return take_place(t, file, data, size, offset[0], offset[1]);
}

/* Bytes of the header, -1 refused. */
static int64_t header_size(const char *file, const uint8_t *data, double size) {
    if (size < 10)
        return rl_refuse("%s: expected a safetensors header, found %.0f bytes", file, size);
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | data[i];
    if (n > MAX_HEADER)
        return rl_refuse("%s: expected a safetensors header of at most 100 MiB, "
                         "found a length of %.0f", file, (double)n);
    if ((double)n + 8 > size)
        return rl_refuse("%s: expected a header of %.0f bytes, but the file ends at byte %.0f",
                         file, (double)n, size);
    if (data[8] != '{') return rl_refuse("%s: expected '{' at byte 8, found 0x%02x", file, data[8]);
    return (int64_t)n;
}

/* All entries of the header. */
static int entries(rl_safetensors *st, const char *file, const char *data, double size) {
    const rl_json_node *nodes = rl_json_nodes(st->header);
    bool metadata = false;
    st->tensors = calloc((size_t)nodes[0].count + 1, sizeof *st->tensors);
    for (int node = 1, i = 0; i < nodes[0].count; i++, node = nodes[node + 1].next) {
        rl_stored *t = &st->tensors[st->count];
        t->name = nodes[node].text;
        if (strlen(t->name) != (size_t)nodes[node].length)
            return rl_refuse("%s: tensor '%s': expected a name without zeros", file, t->name);
        if (nodes[node + 1].kind != RL_JSON_OBJECT)
            return rl_refuse("%s: tensor '%s': expected an object", file, t->name);
        if (!strcmp(t->name, "__metadata__")) {
            if (metadata) return rl_refuse("%s: __metadata__: expected once, found twice", file);
            metadata = true;
        } else {
            if (entry(st->header, node + 1, t, file, data, size)) return -1;
            st->count++;
        }
    }
    st->order = rl_stored_check(st->tensors, st->count, file, data, size, false);
    return st->order ? 0 : -1;
}

rl_safetensors *rl_safetensors_parse(const char *file, const void *data, double size) {
    const int64_t n = header_size(file, data, size);
    if (n < 0) return NULL;
    rl_json *header = rl_json_parse((const char *)data + 8, (double)n, file);
    if (!header) return NULL;
    rl_safetensors *st = calloc(1, sizeof *st);
    st->header = header;
    if (entries(st, file, (const char *)data + 8 + n, size - 8 - (double)n)) {
        rl_safetensors_close(st);
        return NULL;
    }
    return st;
}

rl_safetensors *rl_safetensors_open(const char *path) {
    rl_map *map = rl_map_open(path);
    rl_safetensors *st = map ? rl_safetensors_parse(path, map->data, map->size) : NULL;
    if (st) st->map = map;
    else rl_map_close(map);
    return st;
}

int rl_safetensors_count(const rl_safetensors *st) { return st ? st->count : -1; }

const rl_stored *rl_safetensors_at(const rl_safetensors *st, int i) {
    return st && i >= 0 && i < st->count ? &st->tensors[i] : NULL;
}

int rl_safetensors_find(const rl_safetensors *st, const char *name) {
    return st ? rl_stored_find(st->tensors, st->order, st->count, name) : -1;
}

void rl_safetensors_close(rl_safetensors *st) {
    if (!st) return;
    free(st->tensors), free(st->order);
    rl_json_free(st->header);
    rl_map_close(st->map);
    free(st);
}
