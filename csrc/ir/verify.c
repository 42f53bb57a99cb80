// verify: what a right block is. One instruction at a time, so that a builder at the border refuses a wrong one where it is made.
// SPDX-License-Identifier: MIT
#include "base/fault.h"
#include "ir/ir.h"

void ir_scopes_begin(IrScopes *scopes)
{
  *scopes = (IrScopes){ .delta = -1, .next = 1 };
}

uint16_t ir_effects(const Ir *ir, const IrIns *ins)
{
  uint16_t effects = ir_info[ins->op].effects;
  return effects & EFFECT_CALL ? effects | ir->guest->helpers[ins->aux].effects : effects;
}

#define REFUSE(...) return fault_set(why, UM_EINVAL, __VA_ARGS__)

static const char *name_of(const IrIns *ins) { return ir_info[ins->op].name; }

// A value that may be used here: made before, in a scope that is still open.
static int visible(const Ir *ir, const IrScopes *scopes, const uint32_t *scope, Ref user, Ref ref, struct um_fault *why)
{
  const IrIns *ins = &ir->ins[user];
  if (ref == 0 || ref >= user) REFUSE("%s: operand %%%u is not there yet", name_of(ins), ref);
  if (ir->ins[ref].type == IR_VOID) REFUSE("%s: %%%u (%s) gives no value", name_of(ins), ref, name_of(&ir->ins[ref]));
  for (unsigned i = 0; i <= scopes->depth; i++)
    if (scopes->open[i] == scope[ref]) return UM_OK;
  REFUSE("%s: %%%u was made inside a `when` that has ended", name_of(ins), ref);
}

static bool fits(const Ir *ir, char kind, unsigned type, unsigned result, unsigned first)
{
  switch (kind) {
  case 'I': return ir_is_int(type);
  case 'F': return ir_is_float(type);
  case 'X': return type > IR_VOID && type < IR_TYPES;
  case 'A': return type == ir->guest->address;
  case 'B': return type == IR_I1;
  case 'T': return type == result;
  case 'S': return type == first;
  case '-': return type == IR_VOID;
  }
  return false;
}

static const char *wanted(const Ir *ir, char kind, unsigned result, unsigned first)
{
  switch (kind) {
  case 'I': return "an integer";
  case 'F': return "a float";
  case 'X': return "a value";
  case 'B': return "i1";
  case '-': return "no type";
  }
  return ir_type_name[kind == 'A' ? ir->guest->address : kind == 'T' ? result : first];
}

// Types of the result and of the operands, by the signature.
static int check_types(const Ir *ir, const IrScopes *scopes, const uint32_t *scope, Ref ref, struct um_fault *why)
{
  const IrIns *ins = &ir->ins[ref];
  const IrInfo *info = &ir_info[ins->op];
  const Ref operand[3] = { ins->a, ins->b, ins->c };
  if (ins->type >= IR_TYPES) REFUSE("%s: type %u does not exist", info->name, ins->type);
  if (!fits(ir, info->signature[0], ins->type, 0, 0))
    REFUSE("%s: the result must be %s, not %s", info->name, wanted(ir, info->signature[0], 0, 0), ir_type_name[ins->type]);
  unsigned first = 0;
  for (unsigned i = 0; i < info->operands; i++) {
    int status = visible(ir, scopes, scope, ref, operand[i], why);
    if (status < 0) return status;
    unsigned type = ir->ins[operand[i]].type;
    if (i == 0) first = type;
    if (!fits(ir, info->signature[2 + i], type, ins->type, first))
      REFUSE("%s: operand %u must be %s, not %s", info->name, i + 1, wanted(ir, info->signature[2 + i], ins->type, first), ir_type_name[type]);
  }
  return UM_OK;
}

static int check_mem(const Ir *ir, const IrIns *ins, struct um_fault *why)
{
  unsigned bytes = 1u << (ins->aux & MEM_SIZE);
  unsigned type = ins->op == IR_STORE || ins->op == IR_SC ? ir->ins[ins->b].type : ins->type;
  bool atomic = ins->op != IR_LOAD && ins->op != IR_STORE;
  if (bytes > 32) REFUSE("%s: %u bytes, 32 is the most", name_of(ins), bytes);
  if (type == IR_I1 || bytes * 8 > ir_bits(type)) REFUSE("%s: %u bits do not fit %s", name_of(ins), bytes * 8, ir_type_name[type]);
  if (atomic && bytes != 4 && bytes != 8) REFUSE("%s: 4 or 8 bytes, not %u", name_of(ins), bytes);
  if (atomic && ins->aux & MEM_BIG) REFUSE("%s: atomics are little-endian", name_of(ins));
  if (ins->aux & MEM_SIGNED && (ins->op == IR_STORE || ins->op == IR_SC)) REFUSE("%s: what is stored has no sign", name_of(ins));
  if (ins->op == IR_AMO && ins->aux >> 8 >= AMO_COUNT) REFUSE("amo: operation %u does not exist", ins->aux >> 8);
  return UM_OK;
}

