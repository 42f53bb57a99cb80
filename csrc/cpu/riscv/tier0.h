// tier0: what its handlers call.
// SPDX-License-Identifier: MIT
#pragma once
#include "cpu/riscv/hart.h"

uint32_t hart_instruction_at(Hart *hart, uint64_t gva);                 // bits of the instruction there, 0 if it cannot be read
bool hart_semihosting(Hart *hart, uint64_t gva);                        // true if the ebreak at gva is a call of the host: done, or hart->again
void hart_window_refused(Hart *hart, uint64_t gva, unsigned alignment, int access);   // raises what an access the host refused is to the guest
