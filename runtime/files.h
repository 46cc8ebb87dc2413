/* What the file formats share: maps, stored tensors, the table of their formats. */
#ifndef RL_FILES_H
#define RL_FILES_H
#include "runtime.h"

/* printf to a new text (free). */
char *rl_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How numbers lie in a file: blocks of `block` elements in `bytes` bytes.  gguf: its number there,
 * -1 if it has none. */
typedef struct {
    const char *name;
    int gguf, block, bytes;
    void (*read)(const uint8_t *from, float *to, size_t blocks);
} rl_format;

const rl_format *rl_format_named(const char *name);      /* NULL: none */
const rl_format *rl_format_numbered(int gguf);

/* Sets t's dtype, count, bytes from its format and dims; refuses sizes that no file can have. */
int rl_stored_size(rl_stored *t, const rl_format *format, const char *file);
/* Checks n tensors of one file together: no two names equal, no two overlap.  gaps: whether bytes
 * between them are allowed; data [size] is where they must lie.  -> indices by name (free). */
int *rl_stored_check(const rl_stored *t, int n, const char *file, const char *data, double size,
                     bool gaps);
/* Index of name among t, ordered by order; -1. */
int rl_stored_find(const rl_stored *t, const int *order, int n, const char *name);

/* The loaders on bytes in memory; data stays the caller's and must outlive the result. */
rl_safetensors *rl_safetensors_parse(const char *file, const void *data, double size);
rl_gguf *rl_gguf_parse(const char *file, const void *data, double size);

#endif
