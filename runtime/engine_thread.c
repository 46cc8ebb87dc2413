/* The threads of engines: each begins with its engine and ends with it, or all end together. */
#include "engine.h"
#include <string.h>

static struct { pthread_mutex_t lock; rl_engine *first; } running = { PTHREAD_MUTEX_INITIALIZER };

int rl_engine_start(rl_engine *e) {
    e->quit = false;
    const int why = pthread_create(&e->thread, NULL, rl_engine_work, e);
    if (why) {
        e->quit = true;
        return rl_refuse("engine: expected to start a thread: %s", strerror(why));
    }
    pthread_mutex_lock(&running.lock);
    e->next = running.first, running.first = e;
    pthread_mutex_unlock(&running.lock);
    return 0;
}

static void stop(rl_engine *e) {
    if (e->quit) return;
    pthread_mutex_lock(&e->lock);
    e->quit = true;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
}

void rl_engines_stop(void) {
    pthread_mutex_lock(&running.lock);
    for (rl_engine *e = running.first; e; e = e->next) stop(e);
    running.first = NULL;
    pthread_mutex_unlock(&running.lock);
}

void rl_engine_end(rl_engine *e) {
    pthread_mutex_lock(&running.lock);
    rl_engine **at = &running.first;
    while (*at && *at != e) at = &(*at)->next;
    if (*at) *at = e->next;
    pthread_mutex_unlock(&running.lock);
    stop(e);
}
