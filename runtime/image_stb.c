/* PNG, GIF and BMP by stb_image, which trusts its input: what a file claims is checked here first. */
#include "image.h"
#include <stdlib.h>
#include <string.h>

/* No more memory than a picture of the header's size can need, whatever its compressed data says. */
static _Thread_local size_t room;
static void *resize(void *p, size_t size) { return size > room ? NULL : realloc(p, size); }

#pragma GCC diagnostic ignored "-Wunused-function"      /* stb declares more than these choices define */
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

static uint32_t big(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

/* The checked file -> pixels with 3 channels, or 4 where alpha is asked for. */
static int decode(const rl_blob *file, rl_image *out, bool alpha) {
    int width, height, found;
    if (file->size > 0x7fffffff)
        return rl_refuse("%s: image: expected less than 2 GiB, found %zu bytes", file->name, file->size);
    room = 16 * (size_t)out->width * (size_t)out->height + 2 * file->size + (1 << 20);
    out->channels = alpha ? 4 : 3;
    out->pixels = stbi_load_from_memory(file->data, (int)file->size, &width, &height, &found, out->channels);
    if (!out->pixels)
        return rl_refuse("%s: image: %s: expected whole data, found damage: %s", file->name, out->format, stbi_failure_reason());
    if (width != out->width || height != out->height)
        return rl_refuse("%s: image: %s: expected %d x %d, found %d x %d", file->name, out->format, out->width, out->height,
                         width, height);
    return 0;
}

static int truncated(const rl_blob *file, const rl_image *out) {
    return rl_refuse("%s: image: %s: expected the end of the picture, found a truncated file of %zu bytes", file->name,
                     out->format, file->size);
}

/* ---- PNG: ISO/IEC 15948 ---- */

static uint32_t crc_of[256];
__attribute__((constructor)) static void crc_table(void) {
    for (uint32_t b = 0; b < 256; b++) {
        crc_of[b] = b;
        for (int k = 0; k < 8; k++) crc_of[b] = crc_of[b] & 1 ? 0xedb88320u ^ crc_of[b] >> 1 : crc_of[b] >> 1;
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
    static const uint8_t depths[7] = { 1 | 2 | 4 | 8 | 16, 0, 8 | 16, 1 | 2 | 4 | 8, 8 | 16, 0, 8 | 16 };
    if (n != 13) return rl_refuse("%s: image: PNG: IHDR: expected 13 bytes, found %zu", file->name, n);
    s->header = true, s->depth = p[8], s->colour = p[9];
    const bool known = s->colour < 7 && s->depth <= 16 && (depths[s->colour] & s->depth) && !(s->depth & (s->depth - 1));
    if (!known || p[10] || p[11] || p[12] > 1)
        return rl_refuse("%s: image: PNG: IHDR: expected depth, colour type, methods of the standard, found %d, %d, "
                         "%d %d %d", file->name, p[8], p[9], p[10], p[11], p[12]);
    if (rl_image_size_check(file, big(p), big(p + 4))) return -1;
    out->width = (int)big(p), out->height = (int)big(p + 4);
    out->coarse = s->colour == 3 || s->depth == 1;
    return 0;
}

/* One chunk of n bytes at p; type names it. */
static int png_chunk(const rl_blob *file, const char *type, const uint8_t *p, size_t n, rl_image *out, png *s) {
    if (!strcmp(type, "IHDR") == s->header)
        return rl_refuse("%s: image: PNG: expected one IHDR in front, found %s", file->name, type);
    if (!s->header) return png_header(file, p, n, out, s);
    if (!strcmp(type, "PLTE")) s->palette = true;
    if (!strcmp(type, "tRNS")) s->clear = true;
    if (!strcmp(type, "eXIf")) out->orientation = rl_exif_orientation(p, n);
    if (!strcmp(type, "IDAT")) s->data = true;
    if (s->data && s->colour == 3 && !s->palette)
        return rl_refuse("%s: image: PNG: expected PLTE before the data of a palette picture, found none", file->name);
    return 0;
}

int rl_png_decode(const rl_blob *file, rl_image *out) {
    png s = { 0 };
    for (size_t at = 8, n; ; at += 12 + n) {
        if (file->size - at < 12) return truncated(file, out);
        const uint8_t *p = file->data + at;
        n = big(p);
        if (n > file->size - at - 12) return truncated(file, out);
        char type[5] = { 0 };
        for (int i = 0; i < 4; i++) type[i] = p[4 + i] >= 'A' && p[4 + i] <= 'z' ? (char)p[4 + i] : '?';
        if (crc32(p + 4, n + 4) != big(p + 8 + n))
            return rl_refuse("%s: image: PNG: %s at byte %zu: expected checksum %08x, found %08x", file->name, type, at,
                             big(p + 8 + n), crc32(p + 4, n + 4));
        if (png_chunk(file, type, p + 8, n, out, &s)) return -1;
        if (!strcmp(type, "IEND")) break;
    }
    if (!s.data) return rl_refuse("%s: image: PNG: expected IDAT, found none", file->name);
    return decode(file, out, s.clear || s.colour & 4);
}

/* ---- GIF89a ---- */

/* The place behind a run of data blocks; 0: it has no end. */
static size_t gif_blocks(const rl_blob *file, size_t at) {
    while (at < file->size && file->data[at]) at += 1 + (size_t)file->data[at];
    return at < file->size ? at + 1 : 0;
}

static size_t gif_palette(int flags) { return flags & 0x80 ? (size_t)3 << ((flags & 7) + 1) : 0; }

int rl_gif_decode(const rl_blob *file, rl_image *out) {
    const uint8_t *d = file->data;
    if (file->size < 13) return truncated(file, out);
    if (rl_image_size_check(file, little(d + 6, 2), little(d + 8, 2))) return -1;
    out->width = (int)little(d + 6, 2), out->height = (int)little(d + 8, 2), out->coarse = 1;
    bool clear = false;
    for (size_t at = 13 + gif_palette(d[10]); at + 10 <= file->size;) {
        if (d[at] == 0x21) {
            if (d[at + 1] == 0xf9) clear = d[at + 2] == 4 && d[at + 3] & 1;
            if (!(at = gif_blocks(file, at + 2))) break;
        } else if (d[at] == 0x2c) {
            if (!gif_blocks(file, at + 11 + gif_palette(d[at + 9]))) break;
            return decode(file, out, clear);
        } else if (d[at]) {
            return rl_refuse("%s: image: GIF: byte %zu: expected a frame or an extension, found %d", file->name, at, d[at]);
        } else at++;
    }
    return truncated(file, out);
}

/* ---- BMP ---- */

/* Pixels of up to 8 bits name colours of the palette; stride in bytes. */
static int bmp_colours(const rl_blob *file, const uint8_t *pixels, size_t stride, int height, int width, int bits, size_t colours) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const size_t bit = (size_t)x * (size_t)bits;
            const size_t v = pixels[(size_t)y * stride + bit / 8] >> (8 - (size_t)bits - bit % 8) & ((1u << bits) - 1);
            if (v >= colours)
                return rl_refuse("%s: image: BMP: expected colours below %zu, found %zu", file->name, colours, v);
        }
    return 0;
}

