/* What the files of this room share and no one else sees. */
#ifndef RL_RUNTIME_H
#define RL_RUNTIME_H
#include "rllava.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Keeps the message for this thread and gives NULL. */
void *rl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for functions that give an int. */
#define rl_refuse(...) (rl_fail(__VA_ARGS__), -1)

/* ---- json ---- */
/* Index of the value of a member, or of an element (from 0); -1 where there is none. */
int rl_json_get(const rl_json *doc, int object, const char *key);
int rl_json_at(const rl_json *doc, int array, int i);
/* A number node as double; dflt where node is -1 or no number. */
double rl_json_number(const rl_json *doc, int node, double dflt);
bool rl_json_is(const rl_json *doc, int node, const char *text);   /* a string equal to text */

#endif
