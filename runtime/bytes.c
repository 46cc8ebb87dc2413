/* Buffers: zstd, CRC-32C, a 64-bit content hash. */
#include "runtime.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>

static double counted(const char *what, size_t n) {
    if (ZSTD_isError(n)) return rl_refuse("zstd: cannot %s: %s", what, ZSTD_getErrorName(n));
    return (double)n;
}

double rl_zstd_bound(double bytes) { return (double)ZSTD_compressBound((size_t)bytes); }

double rl_zstd_compress(void *out, double room, const void *data, double bytes, int level) {
    return counted("compress", ZSTD_compress(out, (size_t)room, data, (size_t)bytes, level));
}

double rl_zstd_size(const void *data, double bytes) {
    const unsigned long long n = ZSTD_getFrameContentSize(data, (size_t)bytes);
    if (n == ZSTD_CONTENTSIZE_ERROR)
        return rl_refuse("zstd: expected a frame, found something else");
    if (n == ZSTD_CONTENTSIZE_UNKNOWN)
        return rl_refuse("zstd: expected a frame that tells its size");
    return (double)n;
}

double rl_zstd_decompress(void *out, double room, const void *data, double bytes) {
    return counted("decompress", ZSTD_decompress(out, (size_t)room, data, (size_t)bytes));
}

static uint32_t crc_table[256];

static void make_crc_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
        crc_table[i] = c;
    }
}

double rl_crc32c(const void *data, double bytes) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_crc_table);
    uint32_t c = ~0u;
    const uint8_t *b = data;
    for (size_t n = (size_t)bytes; n--; b++) c = crc_table[(c ^ *b) & 255] ^ c >> 8;
    return (double)(uint32_t)~c;
}

/* A bijection of 64 bits: every input bit reaches every output bit. */
static uint64_t mix(uint64_t h) {
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

/* Four lanes of 8-byte words, h = rotate(h + word * p, 29) * q, folded together with the length;
 * the last block is filled with zeros. */
void rl_hash(const void *data, double bytes, char *text) {
    const uint64_t p = 0x9e3779b97f4a7c15u, q = 0xbf58476d1ce4e5b9u;
    uint64_t lane[4] = { 1, 2, 3, 4 }, word[4];
    const uint8_t *at = data;
    for (size_t left = (size_t)bytes, n; left > 0; left -= n, at += n) {
        n = left < 32 ? left : 32;
        if (n < 32) memset(word, 0, 32);
        memcpy(word, at, n);
        for (int i = 0; i < 4; i++) {
            const uint64_t h = lane[i] + word[i] * p;
            lane[i] = (h << 29 | h >> 35) * q;
        }
    }
    uint64_t h = mix((uint64_t)bytes);
    for (int i = 0; i < 4; i++) h = mix(h ^ lane[i]);
    snprintf(text, 17, "%016llx", (unsigned long long)h);
}
