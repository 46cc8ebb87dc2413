/* PNG, GIF and BMP by stb_image, which trusts its input: what a file claims is checked first. */
#include "image.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* No more memory than a picture of the header's size can need, whatever its data unpacks to. */
static _Thread_local size_t room;
static void *resize(void *p, size_t size) { return size > room ? NULL : realloc(p, size); }

/* stb declares more than these choices define. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_GIF
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MALLOC(size) resize(NULL, size)
#define STBI_REALLOC(p, size) resize(p, size)
#define STBI_FREE(p) free(p)
#include <stb/stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>

static uint32_t little(const uint8_t *p, int n) {
    uint32_t v = 0;
    for (int i = n; i-- > 0;) v = v << 8 | p[i];
    return v;
}

static uint32_t big(const uint8_t *p) { return __builtin_bswap32(little(p, 4)); }

/* The checked file -> pixels with 3 channels, or 4 where alpha is asked for. */
static int decode(const rl_blob *file, rl_image *out, bool alpha) {
    int width, height, found;
    if (file->size > 0x7fffffff)
        return rl_image_refuse(file, "expected less than 2 GiB, found %zu bytes", file->size);
    room = 16 * (size_t)out->width * (size_t)out->height + 2 * file->size + (1 << 20);
    out->channels = alpha ? 4 : 3;
    out->pixels = stbi_load_from_memory(file->data, (int)file->size, &width, &height, &found,
                                        out->channels);
    if (!out->pixels)
        return rl_image_refuse(file, "%s: expected whole data, found damage: %s", out->format,
                               stbi_failure_reason());
    if (width != out->width || height != out->height)
        return rl_image_refuse(file, "%s: expected %d x %d, found %d x %d", out->format,
                               out->width, out->height, width, height);
    return 0;
}

static int truncated(const rl_blob *file, const rl_image *out) {
    return rl_image_refuse(file, "%s: expected the picture's end, found a truncated file of %zu "
                           "bytes", out->format, file->size);
}

/* Does colour i of a palette mean grey i, as if there were none? */
static bool grey(const uint8_t *palette, size_t colours, size_t entry) {
    for (size_t i = 0; i < colours; i++)
        for (size_t c = 0; c < 3; c++)
            if (palette[i * entry + c] != i) return false;
    return true;
}

/* ---- PNG: ISO/IEC 15948 ---- */

static uint32_t crc_of[256];
__attribute__((constructor)) static void crc_table(void) {
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t c = b;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        crc_of[b] = c;
    }
}

static uint32_t crc32(const uint8_t *p, size_t n) {
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) c = crc_of[(c ^ p[i]) & 255] ^ c >> 8;
    return ~c;
}

/* What the chunks told so far. */
typedef struct { bool header, palette, clear, data; int colour, depth; } png;

static int png_header(const rl_blob *file, const uint8_t *p, size_t n, rl_image *out, png *s) {
    /* the depths of each colour type, 1 to 16, as bits */
    static const uint8_t depths[7] = { 31, 0, 24, 15, 24, 0, 24 };
    if (n != 13) return rl_image_refuse(file, "PNG: IHDR: expected 13 bytes, found %zu", n);
    s->header = true, s->depth = p[8], s->colour = p[9];
    const int depth = s->depth <= 16 && !(s->depth & (s->depth - 1)) ? s->depth : 0;
    if (s->colour > 6 || !(depths[s->colour] & depth) || p[10] || p[11] || p[12] > 1)
        return rl_image_refuse(file, "PNG: IHDR: expected depth, colour type and methods of the "
                               "standard, found %d, %d, %d %d %d", p[8], p[9], p[10], p[11], p[12]);
    if (rl_image_size_check(file, big(p), big(p + 4))) return -1;
    out->width = (int)big(p), out->height = (int)big(p + 4);
    out->coarse = s->colour == 3 || s->depth == 1;
    return 0;
}

