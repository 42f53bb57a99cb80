// integers: emitters of integer operations.
// SPDX-License-Identifier: MIT
#include "jit/x64/lower_int.h"

// a op b, dst being any register, one of theirs too. rri: a constant of 32 bits.
typedef struct EmitBinary {
  bool commutes;
  void (*rrr)(Asm *as, Width w, Reg dst, Reg a, Reg b);
  void (*rri)(Asm *as, Width w, Reg dst, Reg a, int32_t k);
} EmitBinary;

static void move(Asm *as, Width w, Reg dst, Reg src)
{
  if (dst != src) x64_mov_rr(as, w, dst, src);
}

// x64 ADD overwrites its left operand; LEA writes a third register but no flags.
static void add_rrr(Asm *as, Width w, Reg dst, Reg a, Reg b)
{
  if (dst == a) x64_add_rr(as, w, dst, b);
  else if (dst == b) x64_add_rr(as, w, dst, a);
  else x64_lea_rm(as, w, dst, x64_index(a, b, 0, 0));
}

static void add_rri(Asm *as, Width w, Reg dst, Reg a, int32_t k)
{
  if (dst == a) x64_add_ri(as, w, dst, k);
  else x64_lea_rm(as, w, dst, x64_mem(a, k));
}

static void sub_rrr(Asm *as, Width w, Reg dst, Reg a, Reg b)
{
  if (dst == b && dst != a) {
    x64_neg_r(as, w, dst);
    x64_add_rr(as, w, dst, a);
    return;
  }
  move(as, w, dst, a);
  x64_sub_rr(as, w, dst, b);
}

static void sub_rri(Asm *as, Width w, Reg dst, Reg a, int32_t k)
{
  if (k == INT32_MIN || dst == a) {
    move(as, w, dst, a);
    x64_sub_ri(as, w, dst, k);
  } else x64_lea_rm(as, w, dst, x64_mem(a, -k));
}

#define COMMUTING(op) \
  static void op##_rrr(Asm *as, Width w, Reg dst, Reg a, Reg b) \
  { \
    if (dst == b) b = a; \
    else move(as, w, dst, a); \
    x64_##op##_rr(as, w, dst, b); \
  }
#define WITH_CONSTANT(op) \
  static void op##_rri(Asm *as, Width w, Reg dst, Reg a, int32_t k) \
  { \
    move(as, w, dst, a); \
    x64_##op##_ri(as, w, dst, k); \
  }
COMMUTING(and) WITH_CONSTANT(and)
COMMUTING(or)  WITH_CONSTANT(or)
COMMUTING(xor) WITH_CONSTANT(xor)
COMMUTING(imul)

static void imul_rri(Asm *as, Width w, Reg dst, Reg a, int32_t k) { x64_imul_rri(as, w, dst, a, k); }

static const EmitBinary binaries[IR_OPS] = {
  [IR_ADD] = { true, add_rrr, add_rri },  [IR_SUB] = { false, sub_rrr, sub_rri }, [IR_MUL] = { true, imul_rrr, imul_rri },
  [IR_AND] = { true, and_rrr, and_rri },  [IR_OR] = { true, or_rrr, or_rri },     [IR_XOR] = { true, xor_rrr, xor_rri },
};

// Whether what `ref` gives is an address that the next load or store takes, and nothing else.
static bool is_address(const Lower *l, Ref ref)
{
  if (l->values[ref].uses != 1 || !(l->jit->window.there || l->jit->tlb.there)) return false;
  for (Ref next = ref + 1; next < l->ir->count && next < ref + 5; next++) {
    const IrIns *ins = ins_at(l, next);
    if ((ins->op == IR_LOAD || ins->op == IR_STORE) && ins->a == ref) return true;
    if (ins->op == IR_INSN) return false;
  }
  return false;
}

static void emit_binary(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  unsigned op = ins->op;
  if (ins->type == IR_I1) {                             // modulo 2: sums are xor, products and
    if (op == IR_ADD || op == IR_SUB) op = IR_XOR;
    if (op == IR_MUL) op = IR_AND;
  }
  const EmitBinary *record = &binaries[op];
  Width w = width_of(ins->type);
  Ref left = ins->a, right = ins->b;
  int64_t k;
  if (record->commutes && is_constant(l, left, &k) && !is_constant(l, right, &k)) left = ins->b, right = ins->a;
  bool constant = is_constant(l, right, &k) && k >= INT32_MIN && k <= INT32_MAX;
  if (constant && ins->op == IR_ADD && ins->type == IR_I64) {
    if (l->jit->window.there) note_moved(l, ref, left, k);
    const Value *base = &l->values[left];
    if ((base->where == IN_SLOT || base->where == IN_REG) && is_address(l, ref)) {
      used(l, right);
      define_sum(l, ref, k);
      return;
    }
  }
  Reg a = use_reg(l, left);
  Reg b = constant ? a : use_reg(l, right);
  used(l, ins->a);
  used(l, ins->b);
  Reg dst = result_reg(l, ref, a);
  if (constant) record->rri(&l->as, w, dst, a, ins->type == IR_I1 ? (int32_t)k & 1 : (int32_t)k);
  else record->rrr(&l->as, w, dst, a, b);
  define_reg(l, ref, dst);
}

