/* Pictures: separable resampling of bytes in fixed point, and patches for vision towers. */
#include "part.h"
#include <string.h>

#pragma GCC diagnostic ignored "-Wpsabi"                /* vectors are passed between inlined functions only */

enum { BITS = 22, SIDE = 16 };                          /* SIDE rows of a picture are turned into columns at a time */

typedef uint8_t bytes __attribute__((vector_size(16)));
typedef int32_t ints __attribute__((vector_size(64)));

static inline bytes load(const uint8_t *p) { bytes v; memcpy(&v, p, 16); return v; }
static inline void store(uint8_t *p, bytes v) { memcpy(p, &v, 16); }
static inline ints widen(const uint8_t *p) { return __builtin_convertvector(load(p), ints); }

static inline ints clip(ints sum) {
    sum >>= BITS;
    sum &= sum > 0;
    const ints over = sum > 255;
    return (sum & ~over) | (over & 255);
}

static inline int32_t clip1(int32_t sum) { return (sum >>= BITS) < 0 ? 0 : sum > 255 ? 255 : sum; }

void CPU(resample_rows)(rl_part p, uint8_t *out, const uint8_t *in, int64_t width, const int32_t *start,
                        const int32_t *weight, int64_t taps, int64_t n) {
    for (int64_t i = first(p, n); i < last(p, n); i++) {
        const uint8_t *top = in + start[i] * width;
        const int32_t *w = weight + i * taps;
        int64_t x = 0;
        for (; x + 16 <= width; x += 16) {
            ints sum = (ints){ 0 } + (1 << (BITS - 1));
            for (int64_t k = 0; k < taps; k++) sum += widen(top + k * width + x) * w[k];
            store(out + i * width + x, __builtin_convertvector(clip(sum), bytes));
        }
        for (; x < width; x++) {
            int32_t sum = 1 << (BITS - 1);
            for (int64_t k = 0; k < taps; k++) sum += top[k * width + x] * w[k];
            out[i * width + x] = (uint8_t)clip1(sum);
        }
    }
}

/* A 16 x 16 block of bytes turned over its diagonal: four rounds of interleaving vector i with i + 8. */
static inline void turn(bytes *v) {
    static const bytes low = { 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23 };
    static const bytes high = { 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };
    for (int round = 0; round < 4; round++) {
        bytes t[SIDE];
        for (int i = 0; i < 8; i++) {
            t[2 * i] = __builtin_shuffle(v[i], v[i + 8], low);
            t[2 * i + 1] = __builtin_shuffle(v[i], v[i + 8], high);
        }
        memcpy(v, t, sizeof t);
    }
}

/* Bytes [lo, lo + n) of 16 rows as n columns of 16; rows past h repeat the last. */
static void columns(uint8_t *to, const uint8_t *in, int64_t row, int64_t h, int64_t stride, int64_t lo, int64_t n) {
    for (int64_t j = 0; j < n; j += 16) {
        bytes v[SIDE];
        const int64_t have = stride - lo - j;
        for (int r = 0; r < SIDE; r++) {
            const uint8_t *from = in + (row + r < h ? row + r : h - 1) * stride + lo + j;
            if (have >= 16) v[r] = load(from);
            else v[r] = (bytes){ 0 }, memcpy(&v[r], from, (size_t)have);
        }
        turn(v);
        memcpy(to + j * SIDE, v, sizeof v);
    }
}

/* 16 rows of outputs [x0, x0 + m), from turned columns that begin at input start[x0]; m <= 64. */
static inline void outputs(uint8_t *out, int64_t rows, const uint8_t *turned, int channels, const int32_t *start,
                           const int32_t *weight, int64_t taps, int64_t n, int64_t x0, int64_t m) {
    bytes sums[4][64];
    for (int64_t i = 0; i < m; i++) {
        const uint8_t *from = turned + (start[x0 + i] - start[x0]) * channels * SIDE;
        const int32_t *w = weight + (x0 + i) * taps;
        ints sum[4];
        for (int c = 0; c < channels; c++) sum[c] = (ints){ 0 } + (1 << (BITS - 1));
        for (int64_t k = 0; k < taps; k++)
            for (int c = 0; c < channels; c++) sum[c] += widen(from + (k * channels + c) * SIDE) * w[k];
        for (int c = 0; c < channels; c++) sums[c][i] = __builtin_convertvector(clip(sum[c]), bytes);
    }
    for (int c = 0; c < channels; c++)
        for (int64_t b = 0; b < m; b += 16) {
            turn(sums[c] + b);
            for (int64_t r = 0; r < rows; r++) {
                uint8_t *to = out + (r * channels + c) * n + x0 + b;
                if (m - b >= 16) store(to, sums[c][b + r]);
                else memcpy(to, &sums[c][b + r], (size_t)(m - b));
            }
        }
}

