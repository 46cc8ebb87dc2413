/* The part of regular expressions that tokenizer files use: sets, greedy runs of a set,
 * alternatives, (?i:), (?!), (?=), optional groups. */
#include "tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PATTERN = 4096, MAX_DEPTH = 32, MAX_BRANCHES = 64, FOREVER = 1 << 30 };

typedef struct { uint32_t low, high; } range;
/* ascii: bit c is set where c < 128 is in; beyond: classes that are in, classes whose absence is,
 * ranges. */
typedef struct { bool negated; int with, without; range *ranges; int n; uint64_t ascii[2]; } set;
/* RUN: min to max of a set, greedy.  SPLIT: first the next one, then y; where nothing in first can
 * begin the branch, y at once.  NOT, AHEAD: what follows to MATCH must not, must match here, then
 * y. */
typedef enum { RUN, SPLIT, JUMP, NOT, AHEAD, MATCH } opcode;
typedef struct { opcode op; int set, min, max, y; uint64_t first[2]; } instruction;

struct rl_regex { set *sets; int nsets; instruction *code; int n; };

/* p: what is left of text, which ends with a zero */
typedef struct {
    rl_regex *r; const char *p, *text; const rl_where *place; bool caseless; int depth;
} parser;

static int refuse(parser *s, const char *what) {
    return rl_refuse("%s: %s.pattern: expected %s at '%.20s' of '%.60s'", s->place->file,
                     s->place->at, what, s->p, s->text);
}

static int emit(parser *s, instruction i) {
    rl_regex *r = s->r;
    r->code = realloc(r->code, sizeof *r->code * (size_t)(r->n + 1));
    r->code[r->n] = i;
    return r->n++;
}

/* ---- sets ---- */

static void add_range(set *t, uint32_t low, uint32_t high) {
    t->ranges = realloc(t->ranges, sizeof *t->ranges * (size_t)(t->n + 1));
    t->ranges[t->n++] = (range){ low, high };
}

/* A character, and under (?i:) what folds to it; other letters than ASCII are refused there. */
static int add_letter(parser *s, set *t, uint32_t c) {
    add_range(t, c, c);
    if (!s->caseless) return 0;
    if (c > 127) return rl_unicode_classes[c] & RL_LETTER ? refuse(s, "ASCII in (?i:") : 0;
    const uint32_t small = c | 32;
    if (small >= 'a' && small <= 'z') add_range(t, c ^ 32, c ^ 32);
    if (small == 's') add_range(t, 0x17f, 0x17f);
    if (small == 'k') add_range(t, 0x212a, 0x212a);
    return 0;
}

static uint32_t take(parser *s) {
    int used;
    const int32_t c = rl_utf8_take(s->p, (int64_t)strnlen(s->p, 4), &used);
    s->p += used;
    return c < 0 ? 0xfffd : (uint32_t)c;
}

/* Behind "\u" or "\x": four digits, or any number of them in braces.  -1: none. */
static int hex(parser *s) {
    const bool braces = *s->p == '{';
    int c = 0, n = 0;
    for (s->p += braces; n < (braces ? 6 : 4); n++, s->p++) {
        static const char digits[] = "0123456789abcdef";
        const char d = *s->p >= 'A' && *s->p <= 'F' ? *s->p | 32 : *s->p;
        const char *k = d ? strchr(digits, d) : NULL;
        if (!k) break;
        c = c * 16 + (int)(k - digits);
    }
    if (braces ? !n || *s->p++ != '}' : n != 4) return -1;
    return c < RL_CODE_POINTS ? c : -1;
}

/* Behind a backslash: a class into t -> 0; else the character -> *c, 1. */
static int escape(parser *s, set *t, uint32_t *c) {
    static const char classes[] = "sSdD", names[] = "LNM";
    static const char letters[] = "nrtfv", codes[] = "\n\r\t\f\v";
    const char e = *s->p, *at;
    if (!e) return refuse(s, "an escape");
    s->p++;
    if ((at = strchr(classes, e))) {
        *(e < 'a' ? &t->without : &t->with) |= (e | 32) == 's' ? RL_SPACE : RL_DIGIT;
        return 0;
    }
    if (e == 'p' || e == 'P') {
        at = s->p[0] == '{' && s->p[1] && s->p[2] == '}' ? strchr(names, s->p[1]) : NULL;
        if (!at) return refuse(s, "{L}, {N} or {M}");
        *(e == 'p' ? &t->with : &t->without) |= 1 << (at - names);
        s->p += 3;
        return 0;
    }
    if (e == 'u' || e == 'x') {
        const int code = hex(s);
        if (code < 0) return refuse(s, "hex digits");
        *c = (uint32_t)code;
        return 1;
    }
    if ((at = strchr(letters, e))) *c = (uint32_t)codes[at - letters];
    else if ((e >= '0' && e <= '9') || ((e | 32) >= 'a' && (e | 32) <= 'z') || e & 0x80)
        return refuse(s, "a known escape");
    else *c = (uint32_t)e;
    return 1;
}

