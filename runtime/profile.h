/* The profiler's hooks: one branch where nothing is counted. */
#ifndef RL_PROFILE_H
#define RL_PROFILE_H
#include "runtime.h"
#include <stdatomic.h>

extern _Atomic int rl_profiling;
static inline bool rl_is_profiling(void) {
    return atomic_load_explicit(&rl_profiling, memory_order_relaxed);
}

void rl_profile_add(rl_event e);
/* A node that ran from start until now. */
void rl_profile_node(const rl_node *n, int pass, double start, const char *phase,
                     const char *weight);
/* The name of the first parameter of a node; NULL: none. */
const char *rl_profile_weight(const rl_node *n);

#endif
