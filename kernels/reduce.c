/* Sums over axes and over runs of elements: in double, in order. */
#include "row.h"

void CPU(sum)(rl_part p, float *y, const float *x, int64_t outer, int64_t n, int64_t inner) {
    for (int64_t q = first(p, outer * inner); q < last(p, outer * inner); q++) {
        const float *from = x + q / inner * n * inner + q % inner;
        double total = 0;
        for (int64_t j = 0; j < n; j++) total += from[j * inner];
        y[q] = (float)total;
    }
}

void CPU(sum_grad)(rl_part p, float *dx, const float *dy, int64_t outer, int64_t n, int64_t inner) {
    for (int64_t r = first(p, outer * n); r < last(p, outer * n); r++)
        for (int64_t i = 0; i < inner; i++) dx[r * inner + i] += dy[r / n * inner + i];
}

void CPU(segment_sum)(rl_part p, float *y, const float *x, const int32_t *start, int64_t segments) {
    for (int64_t s = first(p, segments); s < last(p, segments); s++) {
        double total = 0;
        for (int32_t i = start[s]; i < start[s + 1]; i++) total += x[i];
        y[s] = (float)total;
    }
}

void CPU(segment_expand)(rl_part p, float *y, const float *x, const int32_t *start,
                         int64_t segments, int add) {
    for (int64_t s = first(p, segments); s < last(p, segments); s++)
        for (int32_t i = start[s]; i < start[s + 1]; i++) y[i] = add ? y[i] + x[s] : x[s];
}
