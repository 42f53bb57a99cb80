# accesses: one page of fragments of 16 bytes, each an access at a1 and an ecall, which run in any mode; a2 is what they store.
# SPDX-License-Identifier: MIT
        .balign 4096
        .option push
        .option norvc
fragments:
        .macro  fragment insn:vararg
        .balign 16
        \insn
        ecall
        .endm
        fragment lb a0, 0(a1)
        fragment lhu a0, 0(a1)
        fragment lw a0, 0(a1)
        fragment ld a0, 0(a1)
        fragment sb a2, 0(a1)
        fragment sh a2, 0(a1)
        fragment sw a2, 0(a1)
        fragment sd a2, 0(a1)
        fragment lr.w a0, (a1)
        fragment amoadd.w a0, a2, (a1)
        fragment amoswap.d a0, a2, (a1)
        fragment lr.d a0, (a1)
        .balign 4096
        .option pop

# Does access s4 (its number; 12: jumps to a1) in mode s5 (3: in machine mode with MPRV and the MPP in s6), the fragments
# lying at s7 for modes U and S. Notes the trap and a0.
access: li      a0, 0x5a5a5a5a
        la      s10, accessed
        li      t0, 12
        mv      t1, a1
        beq     s4, t0, 1f
        slli    t1, s4, 4
        li      t0, M
        beq     s5, t0, 2f
        add     t1, t1, s7
1:      csrw    mepc, t1
        li      t0, 3 << 11
        csrc    mstatus, t0
        slli    t0, s5, 11
        csrs    mstatus, t0
        mret
2:      la      t0, fragments
        add     t1, t1, t0
        li      t0, 3 << 11
        csrc    mstatus, t0
        slli    t2, s6, 11
        li      t0, 1 << 17
        or      t2, t2, t0
        csrs    mstatus, t2
        jr      t1
accessed:
        li      t0, 1 << 17
        csrc    mstatus, t0
        note    a0
        ret
