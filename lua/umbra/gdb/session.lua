-- gdb.session: one debugger's conversation about a machine: what its packets ask for, and what it is told when the guest stops.
--
-- A session says through `state` whether the guest may run: "halted" (the debugger has it), "running" (until something stops it), or
-- "free" (detached: it runs and nobody is told). Breakpoints and watchpoints are set in the machine when it runs on and never before,
-- because gdb takes all of them out at every stop and puts them back.
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local ffi    = require "ffi"
local bus    = require "umbra.bus"
local clib   = require "umbra.clib"
local packet = require "umbra.gdb.packet"
local points = require "umbra.gdb.points"
local schema = require "umbra.schema"
local target = require "umbra.gdb.target"

local C = clib.C

local Session = {}
Session.__index = Session

local OK, MALFORMED, UNREADABLE = "OK", "E16", "E0e"         -- EINVAL, EFAULT
local SIGINT, SIGTRAP = 2, 5
local PROCESS = 1
local MOST_PRINTED = 2^17                         -- bytes of its output that are shown
local KILLED = 137                                -- the machine's exit code then: 128 + SIGKILL
local STEP_ENABLE, STEP_MASKED = 1, 2             -- bits of qqemu.sstep

-- session(m, send): send(bytes) reaches the debugger.
local function new(m, send)
  local self = setmetatable({
    machine = m, write = send, state = "halted", features = {}, registers = target.registers(m.hart), points = points.new(m),
    general = 0, continued = nil,                 -- harts of Hg and Hc; nil: all
    -- With a virtual clock a step must change nothing, so interrupts come where they would without it.
    step_bits = m.is_virtual and STEP_ENABLE or STEP_ENABLE + STEP_MASKED,
    stop = { signal = SIGTRAP, hart = 0 }, last = nil,
  }, Session)
  self.reader = packet.reader(send)
  m.clock:hold()
  return self
end

function Session:reply(data)
  self.last = packet.wrap(data)
  self.write(self.last)
end

-- Threads are harts, numbered from 1: 0 means any.
function Session:thread(hart)
  return (self.features.multiprocess and ("p%x."):format(PROCESS) or "") .. ("%x"):format(hart + 1)
end

-- Numbers ------------------------------------------------------------------------------------------------------------------

-- "ADDRESS,LENGTH" in hexadecimal: uint64_t and number; nil when it is none.
local function range_of(text)
  local at, size = text:match "^(%x+),(%x+)$"
  if not at or #at > 16 or #size > 8 then return end
  return ffi.cast("uint64_t", tonumber(at:sub(1, -9), 16) or 0) * 2^32 + tonumber(at:sub(-8), 16), tonumber(size, 16)
end

-- The hart meant by a thread id: its number, "all", "any", or nil when there is no such thread.
function Session:hart_of(id)
  local process, thread = id:match "^p(%-?%x+)%.(%-?%x+)$"
  if not process then
    process, thread = id:match "^p(%-?%x+)$", "-1"
    if not process then process, thread = "1", id end
  end
  local number = tonumber(thread, 16)
  if process ~= "-1" and process ~= "0" and tonumber(process, 16) ~= PROCESS then return nil end
  if thread == "-1" then return "all" end
  if number == 0 then return "any" end
  return number and number >= 1 and number <= self.machine.harts and number - 1 or nil
end

-- Stops --------------------------------------------------------------------------------------------------------------------

function Session:stop_text()
  local stop = self.stop
  local told = stop.at or self.features[stop.why]                  -- of breakpoints only clients that asked want to hear
  local why = stop.why and told and stop.why .. ":" .. (stop.at or "") .. ";" or ""
  return ("T%02xthread:%s;%s"):format(stop.signal, self:thread(stop.hart), why)
end

-- The guest stands still and the debugger has it.
function Session:halt(stop)
  local m = self.machine
  for i = 0, m.harts - 1 do m.cpu[i]:pace {} end
  m.clock:hold()
  self.state, self.stop = "halted", stop
  self.general = stop.hart
end

-- The guest runs on. paces: how each hart does, { [hart] = options of Hart:pace }.
function Session:resume(state, paces)
  local m = self.machine
  self.points:apply()
  for i = 0, m.harts - 1 do m.cpu[i]:pace(paces[i] or {}) end
  m.clock:hold(false)
  self.state = state
