// lift: what generated lifts are written in (lua/umbra/isa/lift.lua).
// SPDX-License-Identifier: MIT
//
// The file that includes a generated lift defines, for its guest:
//   lift_goto(l, distance), lift_branch(l, condition, distance)    a direct jump from the instruction's address
//   lift_jump(l, target)                                           any other
//   lift_fp(l, rounding)                                           before an instruction that uses floats; rounding -1: it has none
//   lift_fp_dirty(l)                                               after one that changed floating-point state
// and PLACE_file: the offset and stride of a register file in the state.
#pragma once
#include "ir/ir.h"

typedef struct Lift {
  Ir      *ir;
  int64_t  at;                           // the instruction's delta from the block
  uint32_t length;
  bool     fp;                           // it uses floating point
  bool     ended;                        // nothing follows the instruction in its block
  uint64_t context;                      // what the guest's own part assumes
} Lift;

static inline void lift_begin_insn(Lift *l, uint32_t length)
{
  l->length = length;
  l->ended = false;
  ir_add(l->ir, (IrIns){ .op = IR_INSN, .aux = (uint16_t)length, .imm = l->at });
}

// The block's end, if nothing has ended it; `at` is behind the last instruction.
static inline void lift_end(Lift *l)
{
  if (!l->ended) ir_delta(l->ir, IR_GOTO, IR_VOID, 0, l->at);
}
