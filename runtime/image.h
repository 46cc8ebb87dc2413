/* What the picture files share: what a decoder is given, and the resampling of one picture. */
#ifndef RL_IMAGE_H
#define RL_IMAGE_H
#include "runtime.h"

/* A file in memory; name is for messages. */
typedef struct { const uint8_t *data; size_t size; const char *name; } rl_blob;

/* "NAME: image: ...", as rl_refuse. */
#define rl_image_refuse(file, format, ...) \
    rl_refuse("%s: image: " format, (file)->name, ##__VA_ARGS__)

/* Refuses sizes below 1 and beyond the limit of pixels, which is PIL's. */
int rl_image_size_check(const rl_blob *file, double width, double height);
/* Orientation 1 to 8 of an EXIF block, from its byte order mark on; 1 where it says nothing. */
int rl_exif_orientation(const uint8_t *data, size_t size);

/* Decoders: pixels with 3 channels, or 4 where the file has transparency; 0, or -1 refused. */
int rl_jpeg_decode(const rl_blob *file, rl_image *out);
int rl_png_decode(const rl_blob *file, rl_image *out);
int rl_gif_decode(const rl_blob *file, rl_image *out);
int rl_bmp_decode(const rl_blob *file, rl_image *out);

/* A picture and its resampling to planes [out_height, channels, out_width]; in must outlive it.
 * run: part p of it, after which all parts have met. */
typedef struct rl_resample rl_resample;
rl_resample *rl_resample_new(const unsigned char *in, int width, int height, int channels,
                             int out_width, int out_height, int filter);
void rl_resample_run(rl_resample *r, rl_part p);
const uint8_t *rl_resample_planes(const rl_resample *r);
void rl_resample_free(rl_resample *r);

#endif
