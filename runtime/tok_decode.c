/* The decoder of a tokenizer: from tokens to text, all at once or as they come. */
#include "tokenizer.h"
#include <stdlib.h>
#include <string.h>

/* JOIN: what is done where the file names no decoder. */
typedef enum { JOIN, BYTES, REPLACE, FALLBACK, FUSE, STRIP, METASPACE } step_kind;
/* mark: the character of STRIP and METASPACE; start, stop: how many STRIP takes off at most;
 * fused: what it gets is one text and no longer tokens; spaces: METASPACE takes the first token's
 * marks away */
typedef struct {
    step_kind kind; rl_pattern pattern; char *content; int length, start, stop;
    uint32_t mark; bool fused, spaces;
} step;

struct rl_decoder { step *steps; int n; bool fused; };

/* Between tokens, for each step: bytes that wait, and how many tokens or characters came. */
typedef struct { rl_bytes held; int count; } state;
/* n: steps, so that it can be freed behind its decoder */
struct rl_decoding { const rl_decoder *d; int n; bool live; state *states; };

static const char bad[] = "\xef\xbf\xbd";            /* U+FFFD */

void rl_bytes_add(rl_bytes *b, const char *s, int64_t n) {
    if (b->n + n + 1 > b->room)
        b->at = realloc(b->at, (size_t)(b->room = 2 * (b->n + n) + 64));
    if (n) memcpy(b->at + b->n, s, (size_t)n);
    b->at[b->n += n] = 0;
}

/* ---- loading ---- */

static int read_mark(step *t, const rl_where *p, int object, const char *key) {
    const int node = rl_where_text(p, object, key);
    if (node < 0) return -1;
    rl_glyphs mark = { 0 };
    rl_glyphs_read(&mark, rl_where_node(p, node)->text, rl_where_node(p, node)->length);
    const int n = mark.n;
    if (n) t->mark = mark.at[0].c;
    free(mark.at);
    return n == 1 ? 0 : rl_where_refuse(p, key, "one character", node);
}

static int read_strip(step *t, const rl_where *p, int at) {
    return read_mark(t, p, at, "content") ||
           rl_where_whole(p, rl_json_get(p->doc, at, "start"), "start", 1000, &t->start) ||
           rl_where_whole(p, rl_json_get(p->doc, at, "stop"), "stop", 1000, &t->stop) ? -1 : 0;
}

static int read_replace(step *t, const rl_where *p, int at) {
    const int node = rl_pattern_read(&t->pattern, p, at) ? -1 : rl_where_text(p, at, "content");
    if (node < 0) return -1;
    t->length = rl_where_node(p, node)->length;
    t->content = malloc((size_t)t->length + 1);
    memcpy(t->content, rl_where_node(p, node)->text, (size_t)t->length + 1);
    return 0;
}

static int read_metaspace(step *t, const rl_where *p, int at) {
    const int scheme = rl_json_get(p->doc, at, "prepend_scheme");
    t->spaces = !rl_json_is(p->doc, scheme, "never");
    if (scheme < 0 && rl_where_flag(p, at, "add_prefix_space", true, &t->spaces)) return -1;
    return read_mark(t, p, at, "replacement");
}

static int add(void *to, rl_where *p, int at) {
    static const char *const names[] = { "", "ByteLevel", "Replace", "ByteFallback", "Fuse",
                                         "Strip", "Metaspace" };
    rl_decoder *d = to;
    d->steps = realloc(d->steps, sizeof *d->steps * (size_t)(d->n + 1));
    step *t = &d->steps[d->n++];
    *t = (step){ .kind = METASPACE, .fused = d->fused };
    while (t->kind > JOIN && !rl_where_is(p, at, names[t->kind])) t->kind--;
    const int type = rl_json_get(p->doc, at, "type");
    if (d->fused && t->kind != FUSE && t->kind != STRIP)
        return rl_where_refuse(p, "type", "Fuse or Strip behind Fuse or ByteLevel", type);
    d->fused |= t->kind == FUSE || t->kind == BYTES;
    switch (t->kind) {
    case JOIN:
        return rl_where_refuse(p, "type", "ByteLevel, Replace, ByteFallback, Fuse, Strip, "
                               "Metaspace or Sequence", type);
    case REPLACE: return read_replace(t, p, at);
    case STRIP: return read_strip(t, p, at);
    case METASPACE: return read_metaspace(t, p, at);
    default: return 0;
    }
}

