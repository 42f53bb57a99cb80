-- operands: from written operands to the numbers of an instruction's fields, by the operand text of its description.
-- SPDX-License-Identifier: MIT
local encode     = require "umbra.isa.encode"
local expression = require "umbra.asm.expression"
local number     = require "umbra.asm.number"
local registers  = require "umbra.asm.registers"

local operands = {}

local DYNAMIC = 7                                    -- the rounding mode when none is written

-- What messages call the operands of `row`: "rd, imm(rs1)".
local function spoken(row)
  return (row.operands:gsub("%f[%w_][ui]_[%w_]+", "imm"):gsub("%f[%w]([rf][ds]%d?)[pc]%f[^%w]", "%1"):gsub("%s*,?%s*%f[%w]rm%f[^%w]%??", " [, rm]")
    :gsub("imm%?", "[imm]"))
end

local function slot_of(row, text)
  local offset, base = text:match "^([%w_]*)%(([%w_]+)%)$"
  if base then
    return { kind = "memory", offset = row.scope.fields[offset], base = row.scope.fields[base], fixed = not row.scope.fields[base] and base or nil }
  end
  local field = row.scope.fields[text]
  if not field then return { kind = "fixed", name = text } end
  return { kind = encode.kind(row, field), field = field }
end

-- The slots of `row`, made once: how each operand is to be read.
local function slots_of(row)
  if row.asm_slots then return row.asm_slots end
  local slots = { least = 0 }
  for part in row.operands:gmatch "[^,]+" do
    for word, optional in part:gmatch "([^%s?]+)(%??)" do
      local slot = slot_of(row, word)
      slots[#slots + 1] = slot
      if optional == "?" then slot.default = 0
      elseif slot.kind == "rounding" then slot.default = DYNAMIC
      else slots.least = #slots end
    end
  end
  row.asm_slots = slots
  return slots
end

local function registers_of(field)
  if field.width >= 5 then return "" end
  local names = registers.NAMES[field.regs]
  return (": %s and %s to %s"):format(field.regs == "x" and "s0, s1" or "fs0, fs1", names[11], names[16])
end

local function register(self, row, field, node)
  local name = node.op == "symbol" and node.name
  if not name then self:fail(node.at, "%s: %s register is expected here", row.name, field.regs == "x" and "an x" or "an f") end
  local file, n = registers.find(name)
  if file ~= field.regs then
    self:fail(node.at, "%s: `%s` is no %s register%s", row.name, name, field.regs,
      file and "" or (self.suggest(name, registers.NAMES[field.regs]):gsub("^; known.*", "")))
  end
  if not encode.fits(field, n) then self:fail(node.at, "%s: `%s` does not fit%s", row.name, name, registers_of(field)) end
  return n
end

local function range_text(field, format)
  local least, most, step = encode.range(field)
  local text = ("%s to %s"):format(format(least), format(most))
  return step > 1 and ("a multiple of %d from %s"):format(step, text) or text
end

local settle = {}

function settle.number(self, row, field, at, value)
  if type(value) == "number" and encode.fits(field, value) then return value end
  self:fail(at, "%s: %s is out of range: %s", row.name, number.show(value), range_text(field, number.show))
end

local UPPER = 2 ^ 20

function settle.upper(self, row, field, at, value)
  local n = type(value) == "number" and value >= 0 and value < UPPER and (value < UPPER / 2 and value or value - UPPER) * 4096
  if n and encode.fits(field, n) then return n end
  local least, most = encode.range(field)
  local text = field.width == 20 and "0 to 0xfffff" or ("0 to %d, or 0x%x to 0xfffff"):format(most / 4096, least / 4096 + UPPER)
  self:fail(at, "%s: %s is out of range: %s", row.name, number.show(value), text)
end

function settle.target(self, row, field, at, value)
  local distance = number.binary("-", value, self.pc)
  if type(distance) == "number" and encode.fits(field, distance) then return distance end
  if type(distance) == "number" and distance % 2 == 1 then self:fail(at, "%s: %s is an odd address", row.name, number.show(value)) end
  local shown = type(distance) == "number" and ("%d"):format(distance) or number.show(distance)
  self:fail(at, "%s: %s is too far: %s bytes from here, and it reaches %s", row.name, number.show(value), shown,
    (range_text(field, function(n) return ("%d"):format(n) end):gsub("a multiple of 2 from ", "")))
end

function settle.csr(self, row, _, at, value)
  if type(value) == "number" and value >= 0 and value < 4096 then return value end
  self:fail(at, "%s: %s is out of range: a CSR is 0 to 0xfff", row.name, number.show(value))
end

-- The number of `field` for what an operand came to. self.pc is the instruction's address.
function operands.settle(self, row, field, kind, at, value) return settle[kind](self, row, field, at, value) end

-- A number that may have to wait for labels.
local function later(self, row, slot_field, kind, node, values, pending)
  local value = kind ~= "target" and not expression.modified(node) and self:constant(node) or nil
  if kind == "target" or value == nil then
    self:constant(node)
    pending[#pending + 1] = { field = slot_field, kind = kind, node = node }
  else values[slot_field.as] = settle[kind](self, row, slot_field, node.at, value) end
end

local read = {}

function read.x(self, row, slot, node, values) values[slot.field.as] = register(self, row, slot.field, node) end
read.f = read.x

function read.csr(self, row, slot, node, values, pending)
  if node.op == "symbol" then
    local n, names = registers.csr(node.name)
    if n then
      values[slot.field.as] = n
      return
    end
    if not self:is_known(node.name) then
      self:fail(node.at, "%s: unknown CSR `%s`%s", row.name, node.name, (self.suggest(node.name, names):gsub("^; known.*", "; a number will do")))
    end
  end
  later(self, row, slot.field, "csr", node, values, pending)
end

function read.rounding(self, row, slot, node, values)
  local n = node.op == "symbol" and registers.rounding(node.name)
  if not n then self:fail(node.at, "%s: a rounding mode is expected here: rne, rtz, rdn, rup, rmm or dyn", row.name) end
  values[slot.field.as] = n
end

function read.fence(self, row, slot, node, values)
  local n = node.op == "symbol" and registers.fence(node.name) or node.op == "number" and node.value
  if type(n) ~= "number" or n > 15 then self:fail(node.at, "%s: a set of i, o, r, w is expected here, like rw, or 0", row.name) end
  values[slot.field.as] = n
end

function read.number(self, row, slot, node, values, pending) later(self, row, slot.field, "number", node, values, pending) end
function read.upper(self, row, slot, node, values, pending) later(self, row, slot.field, "upper", node, values, pending) end
function read.target(self, row, slot, node, values, pending) later(self, row, slot.field, "target", node, values, pending) end

function read.fixed(self, row, slot, node)
  local _, n = registers.find(slot.name)
  local file, other = registers.find(node.op == "symbol" and node.name or "")
  if file ~= "x" or other ~= n then self:fail(node.at, "%s: only %s can be here", row.name, slot.name) end
end

function read.memory(self, row, slot, node, values, pending)
  if node.op ~= "memory" then
    self:fail(node.at, "%s: an address like %s is expected here", row.name, slot.offset and "8(sp)" or "(sp)")
  end
  local base = { op = "symbol", name = node.register, at = node.register_at }
  if slot.base then values[slot.base.as] = register(self, row, slot.base, base)
  else read.fixed(self, row, { name = slot.fixed }, base) end
  if slot.offset then
    if node.offset then later(self, row, slot.offset, "number", node.offset, values, pending)
    else values[slot.offset.as] = settle.number(self, row, slot.offset, node.at, 0) end
  elseif node.offset and self:constant(node.offset) ~= 0 then
    self:fail(node.at, "%s: an address without an offset is expected here, like (%s)", row.name, node.register)
  end
end

-- The numbers of `row`'s fields from the written operands, added to `values`, and those that wait for labels: { field, kind, node }.
-- `at` is the column of the mnemonic. self: an assembly.
function operands.bind(self, row, at, list, values)
  local slots = slots_of(row)
  if #list < slots.least or #list > #slots then
    self:fail(at, "%s: %s, not %d", row.name, #slots == 0 and "no operands are expected"
      or ("%d operand%s expected (%s)"):format(slots.least == 0 and #slots or slots.least, slots.least <= 1 and " is" or "s are", spoken(row)), #list)
  end
  local pending = {}
  for i, slot in ipairs(slots) do
    local node = list[i]
    if node then read[slot.kind](self, row, slot, node, values, pending)
    else values[slot.field.as] = slot.default end
  end
  return values, pending
end

return operands
