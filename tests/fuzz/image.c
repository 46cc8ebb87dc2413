/* Picture files: what decodes is also limited, turned, resized and cut into patches. */
#include "rllava.h"
#include <stdlib.h>

enum { WIDTH = 56, HEIGHT = 28 };

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rl_image img;
    if (rl_image_decode(data, (double)size, "fuzz", &img)) return 0;
    if ((double)img.width * img.height <= 1 << 20) use(&img);
    rl_image_room_free(img.pixels);
    return 0;
}
