// eval: what a block means, step by step: the reference for everything that is made of the IR. Slow and plain.
// SPDX-License-Identifier: MIT
#include "ir/ir.h"
#include "base/fp.h"
#include "mem/window.h"
#include <stdlib.h>
#include <string.h>

// Integers -----------------------------------------------------------------------------------------

static inline uint64_t low64(uint64_t v, unsigned bits) { return v & (~(uint64_t)0 >> (64 - bits)); }
static inline int64_t signed64(uint64_t v, unsigned bits) { return (int64_t)(v << (64 - bits)) >> (64 - bits); }

static uint64_t divide64(unsigned op, unsigned bits, uint64_t a, uint64_t b)
{
  uint64_t x = (uint64_t)signed64(a, bits), y = (uint64_t)signed64(b, bits);
  switch (op) {
  case IR_DIVU: return bits_div_u64(a, b);
  case IR_REMU: return bits_rem_u64(a, b);
  case IR_DIVS: return bits_div_s64(x, y);
  default: return bits_rem_s64(x, y);
  }
}

static uint64_t high64(unsigned op, unsigned bits, uint64_t a, uint64_t b)
{
  i128 x = op == IR_MULHU ? (i128)a : (i128)signed64(a, bits), y = op == IR_MULHS ? (i128)signed64(b, bits) : (i128)b;
  return (uint64_t)((u128)x * (u128)y >> bits);
}

static uint64_t shift64(unsigned op, unsigned bits, uint64_t a, uint64_t n)
{
  switch (op) {
  case IR_SHL: return n < bits ? a << n : 0;
  case IR_SHR: return n < bits ? a >> n : 0;
  case IR_SAR: return (uint64_t)(signed64(a, bits) >> (n < bits ? n : bits - 1));
  }
  n %= bits;
  if (op == IR_ROR) n = (bits - n) % bits;
  return n ? a << n | a >> (bits - n) : a;
}

static uint64_t order64(unsigned op, unsigned from, uint64_t a, uint64_t b)
{
  int64_t x = signed64(a, from), y = signed64(b, from);
  switch (op) {
  case IR_EQ: return a == b;
  case IR_NE: return a != b;
  case IR_LTU: return a < b;
  case IR_LEU: return a <= b;
  case IR_LTS: return x < y;
  default: return x <= y;
  }
}

static uint64_t one64(unsigned op, unsigned bits, unsigned from, uint64_t a)
{
  switch (op) {
  case IR_NOT: return ~a;
  case IR_NEG: return 0 - a;
  case IR_CLZ: return bits_clz64(a, bits);
  case IR_CTZ: return bits_ctz64(a, bits);
  case IR_POPCOUNT: return bits_popcount64(a, bits);
  case IR_BSWAP: return bits_bswap64(a, bits);
  case IR_SEXT: return (uint64_t)signed64(a, from);
  default: return a;                                         // zext, trunc, bitcast
  }
}

uint64_t ir_eval_int(unsigned op, unsigned bits, unsigned from, uint64_t a, uint64_t b)
{
  uint64_t v;
  switch (op) {
  case IR_ADD: v = a + b; break;
  case IR_SUB: v = a - b; break;
  case IR_MUL: v = a * b; break;
  case IR_AND: v = a & b; break;
  case IR_OR:  v = a | b; break;
  case IR_XOR: v = a ^ b; break;
  case IR_MULHU: case IR_MULHS: case IR_MULHSU: v = high64(op, bits, a, b); break;
  case IR_DIVU: case IR_DIVS: case IR_REMU: case IR_REMS: v = divide64(op, bits, a, b); break;
  case IR_SHL: case IR_SHR: case IR_SAR: case IR_ROL: case IR_ROR: v = shift64(op, bits, a, b); break;
  case IR_EQ: case IR_NE: case IR_LTU: case IR_LEU: case IR_LTS: case IR_LES: v = order64(op, from, a, b); break;
  default: v = one64(op, bits, from, a);
  }
  return low64(v, bits);
}

static u128 wide128(unsigned op, u128 a, u128 b)
{
  switch (op) {
  case IR_DIVU: return bits_div_u128(a, b);
  case IR_DIVS: return bits_div_s128(a, b);
  case IR_REMU: return bits_rem_u128(a, b);
  case IR_REMS: return bits_rem_s128(a, b);
  case IR_ROL: return bits_rol128(a, (unsigned)(b % 128), 128);
  case IR_ROR: return bits_ror128(a, (unsigned)(b % 128), 128);
  case IR_CLZ: return bits_clz128(a, 128);
  case IR_CTZ: return bits_ctz128(a, 128);
  case IR_POPCOUNT: return bits_popcount128(a, 128);
  default: return bits_bswap128(a, 128);
  }
}

