-- bits: 64-bit values between C and Lua.
--
-- A Lua number is exact up to 2^53, registers and addresses are not so polite. What comes from C is a plain number where that is
-- exact and a uint64_t otherwise (both compare with == and print with bits.hex); what goes to C may be either, and negative numbers
-- mean their two's complement.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

local bits = {}

local u64, i64 = ffi.typeof "uint64_t", ffi.typeof "int64_t"
local EXACT = 2ULL ^ 53

-- A plain number when `value` (uint64_t) is below 2^53, else `value` itself.
function bits.number(value)
  if value < EXACT then return tonumber(value) end
  return value
end

-- `value` (number, int64_t or uint64_t) as uint64_t.
function bits.u64(value)
  if type(value) == "number" and value < 0 then return ffi.cast(u64, ffi.cast(i64, value)) end
  return ffi.cast(u64, value)
end

-- The lesser and the greater of two values, as numbers where that is exact.
function bits.least(a, b) return bits.number(bits.u64(a) < bits.u64(b) and bits.u64(a) or bits.u64(b)) end
function bits.most(a, b) return bits.number(bits.u64(a) > bits.u64(b) and bits.u64(a) or bits.u64(b)) end

-- True for what bits.u64 takes: a whole number of at most 2^64 either way, or a 64-bit integer.
function bits.is_integer(value)
  if type(value) == "number" then return value % 1 == 0 and value >= -2^63 and value < 2^64 end
  return ffi.istype(u64, value) or ffi.istype(i64, value)
end

-- What hexadecimal `text` ("0x80000000") says, as bits.number does; nil when it is none or has more than 64 bits.
function bits.parse(text)
  local digits = text:match "^0[xX]0*(%x+)$"
  if not digits or #digits > 16 then return end
  return bits.number(ffi.cast(u64, tonumber(digits:sub(1, -9), 16) or 0) * 2 ^ 32 + tonumber(digits:sub(-8), 16))
end

-- "0x80000000" of a number or a 64-bit integer.
function bits.hex(value)
  return ("0x%x"):format(bits.u64(value))
end

return bits
