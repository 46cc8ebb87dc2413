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

/* ---- text ---- */

/* What a code point is: the sum of 1 letter, 2 number, 4 mark, 8 space;
 * 0 where it is none of them. */
int rl_char_class(int c);
/* Its lower and upper case, where that is one code point; else the code point itself. */
int rl_char_lower(int c);
int rl_char_upper(int c);

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
int rl_file_remove(const char *path);           /* a folder with all below it; links themselves */
/* Takes a file for this process alone, whose number it then holds -> what releases it; the end of
 * the process does too, however it comes.  Refuses where another process has it, naming that. */
int rl_file_lock(const char *path);
int rl_file_unlock(int lock);
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
/* SHA-256: 64 hex digits and a zero to text. */
void rl_sha256(const void *data, double bytes, char *text);

/* Bytes of memory this process holds now, or has held at most. */
double rl_memory_now(void);
double rl_memory_peak(void);
/* Seconds since 1970; seconds of a clock that only goes forward. */
double rl_time(void);
double rl_clock(void);
void rl_sleep(double seconds);
/* From on = 1 to on = 0, Ctrl-C and SIGTERM only leave word; a second one ends the process.
 * Was there one? */
int rl_interrupt_catch(int on);
int rl_interrupted(void);
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

/* A .gguf file, version 2 or 3, checked completely: every size, type and offset, no tensor over
 * another.  count, at, find: as above; dim is turned round to slowest first. */
typedef struct rl_gguf rl_gguf;
rl_gguf *rl_gguf_open(const char *path);
int rl_gguf_count(const rl_gguf *g);
const rl_stored *rl_gguf_at(const rl_gguf *g, int i);
int rl_gguf_find(const rl_gguf *g, const char *name);
void rl_gguf_close(rl_gguf *g);
/* Its keys, sorted.  meta: index of a key, -1 if absent.  kind: of the value or of a list's items;
 * length of a list, -1: one value.  Item i (0 for one value): number (a bool is 0 or 1; 0 for a
 * text), text (*bytes long, without a zero behind it; NULL for others). */
enum { RL_GGUF_NUMBER, RL_GGUF_BOOL, RL_GGUF_TEXT };
int rl_gguf_keys(const rl_gguf *g);
const char *rl_gguf_key(const rl_gguf *g, int key);
int rl_gguf_meta(const rl_gguf *g, const char *key);
int rl_gguf_kind(const rl_gguf *g, int key);
int rl_gguf_length(const rl_gguf *g, int key);
double rl_gguf_number(const rl_gguf *g, int key, int i);
const char *rl_gguf_text(const rl_gguf *g, int key, int i, int *bytes);

/* ---- tokenizer ---- */

/* A tokenizer.json of Hugging Face: byte pair encoding over bytes or characters, its normalizer,
 * pre-tokenizer, added tokens, post-processor and decoder.  One thread at a time may use it. */
typedef struct rl_tokenizer rl_tokenizer;
/* text [bytes].  name: the file, for messages. */
rl_tokenizer *rl_tokenizer_parse(const char *text, double bytes, const char *name);
void rl_tokenizer_free(rl_tokenizer *t);

/* One more added token, or other flags for a known one.  id below 0: that of the vocabulary.
 * flags: 1 special, 2 lstrip, 4 rstrip, 8 single_word, 16 normalized. */
int rl_tokenizer_add(rl_tokenizer *t, const char *content, int bytes, int id, int flags);

/* A token and the code points [from, to) of the text that it came from. */
typedef struct { int id, from, to; } rl_token;
/* UTF-8 text [bytes, at most 2^26], bad bytes being U+FFFD -> number of tokens.  special: with what
 * the post-processor puts around; plain: special tokens in the text are read as text. */
int rl_tokenizer_encode(rl_tokenizer *t, const char *text, double bytes, int special, int plain);
/* The tokens of the last encode; valid until the next. */
const rl_token *rl_tokenizer_tokens(const rl_tokenizer *t);

/* How text [bytes] is cut, added tokens apart: its pieces as tokens of id -1 -> their number.  from
 * and to count in the normalised text, which rl_tokenizer_text gives. */
int rl_tokenizer_pieces(rl_tokenizer *t, const char *text, double bytes);

