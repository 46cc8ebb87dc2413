/* Files and folders: mapped whole, written aside and renamed, compressed, listed, removed. */
#define _GNU_SOURCE
#include "files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { BUFFER = 1 << 17 };

void rl_free(void *p) { free(p); }

char *rl_text(const char *format, ...) {
    va_list args;
    char *text;
    va_start(args, format);
    const int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) abort();
    return text;
}

static int cannot(const char *what, const char *path) {
    return rl_refuse("%s: cannot %s: %s", path, what, strerror(errno));
}

/* ---- mapping ---- */

rl_map *rl_map_open(const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cannot("open", path), NULL;
    struct stat st;
    void *data = (void *)"";
    int failed = fstat(fd, &st);
    if (!failed && !S_ISREG(st.st_mode)) {
        close(fd);
        return rl_fail("%s: expected a file, found %s", path,
                       S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    }
    if (!failed && st.st_size > 0) {
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        failed = data == MAP_FAILED;
    }
    if (failed) cannot("map", path);
    close(fd);
    if (failed) return NULL;
    rl_map *map = malloc(sizeof *map);
    *map = (rl_map){ strdup(path), data, (double)st.st_size };
    return map;
}

void rl_map_close(rl_map *map) {
    if (!map) return;
    if (map->size > 0) munmap((void *)map->data, (size_t)map->size);
    free((char *)map->path), free(map);
}

/* ---- writing aside ---- */

struct rl_output { char *path, *aside; int fd; bool failed; ZSTD_CStream *zstd; char *buffer; };

rl_output *rl_output_open(const char *path, int level) {
    char *aside = rl_text("%s.tmp-%d", path, (int)getpid());
    const int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        cannot("create", path);
        free(aside);
        return NULL;
    }
    rl_output *out = malloc(sizeof *out);
    *out = (rl_output){ strdup(path), aside, fd, false, NULL, malloc(BUFFER) };
    if (level > 0) {
        out->zstd = ZSTD_createCStream();
        ZSTD_CCtx_setParameter(out->zstd, ZSTD_c_compressionLevel, level);
        ZSTD_CCtx_setParameter(out->zstd, ZSTD_c_checksumFlag, 1);
    }
    return out;
}

static int put(rl_output *out, const char *data, size_t bytes) {
    while (bytes > 0) {
        const ssize_t n = write(out->fd, data, bytes < 1u << 30 ? bytes : 1u << 30);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            out->failed = true;
            return cannot("write", out->path);
        }
        data += n, bytes -= (size_t)n;
    }
    return 0;
}

/* Feeds the compressor until it has taken all, or, at the end, given all. */
static int compress(rl_output *out, const void *data, size_t bytes, ZSTD_EndDirective end) {
    ZSTD_inBuffer in = { data, bytes, 0 };
    for (;;) {
        ZSTD_outBuffer to = { out->buffer, BUFFER, 0 };
        const size_t left = ZSTD_compressStream2(out->zstd, &to, &in, end);
        if (ZSTD_isError(left)) {
            out->failed = true;
            return rl_refuse("%s: cannot compress: %s", out->path, ZSTD_getErrorName(left));
        }
        if (put(out, out->buffer, to.pos)) return -1;
        if (end == ZSTD_e_end ? left == 0 : in.pos == in.size) return 0;
    }
}

int rl_output_write(rl_output *out, const void *data, double bytes) {
    if (!out || out->failed) return -1;
    return out->zstd ? compress(out, data, (size_t)bytes, ZSTD_e_continue)
                     : put(out, data, (size_t)bytes);
}

/* The upper half of a float, rounded to nearest even; NaN stays NaN. */
static uint16_t to_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

int rl_output_floats(rl_output *out, const float *x, double count, int bf16) {
    if (!bf16) return rl_output_write(out, x, count * 4);
    uint16_t part[4096];
    for (size_t done = 0, n; done < (size_t)count; done += n) {
        n = (size_t)count - done < 4096 ? (size_t)count - done : 4096;
        for (size_t i = 0; i < n; i++) part[i] = to_bf16(x[done + i]);
        if (rl_output_write(out, part, (double)n * 2)) return -1;
    }
    return 0;
}

