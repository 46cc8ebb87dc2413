/* JPEG by libjpeg: what it warns of as damage is refused, and nothing leaves by exit(). */
#include "image.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf out;
    const rl_blob *file;
    uint8_t *row;                       /* of a CMYK picture, freed on the way out */
} trouble;

static void refuse(j_common_ptr info) {
    trouble *t = (trouble *)info->err;
    char text[JMSG_LENGTH_MAX];
    t->base.format_message(info, text);
    const int code = t->base.msg_code;
    if (code == JWRN_JPEG_EOF || code == JERR_INPUT_EOF || code == JERR_INPUT_EMPTY)
        (void)rl_image_refuse(t->file, "JPEG: expected the picture's end, found a truncated file");
    else (void)rl_image_refuse(t->file, "JPEG: expected whole data, found damage: %s", text);
    longjmp(t->out, 1);
}

/* Warnings below 0 are damage, but for bytes to spare and odd marks of programs. */
static void warn(j_common_ptr info, int level) {
    switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA: case JWRN_ADOBE_XFORM: case JWRN_JFIF_MAJOR: case JWRN_TOO_MUCH_DATA:
        return;
    default:
        if (level < 0) refuse(info);
    }
}

/* A progressive file of endless scans would take endless time. */
static void watch(j_common_ptr info) {
    enum { SCANS = 200 };
    trouble *t = (trouble *)info->err;
    if (((j_decompress_ptr)info)->input_scan_number <= SCANS) return;
    (void)rl_image_refuse(t->file, "JPEG: expected at most %d scans, found more", SCANS);
    longjmp(t->out, 1);
}

/* Every CMYK file is taken as Adobe's, inverted; r = (255 - c)(255 - k) / 255 as PIL rounds it. */
static void cmyk_row(uint8_t *rgb, const uint8_t *cmyk, JDIMENSION width) {
    for (JDIMENSION x = 0; x < width; x++)
        for (int c = 0; c < 3; c++) {
            const int k = cmyk[4 * x + 3], t = (255 - cmyk[4 * x + (JDIMENSION)c]) * k + 128;
            const int v = k - (((t >> 8) + t) >> 8);
            rgb[3 * x + (JDIMENSION)c] = (uint8_t)(v < 0 ? 0 : v);
        }
}

static int orientation(j_decompress_ptr d) {
    for (jpeg_saved_marker_ptr m = d->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && !memcmp(m->data, "Exif\0\0", 6))
            return rl_exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

static int start(j_decompress_ptr d, const rl_blob *file, rl_image *out) {
    jpeg_mem_src(d, file->data, file->size);
    jpeg_save_markers(d, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(d, TRUE);
    if (rl_image_size_check(file, d->image_width, d->image_height)) return -1;
    if (d->num_components != 1 && d->num_components != 3 && d->num_components != 4)
        return rl_image_refuse(file, "JPEG: expected 1, 3 or 4 components, found %d",
                               d->num_components);
    d->out_color_space = d->num_components == 4 ? JCS_CMYK : JCS_RGB;
    out->width = (int)d->image_width, out->height = (int)d->image_height, out->channels = 3;
    out->orientation = orientation(d);
    return 0;
}

static int pixels(j_decompress_ptr d, trouble *t, rl_image *out) {
    const size_t stride = 3 * (size_t)out->width;
    out->pixels = rl_image_room((double)stride * out->height);
    t->row = malloc(4 * (size_t)out->width);
    if (!out->pixels || !t->row)
        return rl_image_refuse(t->file, "expected memory for %d x %d pixels, got none",
                               out->width, out->height);
    jpeg_start_decompress(d);
    while (d->output_scanline < d->output_height) {
        uint8_t *to = out->pixels + stride * d->output_scanline;
        if (d->out_color_space != JCS_CMYK) jpeg_read_scanlines(d, &to, 1);
        else jpeg_read_scanlines(d, &t->row, 1), cmyk_row(to, t->row, d->output_width);
    }
    jpeg_finish_decompress(d);
    return 0;
}

/* Everything that libjpeg may leave by a jump; the caller cleans up. */
static int attempt(j_decompress_ptr d, trouble *t, rl_image *out) {
    if (setjmp(t->out)) return -1;
    jpeg_create_decompress(d);
    return start(d, t->file, out) || pixels(d, t, out) ? -1 : 0;
}

int rl_jpeg_decode(const rl_blob *file, rl_image *out) {
    struct jpeg_progress_mgr progress = { .progress_monitor = watch };
    trouble t = { .file = file };
    struct jpeg_decompress_struct d = { .err = jpeg_std_error(&t.base), .progress = &progress };
    t.base.error_exit = refuse, t.base.emit_message = warn;
    const int status = attempt(&d, &t, out);
    jpeg_destroy_decompress(&d);
    free(t.row);
    return status;
}

typedef struct { unsigned char *bytes; unsigned long n; } encoded;

static int encode(j_compress_ptr c, trouble *t, encoded *file, const unsigned char *rgb, int width,
                  int height, int quality) {
    if (setjmp(t->out)) return -1;
    jpeg_create_compress(c);
    jpeg_mem_dest(c, &file->bytes, &file->n);
    c->image_width = (JDIMENSION)width, c->image_height = (JDIMENSION)height;
    c->input_components = 3, c->in_color_space = JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, quality, TRUE);
    jpeg_start_compress(c, TRUE);
    while (c->next_scanline < c->image_height) {
        JSAMPROW row = (JSAMPROW)(rgb + 3 * (size_t)width * c->next_scanline);
        jpeg_write_scanlines(c, &row, 1);
    }
    jpeg_finish_compress(c);
    return 0;
}

unsigned char *rl_image_jpeg(const unsigned char *rgb, int width, int height, int quality,
                             int *size) {
    if (width < 1 || height < 1 || width > 65500 || height > 65500 || quality < 1 || quality > 100)
        return rl_fail("image: jpeg: expected sides 1 to 65500, quality 1 to 100, got %d x %d, %d",
                       width, height, quality);
    const rl_blob none = { .name = "jpeg" };
    trouble t = { .file = &none };
    struct jpeg_compress_struct c = { .err = jpeg_std_error(&t.base) };
    t.base.error_exit = refuse;
    encoded file = { 0 };
    const int status = encode(&c, &t, &file, rgb, width, height, quality);
    jpeg_destroy_compress(&c);
    *size = (int)file.n;
    if (!status) return file.bytes;
    free(file.bytes);
    return NULL;
}