static unsigned amount(IrValue n)
{
  return n.w[1] | n.w[2] | n.w[3] || n.w[0] > 256 ? 256 : (unsigned)n.w[0];
}

static IrValue compare256(unsigned op, unsigned from, IrValue a, IrValue b)
{
  if (op == IR_LTS || op == IR_LES) {
    a = u256_sext(a, from);
    b = u256_sext(b, from);
  }
  bool less = op == IR_LTU || op == IR_LEU ? u256_ltu(a, b) : u256_lts(a, b), equal = u256_eq(a, b);
  bool holds = op == IR_EQ ? equal : op == IR_NE ? !equal : less || (equal && (op == IR_LEU || op == IR_LES));
  return u256_from(holds);
}

// Integers of more than 64 bits, on either side.
static IrValue eval_wide(unsigned op, unsigned bits, unsigned from, IrValue a, IrValue b)
{
  switch (op) {
  case IR_ADD: return u256_add(a, b);
  case IR_SUB: return u256_sub(a, b);
  case IR_MUL: return u256_mul(a, b);
  case IR_AND: return u256_and(a, b);
  case IR_OR: return u256_or(a, b);
  case IR_XOR: return u256_xor(a, b);
  case IR_NOT: return u256_not(a);
  case IR_NEG: return u256_neg(a);
  case IR_SHL: return amount(b) < bits ? u256_shl(a, amount(b)) : u256_from(0);
  case IR_SHR: return u256_shr(a, amount(b));
  case IR_SAR: return u256_sar(u256_sext(a, bits), amount(b));
  case IR_SEXT: return u256_sext(a, from);
  case IR_ZEXT: case IR_TRUNC: return a;
  case IR_EQ: case IR_NE: case IR_LTU: case IR_LEU: case IR_LTS: case IR_LES: return compare256(op, from, a, b);
  case IR_BSWAP: if (bits == 256) return bits_bswap256(a, 256);
  }
  return u256_from(wide128(op, u256_to_u128(a), u256_to_u128(b)));
}

static IrValue eval_integer(unsigned op, unsigned bits, unsigned from, IrValue a, IrValue b)
{
  bool shifts = op >= IR_SHL && op <= IR_ROR;
  if (bits <= 64 && from <= 64) {
    uint64_t n = b.w[0];
    if (shifts && (b.w[1] | b.w[2] | b.w[3])) n = op == IR_ROL || op == IR_ROR ? n : 64;     // a rotation's width divides 2^64
    return u256_from(ir_eval_int(op, bits, from, a.w[0], n));
  }
  return u256_low(eval_wide(op, bits, from, a, b), bits);
}

// Floats -------------------------------------------------------------------------------------------

static uint64_t to_integer(bool is_signed, bool is_long, bool is_double, uint64_t a, unsigned rm)
{
  if (is_double) {
    if (is_signed) return is_long ? fp_cvt_l_d(a, rm) : fp_cvt_w_d(a, rm);
    return is_long ? fp_cvt_lu_d(a, rm) : fp_cvt_wu_d(a, rm);
  }
  if (is_signed) return is_long ? fp_cvt_l_s((uint32_t)a, rm) : fp_cvt_w_s((uint32_t)a, rm);
  return is_long ? fp_cvt_lu_s((uint32_t)a, rm) : fp_cvt_wu_s((uint32_t)a, rm);
}

static uint64_t pick_or_compare(unsigned op, bool is_double, uint64_t a, uint64_t b)
{
  uint32_t x = (uint32_t)a, y = (uint32_t)b;
  switch (op) {
  case IR_FMIN: return is_double ? fp_min_d(a, b) : fp_min_s(x, y);
  case IR_FMAX: return is_double ? fp_max_d(a, b) : fp_max_s(x, y);
  case IR_FEQ: return is_double ? fp_eq_d(a, b) : fp_eq_s(x, y);
  case IR_FLT: return is_double ? fp_lt_d(a, b) : fp_lt_s(x, y);
  default: return is_double ? fp_le_d(a, b) : fp_le_s(x, y);
  }
}

