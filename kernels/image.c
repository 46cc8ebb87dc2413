/* Pictures: separable resampling of bytes in fixed point, and patches for vision towers. */
#include "part.h"
#include <stdbool.h>
#include <string.h>

enum { BITS = 22, SIDE = 16 };      /* SIDE rows of a picture are turned into columns at a time */

typedef uint8_t bytes __attribute__((vector_size(16)));

/* Sixteen sums.  begin: a half each; add: 16 bytes at p times w; end: shifted, clipped to bytes. */
#if defined __AVX512BW__
#include <immintrin.h>
typedef __m512i sums;
static inline sums begin(void) { return _mm512_set1_epi32(1 << (BITS - 1)); }
static inline sums add(sums s, const uint8_t *p, int32_t w) {
    const __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm512_add_epi32(s, _mm512_mullo_epi32(v, _mm512_set1_epi32(w)));
}
static inline bytes end(sums s) {
    const __m512i v = _mm512_max_epi32(_mm512_srai_epi32(s, BITS), _mm512_setzero_si512());
    return (bytes)_mm512_cvtusepi32_epi8(v);
}
#elif defined __AVX2__
#include <immintrin.h>
typedef struct { __m256i low, high; } sums;
static inline sums begin(void) {
    const __m256i half = _mm256_set1_epi32(1 << (BITS - 1));
    return (sums){ half, half };
}
static inline sums add(sums s, const uint8_t *p, int32_t w) {
    const __m256i low = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
    const __m256i high = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8)));
    const __m256i factor = _mm256_set1_epi32(w);
    return (sums){ _mm256_add_epi32(s.low, _mm256_mullo_epi32(low, factor)),
                   _mm256_add_epi32(s.high, _mm256_mullo_epi32(high, factor)) };
}
static inline bytes end(sums s) {
    const __m256i low = _mm256_srai_epi32(s.low, BITS), high = _mm256_srai_epi32(s.high, BITS);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    const __m128i upper = _mm256_extracti128_si256(words, 1);
    return (bytes)_mm_packus_epi16(_mm256_castsi256_si128(words), upper);
}
#else
typedef struct { int32_t lane[16]; } sums;
static inline sums begin(void) {
    sums s;
    for (int i = 0; i < 16; i++) s.lane[i] = 1 << (BITS - 1);
    return s;
}
static inline sums add(sums s, const uint8_t *p, int32_t w) {
    for (int i = 0; i < 16; i++) s.lane[i] += p[i] * w;
    return s;
}
static inline bytes end(sums s) {
    bytes b;
    for (int i = 0; i < 16; i++) {
        const int32_t v = s.lane[i] >> BITS;
        b[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
    return b;
}
#endif

static inline uint8_t end_one(int32_t sum) {
    sum >>= BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

void CPU(resample_rows)(rl_part p, uint8_t *out, const uint8_t *in, int64_t width,
                        const int32_t *start, const int32_t *weight, int64_t taps, int64_t n) {
    for (int64_t i = first(p, n); i < last(p, n); i++) {
        const uint8_t *top = in + start[i] * width;
        const int32_t *w = weight + i * taps;
        int64_t x = 0;
        for (; x + 16 <= width; x += 16) {
            sums sum = begin();
            for (int64_t k = 0; k < taps; k++) sum = add(sum, top + k * width + x, w[k]);
            const bytes b = end(sum);
            memcpy(out + i * width + x, &b, sizeof b);
        }
        for (; x < width; x++) {
            int32_t sum = 1 << (BITS - 1);
            for (int64_t k = 0; k < taps; k++) sum += top[k * width + x] * w[k];
            out[i * width + x] = end_one(sum);
        }
    }
}

/* BLOCKS blocks of 16 x 16 bytes, side by side in the vectors, each turned over its diagonal: four
 * rounds of interleaving vector i with i + 8. */
#ifdef __AVX2__
enum { BLOCKS = 2 };
typedef __m256i wide;
#define LOW _mm256_unpacklo_epi8
#define HIGH _mm256_unpackhi_epi8
#else
enum { BLOCKS = 1 };
typedef bytes wide;
static const bytes low = { 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23 };
static const bytes high = { 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };
#define LOW(a, b) __builtin_shuffle(a, b, low)
#define HIGH(a, b) __builtin_shuffle(a, b, high)
#endif
static inline void turn(wide *v) {
    for (int round = 0; round < 4; round++) {
        wide t[SIDE];
        for (int i = 0; i < 8; i++) {
            t[2 * i] = LOW(v[i], v[i + 8]);
            t[2 * i + 1] = HIGH(v[i], v[i + 8]);
        }
        memcpy(v, t, sizeof t);
    }
}

/* Bytes [lo, lo + n) of 16 rows as n columns of 16; rows past h repeat the last. */
static void columns(uint8_t *to, const uint8_t *in, int64_t row, int64_t h, int64_t stride,
                    int64_t lo, int64_t n) {
    for (int64_t j = 0; j < n; j += 16 * BLOCKS, to += 16 * BLOCKS * SIDE) {
        wide v[SIDE];
        const int64_t have = stride - lo - j;
        for (int r = 0; r < SIDE; r++) {
            const uint8_t *from = in + (row + r < h ? row + r : h - 1) * stride + lo + j;
            if (have >= 16 * BLOCKS) memcpy(&v[r], from, sizeof *v);
            else v[r] = (wide){ 0 }, memcpy(&v[r], from, (size_t)have);
        }
        turn(v);
        for (int i = 0; i < SIDE; i++)
            for (int b = 0; b < BLOCKS; b++)
                memcpy(to + (16 * b + i) * SIDE, (uint8_t *)&v[i] + 16 * b, 16);
    }
}

/* One axis: see resample_rows. */
typedef struct { const int32_t *start, *weight; int64_t taps, n; } axis;

/* 16 rows of outputs [x0, x0 + m), from turned columns that begin at input start[x0]; m <= 64. */
static inline void outputs(uint8_t *out, int64_t rows, const uint8_t *turned, int channels,
                           const axis *a, int64_t x0, int64_t m) {
    bytes done[4][64];
    for (int64_t i = 0; i < m; i++) {
        const uint8_t *from = turned + (a->start[x0 + i] - a->start[x0]) * channels * SIDE;
        const int32_t *w = a->weight + (x0 + i) * a->taps;
        sums sum[4];
        for (int c = 0; c < channels; c++) sum[c] = begin();
        for (int64_t k = 0; k < a->taps; k++, from += channels * SIDE)
            for (int c = 0; c < channels; c++) sum[c] = add(sum[c], from + c * SIDE, w[k]);
        for (int c = 0; c < channels; c++) done[c][i] = end(sum[c]);
    }
    for (int c = 0; c < channels; c++)
        for (int64_t x = 0; x < m; x += 16 * BLOCKS) {
            wide v[SIDE];
            for (int i = 0; i < SIDE; i++)
                for (int b = 0; b < BLOCKS; b++)
                    memcpy((uint8_t *)&v[i] + 16 * b, &done[c][x + 16 * b + i], 16);
            turn(v);
            for (int64_t r = 0; r < rows; r++) {
                uint8_t *to = out + (r * channels + c) * a->n + x0 + x;
                if (m - x >= 16 * BLOCKS) memcpy(to, &v[r], sizeof *v);
                else memcpy(to, &v[r], (size_t)(m - x));
            }
        }
}

/* One row, where a picture shrinks so far that no output's inputs fit the scratch. */
static void outputs_plainly(uint8_t *out, const uint8_t *in, int channels, const axis *a) {
    for (int c = 0; c < channels; c++)
        for (int64_t i = 0; i < a->n; i++) {
            const uint8_t *from = in + a->start[i] * channels + c;
            const int32_t *w = a->weight + i * a->taps;
            int32_t sum = 1 << (BITS - 1);
            for (int64_t k = 0; k < a->taps; k++) sum += from[k * channels] * w[k];
            out[c * a->n + i] = end_one(sum);
        }
}

enum { ROOM = 1 << 16 };            /* bytes of scratch for turned columns */

/* The most outputs from x0 on, at most 64, whose inputs fit; 0: not one's do. */
static int64_t chunk(const axis *a, int64_t x0, int channels) {
    const int64_t spare = 16 * BLOCKS * SIDE;           /* columns come in whole blocks */
    for (int64_t m = a->n - x0 < 64 ? a->n - x0 : 64; m > 0; m = m > 16 ? m - 16 : m - 1) {
        const int64_t inputs = a->start[x0 + m - 1] - a->start[x0] + a->taps;
        if (inputs * channels * SIDE + spare <= ROOM) return m;
    }
    return 0;
}

void CPU(resample_columns)(rl_part p, uint8_t *out, const uint8_t *in, int64_t h, int64_t w,
                           int channels, const int32_t *start, const int32_t *weight,
                           int64_t taps, int64_t n) {
    uint8_t turned[ROOM] __attribute__((aligned(64)));
    const axis a = { start, weight, taps, n };
    const bool fits = chunk(&a, 0, channels) > 0;
    const int64_t blocks = (h + SIDE - 1) / SIDE, stride = w * channels;
    for (int64_t b = first(p, blocks); b < last(p, blocks); b++) {
        const int64_t row = b * SIDE, rows = h - row < SIDE ? h - row : SIDE;
        uint8_t *to = out + row * channels * n;
        for (int64_t r = 0; !fits && r < rows; r++)
            outputs_plainly(to + r * channels * n, in + (row + r) * stride, channels, &a);
        for (int64_t x = 0, m; fits && x < n; x += m) {
            m = chunk(&a, x, channels);
            const int64_t need = (start[x + m - 1] - start[x] + taps) * channels;
            columns(turned, in, row, h, stride, (int64_t)start[x] * channels, need);
            if (channels == 3) outputs(to, rows, turned, 3, &a, x, m);
            else outputs(to, rows, turned, channels, &a, x, m);
        }
    }
}

/* The rows of one patch from lines [side, 3, w]: in order, as they go to memory that is far. */
static inline float *patch_rows(float *out, const float *lines, int64_t w, int patch, int times) {
    for (int64_t c = 0; c < 3; c++)
        for (int t = 0; t < times; t++)
            for (int64_t y = 0; y < patch; y++, out += patch)
                memcpy(out, lines + (3 * y + c) * w, (size_t)patch * sizeof *out);
    return out;
}

void CPU(patches)(rl_part p, float *out, float *lines, const uint8_t *in, int64_t h, int64_t w,
                  int patch, int merge, int times, double scale, const float *mean,
                  const float *std) {
    const int64_t side = (int64_t)patch * merge, cells = w / side, cell = 3 * times * side * side;
    for (int64_t block = first(p, h / side); block < last(p, h / side); block++) {
        for (int64_t i = 0; i < 3 * side; i++) {
            const uint8_t *from = in + (block * side * 3 + i) * w;
            const float m = mean[i % 3], s = std[i % 3];
            #pragma omp simd
            for (int64_t x = 0; x < w; x++)
                lines[i * w + x] = ((float)(from[x] * scale) - m) / s;
        }
        float *to = out + block * cells * cell;
        for (int64_t i = 0; i < cells * merge * merge; i++) {
            const int64_t x = i / (merge * merge), k = i % (merge * merge);
            const float *from = lines + k / merge * patch * 3 * w + x * side + k % merge * patch;
            if (patch == 14) to = patch_rows(to, from, w, 14, times);
            else if (patch == 16) to = patch_rows(to, from, w, 16, times);
            else to = patch_rows(to, from, w, patch, times);
        }
    }
}