static void end_output(rl_output *out) {
    ZSTD_freeCStream(out->zstd);
    free(out->path), free(out->aside), free(out->buffer), free(out);
}

void rl_output_discard(rl_output *out) {
    if (!out) return;
    close(out->fd);
    unlink(out->aside);
    end_output(out);
}

int rl_output_commit(rl_output *out) {
    if (!out) return -1;
    bool failed = out->failed || (out->zstd && compress(out, NULL, 0, ZSTD_e_end));
    if (!failed && fsync(out->fd)) failed = cannot("write", out->path);
    if (failed) {
        rl_output_discard(out);
        return -1;
    }
    close(out->fd);
    const int renamed = rl_file_rename(out->aside, out->path);
    if (renamed) unlink(out->aside);
    end_output(out);
    return renamed;
}

/* ---- reading a zstd frame ---- */

struct rl_input { rl_map *map; ZSTD_DStream *zstd; ZSTD_inBuffer from; bool ended; };

rl_input *rl_input_open(const char *path) {
    rl_map *map = rl_map_open(path);
    if (!map) return NULL;
    rl_input *in = malloc(sizeof *in);
    *in = (rl_input){ map, ZSTD_createDStream(), { map->data, (size_t)map->size, 0 }, false };
    return in;
}

/* Decompresses up to room bytes -> how many, -1 refused. */
static double inflate_part(rl_input *in, void *data, size_t room) {
    ZSTD_outBuffer to = { data, room, 0 };
    while (!in->ended) {
        const size_t before = in->from.pos, left = ZSTD_decompressStream(in->zstd, &to, &in->from);
        if (ZSTD_isError(left))
            return rl_refuse("%s: damaged: %s", in->map->path, ZSTD_getErrorName(left));
        in->ended = left == 0;
        if (to.pos == room && room > 0) break;
        if (!in->ended && in->from.pos == before && before == in->from.size)
            return rl_refuse("%s: the file ends before its data does", in->map->path);
    }
    return (double)to.pos;
}

int rl_input_read(rl_input *in, void *data, double bytes) {
    if (!in) return -1;
    char scratch[8192], *to = data;
    for (size_t left = (size_t)bytes; left > 0;) {
        const size_t want = to || left < sizeof scratch ? left : sizeof scratch;
        const double got = inflate_part(in, to ? to : scratch, want);
        if (got < 0) return -1;
        if (got == 0)
            return rl_refuse("%s: expected %.0f more bytes, found the end", in->map->path,
                             (double)left);
        left -= (size_t)got;
        if (to) to += (size_t)got;
    }
    return 0;
}

int rl_input_end(rl_input *in) {
    if (!in) return -1;
    char more;
    const double got = in->ended ? 0 : inflate_part(in, &more, 1);
    if (got < 0) return -1;
    if (got > 0 || in->from.pos != in->from.size)
        return rl_refuse("%s: expected the end, found more data", in->map->path);
    return 0;
}

void rl_input_close(rl_input *in) {
    if (!in) return;
    ZSTD_freeDStream(in->zstd);
    rl_map_close(in->map);
    free(in);
}

/* ---- folders ---- */

/* Names but "." and "..", sorted, from scandir. */
static int names_of(const char *path, struct dirent ***list) {
    const int n = scandir(path, list, NULL, NULL);
    if (n < 0) return cannot("list", path);
    int kept = 0;
    for (int i = 0; i < n; i++) {
        struct dirent *e = (*list)[i];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) free(e);
        else (*list)[kept++] = e;
    }
    return kept;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(struct dirent **)a)->d_name, (*(struct dirent **)b)->d_name);
}

