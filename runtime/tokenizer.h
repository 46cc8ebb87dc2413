/* What the tokenizer's files share: text as code points that know where they came from. */
#ifndef RL_TOKENIZER_H
#define RL_TOKENIZER_H
#include "runtime.h"

/* ---- unicode.c ---- */
enum { RL_LETTER = 1, RL_NUMBER = 2, RL_MARK = 4, RL_SPACE = 8 };
int rl_unicode_class(uint32_t c);                   /* RL_LETTER | ... */
uint32_t rl_unicode_lower(uint32_t c);

/* A code point of a normalised text and the code points [from, to) of the original that it stands for. */
typedef struct { uint32_t c; int32_t from, to; } rl_glyph;
typedef struct { rl_glyph *at; int n, room; } rl_text;
void rl_text_add(rl_text *t, uint32_t c, int from, int to);
void rl_text_nfc(rl_text *t);
/* UTF-8 (bad bytes: U+FFFD a maximal invalid part) -> code points; the length of one, written to out. */
void rl_text_read(rl_text *t, const char *s, int64_t n);
int rl_utf8_put(uint32_t c, char *out);
/* Takes one code point off s [n bytes]; *used: its bytes; 0xFFFD where they are invalid, -1 where more may follow. */
int32_t rl_utf8_take(const char *s, int64_t n, int *used);

/* ---- tok_regex.c ---- */
typedef struct rl_regex rl_regex;
rl_regex *rl_regex_new(const char *pattern, const char *where);
void rl_regex_free(rl_regex *r);
/* End of the match that begins at i, or -1. */
int rl_regex_match(const rl_regex *r, const rl_glyph *t, int n, int i);

/* ---- tok_split.c ---- */
typedef struct rl_splitter rl_splitter;             /* normalizer and pre-tokenizer */
rl_splitter *rl_splitter_new(const rl_json *doc, int normalizer, int pre_tokenizer, const char *file);
void rl_splitter_free(rl_splitter *s);
bool rl_splitter_bytes(const rl_splitter *s);       /* pieces are read as bytes */
void rl_splitter_normalize(const rl_splitter *s, rl_text *t);
/* Cuts t (which it may change: marks for spaces) into pieces [start[i], start[i + 1]); first: it begins the text. */
int rl_splitter_cut(const rl_splitter *s, rl_text *t, bool first, int **start);

/* ---- tok_bpe.c ---- */
typedef struct rl_bpe rl_bpe;
rl_bpe *rl_bpe_new(const rl_json *doc, int model, bool bytes, const char *file);
void rl_bpe_free(rl_bpe *b);
int rl_bpe_id(const rl_bpe *b, const char *token, int n);
int rl_bpe_size(const rl_bpe *b);                   /* highest id + 1 */
const char *rl_bpe_token(const rl_bpe *b, int id, int *n);
/* Glyphs to ids; piece[k]: how many glyphs (bytes count for the one they belong to) -> from, to of each id. */
typedef struct { int32_t id, from, to; } rl_token;
typedef struct { rl_token *at; int n, room; } rl_tokens;
void rl_bpe_encode(const rl_bpe *b, const rl_glyph *piece, int n, rl_tokens *out);
/* The byte that a letter of byte-level vocabularies stands for, or -1; and back. */
int rl_byte_of_letter(uint32_t c);
uint32_t rl_letter_of_byte(int b);
void rl_tokens_add(rl_tokens *t, int id, int from, int to);

/* ---- tok_decode.c ---- */
typedef struct rl_decoder rl_decoder;
rl_decoder *rl_decoder_new(const rl_json *doc, int decoder, const char *file);
void rl_decoder_free(rl_decoder *d);

#endif
