-- exec: the command that runs a program for RISC-V Linux, or a Lua script with the library at hand.
-- SPDX-License-Identifier: MIT
local schema = require "umbra.schema"

local MISUSED, MISSING = 126, 127

local HELP = [[
usage: umbra exec [options] PROGRAM [arguments]
       umbra exec SCRIPT.lua [arguments]

Runs a program for riscv64 Linux (an ELF file, or a script that begins with #!) as a process of this host, or a Lua script in which
require "umbra.machine" and the other modules are found. Files are told apart by their first bytes. A script's arguments are in the
table `arg`, as with luajit; a whole number that it returns becomes the exit code.

  --sysroot DIR   where absolute paths of the program are tried first: its libraries, its interpreter
  --jail DIR      nothing outside of DIR is there for it (but the sysroot, to be read), and no sockets
  --env K=V       sets a variable of its environment; may be repeated
  --cpu ISA       instruction set [rv64gc_zba_zbb_zbs]
  --engine E      what runs it: t0 (an interpreter), t1 (translated code), auto (that where it is hot) [auto]
  --strace        print every system call to standard error
  --stats         print what was counted to standard error at the end
  --help          this text

The exit code is the program's; a program that a signal ends takes this process with it, so that a shell sees the same.
]]

local function refuse(code, text, ...)
  error({ text = select("#", ...) > 0 and text:format(...) or text, code = code }, 0)
end

-- Words -------------------------------------------------------------------------------------------------------------------

local WITH_VALUE = { sysroot = true, jail = true, env = true, cpu = true, engine = true }
local FLAGS = { strace = true, stats = true, help = true }
local NAMES = { "--sysroot", "--jail", "--env", "--cpu", "--engine", "--strace", "--stats", "--help" }

-- What stands before the program, and the place of the program among the words.
local function parse(args)
  local options, at = { env = {} }, 1
  while args[at] and args[at]:find "^%-" do
    local word = args[at]
    local name, value = word:match "^%-%-(%w+)=(.*)$"
    name = name or word == "-h" and "help" or word:match "^%-%-(%w+)$"
    if FLAGS[name] and not value then
      options[name] = true
    elseif WITH_VALUE[name] then
      if not value then
        at = at + 1
        value = args[at] or refuse(MISUSED, "exec: --%s takes a value (umbra exec --help)", name)
      end
      if name == "env" then options.env[#options.env + 1] = value else options[name] = value end
    else
      refuse(MISUSED, "exec: unknown option `%s`%s", word, schema.suggest(word, NAMES))
    end
    at = at + 1
  end
  return options, at
end

-- Lua scripts -------------------------------------------------------------------------------------------------------------

local function run_script(path, args)
  local text, why = require("umbra.image").read(path)
  if not text then refuse(why:find "No such file or directory" and MISSING or MISUSED, why) end
  local chunk, message = load(text:gsub("^#[^\n]*", ""), "@" .. path, "t")
  if not chunk then
    if path:find "%.lua$" then error(message, 0) end
    refuse(MISUSED, "%s: neither a program for riscv64 Linux nor a Lua script: %s", path, message)
  end
  local script_args = { [0] = path, unpack(args) }
  setfenv(chunk, setmetatable({ arg = script_args }, { __index = _G }))
  local result = chunk(unpack(script_args))
  if result == nil then return 0 end
  if type(result) == "number" and result % 1 == 0 and result >= 0 and result <= 255 then return result end
  refuse(MISUSED, "%s: returned %s: an exit code from 0 to 255 was expected", path, schema.show(result))
end

-- Programs ----------------------------------------------------------------------------------------------------------------

local function environment(added)
  local ffi, clib = require "ffi", require "umbra.clib"
  local environ = clib.host [[ extern char **um_exec_environ __asm__("environ"); ]].um_exec_environ
  local env, i = {}, 0
  while environ[i] ~= nil do
    local key, value = ffi.string(environ[i]):match "^([^=]+)=(.*)$"
    if key then env[key] = value end
    i = i + 1
  end
  for _, word in ipairs(added) do
    local key, value = word:match "^([^=]+)=(.*)$"
    env[key or refuse(MISUSED, "exec: --env %s: must look like NAME=value", word)] = value
  end
  return env
end

local function run_program(options, path, args)
  local linux, process = require "umbra.linux", require "umbra.process"
  local p = linux.new {
    elf = path, args = args, sysroot = options.sysroot, jail = options.jail, isa = options.cpu, engine = options.engine,
    strace = options.strace, env = environment(options.env),
  }
  return process.finish(p, options.stats and function(counts, seconds) io.stderr:write(process.stats(counts, seconds)) end)
end

local function run(args)
  local options, at = parse(args)
  if options.help then
    io.write(HELP)
    return 0
  end
  local path = args[at] or refuse(MISUSED, "exec: which program or script? (umbra exec --help)")
  local rest = { unpack(args, at + 1) }
  local found = options.sysroot and require("umbra.linux").find(path, options.sysroot) or path
  local file, why = io.open(found, "rb")
  if not file then refuse(why:find "No such file or directory" and MISSING or MISUSED, "cannot open " .. why) end
  local head = file:read(64) or ""
  file:close()
  local interpreter = head:match "^#!%s*%S*/env%s+(%S+)" or head:match "^#!%s*%S-([^/%s]*)%f[%s%z]"
  if head:find "^\127" or interpreter and not interpreter:find "^lua" and interpreter ~= "umbra" then return run_program(options, path, rest) end
  return run_script(path, rest)
end

return { summary = "run a RISC-V Linux program, or a Lua script with the library at hand", run = run }
