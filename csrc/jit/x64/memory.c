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

// Where an access that is found goes, and the jump that is taken when it is not.
typedef struct Reach {
  Site miss;
  Mem  m;
} Reach;

// In a window: the base of an address is compared unless that was done before in the block; what is near it is reserved.
static Reach reach_window(Lower *l, const Place *place)
{
  Asm *as = &l->as;
  Reach reach = { .m = x64_index((Reg)JIT_WINDOW_REG, place->reg, 0, place->disp) };
  if (slot_is_near(l, place->slot)) return reach;
  if (l->jit->window.bound) x64_cmp_rr(as, W8, place->reg, (Reg)JIT_WINDOW_REG);
  else {
    Reg high = new_reg(l);
    x64_mov_rr(as, W8, high, place->reg);
    x64_shr_ri(as, W8, high, WINDOW_BITS);
    release(l, high);
  }
  reach.miss = x64_jcc(as, l->jit->window.bound ? CC_AE : CC_NE);
  note_near(l, place->slot, 0);
  return reach;
}

// One page by the TLB: tag and alignment in one compare.
static Reach reach_tlb(Lower *l, const Place *place, bool store, int32_t size)
{
  Asm *as = &l->as;
  const JitTlb *tlb = &l->jit->tlb;
  Reg tag = new_reg(l), entry = new_reg(l);
  x64_mov_rm(as, W8, tag, x64_mem(RBP, (int32_t)tlb->pointer - (int32_t)l->jit->bias));
  x64_mov_rr(as, W8, entry, place->reg);
  x64_shr_ri(as, W8, entry, 8);
  x64_and_rm(as, W8, entry, x64_mem(tag, (int32_t)tlb->mask));
  x64_add_rm(as, W8, entry, x64_mem(tag, (int32_t)tlb->entries[store]));
  x64_mov_rm(as, W8, tag, x64_mem(entry, 0));
  x64_xor_rr(as, W8, tag, place->reg);
  x64_test_ri(as, W8, tag, -4096 | (size - 1));
  Site miss = x64_jcc(as, CC_NE);
  x64_mov_rm(as, W8, entry, x64_mem(entry, 8));
  release(l, tag);
  return (Reach){ miss, x64_index(entry, place->reg, 0, 0) };
}

static void emit_plain(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  bool windowed = l->jit->window.there, store = ins->op == IR_STORE;
  const Value *address = &l->values[ins->a];
  if (address->where == IN_SUM && (!windowed || address->k >= NEAR || address->k <= -NEAR)) use_reg(l, ins->a);
  Place place = place_of(l, ins->a);
  Value value = { 0 };
  if (store) value = stored(l, ins);
  Reach reach = windowed ? reach_window(l, &place) : reach_tlb(l, &place, store, 1 << (ins->aux & MEM_SIZE));
  finish(l, ref, reach.miss, &place, &value, reach.m);
}

// Atomics -------------------------------------------------------------------------------------------

typedef struct Atomic {
  Place place;
  Mem   m;
  Width w;
  Site  miss, odd;                       // odd: a window does not say whether an address is aligned
  Reg   value;
  const uint8_t *faults[2];              // accesses that the host may refuse
} Atomic;

static void emit_amo(Lower *l, const IrIns *ins, Atomic *a, Reg dst)
{
  static void (*const change[AMO_COUNT])(Asm *as, Width w, Reg dst, Reg src) = { [AMO_AND] = x64_and_rr, [AMO_OR] = x64_or_rr, [AMO_XOR] = x64_xor_rr };
  Asm *as = &l->as;
  unsigned operation = ins->aux >> 8;
  if (!change[operation]) {
    x64_mov_rr(as, W8, dst, a->value);
    a->faults[0] = as->at;
    operation == AMO_ADD ? x64_lock_xadd_mr(as, a->w, a->m, dst) : x64_xchg_mr(as, a->w, a->m, dst);
    return;
  }
  Reg wanted = new_reg(l);
  a->faults[0] = as->at;
  x64_mov_rm(as, a->w, RAX, a->m);
  uint8_t *again = as->at;
  x64_mov_rr(as, W8, wanted, RAX);
  change[operation](as, a->w, wanted, a->value);
  a->faults[1] = as->at;
  x64_lock_cmpxchg_mr(as, a->w, a->m, wanted);
  Site back = x64_jcc(as, CC_NE);
  if (!as->full) x64_patch(back, again);
}

