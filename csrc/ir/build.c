// build: appends instructions to a block. What the lift calls; Lua comes through border.c, which checks each instruction.
// SPDX-License-Identifier: MIT
#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

#define EXTRA(name) EXTRA_##name
#define NONE 0
#define READ EFFECT_READ
#define WRITE EFFECT_WRITE
#define LOAD EFFECT_LOAD
#define STORE EFFECT_STORE
#define FAULT EFFECT_FAULT
#define FLAGS EFFECT_FLAGS
#define ORDER EFFECT_ORDER
#define CONTROL EFFECT_CONTROL
#define LAST EFFECT_LAST
#define CALL EFFECT_CALL
const IrInfo ir_info[IR_OPS] = {
#define IR_OP(NAME, name, signature, extra, effects, text) \
  [IR_##NAME] = { name, signature, text, effects, EXTRA_##extra, sizeof signature - 3 },
#include "ir/ops.h"
#undef IR_OP
};
#undef LOAD
#undef STORE
#undef CALL

const char *const ir_type_name[IR_TYPES] = { "void", "i1", "i8", "i16", "i32", "i64", "i128", "i256", "f32", "f64" };
const char *const ir_round_name[8] = { "rne", "rtz", "rdn", "rup", "rmm", NULL, NULL, "dyn" };
const char *const ir_amo_name[AMO_COUNT] = { "swap", "add", "and", "or", "xor", "min", "max", "minu", "maxu" };

// Makes room for one more of `size` bytes; false: there is none.
static bool grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
  if (count < *capacity) return true;
  uint32_t wanted = *capacity ? *capacity * 2 : 256;
  void *bigger = realloc(*(void **)array, wanted * size);
  if (!bigger) return false;
  *(void **)array = bigger;
  *capacity = wanted;
  return true;
}

void ir_clear(Ir *ir)
{
  ir->count = ir->arg_count = ir->wide_count = 0;
  ir->full = ir->sound = false;
  ir_scopes_begin(&ir->scopes);
  ir_add(ir, (IrIns){ .op = IR_NOP });
}

bool ir_init(Ir *ir, const IrGuest *guest)
{
  *ir = (Ir){ .guest = guest };
  ir_clear(ir);
  return !ir->full;
}

void ir_fini(Ir *ir)
{
  free(ir->ins);
  free(ir->scope);
  free(ir->args);
  free(ir->wide);
  free(ir->values);
  free(ir->table);
}

Ref ir_add(Ir *ir, IrIns ins)
{
  uint32_t capacity = ir->capacity;
  if (ir->count >= IR_MOST || !grow(&ir->scope, ir->count, &capacity, sizeof *ir->scope) || !grow(&ir->ins, ir->count, &ir->capacity, sizeof *ir->ins)) {
    ir->full = true;
    return 0;
  }
  ir->ins[ir->count] = ins;
  return ir->count++;
}

Ref ir_const(Ir *ir, unsigned type, uint64_t value)
{
  unsigned bits = ir_bits(type);
  int64_t imm = bits < 64 ? (int64_t)(value << (64 - bits)) >> (64 - bits) : (int64_t)value;
  if (bits > 64 && imm < 0) return ir_wide_const(ir, type, u256_from(value));
  return ir_add(ir, (IrIns){ .op = IR_CONST, .type = (uint8_t)type, .imm = imm });
}

Ref ir_wide_const(Ir *ir, unsigned type, IrValue value)
{
  value = u256_low(value, ir_bits(type));
  if (!(value.w[1] | value.w[2] | value.w[3]) && (ir_bits(type) <= 64 || (int64_t)value.w[0] >= 0)) return ir_const(ir, type, value.w[0]);
  if (!grow(&ir->wide, ir->wide_count, &ir->wide_capacity, sizeof *ir->wide)) {
    ir->full = true;
    return 0;
  }
  ir->wide[ir->wide_count] = value;
  return ir_add(ir, (IrIns){ .op = IR_CONST, .type = (uint8_t)type, .aux = 1, .imm = ir->wide_count++ });
}

// A constant of at most 64 bits.
static bool small_constant(const Ir *ir, Ref ref, uint64_t *value)
{
  const IrIns *ins = &ir->ins[ref];
  if (ins->op != IR_CONST || ir_bits(ins->type) > 64 || ir_is_float(ins->type)) return false;
  unsigned bits = ir_bits(ins->type);
  *value = (uint64_t)ins->imm & (~(uint64_t)0 >> (64 - bits));
  return true;
}

static bool folds(unsigned op)
{
  return (op >= IR_ADD && op <= IR_LES) || op == IR_ZEXT || op == IR_SEXT || op == IR_TRUNC;
}

Ref ir_unary(Ir *ir, unsigned op, unsigned type, Ref a)
{
  uint64_t value;
  unsigned from = ir->ins[a].type;
  if ((op == IR_ZEXT || op == IR_SEXT || op == IR_TRUNC || op == IR_BITCAST) && from == type) return a;
  if (op == IR_BITCAST && ir->ins[a].op == IR_BITCAST && ir->ins[ir->ins[a].a].type == type) return ir->ins[a].a;
  if (folds(op) && ir_bits(type) <= 64 && small_constant(ir, a, &value))
    return ir_const(ir, type, ir_eval_int(op, ir_bits(type), ir_bits(from), value, 0));
  return ir_add(ir, (IrIns){ .op = (uint8_t)op, .type = (uint8_t)type, .a = a });
}

Ref ir_binary(Ir *ir, unsigned op, unsigned type, Ref a, Ref b)
{
  uint64_t x, y;
  unsigned from = ir->ins[a].type;
  bool constant = small_constant(ir, b, &y);
  if (constant && folds(op) && ir_bits(from) <= 64 && small_constant(ir, a, &x))
    return ir_const(ir, type, ir_eval_int(op, ir_bits(type), ir_bits(from), x, y));
  if (constant && y == 0 && (op == IR_ADD || op == IR_SUB || op == IR_OR || op == IR_XOR || op == IR_SHL || op == IR_SHR || op == IR_SAR)) return a;
  if (op == IR_ADD && small_constant(ir, a, &x) && x == 0) return b;
  return ir_add(ir, (IrIns){ .op = (uint8_t)op, .type = (uint8_t)type, .a = a, .b = b });
}

Ref ir_select(Ir *ir, unsigned type, Ref condition, Ref yes, Ref no)
{
  uint64_t value;
  if (small_constant(ir, condition, &value)) return value ? yes : no;
  return ir_add(ir, (IrIns){ .op = IR_SELECT, .type = (uint8_t)type, .a = condition, .b = yes, .c = no });
}

Ref ir_get(Ir *ir, unsigned type, unsigned row, unsigned element)
{
  return ir_add(ir, (IrIns){ .op = IR_GET, .type = (uint8_t)type, .imm = row << 8 | element });
}

void ir_set(Ir *ir, unsigned row, unsigned element, Ref value)
{
  ir_add(ir, (IrIns){ .op = IR_SET, .a = value, .imm = row << 8 | element });
}

Ref ir_call(Ir *ir, unsigned helper, const Ref *args, unsigned count)
{
  IrIns ins = { .op = IR_CALL, .aux = (uint16_t)helper, .a = ir->arg_count, .imm = count };
  for (unsigned i = 0; i < count; i++) {
    if (!grow(&ir->args, ir->arg_count, &ir->arg_capacity, sizeof *ir->args)) {
      ir->full = true;
      return 0;
    }
    ir->args[ir->arg_count++] = args[i];
  }
  return ir_add(ir, ins);
}
