-- sample: takes the times of one case: sets it up, warms it up, and measures its sides turn by turn.
--
-- A side becomes a subject: { measure(n) -> wall, cpu, units; close() } in nanoseconds for n turns. What differs between kinds is in
-- component, guest and process below; everything else treats them alike.
-- SPDX-License-Identifier: MIT
local uv    = require "luv"
local fault = require "umbra.fault"
local host  = require "umbra.bench.host"
local stats = require "umbra.bench.stats"

-- This file is never compiled: a trace that starts in it while a routine is measured would be taken for one of the routine's.
jit.off(true, true)

local sample = {}

local MS = 1e6                                    -- nanoseconds
local SENTINEL = 6616158211573760000              -- a result that no routine gives; exact as double and as 64-bit integer
local TRIVIAL = 5000                              -- nanoseconds a call from which on interpreting the loop around it does not matter
local TURNS = 250                                 -- of a loop that LuaJIT has not compiled yet
local SETTLE = 3 * MS                             -- of calls that are not measured, behind what emptied the caches
local LONG = 100000                               -- nanoseconds from which on a single call is all the warm-up there need be
local TRIES = 3                                   -- at compiling the loop
local HOOKED = 1000                               -- bytecodes between two looks at whether the interpreter runs

local Stopped = {}                                -- raised to leave a case that the user interrupted
sample.Stopped = Stopped

local function check_stop(context)
  if context.stop() then error(Stopped, 0) end
end

-- Calls a user's function; with context.watch at most context.limit seconds of CPU time, and LuaJIT stays off meanwhile, because a compiled
-- loop cannot be stopped. Without it somebody else watches (umbra.bench.run kills the process).
local function watched(context, f, ...)
  if not context.watch or debug.getinfo(f, "S").what == "C" then return f(...) end
  return fault.run(f, context.limit, ...)
end

-- Component ----------------------------------------------------------------------------------------------------------------

-- What keeps LuaJIT from dropping a result, by its type: numbers and cdata are compared, which costs least; what the collector owns is
-- kept, because LuaJIT would not even make what is only compared.
local COMPARE, KEEP = "if routine(s, i) == sentinel then out[1] = i end", "out[1] = routine(s, i)"
local CONSUME = { string = KEEP, table = KEEP, ["function"] = KEEP, userdata = KEEP, thread = KEEP }

-- A loop of its own for every case, so that its traces know this routine alone. result: the type of what the routine returns. One call a
-- turn: with more of them the routine's functions become hot before the loop does, and LuaJIT then often compiles neither.
local function loop_of(routine, result)
  local text = ("local routine, sentinel, out = ...\nreturn function(s, count) for i = 0, count - 1 do %s end end"):format(CONSUME[result] or COMPARE)
  return assert(loadstring(text, "=loop"))(routine, SENTINEL, { false })
end

-- wall and CPU time of loop(state, count).
local function time(loop, state, count)
  local cpu = host.cpu()
  local wall = host.wall()
  loop(state, count)
  wall = host.wall() - wall
  return wall, host.cpu() - cpu
end

-- Runs longer and longer batches for `budget` nanoseconds; returns nanoseconds a call in the last ones, wall and CPU time. Not one
-- turn at first: LuaJIT gives up recording a loop that ends at once, and after some tries it leaves the loop to the interpreter for ever.
local function warm(loop, state, budget, context)
  local count, spent, per_call, cpu_per_call = TURNS, 0
  repeat
    local wall, cpu = time(loop, state, count)
    spent, per_call, cpu_per_call = spent + wall, wall / count, cpu / count
    if wall < budget / 20 and wall < 10 * MS then count = count * 2 end
    check_stop(context)
  until spent >= budget
  return per_call, cpu_per_call
end

