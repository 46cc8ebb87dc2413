/* What pictures add to a batch: named inputs of a vision tape, one set a prompt; their packing. */
#include "media.h"
#include "replay.h"
#include <stdlib.h>
#include <string.h>

typedef enum { FLOATS, INTS, SEGMENTS } entry_kind;
/* numbers: rows x width elements (floats, ints as [width][rows], or lengths). */
typedef struct {
    entry_kind what;
    char input[48], kind[32], of[32];
    int rows, width;
    void *numbers;
} entry;

struct rl_media { entry *entries; int n; };

rl_media *rl_media_new(void) { return calloc(1, sizeof(rl_media)); }

void rl_media_free(rl_media *m) {
    if (!m) return;
    for (int i = 0; i < m->n; i++) rl_alloc_free(m->entries[i].numbers);
    free(m->entries), free(m);
}

static int add(rl_media *m, entry_kind what, const char *input, const char *kind, const char *of,
               int rows, int width, const void *numbers) {
    if (!m) return -1;
    if (strlen(input) > 47 || strlen(kind) > 31 || (of && strlen(of) > 31))
        return rl_refuse("media: expected names of at most 31 letters, got %s, %s", input, kind);
    const size_t bytes = 4 * (size_t)rows * (size_t)width;
    void *copy = rl_alloc((double)bytes);
    if (!copy) return -1;
    m->entries = realloc(m->entries, (size_t)(m->n + 1) * sizeof *m->entries);
    entry *e = &m->entries[m->n++];
    *e = (entry){ .what = what, .rows = rows, .width = width, .numbers = copy };
    memcpy(copy, numbers, bytes);
    strcpy(e->input, input), strcpy(e->kind, kind), strcpy(e->of, of ? of : "");
    return 0;
}

int rl_media_floats(rl_media *m, const char *input, const char *kind, int rows, int cols,
                    const float *numbers) {
    return add(m, FLOATS, input, kind, NULL, rows, cols, numbers);
}
int rl_media_ints(rl_media *m, const char *input, const char *kind, int rows, int axes,
                  const int *numbers, const char *of) {
    return add(m, INTS, input, kind, of, rows, axes, numbers);
}
int rl_media_segments(rl_media *m, const char *input, const char *kind, const int *lengths,
                      int n) {
    return add(m, SEGMENTS, input, kind, kind, n, 1, lengths);
}

/* ---- packing ---- */

/* One input of the batch so far; ints with several axes are gathered axis by axis at the end.
 * Room is kept for the next batch. */
typedef struct {
    entry_kind what;
    char input[48], kind[32];
    int rows, width, room;
    void *numbers;                      /* FLOATS, INTS: [rows][width]; SEGMENTS: lengths */
    void *bound;                        /* INTS as [width][rows] */
    rl_run *runs; rl_span *spans; int32_t *trees;
    rl_table table;
} packed;

/* counts: rows of each kind so far.  failed: there was no memory for what was added. */
struct rl_media_pack {
    packed *inputs; int n;
    struct { char kind[32]; int rows; } *counts; int ncounts;
    bool failed;
};

rl_media_pack *rl_media_pack_new(void) { return calloc(1, sizeof(rl_media_pack)); }

void rl_media_pack_clear(rl_media_pack *p) {
    for (int i = 0; i < p->n; i++) p->inputs[i].rows = 0;
    p->ncounts = 0, p->failed = false;
}

void rl_media_pack_free(rl_media_pack *p) {
    if (!p) return;
    for (int i = 0; i < p->n; i++) {
        packed *x = &p->inputs[i];
        rl_alloc_free(x->numbers);
        free(x->bound), free(x->runs), free(x->spans), free(x->trees);
    }
    free(p->inputs), free(p->counts), free(p);
}

static int *count(rl_media_pack *p, const char *kind) {
    for (int i = 0; i < p->ncounts; i++)
        if (!strcmp(p->counts[i].kind, kind)) return &p->counts[i].rows;
    p->counts = realloc(p->counts, (size_t)(p->ncounts + 1) * sizeof *p->counts);
    strcpy(p->counts[p->ncounts].kind, kind);
    p->counts[p->ncounts].rows = 0;
    return &p->counts[p->ncounts++].rows;
}

