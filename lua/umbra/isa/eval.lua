-- eval: runs checked meanings on a state made of Lua tables: slow, plain, and owing nothing to the printers of C.
-- SPDX-License-Identifier: MIT
--
-- state = {
--   files     = { x = { [0] = 0, ... }, ... },     -- register files by number
--   registers = { n = 0, z = 1, ... },             -- single registers
--   pc        = address,                           -- of the instruction; afterwards of the next one
--   functions = { ["name"] = function(state, ...) return result, ... end },
--   load      = function(state, address, bytes) return value end,            -- little-endian, a wide number or less
--   store     = function(state, address, bytes, value) end,
-- }
-- Values in a state are Lua numbers, uint64_t, or wide numbers (umbra.isa.wide); what eval writes is uint64_t up to 64
-- bits and wide above. Functions get and give the same.
local ffi  = require "ffi"
local wide = require "umbra.isa.wide"

local eval = {}

local Run = {}
Run.__index = Run

local function plain(value, bits) return bits <= 64 and value[1] or value end
eval.plain = plain

local function truth(condition) return condition and wide.ONE or wide.ZERO end

local function swapped(value, bytes)
  local out = wide.ZERO
  for i = 0, bytes - 1 do out = wide.bor(out, wide.shl(wide.low(wide.shr(value, 8 * i), 8), 8 * (bytes - 1 - i))) end
  return out
end

-- Signed numbers are compared with their sign bit turned.
local function order(value, bits) return wide.bxor(value, wide.shl(wide.ONE, bits - 1)) end

local function magnitude(value, bits)
  if wide.bit(value, bits - 1) == 0 then return value, false end
  return wide.low(wide.neg(value), bits), true
end

-- Division is total: x / 0 is all ones, x % 0 is x; the quotient of signed numbers is cut to their width.
local function divide(name, a, b, bits)
  local rest = name:sub(1, 1) == "%"
  if wide.eq(b, wide.ZERO) then return rest and a or wide.bnot(wide.ZERO) end
  if name:sub(2) == "u" then
    local quotient, remainder = wide.divide(a, b)
    return rest and remainder or quotient
  end
  local x, x_negative = magnitude(a, bits)
  local y, y_negative = magnitude(b, bits)
  local quotient, remainder = wide.divide(x, y)
  if rest then return x_negative and wide.neg(remainder) or remainder end
  return x_negative ~= y_negative and wide.neg(quotient) or quotient
end

local function shift(name, a, n, bits)
  if name == ">>s" then
    a, n = wide.sext(a, bits), math.min(n, bits - 1)
    return wide.bor(wide.shr(a, n), wide.bit(a, 255) == 1 and wide.bnot(wide.shr(wide.bnot(wide.ZERO), n)) or wide.ZERO)
  end
  if n >= bits then return wide.ZERO end
  return name == "<<" and wide.shl(a, n) or wide.shr(a, n)
end

local COMPARE = {
  ["<"]  = function(a, b) return wide.less(a, b) end,
  [">"]  = function(a, b) return wide.less(b, a) end,
  ["<="] = function(a, b) return not wide.less(b, a) end,
  [">="] = function(a, b) return not wide.less(a, b) end,
}
local ARITHMETIC = { ["+"] = wide.add, ["-"] = wide.sub, ["*"] = wide.mul, ["&"] = wide.band, ["|"] = wide.bor, ["^"] = wide.bxor }

local forms = {}

function forms.number(_, e) return wide.parse(e.digits, e.base) end
forms["local"] = function(self, e) return self.locals[e.name] end
function forms.pc(self) return wide.new(self.pc) end
forms["next"] = function(self) return wide.new(self.next) end
function forms.register(self, e) return wide.new(self.state.registers[e.name]) end
function forms.raw(self, e) return wide.low(wide.new(self.values[e.name]), e.bits) end

function forms.field(self, e)
  local number = self.values[e.name]
  if not e.field.regs or self.numbers then return wide.low(wide.new(number), e.bits) end
  if number == 0 and e.field.file.zero then return wide.ZERO end
  return wide.low(wide.new(self.state.files[e.field.regs][number]), e.bits)
end

function forms.binary(self, e)
  local a, b = self:value(e.left), self:value(e.right)
  local name, from = e.name, e.left.bits
  if ARITHMETIC[name] then return ARITHMETIC[name](a, b) end
  if name == "==" then return truth(wide.eq(a, b)) elseif name == "!=" then return truth(not wide.eq(a, b)) end
  if name:match "^<<$" or name:match "^>>" then return shift(name, a, wide.number(b), from) end
  local compare, sign = name:match "^([<>]=?)([su])$"
  if not compare then return divide(name, a, b, from) end
  if sign == "s" then a, b = order(a, from), order(b, from) end
  return truth(COMPARE[compare](a, b))
end

function forms.unary(self, e)
  local value = self:value(e.value)
  if e.name == "!" then return truth(wide.eq(value, wide.ZERO)) end
  return e.name == "-" and wide.neg(value) or wide.bnot(value)
end

