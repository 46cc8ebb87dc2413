/* Where numbers live: aligned blocks that are counted, and scopes that end them. */
#define _GNU_SOURCE
#include "runtime.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic int64_t used, peak, limit;          /* limit 0: none */

enum { HEAD = 64, HUGE_PAGE = 1 << 21 };            /* a block's size stands in front of it */

static size_t align_of(double bytes) { return bytes < 4. * HUGE_PAGE ? HEAD : HUGE_PAGE; }

double rl_bytes_of(double bytes) {
    const size_t align = align_of(bytes);
    return (double)(((size_t)(bytes < 64 ? 64 : bytes) + HEAD + align - 1) / align * align);
}

/* n more are used -> -1 where the limit forbids it. */
static int take(int64_t n) {
    const int64_t most = atomic_load(&limit), now = atomic_fetch_add(&used, n) + n;
    if (most && now > most) {
        atomic_fetch_sub(&used, n);
        return rl_refuse("memory: expected at most %.0f MiB (trainer.memory), %.0f MiB are in use "
                         "and %.1f MiB more were asked for",
                         (double)most / 1048576, (double)(now - n) / 1048576, (double)n / 1048576);
    }
    int64_t top = atomic_load(&peak);
    while (now > top && !atomic_compare_exchange_weak(&peak, &top, now)) {}
    return 0;
}

void *rl_alloc(double bytes) {
    const double n = rl_bytes_of(bytes);
    if (!(n < 1e15)) return rl_fail("memory: expected a number of bytes, got %g", bytes);
    if (take((int64_t)n)) return NULL;
    char *p = aligned_alloc(align_of(bytes), (size_t)n);
    if (!p) {
        atomic_fetch_sub(&used, (int64_t)n);
        return rl_fail("memory: expected room for %.0f bytes, found none", bytes);
    }
    /* a wish: a walk over weights needs few page tables */
    if (align_of(bytes) == HUGE_PAGE) madvise(p, (size_t)n, MADV_HUGEPAGE);
    *(int64_t *)p = (int64_t)n;
    return p + HEAD;
}

void rl_alloc_free(void *p) {
    if (!p) return;
    int64_t *head = (int64_t *)((char *)p - HEAD);
    atomic_fetch_sub(&used, *head);
    free(head);
}

int rl_bytes_limit(double bytes) {
    if (!(bytes >= 0 && bytes < 1e15))
        return rl_refuse("memory: limit: expected bytes, 0 for none, got %g", bytes);
    atomic_store(&limit, (int64_t)bytes);
    return 0;
}

double rl_bytes_used(void) { return (double)atomic_load(&used); }
double rl_bytes_peak(void) { return (double)atomic_load(&peak); }
int rl_bytes_restart(void) { atomic_store(&peak, atomic_load(&used)); return 0; }

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
    const bool sweepable = x->scope == &root && current == &root && !root.nnodes;
    if (x->closed) free(x);
    else if (sweepable && root.ntensors % 256 == 0) sweep_root(&root);
}
