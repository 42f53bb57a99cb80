-- 06-two-machines: two machines, each on a thread of its own, that talk over their serial ports.
--
--   build/umbra exec examples/06-two-machines/run.lua
--
-- SPDX-License-Identifier: MIT
local asm, machine, dev = require "umbra.asm", require "umbra.machine", require "devices"

local RAM = 0x80000000

local folder = arg[0]:match "^(.*/)" or ""
local file = assert(io.open(folder .. "end.s"))
local program = asm.assemble(file:read "*a", { at = RAM, name = "end.s" })
file:close()

local function build(name)
  local m = machine.build(machine {
    name = name,
    ram  = { at = RAM, size = "1M" },
    map  = { { at = 0x00100000, name = "power", dev.syscon {} }, { at = 0x10000000, name = "uart0", dev.ns16550a {} } },
  })
  m.mem:write(program.at, program.bytes)
  return m
end

local left, right = build "left", build "right"
left.hart:set_reg("a2", 1)                        -- it begins
left.console:connect(right.console)

left:start()
right:start()
machine.serve { timeout = 10 }                    -- until both have switched themselves off

for _, m in ipairs { left, right } do
  print(("%-5s sent %s and got %d bytes; it ended with: %s"):format(m.name, m.console:text(), m.hart:reg "s2", m:wait().reason))
  m:close()
end