/* ids [n] -> bytes of text; ids without a token give nothing.  skip: leaves special tokens out. */
int rl_tokenizer_decode(rl_tokenizer *t, const int *ids, int n, int skip);
/* The text of the last decode or pieces, valid until the next; *bytes: its length, if not NULL. */
const char *rl_tokenizer_text(const rl_tokenizer *t, int *bytes);

/* Highest id + 1.  The id of a token, -1: none.  The token of an id, NULL: none;
 * *bytes: its length. */
int rl_tokenizer_size(const rl_tokenizer *t);
int rl_tokenizer_id(const rl_tokenizer *t, const char *token, int bytes);
const char *rl_tokenizer_token(const rl_tokenizer *t, int id, int *bytes);
/* 0: of the vocabulary alone, or no token; 1: added; 2: added and special. */
int rl_tokenizer_kind(const rl_tokenizer *t, int id);

/* Decoding token by token: put and end give the bytes of text that became complete, text gives
 * them; valid until the next.  After end it begins anew.  t must outlive its use. */
typedef struct rl_stream rl_stream;
rl_stream *rl_stream_new(const rl_tokenizer *t, int skip);
void rl_stream_free(rl_stream *s);
int rl_stream_put(rl_stream *s, int id);
int rl_stream_end(rl_stream *s);
const char *rl_stream_text(const rl_stream *s);

/* ---- images ---- */

/* A decoded picture: pixels [height, width, channels] bytes (rl_image_room_free), RGB, or RGBA
 * where the file has transparency.  orientation: EXIF, 1 to 8.  coarse: of a palette or one bit,
 * which PIL resizes by nearest.  format: "JPEG", "PNG", "GIF" or "BMP". */
typedef struct {
    unsigned char *pixels;
    int width, height, channels, orientation, coarse;
    const char *format;
} rl_image;

/* A file in memory -> picture.  JPEG (CMYK too), PNG, GIF (first frame), BMP; 16-bit samples give
 * their high byte.  Refuses damaged and truncated files, other formats, and more pixels than PIL's
 * limit of 178956970, before anything of that size is allocated.  name: the file, for messages. */
int rl_image_decode(const void *data, double size, const char *name, rl_image *out);

/* One of several files; after the call its image, or error (rl_free) where it was refused. */
typedef struct {
    const void *data;
    double size;
    const char *name;
    rl_image image;
    char *error;
} rl_image_file;
/* The files are shared among the threads. */
void rl_images_decode(rl_image_file *files, int n);

/* RGBA -> RGB: put on white as PIL's alpha_composite does, or (white 0) the plain colours.
 * count: of pixels. */
void rl_image_opaque(const unsigned char *rgba, double count, int white, unsigned char *rgb);
/* The picture turned upright by its EXIF orientation; 5 to 8 exchange width and height in out. */
int rl_image_upright(const unsigned char *in, int width, int height, int channels, int orientation,
                     unsigned char *out);

/* PIL's resize, to the byte: separable with antialias, in 22-bit fixed point, four channels with
 * premultiplied alpha.  filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.
 * out [out_height, out_width, channels] */
int rl_image_resize(const unsigned char *in, int width, int height, int channels,
                    unsigned char *out, int out_width, int out_height, int filter);

/* How a model wants its pictures: value = (byte scale - mean) / std.  patch > 0: rows as of
 * rl_image_patches; 0: planes [3, out_height, out_width]. */
typedef struct { int filter, patch, merge, times; double scale, mean[3], std[3]; } rl_image_rule;
/* A picture rgb [height, width, 3] and the size it is resized to; planes are then cut, from the
 * centre, or padded with zeros, to crop_height x crop_width (0: as they are).  out: the numbers. */
typedef struct {
    const unsigned char *rgb;
    int width, height, out_width, out_height, crop_width, crop_height;
    float *out;
} rl_image_task;
/* Pictures are shared among the threads; a single one is cut among them. */
int rl_images_prepare(const rl_image_task *tasks, int n, const rl_image_rule *rule);

/* Rows of patches for a Qwen-VL tower: rgb [height, width, 3], both multiples of patch * merge.
 * Blocks of merge x merge patches in raster order, in each the patches in raster order; a row is
 * channel, time (the frame times times), y, x; a value is (byte / 255 - mean) / std.
 * out [height width / patch^2, 3 times patch^2] */