-- Bytecodes that the interpreter runs a call: next to none when the loop is compiled, for compiled code calls no hook.
local function interpreted(loop, state, per_call)
  local count = math.ceil(math.min(math.max(5 * MS / per_call, 1), 1e5))
  local hits = 0
  debug.sethook(function() hits = hits + 1 end, "", HOOKED)
  loop(state, count)
  debug.sethook()
  return hits * HOOKED / count
end

-- What measuring itself takes, in nanoseconds: { wall, cpu, call = { wall, cpu } }, of a batch and of a call.
local overhead
local function measure_overhead()
  local loop, count = loop_of(loadstring "", "nil"), 80000           -- an empty function that LuaJIT may compile
  for _ = 1, 20 do loop(nil, count) end
  local function least(calls)
    local wall, cpu = math.huge, math.huge
    for _ = 1, 100 do
      local w, c = time(loop, nil, calls)
      wall, cpu = math.min(wall, w), math.min(cpu, c)
    end
    return wall, cpu
  end
  local wall, cpu = least(0)
  local full_wall, full_cpu = least(count)
  return { wall = wall, cpu = cpu, call = { wall = math.max(full_wall - wall, 0) / count, cpu = math.max(full_cpu - cpu, 0) / count } }
end

-- The loop over `routine` and nanoseconds a call. Short routines must be compiled; and since what LuaJIT makes of the same code depends on
-- which of its parts became hot first, the fastest of some tries counts.
local function loop_for(routine, state, result, context)
  local single, alone, alone_cpu = loop_of(routine, result), math.huge, math.huge
  for _ = 1, TRIES do
    local wall, cpu = time(single, state, 1)
    alone, alone_cpu = math.min(alone, wall), math.min(alone_cpu, cpu)
  end
  if alone * TURNS > context.warm and alone_cpu > LONG then return single, alone end
  local best, least, least_cpu = nil, nil, math.huge
  for _ = 1, TRIES do
    local loop = loop_of(routine, result)
    local wall, cpu = warm(loop, state, context.warm / TRIES, context)
    if (cpu >= TRIVIAL or interpreted(loop, state, wall) < 1) and cpu < least_cpu then best, least, least_cpu = loop, wall, cpu end
  end
  if not best then error(("LuaJIT does not compile the routine: %s"):format(context.aborted or "it gave no reason"), 0) end
  return best, least
end

local function component(side, p, context)
  local state
  if side.setup then state = watched(context, side.setup, p) end
  local subject = {}
  function subject.close()
    if side.teardown then watched(context, side.teardown, state, p) end
  end
  local ok, why = pcall(function()
    local result = type((watched(context, side.routine, state, 0)))
    local loop, per_call = loop_for(side.routine, state, result, context)
    overhead = overhead or measure_overhead()
    subject.per_call, subject.linear, subject.floor = per_call, true, overhead.call
    function subject.measure(count)
      local wall, cpu = time(loop, state, count)
      return wall - overhead.wall - count * overhead.call.wall, cpu - overhead.cpu - count * overhead.call.cpu
    end
  end)
  if ok then return subject end
  pcall(subject.close)
  error(why, 0)
end

-- Guest --------------------------------------------------------------------------------------------------------------------

local END = { exit = true, off = true }

-- Runs machine `m` until `marker` (nil: until the guest ends well).
local function run_to(m, marker, what, context)
  local limit = host.wall() + context.limit * 1e9
  local request = { timeout = 0.25 }              -- seconds between two looks at the limit and at Ctrl-C
  if type(marker) == "string" then request.until_text = marker
  elseif type(marker) == "table" then request.instructions = marker.instructions
  elseif marker then request.until_pc = marker end
  while true do
    local got = m:run(request)
    if got.reason == "text" or got.reason == "pc" or got.reason == "instructions" then return end
    if END[got.reason] and not marker then
      if (got.code or 0) == 0 then return end
      error(("the guest ended with exit code %s"):format(tostring(got.code)), 0)
    end
    if got.reason ~= "timeout" then error(("the guest ended (%s%s) before %s"):format(got.reason, got.code and " " .. got.code or "", what), 0) end
    check_stop(context)
    if host.wall() > limit then error(("no %s within %g seconds"):format(what, context.limit), 0) end
    if request.instructions then request.instructions = request.instructions - got.executed end
  end
