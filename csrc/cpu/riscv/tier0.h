// tier0: runs decoded blocks.
// SPDX-License-Identifier: MIT
#pragma once
#include "cpu/riscv/hart.h"

// Runs from `first` (the block at hart->pc) until something leaves guest code; hart->pc and hart->budget are right then.
// hart->budget must cover the block. `data`: the TLB of its loads and stores, hart->data but for traces.
void tier0_run(Hart *hart, const Dinsn *first, Tlb *data);

uint32_t hart_instruction_at(Hart *hart, uint64_t gva);                 // bits of the instruction there, 0 if it cannot be read
bool hart_semihosting(Hart *hart, uint64_t gva);                        // true if the ebreak at gva is a call of the host: done, or hart->again
