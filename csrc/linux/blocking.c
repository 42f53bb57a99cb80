// blocking: a call of the host that a signal cannot slip past.
// SPDX-License-Identifier: MIT
//
// Between the look at `attention` and the kernel's entry lies one instruction. A handler that interrupts there sends the thread to
// linux_call_restart, so that the call is not made; a signal that comes later interrupts the call itself.
#include "linux/linux_int.h"

__asm__(
  ".text\n"
  ".globl linux_blocking, linux_call_begin, linux_call_end, linux_call_restart, linux_sigreturn\n"
  ".hidden linux_blocking, linux_call_begin, linux_call_end, linux_call_restart, linux_sigreturn\n"
  ".type linux_blocking, @function\n"
  "linux_blocking:\n"
  "  mov %rsi, %rax\n"
  "  mov %rdi, %r11\n"
  "  mov %rdx, %rdi\n"
  "  mov %rcx, %rsi\n"
  "  mov %r8, %rdx\n"
  "  mov %r9, %r10\n"
  "  mov 8(%rsp), %r8\n"
  "  mov 16(%rsp), %r9\n"
  "linux_call_begin:\n"
  "  cmpl $0, (%r11)\n"
  "  jne linux_call_restart\n"
  "  syscall\n"
  "linux_call_end:\n"
  "  ret\n"
  "linux_call_restart:\n"
  "  mov $-512, %rax\n"
  "  ret\n"
  ".size linux_blocking, . - linux_blocking\n"
  // What a host handler returns to.
  "linux_sigreturn:\n"
  "  mov $15, %eax\n"
  "  syscall\n");

_Static_assert(RESTART == 512, "linux_call_restart says so");
