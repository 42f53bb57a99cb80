-- zicsr: control and status registers (unprivileged manual, chapter 6).
-- SPDX-License-Identifier: MIT
--
-- csrrw does not read when rd is x0; csrrs and csrrc do not write when rs1 is x0 or the immediate 0.

insn "csrrw"  "csr rs1  001 rd 1110011" "rd, csr, rs1"  [[ rd = csr.swap(csr, rs1, #rd != 0) ]]
insn "csrrs"  "csr rs1  010 rd 1110011" "rd, csr, rs1"  [[ rd = csr.set(csr, rs1, #rs1 != 0) ]]
insn "csrrc"  "csr rs1  011 rd 1110011" "rd, csr, rs1"  [[ rd = csr.clear(csr, rs1, #rs1 != 0) ]]
insn "csrrwi" "csr uimm 101 rd 1110011" "rd, csr, uimm" [[ rd = csr.swap(csr, uimm, #rd != 0) ]]
insn "csrrsi" "csr uimm 110 rd 1110011" "rd, csr, uimm" [[ rd = csr.set(csr, uimm, uimm != 0) ]]
insn "csrrci" "csr uimm 111 rd 1110011" "rd, csr, uimm" [[ rd = csr.clear(csr, uimm, uimm != 0) ]]
