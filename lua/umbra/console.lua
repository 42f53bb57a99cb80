-- console: the text side of a serial device: what the guest printed, and what it is sent.
--
--   m.console:expect("login: ", 30)
--   m.console:send "root\n"
--   local rest = m.console:text()
--
-- expect runs the machine until the text came, and forgets what stands before the end of it: the next expect sees only what follows.
-- SPDX-License-Identifier: MIT
local ffi    = require "ffi"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local sched  = require "umbra.sched"
local schema = require "umbra.schema"

local C = clib.C

local console = {}
local Console = { noun = "console" }
Console.__index = Console

local CHUNK = 4096
local MOST_KEPT = 2^20                            -- of text; what is older is dropped
local MOST_AHEAD = 2^16                           -- bytes that a connected console may be behind before the sender is held back

local buffer = ffi.new("uint8_t[?]", CHUNK)

-- console.new(ptr, name): over a um_chardev, which stays the caller's.
function console.new(ptr, name)
  return setmetatable({
    ptr     = ptr,
    name    = name,
    pieces  = {},                                 -- text since byte `start`
    kept    = 0,                                  -- bytes in pieces
    start   = 0,                                  -- bytes dropped before them
    mark    = 0,                                  -- where the next expect looks from, in bytes since the beginning
    pending = "",                                 -- sent, not yet taken by the device
    sink    = nil,                                -- function(bytes): takes the output instead of the text
    watchers = {},                                -- hooks on text: what they have not looked through is their `unseen`
  }, Console)
end

-- All that the guest printed (the last megabyte of it).
function Console:text()
  if #self.pieces > 1 then self.pieces = { table.concat(self.pieces) } end
  return self.pieces[1] or ""
end

local function keep(self, bytes)
  self.pieces[#self.pieces + 1] = bytes
  self.kept = self.kept + #bytes
  if self.kept <= 2 * MOST_KEPT then return end
  local last = self:text():sub(-MOST_KEPT)
  self.start = self.start + self.kept - #last
  self.pieces, self.kept = { last }, #last
end

local function drain_by(self, take)
  local any = false
  while not (self.peer and #self.peer.pending >= MOST_AHEAD) do
    local count = take(self.ptr, buffer, CHUNK)
    if count == 0 then break end
    any = true
    local bytes = ffi.string(buffer, count)
    for _, watcher in ipairs(self.watchers) do watcher.unseen = watcher.unseen .. bytes end
    if self.sink then self.sink(bytes) else keep(self, bytes) end
    if self.peer then self.peer:send(bytes) end
  end
  return any
end

-- Takes what the guest wrote from the device; true when there was something. From a machine that runs on its thread only the bytes;
-- its device is told that there is room while it stands still.
function Console:drain()
  local m = self.machine
  if not (m and sched.is_away(m)) then return drain_by(self, C.um_chardev_take) end
  if m.is_virtual then return false end
  local any = drain_by(self, C.um_chardev_skim)
  if C.um_chardev_starved(self.ptr) then sched.still(m, drain_by, self, C.um_chardev_take) end
  return any
end

-- One line for people.
function Console:describe()
  return ("console %s: %d bytes printed, the last %d kept; %d bytes sent and not yet taken"):format(self.name, self.start + self.kept, self.kept, #self.pending)
end

local function give(self)
  local taken = C.um_chardev_give(self.ptr, self.pending, #self.pending)
  self.pending = self.pending:sub(taken + 1)
end

-- Gives the device as much of the pending input as it takes. With a virtual clock it waits for a look (umbra.machine).
function Console:feed()
  if self.pending == "" then return end
  local m = self.machine
  if not (m and sched.is_busy(m)) then return give(self) end
  if not m.is_virtual and C.um_chardev_room(self.ptr) > 0 then sched.still(m, give, self) end
end

-- How many bytes the device would take now.
function Console:room() return self.pending == "" and C.um_chardev_room(self.ptr) or 0 end

-- Sends bytes to the guest; they arrive as it reads them while the machine runs.
function Console:send(text)
  if type(text) ~= "string" then fault.raise("console:send takes a string, not %s", schema.show(text)) end
  if not self.ptr then fault.raise("console %s: its machine is closed", self.name) end
  self.pending = self.pending .. text
  self:feed()
end

-- Looks for `what` (text, or a Lua pattern) in the text not yet looked through. When found, the mark moves behind it. Returns the
-- match (for a pattern with captures: the captures), or nil.
function Console:find(what, is_pattern)
  local text = self:text()
  local from = math.max(self.mark - self.start, 0) + 1
  local found = { text:find(what, from, not is_pattern) }
  if not found[1] then return end
  self.mark = self.start + found[2]
  if found[3] ~= nil then return unpack(found, 3) end
  return text:sub(found[1], found[2])
end

local function last_line(self)
  local text = self:text():gsub("%s+$", "")
  return text:match "([^\r\n]*)$"
end

local function wait(self, what, seconds, is_pattern)
  if type(what) ~= "string" or what == "" then fault.raise("console:expect takes text to wait for, not %s", schema.show(what)) end
  local m = self.machine
  local limits = { until_text = what, is_pattern = is_pattern, console = self, timeout = seconds }
  local result = m.started and m:wait(limits) or m:run(limits)
  if result.reason == "text" then return unpack(result.found) end
  local why = result.reason == "timeout" and ("did not come within %g seconds"):format(seconds)
    or result.reason == "exit" and ("did not come: the guest exited with code %d"):format(result.code)
    or (result.reason == "pc" or result.reason == "instructions") and "did not come: the machine stands at its limit, " .. result.reason
    or "did not come: the guest switched " .. (result.reason == "reset" and "to reset" or "off")
  fault.raise("console %s: %s %s; its last line: %s", self.name, schema.show(what), why, schema.show(last_line(self)))
end

-- Joins two consoles: what the guest of one prints, the guest of the other is sent, while somebody runs or serves their machines. A
-- guest that does not read holds the other one back. Without a console: no longer.
function Console:connect(other)
  if other ~= nil and (getmetatable(other) ~= Console or other == self) then
    fault.raise("console:connect takes another console, not %s", other == self and "itself" or schema.show(other))
  end
  for _, either in ipairs { self, other } do
    if either.peer then either.peer.peer = nil end
    either.peer = nil
  end
  self.peer = other
  if other then other.peer = self end
end

-- For the machine: its text can be read, and nothing else.
function console.forget(text)
  text:connect(nil)
  text.ptr, text.machine = nil, nil
end

-- Runs the machine until `text` came (expect) or a Lua pattern matched (match); raises when that takes longer than `seconds`
-- (default 60) or the guest ends before. Returns the text, or the pattern's captures.
function Console:expect(text, seconds) return wait(self, text, seconds or 60, false) end
function Console:match(pattern, seconds) return wait(self, pattern, seconds or 60, true) end

return console
