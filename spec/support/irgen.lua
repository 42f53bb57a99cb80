-- irgen: random blocks of IR, made from the table of operations: what the signatures allow, and whatever the verifier lets through.
-- SPDX-License-Identifier: MIT
-- luacheck: no max line length
local bit  = require "bit"
local ffi  = require "ffi"
local ir   = require "umbra.ir"
local tiny = require "spec.support.tiny"

local irgen = {}

irgen.TYPES = { "i1", "i8", "i16", "i32", "i64", "i128", "i256", "f32", "f64" }
irgen.BITS = { i1 = 1, i8 = 8, i16 = 16, i32 = 32, i64 = 64, i128 = 128, i256 = 256, f32 = 32, f64 = 64 }
irgen.AT, irgen.SIZE = 0x10000, 256                   -- the memory of a block

-- Four limbs of a value of `bits`, often at a corner.
function irgen.value(random, bits) return tiny.value(random, bits) end

local CORNERS = {
  f64 = { 0ULL, 0x8000000000000000ULL, 0x3ff0000000000000ULL, 0x7ff0000000000000ULL, 0xfff0000000000000ULL, 0x7ff8000000000000ULL, 0x7ff0000000000001ULL,
          0xfff8000000000123ULL, 1ULL, 0x000fffffffffffffULL, 0x7fefffffffffffffULL, 0x43e0000000000000ULL, 0xc3e0000000000000ULL, 0x41efffffffe00000ULL, 0xbfe0000000000000ULL },
  f32 = { 0ULL, 0x80000000ULL, 0x3f800000ULL, 0x7f800000ULL, 0xff800000ULL, 0x7fc00000ULL, 0x7f800001ULL, 0xffc00123ULL, 1ULL, 0x007fffffULL, 0x7f7fffffULL,
          0x5f000000ULL, 0xdf000000ULL, 0x4f7fffffULL, 0xbf000000ULL },
}

