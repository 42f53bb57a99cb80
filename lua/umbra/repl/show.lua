-- show: values as people read them: addresses with their symbol, sizes and times with their unit, tables as trees.
-- SPDX-License-Identifier: MIT
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local units  = require "umbra.units"

local show = {}

local MOST_DEPTH, MOST_ROWS, MOST_TEXT = 4, 100, 65536
local ADDRESS = 65536                             -- a smaller number is no address
local s64 = ffi.typeof "int64_t"

-- Text that a guest may have had a hand in, for a terminal: control characters are shown, not obeyed.
function show.clean(text)
  return (text:gsub("\r\n", "\n"):gsub("[%z\1-\8\11-\31\127]", function(c) return ("\\x%02x"):format(c:byte()) end)
    :gsub("\194([\128-\159])", function(c) return ("\\xc2\\x%02x"):format(c:byte()) end))
end

local function quoted(text)
  local rest = #text > MOST_TEXT and (" ... %d bytes"):format(#text) or ""
  return '"' .. show.clean(text:sub(1, MOST_TEXT):gsub('[\\"]', "\\%0"):gsub("\n", "\\n")) .. '"' .. rest
end

local TIMES = { { 1, "s" }, { 1e-3, "ms" }, { 1e-6, "us" }, { 1e-9, "ns" } }

-- "1.5 ms" of seconds.
function show.time(seconds)
  for _, row in ipairs(TIMES) do
    if math.abs(seconds) >= row[1] or row[2] == "ns" then return ("%.4g %s"):format(seconds / row[1], row[2]) end
  end
end

local BINARY = { { 2^40, "TiB" }, { 2^30, "GiB" }, { 2^20, "MiB" }, { 2^10, "KiB" } }

-- "31.2 MiB" of bytes.
function show.bytes(count)
  for _, row in ipairs(BINARY) do
    if count >= row[1] then return ("%.4g %s"):format(count / row[1], row[2]) end
  end
  return units.format(count) .. " bytes"
end

-- What the name of a field says of its number, or nil.
local function in_units(key, value)
  if type(key) ~= "string" or type(value) ~= "number" then return end
  if key:find "^ns$" or key:find "_ns$" then return show.time(value / 1e9) end
  if key:find "^seconds$" or key:find "_seconds$" then return show.time(value) end
  if (key:find "bytes$" or key:find "^size$") and value >= 1024 then return show.bytes(value) end
end

-- names(address) returns the name of a symbol there, or nil.
local function integer(value, names)
  local decimal = type(value) == "number" and ("%.0f"):format(value) or tostring(value):gsub("[UL]+$", "")
  if bits.u64(value) < ADDRESS or type(value) ~= "number" and ffi.istype(s64, value) and value < 0 then return decimal end
  local name = names and names(value)
  if name then return ("%s <%s>"):format(bits.hex(value), name) end
  return type(value) == "number" and ("%s  %s"):format(decimal, bits.hex(value)) or bits.hex(value)
end

local function scalar(value, names)
  if type(value) == "string" then return quoted(value) end
  if bits.is_integer(value) then return integer(value, names) end
  if type(value) == "number" then return ("%.14g"):format(value) end
  return show.clean(tostring(value))
end

local ORDER = { number = 1, string = 2 }

-- The keys of a table: numbers, then texts, then the rest.
local function sorted(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    local x, y = ORDER[type(a)] or 3, ORDER[type(b)] or 3
    if x ~= y then return x < y end
    if x == 3 then return tostring(a) < tostring(b) end
    return a < b
  end)
  return keys
end

-- An object that has a text of its own, or nil.
local function described(value)
  local meta = getmetatable(value)
  if type(meta) ~= "table" then return end
  if rawget(meta, "__tostring") then return show.clean(tostring(value)) end
  local class = rawget(meta, "held") or meta
  local describe = (rawget(class, "noun") or rawget(value, "describe")) and value.describe
  if type(describe) == "function" then return show.clean(describe(value)) end
  if rawget(class, "noun") then return "a " .. class.noun end
end

local tree

local function row(key, value, names, depth, seen)
  local name = type(key) == "string" and key:find "^[%a_][%w_]*$" and key or "[" .. scalar(key) .. "]"
  if type(value) ~= "table" then
    local unit = in_units(key, value)
    return ("%s = %s%s"):format(name, scalar(value, names), unit and " (" .. unit .. ")" or "")
  end
  local text = seen[value] and "(shown above)" or depth > MOST_DEPTH and "{...}" or described(value)
  if not text then return name .. " = " .. tree(value, names, depth, seen) end
  if text:find "\n" then text = text:match "[^\n]*" .. " ..." end
  return name .. " = " .. text
end

function tree(value, names, depth, seen)
  seen[value] = true
  local lines, keys = {}, sorted(value)
  for i, key in ipairs(keys) do
    if i > MOST_ROWS then
      lines[i] = ("... %d more"):format(#keys - MOST_ROWS)
      break
    end
    lines[i] = row(key, value[key], names, depth + 1, seen)
  end
  seen[value] = nil
  if #lines == 0 then return "{}" end
  local indent = ("  "):rep(depth)
  local flat = "{ " .. table.concat(lines, ", ") .. " }"
  if #flat + #indent <= 76 and not flat:find "\n" then return flat end
  return "{\n" .. indent .. "  " .. table.concat(lines, "\n" .. indent .. "  ") .. "\n" .. indent .. "}"
end

-- Any value. Text that has lines is shown as it is.
function show.value(value, names)
  if type(value) == "string" and value:find "\n" then return (show.clean(value):gsub("\n$", "")) end
  if type(value) ~= "table" then return scalar(value, names) end
  return described(value) or tree(value, names, 0, {})
end

return show
