/* Drawing for the embedded tasks: lines, polygons, circles, a 5 x 7 font, in integers. */
#include "rllava.h"
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned char *rgb; int width, height, colour; } canvas;

static void dot(const canvas *c, int x, int y) {
    if (x < 0 || y < 0 || x >= c->width || y >= c->height) return;
    unsigned char *p = c->rgb + 3 * ((size_t)y * (size_t)c->width + (size_t)x);
    p[0] = (unsigned char)(c->colour >> 16), p[1] = (unsigned char)(c->colour >> 8), p[2] = (unsigned char)c->colour;
}

static void span(const canvas *c, int x0, int x1, int y) {
    for (int x = x0 < 0 ? 0 : x0; x < x1 && x < c->width; x++) dot(c, x, y);
}

void rl_draw_rect(unsigned char *rgb, int width, int height, int x, int y, int w, int h, int colour) {
    const canvas c = { rgb, width, height, colour };
    for (int i = 0; i < h; i++) span(&c, x, x + w, y + i);
}

void rl_draw_fill(unsigned char *rgb, int width, int height, int colour) {
    rl_draw_rect(rgb, width, height, 0, 0, width, height, colour);
}

/* Every pixel within thick / 2 of the segment: the distance is compared in squares, times the squared length. */
void rl_draw_line(unsigned char *rgb, int width, int height, int x0, int y0, int x1, int y1, int thick, int colour) {
    const canvas c = { rgb, width, height, colour };
    const int64_t dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy, reach = (int64_t)thick * thick;
    const int left = (x0 < x1 ? x0 : x1) - thick, right = (x0 > x1 ? x0 : x1) + thick;
    const int top = (y0 < y1 ? y0 : y1) - thick, bottom = (y0 > y1 ? y0 : y1) + thick;
    for (int y = top; y <= bottom; y++)
        for (int x = left; x <= right; x++) {
            const int64_t px = x - x0, py = y - y0, along = px * dx + py * dy, across = px * dy - py * dx;
            const int64_t qx = x - x1, qy = y - y1;
            if (along < 0 ? 4 * (px * px + py * py) <= reach
                : along > length ? 4 * (qx * qx + qy * qy) <= reach : 4 * across * across <= reach * length) dot(&c, x, y);
        }
}

static int rising(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

void rl_draw_polygon(unsigned char *rgb, int width, int height, const int *corners, int n, int colour) {
    const canvas c = { rgb, width, height, colour };
    int crossing[64];
    for (int y = 0; y < height; y++) {
        int found = 0;
        for (int i = 0; i < n && found < 64; i++) {
            const int *a = corners + 2 * i, *b = corners + 2 * ((i + 1) % n);
            if ((a[1] <= y) == (b[1] <= y)) continue;
            const int rise = b[1] - a[1], steps = (y - a[1]) * (b[0] - a[0]);
            crossing[found++] = a[0] + (steps * 2 / rise + (steps * 2 / rise >= 0 ? 1 : -1)) / 2;
        }
        qsort(crossing, (size_t)found, sizeof *crossing, rising);
        for (int i = 0; i + 1 < found; i += 2) span(&c, crossing[i], crossing[i + 1] + 1, y);
    }
}

void rl_draw_circle(unsigned char *rgb, int width, int height, int x, int y, int r, int thick, int colour) {
    const canvas c = { rgb, width, height, colour };
    const int inner = thick > 0 ? (r - thick) * (r - thick) : -1;
    for (int dy = -r; dy <= r; dy++)
        for (int dx = -r; dx <= r; dx++)
            if (dx * dx + dy * dy <= r * r && dx * dx + dy * dy > inner) dot(&c, x + dx, y + dy);
}

/* Rows from top to bottom, five bits each, the left dot highest. */
static const struct { char letter; unsigned char row[7]; } font[] = {
    { '0', { 14, 17, 19, 21, 25, 17, 14 } }, { '1', { 4, 12, 4, 4, 4, 4, 14 } }, { '2', { 14, 17, 1, 2, 4, 8, 31 } },
    { '3', { 31, 2, 4, 2, 1, 17, 14 } }, { '4', { 2, 6, 10, 18, 31, 2, 2 } }, { '5', { 31, 16, 30, 1, 1, 17, 14 } },
    { '6', { 6, 8, 16, 30, 17, 17, 14 } }, { '7', { 31, 1, 2, 4, 8, 8, 8 } }, { '8', { 14, 17, 17, 14, 17, 17, 14 } },
    { '9', { 14, 17, 17, 15, 1, 2, 12 } }, { '?', { 14, 17, 1, 2, 4, 0, 4 } }, { '+', { 0, 4, 4, 31, 4, 4, 0 } },
    { '-', { 0, 0, 0, 31, 0, 0, 0 } }, { '=', { 0, 0, 31, 0, 31, 0, 0 } }, { '.', { 0, 0, 0, 0, 0, 12, 12 } },
    { ',', { 0, 0, 0, 0, 12, 4, 8 } }, { ':', { 0, 12, 12, 0, 12, 12, 0 } }, { 'A', { 14, 17, 17, 31, 17, 17, 17 } },
    { 'B', { 30, 17, 17, 30, 17, 17, 30 } }, { 'C', { 14, 17, 16, 16, 16, 17, 14 } },
    { 'D', { 30, 17, 17, 17, 17, 17, 30 } },
    { 'E', { 31, 16, 16, 30, 16, 16, 31 } }, { 'F', { 31, 16, 16, 30, 16, 16, 16 } },
    { 'G', { 14, 17, 16, 23, 17, 17, 15 } },
    { 'H', { 17, 17, 17, 31, 17, 17, 17 } }, { 'I', { 14, 4, 4, 4, 4, 4, 14 } }, { 'J', { 7, 2, 2, 2, 2, 18, 12 } },
    { 'K', { 17, 18, 20, 24, 20, 18, 17 } }, { 'L', { 16, 16, 16, 16, 16, 16, 31 } },
    { 'M', { 17, 27, 21, 21, 17, 17, 17 } },
    { 'N', { 17, 17, 25, 21, 19, 17, 17 } }, { 'O', { 14, 17, 17, 17, 17, 17, 14 } },
    { 'P', { 30, 17, 17, 30, 16, 16, 16 } },
    { 'Q', { 14, 17, 17, 17, 21, 18, 13 } }, { 'R', { 30, 17, 17, 30, 20, 18, 17 } }, { 'S', { 15, 16, 16, 14, 1, 1, 30 } },
    { 'T', { 31, 4, 4, 4, 4, 4, 4 } }, { 'U', { 17, 17, 17, 17, 17, 17, 14 } }, { 'V', { 17, 17, 17, 17, 17, 10, 4 } },
    { 'W', { 17, 17, 17, 21, 21, 21, 10 } }, { 'X', { 17, 17, 10, 4, 10, 17, 17 } }, { 'Y', { 17, 17, 17, 10, 4, 4, 4 } },
    { 'Z', { 31, 1, 2, 4, 8, 16, 31 } },
};

void rl_draw_text(unsigned char *rgb, int width, int height, int x, int y, const char *text,
                  int scale, int advance, int colour) {
    for (; *text; text++, x += advance)
        for (size_t i = 0; i < sizeof font / sizeof *font; i++)
            for (int row = 0; font[i].letter == *text && row < 7; row++)
                for (int column = 0; column < 5; column++)
                    if (font[i].row[row] >> (4 - column) & 1)
                        rl_draw_rect(rgb, width, height, x + column * scale, y + row * scale, scale, scale, colour);
}
