-- x64: assembles x86-64 with the encoder that translated code is made by.
--
--   local x64 = require "umbra.jit.x64"
--   local bytes = x64.new():mov_rr(8, "rax", "rdi"):add_ri(8, "rax", 5):ret():bytes()
--
-- A method for each row of csrc/jit/x64/forms.h, with the operands of asm.h: the width in bytes where there are several, what is
-- written first. Addresses are { base = "rbp", index = "rax", scale = 4, disp = 16 }, all optional.
-- SPDX-License-Identifier: MIT
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local schema = require "umbra.schema"

local C = clib.C

local x64 = {}
local Assembler = {}
Assembler.__index = Assembler

x64.REGISTERS = { [0] = "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" }
x64.CONDITIONS = { [0] = "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g" }

local REGISTER, CONDITION = {}, {}
for i = 0, 15 do REGISTER[x64.REGISTERS[i]], CONDITION[x64.CONDITIONS[i]] = i, i end

-- Operands of each shape, in the order of asm.h: w the width; a b c registers, or ax bx cx XMM; m an address; k a constant; cc a condition.
local SHAPES = {
  RR = "w a b", RV = "w a b", RV1 = "w a b", RV2 = "w a b", RV4 = "w a b", RM = "w a m", RM1 = "w a m", RM2 = "w a m", RM4 = "w a m", MR = "w m b",
  RI = "w a k", RK = "w a k", MI = "w m k", MK = "w m k", OK = "w a k", RVK = "w a b k", R = "w a", RC = "w a", O = "w a", R4 = "a", O4 = "a", R8 = "w a k",
  M = "m", NW = "w", N = "", CR = "cc a", CRV = "cc w a b", XX = "ax bx", XX8 = "ax bx k", XM = "ax m", MX = "m bx", XR = "w ax b", RX = "w a bx",
  MXR = "w a bx", VRMV = "w a b c", VRVM = "w a b c", VRM8 = "w a b k", VXXX = "ax bx cx",
}

-- Every row: { name, shape = { "w", "a", ... }, widths = { 4, 8 }, feature, here = this host has it, number }, in order and by name.
x64.forms = {}
do
  local row, number = ffi.new "struct um_x64_form", 0
  while C.um_x64_form(number, row) do
    local form = {
      name = ffi.string(row.name), kind = ffi.string(row.shape), feature = ffi.string(row.feature), here = row.here, shape = {}, widths = {},
      number = number,
    }
    for what in SHAPES[form.kind]:gmatch "%S+" do form.shape[#form.shape + 1] = what end
    for _, width in ipairs { 1, 2, 4, 8 } do
      if math.floor(row.widths / width) % 2 == 1 then form.widths[#form.widths + 1] = width end
    end
    x64.forms[number + 1], x64.forms[form.name] = form, form
    number = number + 1
  end
end

local function xmm(name) return tonumber(type(name) == "string" and name:match "^xmm(1?%d)$") end

local function address(form, o, m)
  if type(m) ~= "table" then fault.raise("%s: an address like { base = \"rbp\", disp = 16 } expected, not %s", form.name, schema.show(m)) end
  for _, key in ipairs { "base", "index" } do
    o[key] = m[key] and (REGISTER[m[key]] or fault.raise("%s: no register %s", form.name, schema.show(m[key]))) or 16
  end
  local scale = ({ [1] = 0, [2] = 1, [4] = 2, [8] = 3 })[m.scale or 1]
  if not scale then fault.raise("%s: a scale of 1, 2, 4 or 8, not %s", form.name, schema.show(m.scale)) end
  o.scale, o.disp = scale, m.disp or 0
end

-- How each kind of operand goes into the border's struct.
local operand = {
  w  = function(_, o, v) o.width = v end,
  k  = function(form, o, v)
    if not bits.is_integer(v) then fault.raise("%s: a whole number expected, not %s", form.name, schema.show(v)) end
    o.imm = ffi.cast("int64_t", bits.u64(v))
  end,
  m  = address,
  cc = function(form, o, v) o.cond = CONDITION[v] or fault.raise("%s: no condition %s", form.name, schema.show(v)) end,
}
for _, place in ipairs { "a", "b", "c" } do
  operand[place] = function(form, o, v) o[place] = REGISTER[v] or fault.raise("%s: no register %s", form.name, schema.show(v)) end
  operand[place .. "x"] = function(form, o, v)
    local number = xmm(v)
    if not number or number > 15 then fault.raise("%s: no XMM register %s", form.name, schema.show(v)) end
    o[place] = number
  end
end

local why = ffi.new "struct um_fault"

for _, form in ipairs(x64.forms) do
  Assembler[form.name] = function(self, ...)
    local o, to, n = ffi.new "struct um_x64_operands", ffi.new("uint8_t[?]", C.UM_X64_LONGEST), 0
    o.base, o.index = 16, 16
    for _, what in ipairs(form.shape) do
      if what == "w" and #form.widths == 1 then o.width = form.widths[1]
      else
        n = n + 1
        operand[what](form, o, (select(n, ...)))
      end
    end
    if select("#", ...) ~= n then fault.raise("%s: %d operands, not %d", form.name, n, select("#", ...)) end
    local size = fault.check(C.um_x64_encode(form.number, o, to, why), why)
    self.parts[#self.parts + 1] = ffi.string(to, size)
    return self
  end
end

function Assembler:bytes() return table.concat(self.parts) end

function x64.new() return setmetatable({ parts = {} }, Assembler) end

return x64