end

-- After the guest ran: stops it if that is what the debugger waits for. A step may also end in a hook of somebody else's.
function Session:after()
  local m = self.machine
  if self.state ~= "running" then return end
  if m.ended and m.ended.reason ~= "reset" then return self:finish(m.ended.code) end
  local exit = m.hart.exit
  local stop = self.points:hit() or (exit.reason == C.UM_EXIT_STEP or exit.owed == C.UM_EXIT_STEP) and { hart = exit.hart }
  if not stop then return end
  stop.signal = SIGTRAP
  self:halt(stop)
  self:reply(self:stop_text())
end

-- The guest is over: the debugger is told its exit code.
function Session:finish(code)
  self:release()
  self:reply(("W%02x"):format(code % 256) .. (self.features.multiprocess and (";process:%x"):format(PROCESS) or ""))
end

-- The machine is as if no debugger had been there.
function Session:release()
  self.points:clear()
  self:resume("free", {})
end

-- Packets ------------------------------------------------------------------------------------------------------------------

local on = {}                                     -- by first letter: on.m(session, what follows it)
local query, set, verb = {}, {}, {}               -- by name: those of q, Q and v

on["?"] = function(self) return self.state == "free" and "W00" or self:stop_text() end
on["!"] = function() return OK end

function on.g(self)
  local list = {}
  for i = 1, target.GENERAL do list[i] = target.read(self.registers[i], self:hart()) end
  return table.concat(list)
end

function on.G(self, text)
  if #text < target.GENERAL * 16 then return MALFORMED end
  for i = 1, target.GENERAL do
    if not target.write(self.registers[i], self:hart(), text:sub(16 * i - 15, 16 * i)) then return MALFORMED end
  end
  return OK
end

function Session:hart() return self.machine.cpu[self.general] end

function on.p(self, text)
  local row = text:find "^%x+$" and self.registers[tonumber(text, 16) + 1]
  return row and target.read(row, self:hart()) or MALFORMED
end

function on.P(self, text)
  local number, value = text:match "^(%x+)=(%x+)$"
  local row = number and self.registers[tonumber(number, 16) + 1]
  return row and target.write(row, self:hart(), value) and OK or MALFORMED
end

function on.m(self, text)
  local at, size = range_of(text)
  if not at then return MALFORMED end
  local bytes = target.peek(self.machine, self:hart(), at, math.min(size, packet.MOST / 2), self.physical)
  return (bytes ~= "" or size == 0) and packet.hex(bytes) or UNREADABLE
end

local function store(self, head, bytes)
  local at, size = range_of(head or "")
  if not at or not bytes or #bytes ~= size then return MALFORMED end
  return target.poke(self.machine, self:hart(), at, bytes, self.physical) and OK or UNREADABLE
end

function on.M(self, text)
  local head, hex = text:match "^([^:]*):(.*)$"
  return store(self, head, hex and packet.bytes(hex))
end

function on.X(self, text)
  local head, bytes = text:match "^([^:]*):(.*)$"
  return store(self, head, bytes)
end

-- Kinds of gdb's: 0 and 1 breakpoints, 2 to 4 watchpoints.
local function point_of(text)
  local kind, range = text:match "^([0-4]),(.*)$"
  if not kind then return end
  local at, size = range_of(range)
  if at then return tonumber(kind), at, size end
end

function on.Z(self, text)
  local kind, at, size = point_of(text)
  if not kind then return text:find "^[0-4]," and MALFORMED or "" end
  return self.points:add(kind, at, size) and OK or MALFORMED
end

function on.z(self, text)
  local kind, at, size = point_of(text)
  if not kind then return text:find "^[0-4]," and MALFORMED or "" end
  self.points:remove(kind, at, size)
  return OK
end

function on.H(self, text)
  local hart = self:hart_of(text:sub(2))
  if not hart then return MALFORMED end
  if text:sub(1, 1) == "g" then
    if type(hart) == "number" then self.general = hart end
  elseif text:sub(1, 1) == "c" then
    self.continued = type(hart) == "number" and hart or nil
  else
    return MALFORMED
  end
  return OK
