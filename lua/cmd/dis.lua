-- dis: the command that shows instructions as text.
-- SPDX-License-Identifier: MIT
local dis    = require "umbra.dis"
local bits   = require "umbra.bits"
local image  = require "umbra.image"
local schema = require "umbra.schema"
local cmdline = require "umbra.words"
local symbols = require "umbra.symbols"

local MISUSED, MISSING, GONE, UNKNOWN = 126, 127, 141, 1

local HELP = [[
usage: umbra dis FILE|HEX... [--isa=ISA] [--at=ADDRESS] [--symbols=FILE]

Shows the instructions of a file, or of words given in hexadecimal: those of an ELF file's executable sections, with its
symbols; of any other file, from its first byte on.

  --isa=ISA      only what this instruction set has, like rv64gc_zba; without it everything that is known
  --at=ADDRESS   where the first word, or the first byte of a file that is no ELF file, lies (0)
  --symbols=FILE names from an ELF file, a System.map or a Linux Image, for labels and for where jumps go
  --help         this text

A word that is no instruction is shown as .2byte or .4byte; the exit code is then 1, unless it came from a file.
]]

local VALUES = { ["--isa"] = "isa", ["--at"] = "at", ["--symbols"] = "symbols" }
local SWITCHES = { ["--help"] = "help", ["-h"] = "help" }
local refuse = cmdline.refuse

-- The bytes of a word: two when it fits and begins like a compressed instruction, else four.
local function bytes_of(word)
  local digits = word:match "^0[xX](%x+)$" or word:match "^(%x+)$"
  if not digits or #digits > 8 then return end
  local value = tonumber(digits, 16)
  local count = value < 0x10000 and value % 4 ~= 3 and 2 or 4
  local bytes = {}
  for i = 1, count do bytes[i] = string.char(math.floor(value / 256 ^ (i - 1)) % 256) end
  return table.concat(bytes)
end

-- Writes lines until nobody reads them: false then.
local function print_lines(lines, labels)
  local unknown = false
  for line in lines do
    local text = tostring(line) .. "\n"
    for _, name in ipairs(labels and labels(line.at) or {}) do text = ("\n%s <%s>:\n%s"):format(bits.hex(line.at):sub(3), name, text) end
    if not io.write(text) then return false end
    unknown = unknown or not line.known
  end
  return true, unknown
end

local function show_file(path, bytes, options)
  local sections = dis.parse(bytes, path, options)
  if #sections == 0 then refuse(MISUSED, "%s: ELF file without executable sections", path) end
  for _, section in ipairs(sections) do
    if not io.write(("\n%s: %s\n"):format(path, section.name)) then return GONE end
    if not print_lines(section:lines(), function(at) return section:labels(at) end) then return GONE end
  end
  return 0
end

local function run(args)
  local options, words = cmdline.parse("dis", args, VALUES, SWITCHES)
  if options.help then
    io.write(HELP)
    return 0
  end
  if #words == 0 then refuse(MISUSED, "dis: which file or words? (umbra dis --help)") end
  local given = { isa = options.isa, at = options.at }
  schema.check(given, dis.OPTIONS, "dis")
  given.symbols = options.symbols and symbols.open(options.symbols)
  local pieces = {}
  for _, word in ipairs(words) do
    local bytes, why = image.read(word)
    local piece = not bytes and bytes_of(word)
    if bytes then
      local code = show_file(word, bytes, given)
      if code ~= 0 or not io.stdout:flush() then return GONE end
    elseif piece then pieces[#pieces + 1] = piece
    else refuse(why:find "No such file or directory" and MISSING or MISUSED, "%s%s", why,
      word:find "^%w+$" and ", and it is no word of at most 8 hexadecimal digits" or "") end
  end
  local going, unknown = print_lines(dis.bytes(table.concat(pieces), given))
  if not going or not io.stdout:flush() then return GONE end
  return unknown and UNKNOWN or 0
end

return { summary = "show instructions as text", run = run }
