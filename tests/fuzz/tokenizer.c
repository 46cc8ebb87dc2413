/* Fuzz target: tokenizer.json.  An accepted one must encode and decode whatever text. */
#include "rllava.h"
#include <stdlib.h>
#include <string.h>

static void use(rl_tokenizer *t, const char *text, size_t bytes, int special, int plain) {
    const int n = rl_tokenizer_encode(t, text, (double)bytes, special, plain);
    if (n < 0) return;
    int *ids = malloc(sizeof *ids * ((size_t)n + 1));
    rl_stream *s = rl_stream_new(t, plain);
    for (int i = 0; i < n; i++) {
        const rl_token x = rl_tokenizer_tokens(t)[i];
        ids[i] = x.id;
        if (x.from < 0 || x.to < x.from || (size_t)x.to > bytes) abort();
        rl_stream_put(s, x.id);
    }
    rl_stream_end(s);
    rl_tokenizer_decode(t, ids, n, special);
    rl_stream_free(s);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] =
        "The <s> caf\xc3\xa9, e\xcc\x81 12 it's\n \xe2\x96\x81 \xf0\x9f\x98\x80\xff\x80"
        " <|im_end|>  \xef\xac\x81\xed\x95\x9c aab ab";
    rl_tokenizer *t = rl_tokenizer_parse((const char *)data, (double)size, "fuzz");
    if (!t) return 0;
    const size_t tail = size < 200 ? size : 200;
    use(t, text, sizeof text - 1, 1, 0);
    use(t, (const char *)data + size - tail, tail, 0, 1);
    rl_tokenizer_pieces(t, text, sizeof text - 1);
    for (int id = -1; id <= rl_tokenizer_size(t) && id < 1000; id++) {
        int bytes;
        const char *token = rl_tokenizer_token(t, id, &bytes);
        if (token && rl_tokenizer_id(t, token, bytes) < 0 && rl_tokenizer_kind(t, id) == 0) abort();
    }
    rl_tokenizer_free(t);
    return 0;
}
