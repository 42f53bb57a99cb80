// regs: where values are while a block is walked.
// SPDX-License-Identifier: MIT
#include "jit/x64/lower_int.h"

static Mem home_mem(unsigned home) { return x64_mem(RSP, FRAME_HOMES + 8 * (int32_t)(home - 1)); }

const JitPin *pin_at(const Lower *l, int64_t slot)
{
  unsigned row = (unsigned)(slot >> 8), element = (unsigned)(slot & 255);
  if (row >= PIN_ROWS || element > 63) return NULL;
  unsigned index = l->jit->pin_of[row << 6 | element];
  return index ? &l->jit->pins[index - 1] : NULL;
}

Mem slot_mem(const Lower *l, int64_t slot)
{
  return x64_mem(RBP, (int32_t)ir_slot_offset(l->jit->guest, slot) - (int32_t)l->jit->bias);
}

// The least of the bits in `set`.
static unsigned lowest(uint32_t set) { return (unsigned)__builtin_ctz(set); }

static void need_home(Lower *l, Value *value, bool *fresh)
{
  *fresh = !value->home;
  if (value->home) return;
  if (l->homes == HOMES) {
    refuse(l, "too many values at once", 0);
    l->homes = 0;
  }
  value->home = (uint16_t)++l->homes;
}

static void spill_reg(Lower *l, Reg reg)
{
  Value *value = &l->values[l->in_reg[reg]];
  bool fresh;
  need_home(l, value, &fresh);
  if (fresh) x64_mov_mr(&l->as, W8, home_mem(value->home), reg);
  value->where = IN_HOME;
  l->in_reg[reg] = 0;
  l->free_regs |= 1u << reg;
}

static void spill_xmm(Lower *l, Xmm xmm)
{
  Value *value = &l->values[l->in_xmm[xmm]];
  bool fresh;
  need_home(l, value, &fresh);
  if (fresh) x64_movsd_mx(&l->as, home_mem(value->home), xmm);
  value->where = IN_HOME;
  l->in_xmm[xmm] = 0;
  l->free_xmms |= 1u << xmm;
}

// Values whose registers may be taken: those that are not part of the instruction at hand.
static uint32_t victims(const Ref *in, uint32_t locked)
{
  uint32_t set = 0;
  for (unsigned i = 0; i < 16; i++) set |= (uint32_t)(in[i] != 0) << i;
  return set & ~locked;
}

// Copies of slots ---------------------------------------------------------------------------------------

static int find_copy(const uint16_t *copy, uint32_t copies, int64_t slot)
{
  for (uint32_t set = copies; set; set &= set - 1)
    if (copy[lowest(set)] == slot + 1) return (int)lowest(set);
  return -1;
}

static int copy_in_reg(const Lower *l, int64_t slot) { return find_copy(l->copy, l->copies, slot); }
static int copy_in_xmm(const Lower *l, int64_t slot) { return find_copy(l->copy_xmm, l->copies_xmm, slot); }

static void forget_copy(Lower *l, Reg reg)
{
  l->copy[reg] = 0;
  l->copies &= ~(1u << reg);
}

static void forget_copy_xmm(Lower *l, Xmm xmm)
{
  l->copy_xmm[xmm] = 0;
  l->copies_xmm &= ~(1u << xmm);
}

static void note_copy(Lower *l, Reg reg, int64_t slot)
{
  if (l->copy[reg] || ir_bits(ir_slot(l->jit->guest, slot)->type) != 64) return;
  l->copy[reg] = (uint16_t)(slot + 1);
  l->copies |= 1u << reg;
}

static void note_copy_xmm(Lower *l, Xmm xmm, int64_t slot)
{
  if (l->copy_xmm[xmm] || ir_bits(ir_slot(l->jit->guest, slot)->type) != 64) return;
  l->copy_xmm[xmm] = (uint16_t)(slot + 1);
  l->copies_xmm |= 1u << xmm;
}

static void forget_slot(Lower *l, int64_t slot)
{
  int reg = copy_in_reg(l, slot), xmm = copy_in_xmm(l, slot);
  if (reg >= 0) forget_copy(l, (Reg)reg);
  if (xmm >= 0) forget_copy_xmm(l, (Xmm)xmm);
}

