-- word: instruction words from field numbers and back, by the rows of a description.
-- SPDX-License-Identifier: MIT
--
-- Words are Lua numbers of up to 32 bits; field numbers are signed and scaled as the description says.
local eval = require "umbra.isa.eval"

local word = {}

local function bits_of(value, low, count) return math.floor(value / 2 ^ low) % 2 ^ count end

-- The number that `field` has in `value`.
function word.field(field, value)
  local number, at = 0, field.width
  for _, piece in ipairs(field.pieces) do
    local width = piece.hi - piece.lo + 1
    at = at - width
    number = number + bits_of(value, piece.lo, width) * 2 ^ at
  end
  if field.signed and number >= 2 ^ (field.width - 1) then number = number - 2 ^ field.width end
  return number * 2 ^ field.shift + field.add
end

-- The bits that give `field` the number, or nil when no bits do.
function word.bits(field, number)
  local raw = (number - field.add) / 2 ^ field.shift
  if raw % 1 ~= 0 then return end
  if field.signed and raw < 0 then raw = raw + 2 ^ field.width end
  if raw < 0 or raw >= 2 ^ field.width then return end
  local value, at = 0, field.width
  for _, piece in ipairs(field.pieces) do
    local width = piece.hi - piece.lo + 1
    at = at - width
    value = value + bits_of(raw, at, width) * 2 ^ piece.lo
  end
  if word.field(field, value) == number then return value end
end

-- Field numbers of `value` by the names that meanings use.
function word.values(row, value)
  local values = {}
  for _, field in ipairs(row.fields) do values[field.as] = word.field(field, value) end
  return values
end

-- Whether `value` is this row's: its fixed bits, and its `where`.
function word.fits(row, value)
  for bit = 0, row.width - 1 do
    if bits_of(row.mask, bit, 1) == 1 and bits_of(value, bit, 1) ~= bits_of(row.match, bit, 1) then return false end
  end
  return not row.where or eval.holds(row.where, word.values(row, value))
end

-- The word of `row` with these field numbers, bits that the picture leaves open 0; nil and which field does not fit.
function word.make(row, values)
  local value = row.match
  for _, field in ipairs(row.fields) do
    local part = word.bits(field, values[field.as] or 0)
    if not part then return nil, field.as end
    value = value + part
  end
  if row.where and not eval.holds(row.where, values) then return nil, "where" end
  return value
end

-- Field numbers of the target of a short encoding.
function word.expand(short, value)
  local values = {}
  for to, from in pairs(short.feeds) do
    values[to] = type(from) == "table" and word.field(from, value) or from
  end
  return values
end

-- A random word that fits `row`; random(n) gives 0 to n - 1.
function word.random(row, random)
  local value
  repeat
    value = row.match
    for bit = 0, row.width - 1 do
      if bits_of(row.mask, bit, 1) == 0 then value = value + random(2) * 2 ^ bit end
    end
  until word.fits(row, value)
  return value
end

-- The row whose `value` is: finds what the generated decoder finds (the most fixed bits first). nil when there is none.
function word.decode(description, value, width)
  local best, most = nil, -1
  for _, list in ipairs { description.insns, description.shorts } do
    for _, row in ipairs(list) do
      if row.width == width and row.fixed > most and word.fits(row, value) then best, most = row, row.fixed end
    end
  end
  return best
end

return word
