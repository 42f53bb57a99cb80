-- gdb.points: breakpoints and watchpoints: those that gdb asked for, and the hooks that make them.
--
-- gdb takes all of them out whenever the guest stops and puts them back before it runs on, so hooks are changed only when it runs.
-- Nothing of them is in the guest's memory.
-- SPDX-License-Identifier: MIT
local bit  = require "bit"
local bits = require "umbra.bits"

local points = {}
local Points = {}
Points.__index = Points

-- By gdb's kinds: what a stop reply calls them, and the hook. gdb expects RISC-V to stop before an access, steps over it, and then
-- compares what was there with what is. Breakpoints in software and hardware are the same here.
local KINDS = {
  [0] = { why = "swbreak", hook = "pc" },
  [1] = { why = "hwbreak", hook = "pc" },
  [2] = { why = "watch", hook = "write" },
  [3] = { why = "rwatch", hook = "read" },
  [4] = { why = "awatch", hook = "access" },
}

function points.new(m)
  return setmetatable({ machine = m, wanted = {}, set = {} }, Points)
end

local function key_of(kind, at, size)
  return kind .. ":" .. bit.tohex(at, 16) .. ":" .. (KINDS[kind].hook == "pc" and "" or size)
end

-- The hook of a point; raises where there can be none.
local function hook_of(self, kind, at, size)
  local row = KINDS[kind]
  local options = { call = function(hit)
    self.found = { why = row.why, hart = hit.hart, at = row.hook ~= "pc" and bits.hex(bits.most(hit.addr, at)):sub(3) or nil }
    return true
  end }
  if row.hook == "pc" then options.pc = at
  else options[row.hook], options.before = { at, at + size }, true end
  return self.machine:hook(options)
end

-- False when there can be no such point.
function Points:add(kind, at, size)
  local key = key_of(kind, at, size)
  if self.wanted[key] then return true end
  local ok, hook = pcall(hook_of, self, kind, at, size)
  if not ok then return false end
  hook:detach()
  self.wanted[key] = self.set[key] or hook
  return true
end

function Points:remove(kind, at, size) self.wanted[key_of(kind, at, size)] = nil end
function Points:clear() self.wanted, self.found = {}, nil end

-- The machine gets the hooks that are wanted, and no others.
function Points:apply()
  for key, hook in pairs(self.set) do             -- a set: any order will do
    if not self.wanted[key] then hook:detach() end
  end
  for key, hook in pairs(self.wanted) do          -- a set: any order will do
    if not self.set[key] then hook:attach() end
  end
  self.set = {}
  for key, hook in pairs(self.wanted) do self.set[key] = hook end
end

function Points:has(hook)
  for _, own in pairs(self.set) do if own == hook then return true end end       -- a set: any order will do
  return false
end

-- What the last run came to: { why =, hart =, at = } of a stop reply, or nil.
function Points:hit()
  local found = self.found
  self.found = nil
  return found
end

return points
