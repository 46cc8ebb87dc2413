/* From pixels to what a vision tower reads: rows of patches, or planes. */
#include "image.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    const rl_image_task *tasks;
    const rl_image_rule *rule;
    int n;
    rl_resample **resample;             /* one a picture */
    float *lines;                       /* scratch of the kernel, line_room floats a thread */
    size_t line_room;
    float mean[3], std[3];
} job;

/* value[b]: the number that byte b of channel c becomes. */
static void values(const job *j, int c, float *value) {
    for (int b = 0; b < 256; b++)
        value[b] = ((float)(b * j->rule->scale) - j->mean[c]) / j->std[c];
}

/* in [h, 3, w] -> out [3, crop_height, crop_width] about the centre; outside lies byte 0. */
static void planes(rl_part p, const job *j, const rl_image_task *t, const uint8_t *in) {
    const int h = t->out_height, w = t->out_width;
    const int rows = t->crop_height ? t->crop_height : h, cols = t->crop_width ? t->crop_width : w;
    const int top = (h - rows) >> 1, left = (w - cols) >> 1;           /* floor, below 0 too */
    const int64_t last = (int64_t)rows * (p.i + 1) / p.n;
    for (int c = 0; c < 3; c++) {
        float value[256];
        values(j, c, value);
        for (int64_t y = (int64_t)rows * p.i / p.n; y < last; y++) {
            float *to = t->out + ((int64_t)c * rows + y) * cols;
            const bool inside = y + top >= 0 && y + top < h;
            const uint8_t *from = inside ? in + ((y + top) * 3 + c) * w : in;
            for (int x = 0; x < cols; x++) {
                const bool hit = inside && x + left >= 0 && x + left < w;
                to[x] = value[hit ? from[x + left] : 0];
            }
        }
    }
}

/* Picture i, part p of it, on a thread. */
static void prepare(const job *j, int i, rl_part p, int thread) {
    const rl_image_task *t = &j->tasks[i];
    const rl_image_rule *rule = j->rule;
    rl_resample_run(j->resample[i], p);
    const uint8_t *in = rl_resample_planes(j->resample[i]);
    if (!rule->patch) planes(p, j, t, in);
    else
        rl_k->patches(p, t->out, j->lines + (size_t)thread * j->line_room, in, t->out_height,
                      t->out_width, rule->patch, rule->merge, rule->times, rule->scale, j->mean,
                      j->std);
}

/* Whole pictures to each thread, as long as there are enough of them. */
static void share(void *arg, rl_part p) {
    const job *j = arg;
    const int whole = j->n - j->n % p.n;
    for (int i = p.i; i < whole; i += p.n) prepare(j, i, (rl_part){ 0, 1 }, p.i);
    for (int i = whole; i < j->n; i++) prepare(j, i, p, p.i);
}

static int task_check(const rl_image_task *t, const rl_image_rule *rule) {
    const int side = rule->patch * rule->merge;
    if (t->width < 1 || t->height < 1 || t->out_width < 1 || t->out_height < 1 ||
        t->crop_width < 0 || t->crop_height < 0)
        return rl_refuse("image: prepare: expected sizes from 1, got %d x %d to %d x %d",
                         t->width, t->height, t->out_width, t->out_height);
    if (rule->patch && (side < 1 || t->out_width % side || t->out_height % side))
        return rl_refuse("image: patches: expected sides that are multiples of %d, got %d x %d",
                         side, t->out_width, t->out_height);
    return 0;
}

/* Everything that may be refused, before the threads start. */
static int plan(job *j) {
    const rl_image_rule *rule = j->rule;
    j->resample = calloc((size_t)j->n + 1, sizeof *j->resample);
    if (!j->resample) return rl_refuse("image: prepare: expected memory, got none");
    for (int i = 0; i < j->n; i++) {
        const rl_image_task *t = &j->tasks[i];
        if (task_check(t, rule)) return -1;
        j->resample[i] = rl_resample_new(t->rgb, t->width, t->height, 3, t->out_width,
                                         t->out_height, rule->filter);
        if (!j->resample[i]) return -1;
        const size_t room = 3 * (size_t)(rule->patch * rule->merge) * (size_t)t->out_width;
        if (room > j->line_room) j->line_room = room;
    }
    j->lines = rl_image_room(4. * (double)j->line_room * rl_pool_size());
    return j->lines ? 0 : -1;
}

int rl_images_prepare(const rl_image_task *tasks, int n, const rl_image_rule *rule) {
    job j = { .tasks = tasks, .rule = rule, .n = n };
    for (int c = 0; c < 3; c++) j.mean[c] = (float)rule->mean[c], j.std[c] = (float)rule->std[c];
    const int status = plan(&j);
    if (!status) rl_pool_run(share, &j);
    for (int i = 0; j.resample && i < n; i++) rl_resample_free(j.resample[i]);
    free(j.resample);
    rl_image_room_free(j.lines);
    return status;
}

int rl_image_patches(const unsigned char *rgb, int width, int height, int patch, int merge,
                     int times, const double *mean, const double *std, float *out) {
    const rl_image_task task = { rgb, width, height, width, height, .out = out };
    rl_image_rule rule = { .patch = patch, .merge = merge, .times = times, .scale = 1. / 255 };
    memcpy(rule.mean, mean, sizeof rule.mean);
    memcpy(rule.std, std, sizeof rule.std);
    if (patch < 1)
        return rl_refuse("image: patches: expected a patch of 1 pixel or more, got %d", patch);
    return rl_images_prepare(&task, 1, &rule);
}
