/* Resampling as PIL does it: separable, antialiased, 22-bit weights, bytes between two passes. */
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

/* cos(pi x), 0 <= x <= 1, as sin(pi (1/2 - x)). */
static double cosine(double x) {
    const double half = fabs(0.5 - x), sine = sinc(half) * half * 3.14159265358979323846;
    return x < 0.5 ? sine : -sine;
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

/* Output i covers n inputs from *from on -> n; w, if not NULL: their weights, of sum 1. */
static int weights_of(int filter, int in, int out, int i, double *w, int *from) {
    static const double reach[] = { 0, 3, 1, 2, 0.5, 1 };
    const double scale = (double)in / out, wide = scale < 1 ? 1 : scale, narrow = 1 / wide;
    const double support = reach[filter] * wide, centre = (i + 0.5) * scale;
    const int first = centre - support + 0.5 < 0 ? 0 : (int)(centre - support + 0.5);
    const int last = centre + support + 0.5 > in ? in : (int)(centre + support + 0.5);
    double sum = 0;
    for (int k = first; w && k < last; k++)
        sum += w[k - first] = kernel(filter, (k - centre + 0.5) * narrow);
    for (int k = first; w && k < last; k++) w[k - first] = sum != 0 ? w[k - first] / sum : 0;
    *from = first;
    return last - first;
}

/* Single inputs, the nearest, or where a pass is not needed the same. */
static void axis_single(axis *a, int in, int out) {
    const double scale = (double)in / out;
    double at = scale * 0.5;
    for (int i = 0; i < out; i++, at += scale) a->start[i] = (int)at, a->weight[i] = 1 << 22;
}

/* Weights are rounded half away from zero.  -1: no memory. */
static int axis_fill(axis *a, int filter, int in, int out) {
    const bool single = !filter || !a->needed;
    int most = 1, from;
    for (int i = 0; i < out && !single; i++) {
        const int n = weights_of(filter, in, out, i, NULL, &from);
        if (n > most) most = n;
    }
    a->n = out, a->taps = most;
    a->start = malloc((size_t)out * sizeof *a->start);
    a->weight = calloc((size_t)out * (size_t)most, sizeof *a->weight);
    double *w = malloc((size_t)most * sizeof *w);
    const bool whole = a->start && a->weight && w;
    if (whole && single) axis_single(a, in, out);
    for (int i = 0; i < out && whole && !single; i++) {
        const int n = weights_of(filter, in, out, i, w, &from);
        const int shift = from + most > in ? from + most - in : 0;      /* never past the end */
        int32_t *to = a->weight + (int64_t)i * most + shift;
        a->start[i] = from - shift;
        for (int k = 0; k < n; k++)
            to[k] = (int32_t)(w[k] < 0 ? -0.5 + w[k] * (1 << 22) : 0.5 + w[k] * (1 << 22));
    }
    free(w);
    return whole ? 0 : -1;
}

rl_resample *rl_resample_new(const unsigned char *in, int width, int height, int channels,
                             int out_width, int out_height, int filter) {
    rl_resample *r = calloc(1, sizeof *r);
    if (!r) return rl_fail("image: resize: expected memory, got none");
    *r = (rl_resample){ .in = in, .width = width, .height = height, .channels = channels };
    r->x.needed = width != out_width, r->y.needed = height != out_height;
    const double less_wide = (double)width - out_width, less_high = (double)height - out_height;
    r->rows_first = less_high > 0 && less_high > 2 * less_wide;
    r->out = rl_image_room((double)channels * out_width * out_height);
    if (r->y.needed && r->rows_first)
        r->middle = rl_image_room((double)channels * width * out_height);
    else if (r->y.needed) r->middle = rl_image_room((double)channels * out_width * height);
    if (!r->out || (r->y.needed && !r->middle) || axis_fill(&r->x, filter, width, out_width) ||
        axis_fill(&r->y, filter, height, out_height)) {
        rl_resample_free(r);
        return rl_fail("image: resize: expected memory for %d x %d pixels, got none", out_width,
                       out_height);
    }
    return r;
}

static void columns(rl_resample *r, rl_part p, uint8_t *out, const uint8_t *in, int height) {
    const axis *x = &r->x;
    rl_k->resample_columns(p, out, in, height, r->width, r->channels, x->start, x->weight,
                           x->taps, x->n);
}

/* width: bytes of a row. */
static void rows(rl_resample *r, rl_part p, uint8_t *out, const uint8_t *in, int64_t width) {
    const axis *y = &r->y;
    rl_k->resample_rows(p, out, in, width, y->start, y->weight, y->taps, y->n);
}

/* PIL's order: rows first where the height shrinks, by more than twice what the width does. */
void rl_resample_run(rl_resample *r, rl_part p) {
    if (!r->y.needed) columns(r, p, r->out, r->in, r->height);
    else if (r->rows_first) {
        rows(r, p, r->middle, r->in, (int64_t)r->channels * r->width);
        rl_pool_meet(p);
        columns(r, p, r->out, r->middle, r->y.n);
    } else {
        columns(r, p, r->middle, r->in, r->height);
        rl_pool_meet(p);
        rows(r, p, r->out, r->middle, (int64_t)r->channels * r->x.n);
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

/* [height, channels, width] -> [height, width, channels] */
static void interleave(uint8_t *out, const uint8_t *planes, int width, int height, int channels) {
    const size_t w = (size_t)width, c = (size_t)channels;
    for (size_t line = 0; line < (size_t)height * c; line++) {
        uint8_t *to = out + line / c * w * c + line % c;
        for (size_t x = 0; x < w; x++) to[x * c] = planes[line * w + x];
    }
}

int rl_image_resize(const unsigned char *in, int width, int height, int channels,
                    unsigned char *out, int out_width, int out_height, int filter) {
    if (width < 1 || height < 1 || out_width < 1 || out_height < 1 || channels < 1 ||
        channels > 4 || filter < 0 || filter > 5)
        return rl_refuse("image: resize: expected sizes from 1, 1 to 4 channels, filters 0 to 5, "
                         "got %d x %d x %d to %d x %d by %d", width, height, channels, out_width,
                         out_height, filter);
    const size_t count = (size_t)width * (size_t)height;
    const bool same = width == out_width && height == out_height;
    const bool alpha = channels == 4 && filter && !same;
    unsigned char *pre = alpha ? rl_image_room(4 * (double)count) : NULL;
    if (alpha && !pre) return -1;
    if (alpha) alpha_in(pre, in, count);
    rl_resample *r = rl_resample_new(alpha ? pre : in, width, height, channels, out_width,
                                     out_height, filter);
    if (r) {
        rl_pool_run(run, r);
        interleave(out, r->out, out_width, out_height, channels);
        if (alpha) alpha_out(out, (size_t)out_width * (size_t)out_height);
    }
    rl_resample_free(r);
    rl_image_room_free(pre);
    return r ? 0 : -1;
}
