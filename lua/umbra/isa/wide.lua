-- wide: unsigned numbers of up to 256 bits, for the evaluator.
-- SPDX-License-Identifier: MIT
--
-- A number is a table of four uint64_t, lowest first, and is never changed once made. What a width means is the
-- caller's: results of 256 bits are cut with wide.low.
local bit = require "bit"
local ffi = require "ffi"

local wide = {}

local u64, i64 = ffi.typeof "uint64_t", ffi.typeof "int64_t"
local LOW = 0xffffffffULL

local function pack(a, b, c, d) return { a, b, c, d } end

-- A Lua number (whole, -2^63 to 2^64), a 64-bit integer or a wide number. Negative numbers fill all 256 bits with their sign.
function wide.new(value)
  if type(value) == "table" then return value end
  if type(value) == "boolean" then value = value and 1 or 0 end
  local negative = (type(value) == "number" or ffi.istype(i64, value)) and value < 0
  local first = negative and ffi.cast(u64, ffi.cast(i64, value)) or ffi.cast(u64, value)
  local rest = negative and bit.bnot(0ULL) or 0ULL
  return pack(first, rest, rest, rest)
end

-- Digits of a base from 2 to 16.
function wide.parse(digits, base)
  local value = wide.new(0)
  for digit in digits:gmatch "." do value = wide.add(wide.mul(value, wide.new(base)), wide.new(tonumber(digit, base))) end
  return value
end

wide.ZERO, wide.ONE = wide.new(0), wide.new(1)

local function map(f)
  return function(a, b) return pack(f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3]), f(a[4], b[4])) end
end
wide.band, wide.bor, wide.bxor = map(bit.band), map(bit.bor), map(bit.bxor)

function wide.bnot(a) return pack(bit.bnot(a[1]), bit.bnot(a[2]), bit.bnot(a[3]), bit.bnot(a[4])) end

function wide.add(a, b)
  local out, carry = {}, 0ULL
  for i = 1, 4 do
    local sum = a[i] + b[i]
    local over = sum < a[i]
    out[i] = sum + carry
    carry = (over or out[i] < sum) and 1ULL or 0ULL
  end
  return out
end

function wide.neg(a) return wide.add(wide.bnot(a), wide.ONE) end
function wide.sub(a, b) return wide.add(a, wide.neg(b)) end

local function halves(a)
  local out = {}
  for i = 1, 4 do out[2 * i - 1], out[2 * i] = bit.band(a[i], LOW), bit.rshift(a[i], 32) end
  return out
end

function wide.mul(a, b)
  local x, y, out = halves(a), halves(b), {}
  for i = 1, 8 do out[i] = 0ULL end
  for i = 1, 8 do
    local carry = 0ULL
    for j = 1, 9 - i do
      local sum = x[i] * y[j] + out[i + j - 1] + carry       -- at most 2^64 - 1
      out[i + j - 1], carry = bit.band(sum, LOW), bit.rshift(sum, 32)
    end
  end
  return pack(out[1] + bit.lshift(out[2], 32), out[3] + bit.lshift(out[4], 32), out[5] + bit.lshift(out[6], 32), out[7] + bit.lshift(out[8], 32))
end

-- Shifts by a Lua number; 256 and more give 0.
function wide.shl(a, n)
  if n >= 256 then return wide.ZERO end
  local out, step, rest = {}, math.floor(n / 64), n % 64
  for i = 1, 4 do
    local high, low = a[i - step] or 0ULL, a[i - step - 1] or 0ULL
    out[i] = rest == 0 and high or bit.bor(bit.lshift(high, rest), bit.rshift(low, 64 - rest))
  end
  return out
end

function wide.shr(a, n)
  if n >= 256 then return wide.ZERO end
  local out, step, rest = {}, math.floor(n / 64), n % 64
  for i = 1, 4 do
    local low, high = a[i + step] or 0ULL, a[i + step + 1] or 0ULL
    out[i] = rest == 0 and low or bit.bor(bit.rshift(low, rest), bit.lshift(high, 64 - rest))
  end
  return out
end

function wide.bit(a, n) return tonumber(bit.band(bit.rshift(a[math.floor(n / 64) + 1], n % 64), 1ULL)) end

local masks = {}
local function mask(bits)
  masks[bits] = masks[bits] or wide.shr(wide.bnot(wide.ZERO), 256 - bits)
  return masks[bits]
end

-- The low `bits` of a.
function wide.low(a, bits) return bits >= 256 and a or wide.band(a, mask(bits)) end

-- The low `bits` of a, their highest repeated up to 256.
function wide.sext(a, bits)
  a = wide.low(a, bits)
  return wide.bit(a, bits - 1) == 1 and wide.bor(a, wide.bnot(mask(bits))) or a
end

function wide.eq(a, b) return a[1] == b[1] and a[2] == b[2] and a[3] == b[3] and a[4] == b[4] end

function wide.less(a, b)
  for i = 4, 1, -1 do
    if a[i] ~= b[i] then return a[i] < b[i] end
  end
  return false
end

-- Quotient and remainder; b is not 0.
function wide.divide(a, b)
  local quotient, rest = wide.ZERO, wide.ZERO
  for n = 255, 0, -1 do
    rest = wide.bor(wide.shl(rest, 1), wide.new(wide.bit(a, n)))
    quotient = wide.shl(quotient, 1)
    if not wide.less(rest, b) then rest, quotient = wide.sub(rest, b), wide.bor(quotient, wide.ONE) end
  end
  return quotient, rest
end

-- As a Lua number, for amounts and counts: what is above 2^53 is not exact.
function wide.number(a) return tonumber(a[1]) + tonumber(a[2]) * 2 ^ 64 + tonumber(a[3]) * 2 ^ 128 + tonumber(a[4]) * 2 ^ 192 end

function wide.hex(a)
  local text = ""
  for i = 4, 1, -1 do text = text .. bit.tohex(a[i], 16) end
  return "0x" .. (text:gsub("^0+(.)", "%1"))
end

return wide
