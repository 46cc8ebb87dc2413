/* The console as a Lua module: pushes the table of its functions. */
#ifndef RL_CONSOLE_H
#define RL_CONSOLE_H
#include <lua.h>

int rl_console(lua_State *L);

#endif
