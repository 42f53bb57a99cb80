-- device: device models in Lua: registers as rows, functions for those that behave.
--
--   local Ticker = device { name = "ticker", regs = { { at = 0, name = "count", access = "r" }, { at = 4, name = "clear", access = "w" } } }
--   function Ticker:write_clear() self.count = 0 end
--
-- What device {...} returns is used in a map like dev.MODEL: { at = 0x10005000, name = "ticker", Ticker { irq = 5 } }. docs/device.md
-- says it all. Here are the classes and what their functions may call; umbra.bus serves the accesses.
-- SPDX-License-Identifier: MIT
local bit     = require "bit"
local ffi     = require "ffi"
local bits    = require "umbra.bits"
local bounded = require "umbra.bounded"
local clib    = require "umbra.clib"
local devices = require "devices"
local fault   = require "umbra.fault"
local schema  = require "umbra.schema"

local C = clib.C

local device = {}

local PAGE = 4096
local MOST_BYTES = 2^24                            -- of a window
local MOST_COPY = 2^26                             -- bytes of one DMA transfer
local LOAD_SECONDS = 5                             -- that the file of a device may take

local CLASS = {
  { "name", type = "string", required = true, help = "what the model is called" },
  { "help", type = "string", help = "one line about it" },
  { "config", type = "table", default = {}, help = "rows of options" },
  { "regs", type = "table", required = true, help = "rows of registers" },
  { "state", type = "table", default = {}, help = "rows of what else is to be remembered" },
  { "bytes", type = "size", min = 1, max = MOST_BYTES, help = "size of the window; default: whole pages" },
  { "jit", type = "boolean", help = "true: compile every function, watch none; false: watch all; default: watch those that may loop" },
  { "compatible", type = "any", help = "of the device tree: text or several" },
  { "tree", type = "table", default = {}, help = "more properties of the device tree: { name, cells and strings... }" },
}

local REGISTER = {
  { "at", type = "address", required = true, max = MOST_BYTES, help = "offset in the window" },
  { "name", type = "string", required = true, help = "field of the device" },
  { "access", type = "enum", values = { "r", "rw", "w" }, default = "rw", help = "what the guest may do" },
  { "size", type = "enum", values = { 1, 2, 4, 8 }, default = 4, help = "bytes" },
  { "reset", type = "any", default = 0, help = "value after a reset" },
  { "help", type = "string", help = "one line about it" },
  { "unit", type = "string", help = "of the value" },
}

local STATE = {
  { "name", type = "string", required = true, help = "field of the device" },
  { "default", type = "any", help = "value after a reset: number, text, boolean or table" },
  { "help", type = "string", help = "one line about it" },
  { "unit", type = "string", help = "of the value" },
}

local IRQ = { "irq", type = "integer", min = 1, max = 1023, help = "input of the interrupt controller" }

-- What a device's functions find in `self` ---------------------------------------------------------------------------------

local Base = {}
local ports = setmetatable({}, { __mode = "k" })   -- device -> its port on the bus

-- Calls `f` (a function, or the name of a method, which survives a reload) once, `seconds` of guest time from now.
function Base:after(seconds, f) return self:after_ticks(seconds * ports[self].bus.hertz, f) end

-- The same, in ticks of the machine's timebase. Returns a timer for cancel.
function Base:after_ticks(ticks, f)
  if type(ticks) ~= "number" or ticks ~= ticks or ticks < 0 or ticks > 2^52 then fault.raise("after: a time from now, not %s", schema.show(ticks)) end
  if type(f) ~= "function" and not (type(f) == "string" and type(self[f]) == "function") then
    fault.raise("after: a function or the name of a method, not %s", schema.show(f))
  end
  local port = ports[self]
  return port.bus:after(port, ticks, f)
end

-- Takes back what after gave, or every call of a method by its name. False: there was nothing to take back.
function Base:cancel(timer) return ports[self].bus:cancel(ports[self], timer) end

-- Guest time in seconds, and in ticks of the machine's timebase.
-- A line in the machine's log, where it logs devices.
function Base:log(text)
  if type(text) ~= "string" then fault.raise("log: a line of text, not %s", schema.show(text)) end
  local port = ports[self]
  local logs = port.bus.machine.logs
  if logs then logs:text(port.name, text) end
end

