// launcher: the umbra command. A Lua state, the paths of this tree or installation, then require "umbra.main".
// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

// Given the launcher's own path and the arguments. The traces and the machine code of a toolkit this size overflow LuaJIT's
// defaults (512 KiB, 1,000 traces), and overflowing flushes all of it.
static const char start[] =
    "local exe, args = ...\n"
    "local root = exe:match '^(.*)/[^/]*/[^/]*$'\n"
    "local tree = io.open(root .. '/lua/umbra/main.lua')\n"
    "package.path = root .. (tree and '/lua/?.lua;' or '/share/umbra/lua/?.lua;') .. package.path\n"
    "if tree then tree:close() end\n"
    "require('jit.opt').start('maxmcode=8192', 'sizemcode=64', 'maxtrace=8000')\n"
    "return require('umbra.main')(args)\n";

int main(int argc, char **argv)
{
  char exe[4096];
  ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
  lua_State *lua = luaL_newstate();
  if (!lua || length < 0) return fputs("umbra: cannot start: no memory, or no /proc\n", stderr), 125;
  exe[length] = 0;
  luaL_openlibs(lua);
  int status = luaL_loadbuffer(lua, start, sizeof start - 1, "=umbra");
  lua_pushstring(lua, exe);
  lua_createtable(lua, argc, 0);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(lua, argv[i]);
    lua_rawseti(lua, -2, i);
  }
  if (status == 0) status = lua_pcall(lua, 2, 1, 0);
  if (status != 0) fprintf(stderr, "umbra: %s\n", lua_isstring(lua, -1) ? lua_tostring(lua, -1) : "error without a message");
  int code = status == 0 ? (int)lua_tointeger(lua, -1) : 125;
  lua_close(lua);
  return code;
}
