// hart: making, running and looking into a RISC-V hart.
// SPDX-License-Identifier: MIT
#include "cpu/riscv/hart.h"
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/fp.h"
#include "cpu/riscv/tier0.h"
#include <stdlib.h>
#include <string.h>

enum { SLICE = 8192 };       // instructions between two looks at clock, lines and control: some 10 microseconds

static int check_options(const struct um_hart_options *o, struct um_fault *why)
{
  if (o->tlb_entries < 16 || o->tlb_entries > 65536 || (o->tlb_entries & (o->tlb_entries - 1)))
    return fault_set(why, UM_EINVAL, "tlb_entries: a power of two from 16 to 65536 expected, not %u", o->tlb_entries);
  if (o->paging_levels != 0 && (o->paging_levels < 3 || o->paging_levels > 5))
    return fault_set(why, UM_EINVAL, "paging_levels: 0, 3, 4 or 5 expected, not %u", o->paging_levels);
  if (o->pmp_entries != 0 && o->pmp_entries != PMP_ENTRIES)
    return fault_set(why, UM_EINVAL, "pmp_entries: 0 or %d expected, not %u", PMP_ENTRIES, o->pmp_entries);
  if (!(o->extensions >> EXT_I & 1)) return fault_set(why, UM_EINVAL, "extensions: i is missing");
  return UM_OK;
}

static bool make_tlbs(Hart *hart, unsigned entries)
{
  bool ok = tlb_init(&hart->machine_tlb, entries);
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) ok = tlb_init(&hart->spaces[i].tlb[c], entries) && ok;
  return ok;
}

UM_EXPORT um_hart *um_hart_new(um_mem *mem, um_clock *clock, um_control *control, const struct um_hart_options *options, struct um_fault *why)
{
  if (check_options(options, why) < 0) return NULL;
  Hart *hart = calloc(1, sizeof *hart);
  if (!hart) {
    fault_set(why, UM_ENOMEM, "no memory for a hart");
    return NULL;
  }
  hart->mem = mem;
  hart->clock = clock;
  hart->control = control;
  hart->options = *options;
  hart->extensions = options->extensions;
  clock_add(clock, &hart->stimer, hart_stimer_fire, hart);
  hart->blocks = blocks_new();
  if (!hart->blocks || !make_tlbs(hart, options->tlb_entries)) {
    fault_set(why, UM_ENOMEM, "no memory for a hart's caches");
    um_hart_free(hart);
    return NULL;
  }
  mem->code_watch = blocks_written;
  mem->code_watcher = hart;
  um_hart_reset(hart);
  return hart;
}

UM_EXPORT void um_hart_free(um_hart *hart)
{
  if (!hart) return;
  clock_remove(hart->clock, &hart->stimer);
  if (hart->mem->code_watcher == hart) hart->mem->code_watch = NULL;
  blocks_free(hart->blocks);
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
  hart->skip_stop = 1;                         // odd: a stop at reset_pc holds
  csr_reset(hart);
}

void hart_forget_jumps(Hart *hart)
{
  hart->machine_epoch = ++hart->epochs;
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) hart->spaces[i].epoch[c] = ++hart->epochs;
  hart_update_context(hart);
}

void hart_flush_fetch(Hart *hart)
{
  hart_forget_jumps(hart);
  tlb_flush_kind(&hart->machine_tlb, TLB_EXECUTE);
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) tlb_flush_kind(&hart->spaces[i].tlb[c], TLB_EXECUTE);
}

void hart_flush_write_host(Hart *hart, const void *page)
{
  tlb_flush_host(&hart->machine_tlb, TLB_WRITE, page, PAGE_BYTES);
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) tlb_flush_host(&hart->spaces[i].tlb[c], TLB_WRITE, page, PAGE_BYTES);
}

uint64_t hart_instret(Hart *hart)
{
  int64_t left = hart->budget + (hart->ip ? blocks_refund(hart->blocks, hart->ip, false) : 0);
  return hart->retired + hart->slice - (uint64_t)(int64_t)(int32_t)left;
}

bool hart_use_fp(Hart *hart, bool dirties)
{
  if (!(hart->mstatus & MSTATUS_FS)) return false;
  if (!dirties) return true;
  hart->mstatus |= MSTATUS_FS;
  hart_update_fp(hart);
  return true;
}

uint32_t hart_instruction_at(Hart *hart, uint64_t gva)
{
  uint64_t saved_cause = hart->trap_cause, saved_value = hart->trap_value, gpa;
  uint32_t word = 0;
  for (unsigned half = 0; half < 2; half++) {
    if (half == 1 && (word & 3) != 3) break;
    if (!hart_fetch(hart, gva + 2 * half, &gpa)) break;
    const uint8_t *host = mem_ram(hart->mem, gpa, 2);
    if (!host) break;
    word |= (uint32_t)(host[0] | host[1] << 8) << 16 * half;
  }
  hart->trap_cause = saved_cause;
  hart->trap_value = saved_value;
  return word;
}

