/* The cache of keys and values: pages of slots that every layer shares the numbering of. */
#include "kvcache.h"
#include "memory.h"
#include <stdlib.h>

struct rl_pages { rl_cache cache; int32_t *spare; int nspare, total; };

static void measure(const rl_tape *t, rl_cache *c) {
    for (int i = 0; i < t->nnodes; i++) {
        const rl_node *n = &t->nodes[i];
        if (n->op != &rl_op_attention || !n->in[3]->name || n->in[3] != rl_tape_find(t, "segments")) continue;
        c->layers++;
        c->head_dim = n->in[1]->dim[2];
        c->width = n->in[1]->dim[1] * c->head_dim;
    }
}

static double bytes_of(const rl_cache *c, int dtype) {
    return (double)c->slots * (double)c->width * (dtype == RL_BF16 ? 2 : 4);
}

double rl_engine_bytes(rl_tape *tape, int dtype, int slots) {
    rl_cache c = { .slots = (slots + RL_PAGE - 1) / RL_PAGE * RL_PAGE };
    measure(tape, &c);
    return 2.0 * c.layers * rl_bytes_of(bytes_of(&c, dtype));
}

rl_pages *rl_pages_new(const rl_tape *t, int dtype, int64_t slots) {
    rl_pages *p = calloc(1, sizeof *p);
    rl_cache *c = &p->cache;
    p->total = p->nspare = (int)((slots + RL_PAGE - 1) / RL_PAGE);
    c->slots = (int64_t)p->total * RL_PAGE;
    measure(t, c);
    if (c->head_dim % 2 && dtype == RL_BF16) {
        rl_fail("engine: dtype: expected an even head_dim, as bf16 takes pairs, got %lld", (long long)c->head_dim);
        rl_pages_free(p);
        return NULL;
    }
    const double bytes = bytes_of(c, dtype);
    c->k = calloc((size_t)c->layers + 1, sizeof *c->k), c->v = calloc((size_t)c->layers + 1, sizeof *c->v);
    for (int l = 0; l < c->layers; l++)
        if (!(c->k[l] = rl_alloc(bytes)) || !(c->v[l] = rl_alloc(bytes))) { rl_pages_free(p); return NULL; }
    p->spare = malloc(sizeof *p->spare * (size_t)p->total);
    for (int i = 0; i < p->total; i++) p->spare[i] = p->total - 1 - i;
    return p;
}

void rl_pages_free(rl_pages *p) {
    if (!p) return;
    for (int l = 0; l < p->cache.layers; l++) rl_alloc_free(p->cache.k[l]), rl_alloc_free(p->cache.v[l]);
    free(p->cache.k), free(p->cache.v), free(p->spare), free(p);
}

rl_cache *rl_pages_cache(rl_pages *p) { return &p->cache; }
int rl_pages_left(const rl_pages *p) { return p->nspare; }
int rl_pages_total(const rl_pages *p) { return p->total; }

void rl_rows_add(rl_rows *r, rl_pages *p, int n, int32_t *slots) {
    for (int i = 0; i < n; i++, r->rows++) {
        if (r->rows == r->npages * RL_PAGE) {
            r->page = realloc(r->page, sizeof *r->page * (size_t)(r->npages + 1));
            r->page[r->npages++] = p->spare[--p->nspare];
        }
        slots[i] = r->page[r->rows / RL_PAGE] * RL_PAGE + r->rows % RL_PAGE;
    }
}

void rl_rows_cut(rl_rows *r, rl_pages *p, int n) {
    while (r->npages * RL_PAGE >= n + RL_PAGE) p->spare[p->nspare++] = r->page[--r->npages];
    r->rows = n;
}

void rl_rows_release(rl_rows *r, rl_pages *p) {
    rl_rows_cut(r, p, 0);
    free(r->page);
    *r = (rl_rows){ 0 };
}

int rl_rows_spans(const rl_rows *r, rl_span *spans) {
    int n = 0;
    for (int i = 0; i < r->npages; i++) {
        const int row = r->page[i] * RL_PAGE, here = i + 1 < r->npages ? RL_PAGE : r->rows - i * RL_PAGE;
        if (n && spans[n - 1].row + spans[n - 1].n == row) spans[n - 1].n += here;
        else spans[n++] = (rl_span){ row, here };
    }
    return n;
}