uint64_t ir_eval_float(unsigned op, unsigned type, unsigned from, unsigned rm, uint64_t a, uint64_t b, uint64_t c)
{
  bool to_double = type == IR_F64;
  uint64_t value;
  switch (op) {
  case IR_FMIN: case IR_FMAX: case IR_FEQ: case IR_FLT: case IR_FLE: value = pick_or_compare(op, from == IR_F64, a, b); break;
  case IR_FTOI: case IR_FTOU: value = to_integer(op == IR_FTOI, type == IR_I64, from == IR_F64, a, rm); break;
  case IR_FTOF: value = fp_static(to_double ? FP_CVT_D_S : FP_CVT_S_D, rm, a, 0, 0); break;
  case IR_ITOF: case IR_UTOF: {
    unsigned kind = (from == IR_I64 ? 2 : 0) + (op == IR_UTOF);
    value = fp_static((enum FpOp)((to_double ? FP_CVT_D_W : FP_CVT_S_W) + kind), rm, a, 0, 0);
    break;
  }
  default: value = fp_static((enum FpOp)((to_double ? FP_ADD_D : FP_ADD_S) + (op - IR_FADD)), rm, a, b, c);
  }
  return low64(value, ir_bits(type));
}
_Static_assert(IR_FMA - IR_FADD == FP_MADD_S - FP_ADD_S && FP_ADD_D == FP_MADD_S + 1, "in one order");
_Static_assert(FP_CVT_S_LU == FP_CVT_S_W + 3 && FP_CVT_D_LU == FP_CVT_D_W + 3, "W WU L LU");

unsigned ir_rounding(unsigned op, unsigned aux, unsigned state)
{
  unsigned rm = ir_info[op].extra == EXTRA_ROUND && aux != ROUND_STATE ? aux : state;
  return rm > ROUND_AWAY ? ROUND_NEAREST : rm;
}

// The host's MXCSR is the guest's for one operation; flags go to the state.
static IrValue float_op(const Ir *ir, const IrIns *ins, uint8_t *state)
{
  const IrValue *values = ir->values;
  unsigned operands = ir_info[ins->op].operands;
  uint32_t saved = fp_mxcsr_read();
  fp_mxcsr_write(fp_mxcsr(ROUND_NEAREST));
  uint64_t value = ir_eval_float(ins->op, ins->type, ir->ins[ins->a].type, ir_rounding(ins->op, ins->aux, state[ir->guest->rounding]),
    values[ins->a].w[0], operands > 1 ? values[ins->b].w[0] : 0, operands > 2 ? values[ins->c].w[0] : 0);
  state[ir->guest->flags] |= (uint8_t)fp_flags();
  fp_mxcsr_write(saved);
  return u256_from(value);
}

// Memory -------------------------------------------------------------------------------------------

static IrValue swapped(IrValue v, unsigned bytes)
{
  return u256_shr(bits_bswap256(v, 256), 256 - 8 * bytes);
}

static bool load(const IrHost *host, IrIns ins, uint64_t address, IrValue *value)
{
  unsigned bytes = 1u << (ins.aux & MEM_SIZE);
  if (!host->load(host->context, address, bytes, value)) return false;
  if (ins.aux & MEM_BIG) *value = swapped(*value, bytes);
  if (ins.aux & MEM_SIGNED) *value = u256_low(u256_sext(*value, 8 * bytes), ir_bits(ins.type));
  return true;
}

static bool store(const IrHost *host, IrIns ins, uint64_t address, IrValue value)
{
  unsigned bytes = 1u << (ins.aux & MEM_SIZE);
  value = u256_low(value, 8 * bytes);
  if (ins.aux & MEM_BIG) value = swapped(value, bytes);
  return host->store(host->context, address, bytes, &value);
}

static uint64_t amo_new(unsigned operation, unsigned bits, uint64_t old, uint64_t v)
{
  bool less = signed64(v, bits) < signed64(old, bits);
  switch (operation) {
  case AMO_SWAP: return v;
  case AMO_ADD: return old + v;
  case AMO_AND: return old & v;
  case AMO_OR: return old | v;
  case AMO_XOR: return old ^ v;
  case AMO_MIN: return less ? v : old;
  case AMO_MAX: return less ? old : v;
  case AMO_MINU: return v < old ? v : old;
  default: return v < old ? old : v;
  }
}

// Atomic accesses have a place to go on from, as memory of a process may vanish under them. False: the host refused.
static bool read_place(const void *place, unsigned bytes, uint64_t *value)
{
  uint32_t narrow;
  if (bytes == 4) WINDOW_LOAD(uint32_t, narrow, place, refused);
  else WINDOW_LOAD(uint64_t, *value, place, refused);
  if (bytes == 4) *value = narrow;
  return true;
refused:
  return false;
}

