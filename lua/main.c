/* The executable: opens Lua, makes the embedded files findable, hands over to rllava.cli. */
#include "console.h"
#include "rllava.h"
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct { const char *name, *data, *end; } rl_embedded[];   /* embed.S */

/* embedded(name) -> the text of a file of the house, or nil.  RLLAVA_HOME names a tree to read
 * instead of what was built in. */
static int embedded(lua_State *L) {
    const char *name = luaL_checkstring(L, 1), *home = getenv("RLLAVA_HOME");
    if (home) {
        lua_pushfstring(L, "%s/%s", home, name);
        FILE *f = fopen(lua_tostring(L, -1), "rb");
        if (f) {
            luaL_Buffer b;
            luaL_buffinit(L, &b);
            for (size_t n = 1; n > 0;) {
                n = fread(luaL_prepbuffer(&b), 1, LUAL_BUFFERSIZE, f);
                luaL_addsize(&b, n);
            }
            fclose(f);
            luaL_pushresult(&b);
            return 1;
        }
    }
    for (int i = 0; rl_embedded[i].name; i++)
        if (!strcmp(rl_embedded[i].name, name)) {
            const char *data = rl_embedded[i].data;
            lua_pushlstring(L, data, (size_t)(rl_embedded[i].end - data));
            return 1;
        }
    return 0;
}

/* embedded_names() -> a list of the names of all embedded files. */
static int embedded_names(lua_State *L) {
    lua_newtable(L);
    for (int i = 0; rl_embedded[i].name; i++) {
        lua_pushstring(L, rl_embedded[i].name);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* A package loader: rllava.x.y is the file lua/rllava/x/y.lua; rllava itself is init.lua. */
static int find_module(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    if (strncmp(name, "rllava", 6)) return 0;
    const char *path = !strcmp(name, "rllava") ? "rllava/init" : luaL_gsub(L, name, ".", "/");
    lua_pushfstring(L, "lua/%s.lua", path);
    const char *file = lua_tostring(L, -1);
    lua_pushcfunction(L, embedded);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1)) return lua_pushfstring(L, "\n\tno embedded file '%s'", file), 1;
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    lua_pushfstring(L, "@%s", file);
    if (luaL_loadbuffer(L, text, n, lua_tostring(L, -1))) return lua_error(L);
    return 1;
}

static void add_loader(lua_State *L) {
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) {      /* behind preload, before the files */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, find_module);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 1);
    lua_getfield(L, -1, "loaded");
    lua_newtable(L);
    lua_pushcfunction(L, embedded), lua_setfield(L, -2, "read");
    lua_pushcfunction(L, embedded_names), lua_setfield(L, -2, "names");
    lua_setfield(L, -2, "rllava.embedded");
    rl_console(L);
    lua_setfield(L, -2, "rllava.console");
    lua_pop(L, 2);
}

int main(int argc, char **argv) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    add_loader(L);
    lua_createtable(L, argc, 0);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");
    static const char start[] = "return require('rllava.cli').main(arg)";
    int failed = luaL_loadbuffer(L, start, sizeof start - 1, "@lua/rllava/main") ||
                 lua_pcall(L, 0, 1, 0);
    const char *why = failed ? lua_tostring(L, -1) : NULL;
    if (failed) fprintf(stderr, "rllava: %s\n", why ? why : "an error that is no text");
    int status = failed ? 1 : (int)lua_tointeger(L, -1);
    rl_engines_stop();                      /* Lua ends models and engines in any order */
    lua_close(L);
    return status;
}
