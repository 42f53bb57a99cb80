-- encode: what an assembler asks of a description: what operands look like, which numbers fit, and which short form an instruction has.
-- SPDX-License-Identifier: MIT
--
-- Fields are read and written by umbra.isa.word; here is what lies around it.
local word = require "umbra.isa.word"

local encode = {}

local SPECIAL = { csr = "csr", rm = "rounding", pred = "fence", succ = "fence" }

-- How text shows `field` in `row`: "x" or "f" (a register), "csr", "rounding", "fence" (a set of iorw), "upper" (bits 31:12 as a
-- number of 20 bits), "target" (the address that a jump goes to) or "number".
function encode.kind(row, field)
  if field.regs then return field.regs end
  if SPECIAL[field.name] then return SPECIAL[field.name] end
  if field.shift == 12 then return "upper" end
  return (row.target or row).meaning.effects.direct and "target" or "number"
end

-- The least and the greatest number of `field`, and the step between numbers.
function encode.range(field)
  local step = 2 ^ field.shift
  local low = field.signed and -2 ^ (field.width - 1) or 0
  return low * step + field.add, (low + 2 ^ field.width - 1) * step + field.add, step
end

-- Whether `number` has bits in `field`.
function encode.fits(field, number)
  local low, high, step = encode.range(field)
  return number >= low and number <= high and (number - field.add) % step == 0
end

-- The word of `row` with these numbers by field name; nil and the name of what does not fit ("where": the condition).
encode.make = word.make

local LOGIC = { ["&"] = "and", ["|"] = "or" }

-- The condition of a row, as people say it.
function encode.condition(node)
  if node.op == "binary" then
    return ("%s %s %s"):format(encode.condition(node.left), LOGIC[node.name] or node.name, encode.condition(node.right))
  end
  return node.op == "number" and node.digits or node.name
end

-- Short forms --------------------------------------------------------------------------------------------------------------

-- { [insn] = { short, ... } }, in the order of the description.
local function shorts_of(description)
  local index = {}
  for _, short in ipairs(description.shorts) do
    index[short.target] = index[short.target] or {}
    table.insert(index[short.target], short)
  end
  return index
end

local indexes = setmetatable({}, { __mode = "k" })

-- The numbers of `short` that expand to `values` of its target; nil when none do.
function encode.contract(short, values)
  local own = {}
  for to, from in pairs(short.feeds) do                  -- each feed is a condition of its own: the order does not matter
    local number = values[to]
    if type(from) == "number" then
      if number ~= from then return end
    else
      if own[from.as] and own[from.as] ~= number or not encode.fits(from, number) then return end
      own[from.as] = number
    end
  end
  return own
end

-- The word of the first short form that expands to exactly `insn` with `values`, and its row; nil when there is none. `accept(row,
-- numbers)` may turn one down.
function encode.shorten(description, insn, values, accept)
  local index = indexes[description]
  if not index then
    index = shorts_of(description)
    indexes[description] = index
  end
  for _, short in ipairs(index[insn] or {}) do
    local own = encode.contract(short, values)
    if own and accept(short, own) then
      local value = word.make(short, own)
      if value then return value, short end
    end
  end
end

return encode
