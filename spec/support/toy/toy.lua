-- toy: an instruction set with all that RISC-V has not: condition flags, big-endian memory, pairs and vectors of registers.
-- SPDX-License-Identifier: MIT
-- luacheck: no max line length
-- luacheck: read globals extension field file func insn keys register short

file "r" { count = 16, bits = 64 }
file "q" { count = 8,  bits = 128 }
file "v" { count = 8,  bits = 256 }
register "n" { bits = 1 }
register "z" { bits = 1 }
register "c" { bits = 1 }
register "o" { bits = 1 }                               -- overflow
register "wide" { bits = 200 }

field "rd"   { bits = "3:0",   regs = "r" }
field "rn"   { bits = "7:4",   regs = "r" }
field "rm"   { bits = "11:8",  regs = "r" }
field "ra"   { bits = "15:12", regs = "r" }
field "qd"   { bits = "2:0",   regs = "q" }
field "qn"   { bits = "6:4",   regs = "q" }
field "qm"   { bits = "10:8",  regs = "q" }
field "vd"   { bits = "2:0",   regs = "v" }
field "vn"   { bits = "6:4",   regs = "v" }
field "vm"   { bits = "10:8",  regs = "v" }
field "cond" { bits = "15:12", value = 4 }
field "off"  { bits = "23:16", signed = true, shift = 3, as = "imm" }
field "imm"  { bits = "23:12", signed = true }
field "to"   { bits = "23:16 11:0", signed = true, shift = 2, as = "imm" }
field "sh"   { bits = "17:12" }
field "rds"  { bits = "7:4",   regs = "r" }
field "rms"  { bits = "11:8",  regs = "r" }

-- Several results: a sum and its flags.
func "add.flags" "64 64 1 -> 64 1 1 1 1" { c = "toy_add_flags" }

extension "base"
insn "adds"   "00000001 000000000000 rm rn rd" "rd, rn, rm" [[
  let sum = zext(rn, 65) + zext(rm, 65)
  n = sum[63:63]  z = sum[63:0] == 0  c = sum[64:64]
  o = (rn[63:63] == rm[63:63]) & (sum[63:63] != rn[63:63])
  rd = sum[63:0]
]]
insn "addf"   "00000010 000000000000 rm rn rd" "rd, rn, rm" [[ rd, n, z, c, o = add.flags(rn, rm, 0) ]]
insn "subs"   "00000011 000000000000 rm rn rd" "rd, rn, rm" [[ rd, n, z, c, o = add.flags(rn, ~rm, 1) ]]
insn "adcs"   "00000100 000000000000 rm rn rd" "rd, rn, rm" [[ rd, n, z, c, o = add.flags(rn, rm, c) ]]
local holds = [[
  let kind = cond[3:1]
  let base = kind == 0 ? z : kind == 1 ? c : kind == 2 ? n : kind == 3 ? o : kind == 4 ? c & !z : kind == 5 ? n == o
           : kind == 6 ? (n == o) & !z : 1 == zext(z | !z, 2)
  let holds = base ^ (cond[0:0] & (kind != 7))
]]
insn "b.cond" "00000101 to cond to" "cond, imm" (holds .. "if holds { goto pc + imm }")
insn "csel"   "00000110 00000000 cond rm rn rd" "rd, rn, rm, cond" (holds .. "if holds { rd = rn } else { rd = rm }")
insn "cinc"   "00000111 00000000 cond rm rn rd" "rd, rn, rm, cond" (holds .. [[
  if holds { let more = rn + 1  rd = more }
  else if rn == rm { let more = rm - 1  rd = more }
  else { rd = holds ? rn : rm ^ 0xffff0000ffff0000 }
]])
insn "br"     "00001000 000000000000 0000 rn rd" "rd, rn" [[ let to = rn  rd = next  goto to & ~3 ]]
insn "adr"    "00001001 imm 00000000 rd" "rd, imm" [[ rd = pc + imm ]]

insn "ldr.be" "00010000 imm 0000 rn rd" "rd, [rn, imm]" [[ rd = load.u32.be(rn + imm) ]]
insn "ldsh.be" "00010001 imm 0000 rn rd" "rd, [rn, imm]" [[ rd = load.s16.be(rn + imm) ]]
insn "str.be" "00010010 imm rm rn 0000" "rm, [rn, imm]" [[ store.64.be(rn + imm, rm) ]]
insn "strb"   "00010011 imm rm rn 0000" "rm, [rn, imm]" [[ store.8(rn + imm, rm) ]]
insn "ldp"    "00010100 off 00000000 rn rd" "rd, [rn, imm]" [[ let both = load.u128(rn + imm)  rd = both[63:0] ^ both[127:64] ]]
insn "ldq.be" "00010101 off 00000000 rn 0 qd" "qd, [rn, imm]" [[ qd = load.u128.be(rn + imm) ]]
insn "ldv"    "00010110 off 00000000 rn 0 vd" "vd, [rn, imm]" [[ vd = load.u256(rn + imm) ]]
insn "stv.be" "00010111 off 00000 vm rn 0000" "vm, [rn, imm]" [[ store.256.be(rn + imm, vm) ]]
insn "swap"   "00011000 imm rm rn rd" "rd, rm, [rn, imm]" [[ let old = load.u64(rn + imm)  store.64(rn + imm, rm)  rd = old ]]

