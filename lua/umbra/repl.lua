-- repl: a session at a prompt, with a machine that runs on its thread meanwhile.
--
-- While a prompt waits, this thread sleeps until a key, a signal or news of the machine comes; a line is run with the JIT off under a
-- count hook, so that Ctrl-C ends it. The line's errors are shown and the session goes on; read from a pipe, they end it.
-- SPDX-License-Identifier: MIT
local ffi      = require "ffi"
local clib     = require "umbra.clib"
local complete = require "umbra.repl.complete"
local edit     = require "umbra.repl.edit"
local fault    = require "umbra.fault"
local help     = require "umbra.help"
local host     = require "umbra.host"
local schema   = require "umbra.schema"
local sched    = require "umbra.sched"
local show     = require "umbra.repl.show"
local words    = require "umbra.repl.words"

local C = clib.C

local repl = {}
local Session = {}
Session.__index = Session

local PROMPT, MORE = "umbra> ", "   ... "
local INT, INTERRUPTED = 2, "interrupted"
local GONE, MISUSED = 141, 126
local LOOK = 1000                                 -- instructions of Lua between two looks whether Ctrl-C was typed
local SLICE = 0.01                                -- seconds that a machine with a debugger runs between two looks at keys

local function values(...) return ... end
local function pack(...) return { n = select("#", ...), ... } end

-- What was raised, as text for people.
local function explain(raised)
  if type(raised) == "table" and raised.text then return raised.text end
  return type(raised) == "string" and raised or "raised " .. schema.show(raised)
end

-- Output ---------------------------------------------------------------------------------------------------------------------

-- Shows a line, also while somebody types one.
function Session:say(text)
  local function write(before)
    io.stdout:write(before, text, "\n")
    io.stdout:flush()
  end
  if self.asking then self.source:aside(write) else write "" end
end

-- Of a value: the name of a symbol there, if the machine has any.
local function namer(session)
  local m = session.env.m
  if help.noun(m) ~= "machine" then return end
  local ok, names = pcall(function() return m.symbols end)
  return ok and function(at) return names:name(at) end or nil
end

function Session:show(...)
  local texts = {}
  for i = 1, select("#", ...) do texts[i] = show.value((select(i, ...)), namer(self)) end
  if #texts > 0 then self:say(table.concat(texts, "\n")) end
end

-- The machine ----------------------------------------------------------------------------------------------------------------

function Session:runs(m) return self.here == m or m.started ~= nil end

function Session:status(m)
  if m.ended then
    return ("ended: %s%s"):format(m.ended.reason, m.ended.reason == "exit" and " with code " .. m.ended.code or "")
  end
  return ("%s, %.0f instructions, pc %s"):format(self:runs(m) and "running" or "standing still", m:counters().instructions, m.symbols:show(m.hart:pc()))
end

-- Runs it on, in the background.
function Session:go(m)
  if m.ended then fault.raise("cont: the guest has ended (%s): system_reset() first", m.ended.reason) end
  if m.debugger then
    self.here = m
  elseif not m.started then
    m:start()
  end
end

-- Makes it stand still. tell: says where.
function Session:stop(m, tell)
  if self.here == m then self.here = nil end
  local result = m:stop()
  if tell then self:say(result and tostring(result) or self:status(m)) end
end

-- Runs it up to a limit, in the foreground, and says where it stands.
function Session:run(m, limits)
  self:stop(m)
  self:say(tostring(m:run(limits)))
end

-- What a machine came to that ran in the background.
local function tell(self, m, ok, result)
  if not ok then return self:say("the machine stands still: " .. show.clean(explain(result))) end
  if result.reason == "reset" then
    self:say "the guest reset its machine"
    m:reset()
    return self:go(m)
  end
  local how = result.reason == "exit" and ("exit with code %d"):format(result.code) or result.reason
  self:say(("the machine stands still: %s, %s"):format(how, (tostring(result):gsub("^%S+ ", ""))))
end

