-- bus: serves the accesses of a guest to devices that are written in Lua, and their timers.
--
-- A run of the harts comes back for each such access (UM_EXIT_MMIO); it is answered here and the run goes on. One loop
-- is shaped for LuaJIT's compiler (umbra/bus/loop.lua): it serves what needs no watching and returns for everything else, so that it stays one trace
-- whatever the other devices do. See docs/device.md for what an access costs.
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local host   = require "umbra.host"
local schema = require "umbra.schema"

local C = clib.C

local bus = {}
local Bus = {}
Bus.__index = Bus

local MMIO, HOOK, ATTENTION = C.UM_EXIT_MMIO, C.UM_EXIT_HOOK, C.UM_EXIT_ATTENTION
local REASONS = {
  [C.UM_EXIT_BUDGET] = "budget", [C.UM_EXIT_TIME] = "time", [C.UM_EXIT_HALT] = "halt", [ATTENTION] = "attention", [C.UM_EXIT_STOP] = "stop",
  [C.UM_EXIT_STEP] = "step", [C.UM_EXIT_HOOK] = "hook",
}
local EVER    = 2^63                               -- a budget, or nanoseconds, that are never reached
local EXACT   = 2^53
local NEVER   = 0xffffffffffffffffULL              -- of an alarm
local WATCH   = 1                                  -- seconds a watched function may take
local STEP    = 10000                              -- bytecodes between two looks of the watchdog
local AGAIN   = 1e-5                               -- seconds of guest time between two services of timers that follow a wall clock
local LATE    = 1e-3                               -- seconds up to which a timer that is late does not shift those it starts

local word_t = ffi.typeof "union { uint64_t word; uint8_t byte[8]; }"

local here = debug.getinfo(1, "S").source:match("^@(.*)bus%.lua$")

local function load_loop(way) return assert(loadfile(here .. "bus/loop.lua"))()(way) end

-- bus.new(m): the bus of a machine whose clock and control exist; it closes with the machine.
function bus.new(m)
  local alarm = C.um_alarm_new(m.clock.ptr, m.control.ptr)
  if alarm == nil then fault.raise "bus: the host has no memory for it" end
  return setmetatable({
    machine = m, alarm = alarm, why = ffi.new "struct um_fault", ports = {}, timers = {}, sequence = 0, executed = 0, hertz = m.timebase,
    -- A copy of the loop for each machine: its traces fit the devices of this one.
    loop = load_loop "um_hart_run", there = load_loop "um_runner_run",
    warn = function(text) io.stderr:write("umbra: ", text, "\n") end,
  }, Bus)
end

function Bus:close() C.um_alarm_free(self.alarm) end

-- A port is what the bus knows of a device: { name, at, object, registers, reads, writes, counts }. `reads` and `writes` have
-- what serves an access of exactly a register by (offset * 16 + size): { name, size, call = function or nil, slow = watched }.
function Bus:add(port)
  port.number = #self.ports
  port.counts = { refused = 0, partial = 0, nowhere = 0, dma_refused = 0, unanswered = 0 }
  port.stuck  = {}
  self.ports[port.number + 1] = port
  return port
end

-- Watched calls ------------------------------------------------------------------------------------------------------------

local STUCK = {}                                   -- what the hook raises: no function of a user's can have it

-- Calls f(object, value) interpreted and watched. Returns true and its result, or false when it did not end in time; passes on
-- what it raises.
local function watched(f, object, value)
  local deadline = host.seconds() + WATCH
  local old_hook, old_mask, old_count = debug.gethook()
  local was_on, over, hook = jit.status(), false, nil
  function hook()
    if not over and host.seconds() < deadline then return end
    over = true
    debug.sethook(hook, "", 1)                    -- at every instruction: no pcall in a loop outruns this
    local running = debug.getinfo(2, "f").func
    if running ~= watched and running ~= debug.sethook then error(STUCK, 0) end
  end
  jit.off()
  debug.sethook(hook, "", STEP)
  local ok, result = pcall(f, object, value)
  debug.sethook(old_hook, old_mask, old_count)
  if was_on then jit.on() end
  if over then return false end
  if not ok then error(result, 0) end
  return true, result
end
jit.off(watched)                                  -- a trace that turned the compiler off under itself would help nobody
bus.watched, bus.WATCH = watched, WATCH

-- "FILE:LINE" of a function.
local function place_of(f)
  local info = debug.getinfo(f, "S")
  return info.short_src .. ":" .. info.linedefined
