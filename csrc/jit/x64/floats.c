// floats: emitters of floating-point operations: exact in result and flags by the same argument as base/fp.h.
// SPDX-License-Identifier: MIT
//
// MXCSR holds the state's rounding mode and collects the flags. An operation that rounds as the state says is one instruction and a
// test of its result for a NaN, which is then made the canonical one behind the block; every other goes through C.
#include "jit/x64/lower_int.h"

typedef void EmitXX(Asm *as, Xmm dst, Xmm src);

// The two-operand form: dst is a, and must not be b unless the operation commutes.
static EmitXX *const two_operand[][2] = {
  { x64_addss_xx, x64_addsd_xx }, { x64_subss_xx, x64_subsd_xx }, { x64_mulss_xx, x64_mulsd_xx }, { x64_divss_xx, x64_divsd_xx }, { x64_sqrtss_xx, x64_sqrtsd_xx },
};
typedef void EmitXXX(Asm *as, Xmm dst, Xmm a, Xmm b);
static EmitXXX *const three_operand[][2] = {
  { x64_vaddss_xxx, x64_vaddsd_xxx }, { x64_vsubss_xxx, x64_vsubsd_xxx }, { x64_vmulss_xxx, x64_vmulsd_xxx }, { x64_vdivss_xxx, x64_vdivsd_xxx },
  { x64_vsqrtss_xxx, x64_vsqrtsd_xxx },
};
_Static_assert(IR_FSQRT == IR_FADD + 4, "add sub mul div sqrt");

// Whether an operation rounds by what MXCSR says now.
static bool rounds_by_host(Lower *l, Ref ref)
{
  bool host = ins_at(l, ref)->aux == ROUND_STATE && !l->rounding_changed;
  l->rounds |= host;
  return host;
}

// A result that is a NaN becomes the canonical one.
static void canonical(Lower *l, Xmm dst, bool is_double)
{
  is_double ? x64_ucomisd_xx(&l->as, dst, dst) : x64_ucomiss_xx(&l->as, dst, dst);
  Site nan = x64_jcc(&l->as, CC_P);
  add_stub(l, (Stub){ .from = nan, .back = l->as.at, .kind = is_double ? STUB_NAN_D : STUB_NAN_S, .reg = dst });
}

static void emit_arithmetic(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  if (!rounds_by_host(l, ref)) {
    emit_by_call(l, ref);
    return;
  }
  bool is_double = ins->type == IR_F64, one = ins->op == IR_FSQRT;
  unsigned which = ins->op - IR_FADD;
  Xmm a = use_xmm(l, ins->a), b = one ? a : use_xmm(l, ins->b);
  used(l, ins->a);
  if (!one) used(l, ins->b);
  Xmm dst;
  if (l->jit->features >> FEATURE_AVX & 1) {
    dst = result_xmm(l, ref, a);
    three_operand[which][is_double](as, dst, a, b);
  } else {
    dst = new_xmm(l);
    if (!one) x64_movaps_xx(as, dst, a);
    two_operand[which][is_double](as, dst, b);
  }
  canonical(l, dst, is_double);
  define_xmm(l, ref, dst);
}

// A NaN of a product inf * 0 and a quiet NaN is invalid, which the host may not say: C does it again, with a NaN as the summand, which
// gives the same NaN and the flag that the product raises.
static void emit_fma(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  bool is_double = ins->type == IR_F64;
  if (!(l->jit->features >> FEATURE_FMA & 1) || !rounds_by_host(l, ref)) {
    emit_by_call(l, ref);
    return;
  }
  Xmm a = use_xmm(l, ins->a), b = use_xmm(l, ins->b), c = use_xmm(l, ins->c);
  used(l, ins->a);
  used(l, ins->b);
  used(l, ins->c);
  Xmm dst = result_xmm(l, ref, c);
  if (dst != c && (dst == a || dst == b)) dst = new_xmm(l);
  if (dst != c) x64_movaps_xx(as, dst, c);
  is_double ? x64_vfmadd231sd_xxx(as, dst, a, b) : x64_vfmadd231ss_xxx(as, dst, a, b);
  is_double ? x64_ucomisd_xx(as, dst, dst) : x64_ucomiss_xx(as, dst, dst);
  Site nan = x64_jcc(as, CC_P);
  add_site(l, ref, nan, (JitSite){ .operand = { SITE_XMM + a, SITE_XMM + b, SITE_CONST }, .k = -1, .to = SITE_XMM + dst });
  define_xmm(l, ref, dst);
}

