-- i: the base integer instructions of RV32I and RV64I (unprivileged manual, chapters 2 and 4).
-- SPDX-License-Identifier: MIT

insn "lui"   "imm_u                  rd    0110111" "rd, imm"       [[ rd = imm ]]
insn "auipc" "imm_u                  rd    0010111" "rd, imm"       [[ rd = pc + imm ]]
insn "jal"   "imm_j                  rd    1101111" "rd, imm"       [[ rd = next  goto pc + imm ]]
insn "jalr"  "imm_i       rs1 000    rd    1100111" "rd, imm(rs1)"  [[ let target = (rs1 + imm) & ~1  rd = next  goto target ]]

insn "beq"   "imm_b rs2   rs1 000 imm_b    1100011" "rs1, rs2, imm" [[ if rs1 ==  rs2 { goto pc + imm } ]]
insn "bne"   "imm_b rs2   rs1 001 imm_b    1100011" "rs1, rs2, imm" [[ if rs1 !=  rs2 { goto pc + imm } ]]
insn "blt"   "imm_b rs2   rs1 100 imm_b    1100011" "rs1, rs2, imm" [[ if rs1 <s  rs2 { goto pc + imm } ]]
insn "bge"   "imm_b rs2   rs1 101 imm_b    1100011" "rs1, rs2, imm" [[ if rs1 >=s rs2 { goto pc + imm } ]]
insn "bltu"  "imm_b rs2   rs1 110 imm_b    1100011" "rs1, rs2, imm" [[ if rs1 <u  rs2 { goto pc + imm } ]]
insn "bgeu"  "imm_b rs2   rs1 111 imm_b    1100011" "rs1, rs2, imm" [[ if rs1 >=u rs2 { goto pc + imm } ]]

insn "lb"    "imm_i       rs1 000 rd       0000011" "rd, imm(rs1)"  [[ rd = load.s8(rs1 + imm) ]]
insn "lh"    "imm_i       rs1 001 rd       0000011" "rd, imm(rs1)"  [[ rd = load.s16(rs1 + imm) ]]
insn "lw"    "imm_i       rs1 010 rd       0000011" "rd, imm(rs1)"  [[ rd = load.s32(rs1 + imm) ]]
insn "lbu"   "imm_i       rs1 100 rd       0000011" "rd, imm(rs1)"  [[ rd = load.u8(rs1 + imm) ]]
insn "lhu"   "imm_i       rs1 101 rd       0000011" "rd, imm(rs1)"  [[ rd = load.u16(rs1 + imm) ]]
insn "sb"    "imm_s rs2   rs1 000 imm_s    0100011" "rs2, imm(rs1)" [[ store.8(rs1 + imm, rs2) ]]
insn "sh"    "imm_s rs2   rs1 001 imm_s    0100011" "rs2, imm(rs1)" [[ store.16(rs1 + imm, rs2) ]]
insn "sw"    "imm_s rs2   rs1 010 imm_s    0100011" "rs2, imm(rs1)" [[ store.32(rs1 + imm, rs2) ]]

insn "addi"  "imm_i       rs1 000 rd       0010011" "rd, rs1, imm"  [[ rd = rs1 + imm ]]
insn "slti"  "imm_i       rs1 010 rd       0010011" "rd, rs1, imm"  [[ rd = zext(rs1 <s imm) ]]
insn "sltiu" "imm_i       rs1 011 rd       0010011" "rd, rs1, imm"  [[ rd = zext(rs1 <u imm) ]]
insn "xori"  "imm_i       rs1 100 rd       0010011" "rd, rs1, imm"  [[ rd = rs1 ^ imm ]]
insn "ori"   "imm_i       rs1 110 rd       0010011" "rd, rs1, imm"  [[ rd = rs1 | imm ]]
insn "andi"  "imm_i       rs1 111 rd       0010011" "rd, rs1, imm"  [[ rd = rs1 & imm ]]

insn "add"   "0000000 rs2 rs1 000 rd       0110011" "rd, rs1, rs2"  [[ rd = rs1 + rs2 ]]
insn "sub"   "0100000 rs2 rs1 000 rd       0110011" "rd, rs1, rs2"  [[ rd = rs1 - rs2 ]]
insn "slt"   "0000000 rs2 rs1 010 rd       0110011" "rd, rs1, rs2"  [[ rd = zext(rs1 <s rs2) ]]
insn "sltu"  "0000000 rs2 rs1 011 rd       0110011" "rd, rs1, rs2"  [[ rd = zext(rs1 <u rs2) ]]
insn "xor"   "0000000 rs2 rs1 100 rd       0110011" "rd, rs1, rs2"  [[ rd = rs1 ^ rs2 ]]
insn "or"    "0000000 rs2 rs1 110 rd       0110011" "rd, rs1, rs2"  [[ rd = rs1 | rs2 ]]
insn "and"   "0000000 rs2 rs1 111 rd       0110011" "rd, rs1, rs2"  [[ rd = rs1 & rs2 ]]

