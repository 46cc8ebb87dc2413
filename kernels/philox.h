/* Philox4x32-10: random numbers as a function of key and counter.  Salmon et al., SC 2011. */
#ifndef RL_PHILOX_H
#define RL_PHILOX_H
#include <stdint.h>

static inline void philox(uint64_t key, uint64_t counter, uint32_t out[4]) {
    uint32_t c[4] = { (uint32_t)counter, (uint32_t)(counter >> 32), 0, 0 };
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];
        const uint32_t x0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, x2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b, c[3] = (uint32_t)a, c[0] = x0, c[2] = x2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++) out[i] = c[i];
}

/* Uniform in [0, 1) with 53 bits. */
static inline double uniform(const uint32_t *r) {
    return (double)(((uint64_t)r[0] << 32 | r[1]) >> 11) * (1.0 / 9007199254740992.0);
}

#endif