/* Where a picture shrinks so far that no 16 outputs' inputs fit the scratch. */
static void outputs_plainly(uint8_t *out, const uint8_t *in, int channels, const int32_t *start, const int32_t *weight,
                            int64_t taps, int64_t n) {
    for (int c = 0; c < channels; c++)
        for (int64_t i = 0; i < n; i++) {
            int32_t sum = 1 << (BITS - 1);
            for (int64_t k = 0; k < taps; k++) sum += in[(start[i] + k) * channels + c] * weight[i * taps + k];
            out[c * n + i] = (uint8_t)clip1(sum);
        }
}

/* The most outputs, at most 64, whose inputs fit room bytes; their first input is start[x0]. */
static int64_t chunk(const int32_t *start, int64_t taps, int64_t n, int64_t x0, int channels, int64_t room) {
    for (int64_t m = n - x0 < 64 ? n - x0 : 64; m > 0; m = m > 16 ? m - 16 : m - 1)
        if ((start[x0 + m - 1] - start[x0] + taps) * channels * SIDE + 256 <= room) return m;
    return 0;
}

void CPU(resample_columns)(rl_part p, uint8_t *out, const uint8_t *in, int64_t h, int64_t w, int channels,
                           const int32_t *start, const int32_t *weight, int64_t taps, int64_t n) {
    uint8_t turned[1 << 16] __attribute__((aligned(64)));
    const int64_t blocks = (h + SIDE - 1) / SIDE;
    for (int64_t b = first(p, blocks); b < last(p, blocks); b++) {
        const int64_t row = b * SIDE, rows = h - row < SIDE ? h - row : SIDE;
        uint8_t *to = out + row * channels * n;
        for (int64_t x = 0, m; x < n; x += m) {
            m = chunk(start, taps, n, x, channels, sizeof turned);
            if (!m) break;
            const int64_t need = (start[x + m - 1] - start[x] + taps) * channels;
            columns(turned, in, row, h, w * channels, (int64_t)start[x] * channels, need);
            if (channels == 3) outputs(to, rows, turned, 3, start, weight, taps, n, x, m);
            else outputs(to, rows, turned, channels, start, weight, taps, n, x, m);
        }
        if (!chunk(start, taps, n, 0, channels, sizeof turned))
            for (int64_t r = 0; r < rows; r++)
                outputs_plainly(to + r * channels * n, in + (row + r) * w * channels, channels, start, weight, taps, n);
    }
}

static inline void patch_rows(float *out, const uint8_t *in, int64_t w, int64_t y0, int64_t x0, int patch, int times,
                              const float *value) {
    const int64_t plane = (int64_t)patch * patch;
    for (int c = 0; c < 3; c++, out += times * plane) {
        const float *v = value + 256 * c;
        for (int y = 0; y < patch; y++) {
            const uint8_t *from = in + ((y0 + y) * 3 + c) * w + x0;
            for (int x = 0; x < patch; x++) out[y * patch + x] = v[from[x]];
        }
        for (int t = 1; t < times; t++) memcpy(out + t * plane, out, (size_t)plane * sizeof *out);
    }
}

void CPU(patches)(rl_part p, float *out, const uint8_t *in, int64_t h, int64_t w, int patch, int merge, int times,
                  const float *value) {
    const int64_t side = (int64_t)patch * merge, width = 3 * (int64_t)times * patch * patch;
    const int64_t across = w / side, cells = h / side * across;
    for (int64_t i = first(p, cells); i < last(p, cells); i++)
        for (int64_t k = 0; k < merge * merge; k++) {
            const int64_t y = i / across * side + k / merge * patch, x = i % across * side + k % merge * patch;
            float *to = out + (i * merge * merge + k) * width;
            if (patch == 14) patch_rows(to, in, w, y, x, 14, times, value);
            else if (patch == 16) patch_rows(to, in, w, y, x, 16, times, value);
            else patch_rows(to, in, w, y, x, patch, times, value);
        }
}
