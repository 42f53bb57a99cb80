-- dev: a device model alone: made, mapped into a mem, poked by mem:load and mem:store, closed. A machine does the same from its map.
--
--   local uart = dev.ns16550a { chardev = dev.chardev(), line = irq.new() }
--   uart:map { mem = m, at = 0x10000000 }
--   m:store(0x10000000, 1, 65)
--   uart:close()
--
-- A device that is not closed stays: nothing collects it, because the mem, the lines and the clock it is tied to could be collected
-- first. Close a device before what it was made with.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local address = require "umbra.address"
local clib    = require "umbra.clib"
local fault   = require "umbra.fault"
local handle  = require "umbra.handle"
local schema  = require "umbra.schema"

local C = clib.C
local part = handle.pointer

local dev = {}

local why = ffi.new "struct um_fault"
local buffer_t = ffi.typeof "uint8_t[?]"
local alive = {}                                  -- luacheck: ignore 241 (devices not closed, with all they refer to)

-- The declared state of a um_dev: { name, size, count, bytes } a row.
function dev.state_of(ptr)
  local rows, row = {}, ffi.new "struct um_dev_state"
  while C.um_dev_state(ptr, #rows, row, why) == 0 do
    local size = row.size * row.count
    local to = buffer_t(size)
    fault.check(C.um_dev_state_read(ptr, #rows, to, size, why), why)
    rows[#rows + 1] = { name = ffi.string(row.name), size = row.size, count = row.count, bytes = ffi.string(to, size) }
  end
  return rows
end

-- Rows of declared state as text.
function dev.describe(rows)
  local lines = { "state" }
  for _, row in ipairs(rows) do
    local value = row.count == 1 and "0x" .. row.bytes:reverse():gsub(".", function(c) return ("%02x"):format(c:byte()) end) or row.bytes:find "[^%z]" and "set"
      or "zeros"
    lines[#lines + 1] = ("  %-14s %4d of %d bytes  %s"):format(row.name, row.count, row.size, value)
  end
  return table.concat(lines, "\n")
end

-- Character devices -----------------------------------------------------------------------------------

local Chardev = { noun = "chardev" }
Chardev.__index = Chardev

local CHARDEV = { { "control", type = "table", help = "umbra.control: told when the guest's ring is half full" } }

-- dev.chardev { control = c }: two rings of 64 KiB between a device and the host.
function dev.chardev(options)
  options = schema.check(options, CHARDEV, "chardev")
  local ptr = C.um_chardev_new(options.control and part(options.control, "control", "chardev.control"))
  if ptr == nil then fault.raise "chardev: the host has no memory for it" end
  return handle.new(Chardev, ptr, C.um_chardev_free, { control = options.control })
end

-- What the guest wrote, at most `most` bytes (default: all); "" when there is nothing.
function Chardev:take(most)
  local size = C.um_chardev_waiting(self.ptr)
  if most then size = math.min(address.count(most, "most", 0, 2^53), size) end
  local to = buffer_t(math.max(size, 1))
  return ffi.string(to, C.um_chardev_take(self.ptr, to, size))
end

-- Bytes for the guest; returns how many fitted.
function Chardev:give(bytes)
  if type(bytes) ~= "string" then fault.raise("`bytes` must be a string, not %s", schema.show(bytes)) end
  return C.um_chardev_give(self.ptr, bytes, #bytes)
end

function Chardev:waiting() return C.um_chardev_waiting(self.ptr) end         -- bytes to take
function Chardev:room() return C.um_chardev_room(self.ptr) end               -- bytes that give would take

Chardev.close = handle.close

-- Devices ---------------------------------------------------------------------------------------------

local MAP = {
  { "mem", type = "table", required = true, help = "umbra.mem" },
  { "at", type = "address", required = true, help = "guest-physical address" },
  { "name", type = "string", help = "name in the memory map; default: the model" },
}
local HTIF_MAP = {
  { "mem", type = "table", required = true, help = "umbra.mem" },
  { "tohost", type = "address", required = true, help = "guest-physical address" },
  { "fromhost", type = "address", default = 0, help = "guest-physical address; 0: none" },
}

local function methods()
  local class = { noun = "dev" }
  class.__index = class

  function class:model() return ffi.string(C.um_dev_model(self.ptr)) end
  function class:bytes() return tonumber(C.um_dev_bytes(self.ptr)) end       -- size of the window
  function class:reset() C.um_dev_reset(self.ptr) end

  -- map { mem = m, at = 0x10000000 }: lays the device's registers there.
  function class:map(options)
    options = schema.check(options, MAP, "map")
    fault.check(C.um_dev_map(self.ptr, part(options.mem, "mem", "map.mem"), options.at, options.name or self:model(), why), why)
    self.mem = options.mem
  end

  -- The declared state: { name, size, count, bytes } a row, in the device's order.
  function class:state() return dev.state_of(self.ptr) end

  -- What it is, its window and its state, for people.
  function class:describe()
    return ("%s: a window of %.0f bytes\n%s"):format(self:model(), self:bytes(), dev.describe(self:state()))
  end

  function class:close()
    if self.mem then part(self.mem, "mem", "mem") end                        -- refused when that was closed before
    alive[self] = nil
    handle.close(self)
  end

  return class
end

-- Declares dev.NAME: its options, the kinds of its parts (option -> noun), and what makes it.
local function model(name, options, parts, make)
  local class = methods()
  dev[name] = function(given)
    given = schema.check(given, options, name)
    local ptrs = {}
    for key, noun in pairs(parts) do              -- any order will do: at most one is wrong, or the first found
      if given[key] ~= nil then ptrs[key] = part(given[key], noun, name .. "." .. key) end
    end
    local ptr = make(given, ptrs)
    if ptr == nil then fault.check(why.status, why) end
    local device = handle.new(class, ptr, C.um_dev_free, { options = given })
    ffi.gc(ptr, nil)
    alive[device] = true
    return device
  end
  return class
end

local function needed(name, help) return { name, type = "table", required = true, help = help } end
local CLOCK = needed("clock", "umbra.clock")
local CONTROL = needed("control", "umbra.control")
local PORT = needed("chardev", "dev.chardev")
local LINE = { "line", type = "table", help = "umbra.irq that the device drives; none: it is only polled" }

model("ns16550a", { PORT, LINE }, { chardev = "chardev", line = "irq" }, function(_, ptrs)
  return C.um_ns16550a_new(ptrs.chardev, ptrs.line, why)
end)

model("syscon", { CONTROL }, { control = "control" }, function(_, ptrs) return C.um_syscon_new(ptrs.control, why) end)

model("goldfish_rtc", { CLOCK, LINE }, { clock = "clock", line = "irq" }, function(_, ptrs)
  return C.um_goldfish_rtc_new(ptrs.clock, ptrs.line, why)
end)

local Clint = model("clint", { CLOCK }, { clock = "clock" }, function(_, ptrs) return C.um_clint_new(ptrs.clock, why) end)

-- Connects the two outputs for hart 0 to 7, each an umbra.irq or nil.
function Clint:lines(hart, software, timer)
  address.count(hart, "hart", 0, 2^31 - 1)
  fault.check(C.um_clint_lines(self.ptr, hart, software and part(software, "irq", "software"), timer and part(timer, "irq", "timer"), why), why)
  self["software" .. hart], self["timer" .. hart] = software, timer
end

local Plic = model("plic", {
  { "sources", type = "integer", default = 95, min = 1, max = 1023, help = "inputs, numbered from 1" },
  { "contexts", type = "integer", default = 1, min = 1, max = 64, help = "outputs, numbered from 0" },
}, {}, function(options) return C.um_plic_new(options.sources, options.contexts, why) end)

-- Lets `line` drive an input; nil takes off what drives it.
function Plic:source(number, line)
  address.count(number, "source", 0, 2^31 - 1)
  fault.check(C.um_plic_source(self.ptr, number, line and part(line, "irq", "line"), why), why)
  self.inputs = self.inputs or {}
  self.inputs[number] = line
end

-- Lets an output drive `line`; nil: none.
function Plic:context(number, line)
  address.count(number, "context", 0, 2^31 - 1)
  fault.check(C.um_plic_context(self.ptr, number, line and part(line, "irq", "line"), why), why)
  self["output" .. number] = line
end

local close_plic = Plic.close
function Plic:close()
  for number, line in pairs(self.inputs or {}) do                            -- any order will do
    part(line, "irq", "line")                                                -- refused when it was closed before
    C.um_plic_source(self.ptr, number, nil, why)
  end
  close_plic(self)
end

local Htif = model("htif", { PORT, CONTROL }, { chardev = "chardev", control = "control" }, function(_, ptrs)
  return C.um_htif_new(ptrs.chardev, ptrs.control, why)
end)

-- map { mem = m, tohost = 0x80001000, fromhost = 0x80001040 }: lays the two words over RAM.
function Htif:map(options)
  options = schema.check(options, HTIF_MAP, "map")
  fault.check(C.um_htif_map(self.ptr, part(options.mem, "mem", "map.mem"), options.tohost, options.fromhost, why), why)
  self.mem = options.mem
end

-- Why a virtio device asked for a reset ("descriptor loop"), or nil.
local function broken(self)
  local text = C.um_virtio_broken(self.ptr)
  if text ~= nil then return ffi.string(text) end
end

model("virtio_console", { PORT, LINE }, { chardev = "chardev", line = "irq" }, function(_, ptrs)
  return C.um_virtio_console_new(ptrs.chardev, ptrs.line, why)
end).broken = broken

model("virtio_rng", {
  { "seed", type = "integer", default = 0, min = 0, max = 2^53, help = "0: the host's entropy" }, LINE,
}, { line = "irq" }, function(options, ptrs) return C.um_virtio_rng_new(options.seed, ptrs.line, why) end).broken = broken

model("virtio_blk", {
  needed("block", "umbra.block"),
  { "id", type = "string", default = "umbra", help = "at most 20 bytes" },
  { "block_size", type = "enum", values = { 512, 4096 }, default = 512, help = "bytes of a block as the guest sees it" },
  { "read_only", type = "boolean", default = false, help = "refuse the guest's writes" },
  LINE,
}, { block = "block", line = "irq" }, function(options, ptrs)
  return C.um_virtio_blk_new(ptrs.block, options.id, options.block_size, options.read_only and 1 or 0, ptrs.line, why)
end).broken = broken

-- Names of all models, sorted.
dev.MODELS = { "clint", "goldfish_rtc", "htif", "ns16550a", "plic", "syscon", "virtio_blk", "virtio_console", "virtio_rng" }

return dev
