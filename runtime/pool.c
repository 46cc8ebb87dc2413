/* One team of threads.  All run the same task, each as its part, and meet at a barrier that spins
 * briefly and then sleeps, so that a busy machine costs its share and no more. */
#define _GNU_SOURCE
#include "runtime.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_THREADS = 256, LEAST_SPINS = 32, MOST_SPINS = 2048, PATIENT_WAITS = 16 };
static const double SHORT_SLEEP = 2e-4;         /* seconds; less than a scheduler's slice */

static struct {
    pthread_mutex_t turn;               /* one caller at a time */
    _Atomic int size;                   /* 0: not started */
    pthread_t thread[MAX_THREADS];
    _Atomic int arrived, round;         /* the barrier */
    _Atomic int job, sleepers;
    _Atomic int core[MAX_THREADS];      /* where each was when it last waited */
    rl_task *task;
    void *arg;
    bool stop;
} pool = { .turn = PTHREAD_MUTEX_INITIALIZER };

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Leaves a core that another thread of the team needs: for a moment all others are allowed. */
static void leave(int core) {
    cpu_set_t all, others;
    if (sched_getaffinity(0, sizeof all, &all) || CPU_COUNT(&all) < pool.size) return;
    others = all;
    CPU_CLR(core, &others);
    if (!sched_setaffinity(0, sizeof others, &others)) sched_setaffinity(0, sizeof all, &all);
}

/* Is another thread of the team, when last seen, on the core of thread i?  Then spinning only keeps
 * it waiting, and since they take turns, the scheduler sees no reason to part them. */
static bool is_crowded(int i) {
    static _Thread_local int times;
    const int own = sched_getcpu(), n = pool.size;
    atomic_store_explicit(&pool.core[i], own, memory_order_relaxed);
    for (int k = 0; k < n; k++) {
        if (k == i || atomic_load_explicit(&pool.core[k], memory_order_relaxed) != own) continue;
        if (++times % PATIENT_WAITS == 0) leave(own);
        return true;
    }
    return false;
}

/* Thread i returns once *word is no longer old.  One that slept for long, since the one it waits
 * for had no core, spins half as long the next time; one that a little more patience would have
 * served, twice as long. */
static void wait_change(_Atomic int *word, int old, int i) {
    static _Thread_local int patience = MOST_SPINS;
    const int spins = is_crowded(i) ? LEAST_SPINS : patience;
    for (int k = 0; k < spins; k++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old) return;
        relax();
    }
    const double start = rl_clock();
    atomic_fetch_add(&pool.sleepers, 1);
    while (atomic_load(word) == old)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(&pool.sleepers, 1);
    if (spins < patience || word == &pool.job) return;          /* no work tells nothing of cores */
    const bool vain = rl_clock() - start > SHORT_SLEEP;
    if (vain && patience > LEAST_SPINS) patience /= 2;
    if (!vain && patience < MOST_SPINS) patience *= 2;
}

static void change(_Atomic int *word) {
    atomic_fetch_add(word, 1);
    if (atomic_load(&pool.sleepers))
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, MAX_THREADS, NULL, NULL, 0);
}

void rl_pool_meet(rl_part p) {
    if (p.n == 1) return;
    const int round = atomic_load_explicit(&pool.round, memory_order_acquire);
    if (atomic_fetch_add_explicit(&pool.arrived, 1, memory_order_acq_rel) == p.n - 1) {
        atomic_store_explicit(&pool.arrived, 0, memory_order_relaxed);
        change(&pool.round);
    } else wait_change(&pool.round, round, p.i);
}

static void *worker(void *arg) {
    const int i = (int)(intptr_t)arg;
    for (int seen = 0;; seen++) {
        wait_change(&pool.job, seen, i);
        if (pool.stop) return NULL;
        const rl_part p = { i, pool.size };
        pool.task(pool.arg, p);
        rl_pool_meet(p);
    }
}

static void stop(void) {
    if (pool.size > 1) {
        pool.stop = true;
        change(&pool.job);
        for (int i = 1; i < pool.size; i++) pthread_join(pool.thread[i], NULL);
    }
    pool.stop = false;
    pool.size = 0;
    atomic_store(&pool.job, 0);
}

static int start(int n) {
    pool.size = 1;
    while (pool.size < n) {
        /* a worker reads size only after the first job is given out */
        void *number = (void *)(intptr_t)pool.size;
        if (pthread_create(&pool.thread[pool.size], NULL, worker, number)) break;
        pool.size++;
    }
    return pool.size;
}

static int wanted(void) {
    const char *text = getenv("RLLAVA_THREADS");
    cpu_set_t set;
    int n = text ? atoi(text) : sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}

int rl_threads(int n) {
    pthread_mutex_lock(&pool.turn);
    if (n > 0 && n != pool.size) stop(), start(n > MAX_THREADS ? MAX_THREADS : n);
    if (!pool.size) start(wanted());
    const int size = pool.size;
    pthread_mutex_unlock(&pool.turn);
    return size;
}

int rl_pool_size(void) { return pool.size ? pool.size : rl_threads(0); }

void rl_pool_run(rl_task *task, void *arg) {
    pthread_mutex_lock(&pool.turn);
    if (!pool.size) start(wanted());
    const rl_part p = { 0, pool.size };
    pool.task = task, pool.arg = arg;
    if (p.n > 1) change(&pool.job);
    task(arg, p);
    rl_pool_meet(p);
    pthread_mutex_unlock(&pool.turn);
}
