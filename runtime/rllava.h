/* The public face of the runtime.  Lua reads this very file: lines that begin with # are left
 * out, the rest goes to ffi.cdef, and the comment above a prototype is its help text.
 *
 * Types: int, double, text and pointers only; sizes in bytes are double.  A function that gives a
 * pointer gives NULL, one that gives an int -1, when it refuses; rl_error() then tells why.
 * NULL in, NULL out: a chain of calls is checked once, at its end. */
#ifndef RLLAVA_H
#define RLLAVA_H
#include <stdint.h>
#pragma GCC visibility push(default)

/* ---- errors ---- */

/* The message of this thread's last refusal: "what: which: expected X, got Y". */
const char *rl_error(void);

/* ---- json ---- */

/* A parsed JSON document: one flat array of nodes, in the order of the text. */
typedef struct rl_json rl_json;

enum { RL_JSON_NULL, RL_JSON_FALSE, RL_JSON_TRUE, RL_JSON_INT, RL_JSON_FLOAT, RL_JSON_STRING,
       RL_JSON_ARRAY, RL_JSON_OBJECT };

/* kind: RL_JSON_*.  count: elements of an array, members of an object (each a string node, then
 * its value).  next: index of the node after this one and all below it.  text, length: a string's
 * UTF-8 with escapes resolved (may hold zeros), or a number as it was written. */
typedef struct { int kind, count, next, length; const char *text; } rl_json_node;

/* text [length bytes] -> document.  name: the file, for messages.  Refuses anything but strict
 * JSON (RFC 8259; a byte order mark is skipped) with line and column; depth is at most 512. */
rl_json *rl_json_parse(const char *text, double length, const char *name);
const rl_json_node *rl_json_nodes(const rl_json *doc);
void rl_json_free(rl_json *doc);

/* ---- files ---- */

/* ---- tokenizer ---- */

/* ---- images ---- */

/* ---- processes ---- */

/* ---- tensors ---- */

/* ---- tape ---- */

/* ---- engine ---- */

#pragma GCC visibility pop
#endif
