// sweep: takes out of a block what nobody uses. What may go is said by the effects in ops.h.
// SPDX-License-Identifier: MIT
#include "ir/ir.h"
#include <stdlib.h>

// Gives a value, reads state at most, and is no result (which stands where its call wants it).
static bool removable(const IrIns *ins)
{
  return ins->op == IR_NOP || (ins->type != IR_VOID && ins->op != IR_RESULT && (ir_info[ins->op].effects & ~EFFECT_READ) == 0);
}

// Calls f on every operand.
static void each_operand(Ir *ir, IrIns *ins, uint32_t *table, void (*f)(Ref *operand, uint32_t *table))
{
  unsigned operands = ir_info[ins->op].operands;
  if (operands > 0 || ins->op == IR_RESULT) f(&ins->a, table);
  if (operands > 1) f(&ins->b, table);
  if (operands > 2) f(&ins->c, table);
  for (int64_t i = 0; ins->op == IR_CALL && i < ins->imm; i++) f(&ir->args[ins->a + i], table);
}

static void mark(Ref *operand, uint32_t *table) { table[*operand] = 1; }
static void rename_operand(Ref *operand, uint32_t *table) { *operand = table[*operand]; }

void ir_sweep(Ir *ir)
{
  uint32_t *table = calloc(ir->count, sizeof *table);        // first: is it used; then: its new number
  if (!table || ir->full) {
    free(table);
    return;
  }
  for (Ref ref = ir->count - 1; ref > 0; ref--) {
    if (removable(&ir->ins[ref]) && !table[ref]) continue;
    table[ref] = 1;
    each_operand(ir, &ir->ins[ref], table, mark);
  }
  uint32_t count = 1;
  for (Ref ref = 1; ref < ir->count; ref++) {
    if (!table[ref]) continue;
    IrIns ins = ir->ins[ref];
    each_operand(ir, &ins, table, rename_operand);
    table[ref] = count;
    ir->scope[count] = ir->scope[ref];
    ir->ins[count++] = ins;
  }
  ir->count = count;
  free(table);
}