char *rl_folder_list(const char *path) {
    struct dirent **list;
    const int n = names_of(path, &list);
    if (n < 0) return NULL;
    qsort(list, (size_t)n, sizeof *list, by_name);
    size_t bytes = 2;
    for (int i = 0; i < n; i++) bytes += strlen(list[i]->d_name) + 1;
    char *names = calloc(1, bytes), *at = names;
    for (int i = 0; i < n; i++) {
        at = stpcpy(at, list[i]->d_name) + 1;
        free(list[i]);
    }
    free(list);
    return names;
}

int rl_folder_make(const char *path) {
    char *part = strdup(path);
    int failed = 0;
    for (char *p = part + 1; !failed && *part; p++) {
        if (*p && *p != '/') continue;
        const char keep = *p;
        *p = 0;
        failed = mkdir(part, 0777) && errno != EEXIST ? cannot("create the folder", part) : 0;
        *p = keep;
        if (!keep) break;
    }
    free(part);
    if (!failed && rl_file_stat(path, NULL) != 2)
        return rl_refuse("%s: expected a folder, found a file", path);
    return failed;
}

static int sync_one(const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cannot("open", path);
    const int failed = fsync(fd) && errno != EINVAL ? cannot("write", path) : 0;
    close(fd);
    return failed;
}

int rl_folder_sync(const char *path) {
    struct dirent **list;
    const int n = names_of(path, &list);
    int failed = n < 0 ? -1 : 0;
    for (int i = 0; i < n; i++) {
        char *below = rl_text("%s/%s", path, list[i]->d_name);
        const int kind = failed ? 0 : rl_file_stat(below, NULL);
        if (kind == 1) failed = sync_one(below);
        if (kind == 2) failed = rl_folder_sync(below);
        free(below), free(list[i]);
    }
    if (n >= 0) free(list);
    return failed ? -1 : sync_one(path);
}

static int sync_above(const char *path) {
    char *folder = strdup(path), *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    const int failed = sync_one(slash ? folder : ".");
    free(folder);
    return failed;
}

int rl_file_rename(const char *from, const char *to) {
    if (rename(from, to))
        return rl_refuse("%s: cannot rename to %s: %s", from, to, strerror(errno));
    return sync_above(to);
}

int rl_file_lock(const char *path) {
    char owner[32] = "";
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return cannot("open", path);
    if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {     /* else: no locks there */
        const ssize_t n = read(fd, owner, sizeof owner - 1);
        close(fd);
        return rl_refuse("%s: held by process %s", path, n > 0 ? owner : "?");
    }
    const int n = snprintf(owner, sizeof owner, "%d", (int)getpid());
    if (!ftruncate(fd, 0) && write(fd, owner, (size_t)n) == n) return fd;
    cannot("write", path);
    close(fd);
    return -1;
}

int rl_file_unlock(int lock) { return close(lock); }

int rl_folder_replace(const char *from, const char *to) {
    if (!rl_file_stat(to, NULL)) return rl_file_rename(from, to);
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0)
        return sync_above(to) || rl_file_remove(from) ? -1 : 0;
    if (rl_file_remove(to)) return -1;
    return rl_file_rename(from, to);
}

int rl_file_stat(const char *path, double *size) {
    struct stat st;
    if (stat(path, &st)) return 0;
    if (size) *size = (double)st.st_size;
    return S_ISREG(st.st_mode) ? 1 : S_ISDIR(st.st_mode) ? 2 : 3;
}

int rl_file_remove(const char *path) {
    struct stat st;
    if (lstat(path, &st)) return cannot("remove", path);
    if (!S_ISDIR(st.st_mode)) return unlink(path) ? cannot("remove", path) : 0;
    struct dirent **list;
    const int n = names_of(path, &list);
    int failed = n < 0 ? -1 : 0;
    for (int i = 0; i < n; i++) {
        char *below = rl_text("%s/%s", path, list[i]->d_name);
        if (!failed) failed = rl_file_remove(below);
        free(below), free(list[i]);
    }
    if (n >= 0) free(list);
    if (failed) return -1;
    return rmdir(path) ? cannot("remove", path) : 0;
}
