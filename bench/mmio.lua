-- mmio: what an access to a device costs a guest: nanoseconds, for a device in C and for devices in Lua.
--
--   luajit bench/mmio.lua [runs=5]
--
-- A bare-metal loop of one load, one store and three more instructions; CPU time of the process, the best of `runs` runs.
-- SPDX-License-Identifier: MIT
local root = arg[0]:match "^(.*)bench/[^/]*$" or "./"
package.path = root .. "lua/?.lua;" .. package.path

local asm     = require "umbra.asm"
local dev     = require "devices"
local device  = require "umbra.device"
local machine = require "umbra.machine"

local runs = tonumber((arg[1] or "runs=5"):match "^runs=(%d+)$")
if not runs or runs < 1 then
  io.stderr:write("mmio: usage: luajit bench/mmio.lua [runs=5]\n")
  os.exit(126)
end

local AT = 0x10005000
local REGS = { { at = 0, name = "a", access = "r" }, { at = 4, name = "b" } }

local function class(jit, behaves)
  local Class = device { name = "bench", jit = jit, regs = REGS }
  if behaves then
    function Class:read_a() return self.b end
    function Class:write_b(value) self.b = value end
  end
  return Class {}
end

-- A row: what it is, how often the loop runs, what makes the device.
local ROWS = {
  { "C (goldfish_rtc)", 500000, function() return dev.goldfish_rtc {} end },
  { "Lua, plain registers", 500000, function() return class(nil, false) end },
  { "Lua, functions", 500000, function() return class(nil, true) end },
  { "Lua, functions, jit = true", 500000, function() return class(true, true) end },
  { "Lua, functions, watched", 50000, function() return class(false, true) end },
}

local function measure(count, make)
  local m = machine.build(machine {
    ram = { at = 0x80000000, size = "1M" },
    map = { { at = 0x100000, name = "power", dev.syscon {} }, { at = AT, name = "it", make() } },
  })
  m.mem:write(0x80000000, asm.assemble(([[
    li s0, 0x%x
    li s1, %d
1:  lw a0, 0(s0)
    addi a0, a0, 1
    sw a0, 4(s0)
    addi s1, s1, -1
    bnez s1, 1b
    li t0, 0x100000
    li t1, 0x5555
    sw t1, (t0)
    j .]]):format(AT, count), { at = 0x80000000 }).bytes)
  local start = os.clock()
  m:run { timeout = 60 }
  local ns = (os.clock() - start) * 1e9 / (2 * count)
  local seen = m:counters().mmio.devices.it
  assert(seen.reads == count and seen.writes == count, "not every access was counted")
  m:close()
  return ns
end

for _, row in ipairs(ROWS) do
  local best = math.huge
  for _ = 1, runs do best = math.min(best, measure(row[2], row[3])) end
  print(("%-28s %8.0f ns an access"):format(row[1], best))
end
