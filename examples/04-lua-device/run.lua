-- 04-lua-device: a machine with a device written in Lua, and a program that drives it.
--
--   build/umbra exec examples/04-lua-device/run.lua
--
-- SPDX-License-Identifier: MIT
local asm, device = require "umbra.asm", require "umbra.device"
local machine, dev = require "umbra.machine", require "devices"

local folder = arg[0]:match "^(.*/)" or ""
local Ticker = device.load "ticker.lua"

local m = machine.build(machine {
  name  = "lua-device",
  clock = "virtual",                              -- the same ticks on any host
  ram   = { at = 0x80000000, size = "1M" },
  map   = {
    { at = 0x00100000, name = "power",  dev.syscon {} },
    { at = 0x0c000000, name = "plic",   dev.plic { sources = 31 } },
    { at = 0x10000000, name = "uart0",  dev.ns16550a {} },
    { at = 0x10005000, name = "ticker", Ticker { irq = 5 } },
  },
})

local file = assert(io.open(folder .. "driver.s"))
local program = asm.assemble(file:read "*a", { at = 0x80000000, name = "driver.s" })
file:close()
m.mem:write(program.at, program.bytes)

local result = m:run { timeout = 10 }
io.write(m.console:text())
print(m:device("ticker"):describe())
print("ended with: " .. result.reason)
m:close()
