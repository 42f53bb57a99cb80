# pages: accesses through page tables. A case is a number of stores (-1: the end), their addresses and values, then satp, bits
# of mstatus, mode, MPP under MPRV, access, address, what to store, and two addresses whose contents are noted at the end.
# SPDX-License-Identifier: MIT
main:   open_memory
        csrw    medeleg, zero
        li      t0, 7 << 61                     # Sstc, Svpbmt, and A and D set by hardware where there is a choice
        csrw    menvcfg, t0
        la      s0, cases
next:   ld      s1, 0(s0)
        bltz    s1, finish
        addi    s0, s0, 8
        mv      s2, s0
        mv      s3, s1
1:      beqz    s3, 2f
        ld      t0, 0(s0)
        ld      t1, 8(s0)
        sd      t1, 0(t0)
        addi    s0, s0, 16
        addi    s3, s3, -1
        j       1b
2:      ld      t0, 0(s0)
        csrw    satp, t0
        sfence.vma
        li      t1, 0xc0000
        csrc    mstatus, t1
        ld      t0, 8(s0)
        csrs    mstatus, t0
        ld      s5, 16(s0)
        ld      s6, 24(s0)
        ld      s4, 32(s0)
        ld      a1, 40(s0)
        ld      a2, 48(s0)
        li      s7, 0xffffffffc0000000
        call    access
        csrw    satp, zero
        ld      t0, 56(s0)
        ld      t1, 0(t0)
        note    t1
        ld      t0, 64(s0)
        ld      t1, 0(t0)
        note    t1
        addi    s0, s0, 72
3:      beqz    s1, next                        # the stores are undone
        ld      t0, 0(s2)
        sd      zero, 0(t0)
        addi    s2, s2, 16
        addi    s1, s1, -1
        j       3b
