-- fault: errors point at the user's script, not at the toolkit.
--
-- A refusal is raised at the first frame whose source lies outside lua/. One case has no such frame:
-- `return machine {...}` is a tail call and its frame is gone by the time machine() complains. Scripts are
-- therefore run through fault.run, which keeps note of the line the script was on.
-- SPDX-License-Identifier: MIT
local fault = {}

local here = debug.getinfo(1, "S").source:match("^@(.*)umbra/fault%.lua$")   -- .../lua/
local script                                      -- { source, line } of the script being run, or nil

local function is_user(source)
  return source:sub(1, 1) ~= "=" and source:sub(2, #here + 1) ~= here
end

local function user_place()
  local level = 3                                 -- skip user_place and fault.raise
  while true do
    local frame = debug.getinfo(level, "Slf")
    if not frame then return end
    if frame.func == fault.run then return script.name, script.line end
    if frame.what ~= "C" and is_user(frame.source) then return frame.short_src, frame.currentline end
    level = level + 1
  end
end

-- Raises `text:format(...)` as "file:line: text", file:line being the user's. Without arguments the text is taken as it is.
function fault.raise(text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  local file, line = user_place()
  if file then text = ("%s:%d: %s"):format(file, line, text) end
  error(text, 0)
end

-- Passes every refusing C call through: `fault.check(C.um_x(..., why), why)`. Returns a status >= 0, raises the text of `why` otherwise.
function fault.check(status, why)
  if status >= 0 then return status end
  local file, line = user_place()
  local text = require("ffi").string(why.text)
  if file then text = ("%s:%d: %s"):format(file, line, text) end
  return error(text, 0)
end

-- Calls f(...) with look(event, line) as debug hook (`mask`, `count` as debug.sethook has them) and returns what it returns. Once look
-- returns text, f ends with it as an error. The JIT stays off meanwhile: a compiled loop calls no hook, so it could not be interrupted.
function fault.watched(look, mask, count, f, ...)
  local old_hook, old_mask, old_count = debug.gethook()
  local was_on = jit.status()
  local hook, done
  function hook(event, line)
    local text = look(event, line)
    if not text then return end
    local running = debug.getinfo(2, "f").func
    if running == done or running == fault.watched then return end
    debug.sethook(hook, "", 1)                      -- at every instruction: no pcall in a loop outruns this
    error(text, 0)
  end
  jit.off()
  debug.sethook(hook, mask, count)
  function done(ok, ...)
    debug.sethook(old_hook, old_mask, old_count)
    if was_on then jit.on() end
    if not ok then error((...), 0) end
    return ...
  end
  return done(pcall(f, ...))
end

-- Runs a user's chunk (what loadfile gave) and returns what it returns, at most `seconds` long (default 10). Errors pass through.
function fault.run(chunk, seconds, ...)
  local info, limit = debug.getinfo(chunk, "S"), seconds or 10
  local outer, deadline = script, os.clock() + limit
  script = { name = info.short_src, line = info.linedefined }
  local mine, source = script, info.source
  local function look(event, line)
    if event == "line" then
      if debug.getinfo(3, "S").source == source then mine.line = line end
    elseif os.clock() > deadline then
      return ("%s:%d: still running after %g seconds"):format(mine.name, mine.line, limit)
    end
  end
  local function done(ok, ...)
    script = outer
    if not ok then error((...), 0) end
    return ...
  end
  return done(pcall(fault.watched, look, "l", 100000, chunk, ...))
end

return fault
