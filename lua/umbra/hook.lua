-- hook: calls Lua when a guest comes to a place or does something.
--
--   local h = m:hook { pc = "do_exit", when = "a0 != 0", call = function(hit) print(hit.cpu:reg "a0") end }
--   m:run { timeout = 10 }
--   h:counters().hits
--   h:detach()
--
-- What instructions, accesses and traps are about C notices (csrc/cpu/riscv/hook.c), conditions included: the run comes back with a
-- hit, the bus has it served here and runs on. Guest time is the bus's, text the consoles'.
-- SPDX-License-Identifier: MIT
local bit       = require "bit"
local ffi       = require "ffi"
local bits      = require "umbra.bits"
local bounded   = require "umbra.bounded"
local bus       = require "umbra.bus"
local clib      = require "umbra.clib"
local condition = require "umbra.hook.condition"
local cpu       = require "umbra.cpu"
local fault     = require "umbra.fault"
local host      = require "umbra.host"
local sched     = require "umbra.sched"
local schema    = require "umbra.schema"

local C = clib.C

local number = bits.number
local ADDR, SIZE, VALUE, OLD, WRITE = C.UM_FIELD_ADDR, C.UM_FIELD_SIZE, C.UM_FIELD_VALUE, C.UM_FIELD_OLD, C.UM_FIELD_WRITE
local CAUSE, TVAL = C.UM_FIELD_CAUSE, C.UM_FIELD_TVAL

local hook = {}
local Hook = { noun = "hook" }
Hook.__index = Hook

local ALL  = 0xffffffffffffffffULL
local KEPT = 4096                                  -- bytes of text that a match may stretch over from one look to the next

-- What is known of a hit; fields that its kind does not have are nil.
local Hit = {}
Hit.__index = Hit

hook.OPTIONS = {
  { "pc", help = "an instruction, before it is executed: address, symbol or { from, to }" },
  { "read", help = "loads from an address or { from, to }, once they are done" },
  { "write", help = "stores to it, once they are done" },
  { "access", help = "both" },
  { "mmio", help = "accesses that reach a device: a row of the map, { from, to } of guest-physical addresses, or \"any\"" },
  { "trap", help = "exceptions that are taken: a cause's name or number, a list of them, or \"any\"" },
  { "interrupt", help = "interrupts that are taken, likewise" },
  { "text", type = "string", help = "what a console prints" },
  { "at", type = "number", min = 0, help = "guest time in seconds since power-on" },
  { "every", type = "number", min = 1e-9, help = "guest time: so many seconds apart" },
  { "when", type = "string", help = "a condition, checked before Lua is called" },
  { "call", type = "function", help = "function(hit); true: the run comes back" },
  { "stop", type = "boolean", default = false, help = "the run comes back after the call" },
  { "before", type = "boolean", default = false, help = "read, write and access hit before they are done" },
  { "physical", type = "boolean", default = false, help = "addresses of read, write and access are guest-physical" },
  { "hart", type = "integer", min = 0, max = 7, help = "only this one" },
  { "is_pattern", type = "boolean", default = false, help = "text is a Lua pattern" },
  { "console", type = "string", help = "row whose text it is; default: the machine's" },
}

local KINDS = { "pc", "read", "write", "access", "mmio", "trap", "interrupt", "text", "at", "every" }
local BITS = {
  pc = C.UM_HOOK_PC, read = C.UM_HOOK_READ, write = C.UM_HOOK_WRITE, access = C.UM_HOOK_READ + C.UM_HOOK_WRITE,
  mmio = C.UM_HOOK_READ + C.UM_HOOK_WRITE + C.UM_HOOK_DEVICE, trap = C.UM_HOOK_EXCEPTION, interrupt = C.UM_HOOK_INTERRUPT,
}
local EVENT = { pc = "pc", read = "access", write = "access", access = "access", mmio = "access", trap = "trap", interrupt = "trap" }   -- of what C notices

-- Where ---------------------------------------------------------------------------------------------------------------------

local function address_of(m, kind, value)
  return bits.u64(m.symbols:resolve(value, ("hook: `%s`"):format(kind)))
end

