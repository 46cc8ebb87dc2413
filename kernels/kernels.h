/* What the runtime sees of this room: kernels.def turned into one table of functions a device. */
#ifndef RL_KERNELS_H
#define RL_KERNELS_H
#include <stdint.h>

typedef struct { int i, n; } rl_part;                 /* part i of n of the work */
typedef enum { RL_F32, RL_BF16, RL_I32 } rl_dtype;

enum { RL_PANEL = 16 };    /* columns of a weight panel: w [n, k] is kept as [ceil(n/16)][k][16] */
enum { RL_QUANT_GROUP = 32 };   /* numbers along k that share a scale in weights of few bits */

/* n rows of keys, one after another, from row on. */
typedef struct { int32_t row, n; } rl_span;
/* rows [q0, q0 + qn) ask; the keys they may see are spans [span0, span0 + spans), keys rows in all.
 * causal: the run's own rows are the last qn of these keys, and query i sees keys - qn + i + 1. */
typedef struct { int32_t q0, qn, span0, spans, keys, causal; } rl_run;

/* How one row is sampled.  top_k 0, top_p 1, min_p 0: off.  temperature 0: the largest logit.  bias
 * [nbias] is added to the logits of ids bias_id first. */
typedef struct {
    float temperature, top_p, min_p; int32_t top_k; uint64_t seed, counter;
    const int32_t *bias_id; const float *bias; int32_t nbias;
} rl_sampling;

/* A code of 8 bits for numbers of magnitude 0 to 1.  value by code, ascending; RL_CODE_ZERO is the
 * zero of the code with signs.  Magnitudes have ranks: above[k] lies midway between ranks k and k +
 * 1, and start[cell] is the rank at the lower end of a cell, which are 128 to an octave from 2^-24
 * on, so narrow that only one rank can end in it. */
enum { RL_CODE_BLOCK = 256, RL_CODE_ZERO = 127, RL_CODE_FIRST = (127 - 24) * 128,
       RL_CODE_CELLS = 24 * 128 + 1 };
typedef struct { float value[256], above[256]; int32_t start[RL_CODE_CELLS]; } rl_code;

/* Elementwise operations; a, b: their parameters. */
enum { RL_NEG, RL_EXP, RL_LOG, RL_SQRT, RL_ABS, RL_SQR, RL_SILU, RL_SIGMOID, RL_TANH,
       RL_GELU_ERF, RL_GELU_TANH, RL_GELU_QUICK, RL_CLAMP /* to [a, b] */, RL_AFFINE /* a x + b */,
       RL_POW /* x^a, x > 0 */ };
enum { RL_ADD, RL_SUB, RL_MUL, RL_DIV, RL_MIN, RL_MAX, RL_LT, RL_LE, RL_EQ };

typedef struct {
    const char *isa;
#define KERNEL(name, ...) void (*name)(rl_part p, __VA_ARGS__);
#include "kernels.def"
#undef KERNEL
} rl_kernels;

#define KERNEL(name, ...) void rl_generic_##name(rl_part p, __VA_ARGS__); \
    void rl_avx2_##name(rl_part p, __VA_ARGS__); void rl_avx512_##name(rl_part p, __VA_ARGS__);
#include "kernels.def"
#undef KERNEL

extern const rl_kernels *rl_k;                        /* the device in use */
/* Chooses by name ("generic", "avx2", "avx512", NULL: the best here); -1: not on this machine. */
int rl_kernels_choose(const char *isa);

#endif
