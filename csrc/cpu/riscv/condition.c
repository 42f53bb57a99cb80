// condition: the conditions of hooks: checked once, evaluated without loops or side effects.
// SPDX-License-Identifier: MIT
#include "cpu/riscv/hook.h"

enum { CONDITION_MOST = 256, STACK = 32 };

static int bad(struct um_fault *why, uint32_t at, const char *what)
{
  return fault_set(why, UM_EINVAL, "condition: op %u: %s", at, what);
}

static bool is_size(uint32_t n) { return n == 1 || n == 2 || n == 4 || n == 8; }

static const char *check_index(const struct um_condition_op *op, uint32_t at, uint32_t ops)
{
  switch (op->op) {
  case UM_COND_X: case UM_COND_F: return op->index < 32 ? NULL : "no such register";
  case UM_COND_CSR: return op->index < 4096 ? NULL : "no such CSR";
  case UM_COND_FIELD: return op->index < UM_FIELDS ? NULL : "no such field";
  case UM_COND_LOAD: return is_size(op->index) ? NULL : "1, 2, 4 or 8 bytes expected";
  case UM_COND_SEXT: case UM_COND_ZEXT: return op->index == 8 || op->index == 16 || op->index == 32 ? NULL : "8, 16 or 32 bits expected";
  case UM_COND_AND_THEN: case UM_COND_OR_ELSE: return op->index > at && op->index <= ops ? NULL : "leads backwards or out";
  default: return op->op < UM_COND_OPS ? NULL : "unknown";
  }
}

// What an op takes from the stack and puts there.
static void effect(uint32_t op, int *takes, int *puts)
{
  *puts = op != UM_COND_AND_THEN && op != UM_COND_OR_ELSE;
  if (op <= UM_COND_FIELD) *takes = 0;
  else if (op <= UM_COND_BOOL || !*puts) *takes = 1;
  else *takes = 2;
}

// Every op finds what it takes, whichever way leads to it, and one word is left over.
int condition_check(Hart *hart, const struct um_condition_op *op, uint32_t ops, struct um_fault *why)
{
  int depth = 0, wanted[CONDITION_MOST + 1];
  if (ops > CONDITION_MOST) return fault_set(why, UM_EINVAL, "condition: at most %d ops, not %u", CONDITION_MOST, ops);
  for (uint32_t i = 0; i <= ops; i++) wanted[i] = -1;
  for (uint32_t i = 0; i < ops; i++) {
    const char *wrong = check_index(&op[i], i, ops);
    int takes, puts;
    if (wrong) return bad(why, i, wrong);
    effect(op[i].op, &takes, &puts);
    if (wanted[i] >= 0 && wanted[i] != depth) return bad(why, i, "two ways with different stacks lead here");
    if (depth < takes) return bad(why, i, "the stack is empty");
    if (!puts) {
      if (wanted[op[i].index] >= 0 && wanted[op[i].index] != depth) return bad(why, i, "two ways with different stacks meet");
      wanted[op[i].index] = depth;
    }
    depth += puts - takes;
    if (depth > STACK) return bad(why, i, "the stack is full");
    uint64_t value;
    if (op[i].op == UM_COND_CSR && !csr_read(hart, op[i].index, &value)) return bad(why, i, "the hart has no such CSR");
  }
  if (ops && (depth != 1 || (wanted[ops] >= 0 && wanted[ops] != 1))) return bad(why, ops, "one word must be left over");
  return UM_OK;
}

