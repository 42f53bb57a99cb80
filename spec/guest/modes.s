# modes: what runs the random programs of spec/support/modes.lua, one after the other, and notes what they do.
# SPDX-License-Identifier: MIT
#
# A program is a row of numbers (what CSRs, page tables and registers hold at its begin) and steps: pieces of code, each for one mode.
# Whatever a step does, it ends with a trap. The handlers of machine and supervisor mode note it and go on with the next step in its
# mode; interrupts they note, switch off in mie or sie, and return from. At the end registers, CSRs, page table entries and memory are
# noted too. Hart h runs the list of programs `list_h` in memory of its own; hart 0 starts the others by software interrupts, waits for
# them, and hands all notes to the host.
#
# Programs leave these alone: s7 next program; s8 = MPRV; s9 next step; s11 next note; tp the hart's context; gp, t5, t6 of handlers.
# The row of an entry: see `row` in spec/support/modes.lua.

        .equ    CLINT, 0x02000000
        .equ    PAGES, 0x08000000               # virtual: 16 pages of 4 KiB
        .equ    ALIAS, 0x100000000              # added to an address of code: the same for user mode, with page tables
        .equ    NOTES, 0x81000000               # of hart 0; 16 MiB each
        .equ    TABLES, 0x83000000              # 64 KiB each
        .equ    SHARED, 0x83f00000
        .equ    SPACE, 0x84000000               # 2 MiB each
        .equ    LINKS, 0x1000                   # of the notes: where each program's end
# A context.
        .equ    M_T5, 0
        .equ    M_T6, 8
        .equ    RESERVE, 16
        .equ    ALIAS_NOW, 24                   # ALIAS or 0
        .equ    S_T5, 32
        .equ    S_T6, 40
        .equ    LINK, 48                        # where the end of the next program is written
        .equ    NOTES_H, 56
        .equ    TABLES_H, 64
        .equ    SPACE_H, 72

        .macro  note reg
        addi    s11, s11, 8
        sd      \reg, -8(s11)
        .endm
        .macro  see csr
        csrr    t0, \csr
        note    t0
        .endm
        .macro  load csr, place
        ld      t1, \place(t0)
        csrw    \csr, t1
        .endm

        .globl  _start
_start: li      gp, 0
        li      t0, HARTS
        bgeu    a0, t0, park
        la      tp, contexts
        slli    t0, a0, 7
        add     tp, tp, t0
        li      s11, NOTES
        slli    t0, a0, 24
        add     s11, s11, t0
        sd      s11, NOTES_H(tp)
        addi    t0, s11, 8
        sd      t0, LINK(tp)
        li      t0, LINKS
        add     s11, s11, t0
        slli    t0, a0, 16
        li      t1, TABLES
        add     t0, t0, t1
        sd      t0, TABLES_H(tp)
        slli    t0, a0, 21
        li      t1, SPACE
        add     t0, t0, t1
        sd      t0, SPACE_H(tp)
        li      s8, 1 << 17
        la      t0, trap
        csrw    mtvec, t0
        la      t0, lists
        slli    t1, a0, 3
        add     t0, t0, t1
        ld      s7, 0(t0)
        call    tables
        bnez    a0, follow
        li      t0, HARTS                       # hart 0 wakes the others
        li      t1, CLINT
        li      t2, 1
1:      addi    t0, t0, -1
        beqz    t0, next_program
        slli    t3, t0, 2
        add     t3, t3, t1
        sw      t2, 0(t3)
        j       1b
follow: csrwi   mie, 8
1:      wfi
        csrr    t0, mip
        andi    t0, t0, 8
        beqz    t0, 1b
        j       next_program

# The page tables that stay: roots for Sv57, Sv48 and Sv39, of which all but the last lead on from entry 0; then the table of 2 MiB
# pages, and that of the 16 entries that programs choose. RAM lies at its own address, and for user mode ALIAS above.
tables: ld      t0, TABLES_H(tp)
        li      t4, 0x1000
        li      t3, 4
1:      add     t1, t0, t4
        srli    t2, t1, 2
        ori     t2, t2, 1
        li      t5, 1
        beq     t3, t5, 2f                      # the table of 2 MiB pages leads on from PAGES
        sd      t2, 0(t0)
        mv      t0, t1
        addi    t3, t3, -1
        j       1b
