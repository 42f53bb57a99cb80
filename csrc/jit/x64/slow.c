// slow: operations that C does now and then, behind the block: one call each, of one thunk that keeps every register (jit->slow).
// SPDX-License-Identifier: MIT
//
// What the call stands for is in the table of sites, found by where it would return to: which registers hold the operands, which one
// gets the result, where code goes on. A fault in the window comes the same way, with the address of the access as the one to return to.
#include "jit/x64/lower_int.h"

static uint64_t operand_of(const JitSite *site, unsigned index, const uint64_t *regs)
{
  unsigned from = site->operand[index];
  return from == SITE_CONST ? (uint64_t)(int64_t)site->k : regs[from];
}

// 0: done. Else an exception was raised: what was paid for and not done; `at` has the address of the instruction, regs[0] the code's number.
uint64_t jit_slow(const Jit *jit, JitRun *run, uint64_t *regs, uint64_t *at)
{
  const JitSite *site = jit_find_site(jit, (size_t)(*at - (uint64_t)(uintptr_t)jit->code.run));
  check(site);
  IrIns ins = { .op = site->op, .type = site->type, .aux = site->aux };
  const IrInfo *info = &ir_info[site->op];
  IrValue args[3] = { u256_from(operand_of(site, 0, regs) + (uint64_t)(int64_t)site->disp) }, value = u256_from(0);
  for (unsigned i = 1; i < info->operands; i++) args[i] = u256_from(operand_of(site, i, regs));
  if (jit->loop.there) {
    uint32_t left = (uint32_t)(regs[R15] + site->paid);
    memcpy((uint8_t *)run->state + jit->loop.left, &left, sizeof left);
  }
  if (info->effects & EFFECT_FAULT) {
    run->exit.value = args[0].w[0];
    if (!ir_access(&run->host, ins, args[0].w[0], args[1], &value)) {
      const JitCode *code = jit_code_at(jit, jit->code.run + site->at);
      regs[0] = (uint64_t)(code - jit->codes);
      *at = code->pc + site->delta;
      return site->paid;
    }
  } else value.w[0] = jit_computed(run, ins, site->from, args);
  if (ins.type != IR_VOID) regs[site->to] = value.w[0];
  *at = (uint64_t)(uintptr_t)(jit->code.run + site->back);
  return 0;
}

uint8_t site_operand(const Value *value)
{
  return value->where == IN_CONST ? SITE_CONST : (uint8_t)(value->reg + (value->where == IN_XMM ? SITE_XMM : 0));
}

static JitSite completed(Lower *l, Ref ref, JitSite site)
{
  const IrIns *ins = ins_at(l, ref);
  if (l->all_insns + 1 - l->insns > UINT16_MAX) refuse(l, "too far from the block's head", ref);
  site.op = ins->op;
  site.type = ins->type;
  site.aux = ins->aux;
  site.from = ir_info[ins->op].operands ? ins_at(l, ins->a)->type : 0;
  site.delta = (uint32_t)(l->here - l->pc);
  site.paid = (uint16_t)(l->all_insns + 1 - l->insns);
  site.back = (uint32_t)(l->as.at - l->jit->code.write);
  return site;
}

static void note_site(Lower *l, const uint8_t *at, JitSite site)
{
  JitSite *row = l->as.full ? NULL : jit_add_site(l->jit);
  site.at = (uint32_t)(at - l->jit->code.write);
  if (row) *row = site;
  else if (!l->as.full) refuse(l, "no memory for its sites", 0);
}

void add_fault(Lower *l, Ref ref, const uint8_t *at, JitSite site) { note_site(l, at, completed(l, ref, site)); }

void add_site(Lower *l, Ref ref, Site from, JitSite site)
{
  add_stub(l, (Stub){ .from = from, .kind = STUB_SITE, .site = completed(l, ref, site) });
}

void emit_site(Lower *l, const Stub *stub)
{
  x64_bind(&l->as, stub->from);
  call_thunk(l, l->jit->slow);
  note_site(l, l->as.at, stub->site);
}

// A row of `regs` for every register but rsp; the state is whole while C runs. Its own return address leaves the stack even.
uint8_t *emit_slow_thunk(const Jit *jit, Asm *as, const uint8_t *leave)
{
  enum { REGS = 8 * 32, SIZE = REGS + 8 };
  uint8_t *at = as->at;
  x64_lea_rm(as, W8, RSP, x64_mem(RSP, -SIZE));
  for (int i = 0; i < 32; i++) {
    Mem row = x64_mem(RSP, 8 * i);
    if (i < 16 && i != RSP) x64_mov_mr(as, W8, row, (Reg)i);
    if (i >= 16) x64_movsd_mx(as, row, (Xmm)(i - 16));
  }
  emit_pins(jit, as, false);
  x64_load_constant(as, RDI, (uint64_t)(uintptr_t)jit);
  x64_mov_rm(as, W8, RSI, x64_mem(RSP, SIZE + 8 + FRAME_RUN));
  x64_mov_rr(as, W8, RDX, RSP);
  x64_lea_rm(as, W8, RCX, x64_mem(RSP, SIZE));
  x64_load_constant(as, RAX, (uint64_t)(uintptr_t)jit_slow);
  x64_call_r(as, RAX);
  x64_test_rr(as, W4, RAX, RAX);
  Site fault = x64_jcc(as, CC_NE);
  for (int i = 0; i < 32; i++) {
    Mem row = x64_mem(RSP, 8 * i);
    if (i < 16 && i != RSP) x64_mov_rm(as, W8, (Reg)i, row);
    if (i >= 16) x64_movsd_xm(as, (Xmm)(i - 16), row);
  }
  x64_lea_rm(as, W8, RSP, x64_mem(RSP, SIZE));
  x64_ret(as);
  x64_bind(as, fault);
  emit_pins(jit, as, true);
  x64_add_rr(as, W8, R15, RAX);
  x64_mov_rm(as, W8, RCX, x64_mem(RSP, 0));
  x64_mov_rm(as, W8, RDX, x64_mem(RSP, SIZE));
  x64_load_constant(as, RAX, UM_IR_FAULT);
  x64_lea_rm(as, W8, RSP, x64_mem(RSP, SIZE + 8));
  Site out = x64_jmp(as);
  if (!as->full) x64_patch(out, leave);
  return at;
}
