/* Pictures of several prompts, laid end to end for one replay. */
#ifndef RL_MEDIA_H
#define RL_MEDIA_H
#include "runtime.h"

typedef struct rl_media_pack rl_media_pack;
rl_media_pack *rl_media_pack_new(void);
void rl_media_pack_free(rl_media_pack *p);
void rl_media_pack_clear(rl_media_pack *p);
/* token: first row of the segment that m belongs to. */
void rl_media_pack_add(rl_media_pack *p, const rl_media *m, int token);
/* Binds every media input of the tape; those that nothing was added to get no rows. */
int rl_media_pack_bind(rl_media_pack *p, rl_replay *r);

#endif