-- Bits of a float: corners, numbers near 1, anything.
function irgen.float(random, kind)
  local corners, roll = CORNERS[kind], random(4)
  if roll == 0 then return corners[random(#corners) + 1] end
  if roll == 1 then return kind == "f64" and random() or bit.band(random(), 0xffffffffULL) end
  if kind == "f64" then return bit.bor(bit.lshift(0ULL + random(2), 63), bit.lshift(0ULL + 1023 - 30 + random(60), 52), bit.band(random(), 0xfffffffffffffULL)) end
  return bit.bor(bit.lshift(0ULL + random(2), 31), bit.lshift(0ULL + 127 - 15 + random(30), 23), bit.band(random(), 0x7fffffULL))
end

local function pick(random, list) return list[random(#list) + 1] end

local Gen = {}
Gen.__index = Gen

-- A value of type `kind` that may be used here; now and then, or when there is none, a new constant.
function Gen:operand(kind)
  local found = {}
  for _, value in ipairs(self.values) do
    if value.type == kind then found[#found + 1] = value.ref end
  end
  if #found > 0 and self.random(5) > 0 then return found[math.max(1, #found - self.random(6))] end
  local ref
  if kind == self.address and self.random(8) > 0 then ref = self.block:const(kind, irgen.AT + self.random(irgen.SIZE))
  elseif CORNERS[kind] then ref = self.block:const(kind, irgen.float(self.random, kind))
  else ref = self.block:const(kind, irgen.value(self.random, irgen.BITS[kind])) end
  self:note(ref, kind)
  return ref
end

function Gen:note(ref, kind) self.values[#self.values + 1] = { ref = ref, type = kind } end

local ALLOWED = { I = { i1 = true, i8 = true, i16 = true, i32 = true, i64 = true, i128 = true, i256 = true }, F = { f32 = true, f64 = true } }

function Gen:type(letter)
  if letter == "A" then return self.address elseif letter == "B" then return "i1" end
  while true do
    local kind = pick(self.random, self.types)
    if not ALLOWED[letter] or ALLOWED[letter][kind] then return kind end
  end
end

-- What an op carries; nil: it is not made here.
function Gen:carry(op, row)
  local random = self.random
  if op.extra == "slot" then
    local slot = pick(random, self.slots)
    row.imm, row.type = slot.row * 256 + random(slot.count), op.name == "get" and slot.type or "void"
    return { slot.type }
  elseif op.extra == "mem" or op.extra == "amo" then
    row.aux = random(6) + 8 * random(2) + (random(4) == 0 and 16 or 0) + 32 * random(4)
    if op.extra == "amo" then row.aux = row.aux + 256 * random(9) end
  elseif op.extra == "round" then row.aux = pick(random, { 0, 1, 2, 3, 4, 7 })
  elseif op.extra == "delta" then row.imm = random(2000) - 1000
  elseif op.extra == "fence" then row.aux = random(256)
  elseif op.extra ~= "none" then return end
  return {}
end

-- Tries to append one instruction of `op`; false when the verifier does not want it.
function Gen:try(op)
  local result, operands = op.signature:match "^(.):(.*)$"
  local row = { op = op.name }
  local kinds = self:carry(op, row)
  if not kinds then return false end
  if result ~= "-" and op.extra ~= "slot" then row.type = self:type(result) end
  local first
  for i = 1, #operands do
    local letter = operands:sub(i, i)
    local kind = kinds[i] or letter == "T" and row.type or letter == "S" and first or self:type(letter)
    first = first or kind
    row[("abc"):sub(i, i)] = self:operand(kind)
  end
  local ok, ref = pcall(self.block.emit, self.block, row)
  if ok and row.type and row.type ~= "void" then self:note(ref, row.type) end
  return ok
end

-- Instructions until there are `count`, with `when` among them.
function Gen:fill(count, depth)
  local target = self.block:count() + count
  while self.block:count() < target do
    local op = pick(self.random, self.ops)
    if op.name == "when" then
      if depth < 3 then
        self.block:when(self:operand "i1")
        local outer = #self.values
        for _, way in ipairs { "when", "otherwise" } do
          if way == "when" or self.random(2) == 0 then
            if way == "otherwise" then self.block:otherwise() end
            self:fill(self.random(6), depth + 1)
            while #self.values > outer do table.remove(self.values) end
          end
        end
        self.block:done()
      end
    else self:try(op) end
  end
end

local ENDS = { ["goto"] = true, jump = true, trap = true, leave = true, insn = true, otherwise = true, ["end"] = true, call = true, result = true, const = true }

-- A guest with slots of the types, each with its row.
function irgen.guest(types)
  local slots, rows = {}, {}
  for i, kind in ipairs(types or irgen.TYPES) do
    slots[i] = { "s" .. kind, kind, 1 + i % 4 }
    rows[i] = { row = i - 1, type = kind, count = 1 + i % 4, name = "s" .. kind }
  end
  return ir.guest { slots = slots }, rows
end

-- A random block of some `count` instructions for a guest of irgen.guest. options: types; allow = function(op), which ops; address.
function irgen.block(guest, slots, random, count, options)
  options = options or {}
  local self = setmetatable({ block = ir.new(guest), slots = slots, random = random, values = {}, ops = {}, types = options.types or irgen.TYPES,
    address = "i64" }, Gen)
  for _, op in ipairs(ir.ops) do
    if not ENDS[op.name] and (not options.allow or options.allow(op)) then self.ops[#self.ops + 1] = op end
  end
  self.block:insn(0, 4)
  self:fill(count, 0)
  if random(2) == 0 then self.block:go(4) else self.block:jump(self:operand "i64") end
  return self.block
end

-- Random contents of a state.
function irgen.fill(state, slots, random)
  for _, slot in ipairs(slots) do
    for i = 0, slot.count - 1 do
      if CORNERS[slot.type] then state:set(slot.name, i, irgen.float(random, slot.type))
      else state:set(slot.name, i, irgen.value(random, irgen.BITS[slot.type])) end
    end
  end
end

-- The memory of a block: bytes at irgen.AT.
function irgen.memory(random)
  local memory = ffi.new("uint8_t[?]", irgen.SIZE)
  for i = 0, irgen.SIZE - 1 do memory[i] = random(256) end
  return memory
end

return irgen
