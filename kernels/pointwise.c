/* Element by element. */
#include "row.h"

#define EACH(y) _Pragma("omp simd") for (int64_t i = from; i < to; i++) (y); break

/* x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), and x / 2 (1 + erf(x / sqrt 2)):
 * arXiv:1606.08415, section 2 */
static inline float gelu_tanh(float x) {
    return 0.5f * x * (1 + tanh_(0.7978845608f * (x + 0.044715f * x * x * x)));
}
static inline float gelu_erf(float x) { return 0.5f * x * (1 + erf_(x * 0.70710678118f)); }

void CPU(unary)(rl_part p, int op, float *y, const float *x, int64_t n, float a, float b) {
    const int64_t from = first(p, n), to = last(p, n);
    switch (op) {
    case RL_NEG: EACH(y[i] = -x[i]);
    case RL_EXP: EACH(y[i] = exp_(x[i]));
    case RL_LOG: EACH(y[i] = log_(x[i]));
    case RL_SQRT: EACH(y[i] = sqrtf(x[i]));
    case RL_ABS: EACH(y[i] = fabsf(x[i]));
    case RL_SQR: EACH(y[i] = x[i] * x[i]);
    case RL_SILU: EACH(y[i] = x[i] * sigmoid_(x[i]));
    case RL_SIGMOID: EACH(y[i] = sigmoid_(x[i]));
    case RL_TANH: EACH(y[i] = tanh_(x[i]));
    case RL_GELU_ERF: EACH(y[i] = gelu_erf(x[i]));
    case RL_GELU_TANH: EACH(y[i] = gelu_tanh(x[i]));
    case RL_GELU_QUICK: EACH(y[i] = x[i] * sigmoid_(1.702f * x[i]));
    case RL_CLAMP: EACH(y[i] = x[i] < a ? a : x[i] > b ? b : x[i]);
    case RL_AFFINE: EACH(y[i] = a * x[i] + b);
    case RL_POW: EACH(y[i] = exp_(a * log_(x[i])));
    }
}

