// hart: making, running and looking into a RISC-V hart.
// SPDX-License-Identifier: MIT
#include "cpu/riscv/hart.h"
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/hook.h"
#include "cpu/riscv/tier0.h"
#include "cpu/riscv/tier1.h"
#include "cpu/riscv/trace.h"
#include <stdlib.h>
#include <string.h>

static int check_options(const Mem *mem, const struct um_hart_options *o, struct um_fault *why)
{
  if (mem->code_watch) return fault_set(why, UM_EINVAL, "mem: it has a hart already");      // who is told when code changes
  if (o->tlb_entries < 16 || o->tlb_entries > 65536 || (o->tlb_entries & (o->tlb_entries - 1)))
    return fault_set(why, UM_EINVAL, "tlb_entries: a power of two from 16 to 65536 expected, not %u", o->tlb_entries);
  if (o->paging_levels != 0 && (o->paging_levels < 3 || o->paging_levels > 5))
    return fault_set(why, UM_EINVAL, "paging_levels: 0, 3, 4 or 5 expected, not %u", o->paging_levels);
  if (o->pmp_entries != 0 && o->pmp_entries != PMP_ENTRIES)
    return fault_set(why, UM_EINVAL, "pmp_entries: 0 or %d expected, not %u", PMP_ENTRIES, o->pmp_entries);
  if (o->reset_pc & 1) return fault_set(why, UM_EINVAL, "reset_pc: an even address expected, not %#llx", (unsigned long long)o->reset_pc);
  if (!(o->extensions >> EXT_I & 1)) return fault_set(why, UM_EINVAL, "extensions: i is missing");
  return UM_OK;
}

void *hart_memory(size_t size)
{
  void *memory = aligned_alloc(_Alignof(Hart), size);
  return memory ? memset(memory, 0, size) : NULL;
}

static bool make_tlbs(Hart *hart, unsigned entries)
{
  bool ok = tlb_init(&hart->machine_tlb, entries);
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) ok = tlb_init(&hart->spaces[i].tlb[c], entries) && ok;
  return ok;
}

// A hart of `turns`, or the first of its own when that is NULL.
static Hart *make(Mem *mem, Clock *clock, Control *control, Turns *turns, const struct um_hart_options *options, struct um_fault *why)
{
  Hart *hart = hart_memory(sizeof *hart);
  if (!hart) {
    fault_set(why, UM_ENOMEM, "no memory for a hart");
    return NULL;
  }
  hart->mem = mem;
  hart->clock = clock;
  hart->control = control;
  hart->options = *options;
  hart->extensions = options->extensions;
  hart->tier0 = &tier0_tlb;
  clock_add(clock, &hart->stimer, hart_stimer_fire, hart);
  clock->progress = hart_turn_progress;
  hart->turns = turns ? turns : calloc(1, sizeof *turns);
  hart->blocks = turns ? turns->hart[0]->blocks : blocks_new();
  bool ok = make_tlbs(hart, options->tlb_entries);
  if (hart->turns && !turns) ok = trace_init(hart->turns) && ok;
  if (hart->turns) hart->turns->hart[hart->turns->count++] = hart;
  if (!hart->blocks || !hart->turns || !ok) {
    fault_set(why, UM_ENOMEM, "no memory for a hart's caches");
    um_hart_free(hart);
    return NULL;
  }
  if (turns) hart->tier1 = turns->hart[0]->tier1;
  else if (tier1_open(hart, why) < 0) {
    um_hart_free(hart);
    return NULL;
  }
  mem->code_watch = blocks_written;
  mem->code_watcher = hart->turns->hart[0];
  um_hart_reset(hart);
  return hart;
}

UM_EXPORT um_hart *um_hart_new(um_mem *mem, um_clock *clock, um_control *control, const struct um_hart_options *options, struct um_fault *why)
{
  return check_options(mem, options, why) < 0 ? NULL : make(mem, clock, control, NULL, options, why);
}

UM_EXPORT um_hart *um_hart_add(um_hart *first, uint64_t hartid, struct um_fault *why)
{
  if (first->turns->count == HARTS_MOST || first->turns->hart[0] != first) {
    fault_set(why, UM_EINVAL, "harts: at most %d, added to the first", HARTS_MOST);
    return NULL;
  }
  struct um_hart_options options = first->options;
  options.hartid = hartid;
  return make(first->mem, first->clock, first->control, first->turns, &options, why);
}