static int check_slot(const Ir *ir, const IrIns *ins, struct um_fault *why)
{
  if (ins->imm < 0 || ins->imm >> 8 >= ir->guest->slot_count) REFUSE("%s: the guest has no slot %lld", name_of(ins), (long long)(ins->imm >> 8));
  const IrSlot *slot = ir_slot(ir->guest, ins->imm);
  if ((ins->imm & 255) >= slot->count) REFUSE("%s: %s has %u elements, not %lld", name_of(ins), slot->name, slot->count, (long long)(ins->imm & 255) + 1);
  unsigned type = ins->op == IR_GET ? ins->type : ir->ins[ins->a].type;
  if (ir_bits(type) != ir_bits(slot->type)) REFUSE("%s: %s is %s, not %s", name_of(ins), slot->name, ir_type_name[slot->type], ir_type_name[type]);
  return UM_OK;
}

static int check_call(const Ir *ir, const IrScopes *scopes, const uint32_t *scope, Ref ref, struct um_fault *why)
{
  const IrIns *ins = &ir->ins[ref];
  if (ins->aux >= ir->guest->helper_count) REFUSE("call: the guest has no helper %u", ins->aux);
  const IrHelper *helper = &ir->guest->helpers[ins->aux];
  if (ins->imm != helper->args) REFUSE("call %s: %u arguments, not %lld", helper->name, helper->args, (long long)ins->imm);
  if (ins->a > ir->arg_count || ir->arg_count - ins->a < helper->args) REFUSE("call %s: its arguments are not there", helper->name);
  for (unsigned i = 0; i < helper->args; i++) {
    Ref arg = ir->args[ins->a + i];
    int status = visible(ir, scopes, scope, ref, arg, why);
    if (status < 0) return status;
    if (ir->ins[arg].type != helper->arg[i])
      REFUSE("call %s: argument %u must be %s, not %s", helper->name, i + 1, ir_type_name[helper->arg[i]], ir_type_name[ir->ins[arg].type]);
  }
  return UM_OK;
}

// Results stand behind their call, in any order.
static int check_result(const Ir *ir, Ref ref, struct um_fault *why)
{
  const IrIns *ins = &ir->ins[ref];
  Ref call = ref - 1;
  while (call > 0 && ir->ins[call].op == IR_RESULT) call--;
  if (ins->a != call || ir->ins[call].op != IR_CALL) REFUSE("result: it must stand behind its call");
  const IrHelper *helper = &ir->guest->helpers[ir->ins[call].aux];
  if (ins->imm < 0 || ins->imm >= helper->results) REFUSE("result: %s gives %u results, not %lld", helper->name, helper->results, (long long)ins->imm + 1);
  if (ins->type != helper->result[ins->imm]) REFUSE("result: it is %s, not %s", ir_type_name[helper->result[ins->imm]], ir_type_name[ins->type]);
  return UM_OK;
}

static int check_const(const Ir *ir, const IrIns *ins, struct um_fault *why)
{
  unsigned bits = ir_bits(ins->type);
  if (ins->aux > 1 || (ins->aux && (bits <= 64 || ins->imm < 0 || ins->imm >= ir->wide_count))) REFUSE("const: no such value");
  if (ins->aux && !u256_eq(u256_low(ir->wide[ins->imm], bits), ir->wide[ins->imm])) REFUSE("const: the value does not fit %s", ir_type_name[ins->type]);
  if (!ins->aux && bits > 64 && ins->imm < 0) REFUSE("const: the value is not %s", ir_type_name[ins->type]);
  if (!ins->aux && bits < 64 && (int64_t)((uint64_t)ins->imm << (64 - bits)) >> (64 - bits) != ins->imm) REFUSE("const: the value does not fit %s", ir_type_name[ins->type]);
  return UM_OK;
}

// Widths that a signature cannot say.
static int check_widths(const Ir *ir, const IrIns *ins, struct um_fault *why)
{
  unsigned type = ins->type, from = ir_info[ins->op].operands ? ir->ins[ins->a].type : IR_VOID, to = ins->op == IR_FTOI || ins->op == IR_FTOU ? type : from;
  switch (ins->op) {
  case IR_MULHU: case IR_MULHS: case IR_MULHSU:
    if (type != IR_I32 && type != IR_I64) REFUSE("%s: i32 or i64, not %s", name_of(ins), ir_type_name[type]);
    break;
  case IR_DIVU: case IR_DIVS: case IR_REMU: case IR_REMS: case IR_ROL: case IR_ROR: case IR_CLZ: case IR_CTZ: case IR_POPCOUNT:
    if (type == IR_I256) REFUSE("%s: at most i128", name_of(ins));
    break;
  case IR_BSWAP:
    if (type < IR_I16) REFUSE("bswap: at least i16, not %s", ir_type_name[type]);
    break;
  case IR_ZEXT: case IR_SEXT:
    if (type <= from) REFUSE("%s: from %s to %s is no extension", name_of(ins), ir_type_name[from], ir_type_name[type]);
    break;
  case IR_TRUNC:
    if (type >= from) REFUSE("trunc: from %s to %s cuts nothing", ir_type_name[from], ir_type_name[type]);
    break;
  case IR_BITCAST:
    if (ir_is_float(type) == ir_is_float(from) || ir_bits(type) != ir_bits(from)) REFUSE("bitcast: from %s to %s", ir_type_name[from], ir_type_name[type]);
    break;
  case IR_FTOI: case IR_FTOU: case IR_ITOF: case IR_UTOF:
    if (to != IR_I32 && to != IR_I64) REFUSE("%s: i32 or i64, not %s", name_of(ins), ir_type_name[to]);
    break;
  case IR_FTOF:
    if (type == from) REFUSE("ftof: from %s to itself", ir_type_name[type]);
    break;
  case IR_BOX: case IR_UNBOX:
    if (ins->op == IR_BOX ? type != IR_I64 || from != IR_F32 : type != IR_F32 || from != IR_I64) REFUSE("%s: f32 and i64, not %s and %s", name_of(ins), ir_type_name[from], ir_type_name[type]);
    break;
  }
  return UM_OK;
}