// ucomis is invalid for signalling NaNs alone, as minimum and maximum are. NaNs and equals, which may be zeros of either sign, are C's.
static void emit_pick(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  bool is_double = ins->type == IR_F64;
  Xmm a = use_xmm(l, ins->a), b = use_xmm(l, ins->b), dst = new_xmm(l);
  used(l, ins->a);
  used(l, ins->b);
  is_double ? x64_ucomisd_xx(as, a, b) : x64_ucomiss_xx(as, a, b);
  x64_movaps_xx(as, dst, a);
  Site odd = x64_jcc(as, CC_E);                        // equal or unordered
  if (ins->op == IR_FMIN) is_double ? x64_minsd_xx(as, dst, b) : x64_minss_xx(as, dst, b);
  else is_double ? x64_maxsd_xx(as, dst, b) : x64_maxss_xx(as, dst, b);
  add_site(l, ref, odd, (JitSite){ .operand = { SITE_XMM + a, SITE_XMM + b }, .to = SITE_XMM + dst });
  define_xmm(l, ref, dst);
}

// What does not fit gives the least integer, with the flag for invalid alone; then C does it again.
static void emit_to_integer(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  bool is_double = ins_at(l, ins->a)->type == IR_F64, truncates = ins->aux == ROUND_ZERO;
  if (!truncates && !rounds_by_host(l, ref)) {
    emit_by_call(l, ref);
    return;
  }
  Width w = width_of(ins->type);
  Xmm a = use_xmm(l, ins->a);
  Reg dst = new_reg(l), least = new_reg(l);
  used(l, ins->a);
  if (truncates) is_double ? x64_cvttsd2si_rx(as, w, dst, a) : x64_cvttss2si_rx(as, w, dst, a);
  else is_double ? x64_cvtsd2si_rx(as, w, dst, a) : x64_cvtss2si_rx(as, w, dst, a);
  x64_mov_rr(as, w, least, dst);
  x64_sub_ri(as, w, least, 1);
  Site beyond = x64_jcc(as, CC_O);                     // only the least integer overflows
  add_site(l, ref, beyond, (JitSite){ .operand = { SITE_XMM + a }, .to = (uint8_t)dst });
  define_reg(l, ref, dst);
}

static void emit_from_integer(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  unsigned from = ins_at(l, ins->a)->type;
  bool is_double = ins->type == IR_F64, exact = is_double && from == IR_I32, is_signed = ins->op == IR_ITOF;
  if ((!is_signed && from == IR_I64) || (!exact && !rounds_by_host(l, ref))) {
    emit_by_call(l, ref);
    return;
  }
  Reg a = use_reg(l, ins->a);
  Width w = width_of(from);
  if (!is_signed) {                                    // 32 bits with zeros above, as 64
    Reg wide = new_reg(l);
    x64_mov_rr(as, W4, wide, a);
    a = wide;
    w = W8;
  }
  used(l, ins->a);
  Xmm dst = new_xmm(l);
  x64_xorps_xx(as, dst, dst);                          // the upper half is not waited for
  is_double ? x64_cvtsi2sd_xr(as, w, dst, a) : x64_cvtsi2ss_xr(as, w, dst, a);
  define_xmm(l, ref, dst);
}

static void emit_other_float(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  bool to_double = ins->type == IR_F64;
  if (!to_double && !rounds_by_host(l, ref)) {
    emit_by_call(l, ref);
    return;
  }
  Xmm a = use_xmm(l, ins->a), dst = new_xmm(l);
  used(l, ins->a);
  to_double ? x64_cvtss2sd_xx(as, dst, a) : x64_cvtsd2ss_xx(as, dst, a);
  canonical(l, dst, to_double);
  define_xmm(l, ref, dst);
}

