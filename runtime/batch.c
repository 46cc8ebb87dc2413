/* A batch: segments of tokens laid end to end, who sees whom, which row answers for which token. */
#include "media.h"
#include <stdlib.h>
#include <string.h>

/* last: position on each axis; trimmed: its last token has no row. */
typedef struct { int parent, tree, row, rows, last[3]; bool trimmed; } segment;
typedef struct { int32_t row, label, asked, tree; } pair;

struct rl_batch {
    segment *segments; int nsegments, segment_room;
    int32_t *ids, *positions[3], *packed; int tokens, token_room;
    rl_run *runs; rl_span *spans; int32_t *trees;
    int nruns, nspans, ntrees, run_room, span_room, tree_room;
    pair *pairs; int npairs, pair_room;
    int32_t *answers, *first, *label, *order, *answer; int nanswers;
    rl_table table; rl_pairs head;
    rl_media_pack *media;
    bool finished, even;            /* even: trees begin at even rows, and their answers likewise */
};

#define GROW(list, room, need) do { if ((need) > (room)) { (room) = 2 * (need) + 64; \
    (list) = realloc((list), (size_t)(room) * sizeof *(list)); } } while (0)

rl_batch *rl_batch_new(void) {
    rl_batch *b = calloc(1, sizeof *b);
    b->media = rl_media_pack_new();
    return b;
}

void rl_batch_clear(rl_batch *b) {
    b->nsegments = b->tokens = b->nruns = b->nspans = b->ntrees = b->npairs = b->nanswers = 0;
    rl_media_pack_clear(b->media);
    b->finished = b->even = false;
}

void rl_batch_free(rl_batch *b) {
    if (!b) return;
    free(b->segments), free(b->ids), free(b->packed), free(b->pairs);
    free(b->positions[0]), free(b->positions[1]), free(b->positions[2]);
    free(b->runs), free(b->spans), free(b->trees);
    free(b->answers), free(b->first), free(b->label), free(b->order), free(b->answer);
    rl_media_pack_free(b->media);
    free(b);
}

static void grow_tokens(rl_batch *b, int n) {
    if (b->tokens + n <= b->token_room) return;
    b->token_room = 2 * (b->tokens + n) + 64;
    b->ids = realloc(b->ids, 4 * (size_t)b->token_room);
    for (int a = 0; a < 3; a++)
        b->positions[a] = realloc(b->positions[a], 4 * (size_t)b->token_room);
}

/* The spans that segment s sees, root first, its own last. */
static void add_run(rl_batch *b, int s) {
    const segment *own = &b->segments[s];
    int depth = 0, keys = 0;
    for (int a = s; a >= 0; a = b->segments[a].parent) depth++, keys += b->segments[a].rows;
    GROW(b->spans, b->span_room, b->nspans + depth);
    int at = b->nspans + depth;
    for (int a = s; a >= 0; a = b->segments[a].parent)
        b->spans[--at] = (rl_span){ b->segments[a].row, b->segments[a].rows };
    GROW(b->runs, b->run_room, b->nruns + 1);
    b->runs[b->nruns++] = (rl_run){ own->row, own->rows, at, depth, keys, 1 };
    b->nspans += depth;
}

static void start_tree(rl_batch *b) {
    GROW(b->trees, b->tree_room, b->ntrees + 2);
    b->trees[b->ntrees++] = b->nruns;
}

static void ask(rl_batch *b, int s, const int *ids, int n, const unsigned char *asked) {
    const segment *own = &b->segments[s];
    for (int i = 0; i < n; i++) {
        if (!asked[i]) continue;
        const segment *up = own->parent < 0 ? NULL : &b->segments[own->parent];
        const int row = i > 0 ? own->row + i - 1 : up ? up->row + up->rows - 1 : -1;
        if (row < 0) continue;              /* nothing stands before a root's first token */
        GROW(b->pairs, b->pair_room, b->npairs + 1);
        b->pairs[b->npairs] = (pair){ row, ids[i], b->npairs, own->tree };
        b->npairs++;
    }
}

/* up: the segment's parent, or NULL */
static void put_tokens(rl_batch *b, segment *s, const int *ids, int n, const int *positions,
                       const segment *up) {
    grow_tokens(b, s->rows);
    memcpy(b->ids + b->tokens, ids, 4 * (size_t)s->rows);
    for (int a = 0; a < 3; a++) {
        const int from = up ? up->last[a] + 1 : 0;
        for (int i = 0; i < s->rows; i++)
            b->positions[a][b->tokens + i] = positions ? positions[a * n + i] : from + i;
        s->last[a] = s->rows ? b->positions[a][b->tokens + s->rows - 1] : from - 1;
    }
    b->tokens += s->rows;
}

/* After a picture text goes on behind the largest position of the prompt. */
static void level(segment *s, const int *positions, int n) {
    int top = 0;
    for (int i = 0; i < 3 * n; i++) if (positions[i] > top) top = positions[i];
    for (int a = 0; a < 3; a++) s->last[a] = top;
}

/* A root begins a tree; even: at an even row, behind a row of its own where needed. */
static int begin_root(rl_batch *b, bool even) {
    static const int nothing[1] = { 0 };
    if (even && b->tokens % 2 && rl_batch_segment(b, -1, nothing, 1, NULL, NULL, 0, 0) < 0)
        return -1;
    start_tree(b);
    b->even |= even;
    return 0;
}

