-- process: runs the host's programs for a fetch, and ends them when the user interrupts.
-- SPDX-License-Identifier: MIT
--
-- Programs get argument vectors, never a shell's text. A call runs the event loop until the program has ended, so it must
-- not be made from inside a luv callback.

local uv = require "luv"

local process = {}

local SIGNALS = { sigint = 2, sigterm = 15, sighup = 1 }
local GRACE_MS = 2000                                   -- how long a program may take to end when asked

local running, interrupted = {}, nil

local function end_all(signal)
  for _, child in ipairs(running) do child:kill(signal) end
end

-- Raises { interrupted = number } when a signal has come in since process.guard() began.
local function checkpoint()
  uv.run "nowait"
  if interrupted then error { interrupted = interrupted } end
end
process.checkpoint = checkpoint

-- Calls `body`; while it runs SIGINT, SIGTERM and SIGHUP end the programs it started and then `body` itself, by an error
-- { interrupted = number } at its next program or checkpoint. Returns what pcall(body) does.
function process.guard(body)
  local watches = {}
  interrupted = nil
  for _, name in ipairs { "sigint", "sigterm", "sighup" } do
    local watch = uv.new_signal()
    watch:start(name, function()
      interrupted = interrupted or SIGNALS[name]
      end_all "sigterm"
    end)
    watches[#watches + 1] = watch
  end
  local function done(...)
    for _, watch in ipairs(watches) do watch:close() end
    uv.run "nowait"
    interrupted = nil
    return ...
  end
  return done(pcall(body))
end

-- Sleeps, or less when a signal comes in.
function process.sleep(ms)
  local timer, over = uv.new_timer(), false
  timer:start(ms, 0, function() over = true end)
  while not over and not interrupted do uv.run "once" end
  timer:close()
  checkpoint()
end

-- The host's environment as "NAME=value" strings with `changes` applied, sorted: the same call, the same environment.
-- A sanitizer's runtime that was loaded into this process is kept away from others: gpgv never ends under it.
local function environment(changes)
  local all, list = uv.os_environ(), {}
  if (all.LD_PRELOAD or ""):find "lib[%w_.]*[aul]san[%w_.-]*%.so" then all.LD_PRELOAD = nil end
  for name, value in pairs(changes or {}) do all[name] = value end
  for name, value in pairs(all) do list[#list + 1] = name .. "=" .. value end
  table.sort(list)
  return list
end

-- Collects what a stream says: all of it as chunks, and line by line for `on_line` (which may be nil).
local function listen(pipe, on_line)
  local chunks, rest = {}, ""
  pipe:read_start(function(_, data)
    if not data then
      pipe:close()
      return
    end
    chunks[#chunks + 1] = data
    if not on_line then return end
    rest = rest .. data
    rest = rest:gsub("([^\r\n]*)[\r\n]", function(line) on_line(line) return "" end)
  end)
  return chunks
end

-- Starts one program. Returns its record, or nil and why it could not be started.
local function start(argv, options, stdin, stdout)
  local job = { name = argv[1]:match "[^/]*$" }
  local err = uv.new_pipe(false)
  local out = not stdout and uv.new_pipe(false) or nil
  local status = options.on_status and uv.new_pipe(false) or nil
  local args = {}
  for i = 2, #argv do args[i - 1] = argv[i] end
  local nothing = not stdin and uv.fs_open("/dev/null", "r", 0) or nil
  local handle, why
  handle, why = uv.spawn(argv[1], {
    args = args, cwd = options.cwd, env = environment(options.env),
    stdio = { stdin or nothing, stdout or out, err, status },
  }, function(code, signal)
    job.code, job.signal = code, signal
    for i, child in ipairs(running) do
      if child == handle then table.remove(running, i) break end
    end
    handle:close()
  end)
  if nothing then uv.fs_close(nothing) end
  if not handle then
    for _, pipe in ipairs { err, out or err, status or err } do
      if not pipe:is_closing() then pipe:close() end
    end
    return nil, ("cannot run %s: %s"):format(argv[1], tostring(why):match "^ENOENT" and "no such program" or tostring(why))
  end
  running[#running + 1] = handle
  job.err = listen(err)
  if out then job.out = listen(out) end
  if status then listen(status, options.on_status) end
  job.pipes = { err, out or err, status or err }
  return job
end

local function is_over(jobs)
  for _, job in ipairs(jobs) do
    if not job.code then return false end
    for _, pipe in ipairs(job.pipes) do
      if not pipe:is_closing() then return false end
    end
  end
  return true
end

local function finish(jobs)
  local killer
  while not is_over(jobs) do
    if interrupted and not killer then
      killer = uv.new_timer()
      killer:start(GRACE_MS, 0, function() end_all "sigkill" end)
    end
    uv.run "once"
  end
  if killer then killer:close() end
  for _, job in ipairs(jobs) do
    job.err = table.concat(job.err)
    job.out = job.out and table.concat(job.out)
  end
  checkpoint()
end

-- Runs argv[1] with the arguments behind it, standard input empty, and waits for its end. `options`, all optional: `cwd`; `env`, changes
-- to the environment; `on_status`, called with each line written to file descriptor 3. Returns { code, signal, out, err },
-- or nil and one line of text when the program could not be started.
function process.run(argv, options)
  checkpoint()
  local job, why = start(argv, options or {}, nil, nil)
  if not job then return nil, why end
  finish { job }
  return job
end

-- Runs `first | second`; options as above, for both. Returns both results, or nil and one line of text.
function process.pipe(first, second, options)
  checkpoint()
  local ends = assert(uv.pipe())
  local a, b, why
  a, why = start(first, options or {}, nil, ends.write)
  if a then b, why = start(second, options or {}, ends.read, nil) end
  uv.fs_close(ends.read)
  uv.fs_close(ends.write)
  if not b then
    if a then
      end_all "sigterm"
      finish { a }
    end
    return nil, why
  end
  finish { a, b }
  return a, b
end

return process
