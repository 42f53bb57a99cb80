-- there: runs another spec with machines that run on threads of their own: every m:run is an m:start, m:wait and m:stop.
-- SPDX-License-Identifier: MIT
local machine = require "umbra.machine"

local there = {}

local LIMITS = { "instructions", "until_pc" }      -- that start takes

-- What m:run does, there.
function there.run(m, options)
  local first, rest = {}, {}
  for key, value in pairs(options or {}) do rest[key] = value end
  for _, key in ipairs(LIMITS) do first[key], rest[key] = rest[key], nil end
  m:start(first)
  local ok, result = pcall(m.wait, m, rest)
  m:stop()
  if not ok then error(result, 0) end
  return result
end

local function dressed(m)
  m.run = there.run
  return m
end

-- As umbra.machine, for the spec.
local twin = setmetatable({
  build = function(description) return dressed(machine.build(description)) end,
  load  = function(...) return dressed(machine.load(...)) end,
}, { __index = machine, __call = function(_, ...) return machine(...) end })

-- Defines the tests of spec/NAME_spec.lua once more, but for those whose name has a text of `without`.
function there.include(name, without)
  local chunk = assert(loadfile("spec/" .. name .. "_spec.lua"))
  local outer = getfenv(2)
  setfenv(chunk, setmetatable({
    require = function(what) return what == "umbra.machine" and twin or require(what) end,
    it = function(text, f)
      for _, part in ipairs(without or {}) do if text:find(part, 1, true) then return end end
      outer.it(text, f)
    end,
  }, { __index = outer }))
  chunk()
end

return there
