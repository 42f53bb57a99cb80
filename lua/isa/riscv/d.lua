-- d: double-precision floating point (unprivileged manual, chapter 21).
-- SPDX-License-Identifier: MIT

for _, op in ipairs { "add", "sub", "mul", "div" } do
  func("f" .. op .. ".d") "64 64 3 -> 64" { kind = "fp", c = "fp_" .. op .. "_d", slow = "FP_" .. op:upper() .. "_D", rounding = "state", ir = "f" .. op }
end
func "fsqrt.d"  "64 3 -> 64"       { kind = "fp", c = "fp_sqrt_d", slow = "FP_SQRT_D", rounding = "state", ir = "fsqrt" }
func "fmadd.d"  "64 64 64 3 -> 64" { kind = "fp", c = "fp_madd_d", slow = "FP_MADD_D", rounding = "state", ir = "fma" }
for _, op in ipairs { "min", "max" } do func("f" .. op .. ".d") "64 64 -> 64" { kind = "fp", c = "fp_" .. op .. "_d", ir = "f" .. op } end
for _, op in ipairs { "eq", "lt", "le" } do func("f" .. op .. ".d") "64 64 -> XLEN" { kind = "fp", c = "fp_" .. op .. "_d", ir = "f" .. op } end
func "fclass.d" "64 -> XLEN" { c = "fp_class_d" }
for _, r in ipairs { { "w", "toi i32" }, { "wu", "tou i32" }, { "l", "toi i64" }, { "lu", "tou i64" } } do
  local to, op = r[1], r[2]
  func("fcvt." .. to .. ".d") "64 3 -> XLEN" { kind = "fp", c = "fp_cvt_" .. to .. "_d", rounding = "given", ir = "f" .. op }
end
for _, r in ipairs { { "l", "itof i64" }, { "lu", "utof i64" } } do
  local from, op = r[1], r[2]
  func("fcvt.d." .. from) "XLEN 3 -> 64" { kind = "fp", c = "fp_cvt_d_" .. from, slow = "FP_CVT_D_" .. from:upper(), rounding = "state", ir = op }
end
func "fcvt.d.w"  "XLEN -> 64" { c = "fp_cvt_d_w", ir = "itof i32" }           -- exact
func "fcvt.d.wu" "XLEN -> 64" { c = "fp_cvt_d_wu", ir = "utof i32" }
func "fcvt.s.d"  "64 3 -> 32" { kind = "fp", c = "fp_cvt_s_d", slow = "FP_CVT_S_D", rounding = "state", ir = "ftof" }
func "fcvt.d.s"  "32 -> 64"   { kind = "fp", c = "fp_cvt_d_s", ir = "ftof" }

local mode = "rm != 5 & rm != 6"

insn "fld" "imm_i     rs1 011 fd    0000111" "fd, imm(rs1)"  [[ fd = load.u64(rs1 + imm) ]]
insn "fsd" "imm_s fs2 rs1 011 imm_s 0100111" "fs2, imm(rs1)" [[ store.64(rs1 + imm, fs2) ]]