// Shifts --------------------------------------------------------------------------------------------

static void shift_ri(Asm *as, unsigned op, Width w, Reg dst, unsigned k)
{
  if (op == IR_SHL) x64_shl_ri(as, w, dst, k);
  else if (op == IR_SHR) x64_shr_ri(as, w, dst, k);
  else x64_sar_ri(as, w, dst, k);
}

static void shift_constant(Lower *l, Ref ref, uint64_t k)
{
  const IrIns *ins = ins_at(l, ref);
  unsigned bits = ir_bits(ins->type);
  bool sar = ins->op == IR_SAR;
  if (k >= bits && !sar) {
    used(l, ins->a);
    used(l, ins->b);
    define_const(l, ref, 0);
    return;
  }
  Reg a = ins->op == IR_SHL ? use_reg(l, ins->a) : use_clean(l, ins->a, sar);
  used(l, ins->a);
  used(l, ins->b);
  Reg dst = result_reg(l, ref, a);
  Width w = width_of(ins->type);
  move(&l->as, w, dst, a);
  if (k >= bits) k = bits - 1;
  if (k) shift_ri(&l->as, ins->op, w, dst, (unsigned)k);
  define_reg(l, ref, dst);
}

// dst = a shifted by the low bits of n, the host masking. cl must be free without BMI2.
static void shift_variable(Lower *l, unsigned op, Width w, Reg dst, Reg a, Reg n)
{
  Asm *as = &l->as;
  if (l->jit->features >> FEATURE_BMI2 & 1) {
    if (op == IR_SHL) x64_shlx_rrr(as, w, dst, a, n);
    else if (op == IR_SHR) x64_shrx_rrr(as, w, dst, a, n);
    else x64_sarx_rrr(as, w, dst, a, n);
    return;
  }
  move(as, W4, RCX, n);
  move(as, w, dst, a);
  if (op == IR_SHL) x64_shl_rc(as, w, dst);
  else if (op == IR_SHR) x64_shr_rc(as, w, dst);
  else x64_sar_rc(as, w, dst);
}

static void emit_shift(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  int64_t k;
  if (ins->type == IR_I1) {
    emit_by_call(l, ref);
    return;
  }
  Ref masked = l->amounts[ref], by = masked ? masked : ins->b;
  if (!masked && is_constant(l, by, &k)) {
    unsigned width = ir_bits(ins_at(l, by)->type);
    shift_constant(l, ref, width < 64 ? (uint64_t)k & ((1ull << width) - 1) : (uint64_t)k);
    return;
  }
  if (!(l->jit->features >> FEATURE_BMI2 & 1)) take_reg(l, RCX);
  Width w = width_of(ins->type);
  Reg a = ins->op == IR_SHL ? use_reg(l, ins->a) : use_clean(l, ins->a, ins->op == IR_SAR);
  Reg n = masked ? use_reg(l, by) : use_clean(l, by, false);
  Reg dst = new_reg(l);
  shift_variable(l, ins->op, w, dst, a, n);
  if (!masked) {                                        // nothing, or copies of the sign, by the width or more
    Width nw = width_of(ins_at(l, by)->type);
    if (ins->op == IR_SAR) {
      Reg sign = l->jit->features >> FEATURE_BMI2 & 1 ? new_reg(l) : RCX;
      x64_mov_rr(as, w, sign, a);
      x64_sar_ri(as, w, sign, 8 * w - 1);
      x64_cmp_ri(as, nw, n, 8 * w);
      x64_cmov_rr(as, CC_AE, w, dst, sign);
    } else {
      Reg keep = l->jit->features >> FEATURE_BMI2 & 1 ? new_reg(l) : RCX;
      x64_cmp_ri(as, nw, n, 8 * w);
      x64_sbb_rr(as, w, keep, keep);
      x64_and_rr(as, w, dst, keep);
    }
  }
  used(l, ins->a);
  used(l, by);
  define_reg(l, ref, dst);
}

