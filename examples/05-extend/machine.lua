-- 05-extend: the machine of 01-hello-bare with what this file says: two harts, the serial port elsewhere, a second one whose text is
-- the machine's. Parameters, RAM and the power switch stay. SPDX-License-Identifier: MIT
local machine, dev = require "umbra.machine", require "devices"

return machine {
  extends = "../01-hello-bare/machine.lua",
  name    = "extended",
  cpu     = { isa = "rv64ia", harts = 2 },
  map     = {
    uart0 = { at = 0x10001000 },
    { at = 0x10000000, name = "uart1", dev.ns16550a {} },
  },
  console = "uart1",
}