int rl_image_patches(const unsigned char *rgb, int width, int height, int patch, int merge,
                     int times, const double *mean, const double *std, float *out);

/* Room for pixels or patches, not set to zero, and its end.  Some rooms are kept for the next one,
 * 128 MB at most. */
void *rl_image_room(double bytes);
void rl_image_room_free(void *room);

/* rgb [height, width, 3] as a PNG file (rl_free), or as JPEG of a quality from 1 to 100; *size: its
 * bytes. */
unsigned char *rl_image_png(const unsigned char *rgb, int width, int height, int *size);
unsigned char *rl_image_jpeg(const unsigned char *rgb, int width, int height, int quality,
                             int *size);

/* Pictures are RGB bytes [height, width, 3].  What is drawn is integer arithmetic: the same pixels
 * everywhere.  Colours are 0xRRGGBB; what lies outside is left out. */
void rl_draw_fill(unsigned char *rgb, int width, int height, int colour);
void rl_draw_rect(unsigned char *rgb, int width, int height, int x, int y, int w, int h,
                  int colour);
/* A line of a thickness in pixels, with round ends. */
void rl_draw_line(unsigned char *rgb, int width, int height, int x0, int y0, int x1, int y1,
                  int thick, int colour);
/* A filled polygon of n corners (x, y in turn); even-odd rule. */
void rl_draw_polygon(unsigned char *rgb, int width, int height, const int *corners, int n,
                     int colour);
/* A disc (thick 0) or a ring of that thickness inside radius r. */
void rl_draw_circle(unsigned char *rgb, int width, int height, int x, int y, int r, int thick,
                    int colour);
/* Digits, letters A to Z and ?+-=.,: of a 5 x 7 font, each dot scale x scale pixels, advance pixels
 * apart. */
void rl_draw_text(unsigned char *rgb, int width, int height, int x, int y, const char *text,
                  int scale, int advance, int colour);

/* What smooth shapes are filled with.  Their coordinates are eighths of a pixel, from -8192 to
 * 8192; pixel x covers 8 x to 8 x + 8.  The colour goes from lit at (x, y) to dark where
 * ((px - x) / rx)^2 + ((py - y) / ry)^2 reaches 1; a radius of 0 leaves its axis out, with both 0
 * it is lit all over.  opacity: 0 to 256. */
typedef struct { int lit, dark, x, y, rx, ry, opacity; } rl_brush;
/* Of n corners (x, y in turn); even-odd rule. */
void rl_draw_smooth_polygon(unsigned char *rgb, int width, int height, const int *corners, int n,
                            const rl_brush *brush);
void rl_draw_smooth_ellipse(unsigned char *rgb, int width, int height, int x, int y, int rx, int ry,
                            const rl_brush *brush);
/* With round ends. */
void rl_draw_smooth_line(unsigned char *rgb, int width, int height, int x0, int y0, int x1, int y1,
                         int thick, const rl_brush *brush);

/* ---- processes ---- */

/* A child process that runs this very program with other arguments.  It and its parent exchange
 * messages over a socket; its input is empty, what it prints is collected. */
typedef struct rl_process rl_process;
/* arguments: texts, one a line, at most 16. */
rl_process *rl_process_start(const char *arguments);
/* Kills it where it still runs. */
void rl_process_free(rl_process *p);
/* Queues a message; it goes out here and in rl_process_wait. */
int rl_process_send(rl_process *p, const void *data, double bytes);
/* Waits at most so many seconds until one of n (at most 64) has a message or has closed its end
 * -> how many of them have. */
int rl_process_wait(rl_process **list, int n, double seconds);
/* The next message, until the next wait; NULL: none.  What it has printed since the last call. */
const char *rl_process_next(rl_process *p, double *bytes);
const char *rl_process_said(rl_process *p, double *bytes);
/* How it ended ("was ended by signal 9"); NULL while it runs.  wait: until it has ended. */
const char *rl_process_ended(rl_process *p, int wait);
/* Bytes of memory that it holds now. */
double rl_process_memory(const rl_process *p);
/* In the child.  begin: it dies with its parent, leaves no core, ignores Ctrl-C, and may take so
 * many bytes of address space more (0: any).  next: waits for a message;
 * NULL: the parent has gone. */
