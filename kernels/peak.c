/* What a core can do at most, for benchmarks to compare with. */
#include "product.h"

void CPU(peak)(rl_part p, rl_dtype t, float *out, int64_t n) {
    enum { CHAINS = 12 };                   /* two units of four cycles want eight at least */
    const form f = form_of(t);
    vec sum[CHAINS];
    const vec x = vec_all(out[0]), y = vec_all(out[1]);
    const pairs z = pairs_load(out);
    for (int i = 0; i < CHAINS; i++)        /* unlike each other, or they become one */
        sum[i] = vec_all(out[2] * (float)i);
    if (f == DOT)
        for (int64_t r = 0; r < n; r++)
            for (int i = 0; i < CHAINS; i++) sum[i] = vec_dot(out[0], z, sum[i]);
    else
        for (int64_t r = 0; r < n; r++)
            for (int i = 0; i < CHAINS; i++) sum[i] = vec_fma(x, y, sum[i]);
    for (int i = 1; i < CHAINS; i++) sum[0] = vec_add(sum[0], sum[i]);
    vec_store(out + RL_PANEL * (1 + p.i), sum[0]);
    out[RL_PANEL * (1 + p.i)] = (float)(CHAINS * VL * (f == DOT ? 4 : 2));
}

void CPU(stream)(rl_part p, float *out, const float *x, int64_t n) {
    enum { VECTORS = 64 / VL, AHEAD = 12288 };
    vec sum[VECTORS];
    for (int i = 0; i < VECTORS; i++) sum[i] = vec_all(0);
    const int64_t to = last(p, n / 64) * 64;
    for (int64_t j = first(p, n / 64) * 64; j < to; j += 64) {
        for (int i = 0; i < 64; i += RL_PANEL) __builtin_prefetch(x + j + i + AHEAD, 0, 2);
        for (int i = 0; i < VECTORS; i++) sum[i] = vec_add(sum[i], vec_load(x + j + i * VL));
    }
    for (int i = 1; i < VECTORS; i++) sum[0] = vec_add(sum[0], sum[i]);
    vec_store(out + RL_PANEL * p.i, sum[0]);
}
