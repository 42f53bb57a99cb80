-- mmio: what an access to a device costs a guest, for a device in C and for devices in Lua.
--
-- A bare-metal loop of one load, one store and three more instructions, each turn two accesses.
-- SPDX-License-Identifier: MIT
local bench, machine, dev = require "umbra.bench", require "umbra.machine", require "devices"
local asm, device = require "umbra.asm", require "umbra.device"

local AT, RAM = 0x10005000, 0x80000000
local REGS = { { at = 0, name = "a", access = "r" }, { at = 4, name = "b" } }

local function class(jit, behaves)
  local Class = device { name = "bench", jit = jit, regs = REGS }
  if behaves then
    function Class:read_a() return self.b end
    function Class:write_b(value) self.b = value end
  end
  return Class {}
end

local LOOP = asm.assemble(([[
    li s0, 0x%x
1:  lw a0, 0(s0)
    addi a0, a0, 1
    sw a0, 4(s0)
    addi s1, s1, -1
    j 1b]]):format(AT), { at = RAM }).bytes

local function machine_with(make)
  return function()
    local m = machine.build(machine { ram = { at = RAM, size = "1M" }, map = { { at = AT, name = "it", make() } } })
    m.mem:write(RAM, LOOP)
    m:run { instructions = 1 }
    return m
  end
end

-- per: accesses in 5 * `turns` instructions.
local function case(name, turns, make)
  return bench.component {
    name = name, unit = "access", per = 2 * turns, setup = machine_with(make), teardown = function(m) m:close() end,
    routine = function(m) return m:run { instructions = 5 * turns }.executed end,
  }
end

-- The same on a thread of its own: each access that Lua serves is handed from one thread to the other and back.
local function started(name, turns, make)
  return bench.component {
    name = "started: " .. name, clock = "wall", unit = "access", per = 2 * turns, setup = machine_with(make), teardown = function(m) m:close() end,
    routine = function(m)
      m:start { instructions = 5 * turns }
      return m:wait().executed
    end,
  }
end

return bench {
  help = "accesses of a guest to a device",
  case("C", 1000, function() return dev.goldfish_rtc {} end),
  case("Lua, plain registers", 1000, function() return class(nil, false) end),
  case("Lua, functions", 1000, function() return class(nil, true) end),
  case("Lua, functions, jit = true", 1000, function() return class(true, true) end),
  case("Lua, functions, watched", 100, function() return class(false, true) end),
  started("C", 1000, function() return dev.goldfish_rtc {} end),
  started("Lua, functions", 1000, function() return class(nil, true) end),
  started("Lua, functions, watched", 100, function() return class(false, true) end),
}
