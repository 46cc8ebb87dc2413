/* Picture files: what decodes is also turned, resized and cut into patches.  The checksums of a PNG
 * are made right, so that what lies behind them is read. */
#include "rllava.h"
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 56, HEIGHT = 28 };

static uint32_t crc32(const uint8_t *p, size_t n) {
    uint32_t c = ~0u;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}

static void mend(uint8_t *png, size_t size) {
    for (size_t at = 8; at + 12 <= size;) {
        uint8_t *p = png + at;
        const size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (n > size - at - 12) return;
        const uint32_t c = __builtin_bswap32(crc32(p + 4, n + 4));
        memcpy(p + 8 + n, &c, 4);
        at += 12 + n;
    }
}

static void use(const rl_image *img) {
    const size_t count = (size_t)img->width * (size_t)img->height;
    unsigned char *other = malloc(4 * count), small[4 * WIDTH * HEIGHT];
    static float patches[6 * WIDTH * HEIGHT];
    const double mean[] = { 0.5, 0.5, 0.5 }, std[] = { 0.25, 0.25, 0.25 };
    if (other && img->channels == 4) rl_image_opaque(img->pixels, (double)count, 1, other);
    if (other)
        rl_image_upright(img->pixels, img->width, img->height, img->channels, img->orientation,
                         other);
    free(other);
    if (!rl_image_resize(img->pixels, img->width, img->height, img->channels, small, WIDTH, HEIGHT,
                         3) && img->channels == 3)
        rl_image_patches(small, WIDTH, HEIGHT, 14, 2, 2, mean, std, patches);
}

static void read(const uint8_t *data, size_t size) {
    rl_image img;
    if (rl_image_decode(data, (double)size, "fuzz", &img)) return;
    if ((double)img.width * img.height <= 1 << 20) use(&img);
    rl_image_room_free(img.pixels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read(data, size);
    if (size < 8 || memcmp(data, "\x89PNG", 4)) return 0;
    uint8_t *png = malloc(size);
    if (png) memcpy(png, data, size), mend(png, size), read(png, size);
    free(png);
    return 0;
}
