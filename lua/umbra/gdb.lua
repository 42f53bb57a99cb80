-- gdb: lets a debugger that speaks gdb's remote protocol look into a machine, stop it and run it on.
--
--   local server = m:gdb { port = 1234 }           -- gdb-multiarch -ex "target remote :1234"
--   m:run { timeout = 60 }
--
-- The debugger is served between two slices of a run, and whenever the machine is stopped for it: m:run, expect and `umbra run` all
-- wait then. One debugger at a time; when it goes away the guest runs on as if it had never been there.
-- SPDX-License-Identifier: MIT
local clib    = require "umbra.clib"
local fault   = require "umbra.fault"
local host    = require "umbra.host"
local schema  = require "umbra.schema"
local session = require "umbra.gdb.session"
local socket  = require "umbra.socket"

local C = clib.C

local gdb = {}
local Server = { noun = "gdb" }
Server.__index = Server

gdb.OPTIONS = {
  { "port", type = "integer", min = 0, max = 65535, help = "TCP port; 0: one that is free" },
  { "address", type = "string", default = "127.0.0.1", help = "IPv4 address to listen at, with port" },
  { "path", type = "path", help = "Unix socket, instead of port" },
  { "wait", type = "boolean", default = false, help = "the guest stands still until a debugger has come" },
}

local STARTS = "^[+$\3-]"                         -- what a debugger may begin with; a web browser that is led here does not
local MOST_WAITING = 65536                        -- bytes sent ahead while the guest runs

local function place_of(options)
  if (options.port == nil) == (options.path == nil) then fault.raise "gdb: either `port` or `path` must be given" end
  local text = options.path and "unix:" .. options.path or options.address .. ":" .. options.port
  local place, wanted = socket.place(text)
  if not place then fault.raise("gdb: %s: must be %s", schema.show(text), wanted) end
  return place
end

-- gdb.new(m, { port | path, address, wait }): what m:gdb makes. server.place says where it listens, as gdb's `target remote` takes it.
function gdb.new(m, options)
  options = schema.check(options, gdb.OPTIONS, "gdb")
  if m.debugger then fault.raise("gdb: this machine has a server already, at %s", m.debugger.place) end
  local listener = socket.listen(place_of(options))
  local self = setmetatable({
    machine = m, listener = listener, place = socket.show(listener.place), poller = host.poller(), waits = options.wait,
  }, Server)
  self.fd = self.poller.fd
  self.poller:add(listener.fd)
  m.control:watch(self.fd)
  m.debugger = self
  return self
end

local function drop(self)
  local client = self.client
  self.client = nil
  if client.session then client.session:release() end
  client.stream:close()
end

-- True when somebody new came.
local function greet(self)
  local stream = self.listener:accept()
  if not stream then return false end
  if self.client then
    stream:write "umbra: another debugger is connected\n"
    stream:close()
    return false
  end
  self.client = { stream = stream }
  self.poller:add(stream.fd)
  return true
end

-- A debugger shows itself by its first byte; from then on the machine is its.
local function listen_to(self, bytes)
  local client = self.client
  if not client.session then
    if not bytes:find(STARTS) then
      client.stream:write "umbra: this is a gdb server\n"
      return drop(self)
    end
    self.waits = false
    client.session = session(self.machine, function(text) client.alive = client.stream:write(text) end)
    client.alive = true
  end
  client.session:feed(bytes)
  local gone = not client.alive or #client.session.reader.rest > MOST_WAITING
  if gone and self.client then drop(self) end     -- a line of its own may have closed the server
end

local function serve(self)
  local stream = self.client.stream
  local bytes = ""
  if stream:flush() then bytes = stream:read() end
  if bytes == "" then drop(self)
  elseif bytes then listen_to(self, bytes) end
end

-- Everything that came since the last look.
local function look(self)
  if self.client then serve(self) end
  if self.fd and greet(self) then serve(self) end
end

-- Whether the machine has to stand still now.
function Server:holds()
  local talk = self.client and self.client.session
  if talk then return talk.state == "halted" end
  return self.waits
end

-- Serves the debugger. While it holds the machine, for up to `seconds`; returns true if it still does.
function Server:serve(seconds)
  local talk = self.client and self.client.session
  if talk and talk.busy then fault.raise "the machine is stopped for its debugger: it runs on when that continues" end
  look(self)
  local deadline = host.seconds() + (seconds or 0)
  while self.fd and self:holds() and not self.machine.ended do
    local left = deadline - host.seconds()
    if left <= 0 then return true end
    self.poller:wait(left)
    look(self)
  end
  return false
end

-- After a slice, for Machine:slice: tells the debugger what happened if it is the one to know. Returns what others are to make of it.
function Server:after(reason)
  local talk = self.client and self.client.session
  if not talk then return reason end
  local ours = reason == "step" or reason == "hook" and talk.points:has(self.machine.bus.stopped.hook)
  talk:after()
  if not ours then return reason end
  return self.machine.hart.exit.owed == C.UM_EXIT_STOP and "stop" or "time"    -- a stop of the script's may be at the same place
end

-- The debugger is let go; the machine runs on without one.
function Server:close()
  if not self.fd then return end
  if self.client then drop(self) end
  self.machine.control:watch(nil)
  self.machine.debugger = nil
  self.listener:close()
  self.poller:close()
  self.fd = nil
end

return gdb