static bool exchange(void *place, unsigned bytes, uint64_t old, uint64_t wanted, bool *done)
{
  uint32_t old32 = (uint32_t)old;
  uint8_t equal;
  if (bytes == 4) WINDOW_EXCHANGE(uint32_t, place, old32, wanted, equal, refused);
  else WINDOW_EXCHANGE(uint64_t, place, old, wanted, equal, refused);
  *done = equal;
  return true;
refused:
  return false;
}

// The access at `place`. False: the host refused.
static bool atomic_at(const IrHost *host, IrIns ins, void *place, uint64_t operand, IrValue *value)
{
  unsigned bytes = 1u << (ins.aux & MEM_SIZE), bits = 8 * bytes;
  uint64_t old = 0;
  bool done = false;
  if (ins.op == IR_SC) {
    if (*host->reserved == place && !exchange(place, bytes, low64(*host->reserved_value, bits), operand, &done)) return false;
    *host->reserved = NULL;
    *value = u256_from(!done);
    return true;
  }
  if (!read_place(place, bytes, &old)) return false;
  if (ins.op == IR_LR) {
    *host->reserved = place;
    *host->reserved_value = old;
  }
  while (ins.op == IR_AMO && !done)
    if (!exchange(place, bytes, old, amo_new(ins.aux >> 8, bits, old, operand), &done) || (!done && !read_place(place, bytes, &old))) return false;
  *value = u256_from(old);
  if (ins.aux & MEM_SIGNED) *value = u256_low(u256_sext(*value, bits), ir_bits(ins.type));
  return true;
}

static bool atomic_op(const IrHost *host, IrIns ins, uint64_t address, uint64_t operand, IrValue *value)
{
  unsigned bytes = 1u << (ins.aux & MEM_SIZE);
  void *place = host->place(host->context, address, bytes, ins.op != IR_LR);
  if (!place) return false;
  if (atomic_at(host, ins, place, low64(operand, 8 * bytes), value)) return true;
  host->refused(host->context, address, bytes, ins.op != IR_LR);
  return false;
}

bool ir_access(const IrHost *host, IrIns ins, uint64_t address, IrValue operand, IrValue *value)
{
  if (ins.op == IR_LOAD) return load(host, ins, address, value);
  if (ins.op == IR_STORE) return store(host, ins, address, operand);
  return atomic_op(host, ins, address, operand.w[0], value);
}

// Control ------------------------------------------------------------------------------------------

// From a `when` that does not hold, or an `otherwise` that is reached: behind the matching otherwise (if wanted) or end.
static Ref skip(const Ir *ir, Ref ref, bool to_otherwise)
{
  for (unsigned depth = 0;;) {
    unsigned op = ir->ins[++ref].op;
    if (op == IR_WHEN) depth++;
    if (op == IR_OTHERWISE && depth == 0 && to_otherwise) return ref;
    if (op == IR_END && depth-- == 0) return ref;
  }
}

// 0: go on; else one past an UM_IR_*.
static int call(Ir *ir, void *state, uint64_t pc, Ref ref, struct um_ir_exit *exit)
{
  const IrIns *ins = &ir->ins[ref];
  const IrHelper *helper = &ir->guest->helpers[ins->aux];
  IrValue args[HELPER_ARGS] = { { { 0 } } }, results[HELPER_RESULTS] = { { { 0 } } };
  for (unsigned i = 0; i < helper->args; i++) args[i] = ir->values[ir->args[ins->a + i]];
  memcpy((uint8_t *)state + ir->guest->pc, &pc, ir_bytes(ir->guest->address));
  exit->helper = ins->aux;
  if (!helper->fn) return 1 + UM_IR_CALL;
  if (!helper->fn(state, args, results)) return 1 + UM_IR_FAULT;
  for (Ref result = ref + 1; ir->ins[result].op == IR_RESULT; result++)
    ir->values[result] = u256_low(results[ir->ins[result].imm], ir_bits(ir->ins[result].type));
  return 0;
}

// The instructions that leave, or may. 0: go on.
static int leave(Ir *ir, void *state, uint64_t pc, uint64_t block, Ref ref, struct um_ir_exit *exit)
{
  const IrIns *ins = &ir->ins[ref];
  uint64_t mask = ~(uint64_t)0 >> (64 - ir_bits(ir->guest->address));
  switch (ins->op) {
  case IR_CALL: return call(ir, state, pc, ref, exit);
  case IR_BRANCH:
    if (!ir->values[ins->a].w[0]) return 0;
    exit->pc = (block + (uint64_t)ins->imm) & mask;
    return 1 + UM_IR_NEXT;
  case IR_GOTO:
    exit->pc = (block + (uint64_t)ins->imm) & mask;
    return 1 + UM_IR_NEXT;
  case IR_JUMP:
    exit->pc = ir->values[ins->a].w[0];
    return 1 + UM_IR_NEXT;
  case IR_TRAP:
    exit->cause = (uint64_t)ins->imm;
    exit->value = ir->values[ins->a].w[0];
    return 1 + UM_IR_TRAP;
  }
  return ins->op == IR_LEAVE ? 1 + UM_IR_LEAVE : 0;
}