static packed *input(rl_media_pack *p, const entry *e) {
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->inputs[i].input, e->input)) return &p->inputs[i];
    p->inputs = realloc(p->inputs, (size_t)(p->n + 1) * sizeof *p->inputs);
    packed *x = &p->inputs[p->n++];
    *x = (packed){ .what = e->what, .width = e->width };
    strcpy(x->input, e->input), strcpy(x->kind, e->kind);
    return x;
}

typedef struct { int shift, from, to; } window;     /* v in [from, to) -> v + shift, else -1 */

static bool has_room(packed *x, int rows) {
    if (rows <= x->room) return true;
    void *more = rl_alloc(4.0 * rows * x->width);
    if (!more) return false;
    if (x->rows) memcpy(more, x->numbers, 4 * (size_t)x->rows * (size_t)x->width);
    rl_alloc_free(x->numbers);
    x->numbers = more, x->room = rows;
    return true;
}

static int32_t shifted(int32_t v, window w) {
    return v >= w.from && v < w.to ? v + w.shift : -1;
}

static void append(packed *x, const entry *e, window w) {
    int32_t *to = (int32_t *)x->numbers + (size_t)x->rows * (size_t)x->width;
    const int32_t *from = e->numbers;
    if (e->what != INTS) memcpy(to, from, 4 * (size_t)e->rows * (size_t)e->width);
    else for (int r = 0; r < e->rows; r++)
        for (int a = 0; a < e->width; a++)
            to[r * e->width + a] = shifted(from[a * e->rows + r], w);
    x->rows += e->rows;
}

static bool among_tokens(const entry *e) { return e->what == INTS && !strcmp(e->of, "tokens"); }

/* Does a picture of m stand among tokens [from, to)? */
static bool stands(const rl_media *m, int from, int to) {
    for (int i = 0; i < m->n; i++) {
        const entry *e = &m->entries[i];
        const int32_t *at = e->numbers;
        for (int k = 0; among_tokens(e) && k < e->rows * e->width; k++)
            if (at[k] >= from && at[k] < to) return true;
    }
    return false;
}

int rl_media_check(const rl_media *m, int n) {
    for (int i = 0; m && i < m->n; i++) {
        const entry *e = &m->entries[i];
        const int32_t *at = e->numbers;
        for (int k = 0; among_tokens(e) && k < e->rows * e->width; k++)
            if (at[k] < 0 || at[k] >= n)
                return rl_refuse("media: %s: expected rows of 0 to %d, got %d", e->input, n - 1,
                                 at[k]);
    }
    return 0;
}

/* Is entry i the first of m with rows of its kind? */
static bool brings_kind(const rl_media *m, int i) {
    if (m->entries[i].what == SEGMENTS) return false;
    for (int j = 0; j < i; j++)
        if (m->entries[j].what != SEGMENTS && !strcmp(m->entries[j].kind, m->entries[i].kind))
            return false;
    return true;
}

static void mix(uint64_t hash[2], uint64_t x) {
    hash[0] = (hash[0] ^ x) * 0x9e3779b97f4a7c15u, hash[0] ^= hash[0] >> 29;
    hash[1] = (hash[1] + x) * 0xd6e8feb86659fd93u, hash[1] ^= hash[1] >> 32;
}

static void mix_bytes(uint64_t hash[2], const void *from, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        uint64_t x = 0;
        memcpy(&x, (const char *)from + i, n - i < 8 ? n - i : 8);
        mix(hash, x);
    }
}

void rl_media_hash(const rl_media *m, uint64_t hash[2]) {
    hash[0] = hash[1] = 0;
    for (int i = 0; m && i < m->n; i++) {
        const entry *e = &m->entries[i];
        mix(hash, (uint64_t)e->what + 1), mix(hash, (uint64_t)e->rows << 32 | (uint32_t)e->width);
        mix_bytes(hash, e->input, strlen(e->input) + 1);
        mix_bytes(hash, e->numbers, 4 * (size_t)e->rows * (size_t)e->width);
    }
}

void rl_media_pack_add(rl_media_pack *p, const rl_media *m, int token, int from, int to) {
    if (!m || !stands(m, from, to)) return;
    for (int i = 0; i < m->n; i++) {
        const entry *e = &m->entries[i];
        window w = { 0, INT32_MIN, INT32_MAX };
        if (among_tokens(e)) w = (window){ token - from, from, to };
        else if (e->of[0]) w.shift = *count(p, e->of);
        packed *x = input(p, e);
        if (!has_room(x, x->rows + e->rows)) { p->failed = true; return; }
        append(x, e, w);
    }
    for (int i = 0; i < m->n; i++)      /* only now: indices point past what was there before m */
        if (brings_kind(m, i)) *count(p, m->entries[i].kind) += m->entries[i].rows;
}

