// enter: the ways into translated code, out of it, and from it into C.
// SPDX-License-Identifier: MIT
//
// enter(code, state + bias, run): saves what the host's C wants kept, loads the pins and how many instructions are left, jumps. leave:
// stores them and returns; in eax the reason, in rdx the pc. leave_next: by a jump to rdx. leave_link, leave_head: eax has the number of
// a link, of a block that was not run. call: C at rax with its arguments in place; the pins are in the state meanwhile and loaded again;
// ecx has what call_run passes on, edx instructions that were paid for and not done. The stack keeps 16 bytes alignment at calls.
#include "jit/x64/lower_int.h"
#include "base/fault.h"
#include "base/fp.h"
#include <stddef.h>

static const Reg saved[] = { RBX, RBP, R12, R13, R14, R15 };
enum { SAVED = sizeof saved / sizeof saved[0] };
_Static_assert((FRAME_SIZE + 8 * SAVED + 8) % 16 == 0, "calls from translated code are aligned");

void emit_pins(const Jit *jit, Asm *as, bool load)
{
  for (unsigned i = 0; i < jit->pin_count; i++) {
    const JitPin *pin = &jit->pins[i];
    Mem m = x64_mem(RBP, (int32_t)ir_slot_offset(jit->guest, pin->slot) - (int32_t)jit->bias);
    if (pin->xmm) load ? x64_movsd_xm(as, pin->reg, m) : x64_movsd_mx(as, m, pin->reg);
    else load ? x64_mov_rm(as, W8, (Reg)pin->reg, m) : x64_mov_mr(as, W8, m, (Reg)pin->reg);
  }
}

static void emit_constants(Asm *as)
{
  const struct { int32_t at; uint64_t k; } list[] = { { FRAME_MASK, 0xffffffff00000000u }, { FRAME_NAN_D, FP_CANON_D }, { FRAME_NAN_S, FP_CANON_S } };
  for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
    x64_mov_mi(as, W4, x64_mem(RSP, list[i].at), (int32_t)list[i].k);
    x64_mov_mi(as, W4, x64_mem(RSP, list[i].at + 4), (int32_t)(list[i].k >> 32));
  }
}

static uint8_t *emit_enter(const Jit *jit, Asm *as)
{
  uint8_t *at = as->at;
  for (unsigned i = 0; i < SAVED; i++) x64_push_r(as, saved[i]);
  x64_sub_ri(as, W8, RSP, FRAME_SIZE);
  x64_mov_rr(as, W8, RBP, RSI);
  x64_mov_mr(as, W8, x64_mem(RSP, FRAME_RUN), RDX);
  emit_constants(as);
  x64_movsd_xm(as, XMM_BOX, x64_mem(RSP, FRAME_MASK));
  x64_mov_rr(as, W8, RAX, RDI);
  x64_mov_rm(as, W8, R15, x64_mem(RDX, offsetof(JitRun, left)));
  if (jit->window.there) x64_mov_rm(as, W8, (Reg)JIT_WINDOW_REG, x64_mem(RBP, (int32_t)jit->window.base - (int32_t)jit->bias));
  emit_pins(jit, as, true);
  x64_jmp_r(as, RAX);
  return at;
}

static uint8_t *emit_leave(const Jit *jit, Asm *as)
{
  uint8_t *at = as->at;
  emit_pins(jit, as, false);
  x64_mov_rm(as, W8, RSI, x64_mem(RSP, FRAME_RUN));
  x64_mov_mr(as, W4, x64_mem(RSI, offsetof(JitRun, exit.reason)), RAX);
  x64_mov_mr(as, W4, x64_mem(RSI, offsetof(JitRun, which)), RCX);
  x64_mov_mr(as, W8, x64_mem(RSI, offsetof(JitRun, exit.pc)), RDX);
  x64_mov_mr(as, W8, x64_mem(RSI, offsetof(JitRun, left)), R15);
  x64_add_ri(as, W8, RSP, FRAME_SIZE);
  for (unsigned i = SAVED; i-- > 0;) x64_pop_r(as, saved[i]);
  x64_ret(as);
  return at;
}

// By `reason`; a number that came in eax goes along.
static uint8_t *emit_leave_by(Asm *as, uint32_t reason, const uint8_t *leave)
{
  uint8_t *at = as->at;
  x64_mov_rr(as, W4, RCX, RAX);
  x64_load_constant(as, RAX, reason);
  Site site = x64_jmp(as);
  if (!as->full) x64_patch(site, leave);
  return at;
}

