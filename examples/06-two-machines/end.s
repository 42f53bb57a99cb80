# end: one end of a line between two machines: counts bytes back and forth. Assembled by run.lua.
#
# a2 is 1 at the end that begins. Each end sends what it got and one more; who sends LAST, or gets it, ends.
# SPDX-License-Identifier: MIT
        .equ    UART, 0x10000000
        .equ    RECEIVE, 0                      # registers of the serial port: a byte that came, or one to send
        .equ    STATUS, 5                       # bit 0: a byte came
        .equ    POWER, 0x100000
        .equ    OFF, 0x5555
        .equ    LAST, 'z'

start:  li      s0, UART
        li      s1, LAST
        beqz    a2, wait
        li      a0, 'a'
send:   sb      a0, RECEIVE(s0)
        beq     a0, s1, end
wait:   lbu     t0, STATUS(s0)
        andi    t0, t0, 1
        beqz    t0, wait
        lbu     a0, RECEIVE(s0)
        addi    s2, s2, 1                       # bytes that came here
        beq     a0, s1, end
        addi    a0, a0, 1
        j       send

end:    li      a0, POWER
        li      a1, OFF
        sw      a1, (a0)
        j       .
