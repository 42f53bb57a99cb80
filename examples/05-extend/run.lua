-- 05-extend: one program in a machine and in one that extends it.
--
--   build/umbra exec examples/05-extend/run.lua
--
-- SPDX-License-Identifier: MIT
local asm, machine = require "umbra.asm", require "umbra.machine"

local folder = arg[0]:match "^(.*/)" or ""
local file = assert(io.open(folder .. "greet.s"))
local text = file:read "*a"
file:close()

for harts, name in ipairs { "../01-hello-bare/machine.lua", "machine.lua" } do
  local program = asm.assemble(".equ HARTS, " .. harts .. "\n" .. text, { at = 0x80000000, name = "greet.s" })
  local path = os.tmpname()
  local elf = assert(io.open(path, "wb"))
  elf:write(asm.elf(program))
  elf:close()
  local m = machine.load(folder .. name, { kernel = path })
  m:run { timeout = 10 }
  print(m:describe())
  io.write(m.console:text(), "\n")
  m:close()
  os.remove(path)
end
