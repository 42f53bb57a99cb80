-- board: a small machine for a program in assembler, as the specs of hooks build it.
-- SPDX-License-Identifier: MIT
local asm     = require "umbra.asm"
local assert  = require "luassert"
local dev     = require "devices"
local machine = require "umbra.machine"

local board = { RAM = 0x80000000 }

-- A machine with `text` as its kernel, by a file in `folder`, and what was assembled; symbols are known. It ends where the text says
-- `off`, with a label of that name.
function board.build(folder, text, options)
  options = options or {}
  local program = asm.assemble(text .. "\n.text\noff: li t0, 0x100000\nli t1, 0x5555\nsw t1, (t0)\nj .\n", { at = board.RAM, name = "guest" })
  local path = folder.path .. "/guest.elf"
  local file = assert(io.open(path, "wb"))
  file:write(asm.elf(program))
  file:close()
  local m = machine.build(machine {
    clock = options.clock, cpu = { harts = options.harts, isa = "rv64gc_zicboz_zicntr" },
    ram = { at = board.RAM, size = "4M" },
    map = {
      { at = 0x00100000, name = "power", dev.syscon {} },
      { at = 0x02000000, name = "clint", dev.clint {} },
      { at = 0x10000000, name = "uart0", dev.ns16550a {} },
      options.row,
    },
    boot = { kernel = path },
  })
  return m, program
end

-- Runs `m` to its `off`.
function board.run(m, options)
  local result = m:run(options or { timeout = 20 })
  assert.equal("off", result.reason)
  return result
end

-- What a condition of the specs sees of a hart at `pc`, and of an event.
function board.environment(hart, pc, event)
  local env = {
    pc = pc, reg = function(i) return hart:reg(i) end,
    load = function(address, size)
      local ok, bytes = pcall(hart.read, hart, address, size)
      return ok and address < board.RAM + 2^22 and address >= board.RAM and bytes or nil
    end,
  }
  for key, value in pairs(event or {}) do env[key] = value end       -- fields: any order will do
  return env
end

-- Counts a0 to 10, by way of memory, and switches off.
board.LOOP = [[
        li      a0, 0
        la      s0, data
loop:   addi    a0, a0, 1
store:  sd      a0, 0(s0)
next:   ld      a1, 0(s0)
        li      t0, 10
        bne     a0, t0, loop
        j       off
        .balign 4096
data:   .dword  0, 0, 0, 0, 0, 0, 0, 0
]]

return board