2:      sd      t2, 0x200(t0)
        li      t2, (CLINT >> 2) | 0xc7
        sd      t2, 0x80(t0)
        sub     t0, t0, t4                      # the root of Sv39
        li      t2, (0x80000000 >> 2) | 0xcf
        sd      t2, 16(t0)
        ori     t2, t2, 0x10
        sd      t2, 48(t0)
        ret

# The next program of the list: everything as its row says.
next_program:
        csrc    mstatus, s8
        csrw    satp, zero
        li      t0, 0x7e19aa
        csrc    mstatus, t0
        csrw    mie, zero
        li      t0, 1 << 63
        csrs    menvcfg, t0
        li      t1, -1
        csrw    stimecmp, t1
        csrw    menvcfg, zero
        csrw    mip, zero
        csrw    scause, zero
        csrw    stval, zero
        csrw    sepc, zero
        csrw    mscratch, zero
        csrw    sscratch, zero
        csrw    senvcfg, zero
        csrw    mcountinhibit, zero
        li      t0, 3 << 13
        csrs    mstatus, t0
        csrw    fcsr, zero
        fmv.d.x fa0, zero
        fmv.d.x fa1, zero
        csrc    mstatus, t0
        csrr    t2, mhartid
        li      t3, CLINT
        slli    t4, t2, 2
        add     t4, t4, t3
        sw      zero, 0(t4)
        slli    t4, t2, 3
        add     t4, t4, t3
        li      t3, 0x4000
        add     t4, t4, t3
        sd      t1, 0(t4)
        ld      t0, 0(s7)
        beqz    t0, done
        addi    s7, s7, 8

        ld      s9, 0(t0)
        ld      t1, 8(t0)
        sd      t1, ALIAS_NOW(tp)
        ld      t2, TABLES_H(tp)
        li      t3, 0x4000
        add     t3, t2, t3
        addi    t4, t0, 16
        li      a0, 16
1:      ld      t1, 0(t4)                       # entries of 4 KiB pages
        sd      t1, 0(t3)
        addi    t3, t3, 8
        addi    t4, t4, 8
        addi    a0, a0, -1
        bnez    a0, 1b
        li      t3, 0x3280
        add     t3, t2, t3
        ld      t1, 0(t4)                       # of the 2 MiB page
        sd      t1, 0(t3)

        ld      t1, SPACE_H(tp)
        li      t2, 6
        li      t3, 0x10001
2:      li      t4, 8                           # 64 bytes at the begin and at the end of each page
3:      mul     a0, t1, t3
        sd      a0, 0(t1)
        addi    t1, t1, 8
        addi    t4, t4, -1
        bnez    t4, 3b
        li      t4, 0x1000 - 128
        add     t1, t1, t4
        li      t4, 8
4:      mul     a0, t1, t3
        sd      a0, 0(t1)
        addi    t1, t1, 8
        addi    t4, t4, -1
        bnez    t4, 4b
        addi    t2, t2, -1
        bnez    t2, 2b
        li      t2, -0x2000                     # code in pages 4 and 5: in the middle, and across the end of a page
        add     t1, t1, t2
        li      t2, 2
5:      li      t3, 0x0000000000730075
        sd      t3, 0(t1)
        li      t3, 0x800
        add     t4, t1, t3
        li      t3, 0x0000007300150513          # addi a0, a0, 1; ecall
        sd      t3, 0(t4)
        li      t3, 0xffe
        add     t4, t1, t3
        li      t3, 0x0513
        sh      t3, 0(t4)
        li      t3, 0x1000
        add     t1, t1, t3
        addi    t2, t2, -1
        bnez    t2, 5b
        fence.i

        load    pmpaddr1, 152
        load    pmpaddr2, 160
        load    pmpaddr3, 168
        load    pmpaddr4, 176
        load    pmpaddr5, 184
        load    pmpaddr6, 192
        load    pmpaddr7, 200
        li      t1, (1 << 53) - 1
        csrw    pmpaddr15, t1
        li      t1, (0x80000000 >> 2) | 0x7fffff  # 64 MiB: code, notes and tables of every hart
        csrw    pmpaddr0, t1
        load    pmpcfg0, 208
        load    pmpcfg2, 216
        load    menvcfg, 224
        load    medeleg, 232
        load    mideleg, 240
        load    mcounteren, 248
        load    scounteren, 256
        load    satp, 264
        sfence.vma
        la      t2, trap
        ld      t1, 272(t0)
        beqz    t1, 1f
        la      t2, vectors + 1