int rl_child_begin(double memory);
const char *rl_child_next(double *bytes);
int rl_child_answer(const void *data, double bytes);

/* ---- tensors ---- */

/* Numbers [dim0, ...], f32 or i32, in memory that dies with the scope it was made in.  In a
 * recorded tape a tensor has symbolic rows and no numbers. */
typedef struct rl_tensor rl_tensor;

enum { RL_FLOAT, RL_HALF, RL_INT };      /* f32, bf16, i32 */

/* Zeros of a shape (ndim 0 to 4; f32, or i32 for RL_INT). */
rl_tensor *rl_tensor_new(int dtype, int ndim, const int *dim);
/* The handle is no longer used; numbers go with the scope. */
void rl_tensor_release(rl_tensor *x);
int rl_ndim(const rl_tensor *x);
/* Length of axis i from 0; below 0: symbolic rows. */
int rl_dim(const rl_tensor *x, int i);
int rl_dtype_of(const rl_tensor *x);
/* The numbers, row-major; refuses symbolic tensors and those of a closed scope. */
void *rl_data(rl_tensor *x);
/* "[3, 8]" */
const char *rl_shape_text(const rl_tensor *x);
/* x takes part in gradients. */
int rl_require_grad(rl_tensor *x);
int rl_needs_grad(const rl_tensor *x);
/* The gradient of x as a tensor of its shape; zeros if nothing was added yet. */
rl_tensor *rl_grad_of(rl_tensor *x);
/* d loss / d everything that needs it; loss has one element.  Clears the live tape. */
int rl_backward(rl_tensor *loss);
/* Scopes: what is made between open and close dies at close,
 * but for what was kept (moves outside). */
int rl_scope_open(void);
int rl_scope_keep(rl_tensor *x);
int rl_scope_close(void);
/* Bytes of live tensors, parameters, caches, arenas and pictures of prompts; the highest since
 * start, or since the last restart. */
double rl_bytes_used(void);
double rl_bytes_peak(void);
int rl_bytes_restart(void);
/* What exceeds so many bytes is refused from now on; 0: no limit. */
int rl_bytes_limit(double bytes);
/* What a block of so many bytes counts as. */
double rl_bytes_of(double bytes);

/* A number in [0, 1) of 53 bits: Philox with key seed and that counter. */
double rl_uniform(double seed, double counter);
/* Threads of the pool; n > 0 sets their number first.  RLLAVA_THREADS, or the cores. */
int rl_threads(int n);
/* The kernels in use: "generic", "avx2" or "avx512"; name chooses, NULL only asks.  At start
 * RLLAVA_CPU, or the best of this machine. */
const char *rl_cpu(const char *name);

/* What the pool can do at most, for benchmarks, measured now: FLOP per second of multiply-adds in
 * registers (dtype RL_FLOAT or RL_HALF), bytes per second read from memory.
 * Each is the best of several runs of some ms. */
double rl_peak_flops(int dtype);
double rl_peak_bytes(void);

/* ---- operations: each makes y live, or records it where an input is symbolic ---- */

/* The same numbers in another shape.  Symbolic rows are kept: shape names the other axes. */
rl_tensor *rl_reshape(rl_tensor *x, int ndim, const int *dim);
/* [rows, d] -> [rows, d / head_dim, head_dim] */
rl_tensor *rl_heads(rl_tensor *x, int head_dim);
/* Cuts gradients: y = x. */
rl_tensor *rl_detach(rl_tensor *x);
/* op: "neg exp log sqrt abs sqr silu sigmoid tanh gelu gelu_tanh gelu_quick clamp affine pow";
 * a, b: bounds of clamp, factor and offset of affine, exponent of pow. */
rl_tensor *rl_unary(rl_tensor *x, const char *op, double a, double b);
/* op: "add sub mul div min max lt le eq"; shapes as equal, or broadcast as NumPy does. */
rl_tensor *rl_binary(rl_tensor *a, rl_tensor *b, const char *op);
/* y = sum of x over axis (from 0), or over all of them (axis -1: y has no axes).  In double, in
 * order. */
