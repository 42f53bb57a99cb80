// lift: RISC-V instructions as IR.
// SPDX-License-Identifier: MIT
#pragma once
#include "ir/lift.h"

struct um_hart;

extern const IrGuest riscv_guest;        // a state is a Hart

IrHost hart_host(struct um_hart *hart);  // a hart's memory, as evaluated and translated code reach it

// What a block may take for granted, beside the extensions (bits of their mask) in Lift.context.
#define LIFT_FP_READY (1ull << 63)       // FS is Dirty and frm is a mode

// Appends the instruction `word` at l->at and moves on behind it; false: it is none (l->length is set).
bool riscv_lift(Lift *l, uint32_t word);
