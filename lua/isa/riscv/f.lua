-- f: single-precision floating point (unprivileged manual, chapter 20).
-- SPDX-License-Identifier: MIT
--
-- Singles live NaN-boxed in 64-bit registers: unbox() gives the canonical NaN for what is not boxed.
-- rounding = "state": the function rounds as the dynamic mode says; another static mode goes the slow way.
-- rounding = "given": the mode is an argument of the C function.
-- ir: the operation of csrc/ir/ops.h that it is.

func "box"   "32 -> 64" { c = "fp_box", ir = "box" }
func "unbox" "64 -> 32" { c = "fp_unbox", ir = "unbox" }
for _, op in ipairs { "add", "sub", "mul", "div" } do
  func("f" .. op .. ".s") "32 32 3 -> 32" { kind = "fp", c = "fp_" .. op .. "_s", slow = "FP_" .. op:upper() .. "_S", rounding = "state", ir = "f" .. op }
end
func "fsqrt.s"  "32 3 -> 32"       { kind = "fp", c = "fp_sqrt_s", slow = "FP_SQRT_S", rounding = "state", ir = "fsqrt" }
func "fmadd.s"  "32 32 32 3 -> 32" { kind = "fp", c = "fp_madd_s", slow = "FP_MADD_S", rounding = "state", ir = "fma" }
for _, op in ipairs { "min", "max" } do func("f" .. op .. ".s") "32 32 -> 32" { kind = "fp", c = "fp_" .. op .. "_s", ir = "f" .. op } end
for _, op in ipairs { "eq", "lt", "le" } do func("f" .. op .. ".s") "32 32 -> XLEN" { kind = "fp", c = "fp_" .. op .. "_s", ir = "f" .. op } end
func "fclass.s" "32 -> XLEN" { c = "fp_class_s" }
for _, r in ipairs { { "w", "toi i32" }, { "wu", "tou i32" }, { "l", "toi i64" }, { "lu", "tou i64" } } do
  local to, op = r[1], r[2]
  func("fcvt." .. to .. ".s") "32 3 -> XLEN" { kind = "fp", c = "fp_cvt_" .. to .. "_s", rounding = "given", ir = "f" .. op }
end
for _, r in ipairs { { "w", "itof i32" }, { "wu", "utof i32" }, { "l", "itof i64" }, { "lu", "utof i64" } } do
  local from, op = r[1], r[2]
  func("fcvt.s." .. from) "XLEN 3 -> 32" { kind = "fp", c = "fp_cvt_s_" .. from, slow = "FP_CVT_S_" .. from:upper(), rounding = "state", ir = op }
end

local mode = "rm != 5 & rm != 6"                -- 5 and 6 are reserved

insn "flw" "imm_i     rs1 010 fd    0000111" "fd, imm(rs1)"  [[ fd = box(load.u32(rs1 + imm)[31:0]) ]]
insn "fsw" "imm_s fs2 rs1 010 imm_s 0100111" "fs2, imm(rs1)" [[ store.32(rs1 + imm, fs2) ]]