// One of `open`, rather one that is no copy, else each in turn.
static unsigned choose(Lower *l, uint32_t open, uint32_t copies)
{
  if (open & ~copies) return lowest(open & ~copies);
  uint32_t above = open & ~0u << (++l->hand & 15);
  return l->hand = lowest(above ? above : open);
}

Reg new_reg(Lower *l)
{
  uint32_t open = l->free_regs & ~l->locked_regs;
  if (!open) {
    uint32_t set = victims(l->in_reg, l->locked_regs);
    if (!set) {
      refuse(l, "not enough registers", 0);
      return RAX;
    }
    spill_reg(l, (Reg)lowest(set));
    open = l->free_regs & ~l->locked_regs;
  }
  Reg reg = (Reg)choose(l, open, l->copies);
  forget_copy(l, reg);
  l->locked_regs |= 1u << reg;
  return reg;
}

Xmm new_xmm(Lower *l)
{
  uint32_t open = l->free_xmms & ~l->locked_xmms;
  if (!open) {
    uint32_t set = victims(l->in_xmm, l->locked_xmms);
    if (!set) {
      refuse(l, "not enough XMM registers", 0);
      return 0;
    }
    spill_xmm(l, (Xmm)lowest(set));
    open = l->free_xmms & ~l->locked_xmms;
  }
  Xmm xmm = (Xmm)choose(l, open, l->copies_xmm);
  forget_copy_xmm(l, xmm);
  l->locked_xmms |= 1u << xmm;
  return xmm;
}

void release(Lower *l, Reg reg) { l->locked_regs &= ~(1u << reg); }

void take_reg(Lower *l, Reg reg)
{
  if (l->in_reg[reg]) spill_reg(l, reg);
  forget_copy(l, reg);
  l->locked_regs |= 1u << reg;
}

static void drop(Lower *l, Value *value)
{
  if (value->where == IN_SUM) used(l, sum_base(l, (Ref)(value - l->values)));
  if (value->where == IN_REG && l->in_reg[value->reg]) {
    l->in_reg[value->reg] = 0;
    l->free_regs |= 1u << value->reg;
  }
  if (value->where == IN_XMM && l->in_xmm[value->reg]) {
    l->in_xmm[value->reg] = 0;
    l->free_xmms |= 1u << value->reg;
  }
}

void define_reg(Lower *l, Ref ref, Reg reg)
{
  Value *value = &l->values[ref];
  value->where = IN_REG;
  value->reg = (uint8_t)reg;
  value->home = 0;
  l->locked_regs |= 1u << reg;
  if (!(l->free_regs >> reg & 1)) return;              // a pin, for the set that follows
  l->in_reg[reg] = ref;
  l->free_regs &= ~(1u << reg);
  if (!value->uses) drop(l, value);
}

void define_xmm(Lower *l, Ref ref, Xmm xmm)
{
  Value *value = &l->values[ref];
  value->where = IN_XMM;
  value->reg = xmm;
  value->home = 0;
  l->locked_xmms |= 1u << xmm;
  if (!(l->free_xmms >> xmm & 1)) return;
  l->in_xmm[xmm] = ref;
  l->free_xmms &= ~(1u << xmm);
  if (!value->uses) drop(l, value);
}

void define_const(Lower *l, Ref ref, int64_t k)
{
  l->values[ref].where = IN_CONST;
  l->values[ref].k = ins_at(l, ref)->type == IR_I1 ? k & 1 : k;
}

// Out of memory or a pin into a register of its own.
static void load_slot(Lower *l, Ref ref, Reg reg)
{
  int64_t slot = l->values[ref].k;
  const JitPin *pin = pin_at(l, slot);
  unsigned type = ir_slot(l->jit->guest, slot)->type;
  int from = copy_in_reg(l, slot), xmm = copy_in_xmm(l, slot);
  if (from >= 0) {
    if (from != (int)reg) x64_mov_rr(&l->as, W8, reg, (Reg)from);
  } else if (xmm >= 0) x64_movd_rx(&l->as, W8, reg, (Xmm)xmm);
  else if (pin && pin->xmm) x64_movd_rx(&l->as, W8, reg, pin->reg);
  else if (pin) x64_mov_rr(&l->as, W8, reg, (Reg)pin->reg);
  else if (ir_bits(type) == 64) x64_mov_rm(&l->as, W8, reg, slot_mem(l, slot));
  else if (ir_bits(type) == 32) x64_mov_rm(&l->as, W4, reg, slot_mem(l, slot));
  else if (ir_bits(type) == 16) x64_movzx16_rm(&l->as, W4, reg, slot_mem(l, slot));
  else x64_movzx8_rm(&l->as, W4, reg, slot_mem(l, slot));
  if (type == IR_I1) x64_and_ri(&l->as, W4, reg, 1);
}

