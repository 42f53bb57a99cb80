# driver: has the ticker interrupt it every 500 microseconds, says so three times, and switches the machine off.
# SPDX-License-Identifier: MIT
        .equ    POWER,  0x00100000
        .equ    PLIC,   0x0c000000
        .equ    UART,   0x10000000
        .equ    TICKER, 0x10005000
        .equ    IRQ,    5
        .equ    MEIE,   0x800

start:  li      s0, TICKER
        li      s1, PLIC
        li      s2, UART
        li      s3, 3                   # ticks to wait for
        li      t0, 1
        sw      t0, 4*IRQ(s1)           # its priority
        li      t1, PLIC + 0x2000
        li      t0, 1 << IRQ
        sw      t0, (t1)                # enabled for machine mode
        li      s4, PLIC + 0x200000
        sw      zero, (s4)              # no threshold
        li      t0, MEIE
        csrw    mie, t0                 # wfi wakes, but nothing traps: mstatus.MIE is clear
        li      t0, 500
        sw      t0, 4(s0)               # period

next:   wfi
        lw      s5, 4(s4)               # claim
        beqz    s5, next
        lw      t0, (s0)                # count
        addi    t0, t0, '0'
        sb      t0, (s2)
        li      t0, '\n'
        sb      t0, (s2)
        sw      zero, 8(s0)             # clear
        sw      s5, 4(s4)               # complete
        addi    s3, s3, -1
        bnez    s3, next

        li      t0, POWER
        li      t1, 0x5555
        sw      t1, (t0)
        j       .
