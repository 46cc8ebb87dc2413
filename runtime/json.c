/* JSON as it is written: keys in order, integers exact, null kept.  RFC 8259. */
#include "runtime.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 512 };

struct rl_json { rl_json_node *nodes; int count, room; char *text; };

typedef struct {
    rl_json *doc;
    const char *name, *start, *at, *end;
    char *out;                          /* where the next unescaped string goes */
} reader;

static int expected(reader *r, const char *what) {
    int line = 1, column = 1;
    for (const char *p = r->start; p < r->at; p++)
        if (*p == '\n') line++, column = 1;
        else if ((*p & 0xc0) != 0x80) column++;
    if (r->at >= r->end)
        return rl_refuse("%s:%d:%d: expected %s, found the end", r->name, line, column, what);
    int n = 1;
    while (r->at + n < r->end && (r->at[n] & 0xc0) == 0x80 && n < 4) n++;
    if ((unsigned char)*r->at < 32)
        return rl_refuse("%s:%d:%d: expected %s, found byte 0x%02x", r->name, line, column, what,
                         (unsigned char)*r->at);
    return rl_refuse("%s:%d:%d: expected %s, found '%.*s'", r->name, line, column, what, n, r->at);
}

static void skip_space(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static int add(reader *r, int kind) {
    rl_json *d = r->doc;
    if (d->count == d->room) {
        d->room = d->room ? 2 * d->room : 64;
        d->nodes = realloc(d->nodes, (size_t)d->room * sizeof *d->nodes);
    }
    d->nodes[d->count] = (rl_json_node){ .kind = kind, .next = d->count + 1 };
    return d->count++;
}

static int hex4(reader *r) {
    int v = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        if (r->at >= r->end || !isxdigit((unsigned char)*r->at))
            return expected(r, "four hex digits");
        v = v * 16 + (isdigit((unsigned char)*r->at) ? *r->at - '0' : (*r->at | 32) - 'a' + 10);
    }
    return v;
}

static void put_utf8(reader *r, int c) {
    if (c < 0x80) { *r->out++ = (char)c; return; }
    if (c < 0x800) *r->out++ = (char)(0xc0 | c >> 6);
    else {
        if (c < 0x10000) *r->out++ = (char)(0xe0 | c >> 12);
        else *r->out++ = (char)(0xf0 | c >> 18), *r->out++ = (char)(0x80 | (c >> 12 & 63));
        *r->out++ = (char)(0x80 | (c >> 6 & 63));
    }
    *r->out++ = (char)(0x80 | (c & 63));
}

/* After "\u": one code point.  A surrogate without its partner becomes U+FFFD. */
static int escaped_unicode(reader *r) {
    int c = hex4(r);
    if (c < 0) return -1;
    if (c >= 0xd800 && c < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
        const char *back = r->at;
        r->at += 2;
        int low = hex4(r);
        if (low < 0) return -1;
        if (low >= 0xdc00 && low < 0xe000) c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        else r->at = back;
    }
    put_utf8(r, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
    return 0;
}

static int escaped(reader *r) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char c = r->at < r->end ? *r->at : 0, *p = c ? strchr(from, c) : NULL;
    if (p) { *r->out++ = to[p - from]; r->at++; return 0; }
    if (c != 'u') return expected(r, "an escape");
    r->at++;
    return escaped_unicode(r);
}

static int string(reader *r) {
    if (r->at >= r->end || *r->at != '"') return expected(r, "a string");
    r->at++;
    const int n = add(r, RL_JSON_STRING);
    char *begin = r->out;
    for (;;) {
        if (r->at >= r->end || (unsigned char)*r->at < 32) return expected(r, "'\"'");
        const char c = *r->at++;
        if (c == '"') break;
        if (c != '\\') *r->out++ = c;
        else if (escaped(r)) return -1;
    }
    r->doc->nodes[n].text = begin;
    r->doc->nodes[n].length = (int)(r->out - begin);
    *r->out++ = 0;
    return 0;
}

static int digits(reader *r) {
    const char *from = r->at;
    while (r->at < r->end && isdigit((unsigned char)*r->at)) r->at++;
    return r->at > from ? 0 : expected(r, "a digit");
}

