-- repl: the command for a prompt with a machine that runs meanwhile.
-- SPDX-License-Identifier: MIT
local boot    = require "umbra.boot"
local machine = require "umbra.machine"
local param   = require "umbra.param"
local schema  = require "umbra.schema"

local MISUSED = 126
local DEFAULT = "riscv-virt"

local HELP = [[
usage: umbra repl [MACHINE] [key=value ...] [options]

Lines of Lua with a machine (a file, or one that comes along, by name; without any, riscv-virt) as m, which runs meanwhile. From a pipe:
runs the lines and ends, with exit code 126 at the first that fails.

  -S            the machine stands still at first: cont() runs it
  --none        no machine
  --help        this text and the machine's parameters
]]

local OPTIONS = { "-S", "--none", "--help", "-h" }

local function misuse(text, ...)
  error({ text = text:format(...), code = MISUSED }, 0)
end

local function parse(args)
  local options, given = {}, {}
  for _, word in ipairs(args) do
    local key, value = word:match "^([%a_][%w_-]*)=(.*)$"
    if word == "-S" then options.wait = true
    elseif word == "--none" then options.none = true
    elseif word == "--help" or word == "-h" then options.help = true
    elseif word:find "^%-." then misuse("repl: unknown option `%s`%s", word, schema.suggest(word, OPTIONS))
    elseif key then
      key = key:gsub("-", "_")
      if given[key] ~= nil then misuse("%s: `%s` is given twice", word, key) end
      given[key] = value
    elseif options.file then misuse("repl: two machines: %s and %s", options.file, word)
    else options.file = word end
  end
  if options.none and (options.file or next(given) ~= nil) then misuse "repl: --none goes with no machine and no parameters" end
  return options, given
end

local function run(args)
  local options, given = parse(args)
  if options.help and not options.file then
    io.write(HELP)
    return 0
  end
  if options.none then return require("umbra.repl").run(nil, {}) end
  local file = options.file or DEFAULT
  local description, rows = machine.describe(file, given, { lenient = options.help })
  if options.help then
    io.write(HELP, "\nParameters of ", file, ":\n", table.concat(param.help(rows), "\n"), "\n")
    return 0
  end
  if description.process then misuse("repl: %s is a process, which has no machine to look at: umbra run", file) end
  local _, problem = boot.guest(description.boot)
  if problem then error(problem, 0) end
  local m = machine.build(description)
  local ok, code = pcall(require("umbra.repl").run, m, { start = not options.wait })
  m:close()
  if not ok then error(code, 0) end
  return code
end

return { summary = "a prompt with a machine that runs meanwhile", run = run }
