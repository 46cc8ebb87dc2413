/* What this process knows of its machine: time, memory, terminal, the wish that it end. */
#include "runtime.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double rl_time(void) { return seconds_of(CLOCK_REALTIME); }
double rl_clock(void) { return seconds_of(CLOCK_MONOTONIC); }

void rl_sleep(double seconds) {
    if (!(seconds > 0)) return;
    struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    while (nanosleep(&t, &t) && errno == EINTR) {}
}

double rl_memory_now(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
        fclose(f);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

double rl_memory_peak(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)use.ru_maxrss * 1024;
}

int rl_terminal_columns(int fd) {
    struct winsize size;
    if (!isatty(fd)) return 0;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static volatile sig_atomic_t pressed;

/* The second signal is for those who will not wait. */
static void press(int number) {
    if (pressed++) signal(number, SIG_DFL), raise(number);
}

int rl_interrupt_catch(int on) {
    struct sigaction act = { .sa_handler = on ? press : SIG_DFL };
    pressed = 0;
    if (sigaction(SIGINT, &act, NULL) || sigaction(SIGTERM, &act, NULL))
        return rl_refuse("interrupt: %s", strerror(errno));
    return 0;
}

int rl_interrupted(void) { return pressed != 0; }
