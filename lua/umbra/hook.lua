-- hook: calls Lua when a guest comes to a place or does something.
--
--   local h = m:hook { pc = "do_exit", when = "a0 != 0", call = function(hit) print(hit.cpu:reg "a0") end }
--   m:run { timeout = 10 }
--   h:counters().hits
--   h:detach()
--
-- C notices (csrc/cpu/riscv/hook.c), checks the condition and queues what happened; the run comes back, and the bus has it served
-- here before it runs on.
-- SPDX-License-Identifier: MIT
local bit       = require "bit"
local ffi       = require "ffi"
local bits      = require "umbra.bits"
local boot      = require "umbra.boot"
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

local hook = {}
local Hook = { noun = "hook" }
Hook.__index = Hook

local ALL = 0xffffffffffffffffULL

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
  { "when", type = "string", help = "a condition, checked before Lua is called" },
  { "call", type = "function", help = "function(hit); true: the run comes back" },
  { "stop", type = "boolean", default = false, help = "the run comes back after the call" },
  { "before", type = "boolean", default = false, help = "read, write and access hit before they are done" },
  { "physical", type = "boolean", default = false, help = "addresses of read, write and access are guest-physical" },
  { "hart", type = "integer", min = 0, max = 7, help = "only this one" },
}

local KINDS = { "pc", "read", "write", "access", "mmio", "trap", "interrupt" }
local BITS = {
  pc = C.UM_HOOK_PC, read = C.UM_HOOK_READ, write = C.UM_HOOK_WRITE, access = C.UM_HOOK_READ + C.UM_HOOK_WRITE,
  mmio = C.UM_HOOK_READ + C.UM_HOOK_WRITE + C.UM_HOOK_DEVICE, trap = C.UM_HOOK_EXCEPTION, interrupt = C.UM_HOOK_INTERRUPT,
}
local EVENT = { pc = "pc", read = "access", write = "access", access = "access", mmio = "access", trap = "trap", interrupt = "trap" }

-- Where ---------------------------------------------------------------------------------------------------------------------

local function symbol_of(m, name)
  local value
  if m.symbols then value = m.symbols:address(name) else value = boot.symbol(m.files, name) end
  return value and bits.u64(value)
end

local function address_of(m, kind, value)
  if type(value) == "string" then
    return symbol_of(m, value) or fault.raise("hook: `%s`: no symbol %s in what was loaded", kind, schema.show(value))
  end
  if not bits.is_integer(value) then fault.raise("hook: `%s` must be an address, a symbol or { from, to }, not %s", kind, schema.show(value)) end
  return bits.u64(value)
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

-- What C is told.
local function request(m, self, options)
  local kind, is = self.kind, ffi.new "struct um_hook_options"
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

-- For machine.lua: m:hook(options).
function hook.new(m, options)
  options = schema.check(options, hook.OPTIONS, "hook")
  local self = setmetatable({ machine = m, kind = kind_of(options), when = options.when, call = options.call, stop = options.stop, hits = 0, spent = 0 }, Hook)
  for _, key in ipairs { "physical", "before" } do
    if options[key] and not (self.kind == "read" or self.kind == "write" or self.kind == "access") then
      fault.raise("hook: `%s` goes with read, write and access, not with `%s`", key, self.kind)
    end
  end
  if not self.call and not self.stop then fault.raise "hook: what then? Give `call`, a function, or `stop = true`" end
  self.name = self.kind .. " = " .. show_place(options[self.kind])
  self.is = request(m, self, options)
  self.ops = 0
  if options.when then
    self.program, self.ops = condition(options.when, EVENT[self.kind], function(name) return symbol_of(m, name) end)
    if not self.program then fault.raise("hook: %s", self.ops) end
  end
  self.slow = self.call and not bounded(self.call, setmetatable({ hook = self, machine = m, cpu = m.hart }, Hit))
  m:need_bus()
  m.hooked = m.hooked or { list = {}, hit = ffi.new "struct um_hit", serve = hook.serve }
  return self:attach()
end

-- From now on it reports, also while the machine runs (from within a hook): from the next time something happens on.
function Hook:attach()
  if self.id then return self end
  local m = self.machine
  local id = sched.still(m, C.um_hook_attach, m.hart.ptr, self.is, self.program, self.ops, m.why)
  if id < 0 then fault.raise("hook: %s%s", self.when and ("when: `%s`: "):format(self.when) or "", ffi.string(m.why.text)) end
  self.id = id
  m.hooked.list[#m.hooked.list + 1] = self
  m.hooked[id] = self
  return self
end

-- From now on it is silent; attach takes it up again. Harmless when it is detached already.
function Hook:detach()
  if not self.id then return end
  local m = self.machine
  fault.check(sched.still(m, C.um_hook_detach, m.hart.ptr, self.id, m.why), m.why)
  m.hooked[self.id], self.id = nil, nil
  for i, other in ipairs(m.hooked.list) do
    if other == self then table.remove(m.hooked.list, i) break end
  end
end

-- { hits =, ns = }: how often it reported, and nanoseconds a hit spent in Lua.
function Hook:counters() return { hits = self.hits, ns = self.hits > 0 and self.spent * 1e9 / self.hits or 0 } end

-- Serving --------------------------------------------------------------------------------------------------------------------

local function hit_of(self, m, raw)
  local hit = setmetatable({ hook = self, machine = m, hart = raw.hart, cpu = m.cpu[raw.hart], pc = bits.number(raw.pc) }, Hit)
  local event = EVENT[self.kind]
  if event == "access" then
    hit.addr, hit.gpa, hit.size = bits.number(raw.field[C.UM_FIELD_ADDR]), bits.number(raw.gpa), tonumber(raw.field[C.UM_FIELD_SIZE])
    hit.value, hit.old, hit.write = bits.number(raw.field[C.UM_FIELD_VALUE]), bits.number(raw.field[C.UM_FIELD_OLD]), raw.field[C.UM_FIELD_WRITE] ~= 0
  elseif event == "trap" then
    local code = tonumber(raw.field[C.UM_FIELD_CAUSE])
    hit.cause, hit.tval = code, bits.number(raw.field[C.UM_FIELD_TVAL])
    hit.name = (self.kind == "trap" and cpu.EXCEPTIONS or cpu.INTERRUPTS)[code]
  end
  return hit
end

-- Calls the function of a hook. True: it wants the run to come back.
local function invoke(self, hit)
  local start = host.seconds()
  self.hits = self.hits + 1
  local ok, ended, result = true, true, nil
  if self.slow then ok, ended, result = pcall(bus.watched, self.call, hit)
  elseif self.call then ok, result = pcall(self.call, hit) end
  self.spent = self.spent + host.seconds() - start
  if not ok then bus.blame("hook " .. self.name, bus.place_of(self.call), self.slow and ended or result) end
  if not ended then error(("%s: hook %s runs longer than %g s and was stopped"):format(bus.place_of(self.call), self.name, bus.WATCH), 0) end
  return self.stop or result == true
end

-- For bus.lua: serves what the last run of the harts hit. Returns the first hit that ends the run, or nil. After an error the other hits are
-- served when the machine runs on.
function hook.serve(m)
  local hooked, stopped = m.hooked, nil
  local raw = hooked.hit
  while C.um_hook_take(m.hart.ptr, raw) do
    local self = hooked[raw.id]                   -- nil: detached since
    if self then
      local hit = hit_of(self, m, raw)
      if invoke(self, hit) then stopped = stopped or hit end
    end
  end
  return stopped
end

return hook