static void lead_to(const Jit *jit, Asm *as, Site site, const uint8_t *target)
{
  if (!as->full) x64_patch(site, jit->code.write + (target - jit->code.run));
}

// Where earlier jumps to the same address found code, as long as that holds.
void jit_emit_jump(const Jit *jit, Asm *as, const uint8_t *otherwise)
{
  const JitLoop *loop = &jit->loop;
  int32_t jumps = (int32_t)loop->jumps - (int32_t)jit->bias;
  x64_mov_rr(as, W4, RAX, RDX);
  x64_and_ri(as, W4, RAX, (int32_t)(loop->jump_count - 1) << 1);
  x64_shl_ri(as, W4, RAX, 4);
  x64_cmp_rm(as, W8, RDX, x64_index(RBP, RAX, 0, jumps));
  lead_to(jit, as, x64_jcc(as, CC_NE), otherwise);
  x64_mov_rm(as, W8, RCX, x64_mem(RBP, (int32_t)loop->epoch - (int32_t)jit->bias));
  x64_cmp_rm(as, W8, RCX, x64_index(RBP, RAX, 0, jumps + 8));
  lead_to(jit, as, x64_jcc(as, CC_NE), otherwise);
  x64_jmp_m(as, x64_index(RBP, RAX, 0, jumps + 24));
}

// Its own return address makes the stack odd: one more word evens it. C gets the state or the run, arguments and results; ecx
// passes.
static uint8_t *emit_call(const Jit *jit, Asm *as, bool gives_run)
{
  uint8_t *at = as->at;
  x64_sub_ri(as, W8, RSP, 8);
  emit_pins(jit, as, false);
  if (jit->loop.there) {
    x64_add_rr(as, W4, RDX, R15);
    x64_mov_mr(as, W4, x64_mem(RBP, (int32_t)jit->loop.left - (int32_t)jit->bias), RDX);
  }
  if (gives_run) x64_mov_rm(as, W8, RDI, x64_mem(RSP, FRAME_RUN + 16));
  else x64_lea_rm(as, W8, RDI, x64_mem(RBP, -(int32_t)jit->bias));
  x64_lea_rm(as, W8, RSI, x64_mem(RSP, FRAME_ARGS + 16));
  x64_lea_rm(as, W8, RDX, x64_mem(RSP, FRAME_RESULTS + 16));
  x64_call_r(as, RAX);
  emit_pins(jit, as, true);
  x64_movsd_xm(as, XMM_BOX, x64_mem(RSP, FRAME_MASK + 16));
  x64_add_ri(as, W8, RSP, 8);
  x64_ret(as);
  return at;
}

int jit_make_thunks(Jit *jit, struct um_fault *why)
{
  uint8_t *to = code_begin(&jit->code);
  if (!to) return fault_set(why, UM_EIO, "the host does not make code memory writable");
  Asm as = { to, to, to + code_left(&jit->code), false };
  uint8_t *enter = emit_enter(jit, &as), *leave = emit_leave(jit, &as), *call = emit_call(jit, &as, false), *call_run = emit_call(jit, &as, true);
  uint8_t *next = emit_leave_by(&as, UM_IR_NEXT, leave), *link = emit_leave_by(&as, JIT_LINKED, leave), *head = emit_leave_by(&as, JIT_HEAD, leave);
  uint8_t *jump = as.at;
  if (jit->loop.there) jit_emit_jump(jit, &as, jit->code.run + (next - jit->code.write));
  uint8_t *slow = emit_slow_thunk(jit, &as, leave);
  if (as.full) return fault_set(why, UM_EINVAL, "code memory of %zu bytes is too small", jit->code.size);
  uint8_t *run = code_commit(&jit->code, (size_t)(as.at - to));
  if (!run) return fault_set(why, UM_EIO, "the host does not make code memory executable");
  jit->enter = run + (enter - to);
  jit->leave = run + (leave - to);
  jit->leave_next = run + (next - to);
  jit->jump = run + (jump - to);
  jit->leave_link = run + (link - to);
  jit->leave_head = run + (head - to);
  jit->call = run + (call - to);
  jit->call_run = run + (call_run - to);
  jit->thunk_end = jit->code.used;
  jit->slow = run + (slow - to);
  return UM_OK;
}

void jit_patch(uint8_t *site, const uint8_t *target)
{
  x64_patch(site, target);
}

void jit_enter(const Jit *jit, const uint8_t *code, JitRun *run)
{
  typedef void Enter(const uint8_t *code, void *state, JitRun *run);
  Enter *enter;
  memcpy(&enter, &jit->enter, sizeof enter);
  enter(code, (uint8_t *)run->state + jit->bias, run);
}
