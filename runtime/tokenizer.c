/* A tokenizer as others see it: loads tokenizer.json, text to ids and back. */
#include "tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 26 };

typedef struct { int *at, n; } ids;

/* before, after: what the post-processor puts around a text.  trim: it takes spaces out of offsets,
 * but a single one at the front of a text where prefix is set; first: the index of the text's
 * first token.
 * The rest is work space. */
struct rl_tokenizer {
    char *name;
    rl_bpe *bpe; rl_normalizer *normalizer; rl_splitter *splitter; rl_decoder *decoder;
    rl_added added; rl_vocab *names;                    /* names: contents of added tokens */
    ids before, after; bool trim, prefix; int first;
    rl_glyphs text, part, rest; rl_stretches outer, inner; rl_tokens tokens; rl_bytes decoded;
};

/* Refuses where some work ended early. */
static int give_up(const rl_tokenizer *t) {
    const char *reason = rl_given_up();
    return reason ? rl_refuse("%s: text: expected %s, got more", t->name, reason) : 0;
}

/* ---- loading ---- */

static int put_added(rl_tokenizer *t, const char *content, int n, int id, int flags,
                     const char *place) {
    const rl_vocab *vocab = rl_bpe_vocab(t->bpe);
    int length;
    if (!n) return rl_refuse("%s: %s.content: expected a text, found an empty one", t->name, place);
    int known = rl_vocab_id(t->names, content, n);
    if (known < 0) known = rl_vocab_id(vocab, content, n);
    if (id < 0 && known < 0)
        return rl_refuse("%s: %s: expected a token of the vocabulary, found '%.100s'", t->name,
                         place, content);
    if (known >= 0 && id >= 0 && known != id)
        return rl_refuse("%s: %s.id: expected %d, as '%.100s' has elsewhere, found %d", t->name,
                         place, known, content, id);
    const char *other = rl_vocab_text(vocab, id, &length);
    if (!other) other = rl_vocab_text(t->names, id, &length);
    if (known < 0 && other)
        return rl_refuse("%s: %s.id: expected an id of its own for '%.100s', found %d, that of "
                         "'%.100s'", t->name, place, content, id, other);
    if (known >= 0) id = known;
    rl_added_put(&t->added, content, n, id, flags);
    if (rl_vocab_id(t->names, content, n) < 0) rl_vocab_add(t->names, content, n, id);
    return 0;
}

int rl_tokenizer_add(rl_tokenizer *t, const char *content, int bytes, int id, int flags) {
    if (!t) return -1;
    if (id > RL_MAX_ID)
        return rl_refuse("%s: added token '%.100s': expected an id up to %d, found %d", t->name,
                         content, RL_MAX_ID, id);
    if (put_added(t, content, bytes, id, flags, "added token")) return -1;
    rl_added_sort(&t->added, t->normalizer);
    return 0;
}

static int read_added_token(rl_tokenizer *t, rl_where *p, int at) {
    static const char *const names[] = { "special", "lstrip", "rstrip", "single_word",
                                         "normalized" };
    int flags = 0, id;
    if (rl_where_node(p, at)->kind != RL_JSON_OBJECT)
        return rl_where_refuse(p, NULL, "an object", at);
    const int content = rl_where_text(p, at, "content");
    if (content < 0 || rl_where_whole(p, rl_json_get(p->doc, at, "id"), "id", RL_MAX_ID, &id))
        return -1;
    for (int i = 0; i < 5; i++) {
        bool set;
        if (rl_where_flag(p, at, names[i], i == 4, &set)) return -1;
        flags |= set << i;
    }
    if (rl_json_get(p->doc, at, "normalized") < 0 && flags & RL_SPECIAL) flags &= ~RL_NORMALIZED;
    const rl_json_node *text = rl_where_node(p, content);
    return put_added(t, text->text, text->length, id, flags, p->at);
}

