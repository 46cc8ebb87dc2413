/* From pixels to the rows that a vision tower reads. */
#include "runtime.h"
#include <string.h>

int rl_image_patches(const unsigned char *rgb, int width, int height, int patch, int merge, int times,
                     const double *mean, const double *std, float *out) {
    const int side = patch * merge;
    if (width < side || height < side || width % side || height % side)
        return rl_refuse("image: patches: expected sides that are multiples of %d, got %d x %d", side, width, height);
    float value[3][256];
    for (int c = 0; c < 3; c++)
        for (int b = 0; b < 256; b++)
            value[c][b] = ((float)b * (float)(1. / 255) - (float)mean[c]) / (float)std[c];
    const size_t plane = (size_t)patch * (size_t)patch;
    for (int by = 0; by < height; by += side)
        for (int bx = 0; bx < width; bx += side)
            for (int k = 0; k < merge * merge; k++, out += 3 * (size_t)times * plane)
                for (int c = 0; c < 3; c++) {
                    const int y0 = by + k / merge * patch, x0 = bx + k % merge * patch;
                    float *to = out + (size_t)c * (size_t)times * plane;
                    for (int y = 0; y < patch; y++)
                        for (int x = 0; x < patch; x++)
                            to[y * patch + x] = value[c][rgb[3 * ((size_t)(y0 + y) * (size_t)width + (size_t)(x0 + x)) + (size_t)c]];
                    for (int t = 1; t < times; t++) memcpy(to + (size_t)t * plane, to, 4 * plane);
                }
    return 0;
}