/* One chunk of n bytes at p; type names it. */
static int png_chunk(const rl_blob *file, const char *type, const uint8_t *p, size_t n,
                     rl_image *out, png *s) {
    if (!strcmp(type, "IHDR") == s->header)
        return rl_image_refuse(file, "PNG: expected one IHDR in front, found %s", type);
    if (!s->header) return png_header(file, p, n, out, s);
    s->palette |= !strcmp(type, "PLTE");
    s->clear |= !strcmp(type, "tRNS");
    s->data |= !strcmp(type, "IDAT");
    if (!strcmp(type, "eXIf")) out->orientation = rl_exif_orientation(p, n);
    if (s->data && s->colour == 3 && !s->palette)
        return rl_image_refuse(file, "PNG: expected PLTE before the data, found none");
    return 0;
}

int rl_png_decode(const rl_blob *file, rl_image *out) {
    png s = { 0 };
    char type[5] = "";
    for (size_t at = 8, n; strcmp(type, "IEND"); at += 12 + n) {
        if (file->size - at < 12) return truncated(file, out);
        const uint8_t *p = file->data + at;
        n = big(p);
        if (n > file->size - at - 12) return truncated(file, out);
        for (int i = 0; i < 4; i++) type[i] = isalpha(p[4 + i]) ? (char)p[4 + i] : '?';
        const uint32_t said = big(p + 8 + n), is = crc32(p + 4, n + 4);
        if (said != is)
            return rl_image_refuse(file, "PNG: %s at byte %zu: expected checksum %08x, found %08x",
                                   type, at, said, is);
        if (png_chunk(file, type, p + 8, n, out, &s)) return -1;
    }
    if (!s.data) return rl_image_refuse(file, "PNG: expected IDAT, found none");
    return decode(file, out, s.clear || s.colour & 4);
}

/* ---- GIF89a ---- */

/* The place behind a run of data blocks; 0: it has no end. */
static size_t gif_blocks(const rl_blob *file, size_t at) {
    while (at < file->size && file->data[at]) at += 1 + (size_t)file->data[at];
    return at < file->size ? at + 1 : 0;
}

/* Colours of a palette; 0: it is not there. */
static size_t gif_colours(int flags) { return flags & 0x80 ? (size_t)2 << (flags & 7) : 0; }

/* stb leaves transparent pixels black: their colours come from a copy without the transparent one,
 * whose flag is bit 0 of byte flag. */
static int gif_colour_in(const rl_blob *file, size_t flag, rl_image *out) {
    uint8_t *copy = malloc(file->size);
    if (!copy) return rl_image_refuse(file, "expected memory for %zu bytes, got none", file->size);
    memcpy(copy, file->data, file->size);
    copy[flag] &= 0xfe;
    rl_image plain = *out;
    const int status = decode(&(rl_blob){ copy, file->size, file->name }, &plain, false);
    const size_t count = (size_t)out->width * (size_t)out->height;
    for (size_t i = 0; !status && i < count; i++)
        memcpy(out->pixels + 4 * i, plain.pixels + 3 * i, 3);
    free(copy), free(plain.pixels);
    return status;
}

/* The frame at byte at; flag: the byte whose bit 0 says that it has a transparent colour, or 0. */
static int gif_frame(const rl_blob *file, size_t at, size_t flag, rl_image *out) {
    const uint8_t *d = file->data;
    const size_t own = gif_colours(d[at + 9]), shared = gif_colours(d[10]);
    const bool clear = flag && d[flag] & 1;
    if (!gif_blocks(file, at + 11 + 3 * own)) return truncated(file, out);
    out->coarse = own ? !grey(d + at + 10, own, 3) : !grey(d + 13, shared, 3);
    if (decode(file, out, clear)) return -1;
    return clear ? gif_colour_in(file, flag, out) : 0;
}

