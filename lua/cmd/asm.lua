-- asm: the command that assembles text.
-- SPDX-License-Identifier: MIT
local asm    = require "umbra.asm"
local bits   = require "umbra.bits"
local image  = require "umbra.image"
local schema = require "umbra.schema"
local cmdline = require "umbra.words"

local MISUSED, MISSING, GONE = 126, 127, 141

local HELP = [[
usage: umbra asm TEXT|FILE [-o OUT] [--elf] [--hex] [--isa=ISA] [--at=ADDRESS] [--entry=SYMBOL]

Assembles a file, or a text like "li a0, 1; ret" ("-" stands for standard input), and shows address, word and line.

  -o OUT         write the bytes to OUT instead
  --elf          with -o: write a static ELF file with the symbols
  --entry=SYMBOL with --elf: where execution begins; _start, else the first byte of code
  --hex          show nothing but the words, in hexadecimal
  --isa=ISA      only what this instruction set has, like rv64gc_zba; without it everything that is known
  --at=ADDRESS   address of the first byte (0)
  --help         this text

What is wrong is told as FILE:LINE:COLUMN.
]]

local VALUES = { ["-o"] = "out", ["--isa"] = "isa", ["--at"] = "at", ["--entry"] = "entry" }
local SWITCHES = { ["--elf"] = "elf", ["--hex"] = "hex", ["--help"] = "help", ["-h"] = "help" }

local refuse = cmdline.refuse

-- The text that `word` is or names, and what messages call it. A word with a blank, or one that names no file and looks like none, is
-- the text itself.
local function text_of(word)
  if word == "-" then return io.read "*a", "standard input" end
  local text, why = image.read(word)
  if text then return text, word end
  if word:find "[%s;,:]" or not word:find "/" and not word:find "%.[sS]$" and not word:find "%.asm$" then return word, "text" end
  refuse(why:find "No such file or directory" and MISSING or MISUSED, "%s", why)
end

-- "80000000:  00150513  addi a0, a0, 1": what each line of the text became, one word a row.
local function listing(result, text)
  local lines, rows = {}, {}
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do lines[#lines + 1] = line end
  for i, word in ipairs(asm.words(result)) do
    local line = word.line
    local said = word.first and lines[line.line]:sub(line.column, (line.behind or 0) - 1):match "^%s*(.-)[%s;]*$" or ""
    rows[i] = ("%8s:  %-8s  %s"):format(bits.hex(word.at):sub(3), word.text, said):gsub("%s+$", "") .. "\n"
  end
  return table.concat(rows)
end

local function hexadecimal(result)
  local rows = {}
  for _, word in ipairs(asm.words(result)) do
    if word.text ~= "" then rows[#rows + 1] = word.text .. "\n" end
  end
  return table.concat(rows)
end

local function run(args)
  local options, words = cmdline.parse("asm", args, VALUES, SWITCHES)
  if options.help then
    io.write(HELP)
    return 0
  end
  if #words == 0 then refuse(MISUSED, "asm: which text or file? (umbra asm --help)") end
  if #words > 1 then refuse(MISUSED, "asm: one text or file at a time, not also `%s` (a text with blanks stands in quotes)", words[2]) end
  if options.elf and not options.out then refuse(MISUSED, "--elf: -o OUT says where to") end
  if options.entry and not options.elf then refuse(MISUSED, "--entry goes with --elf") end
  if options.hex and options.out then refuse(MISUSED, "--hex shows, -o writes: one of them") end
  local given = { isa = options.isa, at = options.at }
  schema.check(given, asm.OPTIONS, "asm")
  local text
  text, given.name = text_of(words[1])
  local result = asm.assemble(text, given)
  if options.out then
    local bytes = options.elf and asm.elf(result, { entry = options.entry }) or result.bytes
    cmdline.write(options.out, bytes)
    return 0
  end
  local shown = options.hex and hexadecimal(result) or listing(result, text)
  return io.write(shown) and io.stdout:flush() and 0 or GONE
end

return { summary = "assemble a text or a file", run = run }