end

local function guest(side, p, context)
  local subject = {}
  function subject.measure()
    local m = side.machine(p)
    local ok, wall, cpu, executed = pcall(function()
      if side.from then run_to(m, side.from, "`from`", context) end
      local before = m:counters().instructions
      local c = host.cpu()
      local w = host.wall()
      run_to(m, side.to, side.to and "`to`" or "its end", context)
      w = host.wall() - w
      c = host.cpu() - c
      subject.counters = m:counters()
      return w, c, subject.counters.instructions - before
    end)
    m:close()
    if not ok then error(wall, 0) end
    if executed <= 0 then error("the guest executed nothing between its markers", 0) end
    return wall, cpu, executed
  end
  function subject.close() end
  return subject
end

-- Process ------------------------------------------------------------------------------------------------------------------

-- Whether a command can be started.
local function installed(program)
  if program:find "/" then return uv.fs_access(program, "X") end
  for folder in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    if uv.fs_access(folder .. "/" .. program, "X") then return true end
  end
end
sample.installed = installed

-- A command that runs, in a process group of its own: what it started and left behind ends with it, and so does what holds on to its output.
local Command = {}
Command.__index = Command

local function start(words, context, input)
  local self = setmetatable({ name = words[1], said = "", seen = 0, context = context, input = input }, Command)
  local out, err = uv.new_pipe(), uv.new_pipe()
  self.process, self.pid = uv.spawn(words[1], { args = { unpack(words, 2) }, stdio = { input, out, err }, detached = true },
    function(code, signal) self.code, self.signal = code, signal end)
  if not self.process then
    for _, handle in ipairs { out, err, input } do handle:close() end
    error(("cannot start %s: %s"):format(words[1], self.pid), 0)
  end
  self.open = input and 4 or 3
  function self.closed() self.open = self.open - 1 end
  for _, pipe in ipairs { out, err } do
    pipe:read_start(function(_, bytes)
      if not bytes then return pipe:close(self.closed) end
      self.said = self.said .. bytes
      if self.on_text then self.on_text() end
    end)
  end
  return self
end

-- How it ended.
function Command:ended() return self.signal ~= 0 and "signal " .. self.signal or "exit code " .. self.code end

-- Runs events until done(), or the command has ended. Raises what the user or the clock has against it.
function Command:wait(done)
  local context = self.context
  local limit, look, stopped, late = host.wall() + context.limit * 1e9, uv.new_timer(), nil, nil
  look:start(100, 100, function()
    stopped, late = stopped or context.stop(), host.wall() > limit
    if stopped or late then uv.kill(-self.pid, "sigkill") end
  end)
  while not done() and self.code == nil do uv.run "once" end
  look:close()
  if stopped then error(Stopped, 0) end
  if late then error(("%s: still running after %g seconds"):format(self.name, context.limit), 0) end
end

-- Waits for `text` behind what was waited for before; the time when it was there.
function Command:expect(text)
  local at
  self.on_text = function()
    local _, last = self.said:find(text, self.seen + 1, true)
    if last and not at then at, self.seen = host.wall(), last end
  end
  self.on_text()
  self:wait(function() return at end)
  if at then return at end
  uv.run "nowait"                                 -- what it said last
  error(("%s: %s before it printed %q; it said last: %s"):format(self.name, self:ended(), text, self.said:sub(-200)), 0)
end

function Command:close()
  uv.kill(-self.pid, "sigkill")
  if self.input then self.input:close(self.closed) end
  -- Not to the loop's end, other commands may go on; but nothing of this one may be left to be called.
  while self.code == nil do uv.run "once" end
  self.process:close(self.closed)
  while self.open > 0 do uv.run "once" end
