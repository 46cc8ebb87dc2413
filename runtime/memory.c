/* Where numbers live: aligned blocks that are counted, and scopes that end them. */
#define _GNU_SOURCE
#include "runtime.h"
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic int64_t used, peak;

void *rl_alloc(double bytes) {
    const size_t huge = 1 << 21, align = bytes < 4 * (double)huge ? 64 : huge;
    const size_t n = bytes < 64 ? 64 : ((size_t)bytes + align - 1) / align * align;
    void *p = aligned_alloc(align, n);
    if (!p) return rl_fail("memory: expected room for %.0f bytes, found none", bytes);
    if (align == huge) madvise(p, n, MADV_HUGEPAGE);        /* a wish: a walk over weights then needs few page tables */
    const int64_t now = atomic_fetch_add(&used, (int64_t)malloc_usable_size(p)) + (int64_t)malloc_usable_size(p);
    int64_t top = atomic_load(&peak);
    while (now > top && !atomic_compare_exchange_weak(&peak, &top, now)) {}
    return p;
}

void rl_alloc_free(void *p) {
    if (!p) return;
    atomic_fetch_sub(&used, (int64_t)malloc_usable_size(p));
    free(p);
}

double rl_bytes_used(void) { return (double)atomic_load(&used); }
double rl_bytes_peak(void) { return (double)atomic_load(&peak); }

struct rl_scope {
    rl_tensor **tensors; int ntensors, tensor_room;
    rl_node *nodes; int nnodes, node_room;          /* the live tape */
    rl_scope *outer;
};

static _Thread_local rl_scope root, *current;

rl_scope *rl_scope_now(void) { return current ? current : (current = &root); }

int rl_scope_open(void) {
    rl_scope *s = calloc(1, sizeof *s);
    s->outer = rl_scope_now();
    current = s;
    return 0;
}

void rl_scope_add(rl_tensor *x) {
    rl_scope *s = x->scope = rl_scope_now();
    if (s->ntensors == s->tensor_room) {
        s->tensor_room = s->tensor_room ? 2 * s->tensor_room : 64;
        s->tensors = realloc(s->tensors, (size_t)s->tensor_room * sizeof *s->tensors);
    }
    s->tensors[s->ntensors++] = x;
}

void rl_scope_record(const rl_node *n) {
    rl_scope *s = rl_scope_now();
    if (s->nnodes == s->node_room) {
        s->node_room = s->node_room ? 2 * s->node_room : 64;
        s->nodes = realloc(s->nodes, (size_t)s->node_room * sizeof *s->nodes);
    }
    s->nodes[s->nnodes++] = *n;
}

static void end_numbers(rl_tensor *x) {
    if (x->owned) rl_alloc_free(x->data);
    if (!x->base) rl_alloc_free(x->grad), rl_alloc_free(x->half);
    x->data = NULL, x->grad = NULL, x->half = NULL;
    x->closed = true;
    if (x->released) free(x);
}

/* Outside every scope: what Lua let go can end now, since no recorded node needs it. */
static void sweep_root(rl_scope *s) {
    int kept = 0;
    for (int i = 0; i < s->ntensors; i++) {
        bool is_base = false;
        for (int k = i + 1; s->tensors[i]->released && k < s->ntensors && !is_base; k++)
            is_base = s->tensors[k]->base == s->tensors[i] && !s->tensors[k]->released;
        if (s->tensors[i]->released && !is_base) end_numbers(s->tensors[i]);
        else s->tensors[kept++] = s->tensors[i];
    }
    s->ntensors = kept;
}

void rl_scope_clear_tape(void) {
    rl_scope *s = rl_scope_now();
    s->nnodes = 0;
    if (s == &root) sweep_root(s);
}

int rl_scope_nodes(rl_node **nodes) {
    rl_scope *s = rl_scope_now();
    *nodes = s->nodes;
    return s->nnodes;
}

int rl_scope_keep(rl_tensor *x) {
    rl_scope *s = rl_scope_now();
    if (!x || x->closed || x->scope != s || !s->outer) return 0;
    if (x->base) rl_scope_keep(x->base);
    for (int i = 0; i < s->ntensors; i++)
        if (s->tensors[i] == x) {
            s->tensors[i] = s->tensors[--s->ntensors];
            rl_scope *inner = current;
            current = s->outer;
            rl_scope_add(x);
            current = inner;
            break;
        }
    return 0;
}

int rl_scope_close(void) {
    rl_scope *s = rl_scope_now();
    if (s == &root) return rl_refuse("scope: close: expected an open scope, found none");
    current = s->outer;
    for (int i = 0; i < s->ntensors; i++) end_numbers(s->tensors[i]);
    free(s->tensors), free(s->nodes), free(s);
    return 0;
}

void rl_tensor_release(rl_tensor *x) {
    if (!x) return;
    x->released = true;
    if (x->closed) free(x);
    else if (x->scope == &root && current == &root && !root.nnodes && root.ntensors % 256 == 0) sweep_root(&root);
}
