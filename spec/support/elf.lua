-- elf: writes the ELF files that specs hand to other programs.
-- SPDX-License-Identifier: MIT
local elf = {}

local function le(value, bytes)
  local out = {}
  for i = 1, bytes do
    out[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(out)
end
elf.le = le

local EXECUTABLE, RISCV = 2, 243

-- A static program of one class (32 or 64): segments = { { at =, bytes =, flags = "rwx" } }, sections = { { name, type, flags, at, bytes } }.
function elf.write(options)
  local wide = options.class == 64
  local word, header, row, section = wide and 8 or 4, wide and 64 or 52, wide and 56 or 32, wide and 64 or 40
  local segments, sections = options.segments or {}, options.sections or {}
  local body, offset = {}, math.ceil((header + row * #segments) / 4096) * 4096
  local places = {}
  local start = offset
  local function put(bytes)
    local at = offset
    body[#body + 1] = bytes
    local pad = -#bytes % 4096
    body[#body + 1] = ("\0"):rep(pad)
    offset = offset + #bytes + pad
    return at
  end
  for _, s in ipairs(segments) do places[s] = put(s.bytes) end
  local names, name_at = "\0", {}
  for i, s in ipairs(sections) do
    name_at[i], names = #names, names .. s[1] .. "\0"
    places[s] = put(s[5])
  end
  local names_at = #names
  names = names .. ".shstrtab\0"
  local names_place = put(names)
  local table_at = offset
  local out = {
    "\127ELF", le(wide and 2 or 1, 1), "\1\1\0", ("\0"):rep(8), le(EXECUTABLE, 2), le(RISCV, 2), le(1, 4), le(options.entry or 0, word),
    le(#segments > 0 and header or 0, word), le(table_at, word), le(5, 4), le(header, 2), le(row, 2), le(#segments, 2), le(section, 2),
    le(#sections + 2, 2), le(#sections + 1, 2),                  -- flags 5: RVC, double-precision ABI
  }
  for _, s in ipairs(segments) do
    local flags = (s.flags:find "x" and 1 or 0) + (s.flags:find "w" and 2 or 0) + (s.flags:find "r" and 4 or 0)
    local size = le(#s.bytes, word)
    local place = le(places[s], word) .. le(s.at, word):rep(2)
    out[#out + 1] = le(1, 4) .. (wide and le(flags, 4) .. place .. size .. size or place .. size .. size .. le(flags, 4)) .. le(4096, word)
  end
  local head = table.concat(out)
  local function entry(name, kind, flags, at, place, size)
    return le(name, 4) .. le(kind, 4) .. le(flags, word) .. le(at, word) .. le(place, word) .. le(size, word) .. le(0, 8) .. le(1, word) .. le(0, word)
  end
  local rows = { entry(0, 0, 0, 0, 0, 0) }
  for i, s in ipairs(sections) do rows[#rows + 1] = entry(name_at[i], s[2], s[3], s[4], places[s], #s[5]) end
  rows[#rows + 1] = entry(names_at, 3, 0, 0, names_place, #names)
  return head .. ("\0"):rep(start - #head) .. table.concat(body) .. table.concat(rows)
end

-- The section that tells disassemblers the instruction set: Tag_RISCV_arch of the RISC-V psABI.
function elf.attributes(arch)
  local tags = "\5" .. arch .. "\0"
  local file = "\1" .. le(#tags + 5, 4) .. tags
  local vendor = "riscv\0" .. file
  return { ".riscv.attributes", 0x70000003, 0, 0, "A" .. le(#vendor + 4, 4) .. vendor }
end

return elf