static inline float silu_slope(float x, float k) {
    const float s = sigmoid_(k * x);
    return s * (1 + k * x * (1 - s));
}
static inline float gelu_tanh_slope(float x) {
    const float t = tanh_(0.7978845608f * (x + 0.044715f * x * x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * (1 + 3 * 0.044715f * x * x);
}
static inline float gelu_erf_slope(float x) {
    return 0.5f * (1 + erf_(x * 0.70710678118f)) + x * exp_(-0.5f * x * x) * 0.3989422804f;
}

void CPU(unary_grad)(rl_part p, int op, float *dx, const float *dy, const float *x, const float *y,
                     int64_t n, float a, float b) {
    const int64_t from = first(p, n), to = last(p, n);
    switch (op) {
    case RL_NEG: EACH(dx[i] -= dy[i]);
    case RL_EXP: EACH(dx[i] += dy[i] * y[i]);
    case RL_LOG: EACH(dx[i] += dy[i] / x[i]);
    case RL_SQRT: EACH(dx[i] += dy[i] * 0.5f / y[i]);
    case RL_ABS: EACH(dx[i] += x[i] > 0 ? dy[i] : x[i] < 0 ? -dy[i] : 0);
    case RL_SQR: EACH(dx[i] += 2 * dy[i] * x[i]);
    case RL_SILU: EACH(dx[i] += dy[i] * silu_slope(x[i], 1));
    case RL_SIGMOID: EACH(dx[i] += dy[i] * y[i] * (1 - y[i]));
    case RL_TANH: EACH(dx[i] += dy[i] * (1 - y[i] * y[i]));
    case RL_GELU_ERF: EACH(dx[i] += dy[i] * gelu_erf_slope(x[i]));
    case RL_GELU_TANH: EACH(dx[i] += dy[i] * gelu_tanh_slope(x[i]));
    case RL_GELU_QUICK: EACH(dx[i] += dy[i] * silu_slope(x[i], 1.702f));
    case RL_CLAMP: EACH(dx[i] += x[i] >= a && x[i] <= b ? dy[i] : 0);
    case RL_AFFINE: EACH(dx[i] += a * dy[i]);
    case RL_POW: EACH(dx[i] += dy[i] * a * y[i] / x[i]);
    }
}

/* ---- two operands, with broadcasting ---- */

#define PAIRS(y) \
    for (int64_t l = 0; l < dim[3]; l++) { \
        const float u = a[ia + l * as[3]], v = b[ib + l * bs[3]]; \
        out[l] = (y); \
    } \
    break

/* Along the last axis, from elements ia of a and ib of b on. */
static void binary_row(int op, float *out, const float *a, int64_t ia, const float *b, int64_t ib,
                       const int64_t *dim, const int64_t *as, const int64_t *bs) {
    switch (op) {
    case RL_ADD: PAIRS(u + v);
    case RL_SUB: PAIRS(u - v);
    case RL_MUL: PAIRS(u * v);
    case RL_DIV: PAIRS(u / v);
    case RL_MIN: PAIRS(u <= v ? u : v);
    case RL_MAX: PAIRS(u >= v ? u : v);
    case RL_LT: PAIRS(u < v);
    case RL_LE: PAIRS(u <= v);
    case RL_EQ: PAIRS(u == v);
    }
}

/* Where element (row, l) of an operand stands: row counts the first three axes. */
static inline int64_t row_at(int64_t row, const int64_t *dim, const int64_t *stride) {
    const int64_t i = row / (dim[1] * dim[2]), j = row / dim[2] % dim[1], k = row % dim[2];
    return i * stride[0] + j * stride[1] + k * stride[2];
}

static inline int64_t rows_of(const int64_t *dim) { return dim[0] * dim[1] * dim[2]; }

/* Are neither a nor b broadcast? */
static int same_shape(const int64_t *dim, const int64_t *a, const int64_t *b) {
    int64_t step = 1;
    for (int i = 3; i >= 0; step *= dim[i--])
        if (dim[i] > 1 && (a[i] != step || b[i] != step)) return 0;
    return 1;
}

void CPU(binary)(rl_part p, int op, float *y, const float *a, const float *b, const int64_t *dim,
                 const int64_t *as, const int64_t *bs) {
    if (same_shape(dim, as, bs)) {
        const int64_t n = rows_of(dim) * dim[3], from = first(p, n), one[4] = { 0, 0, 0, 1 };
        const int64_t line[4] = { 1, 1, 1, last(p, n) - from };
        binary_row(op, y + from, a, from, b, from, line, one, one);
        return;
    }
    for (int64_t r = first(p, rows_of(dim)); r < last(p, rows_of(dim)); r++)
        binary_row(op, y + r * dim[3], a, row_at(r, dim, as), b, row_at(r, dim, bs), dim, as, bs);
}

/* The slope of op towards operand `which` at (u, v). */
static inline float slope(int op, int which, float u, float v) {
    switch (op) {
    case RL_ADD: return 1;
    case RL_SUB: return which ? -1 : 1;
    case RL_MUL: return which ? u : v;
    case RL_DIV: return which ? -u / v / v : 1 / v;
    case RL_MIN: return which ? v < u : u <= v;
    case RL_MAX: return which ? v > u : u >= v;
    default: return 0;
    }
}

/* A part owns the last axis' elements, or rows where the operand has one for each; a broadcast
 * operand with neither is summed by part 0 alone. */
void CPU(binary_grad)(rl_part p, int op, int which, float *dx, const float *dy, const float *a,
                      const float *b, const int64_t *dim, const int64_t *as, const int64_t *bs) {
    const int64_t *own = which ? bs : as, rows = rows_of(dim);
    int by_rows = own[0] + own[1] + own[2] > 0;
    for (int i = 0; i < 3; i++) by_rows = by_rows && (dim[i] == 1 || own[i]);
    const int by_columns = !by_rows && own[3];
    if (!by_rows && !by_columns && p.i > 0) return;
    const rl_part all = { 0, 1 }, rp = by_rows ? p : all, cp = by_columns ? p : all;
    for (int64_t r = first(rp, rows); r < last(rp, rows); r++) {
        const int64_t ia = row_at(r, dim, as), ib = row_at(r, dim, bs), io = which ? ib : ia;
        for (int64_t l = first(cp, dim[3]); l < last(cp, dim[3]); l++) {
            const float u = a[ia + l * as[3]], v = b[ib + l * bs[3]];
            dx[io + l * own[3]] += dy[r * dim[3] + l] * slope(op, which, u, v);
        }
    }
}

/* ---- the gated unit ---- */

void CPU(swiglu)(rl_part p, float *y, const float *a, const float *b, int64_t n) {
#pragma omp simd
    for (int64_t i = first(p, n); i < last(p, n); i++) y[i] = a[i] * sigmoid_(a[i]) * b[i];
}

void CPU(swiglu_grad)(rl_part p, float *da, float *db, const float *dy, const float *a,
                      const float *b, int64_t n) {
#pragma omp simd
    for (int64_t i = first(p, n); i < last(p, n); i++) {
        const float s = sigmoid_(a[i]);
        if (da) da[i] += dy[i] * b[i] * (s * (1 + a[i] * (1 - s)));
        if (db) db[i] += dy[i] * (a[i] * s);
    }
}

void CPU(accumulate)(rl_part p, float *y, const float *x, int64_t n) {
#pragma omp simd
    for (int64_t i = first(p, n); i < last(p, n); i++) y[i] += x[i];
}

void CPU(fill)(rl_part p, float *y, float value, int64_t n) {
    for (int64_t i = first(p, n); i < last(p, n); i++) y[i] = value;
}