-- Serves machines once, and sleeps until there is something to do. has_news(), if given: whether serving brought something for the caller.
function Session:idle(has_news)
  local here = self.here
  if here then
    local ok, reason = pcall(here.slice, here, nil, SLICE)
    if ok and not here.ended and reason ~= "stop" and reason ~= "hook" then return end
    self.here = nil
    local ended = here.ended or { reason = reason }
    return tell(self, here, ok, ok and setmetatable({ reason = ended.reason, code = ended.code },
      { __tostring = function(r) return r.reason .. " at " .. here.symbols:show(here.hart:pc()) end }) or reason)
  end
  local seen = C.um_sched_news()
  local over, rest = sched.turn()
  for _, m in ipairs(over) do tell(self, m, pcall(m.stop, m)) end
  if #over == 0 and rest and not (has_news and has_news()) and C.um_sched_arm(seen) then self.input:wait() end
end

-- Ends the session behind this line; code: its exit code.
function Session:quit(code)
  code = tonumber(code or 0)
  if not code or code % 1 ~= 0 or code < 0 or code > 255 then fault.raise "quit: an exit code is a whole number from 0 to 255" end
  self.code = code
end

function Session:quit_by(signal, why)
  self.code = signal and 128 + signal or why == "gone" and GONE or self.code or 0
end

function Session:console(m, name) require("umbra.repl.console")(self, m, name) end

-- Lines ----------------------------------------------------------------------------------------------------------------------