end
bus.place_of = place_of

-- What the function of a device or hook called `name` raised, with a place if it has none, for who called run.
local function blame(name, place, raised)
  if type(raised) == "string" and raised:find "^[^\n]*:%d+: " then error(raised, 0) end
  error(("%s: %s: raised %s"):format(place, name, type(raised) == "string" and raised or schema.show(raised)), 0)
end
bus.blame = blame

-- Calls a function of a device, `what` for messages. nil when it does not end; it is not called again before a reset.
function Bus:call(port, what, f, value)
  if port.stuck[f] then
    port.counts.unanswered = port.counts.unanswered + 1
    return
  end
  local ok, ended, result = pcall(watched, f, port.object, value)
  if not ok then blame(port.name, place_of(f), ended) end
  if ended then return result end
  port.stuck[f] = true
  port.counts.unanswered = port.counts.unanswered + 1
  self.warn(("%s: %s: %s runs longer than %g s and is left out until a reset: reads give 0"):format(place_of(f), port.name, what, WATCH))
end

-- Values -------------------------------------------------------------------------------------------------------------------

-- What a register holds or a function gave, as uint64_t.
function bus.as_word(port, entry, value)
  if bits.is_integer(value) then return bits.u64(value) end
  if type(value) == "number" and math.abs(value) < EXACT then return bits.u64(value < 0 and math.ceil(value) or math.floor(value)) end
  if type(value) == "boolean" then return value and 1ULL or 0ULL end
  local source = entry.call and place_of(entry.call) or port.place
  error(("%s: %s: %s %s, not %s"):format(source, port.name, entry.name, entry.call and "must give a number" or "must hold a number", schema.show(value)), 0)
end

function Bus:read_register(port, entry)
  local value
  if entry.call then
    value = self:call(port, "read_" .. entry.name, entry.call)
    if value == nil and port.stuck[entry.call] then return 0ULL end
  else
    value = port.object[entry.name]
  end
  return bus.as_word(port, entry, value)
end

function Bus:write_register(port, entry, word)
  local value = bits.number(word)
  if entry.call then self:call(port, "write_" .. entry.name, entry.call, value)
  else port.object[entry.name] = value end
end

-- Any access: every register that it touches is read, or written with what it held in the bytes beside, once.
function Bus:serve(port, offset, size, write, value)
  local counts, result, touched = port.counts, word_t(), false
  local given = word_t()
  given.word = value
  for _, register in ipairs(port.registers) do
    local from, to = math.max(offset, register.at), math.min(offset + size, register.at + register.size)
    if from < to then
      touched = true
      if register.at ~= offset or register.size ~= size then counts.partial = counts.partial + 1 end
      local key = register.at * 16 + register.size
      local entry = write and port.writes[key] or not write and port.reads[key]
      if not entry then
        counts.refused = counts.refused + 1
      elseif write then
        local whole = word_t()
        if to - from < register.size then whole.word = bus.as_word(port, { name = register.name }, port.object[register.name]) end
        for at = from, to - 1 do whole.byte[at - register.at] = given.byte[at - offset] end
        if register.size < 8 then whole.word = bit.band(whole.word, bit.lshift(1ULL, 8 * register.size) - 1) end
        self:write_register(port, entry, whole.word)
      else
        local whole = word_t()
        whole.word = self:read_register(port, entry)
        for at = from, to - 1 do result.byte[at - offset] = whole.byte[at - register.at] end
      end
    end
  end
  if not touched then counts.nowhere = counts.nowhere + 1 end
  return result.word
end

-- Timers -------------------------------------------------------------------------------------------------------------------

local function arm(self)
  local first = self.timers[1]
  if not first then
    C.um_alarm_set(self.alarm, NEVER)
    return
  end
  local tick = first.tick
  if self.floor and tick < self.floor then tick = self.floor end
  C.um_alarm_set(self.alarm, tick)
end

-- Guest time in ticks of the machine's timebase; within a timer's function, the tick it was set for unless it is very late.
function Bus:now()
  return self.firing or tonumber(C.um_clock_now(self.machine.clock.ptr))
end

-- Calls `f` (a function, or the name of a method) `ticks` from now.
function Bus:after(port, ticks, f)
  self.sequence = self.sequence + 1
  local timer = { tick = self:now() + math.max(1, math.ceil(ticks)), sequence = self.sequence, port = port, f = f }
  local place = #self.timers + 1
  while place > 1 and self.timers[place - 1].tick > timer.tick do place = place - 1 end
  table.insert(self.timers, place, timer)
  if place == 1 then arm(self) end
  return timer
