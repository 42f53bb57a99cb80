// user: a hart that runs one thread of a process: user mode only, memory in a window, traps for its owner.
// SPDX-License-Identifier: MIT
//
// Each thread of the host runs its own hart with its own decoded blocks, so nothing here needs a lock. Code that another
// thread changes is dropped by the hart itself, between two runs (hart_user_drop).
#pragma once
#include "cpu/riscv/hart.h"

// `extensions` as in um_hart_options, with U and S. NULL without memory.
Hart *hart_user_new(Window *window, uint64_t extensions, bool fuse, struct um_fault *why);
void  hart_user_free(Hart *hart);
// What runs its code, and its clones': as in um_hart_options. Once, before it runs.
int   hart_user_engine(Hart *hart, uint32_t engine, uint32_t threshold, uint64_t code_bytes, struct um_fault *why);
void  hart_user_forked(Hart *hart);                           // in the child: what it shares with the parent's is left to that
// A new thread's hart: registers, pc and floating-point state of `from`.
Hart *hart_user_clone(const Hart *from, struct um_fault *why);
void  hart_user_reset(Hart *hart);                            // as a program finds it: all zero
// Runs from hart->pc until a trap: true, with hart->trap_cause and trap_value; pc is the trapping instruction's. False: it
// left because of hart->control->attention, which another thread or a signal handler may set at any time.
bool  hart_user_run(Hart *hart);
void  hart_user_drop(Hart *hart, uint64_t gva, uint64_t size);   // forgets what was decoded from these bytes
