/* What the tokenizer's files share: text as code points that know where they came from. */
#ifndef RL_TOKENIZER_H
#define RL_TOKENIZER_H
#include "runtime.h"

/* ---- unicode.c ---- */

/* \p{L}, \p{N}, \p{M}, \s, \d, and \w as it bounds a single word */
enum { RL_LETTER = 1, RL_NUMBER = 2, RL_MARK = 4, RL_SPACE = 8, RL_DIGIT = 16, RL_WORD = 32 };
enum { RL_CODE_POINTS = 0x110000 };
/* By code point: RL_LETTER | ..., and the combining class; filled by rl_unicode_ready. */
extern uint8_t rl_unicode_classes[RL_CODE_POINTS], rl_unicode_marks[RL_CODE_POINTS];
void rl_unicode_ready(void);
uint32_t rl_unicode_lower(uint32_t c);

/* Work on a text that gets too long or too large ends early, with the reason kept for this thread;
 * given_up gives and forgets it, NULL: there is none. */
void rl_give_up(const char *reason);
const char *rl_given_up(void);
enum { RL_MAX_GLYPHS = 1 << 28 };

/* A code point of a normalised text and the code points [from, to) of the original that it stands
 * for. */
typedef struct { uint32_t c; int32_t from, to; } rl_glyph;
typedef struct { rl_glyph *at; int n, room; } rl_glyphs;
void rl_glyphs_add(rl_glyphs *t, uint32_t c, int from, int to);
void rl_glyphs_copy(rl_glyphs *t, const rl_glyph *at, int n);          /* becomes these */
/* Adds UTF-8 as code points; bad bytes: U+FFFD a maximal invalid part. */
void rl_glyphs_read(rl_glyphs *t, const char *s, int64_t n);
/* The length of one code point, written to out. */
int rl_utf8_put(uint32_t c, char *out);
/* Takes one code point off s [n bytes, n > 0]; *used: its bytes; 0xFFFD where they are invalid, -1
 * where more may follow. */
int32_t rl_utf8_take(const char *s, int64_t n, int *used);

/* ---- unicode_normal.c ---- */

typedef enum { RL_NFC, RL_NFD, RL_NFKC, RL_NFKD } rl_normal_form;
void rl_glyphs_normalize(rl_glyphs *t, rl_normal_form form);

/* ---- tok_json.c: a place in tokenizer.json, for messages ---- */

typedef struct { const rl_json *doc; const char *file; char at[160]; } rl_where;
const rl_json_node *rl_where_node(const rl_where *p, int node);
/* Goes to a member (or element i of one); leave gives the place back. */
int rl_where_enter(rl_where *p, const char *key, int i);
void rl_where_leave(rl_where *p, int mark);
/* "file: place.key: expected X, found Y" -> -1.  key may be NULL. */
int rl_where_refuse(const rl_where *p, const char *key, const char *expected, int node);
/* Members of an object.  A missing one is dflt; another type is refused. */
int rl_where_flag(const rl_where *p, int object, const char *key, bool dflt, bool *out);
int rl_where_whole(const rl_where *p, int node, const char *key, int most, int *out);
/* The node of a text, -1 refused. */
int rl_where_text(const rl_where *p, int object, const char *key);
bool rl_where_is(const rl_where *p, int object, const char *type);  /* its "type" */
/* "Sequence" of things or one of them: add(to, p, object) for each, in order.  null: none. */
int rl_where_each(rl_where *p, int node, const char *list, void *to,
                  int (*add)(void *to, rl_where *p, int object));

/* ---- tok_vocab.c: texts with ids ---- */

typedef struct rl_vocab rl_vocab;
rl_vocab *rl_vocab_new(int count);                  /* count: as many as may come */
void rl_vocab_free(rl_vocab *v);
int rl_vocab_id(const rl_vocab *v, const char *text, int n);        /* -1: none */
const char *rl_vocab_text(const rl_vocab *v, int id, int *n);       /* NULL: none */
int rl_vocab_size(const rl_vocab *v);                               /* highest id + 1 */
int rl_vocab_count(const rl_vocab *v);
/* -1 without a message where the text or the id is taken. */
int rl_vocab_add(rl_vocab *v, const char *text, int n, int id);

/* ---- tok_merges.c ---- */

typedef struct { char *at; int64_t n, room; } rl_bytes;             /* a zero follows */
void rl_bytes_add(rl_bytes *b, const char *s, int64_t n);

typedef struct { int32_t left, right, rank, id; } rl_merge;         /* id: of the whole */
/* at: by hash, rank < 0 where empty.  cut: no merge goes over the space mark before a word. */
typedef struct { rl_merge *at; uint32_t mask; bool cut; } rl_merges;
int rl_merges_read(rl_merges *m, rl_where *p, int node, const rl_vocab *vocab);
static inline uint32_t rl_merges_hash(int left, int right) {
    const uint64_t both = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (uint32_t)(both * 0x9e3779b97f4a7c15u >> 32);
}
/* rank < 0: none */
static inline const rl_merge *rl_merges_find(const rl_merges *m, int left, int right) {
    for (uint32_t h = rl_merges_hash(left, right);; h++) {
        const rl_merge *x = &m->at[h & m->mask];
        if (x->rank < 0 || (x->left == left && x->right == right)) return x;
    }
}

