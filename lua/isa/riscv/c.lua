-- c: compressed instructions, each another encoding of one that exists (unprivileged manual, chapter 26).
-- SPDX-License-Identifier: MIT

field "rdp"    { bits = "4:2",  regs = "x", add = 8 }            -- x8 to x15
field "rs1p"   { bits = "9:7",  regs = "x", add = 8 }
field "rs2p"   { bits = "4:2",  regs = "x", add = 8 }
field "fdp"    { bits = "4:2",  regs = "f", add = 8 }
field "fs2p"   { bits = "4:2",  regs = "f", add = 8 }
field "rs2c"   { bits = "6:2",  regs = "x" }
field "fs2c"   { bits = "6:2",  regs = "f" }
field "u_4spn" { bits = "10:7 12:11 5 6", shift = 2 }
field "u_lw"   { bits = "5 12:10 6", shift = 2 }
field "u_ld"   { bits = "6:5 12:10", shift = 3 }
field "u_lwsp" { bits = "3:2 12 6:4", shift = 2 }
field "u_ldsp" { bits = "4:2 12 6:5", shift = 3 }
field "u_swsp" { bits = "8:7 12:9", shift = 2 }
field "u_sdsp" { bits = "9:7 12:10", shift = 3 }
field "i_ci"   { bits = "12 6:2", signed = true }
field "i_lui"  { bits = "12 6:2", signed = true, shift = 12 }
field "i_16sp" { bits = "12 4:3 5 2 6", signed = true, shift = 4 }
field "i_j"    { bits = "12 8 10:9 6 7 2 11 5:3", signed = true, shift = 1 }
field "i_b"    { bits = "12 6:5 2 11:10 4:3", signed = true, shift = 1 }
field "u_sh"   { bits = "12 6:2" }

short "c.addi4spn" "000 u_4spn rdp 00"            "rdp, sp, u_4spn"   "addi rd=rdp rs1=2 imm=u_4spn" :where "u_4spn != 0"
short "c.fld"      "001 u_ld rs1p u_ld fdp 00"    "fdp, u_ld(rs1p)"   "fld fd=fdp rs1=rs1p imm=u_ld"
short "c.lw"       "010 u_lw rs1p u_lw rdp 00"    "rdp, u_lw(rs1p)"   "lw rd=rdp rs1=rs1p imm=u_lw"
short "c.ld"       "011 u_ld rs1p u_ld rdp 00"    "rdp, u_ld(rs1p)"   "ld rd=rdp rs1=rs1p imm=u_ld"
short "c.fsd"      "101 u_ld rs1p u_ld fs2p 00"   "fs2p, u_ld(rs1p)"  "fsd fs2=fs2p rs1=rs1p imm=u_ld"
short "c.sw"       "110 u_lw rs1p u_lw rs2p 00"   "rs2p, u_lw(rs1p)"  "sw rs2=rs2p rs1=rs1p imm=u_lw"
short "c.sd"       "111 u_ld rs1p u_ld rs2p 00"   "rs2p, u_ld(rs1p)"  "sd rs2=rs2p rs1=rs1p imm=u_ld"

