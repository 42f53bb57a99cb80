// print: a block as text that parse.c reads back.
// SPDX-License-Identifier: MIT
#include "ir/ir.h"
#include <stdarg.h>
#include <stdio.h>

typedef struct Out {
  char    *to;
  uint64_t size, length;                 // room; of the whole text
} Out;

__attribute__((format(printf, 2, 3))) static void put(Out *out, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  uint64_t room = out->length < out->size ? out->size - out->length : 0;
  int length = vsnprintf(room ? out->to + out->length : NULL, room, format, args);
  va_end(args);
  out->length += length > 0 ? (uint64_t)length : 0;
}

static void put_modifiers(Out *out, const IrIns *ins)
{
  unsigned extra = ir_info[ins->op].extra;
  if (extra == EXTRA_ROUND) put(out, ".%s", ir_round_name[ins->aux]);
  if (extra != EXTRA_MEM && extra != EXTRA_AMO) return;
  if (extra == EXTRA_AMO) put(out, ".%s", ir_amo_name[ins->aux >> 8]);
  bool stores = ins->op == IR_STORE || ins->op == IR_SC;
  put(out, ".%s%u", stores ? "" : ins->aux & MEM_SIGNED ? "s" : "u", 8u << (ins->aux & MEM_SIZE));
  if (ins->aux & MEM_BIG) put(out, ".be");
  if (ins->aux & MEM_ACQUIRE) put(out, ".aq");
  if (ins->aux & MEM_RELEASE) put(out, ".rl");
}

static void put_constant(Out *out, IrValue v)
{
  int top = 3;
  while (top > 0 && !v.w[top]) top--;
  put(out, "0x%llx", (unsigned long long)v.w[top]);
  while (top-- > 0) put(out, "%016llx", (unsigned long long)v.w[top]);
}

static void put_slot(Out *out, const Ir *ir, int64_t slot)
{
  const IrSlot *row = ir_slot(ir->guest, slot);
  put(out, "%s", row->name);
  if (row->count > 1) put(out, "[%u]", (unsigned)(slot & 255));
}

// What is written before the operands, and after; each part after a comma but the first.
static void put_operands(Out *out, const Ir *ir, const IrIns *ins)
{
  const IrInfo *info = &ir_info[ins->op];
  const Ref operand[3] = { ins->a, ins->b, ins->c };
  const char *comma = " ";
  switch (info->extra) {
  case EXTRA_CONST: put(out, " "); put_constant(out, ir_constant(ir, ins)); break;
  case EXTRA_SLOT: put(out, " "); put_slot(out, ir, ins->imm); comma = ", "; break;
  case EXTRA_CAUSE: put(out, " %lld", (long long)ins->imm); comma = ", "; break;
  case EXTRA_INDEX: put(out, " %%%u, %lld", ins->a, (long long)ins->imm); break;
  case EXTRA_INSN: put(out, " %+lld, %u", (long long)ins->imm, ins->aux); break;
  case EXTRA_FENCE: put(out, " %u, %u", ins->aux >> 4, ins->aux & 15u); break;
  case EXTRA_HELPER:
    put(out, " %s", ir->guest->helpers[ins->aux].name);
    for (int64_t i = 0; i < ins->imm; i++) put(out, ", %%%u", ir->args[ins->a + i]);
    break;
  }
  for (unsigned i = 0; i < info->operands; i++, comma = ", ") put(out, "%s%%%u", comma, operand[i]);
  if (info->extra == EXTRA_DELTA) put(out, "%s%+lld", comma, (long long)ins->imm);
}

static void put_instruction(Out *out, const Ir *ir, Ref ref, unsigned depth)
{
  const IrIns *ins = &ir->ins[ref];
  const IrInfo *info = &ir_info[ins->op];
  put(out, "%*s", (int)(2 * depth), "");
  if (ins->type || ins->op == IR_CALL) put(out, "%%%u = ", ref);
  put(out, "%s", info->name);
  if (info->signature[0] != '-' && info->signature[0] != 'B') put(out, ".%s", ir_type_name[ins->type]);
  put_modifiers(out, ins);
  put_operands(out, ir, ins);
  put(out, "\n");
}

UM_EXPORT uint64_t um_ir_print(const um_ir *ir, char *to, uint64_t size)
{
  Out out = { .to = to, .size = size };
  unsigned depth = 0;
  put(&out, "%s", "");                     // ends with a zero even when it is empty
  for (Ref ref = 1; ref < ir->count; ref++) {
    unsigned op = ir->ins[ref].op;
    if (op == IR_OTHERWISE || op == IR_END) depth--;
    put_instruction(&out, ir, ref, depth);
    if (op == IR_WHEN || op == IR_OTHERWISE) depth++;
  }
  return out.length;
}
