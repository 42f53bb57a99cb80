-- number: the numbers that expressions compute with: 64 bits, wrapping around.
-- SPDX-License-Identifier: MIT
--
-- A number is a Lua number up to 2^53 either way, else an int64_t; it is read as signed. That keeps the usual ones fast and exact.
local bit = require "bit"
local ffi = require "ffi"

local number = {}

local i64, u64 = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local EXACT = 2 ^ 53

local function settle(value)                         -- an int64_t as it should be
  if value <= i64(EXACT) and value >= -i64(EXACT) then return tonumber(value) end
  return value
end

-- The number of `digits` in `base`; false when it has more than 64 bits.
function number.read(digits, base)
  local plain = tonumber(digits, base)
  if plain and plain < EXACT then return plain end
  local value = u64(0)
  for digit in digits:gmatch "%x" do
    local n = tonumber(digit, 16)
    if value > (0xffffffffffffffffULL - n) / base then return false end
    value = value * base + n
  end
  return settle(ffi.cast(i64, value))
end

-- A number from a Lua number, an int64_t or a uint64_t.
function number.from(value) return settle(ffi.cast(i64, type(value) == "number" and i64(value) or value)) end

-- As uint64_t.
function number.unsigned(value) return ffi.cast(u64, type(value) == "number" and i64(value) or value) end

local function signed(f)                             -- an operation on two int64_t
  return function(a, b) return settle(f(i64(a), i64(b))) end
end

local function truth(yes) return yes and -1 or 0 end -- as GNU's assembler has it

local function shift(f)
  return function(a, b)
    if b >= 64 then return 0 end
    return settle(ffi.cast(i64, f(ffi.cast(u64, i64(a)), tonumber(b))))
  end
end

local wide = {
  ["+"] = signed(function(a, b) return a + b end), ["-"] = signed(function(a, b) return a - b end), ["*"] = signed(function(a, b) return a * b end),
  ["/"] = signed(function(a, b) return a / b end), ["%"] = signed(function(a, b) return a % b end),
  ["&"] = signed(bit.band), ["|"] = signed(bit.bor), ["^"] = signed(bit.bxor), ["<<"] = shift(bit.lshift), [">>"] = shift(bit.rshift),
  ["=="] = function(a, b) return truth(i64(a) == i64(b)) end, ["!="] = function(a, b) return truth(i64(a) ~= i64(b)) end,
  ["<>"] = function(a, b) return truth(i64(a) ~= i64(b)) end,
  ["<"] = function(a, b) return truth(i64(a) < i64(b)) end, ["<="] = function(a, b) return truth(i64(a) <= i64(b)) end,
  [">"] = function(a, b) return truth(i64(a) > i64(b)) end, [">="] = function(a, b) return truth(i64(a) >= i64(b)) end,
  ["&&"] = function(a, b) return (a ~= 0 and b ~= 0) and 1 or 0 end, ["||"] = function(a, b) return (a ~= 0 or b ~= 0) and 1 or 0 end,
}

-- `a` operator `b`; nil and why when there is no result. >> brings in zeros, / and % round towards zero.
function number.binary(name, a, b)
  if type(a) == "number" and type(b) == "number" and (name == "+" or name == "-") then
    local sum = name == "+" and a + b or a - b
    if sum < EXACT and sum > -EXACT then return sum end
  end
  if (name == "/" or name == "%") and b == 0 then return nil, "division by zero" end
  if (name == "<<" or name == ">>") and b < 0 then return nil, "a shift by less than 0" end
  return wide[name](a, b)
end

function number.unary(name, a)
  if name == "-" then return settle(-i64(a)) end
  if name == "~" then return settle(bit.bnot(i64(a))) end
  if name == "!" then return a == 0 and 1 or 0 end
  return a
end

-- "4096", "-1", "0xffffffff80000000": as messages show it.
function number.show(value)
  if value > -65536 and value < 65536 then return tostring(tonumber(value)) end
  return ("0x%x"):format(number.unsigned(value))
end

-- The low `bits` (at most 32) from bit `low` on, as a Lua number.
function number.bits(value, low, bits)
  return tonumber(bit.band(bit.rshift(number.unsigned(value), low), 2ULL ^ bits - 1))
end

-- `count` bytes, the least significant first.
function number.bytes(value, count)
  if type(value) == "number" and value >= 0 and count <= 4 then
    local a, b = value % 256, math.floor(value / 256) % 256
    if count == 1 then return string.char(a) end
    if count == 2 then return string.char(a, b) end
    return string.char(a, b, math.floor(value / 65536) % 256, math.floor(value / 16777216) % 256)
  end
  local low = number.bits(value, 0, 32)
  local bytes = number.bytes(low, 4)
  if count <= 4 then return bytes:sub(1, count) end
  return bytes .. number.bytes(number.bits(value, 32, 32), 4)
end

return number
