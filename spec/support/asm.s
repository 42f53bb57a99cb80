# asm: every pseudo-instruction and directive on which umbra's assembler and GNU's agree to the byte.
# SPDX-License-Identifier: MIT
#
# What is not here: `call rd, symbol`, where GNU goes through t1; mv under .option rvc; li of more than 32 bits.
 .option norvc
 .equ K, 40
 .equ LATER, end - start
start: nop
 mv a0, a1
 not a0, a1
 neg a0, a1
 negw a0, a1
 sext.w a0, a1
 sext.b a0, a1
 sext.h a0, a1
 zext.h a0, a1
 zext.b a0, a1
 zext.w a0, a1
 seqz a0, a1
 snez a0, a1
 sltz a0, a1
 sgtz a0, a1
 sgt a0, a1, a2
 sgtu a0, a1, a2
1: beqz a0, 1b
 bnez a0, 1f
 blez a0, 1f
 bgez a0, start
 bltz a0, start
 bgtz a0, 1b
1: bgt a0, a1, 1b
 ble a0, a1, 1b
 bgtu a0, a1, 1b
 bleu a0, a1, 1b
 j 1b
 jal 1b
 jal t0, 1b
 ret
 jr a0
 jr 4(a0)
 jr a0, 4
 jalr a0
 jalr a0, a1
 jalr a0, 8(a1)
 jalr a0, a1, 8
 jalr 8(a1)
 call end
 tail end
 jump end, t3
 la a0, end
 lla a0, end
 lw a0, end
 ld a0, data
 lbu a0, data+4
 sd a0, data, t0
 sw a1, data-4, t0
 fld fa0, data, t0
 fsw fa0, data, t0
 csrr a0, mstatus
 csrw mstatus, a0
 csrs mie, a0
 csrc mie, a0
 csrwi mie, 3
 csrsi mie, 3
 csrci mie, 3
 csrw mie, 3
 csrs mie, 3
 csrc mie, 3
 csrrw a0, mie, 3
 csrr a0, 0x7c0
 rdcycle a0
 rdtime a0
 rdinstret a0
 frcsr a0
 fscsr a0
 fscsr a0, a1
 frrm a0
 fsrm a0
 fsrm a0, a1
 fsrmi 3
 fsrmi a0, 3
 frflags a0
 fsflags a0
 fsflags a0, a1
 fsflagsi 3
 fsflagsi a1, 3
 fmv.s fa0, fa1
 fabs.s fa0, fa1
 fneg.s fa0, fa1
 fmv.d fa0, fa1
 fabs.d fa0, fa1
 fneg.d fa0, fa1
 fgt.s a0, fa0, fa1
 fge.s a0, fa0, fa1
 fgt.d a0, fa0, fa1
 fge.d a0, fa0, fa1
 fmv.x.s a0, fa0
 fmv.s.x fa0, a0
 fadd.s fa0, fa1, fa2
 fadd.s fa0, fa1, fa2, rtz
 fcvt.d.w fa0, a0
 fcvt.w.d a0, fa0
 fcvt.w.d a0, fa0, rtz
 fence
 fence rw, w
 fence.i
 fence.tso
 pause
 sfence.vma
 sfence.vma a0
 sfence.vma a0, a1
 unimp
 ecall
 ebreak
 mret
 sret
 wfi
 add a0, a1, 5
 and a0, a1, 5
 or a0, a1, 5
 xor a0, a1, 5
 sll a0, a1, 5
 srl a0, a1, 5
 sra a0, a1, 5
 addw a0, a1, 5
 sllw a0, a1, 5
 slt a0, a1, 5
 sltu a0, a1, 5
 ror a0, a1, 5
 bset a0, a1, 5
 lui a0, %hi(0x12345678)
 addi a0, a0, %lo(0x12345678)
 lw a0, %lo(0x12345678)(a0)
2: auipc a0, %pcrel_hi(data)
 addi a0, a0, %pcrel_lo(2b)
 ld a0, %pcrel_lo(2b)(a0)
 sd a0, %pcrel_lo(2b)(a0)
 addi a0, a0, K + 2*3<<2
 addi a0, a0, K|1+4
 addi a0, a0, ~K & 0xff
 addi a0, a0, -(3 - 5) % 7
 addi a0, a0, 1 << 3 + 1
 addi a0, a0, 'a'
 addi a0, a0, '\n'
 addi a0, a0, 017
 addi a0, a0, 0b101
 li a1, K
 lr.w a0, (a1)
 lr.w.aq a0, 0(a1)
 sc.d.rl a0, a2, (a1)
 amoadd.w.aqrl a0, a2, (a1)
 cbo.zero (a0)
 cbo.flush 0(a0)
 sinval.vma a0, a1
 sfence.w.inval
 move a0, a1
 lb a0, (a1)
 .option push
 .option rvc
 c.addi a0, 1
 c.nop
 .balign 8
 c.li a0, 3
 .balign 16
 .option pop
 .word 1, -1, 0xffffffff, end - start, . - start
 .half 1, 0xffff
 .byte 1, 255, -128, 'x'
 .dword start, -1, 0x8000000000000000
 .ascii "a\tb\n\"\\\101\x41"
 .asciz "a", "b"
 .string "c"
 .float 1.5, -2
 .double 1.5e3
 .align 3
 .org 0x800
 nop
 .space 8
 .space 8, 0xaa
 .zero 5
 .fill 3, 2, 0x1234
 .balign 4, 0xff
 .2byte 1
 .4byte 1
 .8byte 1
 .p2align 4
 .macro two a, b=7
 addi \a, \a, \b
lab\@:
 .endm
 .macro rest x:vararg
 \x
 .endm
 two a0
 two a1, 3
 rest add a0, a1, a2
 .rept 3
 nop
 .endr
 .irp r, a0, a1, a2
 addi \r, \r, 1
 .endr
 .if K == 40
 li a0, 1
 .else
 li a0, 2
 .endif
 .ifdef NOPE
 li a0, 3
 .elseif K > 3
 li a0, 4
 .endif
 .set x, 1
 addi a0, a0, x
 .set x, x + 1
 addi a0, a0, x
 y = x * 3
 addi a0, a0, y
end: nop
 .balign 8
 .data
data: .dword 5, data, end
