# start: enters main and hands its result to the host through HTIF.
#
# Without PAGING everything runs in machine mode on physical addresses; with it main runs in supervisor mode behind page tables.
# SPDX-License-Identifier: MIT
  .section .text.start, "ax"
  .globl _start
_start:
  la    sp, stack_top
  la    t0, fail
  csrw  mtvec, t0
  li    t0, 0x6000                      # mstatus.FS: floating point on
  csrs  mstatus, t0
#ifdef PAGING
  li    t0, -1                          # the lower modes may use all of physical memory
  csrw  pmpaddr0, t0
  li    t0, 0x1f
  csrw  pmpcfg0, t0
  call  make_page_tables
  beqz  a0, fail
  csrw  satp, a0
  sfence.vma
  li    t0, 0x1800                      # mstatus.MPP: supervisor
  csrc  mstatus, t0
  li    t0, 0x0800
  csrs  mstatus, t0
  la    t0, run
  csrw  mepc, t0
  mret
#endif
run:
  call  main
  slli  a0, a0, 1                       # HTIF exit: code * 2 + 1
  ori   a0, a0, 1
report:
  la    t0, tohost
  sd    a0, 0(t0)
1:
  j     1b

  .align 2
fail:                                   # a trap, or tables too small: in machine mode either way
  li    a0, 255
  j     report

  .bss
  .align 12
  .space 65536
stack_top:

  .section .tohost, "aw"
  .align 6
  .globl tohost
  .type tohost, @object
  .size tohost, 8                       # QEMU asks for it
tohost:
  .dword 0
  .align 6
  .globl fromhost
  .type fromhost, @object
  .size fromhost, 8
fromhost:
  .dword 0