short "c.nop"      "000 i_ci 00000 i_ci 01"       "i_ci?"             "addi rd=0 rs1=0 imm=i_ci"
short "c.addi"     "000 i_ci rd i_ci 01"          "rd, i_ci"          "addi rd=rd rs1=rd imm=i_ci"   :where "rd != 0"
short "c.addiw"    "001 i_ci rd i_ci 01"          "rd, i_ci"          "addiw rd=rd rs1=rd imm=i_ci"  :where "rd != 0"
short "c.li"       "010 i_ci rd i_ci 01"          "rd, i_ci"          "addi rd=rd rs1=0 imm=i_ci"
short "c.addi16sp" "011 i_16sp 00010 i_16sp 01"   "sp, i_16sp"        "addi rd=2 rs1=2 imm=i_16sp"   :where "i_16sp != 0"
short "c.lui"      "011 i_lui rd i_lui 01"        "rd, i_lui"         "lui rd=rd imm=i_lui"          :where "i_lui != 0 & rd != 2"
short "c.srli"     "100 u_sh 00 rs1p u_sh 01"     "rs1p, u_sh"        "srli rd=rs1p rs1=rs1p shamt=u_sh"
short "c.srai"     "100 u_sh 01 rs1p u_sh 01"     "rs1p, u_sh"        "srai rd=rs1p rs1=rs1p shamt=u_sh"
short "c.andi"     "100 i_ci 10 rs1p i_ci 01"     "rs1p, i_ci"        "andi rd=rs1p rs1=rs1p imm=i_ci"
short "c.sub"      "100 0 11 rs1p 00 rs2p 01"     "rs1p, rs2p"        "sub rd=rs1p rs1=rs1p rs2=rs2p"
short "c.xor"      "100 0 11 rs1p 01 rs2p 01"     "rs1p, rs2p"        "xor rd=rs1p rs1=rs1p rs2=rs2p"
short "c.or"       "100 0 11 rs1p 10 rs2p 01"     "rs1p, rs2p"        "or rd=rs1p rs1=rs1p rs2=rs2p"
short "c.and"      "100 0 11 rs1p 11 rs2p 01"     "rs1p, rs2p"        "and rd=rs1p rs1=rs1p rs2=rs2p"
short "c.subw"     "100 1 11 rs1p 00 rs2p 01"     "rs1p, rs2p"        "subw rd=rs1p rs1=rs1p rs2=rs2p"
short "c.addw"     "100 1 11 rs1p 01 rs2p 01"     "rs1p, rs2p"        "addw rd=rs1p rs1=rs1p rs2=rs2p"
short "c.j"        "101 i_j 01"                   "i_j"               "jal rd=0 imm=i_j"
short "c.beqz"     "110 i_b rs1p i_b 01"          "rs1p, i_b"         "beq rs1=rs1p rs2=0 imm=i_b"
short "c.bnez"     "111 i_b rs1p i_b 01"          "rs1p, i_b"         "bne rs1=rs1p rs2=0 imm=i_b"

short "c.slli"     "000 u_sh rd u_sh 10"          "rd, u_sh"          "slli rd=rd rs1=rd shamt=u_sh"
short "c.fldsp"    "001 u_ldsp fd u_ldsp 10"      "fd, u_ldsp(sp)"    "fld fd=fd rs1=2 imm=u_ldsp"
short "c.lwsp"     "010 u_lwsp rd u_lwsp 10"      "rd, u_lwsp(sp)"    "lw rd=rd rs1=2 imm=u_lwsp"    :where "rd != 0"
short "c.ldsp"     "011 u_ldsp rd u_ldsp 10"      "rd, u_ldsp(sp)"    "ld rd=rd rs1=2 imm=u_ldsp"    :where "rd != 0"
short "c.jr"       "100 0 rd 00000 10"            "rd"                "jalr rd=0 rs1=rd imm=0"       :where "rd != 0"
short "c.mv"       "100 0 rd rs2c 10"             "rd, rs2c"          "add rd=rd rs1=0 rs2=rs2c"     :where "rs2c != 0"
short "c.ebreak"   "100 1 00000 00000 10"         ""                  "ebreak"
short "c.jalr"     "100 1 rd 00000 10"            "rd"                "jalr rd=1 rs1=rd imm=0"       :where "rd != 0"
short "c.add"      "100 1 rd rs2c 10"             "rd, rs2c"          "add rd=rd rs1=rd rs2=rs2c"    :where "rs2c != 0"
short "c.fsdsp"    "101 u_sdsp fs2c 10"           "fs2c, u_sdsp(sp)"  "fsd fs2=fs2c rs1=2 imm=u_sdsp"
short "c.swsp"     "110 u_swsp rs2c 10"           "rs2c, u_swsp(sp)"  "sw rs2=rs2c rs1=2 imm=u_swsp"
short "c.sdsp"     "111 u_sdsp rs2c 10"           "rs2c, u_sdsp(sp)"  "sd rs2=rs2c rs1=2 imm=u_sdsp"
