/* Fuzz target: safetensors.  Every element of every accepted tensor must be readable. */
#include "files.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rl_safetensors *st = rl_safetensors_parse("fuzz", data, (double)size);
    for (int i = 0; st && i < rl_safetensors_count(st); i++) {
        const rl_stored *t = rl_safetensors_at(st, i);
        if (rl_safetensors_find(st, t->name) != i || t->count > 1e6) abort();
        float *x = malloc(sizeof *x * ((size_t)t->count + 1));
        if (rl_stored_read(t, 0, t->count, x)) abort();
        free(x);
    }
    rl_safetensors_close(st);
    return 0;
}
