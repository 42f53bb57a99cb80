// sweep: takes out of a block what nobody uses. What may go is said by the effects in ops.h.
// SPDX-License-Identifier: MIT
#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

// Gives a value, reads state at most, and is no result (which stands where its call wants it).
static bool removable(const IrIns *ins)
{
  return ins->op == IR_NOP || (ins->type != IR_VOID && ins->op != IR_RESULT && (ir_info[ins->op].effects & ~EFFECT_READ) == 0);
}

// Marks what an instruction uses.
static void mark(const Ir *ir, const IrIns *ins, uint32_t *table)
{
  unsigned operands = ins->op == IR_RESULT ? 1 : ir_info[ins->op].operands;
  if (operands > 0) table[ins->a] = 1;
  if (operands > 1) table[ins->b] = 1;
  if (operands > 2) table[ins->c] = 1;
  for (int64_t i = 0; ins->op == IR_CALL && i < ins->imm; i++) table[ir->args[ins->a + i]] = 1;
}

static void rename_operands(Ir *ir, IrIns *ins, const uint32_t *table)
{
  unsigned operands = ins->op == IR_RESULT ? 1 : ir_info[ins->op].operands;
  if (operands > 0) ins->a = table[ins->a];
  if (operands > 1) ins->b = table[ins->b];
  if (operands > 2) ins->c = table[ins->c];
  for (int64_t i = 0; ins->op == IR_CALL && i < ins->imm; i++) ir->args[ins->a + i] = table[ir->args[ins->a + i]];
}

void ir_sweep(Ir *ir)
{
  if (ir->full) return;
  if (ir->table_capacity < ir->count) {
    uint32_t *bigger = realloc(ir->table, ir->capacity * sizeof *bigger);
    if (!bigger) return;
    ir->table = bigger;
    ir->table_capacity = ir->capacity;
  }
  uint32_t *table = ir->table, first = ir->count;            // first: is it used; then: its new number
  memset(table, 0, ir->count * sizeof *table);
  for (Ref ref = ir->count - 1; ref > 0; ref--) {
    if (!table[ref] && removable(&ir->ins[ref])) {
      first = ref;
      continue;
    }
    table[ref] = 1;
    mark(ir, &ir->ins[ref], table);
  }
  uint32_t count = first;                                    // what comes before keeps its number
  for (Ref ref = 1; ref < first; ref++) table[ref] = ref;
  for (Ref ref = first; ref < ir->count; ref++) {
    if (!table[ref]) continue;
    IrIns ins = ir->ins[ref];
    rename_operands(ir, &ins, table);
    table[ref] = count;
    ir->scope[count] = ir->scope[ref];
    ir->ins[count++] = ins;
  }
  ir->count = count;
}
