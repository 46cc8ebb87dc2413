/* The part of regular expressions that tokenizer files use: sets, runs of a set, alternatives, (?i:), (?!). */
#include "tokenizer.h"
#include <stdlib.h>
#include <string.h>

typedef struct { uint32_t low, high; } range;
typedef struct { bool negated; int with, without; range *ranges; int n; } set;     /* with: \p classes; without: \S */
/* RUN: min to max of a set, greedy, then what follows.  SPLIT: first x, then y.  NOT: nothing at x may match. */
typedef enum { RUN, SPLIT, JUMP, NOT, MATCH } opcode;
typedef struct { opcode op; int set, min, max, x, y; } instruction;

struct rl_regex { set *sets; int nsets; instruction *code; int n; };

typedef struct { rl_regex *r; const char *p, *where, *pattern; bool caseless; } parser;

static int refuse(parser *s, const char *what) {
    return rl_refuse("%s: pattern: expected %s at '%.20s' of '%.60s'", s->where, what, s->p, s->pattern);
}

static int emit(parser *s, instruction i) {
    rl_regex *r = s->r;
    r->code = realloc(r->code, sizeof *r->code * (size_t)(r->n + 1));
    r->code[r->n] = i;
    return r->n++;
}

static void add_range(set *t, uint32_t low, uint32_t high) {
    t->ranges = realloc(t->ranges, sizeof *t->ranges * (size_t)(t->n + 1));
    t->ranges[t->n++] = (range){ low, high };
}

/* A letter, and under (?i:) what folds to it. */
static void add_letter(parser *s, set *t, uint32_t c) {
    add_range(t, c, c);
    if (!s->caseless || c > 127) return;
    if (c >= 'a' && c <= 'z') add_range(t, c - 32, c - 32);
    if (c >= 'A' && c <= 'Z') add_range(t, c + 32, c + 32);
    if ((c | 32) == 's') add_range(t, 0x17f, 0x17f);
    if ((c | 32) == 'k') add_range(t, 0x212a, 0x212a);
}

static uint32_t take(parser *s) {
    int used;
    const int32_t c = rl_utf8_take(s->p, (int64_t)strlen(s->p), &used);
    s->p += used;
    return c < 0 ? 0xfffd : (uint32_t)c;
}

/* After a backslash: a class or an escaped character, into t. */
static int escape(parser *s, set *t, bool inside) {
    const char c = *s->p++;
    if (c == 's') { t->with |= RL_SPACE; return 0; }
    if (c == 'S') { t->without |= RL_SPACE; return 0; }
    if (c == 'd') { t->with |= RL_NUMBER; return 0; }
    if (c == 'p' || c == 'P') {
        static const char names[] = "LNM";
        const char *k = s->p[0] == '{' && s->p[1] && s->p[2] == '}' ? strchr(names, s->p[1]) : NULL;
        if (!k) return refuse(s, "{L}, {N} or {M}");
        *(c == 'p' ? &t->with : &t->without) |= 1 << (k - names);
        s->p += 3;
        return 0;
    }
    const char *letters = "nrtfv0", *codes = "\n\r\t\f\v", *at = c ? strchr(letters, c) : NULL;
    if (at) { add_range(t, (uint32_t)codes[at - letters], (uint32_t)codes[at - letters]); return 0; }
    if (!c || ((c | 32) >= 'a' && (c | 32) <= 'z')) return refuse(s, inside ? "a known class" : "a known escape");
    add_letter(s, t, (unsigned char)c);
    return 0;
}

static int bracket(parser *s, set *t) {
    if (*s->p == '^') t->negated = true, s->p++;
    for (bool first = true; *s->p != ']' || first; first = false) {
        if (!*s->p) return refuse(s, "']'");
        if (*s->p == '\\') { s->p++; if (escape(s, t, true)) return -1; continue; }
        const uint32_t low = take(s);
        if (s->p[0] != '-' || s->p[1] == ']') { add_letter(s, t, low); continue; }
        s->p++;
        add_range(t, low, take(s));
    }
    s->p++;
    return 0;
}

static int quantifier(parser *s, int *min, int *max) {
    *min = *max = 1;
    if (*s->p == '?') *min = 0, s->p++;
    else if (*s->p == '*') *min = 0, *max = 1 << 30, s->p++;
    else if (*s->p == '+') *max = 1 << 30, s->p++;
    else if (*s->p == '{') {
        char *end;
        *min = *max = (int)strtol(s->p + 1, &end, 10);
        if (*end == ',') *max = end[1] == '}' ? 1 << 30 : (int)strtol(end + 1, &end, 10);
        if (*end == ',') end++;
        if (*end != '}') return refuse(s, "{m,n}");
        s->p = end + 1;
    }
    if (*s->p == '?' || *s->p == '+') return refuse(s, "a greedy quantifier");
    return 0;
}