static void load_slot_xmm(Lower *l, Ref ref, Xmm xmm)
{
  int64_t slot = l->values[ref].k;
  const JitPin *pin = pin_at(l, slot);
  bool whole = ir_bits(ir_slot(l->jit->guest, slot)->type) == 64;
  int reg = copy_in_reg(l, slot), from = copy_in_xmm(l, slot);
  if (from >= 0) {
    if (from != xmm) x64_movaps_xx(&l->as, xmm, (Xmm)from);
  } else if (reg >= 0) x64_movd_xr(&l->as, W8, xmm, (Reg)reg);
  else if (pin && pin->xmm) x64_movaps_xx(&l->as, xmm, pin->reg);
  else if (pin) x64_movd_xr(&l->as, W8, xmm, (Reg)pin->reg);
  else if (whole) x64_movsd_xm(&l->as, xmm, slot_mem(l, slot));
  else x64_movss_xm(&l->as, xmm, slot_mem(l, slot));
}

// A value that is a slot gets a register of its own before the slot changes.
static void detach(Lower *l, Ref ref)
{
  const JitPin *pin = pin_at(l, l->values[ref].k);
  if ((pin && pin->xmm) || copy_in_xmm(l, l->values[ref].k) >= 0) {
    Xmm xmm = new_xmm(l);
    load_slot_xmm(l, ref, xmm);
    define_xmm(l, ref, xmm);
  } else {
    Reg reg = new_reg(l);
    load_slot(l, ref, reg);
    define_reg(l, ref, reg);
  }
}

void define_slot(Lower *l, Ref ref, int64_t slot)
{
  Value *value = &l->values[ref];
  value->where = IN_SLOT;
  value->k = slot;
  unsigned kept = 0;
  for (unsigned i = 0; i < l->alias_count; i++) {
    Ref other = l->aliases[i];
    if (l->values[other].uses && l->values[other].where == IN_SLOT) l->aliases[kept++] = other;
  }
  l->alias_count = kept;
  if (kept < ALIASES_MOST) l->aliases[l->alias_count++] = ref;
  else detach(l, ref);
}

Ref sum_base(const Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  return l->values[ins->b].where == IN_CONST ? ins->a : ins->b;
}

void define_sum(Lower *l, Ref ref, int64_t k)
{
  l->values[ref].where = IN_SUM;
  l->values[ref].k = k;
}

bool is_constant(const Lower *l, Ref ref, int64_t *k)
{
  *k = l->values[ref].k;
  return l->values[ref].where == IN_CONST;
}

void copy_to(Lower *l, Reg dst, Ref ref, bool is_signed, bool clean)
{
  Asm *as = &l->as;
  Value *value = &l->values[ref];
  unsigned type = ins_at(l, ref)->type, bits = ir_bits(type);
  switch (value->where) {
  case IN_CONST: {
    uint64_t k = (uint64_t)value->k;
    if (clean && !is_signed && bits < 64) k &= ~(uint64_t)0 >> (64 - bits);
    if (clean && is_signed && type == IR_I1) k = -k;
    x64_load_constant(as, dst, k);
    return;
  }
  case IN_SLOT: load_slot(l, ref, dst); break;
  case IN_SUM:
    copy_to(l, dst, sum_base(l, ref), is_signed, false);
    x64_lea_rm(as, W8, dst, x64_mem(dst, (int32_t)value->k));
    break;
  case IN_HOME: x64_mov_rm(as, W8, dst, home_mem(value->home)); break;
  case IN_XMM: x64_movd_rx(as, W8, dst, value->reg); break;
  case IN_REG: if (dst != value->reg) x64_mov_rr(as, W8, dst, (Reg)value->reg); break;
  default: refuse(l, "value used before it is there", ref);
  }
  if (!clean) return;
  if (type == IR_I8) is_signed ? x64_movsx8_rr(as, W4, dst, dst) : x64_movzx8_rr(as, W4, dst, dst);
  if (type == IR_I16) is_signed ? x64_movsx16_rr(as, W4, dst, dst) : x64_movzx16_rr(as, W4, dst, dst);
  if (type == IR_I1 && is_signed) x64_neg_r(as, W4, dst);
}

