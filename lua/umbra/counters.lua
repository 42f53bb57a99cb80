-- counters: trees of what was counted, and their differences.
-- SPDX-License-Identifier: MIT
local fault  = require "umbra.fault"
local schema = require "umbra.schema"

local counters = {}
local Counters = {}
Counters.__index = Counters

-- What is no count of events but how much there is now.
local LEVELS = { alive = true, bytes = true, mapped_bytes = true }
-- What is listed by what happened: what did not is left out.
local SPARSE = { exceptions = true, interrupts = true, calls_by_name = true }

local function difference(now, before, sparse)
  local result = {}
  for key, value in pairs(now) do                 -- each by itself: any order will do
    local old = before[key]
    if type(value) == "table" then
      result[key] = difference(value, type(old) == "table" and old or {}, SPARSE[key])
    else
      local count = LEVELS[key] and value or value - (old or 0)
      if count ~= 0 or not sparse then result[key] = count end
    end
  end
  return result
end

-- A tree of numbers with the method `since`.
function counters.new(tree) return setmetatable(tree, Counters) end

-- What was counted between `before` and this: a tree of the same form.
function Counters:since(before)
  if getmetatable(before) ~= Counters then fault.raise("since: what m:counters() gave earlier, not %s", schema.show(before)) end
  return counters.new(difference(self, before))
end

return counters