static int alternatives(parser *s);

static int group(parser *s) {
    const bool outer = s->caseless;
    int at = -1;
    if (!strncmp(s->p, "?i:", 3)) s->caseless = true, s->p += 3;
    else if (!strncmp(s->p, "?:", 2)) s->p += 2;
    else if (!strncmp(s->p, "?!", 2)) at = emit(s, (instruction){ .op = NOT }), s->p += 2;
    else if (*s->p == '?') return refuse(s, "(?i: or (?: or (?!");
    if (alternatives(s)) return -1;
    if (*s->p++ != ')') return refuse(s, "')'");
    s->caseless = outer;
    if (at >= 0) {
        emit(s, (instruction){ .op = MATCH });
        s->r->code[at].x = at + 1, s->r->code[at].y = s->r->n;
    }
    if (*s->p && strchr("?*+{", *s->p)) return refuse(s, "no quantifier behind a group");
    return 0;
}

static int item(parser *s) {
    if (*s->p == '(') { s->p++; return group(s); }
    if (*s->p && strchr("*+?{^$.", *s->p)) return refuse(s, "a set, a letter or a group");
    rl_regex *r = s->r;
    r->sets = realloc(r->sets, sizeof *r->sets * (size_t)(r->nsets + 1));
    set *t = &r->sets[r->nsets++];
    *t = (set){ 0 };
    if (*s->p == '[') { s->p++; if (bracket(s, t)) return -1; }
    else if (*s->p == '\\') { s->p++; if (escape(s, t, false)) return -1; }
    else add_letter(s, t, take(s));
    int min, max;
    if (quantifier(s, &min, &max)) return -1;
    emit(s, (instruction){ .op = RUN, .set = r->nsets - 1, .min = min, .max = max });
    return 0;
}

/* a|b|c: SPLIT a, SPLIT b, c, each ended by a JUMP behind the last. */
static int alternatives(parser *s) {
    int jumps[64], n = 0;
    for (;;) {
        const int branch = emit(s, (instruction){ .op = SPLIT });
        while (*s->p && *s->p != '|' && *s->p != ')') if (item(s)) return -1;
        s->r->code[branch].x = branch + 1;
        if (*s->p != '|') {
            s->r->code[branch].y = -1;
            for (int i = 0; i < n; i++) s->r->code[jumps[i]].x = s->r->n;
            return 0;
        }
        if (n == 64) return refuse(s, "at most 64 alternatives");
        s->p++;
        jumps[n++] = emit(s, (instruction){ .op = JUMP });
        s->r->code[branch].y = s->r->n;
    }
}

rl_regex *rl_regex_new(const char *pattern, const char *where) {
    rl_regex *r = calloc(1, sizeof *r);
    parser s = { r, pattern, where, pattern, false };
    if (alternatives(&s) || (*s.p && refuse(&s, "the end"))) { rl_regex_free(r); return NULL; }
    emit(&s, (instruction){ .op = MATCH });
    return r;
}

void rl_regex_free(rl_regex *r) {
    if (!r) return;
    for (int i = 0; i < r->nsets; i++) free(r->sets[i].ranges);
    free(r->sets), free(r->code), free(r);
}

static bool in(const set *t, uint32_t c) {
    const int k = rl_unicode_class(c);
    bool found = (k & t->with) || (t->without & ~k);
    for (int i = 0; i < t->n && !found; i++) found = c >= t->ranges[i].low && c <= t->ranges[i].high;
    return found != t->negated;
}

static int run(const rl_regex *r, int pc, const rl_glyph *t, int n, int i) {
    for (;;) {
        const instruction *c = &r->code[pc];
        if (c->op == MATCH) return i;
        if (c->op == JUMP) { pc = c->x; continue; }
        if (c->op == NOT) {
            if (run(r, c->x, t, n, i) >= 0) return -1;
            pc = c->y;
            continue;
        }
        if (c->op == SPLIT) {
            if (c->y < 0) { pc = c->x; continue; }
            const int end = run(r, c->x, t, n, i);
            if (end >= 0) return end;
            pc = c->y;
            continue;
        }
        int most = i;
        while (most < n && most - i < c->max && in(&r->sets[c->set], t[most].c)) most++;
        if (most - i < c->min) return -1;
        if (most - i == c->min) { i = most, pc++; continue; }
        for (; most >= i + c->min; most--) {
            const int end = run(r, pc + 1, t, n, most);
            if (end >= 0) return end;
        }
        return -1;
    }
}

int rl_regex_match(const rl_regex *r, const rl_glyph *t, int n, int i) { return run(r, 0, t, n, i); }
