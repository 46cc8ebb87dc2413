/* Scopes, as tensor.c and tape.c see them. */
#ifndef RL_MEMORY_H
#define RL_MEMORY_H
#include "runtime.h"

int64_t rl_storage(const rl_tensor *x);         /* numbers kept: panels are padded */
int rl_tensor_allocate(rl_tensor *x);           /* numbers of a live tensor; -1: no memory */
void rl_scope_add(rl_tensor *x);                /* x dies with the open scope */
void rl_scope_record(const rl_node *n);         /* at the end of the open scope's live tape */
int rl_scope_nodes(rl_node **nodes);
void rl_scope_clear_tape(void);

#endif