static int number(reader *r) {
    const char *begin = r->at;
    int kind = RL_JSON_INT;
    if (*r->at == '-') r->at++;
    if (r->at < r->end && *r->at == '0') r->at++;
    else if (digits(r)) return -1;
    if (r->at < r->end && *r->at == '.') {
        r->at++, kind = RL_JSON_FLOAT;
        if (digits(r)) return -1;
    }
    if (r->at < r->end && (*r->at | 32) == 'e') {
        r->at++, kind = RL_JSON_FLOAT;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
        if (digits(r)) return -1;
    }
    const int n = add(r, kind), length = (int)(r->at - begin);
    r->doc->nodes[n].text = memcpy(r->out, begin, (size_t)length);
    r->doc->nodes[n].length = length;
    r->out += length;
    *r->out++ = 0;
    return 0;
}

static int word(reader *r, const char *text, int kind) {
    const size_t n = strlen(text);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, text, n)) return expected(r, "a value");
    r->at += n;
    add(r, kind);
    return 0;
}

static int value(reader *r, int depth);

/* "[ value , ... ]" or "{ string : value , ... }" */
static int container(reader *r, int depth, int kind, char close) {
    if (depth >= MAX_DEPTH) return expected(r, "at most 512 levels");
    const int n = add(r, kind);
    int count = 0;
    r->at++;
    skip_space(r);
    if (r->at < r->end && *r->at == close) r->at++;
    else for (;; count++) {
        if (kind == RL_JSON_OBJECT) {
            skip_space(r);
            if (string(r)) return -1;
            skip_space(r);
            if (r->at >= r->end || *r->at != ':') return expected(r, "':'");
            r->at++;
        }
        if (value(r, depth + 1)) return -1;
        skip_space(r);
        if (r->at < r->end && *r->at == ',') { r->at++; continue; }
        if (r->at >= r->end || *r->at != close)
            return expected(r, kind == RL_JSON_ARRAY ? "',' or ']'" : "',' or '}'");
        r->at++, count++;
        break;
    }
    r->doc->nodes[n].count = count;
    r->doc->nodes[n].next = r->doc->count;
    return 0;
}

static int value(reader *r, int depth) {
    skip_space(r);
    switch (r->at < r->end ? *r->at : 0) {
    case '{': return container(r, depth, RL_JSON_OBJECT, '}');
    case '[': return container(r, depth, RL_JSON_ARRAY, ']');
    case '"': return string(r);
    case 't': return word(r, "true", RL_JSON_TRUE);
    case 'f': return word(r, "false", RL_JSON_FALSE);
    case 'n': return word(r, "null", RL_JSON_NULL);
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7':
    case '8': case '9': return number(r);
    default: return expected(r, "a value");
    }
}

rl_json *rl_json_parse(const char *text, double length, const char *name) {
    rl_json *doc = calloc(1, sizeof *doc);
    reader r = { doc, name, text, text, text + (size_t)length, NULL };
    doc->text = r.out = malloc((size_t)length * 2 + 16);   /* an atom grows by at most its zero */
    if (length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) r.at += 3;
    if (value(&r, 0) == 0) {
        skip_space(&r);
        if (r.at == r.end) return doc;
        expected(&r, "the end");
    }
    rl_json_free(doc);
    return NULL;
}

const rl_json_node *rl_json_nodes(const rl_json *doc) { return doc ? doc->nodes : NULL; }

void rl_json_free(rl_json *doc) {
    if (!doc) return;
    free(doc->nodes), free(doc->text), free(doc);
}

bool rl_json_is(const rl_json *doc, int node, const char *text) {
    if (node < 0) return false;
    const rl_json_node *n = &doc->nodes[node];
    return n->kind == RL_JSON_STRING && (size_t)n->length == strlen(text) &&
           !memcmp(n->text, text, (size_t)n->length);
}

int rl_json_get(const rl_json *doc, int object, const char *key) {
    if (object < 0 || doc->nodes[object].kind != RL_JSON_OBJECT) return -1;
    int n = object + 1;
    for (int i = 0; i < doc->nodes[object].count; i++) {
        if (rl_json_is(doc, n, key)) return n + 1;
        n = doc->nodes[n + 1].next;
    }
    return -1;
}

int rl_json_at(const rl_json *doc, int array, int i) {
    if (array < 0 || doc->nodes[array].kind != RL_JSON_ARRAY) return -1;
    if (i >= doc->nodes[array].count) return -1;
    int n = array + 1;
    while (i-- > 0) n = doc->nodes[n].next;
    return n;
}

double rl_json_number(const rl_json *doc, int node, double dflt) {
    if (node < 0) return dflt;
    const rl_json_node *n = &doc->nodes[node];
    return n->kind == RL_JSON_INT || n->kind == RL_JSON_FLOAT ? strtod(n->text, NULL) : dflt;
}
