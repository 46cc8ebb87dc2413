/* Names of this build's functions, and the share of a part. */
#ifndef RL_PART_H
#define RL_PART_H
#include "kernels.h"

#define RL_NAME2(isa, name) rl_##isa##_##name
#define RL_NAME(isa, name) RL_NAME2(isa, name)
#define CPU(name) RL_NAME(RL_ISA, name)

/* Part i of n owns [first, last) of count things. */
static inline int64_t first(rl_part p, int64_t count) { return count * p.i / p.n; }
static inline int64_t last(rl_part p, int64_t count) { return count * (p.i + 1) / p.n; }

#endif