/* One character of a bracket -> 1, or a class that went into t -> 0. */
static int member(parser *s, set *t, uint32_t *c) {
    if (*s->p == '\\') { s->p++; return escape(s, t, c); }
    if (*s->p == '[' || (s->p[0] == '&' && s->p[1] == '&')) return refuse(s, "a plain set");
    *c = take(s);
    return 1;
}

static int bracket(parser *s, set *t) {
    if (*s->p == '^') t->negated = true, s->p++;
    for (bool first = true; *s->p != ']' || first; first = false) {
        uint32_t low, high;
        if (!*s->p) return refuse(s, "']'");
        const int one = member(s, t, &low);
        if (one < 0) return -1;
        if (!one) continue;
        if (s->p[0] != '-' || s->p[1] == ']' || !s->p[1]) {
            if (add_letter(s, t, low)) return -1;
            continue;
        }
        s->p++;
        if (member(s, t, &high) != 1 || high < low || s->caseless)
            return refuse(s, "a range, outside of (?i:");
        add_range(t, low, high);
    }
    s->p++;
    return 0;
}

static bool in(const set *t, uint32_t c) {
    if (c < 128) return t->ascii[c >> 6] >> (c & 63) & 1;
    const int k = rl_unicode_classes[c];
    bool found = (k & t->with) || (t->without & ~k);
    for (int i = 0; i < t->n && !found; i++)
        found = c >= t->ranges[i].low && c <= t->ranges[i].high;
    return found != t->negated;
}

/* Fills t->ascii. */
static void tabulate(set *t) {
    for (uint32_t c = 0; c < 128; c++) {
        const int k = rl_unicode_classes[c];
        bool found = (k & t->with) || (t->without & ~k);
        for (int i = 0; i < t->n; i++) found |= c >= t->ranges[i].low && c <= t->ranges[i].high;
        if (found != t->negated) t->ascii[c >> 6] |= 1ull << (c & 63);
    }
}

/* ---- the parser ---- */

static int bound(parser *s, int *out) {
    if (*s->p < '0' || *s->p > '9') return -1;
    for (*out = 0; *s->p >= '0' && *s->p <= '9' && *out < 10000; s->p++)
        *out = *out * 10 + *s->p - '0';
    return 0;
}

static int quantifier(parser *s, int *min, int *max) {
    *min = *max = 1;
    if (*s->p == '?') *min = 0, s->p++;
    else if (*s->p == '*') *min = 0, *max = FOREVER, s->p++;
    else if (*s->p == '+') *max = FOREVER, s->p++;
    else if (*s->p == '{') {
        s->p++;
        if (bound(s, min)) return refuse(s, "{m,n}");
        *max = *min;
        if (*s->p == ',') {
            s->p++, *max = FOREVER;
            if (*s->p != '}' && bound(s, max)) return refuse(s, "{m,n}");
        }
        if (*s->p != '}' || *max < *min) return refuse(s, "{m,n}");
        s->p++;
    }
    if (*s->p && strchr("?+*{", *s->p)) return refuse(s, "one greedy quantifier");
    return 0;
}

static int alternatives(parser *s);

static int group(parser *s) {
    const bool outer = s->caseless;
    const int at = emit(s, (instruction){ .op = SPLIT });      /* becomes NOT, AHEAD or an option */
    opcode op = SPLIT;
    if (++s->depth > MAX_DEPTH) return refuse(s, "at most 32 groups in each other");
    if (!strncmp(s->p, "?i:", 3)) s->caseless = true, s->p += 3;
    else if (!strncmp(s->p, "?:", 2)) s->p += 2;
    else if (!strncmp(s->p, "?!", 2)) op = NOT, s->p += 2;
    else if (!strncmp(s->p, "?=", 2)) op = AHEAD, s->p += 2;
    else if (*s->p == '?') return refuse(s, "(?i:, (?:, (?! or (?=");
    if (alternatives(s)) return -1;
    if (*s->p != ')') return refuse(s, "')'");
    s->p++, s->depth--;
    s->caseless = outer;
    if (op != SPLIT) emit(s, (instruction){ .op = MATCH });
    const bool option = op == SPLIT && *s->p == '?';
    s->p += option;
    if (*s->p && strchr("?*+{", *s->p)) return refuse(s, "no quantifier but ? behind a group");
    s->r->code[at].op = op == SPLIT && !option ? JUMP : op;
    s->r->code[at].y = op == SPLIT && !option ? at + 1 : s->r->n;
    return 0;
}

