-- m: multiplication and division (unprivileged manual, chapter 12).
-- SPDX-License-Identifier: MIT
--
-- Division by zero and the overflow of the most negative number by -1 are what /s /u %s %u mean (docs/isa.md).

insn "mul"    "0000001 rs2 rs1 000 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 * rs2 ]]
insn "mulh"   "0000001 rs2 rs1 001 rd 0110011" "rd, rs1, rs2" [[ rd = (sext(rs1, 2*XLEN) * sext(rs2, 2*XLEN))[2*XLEN-1:XLEN] ]]
insn "mulhsu" "0000001 rs2 rs1 010 rd 0110011" "rd, rs1, rs2" [[ rd = (sext(rs1, 2*XLEN) * zext(rs2, 2*XLEN))[2*XLEN-1:XLEN] ]]
insn "mulhu"  "0000001 rs2 rs1 011 rd 0110011" "rd, rs1, rs2" [[ rd = (zext(rs1, 2*XLEN) * zext(rs2, 2*XLEN))[2*XLEN-1:XLEN] ]]
insn "div"    "0000001 rs2 rs1 100 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 /s rs2 ]]
insn "divu"   "0000001 rs2 rs1 101 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 /u rs2 ]]
insn "rem"    "0000001 rs2 rs1 110 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 %s rs2 ]]
insn "remu"   "0000001 rs2 rs1 111 rd 0110011" "rd, rs1, rs2" [[ rd = rs1 %u rs2 ]]

if XLEN == 64 then
  insn "mulw"  "0000001 rs2 rs1 000 rd 0111011" "rd, rs1, rs2" [[ rd = sext32(rs1 * rs2) ]]
  insn "divw"  "0000001 rs2 rs1 100 rd 0111011" "rd, rs1, rs2" [[ rd = sext32(rs1[31:0] /s rs2[31:0]) ]]
  insn "divuw" "0000001 rs2 rs1 101 rd 0111011" "rd, rs1, rs2" [[ rd = sext32(rs1[31:0] /u rs2[31:0]) ]]
  insn "remw"  "0000001 rs2 rs1 110 rd 0111011" "rd, rs1, rs2" [[ rd = sext32(rs1[31:0] %s rs2[31:0]) ]]
  insn "remuw" "0000001 rs2 rs1 111 rd 0111011" "rd, rs1, rs2" [[ rd = sext32(rs1[31:0] %u rs2[31:0]) ]]
end
