-- run: measures cases in processes of their own, one after the other.
--
-- A process for each case: LuaJIT's traces and the memory of one case do not change the next, a routine that never ends is killed,
-- one that crashes takes nothing with it. A component gets several: where its data and code happen to lie, and what LuaJIT happens to
-- compile, can make more of a difference than what is measured, and within one process it looks like the
-- truth.
--
-- The worker (umbra bench --worker) sends lines of JSON on descriptor 3: { progress = done }
-- as it goes, at last { got = what sample.run gave } or { error = text }.
-- SPDX-License-Identifier: MIT
local cjson  = require "cjson"
local uv     = require "luv"
local bench  = require "umbra.bench"
local host   = require "umbra.host"
local load   = require "umbra.bench.host"
local report = require "umbra.bench.report"

local run = {}

local PROCESSES = 5                               -- for a component
local GRACE = 2                                   -- seconds beyond a limit after which a silent worker is killed
local BEAT = 0.2                                  -- seconds between two signs of life

-- Worker -------------------------------------------------------------------------------------------------------------------

-- The worker's side: measures case `id` of the scenario `path`, as one of `share` processes, and says so on descriptor 3.
function run.worker(path, id, quick, share)
  host.keep_from_children(3)                      -- a command that outlives this process must not look like it
  host.end_with_parent()
  local function say(message)
    local text, at = cjson.encode(message) .. "\n", 1
    while at <= #text do at = at + assert(uv.fs_write(3, text:sub(at), -1)) end
  end
  local signals, stopped, last = host.input(nil), false, 0
  local function stop()
    stopped = stopped or signals:signal() ~= nil
    if host.seconds() - last > BEAT then
      last = host.seconds()
      say { progress = -1 }
    end
    return stopped
  end
  local options = { quick = quick, share = share, watch = false, stop = stop, progress = function(done) say { progress = done } end }
  local ok, why = pcall(function()
    for _, case in ipairs(bench.expand(bench.load(path), quick)) do
      if case.id == id then say { got = bench.sample(case, options) } return end
    end
    error("the scenario file has no such case any more", 0)
  end)
  if not ok then say { error = tostring(why) } end
  signals:close()
  return 0
end

-- Supervisor ---------------------------------------------------------------------------------------------------------------

-- Starts a worker. What came of it is in self when self.code is set.
local function start(case, options)
  local self = { heard = host.seconds(), message = {} }
  local pipe, rest = uv.new_pipe(), ""
  local words = { "bench", "--worker", case.file, case.id, options.quick and "quick" or "full", tostring(options.share) }
  local process, why = uv.spawn(uv.exepath(), { args = words, stdio = { nil, 2, 2, pipe } }, function(code, signal)
    self.code, self.signal = code, signal
  end)
  if not process then error(("cannot start %s: %s"):format(uv.exepath(), why), 0) end
  self.process = process
  pipe:read_start(function(_, bytes)
    if not bytes then
      pipe:close()
      self.ended = true
      return
    end
    self.heard = host.seconds()
    rest = rest .. bytes
    rest = rest:gsub("([^\n]*)\n", function(line)
      local message = cjson.decode(line)
      if message.progress and message.progress >= 0 and options.progress then options.progress(message.progress) end
      if message.got or message.error then self.message = message end
      return ""
    end)
  end)
  return self
end

-- Runs a worker to its end: what sample.run gave there, or nil and why there is nothing.
local function run_worker(case, options)
  local worker = start(case, options)
  local limit, asked, late = case.limit + GRACE, nil, false
  local timer = uv.new_timer()
  timer:start(50, 50, function()
    local now = host.seconds()
    if options.interrupted() and not asked then
      asked = now
      worker.process:kill "sigint"
    end
    late = late or now - worker.heard > limit
    if late or asked and now - asked > GRACE then worker.process:kill "sigkill" end
  end)
  while worker.code == nil or not worker.ended do uv.run "once" end
  timer:close()
  worker.process:close()
  local message = worker.message
  if late then return nil, ("still running after %g seconds: stopped"):format(case.limit) end
  if message.got or message.error then return message.got, message.error end
  if asked then return nil, "interrupted before there was a result" end
  return nil, ("its process ended with %s"):format(worker.signal ~= 0 and "signal " .. worker.signal or "exit code " .. worker.code)
end

-- Appends what another process measured. Each side notes how many of its samples come from each.
local function add(whole, got)
  for i, side in ipairs(got.sides) do
    local into = whole.sides[i]
    for _, key in ipairs { "counts", "wall", "cpu" } do
      for _, value in ipairs(side[key]) do table.insert(into[key], value) end
    end
    into.linear = into.linear and side.linear
    table.insert(into.processes, #side.counts)
  end
  whole.load.waited = whole.load.waited + got.load.waited
end

-- Runs a component in several processes, which share the time and the samples.
local function run_processes(case, options)
  local watch, whole = load.watch(), nil
  for n = 1, PROCESSES do
    local got, why = run_worker(case, {
      quick = options.quick, share = PROCESSES, interrupted = options.interrupted,
      progress = options.progress and function(share) options.progress((n - 1 + share) / PROCESSES) end,
    })
    if not got and not (whole and options.interrupted()) then return nil, why end
    if not whole then
      whole = got
      for _, side in ipairs(whole.sides) do side.processes = { #side.counts } end
    elseif got and not got.interrupted then
      add(whole, got)
    end
    if options.interrupted() then
      whole.interrupted = true
      break
    end
  end
  whole.load = load.judge(watch(), whole.load.waited / PROCESSES)
  return whole
end

local function run_case(case, options)
  local several = case.kind == "component"
  options.share = 1
  local got, why = (several and run_processes or run_worker)(case, options)
  if not got then return report.failed(case, why) end
  return report.record(case, got)
end

-- Measures `cases` (bench.expand) and calls on_record(record) after each. options: quick, progress(case, number, share). Returns the number
-- of the signal that ended it early, or nil.
function run.cases(cases, options, on_record)
  local got
  local watches = {}
  for name, number in pairs { sigint = 2, sigquit = 3, sigterm = 15, sighup = 1 } do    -- any order will do
    local watch = uv.new_signal()
    watch:start(name, function() got = got or number end)
    watches[#watches + 1] = watch
  end
  local ok, why = pcall(function()
    for number, case in ipairs(cases) do
      if got then return end
      on_record(run_case(case, {
        quick = options.quick, interrupted = function() return got end,
        progress = options.progress and function(share) options.progress(case, number, share) end,
      }))
    end
  end)
  for _, watch in ipairs(watches) do watch:close() end
  uv.run "nowait"
  if not ok then error(why, 0) end
  return got
end

return run
