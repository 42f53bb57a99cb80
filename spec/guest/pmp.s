# pmp: accesses under physical memory protection. A case is: 1 (0: the end), pmpaddr1 to pmpaddr7, pmpcfg0 (its byte 0 is set
# here), mode, MPP under MPRV, access, address, what to store.
# SPDX-License-Identifier: MIT
main:   la      t0, fragments
        srli    t0, t0, 2
        addi    t0, t0, 0x1ff
        csrw    pmpaddr0, t0
        csrw    medeleg, zero
        la      s0, cases
        li      t0, SPACE - 4096                # everything there can be executed: ecall
        li      t1, SPACE + 3 * 4096
        li      t2, 0x73
1:      sw      t2, 0(t0)
        addi    t0, t0, 4
        bltu    t0, t1, 1b
next:   ld      t0, 0(s0)
        beqz    t0, finish
        ld      t0, 8(s0)
        csrw    pmpaddr1, t0
        ld      t0, 16(s0)
        csrw    pmpaddr2, t0
        ld      t0, 24(s0)
        csrw    pmpaddr3, t0
        ld      t0, 32(s0)
        csrw    pmpaddr4, t0
        ld      t0, 40(s0)
        csrw    pmpaddr5, t0
        ld      t0, 48(s0)
        csrw    pmpaddr6, t0
        ld      t0, 56(s0)
        csrw    pmpaddr7, t0
        ld      t0, 64(s0)
        ori     t0, t0, 0x1d                    # fragments: NAPOT, R, X
        csrw    pmpcfg0, t0
        note_csr pmpcfg0
        sfence.vma
        ld      s5, 72(s0)
        ld      s6, 80(s0)
        ld      s4, 88(s0)
        ld      a1, 96(s0)
        ld      a2, 104(s0)
        la      s7, fragments
        call    access
        li      t0, 0x1d
        csrw    pmpcfg0, t0                     # an access that an entry covers in part fails even here
        andi    t0, a1, -8
        ld      t1, 0(t0)
        note    t1
        li      t1, 0x0000007300000073
        sd      t1, 0(t0)
        sd      t1, 8(t0)
        addi    s0, s0, 112
        j       next
