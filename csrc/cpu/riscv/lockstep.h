// lockstep: a block by translated code and by tier 0, compared.
// SPDX-License-Identifier: MIT
#pragma once
#include "cpu/riscv/blocks.h"
#include "jit/jit.h"

bool lockstep_takes(const BlockHead *head);          // whether a block can be compared: it does nothing that cannot be undone
// One run of `code`, which stands at hart->pc. Returns instructions done, or trapped; 0: tier 0 has to do the first. A difference is a line on
// standard error (at most 10) and counted.
int64_t lockstep_run(Hart *hart, Jit *jit, const JitCode *code, uint64_t *differences);
