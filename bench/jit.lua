-- jit: from the bytes of a block to host code, step by step, and what runs it. A block of 24 instructions, as compilers make them.
-- SPDX-License-Identifier: MIT
local asm     = require "umbra.asm"
local bench   = require "umbra.bench"
local cpu     = require "umbra.cpu"
local ffi     = require "ffi"
local C       = require("umbra.clib").C

local INSNS = 24
local SOURCE = [[
        ld    a5, 0(a0)
        ld    a4, 8(a0)
        addi  a0, a0, 16
        xor   a3, a5, a4
        slli  a2, a3, 13
        srli  a1, a3, 51
        or    a2, a2, a1
        add   a4, a4, a2
        lw    s1, 16(sp)
        addiw s1, s1, 1
        sw    s1, 16(sp)
        sltu  t0, a4, a5
        add   a3, a3, t0
        mul   t1, a3, a2
        sd    t1, 24(sp)
        andi  a1, t1, 255
        sh3add a1, a1, sp
        ld    t2, 64(a1)
        addw  t2, t2, s1
        sext.w a5, t2
        sub   a4, a4, a5
        sd    a4, 32(sp)
        addi  a0, a0, -16
        bne   a4, zero, 0f
0:
]]
local ISA, AT = "rv64gc_zba_zbb_zbs", 0x80000000

local function setup()
  local clock, control, mem = require "umbra.clock", require "umbra.control", require "umbra.mem"
  local memory = mem.new()
  memory:add_ram { at = AT, size = 0x10000 }
  local bytes = asm.assemble(SOURCE, { isa = ISA, at = AT }).bytes
  memory:write(AT, bytes)
  local hart = cpu.new { mem = memory, clock = clock.new(), control = control.new(), isa = ISA, reset_pc = AT }
  hart:set_reg("sp", AT + 0x8000)
  hart:set_reg("a0", AT + 0x9000)
  local jit = cpu.jit { size = "16M" }
  local block, insns = cpu.lift(bytes, { isa = ISA, fp_ready = true })
  assert(insns == INSNS)
  return {
    hart = hart, bytes = bytes, block = block, jit = jit, code = jit:translate(block, AT), mask = cpu.isa_mask(ISA), why = ffi.new "struct um_fault",
    exit = ffi.new "struct um_ir_exit", scratch = cpu.lift(bytes, { isa = ISA }),
  }
end

local function case(name, routine, help)
  return bench.component { name = name, unit = "instruction", per = INSNS, setup = setup, routine = routine, help = help }
end

return bench {
  help = "from a block's bytes to host code",
  case("lift", function(s) C.um_riscv_lift(s.scratch.ptr, s.bytes, #s.bytes, s.mask, s.why) end, "decode, lift, sweep, verify"),
  case("translate", function(s)
    if s.jit:counters().used > 12 * 2 ^ 20 then
      s.jit:close()
      s.jit = cpu.jit { size = "16M" }
    end
    s.jit:translate(s.block, AT)
  end, "verify, translate"),
  case("evaluate", function(s)
    s.hart:set_pc(AT)
    s.hart:evaluate(INSNS)
  end, "lift and evaluate, one at a time"),
  case("translated", function(s) C.um_hart_run_code(s.hart.ptr, s.jit.ptr, s.code.number, s.exit, s.why) end, "enter, run, leave"),
  case("tier 0", function(s)
    s.hart:set_pc(AT)
    s.hart:run(INSNS)
  end, "the same by the run loop"),
}
