# greet: each hart prints a line on the port of the machine it runs in, one after the other; the last one switches off.
# HARTS is how many the machine has. SPDX-License-Identifier: MIT
_start: la      t0, turn
1:      lw      t1, (t0)                # a hart waits for its number
        bne     t1, a0, 1b
        la      s0, text
        li      s1, 0x10000000
        addi    a1, a0, '0'
2:      lbu     a2, (s0)
        beqz    a2, 4f
        li      a3, '#'
        bne     a2, a3, 3f
        mv      a2, a1
3:      sb      a2, (s1)
        addi    s0, s0, 1
        j       2b
4:      addi    a0, a0, 1
        li      t1, HARTS
        beq     a0, t1, 5f
        fence   rw, rw
        sw      a0, (t0)
        j       .
5:      li      a0, 0x100000
        li      a1, 0x5555
        sw      a1, (a0)
        j       .

        .data
        .balign 4
turn:   .word   0
text:   .asciz  "hart # says hello\n"