int rl_gif_decode(const rl_blob *file, rl_image *out) {
    const uint8_t *d = file->data;
    if (file->size < 13) return truncated(file, out);
    if (rl_image_size_check(file, little(d + 6, 2), little(d + 8, 2))) return -1;
    out->width = (int)little(d + 6, 2), out->height = (int)little(d + 8, 2);
    size_t flag = 0;
    for (size_t at = 13 + 3 * gif_colours(d[10]); at + 10 <= file->size;) {
        if (d[at] == 0x2c) return gif_frame(file, at, flag, out);
        if (d[at] != 0x21)
            return rl_image_refuse(file, "GIF: byte %zu: expected a frame or an extension, "
                                   "found %d", at, d[at]);
        if (d[at + 1] == 0xf9) flag = d[at + 2] == 4 ? at + 3 : 0;
        at = gif_blocks(file, at + 2);
        if (!at) break;
    }
    return truncated(file, out);
}

/* ---- BMP ---- */

typedef struct { size_t offset, head, stride, colours, entry; int bits, packed; } bmp;

/* Pixels of up to 8 bits must name colours of the palette. */
static int bmp_colours(const rl_blob *file, const rl_image *out, const bmp *b) {
    const size_t bits = (size_t)b->bits;
    for (size_t y = 0; y < (size_t)out->height; y++)
        for (size_t x = 0; x < (size_t)out->width; x++) {
            const uint8_t byte = file->data[b->offset + y * b->stride + x * bits / 8];
            const size_t v = byte >> (8 - bits - x * bits % 8) & ((1u << bits) - 1);
            if (v >= b->colours)
                return rl_image_refuse(file, "BMP: expected colours below %zu, found %zu",
                                       b->colours, v);
        }
    return 0;
}

static int bmp_header(const rl_blob *file, rl_image *out, bmp *b) {
    const uint8_t *d = file->data;
    b->offset = little(d + 10, 4), b->head = little(d + 14, 4);
    const bool old = b->head == 12;
    if (!old && b->head < 40)
        return rl_image_refuse(file, "BMP: expected a header of 12 or 40 bytes or more, found %zu",
                               b->head);
    if (file->size < 14 + b->head) return truncated(file, out);
    const int32_t w = (int32_t)little(d + 18, old ? 2 : 4);
    const int32_t h = (int32_t)little(d + (old ? 20 : 22), old ? 2 : 4);
    if (rl_image_size_check(file, w, h < 0 ? -(double)h : (double)h)) return -1;
    out->width = w, out->height = h < 0 ? -h : h;
    b->bits = (int)little(d + (old ? 24 : 28), 2), b->packed = old ? 0 : (int)little(d + 30, 4);
    const int n = b->bits;
    if ((n != 1 && n != 4 && n != 8 && n != 16 && n != 24 && n != 32) ||
        (b->packed && b->packed != 3))
        return rl_image_refuse(file, "BMP: expected plain pixels of 1 to 32 bits, found %d bits, "
                               "compression %d", n, b->packed);
    return 0;
}

int rl_bmp_decode(const rl_blob *file, rl_image *out) {
    bmp b;
    if (file->size < 26) return truncated(file, out);
    if (bmp_header(file, out, &b)) return -1;
    b.stride = ((size_t)out->width * (size_t)b.bits + 31) / 32 * 4, b.entry = b.head == 12 ? 3 : 4;
    if (b.offset < 14 + b.head || b.offset > file->size ||
        b.stride * (size_t)out->height > file->size - b.offset) return truncated(file, out);
    const uint8_t *palette = file->data + 14 + b.head;
    b.colours = (b.offset - 14 - b.head) / b.entry;
    if (b.bits <= 8 && bmp_colours(file, out, &b)) return -1;
    out->coarse = b.bits == 1 || (b.bits <= 8 && !grey(palette, b.colours, b.entry));
    const bool masks = b.packed == 3 && b.bits == 32 && b.head >= 56;
    return decode(file, out, masks && little(file->data + 66, 4));
}

unsigned char *rl_image_png(const unsigned char *rgb, int width, int height, int *size) {
    if (width < 1 || height < 1 || (double)width * height > 178956970)
        return rl_fail("image: png: expected 1 to 178956970 pixels, got %d x %d", width, height);
    unsigned char *file = stbi_write_png_to_mem(rgb, 3 * width, width, height, 3, size);
    if (file) return file;
    return rl_fail("image: png: expected memory for %d x %d pixels, got none", width, height);
}
