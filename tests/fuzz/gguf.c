/* Fuzz target: GGUF.  Every element of every accepted tensor and every value must be readable. */
#include "files.h"
#include <stdlib.h>
#include <string.h>

static void read_values(const rl_gguf *g) {
    double sum = 0;
    for (int k = 0; k < rl_gguf_keys(g); k++) {
        if (rl_gguf_meta(g, rl_gguf_key(g, k)) != k) abort();
        const int n = rl_gguf_length(g, k);
        for (int i = -1; i <= (n < 0 ? 1 : n); i++) {
            int bytes = 0;
            const char *text = rl_gguf_text(g, k, i, &bytes);
            for (int j = 0; text && j < bytes; j++) sum += text[j];
            sum += rl_gguf_number(g, k, i);
        }
    }
    static volatile double sink;
    sink = sum;
    (void)sink;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rl_gguf *g = rl_gguf_parse("fuzz", data, (double)size);
    for (int i = 0; g && i < rl_gguf_count(g); i++) {
        const rl_stored *t = rl_gguf_at(g, i);
        if (rl_gguf_find(g, t->name) != i || t->count > 1e6) abort();
        float *x = malloc(sizeof *x * ((size_t)t->count + 1));
        if (rl_stored_read(t, 0, t->count, x)) abort();
        free(x);
    }
    if (g) read_values(g);
    rl_gguf_close(g);
    return 0;
}
