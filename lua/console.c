/* The console's line editing, history, completion and Ctrl-C; Lua module rllava.console. */
#include "console.h"
#include <editline/readline.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static lua_State *state;                    /* the one that reads a line or runs one */
static int completer = LUA_NOREF;
static volatile sig_atomic_t pressed;

/* ---- Ctrl-C ---- */

static void stop(lua_State *L, lua_Debug *at) {
    (void)at;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted");
}

/* The first press stops Lua at its next step, the second ends the process. */
static void press(int signal_number) {
    if (pressed++) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        return;
    }
    lua_sethook(state, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static void press_while_reading(int signal_number) {
    (void)signal_number;
    pressed = 1;
}

static struct sigaction listen(void (*handler)(int)) {
    struct sigaction now = { .sa_handler = handler }, before;
    sigemptyset(&now.sa_mask);
    pressed = 0;
    sigaction(SIGINT, &now, &before);
    return before;
}

/* run(f, ...) -> pcall(f, ...) that Ctrl-C can stop. */
static int run(lua_State *L) {
    state = L;
    const struct sigaction before = listen(press);
    const int failed = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    sigaction(SIGINT, &before, NULL);
    lua_sethook(L, NULL, 0, 0);
    lua_pushboolean(L, !failed);
    lua_insert(L, 1);
    return lua_gettop(L);
}

/* ---- completion ---- */

static char *copy(const char *s, size_t n) {
    char *c = malloc(n + 1);
    if (c) memcpy(c, s, n), c[n] = 0;
    return c;
}

/* A list of words on the stack's top -> as readline wants them: what they share, each, NULL. */
static char **matches(lua_State *L, const char *word) {
    const size_t n = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    char **list = n ? calloc(n + 2, sizeof *list) : NULL;
    if (!list) return NULL;
    size_t shared = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length;
        lua_rawgeti(L, -1, (int)i + 1);
        const char *s = lua_tolstring(L, -1, &length);
        list[i + 1] = copy(s ? s : word, s ? length : strlen(word));
        if (i == 0) shared = length;
        while (s && shared && strncmp(s, list[1], shared)) shared--;
        lua_pop(L, 1);
    }
    list[0] = copy(list[1], shared);
    return list;
}

/* Asks Lua's completer(word, text before it) for the words that may stand there. */
static char **complete(const char *word, int start, int end) {
    (void)end;
    rl_attempted_completion_over = 1;       /* no file names where Lua has none */
    rl_completion_append_character = 0;
    lua_rawgeti(state, LUA_REGISTRYINDEX, completer);
    lua_pushstring(state, word);
    lua_pushlstring(state, rl_line_buffer, (size_t)start);
    char **list = lua_pcall(state, 2, 1, 0) ? NULL : matches(state, word);
    lua_pop(state, 1);
    return list;
}

/* ---- reading ---- */

/* read(prompt) -> line; "" and true after Ctrl-C; nil at the end. */
static int read_line(lua_State *L) {
    state = L;
    const struct sigaction before = listen(press_while_reading);
    char *line = readline(luaL_checkstring(L, 1));
    sigaction(SIGINT, &before, NULL);
    if (!line && !pressed) return lua_pushnil(L), 1;
    lua_pushstring(L, line ? line : "");
    lua_pushboolean(L, pressed);
    free(line);
    return 2;
}

/* begin(completer, file): line editing with the history of a file. */
static int begin(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_pushvalue(L, 1);
    completer = luaL_ref(L, LUA_REGISTRYINDEX);
    rl_readline_name = "rllava";
    rl_attempted_completion_function = complete;
    rl_basic_word_break_characters = " \t\n\"'`><=;|&{}()[],+-*/%^#~";
    using_history();
    stifle_history(2000);
    if (lua_isstring(L, 2)) read_history(lua_tostring(L, 2));
    return 0;
}

/* remember(line, file) */
static int remember(lua_State *L) {
    add_history(luaL_checkstring(L, 1));
    if (lua_isstring(L, 2)) write_history(lua_tostring(L, 2));
    return 0;
}

/* terminal() -> is someone there to type? */
static int terminal(lua_State *L) {
    lua_pushboolean(L, isatty(0) && isatty(1));
    return 1;
}

int rl_console(lua_State *L) {
    static const luaL_Reg functions[] = {
        { "begin", begin }, { "read", read_line }, { "remember", remember }, { "run", run },
        { "terminal", terminal }, { NULL, NULL },
    };
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