end

function on.T(self, text) return type(self:hart_of(text)) == "number" and OK or MALFORMED end

local HELD = { hold = true }

function Session:step_pace() return { step = true, interrupts = bit.band(self.step_bits, STEP_MASKED) == 0 } end

-- Resumes by letters of old, which have no threads: "c", "C05", "s", "S05", with an address to go on at.
local function go(self, step, at)
  if not at then return MALFORMED end
  if at ~= "" then
    local gva = range_of(at .. ",0")
    if not gva then return MALFORMED end
    self.machine.cpu[self.continued or self.general]:set_pc(gva)
  end
  local paces = {}
  if step then paces[self.continued or self.general] = self:step_pace() end
  self:resume("running", paces)
end

function on.c(self, text) return go(self, false, text) end
function on.s(self, text) return go(self, true, text) end
function on.C(self, text) return go(self, false, text:match "^%x%x;?(.*)$") end
function on.S(self, text) return go(self, true, text:match "^%x%x;?(.*)$") end

function on.D(self)
  self:reply(OK)
  self:release()
end

function Session:kill()
  self:release()
  self.machine.ended = { reason = "exit", code = KILLED }
end

function on.k(self) self:kill() end

-- q, Q and v ---------------------------------------------------------------------------------------------------------------

local function named(rows)
  return function(self, text)
    local name, rest = text:match "^([%w.]+)[:;,?=]?(.*)$"
    local f = rows[name]
    if f then return f(self, rest) end
    return ""
  end
end

on.q, on.Q, on.v = named(query), named(set), named(verb)

function query.Supported(self, text)
  for name, sign in text:gmatch "([%w-]+)([+-])" do self.features[name] = sign == "+" end
  return ("PacketSize=%x;qXfer:features:read+;vContSupported+;multiprocess+;QStartNoAckMode+;swbreak+;hwbreak+"):format(packet.MOST)
end