function forms.select(self, e) return self:value(wide.eq(self:value(e.condition), wide.ZERO) and e.no or e.yes) end
function forms.slice(self, e) return wide.shr(self:value(e.value), e.lo) end
function forms.extend(self, e) return e.signed and wide.sext(self:value(e.value), e.value.bits) or self:value(e.value) end

function forms.cat(self, e)
  local out = wide.ZERO
  for _, part in ipairs(e.args) do out = wide.bor(wide.shl(out, part.bits), self:value(part)) end
  return out
end

function forms.count(self, e)
  local value, bits, n = self:value(e.value), e.value.bits, 0
  if e.name == "bswap" then return swapped(value, bits / 8) end
  if e.name == "popcount" then
    for i = 0, bits - 1 do n = n + wide.bit(value, i) end
    return wide.new(n)
  end
  while n < bits and wide.bit(value, e.name == "ctz" and n or bits - 1 - n) == 0 do n = n + 1 end
  return wide.new(n)
end

function forms.rotate(self, e)
  local value, n = self:value(e.left), wide.number(self:value(e.right)) % e.bits
  if e.name == "ror" then n = e.bits - n end
  return wide.bor(wide.shl(value, n), wide.shr(value, e.bits - n))
end

local ATOMIC = {
  swap = function(_, value) return value end, add = wide.add, ["and"] = wide.band, ["or"] = wide.bor, xor = wide.bxor,
  minu = function(old, value) return wide.less(value, old) and value or old end,
  maxu = function(old, value) return wide.less(old, value) and value or old end,
  min  = function(old, value, bits) return wide.less(order(value, bits), order(old, bits)) and value or old end,
  max  = function(old, value, bits) return wide.less(order(old, bits), order(value, bits)) and value or old end,
}

function forms.memory(self, e)
  local state, width, bytes = self.state, e.width, e.width / 8
  local address = plain(self:value(e.args[1]), 64)
  local operand = e.args[2] and e.kind ~= "lr" and e.kind ~= "load" and wide.low(self:value(e.args[2]), width)
  local function put(value)
    value = wide.low(value, width)
    state:store(address, bytes, plain(e.big and swapped(value, bytes) or value, width))
  end
  if e.kind == "store" then return put(operand) end
  if e.kind == "sc" then
    local held = state.reserved == address
    state.reserved = nil
    if held then put(operand) end
    return truth(not held)
  end
  local value = wide.low(wide.new(state:load(address, bytes)), width)
  if e.big then value = swapped(value, bytes) end
  if e.kind == "lr" then state.reserved = address end
  if e.kind == "amo" then put(ATOMIC[e.operation](value, operand, width)) end
  return e.sign == "s" and wide.sext(value, width) or value
end

forms["function"] = function(self, e)
  local f, args = e.f, {}
  for i, argument in ipairs(e.args) do args[i] = plain(self:value(argument), f.args[i]) end
  local body = self.state.functions and self.state.functions[f.name]
  if not body then error(("eval: the state has no function '%s'"):format(f.name), 0) end
  local results = { body(self.state, unpack(args)) }
  if e.results then
    for i, bits in ipairs(e.results) do results[i] = wide.low(wide.new(results[i]), bits) end
    return results
  end
  return f.bits > 0 and wide.new(results[1]) or wide.ZERO
end

function Run:value(e)
  local value = forms[e.op](self, e)
  return e.results and value or e.bits and e.bits > 0 and wide.low(value, e.bits) or value
end

local function assign(self, target, value)
  value = plain(wide.low(value, target.bits), target.bits)
  if target.kind == "register" then
    self.state.registers[target.name] = value
    return
  end
  local number = self.values[target.name]
  if number ~= 0 or not target.field.file.zero then self.state.files[target.field.regs][number] = value end
end

local steps = {}

function steps.let(self, s) self.locals[s.name] = self:value(s.value) end
steps["goto"] = function(self, s) self.target = plain(self:value(s.target), s.target.bits) end
function steps.effect(self, s) self:value(s.value) end

steps["if"] = function(self, s)
  local branch = s.yes
  if wide.eq(self:value(s.condition), wide.ZERO) then branch = s.no or {} end
  self:block(branch)
end

function steps.assign(self, s)
  local value = self:value(s.value)
  if #s.targets == 1 then return assign(self, s.targets[1], value) end
  for i, target in ipairs(s.targets) do assign(self, target, value[i]) end
end

function Run:block(statements)
  for _, s in ipairs(statements) do
    if self.target then return end                   -- nothing follows a goto
    steps[s.op](self, s)
  end
end

-- Does what `insn` (a row of a description) means: `values` are its field numbers by name, `length` its bytes. state.pc moves on.
function eval.run(insn, values, state, length, xlen)
  local pc = ffi.cast("uint64_t", state.pc)
  local self = setmetatable({ values = values, state = state, locals = {}, pc = pc }, Run)
  self.next = plain(wide.low(wide.new(pc + length), xlen or 64), 64)
  self:block(insn.meaning.body)
  state.pc = self.target or self.next
end

-- Whether a condition over field numbers (the `where` of a row) holds.
function eval.holds(condition, values)
  local self = setmetatable({ values = values, numbers = true, locals = {} }, Run)
  return not wide.eq(self:value(condition), wide.ZERO)
end

return eval
