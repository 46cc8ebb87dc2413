/* Drawing tokens from rows of logits. */
#include "philox.h"
#include "row.h"
#include <stdlib.h>

typedef struct { float p; int32_t id; } choice;

static int by_probability(const void *x, const void *y) {
    const choice *a = x, *b = y;
    return a->p != b->p ? (a->p > b->p ? -1 : 1) : a->id - b->id;
}
static int by_id(const void *x, const void *y) { return ((const choice *)x)->id - ((const choice *)y)->id; }

/* Keeps the top_k most likely, then the fewest that reach top_p of their sum, then those of at least min_p times the
 * largest; ties go to the lower id -> how many. */
static int64_t narrow(choice *c, int64_t n, const rl_sampling *how) {
    if (how->top_k <= 0 && how->top_p >= 1 && how->min_p <= 0) return n;
    qsort(c, (size_t)n, sizeof *c, by_probability);
    if (how->top_k > 0 && how->top_k < n) n = how->top_k;
    double sum = 0, reached = 0;
    for (int64_t i = 0; i < n; i++) sum += c[i].p;
    int64_t kept = 0;
    while (kept < n && (kept == 0 || reached < how->top_p * sum)) reached += c[kept++].p;
    n = kept;
    while (n > 1 && c[n - 1].p < how->min_p * c[0].p) n--;
    qsort(c, (size_t)n, sizeof *c, by_id);
    return n;
}

static int32_t draw(const choice *c, int64_t n, const rl_sampling *how) {
    uint32_t r[4];
    philox(how->seed, how->counter, r);
    double sum = 0, walked = 0;
    for (int64_t i = 0; i < n; i++) sum += c[i].p;
    const double u = uniform(r) * sum;
    for (int64_t i = 0; i < n; i++)
        if ((walked += c[i].p) > u) return c[i].id;
    return c[n - 1].id;
}

static int32_t likeliest(const float *z, const uint8_t *banned, int64_t vocab) {
    int32_t best = -1;
    for (int64_t v = 0; v < vocab; v++)
        if (!(banned && banned[v]) && (best < 0 || z[v] > z[best])) best = (int32_t)v;
    return best < 0 ? 0 : best;
}

static int32_t one(choice *c, const float *z, const uint8_t *banned, const rl_sampling *how, int64_t vocab) {
    const int32_t best = likeliest(z, banned, vocab);
    if (how->temperature <= 0) return best;
    const float it = 1 / how->temperature, max = z[best] * it;
    int64_t n = 0;
    for (int64_t v = 0; v < vocab; v++)
        if (!(banned && banned[v])) c[n++] = (choice){ exp_(z[v] * it - max), (int32_t)v };
    return n ? draw(c, narrow(c, n, how), how) : best;
}

void CPU(sample)(rl_part p, int32_t *token, float *logits, const uint8_t *banned, const rl_sampling *how,
                 int64_t rows, int64_t vocab) {
    choice *c = malloc(sizeof *c * (size_t)vocab);
    for (int64_t r = first(p, rows); r < last(p, rows); r++) {
        float *z = logits + r * vocab, *old = how[r].nbias ? malloc(4 * (size_t)how[r].nbias) : NULL;
        for (int32_t i = 0; i < how[r].nbias; i++) {
            old[i] = z[how[r].bias_id[i]];
            z[how[r].bias_id[i]] += how[r].bias[i];
        }
        token[r] = one(c, z, banned, &how[r], vocab);
        for (int32_t i = how[r].nbias - 1; i >= 0; i--) z[how[r].bias_id[i]] = old[i];
        free(old);
    }
    free(c);
}

void CPU(uniform)(rl_part p, double *u, uint64_t seed, uint64_t counter) {
    uint32_t r[4];
    philox(seed, counter, r);
    *u = uniform(r);
}
