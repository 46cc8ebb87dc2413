/* Picture files: which format, decoding, transparency, orientation. */
#include "image.h"
#include <stdlib.h>
#include <string.h>

int rl_image_size_check(const rl_blob *file, double width, double height) {
    enum { MOST = 178956970 };          /* PIL's limit: twice 1024^3 / 4 / 3 */
    if (width < 1 || height < 1)
        return rl_image_refuse(file, "expected sides from 1, found %.0f x %.0f", width, height);
    if (width * height > MOST)
        return rl_image_refuse(file, "expected at most %d pixels, found %.0f x %.0f", MOST, width,
                               height);
    return 0;
}

/* An unsigned number of n bytes of a TIFF block. */
static uint32_t number(const uint8_t *p, int n, bool little) {
    uint32_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint32_t)p[i] << 8 * (little ? i : n - 1 - i);
    return v;
}

/* The first directory's entry 0x112: a SHORT; TIFF 6.0, section 2. */
int rl_exif_orientation(const uint8_t *data, size_t size) {
    if (size < 8 || (memcmp(data, "II*\0", 4) && memcmp(data, "MM\0*", 4))) return 1;
    const bool little = data[0] == 'I';
    const size_t at = number(data + 4, 4, little);
    if (at > size - 2) return 1;
    const size_t entries = number(data + at, 2, little);
    for (size_t i = 0; i < entries && at + 2 + 12 * (i + 1) <= size; i++) {
        const uint8_t *entry = data + at + 2 + 12 * i;
        if (number(entry, 2, little) != 0x112 || number(entry + 2, 2, little) != 3) continue;
        const uint32_t value = number(entry + 8, 2, little);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

static bool starts(const rl_blob *file, size_t at, const char *text, size_t n) {
    return file->size >= at + n && !memcmp(file->data + at, text, n);
}
#define STARTS(file, at, text) starts(file, at, text, sizeof text - 1)

/* What a file is that no decoder here reads. */
static const char *foreign(const rl_blob *file) {
    if (!file->size) return "an empty file";
    if (STARTS(file, 0, "RIFF") && STARTS(file, 8, "WEBP")) return "WebP";
    if (STARTS(file, 0, "II*\0") || STARTS(file, 0, "MM\0*")) return "TIFF";
    if (STARTS(file, 4, "ftypavif") || STARTS(file, 4, "ftypavis")) return "AVIF";
    if (STARTS(file, 4, "ftyp")) return "HEIC or a film";
    if (STARTS(file, 0, "\0\0\0\fjP  ") || STARTS(file, 0, "\xff\x4f\xff\x51")) return "JPEG 2000";
    if (STARTS(file, 0, "\xff\x0a") || STARTS(file, 0, "\0\0\0\fJXL ")) return "JPEG XL";
    if (STARTS(file, 0, "8BPS")) return "Photoshop";
    if (STARTS(file, 0, "%PDF")) return "PDF";
    for (size_t i = 0; i < file->size && i < 64; i++)
        if (file->data[i] < 9 || file->data[i] == 127) return "another format";
    return "text";
}

static int decode(const rl_blob *file, rl_image *out) {
    static const struct {
        const char *format, *start;
        size_t n;
        int (*decode)(const rl_blob *file, rl_image *out);
    } formats[] = {
        { "JPEG", "\xff\xd8", 2, rl_jpeg_decode }, { "PNG", "\x89PNG\r\n\x1a\n", 8, rl_png_decode },
        { "GIF", "GIF87a", 6, rl_gif_decode }, { "GIF", "GIF89a", 6, rl_gif_decode },
        { "BMP", "BM", 2, rl_bmp_decode },
    };
    *out = (rl_image){ .orientation = 1 };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (starts(file, 0, formats[i].start, formats[i].n)) {
            out->format = formats[i].format;
            return formats[i].decode(file, out);
        }
    return rl_image_refuse(file, "expected JPEG, PNG, GIF or BMP, found %s", foreign(file));
}

int rl_image_decode(const void *data, double size, const char *name, rl_image *out) {
    const rl_blob file = { data, (size_t)size, name };
    if (!decode(&file, out)) return 0;
    rl_image_room_free(out->pixels);
    *out = (rl_image){ 0 };
    return -1;
}

typedef struct { rl_image_file *files; int n; _Atomic int next; } queue;

static void take(void *arg, rl_part p) {
    queue *q = arg;
    for (int i; (i = q->next++) < q->n;) {
        rl_image_file *f = &q->files[i];
        const int status = rl_image_decode(f->data, f->size, f->name, &f->image);
        f->error = status ? strdup(rl_error()) : NULL;
    }
}

void rl_images_decode(rl_image_file *files, int n) {
    queue q = { files, n, 0 };
    rl_pool_run(take, &q);
}

void rl_image_opaque(const unsigned char *rgba, double count, int white, unsigned char *rgb) {
    for (size_t i = 0; i < (size_t)count; i++)
        for (int c = 0; c < 3; c++) {
            const uint32_t v = rgba[4 * i + (size_t)c], a = rgba[4 * i + 3];
            const uint32_t t = 128 * (v * a + 255 * (255 - a)) + (128 << 7);
            rgb[3 * i + (size_t)c] = (uint8_t)(white ? ((t >> 8) + t) >> 8 >> 7 : v);
        }
}

int rl_image_upright(const unsigned char *in, int width, int height, int channels, int orientation,
                     unsigned char *out) {
    if (orientation < 1 || orientation > 8)
        return rl_refuse("image: upright: expected orientation 1 to 8, got %d", orientation);
    /* read from the right, from below */
    static const bool right[9] = { [2] = 1, [3] = 1, [7] = 1, [8] = 1 };
    static const bool up[9] = { [3] = 1, [4] = 1, [6] = 1, [7] = 1 };
    const bool turned = orientation >= 5;
    const size_t w = (size_t)width, h = (size_t)height, n = (size_t)channels;
    for (size_t y = 0; y < (turned ? w : h); y++)
        for (size_t x = 0; x < (turned ? h : w); x++, out += n) {
            const size_t across = turned ? y : x, along = turned ? x : y;
            const size_t fx = right[orientation] ? w - 1 - across : across;
            const size_t fy = up[orientation] ? h - 1 - along : along;
            memcpy(out, in + (fy * w + fx) * n, n);
        }
    return 0;
}