Reg use_reg(Lower *l, Ref ref)
{
  Value *value = &l->values[ref];
  if (value->where == IN_REG) {
    l->locked_regs |= 1u << value->reg;
    return (Reg)value->reg;
  }
  if (value->where == IN_SUM) {
    Ref base = sum_base(l, ref);
    Reg from = use_reg(l, base), dst = new_reg(l);
    x64_lea_rm(&l->as, W8, dst, x64_mem(from, (int32_t)value->k));
    used(l, base);
    define_reg(l, ref, dst);
    return dst;
  }
  const JitPin *pin = value->where == IN_SLOT ? pin_at(l, value->k) : NULL;
  if (pin && !pin->xmm) return (Reg)pin->reg;
  int64_t slot = value->where == IN_SLOT ? value->k : -1;
  int found = slot >= 0 ? copy_in_reg(l, slot) : -1;
  if (found >= 0) {
    l->locked_regs |= 1u << found;
    return (Reg)found;
  }
  Reg reg = new_reg(l);
  uint16_t home = value->where == IN_HOME ? value->home : 0;
  copy_to(l, reg, ref, true, false);
  if (value->where == IN_CONST || value->where == IN_XMM) return reg;      // stays what it is; the register is the instruction's
  if (slot >= 0) note_copy(l, reg, slot);
  if (l->copy[reg]) return reg;                                            // so does this
  define_reg(l, ref, reg);
  value->home = home;
  return reg;
}

Reg use_clean(Lower *l, Ref ref, bool is_signed)
{
  unsigned type = ins_at(l, ref)->type;
  if (type != IR_I8 && type != IR_I16 && !(type == IR_I1 && is_signed)) return use_reg(l, ref);
  Reg reg = new_reg(l);
  copy_to(l, reg, ref, is_signed, true);
  return reg;
}

Xmm use_xmm(Lower *l, Ref ref)
{
  Value *value = &l->values[ref];
  Asm *as = &l->as;
  if (value->where == IN_SUM) use_reg(l, ref);
  if (value->where == IN_XMM) {
    l->locked_xmms |= 1u << value->reg;
    return value->reg;
  }
  const JitPin *pin = value->where == IN_SLOT ? pin_at(l, value->k) : NULL;
  if (pin && pin->xmm) return pin->reg;
  int64_t slot = value->where == IN_SLOT ? value->k : -1;
  int found = slot >= 0 ? copy_in_xmm(l, slot) : -1;
  if (found >= 0) {
    l->locked_xmms |= 1u << found;
    return (Xmm)found;
  }
  if (value->where == IN_CONST) {
    Reg reg = new_reg(l);
    copy_to(l, reg, ref, false, true);
    Xmm xmm = new_xmm(l);
    x64_movd_xr(as, W8, xmm, reg);
    return xmm;
  }
  Xmm xmm = new_xmm(l);
  if (value->where == IN_SLOT) load_slot_xmm(l, ref, xmm);
  else if (value->where == IN_HOME) x64_movsd_xm(as, xmm, home_mem(value->home));
  else {
    x64_movd_xr(as, W8, xmm, (Reg)value->reg);
    return xmm;
  }
  if (slot >= 0) note_copy_xmm(l, xmm, slot);
  if (l->copy_xmm[xmm]) return xmm;
  uint16_t home = value->where == IN_HOME ? value->home : 0;
  define_xmm(l, ref, xmm);
  value->home = home;
  return xmm;
}

void used(Lower *l, Ref ref)
{
  Value *value = &l->values[ref];
  if (value->uses && --value->uses == 0) drop(l, value);
}

