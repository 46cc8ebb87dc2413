/* The machine's limits, measured: multiply-adds per second and bytes per second. */
#include "memory.h"

enum { RUNS = 40, ROUNDS = 400000, FLOATS = 1 << 26 };

/* Seconds of a task on the pool, the fastest of some runs. */
static double seconds(rl_task *task, void *arg) {
    double best = 1e9;
    for (int i = 0; i < RUNS; i++) {
        const double start = rl_clock();
        rl_pool_run(task, arg);
        const double t = rl_clock() - start;
        best = t < best ? t : best;
    }
    return best;
}

typedef struct { rl_dtype t; float *out; const float *x; } job;
static void multiply(void *arg, rl_part p) {
    const job *j = arg;
    rl_k->peak(p, j->t, j->out, ROUNDS);
}
static void stream(void *arg, rl_part p) {
    const job *j = arg;
    rl_k->stream(p, j->out, j->x, FLOATS);
}

static float *room_for_parts(void) {
    const int n = 16 * (1 + rl_pool_size());
    float *out = rl_alloc(4.0 * n);
    for (int i = 0; out && i < n; i++) out[i] = 0.5f;
    return out;
}

double rl_peak_flops(int dtype) {
    job j = { (rl_dtype)dtype, room_for_parts(), NULL };
    if (!j.out) return -1;
    const double t = seconds(multiply, &j);
    const double flop = (double)j.out[16] * ROUNDS * rl_pool_size();
    rl_alloc_free(j.out);
    return flop / t;
}

double rl_peak_bytes(void) {
    float *x = rl_alloc(4.0 * FLOATS);
    job j = { RL_F32, room_for_parts(), x };
    double t = -1;
    if (x && j.out) {
        for (int64_t i = 0; i < FLOATS; i++) x[i] = 1;
        t = seconds(stream, &j);
    }
    rl_alloc_free(x), rl_alloc_free(j.out);
    return t < 0 ? -1 : 4.0 * FLOATS / t;
}