static int read_added(rl_tokenizer *t, rl_where *p) {
    const int list = rl_json_get(p->doc, 0, "added_tokens");
    if (list < 0 || rl_where_node(p, list)->kind == RL_JSON_NULL) return 0;
    if (rl_where_node(p, list)->kind != RL_JSON_ARRAY)
        return rl_where_refuse(p, "added_tokens", "an array", list);
    for (int i = 0, at = list + 1; i < rl_where_node(p, list)->count; i++) {
        const int mark = rl_where_enter(p, "added_tokens", i);
        if (read_added_token(t, p, at)) return -1;
        rl_where_leave(p, mark);
        at = rl_where_node(p, at)->next;
    }
    return 0;
}

/* Every id below the vocabulary's highest must have a token. */
static int check_holes(const rl_tokenizer *t) {
    const rl_vocab *v = rl_bpe_vocab(t->bpe);
    int n;
    for (int id = 0; id < rl_vocab_size(v) && rl_vocab_count(v) < rl_vocab_size(v); id++)
        if (!rl_vocab_text(v, id, &n) && !rl_added_find(&t->added, id))
            return rl_refuse("%s: model.vocab: expected a token for each id from 0 to %d, found "
                             "none for %d", t->name, rl_vocab_size(v) - 1, id);
    return 0;
}

static void add_id(ids *list, int id) {
    list->at = realloc(list->at, sizeof *list->at * (size_t)(list->n + 1));
    list->at[list->n++] = id;
}

/* The ids that a template's special token stands for. */
static int read_special(const rl_where *p, int object, int name, ids *out) {
    const int table = rl_json_get(p->doc, object, "special_tokens");
    const int entry = name < 0 || rl_where_node(p, name)->kind != RL_JSON_STRING ? -1
                    : rl_json_get(p->doc, table, rl_where_node(p, name)->text);
    const int list = rl_json_get(p->doc, entry, "ids");
    if (list < 0 || rl_where_node(p, list)->kind != RL_JSON_ARRAY)
        return rl_where_refuse(p, "special_tokens", "the ids of each special token of single",
                               list < 0 ? name : list);
    for (int i = 0, id; i < rl_where_node(p, list)->count; i++) {
        if (rl_where_whole(p, rl_json_at(p->doc, list, i), "special_tokens.ids", RL_MAX_ID, &id))
            return -1;
        add_id(out, id);
    }
    return 0;
}

/* single: special tokens around one sequence A.  What an earlier processor put stays inside. */
static int read_template(rl_tokenizer *t, rl_where *p, int object) {
    const int list = rl_json_get(p->doc, object, "single");
    ids side[2] = { 0 };
    int seen = 0, status = 0;
    if (list < 0 || rl_where_node(p, list)->kind != RL_JSON_ARRAY)
        return rl_where_refuse(p, "single", "an array", list);
    const rl_json_node *nodes = rl_json_nodes(p->doc);
    for (int i = 0, m = list + 1; !status && i < nodes[list].count; i++, m = nodes[m].next) {
        const int special = rl_json_get(p->doc, m, "SpecialToken");
        const int sequence = rl_json_get(p->doc, m, "Sequence");
        if (special >= 0)
            status = read_special(p, object, rl_json_get(p->doc, special, "id"), &side[seen]);
        else if (!seen++ && rl_json_is(p->doc, rl_json_get(p->doc, sequence, "id"), "A")) continue;
        else status = rl_where_refuse(p, "single", "special tokens around one sequence A", m);
    }
    if (!status && !seen) status = rl_where_refuse(p, "single", "a sequence A", list);
    if (!status) {
        for (int i = 0; i < t->before.n; i++) add_id(&side[0], t->before.at[i]);
        for (int i = 0; i < side[1].n; i++) add_id(&t->after, side[1].at[i]);
        const ids old = t->before;
        t->before = side[0], side[0] = old;
    }
    free(side[0].at), free(side[1].at);
    return status;
}

