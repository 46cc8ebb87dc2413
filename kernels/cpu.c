/* The three tables of CPU kernels, and the one in use. */
#include "kernels.h"
#include <stddef.h>
#include <string.h>

#define KERNEL(name, ...) .name = rl_generic_##name,
static const rl_kernels generic = { .isa = "generic",
#include "kernels.def"
};
#undef KERNEL
#define KERNEL(name, ...) .name = rl_avx2_##name,
static const rl_kernels avx2 = { .isa = "avx2",
#include "kernels.def"
};
#undef KERNEL
#define KERNEL(name, ...) .name = rl_avx512_##name,
static const rl_kernels avx512 = { .isa = "avx512",
#include "kernels.def"
};
#undef KERNEL

const rl_kernels *rl_k = &generic;

int rl_kernels_choose(const char *isa) {
    const int has2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int has512 = has2 && __builtin_cpu_supports("avx512f") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512dq");
    if (!isa) rl_k = has512 ? &avx512 : has2 ? &avx2 : &generic;
    else if (!strcmp(isa, "avx512") && has512) rl_k = &avx512;
    else if (!strcmp(isa, "avx2") && has2) rl_k = &avx2;
    else if (!strcmp(isa, "generic")) rl_k = &generic;
    else return -1;
    return 0;
}