function Base:now() return self:ticks() / ports[self].bus.hertz end
function Base:ticks() return ports[self].bus:now() end

local Line = {}
Line.__index = Line

function Line:set(level)
  if type(level) ~= "boolean" then fault.raise("irq:set takes true or false, not %s", schema.show(level)) end
  C.um_irq_set(self.ptr, level and 1 or 0)
end
function Line:raise() C.um_irq_set(self.ptr, 1) end
function Line:lower() C.um_irq_set(self.ptr, 0) end
function Line:level() return C.um_irq_level(self.ptr) ~= 0 end

-- The device as a master of the bus: it reads RAM and ROM and writes RAM. Everything else is refused and counted, never an error:
-- addresses come from the guest.
local Dma = {}
Dma.__index = Dma

local function refused(self)
  local counts = self.port.counts
  counts.dma_refused = counts.dma_refused + 1
  return false
end

local function is_range(gpa, size)
  return bits.is_integer(gpa) and (type(gpa) ~= "number" or gpa >= 0) and bits.is_integer(size) and size >= 0 and size <= MOST_COPY
end

-- `size` bytes from `gpa` as a string, or false.
function Dma:read(gpa, size)
  if not is_range(gpa, size) then return refused(self) end
  size = tonumber(size)
  local host = C.um_mem_view(self.mem.ptr, bits.u64(gpa), size)
  return host ~= nil and ffi.string(host, size) or refused(self)
end

