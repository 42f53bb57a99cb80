# hello: prints a line on the serial port and switches the machine off.
#
#   clang --target=riscv64-unknown-elf -march=rv64i -nostdlib -fuse-ld=lld -Wl,-Ttext=0x80000000 \
#     -o build/hello.elf examples/01-hello-bare/hello.s
#   build/umbra run examples/01-hello-bare/machine.lua kernel=build/hello.elf
#
# SPDX-License-Identifier: MIT
        .globl  _start
_start:
        lui     a0, 0x10000             # uart0: a byte stored to its first register is sent
        la      a1, text
next:
        lbu     a2, 0(a1)
        beqz    a2, off
        sb      a2, 0(a0)
        addi    a1, a1, 1
        j       next
off:
        lui     a0, 0x100               # power: 0x5555 switches off
        li      a2, 0x5555
        sw      a2, 0(a0)
wait:
        j       wait

text:   .asciz  "hello from a machine of fifteen lines\n"
