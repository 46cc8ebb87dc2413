/* Smooth drawing: shapes with soft edges and shading.  Sixteen samples a pixel, all in integers. */
#include "rllava.h"
#include <stdbool.h>
#include <stddef.h>

/* Coordinates are eighths of a pixel: pixel x covers 8 x to 8 x + 8, sampled at 8 x + 1, 3, 5, 7. */
typedef struct figure {
    bool (*inside)(const struct figure *f, int64_t x, int64_t y);
    const int *corners;                 /* polygon: x, y in turn */
    int n;
    int64_t x, y, rx, ry;               /* ellipse: centre, radii; line: one end, way to the other */
    int64_t thick;
    int left, top, right, bottom;
} figure;

static int clip(int v, int high) { return v < 0 ? 0 : v > high ? high : v; }

/* How far from lit to dark, 0 to 256. */
static int shade(const rl_brush *b, int64_t x, int64_t y) {
    int64_t t = 0;
    if (b->rx > 0) t += 256 * (x - b->x) * (x - b->x) / ((int64_t)b->rx * b->rx);
    if (b->ry > 0) t += 256 * (y - b->y) * (y - b->y) / ((int64_t)b->ry * b->ry);
    return t > 256 ? 256 : (int)t;
}

/* dark: 0 to 256; cover: 0 to 4096. */
static void blend(unsigned char *pixel, const rl_brush *b, int dark, int cover) {
    for (int i = 0; i < 3; i++) {
        const int shift = 16 - 8 * i, from = b->lit >> shift & 255, to = b->dark >> shift & 255;
        const int64_t colour = from * (256 - dark) + to * dark, old = pixel[i] * 256;
        pixel[i] = (unsigned char)((old * (4096 - cover) + colour * cover + (1 << 19)) >> 20);
    }
}

static int samples(const figure *f, int x, int y) {
    int n = 0;
    for (int i = 0; i < 16; i++)
        n += f->inside(f, 8 * x + 1 + 2 * (i & 3), 8 * y + 1 + 2 * (i >> 2));
    return n;
}

static void fill(unsigned char *rgb, int width, int height, const figure *f, const rl_brush *b) {
    const int x1 = clip((f->right >> 3) + 1, width), y1 = clip((f->bottom >> 3) + 1, height);
    for (int y = clip(f->top >> 3, height); y < y1; y++)
        for (int x = clip(f->left >> 3, width); x < x1; x++) {
            const int cover = samples(f, x, y) * b->opacity;
            unsigned char *pixel = rgb + 3 * ((size_t)y * (size_t)width + (size_t)x);
            if (cover) blend(pixel, b, shade(b, 8 * x + 4, 8 * y + 4), cover);
        }
}

static bool inside_polygon(const figure *f, int64_t x, int64_t y) {
    bool in = false;
    for (int i = 0, j = f->n - 1; i < f->n; j = i++) {
        const int *a = f->corners + 2 * i, *b = f->corners + 2 * j;
        if ((a[1] > y) == (b[1] > y)) continue;
        const int64_t side = (x - a[0]) * (b[1] - a[1]) - (y - a[1]) * (b[0] - a[0]);
        in ^= b[1] > a[1] ? side < 0 : side > 0;
    }
    return in;
}

void rl_draw_smooth_polygon(unsigned char *rgb, int width, int height, const int *corners, int n,
                            const rl_brush *brush) {
    if (n < 3) return;
    figure f = { inside_polygon, corners, n };
    f.left = f.right = corners[0], f.top = f.bottom = corners[1];
    for (int i = 1; i < n; i++) {
        const int x = corners[2 * i], y = corners[2 * i + 1];
        if (x < f.left) f.left = x;
        if (x > f.right) f.right = x;
        if (y < f.top) f.top = y;
        if (y > f.bottom) f.bottom = y;
    }
    fill(rgb, width, height, &f, brush);
}

static bool inside_ellipse(const figure *f, int64_t x, int64_t y) {
    const int64_t dx = (x - f->x) * f->ry, dy = (y - f->y) * f->rx, r = f->rx * f->ry;
    return dx * dx + dy * dy <= r * r;
}

void rl_draw_smooth_ellipse(unsigned char *rgb, int width, int height, int x, int y, int rx, int ry,
                            const rl_brush *brush) {
    const figure f = { inside_ellipse, .x = x, .y = y, .rx = rx, .ry = ry,
                       .left = x - rx, .right = x + rx, .top = y - ry, .bottom = y + ry };
    fill(rgb, width, height, &f, brush);
}

/* Within thick / 2 of the segment, compared in squares as in rl_draw_line. */
static bool inside_line(const figure *f, int64_t x, int64_t y) {
    const int64_t px = x - f->x, py = y - f->y, qx = px - f->rx, qy = py - f->ry;
    const int64_t length = f->rx * f->rx + f->ry * f->ry, reach = f->thick * f->thick;
    const int64_t along = px * f->rx + py * f->ry, across = px * f->ry - py * f->rx;
    if (along < 0) return 4 * (px * px + py * py) <= reach;
    if (along > length) return 4 * (qx * qx + qy * qy) <= reach;
    return 4 * across * across <= reach * length;
}

void rl_draw_smooth_line(unsigned char *rgb, int width, int height, int x0, int y0, int x1, int y1,
                         int thick, const rl_brush *brush) {
    const figure f = { inside_line, .x = x0, .y = y0, .rx = x1 - x0, .ry = y1 - y0, .thick = thick,
                       .left = (x0 < x1 ? x0 : x1) - thick, .right = (x0 > x1 ? x0 : x1) + thick,
                       .top = (y0 < y1 ? y0 : y1) - thick,
                       .bottom = (y0 > y1 ? y0 : y1) + thick };
    fill(rgb, width, height, &f, brush);
}
