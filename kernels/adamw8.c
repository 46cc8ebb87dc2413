/* AdamW with moments of 8 bits: each block is decoded, moved on in f32, and encoded again. */
#include "row.h"
#include "adamw.h"

/* Looking up in vectors (gathering) is slower than one by one. */
#define ONE_BY_ONE(x) __asm__("" : "+r"(x))

static void decode(float *x, const uint8_t *code, int64_t n, const rl_code *c, float most) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t at = code[i];
        ONE_BY_ONE(at);
        x[i] = c->value[at];
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) x[i] *= most;
}

/* rank[i]: that of |x[i]| / most among the magnitudes of a code: the nearest one, the lower of two
 * equally near. */
static void ranks(int32_t *rank, const float *x, int64_t n, const rl_code *c, float most) {
    const float unit = most > 0 ? most : 1;
    float size[RL_CODE_BLOCK];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        size[i] = fabsf(x[i]) / unit;
        const int32_t cell = (int32_t)(to_bits(size[i]) >> 16) - RL_CODE_FIRST;
        rank[i] = cell < 0 ? 0 : cell;
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t k = c->start[rank[i]];
        ONE_BY_ONE(k);
        rank[i] = k + (size[i] > c->above[k]);
    }
}

/* A second moment above zero keeps a code above zero: else a step would be divided by eps alone. */
static void encode(uint8_t *m, uint8_t *v, const float *mx, const float *vx, const int32_t *mr,
                   const int32_t *vr, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const int32_t minus = -(mx[i] < 0), k = mr[i] + (minus & -(mr[i] > RL_CODE_ZERO));
        m[i] = (uint8_t)(RL_CODE_ZERO + ((k ^ minus) - minus));
        v[i] = (uint8_t)(vr[i] + ((vr[i] == 0) & (vx[i] > 0)));
    }
}

void CPU(adamw8)(rl_part p, float *w, float *g, uint8_t *m, float *m_most, uint8_t *v,
                 float *v_most, int64_t n, const rl_code *codes, float grad_scale, double lr,
                 double b1, double b2, double eps, double decay, double c1, double c2) {
    const rates a = rates_of(grad_scale, lr, b1, b2, eps, decay, c1, c2);
    const int64_t blocks = (n + RL_CODE_BLOCK - 1) / RL_CODE_BLOCK;
    for (int64_t b = first(p, blocks); b < last(p, blocks); b++) {
        const int64_t from = b * RL_CODE_BLOCK, left = n - from;
        const int64_t here = left < RL_CODE_BLOCK ? left : RL_CODE_BLOCK;
        float mx[RL_CODE_BLOCK], vx[RL_CODE_BLOCK], *wb = w + from, *gb = g + from;
        int32_t mr[RL_CODE_BLOCK], vr[RL_CODE_BLOCK];
        decode(mx, m + from, here, &codes[0], m_most[b]);
        decode(vx, v + from, here, &codes[1], v_most[b]);
#pragma omp simd
        for (int64_t i = 0; i < here; i++) move(&a, &wb[i], &gb[i], &mx[i], &vx[i]);
        m_most[b] = MAX(i, here, fabsf(mx[i])), v_most[b] = MAX(i, here, vx[i]);
        ranks(mr, mx, here, &codes[0], m_most[b]);
        ranks(vr, vx, here, &codes[1], v_most[b]);
        encode(m + from, v + from, mx, vx, mr, vr, here);
    }
}
