-- dis: text of instructions: of single words, of bytes in a row, of the code in ELF files.
--
--   dis.word(0x00150513)                          -- "addi a0, a0, 1", 4
--   for line in dis.bytes("\1\0\19\5\21\0", { at = 0x80000000 }) do print(line) end
--   for _, section in ipairs(dis.file("hello.elf")) do for line in section:lines() do print(line.at, line.text) end end
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local cpu    = require "umbra.cpu"
local fault  = require "umbra.fault"
local image  = require "umbra.image"
local schema = require "umbra.schema"
local symbols = require "umbra.symbols"

local C = clib.C

local dis = {}

dis.OPTIONS = {
  { "isa", type = "string", help = "instruction set, like rv64gc_zba; without it everything that is known" },
  { "at", type = "address", default = 0, help = "address of the first byte" },
  { "symbols", type = "table", help = "names of addresses (umbra.symbols), for where jumps go" },
}

local TEXT_BYTES = 128
local text_t = ffi.typeof "char[?]"

local function mask_of(isa)
  return cpu.isa_mask(isa or "rv64i_" .. table.concat(cpu.extensions(), "_"))
end

local function decode(word, at, mask, buffer)
  local length = C.um_riscv_disassemble(word, at, mask, buffer, TEXT_BYTES)
  if length > 0 then return ffi.string(buffer), length end
end

-- The text and the length in bytes of the instruction in `word` (a compressed one in its low half); nil when it is none.
function dis.word(word, options)
  options = schema.check(options or {}, dis.OPTIONS, "dis.word")
  if type(word) ~= "number" or word % 1 ~= 0 or word < 0 or word >= 2 ^ 32 then
    fault.raise("dis.word: a word of at most 32 bits, not %s", schema.show(word))
  end
  return decode(word, bits.u64(options.at), mask_of(options.isa), text_t(TEXT_BYTES))
end

local Line = {}
Line.__index = Line

-- "80000000:  00150513  addi a0, a0, 1", and " <name>" behind a jump to where a symbol lies
function Line:__tostring()
  local goal = self.goal and " <" .. self.goal .. ">" or ""
  return ("%8s:  %-8s  %s%s"):format(bits.hex(self.at):sub(3), bit.tohex(self.word, 2 * self.length), self.text, goal)
end

-- An iterator over `bytes`: { at =, word =, length = 2 or 4, text =, known = true, goal = name of where it jumps }. What is no
-- instruction is shown as ".2byte 0x..." or ".4byte 0x...", as long as its low bits say it is, with known = false; a single byte at the end as ".byte".
function dis.bytes(bytes, options)
  options = schema.check(options or {}, dis.OPTIONS, "dis.bytes")
  local mask, buffer, at, place = mask_of(options.isa), text_t(TEXT_BYTES), bits.u64(options.at), 1
  local target = ffi.new "uint64_t[1]"
  return function()
    local a, b, c, d = bytes:byte(place, place + 3)
    if not a then return end
    local length = not b and 1 or a % 4 == 3 and d and 4 or 2
    local word = a + (length > 1 and b * 0x100 or 0) + (length > 2 and c * 0x10000 + d * 0x1000000 or 0)
    local line = setmetatable({ at = bits.number(at), word = word, length = length }, Line)
    line.text = length == (a % 4 == 3 and 4 or 2) and decode(word, at, mask, buffer)
    line.known = line.text and true or false
    if options.symbols and C.um_riscv_target(word, at, mask, target) then line.goal = options.symbols:name(target[0]) end
    if not line.text then line.text = (".%sbyte 0x%s"):format(length > 1 and length or "", bit.tohex(word, 2 * length)) end
    at, place = at + length, place + length
    return line
  end
end

-- Sections of ELF files ----------------------------------------------------------------------------------------------------

local Section = {}
Section.__index = Section

-- The section's instructions, as dis.bytes gives them.
function Section:lines(options)
  return dis.bytes(self.bytes, { at = self.at, isa = options and options.isa or self.isa, symbols = self.symbols })
end

local Reader = {}
Reader.__index = Reader

-- `count` bytes at `offset` of the file as a number; refuses what is not there.
function Reader:number(offset, count)
  if type(offset) ~= "number" or offset + count > #self.bytes then fault.raise("%s: broken ELF file: its tables reach past its end", self.name) end
  local value = 0ULL
  for i = count, 1, -1 do value = value * 256 + self.bytes:byte(offset + i) end
  return bits.number(value)
end