1:      csrw    mtvec, t2
        la      t2, supervisor_trap
        ld      t1, 280(t0)
        beqz    t1, 1f
        la      t2, supervisor_vectors + 1
1:      csrw    stvec, t2
        load    mip, 288
        load    mie, 296
        ld      t1, 304(t0)
        csrs    mstatus, t1
        ld      a1, 320(t0)
        ld      a2, 328(t0)
        ld      a3, 336(t0)
        ld      a4, 344(t0)
        ld      a5, 352(t0)
        ld      s0, 360(t0)
        ld      s1, 368(t0)
        ld      a0, 312(t0)
        li      t0, 0
        li      t1, 0
        li      t2, 0
        li      t3, 0
        li      t4, 0
        li      gp, 0
        j       advance

# Vectored traps come here; gp tells which vector it was.
        .balign 256
vectors:
        j       trap
        .irp    n, 1,2,3,4,5,6,7,8,9,10,11
        j       vector_\n
        .endr
        .irp    n, 1,2,3,4,5,6,7,8,9,10,11
vector_\n:
        li      gp, \n
        j       trap
        .endr
        .balign 256
supervisor_vectors:
        j       supervisor_trap
        .irp    n, 1,2,3,4,5,6,7,8,9,10,11
        j       supervisor_vector_\n
        .endr
        .irp    n, 1,2,3,4,5,6,7,8,9,10,11
supervisor_vector_\n:
        li      gp, \n
        j       supervisor_trap
        .endr

# A trap into machine mode: cause, value (of ebreak 0: the manual allows both), place, status and vector. MPRV is not noted and goes
# away first; a reservation is let go of, as the manual wants it from a handler.
        .balign 4
trap:   csrc    mstatus, s8
        sd      t5, M_T5(tp)
        sd      t6, M_T6(tp)
        csrr    t6, mcause
        addi    s11, s11, 32
        sd      t6, -32(s11)
        addi    t6, t6, -3
        csrr    t5, mtval
        bnez    t6, 1f
        li      t5, 0
        csrw    mtval, zero
1:      sd      t5, -24(s11)
        csrr    t6, mepc
        sd      t6, -16(s11)
        csrr    t6, mstatus
        addi    gp, gp, 0x100
        slli    gp, gp, 48
        xor     t6, t6, gp
        sd      t6, -8(s11)
        li      gp, 0
        addi    t5, tp, RESERVE
        sc.w    t6, zero, (t5)
        csrrw   t6, mcause, zero                # QEMU's may differ (modes.lua)
        bltz    t6, interrupt

# Into the next step: an address whose low bits are its mode, 2 at the end.
advance:
        ld      t6, 0(s9)
        addi    s9, s9, 8
        andi    t5, t6, 3
        addi    gp, t5, -2
        beqz    gp, program_end
        andi    t6, t6, -4
        bnez    t5, 1f
        ld      gp, ALIAS_NOW(tp)
        add     t6, t6, gp
1:      csrw    mepc, t6
        li      gp, 3 << 11
        csrc    mstatus, gp
        slli    t5, t5, 11
        csrs    mstatus, t5
        li      gp, 0
        j       return
interrupt:
        li      t5, 1
        sll     t5, t5, t6
        csrc    mie, t5
return: ld      t5, M_T5(tp)
        ld      t6, M_T6(tp)
        mret

# The same in supervisor mode. It cannot enter machine mode, and leaves that, and the end, to it by an ecall.
        .balign 4
supervisor_trap:
        sd      t5, S_T5(tp)
        sd      t6, S_T6(tp)
        csrr    t6, scause
        addi    s11, s11, 32
        sd      t6, -32(s11)
        addi    t6, t6, -3
        csrr    t5, stval
        bnez    t6, 1f
        li      t5, 0
        csrw    stval, zero
1:      sd      t5, -24(s11)
        csrr    t6, sepc
        sd      t6, -16(s11)
        csrr    t6, sstatus
        slli    gp, gp, 48
        xor     t6, t6, gp
        sd      t6, -8(s11)
        li      gp, 0
        addi    t5, tp, RESERVE
        sc.w    t6, zero, (t5)
        csrrw   t6, scause, zero
        bltz    t6, supervisor_interrupt
        ld      t6, 0(s9)
        andi    t5, t6, 3
        addi    t5, t5, -2
        bltz    t5, 1f
        ecall
