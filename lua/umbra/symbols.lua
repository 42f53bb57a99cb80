-- symbols: names of guest addresses: from ELF files, from a System.map, and from a Linux Image itself.
--
--   local names = symbols.open "build/hello.elf"
--   print(bits.hex(names:address "main"), names:name(0x80000010))      -- 0x80000004  main+0xc
--   for symbol in names:each() do print(bits.hex(symbol.at), symbol.kind, symbol.name) end
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local address = require "umbra.address"
local bits    = require "umbra.bits"
local clib    = require "umbra.clib"
local elf     = require "umbra.asm.elf"
local fault   = require "umbra.fault"
local handle  = require "umbra.handle"
local image   = require "umbra.image"
local number  = require "umbra.asm.number"
local schema  = require "umbra.schema"

local C = clib.C

local symbols = {}
local Symbols = { noun = "symbols" }
Symbols.__index = Symbols

local TEXT_BYTES = 1100
local text_t = ffi.typeof "char[?]"

-- A table without any names.
function symbols.new()
  local ptr = C.um_symbols_new()
  if ptr == nil then fault.raise "symbols: the host has no memory for them" end
  return handle.new(Symbols, ptr, C.um_symbols_free, { row = ffi.new "struct um_symbol", why = ffi.new "struct um_fault" })
end

-- Adds what the bytes of a file name (ELF, Linux Image, System.map); `name` stands for them in refusals, `offset` is added to every
-- address. Returns how many there were. Names of a file that is added later hide those of earlier ones.
function Symbols:parse(bytes, name, offset)
  local count = C.um_symbols_add(self.ptr, bytes, #bytes, address.check(offset or 0, "offset"), self.why)
  if count < 0 then fault.raise("symbols: %s: %s", name, ffi.string(self.why.text)) end
  return count
end

-- The same of a file; refuses one without names.
function Symbols:add(path, offset)
  if type(path) ~= "string" then fault.raise("symbols: the path of a file is needed, not %s", schema.show(path)) end
  local bytes, why = image.read(path)
  if not bytes then fault.raise("symbols: %s", why) end
  local count = self:parse(bytes, path, offset)
  if count == 0 then fault.raise("symbols: %s: there are none in it", path) end
  return count
end

-- symbols.open(path, offset): the names in one file.
function symbols.open(path, offset)
  local self = symbols.new()
  local ok, text = pcall(self.add, self, path, offset)
  if ok then return self end
  self:close()
  error(text, 0)
end

-- From now on the `size` addresses from `from` on are called what those from `to` on are: where code lies before it is mapped.
function Symbols:alias(from, size, to)
  fault.check(C.um_symbols_alias(self.ptr, address.check(from, "from"), address.check(size, "size"), address.check(to, "to"), self.why), self.why)
end

local function row_of(row)
  return { name = ffi.string(row.name), at = bits.number(row.at), size = bits.number(row.size), kind = string.char(row.kind) }
end

Symbols.close = handle.close

function Symbols:count() return C.um_symbols_count(self.ptr) end

-- An iterator by address: { name =, at =, size =, kind = } with nm's letter as kind ("T" code, "D" data; small: not global).
function Symbols:each()
  local index = -1
  return function()
    index = index + 1
    if C.um_symbols_row(self.ptr, index, self.row) then return row_of(self.row) end
  end
end

-- The address of `name`, or nil.
function Symbols:address(name)
  if type(name) ~= "string" then fault.raise("symbols: a name is needed, not %s", schema.show(name)) end
  if C.um_symbols_lookup(self.ptr, name, self.row) then return bits.number(self.row.at) end
end

-- "start_kernel+0x10", or nil where no symbol lies.
function Symbols:name(at)
  local text = text_t(TEXT_BYTES)
  local length = C.um_symbols_text(self.ptr, address.check(at, "address"), text, TEXT_BYTES)
  if length > 0 then return ffi.string(text, length) end
end

-- "0xffffffff80c008bc <start_kernel>", or the number alone.
function Symbols:show(at)
  local name = self:name(at)
  return bits.hex(at) .. (name and " <" .. name .. ">" or "")
end

-- What a person means by a place: an address, a name, or "name+0x10". `what` names it in refusals.
function Symbols:resolve(place, what)
  if bits.is_integer(place) then return place end
  if type(place) ~= "string" then fault.raise("%s must be an address or the name of a symbol, not %s", what, schema.show(place)) end
  local value = bits.parse(place)
  if value then return value end
  local name, offset = place, 0
  local at = self:address(name)
  if not at then
    local own, sign, count = place:match "^(.-)([+-])(%w+)$"
    count = tonumber(count)
    if count then name, at, offset = own, self:address(own), sign == "-" and -count or count end
  end
  if at then return bits.number(bits.u64(at) + bits.u64(offset)) end
  if self:count() == 0 then fault.raise("%s: no symbol %s: there are none here (symbols = FILE gives some)", what, schema.show(name)) end
  local known = {}
  for symbol in self:each() do known[#known + 1] = symbol.name end
  local near = schema.nearest(name, known)
  fault.raise("%s: no symbol %s%s", what, schema.show(name), near and (", did you mean `%s`?"):format(near) or "")
end

-- The bytes of an ELF file that holds these names and nothing else, as a debugger reads them.
function Symbols:elf()
  local low, high, list = nil, nil, {}
  for symbol in self:each() do
    local code = symbol.kind:lower() == "t" or symbol.kind:lower() == "w"
    if code then
      low  = low or symbol.at
      high = bits.number(bits.u64(symbol.at) + bits.u64(symbol.size))
    end
    list[#list + 1] = {
      name = symbol.name, value = number.from(bits.u64(symbol.at)), size = symbol.size,
      section = code and ".text" or nil, type = code and "function" or "object",
      bind = symbol.kind:lower() == "w" and "weak" or symbol.kind:upper() == symbol.kind and "global" or "own",
    }
  end
  local sections = {}
  if low then
    local size = tonumber(bits.u64(high) - bits.u64(low))
    sections[1] = { name = ".text", flags = "axz", at = number.from(bits.u64(low)), size = size, bytes = "", align = 2 }
  end
  return elf.write({ sections = sections, table = list, short = true }, low or 0)
end

return symbols
