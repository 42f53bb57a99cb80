-- main: the umbra command: finds the subcommand and turns whatever goes wrong into one line and an exit code.
--
-- A subcommand is lua/cmd/NAME.lua, which returns { summary = "what it does", run = function(args) return exit_code end }.
-- SPDX-License-Identifier: MIT
local ffi    = require "ffi"
local clib   = require "umbra.clib"
local host   = require "umbra.host"
local schema = require "umbra.schema"

local MISUSED, MISSING, BUG, GONE = 126, 127, 125, 141

local lua = debug.getinfo(1, "S").source:match("^@(.*)umbra/main%.lua$")

-- One line of text for people: no line breaks, no control characters.
local function say(text)
  io.stderr:write("umbra: ", (text:gsub("%s*\n%s*", "; "):gsub("%c", "?")), "\n")
end

local function commands()
  local names = {}
  for name in require("luv").fs_scandir_next, require("luv").fs_scandir(lua .. "cmd") do
    names[#names + 1] = name:match "^([%w_]+)%.lua$"
  end
  table.sort(names)
  return names
end

local function usage()
  local lines = { "usage: umbra COMMAND [arguments]", "       umbra --version", "" }
  for _, name in ipairs(commands()) do lines[#lines + 1] = ("  %-8s %s"):format(name, require("cmd." .. name).summary) end
  lines[#lines + 1] = "\numbra COMMAND --help says more about one of them."
  return table.concat(lines, "\n") .. "\n"
end

-- What was raised, as text. A table may bring its exit code along: { text =, code = }.
local function explain(raised)
  if type(raised) == "table" and raised.text then return raised.text, raised.code end
  if type(raised) ~= "string" then return "raised " .. schema.show(raised) end
  local module = raised:match "^(.-module '[^']*' not found):\n"           -- Lua goes on with every place it looked at
  return module or raised, raised:find "No such file or directory" and MISSING or nil
end

-- Runs f(...) and returns its exit code; what it raises becomes one line. UMBRA_TRACE=1 shows where it came from.
local function guarded(f, ...)
  local trace
  local function handler(raised)
    if os.getenv "UMBRA_TRACE" == "1" then trace = debug.traceback("", 2) end
    return raised
  end
  local args = { ... }
  local ok, result = xpcall(function() return f(unpack(args)) end, handler)
  if ok then return tonumber(result) or 0 end
  local text, code = explain(result)
  if text:find "^[^:]*lua/umbra/[%w_/]+%.lua:%d+: " or text:find "^[^:]*lua/cmd/[%w_]+%.lua:%d+: " or text:find "^[^:]*lua/devices%.lua:%d+: " then
    text, code = "bug: " .. text, BUG               -- an error inside the toolkit is never the user's
  end
  say(text)
  if trace then io.stderr:write(trace, "\n") end
  return code or MISUSED
end

local function dispatch(args)
  local name = args[1]
  if name == nil then
    io.stderr:write(usage())
    return MISUSED
  end
  if name == "--version" or name == "version" then
    io.write("umbra ", ffi.string(clib.C.um_version()), "\n")
    return 0
  end
  local rest = { unpack(args, 2) }
  if name == "help" and rest[1] then                -- umbra help run FILE: umbra run FILE --help
    name = table.remove(rest, 1)
    rest[#rest + 1] = "--help"
  end
  if name == "help" or name == "--help" or name == "-h" then
    io.write(usage())
    return 0
  end
  -- Looked for by name, not in the list of all: that takes luv, whose descriptors a program that is run would meet.
  local file = name:find "^[%w_]+$" and io.open(lua .. "cmd/" .. name .. ".lua")
  if file then
    file:close()
    return require("cmd." .. name).run(rest)
  end
  local names = commands()
  say(("unknown command `%s`%s"):format(name, schema.suggest(name, names)))
  return MISUSED
end

-- args: the words after `umbra`. Returns the exit code.
return function(args)
  host.keep_standard_files()
  host.ignore_sigpipe()
  local code = guarded(dispatch, args)
  local trouble = host.output_trouble()
  if not trouble or code ~= 0 and code ~= GONE then return code end
  if trouble == "gone" then return GONE end
  say "standard output takes no more: No space left on device, or an error"
  return BUG
end
