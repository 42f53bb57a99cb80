-- symbols: the command that prints names of guest addresses, and makes an ELF file of them.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local bits    = require "umbra.bits"
local schema  = require "umbra.schema"
local cmdline = require "umbra.words"
local symbols = require "umbra.symbols"

local MISUSED, GONE, UNKNOWN = 126, 141, 1

local HELP = [[
usage: umbra symbols FILE [NAME|ADDRESS ...] [-o FILE.elf] [--offset=N]

Prints the symbols of an ELF file, a System.map or a Linux Image: all of them as nm and System.map have them, or those that
are asked for, by name or by address.

  -o FILE.elf   write an ELF file that holds nothing but the symbols, for a debugger's symbol-file
  --offset=N    added to every address: where the code runs minus where it was linked
  --help        this text
]]

local VALUES = { ["-o"] = "-o", ["--offset"] = "--offset" }
local SWITCHES = { ["--help"] = "help", ["-h"] = "help" }
local refuse = cmdline.refuse

local function print_all(names)
  for symbol in names:each() do
    if not io.write(("%016x %s %s\n"):format(bits.u64(symbol.at), symbol.kind, symbol.name)) then return false end
  end
  return io.stdout:flush()
end

-- "0xffffffff80c008bc <start_kernel>" a word. The exit code says whether each has a name.
local function print_some(names, words)
  local code = 0
  for i = 2, #words do
    local at = names:resolve(words[i], "symbols")
    if not names:name(at) then code = UNKNOWN end
    if not io.write(names:show(at), "\n") then return GONE end
  end
  return code
end

local function run(args)
  local options, words = cmdline.parse("symbols", args, VALUES, SWITCHES)
  if options.help then
    io.write(HELP)
    return 0
  end
  if not words[1] then refuse(MISUSED, "symbols: of which file? (umbra symbols --help)") end
  local offset, wanted = schema.convert({ type = "address" }, (options["--offset"] or "0"):gsub("^%-", ""), nil)
  if not offset then refuse(MISUSED, "--offset %s: must be %s", options["--offset"], wanted) end
  if options["--offset"] and options["--offset"]:find "^%-" then offset = -ffi.cast("int64_t", bits.u64(offset)) end
  local names = symbols.open(words[1], offset)
  if options["-o"] then cmdline.write(options["-o"], names:elf(), "symbols") end
  if words[2] then return print_some(names, words) end
  if not options["-o"] and not print_all(names) then return GONE end
  return 0
end

return { summary = "print names of guest addresses", run = run }
