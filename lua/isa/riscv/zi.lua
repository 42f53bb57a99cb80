-- zi: small extensions: Zifencei, Zicond, Zicbom, Zicboz, Zawrs.
-- SPDX-License-Identifier: MIT

extension "zifencei"                            -- unprivileged manual, chapter 5
insn "fence.i" "............ ..... 001 ..... 0001111" "" [[ fence.i() ]]

extension "zicond"                              -- chapter 11
insn "czero.eqz" "0000111 rs2 rs1 101 rd 0110011" "rd, rs1, rs2" [[ rd = rs2 == 0 ? 0 : rs1 ]]
insn "czero.nez" "0000111 rs2 rs1 111 rd 0110011" "rd, rs1, rs2" [[ rd = rs2 == 0 ? rs1 : 0 ]]

extension "zicbom"                              -- chapter 19; the caches have nothing to write back
insn "cbo.inval" "000000000000 rs1 010 00000 0001111" "0(rs1)" [[ cbo(rs1, 0) ]]
insn "cbo.clean" "000000000001 rs1 010 00000 0001111" "0(rs1)" [[ cbo(rs1, 1) ]]
insn "cbo.flush" "000000000010 rs1 010 00000 0001111" "0(rs1)" [[ cbo(rs1, 2) ]]

extension "zicboz"
insn "cbo.zero"  "000000000100 rs1 010 00000 0001111" "0(rs1)" [[ cbo.zero(rs1) ]]

extension "zawrs"                               -- chapter 14: waiting may end at once
insn "wrs.nto" "000000001101 00000 000 00000 1110011" "" [[ fence(0, 0) ]]
insn "wrs.sto" "000000011101 00000 000 00000 1110011" "" [[ fence(0, 0) ]]
