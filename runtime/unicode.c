/* Unicode as the reference tokenizers see it: classes, NFC, lower case.  Tables: unicode.def. */
#include "tokenizer.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 0x110000 };
typedef struct { uint32_t whole, first, second; } split;
typedef struct { uint32_t from, to; } pair;

static const split splits[] = {
#define RANGE(k, a, b)
#define MARK(k, a, b)
#define NOT_JOINED(c)
#define LOWER(c, l)
#define SPLIT(c, a, b) { c, a, b },
#include "unicode.def"
#undef SPLIT
#define SPLIT(c, a, b)
};
static const pair lowers[] = {
#undef LOWER
#define LOWER(c, l) { c, l },
#include "unicode.def"
#undef LOWER
#define LOWER(c, l)
};

enum { NSPLITS = sizeof splits / sizeof *splits, NLOWERS = sizeof lowers / sizeof *lowers };

/* By code point: class bits, combining class; then pairs that join, sorted. */
static uint8_t classes[POINTS], combining[POINTS], blocked[POINTS];
static split joins[NSPLITS];
static int njoins;

static int by_parts(const void *x, const void *y) {
    const split *a = x, *b = y;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->second < b->second ? -1 : a->second > b->second;
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
#undef MARK
#define MARK(k, a, b)
    };
    static const uint32_t apart[] = {
#undef NOT_JOINED
#define NOT_JOINED(c) c,
#include "unicode.def"
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (uint32_t c = ranges[i][1]; c <= ranges[i][2]; c++) classes[c] |= (uint8_t)ranges[i][0];
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        for (uint32_t c = marks[i][1]; c <= marks[i][2]; c++) combining[c] = (uint8_t)marks[i][0];
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++) blocked[apart[i]] = 1;
    for (int i = 0; i < NSPLITS; i++)
        if (splits[i].second && !blocked[splits[i].whole]) joins[njoins++] = splits[i];
    qsort(joins, (size_t)njoins, sizeof *joins, by_parts);
}

static void ready(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, build);
}

int rl_unicode_class(uint32_t c) {
    ready();
    return c < POINTS ? classes[c] : 0;
}

uint32_t rl_unicode_lower(uint32_t c) {
    int low = 0, high = NLOWERS - 1;
    while (low <= high) {
        const int mid = (low + high) / 2;
        if (lowers[mid].from == c) return lowers[mid].to;
        if (lowers[mid].from < c) low = mid + 1;
        else high = mid - 1;
    }
    return c;
}

/* ---- text ---- */

void rl_text_add(rl_text *t, uint32_t c, int from, int to) {
    if (t->n == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->at = realloc(t->at, sizeof *t->at * (size_t)t->room);
    }
    t->at[t->n++] = (rl_glyph){ c, from, to };
}

int rl_utf8_put(uint32_t c, char *out) {
    if (c < 0x80) { out[0] = (char)c; return 1; }
    if (c < 0x800) { out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)); return 2; }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63)), out[2] = (char)(0x80 | (c & 63));
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
    const int length = b >= 0xc2 && b < 0xe0 ? 2 : (b & 0xf0) == 0xe0 ? 3 : b >= 0xf0 && b < 0xf5 ? 4 : 0;
    if (!length) return 0xfffd;
    unsigned char low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80, high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
    int32_t c = b & (0xff >> (length + 1));
    for (int i = 1; i < length; i++, low = 0x80, high = 0xbf) {
        if (i >= n) { *used = i; return -1; }
        if (p[i] < low || p[i] > high) { *used = i; return 0xfffd; }
        c = c << 6 | (p[i] & 63);
    }
    *used = length;
    return c;
}

void rl_text_read(rl_text *t, const char *s, int64_t n) {
    for (int64_t i = 0; i < n;) {
        int used;
        const int32_t c = rl_utf8_take(s + i, n - i, &used);
        rl_text_add(t, c < 0 ? 0xfffd : (uint32_t)c, t->n, t->n + 1);
        i += used;
    }
}

/* ---- NFC: decompose, order the marks, compose.  Unicode Standard, section 3.11 ---- */

static const split *split_of(uint32_t c) {
    int low = 0, high = NSPLITS - 1;
    while (low <= high) {
        const int mid = (low + high) / 2;
        if (splits[mid].whole == c) return &splits[mid];
        if (splits[mid].whole < c) low = mid + 1;
        else high = mid - 1;
    }
    return NULL;
}

static void decompose(rl_text *out, rl_glyph g) {
    if (g.c >= 0xac00 && g.c < 0xd7a4) {                        /* Hangul syllables, by arithmetic */
        const uint32_t s = g.c - 0xac00;
        rl_text_add(out, 0x1100 + s / 588, g.from, g.to);
        rl_text_add(out, 0x1161 + s % 588 / 28, g.from, g.to);
        if (s % 28) rl_text_add(out, 0x11a7 + s % 28, g.from, g.to);
        return;
    }
    const split *d = split_of(g.c);
    if (!d) { rl_text_add(out, g.c, g.from, g.to); return; }
    decompose(out, (rl_glyph){ d->first, g.from, g.to });
    if (d->second) decompose(out, (rl_glyph){ d->second, g.from, g.to });
}

static void order_marks(rl_text *t) {
    for (int i = 1; i < t->n; i++) {
        const rl_glyph g = t->at[i];
        const int k = combining[g.c];
        int j = i;
        for (; k && j > 0 && combining[t->at[j - 1].c] > k; j--) t->at[j] = t->at[j - 1];
        t->at[j] = g;
    }
}

static uint32_t join(uint32_t a, uint32_t b) {
    if (a >= 0x1100 && a < 0x1113 && b >= 0x1161 && b < 0x1176) return 0xac00 + ((a - 0x1100) * 21 + b - 0x1161) * 28;
    if (a >= 0xac00 && a < 0xd7a4 && (a - 0xac00) % 28 == 0 && b > 0x11a7 && b < 0x11c3) return a + b - 0x11a7;
    const split key = { 0, a, b };
    const split *found = bsearch(&key, joins, (size_t)njoins, sizeof *joins, by_parts);
    return found ? found->whole : 0;
}

static void compose(rl_text *t) {
    int starter = -1, n = 0, last = -1;                         /* last: class of what stands between */
    for (int i = 0; i < t->n; i++) {
        const rl_glyph g = t->at[i];
        const int k = combining[g.c];
        const uint32_t whole = starter >= 0 && (last < k || last == -1) ? join(t->at[starter].c, g.c) : 0;
        if (whole) { t->at[starter].c = whole; continue; }
        if (k == 0) starter = n, last = -1;
        else last = k;
        t->at[n++] = g;
    }
    t->n = n;
}

void rl_text_nfc(rl_text *t) {
    bool plain = true;
    for (int i = 0; i < t->n; i++) plain &= t->at[i].c < 0x300;
    if (plain) return;                                          /* Latin-1 and its neighbours are composed */
    ready();
    rl_text out = { 0 };
    for (int i = 0; i < t->n; i++) decompose(&out, t->at[i]);
    order_marks(&out);
    compose(&out);
    free(t->at);
    *t = out;
}
