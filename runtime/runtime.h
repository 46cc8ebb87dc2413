/* What the files of this room share and no one else sees. */
#ifndef RL_RUNTIME_H
#define RL_RUNTIME_H
#include "rllava.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include "kernels.h"

/* Keeps the message for this thread and gives NULL. */
void *rl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for functions that give an int. */
#define rl_refuse(...) (rl_fail(__VA_ARGS__), -1)

/* ---- pool: one team of threads, every one of which runs the same function ---- */

typedef void rl_task(void *arg, rl_part p);
/* Runs task on every thread of the pool, the caller being part 0; returns when all have ended.  One
 * caller at a time: others wait. */
void rl_pool_run(rl_task *task, void *arg);
/* Inside a task: waits until every part is here.  Nothing to do where the task runs alone. */
void rl_pool_meet(rl_part p);
int rl_pool_size(void);

/* ---- tensors and the tape ---- */

enum { RL_TABLE = 100 };            /* dtype of an input that is a struct: rl_table or rl_pairs */
enum { RL_MAX_DIM = 4, RL_MAX_IN = 6, RL_MAX_OUT = 4 };

typedef struct rl_tape rl_tape;
typedef struct rl_scope rl_scope;

struct rl_tensor {
    int dtype, ndim;
    int64_t dim[RL_MAX_DIM];        /* dim[0] < 0: symbolic rows of kind -dim[0] - 1 */
    void *data;                     /* NULL: symbolic, or its scope is closed */
    float *grad;                    /* the same shape; NULL until something is added */
    bool needs_grad, panels;        /* panels: a parameter [n, k] in the layout of kernels.h */
    bool param;                     /* its numbers come when first touched: rl_param_touch */
    bool detached;                  /* a view that passes no gradient on */
    bool released, closed, owned;   /* Lua's handle is gone; the scope is; data is freed with it */
    uint16_t *half;                 /* panels in bf16, where products ask for them */
    rl_tape *tape;                  /* where it was recorded; NULL: live */
    int id;                         /* its place among the values of tape */
    rl_tensor *base;                /* a view: shares data and grad of base */
    rl_scope *scope;
    const char *name;               /* of a parameter or an input */
    struct rl_late *late;           /* of a parameter both looked up and multiplied: see param.c */
};

typedef struct rl_node rl_node;
/* run, grad: part p of the work.  saves_in, saves_out: bit i is set where grad reads in or out i.
 * work: multiply-adds or so; small work is not worth waking other threads. */
typedef struct rl_op {
    const char *name;
    void (*run)(const rl_node *n, rl_part p);
    void (*grad)(const rl_node *n, rl_part p);
    unsigned saves_in, saves_out;
    double (*work)(const rl_node *n);
} rl_op;
struct rl_node {
    const rl_op *op;
    rl_tensor *in[RL_MAX_IN], *out[RL_MAX_OUT];
    double f[4];
    int i[4];
    rl_dtype t;                     /* what products take their operands in */
    const struct rl_quant *quant;   /* in[1] in few bits, where the product takes it so */
};
/* A parameter in few bits, as quantise makes them. */
typedef struct rl_quant { rl_tensor *w; int bits; uint8_t *codes; uint16_t *scales; } rl_quant;
/* y = x in[1]^T + bias: from f32, from bf16 or from few bits, as the node says. */
void rl_multiply(const rl_node *n, rl_part p, float *y, const float *x, const float *bias,
                 int64_t rows);

/* Which rows attend to which: see rl_run.  With a cache, rows are first put into its slots, and
 * spans name slots instead of rows. */
typedef struct rl_table {
    const rl_run *runs; const rl_span *spans; const int32_t *trees;
    int nruns, ntrees;
    struct rl_cache *cache; const int32_t *slots;
} rl_table;
/* What is asked of the head: labels of pairs by answering row; with `how`, labels are sampled
 * first, one a row. */
