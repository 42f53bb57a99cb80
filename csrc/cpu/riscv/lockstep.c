// lockstep: a block by translated code and by tier 0 from the same state, which must leave the same one.
// SPDX-License-Identifier: MIT
//
// Translated code runs first, with a TLB that never answers: every store is noted with what lay there. All of it is undone, and tier 0
// runs as many instructions; what it leaves holds. Blocks that call C for more than memory are tier 0's alone.
#include "cpu/riscv/lockstep.h"
#include "base/fp.h"
#include "cpu/riscv/lift.h"
#include "cpu/riscv/tier1.h"
#include "cpu/riscv/trace.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STORES_MOST = BLOCK_MOST, LINES_MOST = 10 };

typedef struct Noted {
  uint64_t gva, old, now;
  unsigned size;
} Noted;

// What plain instructions change.
typedef struct Shot {
  uint64_t x[32], f[32], pc, reserved_value, cause, value;
  void    *reserved;
  uint32_t mxcsr;
} Shot;

typedef struct Side {
  Hart    *hart;
  Tlb     *data;                    // the hart's own
  Noted    noted[STORES_MOST];
  unsigned count;
} Side;

static bool load(void *context, uint64_t gva, unsigned bytes, IrValue *value)
{
  Side *side = context;
  *value = u256_from(0);
  return hart_load(side->hart, side->data, gva, bytes, &value->w[0]);
}

static void note(Side *side, uint64_t gva, unsigned bytes)
{
  Noted row = { .gva = gva, .size = bytes };
  check(side->count < STORES_MOST);
  if (hart_peek(side->hart, gva, &row.old, bytes)) side->noted[side->count++] = row;      // else it faults, or goes to a device
}

static bool store(void *context, uint64_t gva, unsigned bytes, const IrValue *value)
{
  Side *side = context;
  note(side, gva, bytes);
  if (hart_store(side->hart, side->data, gva, bytes, value->w[0])) return true;
  side->count = 0 < side->count && side->noted[side->count - 1].gva == gva ? side->count - 1 : side->count;
  return false;
}

static void *place(void *context, uint64_t gva, unsigned bytes, bool write)
{
  Side *side = context;
  if (write && !(gva & (bytes - 1))) note(side, gva, bytes);
  return hart_atomic(side->hart, side->data, gva, bytes, write);
}

static Shot shot_of(const Hart *hart)
{
  Shot shot = { .pc = hart->pc, .reserved = hart->reserved, .reserved_value = hart->reserved_value, .cause = hart->trap_cause, .value = hart->trap_value,
                .mxcsr = fp_mxcsr_read() };
  memcpy(shot.x, hart->x, sizeof shot.x);
  memcpy(shot.f, hart->f, sizeof shot.f);
  return shot;
}

static void restore(Hart *hart, const Shot *shot)
{
  memcpy(hart->x, shot->x, sizeof shot->x);
  memcpy(hart->f, shot->f, sizeof shot->f);
  hart->pc = shot->pc;
  hart->reserved = shot->reserved;
  hart->reserved_value = shot->reserved_value;
  fp_mxcsr_write(shot->mxcsr);
}

static void undo(Side *side)
{
  for (unsigned i = 0; i < side->count; i++) hart_peek(side->hart, side->noted[i].gva, &side->noted[i].now, side->noted[i].size);
  for (unsigned i = side->count; i-- > 0;) hart_store(side->hart, side->data, side->noted[i].gva, side->noted[i].size, side->noted[i].old);
}