static int check_parent(const rl_batch *b, int parent) {
    if (parent < 0) return 0;
    if (parent >= b->nsegments || b->segments[parent].tree != b->ntrees - 1)
        return rl_refuse("batch: segment: expected a parent in the tree that was begun last, "
                         "got %d", parent);
    if (b->segments[parent].trimmed)
        return rl_refuse("batch: segment: expected a parent whose last token has a row, "
                         "got %d, which was trimmed", parent);
    return 0;
}

int rl_batch_segment(rl_batch *b, int parent, const int *ids, int n, const int *positions,
                     const unsigned char *asked, int trim, int even) {
    if (n < 1) return rl_refuse("batch: segment: expected at least one token, got %d", n);
    if (check_parent(b, parent) || (parent < 0 && begin_root(b, even != 0))) return -1;
    GROW(b->segments, b->segment_room, b->nsegments + 1);
    segment *s = &b->segments[b->nsegments];
    *s = (segment){ .parent = parent, .tree = b->ntrees - 1, .row = b->tokens,
                    .rows = n - (trim != 0), .trimmed = trim };
    put_tokens(b, s, ids, n, positions, parent < 0 ? NULL : &b->segments[parent]);
    if (positions) level(s, positions, n);
    if (s->rows > 0) add_run(b, b->nsegments);
    if (asked) ask(b, b->nsegments, ids, n, asked);
    b->finished = false;
    return b->nsegments++;
}

int rl_batch_media(rl_batch *b, int s, const rl_media *m) {
    if (!m) return -1;
    if (s < 0 || s >= b->nsegments)
        return rl_refuse("batch: media: expected a segment from 0 to %d, got %d", b->nsegments - 1,
                         s);
    if (rl_media_check(m, b->segments[s].rows)) return -1;
    rl_media_pack_add(b->media, m, b->segments[s].row, 0, b->segments[s].rows);
    return 0;
}

int rl_batch_tokens(const rl_batch *b) { return b->tokens; }
int rl_batch_pairs(const rl_batch *b) { return b->npairs; }

static int by_row(const void *x, const void *y) {
    const pair *a = x, *b = y;
    return a->row != b->row ? (a->row < b->row ? -1 : 1) : a->asked - b->asked;
}

static void make_room(rl_batch *b) {
    const size_t n = (size_t)(b->npairs + b->ntrees) + 2;
    b->answers = realloc(b->answers, 4 * n), b->first = realloc(b->first, 4 * n);
    b->label = realloc(b->label, 4 * n), b->order = realloc(b->order, 4 * n);
    b->answer = realloc(b->answer, 4 * n);
    b->packed = realloc(b->packed, 12 * (size_t)b->tokens + 12);
}

/* One more row that answers, from pair i on. */
static void add_answer(rl_batch *b, int row, int i) {
    b->first[b->nanswers] = i;
    b->answers[b->nanswers++] = row;
}

/* Rows that answer, in order, each with its pairs side by side; where trees begin at even rows, a
 * row without pairs fills up a tree's odd count. */
static void answer_pairs(rl_batch *b) {
    if (b->npairs) qsort(b->pairs, (size_t)b->npairs, sizeof *b->pairs, by_row);
    b->nanswers = 0;
    for (int i = 0; i < b->npairs; i++) {
        const pair *p = &b->pairs[i], *before = i ? p - 1 : NULL;
        if (b->even && before && p->tree != before->tree && b->nanswers % 2)
            add_answer(b, before->row, i);
        if (!before || p->row != before->row) add_answer(b, p->row, i);
        b->label[i] = p->label;
        b->order[p->asked] = i;
        b->answer[p->asked] = b->nanswers - 1;
    }
    b->first[b->nanswers] = b->npairs;
}

static void finish(rl_batch *b) {
    if (b->finished) return;
    make_room(b);
    answer_pairs(b);
    const size_t bytes = 4 * (size_t)b->tokens;
    for (int a = 0; a < 3; a++) memcpy(b->packed + a * b->tokens, b->positions[a], bytes);
    if (b->ntrees) b->trees[b->ntrees] = b->nruns;
    b->finished = true;
}

const int *rl_batch_order(rl_batch *b) {
    finish(b);
    return b->order;
}

const int *rl_batch_answer(rl_batch *b) {
    finish(b);
    return b->answer;
}

int rl_batch_bind(rl_batch *b, rl_replay *r, double temperature) {
    finish(b);
    b->table = (rl_table){ .runs = b->runs, .spans = b->spans, .trees = b->trees,
                           .nruns = b->nruns, .ntrees = b->ntrees };
    b->head = (rl_pairs){ .first = b->first, .label = b->label,
                          .temperature = (float)temperature };
    return rl_replay_rows(r, "tokens", b->tokens) || rl_replay_rows(r, "pairs", b->npairs) ||
           rl_replay_rows(r, "answers", b->nanswers) || rl_replay_bind(r, "ids", b->ids) ||
           rl_replay_bind(r, "positions", b->packed) || rl_replay_bind(r, "segments", &b->table) ||
           rl_media_pack_bind(b->media, r) || rl_replay_bind(r, "answers", b->answers) ||
           rl_replay_bind(r, "pairs", &b->head) ? -1 : 0;
}