/* Is the palette black to white in even order? */
static bool bmp_grey(const uint8_t *palette, size_t colours, size_t entry) {
    for (size_t i = 0; i < colours; i++)
        for (size_t c = 0; c < 3; c++)
            if (palette[i * entry + c] != i) return false;
    return colours == 256;
}

int rl_bmp_decode(const rl_blob *file, rl_image *out) {
    const uint8_t *d = file->data;
    if (file->size < 26) return truncated(file, out);
    const size_t offset = little(d + 10, 4), head = little(d + 14, 4);
    if (head != 12 && head < 40)
        return rl_refuse("%s: image: BMP: expected a header of 12 or 40 bytes or more, found %zu", file->name, head);
    if (file->size < 14 + head) return truncated(file, out);
    const bool old = head == 12;
    const int32_t w = (int32_t)little(d + 18, old ? 2 : 4), h = (int32_t)little(d + (old ? 20 : 22), old ? 2 : 4);
    const int bits = (int)little(d + (old ? 24 : 28), 2), packed = old ? 0 : (int)little(d + 30, 4);
    if (rl_image_size_check(file, w, h < 0 ? -(double)h : (double)h)) return -1;
    out->width = w, out->height = h < 0 ? -h : h;
    if ((packed && packed != 3) || (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32))
        return rl_refuse("%s: image: BMP: expected plain pixels of 1 to 32 bits, found %d bits, compression %d", file->name, bits, packed);
    const size_t stride = ((size_t)w * (size_t)bits + 31) / 32 * 4, entry = old ? 3 : 4;
    if (offset < 14 + head || offset > file->size || stride * (size_t)out->height > file->size - offset) return truncated(file, out);
    const size_t colours = (offset - 14 - head) / entry;
    if (bits <= 8 && bmp_colours(file, d + offset, stride, out->height, out->width, bits, colours)) return -1;
    out->coarse = bits == 1 || (bits <= 8 && !bmp_grey(d + 14 + head, colours, entry));
    return decode(file, out, packed == 3 && bits == 32 && head >= 56 && little(d + 66, 4));
}

unsigned char *rl_image_png(const unsigned char *rgb, int width, int height, int *size) {
    if (width < 1 || height < 1 || (double)width * height > 178956970)
        return rl_fail("image: png: expected 1 to 178956970 pixels, got %d x %d", width, height);
    unsigned char *file = stbi_write_png_to_mem(rgb, 3 * width, width, height, 3, size);
    return file ? file : rl_fail("image: png: expected memory for %d x %d pixels, got none", width, height);
}