function query.Xfer(self, text)
  local offset, size = text:match "^features:read:target%.xml:(%x+),(%x+)$"
  if not offset then return text:find "^features:read:" and "E00" or "" end
  self.description = self.description or target.describe(self.registers)
  offset, size = tonumber(offset, 16), math.min(tonumber(size, 16), packet.MOST / 2)
  local part = self.description:sub(offset + 1, offset + size)
  return (offset + #part < #self.description and "m" or "l") .. part
end

function query.C(self) return "QC" .. self:thread(self.general) end
function query.Attached() return "1" end
function query.Symbol() return OK end
function query.sThreadInfo() return "l" end

function query.fThreadInfo(self)
  if self.state == "free" then return "l" end
  local list = {}
  for i = 0, self.machine.harts - 1 do list[i + 1] = self:thread(i) end
  return "m" .. table.concat(list, ",")
end

local function is_asleep(hart)
  for _, row in ipairs(hart:state()) do
    if row.name == "waiting" then return row.bytes ~= "\0" end
  end
end

function query.ThreadExtraInfo(self, text)
  local number = self:hart_of(text)
  local hart = type(number) == "number" and self.machine.cpu[number]
  if not hart then return MALFORMED end
  return packet.hex(("hart %d, %s%s"):format(number, hart:privilege(), is_asleep(hart) and ", in wfi" or ""))
end

query["qemu.sstepbits"] = function() return ("ENABLE=%d,NOIRQ=%d"):format(STEP_ENABLE, STEP_MASKED) end
query["qemu.sstep"] = function(self) return ("0x%x"):format(self.step_bits) end
query["qemu.PhyMemMode"] = function(self) return self.physical and "1" or "0" end

set["qemu.sstep"] = function(self, text)
  local value = tonumber(text:match "^0?[xX]?(%x+)$" or "", 16)
  if not value or bit.band(value, STEP_ENABLE) == 0 or value > STEP_ENABLE + STEP_MASKED then return MALFORMED end
  self.step_bits = value
  return OK
end

set["qemu.PhyMemMode"] = function(self, text)
  if not text:find "^[01]$" then return MALFORMED end
  self.physical = text == "1"
  return OK
end

function set.StartNoAckMode(self)
  self:reply(OK)
  self.reader.acks = false
end

function verb.MustReplyEmpty() return "" end

function verb.Cont(self, text)
  if text == "" then return "vCont;c;C;s;S" end
  local paces, any = {}, false
  for action in text:gmatch "[^;]+" do
    local letter, id = action:match "^([cCsS])%x*:?(.*)$"
    local hart = letter and (id == "" and "all" or self:hart_of(id))
    if not hart then return MALFORMED end
    if hart == "any" then hart = self.general end
    for i = 0, self.machine.harts - 1 do
      if not paces[i] and (hart == "all" or hart == i) then
        paces[i], any = letter:lower() == "s" and self:step_pace() or {}, true
      end
    end
  end
  for i = 0, self.machine.harts - 1 do paces[i] = paces[i] or HELD end
  if not any then return MALFORMED end
  self:resume("running", paces)
end

function verb.Attach(self)
  if self.state == "free" then self:halt { signal = SIGTRAP, hart = self.machine.hart.exit.hart } end
  return self:stop_text()
end

function verb.Kill(self)
  self:reply(OK)
  self:kill()
end

-- Monitor ------------------------------------------------------------------------------------------------------------------

-- Runs a line of Lua as a REPL would, with the machine as `m`; returns what it printed and gave. gdb waits two seconds for an answer;
-- a watched function is given one.
local function evaluate(m, line)
  local printed = {}
  local function add(...)
    local list = {}
    for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
    printed[#printed + 1] = table.concat(list, "\t") .. "\n"
  end
  local function help(thing) add(require("umbra.help").text(thing)) end
  local scope = setmetatable({ m = m, print = add, help = help }, { __index = _G })
  local chunk, why = load("return " .. line, "@monitor", "t", scope)
  if not chunk then chunk, why = load(line, "@monitor", "t", scope) end
  if not chunk then return why .. "\n" end
  local function pack(...) return { n = select("#", ...), ... } end
  local ok, ended, values = pcall(bus.watched, function() return pack(chunk()) end)
  if not ok then add(type(ended) == "string" and ended or "raised " .. schema.show(ended))
  elseif not ended then add(("monitor: runs longer than %g s and was stopped"):format(bus.WATCH))
  elseif values.n > 0 then add(unpack(values, 1, values.n)) end
  return table.concat(printed)
end

function query.Rcmd(self, text)
  local line = packet.bytes(text)
  if not line then return MALFORMED end
  self.busy = true
  local ok, output = pcall(evaluate, self.machine, line)
  self.busy = false
  output = ok and output or tostring(output)
  if #output > MOST_PRINTED then output = output:sub(1, MOST_PRINTED) .. ("\n(%d bytes more)\n"):format(#output - MOST_PRINTED) end
  output = packet.hex(output)
  for at = 1, #output, packet.MOST - 2 do self:reply("O" .. output:sub(at, at + packet.MOST - 3)) end
  return OK
end

-- Bytes --------------------------------------------------------------------------------------------------------------------

-- What a client that has detached, but not hung up, may still ask for.
local FREE = { "^[?!HqQ]", "^vAttach", "^vMustReplyEmpty" }

local function allowed(self, data)
  if self.state ~= "free" then return true end
  for _, pattern in ipairs(FREE) do if data:find(pattern) then return true end end
  return false
end

local function answer(self, data)
  local f = on[data:sub(1, 1)]
  if f and not allowed(self, data) then return self:reply(MALFORMED) end
  local reply = f and f(self, data:sub(2)) or f == nil and ""
  if reply then self:reply(reply) end
end

-- What the debugger sent. While the guest runs only an interrupt means something; packets wait until it stands still.
function Session:feed(bytes)
  self.reader:feed(bytes)
  if self.state == "running" then
    if not self.reader:interrupted() then return end
    self:halt { signal = SIGINT, hart = self.machine.hart.exit.hart }
    self:reply(self:stop_text())
  end
  while self.state ~= "running" do
    local kind, data = self.reader:next()
    if not kind then return end
    if kind == "packet" then answer(self, data) end
    if kind == "again" and self.last then self.write(self.last) end
  end
end

return new
