-- 03-asm-hello: assembles a program, runs it on a computer of one hart and a serial port, and looks at what it left in memory.
--
--   build/umbra exec examples/03-asm-hello.lua
--
-- SPDX-License-Identifier: MIT
local asm, machine, dev = require "umbra.asm", require "umbra.machine", require "devices"

local RAM = 0x80000000

local program = asm.assemble([[
        .equ    UART, 0x10000000
        .equ    POWER, 0x100000
        .equ    OFF, 0x5555

start:  la      s0, text
        li      s1, UART
1:      lbu     a0, (s0)
        beqz    a0, 2f
        sb      a0, (s1)                # a byte stored to the port is sent
        addi    s0, s0, 1
        j       1b
2:      la      a0, text                # s0 - text: how many they were
        sub     a0, s0, a0
        sd      a0, sent, t0
        li      a0, POWER
        li      a1, OFF
        sw      a1, (a0)
        j       .

        .data
        .balign 8
sent:   .dword  0
text:   .asciz  "hello from a program that was assembled here\n"
]], { at = RAM, name = "hello" })

local m = machine.build(machine {
  name = "asm-hello",
  cpu  = { isa = "rv64i" },
  ram  = { at = RAM, size = "1M" },
  map  = {
    { at = 0x00100000, name = "power", dev.syscon {} },
    { at = 0x10000000, name = "uart0", dev.ns16550a {} },
  },
})

m.mem:write(program.at, program.bytes)
m.hart:set_pc(program.symbols.start)
local result = m:run { timeout = 10 }
io.write(m.console:text())
print(("%d bytes of code and data, %d bytes sent, ended with: %s"):format(#program.bytes, m.mem:load(program.symbols.sent, 8), result.reason))
m:close()
return result.reason == "off" and 0 or 1