rl_tensor *rl_sum(rl_tensor *x, int axis);
/* y[s] = sum of x over [first[s], first[s + 1]).  x [n], first [segments + 1] i32 -> [segments] */
rl_tensor *rl_segment_sum(rl_tensor *x, rl_tensor *first);
/* y[i] = x[s] for i in [first[s], first[s + 1]).  x [segments] -> [first[segments]] */
rl_tensor *rl_segment_expand(rl_tensor *x, rl_tensor *first);
/* y = x w^T + bias.  x [..., k], w [n, k], bias [n] or NULL -> [..., n] */
rl_tensor *rl_linear(rl_tensor *x, rl_tensor *w, rl_tensor *bias);
/* y = x / sqrt(mean(x^2) + eps) * w, over the last axis.
 * x [..., d], w [d] -> y [..., d].  eps > 0.  arXiv:1910.07467, eq. 4 */
rl_tensor *rl_rmsnorm(rl_tensor *x, rl_tensor *w, double eps);
/* y = (x - mean) / sqrt(var + eps) * w + b, over the last axis.  arXiv:1607.06450 */
rl_tensor *rl_layernorm(rl_tensor *x, rl_tensor *w, rl_tensor *b, double eps);
/* y = silu(x) up.  arXiv:2002.05202, eq. 6 */
rl_tensor *rl_swiglu(rl_tensor *x, rl_tensor *up);
/* y[r] = w[ids[r]].  ids [rows] i32, w [vocab, d] -> [rows, d] */
rl_tensor *rl_embedding(rl_tensor *ids, rl_tensor *w);
/* y[r] = x[index[r]], rows of x; below 0: zeros.  x [n, ...], index [rows] i32 -> [rows, ...] */
rl_tensor *rl_gather(rl_tensor *x, rl_tensor *index);
/* y = x, with rows index[r] replaced by rows[r].  x [n, d], rows [m, d], index [m] i32 -> [n, d] */
rl_tensor *rl_place(rl_tensor *x, rl_tensor *rows, rl_tensor *index);
/* Columns [from, from + d) of the last axis.  x [..., n] -> [..., d] */
rl_tensor *rl_columns(rl_tensor *x, int from, int d);
/* cos and sin of the rotary angles positions * inv_freq.  positions i32 [axes][rows] as an input of
 * axes columns; inv_freq [half], axis i32 [half]: which of the positions a frequency takes ->
 * [rows, 2 half] */
rl_tensor *rl_rope_table(rl_tensor *positions, rl_tensor *inv_freq, rl_tensor *axis);
/* Turns pairs (j, j + half) of each head by the table.  x [rows, heads, 2 half].  arXiv:2104.09864,
 * eq. 34 */
rl_tensor *rl_rope(rl_tensor *x, rl_tensor *table);
/* softmax(scale q k^T) v over the keys that the table shows each row.  q [rows, heads, head_dim],
 * k, v [rows, kv_heads, head_dim] -> [rows, heads * head_dim] */
rl_tensor *rl_attention(rl_tensor *q, rl_tensor *k, rl_tensor *v, rl_tensor *table, double scale);
/* Log-probability of each pair's label.  x [answers, d], w [vocab, d], pairs: see rl_batch ->
 * [pairs].  The logits are made some rows at a time, in forward and again in backward. */
rl_tensor *rl_logprob(rl_tensor *x, rl_tensor *w, rl_tensor *pairs);
/* The entropy that came with it: of the row that answers each pair -> [pairs]. */
rl_tensor *rl_entropy_of(rl_tensor *logprob);

/* ---- tape: a model recorded once, with symbolic rows ---- */

typedef struct rl_tape rl_tape;
rl_tape *rl_tape_new(void);
void rl_tape_free(rl_tape *tape);
/* An input named name, rows of that kind, cols columns (0: no second axis);
 * dtype RL_FLOAT or RL_INT. */
rl_tensor *rl_tape_input(rl_tape *tape, const char *name, const char *kind, int cols, int dtype);
/* A table input: "segments" for attention, "pairs" for the head (its rows: answers and pairs). */
rl_tensor *rl_tape_table(rl_tape *tape, const char *name);
/* The same numbers as rows of another kind with cols columns: [patches, d] -> [merged, 4 d]. */
rl_tensor *rl_tape_rows(rl_tensor *x, const char *kind, int cols);
/* Names a value as an output. */
int rl_tape_output(rl_tape *tape, const char *name, rl_tensor *x);
/* Activations before this point may be dropped and computed again in the backward pass;
 * x: the value that is kept. */
