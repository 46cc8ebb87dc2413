/* Log-probability and entropy of labels from rows of logits, and the way back. */
#include "row.h"

/* Sum of e^y for y = z inv_temperature - max, and of e^y y: two of SUM's, with one e^y for both. */
static float sums(const float *z, int64_t vocab, float it, float max, float *weighted) {
    float lane[LANES] = { 0 }, other[LANES] = { 0 };
    const int64_t whole = vocab / LANES * LANES;
    for (int64_t v = 0; v < whole; v += LANES) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            const float y = z[v + l] * it - max, e = exp_(y);
            lane[l] += e, other[l] += e * y;
        }
    }
    for (int64_t v = whole; v < vocab; v++) {
        const float y = z[v] * it - max, e = exp_(y);
        lane[v - whole] += e, other[v - whole] += e * y;
    }
    *weighted = tree(other);
    return tree(lane);
}

void CPU(logprob)(rl_part p, float *logp, float *entropy, float *lse, const float *logits, const int32_t *start,
                  const int32_t *label, int64_t rows, int64_t vocab, float inv_temperature) {
    const float it = inv_temperature;
    for (int64_t r = first(p, rows); r < last(p, rows); r++) {
        const float *z = logits + r * vocab;
        const float max = MAX(v, vocab, z[v]) * it;
        float weighted;
        const float sum = sums(z, vocab, it, max, &weighted), mean = weighted / sum;
        const float log_sum = log_(sum);
        lse[r] = max + log_sum;
        for (int32_t i = start[r]; i < start[r + 1]; i++) {
            logp[i] = (z[label[i]] * it - max) - log_sum;
            entropy[i] = log_sum - mean;
        }
    }
}

void CPU(logprob_grad)(rl_part p, float *logits, const float *dlogp, const float *dentropy, const float *lse,
                       const float *entropy, const int32_t *start, const int32_t *label, int64_t rows, int64_t from,
                       int64_t vocab, float inv_temperature) {
    const float it = inv_temperature;
    for (int64_t r = first(p, rows); r < last(p, rows); r++) {
        float *z = logits + r * vocab, dl = 0, de = 0;
        for (int32_t i = start[r]; i < start[r + 1]; i++) dl += dlogp[i], de += dentropy[i];
        const float h = start[r] < start[r + 1] ? entropy[start[r]] : 0, l = lse[r];
#pragma omp simd
        for (int64_t v = 0; v < vocab; v++) {
            const float lp = z[v] * it - l, q = exp_(lp);
            z[v] = it * (-dl * q - de * q * (lp + h));
        }
        for (int32_t i = start[r]; i < start[r + 1]; i++)
            if (label[i] >= from && label[i] < from + vocab) z[label[i] - from] += it * dlogp[i];
    }
}