rl_decoder *rl_decoder_new(rl_where *p, int node) {
    rl_decoder *d = calloc(1, sizeof *d);
    const int mark = rl_where_enter(p, "decoder", -1);
    if (node < 0 || rl_where_node(p, node)->kind == RL_JSON_NULL) {
        d->steps = calloc(1, sizeof *d->steps), d->n = 1;
    } else if (rl_where_each(p, node, "decoders", d, add)) {
        rl_decoder_free(d);
        return NULL;
    }
    rl_where_leave(p, mark);
    return d;
}

void rl_decoder_free(rl_decoder *d) {
    if (!d) return;
    for (int i = 0; i < d->n; i++) rl_pattern_free(&d->steps[i].pattern), free(d->steps[i].content);
    free(d->steps), free(d);
}

/* ---- running ---- */

rl_decoding *rl_decoding_new(const rl_decoder *d, bool live) {
    rl_decoding *s = malloc(sizeof *s);
    *s = (rl_decoding){ d, d->n, live, calloc((size_t)d->n + 1, sizeof(state)) };
    return s;
}

void rl_decoding_free(rl_decoding *s) {
    if (!s) return;
    for (int i = 0; i < s->n; i++) free(s->states[i].held.at);
    free(s->states), free(s);
}

static void feed(rl_decoding *s, int k, const char *text, int64_t n, rl_bytes *out);

/* Gives on the characters of held that are complete; each wrong stretch becomes one U+FFFD, or,
 * under every, one a byte.  at_end: what is cut short is wrong too. */
static void give_complete(rl_decoding *s, int k, bool every, bool at_end, rl_bytes *out) {
    rl_bytes *held = &s->states[k].held, good = { 0 };
    int64_t i = 0;
    for (int used; i < held->n; i += used) {
        const int32_t c = rl_utf8_take(held->at + i, held->n - i, &used);
        if (c == -1 && !at_end) break;
        const bool right = c >= 0 && (c != 0xfffd || (used == 3 && !memcmp(held->at + i, bad, 3)));
        if (right) rl_bytes_add(&good, held->at + i, used);
        else for (int j = 0; j < (every ? used : 1); j++) rl_bytes_add(&good, bad, 3);
    }
    if (i) memmove(held->at, held->at + i, (size_t)(held->n - i));
    held->n -= i;
    if (good.n) feed(s, k + 1, good.at, good.n, out);
    free(good.at);
}

/* A token of letters for bytes; one with other characters stands for itself. */
static void put_bytes(rl_decoding *s, int k, const char *text, int64_t n, rl_bytes *out) {
    rl_bytes *held = &s->states[k].held;
    const int64_t before = held->n;
    for (int64_t i = 0, used; i < n; i += used) {
        int length;
        const int b = rl_byte_of_letter((uint32_t)rl_utf8_take(text + i, n - i, &length));
        if (b < 0) {
            held->n = before;
            rl_bytes_add(held, text, n);
            break;
        }
        const char c = (char)b;
        rl_bytes_add(held, &c, 1);
        used = length;
    }
    if (s->live || k + 1 == s->n) give_complete(s, k, false, false, out);
}

static void replace(rl_decoding *s, int k, const char *text, int64_t n, rl_bytes *out) {
    const step *t = &s->d->steps[k];
    rl_glyphs x = { 0 };
    rl_bytes made = { 0 };
    char c[4];
    rl_glyphs_read(&x, text, n);
    for (int from = 0, end; from < x.n; from = end) {
        const int i = rl_pattern_find(&t->pattern, x.at, x.n, from, &end);
        for (; from < i; from++) rl_bytes_add(&made, c, rl_utf8_put(x.at[from].c, c));
        if (i < x.n) rl_bytes_add(&made, t->content, t->length);
    }
    feed(s, k + 1, made.at, made.n, out);
    free(x.at), free(made.at);
}

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* A run of bytes that is over: a text if all of it is UTF-8, else U+FFFD for each of its bytes. */
static void give_run(rl_decoding *s, int k, rl_bytes *out) {
    rl_bytes *held = &s->states[k].held;
    if (!held->n) return;
    if (s->live) { give_complete(s, k, true, true, out); return; }
    const int64_t n = held->n;
    bool good = true;
    for (int64_t i = 0, used; i < n && good; i += used) {
        int length;
        const int32_t c = rl_utf8_take(held->at + i, n - i, &length);
        good = c >= 0 && (c != 0xfffd || (length == 3 && !memcmp(held->at + i, bad, 3)));
        used = length;
    }
    held->n = 0;
    if (good) feed(s, k + 1, held->at, n, out);
    else for (int64_t i = 0; i < n; i++) feed(s, k + 1, bad, 3, out);
}