int rl_tape_mark(rl_tensor *x);

/* ---- parameters ---- */

/* A parameter [rows, cols] (cols 0: a vector [rows]), zeros.  Matrices live in panels: one copy for
 * products, gradients and moments.  name is copied.
 * Memory is taken when the numbers are first set, read or computed with. */
rl_tensor *rl_param_new(const char *name, int rows, int cols);
void rl_param_free(rl_tensor *w);
/* All numbers, row-major, in and out. */
int rl_param_set(rl_tensor *w, const float *values);
int rl_param_get(rl_tensor *w, float *values);
/* Normal numbers of the seed, the same on every machine. */
int rl_param_normal(rl_tensor *w, double seed, double mean, double std);
/* Frozen parameters (0) get no gradient and no optimizer state. */
int rl_param_train(rl_tensor *w, int trained);
/* Makes the copy that products in bf16 read, or renews it. */
int rl_param_half(rl_tensor *w);
int rl_param_zero_grad(rl_tensor *w);
/* Bytes of a parameter, whether they exist yet or not.  which 0: its numbers, 1: its copy in bf16
 * (0 of a vector), 2: its gradient (0 where it is frozen). */
double rl_param_bytes(const rl_tensor *w, int which);
/* Sum of squares of the gradient, in double; 0 if nothing was added yet. */
double rl_param_grad_squares(rl_tensor *w);

/* AdamW over the trained ones of n parameters, arXiv:1711.05101, algorithm 2.  bits of a moment:
 * 32, or 8: those of parameters of at least 4096 numbers as codes,
 * in blocks of 256 with a scale each, arXiv:2110.02861. */
typedef struct rl_adamw rl_adamw;
rl_adamw *rl_adamw_new(rl_tensor **params, int n, double beta1, double beta2, double eps, int bits);
void rl_adamw_free(rl_adamw *o);
/* One step with the gradients times grad_scale; decay[i]: weight decay of parameter i.  Parameters
 * whose gradient nothing was added to are left alone.  Gradients are zero afterwards. */
int rl_adamw_step(rl_adamw *o, double lr, const double *decay, double grad_scale);
int rl_adamw_count(const rl_adamw *o);
int rl_adamw_set_count(rl_adamw *o, int steps);
int rl_adamw_bits(const rl_adamw *o);
/* The moments of parameter i, for checkpoints: which 0: m, 1: v;
 * words of 4 bytes: how many there are. */
void *rl_adamw_moment(rl_adamw *o, int i, int which);
double rl_adamw_words(const rl_adamw *o, int i);
/* Bytes of both moments of a parameter, whether they exist yet or not (0 where it is frozen). */
double rl_adamw_bytes(const rl_tensor *w, int bits);

/* ---- replay: a tape run with rows bound ---- */

typedef struct rl_replay rl_replay;
/* For the outputs named ("logp entropy").  train: with a backward pass; recompute: drops
 * activations between marks and makes them again; dtype: RL_FLOAT or RL_HALF,
 * what products take their operands in. */
rl_replay *rl_replay_new(rl_tape *tape, const char *outputs, int train, int recompute, int dtype);
void rl_replay_free(rl_replay *r);
int rl_replay_rows(rl_replay *r, const char *kind, int rows);
/* The name of its i-th kind of rows; NULL behind the last. */
const char *rl_replay_kind(const rl_replay *r, int i);
/* The numbers of an input: [rows, cols] of its dtype, or a table.
 * They must stay until the replay has ended. */
int rl_replay_bind(rl_replay *r, const char *input, const void *numbers);
/* Bytes of the arena that the bound rows need. */
double rl_replay_bytes(rl_replay *r);
/* Bytes of the copies in bf16 that its products read; 0 in f32. */
double rl_replay_halves(const rl_replay *r);
/* Products take their weights in 8 or 4 bits (the head always in 8), rounded by groups of 32
 * numbers with a scale, and their rows in 8 bits; before the first run.
 * Refuses replays that train. */
