/* Resampling as PIL does it: separable, antialiased, 22-bit weights, a byte between the two passes. */
#include "image.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights of one axis; see resample_rows. */
typedef struct { int32_t *start, *weight; int64_t taps; int n; bool needed; } axis;

struct rl_resample {
    const uint8_t *in;
    int width, height, channels;
    axis x, y;
    bool rows_first;
    uint8_t *middle, *out;
};

/* sin(pi x) / (pi x), 0 <= x < 3: the angle from the nearest integer, then its series to x^19. */
static double sinc(double x) {
    if (x == 0) return 1;
    const int whole = (int)(x + 0.5);
    const double pi = 3.14159265358979323846, r = (x - whole) * pi, q = r * r;
    double series = 1;
    for (int n = 9; n > 0; n--) series = 1 - q / (2 * n * (2 * n + 1)) * series;
    return (whole % 2 ? -r : r) * series / (x * pi);
}

static double cosine(double x) {                        /* cos(pi x), 0 <= x <= 1, as sin(pi (1/2 - x)) */
    const double half = x < 0.5 ? 0.5 - x : x - 0.5, value = sinc(half) * half * 3.14159265358979323846;
    return x < 0.5 ? value : -value;
}

static double kernel(int filter, double x) {
    if (filter == 4) return x > -0.5 && x <= 0.5;
    x = fabs(x);
    if (filter == 1) return x < 3 ? sinc(x) * sinc(x / 3) : 0;
    if (filter == 2) return x < 1 ? 1 - x : 0;
    if (filter == 5) return x < 1 ? sinc(x) * (0.54f + 0.46f * cosine(x)) : 0;
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;      /* bicubic, a = -1/2 */
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

/* Output i covers inputs [first, first + n): its weights sum to 1, then are rounded half away from zero. */
static int weights_of(int filter, int in, int out, int i, double *w, int *from) {
    static const double reach[] = { 0, 3, 1, 2, 0.5, 1 };
    const double scale = (double)in / out, wide = scale < 1 ? 1 : scale, support = reach[filter] * wide;
    const double centre = (i + 0.5) * scale, narrow = 1 / wide;
    const int first = centre - support + 0.5 < 0 ? 0 : (int)(centre - support + 0.5);
    const int last = centre + support + 0.5 > in ? in : (int)(centre + support + 0.5);
    double sum = 0;
    for (int k = first; w && k < last; k++) sum += w[k - first] = kernel(filter, (k - centre + 0.5) * narrow);
    for (int k = first; w && k < last; k++) w[k - first] = sum != 0 ? w[k - first] / sum : 0;
    *from = first;
    return last - first;
}

static int axis_fill(axis *a, int filter, int in, int out) {
    int most = 1, from;
    for (int i = 0; i < out && a->needed && filter; i++) {
        const int n = weights_of(filter, in, out, i, NULL, &from);
        if (n > most) most = n;
    }
    a->n = out, a->taps = most;
    a->start = malloc((size_t)out * sizeof *a->start);
    a->weight = calloc((size_t)out * (size_t)most, sizeof *a->weight);
    double *w = malloc((size_t)most * sizeof *w);
    if (!a->start || !a->weight || !w) return free(w), -1;
    const double scale = (double)in / out;
    double at = scale * 0.5;
    for (int i = 0; i < out; i++, at += scale) {
        int32_t *to = a->weight + (int64_t)i * most;
        if (most == 1 && (!filter || !a->needed)) { a->start[i] = a->needed ? (int)at : i, *to = 1 << 22; continue; }
        const int n = weights_of(filter, in, out, i, w, &from);
        const int shift = from + most > in ? from + most - in : 0;     /* taps never reach past the end */
        a->start[i] = from - shift;
        for (int k = 0; k < n; k++)
            to[k + shift] = (int32_t)(w[k] < 0 ? -0.5 + w[k] * (1 << 22) : 0.5 + w[k] * (1 << 22));
    }
    return free(w), 0;
}

rl_resample *rl_resample_new(const unsigned char *in, int width, int height, int channels, int out_width,
                             int out_height, int filter) {
    rl_resample *r = calloc(1, sizeof *r);
    if (!r) return rl_fail("image: resize: expected memory, got none");
    *r = (rl_resample){ .in = in, .width = width, .height = height, .channels = channels };
    r->x.needed = width != out_width, r->y.needed = height != out_height;
    r->rows_first = out_height < height && height - out_height > 2 * ((double)width - out_width);
    const size_t row = (size_t)channels * (size_t)(r->rows_first ? width : out_width);
    r->out = rl_image_room((double)channels * out_width * out_height);
    if (r->y.needed) r->middle = rl_image_room((double)row * (r->rows_first ? out_height : height));
    if (!r->out || (r->y.needed && !r->middle) || axis_fill(&r->x, filter, width, out_width) ||
        axis_fill(&r->y, filter, height, out_height)) {
        rl_resample_free(r);
        return rl_fail("image: resize: expected memory for %d x %d pixels, got none", out_width, out_height);
    }
    return r;
}

/* Rows first where the height shrinks by more than twice what the width does: PIL's order. */
void rl_resample_run(rl_resample *r, rl_part p) {
    const axis *x = &r->x, *y = &r->y;
    const int c = r->channels;
    if (!y->needed) {
        rl_k->resample_columns(p, r->out, r->in, r->height, r->width, c, x->start, x->weight, x->taps, x->n);
    } else if (r->rows_first) {
        rl_k->resample_rows(p, r->middle, r->in, (int64_t)c * r->width, y->start, y->weight, y->taps, y->n);
        rl_pool_meet(p);
        rl_k->resample_columns(p, r->out, r->middle, y->n, r->width, c, x->start, x->weight, x->taps, x->n);
    } else {
        rl_k->resample_columns(p, r->middle, r->in, r->height, r->width, c, x->start, x->weight, x->taps, x->n);
        rl_pool_meet(p);
        rl_k->resample_rows(p, r->out, r->middle, (int64_t)c * x->n, y->start, y->weight, y->taps, y->n);
    }
    rl_pool_meet(p);
}

const uint8_t *rl_resample_planes(const rl_resample *r) { return r->out; }

void rl_resample_free(rl_resample *r) {
    if (!r) return;
    free(r->x.start), free(r->x.weight), free(r->y.start), free(r->y.weight);
    rl_image_room_free(r->middle), rl_image_room_free(r->out), free(r);
}

/* a b / 255, rounded as PIL does. */
static int scaled(int a, int b) { const int t = a * b + 128; return ((t >> 8) + t) >> 8; }

static void alpha_in(uint8_t *to, const uint8_t *from, size_t count) {
    for (size_t i = 0; i < 4 * count; i += 4) {
        for (int c = 0; c < 3; c++) to[i + c] = (uint8_t)scaled(from[i + c], from[i + 3]);
        to[i + 3] = from[i + 3];
    }
}

static void alpha_out(uint8_t *rgba, size_t count) {
    for (size_t i = 0; i < 4 * count; i += 4)
        for (int c = 0, a = rgba[i + 3]; a > 0 && a < 255 && c < 3; c++) {
            const int v = 255 * rgba[i + c] / a;
            rgba[i + c] = (uint8_t)(v > 255 ? 255 : v);
        }
}

static void run(void *arg, rl_part p) { rl_resample_run(arg, p); }

int rl_image_resize(const unsigned char *in, int width, int height, int channels, unsigned char *out, int out_width,
                    int out_height, int filter) {
    if (width < 1 || height < 1 || out_width < 1 || out_height < 1 || channels < 1 || channels > 4 || filter < 0 || filter > 5)
        return rl_refuse("image: resize: expected sizes from 1, 1 to 4 channels, filters 0 to 5, got %d x %d x %d to "
                         "%d x %d by %d", width, height, channels, out_width, out_height, filter);
    const size_t count = (size_t)width * (size_t)height;
    const bool alpha = channels == 4 && filter;
    unsigned char *pre = alpha ? malloc(4 * count) : NULL;
    if (alpha && !pre) return rl_refuse("image: resize: expected memory for %d x %d pixels, got none", width, height);
    if (alpha) alpha_in(pre, in, count);
    rl_resample *r = rl_resample_new(alpha ? pre : in, width, height, channels, out_width, out_height, filter);
    if (r) {
        rl_pool_run(run, r);
        for (size_t y = 0; y < (size_t)out_height; y++)
            for (size_t c = 0; c < (size_t)channels; c++) {
                const uint8_t *from = r->out + (y * (size_t)channels + c) * (size_t)out_width;
                uint8_t *to = out + y * (size_t)channels * (size_t)out_width + c;
                for (size_t x = 0; x < (size_t)out_width; x++) to[x * (size_t)channels] = from[x];
            }
        if (alpha) alpha_out(out, (size_t)out_width * (size_t)out_height);
    }
    rl_resample_free(r), free(pre);
    return r ? 0 : -1;
}
