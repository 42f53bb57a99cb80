-- sched: machines that run on threads of their own, and what the thread of Lua does for them meanwhile.
--
-- m:start() hands the harts of a machine to a thread in C; from then on that thread owns all that a run touches. What it cannot do
-- itself (an access to a device in Lua, a timer of one, a limit) it leaves in a mailbox and waits. Lua takes it from there in
-- m:wait, m.console:expect and machine.serve; while it is served, and while a call here has the machine stand still for a moment,
-- everything is Lua's. docs/sched.md says what may be called when.
-- SPDX-License-Identifier: MIT
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local host   = require "umbra.host"
local schema = require "umbra.schema"
local ffi    = require "ffi"

local C = clib.C

local sched = {}

local SLICE = 0.01                                -- seconds: the longest between two looks at limits
local EVER  = 2^63                                -- a budget that is never reached

sched.START = {
  { "instructions", type = "integer", min = 1, help = "stand still after so many" },
  { "until_pc", type = "any", help = "stand still before the instruction at this address or symbol" },
}

local SERVE = { { "timeout", type = "number", min = 0, help = "seconds of host time" } }

-- Started machines, oldest first. Weak: one that is forgotten is closed by its guard.
local list, count = setmetatable({}, { __mode = "v" }), 0

local function everyone()
  local alive = {}
  for i = 1, count do
    local m = list[i]
    if m and rawget(m, "started") then alive[#alive + 1] = m end
    list[i] = nil
  end
  count = #alive
  for i, m in ipairs(alive) do list[i] = m end
  return alive
end

-- Standing still -----------------------------------------------------------------------------------------------------------

-- A budget was posted, and what came of it is not accounted for yet.
function sched.is_busy(m)
  return rawget(m, "started") ~= nil and C.um_runner_busy(m.runner)
end

-- The machine belongs to its thread now.
function sched.is_away(m)
  return rawget(m, "started") ~= nil and C.um_runner_runs(m.runner)
end

local function go_on(m, ok, ...)
  if rawget(m, "started") then
    for _, text in ipairs(m.consoles) do text:drain() end
    C.um_runner_resume(m.runner)
  end
  if not ok then error((...), 0) end
  return ...
end

-- f(...) while machine `m` stands still; where it runs on its thread, it is stopped at an instruction and goes on afterwards.
function sched.still(m, f, ...)
  if not (rawget(m, "started") and C.um_runner_pause(m.runner)) then return f(...) end
  return go_on(m, pcall(f, ...))
end

-- While a machine is started its parts have another metatable: their methods make it stand still. So nothing is to be looked up
-- on the way of machines that run here.
local function set(words)
  local all = {}
  for word in words:gmatch "%S+" do all[word] = true end
  return all
end

local RULES = {
  machine = { free = set "wait stop running reset close device", refused = set "run slice start gdb" },
  hart    = { free = set "disassemble", refused = set "run run_code step add close" },
  control = { free = set "kick", refused = set "close" },
  bus     = { still = set "after cancel now" },
  symbols = { still = set "parse add alias" },
  other   = { refused = set "close" },
}

local owners = setmetatable({}, { __mode = "kv" })   -- part -> machine
local classes = {}                                   -- class -> metatable of its objects while their machine is started

local function wrap(name, method, rule)
  if rule.refused and rule.refused[name] then
    return function() fault.raise("%s: the machine is started: m:stop() first", name) end
  end
  if rule.free and rule.free[name] or rule.still and not rule.still[name] then return method end
  return function(self, ...) return sched.still(owners[self], method, self, ...) end
end

local function held_class(class, rule)
  if classes[class] then return classes[class] end
  local methods, held = {}, { noun = class.noun, held = class }
  local index = type(class.__index) == "function" and class.__index or function(_, name) return class[name] end
  function held.__index(part, name)
    local method = index(part, name)
    if type(method) ~= "function" then return method end
    methods[name] = methods[name] or wrap(name, method, rule)
    return methods[name]
  end
  held.__tostring = class.__tostring and wrap("__tostring", class.__tostring, rule)
  classes[class] = held
  return held
end

local function each_part(m, visit)
  visit(m, "machine")
  for i = 0, m.harts - 1 do visit(m.cpu[i], "hart") end
  visit(m.mem, "other")
  visit(m.clock, "other")
  visit(m.control, "control")
  visit(m.bus, "bus")
  if m.logs then visit(m.logs, "other") end
  if rawget(m, "symbols") then visit(m.symbols, "symbols") end
  for _, port in ipairs(m.bus.ports) do
    visit(port.object.irq, "other")
    visit(port.object.mem, "other")
  end
end

-- Gives every part of a started machine its other metatable (again: a reload made new ones).
function sched.hold(m)
  each_part(m, function(part, kind)
    local class = getmetatable(part)
    if class.held then return end
    owners[part] = m
    setmetatable(part, held_class(class, RULES[kind]))
  end)
end

-- The machine is Lua's again.
local function leave(m)
  each_part(m, function(part)
    local class = getmetatable(part)
    setmetatable(part, class.held or class)
  end)
  m.started = nil
end

-- Serving ------------------------------------------------------------------------------------------------------------------

-- What machine.lua knows of limits and looks: finished, budget_of, may_look, stop_at; and its class and rows of limits.
local limits

local function post(m)
  local s = m.started
  if s.result or s.trouble or m.ended then return end
  C.um_runner_post(m.runner, limits.budget_of(m, s) or EVER)
end

-- Serves what came back from a started machine, and lets it run on. over_looks: it may pass the place where a machine with a virtual
-- clock waits for somebody to look at its consoles. The end of the run lands in m.started.result, an error in m.started.trouble.
local function poll(m, over_looks)
  local s = m.started
  if s.result or s.trouble then return end
  local looks = limits.may_look(m)
  if not C.um_runner_busy(m.runner) then
    s.result = limits.finished(m, {}, s)
    if s.result or m.is_virtual and looks and not over_looks then return end
  end
  local budget = limits.budget_of(m, s)
  local ok, reason, executed = pcall(limits.class.slice, m, budget, SLICE, not looks)
  if not ok then
    s.trouble = reason
    return
  end
  s.executed = s.executed + executed
  if s.left then s.left = s.left - executed end
  s.short = reason == "budget" and executed < (budget or EVER)
  s.result = limits.finished(m, {}, s, reason, s.short)
end

-- Makes it stand still and takes what came back, so that Lua's counts are exact.
local function settle(m)
  C.um_runner_pause(m.runner)
  C.um_runner_hold(m.runner, true)
  if C.um_runner_busy(m.runner) then poll(m, true) end
  C.um_runner_hold(m.runner, false)
end

-- f(m, ...), which makes the machine start anew: what came back before is forgotten.
function sched.renew(m, f, ...)
  if not m.started then return f(m, ...) end
  settle(m)
  m.started.result = nil
  f(m, ...)
  if not m.inside and not (m.is_virtual and limits.may_look(m)) then post(m) end
end

-- For machines that run here: the others want to be served too.
function sched.serve_others(m)
  if count == 0 then return end
  for _, other in ipairs(everyone()) do
    if other ~= m then poll(other, false) end
  end
end

local function raise_trouble(s)
  local text = s.trouble
  s.trouble = nil
  if text then error(text, 0) end
end

local function sleep(seen, deadline)
  local seconds = deadline and math.max(math.min(deadline - host.seconds(), SLICE), 0) or SLICE
  C.um_sched_sleep(seen, seconds * 1e9)
end

-- What ended the run, or a wait for it: a result, or nil.
local function look(m, options, state)
  local s = m.started
  raise_trouble(s)
  local result = limits.finished(m, options, state, nil, s.short)
  if result and result.reason ~= "timeout" then return result end
  return s.result or result
end

local function fill(m, result)
  local executed = m.started.executed
  m.started.executed = 0
  return limits.complete(m, result, executed)
end

local function place(m, pc, where)
  if pc == nil or bits.is_integer(pc) then return pc end
  return m.symbols:resolve(pc, where)
end

local function started(m, call)
  return m.started or fault.raise("%s: the machine is not started: m:start() first", call)
end

local function not_inside(m, call)
  if m.inside then fault.raise("%s: not from a function that is called while the machine is served", call) end
end

-- Starting -----------------------------------------------------------------------------------------------------------------

-- For machine.lua: gives its class the methods below.
function sched.install(given)
  limits = given
  local Machine = given.class

  -- Runs the machine on a thread of its own until it ends, one of the limits, or stop.
  function Machine:start(options)
    options = schema.check(options, sched.START, "start")
    not_inside(self, "start")
    if self.debugger then fault.raise "start: gdb looks into this machine: m:run() serves it, here" end
    local until_pc = place(self, options.until_pc, "start: until_pc")
    if until_pc then limits.stop_at(self, until_pc) end
    self:need_bus()
    if not self.runner then
      local ptr = C.um_runner_new(self.hart.ptr, self.clock.ptr, self.control.ptr, self.bus.alarm, self.why)
      if ptr == nil then fault.raise("start: %s", ffi.string(self.why.text)) end
      self.runner, self.closers[#self.closers + 1] = ptr, function() C.um_runner_free(ptr) end
    end
    if limits.may_look(self) then
      for _, text in ipairs(self.consoles) do text:feed() end
    end
    count = #everyone() + 1
    list[count] = self
    self.started = { left = options.instructions, until_pc = until_pc, executed = 0 }
    sched.hold(self)
    post(self)
  end

  -- Whether it was started and has, as far as it was served, not come to an end.
  function Machine:running()
    return self.started ~= nil and self.started.result == nil
  end

  local function end_of(self)
    if self.started.until_pc then limits.stop_at(self, self.started.until_pc, false) end
    leave(self)
  end

  -- Serves a started machine until one of the limits given, or until its run ends. Returns what run returns; after "text" and
  -- "timeout" it runs on.
  function Machine:wait(options)
    options = schema.check(options, limits.RUN, "wait")
    local s = started(self, "wait")
    not_inside(self, "wait")
    local state = { console = options.console or self.console, deadline = options.timeout and host.seconds() + options.timeout }
    local texts = { until_text = options.until_text, is_pattern = options.is_pattern }
    if options.until_text and not state.console then fault.raise("wait: until_text needs a console in the map") end
    local until_pc = place(self, options.until_pc, "wait: until_pc")
    if options.instructions or until_pc then
      settle(self)
      s.left = options.instructions or s.left
      if until_pc then limits.stop_at(self, until_pc) end
    end
    local ok, result = pcall(function()
      local result = options.until_text and limits.finished(self, texts, state)
      while not result do
        local seen = C.um_sched_news()
        for _, m in ipairs(everyone()) do poll(m, m == self) end
        result = look(self, texts, state)
        if not result and C.um_runner_busy(self.runner) then sleep(seen, state.deadline) end
      end
      return result
    end)
    settle(self)
    if until_pc then limits.stop_at(self, until_pc, false) end
    if options.instructions then s.left = nil end
    if not ok then error(result, 0) end
    fill(self, result)
    if result.reason ~= "text" and result.reason ~= "timeout" then
      end_of(self)
    elseif not (self.is_virtual and limits.may_look(self)) then
      post(self)
    end
    return result
  end

  -- Makes it stand still, to be run here or started again. Returns what wait returns: reason is "stop" if nothing else ended the run.
  function Machine:stop()
    if not self.started then return end
    not_inside(self, "stop")
    settle(self)
    local s = self.started
    local result = fill(self, s.result or { reason = "stop" })
    end_of(self)
    raise_trouble(s)
    return result
  end
end

-- For machine.lua: lets go of a machine that is about to be closed.
function sched.abandon(m)
  if not rawget(m, "started") then return end
  C.um_runner_pause(m.runner)
  leave(m)
end

-- For whoever sleeps elsewhere: serves all started machines once. Returns those that came to their end or to grief (stop tells of it),
-- and whether there is nothing more to do before the next news.
function sched.turn()
  local over, rest = {}, true
  for _, m in ipairs(everyone()) do
    poll(m, true)
    if m.started.result or m.started.trouble then
      over[#over + 1] = m
    else
      rest = rest and C.um_runner_busy(m.runner)
    end
  end
  return over, rest
end

-- Serves all started machines until `timeout`, or until each came to its end.
function sched.serve(options)
  options = schema.check(options, SERVE, "serve")
  local deadline = options.timeout and host.seconds() + options.timeout
  while true do
    local seen, going, busy = C.um_sched_news(), false, true
    for _, m in ipairs(everyone()) do
      poll(m, true)
      raise_trouble(m.started)
      if not m.started.result then
        going = true
        busy = busy and C.um_runner_busy(m.runner)
      end
    end
    if not going or deadline and host.seconds() >= deadline then return going end
    if busy then sleep(seen, deadline) end
  end
end

return sched
