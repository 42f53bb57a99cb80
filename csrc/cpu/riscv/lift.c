// lift: RISC-V instructions as IR.
// SPDX-License-Identifier: MIT
#include "cpu/riscv/lift.h"
#include "base/bits.h"
#include "base/fp.h"
#include "cpu/riscv/decode.h"
#include "cpu/riscv/helpers.h"
#include <stddef.h>
#include <string.h>

typedef void Lifter(Lift *l, const Decoded *d);

static bool has(const Lift *l, int extension) { return l->context >> extension & 1; }

// Control -------------------------------------------------------------------------------------------

static void trap_misaligned(Lift *l, Ref target)
{
  ir_add(l->ir, (IrIns){ .op = IR_TRAP, .a = target, .imm = CAUSE_FETCH_MISALIGNED });
}

// Without C a target must be a multiple of 4; the instruction's own address is one.
static void lift_goto(Lift *l, int64_t distance)
{
  int64_t delta = l->at + distance;
  if (distance & 2 && !has(l, EXT_C)) trap_misaligned(l, ir_delta(l->ir, IR_PC, IR_I64, 0, delta));
  else ir_delta(l->ir, IR_GOTO, IR_VOID, 0, delta);
}

static void lift_branch(Lift *l, Ref condition, int64_t distance)
{
  if (distance & 2 && !has(l, EXT_C)) {
    ir_add(l->ir, (IrIns){ .op = IR_WHEN, .a = condition });
    lift_goto(l, distance);
    ir_add(l->ir, (IrIns){ .op = IR_END });
  } else ir_delta(l->ir, IR_BRANCH, IR_VOID, condition, l->at + distance);
}

static void lift_jump(Lift *l, Ref target)
{
  ir_add(l->ir, (IrIns){ .op = IR_JUMP, .a = target });
}

// jalr and jal write rd only when the jump can be made.
static void check_target(Lift *l, const Decoded *d, unsigned op)
{
  Ir *ir = l->ir;
  if (has(l, EXT_C)) return;
  if (op == OP_jal && d->imm & 2) {
    lift_goto(l, d->imm);
    l->ended = true;
  }
  if (op != OP_jalr) return;
  Ref base = d->b ? ir_get(ir, IR_I64, 1, d->b) : ir_const(ir, IR_I64, 0);
  Ref target = ir_binary(ir, IR_AND, IR_I64, ir_binary(ir, IR_ADD, IR_I64, base, ir_const(ir, IR_I64, (uint64_t)(int64_t)d->imm)), ir_const(ir, IR_I64, ~(uint64_t)1));
  Ref odd = ir_binary(ir, IR_NE, IR_I1, ir_binary(ir, IR_AND, IR_I64, target, ir_const(ir, IR_I64, 2)), ir_const(ir, IR_I64, 0));
  ir_add(ir, (IrIns){ .op = IR_WHEN, .a = odd });
  trap_misaligned(l, target);
  ir_add(ir, (IrIns){ .op = IR_END });
}

// Floating point ------------------------------------------------------------------------------------

enum { ROUNDING_NONE = 8 };

// FS must not be Off, and a dynamic rounding mode must be one.
static bool helper_fp_use(void *state, const IrValue *args, IrValue *results)
{
  (void)results;
  Hart *hart = state;
  bool fine = hart->mstatus & MSTATUS_FS && (args[0].w[0] != ROUND_STATE || hart->frm <= FP_RMM);
  if (!fine) hart_raise(hart, CAUSE_ILLEGAL, 0);
  return fine;
}

static bool helper_fp_dirty(void *state, const IrValue *args, IrValue *results)
{
  (void)args, (void)results;
  hart_fp_dirty(state);
  return true;
}

static void lift_fp(Lift *l, int rounding);
static void lift_fp_dirty(Lift *l);

#define PLACE_f offsetof(Hart, f), sizeof(uint64_t)
#define PLACE_x offsetof(Hart, x), sizeof(uint64_t)
#define EXTRA_HELPERS \
  [HELPERS] = { "fp.use", helper_fp_use, EFFECT_READ | EFFECT_FAULT, 1, 0, { IR_I8 }, { 0 } }, \
  [HELPERS + 1] = { "fp.dirty", helper_fp_dirty, EFFECT_READ | EFFECT_WRITE, 0, 0, { 0 }, { 0 } },
#include "riscv_lift.h"

_Static_assert(SLOT_x == 1, "check_target");
_Static_assert(EXT_C < 63, "LIFT_FP_READY has a bit of its own");

static void lift_fp(Lift *l, int rounding)
{
  l->fp = true;
  if (l->context & LIFT_FP_READY) return;
  Ref mode = ir_const(l->ir, IR_I8, rounding < 0 ? ROUNDING_NONE : (uint64_t)rounding);
  ir_call(l->ir, HELPERS, &mode, 1);
}

static void lift_fp_dirty(Lift *l)
{
  if (!(l->context & LIFT_FP_READY)) ir_call(l->ir, HELPERS + 1, NULL, 0);
}

const IrGuest riscv_guest = {
  .slots = lift_slots, .helpers = lift_helpers, .slot_count = SLOTS, .helper_count = HELPERS + 2, .state_size = sizeof(Hart), .address = IR_I64,
  .pc = offsetof(Hart, pc), .rounding = offsetof(Hart, frm), .flags = offsetof(Hart, fflags),
};

bool riscv_lift(Lift *l, uint32_t word)
{
  Decoded d = { 0 };
  unsigned encoding = riscv_decode(word, l->context & ~LIFT_FP_READY, &d);
  l->length = d.length;
  if (!encoding) return false;
  unsigned op = riscv_encodings[encoding].op;
  lift_begin_insn(l, d.length);
  check_target(l, &d, op);
  if (!l->ended) lifters[op](l, &d);
  l->at += d.length;
  return true;
}

UM_EXPORT const um_ir_guest *um_riscv_guest(void) { return &riscv_guest; }

UM_EXPORT int um_riscv_lift(um_ir *ir, const void *bytes, uint64_t size, uint64_t extensions, struct um_fault *why)
{
  if (ir->guest != &riscv_guest) return fault_set(why, UM_EINVAL, "the block is not RISC-V's");
  ir_clear(ir);
  Lift l = { .ir = ir, .context = extensions };
  const uint8_t *from = bytes;
  int count = 0;
  while (!l.ended && (uint64_t)l.at < size) {
    uint32_t word = 0;
    uint64_t left = size - (uint64_t)l.at;
    memcpy(&word, from + l.at, left < 4 ? left : 4);
    if (left < 2 || ((word & 3) == 3 && left < 4)) return fault_set(why, UM_EINVAL, "the instruction at +%lld is cut off", (long long)l.at);
    if (!riscv_lift(&l, word)) return fault_set(why, UM_EINVAL, "no instruction at +%lld: 0x%0*x", (long long)l.at, (int)(2 * l.length), word & (l.length == 2 ? 0xffff : ~0u));
    count++;
  }
  lift_end(&l);
  ir_sweep(ir);
  if (ir->full) return fault_set(why, UM_EINVAL, "the block has no room: at most %d instructions", IR_MOST);
  ir->sound = true;
  debug_check(ir_verify(ir, NULL) >= 0);                     // the lift is right, or it is a bug
  return count;
}