static int check_extra(const Ir *ir, const IrScopes *scopes, const uint32_t *scope, Ref ref, struct um_fault *why)
{
  const IrIns *ins = &ir->ins[ref];
  unsigned extra = ir_info[ins->op].extra;
  switch (extra) {
  case EXTRA_CONST: return check_const(ir, ins, why);
  case EXTRA_SLOT: return check_slot(ir, ins, why);
  case EXTRA_MEM: case EXTRA_AMO: return check_mem(ir, ins, why);
  case EXTRA_HELPER: return check_call(ir, scopes, scope, ref, why);
  case EXTRA_INDEX: return check_result(ir, ref, why);
  case EXTRA_ROUND:
    if (ins->aux > ROUND_STATE || !ir_round_name[ins->aux]) REFUSE("%s: rounding %u does not exist", name_of(ins), ins->aux);
    break;
  case EXTRA_FENCE:
    if (ins->aux > 0xff) REFUSE("fence: sets of 4 bits");
    break;
  case EXTRA_CAUSE:
    if (ins->imm < 0) REFUSE("trap: cause %lld", (long long)ins->imm);
    break;
  default:
    if (ins->aux && extra != EXTRA_INSN) REFUSE("%s: carries nothing", name_of(ins));
  }
  return UM_OK;
}

// Nesting, order, and what may follow what.
static int check_control(const Ir *ir, IrScopes *scopes, Ref ref, struct um_fault *why)
{
  const IrIns *ins = &ir->ins[ref];
  bool closes = ins->op == IR_OTHERWISE || ins->op == IR_END;
  if (scopes->ended[scopes->depth] && !closes) REFUSE("%s: nothing can follow the end of a way", name_of(ins));
  if (closes && scopes->depth == 0) REFUSE("%s without when", name_of(ins));
  switch (ins->op) {
  case IR_INSN:
    if (scopes->depth) REFUSE("insn inside when");
    if (ins->imm <= scopes->delta) REFUSE("insn: delta %lld does not come after %lld", (long long)ins->imm, (long long)scopes->delta);
    scopes->delta = ins->imm;
    break;
  case IR_WHEN:
    if (scopes->depth == IR_NESTING) REFUSE("when: nested more than %d deep", IR_NESTING);
    scopes->depth++;
    scopes->ended[scopes->depth] = scopes->otherwise[scopes->depth] = false;
    scopes->open[scopes->depth] = scopes->next++;
    break;
  case IR_OTHERWISE:
    if (scopes->otherwise[scopes->depth]) REFUSE("otherwise twice");
    scopes->otherwise[scopes->depth] = true;
    scopes->ended[scopes->depth] = false;
    scopes->open[scopes->depth] = scopes->next++;
    break;
  case IR_END:
    scopes->depth--;
    break;
  default:
    if (ir_info[ins->op].effects & EFFECT_LAST) scopes->ended[scopes->depth] = true;
  }
  return UM_OK;
}

int ir_verify_next(const Ir *ir, IrScopes *scopes, uint32_t *scope, Ref ref, struct um_fault *why)
{
  if (ir->ins[ref].op >= IR_OPS) REFUSE("op %u does not exist", ir->ins[ref].op);
  int status = check_types(ir, scopes, scope, ref, why);
  if (status >= 0) status = check_widths(ir, &ir->ins[ref], why);
  if (status >= 0) status = check_extra(ir, scopes, scope, ref, why);
  if (status >= 0) status = check_control(ir, scopes, ref, why);
  scope[ref] = scopes->open[scopes->depth];
  return status;
}

int ir_verify(const Ir *ir, struct um_fault *why)
{
  IrScopes scopes;
  ir_scopes_begin(&scopes);
  if (ir->full) REFUSE("the block has no room: at most %d instructions", IR_MOST);
  for (Ref ref = 1; ref < ir->count; ref++) {
    int status = ir_verify_next(ir, &scopes, ir->scope, ref, why);
    if (status < 0) return status;
  }
  if (scopes.depth) REFUSE("when without end");
  if (!scopes.ended[0]) REFUSE("the block does not end: goto, jump, trap or leave is missing");
  return UM_OK;
}
