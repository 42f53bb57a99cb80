-- elf: static 64-bit ELF files for RISC-V.
-- SPDX-License-Identifier: MIT
--
-- One segment for each run of sections with the same rights; those that meet in a page become one with the rights of both, because a
-- page has one set of rights.
local number = require "umbra.asm.number"

local elf = {}

local le = number.bytes
local PAGE = 4096
local HEADER, PROGRAM_ROW, SECTION_ROW = 64, 56, 64
local EXECUTABLE, RISCV, DOUBLE_FLOAT, RVC = 2, 243, 4, 1
local BITS, SYMBOLS, STRINGS, NO_BITS = 1, 2, 3, 8
local WRITE, ALLOCATE, CODE = 1, 2, 4
local ABSOLUTE = 0xfff1
local TYPES = { notype = 0, object = 1, ["function"] = 2 }
local BINDS = { own = 0, global = 1, weak = 2 }

local function page_of(at) return number.bits(at, 12, 32) + number.bits(at, 44, 20) * 2 ^ 32 end

-- Segments: { at, size (in the file), memory, rights = { r, w, x }, sections }.
local function segments_of(sections)
  local list = {}
  for _, section in ipairs(sections) do
    local last = list[#list]
    local last_end = last and number.binary("+", last.at, last.memory)
    local alike = last and last.flags == section.flags
    local touching = last and section.size > 0 and page_of(number.binary("-", last_end, 1)) == page_of(section.at)
    if section.size > 0 then
      if not (alike or touching) then
        last = { at = section.at, memory = 0, bytes = "", x = false, w = false }
        list[#list + 1] = last
      end
      local gap = tonumber(number.binary("-", section.at, number.binary("+", last.at, last.memory)))
      last.flags, last.x, last.w = section.flags, last.x or section.flags:find "x" ~= nil, last.w or section.flags:find "w" ~= nil
      section.segment, section.segment_offset = last, last.memory + gap
      if not section.flags:find "z" then last.bytes = last.bytes .. ("\0"):rep(last.memory + gap - #last.bytes) .. section.bytes end
      last.memory = last.memory + gap + section.size
    end
  end
  return list
end

local function strings()
  local list, size, at = { "\0" }, 1, { [""] = 0 }
  return function(name)
    if name == nil then return table.concat(list) end
    if not at[name] then
      at[name], size = size, size + #name + 1
      list[#list + 1] = name .. "\0"
    end
    return at[name]
  end
end

-- The symbol table, locals first, its strings, and the index of the first that is not local.
local function symbols_of(result, index_of)
  local names, rows = strings(), { ("\0"):rep(24) }
  local first = 1
  for _, own in ipairs { true, false } do
    for _, symbol in ipairs(result.table) do
      local bind = BINDS[symbol.bind or "own"]
      if (bind == 0) == own then
        rows[#rows + 1] = le(names(symbol.name), 4) .. le(bind * 16 + TYPES[symbol.type or "notype"], 1) .. "\0" ..
          le(symbol.section and index_of[symbol.section] or ABSOLUTE, 2) .. le(symbol.value, 8) .. le(symbol.size or 0, 8)
      end
    end
    if own then first = #rows end
  end
  return table.concat(rows), names(), first
end

-- result: of asm.assemble. Returns the bytes of a file whose execution begins at `entry`.
function elf.write(result, entry)
  local segments = segments_of(result.sections)
  local body, offset = {}, HEADER + PROGRAM_ROW * #segments
  local function put(bytes, at)                        -- at: an address that the place in the file must equal, page by page
    local pad = at and (number.bits(at, 0, 12) - offset) % PAGE or -offset % 8
    body[#body + 1] = ("\0"):rep(pad) .. bytes
    offset = offset + pad + #bytes
    return offset - #bytes
  end
  local programs = {}
  for i, segment in ipairs(segments) do
    segment.offset = put(segment.bytes, segment.at)
    programs[i] = le(1, 4) .. le(4 + (segment.w and 2 or 0) + (segment.x and 1 or 0), 4) .. le(segment.offset, 8) .. le(segment.at, 8):rep(2) ..
      le(#segment.bytes, 8) .. le(segment.memory, 8) .. le(PAGE, 8)
  end
  local names, rows, index_of = strings(), { ("\0"):rep(SECTION_ROW) }, {}
  local function add(name, kind, flags, at, place, size, link, info, align, each)
    rows[#rows + 1] = le(names(name), 4) .. le(kind, 4) .. le(flags, 8) .. le(at, 8) .. le(place, 8) .. le(size, 8) .. le(link, 4) .. le(info, 4) ..
      le(align, 8) .. le(each, 8)
    return #rows - 1
  end
  for _, section in ipairs(result.sections) do
    local flags = ALLOCATE + (section.flags:find "w" and WRITE or 0) + (section.flags:find "x" and CODE or 0)
    local place = section.segment and section.segment.offset + math.min(section.segment_offset, #section.segment.bytes) or HEADER
    index_of[section.name] = add(section.name, section.flags:find "z" and NO_BITS or BITS, flags, section.at, place, section.size, 0, 0, section.align, 0)
  end
  local symbols, text, first = symbols_of(result, index_of)
  local place = put(symbols)
  add(".symtab", SYMBOLS, 0, 0, place, #symbols, #rows + 1, first, 8, 24)
  place = put(text)
  add(".strtab", STRINGS, 0, 0, place, #text, 0, 0, 1, 0)
  names ".shstrtab"
  text = names()
  place = put(text)
  local last = add(".shstrtab", STRINGS, 0, 0, place, #text, 0, 0, 1, 0)
  local table_at = put(table.concat(rows))
  return table.concat {
    "\127ELF\2\1\1\0", ("\0"):rep(8), le(EXECUTABLE, 2), le(RISCV, 2), le(1, 4), le(entry, 8), le(HEADER, 8), le(table_at, 8),
    le(DOUBLE_FLOAT + (result.short and RVC or 0), 4), le(HEADER, 2), le(PROGRAM_ROW, 2), le(#segments, 2), le(SECTION_ROW, 2), le(#rows, 2), le(last, 2),
    table.concat(programs), table.concat(body),
  }
end

return elf