UM_EXPORT void um_hart_free(um_hart *hart)
{
  if (!hart) return;
  Turns *turns = hart->turns;
  if (turns) check_values(turns->hart[turns->count - 1] == hart, turns->count, 0);    // the last made goes first
  clock_remove(hart->clock, &hart->stimer);
  if (hart->clock->runner == hart) hart->clock->runner = NULL;
  if (turns && --turns->count > 0) {
    turns->turn = turns->last = 0;
    turns->left = 0;
  } else {
    if (hart->mem->code_watcher == hart) hart->mem->code_watch = NULL;
    blocks_free(hart->blocks, hart->mem);
    tier1_close(hart->tier1);
    if (turns) trace_fini(turns);
    if (turns) hooks_free(turns->hooks);
    free(turns);
  }
  free(hart->ring);
  tlb_fini(&hart->machine_tlb);
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) tlb_fini(&hart->spaces[i].tlb[c]);
  free(hart);
}

UM_EXPORT void um_hart_reset(um_hart *hart)
{
  memset(hart->x, 0, sizeof hart->x);
  memset(hart->f, 0, sizeof hart->f);
  hart->pc = hart->options.reset_pc;
  hart->past += hart->retired;
  hart->retired = 0;
  hart->barren = false;
  hart->turns->turn = 0;                       // the next run begins with a round
  hart->turns->left = 0;
  hart->clock->runner = NULL;
  hart->skip_stop = 1;                         // odd: a stop at reset_pc holds
  hart->trapped_at = hart->forestalled_at = UINT64_MAX;
  hart->mmio.state = MMIO_NONE;
  hart->turns->owed = 0;
  hooks_forget_hits(hart->turns->hooks);
  hart->call_done = 0;
  hart->ring_next = 0;
  csr_reset(hart);
}

void hart_forget_jumps(Hart *hart)
{
  hart->machine_epoch = ++hart->epochs;
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) hart->spaces[i].epoch[c] = ++hart->epochs;
  hart_update_context(hart);
}

static void flush_fetch(Hart *hart)
{
  hart_forget_jumps(hart);
  tlb_flush_kind(&hart->machine_tlb, TLB_EXECUTE);
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) tlb_flush_kind(&hart->spaces[i].tlb[c], TLB_EXECUTE);
}

void hart_flush_fetch(Hart *hart)
{
  for (unsigned i = 0; i < hart->turns->count; i++) flush_fetch(hart->turns->hart[i]);
}

void hart_flush_data(Hart *hart)
{
  for (unsigned n = 0; n < hart->turns->count; n++) {
    Hart *other = hart->turns->hart[n];
    for (int kind = TLB_READ; kind <= TLB_WRITE; kind++) {
      tlb_flush_kind(&other->machine_tlb, kind);
      for (int i = 0; i < ADDRESS_SPACES; i++)
        for (int c = CONTEXT_S; c < CONTEXTS; c++) tlb_flush_kind(&other->spaces[i].tlb[c], kind);
    }
  }
}

static void flush_write_host(Hart *hart, const void *page)
{
  tlb_flush_host(&hart->machine_tlb, TLB_WRITE, page, PAGE_BYTES);
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) tlb_flush_host(&hart->spaces[i].tlb[c], TLB_WRITE, page, PAGE_BYTES);
}

void hart_flush_write_host(Hart *hart, const void *page)
{
  for (unsigned i = 0; i < hart->turns->count; i++) flush_write_host(hart->turns->hart[i], page);
}

uint64_t hart_instret(Hart *hart)
{
  int64_t left = hart->budget + (hart->ip ? blocks_refund(hart->blocks, hart->ip, false) : 0);
  return hart->retired + hart->slice - (uint64_t)(int64_t)(int32_t)left;
}

void hart_fp_dirty(Hart *hart)
{
  if ((hart->mstatus & MSTATUS_FS) == MSTATUS_FS) return;
  hart->mstatus |= MSTATUS_FS;
  hart_update_fp(hart);
}

uint32_t hart_instruction_at(Hart *hart, uint64_t gva)
{
  uint64_t saved_cause = hart->trap_cause, saved_value = hart->trap_value;
  uint16_t half = 0;
  uint32_t word = hart_code_half(hart, gva, &half) ? half : 0;
  if ((word & 3) == 3 && hart_code_half(hart, gva + 2, &half)) word |= (uint32_t)half << 16;
  hart->trap_cause = saved_cause;
  hart->trap_value = saved_value;
  return word;
}
