-- devices: the models a machine's map is made of.
--
--   { at = 0x10000000, name = "uart0", dev.ns16550a { irq = 10 } }
--
-- dev.MODEL { options } checks the options at the user's line and gives a description; the machine creates the device when it
-- is built. A model says: its options, what creates it (model.create returns a um_dev and may refuse through m.why), and how
-- it appears in the device tree (model.tree writes properties into a node named model.node@address). A model with a function
-- `place` finds its own address.
-- SPDX-License-Identifier: MIT
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local boot   = require "umbra.boot"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local param  = require "umbra.param"
local schema = require "umbra.schema"

local C = clib.C

local IRQ = { "irq", type = "integer", min = 1, max = 1023, help = "input of the interrupt controller" }

local models = {}

-- Interrupts of every hart, as the device tree lists them: interrupts_of(m, 3, 7) is phandle of hart 0's controller, 3, the same, 7, ...
local function interrupts_of(m, ...)
  local cells = {}
  for i = 0, m.harts - 1 do
    for _, number in ipairs { ... } do
      cells[#cells + 1], cells[#cells + 2] = m.intc_phandles[i], number
    end
  end
  return unpack(cells)
end

-- Memory that guest stores cannot change. At the address where a hart starts it is the reset ROM, which the machine fills.
models.rom = {
  options = { { "size", type = "size", default = 4096, min = 4096, max = 2^28, multiple_of = 4096, help = "bytes" } },
}

models.syscon = {
  options = {},
  create  = function(_, m) return C.um_syscon_new(m.control.ptr, m.why) end,
  node    = "test",
  tree    = function(t, row)
    t:prop("compatible", "sifive,test1", "sifive,test0", "syscon"):prop("phandle", row.phandle)
  end,
  -- What a kernel writes where to switch off and to reset.
  root    = function(t, row)
    for _, action in ipairs { { "poweroff", 0x5555 }, { "reboot", 0x7777 } } do
      t:begin(action[1]):prop("compatible", "syscon-" .. action[1]):prop("regmap", row.phandle):prop("offset", 0)
        :prop("value", action[2]):finish_node()
    end
  end,
}

models.clint = {
  options = {},
  create  = function(_, m) return C.um_clint_new(m.clock.ptr, m.why) end,
  connect = function(row, m)
    for i = 0, m.harts - 1 do
      local software, timer = m:new_line(), m:new_line()
      fault.check(C.um_clint_lines(row.ptr, i, software, timer, m.why), m.why)
      m.cpu[i]:connect(software, "msip")
      m.cpu[i]:connect(timer, "mtip")
    end
  end,
  node    = "clint",
  tree    = function(t, _, m)
    t:prop("compatible", "sifive,clint0", "riscv,clint0"):prop("interrupts-extended", interrupts_of(m, 3, 7))
  end,
}

models.plic = {
  options = { { "sources", type = "integer", default = 95, min = 1, max = 1023, help = "interrupt inputs, numbered from 1" } },
  create  = function(row, m) return C.um_plic_new(row.options.sources, 2 * m.harts, m.why) end,
  connect = function(row, m)
    for i = 0, m.harts - 1 do
      for mode, bit in ipairs { "meip", "seip" } do
        local line = m:new_line()
        fault.check(C.um_plic_context(row.ptr, 2 * i + mode - 1, line, m.why), m.why)
        m.cpu[i]:connect(line, bit)
      end
    end
  end,
  node    = "plic",
  tree    = function(t, row, m)
    t:prop("compatible", "sifive,plic-1.0.0", "riscv,plic0"):prop("phandle", row.phandle):prop("riscv,ndev", row.options.sources)
      :prop("interrupts-extended", interrupts_of(m, 11, 9))
      :bytes("interrupt-controller"):prop("#interrupt-cells", 1):prop("#address-cells", 0)
  end,
}

models.ns16550a = {
  options = { IRQ },
  console = true,
  create  = function(row, m) return C.um_ns16550a_new(m:new_chardev(row), row.line, m.why) end,
  node    = "serial",
  tree    = function(t) t:prop("compatible", "ns16550a"):prop("clock-frequency", 3686400) end,
}

models.goldfish_rtc = {
  options = { IRQ },
  create  = function(row, m) return C.um_goldfish_rtc_new(m.clock.ptr, row.line, m.why) end,
  node    = "rtc",
  tree    = function(t) t:prop("compatible", "google,goldfish-rtc") end,
}

-- Berkeley's host interface: it lies over the words `tohost` and `fromhost` of the program that is run, wherever those are, and
-- nowhere when it has no such symbols. Its console also shows what semihosting calls print.
models.htif = {
  options = {},
  console = true,
  create  = function(row, m) return C.um_htif_new(m:new_chardev(row), m.control.ptr, m.why) end,
  place   = function(row, m)
    local tohost, fromhost = boot.symbol(m.files, "tohost"), boot.symbol(m.files, "fromhost")
    if not tohost then return end
    fault.check(C.um_htif_map(row.ptr, m.mem.ptr, bits.u64(tohost), bits.u64(fromhost or 0), m.why), m.why)
  end,
}

local function virtio(model)
  model.node = "virtio_mmio"
  model.tree = function(t) t:prop("compatible", "virtio,mmio") end
  table.insert(model.options, 1, IRQ)
  return model
end

models.virtio_console = virtio {
  options = {},
  console = true,
  create  = function(row, m) return C.um_virtio_console_new(m:new_chardev(row), row.line, m.why) end,
}

models.virtio_rng = virtio {
  options = { { "seed", type = "integer", min = 0, max = 2^53, help = "0: the host's entropy; default: the machine's seed" } },
  create  = function(row, m) return C.um_virtio_rng_new(row.options.seed or m.seed, row.line, m.why) end,
}

-- Without an image there is no disk: the row is left out.
models.virtio_blk = virtio {
  options = {
    { "image", type = "path", help = "file with the disk's content" },
    { "read_only", type = "boolean", default = false, help = "refuse writes of the guest" },
    { "block_size", type = "enum", values = { 512, 4096 }, default = 512, help = "bytes of a block as the guest sees it" },
    { "id", type = "string", default = "umbra", help = "serial number, at most 20 bytes" },
  },
  absent  = function(options) return options.image == nil end,
  create  = function(row, m)
    local options = row.options
    local disk = m:new_block(options.image, options.read_only)
    return C.um_virtio_blk_new(disk.ptr, options.id, options.block_size, options.read_only and 1 or 0, row.line, m.why)
  end,
}

local NAMES = {}
for name in pairs(models) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

local Description = {}

-- The user's line, for refusals that come when the whole map is known.
local function place()
  local _, text = pcall(fault.raise, "")
  return text
end

local devices = { models = models }

-- A device for a row of a map: `options` were checked.
function devices.describe(name, model, options)
  return setmetatable({ name = name, model = model, options = param.resolve(options, model.options), place = place() }, Description)
end

local constructors, names = {}, {}                -- by name; name by constructor

local function constructor(name)
  if constructors[name] then return constructors[name] end
  local model = models[name]
  local function new(options)
    return devices.describe(name, model, schema.check(options, model.options, "dev." .. name))
  end
  constructors[name], names[new] = new, name
  return new
end

-- The name of the model that dev.MODEL, the function, makes; nil for anything else.
function devices.name_of(value) return value ~= nil and names[value] or nil end

-- Whether `value` came from dev.MODEL {...}.
function devices.is_description(value) return getmetatable(value) == Description end

-- { { name, options = rows } }: every model, sorted; for documentation.
function devices.list()
  local list = {}
  for i, name in ipairs(NAMES) do list[i] = { name = name, options = models[name].options } end
  return list
end

-- Creates the device of a row of `m`'s map: row.ptr, which m closes.
function devices.create(row, m)
  local ptr = row.model.create(row, m)
  if ptr == nil then fault.raise("%s", ffi.string(m.why.text)) end
  row.ptr = ptr
  return ptr
end

return setmetatable(devices, {
  __index = function(_, name)
    if models[name] then return constructor(name) end
    fault.raise("unknown device `dev.%s`%s", tostring(name), schema.suggest(tostring(name), NAMES))
  end,
})