static int item(parser *s) {
    if (*s->p == '(') { s->p++; return group(s); }
    if (strchr("*+?{^$.", *s->p)) return refuse(s, "a set, a letter or a group");
    rl_regex *r = s->r;
    r->sets = realloc(r->sets, sizeof *r->sets * (size_t)(r->nsets + 1));
    set *t = &r->sets[r->nsets++];
    *t = (set){ 0 };
    if (*s->p == '[') { s->p++; if (bracket(s, t)) return -1; }
    else {
        uint32_t c;
        const int one = member(s, t, &c);
        if (one < 0 || (one && add_letter(s, t, c))) return -1;
    }
    tabulate(t);
    int min, max;
    if (quantifier(s, &min, &max)) return -1;
    emit(s, (instruction){ .op = RUN, .set = r->nsets - 1, .min = min, .max = max });
    return 0;
}

/* a|b|c: SPLIT a JUMP, SPLIT b JUMP, c; each JUMP leads behind the last. */
static int alternatives(parser *s) {
    int jumps[MAX_BRANCHES], n = 0;
    for (;;) {
        const int branch = emit(s, (instruction){ .op = SPLIT });
        while (*s->p && *s->p != '|' && *s->p != ')') if (item(s)) return -1;
        if (*s->p != '|') {
            s->r->code[branch].op = JUMP, s->r->code[branch].y = branch + 1;
            for (int i = 0; i < n; i++) s->r->code[jumps[i]].y = s->r->n;
            return 0;
        }
        if (n == MAX_BRANCHES) return refuse(s, "at most 64 alternatives");
        s->p++;
        jumps[n++] = emit(s, (instruction){ .op = JUMP });
        s->r->code[branch].y = s->r->n;
    }
}

/* The ASCII that what begins at pc may begin with. */
static void find_first(const rl_regex *r, int pc, uint64_t out[2]) {
    for (;;) {
        const instruction *c = &r->code[pc];
        if (c->op == MATCH || c->op == NOT || c->op == AHEAD) { out[0] = out[1] = ~0ull; return; }
        if (c->op == JUMP) { pc = c->y; continue; }
        if (c->op == SPLIT) { out[0] |= c->first[0], out[1] |= c->first[1], pc = c->y; continue; }
        out[0] |= r->sets[c->set].ascii[0], out[1] |= r->sets[c->set].ascii[1];
        if (c->min) return;
        pc++;
    }
}

rl_regex *rl_regex_new(const char *pattern, int n, const rl_where *p) {
    rl_unicode_ready();
    rl_regex *r = calloc(1, sizeof *r);
    parser s = { r, pattern, pattern, p, false, 0 };
    const bool fits = n <= MAX_PATTERN && strlen(pattern) == (size_t)n;
    if (!fits ? refuse(&s, "at most 4096 bytes, none of them zero")
              : alternatives(&s) || (*s.p && refuse(&s, "the end"))) {
        rl_regex_free(r);
        return NULL;
    }
    emit(&s, (instruction){ .op = MATCH });
    for (int i = r->n - 1; i >= 0; i--)              /* branches lead forward: later ones first */
        if (r->code[i].op == SPLIT) find_first(r, i + 1, r->code[i].first);
    return r;
}

void rl_regex_free(rl_regex *r) {
    if (!r) return;
    for (int i = 0; i < r->nsets; i++) free(r->sets[i].ranges);
    free(r->sets), free(r->code), free(r);
}

/* ---- matching ---- */

/* Steps that are left: some patterns need more than a text's length in proportion. */
static _Thread_local int64_t fuel;

void rl_regex_begin(int n) { fuel = 4096 + 256 * (int64_t)n; }

static int run(const rl_regex *r, int pc, const rl_glyph *t, int n, int i) {
    if (fuel-- <= 0) {
        rl_give_up("a pattern that takes a time in proportion to the text");
        return -1;
    }
    for (;;) {
        const instruction *c = &r->code[pc];
        int end;
        switch (c->op) {
        case MATCH: return i;
        case JUMP: pc = c->y; continue;
        case NOT: case AHEAD:
            if ((run(r, pc + 1, t, n, i) >= 0) != (c->op == AHEAD)) return -1;
            pc = c->y;
            continue;
        case SPLIT:
            if (i >= n || t[i].c >= 128 || c->first[t[i].c >> 6] >> (t[i].c & 63) & 1) {
                end = run(r, pc + 1, t, n, i);
                if (end >= 0) return end;
            }
            pc = c->y;
            continue;
        case RUN: break;
        }
        const set *s = &r->sets[c->set];
        const int limit = c->max < n - i ? i + c->max : n;
        int most = i;
        while (most < limit && in(s, t[most].c)) most++;
        if (most - i < c->min) return -1;
        for (const int least = i + c->min; most > least; most--) {
            end = run(r, pc + 1, t, n, most);
            if (end >= 0) return end;
        }
        i = most, pc++;
    }
}

int rl_regex_match(const rl_regex *r, const rl_glyph *t, int n, int i) {
    return run(r, 0, t, n, i);
}