insn "fmadd.d"  "fs3 01 fs2 fs1 rm fd 1000011" "fd, fs1, fs2, fs3, rm" [[ fd = fmadd.d(fs1, fs2, fs3, rm) ]] :where(mode)
insn "fmsub.d"  "fs3 01 fs2 fs1 rm fd 1000111" "fd, fs1, fs2, fs3, rm" [[ fd = fmadd.d(fs1, fs2, fs3 ^ (1 << 63), rm) ]] :where(mode)
insn "fnmsub.d" "fs3 01 fs2 fs1 rm fd 1001011" "fd, fs1, fs2, fs3, rm" [[ fd = fmadd.d(fs1 ^ (1 << 63), fs2, fs3, rm) ]] :where(mode)
insn "fnmadd.d" "fs3 01 fs2 fs1 rm fd 1001111" "fd, fs1, fs2, fs3, rm" [[ fd = fmadd.d(fs1 ^ (1 << 63), fs2, fs3 ^ (1 << 63), rm) ]] :where(mode)
insn "fadd.d"   "0000001 fs2 fs1 rm fd 1010011" "fd, fs1, fs2, rm" [[ fd = fadd.d(fs1, fs2, rm) ]] :where(mode)
insn "fsub.d"   "0000101 fs2 fs1 rm fd 1010011" "fd, fs1, fs2, rm" [[ fd = fsub.d(fs1, fs2, rm) ]] :where(mode)
insn "fmul.d"   "0001001 fs2 fs1 rm fd 1010011" "fd, fs1, fs2, rm" [[ fd = fmul.d(fs1, fs2, rm) ]] :where(mode)
insn "fdiv.d"   "0001101 fs2 fs1 rm fd 1010011" "fd, fs1, fs2, rm" [[ fd = fdiv.d(fs1, fs2, rm) ]] :where(mode)
insn "fsqrt.d"  "0101101 00000 fs1 rm fd 1010011" "fd, fs1, rm"    [[ fd = fsqrt.d(fs1, rm) ]] :where(mode)
insn "fsgnj.d"  "0010001 fs2 fs1 000 fd 1010011" "fd, fs1, fs2"    [[ fd = cat(fs2[63:63], fs1[62:0]) ]]
insn "fsgnjn.d" "0010001 fs2 fs1 001 fd 1010011" "fd, fs1, fs2"    [[ fd = cat(~fs2[63:63], fs1[62:0]) ]]
insn "fsgnjx.d" "0010001 fs2 fs1 010 fd 1010011" "fd, fs1, fs2"    [[ fd = fs1 ^ (fs2 & (1 << 63)) ]]
insn "fmin.d"   "0010101 fs2 fs1 000 fd 1010011" "fd, fs1, fs2"    [[ fd = fmin.d(fs1, fs2) ]]
insn "fmax.d"   "0010101 fs2 fs1 001 fd 1010011" "fd, fs1, fs2"    [[ fd = fmax.d(fs1, fs2) ]]
insn "feq.d"    "1010001 fs2 fs1 010 rd 1010011" "rd, fs1, fs2"    [[ rd = feq.d(fs1, fs2) ]]
insn "flt.d"    "1010001 fs2 fs1 001 rd 1010011" "rd, fs1, fs2"    [[ rd = flt.d(fs1, fs2) ]]
insn "fle.d"    "1010001 fs2 fs1 000 rd 1010011" "rd, fs1, fs2"    [[ rd = fle.d(fs1, fs2) ]]
insn "fclass.d" "1110001 00000 fs1 001 rd 1010011" "rd, fs1"       [[ rd = fclass.d(fs1) ]]
insn "fcvt.s.d" "0100000 00001 fs1 rm fd 1010011" "fd, fs1, rm"    [[ fd = box(fcvt.s.d(fs1, rm)) ]] :where(mode)
insn "fcvt.d.s" "0100001 00000 fs1 rm fd 1010011" "fd, fs1 rm?"    [[ fd = fcvt.d.s(unbox(fs1)) ]] :where(mode)
insn "fcvt.w.d"  "1100001 00000 fs1 rm rd 1010011" "rd, fs1, rm"   [[ rd = fcvt.w.d(fs1, rm) ]]  :where(mode)
insn "fcvt.wu.d" "1100001 00001 fs1 rm rd 1010011" "rd, fs1, rm"   [[ rd = fcvt.wu.d(fs1, rm) ]] :where(mode)
insn "fcvt.l.d"  "1100001 00010 fs1 rm rd 1010011" "rd, fs1, rm"   [[ rd = fcvt.l.d(fs1, rm) ]]  :where(mode)
insn "fcvt.lu.d" "1100001 00011 fs1 rm rd 1010011" "rd, fs1, rm"   [[ rd = fcvt.lu.d(fs1, rm) ]] :where(mode)
insn "fcvt.d.w"  "1101001 00000 rs1 rm fd 1010011" "fd, rs1 rm?"   [[ fd = fcvt.d.w(rs1) ]]  :where(mode)
insn "fcvt.d.wu" "1101001 00001 rs1 rm fd 1010011" "fd, rs1 rm?"   [[ fd = fcvt.d.wu(rs1) ]] :where(mode)
insn "fcvt.d.l"  "1101001 00010 rs1 rm fd 1010011" "fd, rs1, rm"   [[ fd = fcvt.d.l(rs1, rm) ]]  :where(mode)
insn "fcvt.d.lu" "1101001 00011 rs1 rm fd 1010011" "fd, rs1, rm"   [[ fd = fcvt.d.lu(rs1, rm) ]] :where(mode)
insn "fmv.x.d"  "1110001 00000 fs1 000 rd 1010011" "rd, fs1"       [[ rd = fs1 ]]
insn "fmv.d.x"  "1111001 00000 rs1 000 fd 1010011" "fd, rs1"       [[ fd = rs1 ]]
