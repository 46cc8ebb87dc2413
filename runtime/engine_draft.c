/* Speculative decoding by look-up: what followed the last few tokens when they stood in the prompt
 * or the response before.  arXiv:2304.04487 */
#include "engine.h"

enum { SHORTEST = 2, LONGEST = 4 };     /* tokens that must, and may, agree */

static int32_t token_at(const rl_sample *x, int i) {
    const rl_request *ask = &x->group->ask;
    return i < ask->n ? ask->prompt[i] : x->tokens[i - ask->n];
}

/* How many tokens before place i are those before place end. */
static int agreeing(const rl_sample *x, int i, int end) {
    int n = 0;
    while (n < LONGEST && n < i && token_at(x, i - 1 - n) == token_at(x, end - 1 - n)) n++;
    return n;
}

int rl_sample_draft(rl_sample *x, int32_t *draft) {
    const rl_request *ask = &x->group->ask;
    const int end = ask->n + x->n;
    int most = ask->lookup, best = 0, from = 0, n = 0;
    if (most > x->hope) most = x->hope;
    if (most > ask->max_new - x->n - 1) most = ask->max_new - x->n - 1;
    for (int i = end - 1; most > 0 && i >= SHORTEST && best < LONGEST; i--) {
        const int found = agreeing(x, i, end);
        if (found > best) best = found, from = i;
    }
    for (; best >= SHORTEST && n < most; n++)       /* behind the end the draft repeats itself */
        draft[n] = from + n < end ? token_at(x, from + n) : draft[from + n - end];
    return n;
}

void rl_sample_judge(rl_sample *x, int drafted, int accepted) {
    if (drafted) x->hope = accepted == drafted ? 2 * accepted + 1 : accepted + 1;
}
