-- zb: bit manipulation: Zba, Zbb, Zbc, Zbs (unprivileged manual, chapter 28).
-- SPDX-License-Identifier: MIT

extension "zba"
insn "sh1add" "0010000 rs2 rs1 010 rd 0110011" "rd, rs1, rs2" [[ rd = rs2 + (rs1 << 1) ]]
insn "sh2add" "0010000 rs2 rs1 100 rd 0110011" "rd, rs1, rs2" [[ rd = rs2 + (rs1 << 2) ]]
insn "sh3add" "0010000 rs2 rs1 110 rd 0110011" "rd, rs1, rs2" [[ rd = rs2 + (rs1 << 3) ]]
insn "add.uw"    "0000100 rs2 rs1 000 rd 0111011" "rd, rs1, rs2"   [[ rd = rs2 + zext32(rs1) ]]
insn "sh1add.uw" "0010000 rs2 rs1 010 rd 0111011" "rd, rs1, rs2"   [[ rd = rs2 + (zext32(rs1) << 1) ]]
insn "sh2add.uw" "0010000 rs2 rs1 100 rd 0111011" "rd, rs1, rs2"   [[ rd = rs2 + (zext32(rs1) << 2) ]]
insn "sh3add.uw" "0010000 rs2 rs1 110 rd 0111011" "rd, rs1, rs2"   [[ rd = rs2 + (zext32(rs1) << 3) ]]
insn "slli.uw"   "000010 shamt rs1 001 rd 0011011" "rd, rs1, shamt" [[ rd = zext32(rs1) << shamt ]]

extension "zbb"
func "orc.b" "XLEN -> XLEN" { c = "bits_orc_b" }
insn "andn"   "0100000 rs2 rs1 111 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 & ~rs2 ]]
insn "orn"    "0100000 rs2 rs1 110 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 | ~rs2 ]]
insn "xnor"   "0100000 rs2 rs1 100 rd 0110011" "rd, rs1, rs2" [[ rd = ~(rs1 ^ rs2) ]]
insn "clz"    "0110000 00000 rs1 001 rd 0010011" "rd, rs1" [[ rd = clz(rs1) ]]
insn "ctz"    "0110000 00001 rs1 001 rd 0010011" "rd, rs1" [[ rd = ctz(rs1) ]]
insn "cpop"   "0110000 00010 rs1 001 rd 0010011" "rd, rs1" [[ rd = popcount(rs1) ]]
insn "sext.b" "0110000 00100 rs1 001 rd 0010011" "rd, rs1" [[ rd = sext8(rs1) ]]
insn "sext.h" "0110000 00101 rs1 001 rd 0010011" "rd, rs1" [[ rd = sext16(rs1) ]]
insn "min"    "0000101 rs2 rs1 100 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 <s rs2 ? rs1 : rs2 ]]
insn "minu"   "0000101 rs2 rs1 101 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 <u rs2 ? rs1 : rs2 ]]
insn "max"    "0000101 rs2 rs1 110 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 <s rs2 ? rs2 : rs1 ]]
insn "maxu"   "0000101 rs2 rs1 111 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 <u rs2 ? rs2 : rs1 ]]
insn "rol"    "0110000 rs2 rs1 001 rd 0110011" "rd, rs1, rs2" [[ rd = rol(rs1, rs2[5:0]) ]]
insn "ror"    "0110000 rs2 rs1 101 rd 0110011" "rd, rs1, rs2" [[ rd = ror(rs1, rs2[5:0]) ]]
insn "rori"   "011000 shamt rs1 101 rd 0010011" "rd, rs1, shamt" [[ rd = ror(rs1, shamt) ]]
insn "orc.b"  "001010000111 rs1 101 rd 0010011" "rd, rs1" [[ rd = orc.b(rs1) ]]
insn "rev8"   "011010111000 rs1 101 rd 0010011" "rd, rs1" [[ rd = bswap(rs1) ]]
insn "zext.h" "0000100 00000 rs1 100 rd 0111011" "rd, rs1" [[ rd = zext16(rs1) ]]
insn "clzw"   "0110000 00000 rs1 001 rd 0011011" "rd, rs1" [[ rd = zext(clz(rs1[31:0])) ]]
insn "ctzw"   "0110000 00001 rs1 001 rd 0011011" "rd, rs1" [[ rd = zext(ctz(rs1[31:0])) ]]
insn "cpopw"  "0110000 00010 rs1 001 rd 0011011" "rd, rs1" [[ rd = zext(popcount(rs1[31:0])) ]]
insn "rolw"   "0110000 rs2 rs1 001 rd 0111011" "rd, rs1, rs2" [[ rd = sext32(rol(rs1[31:0], rs2[4:0])) ]]
insn "rorw"   "0110000 rs2 rs1 101 rd 0111011" "rd, rs1, rs2" [[ rd = sext32(ror(rs1[31:0], rs2[4:0])) ]]
insn "roriw"  "0110000 shamtw rs1 101 rd 0011011" "rd, rs1, shamt" [[ rd = sext32(ror(rs1[31:0], shamt)) ]]

extension "zbc"
func "clmul"  "XLEN XLEN -> XLEN" { c = "bits_clmul" }
func "clmulh" "XLEN XLEN -> XLEN" { c = "bits_clmulh" }
func "clmulr" "XLEN XLEN -> XLEN" { c = "bits_clmulr" }
insn "clmul"  "0000101 rs2 rs1 001 rd 0110011" "rd, rs1, rs2" [[ rd = clmul(rs1, rs2) ]]
insn "clmulr" "0000101 rs2 rs1 010 rd 0110011" "rd, rs1, rs2" [[ rd = clmulr(rs1, rs2) ]]
insn "clmulh" "0000101 rs2 rs1 011 rd 0110011" "rd, rs1, rs2" [[ rd = clmulh(rs1, rs2) ]]

extension "zbs"
insn "bclr"  "0100100 rs2 rs1 001 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 & ~(1 << rs2[5:0]) ]]
insn "bext"  "0100100 rs2 rs1 101 rd 0110011" "rd, rs1, rs2" [[ rd = (rs1 >> rs2[5:0]) & 1 ]]
insn "binv"  "0110100 rs2 rs1 001 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 ^ (1 << rs2[5:0]) ]]
insn "bset"  "0010100 rs2 rs1 001 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 | (1 << rs2[5:0]) ]]
insn "bclri" "010010 shamt rs1 001 rd 0010011" "rd, rs1, shamt" [[ rd = rs1 & ~(1 << shamt) ]]
insn "bexti" "010010 shamt rs1 101 rd 0010011" "rd, rs1, shamt" [[ rd = (rs1 >> shamt) & 1 ]]
insn "binvi" "011010 shamt rs1 001 rd 0010011" "rd, rs1, shamt" [[ rd = rs1 ^ (1 << shamt) ]]
insn "bseti" "001010 shamt rs1 001 rd 0010011" "rd, rs1, shamt" [[ rd = rs1 | (1 << shamt) ]]
