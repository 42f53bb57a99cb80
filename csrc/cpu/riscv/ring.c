// ring: what a hart ran last: a row a block that was entered, and a row a trap.
// SPDX-License-Identifier: MIT
//
// A slot at the head of every block writes the row; the instructions that were run of it are as many as were retired before
// the next row. Their words are read again when somebody asks.
#include "cpu/riscv/trace.h"
#include "base/fault.h"
#include "cpu/riscv/blocks.h"
#include <stdlib.h>

enum { RING_MOST = 1 << 20, RUN_MOST = 64 };

// The same trap again, nothing done in between, is counted in its row: a handler that traps at once would leave no other.
void ring_trap(Hart *hart, uint64_t cause, uint64_t value, uint64_t pc)
{
  uint64_t kind = RING_TRAP | (cause >> 63 ? RING_INTERRUPT : 0) | (cause & 31), count = trace_count(hart);
  RingRow *entered = &hart->ring[(hart->ring_next - 1) & hart->ring_mask], *trap = entered;
  bool block = !(entered->gpa & RING_TRAP) && entered->retired == count;
  if (block) trap = &hart->ring[(hart->ring_next - 2) & hart->ring_mask];
  if (hart->ring_next > block && trap->pc == pc && trap->retired == count && trap->value == value && (trap->gpa & ~RING_TIMES) == kind) {
    if ((trap->gpa & RING_TIMES) != RING_TIMES) trap->gpa += RING_TIME;
    hart->ring_next -= block;
    return;
  }
  hart->ring[hart->ring_next++ & hart->ring_mask] = (RingRow){ .pc = pc, .gpa = kind, .retired = count, .value = value };
}

static bool resize(Hart *hart, uint64_t rows)
{
  RingRow *ring = rows ? calloc(rows, sizeof *ring) : NULL;
  if (rows && !ring) return false;
  free(hart->ring);
  hart->ring = ring;
  hart->ring_mask = rows - 1;
  hart->ring_next = 0;
  return true;
}

UM_EXPORT int um_hart_ring(um_hart *first, uint32_t instructions, struct um_fault *why)
{
  uint64_t rows = instructions != 0;
  if (instructions > RING_MOST) return fault_set(why, UM_EINVAL, "ring: at most %d instructions", RING_MOST);
  while (rows < 2 * (uint64_t)instructions) rows *= 2;               // at worst each is a block of its own, and traps
  bool ok = true;
  for (unsigned i = 0; i < first->turns->count; i++) ok = resize(first->turns->hart[i], rows) && ok;
  blocks_flush(first);                           // its slots are woven into blocks
  return ok ? UM_OK : fault_set(why, UM_ENOMEM, "no memory for a ring");
}

typedef struct Last {
  struct um_last *rows;
  uint32_t most, count;
} Last;

static bool put(Last *last, struct um_last row)
{
  if (last->count == last->most) return false;
  last->rows[last->count++] = row;
  return true;
}

// The word at gpa, which the hart saw at gva; its second half may lie in another page.
static uint32_t read_word(Hart *hart, uint64_t gpa, uint64_t gva)
{
  uint16_t half[2] = { 0 };
  if (um_mem_read(hart->mem, gpa, half, 2, NULL) < 0 || (half[0] & 3) != 3) return half[0];
  bool same = (gva + 2) & (PAGE_BYTES - 1);
  if (same) um_mem_read(hart->mem, gpa + 2, half + 1, 2, NULL);
  else hart_peek(hart, gva + 2, half + 1, 2);
  return half[0] | (uint32_t)half[1] << 16;
}

// The first `count` instructions of the block that a row is about, the last one first.
static bool put_block(Hart *hart, Last *last, const RingRow *row, uint64_t count)
{
  struct um_last run[RUN_MOST];
  uint64_t at = 0;
  if (count > RUN_MOST) count = RUN_MOST;
  for (uint64_t i = 0; i < count; i++) {
    uint32_t word = read_word(hart, row->gpa + at, row->pc + at);
    run[i] = (struct um_last){ .kind = UM_LAST_INSN, .pc = row->pc + at, .count = row->retired + i, .word = word, .length = (word & 3) == 3 ? 4 : 2 };
    at += run[i].length;
  }
  while (count > 0)
    if (!put(last, run[--count])) return false;
  return true;
}

UM_EXPORT uint32_t um_hart_last(um_hart *hart, struct um_last *rows, uint32_t most)
{
  Last last = { rows, most, 0 };
  uint64_t later = hart->retired, size = hart->ring ? hart->ring_mask + 1 : 0;
  for (uint64_t i = hart->ring_next; i > 0 && hart->ring_next - i < size; i--) {
    const RingRow *row = &hart->ring[(i - 1) & hart->ring_mask];
    bool going = row->gpa & RING_TRAP
      ? put(&last, (struct um_last){ .kind = row->gpa & RING_INTERRUPT ? UM_LAST_INTERRUPT : UM_LAST_EXCEPTION, .pc = row->pc,
                                     .count = row->retired, .word = row->gpa & 31, .value = row->value,
                                     .times = 1 + (uint32_t)((row->gpa & RING_TIMES) / RING_TIME) })
      : put_block(hart, &last, row, later - row->retired);
    if (!going) break;
    later = row->retired;
  }
  return last.count;
}

UM_EXPORT bool um_hart_stuck(const um_hart *first)
{
  for (unsigned i = 0; i < first->turns->count; i++)
    if (first->turns->hart[i]->barren) return true;
  return false;
}
