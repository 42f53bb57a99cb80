-- privileged: trap returns, waiting, and fences of address translation (privileged manual, chapters 3.3, 10.2, 12).
-- SPDX-License-Identifier: MIT

extension "i"
insn "mret" "0011000 00010 00000 000 00000 1110011" "" [[ mret() ]]
insn "wfi"  "0001000 00101 00000 000 00000 1110011" "" [[ wfi() ]]

extension "s"
insn "sret"       "0001000 00010 00000 000 00000 1110011" "" [[ sret() ]]
insn "sfence.vma" "0001001 rs2 rs1 000 00000 1110011" "rs1, rs2" [[ sfence.vma(#rs1 != 0, rs1, #rs2 != 0, rs2) ]]

extension "svinval"
insn "sinval.vma"      "0001011 rs2 rs1 000 00000 1110011" "rs1, rs2" [[ sfence.vma(#rs1 != 0, rs1, #rs2 != 0, rs2) ]]
insn "sfence.w.inval"  "0001100 00000 00000 000 00000 1110011" "" [[ sfence.order() ]]
insn "sfence.inval.ir" "0001100 00001 00000 000 00000 1110011" "" [[ sfence.order() ]]