typedef struct rl_pairs {
    const int32_t *first; int32_t *label;
    float temperature;
    const rl_sampling *how; const uint8_t *banned;
} rl_pairs;
/* Keys and values of every attention of a tape: layer l of them at k[l], v[l],
 * laid out as cache_rows says. */
typedef struct rl_cache { void **k, **v; int layers; int64_t slots, width, head_dim; } rl_cache;

struct rl_tape {
    rl_tensor **values; rl_node *nodes;
    int nvalues, nnodes, value_room, node_room;
    char **kinds; int nkinds;
    int *marks; int nmarks;         /* nodes before which activations may be dropped, made again */
    struct { char *name; rl_tensor *value; } *names; int nnames;   /* inputs and outputs */
};

/* -1, and a message, where x does not hold f32: "op: which: expected f32, got integers [3]". */
int rl_want_floats(const char *op, const char *which, const rl_tensor *x);
static inline rl_tensor *rl_root(rl_tensor *x) { return x->base ? x->base : x; }
/* A tensor without numbers yet; shape as of x; the same with another last axis. */
rl_tensor *rl_new(int dtype, int ndim, const int64_t *dim);
rl_tensor *rl_like(const rl_tensor *x);
rl_tensor *rl_like_cols(const rl_tensor *x, int64_t cols);
int64_t rl_numel(const rl_tensor *x);
int64_t rl_cols(const rl_tensor *x);                /* last axis */
int64_t rl_nrows(const rl_tensor *x);               /* all other axes together */
const char *rl_shape(const rl_tensor *x);           /* "[3, 8]"; lives until the eighth next call */
/* Runs the node (live) or records it (symbolic inputs) and gives out[0];
 * NULL where an input is NULL. */
rl_tensor *rl_apply(const rl_op *op, rl_node n);
float *rl_grad(rl_tensor *x);                       /* room for the gradient, zeros at first */
float *rl_grad_or_null(rl_tensor *x);               /* NULL where x needs none */
void rl_run_node(const rl_node *n, bool backward);  /* now, on the pool or on the caller alone */
bool rl_is_small(const rl_node *n);
double rl_work_rows(const rl_node *n);              /* elements of out[0] */
/* x to the nearest bf16, ties to even. */
static inline uint16_t rl_to_bf16(float x) {
    union { float f; uint32_t u; } v = { x };
    return (uint16_t)((v.u + 0x7fff + (v.u >> 16 & 1)) >> 16);
}
void *rl_alloc(double bytes);                       /* 64-byte aligned; NULL: refused */

/* Numbers of a parameter, zeros at first; with half, its copy in bf16 too.
 * Nothing to do for other tensors. */
int rl_param_touch(rl_tensor *x, bool half);
/* Parameters have new numbers; how often they had. */
void rl_param_wrote(void);
unsigned rl_param_writes(void);
/* w is looked up and multiplied by: its look-up gradients wait from now on. */
void rl_param_tie(rl_tensor *w);
/* Keeps the gradient rows of a look-up for rl_param_settle; part 0 alone may call. */
void rl_param_keep_late(rl_tensor *w, const int32_t *ids, const float *dy, int64_t rows);
/* Room for so many of them in all, or (more) beside those that wait. */
int rl_param_reserve_late(rl_tensor *w, int64_t rows, bool more);
void rl_param_settle(rl_tensor *w);
rl_tensor *rl_tape_find(const rl_tape *t, const char *name);
int rl_tape_kind(rl_tape *t, const char *kind);
extern const rl_op rl_op_attention, rl_op_logprob, rl_op_embedding;
void rl_alloc_free(void *p);                        /* of rl_alloc */

/* ---- json ---- */
/* Index of the value of a member, or of an element (from 0); -1 where there is none. */
int rl_json_get(const rl_json *doc, int object, const char *key);
int rl_json_at(const rl_json *doc, int array, int i);
/* A number node as double; dflt where node is -1 or no number. */
double rl_json_number(const rl_json *doc, int node, double dflt);
bool rl_json_is(const rl_json *doc, int node, const char *text);   /* a string equal to text */

#endif