static void fall_back(rl_decoding *s, int k, const char *text, int64_t n, rl_bytes *out) {
    if (n == 6 && !memcmp(text, "<0x", 3) && digit(text[3]) >= 0 && digit(text[4]) >= 0 &&
        text[5] == '>') {
        const char c = (char)(digit(text[3]) << 4 | digit(text[4]));
        rl_bytes_add(&s->states[k].held, &c, 1);
        if (s->live) give_complete(s, k, true, false, out);
        return;
    }
    give_run(s, k, out);
    feed(s, k + 1, text, n, out);
}

/* Up to most marks [size bytes] at the front of text, or at its end -> their bytes. */
static int64_t marks(const char *text, int64_t n, const char *mark, int size, int most, bool end) {
    int64_t taken = 0;
    for (int i = 0; i < most && n - taken >= size; i++, taken += size)
        if (memcmp(end ? text + n - taken - size : text + taken, mark, (size_t)size)) break;
    return taken;
}

/* One whole text: up to start marks off its front, up to stop off its end. */
static void strip(const step *t, const char **text, int64_t *n) {
    char mark[4];
    const int size = rl_utf8_put(t->mark, mark);
    const int64_t front = marks(*text, *n, mark, size, t->start, false);
    *text += front, *n -= front;
    *n -= marks(*text, *n, mark, size, t->stop, true);
}

/* A part of one text: marks that may turn out to be its last ones wait. */
static void strip_part(rl_decoding *s, int k, const char *text, int64_t n, rl_bytes *out) {
    const step *t = &s->d->steps[k];
    state *x = &s->states[k];
    char mark[4];
    const int size = rl_utf8_put(t->mark, mark);
    const int64_t front = marks(text, n, mark, size, t->start - x->count, false);
    x->count += (int)(front / size);
    if (front == n) return;
    x->count = t->start;
    rl_bytes_add(&x->held, text + front, n - front);
    const rl_bytes all = x->held;
    const int64_t end = all.n - marks(all.at, all.n, mark, size, t->stop, true);
    x->held = (rl_bytes){ 0 };
    rl_bytes_add(&x->held, all.at + end, all.n - end);
    if (end) feed(s, k + 1, all.at, end, out);
    free(all.at);
}

static void metaspace(rl_decoding *s, int k, const char *text, int64_t n, rl_bytes *out) {
    const step *t = &s->d->steps[k];
    rl_bytes made = { 0 };
    const bool drop = s->states[k].count++ == 0 && t->spaces;
    for (int64_t i = 0, used; i < n; i += used) {
        int length;
        const int32_t c = rl_utf8_take(text + i, n - i, &length);
        if (c != (int32_t)t->mark) rl_bytes_add(&made, text + i, length);
        else if (!drop) rl_bytes_add(&made, " ", 1);
        used = length;
    }
    feed(s, k + 1, made.at, made.n, out);
    free(made.at);
}

static void feed(rl_decoding *s, int k, const char *text, int64_t n, rl_bytes *out) {
    if (k == s->n) { rl_bytes_add(out, text, n); return; }
    const step *t = &s->d->steps[k];
    switch (t->kind) {
    case JOIN:
        if (s->states[k].count++) feed(s, k + 1, " ", 1, out);
        feed(s, k + 1, text, n, out);
        return;
    case BYTES: put_bytes(s, k, text, n, out); return;
    case REPLACE: replace(s, k, text, n, out); return;
    case FALLBACK: fall_back(s, k, text, n, out); return;
    case FUSE:
        if (s->live) feed(s, k + 1, text, n, out);
        else rl_bytes_add(&s->states[k].held, text, n);
        return;
    case STRIP:
        if (s->live && t->fused) { strip_part(s, k, text, n, out); return; }
        strip(t, &text, &n);
        feed(s, k + 1, text, n, out);
        return;
    case METASPACE: metaspace(s, k, text, n, out); return;
    }
}

void rl_decoding_put(rl_decoding *s, const char *token, int n, rl_bytes *out) {
    feed(s, 0, token, n, out);
}

void rl_decoding_end(rl_decoding *s, rl_bytes *out) {
    for (int k = 0; k < s->n; k++) {
        rl_bytes *held = &s->states[k].held;
        const step_kind kind = s->d->steps[k].kind;
        if (kind == BYTES) give_complete(s, k, false, true, out);
        else if (kind == FALLBACK) give_run(s, k, out);
        else if (kind == FUSE && held->n) feed(s, k + 1, held->at, held->n, out);
        held->n = 0, s->states[k].count = 0;
    }
}
