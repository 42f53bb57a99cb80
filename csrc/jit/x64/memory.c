// memory: loads and stores: by the state's TLB or in a window. What misses is a site (slow.c).
// SPDX-License-Identifier: MIT
#include "jit/x64/lower_int.h"

// An address: a register and a distance. `slot`: what the register holds, -1: no slot.
typedef struct Place {
  Reg     reg;
  int32_t disp;
  int64_t slot;
} Place;

static Place place_of(Lower *l, Ref ref)
{
  const Value *value = &l->values[ref];
  Place place = { .slot = -1 };
  if (value->where == IN_SUM) {
    place.disp = (int32_t)value->k;
    ref = sum_base(l, ref);
    value = &l->values[ref];
  }
  if (value->where == IN_SLOT) place.slot = value->k;
  place.reg = use_reg(l, ref);
  return place;
}

// A load into `dst`, which is an XMM register when `xmm`.
static void emit_load(Lower *l, const IrIns *ins, unsigned dst, bool xmm, Mem m)
{
  Asm *as = &l->as;
  Width w = width_of(ins->type);
  bool is_signed = ins->aux & MEM_SIGNED;
  Reg reg = (Reg)dst;
  if (xmm) {
    (ins->aux & MEM_SIZE) == 3 ? x64_movsd_xm(as, (Xmm)dst, m) : x64_movss_xm(as, (Xmm)dst, m);
    return;
  }
  switch (ins->aux & MEM_SIZE) {
  case 0: is_signed ? x64_movsx8_rm(as, w, reg, m) : x64_movzx8_rm(as, W4, reg, m); break;
  case 1: is_signed ? x64_movsx16_rm(as, w, reg, m) : x64_movzx16_rm(as, W4, reg, m); break;
  case 2: is_signed && w == W8 ? x64_movsx32_rm(as, W8, reg, m) : x64_mov_rm(as, W4, reg, m); break;
  default: x64_mov_rm(as, W8, reg, m);
  }
}

static void emit_store(Lower *l, const IrIns *ins, const Value *value, Mem m)
{
  Asm *as = &l->as;
  Width w = (Width)(1u << (ins->aux & MEM_SIZE));
  if (value->where == IN_CONST) x64_mov_mi(as, w, m, (int32_t)value->k);
  else if (value->where == IN_XMM) w == W8 ? x64_movsd_mx(as, m, value->reg) : x64_movss_mx(as, m, value->reg);
  else x64_mov_mr(as, w, m, (Reg)value->reg);
}

// What is stored, where an instruction can take it from.
static Value stored(Lower *l, const IrIns *ins)
{
  Value *value = &l->values[ins->b];
  bool whole = (ins->aux & MEM_SIZE) >= 2;
  if (value->where == IN_CONST && (int32_t)value->k == value->k && ins_at(l, ins->b)->type != IR_I1) return *value;
  if (whole && in_xmm_now(l, ins->b)) return (Value){ .where = IN_XMM, .reg = use_xmm(l, ins->b) };
  return (Value){ .where = IN_REG, .reg = (uint8_t)use_reg(l, ins->b) };
}

// The access itself, at `m`; `from`: a jump to where C does it. In a window the host may refuse it too.
static void finish(Lower *l, Ref ref, Site from, const Place *place, const Value *value, Mem m)
{
  const IrIns *ins = ins_at(l, ref);
  const uint8_t *fault = NULL;
  JitSite site = { .disp = place->disp, .operand = { (uint8_t)place->reg } };
  used(l, ins->a);
  if (ins->op == IR_STORE) {
    site.operand[1] = site_operand(value);
    site.k = value->where == IN_CONST ? (int32_t)value->k : 0;
    fault = l->as.at;
    emit_store(l, ins, value, m);
    used(l, ins->b);
  } else {
    bool whole = (ins->aux & MEM_SIZE) == 3 || ((ins->aux & MEM_SIZE) == 2 && !(ins->aux & MEM_SIGNED));
    bool xmm = ins->type == IR_I64 && whole && wants_xmm(l, ref);
    unsigned dst = xmm ? result_xmm(l, ref, 0) : (unsigned)result_reg(l, ref, place->reg);
    site.to = (uint8_t)(dst + (xmm ? SITE_XMM : 0));
    fault = l->as.at;
    emit_load(l, ins, dst, xmm, m);
    if (xmm) define_xmm(l, ref, (Xmm)dst);
    else define_reg(l, ref, (Reg)dst);
  }
  if (l->jit->window.there) add_fault(l, ref, fault, site);
  if (from) add_site(l, ref, from, site);
}

// In a window: the base of an address is compared unless that was done before in the block; what is near it is reserved.
static void emit_by_window(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  if (l->values[ins->a].where == IN_SUM && (l->values[ins->a].k >= NEAR || l->values[ins->a].k <= -NEAR)) use_reg(l, ins->a);
  Place place = place_of(l, ins->a);
  Value value = { 0 };
  Site outside = NULL;
  if (ins->op == IR_STORE) value = stored(l, ins);
  if (!slot_is_near(l, place.slot)) {
    if (l->jit->window.bound) x64_cmp_rr(as, W8, place.reg, (Reg)JIT_WINDOW_REG);
    else {
      Reg high = new_reg(l);
      x64_mov_rr(as, W8, high, place.reg);
      x64_shr_ri(as, W8, high, WINDOW_BITS);
    }
    outside = x64_jcc(as, l->jit->window.bound ? CC_AE : CC_NE);
    note_near(l, place.slot, 0);
  }
  finish(l, ref, outside, &place, &value, x64_index((Reg)JIT_WINDOW_REG, place.reg, 0, place.disp));
}

// One page by the TLB: tag and alignment in one compare.
static void emit_by_tlb(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  const JitTlb *tlb = &l->jit->tlb;
  bool store = ins->op == IR_STORE;
  int32_t size = 1 << (ins->aux & MEM_SIZE);
  Place place = { .reg = use_reg(l, ins->a) };
  Value value = { 0 };
  if (store) value = stored(l, ins);
  Reg tag = new_reg(l), entry = new_reg(l);
  x64_mov_rm(as, W8, tag, x64_mem(RBP, (int32_t)tlb->pointer - (int32_t)l->jit->bias));
  x64_mov_rr(as, W8, entry, place.reg);
  x64_shr_ri(as, W8, entry, 8);
  x64_and_rm(as, W8, entry, x64_mem(tag, (int32_t)tlb->mask));
  x64_add_rm(as, W8, entry, x64_mem(tag, (int32_t)tlb->entries[store]));
  x64_mov_rm(as, W8, tag, x64_mem(entry, 0));
  x64_xor_rr(as, W8, tag, place.reg);
  x64_test_ri(as, W8, tag, -4096 | (size - 1));
  Site miss = x64_jcc(as, CC_NE);
  x64_mov_rm(as, W8, entry, x64_mem(entry, 8));
  finish(l, ref, miss, &place, &value, x64_index(entry, place.reg, 0, 0));
}

bool emit_inline_access(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  if ((ins->op != IR_LOAD && ins->op != IR_STORE) || ins->aux & MEM_BIG) return false;
  if (l->jit->window.there) emit_by_window(l, ref);
  else if (l->jit->tlb.there) emit_by_tlb(l, ref);
  else return false;
  return true;
}