insn "fmadd.s"  "fs3 00 fs2 fs1 rm fd 1000011" "fd, fs1, fs2, fs3, rm" [[ fd = box(fmadd.s(unbox(fs1), unbox(fs2), unbox(fs3), rm)) ]] :where(mode)
insn "fmsub.s"  "fs3 00 fs2 fs1 rm fd 1000111" "fd, fs1, fs2, fs3, rm" [[ fd = box(fmadd.s(unbox(fs1), unbox(fs2), unbox(fs3) ^ 0x80000000, rm)) ]] :where(mode)
insn "fnmsub.s" "fs3 00 fs2 fs1 rm fd 1001011" "fd, fs1, fs2, fs3, rm" [[ fd = box(fmadd.s(unbox(fs1) ^ 0x80000000, unbox(fs2), unbox(fs3), rm)) ]] :where(mode)
insn "fnmadd.s" "fs3 00 fs2 fs1 rm fd 1001111" "fd, fs1, fs2, fs3, rm" [[ fd = box(fmadd.s(unbox(fs1) ^ 0x80000000, unbox(fs2), unbox(fs3) ^ 0x80000000, rm)) ]] :where(mode)
insn "fadd.s"   "0000000 fs2 fs1 rm fd 1010011" "fd, fs1, fs2, rm" [[ fd = box(fadd.s(unbox(fs1), unbox(fs2), rm)) ]] :where(mode)
insn "fsub.s"   "0000100 fs2 fs1 rm fd 1010011" "fd, fs1, fs2, rm" [[ fd = box(fsub.s(unbox(fs1), unbox(fs2), rm)) ]] :where(mode)
insn "fmul.s"   "0001000 fs2 fs1 rm fd 1010011" "fd, fs1, fs2, rm" [[ fd = box(fmul.s(unbox(fs1), unbox(fs2), rm)) ]] :where(mode)
insn "fdiv.s"   "0001100 fs2 fs1 rm fd 1010011" "fd, fs1, fs2, rm" [[ fd = box(fdiv.s(unbox(fs1), unbox(fs2), rm)) ]] :where(mode)
insn "fsqrt.s"  "0101100 00000 fs1 rm fd 1010011" "fd, fs1, rm"    [[ fd = box(fsqrt.s(unbox(fs1), rm)) ]] :where(mode)
insn "fsgnj.s"  "0010000 fs2 fs1 000 fd 1010011" "fd, fs1, fs2"    [[ fd = box(cat(unbox(fs2)[31:31], unbox(fs1)[30:0])) ]]
insn "fsgnjn.s" "0010000 fs2 fs1 001 fd 1010011" "fd, fs1, fs2"    [[ fd = box(cat(~unbox(fs2)[31:31], unbox(fs1)[30:0])) ]]
insn "fsgnjx.s" "0010000 fs2 fs1 010 fd 1010011" "fd, fs1, fs2"    [[ fd = box(unbox(fs1) ^ (unbox(fs2) & 0x80000000)) ]]
insn "fmin.s"   "0010100 fs2 fs1 000 fd 1010011" "fd, fs1, fs2"    [[ fd = box(fmin.s(unbox(fs1), unbox(fs2))) ]]
insn "fmax.s"   "0010100 fs2 fs1 001 fd 1010011" "fd, fs1, fs2"    [[ fd = box(fmax.s(unbox(fs1), unbox(fs2))) ]]
insn "feq.s"    "1010000 fs2 fs1 010 rd 1010011" "rd, fs1, fs2"    [[ rd = feq.s(unbox(fs1), unbox(fs2)) ]]
insn "flt.s"    "1010000 fs2 fs1 001 rd 1010011" "rd, fs1, fs2"    [[ rd = flt.s(unbox(fs1), unbox(fs2)) ]]
insn "fle.s"    "1010000 fs2 fs1 000 rd 1010011" "rd, fs1, fs2"    [[ rd = fle.s(unbox(fs1), unbox(fs2)) ]]
insn "fclass.s" "1110000 00000 fs1 001 rd 1010011" "rd, fs1"       [[ rd = fclass.s(unbox(fs1)) ]]
insn "fmv.x.w"  "1110000 00000 fs1 000 rd 1010011" "rd, fs1"       [[ rd = sext32(fs1) ]]
insn "fmv.w.x"  "1111000 00000 rs1 000 fd 1010011" "fd, rs1"       [[ fd = box(rs1[31:0]) ]]
insn "fcvt.w.s"  "1100000 00000 fs1 rm rd 1010011" "rd, fs1, rm"   [[ rd = fcvt.w.s(unbox(fs1), rm) ]]  :where(mode)
insn "fcvt.wu.s" "1100000 00001 fs1 rm rd 1010011" "rd, fs1, rm"   [[ rd = fcvt.wu.s(unbox(fs1), rm) ]] :where(mode)
insn "fcvt.l.s"  "1100000 00010 fs1 rm rd 1010011" "rd, fs1, rm"   [[ rd = fcvt.l.s(unbox(fs1), rm) ]]  :where(mode)
insn "fcvt.lu.s" "1100000 00011 fs1 rm rd 1010011" "rd, fs1, rm"   [[ rd = fcvt.lu.s(unbox(fs1), rm) ]] :where(mode)
insn "fcvt.s.w"  "1101000 00000 rs1 rm fd 1010011" "fd, rs1, rm"   [[ fd = box(fcvt.s.w(rs1, rm)) ]]  :where(mode)
insn "fcvt.s.wu" "1101000 00001 rs1 rm fd 1010011" "fd, rs1, rm"   [[ fd = box(fcvt.s.wu(rs1, rm)) ]] :where(mode)
insn "fcvt.s.l"  "1101000 00010 rs1 rm fd 1010011" "fd, rs1, rm"   [[ fd = box(fcvt.s.l(rs1, rm)) ]]  :where(mode)
insn "fcvt.s.lu" "1101000 00011 rs1 rm fd 1010011" "fd, rs1, rm"   [[ fd = box(fcvt.s.lu(rs1, rm)) ]] :where(mode)
