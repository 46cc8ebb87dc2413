/* Feeds mutated seed files to a fuzz target, the same ones in every run.
 *
 * usage: fuzz_NAME COUNT FILE...          inputs 0 to COUNT - 1
 *        fuzz_NAME FIRST:END FILE...      only these, to see one again
 * Input k depends on k and on the files alone.  Sanitizers end the run; the number of the input is
 * printed then. */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUT = 1 << 16, MAX_SEEDS = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

typedef struct { uint8_t *data; size_t size; } input;

static input seeds[MAX_SEEDS];
static int nseeds;
static uint64_t current;

static void at_death(void) { fprintf(stderr, "at input %llu\n", (unsigned long long)current); }

/* Number i of the random numbers of input k: splitmix64 of the counter. */
static uint64_t draw(uint64_t *counter) {
    uint64_t z = ++*counter * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(uint64_t *counter, size_t n) { return n ? (size_t)(draw(counter) % n) : 0; }

/* Bytes [at, at + old) of x become n bytes of from. */
static void splice(input *x, size_t at, size_t old, const uint8_t *from, size_t n) {
    uint8_t copy[MAX_INPUT];
    if (x->size - old + n > MAX_INPUT) return;
    memcpy(copy, from, n);
    memmove(x->data + at + n, x->data + at + old, x->size - at - old);
    memcpy(x->data + at, copy, n);
    x->size += n - old;
}

static bool in_word(uint8_t b) { return isalnum(b) || b == '_' || b == '.' || b == '-'; }

/* The word around a random place: *at, its length. */
static size_t find_word(const input *x, uint64_t *c, size_t *at) {
    size_t end = *at = below(c, x->size);
    while (*at > 0 && in_word(x->data[*at - 1])) --*at;
    while (end < x->size && in_word(x->data[end])) end++;
    return end - *at;
}

/* A word becomes another word, which leaves most texts well formed. */
static void swap_words(input *x, uint64_t *c) {
    const input *other = &seeds[below(c, (size_t)nseeds)];
    size_t at, from;
    const size_t length = find_word(x, c, &at), n = find_word(other, c, &from);
    if (length && n) splice(x, at, length, other->data + from, n);
}

static void mutate(input *x, uint64_t *c) {
    static const char *const words[] = {
        "0", "-1", "4194304", "1e999", "18446744073709551616", "null", "true", "{}", "[]", "\"\"",
        "\"a\"", "\\u0000", "\\ud800", "\xff", "\xe2\x96", "\xf0\x9f\x98\x80", ",", ":", "{", "[",
        "\"", "]", "}",
    };
    static const uint8_t bytes[] = { 0, 1, 0x7f, 0x80, 0xff };
    const size_t at = below(c, x->size + 1), rest = x->size - at;
    const size_t length = below(c, 1 + (rest < 32 ? rest : 32));
    const input *other = &seeds[below(c, (size_t)nseeds)];
    switch (below(c, 16)) {
    case 0: if (rest) x->data[at] ^= (uint8_t)(1u << below(c, 8)); break;
    case 1: if (rest) x->data[at] = bytes[below(c, sizeof bytes)]; break;
    case 2: if (rest) x->data[at] = (uint8_t)draw(c); break;
    case 3: splice(x, at, length, bytes, 0); break;
    case 4: splice(x, at, 0, x->data + at, length); break;
    case 5: {
        const char *word = words[below(c, sizeof words / sizeof *words)];
        splice(x, at, length, (const uint8_t *)word, strlen(word));
        break;
    }
    case 6: {
        const size_t from = below(c, other->size), most = other->size - from;
        splice(x, at, length, other->data + from, below(c, 1 + (most < 256 ? most : 256)));
        break;
    }
    case 7: if (below(c, 8) == 0) x->size = at; break;
    default: swap_words(x, c);
    }
}

/* Input k in a block of its own size, so that a step beyond its end is seen. */
static void run(uint64_t k) {
    static uint8_t room[MAX_INPUT];
    uint64_t c = k << 20;
    const input *seed = &seeds[below(&c, (size_t)nseeds)];
    input x = { room, seed->size };
    memcpy(room, seed->data, seed->size);
    for (size_t i = k < (uint64_t)nseeds ? 0 : 1 + below(&c, 4); i > 0; i--) mutate(&x, &c);
    uint8_t *data = malloc(x.size);
    memcpy(data, room, x.size);
    current = k;
    LLVMFuzzerTestOneInput(data, x.size);
    free(data);
}

static int read_seed(const char *path) {
    FILE *f = fopen(path, "rb");
    input *s = &seeds[nseeds];
    if (!f || nseeds == MAX_SEEDS - 1) return fprintf(stderr, "%s: cannot be read\n", path), -1;
    s->data = malloc(MAX_INPUT);
    s->size = fread(s->data, 1, MAX_INPUT, f);
    fclose(f);
    nseeds++;
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: %s COUNT|FIRST:END FILE...\n", argv[0]), 2;
    char *colon = strchr(argv[1], ':');
    const uint64_t first = colon ? strtoull(argv[1], NULL, 10) : 0;
    const uint64_t end = strtoull(colon ? colon + 1 : argv[1], NULL, 10);
    for (int i = 2; i < argc; i++) if (read_seed(argv[i])) return 2;
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(at_death);
    for (uint64_t k = first; k < end; k++) run(k);
    printf("%s: %llu inputs\n", argv[0], (unsigned long long)(end - first));
    for (int i = 0; i < nseeds; i++) free(seeds[i].data);
    return 0;
}
