-- schema: option tables are checked against what they may hold.
--
-- A declaration is an array of rows, in the order help should list them:
--
--   { "entries", type = "integer", default = 512, min = 16, max = 65536, power_of_two = true, help = "entries a kind" }
--
-- The name stands first or as `name =`. Types: integer, number, string, boolean, table, function, any, enum (values = {...}),
-- size (bytes, as a number or as text like "512M"), address (an integer, as a number or as text like "0x80000000"), path (text).
-- A value that is text is converted where the type asks for a number, so that options from a command line and from Lua are
-- checked by the same rows.
-- SPDX-License-Identifier: MIT
local ffi   = require "ffi"
local bits  = require "umbra.bits"
local fault = require "umbra.fault"
local units = require "umbra.units"

local schema = {}

local function show(value)
  if type(value) == "string" then return '"' .. (value:gsub("[%c\"\\]", function(c) return ("\\%d"):format(c:byte()) end)) .. '"' end
  if type(value) == "number" then
    if value % 1 == 0 and math.abs(value) <= 2^53 then return ("%.0f"):format(value) end
    return ("%.14g"):format(value)
  end
  if type(value) == "boolean" or value == nil then return tostring(value) end
  return "a " .. type(value)
end
schema.show = show

-- Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
local function distance(a, b)
  local before, row, next_row = {}, {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    next_row[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(row[j] + 1, next_row[j - 1] + 1, row[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then best = math.min(best, before[j - 2] + 1) end
      next_row[j] = best
    end
    before, row, next_row = row, next_row, before
  end
  return row[#b]
end

-- The entry of the array `names` that `word` was meant to be, or nil when none is near.
function schema.nearest(word, names)
  word = word:lower()
  local best, best_distance = nil, math.min(3, #word < 3 and 0 or math.floor(#word / 2)) + 1     -- of two letters, one is half
  for _, name in ipairs(names) do
    local d = distance(word, name:lower())
    if d < best_distance then best, best_distance = name, d end
  end
  if best then return best end
  for _, name in ipairs(names) do                 -- an abbreviation: `mem` for `memory`
    if #word >= 2 and name:lower():sub(1, #word) == word then return name end
  end
end

-- ", did you mean `x`?" or "; known are a, b, c": the end of a message about a name that is none of `names`.
function schema.suggest(word, names)
  local near = schema.nearest(tostring(word), names)
  if near then return (", did you mean `%s`?"):format(near) end
  if #names == 0 then return "; none is known here" end
  return "; known: " .. table.concat(names, ", ")
end

local convert = {}

local function number_of(value)
  if type(value) == "string" then value = tonumber(value) end
  if type(value) == "number" and value == value then return value end
end

function convert.integer(value)
  local n = number_of(value)
  if n and n % 1 == 0 and math.abs(n) <= 2^53 then return n end
  return nil, "an integer"
end

function convert.number(value)
  local n = number_of(value)
  if n and math.abs(n) ~= math.huge then return n end
  return nil, "a number"
end

function convert.size(value)
  if type(value) == "string" then
    local bytes, why = units.parse(value)
    if bytes then return bytes end
    return nil, why
  end
  local n = convert.integer(value)
  if n and n >= 0 then return n end
  return nil, "a size in bytes, or text like \"512M\""
end

function convert.address(value)
  local n = convert.integer(value)
  if n and n >= 0 then return n end
  if type(value) == "string" and value:find "^0[xX]%x+$" and #value <= 18 then value = bits.parse(value) end
  if ffi.istype("uint64_t", value) or ffi.istype("int64_t", value) then return bits.number(bits.u64(value)) end
  return nil, "an address like 0x80000000"
end

function convert.string(value)
  if type(value) == "string" then return value end
  return nil, "a string"
end

function convert.path(value)
  if type(value) == "string" and value ~= "" and not value:find "%z" then return value end
  return nil, "the path of a file"
end

local BOOLEAN = { ["true"] = true, on = true, yes = true, ["1"] = true, ["false"] = false, off = false, no = false, ["0"] = false }

function convert.boolean(value)
  if type(value) == "boolean" then return value end
  if type(value) == "string" and BOOLEAN[value] ~= nil then return BOOLEAN[value] end
  return nil, "true or false"
end

function convert.enum(value, row)
  for _, allowed in ipairs(row.values) do
    if value == allowed or type(value) == "string" and value == tostring(allowed) then return allowed end
  end
  local shown = {}
  for i, allowed in ipairs(row.values) do shown[i] = show(allowed) end
  return nil, "one of " .. table.concat(shown, ", ")
end

function convert.table(value)
  if type(value) == "table" then return value end
  return nil, "a table"
end

convert["function"] = function(value)
  if type(value) == "function" then return value end
  return nil, "a function"
end

function convert.any(value) return value end

local function is_power_of_two(n)
  while n > 1 do n = n / 2 end
  return n == 1
end

-- "16 to 65536", "at least 1", "at most 9" of a row with `min` or `max`; format shows a number.
local function range_text(row, format)
  if row.min and row.max then return (row.min == row.max) and format(row.min) or ("%s to %s"):format(format(row.min), format(row.max)) end
  if row.min then return "at least " .. format(row.min) end
  return "at most " .. format(row.max)
end

-- What `value` means under `row`: the converted value, or nil and what would have been right.
function schema.convert(row, value)
  local kind = row.type or "any"
  local into = convert[kind]
  if not into then error(("schema: row `%s` has unknown type `%s`"):format(tostring(row.name or row[1]), tostring(kind)), 0) end
  local got, wanted = into(value, row)
  if got == nil then return nil, wanted end
  if row.max and type(got) == "cdata" then return nil, ("at most 0x%x"):format(row.max) end         -- an address above 2^53
  if type(got) == "number" then
    local format = show
    if kind == "size" then format = units.format end
    if kind == "address" then format = function(n) return ("0x%x"):format(n) end end
    if row.min and got < row.min or row.max and got > row.max then return nil, range_text(row, format) end
    if row.power_of_two and not is_power_of_two(got) then return nil, "a power of two" end
    if row.multiple_of and got % row.multiple_of ~= 0 then return nil, "a multiple of " .. format(row.multiple_of) end
  end
  return got
end

-- A copy of `options` with defaults filled in and text converted. Refuses an unknown key, a missing required one and a value
-- that does not fit, naming `where` (a prefix like "cpu", may be nil), the key, the value and what would be right.
-- `raise(text)` takes the refusal; without it, it is raised at the user's line.
function schema.check(options, declared, where, raise)
  raise = raise or function(text) fault.raise("%s", text) end
  if options == nil then options = {} end
  if type(options) ~= "table" then raise(("`%s` must be a table, not %s"):format(where or "options", show(options))) end
  local prefix = where and where .. "." or ""
  local known, names, result = {}, {}, {}
  for i, row in ipairs(declared) do
    names[i] = row.name or row[1]
    known[names[i]] = row
  end
  local given = {}
  for key in pairs(options) do given[#given + 1] = key end         -- sorted below: the first refusal is always the same one
  table.sort(given, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(given) do
    if not known[key] then
      if type(key) == "number" then
        raise(("`%s` takes named keys only: what is %s doing there?"):format(where or "options", show(options[key])))
      end
      raise(("unknown key `%s%s`%s"):format(prefix, tostring(key), schema.suggest(key, names)))
    end
  end
  for i, row in ipairs(declared) do
    local name = names[i]
    local value = options[name]
    if value == nil then
      if row.required then raise(("missing key `%s%s`%s"):format(prefix, name, row.help and " (" .. row.help .. ")" or "")) end
      value = row.default
    end
    if value ~= nil then
      local got, wanted = schema.convert(row, value)
      if got == nil then raise(("`%s%s` must be %s, not %s"):format(prefix, name, wanted, show(value))) end
      result[name] = got
    end
  end
  return result
end

-- What a row's values are limited to, as text for people; nil: nothing.
function schema.range(row)
  local parts = {}
  if row.min or row.max then parts[1] = range_text(row, row.type == "size" and units.format or row.type == "address" and bits.hex or show) end
  if row.power_of_two then parts[#parts + 1] = "a power of two" end
  if row.multiple_of then parts[#parts + 1] = "a multiple of " .. show(row.multiple_of) end
  return parts[1] and table.concat(parts, ", ") or nil
end

return schema
