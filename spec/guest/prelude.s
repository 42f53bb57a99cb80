# prelude: what every guest program of the privileged specs begins with: traps into machine mode that are written down, and an
# end that hands the notes to whoever runs the program.
# SPDX-License-Identifier: MIT
#
# s11 is where the next note goes, s10 where machine mode goes on after a trap. Notes are 8 bytes each. Scratch: t5, t6.

        .equ    NOTES, 0x80100000
        .equ    TABLES, 0x80200000              # free for page tables
        .equ    SPACE, 0x80400000               # free for what they map
        .equ    CLINT, 0x02000000
        .equ    U, 0
        .equ    S, 1
        .equ    M, 3
        .equ    MSTATUS_BITS, 0x219aa           # MPRV, MPP, SPP, MPIE, SPIE, MIE, SIE

        .macro  note reg
        sd      \reg, 0(s11)
        addi    s11, s11, 8
        .endm

        .macro  note_csr name
        csrr    t6, \name
        note    t6
        .endm

        # One instruction in machine mode that may trap. Notes its trap, or that there was none.
        .macro  try insn:vararg
        la      s10, 9f
        \insn
        li      t6, 0x600d
        note    t6
9:
        .endm

        # Runs from `target` in mode U or S until a trap into machine mode, which is noted.
        .macro  in_mode mode, target
        la      t6, \target
        go      \mode
        .endm

        # The same for an address that is no label.
        .macro  in_mode_at mode, address
        li      t6, \address
        go      \mode
        .endm

        .macro  go mode
        csrw    mepc, t6
        la      s10, 9f
        li      t6, 3 << 11
        csrc    mstatus, t6
        li      t6, \mode << 11
        csrs    mstatus, t6
        mret
9:
        .endm

        # Gives lower modes all of memory.
        .macro  open_memory
        li      t6, (1 << 54) - 1
        csrw    pmpaddr0, t6
        li      t6, 0x1f
        csrw    pmpcfg0, t6
        .endm

        .text
        .globl  _start
_start: li      s11, NOTES
        la      t6, trap
        csrw    mtvec, t6
        la      t6, supervisor_trap
        csrw    stvec, t6
        la      s10, 9f
        li      t6, -1
        csrw    stimecmp, t6                    # not everyone has it
9:      li      s11, NOTES
        csrw    mie, zero
        j       main

        .balign 4
trap:   csrr    t6, mcause
        note    t6
        addi    t6, t6, -3                      # ebreak: mtval is the address or 0, the manual allows both
        csrr    t5, mtval
        bnez    t6, 1f
        li      t5, 0
1:      note    t5
        note_csr mepc
        csrr    t6, mstatus
        li      t5, MSTATUS_BITS
        and     t6, t6, t5
        note    t6
        jr      s10

        # What is delegated is noted too, then told to machine mode by an ecall.
        .balign 4
supervisor_trap:
        csrr    t6, scause
        note    t6
        addi    t6, t6, -3
        csrr    t5, stval
        bnez    t6, 1f
        li      t5, 0
1:      note    t5
        note_csr sepc
        csrr    t6, sstatus
        li      t5, MSTATUS_BITS
        and     t6, t6, t5
        note    t6
        ecall

        # The end: notes go to standard output (semihosting), the exit code is 0.
finish: csrw    satp, zero
        li      t6, 1 << 17
        csrc    mstatus, t6
        la      a1, host_open
        li      a0, 1
        call    host
        la      a1, host_write
        sd      a0, 0(a1)
        li      t0, NOTES
        sub     t0, s11, t0
        sd      t0, 16(a1)
        li      a0, 5
        call    host
        la      a1, host_exit
        li      a0, 0x20
        call    host
        .balign 16
        .option push
        .option norvc
host:   slli    x0, x0, 0x1f
        ebreak
        srai    x0, x0, 7
        .option pop
        ret

        .data
        .balign 8
host_open:  .dword host_name, 4, 3
host_write: .dword 0, NOTES, 0
host_exit:  .dword 0x20026, 0
host_name:  .asciz ":tt"

        .text
