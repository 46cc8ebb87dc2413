/* Unicode as the reference tokenizers see it: classes and lower case (unicode.def), UTF-8. */
#include "tokenizer.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RANGE(k, a, b)
#define MARK(k, a, b)
#define SPLIT(c, a, b)
#define NOT_JOINED(c)
#define LOWER(c, l)
#define COMPAT(c, s)

uint8_t rl_unicode_classes[RL_CODE_POINTS], rl_unicode_marks[RL_CODE_POINTS];

typedef struct { uint32_t from, to; } pair;
static const pair lowers[] = {
#undef LOWER
#define LOWER(c, l) { c, l },
#include "unicode.def"
#undef LOWER
#define LOWER(c, l)
};

static void fill(uint8_t *table, const uint32_t (*ranges)[3], size_t n) {
    for (size_t i = 0; i < n; i++)
        for (uint32_t c = ranges[i][1]; c <= ranges[i][2]; c++) table[c] |= (uint8_t)ranges[i][0];
}

static void build(void) {
    static const uint32_t ranges[][3] = {
#undef RANGE
#define RANGE(k, a, b) { k, a, b },
#include "unicode.def"
#undef RANGE
#define RANGE(k, a, b)
    };
    static const uint32_t marks[][3] = {
#undef MARK
#define MARK(k, a, b) { k, a, b },
#include "unicode.def"
    };
    fill(rl_unicode_classes, ranges, sizeof ranges / sizeof *ranges);
    fill(rl_unicode_marks, marks, sizeof marks / sizeof *marks);
}

void rl_unicode_ready(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, build);
}

uint32_t rl_unicode_lower(uint32_t c) {
    if (c < 128) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    int low = 0, high = (int)(sizeof lowers / sizeof *lowers) - 1;
    while (low <= high) {
        const int mid = (low + high) / 2;
        if (lowers[mid].from == c) return lowers[mid].to;
        if (lowers[mid].from < c) low = mid + 1;
        else high = mid - 1;
    }
    return c;
}

int rl_char_class(int c) {
    rl_unicode_ready();
    return c < 0 || c >= RL_CODE_POINTS ? 0 : rl_unicode_classes[c];
}

int rl_char_lower(int c) { return c < 0 ? c : (int)rl_unicode_lower((uint32_t)c); }

int rl_char_upper(int c) {
    for (size_t i = 0; i < sizeof lowers / sizeof *lowers; i++)
        if ((int)lowers[i].to == c) return (int)lowers[i].from;
    return c;
}

/* ---- text ---- */

static _Thread_local const char *given_up;

void rl_give_up(const char *reason) { given_up = reason; }

const char *rl_given_up(void) {
    const char *reason = given_up;
    given_up = NULL;
    return reason;
}

void rl_glyphs_add(rl_glyphs *t, uint32_t c, int from, int to) {
    if (t->n == RL_MAX_GLYPHS) { rl_give_up("at most 2^28 characters when normalised"); return; }
    if (t->n == t->room)
        t->at = realloc(t->at, sizeof *t->at * (size_t)(t->room = t->room ? 2 * t->room : 64));
    t->at[t->n++] = (rl_glyph){ c, from, to };
}

static void make_room(rl_glyphs *t, int n) {
    if (n > t->room) t->at = realloc(t->at, sizeof *t->at * (size_t)(t->room = n));
}

void rl_glyphs_copy(rl_glyphs *t, const rl_glyph *at, int n) {
    make_room(t, n);
    memcpy(t->at, at, sizeof *at * (size_t)n);
    t->n = n;
}

int rl_utf8_put(uint32_t c, char *out) {
    if (c < 0x80) { out[0] = (char)c; return 1; }
    if (c < 0x800) { out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)); return 2; }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63)), out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* The well-formed sequences of Unicode's table 3-7. */
int32_t rl_utf8_take(const char *s, int64_t n, int *used) {
    const unsigned char *p = (const unsigned char *)s, b = p[0];
    *used = 1;
    if (b < 0x80) return b;
    const int length = b < 0xc2 || b > 0xf4 ? 0 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
    if (!length) return 0xfffd;
    unsigned char low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
    unsigned char high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
    int32_t c = b & (0xff >> (length + 1));
    for (int i = 1; i < length; i++, low = 0x80, high = 0xbf) {
        *used = i;
        if (i >= n) return -1;
        if (p[i] < low || p[i] > high) return 0xfffd;
        c = c << 6 | (p[i] & 63);
    }
    *used = length;
    return c;
}

void rl_glyphs_read(rl_glyphs *t, const char *s, int64_t n) {
    make_room(t, t->n + (int)n);
    int k = t->n;
    for (int64_t i = 0; i < n; k++) {
        int used = 1;
        int32_t c = (unsigned char)s[i];
        if (c >= 128) c = rl_utf8_take(s + i, n - i, &used);
        t->at[k] = (rl_glyph){ c < 0 ? 0xfffd : (uint32_t)c, k, k + 1 };
        i += used;
    }
    t->n = k;
}
