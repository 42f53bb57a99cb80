-- conditions: random conditions of hooks, as text and as a function that says what they come to, written apart from the toolkit's.
-- SPDX-License-Identifier: MIT
local bit = require "bit"
local ffi = require "ffi"

local conditions = {}

local u64, i64 = ffi.typeof "uint64_t", ffi.typeof "int64_t"
local FALSE = {}                                   -- raised where a condition is false altogether

local REGISTERS = { "a0", "a1", "a2", "t1", "t2", "x12", "s0", "zero" }
local NUMBERS = { a0 = 10, a1 = 11, a2 = 12, t1 = 6, t2 = 7, x12 = 12, s0 = 8, zero = 0 }

local function truth(yes) return yes and u64(1) or u64(0) end
local function both(a, b) return a.signed or b.signed end
local function signed(x) return ffi.cast(i64, x) end

local function less(a, b, is_signed)
  if is_signed then return signed(a) < signed(b) end
  return a < b
end

-- One for each operator: value of the words a and b; is_signed: how they are read.
local OPERATORS = {
  ["+"] = function(a, b) return a + b end, ["-"] = function(a, b) return a - b end, ["*"] = function(a, b) return a * b end,
  ["&"] = function(a, b) return bit.band(a, b) end, ["|"] = function(a, b) return bit.bor(a, b) end, ["^"] = function(a, b) return bit.bxor(a, b) end,
  ["<<"] = function(a, b) return bit.lshift(a, tonumber(b % 64)) end,
  [">>"] = function(a, b, is_signed) return (is_signed and bit.arshift or bit.rshift)(a, tonumber(b % 64)) end,
  ["/"] = function(a, b, is_signed)
    if b == 0 then error(FALSE) end
    if is_signed then return signed(b) == -1 and 0 - a or ffi.cast(u64, signed(a) / signed(b)) end
    return a / b
  end,
  ["%"] = function(a, b, is_signed)
    if b == 0 then error(FALSE) end
    if is_signed then return signed(b) == -1 and u64(0) or ffi.cast(u64, signed(a) % signed(b)) end
    return a % b
  end,
  ["=="] = function(a, b) return truth(a == b) end, ["!="] = function(a, b) return truth(a ~= b) end,
  ["<"] = function(a, b, is_signed) return truth(less(a, b, is_signed)) end,
  [">"] = function(a, b, is_signed) return truth(less(b, a, is_signed)) end,
  ["<="] = function(a, b, is_signed) return truth(not less(b, a, is_signed)) end,
  [">="] = function(a, b, is_signed) return truth(not less(a, b, is_signed)) end,
}
local SIGNS = { "+", "-", "*", "&", "|", "^", "<<", ">>", "/", "%", "==", "!=", "<", ">", "<=", ">=", "&&", "||", "&&", "||", "==", "<" }

local function extend(value, bits, is_signed)
  if bits == 64 then return value end
  local shifted = bit.lshift(value, 64 - bits)
  return (is_signed and bit.arshift or bit.rshift)(shifted, 64 - bits)
end

local make

local function leaf(random, fields)
  local kind = random(#fields > 0 and 7 or 5)
  if kind < 2 then
    local name = REGISTERS[random(#REGISTERS) + 1]
    return { text = name, value = function(env) return u64(env.reg(NUMBERS[name])) end }
  elseif kind < 4 then
    local value = random(3) == 0 and random() or u64(random(20))
    return { text = ("0x%x"):format(value), value = function() return value end }
  elseif kind == 4 then
    return { text = "pc", value = function(env) return u64(env.pc) end }
  end
  local name = fields[random(#fields) + 1]
  return { text = name, value = function(env) return u64(env[name]) end }
end

-- Memory near s0, or anywhere.
local function load(random)
  local size, is_signed, offset = 2 ^ random(4), random(2) == 0, random(32)
  local wild = random(8) == 0
  local address = wild and make(random, 1, {}) or { text = "s0 + " .. offset, value = function(env) return u64(env.reg(8)) + offset end }
  return {
    text = ("%s%d[%s]"):format(is_signed and "s" or "u", size * 8, address.text), signed = is_signed,
    value = function(env)
      local bytes = env.load(address.value(env), size)
      if not bytes then error(FALSE) end
      local value = u64(0)
      for i = size, 1, -1 do value = value * 256 + bytes:byte(i) end
      return extend(value, size * 8, is_signed)
    end,
  }
end

local function cast(random, depth, fields)
  local bits, is_signed, inner = 8 * 2 ^ random(4), random(3) > 0, make(random, depth - 1, fields)
  return {
    text = ("%s%d(%s)"):format(is_signed and "s" or "u", bits, inner.text), signed = is_signed,
    value = function(env) return extend(inner.value(env), bits, is_signed) end,
  }
end

local function unary(random, depth, fields)
  local sign, inner = ({ "!", "-", "~" })[random(3) + 1], make(random, depth - 1, fields)
  return {
    text = sign .. "(" .. inner.text .. ")", signed = sign ~= "!" and inner.signed,
    value = function(env)
      local x = inner.value(env)
      if sign == "!" then return truth(x == 0) end
      return sign == "-" and 0 - x or bit.bnot(x)
    end,
  }
end

local function binary(random, depth, fields)
  local sign, a, b = SIGNS[random(#SIGNS) + 1], make(random, depth - 1, fields), make(random, depth - 1, fields)
  local text = ("(%s) %s (%s)"):format(a.text, sign, b.text)
  if sign == "&&" or sign == "||" then
    return {
      text = text,
      value = function(env)
        if (a.value(env) ~= 0) == (sign == "||") then return truth(sign == "||") end
        return truth(b.value(env) ~= 0)
      end,
    }
  end
  local is_signed = both(a, b)
  if sign == "<<" or sign == ">>" then is_signed = a.signed end
  local f = OPERATORS[sign]
  local gives_truth = sign:find "[=<>!]" and sign ~= "<<" and sign ~= ">>"
  return { text = text, signed = is_signed and not gives_truth, value = function(env) return f(a.value(env), b.value(env), is_signed) end }
end

function make(random, depth, fields)
  if depth == 0 then return leaf(random, fields) end
  local kind = random(10)
  if kind == 0 then return leaf(random, fields) end
  if kind == 1 then return load(random) end
  if kind == 2 then return cast(random, depth, fields) end
  if kind == 3 then return unary(random, depth, fields) end
  return binary(random, depth, fields)
end

-- A random condition: its text, and a function holds(env). env: reg(number), pc, load(address, size) giving bytes or nil, and `fields`.
function conditions.make(random, fields)
  local tree = make(random, 1 + random(3), fields or {})
  local text = tree.text
  return text, function(env)
    local ok, value = pcall(tree.value, env)
    if ok then return value ~= 0 end
    if value ~= FALSE then error(value, 0) end
    return false
  end
end

return conditions
