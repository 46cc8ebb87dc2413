/* What the engine's thread works on: groups of samples, and the rows of its next step. */
#ifndef RL_ENGINE_H
#define RL_ENGINE_H
#include "kvcache.h"
#include "media.h"
#include <pthread.h>

/* A sample: its own rows below its group's prompt.  done: tokens whose keys are cached. */
typedef struct rl_sample {
    struct rl_group *group;
    int number, n, finish, version;
    bool ended, taken;
    int32_t *tokens, *versions; float *logp, *entropy;
    rl_rows rows; int done;
    int hope;                                       /* tokens worth drafting, by how the last drafts went */
    rl_stream *text; char *tail; int ntail;         /* where there are stop texts: the end of what was said */
    rl_result result;
    struct rl_sample *next;                         /* among the finished */
} rl_sample;

/* A prompt, computed once for all groups that have it: ids [n], positions [3][n] or NULL, media: their
 * fingerprint.  version, writes: of the weights.  last_row: of the planned step, -1: not in it. */
typedef struct rl_prefix {
    int n, users, version, last_row;
    unsigned writes;
    int32_t *ids, *positions;
    uint64_t media[2];
    rl_rows rows;                                   /* as far as it is cached */
    struct rl_prefix *next;                         /* used before this one */
} rl_prefix;

/* A request: a prompt and its samples. */
typedef struct rl_group {
    int request, pages;                             /* pages: set aside for its samples */
    rl_request ask;                                 /* its lists are copies */
    int next_position;                              /* of the first sampled token, the same on all axes */
    uint64_t media[2];
    rl_prefix *prefix;                              /* from its admission until its samples have ended */
    bool in_step, cancelled;                        /* in_step: has rows or answers in the step that runs */
    bool suspect;                                   /* was in a step that failed: runs alone until it gives a token */
    const char *error;
    rl_sample *samples; int left;                   /* left: not yet ended; the group goes when all are forgotten */
    int remembered;
    struct rl_group *next;
} rl_group;

/* The rows of one step. */
typedef struct {
    int32_t *ids, *positions, *slots, *packed; int rows, room;
    rl_run *runs; rl_span *spans; int nruns, nspans, run_room, span_room;
    int32_t *answers, *first, *label; rl_sampling *how; rl_sample **who; int nanswers, answer_room;
    rl_media_pack *media;
} rl_plan_rows;

struct rl_engine {
    pthread_t thread;
    pthread_mutex_t lock;                           /* of everything below */
    pthread_cond_t wake, news, gate;                /* for the engine; for those that wait for samples, for a step's end */
    int held; bool stepping, stale;                 /* the gate: an update writes, a step reads the weights */
    rl_replay *replay;
    rl_pages *pages; int reserved, spared;          /* set aside for groups; in prefixes that none uses */
    rl_prefix *prefixes;
    rl_group *groups;                               /* in order of their coming */
    rl_sample *finished, **finished_end;
    rl_plan_rows step;
    uint8_t *banned;
    int vocab, at_once, prompt_rows, requests, version, pending;
    double count[6];
    bool quit;
    struct rl_engine *next;                         /* among those that run */
};

/* Its thread, which runs rl_engine_work, until end. */
int rl_engine_start(rl_engine *e);
void rl_engine_end(rl_engine *e);
void *rl_engine_work(void *engine);

/* Fills e->step with the next rows: of prompts, then of running samples. */
void rl_engine_plan(rl_engine *e);
int rl_engine_bind_step(rl_engine *e);
void rl_engine_free_step(rl_engine *e);

/* Room for the whole of a group is set aside before it starts, so that none ever waits half done; it then has its
 * prefix, which may be there already. */
bool rl_prefix_admit(rl_engine *e, rl_group *g);
/* All its samples have ended. */
void rl_prefix_leave(rl_engine *e, rl_group *g);
void rl_prefix_drop_unused(rl_engine *e);

/* What may come next in a sample: draft [ask.lookup] -> how many. */
int rl_sample_draft(rl_sample *x, int32_t *draft);
/* Of so many drafted tokens those at the front were what was drawn then. */
void rl_sample_judge(rl_sample *x, int drafted, int accepted);

/* Is token, the sample's newest, its last? */
bool rl_sample_stops(rl_sample *x, int token);
int rl_stop_check(const rl_request *q);
const char *const *rl_stop_copy(const rl_request *q);
void rl_stop_free(rl_group *g);

#endif
