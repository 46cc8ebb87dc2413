/* Pictures of several prompts, laid end to end for one replay. */
#ifndef RL_MEDIA_H
#define RL_MEDIA_H
#include "runtime.h"

typedef struct rl_media_pack rl_media_pack;
rl_media_pack *rl_media_pack_new(void);
void rl_media_pack_free(rl_media_pack *p);
void rl_media_pack_clear(rl_media_pack *p);
/* The pictures of tokens [from, to) of m's prompt, which lie at row token; what stands elsewhere
 * is left out. */
void rl_media_pack_add(rl_media_pack *p, const rl_media *m, int token, int from, int to);
/* Room for n times the pictures of m, in an empty pack. */
int rl_media_pack_reserve(rl_media_pack *p, const rl_media *m, int n);
/* A fingerprint of all that m holds; of none: zeros. */
void rl_media_hash(const rl_media *m, uint64_t hash[2]);
/* Refuses pictures that would stand outside a prompt of n tokens. */
int rl_media_check(const rl_media *m, int n);
/* Binds every media input of the tape; those that nothing was added to get no rows. */
int rl_media_pack_bind(rl_media_pack *p, rl_replay *r);

#endif