static const void *turn_axes(packed *x) {
    x->bound = realloc(x->bound, 4 * (size_t)x->rows * (size_t)x->width + 1);
    const int32_t *from = x->numbers;
    int32_t *to = x->bound;
    for (int r = 0; r < x->rows; r++)
        for (int a = 0; a < x->width; a++) to[a * x->rows + r] = from[r * x->width + a];
    return x->bound;
}

static const void *make_table(packed *x) {
    const int n = x->rows;
    const int32_t *length = x->numbers;
    x->runs = realloc(x->runs, sizeof *x->runs * (size_t)(n + 1));
    x->spans = realloc(x->spans, sizeof *x->spans * (size_t)(n + 1));
    x->trees = realloc(x->trees, sizeof *x->trees * (size_t)(n + 1));
    for (int i = 0, row = 0; i < n; row += length[i++]) {
        x->runs[i] = (rl_run){ row, length[i], i, 1, length[i], 0 };
        x->spans[i] = (rl_span){ row, length[i] };
        x->trees[i] = i;
    }
    x->trees[n] = n;
    x->table = (rl_table){ .runs = x->runs, .spans = x->spans, .trees = x->trees,
                           .nruns = n, .ntrees = n };
    return &x->table;
}

/* An input has as many rows as its kind, a table's segments cover them. */
static int check_rows(rl_media_pack *p, const packed *x) {
    int rows = x->what == SEGMENTS ? 0 : x->rows;
    for (int i = 0; x->what == SEGMENTS && i < x->rows; i++) rows += ((int32_t *)x->numbers)[i];
    const int want = *count(p, x->kind);
    if (rows == want) return 0;
    return rl_refuse("media: %s: expected %d rows of %s, got %d", x->input, want, x->kind, rows);
}

static bool is_text(const char *kind) {
    return !strcmp(kind, "tokens") || !strcmp(kind, "answers") || !strcmp(kind, "pairs");
}

int rl_media_pack_reserve(rl_media_pack *p, const rl_media *m, int n) {
    for (int i = 0; i < m->n; i++)
        if (!has_room(input(p, &m->entries[i]), n * m->entries[i].rows)) return -1;
    return 0;
}

int rl_media_rows(const rl_media *m, const char *kind) {
    for (int i = 0; i < m->n; i++) {
        const entry *e = &m->entries[i];
        if (e->what != SEGMENTS && !strcmp(e->kind, kind)) return e->rows;
    }
    return 0;
}

double rl_media_bytes(const rl_media *m, int n) {
    double bytes = 0;
    for (int i = 0; i < m->n; i++)
        bytes += rl_bytes_of(4.0 * n * m->entries[i].rows * m->entries[i].width);
    return bytes;
}

/* Nothing of an earlier batch stays bound. */
static int unbind(rl_replay *r) {
    static const rl_table empty;
    for (int i = 0; i < r->tape->nnames; i++) {
        const rl_tensor *x = r->tape->names[i].value;
        if (!x->name || !strcmp(x->name, "segments")) continue;
        if (is_text(r->tape->kinds[-x->dim[0] - 1])) continue;
        if (rl_replay_bind(r, x->name, x->dtype == RL_TABLE ? &empty : NULL)) return -1;
    }
    return 0;
}

static const void *as_bound(packed *x) {
    return x->what == SEGMENTS ? make_table(x) : x->what == INTS ? turn_axes(x) : x->numbers;
}

int rl_media_pack_bind(rl_media_pack *p, rl_replay *r) {
    if (p->failed)
        return rl_refuse("media: expected memory for the pictures of a batch, "
                         "found none below the limit");
    for (int i = 0; i < r->tape->nkinds; i++) {
        const char *kind = r->tape->kinds[i];
        if (!is_text(kind) && rl_replay_rows(r, kind, *count(p, kind))) return -1;
    }
    if (unbind(r)) return -1;
    for (int i = 0; i < p->n; i++) {
        packed *x = &p->inputs[i];
        if (!x->rows) continue;
        if (check_rows(p, x) || rl_replay_bind(r, x->input, as_bound(x))) return -1;
    }
    return 0;
}