void emit_nan(Lower *l, const Stub *stub)
{
  Asm *as = &l->as;
  x64_movsd_xm(as, stub->reg, x64_mem(RSP, stub->kind == STUB_NAN_D ? FRAME_NAN_D : FRAME_NAN_S));
  Site back = x64_jmp(as);
  if (!as->full) x64_patch(back, stub->back);
}

// ucomis is quiet, comis signals; comis b, a leaves "above" for a < b, "above or equal" for a <= b, neither for a NaN.
static void emit_compare(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  bool is_double = ins_at(l, ins->a)->type == IR_F64;
  Xmm a = use_xmm(l, ins->a), b = use_xmm(l, ins->b);
  Reg dst = new_reg(l);
  if (ins->op == IR_FEQ) {
    Reg ordered = new_reg(l);
    is_double ? x64_ucomisd_xx(as, a, b) : x64_ucomiss_xx(as, a, b);
    x64_set_r(as, CC_E, dst);
    x64_set_r(as, CC_NP, ordered);
    x64_and_rr(as, W4, dst, ordered);
  } else {
    is_double ? x64_comisd_xx(as, b, a) : x64_comiss_xx(as, b, a);
    x64_set_r(as, ins->op == IR_FLT ? CC_A : CC_AE, dst);
  }
  x64_movzx8_rr(as, W4, dst, dst);
  used(l, ins->a);
  used(l, ins->b);
  define_reg(l, ref, dst);
}

static void emit_box(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  Xmm a = use_xmm(l, ins->a);
  used(l, ins->a);
  Xmm dst = result_xmm(l, ref, a);
  if (dst != a) x64_movaps_xx(&l->as, dst, a);
  x64_orps_xx(&l->as, dst, XMM_BOX);
  define_xmm(l, ref, dst);
}

static void unbox_in_reg(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  Reg dst = new_reg(l), other = new_reg(l);
  copy_to(l, dst, ins->a, false, false);
  used(l, ins->a);
  x64_mov_rr(as, W8, other, dst);
  x64_sar_ri(as, W8, other, 32);
  x64_cmp_ri(as, W4, other, -1);
  x64_load_constant(as, other, 0x7fc00000u);           // mov: the flags stay
  x64_cmov_rr(as, CC_NE, W4, dst, other);
  define_reg(l, ref, dst);
}

// What was boxed in this block is the slot itself; else one test says that the upper half is ones (and a site what it is if not).
static void emit_unbox(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  if (slot_is_boxed(l, ins->a)) {
    share(l, ref, ins->a);
    return;
  }
  if (l->values[ins->a].where != IN_SLOT || !(l->jit->features >> FEATURE_SSE41 & 1)) {
    unbox_in_reg(l, ref);
    return;
  }
  Xmm a = use_xmm(l, ins->a), dst = new_xmm(l);
  used(l, ins->a);
  x64_movaps_xx(as, dst, a);
  x64_ptest_xx(as, a, XMM_BOX);                        // carry: there is no bit of the second that the first has not
  add_site(l, ref, x64_jcc(as, CC_AE), (JitSite){ .operand = { SITE_XMM + a }, .to = SITE_XMM + dst });
  define_xmm(l, ref, dst);
}

Emit *const emit_float[IR_OPS] = {
  [IR_FADD] = emit_arithmetic, [IR_FSUB] = emit_arithmetic, [IR_FMUL] = emit_arithmetic, [IR_FDIV] = emit_arithmetic, [IR_FSQRT] = emit_arithmetic,
  [IR_FMA] = emit_fma, [IR_FMIN] = emit_pick, [IR_FMAX] = emit_pick, [IR_FEQ] = emit_compare, [IR_FLT] = emit_compare, [IR_FLE] = emit_compare,
  [IR_FTOI] = emit_to_integer, [IR_FTOU] = emit_by_call, [IR_ITOF] = emit_from_integer, [IR_UTOF] = emit_from_integer, [IR_FTOF] = emit_other_float,
  [IR_BOX] = emit_box, [IR_UNBOX] = emit_unbox,
};
