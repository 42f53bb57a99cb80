// parse: reads what print.c writes. The text is anybody's: every instruction is verified as it is appended.
// SPDX-License-Identifier: MIT
//
//   [%N =] op[.type][.modifiers] operands      one a line; `;` begins a comment
#include "base/fault.h"
#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

typedef struct Text {
  const char *at, *end;
  unsigned line;
  uint32_t *labels;                      // instruction of each %N, 0: none
  Ir *ir;
  struct um_fault *why;
} Text;

#define REFUSE(...) return fault_set(t->why, UM_EFORMAT, __VA_ARGS__)

static void blanks(Text *t)
{
  while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\r')) t->at++;
  if (t->at < t->end && *t->at == ';')
    while (t->at < t->end && *t->at != '\n') t->at++;
}

static bool accept(Text *t, char c)
{
  blanks(t);
  if (t->at == t->end || *t->at != c) return false;
  t->at++;
  return true;
}

static bool word_character(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Letters, digits and _, with inner dots where `dots`. Its length, 0: there is none.
static unsigned word(Text *t, const char **from, bool dots)
{
  blanks(t);
  *from = t->at;
  while (t->at < t->end && (word_character(*t->at) || (dots && *t->at == '.'))) t->at++;
  return (unsigned)(t->at - *from);
}

static bool is(const char *from, unsigned length, const char *name)
{
  return name && strlen(name) == length && memcmp(from, name, length) == 0;
}

// Digits of `base`; false: none, or more than 256 bits.
static bool digits(Text *t, unsigned base, IrValue *value)
{
  const char *start = t->at;
  *value = u256_from(0);
  for (; t->at < t->end; t->at++) {
    char c = *t->at;
    unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 99;
    if (digit >= base) break;
    if (value->w[3] >> 60) return false;
    *value = u256_add(u256_mul(*value, u256_from(base)), u256_from(digit));
  }
  return t->at > start;
}

static int number(Text *t, IrValue *value)
{
  blanks(t);
  bool hex = t->end - t->at > 2 && t->at[0] == '0' && t->at[1] == 'x';
  if (hex) t->at += 2;
  if (!digits(t, hex ? 16 : 10, value)) REFUSE("a number of at most 256 bits expected");
  return UM_OK;
}

static int small_number(Text *t, uint64_t most, int64_t *value)
{
  IrValue v;
  int status = number(t, &v);
  if (status < 0) return status;
  if (v.w[1] | v.w[2] | v.w[3] || v.w[0] > most) REFUSE("a number of at most %llu expected", (unsigned long long)most);
  *value = (int64_t)v.w[0];
  return UM_OK;
}

static int delta(Text *t, int64_t *value)
{
  bool minus = accept(t, '-');
  if (!minus && !accept(t, '+')) REFUSE("a delta like +4 expected");
  int status = small_number(t, INT64_MAX, value);
  if (minus) *value = -*value;
  return status;
}

static int reference(Text *t, Ref *ref)
{
  int64_t label;
  if (!accept(t, '%')) REFUSE("an operand like %%1 expected");
  int status = small_number(t, IR_MOST - 1, &label);
  if (status < 0) return status;
  *ref = t->labels[label];
  if (!*ref) REFUSE("%%%lld was not made", (long long)label);
  return UM_OK;
}

static int comma(Text *t)
{
  if (!accept(t, ',')) REFUSE("a comma expected");
  return UM_OK;
}

static int slot(Text *t, int64_t *place)
{
  const char *from;
  unsigned length = word(t, &from, false);
  const IrGuest *guest = t->ir->guest;
  for (uint32_t row = 0; row < guest->slot_count; row++) {
    if (!is(from, length, guest->slots[row].name)) continue;
    int64_t element = 0;
    if (accept(t, '[')) {
      int status = small_number(t, 255, &element);
      if (status < 0) return status;
      if (!accept(t, ']')) REFUSE("] expected");
    } else if (guest->slots[row].count > 1) REFUSE("%s[...] expected", guest->slots[row].name);
    *place = (int64_t)row << 8 | element;
    return UM_OK;
  }
  REFUSE("the guest has no slot %.*s", (int)(length < 40 ? length : 40), from);
}

static int helper(Text *t, IrIns *ins)
{
  const char *from;
  unsigned length = word(t, &from, true);
  const IrGuest *guest = t->ir->guest;
  Ref args[HELPER_ARGS];
  uint32_t i = 0;
  while (i < guest->helper_count && !is(from, length, guest->helpers[i].name)) i++;
  if (i == guest->helper_count) REFUSE("the guest has no helper %.*s", (int)(length < 40 ? length : 40), from);
  unsigned count = 0;
  for (; accept(t, ','); count++) {
    if (count == HELPER_ARGS) REFUSE("at most %d arguments", HELPER_ARGS);
    int status = reference(t, &args[count]);
    if (status < 0) return status;
  }
  Ref made = ir_call(t->ir, i, args, count);
  if (!made) REFUSE("the block is full");
  *ins = t->ir->ins[--t->ir->count];     // appended again by the caller, verified
  return UM_OK;
}

static int constant(Text *t, IrIns *ins)
{
  IrValue value;
  int status = number(t, &value);
  if (status < 0) return status;
  if (!u256_eq(u256_low(value, ir_bits(ins->type)), value)) REFUSE("the number does not fit %s", ir_type_name[ins->type]);
  Ref made = ir_wide_const(t->ir, ins->type, value);
  if (!made) REFUSE("the block is full");
  *ins = t->ir->ins[--t->ir->count];
  return UM_OK;
}

// Takes ".part" off *rest; its length, 0: there is no more.
static unsigned part(const char **rest, const char *end, const char **from)
{
  if (*rest == end || **rest != '.') return 0;
  *from = *rest + 1;
  for (*rest = *from; *rest < end && **rest != '.';) ++*rest;
  return (unsigned)(*rest - *from);
}

static int lookup(const char *from, unsigned length, const char *const *names, int count)
{
  for (int i = 0; i < count; i++)
    if (is(from, length, names[i])) return i;
  return -1;
}

static int access_modifiers(Text *t, IrIns *ins, const char **rest, const char *end)
{
  static const char *const signs[2] = { "u", "s" }, *const sizes[6] = { "8", "16", "32", "64", "128", "256" };
  bool stores = ins->op == IR_STORE || ins->op == IR_SC;
  const char *from = end;
  unsigned length = part(rest, end, &from);
  if (length && !stores) {
    int sign = lookup(from, 1, signs, 2);
    if (sign < 0) REFUSE("u or s and bits expected, like .s32");
    ins->aux |= sign ? MEM_SIGNED : 0;
    from++, length--;
  }
  int size = lookup(from, length, sizes, 6);
  if (!length || size < 0) REFUSE("the bits of the access expected, like .%s32", stores ? "" : "u");
  ins->aux |= (uint16_t)size;
  static const char *const flags[3] = { "be", "aq", "rl" };
  for (int last = -1; (length = part(rest, end, &from));) {
    int flag = lookup(from, length, flags, 3);
    if (flag <= last) REFUSE(".be, .aq and .rl follow, in this order");
    ins->aux |= (uint16_t)(MEM_BIG << flag);
    last = flag;
  }
  return UM_OK;
}

// "load.i64.s32": the op, its type, its modifiers.
static int head(Text *t, IrIns *ins)
{
  const char *from, *rest, *end;
  unsigned length = word(t, &from, true);
  end = rest = from + length;
  const char *dot = memchr(from, '.', length);
  if (dot) rest = dot;
  int op = 0;
  while (op < IR_OPS && !is(from, (unsigned)(rest - from), ir_info[op].name)) op++;
  if (op == IR_OPS) REFUSE("unknown op %.*s", (int)(rest - from < 40 ? rest - from : 40), from);
  const IrInfo *info = &ir_info[op];
  *ins = (IrIns){ .op = (uint8_t)op, .type = info->signature[0] == 'B' ? IR_I1 : IR_VOID };
  if (info->signature[0] != 'B' && info->signature[0] != '-') {
    length = part(&rest, end, &from);
    int type = lookup(from, length, ir_type_name, IR_TYPES);
    if (!length || type < 0) REFUSE("%s: a type expected, like %s.i64", info->name, info->name);
    ins->type = (uint8_t)type;
  }
  if (info->extra == EXTRA_ROUND || info->extra == EXTRA_AMO) {
    bool rounds = info->extra == EXTRA_ROUND;
    length = part(&rest, end, &from);
    int which = length ? lookup(from, length, rounds ? ir_round_name : ir_amo_name, rounds ? 8 : AMO_COUNT) : -1;
    if (which < 0) REFUSE("%s: %s expected", info->name, rounds ? "a rounding (rne rtz rdn rup rmm dyn)" : "an operation, like .add");
    ins->aux = (uint16_t)(rounds ? which : which << 8);
  }
  if (info->extra == EXTRA_MEM || info->extra == EXTRA_AMO) {
    int status = access_modifiers(t, ins, &rest, end);
    if (status < 0) return status;
  }
  if (rest != end) REFUSE("%s: nothing more belongs to its name", info->name);
  return UM_OK;
}

static int two_numbers(Text *t, uint64_t most_a, int64_t *a, uint64_t most_b, int64_t *b)
{
  int status = small_number(t, most_a, a);
  if (status >= 0) status = comma(t);
  return status < 0 ? status : small_number(t, most_b, b);
}

// What print.c's put_operands writes. `more`: a comma is due before the next operand.
static int leading(Text *t, IrIns *ins, bool *more)
{
  int64_t a = 0, b = 0;
  int status = UM_OK;
  switch (ir_info[ins->op].extra) {
  case EXTRA_CONST: return constant(t, ins);
  case EXTRA_HELPER: return helper(t, ins);
  case EXTRA_SLOT: *more = true; return slot(t, &ins->imm);
  case EXTRA_CAUSE: *more = true; return small_number(t, INT64_MAX, &ins->imm);
  case EXTRA_INDEX:
    status = reference(t, &ins->a);
    if (status >= 0) status = comma(t);
    return status < 0 ? status : small_number(t, 255, &ins->imm);
  case EXTRA_INSN:
    status = delta(t, &ins->imm);
    if (status >= 0) status = comma(t);
    if (status >= 0) status = small_number(t, 255, &a);
    ins->aux = (uint16_t)a;
    return status;
  case EXTRA_FENCE:
    status = two_numbers(t, 15, &a, 15, &b);
    ins->aux = (uint16_t)(a << 4 | b);
    return status;
  }
  return UM_OK;
}

static int operands(Text *t, IrIns *ins)
{
  bool more = false;
  const IrInfo *info = &ir_info[ins->op];
  int status = leading(t, ins, &more);
  Ref ref[3] = { ins->a, 0, 0 };
  for (unsigned i = 0; i < info->operands && status >= 0; i++, more = true) {
    if (more) status = comma(t);
    if (status >= 0) status = reference(t, &ref[i]);
  }
  if (info->operands) ins->a = ref[0];
  if (info->operands > 1) ins->b = ref[1];
  if (info->operands > 2) ins->c = ref[2];
  if (status >= 0 && info->extra == EXTRA_DELTA) {
    if (more) status = comma(t);
    if (status >= 0) status = delta(t, &ins->imm);
  }
  return status;
}

static int line(Text *t)
{
  int64_t label = 0;
  blanks(t);
  if (t->at == t->end || *t->at == '\n') return UM_OK;
  if (accept(t, '%')) {
    int status = small_number(t, IR_MOST - 1, &label);
    if (status < 0) return status;
    if (label == 0) REFUSE("%%0 names nothing");
    if (t->labels[label]) REFUSE("%%%lld is made twice", (long long)label);
    if (!accept(t, '=')) REFUSE("= expected");
  }
  IrIns ins;
  int status = head(t, &ins);
  if (status >= 0) status = operands(t, &ins);
  if (status < 0) return status;
  blanks(t);
  if (t->at < t->end && *t->at != '\n') REFUSE("nothing more expected at '%.*s'", (int)(t->end - t->at < 20 ? t->end - t->at : 20), t->at);
  if (label && !ins.type && ins.op != IR_CALL) REFUSE("%s gives no value", ir_info[ins.op].name);
  status = ir_append(t->ir, ins, t->why);
  if (status > 0 && label) t->labels[label] = (uint32_t)status;
  return status;
}

UM_EXPORT int um_ir_parse(um_ir *ir, const char *text, uint64_t size, struct um_fault *why)
{
  struct um_fault inner = { 0 };
  Text t = { .at = text, .end = text + size, .line = 1, .labels = calloc(IR_MOST, sizeof(uint32_t)), .ir = ir, .why = &inner };
  if (!t.labels) return fault_set(why, UM_ENOMEM, "no memory to parse with");
  uint32_t count = ir->count, args = ir->arg_count, wide = ir->wide_count;
  IrScopes scopes = ir->scopes;
  int status = UM_OK;
  for (; status >= 0; t.line++) {
    status = line(&t);
    if (status < 0 || t.at == t.end) break;
    t.at++;
  }
  free(t.labels);
  if (status >= 0) return UM_OK;
  ir->count = count, ir->arg_count = args, ir->wide_count = wide, ir->scopes = scopes;
  return fault_set(why, inner.status, "line %u: %s", t.line, inner.text);
}