-- Writes a string; false where not all of it is RAM: nothing is written then.
function Dma:write(gpa, bytes)
  if type(bytes) ~= "string" then fault.raise("mem:write takes a string, not %s", schema.show(bytes)) end
  if not is_range(gpa, #bytes) then return refused(self) end
  local at, ram = bits.u64(gpa), self.ram
  if at < ram.at or at - ram.at > ram.size or at - ram.at + #bytes > ram.size then return refused(self) end
  return C.um_mem_write(self.mem.ptr, at, bytes, #bytes, self.port.bus.why) >= 0 or refused(self)
end

-- Classes ------------------------------------------------------------------------------------------------------------------

local details = setmetatable({}, { __mode = "k" })  -- class -> what was declared
local KEPT = { irq = true, mem = true, config = true, name = true, reset = true, describe = true, help = true }

local function named_rows(rows, declared, label)
  local list = {}
  for i = 1, table.maxn(rows) do
    local row = rows[i]
    if type(row) ~= "table" then fault.raise("%s[%d] must be a table like { name = \"count\" }, not %s", label, i, schema.show(row)) end
    local own = {}
    for key, value in pairs(row) do own[key == 1 and "name" or key] = value end
    list[i] = schema.check(own, declared, ("%s[%d]"):format(label, i))
  end
  for key in pairs(rows) do
    if type(key) ~= "number" then fault.raise("`%s` takes rows, not a key %s", label, schema.show(key)) end
  end
  return list
end

local function hex(register) return ("0x%x to 0x%x"):format(register.at, register.at + register.size - 1) end

local function check_name(row, what, seen)
  local name = row.name
  if not name:find "^[%a_][%w_]*$" then fault.raise("%s `%s`: a name has letters, digits and _", what, name) end
  if KEPT[name] or Base[name] then fault.raise("%s `%s`: every device has a field or method of that name", what, name) end
  if seen[name] then fault.raise("%s `%s`: there is a %s of that name already", what, name, seen[name]) end
  seen[name] = what
end

local function check_registers(rows)
  local registers, seen = named_rows(rows, REGISTER, "regs"), {}
  for i, register in ipairs(registers) do
    check_name(register, "register", seen)
    if register.at % register.size ~= 0 then
      fault.raise("register `%s` at 0x%x: its address must be a multiple of its size, %d bytes", register.name, register.at, register.size)
    end
    if not bits.is_integer(register.reset) or bits.is_integer(register.reset) and register.size < 8 and
      (bits.u64(register.reset) >= bit.lshift(1ULL, 8 * register.size)) then
      fault.raise("register `%s`: `reset` must be a number of %d bytes, not %s", register.name, register.size, schema.show(register.reset))
    end
    for j = 1, i - 1 do
      local other = registers[j]
      if register.at < other.at + other.size and other.at < register.at + register.size then
        fault.raise("register `%s` (%s) overlaps `%s` (%s)", register.name, hex(register), other.name, hex(other))
      end
    end
  end
  return registers, seen
end

local function check_config(rows)
  local list = {}
  for i = 1, table.maxn(rows) do
    local row = rows[i]
    local name = type(row) == "table" and (row[1] or row.name)
    if type(name) ~= "string" then fault.raise("config[%d] must be a row like { \"hz\", type = \"integer\", default = 1000 }", i) end
    list[i] = row
    if name == "irq" then
      list[i] = {}
      for key, value in pairs(IRQ) do list[i][key] = value end
      for key, value in pairs(row) do list[i][key] = value end
    elseif row.default ~= nil and schema.convert(row, row.default) == nil then
      fault.raise("config `%s`: its default is not %s", name, (select(2, schema.convert(row, row.default))))
    end
  end
  for key in pairs(rows) do
    if type(key) ~= "number" then fault.raise("`config` takes rows like { %q, type = \"integer\" }, not a key", tostring(key)) end
  end
  return list
end

local function window(declared, registers)
  local last = 1
  for _, register in ipairs(registers) do last = math.max(last, register.at + register.size) end
  if not declared then return math.ceil(last / PAGE) * PAGE end
  for _, register in ipairs(registers) do
    if register.at + register.size > declared then
      fault.raise("register `%s` (%s) lies outside the window: bytes = %d", register.name, hex(register), declared)
    end
  end
  return declared
end

local function tree_writer(class)
  local compatible = class.compatible or "umbra," .. class.name
  if type(compatible) ~= "table" then compatible = { compatible } end
  for _, text in ipairs(compatible) do
    if type(text) ~= "string" then fault.raise("compatible: text or a list of texts, not %s", schema.show(text)) end
  end
  for i, row in ipairs(class.tree) do
    if type(row) ~= "table" or type(row[1]) ~= "string" then fault.raise("tree[%d] must be { NAME, numbers and texts... }", i) end
    for j = 2, #row do
      if type(row[j]) ~= "string" and not (type(row[j]) == "number" and row[j] % 1 == 0 and row[j] >= 0 and row[j] < 2^32) then
        fault.raise("tree[%d] `%s`: 32-bit numbers and texts, not %s", i, row[1], schema.show(row[j]))
      end
    end
  end
  return function(t)
    t:prop("compatible", unpack(compatible))
    for _, row in ipairs(class.tree) do t:prop(row[1], unpack(row, 2)) end
  end
end

-- The text of a row of the description: name, columns, help.
local function line(...) return (("  %-12s %-8s %-5s %-14s %s"):format(...):gsub("%s+$", "")) end

local function show_value(value)
  if bits.is_integer(value) then return bits.hex(value) end
  return schema.show(value)
end

-- Options, registers and state as text; with an object, what they are now.
local function describe(detail, object)
  local lines = { ("%s%s"):format(object and object.name .. ": " or "", detail.name) .. (detail.help and ": " .. detail.help or "") }
  if #detail.config > 0 then lines[#lines + 1] = "options" end
  for _, row in ipairs(detail.config) do
    local name, value = row[1] or row.name, row.default
    if object then value = object.config[name] end
    lines[#lines + 1] = line(name, row.unit or "", "", value == nil and (row.required and "required" or "none") or schema.show(value),
      ("%s%s"):format(row.type or "any", row.help and ": " .. row.help or ""))
  end
  lines[#lines + 1] = "registers"
  for _, row in ipairs(detail.registers) do
    local value = row.reset
    if object then value = object[row.name] end
    local help = ("0x%03x, %d bytes%s"):format(row.at, row.size, row.help and ": " .. row.help or "")
    lines[#lines + 1] = line(row.name, row.unit or "", row.access, show_value(value), help)
  end
  if #detail.state > 0 then lines[#lines + 1] = "state" end
  for _, row in ipairs(detail.state) do
    local value = row.default
    if object then value = object[row.name] end
    lines[#lines + 1] = line(row.name, row.unit or "", "", schema.show(value), ("%s%s"):format(type(row.default), row.help and ": " .. row.help or ""))
  end
  return table.concat(lines, "\n")
end

-- A class, from its declaration.
local function declare(_, options)
  local detail = schema.check(options, CLASS, "device")
  if not detail.name:find "^[%a][%w_.+-]*$" then fault.raise("device.name: a word, not %s", schema.show(detail.name)) end
  local seen
  detail.registers, seen = check_registers(detail.regs)
  detail.state = named_rows(detail.state, STATE, "state")
  for _, row in ipairs(detail.state) do check_name(row, "state", seen) end
  detail.config = check_config(detail.config)
  detail.bytes = window(detail.bytes, detail.registers)
  detail.model = { options = detail.config, node = detail.name, tree = tree_writer(detail) }
  local class = {}
  class.__index = class
  class.describe = function(self) return describe(detail, ports[self] and self or nil) end
  details[class] = detail
  detail.model.script = class
  return setmetatable(class, {
    __index = Base,
    __call = function(_, given)
      return devices.describe(detail.name, detail.model, schema.check(given, detail.config, detail.name))
    end,
    __tostring = function() return "device class " .. detail.name end,
  })
end

-- Devices ------------------------------------------------------------------------------------------------------------------

-- Refuses functions that no register would ever call, at their own line.
local function check_functions(class, detail)
  local by_name, names = {}, {}
  for i, register in ipairs(detail.registers) do by_name[register.name], names[i] = register, register.name end
  local keys = {}
  for key in pairs(class) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local value = class[key]
    local info = type(value) == "function" and debug.getinfo(value, "S")
    local place = info and ("%s:%d: "):format(info.short_src, info.linedefined) or ""
    local what, name = key:match "^(read)_(.+)$"
    if not what then what, name = key:match "^(write)_(.+)$" end
    if info and what then
      local register = by_name[name]
      if not register then error(("%s%s: %s: there is no register `%s`%s"):format(place, detail.name, key, name, schema.suggest(name, names)), 0) end
      if not register.access:find(what:sub(1, 1)) then
        error(("%s%s: %s is never called: the access of `%s` is %q"):format(place, detail.name, key, name, register.access), 0)
      end
    end
    if info and by_name[key] then error(("%s%s: the function hides register `%s`"):format(place, detail.name, key), 0) end
  end
end

-- Lets the bus know what serves which access.
local function wire(port, class, detail)
  local reads, writes = {}, {}
  for _, register in ipairs(detail.registers) do
    local key = register.at * 16 + register.size
    for letter, side in pairs { r = { reads, "read_" }, w = { writes, "write_" } } do       -- any order will do
      if register.access:find(letter) then
        local call = class[side[2] .. register.name]
        local slow = call ~= nil and (detail.jit == false or detail.jit == nil and not bounded(call, port.object))
        side[1][key] = { name = register.name, size = register.size, modulus = 2 ^ (8 * register.size), call = call, slow = slow }
      end
    end
  end
  port.registers, port.reads, port.writes, port.stuck = detail.registers, reads, writes, {}
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local new = {}
  for key, part in pairs(value) do new[key] = copy(part) end     -- any order will do
  return new
end

-- Every declared value as after power-on, then the class's own reset.
local function reset(port)
  local object, detail = port.object, details[port.class]
  port.bus:cancel(port)
  port.bus.floor = nil                             -- time began anew
  port.stuck = {}
  C.um_irq_set(port.line, 0)
  for _, row in ipairs(detail.registers) do object[row.name] = row.reset end
  for _, row in ipairs(detail.state) do object[row.name] = copy(row.default) end
  if port.class.reset then port.bus:call(port, "reset", port.class.reset) end
end

local function new_object(port, class, config)
  local object = setmetatable({
    name = port.name, config = config, irq = setmetatable({ ptr = port.line }, Line),
    mem = setmetatable({ mem = port.machine.mem, ram = port.machine.ram, port = port }, Dma),
  }, class)
  ports[object] = port
  return object
end

-- For machine.lua: makes the device of a row of `m`'s map: row.port, row.bytes.
function device.build(row, m)
  local class = row.model.script
  local detail = details[class]
  check_functions(class, detail)
  m:need_bus()
  local port = {
    name = row.name, at = row.at, machine = m, bus = m.bus, class = class, line = row.line or m:new_line(),
    place = row.device.place:gsub(": $", ""), reset = reset,
  }
  port.object = new_object(port, class, row.options)
  wire(port, class, detail)
  m.bus:add(port)
  row.port, row.bytes = port, detail.bytes
end

-- For machine.lua: lays the row's window into the memory map.
function device.map(row, m)
  if C.um_mem_add_window(m.mem.ptr, row.at, row.bytes, row.port.number, row.name, m.why) < 0 then
    error(row.device.place .. ("%s: %s"):format(row.name, ffi.string(m.why.text)), 0)
  end
end

-- Puts another class in the place of a row's, in a machine that may have run: values of registers and state that both have are kept.
function device.reload(row, class)
  local detail = details[class]
  if not detail then fault.raise("reload takes what device {...} returns, not %s", schema.show(class)) end
  check_functions(class, detail)
  if detail.bytes ~= row.bytes then fault.raise("reload of %s: its window has %d bytes, the new one %d", row.name, row.bytes, detail.bytes) end
  local port, old, given = row.port, row.port.object, {}
  for _, option in ipairs(detail.config) do given[option[1] or option.name] = old.config[option[1] or option.name] end
  local object = new_object(port, class, schema.check(given, detail.config, detail.name))
  local had = {}
  for _, rows in ipairs { details[port.class].registers, details[port.class].state } do
    for _, each in ipairs(rows) do had[each.name] = true end
  end
  for _, each in ipairs(detail.registers) do object[each.name] = had[each.name] and old[each.name] or each.reset end
  for _, each in ipairs(detail.state) do
    if had[each.name] then object[each.name] = old[each.name] else object[each.name] = copy(each.default) end
  end
  ports[old] = nil
  port.class, port.object, row.model = class, object, detail.model
  wire(port, class, detail)
  return object
end

-- The access of a guest without a guest, for tests: `size` bytes at `offset` of the window.
function device.read(object, offset, size)
  local port = ports[object]
  return bits.number(port.bus:serve(port, offset, size or 4, false, 0ULL))
end

function device.write(object, offset, value, size)
  local port = ports[object]
  port.bus:serve(port, offset, size or 4, true, bits.u64(value))
end

-- Whether `value` is a class.
function device.is_class(value) return details[value] ~= nil end

-- Whether `value` is a device of a machine, as its functions know it.
function device.is_object(value) return ports[value] ~= nil end

-- device.load "ticker.lua": the class that a Lua file returns; the path is seen from the file that says so.
function device.load(path)
  local caller = debug.getinfo(2, "S").source
  local folder = caller:match "^@(.*/)" or ""
  local full = path:sub(1, 1) == "/" and path or folder .. path
  local chunk, why = loadfile(full)
  if not chunk then fault.raise("device.load: %s", why) end
  setfenv(chunk, setmetatable({}, { __index = _G }))
  local class = fault.run(chunk, LOAD_SECONDS)
  if not device.is_class(class) then
    fault.raise("device.load: %s returns %s: it must end with `return` and what device {...} gave", full, schema.show(class))
  end
  details[class].path = full
  return class
end

-- The file that a class was loaded from, or nil.
function device.path(class) return details[class].path end

-- The declared state: { name, size, count, bytes } a row, in the order of declaration. What a table holds is written with sorted keys.
local function flat(value)
  if type(value) ~= "table" then
    if bits.is_integer(value) then return bits.hex(value) end
    return schema.show(value)
  end
  local keys, list = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and type(a) ~= "boolean" then return a < b end
    return tostring(a) < tostring(b)
  end)
  for i, key in ipairs(keys) do list[i] = flat(key) .. "=" .. flat(value[key]) end
  return "{" .. table.concat(list, ",") .. "}"
end

function device.state(object)
  local port, list = ports[object], {}
  local detail = details[port.class]
  for _, row in ipairs(detail.registers) do
    local word = ffi.new("uint64_t[1]", bits.is_integer(object[row.name]) and bits.u64(object[row.name]) or 0)
    list[#list + 1] = { name = row.name, size = row.size, count = 1, bytes = ffi.string(word, row.size) }
  end
  for _, row in ipairs(detail.state) do
    local text = flat(object[row.name])
    list[#list + 1] = { name = row.name, size = 1, count = #text, bytes = text }
  end
  local timers = port.bus:pending(port)
  list[#list + 1] = { name = "timers", size = 1, count = #timers, bytes = timers }
  list[#list + 1] = { name = "irq", size = 1, count = 1, bytes = string.char(C.um_irq_level(port.line)) }
  return list
end

return setmetatable(device, { __call = declare })
