/* Pages of the cache of keys and values. */
#ifndef RL_KVCACHE_H
#define RL_KVCACHE_H
#include "runtime.h"

enum { RL_PAGE = 16 };                              /* slots of a page */

typedef struct rl_pages rl_pages;
/* Room for slots rows in every layer of the tape's attention over "segments". */
rl_pages *rl_pages_new(const rl_tape *tape, int dtype, int64_t slots);
void rl_pages_free(rl_pages *p);
rl_cache *rl_pages_cache(rl_pages *p);
int rl_pages_left(const rl_pages *p);
int rl_pages_total(const rl_pages *p);

/* Rows of one segment: pages in order. */
typedef struct { int32_t *page; int npages, rows; } rl_rows;
/* n more rows; pages must be left.  slots[0 .. n-1]: where they go. */
void rl_rows_add(rl_rows *r, rl_pages *p, int n, int32_t *slots);
/* Gives back all but the first n rows. */
void rl_rows_cut(rl_rows *r, rl_pages *p, int n);
void rl_rows_release(rl_rows *r, rl_pages *p);
/* The spans of all its rows, neighbours joined -> how many (at most npages). */
int rl_rows_spans(const rl_rows *r, rl_span *spans);

#endif
