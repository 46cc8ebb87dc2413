/* One message a thread: the reason of its last refusal. */
#include "runtime.h"
#include <stdio.h>

static _Thread_local char message[4096];

void *rl_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return NULL;
}

const char *rl_error(void) { return message[0] ? message : "no error"; }