static void emit_rotate(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  if (ins->type == IR_I1) {
    emit_by_call(l, ref);
    return;
  }
  take_reg(l, RCX);
  Width w = (Width)(ir_bits(ins->type) / 8);
  int64_t k;
  Reg a = use_reg(l, ins->a), dst = new_reg(l);
  move(as, W8, dst, a);
  if (is_constant(l, ins->b, &k)) ins->op == IR_ROL ? x64_rol_ri(as, w, dst, (unsigned)k % (8 * w)) : x64_ror_ri(as, w, dst, (unsigned)k % (8 * w));
  else {
    copy_to(l, RCX, ins->b, false, true);               // widths divide 256, and the host's mask
    ins->op == IR_ROL ? x64_rol_rc(as, w, dst) : x64_ror_rc(as, w, dst);
  }
  used(l, ins->a);
  used(l, ins->b);
  define_reg(l, ref, dst);
}

// Products and quotients ----------------------------------------------------------------------------

// Puts the operands into rax and rcx, and takes rdx.
static void operands_fixed(Lower *l, Ref ref, bool is_signed)
{
  const IrIns *ins = ins_at(l, ref);
  take_reg(l, RAX);
  take_reg(l, RCX);
  take_reg(l, RDX);
  copy_to(l, RAX, ins->a, is_signed, true);
  copy_to(l, RCX, ins->b, is_signed, true);
  used(l, ins->a);
  used(l, ins->b);
}

static void emit_high(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  Width w = width_of(ins->type);
  operands_fixed(l, ref, false);
  if (ins->op == IR_MULHS) x64_imul_r(as, w, RCX);
  else if (ins->op == IR_MULHU) x64_mul_r(as, w, RCX);
  else {                                                // unsigned, less b where a is negative
    Reg sign = new_reg(l);
    x64_mov_rr(as, w, sign, RAX);
    x64_sar_ri(as, w, sign, 8 * w - 1);
    x64_and_rr(as, w, sign, RCX);
    x64_mul_r(as, w, RCX);
    x64_sub_rr(as, w, RDX, sign);
  }
  define_reg(l, ref, RDX);
}

static void emit_divide(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  bool is_signed = ins->op == IR_DIVS || ins->op == IR_REMS, rest = ins->op == IR_REMU || ins->op == IR_REMS;
  if (ins->type == IR_I1) {
    emit_by_call(l, ref);
    return;
  }
  Width w = width_of(ins->type);
  operands_fixed(l, ref, is_signed);
  Site minus_one = NULL;
  x64_test_rr(as, w, RCX, RCX);
  Site zero = x64_jcc(as, CC_E);
  if (is_signed) {
    x64_cmp_ri(as, w, RCX, -1);
    minus_one = x64_jcc(as, CC_E);
    x64_cqo(as, w);
    x64_idiv_r(as, w, RCX);
  } else {
    x64_xor_rr(as, W4, RDX, RDX);
    x64_div_r(as, w, RCX);
  }
  Site done = x64_jmp(as), also = NULL;
  if (minus_one) {
    x64_bind(as, minus_one);
    x64_neg_r(as, w, RAX);
    x64_xor_rr(as, W4, RDX, RDX);
    also = x64_jmp(as);
  }
  x64_bind(as, zero);
  x64_mov_rr(as, W8, RDX, RAX);
  x64_mov_ri(as, W8, RAX, -1);
  x64_bind(as, done);
  if (also) x64_bind(as, also);
  define_reg(l, ref, rest ? RDX : RAX);
}

// One operand ---------------------------------------------------------------------------------------

static void emit_not_neg(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  Width w = width_of(ins->type);
  Reg a = use_reg(l, ins->a);
  used(l, ins->a);
  Reg dst = result_reg(l, ref, a);
  move(&l->as, w, dst, a);
  if (ins->type == IR_I1) ins->op == IR_NOT ? x64_xor_ri(&l->as, W4, dst, 1) : (void)0;
  else if (ins->op == IR_NOT) x64_not_r(&l->as, w, dst);
  else x64_neg_r(&l->as, w, dst);
  define_reg(l, ref, dst);
}