static Mem reserved(const Lower *l, uint32_t offset) { return x64_mem(RBP, (int32_t)offset - (int32_t)l->jit->bias); }

static void emit_lr(Lower *l, Atomic *a, Reg dst)
{
  Asm *as = &l->as;
  const JitReserved *at = &l->jit->reservation;
  Reg host = new_reg(l);
  a->faults[0] = as->at;
  x64_mov_rm(as, a->w, dst, a->m);
  x64_lea_rm(as, W8, host, a->m);
  x64_mov_mr(as, W8, reserved(l, at->place), host);
  x64_mov_mr(as, W8, reserved(l, at->value), dst);
}

// 0: stored, as the reservation holds: the same place, and the value that was seen there.
static void emit_sc(Lower *l, Atomic *a, Reg dst)
{
  Asm *as = &l->as;
  const JitReserved *at = &l->jit->reservation;
  x64_lea_rm(as, W8, RAX, a->m);
  x64_load_constant(as, dst, 1);
  x64_cmp_rm(as, W8, RAX, reserved(l, at->place));
  Site lost = x64_jcc(as, CC_NE);
  x64_mov_rm(as, W8, RAX, reserved(l, at->value));
  a->faults[0] = as->at;
  x64_lock_cmpxchg_mr(as, a->w, a->m, a->value);
  x64_set_r(as, CC_NE, dst);
  x64_bind(as, lost);
  x64_mov_mi(as, W8, reserved(l, at->place), 0);
}

static bool emit_atomic(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  unsigned operation = ins->op == IR_AMO ? ins->aux >> 8 : AMO_SWAP;
  bool windowed = l->jit->window.there, writes = ins->op != IR_LR, by_rax = ins->op == IR_SC || (operation >= AMO_AND && operation <= AMO_XOR);
  if (!l->jit->reservation.there || operation > AMO_XOR || (ins->aux & MEM_SIZE) < 2) return false;
  if (by_rax) take_reg(l, RAX);
  if (l->values[ins->a].where == IN_SUM) use_reg(l, ins->a);
  Atomic a = { .place = place_of(l, ins->a), .w = (Width)(1u << (ins->aux & MEM_SIZE)) };
  if (writes) a.value = use_reg(l, ins->b);
  if (windowed) {
    x64_test_ri(as, W4, a.place.reg, (int32_t)a.w - 1);
    a.odd = x64_jcc(as, CC_NE);
  }
  Reach reach = windowed ? reach_window(l, &a.place) : reach_tlb(l, &a.place, writes, (int32_t)a.w);
  a.miss = reach.miss;
  a.m = reach.m;
  Reg dst = by_rax && ins->op == IR_AMO ? RAX : new_reg(l);
  if (ins->op == IR_AMO) emit_amo(l, ins, &a, dst);
  else if (ins->op == IR_LR) emit_lr(l, &a, dst);
  else emit_sc(l, &a, dst);
  if (ins->op != IR_SC && a.w == W4) ins->aux & MEM_SIGNED ? x64_movsx32_rr(as, W8, dst, dst) : x64_mov_rr(as, W4, dst, dst);
  JitSite site = { .operand = { (uint8_t)a.place.reg, (uint8_t)a.value }, .to = (uint8_t)dst };
  for (unsigned i = 0; i < 2 && windowed; i++)
    if (a.faults[i]) add_fault(l, ref, a.faults[i], site);
  if (a.miss) add_site(l, ref, a.miss, site);
  if (a.odd) add_site(l, ref, a.odd, site);
  used(l, ins->a);
  if (writes) used(l, ins->b);
  define_reg(l, ref, dst);
  return true;
}

bool emit_inline_access(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  if (ins->aux & MEM_BIG || !(l->jit->window.there || l->jit->tlb.there)) return false;
  if (ins->op == IR_AMO || ins->op == IR_LR || ins->op == IR_SC) return emit_atomic(l, ref);
  emit_plain(l, ref);
  return true;
}