1:      addi    s9, s9, 8
        addi    t5, t5, 2
        andi    t6, t6, -4
        bnez    t5, 1f
        ld      gp, ALIAS_NOW(tp)
        add     t6, t6, gp
1:      csrw    sepc, t6
        li      gp, 1 << 8
        csrc    sstatus, gp
        slli    t5, t5, 8
        csrs    sstatus, t5
        li      gp, 0
        j       supervisor_return
supervisor_interrupt:
        li      t5, 1
        sll     t5, t5, t6
        csrc    sie, t5
supervisor_return:
        ld      t5, S_T5(tp)
        ld      t6, S_T6(tp)
        sret

program_end:
        csrw    mie, zero
        note    a0
        note    a1
        note    a2
        note    a3
        note    a4
        note    a5
        note    s0
        note    s1
        csrr    t1, mstatus
        note    t1
        see     sstatus
        see     mip
        see     medeleg
        see     mideleg
        see     mepc
        see     mcause
        see     mscratch
        see     mcounteren
        see     mcountinhibit
        see     mtvec
        see     stvec
        see     sepc
        see     scause
        see     stval
        see     sscratch
        see     scounteren
        see     senvcfg
        see     satp
        see     pmpcfg0
        see     pmpcfg2
        csrw    pmpcfg0, zero                   # which may refuse machine mode half of a number
        csrw    pmpcfg2, zero
        sfence.vma
        csrr    t0, menvcfg
        slli    t0, t0, 3                       # ADUE and what is above it apart
        note    t0
        li      t0, 3 << 13
        csrs    mstatus, t0
        see     fcsr
        fmv.x.d t0, fa0
        note    t0
        ld      t0, TABLES_H(tp)
        li      t1, 0x4000
        add     t1, t0, t1
        li      t2, 16
1:      ld      t3, 0(t1)
        note    t3
        addi    t1, t1, 8
        addi    t2, t2, -1
        bnez    t2, 1b
        li      t1, 0x3280
        add     t1, t0, t1
        ld      t3, 0(t1)
        note    t3
        ld      t0, SPACE_H(tp)
        li      t1, 6
2:      li      t2, 8
3:      ld      t3, 0(t0)
        note    t3
        addi    t0, t0, 8
        addi    t2, t2, -1
        bnez    t2, 3b
        li      t2, 0x1000 - 128
        add     t0, t0, t2
        li      t2, 8
4:      ld      t3, 0(t0)
        note    t3
        addi    t0, t0, 8
        addi    t2, t2, -1
        bnez    t2, 4b
        addi    t1, t1, -1
        bnez    t1, 2b
        ld      t0, LINK(tp)
        sd      s11, 0(t0)
        addi    t0, t0, 8
        sd      t0, LINK(tp)
        j       next_program

# The end of a list.
done:   ld      t0, NOTES_H(tp)
        sub     t1, s11, t0
        sd      t1, 0(t0)                       # how many bytes this hart noted
        fence
        la      t0, finished
        li      t1, 1
        amoadd.d t1, t1, (t0)
        csrr    t1, mhartid
        bnez    t1, park
        li      t1, HARTS
1:      ld      t2, 0(t0)
        blt     t2, t1, 1b
        fence
        li      t0, SHARED                      # what all have added up belongs to hart 0's notes
        ld      t0, 0(t0)
        note    t0
        ld      t0, NOTES_H(tp)
        sub     t1, s11, t0
        sd      t1, 0(t0)
        la      a1, host_open
        li      a0, 1
        call    host
        la      s0, host_write
        sd      a0, 0(s0)
        li      s1, HARTS
        li      s2, NOTES
        li      s3, 1 << 24
2:      sd      s2, 8(s0)
        ld      t0, 0(s2)
        sd      t0, 16(s0)
        mv      a1, s0
        li      a0, 5
        call    host
        add     s2, s2, s3
        addi    s1, s1, -1
        bnez    s1, 2b
        la      a1, host_exit
        li      a0, 0x20
        call    host
park:   csrw    mie, zero
        wfi
        j       park
        .balign 16
host:   slli    x0, x0, 0x1f
        ebreak
        srai    x0, x0, 7
        ret

        .balign 128
contexts:
        .zero   128 * HARTS
finished:
        .dword  0
host_open:  .dword host_name, 4, 3
host_write: .dword 0, 0, 0
host_exit:  .dword 0x20026, 0
host_name:  .asciz ":tt"
        .balign 8
