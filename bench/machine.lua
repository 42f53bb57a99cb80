-- machine: making, resetting and closing whole machines.
-- SPDX-License-Identifier: MIT
local bench, machine, dev = require "umbra.bench", require "umbra.machine", require "devices"

local function small()
  return machine {
    cpu = { isa = "rv64gc" }, ram = { at = 0x80000000, size = "64M" },
    map = { { at = 0x100000, name = "power", dev.syscon {} }, { at = 0x10000000, name = "uart0", dev.ns16550a {} } },
  }
end

return bench {
  help = "life and death of machines",
  bench.component { name = "describe", unit = "machine", routine = small },
  bench.component { name = "create and close", unit = "machine", setup = small, routine = function(d) machine.build(d):close() end },
  bench.component {
    name = "reset", unit = "reset", setup = function() return machine.build(small()) end,
    routine = function(m) m:reset() end, teardown = function(m) m:close() end,
  },
  bench.component {
    name = "load riscv-virt and close", unit = "machine", routine = function() machine.load("riscv-virt", { guest = "none", firmware = "none" }):close() end,
  },
}
