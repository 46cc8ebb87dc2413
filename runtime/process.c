/* Child processes that run this very program: messages over a socket, prints, how they ended. */
#define _GNU_SOURCE
#include "runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { CHANNEL = 3, MAX_ARGUMENTS = 16, SAID_AT_MOST = 1 << 16 };
static const uint64_t MESSAGE_AT_MOST = (uint64_t)1 << 30;

/* Bytes [from, to) of data wait to be sent or to be read. */
typedef struct { char *data; size_t from, to, room; } buffer;

struct rl_process {
    pid_t pid;
    int channel, prints;              /* prints: -1 after the child has closed it */
    buffer out, in, said;
    bool closed;                      /* the channel has ended */
    char ended[64];                   /* how it ended; empty while it runs */
};

static void append(buffer *b, const void *data, size_t bytes) {
    if (b->from == b->to) b->from = b->to = 0;
    if (b->to + bytes > b->room) {
        if (b->from) memmove(b->data, b->data + b->from, b->to - b->from);
        b->to -= b->from, b->from = 0;
        if (b->to + bytes > b->room) {
            b->room = 2 * (b->to + bytes);
            b->data = realloc(b->data, b->room);
        }
    }
    memcpy(b->data + b->to, data, bytes);
    b->to += bytes;
}

/* ---- the parent's side ---- */