end

-- Takes out a timer of a device, or all that call the method `which`. False: there was none.
function Bus:cancel(port, which)
  local found = false
  for i = #self.timers, 1, -1 do
    local timer = self.timers[i]
    if timer.port == port and (which == nil or timer == which or timer.f == which) then
      table.remove(self.timers, i)
      found = true
    end
  end
  if found then arm(self) end
  return found
end

-- The timers of a device as text, for hashes: when and what, in the order they will come. (A function has no name to compare.)
function Bus:pending(port)
  local list = {}
  for _, timer in ipairs(self.timers) do
    if timer.port == port then list[#list + 1] = ("%.0f %s"):format(timer.tick, type(timer.f) == "string" and timer.f or "function") end
  end
  return table.concat(list, "\n")
end

-- Calls what is due. A timer that these start is not: the guest runs first.
function Bus:ring()
  local first = self.timers[1]
  if not first then return end
  local clock = self.machine.clock.ptr
  local now = tonumber(C.um_clock_now(clock))
  if first.tick > now then return end
  local due = {}
  while self.timers[1] and self.timers[1].tick <= now do due[#due + 1] = table.remove(self.timers, 1) end
  local ok, raised, late
  for i, timer in ipairs(due) do
    local f = timer.f
    if type(f) == "string" then f = timer.port.object[f] end
    late = late or now - timer.tick > LATE * self.hertz
    self.firing = late and now or timer.tick       -- once it was now, it is not earlier for those behind
    ok, raised = pcall(timer.port.call or self.call, self, timer.port, "timer " .. (type(timer.f) == "string" and timer.f or "function"), f)
    self.firing = nil
    if not ok then                                 -- the rest stays due
      for j = #due, i + 1, -1 do table.insert(self.timers, 1, due[j]) end
      break
    end
  end
  -- On a wall clock the next service waits a little, so that timers as short as serving them takes leave the guest some time.
  self.floor = not C.um_clock_is_virtual(clock) and tonumber(C.um_clock_now(clock)) + math.ceil(AGAIN * self.hertz) or nil
  arm(self)
  if not ok then error(raised, 0) end
end

-- Running ------------------------------------------------------------------------------------------------------------------

-- Answers the access that waits.
local function answer(self, ptr, exit)
  local port = self.ports[exit.window + 1]
  local value = self:serve(port, tonumber(exit.gpa) - port.at, exit.size, exit.write == 1, exit.value)
  C.um_hart_answer(ptr, value, self.why)
end

-- Runs the machine's harts as Hart:run does: at most `budget` instructions and `seconds` of host time. "hook": self.stopped ended it. With a
-- `runner` (um_runner) they run there: what came back is served, and "time" says that they still run.
function Bus:run(budget, seconds, runner)
  if self.serving then fault.raise "a hook cannot run its machine: the run goes on when it returns" end
  local hart = self.machine.hart
  local ptr, exit = hart.ptr, hart.exit
  local deadline = seconds and host.seconds() + seconds or math.huge
  self.budget, self.executed = budget and math.min(budget, EVER) or EVER, 0
  self.stopped = nil
  repeat
    local left = deadline - host.seconds()
    local ns = left < EVER / 1e9 and math.max(left, 0) * 1e9 or EVER
    local ok, waits = pcall(runner and self.there or self.loop, self, runner or ptr, ptr, exit, ns, deadline)
    if not ok and exit.reason == HOOK then self.hooks.failed(self, waits) end
    if not ok then
      local port = self.ports[exit.window + 1]
      blame(port.name, port.place, waits)
    end
    if waits and exit.reason == HOOK then self.hooks.finish(self) elseif waits then answer(self, ptr, exit) end
    if self.stopped then break end
    local again = exit.reason == MMIO or exit.reason == HOOK
    if again and host.seconds() >= deadline then exit.reason = C.UM_EXIT_TIME end
  until exit.reason ~= MMIO and exit.reason ~= HOOK
  -- Only where the alarm rang: a kick comes anywhere, and timers that it made end there would make no two runs alike.
  if exit.reason == ATTENTION and C.um_alarm_rang(self.alarm) then self:ring() end
  return self.stopped and "hook" or REASONS[exit.reason], self.executed
end
jit.off(Bus.run)
jit.off(answer)

return bus