void share(Lower *l, Ref ref, Ref from)
{
  Value *value = &l->values[from];
  if (value->where == IN_SUM) use_reg(l, from);
  if (value->where == IN_CONST) define_const(l, ref, value->k);
  else if (value->where == IN_SLOT) define_slot(l, ref, value->k);
  else if (value->uses == 1 && (value->where == IN_REG || value->where == IN_XMM)) {
    Value old = *value;                                // the last use: the register changes hands
    used(l, from);
    if (old.where == IN_REG) define_reg(l, ref, (Reg)old.reg);
    else define_xmm(l, ref, old.reg);
    return;
  } else if (value->where == IN_XMM) {
    Xmm xmm = new_xmm(l);
    x64_movaps_xx(&l->as, xmm, value->reg);
    define_xmm(l, ref, xmm);
  } else {
    Reg reg = new_reg(l);
    copy_to(l, reg, from, false, false);
    define_reg(l, ref, reg);
  }
  used(l, from);
}

bool extends_for_free(const Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref), *from = ins_at(l, ins->a);
  if (ins->op != IR_SEXT || from->op != IR_SHR || from->type != IR_I32 || l->amounts[ins->a]) return false;
  const IrIns *by = ins_at(l, from->b);                // shifted to the right by 1 to 31 it is not negative, and zeros are above it
  return by->op == IR_CONST && by->imm >= 1 && by->imm <= 31;
}

// The `set` behind `ref` that alone takes what it gives, or its bits.
static const IrIns *next_set(const Lower *l, Ref ref)
{
  const Ir *ir = l->ir;
  for (; ref + 1 < ir->count && ir->ins[ref + 1].a == ref && l->values[ref].uses == 1; ref++) {
    unsigned op = ir->ins[ref + 1].op;
    if (op != IR_BITCAST && op != IR_BOX && (op != IR_TRUNC || ir->ins[ref + 1].type != IR_I32) && !extends_for_free(l, ref + 1)) break;
  }
  const IrIns *next = &ir->ins[ref + 1];
  return ref + 1 < ir->count && next->op == IR_SET && next->a == ref && l->values[ref].uses == 1 && !l->amounts[ref + 1] ? next : NULL;
}

// The pin of the slot that the next instruction sets to `ref` and nobody reads any more.
static const JitPin *wanted_pin(const Lower *l, Ref ref)
{
  const IrIns *next = next_set(l, ref);
  if (!next) return NULL;
  for (unsigned i = 0; i < l->alias_count; i++) {
    const Value *other = &l->values[l->aliases[i]];
    if (other->uses && other->where == IN_SLOT && other->k == next->imm) return NULL;
  }
  return pin_at(l, next->imm);
}

// The bit in l->boxed of a slot whose row has pins in XMM registers.
static uint64_t boxed_bit(const Lower *l, int64_t slot)
{
  bool floats = slot >> 8 < PIN_ROWS && l->jit->xmm_rows == 1u << (slot >> 8);
  return floats && (slot & 255) < 64 ? 1ull << (slot & 255) : 0;
}

bool slot_is_boxed(const Lower *l, Ref ref)
{
  return l->values[ref].where == IN_SLOT && l->boxed & boxed_bit(l, l->values[ref].k);
}

bool wants_xmm(const Lower *l, Ref ref)
{
  const IrIns *next = next_set(l, ref);
  return next && next->imm >> 8 < PIN_ROWS && l->jit->xmm_rows >> (next->imm >> 8) & 1 && (!pin_at(l, next->imm) || pin_at(l, next->imm)->xmm);
}

bool in_xmm_now(const Lower *l, Ref ref)
{
  const Value *value = &l->values[ref];
  const JitPin *pin = value->where == IN_SLOT ? pin_at(l, value->k) : NULL;
  return value->where == IN_XMM || (pin && pin->xmm) || (value->where == IN_SLOT && copy_in_xmm(l, value->k) >= 0);
}

Reg result_reg(Lower *l, Ref ref, Reg first)
{
  const JitPin *pin = wanted_pin(l, ref);
  if (pin && !pin->xmm) return (Reg)pin->reg;
  if (!(l->free_regs >> first & 1) || l->copy[first]) return new_reg(l);
  l->locked_regs |= 1u << first;
  return first;
}

Xmm result_xmm(Lower *l, Ref ref, Xmm first)
{
  const JitPin *pin = wanted_pin(l, ref);
  if (pin && pin->xmm) return pin->reg;
  if (!(l->free_xmms >> first & 1) || l->copy_xmm[first]) return new_xmm(l);
  l->locked_xmms |= 1u << first;
  return first;
}

