/* A replay: the steps of a tape for certain outputs, and where their numbers lie. */
#ifndef RL_REPLAY_H
#define RL_REPLAY_H
#include "runtime.h"

/* One operation, forward, again, or backward; while it runs, zero[] are cleared for the step after it.  weight: the
 * parameter that it, or the last one before it, reads. */
typedef struct { rl_node node; bool backward, small, skip; rl_tensor **zero; int nzero; const char *weight; } rl_step;
/* Numbers of a value (or its gradient) that live from step first to step last in the arena. */
typedef struct { rl_tensor *value; bool grad, seed; int first, last; int64_t offset; } rl_life;
typedef struct { rl_tensor *value, *live; const char *name; } rl_asked;   /* an output, and what was given out */

struct rl_replay {
    rl_tape *tape;
    bool train, recompute;
    rl_dtype t;
    rl_tensor *value[2];            /* the values of the tape, and those that are made again */
    rl_step *steps; int nsteps, nforward;
    rl_life *lives; int nlives;
    rl_asked *asked; int nasked;
    int64_t *rows, *most;           /* by row kind, -1: not bound; rows that the arena was reserved for, or NULL */
    char *arena; int64_t arena_bytes, needed;
    const char *phase;              /* for the profile */
    bool laid_out, ready;           /* for the rows that are bound; the parameters have numbers */
    int bits; rl_quant **quants; int nquants;   /* 0, or what products take weights in, and these weights */
};

int rl_quant_make(rl_replay *r);    /* weights of few bits from the parameters, now and after they change */
void rl_quant_free(rl_replay *r);
int rl_plan_build(rl_replay *r);    /* steps and lives, once */
/* Offsets for rows by kind -> bytes; then shapes for the bound rows. */
int64_t rl_plan_lay_out(rl_replay *r, const int64_t *rows);

#endif