static int spawn(rl_process *p, char **argv, int channel, int prints) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, prints, 1);
    posix_spawn_file_actions_adddup2(&actions, channel, CHANNEL);
    posix_spawn_file_actions_addclosefrom_np(&actions, CHANNEL + 1);
    const int failed = posix_spawn(&p->pid, "/proc/self/exe", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* Descriptors above those that spawn gives other meanings to. */
static int lift(int fd) {
    const int high = fcntl(fd, F_DUPFD_CLOEXEC, CHANNEL + 1);
    close(fd);
    return high;
}

/* A socket for messages, a pipe for prints. */
static int open_channels(int pair[2], int prints[2]) {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return rl_refuse("process: cannot open its channel: %s", strerror(errno));
    if (!pipe2(prints, O_CLOEXEC)) return 0;
    rl_fail("process: cannot open its channel: %s", strerror(errno));
    close(pair[0]), close(pair[1]);
    return -1;
}

rl_process *rl_process_start(const char *arguments) {
    char *text = strdup(arguments), *argv[MAX_ARGUMENTS + 2] = { "rllava" }, *rest = text;
    for (int i = 1; i <= MAX_ARGUMENTS && rest; i++) argv[i] = strsep(&rest, "\n");
    int pair[2], prints[2];
    if (open_channels(pair, prints)) {
        free(text);
        return NULL;
    }
    rl_process *p = calloc(1, sizeof *p);
    p->channel = lift(pair[0]), p->prints = lift(prints[0]);
    const int channel = lift(pair[1]), out = lift(prints[1]);
    fcntl(p->channel, F_SETFL, O_NONBLOCK);
    fcntl(p->prints, F_SETFL, O_NONBLOCK);
    const int failed = spawn(p, argv, channel, out);
    close(channel), close(out), free(text);
    if (!failed) return p;
    p->pid = 0;
    rl_process_free(p);
    return rl_fail("process: cannot start: %s", strerror(failed));
}

void rl_process_free(rl_process *p) {
    if (!p) return;
    if (p->pid && !p->ended[0]) kill(p->pid, SIGKILL), waitpid(p->pid, NULL, 0);
    close(p->channel);
    if (p->prints >= 0) close(p->prints);
    free(p->out.data), free(p->in.data), free(p->said.data), free(p);
}

/* Sends what the socket takes now. */
static void flush(rl_process *p) {
    while (!p->closed && p->out.from < p->out.to) {
        const size_t left = p->out.to - p->out.from;
        const ssize_t n = send(p->channel, p->out.data + p->out.from, left, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) p->closed = true;
        if (n < 0) return;
        p->out.from += (size_t)n;
    }
}

int rl_process_send(rl_process *p, const void *data, double bytes) {
    if (!p) return -1;
    const uint64_t length = (uint64_t)bytes;
    append(&p->out, &length, sizeof length);
    append(&p->out, data, (size_t)bytes);
    flush(p);
    return 0;
}

/* Takes some of what has come on fd, never so much that a child which writes without end could hold
 * its parent up -> false at its end. */
static bool take(int fd, buffer *b, size_t at_most) {
    char part[65536];
    for (int i = 0; i < 16; i++) {
        const ssize_t n = read(fd, part, sizeof part);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN;
        if (n == 0) return false;
        const size_t kept = b->to - b->from, room = kept < at_most ? at_most - kept : 0;
        append(b, part, (size_t)n < room ? (size_t)n : room);
    }
    return true;
}

static void take_prints(rl_process *p) {
    if (p->prints < 0 || take(p->prints, &p->said, SAID_AT_MOST)) return;
    close(p->prints);                 /* polled on, its end would wake the parent without end */
    p->prints = -1;
}

static bool has_message(const rl_process *p) {
    uint64_t length;
    if (p->in.to - p->in.from < sizeof length) return false;
    memcpy(&length, p->in.data + p->in.from, sizeof length);
    return p->in.to - p->in.from - sizeof length >= length;
}

static bool ready(const rl_process *p) { return p->closed || has_message(p); }

int rl_process_wait(rl_process **list, int n, double seconds) {
    struct pollfd polled[2 * 64];
    if (n > 64) return rl_refuse("process: expected at most 64 to wait for, got %d", n);
    bool any = false;
    for (int i = 0; i < n; i++) {
        rl_process *p = list[i];
        any |= ready(p);
        polled[2*i] = (struct pollfd){ p->closed ? -1 : p->channel,
                                       (short)(POLLIN | (p->out.from < p->out.to ? POLLOUT : 0)) };
        polled[2*i + 1] = (struct pollfd){ p->closed ? -1 : p->prints, POLLIN };
    }
    poll(polled, 2 * (nfds_t)n, any ? 0 : (int)(seconds * 1000));
    int count = 0;
    for (int i = 0; i < n; i++) {
        rl_process *p = list[i];
        flush(p);
        take_prints(p);
        if (!p->closed && !take(p->channel, &p->in, SIZE_MAX)) p->closed = true;
        count += ready(p);
    }
    return count;
}

const char *rl_process_next(rl_process *p, double *bytes) {
    if (!p || !has_message(p)) return NULL;
    uint64_t length;
    memcpy(&length, p->in.data + p->in.from, sizeof length);
    const char *message = p->in.data + p->in.from + sizeof length;
    p->in.from += sizeof length + length;
    *bytes = (double)length;
    return message;
}

const char *rl_process_said(rl_process *p, double *bytes) {
    if (!p || p->said.from == p->said.to) return NULL;
    const char *text = p->said.data + p->said.from;
    *bytes = (double)(p->said.to - p->said.from);
    p->said.from = p->said.to;
    return text;
}

/* What a child sent before it ended is not lost with it. */
static void take_rest(rl_process *p) {
    for (size_t had = SIZE_MAX; !p->closed && p->in.to - p->in.from != had;) {
        had = p->in.to - p->in.from;
        p->closed = !take(p->channel, &p->in, SIZE_MAX);
    }
}

const char *rl_process_ended(rl_process *p, int wait) {
    int status;
    if (!p) return NULL;
    if (!p->ended[0]) {
        if (waitpid(p->pid, &status, wait ? 0 : WNOHANG) != p->pid) return NULL;
        take_rest(p);
        if (WIFSIGNALED(status))
            snprintf(p->ended, sizeof p->ended, "was ended by signal %d", WTERMSIG(status));
        else snprintf(p->ended, sizeof p->ended, "ended with status %d", WEXITSTATUS(status));
    }
    return p->ended;
}

double rl_process_memory(const rl_process *p) {
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)p->pid);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    if (fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* ---- the child's side ---- */

int rl_child_begin(double memory) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return rl_refuse("child: cannot read its size: %s", strerror(errno));
    const int found = fscanf(f, "%ld", &pages);
    fclose(f);
    if (found != 1 || !(memory > 0)) return 0;
    const rlim_t limit = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (rlim_t)memory;
    const struct rlimit space = { limit, limit };
    if (setrlimit(RLIMIT_AS, &space))
        return rl_refuse("child: cannot limit its memory: %s", strerror(errno));
    return 0;
}

static bool read_all(void *data, size_t bytes) {
    for (char *at = data; bytes > 0;) {
        const ssize_t n = read(CHANNEL, at, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n, bytes -= (size_t)n;
    }
    return true;
}

const char *rl_child_next(double *bytes) {
    static char *message;
    uint64_t length;
    if (!read_all(&length, sizeof length) || length > MESSAGE_AT_MOST) return NULL;
    free(message);
    message = malloc(length + 1);
    if (!message || !read_all(message, length)) return NULL;
    *bytes = (double)length;
    return message;
}

static int write_all(const void *data, size_t bytes) {
    for (const char *at = data; bytes > 0;) {
        const ssize_t n = send(CHANNEL, at, bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return rl_refuse("child: cannot answer: %s", strerror(errno));
        at += n, bytes -= (size_t)n;
    }
    return 0;
}

int rl_child_answer(const void *data, double bytes) {
    const uint64_t length = (uint64_t)bytes;
    return write_all(&length, sizeof length) || write_all(data, (size_t)bytes) ? -1 : 0;
}