// Running -------------------------------------------------------------------------------------------

bool hart_stops_at(Hart *hart, uint64_t gva)
{
  if (gva == hart->skip_stop) {
    hart->skip_stop = 1;                       // odd: no instruction lies there
    return false;
  }
  for (unsigned i = 0; i < hart->stop_count; i++)
    if (hart->stops[i] == gva) return true;
  return false;
}

// One trip into guest code from hart->pc. False: the slice is over, though its last instructions were not run, because
// the next block is longer; `exact` has them run all the same. Whoever makes no progress (a trap whose handler traps
// again) still uses up its slice, one instruction a try.
static bool trip(Hart *hart, bool exact)
{
  int64_t before = hart->budget;
  hart->leave = false;
  int interrupt = hart_pending(hart);
  if (interrupt >= 0) hart_take_trap(hart, 1ull << 63 | (unsigned)interrupt, 0);
  const Dinsn *first = blocks_find(hart, hart->pc);
  if (first && block_head(first)->count > (int32_t)hart->budget) {
    hart->last_block = hart->pc;
    if (!exact) return false;
    first = blocks_partial(hart, hart->pc, (unsigned)(int32_t)hart->budget);
  }
  if (first) tier0_run(hart, first);
  else hart_take_trap(hart, hart->trap_cause, hart->trap_value);
  if ((int32_t)hart->budget == (int32_t)before) {
    hart->budget--;
    hart->slice--;
  }
  return true;
}

static void run_slice(Hart *hart, uint64_t slice, bool exact)
{
  hart->slice = slice;
  hart->budget = (int64_t)slice;
  while (trip(hart, exact) && (int32_t)hart->budget > 0 && !hart->waiting && !hart->stopped &&
         !atomic_load_explicit(&hart->control->attention, memory_order_relaxed))
    continue;
  hart->retired += hart->slice - (uint64_t)(int64_t)(int32_t)hart->budget;
  hart->accesses += (uint64_t)(hart->budget >> 32);
  hart->slice = 0;
  hart->budget = 0;
}

// Asleep in wfi until an interrupt, a kick, the watched descriptor or the deadline. False: the caller wants to look around.
static bool idle(Hart *hart, uint64_t deadline)
{
  if (hart_mip(hart) & hart->mie) {
    hart->waiting = false;
    return true;
  }
  uint64_t now = clock_host_ns(), limit = deadline > now ? deadline - now : 0;
  uint64_t timer = hart->clock->next == CLOCK_NEVER ? limit : clock_ns_until(hart->clock, hart->clock->next);
  bool woken = control_sleep(hart->control, timer < limit ? timer : limit);
  hart->idle_ns += clock_host_ns() - now;
  return !woken;
}

static uint32_t run_until(Hart *hart, uint64_t budget, uint64_t deadline)
{
  uint64_t start = hart->retired, fruitless = 0;
  for (;;) {
    clock_poll(hart->clock);
    if (atomic_exchange(&hart->control->attention, 0)) {
      if (hart->control->halt) return UM_EXIT_HALT;
      atomic_store(&hart->control->kicked, 0);
      return UM_EXIT_ATTENTION;
    }
    uint64_t executed = hart->retired - start;
    if (executed >= budget || (fruitless > SLICE && fruitless >= budget - executed)) return UM_EXIT_BUDGET;
    if (deadline != UINT64_MAX && clock_host_ns() >= deadline) return UM_EXIT_TIME;
    if (hart->waiting) {
      if (!idle(hart, deadline)) return UM_EXIT_ATTENTION;
      continue;
    }
    uint64_t slice = budget - executed < SLICE ? budget - executed : SLICE;
    run_slice(hart, slice, slice == budget - executed);
    // A trap whose handler traps at once retires nothing, for ever: its tries are what uses up the budget then.
    fruitless = hart->retired - start == executed ? fruitless + slice : 0;
    if (hart->stopped) {
      hart->stopped = false;
      hart->skip_stop = hart->pc;
      return UM_EXIT_STOP;
    }
  }
}

UM_EXPORT int um_hart_run(um_hart *hart, uint64_t budget, uint64_t host_ns, struct um_exit *exit)
{
  uint64_t start = hart->retired, now = clock_host_ns();
  uint32_t host_fp = fp_mxcsr_read();
  fp_mxcsr_write(fp_mxcsr(hart->frm));
  hart->guest_fp = true;
  if (hart->pc != hart->skip_stop) hart->skip_stop = 1;
  exit->reason = run_until(hart, budget, host_ns > UINT64_MAX - now ? UINT64_MAX : now + host_ns);
  hart->fflags |= (uint8_t)fp_flags();
  hart->guest_fp = false;
  fp_mxcsr_write(host_fp);
  exit->pc = hart->pc;
  exit->executed = hart->retired - start;
  exit->block = hart->last_block;
  return UM_OK;
}
