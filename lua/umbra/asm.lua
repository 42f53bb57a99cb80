-- asm: assembler for RISC-V: from text to bytes, to be loaded into a machine or written as an ELF file.
--
--   local program = asm.assemble("start: li a0, 42; ret", { at = 0x80000000 })
--   program.bytes, program.symbols.start            -- 8 bytes, 0x80000000
--   asm.elf(program)                                -- the bytes of an ELF file
-- SPDX-License-Identifier: MIT
local Assembly = require "umbra.asm.assembly"
local bits     = require "umbra.bits"
local elf      = require "umbra.asm.elf"
local fault    = require "umbra.fault"
local number   = require "umbra.asm.number"
local schema   = require "umbra.schema"

local asm = {}

asm.OPTIONS = {
  { "at", type = "address", default = 0, help = "address of the first byte" },
  { "isa", type = "string", help = "instruction set, like rv64gc_zba; without it everything that is known" },
  { "name", type = "string", default = "asm", help = "what messages call the text" },
}

local ELF = { { "entry", type = "any", help = "symbol or address where execution begins; _start, else the first byte of code" } }

local function plain(value) return bits.number(number.unsigned(value)) end

-- One string for all sections with bytes, zeros between them.
local function image_of(at, sections)
  local pieces, size = {}, 0
  for _, section in ipairs(sections) do
    if section.flags ~= "awz" and section.size > 0 then
      local place = tonumber(number.binary("-", section.at, at))
      pieces[#pieces + 1] = ("\0"):rep(place - size) .. section.bytes
      size = place + section.size
    end
  end
  return table.concat(pieces)
end

local function symbols_of(assembly, result)
  for _, name in ipairs(assembly.symbol_names) do
    local symbol = assembly.symbols[name]
    if symbol.kind and name:sub(1, 1) ~= "\1" then
      result.symbols[name] = plain(symbol.value)
      result.table[#result.table + 1] = { name = name, value = symbol.value, section = symbol.section and symbol.section.name, bind = symbol.bind,
        type = symbol.type, size = symbol.size }
    elseif symbol.bind == "global" then
      assembly.line = symbol.bind_line
      assembly:fail(symbol.bind_at, "`%s` is global, but defined nowhere", name)
    end
  end
end

-- Assembles `text`. options: at, isa, name. Returns
--   bytes     all sections with bytes, from address `at` on, zeros between them
--   at        the address of the first byte
--   memory_bytes  the size with what has no bytes (.bss)
--   symbols   { name = address or value }
--   sections  { name, at, size, bytes, flags } in the order of addresses
--   lines     { at, size, section, line, column, behind } and code (true for instructions) of everything that became bytes: number of the line in
--             `text`, columns of the statement's begin and of what follows it (nil: made by a macro on that line)
-- What is wrong is refused as "NAME:LINE:COLUMN: why".
function asm.assemble(text, options)
  options = schema.check(options or {}, asm.OPTIONS, "asm")
  if type(text) ~= "string" then fault.raise("asm.assemble: the text must be a string, not %s", schema.show(text)) end
  local assembly = Assembly.new(text, options, function(what) fault.raise("%s:%s", options.name, what) end)
  assembly:read()
  assembly:lay_out()
  assembly:emit()
  local result = { at = options.at, symbols = {}, sections = {}, lines = {}, table = {}, short = assembly.short }
  for i, section in ipairs(assembly.order) do
    result.sections[i] = {
      name = section.name, at = plain(section.at), size = section.size, bytes = section.bytes, flags = section.flags, align = section.align,
    }
    result.memory_bytes = tonumber(number.binary("-", number.binary("+", section.at, section.size), options.at))
  end
  for i, line in ipairs(assembly.lines) do
    line.at = plain(line.at)
    result.lines[i] = line
  end
  symbols_of(assembly, result)
  result.bytes = image_of(options.at, result.sections)
  return result
end

-- The bytes of a static ELF file with `result` (of asm.assemble) and its symbols. options.entry: a symbol or an address.
function asm.elf(result, options)
  local entry = schema.check(options or {}, ELF, "asm.elf").entry
  if type(entry) == "string" then
    local names = {}
    for i, symbol in ipairs(result.table) do names[i] = symbol.name end
    if not result.symbols[entry] then fault.raise("asm.elf: no symbol `%s`%s", entry, schema.suggest(entry, names)) end
    entry = result.symbols[entry]
  elseif entry ~= nil and not bits.is_integer(entry) then
    fault.raise("`asm.elf.entry` must be a symbol or an address, not %s", schema.show(entry))
  end
  if entry == nil then entry = result.symbols._start or result.sections[1].at end
  return elf.write(result, number.from(entry))
end

-- The words of `result` in order: { at, text = hexadecimal digits, line = its entry in result.lines, first = it is that entry's first }.
-- One for each instruction; data are cut into pieces of at most 4 bytes, what has no bytes has the text "".
function asm.words(result)
  local words, sections = {}, {}
  for _, section in ipairs(result.sections) do sections[section.name] = section end
  for _, line in ipairs(result.lines) do
    local section = sections[line.section]
    local from, done = tonumber(bits.u64(line.at) - bits.u64(section.at)), 0
    while done < line.size do
      local low = section.bytes:byte(from + done + 1)
      local size = not low and line.size or math.min(line.code and low % 4 ~= 3 and 2 or 4, line.size - done)
      local text = section.bytes:sub(from + done + 1, from + done + size):reverse():gsub(".", function(c) return ("%02x"):format(c:byte()) end)
      words[#words + 1] = { at = bits.number(bits.u64(line.at) + done), text = text, line = line, first = done == 0 }
      done = done + size
    end
  end
  return words
end

return asm