function Reader:piece(offset, size)
  if type(offset) ~= "number" or type(size) ~= "number" or offset + size > #self.bytes then
    fault.raise("%s: broken ELF file: a section lies outside of the file", self.name)
  end
  return self.bytes:sub(offset + 1, offset + size)
end

local RISCV, SYMBOLS, NO_BITS, EXECUTABLE, OBJECT = 243, 2, 8, 4, 1

local function sections_of(self)
  local wide = self:number(4, 1) == 2
  local w = wide and 8 or 4
  local at, size, count, names = self:number(wide and 40 or 32, w), self:number(wide and 58 or 46, 2), self:number(wide and 60 or 48, 2),
    self:number(wide and 62 or 50, 2)
  local rows = {}
  for i = 0, count - 1 do
    local row = type(at) == "number" and at + i * size
    rows[i] = {
      name = self:number(row, 4), kind = self:number(row + 4, 4), flags = self:number(row + 8, w), at = self:number(row + 8 + w, w),
      offset = self:number(row + 8 + 2 * w, w), size = self:number(row + 8 + 3 * w, w), link = self:number(row + 8 + 4 * w, 4),
    }
  end
  local strings = rows[names] and self:piece(rows[names].offset, rows[names].size) or ""
  for i = 0, count - 1 do rows[i].name = strings:match("^[^%z]*", rows[i].name + 1) or "" end
  return rows, count, wide
end

-- { [address] = { name, ... } } of the file's functions and labels.
local function symbols_of(self, rows, count, wide)
  local found = {}
  for i = 0, count - 1 do
    local section = rows[i]
    local strings = section.kind == SYMBOLS and rows[section.link]
    if strings then
      local text = self:piece(strings.offset, strings.size)
      local size = wide and 24 or 16
      local all = self:piece(section.offset, section.size)
      for j = 1, math.floor(#all / size) - 1 do
        local row = section.offset + j * size
        local info, index = self:number(row + (wide and 4 or 12), 1), self:number(row + (wide and 6 or 14), 2)
        local name = text:match("^[^%z]*", self:number(row, 4) + 1) or ""
        local value = self:number(row + (wide and 8 or 4), wide and 8 or 4)
        if info % 16 <= 2 and index > 0 and index < 0xff00 and name ~= "" and not name:match "^%$[xd]" then
          local key = index .. ":" .. bits.hex(value)
          found[key] = found[key] or {}
          table.insert(found[key], name)
        end
      end
    end
  end
  return found
end

-- The code in `bytes`, which `name` stands for in refusals: an ELF file's executable sections (segments, when it has no sections),
-- or all of it as one section at options.at. A section: { name, at, bytes, labels(at) -> names, lines() }.
function dis.parse(bytes, name, options)
  options = schema.check(options or {}, dis.OPTIONS, "dis")
  local found = {}
  local function named(where)                        -- by the symbols given
    local label = options.symbols and options.symbols:name(where)
    return label and not label:find "%+0x%x+$" and { label } or {}
  end
  local function add(title, at, code, labels, index)
    found[#found + 1] = setmetatable({
      name = title, at = at, bytes = code, isa = options.isa, symbols = options.symbols,
      labels = function(_, where) return labels and labels[index .. ":" .. bits.hex(where)] or named(where) end,
    }, Section)
  end
  if bytes:sub(1, 4) ~= "\127ELF" then
    add(name, options.at, bytes)
    return found
  end
  local self = setmetatable({ bytes = bytes, name = name }, Reader)
  if self:number(5, 1) ~= 1 or self:number(18, 2) ~= RISCV then fault.raise("%s: ELF file, but not for RISC-V", name) end
  local rows, count, wide = sections_of(self)
  local labels = symbols_of(self, rows, count, wide)
  if not options.symbols and self:number(16, 2) ~= OBJECT then         -- addresses in an object file are each section's own
    options.symbols = symbols.new()
    options.symbols:parse(bytes, name)
  end
  for i = 0, count - 1 do
    local row = rows[i]
    if bit.band(row.flags, EXECUTABLE) ~= 0 and row.kind ~= NO_BITS and row.size > 0 then
      add(row.name, row.at, self:piece(row.offset, row.size), labels, i)
    end
  end
  if count == 0 then
    for i, segment in ipairs(image.parse(bytes, name).segments) do
      if segment.flags % 2 == 1 then add("segment " .. i, segment.virtual_at, self:piece(segment.offset, segment.file_bytes)) end
    end
  end
  return found
end

-- The same of a file.
function dis.file(path, options)
  local bytes, why = image.read(path)
  if not bytes then fault.raise("%s", why) end
  return dis.parse(bytes, path, options)
end

return dis