static uint64_t sign_extend(uint64_t value, unsigned bits)
{
  return (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

static bool binary(uint32_t op, uint64_t a, uint64_t b, uint64_t *result)
{
  int64_t sa = (int64_t)a, sb = (int64_t)b;
  bool divides = op >= UM_COND_DIV && op <= UM_COND_REMU;
  if (divides && b == 0) return false;
  bool overflows = b == UINT64_MAX;                  // by -1: the hardware's division traps for the least number
  switch (op) {
  case UM_COND_ADD: *result = a + b; break;
  case UM_COND_SUB: *result = a - b; break;
  case UM_COND_MUL: *result = a * b; break;
  case UM_COND_DIV: *result = overflows ? 0 - a : (uint64_t)(sa / sb); break;
  case UM_COND_DIVU: *result = a / b; break;
  case UM_COND_REM: *result = overflows ? 0 : (uint64_t)(sa % sb); break;
  case UM_COND_REMU: *result = a % b; break;
  case UM_COND_AND: *result = a & b; break;
  case UM_COND_OR: *result = a | b; break;
  case UM_COND_XOR: *result = a ^ b; break;
  case UM_COND_SHL: *result = a << (b & 63); break;
  case UM_COND_SHR: *result = a >> (b & 63); break;
  case UM_COND_SAR: *result = (uint64_t)(sa >> (b & 63)); break;
  case UM_COND_EQ: *result = a == b; break;
  case UM_COND_NE: *result = a != b; break;
  case UM_COND_LTU: *result = a < b; break;
  case UM_COND_GEU: *result = a >= b; break;
  case UM_COND_LT: *result = sa < sb; break;
  default: *result = sa >= sb; break;
  }
  return true;
}

static bool unary(const struct um_condition_op *op, Hart *hart, uint64_t *top)
{
  uint64_t value = 0;
  switch (op->op) {
  case UM_COND_LOAD:
    if (!hart_peek(hart, *top, &value, op->index)) return false;
    *top = value;
    break;
  case UM_COND_SEXT: *top = sign_extend(*top, op->index); break;
  case UM_COND_ZEXT: *top &= UINT64_MAX >> (64 - op->index); break;
  case UM_COND_NOT: *top = !*top; break;
  case UM_COND_NEG: *top = 0 - *top; break;
  case UM_COND_INVERT: *top = ~*top; break;
  default: *top = *top != 0; break;
  }
  return true;
}

static bool leaf(const struct um_condition_op *op, Hart *hart, const struct um_hit *event, uint64_t *value)
{
  switch (op->op) {
  case UM_COND_CONST: *value = op->value; break;
  case UM_COND_X: *value = hart->x[op->index]; break;
  case UM_COND_F: *value = hart->f[op->index]; break;
  case UM_COND_PC: *value = event->pc; break;
  case UM_COND_PRIV: *value = hart->priv; break;
  case UM_COND_HART: *value = event->hart; break;
  case UM_COND_FIELD: *value = event->field[op->index]; break;
  default: return csr_read(hart, op->index, value);
  }
  return true;
}

bool condition_holds(const Condition *condition, Hart *hart, const struct um_hit *event)
{
  uint64_t stack[STACK + 1], *top = stack;           // top: the next free word
  for (uint32_t i = 0; i < condition->ops; i++) {
    const struct um_condition_op *op = &condition->op[i];
    if (op->op <= UM_COND_FIELD) {
      if (!leaf(op, hart, event, top++)) return false;
    } else if (op->op <= UM_COND_BOOL) {
      if (!unary(op, hart, top - 1)) return false;
    } else if (op->op <= UM_COND_GE) {
      top--;
      if (!binary(op->op, top[-1], top[0], &top[-1])) return false;
    } else if ((top[-1] != 0) == (op->op == UM_COND_OR_ELSE)) {
      i = op->index - 1;
    } else {
      top--;
    }
  }
  return !condition->ops || top[-1] != 0;
}

bool condition_is_early(const Condition *condition, uint32_t *registers)
{
  *registers = 0;
  for (uint32_t i = 0; i < condition->ops; i++) {
    const struct um_condition_op *op = &condition->op[i];
    if (op->op == UM_COND_X) *registers |= 1u << op->index;
    else if (op->op == UM_COND_F || op->op == UM_COND_CSR || op->op == UM_COND_FIELD || op->op == UM_COND_LOAD) return false;
  }
  return true;
}

// The first comparison decides when nothing follows, or only things that must hold besides.
Guard condition_guard(const Condition *condition)
{
  const struct um_condition_op *op = condition->op;
  Guard none = { 0 };
  if (condition->ops < 3 || op[0].op != UM_COND_X || op[1].op != UM_COND_CONST || op[2].op < UM_COND_EQ || op[2].op > UM_COND_GE) return none;
  if (op[1].value != (uint64_t)(int64_t)(int32_t)op[1].value) return none;
  uint32_t next = 3;
  while (next < condition->ops && op[next].op == UM_COND_AND_THEN) next = op[next].index;
  if (next < condition->ops) return none;
  return (Guard){ .compare = (uint8_t)op[2].op, .reg = (uint8_t)op[0].index, .constant = (int32_t)op[1].value };
}
