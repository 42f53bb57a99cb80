-- hello: the smallest computer that says something: one hart, RAM, a serial port, and a switch to turn it off.
-- SPDX-License-Identifier: MIT
local machine, dev = require "umbra.machine", require "devices"

return machine {
  name = "hello",
  cpu  = { isa = "rv64i" },
  ram  = { at = 0x80000000, size = "1M" },
  map  = {
    { at = 0x00100000, name = "power", dev.syscon {} },
    { at = 0x10000000, name = "uart0", dev.ns16550a {} },
  },
  boot = { kernel = machine.param { "kernel", required = true } },
}
