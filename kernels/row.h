/* Sums along a row in one fixed order,
 * and elementary functions whose bits do not depend on place or path. */
#ifndef RL_ROW_H
#define RL_ROW_H
#include "part.h"
#include <math.h>
#include <string.h>

enum { LANES = 16 };

/* The sixteen lanes of a row's sum, added in one tree. */
static inline float tree(float *lane) {
    for (int s = LANES / 2; s > 0; s /= 2)
        for (int l = 0; l < s; l++) lane[l] += lane[l + s];
    return lane[0];
}

/* Sum of an expression of i over [0, n): element i goes to lane i mod 16,
 * whatever the vectors are. */
#define SUM(i, n, ...) ({ \
    float lane_[LANES] = { 0 }; \
    const int64_t n_ = (n), whole_ = n_ / LANES * LANES; \
    for (int64_t b_ = 0; b_ < whole_; b_ += LANES) { \
        _Pragma("omp simd") \
        for (int l_ = 0; l_ < LANES; l_++) { \
            const int64_t i = b_ + l_; \
            lane_[l_] += (__VA_ARGS__); \
        } \
    } \
    for (int64_t i = whole_; i < n_; i++) lane_[i - whole_] += (__VA_ARGS__); \
    tree(lane_); })

/* The largest of an expression of i over [0, n), -infinity where there is none;
 * NaN is passed over. */
#define MAX(i, n, ...) ({ \
    float lane_[LANES]; \
    for (int l_ = 0; l_ < LANES; l_++) lane_[l_] = -INFINITY; \
    const int64_t n_ = (n), whole_ = n_ / LANES * LANES; \
    for (int64_t b_ = 0; b_ < whole_; b_ += LANES) { \
        _Pragma("omp simd") \
        for (int l_ = 0; l_ < LANES; l_++) { \
            const int64_t i = b_ + l_; \
            const float x_ = (__VA_ARGS__); \
            lane_[l_] = x_ > lane_[l_] ? x_ : lane_[l_]; \
        } \
    } \
    for (int64_t i = whole_; i < n_; i++) { \
        const float x_ = (__VA_ARGS__); \
        lane_[i - whole_] = x_ > lane_[i - whole_] ? x_ : lane_[i - whole_]; \
    } \
    for (int s_ = LANES / 2; s_ > 0; s_ /= 2) \
        for (int l_ = 0; l_ < s_; l_++) \
            lane_[l_] = lane_[l_ + s_] > lane_[l_] ? lane_[l_ + s_] : lane_[l_]; \
    lane_[0]; })

static inline float sqr(float x) { return x * x; }

static inline float from_bits(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint32_t to_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

/* To the nearest bf16, ties to even, as a float. */
static inline float as_bf16(float x) {
    const uint32_t u = to_bits(x);
    return from_bits((u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u);
}
static inline float of_bf16(uint16_t x) { return from_bits((uint32_t)x << 16); }

/* e^x: 2^n e^r with |r| <= ln 2 / 2, a polynomial of degree 6; below -87.3 it is 0,
 * above 88.7 infinite. */
static inline float exp_(float x) {
    const float magic = 12582912.f;             /* 1.5 * 2^23: adding it rounds to an integer */
    const float held = x < -87.3f ? -87.3f : x > 88.7f ? 88.7f : x;
    const float n = (held * 1.44269504f + magic) - magic;
    const float r = fmaf(n, -1.42860682e-6f, fmaf(n, -0.693145752f, held));
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(p * r, r, r) + 1;
    const float y = p * from_bits((uint32_t)((int32_t)n + 127) << 23);
    return x < -87.3f ? 0 : x > 88.7f ? INFINITY : x != x ? x : y;
}

/* ln x by m 2^e, m in [sqrt 1/2, sqrt 2), and the series of artanh((m - 1) / (m + 1)) in double. */
static inline float log_(float x) {
    const uint32_t u = to_bits(x), shifted = u - 0x3f3504f3u;
    const int32_t e = (int32_t)shifted >> 23;
    const double m = (double)from_bits(u - ((uint32_t)e << 23));
    const double s = (m - 1) / (m + 1), q = s * s;
    double p = 1. / 15;
    p = p * q + 1. / 13, p = p * q + 1. / 11, p = p * q + 1. / 9, p = p * q + 1. / 7;
    p = p * q + 1. / 5, p = p * q + 1. / 3, p = p * q + 1;
    const float y = (float)(2 * s * p + (double)e * 0.6931471805599453);
    return x > 0 ? (x < INFINITY ? y : x) : x == 0 ? -INFINITY : NAN;
}

/* sin and cos by quarter turns in double: exact enough for angles up to 2^30. */
static inline void sin_cos(float x, float *sine, float *cosine) {
    const double magic = 6755399441055744.;             /* 1.5 * 2^52 */
    const double turns = (double)x * 0.6366197723675814, n = (turns + magic) - magic;
    const double r = ((double)x - n * 1.5707963267341256) - n * 6.077100506506192e-11, q = r * r;
    const double s = r + r * q * (-1. / 6 + q * (1. / 120 + q * (-1. / 5040 + q * (1. / 362880 +
                     q * (-1. / 39916800)))));
    const double c = 1 + q * (-.5 + q * (1. / 24 + q * (-1. / 720 + q * (1. / 40320 +
                     q * (-1. / 3628800 + q / 479001600)))));
    const int64_t quarter = (int64_t)n & 3;
    *sine = (float)(quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c);
    *cosine = (float)(quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s);
}

static inline float sigmoid_(float x) { return 1 / (1 + exp_(-x)); }

static inline float tanh_(float x) {
    const float q = x * x;                              /* near 0 the quotient would cancel */
    const float small =
        x + x * q * (-1.f / 3 + q * (2.f / 15 + q * (-17.f / 315 + q * (62.f / 2835))));
    const float e = exp_(2 * fabsf(x)), large = copysignf(1 - 2 / (e + 1), x);
    return q < 0.04f ? small : large;
}

/* erf x = 2 / sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!, all terms positive, in double; 1
 * from 4 on.  Written out, since a loop or a branch inside would keep the loop around it from being
 * taken in vectors. */
static inline __attribute__((always_inline)) float erf_(float x) {
    const int32_t size = (int32_t)(to_bits(x) & 0x7fffffff), over = 0x40800000 - size;
    /* min(|x|, 4), without a branch */
    const double a = from_bits((uint32_t)(size + (over & over >> 31)));
    const double q = 2 * a * a;
    double s = 1;
#define TERM(n) s = 1 + q * (1. / (2 * (n) + 1)) * s;
#define TERMS(n) TERM((n) + 7) TERM((n) + 6) TERM((n) + 5) TERM((n) + 4) \
                 TERM((n) + 3) TERM((n) + 2) TERM((n) + 1) TERM(n)
    TERMS(65) TERMS(57) TERMS(49) TERMS(41) TERMS(33) TERMS(25) TERMS(17) TERMS(9) TERMS(1)
#undef TERMS
#undef TERM
    /* e^(-a^2) as the 64th power of e^half, |half| <= 1/4 */
    const double half = -a * a / 64;
    double e = 1 + half * (1 + half / 2 * (1 + half / 3 * (1 + half / 4 * (1 + half / 5 *
               (1 + half / 6 * (1 + half / 7 * (1 + half / 8 * (1 + half / 9 *
               (1 + half / 10)))))))));
    e = e * e, e = e * e, e = e * e, e = e * e, e = e * e, e = e * e;
    return copysignf((float)(1.1283791670955126 * e * a * s), x);
}

#endif