// Counts of 8 and 16 bits are made in 32.
static void emit_count(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  uint32_t features = l->jit->features;
  unsigned bits = ir_bits(ins->type);
  unsigned feature = ins->op == IR_POPCOUNT ? FEATURE_POPCNT : ins->op == IR_CLZ ? FEATURE_LZCNT : FEATURE_BMI1;
  if (bits == 1 || !(features >> feature & 1)) {
    emit_by_call(l, ref);
    return;
  }
  Width w = width_of(ins->type);
  Reg a = use_clean(l, ins->a, false), dst = new_reg(l);
  if (ins->op == IR_POPCOUNT) x64_popcnt_rr(as, w, dst, a);
  else if (ins->op == IR_CLZ) x64_lzcnt_rr(as, w, dst, a);
  else {
    if (bits < 32) {                                    // a one above stops the count
      x64_mov_rr(as, W4, dst, a);
      x64_or_ri(as, W4, dst, 1 << bits);
      a = dst;
    }
    x64_tzcnt_rr(as, w, dst, a);
  }
  if (ins->op == IR_CLZ && bits < 32) x64_sub_ri(as, W4, dst, (int32_t)(32 - bits));
  used(l, ins->a);
  define_reg(l, ref, dst);
}

static void emit_bswap(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  Reg a = use_reg(l, ins->a);
  used(l, ins->a);
  Reg dst = result_reg(l, ref, a);
  move(&l->as, W8, dst, a);
  if (ins->type == IR_I16) x64_ror_ri(&l->as, W2, dst, 8);
  else x64_bswap_r(&l->as, width_of(ins->type), dst);
  define_reg(l, ref, dst);
}

static void emit_extend(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  unsigned from = ins_at(l, ins->a)->type;
  int64_t k;
  if (is_constant(l, ins->a, &k)) {
    unsigned bits = ir_bits(from);
    used(l, ins->a);
    if (bits == 1) k = -k;                              // sign-extended, as the others are
    define_const(l, ref, ins->op == IR_ZEXT ? (int64_t)((uint64_t)k & (~(uint64_t)0 >> (64 - bits))) : k);
    return;
  }
  if ((ins->op == IR_ZEXT && from == IR_I1) || extends_for_free(l, ref)) {
    share(l, ref, ins->a);
    return;
  }
  Reg a = use_reg(l, ins->a);
  used(l, ins->a);
  Reg dst = result_reg(l, ref, a);
  bool zeros = ins->op == IR_ZEXT;
  if (from == IR_I8) zeros ? x64_movzx8_rr(as, W4, dst, a) : x64_movsx8_rr(as, W8, dst, a);
  else if (from == IR_I16) zeros ? x64_movzx16_rr(as, W4, dst, a) : x64_movsx16_rr(as, W8, dst, a);
  else if (from == IR_I32) zeros ? x64_mov_rr(as, W4, dst, a) : x64_movsx32_rr(as, W8, dst, a);
  else {                                                // sext of i1
    move(as, W4, dst, a);
    x64_neg_r(as, W8, dst);
  }
  define_reg(l, ref, dst);
}

static void emit_trunc(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  if (ir_bits(ins_at(l, ins->a)->type) > 64) {
    refuse(l, "more than 64 bits", ref);
    return;
  }
  if (ins->type != IR_I1 && l->values[ins->a].where != IN_CONST) {
    share(l, ref, ins->a);
    return;
  }
  int64_t k;
  if (is_constant(l, ins->a, &k)) {
    unsigned excess = 64 - ir_bits(ins->type);
    used(l, ins->a);
    define_const(l, ref, (int64_t)((uint64_t)k << excess) >> excess);
    return;
  }
  Reg a = use_reg(l, ins->a);
  used(l, ins->a);
  Reg dst = result_reg(l, ref, a);
  move(&l->as, W4, dst, a);
  x64_and_ri(&l->as, W4, dst, 1);
  define_reg(l, ref, dst);
}

static void emit_bitcast(Lower *l, Ref ref) { share(l, ref, ins_at(l, ref)->a); }

Emit *const emit_integer[IR_OPS] = {
  [IR_ADD] = emit_binary, [IR_SUB] = emit_binary, [IR_MUL] = emit_binary, [IR_AND] = emit_binary, [IR_OR] = emit_binary, [IR_XOR] = emit_binary,
  [IR_SHL] = emit_shift, [IR_SHR] = emit_shift, [IR_SAR] = emit_shift, [IR_ROL] = emit_rotate, [IR_ROR] = emit_rotate,
  [IR_MULHU] = emit_high, [IR_MULHS] = emit_high, [IR_MULHSU] = emit_high,
  [IR_DIVU] = emit_divide, [IR_DIVS] = emit_divide, [IR_REMU] = emit_divide, [IR_REMS] = emit_divide,
  [IR_NOT] = emit_not_neg, [IR_NEG] = emit_not_neg, [IR_CLZ] = emit_count, [IR_CTZ] = emit_count, [IR_POPCOUNT] = emit_count, [IR_BSWAP] = emit_bswap,
  [IR_ZEXT] = emit_extend, [IR_SEXT] = emit_extend, [IR_TRUNC] = emit_trunc, [IR_BITCAST] = emit_bitcast,
};
