/* safetensors: 8 bytes of header length, a JSON header, the numbers.
 * {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {..}} */
#include "files.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100 << 20 };           /* the format's own limit */

struct rl_safetensors { rl_map *map; rl_json *header; rl_stored *tensors; int *order, count; };

/* One header entry.  data [size]: everything behind the header. */
static int entry(const rl_json *h, int object, rl_stored *t, const char *file, const char *data,
                 double size) {
    const rl_json_node *nodes = rl_json_nodes(h);
    const int dtype = rl_json_get(h, object, "dtype"), shape = rl_json_get(h, object, "shape");
    const int place = rl_json_get(h, object, "data_offsets");
    if (dtype < 0 || nodes[dtype].kind != RL_JSON_STRING || shape < 0 ||
        nodes[shape].kind != RL_JSON_ARRAY || place < 0 || nodes[place].kind != RL_JSON_ARRAY ||
        nodes[place].count != 2 || nodes[object].count != 3)
        return rl_refuse("%s: tensor '%s': expected dtype, shape and two data_offsets", file, t->name);
    const rl_format *format = rl_format_named(nodes[dtype].text);
    if (!format || format->block > 1)
        return rl_refuse("%s: tensor '%s': dtype: expected F64, F32, F16, BF16, I64 .. I8, U64 .. U8 "
                         "or BOOL, found '%s'", file, t->name, nodes[dtype].text);
    t->ndim = nodes[shape].count;
    if (t->ndim > 8)
        return rl_refuse("%s: tensor '%s': shape: expected at most 8 axes, found %d", file, t->name, t->ndim);
    double offset[2];
    for (int i = 0; i < t->ndim + 2; i++) {
        const int node = i < t->ndim ? rl_json_at(h, shape, i) : rl_json_at(h, place, i - t->ndim);
        const double v = nodes[node].kind == RL_JSON_INT ? rl_json_number(h, node, -1) : -1;
        if (!(v >= 0 && v <= 0x1p53))
            return rl_refuse("%s: tensor '%s': %s: expected whole numbers from 0, found %s", file, t->name,
                             i < t->ndim ? "shape" : "data_offsets",
                             nodes[node].text ? nodes[node].text : "something else");
        *(i < t->ndim ? &t->dim[i] : &offset[i - t->ndim]) = v;
    }
    if (rl_stored_size(t, format, file)) return -1;
    if (offset[1] - offset[0] != t->bytes)
        return rl_refuse("%s: tensor '%s': expected %.0f bytes for its shape and dtype, found offsets "
                         "%.0f to %.0f", file, t->name, t->bytes, offset[0], offset[1]);
    if (offset[1] > size)
        return rl_refuse("%s: tensor '%s': expected to end at byte %.0f of the data, but the file ends at "
                         "%.0f", file, t->name, offset[1], size);
    t->data = data + (size_t)offset[0];
    return 0;
}

/* Bytes of the header, -1 refused. */
static int64_t header_size(const char *file, const uint8_t *data, double size) {
    if (size < 10) return rl_refuse("%s: expected a safetensors header, found %.0f bytes", file, size);
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | data[i];
    if (n > MAX_HEADER)
        return rl_refuse("%s: expected a safetensors header of at most 100 MiB, found a length of %.0f",
                         file, (double)n);
    if ((double)n + 8 > size)
        return rl_refuse("%s: expected a header of %.0f bytes, but the file ends at byte %.0f", file,
                         (double)n, size);
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