static void store_slot(Lower *l, int64_t slot, Ref ref)
{
  Asm *as = &l->as;
  unsigned bits = ir_bits(ir_slot(l->jit->guest, slot)->type);
  Width w = bits <= 8 ? W1 : (Width)(bits / 8);
  int64_t k;
  if (is_constant(l, ref, &k) && k >= INT32_MIN && k <= INT32_MAX) {
    x64_mov_mi(as, w, slot_mem(l, slot), bits == 1 ? (int32_t)k & 1 : (int32_t)k);
  } else if (in_xmm_now(l, ref)) {
    Xmm xmm = use_xmm(l, ref);
    bits == 64 ? x64_movsd_mx(as, slot_mem(l, slot), xmm) : x64_movss_mx(as, slot_mem(l, slot), xmm);
    if (l->free_xmms >> xmm & 1 || l->in_xmm[xmm]) note_copy_xmm(l, xmm, slot);
  } else {
    Reg reg = use_reg(l, ref);
    x64_mov_mr(as, w, slot_mem(l, slot), reg);
    if (l->free_regs >> reg & 1 || l->in_reg[reg]) note_copy(l, reg, slot);          // no pin
  }
}

// Addresses near the window ----------------------------------------------------------------------------

static int find_near(const Lower *l, int64_t slot)
{
  for (unsigned i = 0; i < l->near_count; i++)
    if (l->near[i].slot == slot) return (int)i;
  return -1;
}

bool slot_is_near(const Lower *l, int64_t slot) { return find_near(l, slot) >= 0; }

static void forget_near(Lower *l, int64_t slot)
{
  int i = find_near(l, slot);
  if (i >= 0) l->near[i] = l->near[--l->near_count];
}

void note_near(Lower *l, int64_t slot, int32_t slack)
{
  if (slot < 0) return;
  forget_near(l, slot);
  if (l->near_count == NEAR_MOST) l->near[0] = l->near[--l->near_count];
  l->near[l->near_count].slot = slot;
  l->near[l->near_count++].slack = slack;
}

void note_moved(Lower *l, Ref ref, Ref base, int64_t k)
{
  const Value *value = &l->values[base];
  int i = value->where == IN_SLOT ? find_near(l, value->k) : -1;
  if (i < 0 || k <= -NEAR || k >= NEAR || l->near[i].slack + (k < 0 ? -k : k) >= NEAR) return;
  l->moved = ref;
  l->moved_slack = l->near[i].slack + (int32_t)(k < 0 ? -k : k);
}

void write_slot(Lower *l, int64_t slot, Ref ref)
{
  Value *value = &l->values[ref];
  if (value->where == IN_SLOT && value->k == slot) {
    used(l, ref);
    return;
  }
  for (unsigned i = 0; i < l->alias_count; i++) {
    Ref other = l->aliases[i];
    if (l->values[other].uses && l->values[other].where == IN_SLOT && l->values[other].k == slot) detach(l, other);
  }
  forget_slot(l, slot);
  forget_near(l, slot);
  l->boxed &= ~boxed_bit(l, slot);
  if (ins_at(l, ref)->op == IR_BOX) l->boxed |= boxed_bit(l, slot);
  if (ref == l->moved) note_near(l, slot, l->moved_slack);
  const JitPin *pin = pin_at(l, slot);
  if (!pin) store_slot(l, slot, ref);
  else if (pin->xmm) {
    Xmm xmm = use_xmm(l, ref);
    if (xmm != pin->reg) x64_movaps_xx(&l->as, pin->reg, xmm);
  } else copy_to(l, (Reg)pin->reg, ref, true, false);
  used(l, ref);
}

void spill_all(Lower *l, bool slots_too)
{
  for (unsigned i = 0; i < l->alias_count && slots_too; i++) {
    Ref ref = l->aliases[i];
    if (l->values[ref].uses && l->values[ref].where == IN_SLOT) detach(l, ref);
  }
  if (slots_too) l->alias_count = l->near_count = 0, l->boxed = 0;
  for (unsigned i = 0; i < 16; i++) {
    if (l->in_reg[i]) spill_reg(l, (Reg)i);
    if (l->in_xmm[i]) spill_xmm(l, (Xmm)i);
    forget_copy(l, (Reg)i);
    forget_copy_xmm(l, (Xmm)i);
  }
}

void end_instruction(Lower *l)
{
  l->locked_regs = l->locked_xmms = 0;
}