end

-- Runs a command to its end: nanoseconds until it printed `mark` (nil: until it ended), and of CPU time.
local function run_command(words, mark, code_wanted, context)
  local cpu, began, marked = host.used(-1), host.wall(), nil
  local command = start(words, context)
  if mark then
    command.on_text = function()
      if not marked and command.said:find(mark, 1, true) then marked = host.wall() - began end
      if #command.said > 65536 then command.said = command.said:sub(-4096) end
    end
  end
  local ok, why = pcall(command.wait, command, function() end)
  local wall = host.wall() - began
  command:close()
  cpu = host.used(-1) - cpu
  if not ok then error(why, 0) end
  if command.signal ~= 0 or command.code ~= code_wanted then
    error(("%s: %s; it said last: %s"):format(words[1], command:ended(), command.said:sub(-200)), 0)
  end
  if mark and not marked then error(("%s: did not print %q"):format(words[1], mark), 0) end
  return marked or wall, cpu
end

-- A command that is started once and told a line a turn.
local function dialogue(side, p, words, context)
  local line = side.line
  if type(line) == "function" then line = watched(context, line, p) end
  local command = start(words, context, uv.new_pipe())
  local ok, why = pcall(command.expect, command, side.ready)
  if not ok then
    command:close()
    error(why, 0)
  end
  return {
    command = table.concat(words, " "),
    measure = function()
      local began = host.wall()
      command.input:write(line .. "\n")
      local wall = command:expect(side.mark) - began
      return wall, wall                           -- its CPU time is known when it has ended, and not by turns
    end,
    close = function() command:close() end,
  }
end

local function process(side, p, context)
  local words = side.command
  if type(words) == "function" then words = watched(context, words, p) end
  if not installed(words[1]) then return { missing = words[1], close = function() end } end
  if side.ready then return dialogue(side, p, words, context) end
  return {
    command = table.concat(words, " "),
    measure = function() return run_command(words, side.mark, side.code or 0, context) end,
    close = function() end,
  }
end

-- A case -------------------------------------------------------------------------------------------------------------------

local KINDS = { component = component, guest = guest, process = process }

-- Calls that are not measured until the caches, the branch predictors and the clock of the core are what they will be.
local function settle(subject, count)
  local spent = 0
  while spent < SETTLE do
    local wall = subject.measure(count)
    spent = spent + wall
  end
end

-- How often to measure and how many calls at a time: counts, whether they grow.
local function plan(subject, context)
  local per_call, samples, target = subject.per_call, context.samples, context.target
  if subject.linear then
    local d = math.floor(target / per_call / (samples * (samples + 1) / 2))
    if d >= 1 then return function(k) return k * d end, samples, true end
  end
  local count = subject.linear and math.max(1, math.floor(target / samples / per_call)) or 1
  local fitting = math.floor(target / (count * per_call))
  return function() return count end, math.max(math.min(fitting, samples), context.fewest), false
end

local function open(case, side, context)
  for _, program in ipairs(side.needs or {}) do
    if not installed(program) then return { missing = program, close = function() end } end
  end
  local subject = KINDS[case.kind](side, side.params, context)
  if subject.missing or subject.per_call then return subject end
  local wall = subject.measure(1)                 -- warm-up, and how long one takes
  subject.per_call = wall
  return subject
end

-- Notes what LuaJIT does: context.flushed, context.aborted (why the last trace was given up).
local function watch_jit(context)
  local known, vmdef = pcall(require, "jit.vmdef")
  return function(what, _, _, _, code, info)
    if what == "flush" then context.flushed = true end
    if what == "abort" then
      local text = known and type(code) == "number" and vmdef.traceerr[code] or tostring(code)
      local ok, full = pcall(string.format, text, type(info) == "function" and "a function" or tostring(info))
      text = ok and full or text
      if not context.aborted or text:find "^NYI" then context.aborted = text end     -- what it does not know says more than what followed
    end
  end