static int add_processor(void *to, rl_where *p, int object) {
    rl_tokenizer *t = to;
    if (rl_where_is(p, object, "TemplateProcessing")) return read_template(t, p, object);
    if (rl_where_is(p, object, "ByteLevel"))
        return rl_where_flag(p, object, "trim_offsets", true, &t->trim) ||
               rl_where_flag(p, object, "add_prefix_space", true, &t->prefix) ? -1 : 0;
    return rl_where_refuse(p, "type", "TemplateProcessing, ByteLevel or Sequence",
                           rl_json_get(p->doc, object, "type"));
}

static int read_all(rl_tokenizer *t, rl_where *p) {
    const rl_json *doc = p->doc;
    if (rl_where_node(p, 0)->kind != RL_JSON_OBJECT)
        return rl_where_refuse(p, "the file", "an object", 0);
    t->names = rl_vocab_new(64);
    if (!(t->normalizer = rl_normalizer_new(p, rl_json_get(doc, 0, "normalizer")))) return -1;
    if (!(t->splitter = rl_splitter_new(p, rl_json_get(doc, 0, "pre_tokenizer")))) return -1;
    if (!(t->decoder = rl_decoder_new(p, rl_json_get(doc, 0, "decoder")))) return -1;
    if (!(t->bpe = rl_bpe_new(p, rl_json_get(doc, 0, "model"), rl_splitter_bytes(t->splitter))))
        return -1;
    if (rl_splitter_bytes(t->splitter) && !rl_bpe_bytes(t->bpe)) rl_splitter_letters(t->splitter);
    if (read_added(t, p) || check_holes(t)) return -1;
    const int mark = rl_where_enter(p, "post_processor", -1);
    if (rl_where_each(p, rl_json_get(doc, 0, "post_processor"), "processors", t, add_processor))
        return -1;
    rl_where_leave(p, mark);
    rl_added_sort(&t->added, t->normalizer);
    return give_up(t);
}

rl_tokenizer *rl_tokenizer_parse(const char *text, double bytes, const char *name) {
    rl_json *doc = rl_json_parse(text, bytes, name);
    if (!doc) return NULL;
    rl_tokenizer *t = calloc(1, sizeof *t);
    t->name = strdup(name);
    rl_where p = { doc, t->name, "" };
    const int status = read_all(t, &p);
    rl_json_free(doc);
    if (!status) return t;
    rl_tokenizer_free(t);
    return NULL;
}

void rl_tokenizer_free(rl_tokenizer *t) {
    if (!t) return;
    rl_bpe_free(t->bpe), rl_normalizer_free(t->normalizer), rl_splitter_free(t->splitter);
    rl_decoder_free(t->decoder), rl_added_free(&t->added), rl_vocab_free(t->names);
    free(t->before.at), free(t->after.at), free(t->text.at), free(t->part.at), free(t->rest.at);
    free(t->outer.at), free(t->inner.at), free(t->tokens.at), free(t->decoded.at);
    free(t->name), free(t);
}

/* ---- text to ids ---- */

static bool is_space(uint32_t c) { return c == 0x120 || rl_unicode_classes[c] & RL_SPACE; }

/* Takes the spaces at both ends of token i, which reads s [n], out of its offsets. */
static void trim(rl_tokenizer *t, int i, const rl_glyph *s, int n) {
    rl_token *x = &t->tokens.at[i];
    int left = 0, right = 0;
    while (left < n && is_space(s[left].c)) left++;
    while (right < n && is_space(s[n - 1 - right].c)) right++;
    if (left == 1 && (i == t->first || x->from == 0) && t->prefix) left = 0;
    x->from = x->from + left < x->to ? x->from + left : x->to;
    if (x->to >= right) x->to = x->to - right > x->from ? x->to - right : x->from;
}