/* ---- tok_regex.c ---- */

typedef struct rl_regex rl_regex;
/* pattern [n bytes] */
rl_regex *rl_regex_new(const char *pattern, int n, const rl_where *p);
void rl_regex_free(rl_regex *r);
/* Allows as many steps as a text of n needs, and more. */
void rl_regex_begin(int n);
/* End of the match that begins at i, or -1. */
int rl_regex_match(const rl_regex *r, const rl_glyph *t, int n, int i);

/* A pattern of tokenizer.json: a regular expression or a text. */
typedef struct { rl_regex *regex; rl_glyphs text; } rl_pattern;
int rl_pattern_read(rl_pattern *out, const rl_where *p, int object);
void rl_pattern_free(rl_pattern *x);
/* The first match at or behind i: where it begins (n: none), *end: where it ends. */
int rl_pattern_find(const rl_pattern *x, const rl_glyph *t, int n, int i, int *end);

/* ---- tok_normal.c ---- */

typedef struct rl_normalizer rl_normalizer;
rl_normalizer *rl_normalizer_new(rl_where *p, int node);
void rl_normalizer_free(rl_normalizer *s);
void rl_normalizer_run(const rl_normalizer *s, rl_glyphs *t);

/* ---- tok_split.c ---- */

typedef struct { int from, to; } rl_piece;
typedef struct { rl_piece *at; int n, room; } rl_pieces;
typedef struct rl_splitter rl_splitter;
rl_splitter *rl_splitter_new(rl_where *p, int node);
void rl_splitter_free(rl_splitter *s);
/* Whether the last step is ByteLevel; its pieces are left as characters, to be read as bytes,
 * unless letters asks for the letters that stand for these. */
bool rl_splitter_bytes(const rl_splitter *s);
void rl_splitter_letters(rl_splitter *s);
/* Cuts t, which it may change (marks for spaces), into pieces; valid until the next call. */
const rl_pieces *rl_splitter_cut(rl_splitter *s, rl_glyphs *t);

/* ---- tok_bpe.c ---- */

enum { RL_MAX_ID = (1 << 22) - 1 };

typedef struct { rl_token *at; int n, room; } rl_tokens;
void rl_tokens_add(rl_tokens *t, int id, int from, int to);
typedef struct rl_bpe rl_bpe;
/* bytes: pieces may be read as bytes; done where the vocabulary has a letter for every one. */
rl_bpe *rl_bpe_new(rl_where *p, int model, bool bytes);
bool rl_bpe_bytes(const rl_bpe *b);
void rl_bpe_free(rl_bpe *b);
const rl_vocab *rl_bpe_vocab(const rl_bpe *b);
/* Adds the tokens of a piece of n glyphs. */
void rl_bpe_encode(rl_bpe *b, const rl_glyph *piece, int n, rl_tokens *out);
/* The byte that a letter of byte-level vocabularies stands for, or -1; and back. */
int rl_byte_of_letter(uint32_t c);
uint32_t rl_letter_of_byte(int b);

/* ---- tok_added.c: tokens that are found in the text before anything else ---- */

enum { RL_SPECIAL = 1, RL_LSTRIP = 2, RL_RSTRIP = 4, RL_SINGLE_WORD = 8, RL_NORMALIZED = 16 };
/* normal: the content as it is searched for: normalised if the flag says so; text: that in UTF-8 */
typedef struct { int id, flags; rl_glyphs content, normal; char *text; int bytes; } rl_added_token;
/* Tokens sorted by what is searched for; first, beyond: the characters that begin one. */
typedef struct { const rl_added_token **at; int n; uint64_t first[2]; bool beyond; } rl_search;
typedef struct { rl_added_token *at; int n, room; rl_search raw, normal; bool sorted; } rl_added;
void rl_added_free(rl_added *a);
/* content [n bytes]; a known id is changed. */
void rl_added_put(rl_added *a, const char *content, int n, int id, int flags);
void rl_added_sort(rl_added *a, const rl_normalizer *s);
const rl_added_token *rl_added_find(const rl_added *a, int id);     /* NULL: none */
/* Parts of a text: [from, to) is the token id, or text (id -1).  Parts may overlap where a token
 * takes the spaces behind it and they are a token too.  plain: special tokens are passed over. */
typedef struct { int id, from, to; } rl_stretch;
typedef struct { rl_stretch *at; int n, room; } rl_stretches;
void rl_added_cut(const rl_search *s, bool plain, const rl_glyphs *t, rl_stretches *out);

/* ---- tok_decode.c ---- */

typedef struct rl_decoder rl_decoder;
rl_decoder *rl_decoder_new(rl_where *p, int node);
void rl_decoder_free(rl_decoder *d);
/* What a decoder remembers between tokens.  live: text comes as soon as it is complete, bytes of
 * fallback too. */
typedef struct rl_decoding rl_decoding;
rl_decoding *rl_decoding_new(const rl_decoder *d, bool live);
void rl_decoding_free(rl_decoding *s);
void rl_decoding_put(rl_decoding *s, const char *token, int n, rl_bytes *out);
void rl_decoding_end(rl_decoding *s, rl_bytes *out);

#endif