extension "pairs"
insn "addq"   "00100000 0000000000000 qm 0 qn 0 qd" "qd, qn, qm" [[ qd = qn + qm ]]
insn "mulq"   "00100001 000000000000 rm rn 0 qd" "qd, rn, rm" [[ qd = sext(rn, 128) * sext(rm, 128) ]]
insn "divq"   "00100010 0000000000000 qm 0 qn 0 qd" "qd, qn, qm" [[ qd = qn /s qm ]]
insn "remq"   "00100011 0000000000000 qm 0 qn 0 qd" "qd, qn, qm" [[ qd = qn %u qm ]]
insn "shq"    "00100100 000000000000 rm 0 qn 0 qd" "qd, qn, rm" [[ qd = (qn >>s rm) ^ (qn << rm[8:0]) ^ (qn >> rm[6:0]) ]]
insn "cntq"   "00100101 0000000000000000 0 qn 0 qd" "qd, qn" [[ qd = (clz(qn) << 64) + (ctz(qn) << 32) + popcount(qn) + (qn <s 0 ? 0x123456789abcdef0123456789abcdef0 : 0) ]]
insn "rorq"   "00100110 000000000000 rm 0 qn 0 qd" "qd, qn, rm" [[ qd = ror(qn, rm[7:0]) ]]

extension "odd"                                         -- widths that C has no type for
insn "op24"   "00110000 00000000 ra rm rn rd" "rd, rn, rm, ra" [[
  let x = rn[23:0]
  let y = rm[31:8]
  let d = (x /s y) ^ (x %s y) ^ (x /u y) ^ (x %u y)
  let s = (x >>s ra[4:0]) + (x << ra[3:0]) - rol(y, ra[7:0])
  rd = cat(d, s[15:0], clz(y)[4:0] ^ ctz(x)[4:0], -x[18:0]) ^ zext(bswap(y)) ^ zext(x <s y) ^ zext(~x[2:0])
]]
insn "op1"    "00110001 000000000000 rm rn rd" "rd, rn, rm" [[ rd = sext(rn[5:5] ^ rm[9:9]) + zext(rn[0]) - sext8(rm) * zext16(rn) + sext32(rm) ]]
insn "shi"    "00110010 000000 sh 0000 rn rd" "rd, rn, sh" [[ rd = (rn << sh) ^ (rn >> sh) ^ (rn >>s sh) ^ (rn >>s rn) ^ (rn << rn[7:0]) ^ zext(#rd * #rn) ^ zext(#sh) ]]
insn "cmps"   "00110011 000000000000 rm rn rd" "rd, rn, rm" [[ rd = zext(cat(rn <s rm, rn <u rm, rn <=s rm, rn <=u rm, rn >s rm, rn >u rm, rn >=s rm, rn >=u rm, rn == rm, rn != rm)) ]]

extension "vectors"
insn "vxor"   "01000000 0000000000000 vm 0 vn 0 vd" "vd, vn, vm" [[ vd = (vn ^ vm) | (~vn & vm) ]]
insn "vadd"   "01000001 0000000000000 vm 0 vn 0 vd" "vd, vn, vm" [[
  vd = cat(vn[255:192] + vm[255:192], vn[191:128] + vm[191:128], vn[127:64] + vm[127:64], vn[63:0] + vm[63:0])
]]
insn "vbig"   "01000010 000000000000 rm 0 vn 0 vd" "vd, vn, rm" [[ vd = (vn * 3 - zext(rm, 256)) ^ (vn << rm[8:0]) ^ (vn >> rm[7:0]) ^ (vn >>s rm[9:0]) ]]
insn "vcmp"   "01000011 0000000000000 vm 0 vn rd" "rd, vn, vm" [[
  rd = zext(cat(vn <s vm, vn <u vm, vn >s vm, vn >u vm, vn <=s vm, vn <=u vm, vn >=s vm, vn >=u vm, vn == vm, vn != vm))
]]
insn "vodd"   "01000100 0000000000000 vm 0 vn 0 vd" "vd, vn, vm" [[
  let a = vn[199:0]
  let b = vm[255:56]
  let k = -a + ~b * (a >>s 8)
  wide = wide ^ (a <s b ? k : a - b)
  vd = cat(sext(a[100:0], 156), b[99:0]) ^ sext(k, 256) ^ zext(vn[130:3], 256) ^ 0x8000000000000000000000000000000000000000000000000000000000000001
]]

-- Another encoding of one that is there, and 16 bits wide.
extension "base"
short "add.s" "0000 rms rds 0001" "rd, rm" "addf rd=rds rn=rds rm=rms" :where "rds != rms"
short "br.s"  "1111 0000 rds 0001" "rd" "br rd=15 rn=rds"

keys { [32] = "31:28", [16] = "15:12" }