insn "fence" "fm pred succ ..... 000 ..... 0001111" "pred, succ"    [[ fence(pred, succ) ]]
insn "fence.tso" "1000 0011 0011 00000 000 00000 0001111" ""      [[ fence(2, 3) ]]      -- all but a store before a load
insn "ecall"  "000000000000 00000 000 00000 1110011" ""             [[ ecall() ]]
insn "ebreak" "000000000001 00000 000 00000 1110011" ""             [[ ebreak() ]]

if XLEN == 32 then
  insn "sll"   "0000000 rs2    rs1 001 rd  0110011" "rd, rs1, rs2"   [[ rd = rs1 << rs2[4:0] ]]
  insn "srl"   "0000000 rs2    rs1 101 rd  0110011" "rd, rs1, rs2"   [[ rd = rs1 >> rs2[4:0] ]]
  insn "sra"   "0100000 rs2    rs1 101 rd  0110011" "rd, rs1, rs2"   [[ rd = rs1 >>s rs2[4:0] ]]
  insn "slli"  "0000000 shamt  rs1 001 rd  0010011" "rd, rs1, shamt" [[ rd = rs1 << shamt ]]
  insn "srli"  "0000000 shamt  rs1 101 rd  0010011" "rd, rs1, shamt" [[ rd = rs1 >> shamt ]]
  insn "srai"  "0100000 shamt  rs1 101 rd  0010011" "rd, rs1, shamt" [[ rd = rs1 >>s shamt ]]
else
  insn "sll"   "0000000 rs2    rs1 001 rd  0110011" "rd, rs1, rs2"   [[ rd = rs1 << rs2[5:0] ]]
  insn "srl"   "0000000 rs2    rs1 101 rd  0110011" "rd, rs1, rs2"   [[ rd = rs1 >> rs2[5:0] ]]
  insn "sra"   "0100000 rs2    rs1 101 rd  0110011" "rd, rs1, rs2"   [[ rd = rs1 >>s rs2[5:0] ]]
  insn "slli"  "000000  shamt  rs1 001 rd  0010011" "rd, rs1, shamt" [[ rd = rs1 << shamt ]]
  insn "srli"  "000000  shamt  rs1 101 rd  0010011" "rd, rs1, shamt" [[ rd = rs1 >> shamt ]]
  insn "srai"  "010000  shamt  rs1 101 rd  0010011" "rd, rs1, shamt" [[ rd = rs1 >>s shamt ]]

  insn "lwu"   "imm_i          rs1 110 rd  0000011" "rd, imm(rs1)"   [[ rd = load.u32(rs1 + imm) ]]
  insn "ld"    "imm_i          rs1 011 rd  0000011" "rd, imm(rs1)"   [[ rd = load.u64(rs1 + imm) ]]
  insn "sd"    "imm_s rs2   rs1 011 imm_s  0100011" "rs2, imm(rs1)"  [[ store.64(rs1 + imm, rs2) ]]

  insn "addiw" "imm_i          rs1 000 rd  0011011" "rd, rs1, imm"   [[ rd = sext32(rs1 + imm) ]]
  insn "slliw" "0000000 shamtw rs1 001 rd  0011011" "rd, rs1, shamt" [[ rd = sext32(rs1[31:0] << shamt) ]]
  insn "srliw" "0000000 shamtw rs1 101 rd  0011011" "rd, rs1, shamt" [[ rd = sext32(rs1[31:0] >> shamt) ]]
  insn "sraiw" "0100000 shamtw rs1 101 rd  0011011" "rd, rs1, shamt" [[ rd = sext32(rs1[31:0] >>s shamt) ]]
  insn "addw"  "0000000 rs2    rs1 000 rd  0111011" "rd, rs1, rs2"   [[ rd = sext32(rs1 + rs2) ]]
  insn "subw"  "0100000 rs2    rs1 000 rd  0111011" "rd, rs1, rs2"   [[ rd = sext32(rs1 - rs2) ]]
  insn "sllw"  "0000000 rs2    rs1 001 rd  0111011" "rd, rs1, rs2"   [[ rd = sext32(rs1[31:0] << rs2[4:0]) ]]
  insn "srlw"  "0000000 rs2    rs1 101 rd  0111011" "rd, rs1, rs2"   [[ rd = sext32(rs1[31:0] >> rs2[4:0]) ]]
  insn "sraw"  "0100000 rs2    rs1 101 rd  0111011" "rd, rs1, rs2"   [[ rd = sext32(rs1[31:0] >>s rs2[4:0]) ]]
end