// A value that depends on nothing but values, or on a slot.
static IrValue plain(const Ir *ir, const IrIns *ins, void *state, uint64_t block)
{
  IrValue value = { { 0 } };
  const IrValue *values = ir->values;
  unsigned bits = ir_bits(ins->type);
  switch (ins->op) {
  case IR_CONST: return ir_constant(ir, ins);
  case IR_PC: return u256_low(u256_from(block + (uint64_t)ins->imm), bits);
  case IR_GET:
    memcpy(&value, (uint8_t *)state + ir_slot_offset(ir->guest, ins->imm), ir_bytes(ins->type));
    return u256_low(value, bits);
  case IR_SELECT: return values[ins->a].w[0] ? values[ins->b] : values[ins->c];
  case IR_BITCAST: return values[ins->a];
  case IR_BOX: return u256_from(0xffffffff00000000u | values[ins->a].w[0]);
  case IR_UNBOX: return u256_from(values[ins->a].w[0] >> 32 == 0xffffffffu ? (uint32_t)values[ins->a].w[0] : FP_CANON_S);
  }
  return eval_integer(ins->op, bits, ir_bits(ir->ins[ins->a].type), values[ins->a], ir_info[ins->op].operands > 1 ? values[ins->b] : value);
}

// One instruction that is no control. False: an access raised an exception.
static bool step(Ir *ir, const IrHost *host, void *state, uint64_t block, Ref ref, struct um_ir_exit *exit)
{
  const IrIns *ins = &ir->ins[ref];
  IrValue value = { { 0 } };
  switch (ins->op) {
  case IR_NOP: case IR_RESULT: return true;                       // a call has filled its results
  case IR_FENCE:
    if (ins->aux & 0x10 && ins->aux & 2) __atomic_thread_fence(__ATOMIC_SEQ_CST);     // x86 keeps all other orders
    return true;
  case IR_SET:
    memcpy((uint8_t *)state + ir_slot_offset(ir->guest, ins->imm), &ir->values[ins->a], ir_bytes(ir->ins[ins->a].type));
    return true;
  case IR_LOAD: case IR_STORE: case IR_AMO: case IR_LR: case IR_SC: {
    exit->value = ir->values[ins->a].w[0];
    bool ok = ir_access(host, *ins, exit->value, ir_info[ins->op].operands > 1 ? ir->values[ins->b] : value, &value);
    if (ok) ir->values[ref] = value;
    return ok;
  }
  }
  bool is_float = ir_info[ins->op].effects & EFFECT_FLAGS;
  ir->values[ref] = is_float ? float_op(ir, ins, state) : plain(ir, ins, state, block);
  return true;
}

bool ir_eval(Ir *ir, const IrHost *host, void *state, uint64_t pc, struct um_ir_exit *exit)
{
  if (ir->value_capacity < ir->count) {
    IrValue *values = realloc(ir->values, ir->count * sizeof *values);
    if (!values) return false;
    ir->values = values;
    ir->value_capacity = ir->count;
  }
  uint64_t block = pc, here = exit->at ? exit->pc : pc;
  int left = 0;
  for (Ref ref = exit->at + 1; !left; ref++) {
    const IrIns *ins = &ir->ins[ref];
    exit->at = ref;
    switch (ins->op) {
    case IR_INSN:
      here = block + (uint64_t)ins->imm;
      exit->insns++;
      break;
    case IR_WHEN:
      if (!ir->values[ins->a].w[0]) ref = skip(ir, ref, true);
      break;
    case IR_OTHERWISE: ref = skip(ir, ref, false); break;
    case IR_END: break;
    case IR_CALL: case IR_BRANCH: case IR_GOTO: case IR_JUMP: case IR_TRAP: case IR_LEAVE: left = leave(ir, state, here, block, ref, exit); break;
    default: left = step(ir, host, state, block, ref, exit) ? 0 : 1 + UM_IR_FAULT;
    }
  }
  exit->reason = (uint32_t)(left - 1);
  if (left != 1 + UM_IR_NEXT) exit->pc = here;
  return true;
}