-- `info registers`, `x/10i $pc`: a word of the session's with words behind it. A function, or nil.
local function command(self, text)
  local name, format, rest = text:match "^%s*([%a_][%w_.]*)(/?%w*)%s*(.-)%s*$"
  local f = name and self.words[name] or name == "sysbus.WhatIsAt" and self.words.whatis
  if type(f) ~= "function" or format ~= "" and format:sub(1, 1) ~= "/" then return end
  if rest:find "^[=,.:[(]" then return end        -- wrong Lua: `log = = 1`
  local args = {}
  for word in rest:gmatch "%S+" do args[#args + 1] = word:match '^"(.*)"$' or word end
  if format ~= "" then args[2] = format:sub(2) end
  return function() return f(unpack(args, 1, 2 + #args)) end
end

-- The function of a text, and whether what it returns is to be shown; nil and a message; nil and nil where more is to come.
local function compile(self, text, name)
  local expression = text:match "^%s*=(.*)$"
  if expression then text = expression end
  local f, message = load("return " .. text, name, "t", self.env)
  if f then
    local word = text:match "^%s*([%a_][%w_]*)%s*$"
    if word and type(self.words[word]) == "function" and rawget(self.env, word) == self.words[word] then return self.words[word], false end
    -- No tail call, which would leave no line for an error to name.
    local kept = load("return (...)(" .. text .. "\n)", name, "t", self.env)
    return function() return kept(values) end, true
  end
  if not expression then f, message = load(text, name, "t", self.env) end
  if f then return f, false end
  if message:find "near '<eof>'$" then return end
  local found = command(self, text)
  if found then return found, false end
  return nil, message
end

-- Runs f(...) so that Ctrl-C ends it: true and what it returned, or false and what it raised.
local function run(self, f, ...)
  local interrupted
  return pcall(fault.watched, function()
    local signal = not interrupted and self.input:signal()
    if signal == INT and self.interactive then
      interrupted = INTERRUPTED
    elseif signal then
      self:quit_by(signal)
      interrupted = "ended by signal " .. signal
    end
    local m = interrupted and self.env.m
    return not (type(m) == "table" and rawget(m, "inside")) and interrupted or nil
  end, "", LOOK, f, ...)
end

-- Runs what was typed. Returns false where more is to come; raises from a pipe.
local function evaluate(self, text, number)
  if not text:find "%S" then return true end
  local name = self.interactive and "@repl" or "@stdin"
  local f, shown = compile(self, ("\n"):rep(number - 1) .. text, name)
  if not f and not shown then return false end
  local results = f and pack(run(self, f)) or { n = 2, false, shown }
  if results[1] then
    if shown then self:show(unpack(results, 2, results.n)) end
  elseif not self.code then
    local message = show.clean(explain(results[2]))
    if not self.interactive then error({ text = message, code = MISUSED }, 0) end
    io.stderr:write(message == INTERRUPTED and "\n" or "", message, "\n")     -- behind the ^C that the terminal shows
  end
  return true
end

-- The next line, or false at the end; and whether Ctrl-C gave it up.
local function next_line(self, prompt)
  local source = self.source
  source:begin(prompt)
  self.asking = true
  local line, given_up
  repeat
    line = source:take()
    if line == nil then
      local signal = self.input:signal()
      if signal == INT and self.interactive then
        source:clear()
        line, given_up = "", true
      elseif signal then
        self:quit_by(signal)
        line = false
      else
        self:idle()
      end
    end
  until line ~= nil
  self.asking = false
  source:finish()
  return line, given_up
end

-- Asks and runs until the end. Returns the exit code.
local function loop(self)
  local number, text, first = 0, nil, 1
  while not self.code do
    local line, given_up = next_line(self, text and MORE or PROMPT)
    if not line then break end
    number = number + 1
    if line:find "%S" then self.source:remember(line) end
    if not text then first = self.interactive and 1 or number end
    text = text and text .. "\n" .. line or line
    if given_up or evaluate(self, text, first) then text = nil end
  end
  if text and not self.code then
    local message = ("%s:%d: unfinished"):format(self.interactive and "repl" or "stdin", number)
    if not self.interactive then error({ text = message, code = MISUSED }, 0) end
  end
  return self.code or 0
end

-- Sessions -------------------------------------------------------------------------------------------------------------------

-- What lines see: words, the machine as m, modules, and Lua's own.
local function environment(self, m)
  local env = setmetatable({ m = m, machine = require "umbra.machine", dev = require "devices", hex = require("umbra.bits").hex }, { __index = _G })
  for name, word in pairs(self.words) do env[name] = word end         -- a set: any order will do
  function env.print(...)
    local texts = pack(...)
    for i = 1, texts.n do texts[i] = tostring(texts[i]) end
    self:say(table.concat(texts, "\t"))
  end
  local names = { "help" }
  for name, word in pairs(self.words) do names[#names + 1] = type(word) == "function" and name or nil end
  table.sort(names)
  function env.help(thing)
    local name = type(thing) == "string" and type(self.words[thing]) == "function" and thing
    for word, f in pairs(self.words) do                                -- at most one is it
      if f == thing and word ~= "pause" and word ~= "start" then name = word end
    end
    if thing == nil then self:say("words: " .. table.concat(names, " ")) end
    self:say(name and help.word("repl", name) or help.text(thing))
  end
  function env.dofile(path)
    local chunk, why = loadfile(path, "t", env)
    if not chunk then error(why, 0) end
    return chunk()
  end
  self.words.help = env.help
  env._G = env
  return env
end

-- The terminal's own ways: an editor where it can do one, plain lines where not.
local function source_of(self)
  if not self.interactive then return edit.plain(self.input) end
  local terminal = os.getenv "TERM"
  local editor = terminal and terminal ~= "" and terminal ~= "dumb" and edit.open(self.input, function(before)
    local ok, more, list = pcall(complete, self.env, before, words.arguments(self))
    if ok then return more, list end
    return "", {}
  end)
  return editor or edit.plain(self.input, function(text)
    io.stdout:write(text)
    io.stdout:flush()
  end)
end

-- A session over standard input and output with `m` (may be nil), until its end. start: the machine runs from the beginning. Returns
-- the exit code. The machine stays the caller's.
function repl.run(m, options)
  local terminal = host.is_terminal(0)
  local reads = not terminal or host.is_foreground(0)
  local self = setmetatable({ interactive = terminal and reads and host.is_terminal(1), seen = setmetatable({}, { __mode = "k" }) }, Session)
  local why = ffi.new "struct um_fault"
  local bell = fault.check(C.um_sched_bell(why), why)
  self.input = host.input(reads and 0 or nil)
  self.input:join(bell)
  self.words = words.new(self)
  self.env = environment(self, m)
  self.source = source_of(self)
  local ok, code = pcall(function()
    if m and options.start then self:go(m) end
    if self.interactive then
      local what = m and ("m is %s%s; "):format(m.name, options.start and ", running" or "") or ""
      self:say(("umbra: %shelp() lists what there is, Ctrl-D ends"):format(what))
    end
    return loop(self)
  end)
  self.source:finish()
  self.source:close()
  self.input:close()
  if not ok then error(code, 0) end
  return code
end

return repl