-- First and last address of a place: one address, or { from, to } without `to`.
local function range_of(m, kind, value)
  if type(value) ~= "table" then
    local at = address_of(m, kind, value)
    return at, at
  end
  for key in pairs(value) do                      -- a set of two: any order will do
    if key ~= 1 and key ~= 2 then fault.raise("hook: `%s` takes { from, to }, not a key %s", kind, schema.show(key)) end
  end
  local from, to = address_of(m, kind, value[1]), address_of(m, kind, value[2])
  if to <= from then fault.raise("hook: `%s`: the range from %s up to %s is empty", kind, bits.hex(from), bits.hex(to)) end
  return from, to - 1
end

local function window_of(m, value)
  if value == "any" then return 0ULL, ALL end
  if type(value) ~= "string" then return range_of(m, "mmio", value) end
  local names = {}
  for _, row in ipairs(m.rows) do
    if row.name == value and row.at then return bits.u64(row.at), bits.u64(row.at) + (row.bytes - 1) end
    if row.at then names[#names + 1] = row.name end
  end
  fault.raise("hook: `mmio`: no device %s in the map%s", schema.show(value), schema.suggest(value, names))
end

-- A bit a cause.
local function causes_of(kind, value)
  local names, known, mask = kind == "trap" and cpu.EXCEPTIONS or cpu.INTERRUPTS, {}, 0ULL
  if value == "any" then return ALL end
  for code = 0, 63 do known[#known + 1] = names[code] end
  for _, wanted in ipairs(type(value) == "table" and value or { value }) do
    local found
    for code = 0, 63 do
      if wanted == code or wanted == names[code] then found = code end
    end
    if not found then fault.raise("hook: `%s`: no cause %s%s", kind, schema.show(wanted), schema.suggest(tostring(wanted), known)) end
    mask = bit.bor(mask, bit.lshift(1ULL, found))
  end
  if mask == 0 then fault.raise("hook: `%s` names no cause", kind) end
  return mask
end

-- Making ---------------------------------------------------------------------------------------------------------------------

local function kind_of(options)
  local found
  for _, kind in ipairs(KINDS) do
    if options[kind] ~= nil then
      if found then fault.raise("hook: `%s` and `%s`: one hook waits for one thing", found, kind) end
      found = kind
    end
  end
  return found or fault.raise("hook: what for? Give one of %s", table.concat(KINDS, ", "))
end

local function show_place(value)
  if type(value) == "table" then
    local list = {}
    for i, each in ipairs(value) do list[i] = show_place(each) end
    return "{ " .. table.concat(list, ", ") .. " }"
  end
  return bits.is_integer(value) and bits.hex(value) or tostring(value)
end

-- Options that go with some kinds only.
local ACCESSES = { read = true, write = true, access = true }
local GOES_WITH = {
  physical = ACCESSES, before = ACCESSES, is_pattern = { text = true }, console = { text = true }, when = EVENT, hart = EVENT,
}

local function check_kind(kind, options)
  for _, key in ipairs { "physical", "before", "is_pattern", "console", "when", "hart" } do
    if options[key] and not GOES_WITH[key][kind] then fault.raise("hook: `%s` does not go with `%s`", key, kind) end
  end
  if not options.call and not options.stop then fault.raise "hook: what then? Give `call`, a function, or `stop = true`" end
end

-- What C is told.
local function request(m, kind, options)
  local is = ffi.new "struct um_hook_options"
  is.what = BITS[kind] + (options.physical and C.UM_HOOK_PHYSICAL or 0) + (options.before and C.UM_HOOK_BEFORE or 0)
  is.harts = options.hart and bit.lshift(1, options.hart) or 0xff
  if options.hart and options.hart >= m.harts then fault.raise("hook: hart = %d: the machine has %d", options.hart, m.harts) end
  if kind == "mmio" then is.first, is.last = window_of(m, options.mmio)
  elseif EVENT[kind] == "trap" then is.causes = causes_of(kind, options[kind])
  else is.first, is.last = range_of(m, kind, options[kind]) end
  if kind == "pc" and is.first == is.last and is.first % 2 == 1 then
    fault.raise("hook: `pc`: no instruction lies at the odd address %s", bits.hex(is.first))
  end
  return is
end

local function prepare_event(self, m, options)
  self.is, self.ops = request(m, self.kind, options), 0
  if not options.when then return end
  self.program, self.ops = condition(options.when, EVENT[self.kind], function(name)
    local at = m.symbols:address(name)
    return at and bits.u64(at)
  end)
  if not self.program then fault.raise("hook: %s", self.ops) end
end

local function prepare_text(self, m, options)
  self.text, self.is_pattern, self.unseen = options.text, options.is_pattern, ""
  self.console = options.console and m.consoles[options.console] or not options.console and m.console
  if not self.console then
    local names = {}
    for i, each in ipairs(m.consoles) do names[i] = each.name end
    fault.raise("hook: `text` needs a console in the map%s", options.console and schema.suggest(options.console, names) or "")
  end
  local ok, why = pcall(string.find, "", options.text, 1, not options.is_pattern)
  if not ok then fault.raise("hook: `text`: %s", why) end
  if why then fault.raise("hook: `text`: %s matches where there is nothing", schema.show(options.text)) end
end

local function prepare_time(self, m, options)
  self.at = options.at and math.ceil(options.at * m.timebase)
  self.period = options.every and math.max(1, math.floor(options.every * m.timebase + 0.5))
  self.port = { name = "hook " .. self.name, object = self, counts = {}, stuck = {}, call = function(_, _, _, f) return f(self) end }
end

-- For machine.lua: m:hook(options).
function hook.new(m, options)
  options = schema.check(options, hook.OPTIONS, "hook")
  local kind = kind_of(options)
  local self = setmetatable({
    machine = m, kind = kind, event = EVENT[kind], when = options.when, call = options.call, stop = options.stop, hits = 0, spent = 0,
  }, Hook)
  check_kind(kind, options)
  self.name = kind .. " = " .. show_place(options[kind])
  if self.event then prepare_event(self, m, options) elseif kind == "text" then prepare_text(self, m, options) else prepare_time(self, m, options) end
  self.slow = self.call and not bounded(self.call, setmetatable({ hook = self, machine = m, cpu = m.hart }, Hit))
  m:need_bus()
  m.hooked = m.hooked or { list = {}, by_id = {}, hit = ffi.new "struct um_hit" }
  m.bus.hooks = hook
  return self:attach()
end

local tick                                         -- below: what the bus calls at a time

-- From now on it reports, also while the machine runs (from within a hook): from the next time something happens on.
function Hook:attach()
  if self.attached then return self end
  local m = self.machine
  if self.event then
    local id = sched.still(m, C.um_hook_attach, m.hart.ptr, self.is, self.program, self.ops, m.why)
    if id < 0 then fault.raise("hook: %s%s", self.when and ("when: `%s`: "):format(self.when) or "", ffi.string(m.why.text)) end
    self.id, m.hooked.by_id[id] = id, self
  elseif self.kind == "text" then
    self.unseen = ""
    table.insert(self.console.watchers, self)
  else
    local now = m.bus:now()
    if self.at and self.at < now then fault.raise("hook: `at`: guest time is %g s already", now / m.timebase) end
    self.timer = m.bus:after(self.port, self.at and self.at - now or self.period, tick)
  end
  self.attached = true
  table.insert(m.hooked.list, self)
  return self
end

local function take_out(list, value)
  for i, other in ipairs(list) do
    if other == value then return table.remove(list, i) end
  end
end

-- From now on it is silent; attach takes it up again. Harmless when it is detached already.
function Hook:detach()
  if not self.attached then return end
  local m = self.machine
  if self.event then
    fault.check(sched.still(m, C.um_hook_detach, m.hart.ptr, self.id, m.why), m.why)
    m.hooked.by_id[self.id] = nil
  elseif self.kind == "text" then
    take_out(self.console.watchers, self)
  else
    m.bus:cancel(self.port)
  end
  self.attached = false
  take_out(m.hooked.list, self)
end

-- { hits =, ns = }: how often it reported, and the nanoseconds a hit that `call` took.
function Hook:counters() return { hits = self.hits, ns = self.hits > 0 and self.spent * 1e9 / self.hits or 0 } end

-- Serving --------------------------------------------------------------------------------------------------------------------

local function new_hit(self, hart, pc)
  local m = self.machine
  return setmetatable({ hook = self, machine = m, hart = hart, cpu = m.cpu[hart], pc = pc }, Hit)
end

local function hit_of(self, raw)
  local hit, field = new_hit(self, raw.hart, number(raw.pc)), raw.field
  if self.event == "access" then
    hit.addr, hit.gpa, hit.size = number(field[ADDR]), number(raw.gpa), tonumber(field[SIZE])
    hit.value, hit.old, hit.write = number(field[VALUE]), number(field[OLD]), field[WRITE] ~= 0
  elseif self.event == "trap" then
    local code = tonumber(field[CAUSE])
    hit.cause, hit.tval = code, number(field[TVAL])
    hit.name = (self.kind == "trap" and cpu.EXCEPTIONS or cpu.INTERRUPTS)[code]
  end
  return hit
end

-- A hit's function has returned `result`.
local function over(b, hit, result)
  local self = hit.hook
  self.spent = self.spent + host.seconds() - b.began
  b.serving = nil
  if self.stop or result == true then b.stopped = b.stopped or hit end
end

local function begin(b, hit)
  local self = hit.hook
  self.hits = self.hits + 1
  b.serving, b.began = hit, host.seconds()
end

-- For bus/loop.lua, in its trace: serves one hit that a run came back with. True: finish is to be called.
function hook.take(b)
  local hooked = b.machine.hooked
  local raw = hooked.hit
  if not C.um_hook_take(b.machine.hart.ptr, raw) then return false end
  local self = hooked.by_id[raw.id]
  if not self then return false end                -- detached since
  local hit = hit_of(self, raw)
  begin(b, hit)
  if self.slow then return true end
  local call = self.call
  over(b, hit, call and call(hit))
  return b.stopped ~= nil
end

-- What a function raised, with its place.
function hook.failed(b, raised)
  local self = b.serving.hook
  self.spent = self.spent + host.seconds() - b.began
  b.serving = nil
  bus.blame("hook " .. self.name, bus.place_of(self.call), raised)
end

-- Calls the function of the hit that is being served, watched.
function hook.finish(b)
  local hit = b.serving
  if not hit then return end                       -- done already: it ends the run
  local call = hit.hook.call
  local ok, ended, result = pcall(bus.watched, call, hit)
  if not ok then hook.failed(b, ended) end
  over(b, hit, result)
  if not ended then error(("%s: hook %s: runs longer than %g s and was stopped"):format(bus.place_of(call), hit.hook.name, bus.WATCH), 0) end
end

-- One hit of time or text.
local function serve(b, hit)
  begin(b, hit)
  if hit.hook.call then hook.finish(b) else over(b, hit) end
end

function tick(self)
  local b = self.machine.bus
  local hit = new_hit(self, 0, self.machine.hart:pc())
  hit.time = b:now() / self.machine.timebase
  if self.period then self.timer = b:after(self.port, self.period, tick) else self:detach() end
  serve(b, hit)
end

local function look(self)
  while self.attached do
    local found = { self.unseen:find(self.text, 1, not self.is_pattern) }
    local from, to = found[1], found[2]
    if not from or to < from then
      self.unseen = self.unseen:sub(-KEPT)
      return
    end
    local hit = new_hit(self, 0, self.machine.hart:pc())
    hit.text = self.unseen:sub(from, to)
    hit.found = found[3] ~= nil and { unpack(found, 3) } or { hit.text }
    self.unseen = self.unseen:sub(to + 1)
    serve(self.machine.bus, hit)
  end
end

-- For machine.lua: after a reset guest time is 0 again, and nothing was printed.
function hook.reset(m)
  for _, self in ipairs { unpack(m.hooked.list) } do
    if not self.event then
      self:detach()
      self:attach()
    end
  end
end

-- For machine.lua: looks at what consoles printed since.
function hook.look(m)
  for _, console in ipairs(m.consoles) do
    for _, self in ipairs { unpack(console.watchers) } do look(self) end
  end
end

return hook