// The first difference as text; false: there is none.
static bool compare(const Side *side, const Shot *t1, const Shot *t0, bool trapped, char *text, size_t size)
{
  for (unsigned i = 1; i < 32; i++)
    if (t1->x[i] != t0->x[i]) return snprintf(text, size, "x%u is 0x%" PRIx64 ", not 0x%" PRIx64, i, t1->x[i], t0->x[i]), true;
  for (unsigned i = 0; i < 32; i++)
    if (t1->f[i] != t0->f[i]) return snprintf(text, size, "f%u is 0x%" PRIx64 ", not 0x%" PRIx64, i, t1->f[i], t0->f[i]), true;
  if (t1->pc != t0->pc) return snprintf(text, size, "pc is 0x%" PRIx64 ", not 0x%" PRIx64, t1->pc, t0->pc), true;
  if ((t1->mxcsr ^ t0->mxcsr) & FP_MXCSR_FLAGS) return snprintf(text, size, "floating-point flags are 0x%x, not 0x%x", t1->mxcsr & FP_MXCSR_FLAGS, t0->mxcsr & FP_MXCSR_FLAGS), true;
  if (t1->reserved != t0->reserved) return snprintf(text, size, "the reservation is another"), true;
  if (trapped && (t1->cause != t0->cause || t1->value != t0->value))
    return snprintf(text, size, "exception %" PRIu64 " with 0x%" PRIx64 ", not %" PRIu64 " with 0x%" PRIx64, t1->cause, t1->value, t0->cause, t0->value), true;
  for (unsigned i = side->count; i-- > 0;) {
    const Noted *row = &side->noted[i];
    uint64_t now = 0;
    bool later = false;                             // another store of the block lies over it
    for (unsigned j = i + 1; j < side->count; j++) later |= side->noted[j].gva < row->gva + row->size && row->gva < side->noted[j].gva + side->noted[j].size;
    hart_peek(side->hart, row->gva, &now, row->size);
    if (!later && now != row->now) return snprintf(text, size, "memory at 0x%" PRIx64 " is 0x%" PRIx64 ", not 0x%" PRIx64, row->gva, row->now, now), true;
  }
  return false;
}

// `count` instructions by tier 0, no more.
static void run_tier0(Hart *hart, int64_t count)
{
  int64_t later = (int32_t)hart->budget - count;
  hart->budget -= later;
  hart->slice -= (uint64_t)later;
  const Dinsn *first = count ? blocks_find(hart, hart->pc) : NULL;
  if (first && block_head(first)->count > count) first = blocks_partial(hart, hart->pc, (unsigned)count);
  hart->stay |= STAY_ONCE;
  if (first) hart->tier0->run(hart, first, hart->data);
  hart->stay &= STAY;
  hart->budget += later;
  hart->slice += (uint64_t)later;
}

bool lockstep_takes(const BlockHead *head)
{
  const Cold *cold = block_cold(head);
  for (unsigned i = 0; i < head->slots; i += riscv_ops[cold[i].op].width)
    if (cold[i].op < OPS && riscv_ops[cold[i].op].flags & OPF_STATE) return false;
  return true;
}

int64_t lockstep_run(Hart *hart, Jit *jit, const JitCode *code, uint64_t *differences)
{
  Side side = { .hart = hart, .data = hart->data };
  JitRun run = { .state = hart, .guest = &riscv_guest, .left = (int32_t)hart->budget,
                 .host = { &side, load, store, place, &hart->reserved, &hart->reserved_value, NULL } };
  int64_t budget = hart->budget;
  Shot before = shot_of(hart);
  hart->in_code = true;
  hart->punt = false;
  hart->data = &hart->turns->trace->blind;
  jit_enter(jit, code->at, &run);
  hart->data = side.data;
  hart->in_code = false;
  hart->pc = run.exit.reason == JIT_LINKED ? jit_link_at(jit, run.which)->pc : run.exit.reason == JIT_HEAD ? code->pc : run.exit.pc;
  bool trapped = (run.exit.reason == UM_IR_FAULT || run.exit.reason == UM_IR_TRAP) && !hart->punt;
  if (run.exit.reason == UM_IR_TRAP) hart_raise(hart, run.exit.cause, run.exit.value);
  Shot t1 = shot_of(hart);
  undo(&side);
  restore(hart, &before);
  hart->budget = budget;
  int64_t count = (int32_t)budget - run.left;
  run_tier0(hart, count);
  Shot t0 = shot_of(hart);
  if (trapped) {
    run_tier0(hart, 1);
    t0.cause = hart->trap_cause;
    t0.value = hart->trap_value;
  }
  char text[160];
  if (compare(&side, &t1, &t0, trapped, text, sizeof text) && ++*differences <= LINES_MOST)
    dprintf(2, "umbra: lockstep: block 0x%" PRIx64 ", after %" PRId64 " of %u instructions: %s\n", code->pc, count, code->insns, text);
  return count + trapped;
}
