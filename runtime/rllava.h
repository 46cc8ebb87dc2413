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

/* A whole file, mapped read-only; an empty one has size 0.  size in bytes. */
typedef struct { const char *path; const void *data; double size; } rl_map;
rl_map *rl_map_open(const char *path);
void rl_map_close(rl_map *map);

/* A file written aside, beside its place, that appears there at commit: complete, on the disk, or
 * not at all.  level: 0 plain bytes; 1..19 one zstd frame with a checksum.  commit and discard
 * end the stream; a commit after a refused write refuses too, and leaves nothing. */
typedef struct rl_output rl_output;
rl_output *rl_output_open(const char *path, int level);
int rl_output_write(rl_output *out, const void *data, double bytes);
/* x [count] as F32, or rounded to nearest even as BF16. */
int rl_output_floats(rl_output *out, const float *x, double count, int bf16);
int rl_output_commit(rl_output *out);
void rl_output_discard(rl_output *out);

/* Reads a zstd frame from the front.  data NULL: skips.  end: refuses unless all was read and the
 * checksum agreed. */
typedef struct rl_input rl_input;
rl_input *rl_input_open(const char *path);
int rl_input_read(rl_input *in, void *data, double bytes);
int rl_input_end(rl_input *in);
void rl_input_close(rl_input *in);

/* Folders.  list: the names in one, sorted, each ended by a zero, the last by two (rl_free).
 * stat: 0 nothing there, 1 file, 2 folder, 3 anything else; size in bytes if not NULL.
 * rename replaces a file; replace_folder puts a finished folder in the place of another, at once
 * where the file system can.  Both bring the change to the disk. */
char *rl_folder_list(const char *path);
int rl_folder_make(const char *path);              /* with all above it */
int rl_folder_sync(const char *path);              /* every file in it, and itself, to the disk */
int rl_folder_replace(const char *from, const char *to);
int rl_file_stat(const char *path, double *size);
int rl_file_rename(const char *from, const char *to);
int rl_file_remove(const char *path);              /* a folder with all below it; links themselves */
void rl_free(void *p);

/* zstd of a buffer -> bytes written (double), -1 refused.  bound: room that always suffices.
 * size: of what a frame holds. */
double rl_zstd_bound(double bytes);
double rl_zstd_compress(void *out, double room, const void *data, double bytes, int level);
double rl_zstd_size(const void *data, double bytes);
double rl_zstd_decompress(void *out, double room, const void *data, double bytes);

/* CRC-32C (Castagnoli) as TensorBoard's files use it; a 64-bit content hash, 16 hex digits and a
 * zero to text: it finds damage, it is no defence against forgery. */
double rl_crc32c(const void *data, double bytes);
void rl_hash(const void *data, double bytes, char *text);

/* Bytes of memory this process holds now, or has held at most. */
double rl_memory_now(void);
double rl_memory_peak(void);
/* Seconds since 1970; seconds of a clock that only goes forward. */
double rl_time(void);
double rl_clock(void);
void rl_sleep(double seconds);
/* Is the open file fd a terminal?  Its columns; 0: no terminal. */
int rl_terminal_columns(int fd);

/* A tensor in a file.  dtype: as safetensors and GGUF name it (F32, BF16, Q4_K ...); dim: slowest
 * axis first; count of elements, bytes in the file at data. */
typedef struct {
    const char *name, *dtype;
    int ndim;
    double dim[8], count, bytes;
    const void *data;
} rl_stored;

/* Elements first .. first+count-1 as float.  Both are multiples of the format's block (1 for plain
 * formats, 32 or 256 for quantised ones), else refused. */
int rl_stored_read(const rl_stored *t, double first, double count, float *out);

/* A .safetensors file, its header checked completely: JSON, types, shapes, every byte of the data
 * owned by exactly one tensor.  at: in the order of the header; find: index, -1 if absent. */
typedef struct rl_safetensors rl_safetensors;
rl_safetensors *rl_safetensors_open(const char *path);
int rl_safetensors_count(const rl_safetensors *st);
const rl_stored *rl_safetensors_at(const rl_safetensors *st, int i);
int rl_safetensors_find(const rl_safetensors *st, const char *name);
void rl_safetensors_close(rl_safetensors *st);

/* ---- tokenizer ---- */

/* ---- images ---- */

/* ---- processes ---- */

/* ---- tensors ---- */

/* ---- tape ---- */

/* ---- engine ---- */

#pragma GCC visibility pop
#endif
