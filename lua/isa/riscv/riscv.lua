-- riscv: registers, fields and functions of RISC-V, and the list of its extensions.
-- SPDX-License-Identifier: MIT
--
-- The RISC-V Instruction Set Manual, volumes I and II (20240411). The notation is explained in docs/isa.md.

local x_names = "zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"
local f_names = "ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11"

file "x" { count = 32, zero = true, names = x_names }
file "f" { count = 32, bits = 64, names = f_names }

-- Registers.
field "rd"     { bits = "11:7",  regs = "x" }
field "rs1"    { bits = "19:15", regs = "x" }
field "rs2"    { bits = "24:20", regs = "x" }
field "fd"     { bits = "11:7",  regs = "f" }
field "fs1"    { bits = "19:15", regs = "f" }
field "fs2"    { bits = "24:20", regs = "f" }
field "fs3"    { bits = "31:27", regs = "f" }

-- Immediates.
field "imm_i"  { bits = "31:20",             signed = true, as = "imm" }
field "imm_s"  { bits = "31:25 11:7",        signed = true, as = "imm" }
field "imm_b"  { bits = "31 7 30:25 11:8",   signed = true, shift = 1,  as = "imm" }
field "imm_u"  { bits = "31:12",             signed = true, shift = 12, as = "imm" }
field "imm_j"  { bits = "31 19:12 20 30:21", signed = true, shift = 1,  as = "imm" }
field "shamt"  { bits = XLEN == 64 and "25:20" or "24:20" }
field "shamtw" { bits = "24:20", as = "shamt" }
field "csr"    { bits = "31:20", value = 12 }
field "uimm"   { bits = "19:15" }
field "aq"     { bits = "26", value = 1 }
field "rl"     { bits = "25", value = 1 }
field "rm"     { bits = "14:12", value = 3 }
field "fm"     { bits = "31:28", value = 4 }
field "pred"   { bits = "27:24", value = 4 }
field "succ"   { bits = "23:20", value = 4 }

-- What the language cannot say is C with declared effects: kind "pure"; "fp" reads the rounding mode and raises flags;
-- "state" may change hart state and trap; "redirect" is state that also sets pc.
func "csr.swap"     "12 XLEN 1 -> XLEN" { kind = "state", c = "do_csr_swap" }      -- csr, value, read?
func "csr.set"      "12 XLEN 1 -> XLEN" { kind = "state", c = "do_csr_set" }       -- csr, bits, write?
func "csr.clear"    "12 XLEN 1 -> XLEN" { kind = "state", c = "do_csr_clear" }
func "ecall"        "->"                { kind = "state", c = "do_ecall", ends = true }
func "ebreak"       "->"                { kind = "state", c = "do_ebreak", ends = true }
func "mret"         "->"                { kind = "redirect", c = "hart_mret", ends = true }
func "sret"         "->"                { kind = "redirect", c = "hart_sret", ends = true }
func "wfi"          "->"                { kind = "state", c = "hart_wfi", ends = true }
func "fence"        "4 4 ->"            { kind = "pure",  c = "do_fence", ir = "fence" }
func "fence.i"      "->"                { kind = "state", c = "do_fence_i", ends = true }
func "sfence.vma"   "1 XLEN 1 XLEN ->"  { kind = "state", c = "hart_sfence", ends = true }
func "sfence.order" "->"                { kind = "state", c = "hart_sfence_order" }
func "cbo.zero"     "XLEN ->"           { kind = "state", c = "do_cbo_zero" }
func "cbo"          "XLEN 2 ->"         { kind = "state", c = "do_cbo" }

extension "i" include "i.lua"
extension "m" include "m.lua"
extension "a" include "a.lua"
extension "f" include "f.lua"
extension "d" include "d.lua"
extension "zicsr" include "zicsr.lua"
include "zb.lua"
include "zi.lua"
include "privileged.lua"
extension "c" include "c.lua"

-- Extensions that add no instructions: they show in CSRs, page tables and the device tree.
for _, name in ipairs { "s", "u", "zicntr", "zihpm", "sstc", "svade", "svadu", "svnapot", "svpbmt" } do extension(name) end

keys { [32] = "14:12 6:2", [16] = "15:13 1:0" }