int rl_replay_quantise(rl_replay *r, int bits);
double rl_replay_quant_bytes(const rl_replay *r);
/* Takes the arena for the bound rows: whatever has fewer rows of each kind then fits. */
int rl_replay_reserve(rl_replay *r);
/* Bytes that the look-ups of a tied embedding wait in, for a mini-batch of so many rows
 * (0 where there is none); reserve: takes them now. */
double rl_replay_late(rl_replay *r, int rows, int reserve);
int rl_replay_forward(rl_replay *r);
/* A live tensor with the numbers of an output; in a training replay its gradient seeds backward. */
rl_tensor *rl_replay_output(rl_replay *r, const char *name);
/* Adds to the gradients of all trained parameters. */
int rl_replay_backward(rl_replay *r);

/* ---- profile ---- */

enum { RL_FORWARD, RL_AGAIN, RL_BACKWARD };
/* One operation that ran.  weight: the parameter that it, or the last one before it, read
 * (or NULL); phase: "sampling", "scoring", "update", "loss" or "optimizer"; pass: RL_FORWARD ...;
 * start, seconds: of rl_clock; flop, bytes: what it has to do at least. */
typedef struct {
    const char *op, *weight, *phase;
    int pass;
    double start, seconds, flop, bytes;
} rl_event;
/* on: counts every operation from now on, from nothing; 0: counts no more.
 * Costs one branch a step while it is off. */
int rl_profile(int on);
/* What was counted, in the order of its ending; lost: how many more there were.  Weights must
 * live. */
const rl_event *rl_profile_events(int *n, int *lost);

/* ---- media: what pictures add to a batch ---- */

/* Inputs of a vision tape for one prompt, by name; batches lay several end to end and shift the
 * indices. */
typedef struct rl_media rl_media;
rl_media *rl_media_new(void);
void rl_media_free(rl_media *m);
/* rows [rows, cols] of that kind; copied. */
int rl_media_floats(rl_media *m, const char *input, const char *kind, int rows, int cols,
                    const float *numbers);
/* Integers of that kind of rows: axes lists of rows numbers.  of: the kind of rows that they point
 * to ("tokens": from the segment's first), by whose count in the batch they are shifted; NULL:
 * plain numbers. */
int rl_media_ints(rl_media *m, const char *input, const char *kind, int rows, int axes,
                  const int *numbers, const char *of);
/* A table of segments that see only themselves, in both directions: n lengths over rows of that
 * kind. */
int rl_media_segments(rl_media *m, const char *input, const char *kind, const int *lengths, int n);
/* Its rows of a kind; 0 where it has none. */
int rl_media_rows(const rl_media *m, const char *kind);
/* Bytes of n such sets, laid end to end. */
double rl_media_bytes(const rl_media *m, int n);

/* ---- batch: packed tokens in a forest of segments ---- */

/* A token attends to its own segment up to itself and to all of its ancestors.  Segments are added
 * tree by tree, parents first; nothing is padded. */
typedef struct rl_batch rl_batch;
rl_batch *rl_batch_new(void);
void rl_batch_free(rl_batch *b);
void rl_batch_clear(rl_batch *b);
/* A segment of n tokens below parent (-1: the root of a new tree) -> its number from 0.
 * positions [3][n], or NULL: each axis goes on from the parent's last position + 1 (0 in a root).
 * asked [n] or NULL: where not 0, the token's log-probability is wanted; the row before it
 * (its parent's last for the first) answers.
 * trim: the last token only is asked for and gets no row (a response's end).
 * even: the tree starts at an even row, behind a row of its own where needed (products in bf16). */
int rl_batch_segment(rl_batch *b, int parent, const int *ids, int n, const int *positions,
                     const unsigned char *asked, int trim, int even);
/* The pictures of a segment; m must stay until the batch is cleared. */
int rl_batch_media(rl_batch *b, int segment, const rl_media *m);
int rl_batch_tokens(const rl_batch *b);
int rl_batch_pairs(const rl_batch *b);
/* Where the pairs stand in the outputs: asked token k (segments in order) is element order[k]. */
const int *rl_batch_order(rl_batch *b);
/* Which row among those that answer stands before each token: of asked token k, row answer[k]. */
const int *rl_batch_answer(rl_batch *b);
/* Binds ids, positions, segments, answers, pairs and their rows; temperature divides the logits. */
int rl_batch_bind(rl_batch *b, rl_replay *r, double temperature);

