-- console: a guest's console on the terminal of a session: keys go to the guest until Ctrl-A c.
-- SPDX-License-Identifier: MIT
local fault  = require "umbra.fault"
local host   = require "umbra.host"
local keys   = require "umbra.keys"
local schema = require "umbra.schema"

local MOST_PENDING = 65536                        -- bytes typed ahead of a guest that does not read
local KEYS = { { "c", "back to the prompt" }, { "x", "end the session" } }

local function find(m, name)
  if name == nil then return m.console or fault.raise "console: this machine has none" end
  local names = {}
  for i, text in ipairs(m.consoles) do names[i] = text.name end
  return m.consoles[name] or fault.raise("console: there is no %s%s", schema.show(name), schema.suggest(tostring(name), names))
end

-- What was printed since the console was last looked at here.
local function missed(session, text)
  local seen = session.seen[text] or 0
  local all = text:text()
  return all:sub(math.max(seen - text.start, 0) + 1)
end

local function loop(session, text, tap, state)
  local input = session.input
  while true do
    local signal = input:signal()
    if signal then return session:quit_by(signal) end
    if tap.unseen ~= "" then
      local bytes = tap.unseen
      tap.unseen = ""
      local ok, why = input:write(1, bytes)
      if not ok then return session:quit_by(type(why) == "number" and why or nil, why) end
    end
    local room = MOST_PENDING - #text.pending
    input:want(room > 0)
    local bytes = input:read(room)
    if bytes == "" then return session:quit_by(nil, "gone") end
    if bytes then
      local for_guest, key = state:take(bytes, function(help) input:write(1, help) end)
      text:send(for_guest)
      if key == "x" then session:quit(0) end
      if key then return end
    elseif tap.unseen == "" then
      session:idle(function() return tap.unseen ~= "" end)
    end
  end
end

-- Shows console `name` (default: the machine's) of `m` and what it printed since the last time, until Ctrl-A c.
return function(session, m, name)
  local text = find(m, name)
  if not session.interactive then fault.raise "console: standard input and output are no terminal" end
  if not session:runs(m) and not m.ended then session:go(m) end
  local tap = { unseen = missed(session, text) }
  text.watchers[#text.watchers + 1] = tap
  io.stdout:write(("%s; Ctrl-A c comes back, Ctrl-A h helps\n"):format(text.name))
  io.stdout:flush()
  local restore = host.raw(0)
  local ok, failure = pcall(loop, session, text, tap, keys.new(KEYS))
  if restore then restore() end
  session.input:want(true)
  for i, each in ipairs(text.watchers) do
    if each == tap then table.remove(text.watchers, i) break end
  end
  session.seen[text] = text.start + text.kept
  io.stdout:write "\n"
  if not ok then error(failure, 0) end
end
