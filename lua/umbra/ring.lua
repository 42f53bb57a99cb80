-- ring: the last instructions that a hart ran, for people who ask how it came to this.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local bit     = require "bit"
local bits    = require "umbra.bits"
local clib    = require "umbra.clib"
local cpu     = require "umbra.cpu"
local fault   = require "umbra.fault"

local C = clib.C

local ring = { MOST = 2^20 }

local TEXT_BYTES = 128
local rows_t, text_t = ffi.typeof "struct um_last[?]", ffi.typeof "char[?]"

local Last = {}
Last.__index = Last

-- From now on `hart` (the first of a machine) and those added to it remember `count` instructions each, 0: none.
function ring.set(hart, count)
  fault.check(C.um_hart_ring(hart.ptr, count, hart.why), hart.why)
end

local function instruction(row, names, mask, text, target)
  local entry = { kind = "instruction", pc = bits.number(row.pc), count = tonumber(row.count), word = row.word, length = row.length }
  local known = C.um_riscv_disassemble(row.word, row.pc, mask, text, TEXT_BYTES) > 0
  entry.text = known and ffi.string(text) or (".%dbyte 0x%s"):format(row.length, bit.tohex(row.word, 2 * row.length))
  entry.name = names:name(row.pc)
  if C.um_riscv_target(row.word, row.pc, mask, target) then entry.goal = names:name(target[0]) end
  return entry
end

local function trap(row, names)
  local kind = row.kind == C.UM_LAST_EXCEPTION and "exception" or "interrupt"
  local list = kind == "exception" and cpu.EXCEPTIONS or cpu.INTERRUPTS
  return {
    kind = kind, pc = bits.number(row.pc), count = tonumber(row.count), cause = row.word, text = list[row.word] or "cause " .. row.word,
    value = bits.number(row.value), times = row.times, name = names:name(row.pc),
  }
end

-- The last `most` instructions and traps of `hart`, the oldest first: { kind =, pc =, count =, text =, name =, ... } each.
-- names: of addresses (umbra.symbols). tostring shows them, one a line.
function ring.last(hart, most, names)
  local rows, list = rows_t(math.max(most, 1)), setmetatable({}, Last)
  local count = C.um_hart_last(hart.ptr, rows, most)
  local mask, text, target = cpu.isa_mask(hart.isa), text_t(TEXT_BYTES), ffi.new "uint64_t[1]"
  for i = count - 1, 0, -1 do
    local row = rows[i]
    list[#list + 1] = row.kind == C.UM_LAST_INSN and instruction(row, names, mask, text, target) or trap(row, names)
  end
  return list
end

local function shown(entry)
  local place = ("  @%-12d %16s:  "):format(entry.count, bits.hex(entry.pc):sub(3))
  local name = entry.name and "<" .. entry.name .. ">" or ""
  if entry.kind == "instruction" then
    local text = entry.goal and ("%s <%s>"):format(entry.text, entry.goal) or entry.text
    return ("%s%-8s  %-40s  %s"):format(place, bit.tohex(entry.word, 2 * entry.length), text, name)
  end
  local often = entry.times > 1 and (", %d times"):format(entry.times) or ""
  return ("%s%s %d %s, tval %s%s  %s"):format(place, entry.kind, entry.cause, entry.text, bits.hex(entry.value), often, name)
end

-- "  @1234  80000010:  4505      c.li a0, 1            <main+0x4>"
function Last:__tostring()
  local lines = {}
  for i, entry in ipairs(self) do lines[i] = shown(entry):gsub("%s+$", "") end
  return table.concat(lines, "\n")
end

return ring