/* ---- engine: rollout on a thread of its own ---- */

/* Continuous batching over a paged cache of keys and values; a prompt is computed once for its
 * samples.  Tokens are drawn by Philox with key seed and counter (stream, sample, position),
 * whatever else is in flight. */
typedef struct rl_engine rl_engine;
/* slots: rows of the cache; at_once: samples decoded together at most; tokens: other rows of one
 * step at most (prompts, and what is computed again; longer ones go in pieces; drafts come on top).
 * banned [vocab] bytes or NULL: ids never sampled. */
rl_engine *rl_engine_new(rl_tape *tape, int dtype, int slots, int at_once, int tokens,
                         const unsigned char *banned, int vocab);
void rl_engine_free(rl_engine *e);
/* Stops the threads of all engines, before what they read goes: at the end of the process. */
void rl_engines_stop(void);
/* Bytes of the cache of such an engine. */
double rl_engine_bytes(rl_tape *tape, int dtype, int slots);
/* Its replay, to bind the rows of its largest step and reserve them;
 * before anything is submitted. */
rl_replay *rl_engine_replay(rl_engine *e);
/* Samples by weights of 8 or 4 bits, made anew from the parameters after each update; log-probs are
 * then not the trainer's.  Before anything is submitted. */
int rl_engine_quantise(rl_engine *e, int bits);
/* Room for the pictures of n prompts like this one in a step; before anything is submitted. */
int rl_engine_pictures(rl_engine *e, const rl_media *media, int n);

typedef struct {
    const int *prompt, *positions;      /* [n]; [3][n] or NULL */
    int n, samples, max_new;
    const rl_media *media;              /* or NULL; must stay until all samples are finished */
    double temperature, top_p, min_p;
    int top_k;
    double seed, stream;                /* stream: which prompt of the run this is; below 2^31 */
    int first_sample;                   /* number of the first of the samples */
    const int *stop; int nstop;         /* ids that end a response */
    const char *const *stop_text;       /* texts that end it, by the token that completes one */
    int nstop_text;
    const rl_tokenizer *tokenizer;      /* of stop texts; must stay until all samples finished */
    const int *bias_id; const float *bias; int nbias;   /* added to logits when a token is drawn */
    int lookup;                         /* tokens drafted at most from what followed earlier; the
                                         * samples stay the same */
} rl_request;
/* -> the request's number; what it points to but the media is copied.  Refuses ids outside the
 * vocabulary, settings out of range, and what would not fit the cache. */
int rl_engine_submit(rl_engine *e, const rl_request *request);

enum { RL_STOPPED, RL_LENGTH, RL_FAILED, RL_CANCELLED };
/* One finished sample: tokens and their log-probabilities and entropies [n]; finish: RL_STOPPED
 * (by the last token), RL_LENGTH, RL_FAILED (error tells why) or RL_CANCELLED; versions [n]: of the
 * policy that drew each token; version: of the first. */
typedef struct {
    int request, sample, n, finish, version;
    const int *tokens, *versions; const float *logp, *entropy;
    const char *error;
} rl_result;
/* The next finished sample, waiting up to seconds; NULL where none came. */
const rl_result *rl_engine_next(rl_engine *e, double seconds);
void rl_engine_forget(rl_engine *e, const rl_result *result);
/* Samples that are not finished. */
int rl_engine_pending(rl_engine *e);
/* Ends all samples of a request (below 0: of every request). */
int rl_engine_cancel(rl_engine *e, int request);
/* Around an update of the weights: waits for the running step; afterwards the version is one higher
 * and what was cached of the old weights is computed again. */
int rl_engine_hold(rl_engine *e);
int rl_engine_go(rl_engine *e);
/* on: what is cached outlives updates, and samples in flight go on from it. */
int rl_engine_stale(rl_engine *e, int on);
int rl_engine_version(rl_engine *e);
/* Since start: which 0: prompt tokens computed, 1: tokens sampled, 2: rows of the largest step,
 * 3: tokens drafted by look-up, 4: those that were then drawn, 5: prompt tokens that were not
 * computed, since their prompt was there by the same weights. */
double rl_engine_count(rl_engine *e, int which);

#pragma GCC visibility pop
#endif
