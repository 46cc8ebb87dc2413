/* Drawing tokens from rows of logits. */
#include "philox.h"
#include "row.h"
#include <stdbool.h>
#include <stdlib.h>

enum { BLOCK = 256 };               /* ids whose probabilities are summed side by side */

typedef struct { float p; int32_t id; } choice;

static int by_probability(const void *x, const void *y) {
    const choice *a = x, *b = y;
    return a->p != b->p ? (a->p > b->p ? -1 : 1) : a->id - b->id;
}

/* Sum of n <= BLOCK numbers in double, in 8 lanes and one tree. */
static double block_sum(const float *p, int64_t n) {
    double lane[8] = { 0 };
    const int64_t whole = n / 8 * 8;
    for (int64_t i = 0; i < whole; i += 8)
#pragma omp simd
        for (int l = 0; l < 8; l++) lane[l] += (double)p[i + l];
    for (int64_t i = whole; i < n; i++) lane[i - whole] += (double)p[i];
    const double even = (lane[0] + lane[4]) + (lane[2] + lane[6]);
    const double odd = (lane[1] + lane[5]) + (lane[3] + lane[7]);
    return even + odd;
}

static inline int64_t block_end(int64_t from, int64_t n) {
    return n - from < BLOCK ? n : from + BLOCK;
}

static double sum_all(const float *p, int64_t n) {
    double sum = 0;
    for (int64_t b = 0; b < n; b += BLOCK) sum += block_sum(p + b, block_end(b, n) - b);
    return sum;
}

/* Where a walk over p in the order of ids first goes beyond u: by blocks, then within one. */
static int32_t walk(const float *p, int64_t n, double u) {
    double walked = 0;
    int32_t last = 0;
    for (int64_t b = 0; b < n; b += BLOCK) {
        const double block = block_sum(p + b, block_end(b, n) - b);
        if (walked + block <= u) {
            walked += block;
            continue;
        }
        for (int64_t i = b; i < block_end(b, n); i++) {
            if (p[i] > 0) last = (int32_t)i;
            if ((walked += p[i]) > u) return (int32_t)i;
        }
        return last;        /* the same numbers in another order fell short of u by a rounding */
    }
    for (int64_t i = n - 1; i > 0; i--)
        if (p[i] > 0) return (int32_t)i;
    return 0;
}

/* Those of at least `least`, most likely first, ties by the lower id -> how many. */
static int64_t sorted(choice *c, const float *p, int64_t vocab, float least) {
    int64_t n = 0;
    for (int64_t v = 0; v < vocab; v++)
        if (p[v] >= least && p[v] > 0) c[n++] = (choice){ p[v], (int32_t)v };
    qsort(c, (size_t)n, sizeof *c, by_probability);
    return n;
}

/* Of the n first in order: the fewest that reach top_p of what top_k left;
 * -1 where n are too few to tell. */
static int64_t kept_of(const choice *c, int64_t n, bool all, double total, const rl_sampling *how) {
    const bool by_count = how->top_k > 0;
    if (!all && by_count && n < how->top_k) return -1;
    if (by_count && how->top_k < n) n = how->top_k;
    double sum = 0, reached = 0;
    for (int64_t i = 0; i < n; i++) sum += c[i].p;
    if (!by_count) sum = total;
    if (how->top_p >= 1) return all || by_count ? n : -1;
    int64_t kept = 0;
    while (kept < n && (kept == 0 || reached < how->top_p * sum)) reached += c[kept++].p;
    return kept == n && !all && !by_count && reached < how->top_p * sum ? -1 : kept;
}

/* Zeroes all but the top_k most likely, then all but the fewest that reach top_p of their sum, then
 * those below min_p times the largest, which is 1; ties go to the lower id.
 * Only as many as are needed are put in order. */
static void narrow(float *p, choice *c, int64_t vocab, const rl_sampling *how) {
    if (how->top_k > 0 || how->top_p < 1) {
        const double total = sum_all(p, vocab);
        int64_t n = 0, kept = -1;
        for (float least = 1e-2f; kept < 0; least = least < 1e-9f ? 0 : least * 1e-2f) {
            n = sorted(c, p, vocab, least);
            kept = kept_of(c, n, least == 0, total, how);
        }
        memset(p, 0, 4 * (size_t)vocab);
        for (int64_t i = 0; i < kept; i++) p[c[i].id] = c[i].p;
    }
    for (int64_t v = 0; how->min_p > 0 && v < vocab; v++)
        if (p[v] < how->min_p) p[v] = p[v] == 1 ? 1 : 0;
}

static int32_t likeliest(const float *z, const uint8_t *banned, int64_t vocab) {
    int32_t best = -1;
    if (!banned) {
        const float top = MAX(v, vocab, z[v]);
        for (int64_t v = 0; v < vocab; v++)
            if (z[v] == top) return (int32_t)v;
        return 0;
    }
    for (int64_t v = 0; v < vocab; v++)
        if (!banned[v] && (best < 0 || z[v] > z[best])) best = (int32_t)v;
    return best < 0 ? 0 : best;
}

/* p, c: room for vocab. */
static int32_t one(float *p, choice *c, const float *z, const uint8_t *banned,
                   const rl_sampling *how, int64_t vocab) {
    const int32_t best = likeliest(z, banned, vocab);
    if (how->temperature <= 0 || (banned && banned[best])) return best;
    const float it = 1 / how->temperature, max = z[best] * it;
#pragma omp simd
    for (int64_t v = 0; v < vocab; v++) p[v] = exp_(z[v] * it - max);
    for (int64_t v = 0; banned && v < vocab; v++)
        if (banned[v]) p[v] = 0;
    narrow(p, c, vocab, how);
    uint32_t r[4];
    philox(how->seed, how->counter, r);
    return walk(p, vocab, uniform(r) * sum_all(p, vocab));
}

/* The same of logits z that the bias is added to, and that are as before afterwards. */
static int32_t biased(float *p, choice *c, float *z, const uint8_t *banned,
                      const rl_sampling *how, int64_t vocab) {
    float *old = malloc(4 * (size_t)how->nbias);
    for (int32_t i = 0; i < how->nbias; i++) {
        old[i] = z[how->bias_id[i]];
        z[how->bias_id[i]] += how->bias[i];
    }
    const int32_t token = one(p, c, z, banned, how, vocab);
    for (int32_t i = how->nbias - 1; i >= 0; i--) z[how->bias_id[i]] = old[i];
    free(old);
    return token;
}

void CPU(sample)(rl_part p, int32_t *token, float *logits, const uint8_t *banned,
                 const rl_sampling *how, int64_t rows, int64_t vocab) {
    if (first(p, rows) == last(p, rows)) return;
    choice *c = malloc((sizeof *c + 4) * (size_t)vocab);
    float *room = (float *)(c + vocab);
    for (int64_t r = first(p, rows); r < last(p, rows); r++) {
        float *z = logits + r * vocab;
        token[r] = how[r].nbias ? biased(room, c, z, banned, &how[r], vocab)
                                : one(room, c, z, banned, &how[r], vocab);
    }
    free(c);
}

void CPU(uniform)(rl_part p, double *u, uint64_t seed, uint64_t counter) {
    uint32_t r[4];
    philox(seed, counter, r);
    *u = uniform(r);
}