static void put_pieces(rl_tokenizer *t, rl_glyphs *x) {
    const rl_pieces *pieces = rl_splitter_cut(t->splitter, x);
    int i = t->tokens.n, n;
    for (int k = 0; k < pieces->n; k++)
        rl_bpe_encode(t->bpe, x->at + pieces->at[k].from, pieces->at[k].to - pieces->at[k].from,
                      &t->tokens);
    for (; t->trim && i < t->tokens.n; i++) {
        const char *text = rl_vocab_text(rl_bpe_vocab(t->bpe), t->tokens.at[i].id, &n);
        x->n = 0;
        rl_glyphs_read(x, text, n);
        trim(t, i, x->at, x->n);
    }
}

static void put_token(rl_tokenizer *t, const rl_glyphs *x, rl_stretch s) {
    rl_tokens_add(&t->tokens, s.id, x->at[s.from].from, x->at[s.to - 1].to);
    if (t->trim && s.id >= 0) trim(t, t->tokens.n - 1, x->at + s.from, s.to - s.from);
}

/* A stretch of the text between tokens that are not normalised. */
static void put_stretch(rl_tokenizer *t, rl_stretch s, bool plain) {
    rl_glyphs_copy(&t->part, t->text.at + s.from, s.to - s.from);
    rl_normalizer_run(t->normalizer, &t->part);
    rl_added_cut(&t->added.normal, plain, &t->part, &t->inner);
    for (int i = 0; i < t->inner.n; i++) {
        const rl_stretch k = t->inner.at[i];
        if (k.id >= 0) put_token(t, &t->part, k);
        else if (k.from == 0 && k.to == t->part.n) put_pieces(t, &t->part);
        else rl_glyphs_copy(&t->rest, t->part.at + k.from, k.to - k.from), put_pieces(t, &t->rest);
    }
}

/* text -> t->text */
static int take_text(rl_tokenizer *t, const char *text, double bytes) {
    if (!t) return -1;
    if (!(bytes >= 0 && bytes <= MAX_TEXT))
        return rl_refuse("%s: text: expected at most %d bytes, got %.0f", t->name, MAX_TEXT, bytes);
    t->text.n = t->tokens.n = 0;
    rl_glyphs_read(&t->text, text, (int64_t)bytes);
    return 0;
}

int rl_tokenizer_pieces(rl_tokenizer *t, const char *text, double bytes) {
    if (take_text(t, text, bytes)) return -1;
    rl_normalizer_run(t->normalizer, &t->text);
    t->decoded.n = 0;
    rl_bytes_add(&t->decoded, "", 0);
    for (int i = 0; i < t->text.n; i++) {
        char c[4];
        rl_bytes_add(&t->decoded, c, rl_utf8_put(t->text.at[i].c, c));
        t->text.at[i].from = i, t->text.at[i].to = i + 1;
    }
    const rl_pieces *pieces = rl_splitter_cut(t->splitter, &t->text);
    for (int i = 0; i < pieces->n; i++)
        put_token(t, &t->text, (rl_stretch){ -1, pieces->at[i].from, pieces->at[i].to });
    return give_up(t) ? -1 : t->tokens.n;
}

int rl_tokenizer_encode(rl_tokenizer *t, const char *text, double bytes, int special, int plain) {
    if (take_text(t, text, bytes)) return -1;
    for (int i = 0; special && i < t->before.n; i++)
        rl_tokens_add(&t->tokens, t->before.at[i], 0, 0);
    t->first = t->tokens.n;
    rl_added_cut(&t->added.raw, plain, &t->text, &t->outer);
    for (int i = 0; i < t->outer.n; i++)
        if (t->outer.at[i].id >= 0) put_token(t, &t->text, t->outer.at[i]);
        else put_stretch(t, t->outer.at[i], plain);
    for (int i = 0; special && i < t->after.n; i++) rl_tokens_add(&t->tokens, t->after.at[i], 0, 0);
    return give_up(t) ? -1 : t->tokens.n;
}

