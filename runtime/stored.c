/* Tensors in files: the formats of their numbers, checks of their places, conversion to float. */
#include "files.h"
#include <stdlib.h>
#include <string.h>

/* ---- plain numbers ---- */

#define PLAIN(name, type, value)                                        \
    static void name(const uint8_t *from, float *to, size_t n) {        \
        for (size_t i = 0; i < n; i++) {                                \
            type v;                                                     \
            memcpy(&v, from + i * sizeof v, sizeof v);                  \
            to[i] = value;                                              \
        }                                                               \
    }

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* The exponent moves by a product with 2^112, which is exact, also for subnormals. */
static float from_half(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    if (rest >= 0x7c00) return from_bits(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    return from_bits(sign | 0x3f800000) * (from_bits(rest << 13) * 0x1p112f);
}

PLAIN(read_f64, double, (float)v)
PLAIN(read_f32, float, v)
PLAIN(read_f16, uint16_t, from_half(v))
PLAIN(read_bf16, uint16_t, from_bits((uint32_t)v << 16))
PLAIN(read_i64, int64_t, (float)v)
PLAIN(read_i32, int32_t, (float)v)
PLAIN(read_i16, int16_t, v)
PLAIN(read_i8, int8_t, v)
PLAIN(read_u64, uint64_t, (float)v)
PLAIN(read_u32, uint32_t, (float)v)
PLAIN(read_u16, uint16_t, v)
PLAIN(read_u8, uint8_t, v)
PLAIN(read_bool, uint8_t, v != 0)

/* ---- quantised blocks ---- */

static float half_at(const uint8_t *p) { return from_half((uint16_t)(p[0] | p[1] << 8)); }

static uint32_t u32_at(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* 32 values x = d q, q a signed byte: half d, 32 q */
static void read_q8_0(const uint8_t *b, float *x, size_t blocks) {
    for (; blocks--; b += 34, x += 32) {
        const float d = half_at(b);
        for (int i = 0; i < 32; i++) x[i] = d * (int8_t)b[2 + i];
    }
}

/* 32 values; byte i holds value i in its low, value i + 16 in its high nibble.  The forms:
 * 4_0: half d, 16 bytes, x = d (q - 8)          4_1: half d, half m, 16 bytes, x = d q + m
 * 5_0: half d, 32 fifth bits, 16, x = d (q - 16)  5_1: half d, half m, bits, 16, x = d q + m */
static void nibbles(const uint8_t *b, float *x, size_t blocks, bool has_min, bool fifth) {
    for (; blocks--; b += 16, x += 32) {
        const float d = half_at(b), m = has_min ? half_at(b + 2) : 0;
        const int zero = has_min ? 0 : fifth ? 16 : 8;
        b += has_min ? 4 : 2;
        const uint32_t high = fifth ? u32_at(b) : 0;
        if (fifth) b += 4;
        for (int i = 0; i < 16; i++) {
            const int low = (b[i] & 15) | (int)(high >> i & 1) << 4;
            const int top = b[i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
            x[i] = d * (float)(low - zero) + m;
            x[i + 16] = d * (float)(top - zero) + m;
        }
    }
}

static void read_q4_0(const uint8_t *b, float *x, size_t n) { nibbles(b, x, n, false, false); }
static void read_q4_1(const uint8_t *b, float *x, size_t n) { nibbles(b, x, n, true, false); }
static void read_q5_0(const uint8_t *b, float *x, size_t n) { nibbles(b, x, n, false, true); }
static void read_q5_1(const uint8_t *b, float *x, size_t n) { nibbles(b, x, n, true, true); }

/* Scale and minimum of sub-block j of 8: 6 bits each, packed in 12 bytes; the first four lie in
 * the low bits of bytes 0..7, the last four are split between bytes 8..11 and the high bits. */
static void scale_min(const uint8_t *s, int j, int *scale, int *min) {
    if (j < 4) *scale = s[j] & 63, *min = s[j + 4] & 63;
    else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *min = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* 256 values in 8 sub-blocks of 32, x = d scale q - dmin min.  half d, half dmin, 12 bytes of
 * scales, for 5 bits 32 bytes of fifth bits (bit j of byte i: value i of sub-block j), 128 bytes:
 * 32 for each two sub-blocks, low nibbles the first, high ones the second. */
static void k_blocks(const uint8_t *b, float *x, size_t blocks, bool fifth) {
    for (; blocks--; b += fifth ? 176 : 144) {
        const float d = half_at(b), dmin = half_at(b + 2);
        const uint8_t *high = b + 16, *q = b + (fifth ? 48 : 16);
        for (int j = 0; j < 8; j++, x += 32) {
            int scale, min;
            scale_min(b + 4, j, &scale, &min);
            const float step = d * (float)scale, base = dmin * (float)min;
            for (int i = 0; i < 32; i++) {
                const int low = q[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
                const int v = fifth ? low | (high[i] >> j & 1) << 4 : low;
                x[i] = step * (float)v - base;
            }
        }
    }
}

static void read_q4_k(const uint8_t *b, float *x, size_t n) { k_blocks(b, x, n, false); }
static void read_q5_k(const uint8_t *b, float *x, size_t n) { k_blocks(b, x, n, true); }

/* 256 values x = d scale (q - 32): 128 bytes of low nibbles, 64 of upper pairs of bits, 16 signed
 * scales (one each 16 values), half d.  Each half of 128 values: quarter k takes nibbles from bytes
 * 32 (k % 2).. (low for k < 2) and bits 2k of bytes 0..31. */
static void read_q6_k(const uint8_t *b, float *x, size_t blocks) {
    for (; blocks--; b += 210) {
        const float d = half_at(b + 208);
        for (int part = 0; part < 8; part++, x += 32) {
            const int half = part / 4, k = part % 4;
            const uint8_t *low = b + half * 64 + k % 2 * 32, *high = b + 128 + half * 32;
            for (int i = 0; i < 32; i++) {
                const int q = (low[i] >> (k / 2 * 4) & 15) | (high[i] >> (2 * k) & 3) << 4;
                x[i] = d * (int8_t)b[192 + part * 2 + i / 16] * (float)(q - 32);
            }
        }
    }
}

/* 256 values x = d scale q - dmin min in 16 groups of 16: 16 bytes, scale low, min high nibble; 64
 * bytes of pairs of bits; half d, half dmin.  Bits 2k of byte i in each half of 32 bytes: value i
 * of quarter k of that half's 128 values. */
static void read_q2_k(const uint8_t *b, float *x, size_t blocks) {
    for (; blocks--; b += 84, x += 256) {
        const float d = half_at(b + 80), dmin = half_at(b + 82);
        for (int i = 0; i < 256; i++) {
            const uint8_t s = b[i / 16];
            const int q = b[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
            x[i] = d * (float)(s & 15) * (float)q - dmin * (float)(s >> 4);
        }
    }
}

/* 256 values x = d (scale - 32) q in 16 groups of 16: 32 bytes of upper bits (bit i / 32 of byte
 * i % 32; where it is 0, q is 4 less), 64 bytes of pairs as above, 12 bytes of scales (the low 4
 * bits of the 16 in bytes 0..7, the high 2 in bytes 8..11), half d. */
static void read_q3_k(const uint8_t *b, float *x, size_t blocks) {
    for (; blocks--; b += 110, x += 256) {
        const float d = half_at(b + 108);
        const uint8_t *s = b + 96;
        for (int i = 0; i < 256; i++) {
            const int j = i / 16;
            const int low = s[j % 8] >> (j / 8 * 4) & 15, high = s[8 + j % 4] >> (j / 4 * 2) & 3;
            const int pair = b[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
            const int q = pair - (b[i % 32] >> (i / 32) & 1 ? 0 : 4);
            x[i] = d * (float)((low | high << 4) - 32) * (float)q;
        }
    }
}

/* ---- the table ---- */

static const rl_format formats[] = {
    { "F32", 0, 1, 4, read_f32 },       { "F16", 1, 1, 2, read_f16 },
    { "BF16", 30, 1, 2, read_bf16 },    { "F64", 28, 1, 8, read_f64 },
    { "I64", 27, 1, 8, read_i64 },      { "I32", 26, 1, 4, read_i32 },
    { "I16", 25, 1, 2, read_i16 },      { "I8", 24, 1, 1, read_i8 },
    { "U64", -1, 1, 8, read_u64 },      { "U32", -1, 1, 4, read_u32 },
    { "U16", -1, 1, 2, read_u16 },      { "U8", -1, 1, 1, read_u8 },
    { "BOOL", -1, 1, 1, read_bool },    { "Q8_0", 8, 32, 34, read_q8_0 },
    { "Q4_0", 2, 32, 18, read_q4_0 },   { "Q4_1", 3, 32, 20, read_q4_1 },
    { "Q5_0", 6, 32, 22, read_q5_0 },   { "Q5_1", 7, 32, 24, read_q5_1 },
    { "Q4_K", 12, 256, 144, read_q4_k }, { "Q5_K", 13, 256, 176, read_q5_k },
    { "Q6_K", 14, 256, 210, read_q6_k }, { "Q2_K", 10, 256, 84, read_q2_k },
    { "Q3_K", 11, 256, 110, read_q3_k },
};
enum { FORMATS = sizeof formats / sizeof *formats };

const rl_format *rl_format_named(const char *name) {
    for (int i = 0; i < FORMATS; i++)
        if (!strcmp(formats[i].name, name)) return &formats[i];
    return NULL;
}

const rl_format *rl_format_numbered(int gguf) {
    for (int i = 0; i < FORMATS; i++)
        if (formats[i].gguf == gguf && gguf >= 0) return &formats[i];
    return NULL;
}

int rl_stored_size(rl_stored *t, const rl_format *format, const char *file) {
    t->dtype = format->name;
    t->count = 1;
    for (int i = 0; i < t->ndim; i++) t->count *= t->dim[i];
    if (!(t->count <= 0x1p46))
        return rl_refuse("%s: tensor '%s': expected at most 2^46 elements, found %g", file, t->name,
                         t->count);
    const double row = t->ndim ? t->dim[t->ndim - 1] : 1;
    if ((int64_t)row % format->block)
        return rl_refuse("%s: tensor '%s': expected rows of a multiple of %d elements (%s), "
                         "found %.0f", file, t->name, format->block, format->name, row);
    t->bytes = t->count / format->block * format->bytes;
    return 0;
}

/* ---- many together ---- */

typedef struct { const rl_stored *t; int index; } entry;

static int by_name(const void *a, const void *b) {
    return strcmp(((const entry *)a)->t->name, ((const entry *)b)->t->name);
}

static int by_place(const void *a, const void *b) {
    const rl_stored *x = ((const entry *)a)->t, *y = ((const entry *)b)->t;
    if (x->data != y->data) return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* e in order of place: each starts where the one before ends, or, with gaps, not before. */
static int places(const entry *e, int n, const char *file, const char *data, double size,
                  bool gaps) {
    double end = 0;
    for (int i = 0; i < n; i++) {
        const rl_stored *t = e[i].t;
        const double start = (double)((const char *)t->data - data);
        if (t->bytes > 0 && start < end)
            return rl_refuse("%s: tensor '%s': overlaps '%s'", file, t->name, e[i - 1].t->name);
        if (!gaps && start > end)
            return rl_refuse("%s: tensor '%s': expected to start at byte %.0f of the data, "
                             "found %.0f", file, t->name, end, start);
        if (start + t->bytes > end) end = start + t->bytes;
    }
    if (!gaps && end != size)
        return rl_refuse("%s: expected %.0f bytes of data, found %.0f", file, end, size);
    return 0;
}

int *rl_stored_check(const rl_stored *t, int n, const char *file, const char *data, double size,
                     bool gaps) {
    entry *e = malloc(((size_t)n + 1) * sizeof *e);
    for (int i = 0; i < n; i++) e[i] = (entry){ &t[i], i };
    qsort(e, (size_t)n, sizeof *e, by_place);
    int failed = places(e, n, file, data, size, gaps);
    qsort(e, (size_t)n, sizeof *e, by_name);
    for (int i = 1; i < n && !failed; i++)
        if (!by_name(&e[i - 1], &e[i]))
            failed = rl_refuse("%s: tensor '%s': expected once, found twice", file, e[i].t->name);
    int *order = failed ? NULL : malloc(((size_t)n + 1) * sizeof *order);
    for (int i = 0; i < n && order; i++) order[i] = e[i].index;
    free(e);
    return order;
}

int rl_stored_find(const rl_stored *t, const int *order, int n, const char *name) {
    int low = 0, high = n;
    while (low < high) {
        const int middle = (low + high) / 2, c = strcmp(t[order[middle]].name, name);
        if (c == 0) return order[middle];
        if (c < 0) low = middle + 1;
        else high = middle;
    }
    return -1;
}

int rl_stored_read(const rl_stored *t, double first, double count, float *out) {
    if (!t) return -1;
    if (!(first >= 0 && count >= 0 && first + count <= t->count))
        return rl_refuse("tensor '%s': expected elements within 0..%.0f, got %.0f from %.0f",
                         t->name, t->count, count, first);
    const rl_format *f = rl_format_named(t->dtype);
    const size_t at = (size_t)first, n = (size_t)count, block = (size_t)f->block;
    if (at % block || n % block)
        return rl_refuse("tensor '%s': expected multiples of %d elements (%s), got %.0f from %.0f",
                         t->name, f->block, f->name, count, first);
    f->read((const uint8_t *)t->data + at / block * (size_t)f->bytes, out, n / block);
    return 0;
}