end

local function take(record, subject, count)
  local wall, cpu, units = subject.measure(count)
  local at = #record.counts + 1
  record.counts[at], record.wall[at], record.cpu[at] = count, wall, cpu
  if units then record.units[at] = units end
end

-- Measures all sides of `case` turn by turn, every side first in every other turn. context: quick, warm and target (nanoseconds for a
-- side), samples (most), fewest, limit (seconds a call or run may take), stop() -> true when the user wants it to end.
-- Returns { sides = { { name, counts, wall, cpu, units, linear, missing, counters, command } }, load, interrupted }.
function sample.run(case, context)
  local subjects, records, most, linear = {}, {}, 0, true
  jit.flush()
  local attached = watch_jit(context)
  jit.attach(attached, "trace")
  local load = host.watch()
  local interrupted
  local ok, why = pcall(function()
    local count_at = {}
    for i, side in ipairs(case.sides) do
      records[i] = { name = side.name, params = side.params, counts = {}, wall = {}, cpu = {}, units = {} }
      subjects[i] = open(case, side, context)
      records[i].missing = subjects[i].missing
      check_stop(context)
      if not subjects[i].missing then
        local n
        count_at[i], n, records[i].linear = plan(subjects[i], context)
        most, linear = math.max(most, n), linear and records[i].linear
      end
    end
    collectgarbage()
    collectgarbage()
    context.flushed = nil
    load = host.watch()
    for i, subject in ipairs(subjects) do
      if subject.linear and not subject.missing then settle(subject, count_at[i](1)) end
    end
    for k = 1, most do
      for j = 1, #subjects do
        local i = k % 2 == 1 and j or #subjects + 1 - j
        if not subjects[i].missing then take(records[i], subjects[i], count_at[i](k)) end
        check_stop(context)
      end
      if context.progress then context.progress(k / most) end
    end
  end)
  local seen = load()
  jit.attach(attached)
  for i, subject in pairs(subjects) do
    records[i].counters, records[i].command, records[i].floor = subject.counters, subject.command, subject.floor
    local closed, text = pcall(subject.close)
    if not closed and ok then ok, why = false, text end
  end
  if why == Stopped then ok, interrupted = true, true end
  if not ok then error(why, 0) end
  if context.flushed and case.kind == "component" then
    error("LuaJIT threw its traces away while this was measured: the figures would be the interpreter's", 0)
  end
  return { sides = records, load = seen, interrupted = interrupted }
end

-- What is said of one side's times. clock: "wall" or "cpu"; per: units a call (nil: what the guest counted). All in nanoseconds a unit.
function sample.estimate(record, clock, per)
  local values, calls, times = {}, {}, record[clock]
  for i, count in ipairs(record.counts) do
    calls[i] = per and count * per or record.units[i]
    values[i] = times[i] / calls[i]
  end
  local options = { clusters = record.processes }
  local median, mean = stats.interval(values, options), stats.mean_interval(values, options)
  local call, least = median.median * (per or 1), record.floor and record.floor[clock] or 0
  if call <= least then                           -- the loop around it takes as much
    error(("%.3g ns a call: that is no time. Does the routine do what it should?"):format(call), 0)
  end
  local result = {
    median = { value = median.median, low = median.low, high = median.high }, mean = { value = mean.mean, low = mean.low, high = mean.high },
    deviation = stats.deviation(values), mad = stats.mad(values), least = stats.sorted(values)[1], samples = #values,
    outliers = stats.outliers(values, record.processes),
  }
  if record.linear and #values > 1 then
    local slope = stats.slope_interval(calls, times, options)
    result.slope = { value = slope.slope, low = slope.low, high = slope.high, r2 = slope.r2 }
  end
  return result, values
end

return sample