const rl_token *rl_tokenizer_tokens(const rl_tokenizer *t) { return t ? t->tokens.at : NULL; }

/* ---- ids to text ---- */

int rl_tokenizer_size(const rl_tokenizer *t) {
    if (!t) return -1;
    const int n = rl_vocab_size(rl_bpe_vocab(t->bpe));
    const int last = t->added.n ? t->added.at[t->added.n - 1].id + 1 : 0;
    return last > n ? last : n;
}

int rl_tokenizer_id(const rl_tokenizer *t, const char *token, int bytes) {
    if (!t) return -1;
    const int id = rl_vocab_id(t->names, token, bytes);
    return id >= 0 ? id : rl_vocab_id(rl_bpe_vocab(t->bpe), token, bytes);
}

const char *rl_tokenizer_token(const rl_tokenizer *t, int id, int *bytes) {
    const rl_added_token *added = t ? rl_added_find(&t->added, id) : NULL;
    if (!added || !added->text) return t ? rl_vocab_text(rl_bpe_vocab(t->bpe), id, bytes) : NULL;
    *bytes = added->bytes;
    return added->text;
}

int rl_tokenizer_kind(const rl_tokenizer *t, int id) {
    const rl_added_token *added = t ? rl_added_find(&t->added, id) : NULL;
    return !added ? 0 : added->flags & RL_SPECIAL ? 2 : 1;
}

/* A special token whose normalised form is another text is not skipped: the reference looks for
 * that text among the special ones. */
static void put_id(const rl_tokenizer *t, rl_decoding *s, int id, bool skip, rl_bytes *out) {
    int n;
    const char *token = rl_tokenizer_token(t, id, &n);
    if (!token) return;
    if (skip) {
        const int same = rl_vocab_id(t->names, token, n);
        if (same >= 0 && rl_tokenizer_kind(t, same) == 2) return;
    }
    rl_decoding_put(s, token, n, out);
}

int rl_tokenizer_decode(rl_tokenizer *t, const int *list, int n, int skip) {
    if (!t) return -1;
    rl_decoding *s = rl_decoding_new(t->decoder, false);
    t->decoded.n = 0;
    rl_bytes_add(&t->decoded, "", 0);
    for (int i = 0; i < n; i++) put_id(t, s, list[i], skip, &t->decoded);
    rl_decoding_end(s, &t->decoded);
    rl_decoding_free(s);
    if (give_up(t)) return -1;
    if (t->decoded.n > INT32_MAX)
        return rl_refuse("%s: ids: expected a text below 2 GiB, got more", t->name);
    return (int)t->decoded.n;
}

const char *rl_tokenizer_text(const rl_tokenizer *t, int *bytes) {
    if (t && bytes) *bytes = (int)t->decoded.n;
    return t ? t->decoded.at : NULL;
}

struct rl_stream { const rl_tokenizer *t; rl_decoding *decoding; rl_bytes text; bool skip; };

rl_stream *rl_stream_new(const rl_tokenizer *t, int skip) {
    if (!t) return NULL;
    rl_stream *s = calloc(1, sizeof *s);
    *s = (rl_stream){ t, rl_decoding_new(t->decoder, true), { 0 }, skip };
    rl_bytes_add(&s->text, "", 0);
    return s;
}

void rl_stream_free(rl_stream *s) {
    if (!s) return;
    rl_decoding_free(s->decoding);
    free(s->text.at), free(s);
}

int rl_stream_put(rl_stream *s, int id) {
    if (!s) return -1;
    s->text.n = 0;
    put_id(s->t, s->decoding, id, s->skip, &s->text);
    return (int)s->text.n;
}

int rl_stream_end(rl_stream *s) {
    if (!s) return -1;
    s->text.n = 0;
    rl_decoding_end(s->decoding, &s->text);
    return (int)s->text.n;
}

const char *rl_stream_text(const rl_stream *s) { return s ? s->text.at : NULL; }
