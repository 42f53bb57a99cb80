// run: harts take turns on one thread: slices, interrupts, sleep, budgets, and accesses that Lua answers.
// SPDX-License-Identifier: MIT
//
// A round gives every hart that is not asleep one slice; clocks and timers are looked at between rounds. Where a run
// is interrupted (budget, kick, host time) the next one goes on in the middle of the same slice, so how often the
// host looks in does not change what the guests do. With a virtual clock slices are exact, and one hart's ends where
// the next timer is due (decisions: an interrupt comes at the same instruction in every run).
#include "base/fp.h"
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/hart.h"
#include "cpu/riscv/hook.h"
#include "cpu/riscv/tier0.h"
#include "cpu/riscv/tier1.h"
#include "cpu/riscv/trace.h"

enum { SLICE = 8192 };       // instructions: some 10 microseconds

// Where guest code goes on at hart->pc. NULL: a fetch fault was raised.
static const Dinsn *entrance(Hart *hart)
{
  if (likely(hart->pc != hart->skip_stop)) return blocks_find(hart, hart->pc);
  hart->skip_stop = 1;                             // odd: no instruction lies there
  return blocks_passing(hart, hart->pc);
}

bool hart_run_code(Hart *hart, bool exact)
{
  const Dinsn *first = entrance(hart);
  if (unlikely(!first)) {
    hart_take_trap(hart, hart->trap_cause, hart->trap_value);
    return true;
  }
  if (tier1_takes(hart, first)) first = tier1_run(hart, first);
  if (!first) return true;
  if (block_head(first)->count > (int32_t)hart->budget) {
    hart->last_block = hart->pc;
    if (!exact) return false;
    first = blocks_partial(hart, hart->pc, (unsigned)(int32_t)hart->budget);
  }
  if (first && !block_head(first)->heat) hart->stay |= STAY_ONCE;
  if (first && unlikely(hart->turns->watch & WATCH_EXEC)) trace_run(hart, first);
  else if (first) hart->tier0->run(hart, first, hart->data);
  else hart_take_trap(hart, hart->trap_cause, hart->trap_value);
  return true;
}

// One trip into guest code from hart->pc. False: the slice is over, though its last instructions were not run, because
// the next block is longer; `exact` has them run all the same. Whoever makes no progress (a trap whose handler traps
// again) still uses up its slice, one instruction a try. The first trap is free wherever slices end, so that a run in
// slices of one instruction takes the time of any other.
static bool trip(Hart *hart, bool exact)
{
  int64_t before = hart->budget;
  bool told = hart->pc == hart->skip_stop && !hart->again && !(hart->pace & UM_PACE_STEP);
  hart->leave = hart->again = hart->barren = hart->before = false;
  if (hart->mmio.state == MMIO_ASKED) hart->mmio.state = MMIO_NONE;         // nobody answered: it is asked again, if it comes to that
  // An access that Lua answered is done already: the instruction must take the answer before anything else happens. One that
  // a hook was told of comes next, too: behind an interrupt it would be told of it again.
  int interrupt = hart->mmio.state == MMIO_ANSWERED || hart->pace & UM_PACE_MASKED ? -1 : hart_pending(hart);
  int64_t later = told && interrupt >= 0 ? (int32_t)hart->budget - 1 : 0;       // the interrupt comes behind one instruction
  hart->budget -= later;
  hart->slice -= (uint64_t)later;
  if (interrupt >= 0 && !told) {
    hart_take_trap(hart, 1ull << 63 | (unsigned)interrupt, 0);
    hart->before = hart->stopped;                  // a hook waits for it: the host looks first
    if (hart->before) return true;
  }
  if (!hart_run_code(hart, exact)) return false;
  hart->budget += later;
  hart->slice += (uint64_t)later;
  if (hart->watched.size) hook_settle(hart);
  if (hart->mmio.state == MMIO_ASKED) return false;
  hart->mmio.state = MMIO_NONE;
  if ((int32_t)hart->budget == (int32_t)before && (hart->barren || hart->again)) {
    hart->budget--;
    hart->slice--;
  }
  return true;
}

// Returns how much of the slice is used up; *ended: the hart has nothing more to do in it.
static uint64_t run_slice(Hart *hart, uint64_t slice, bool exact, bool *ended)
{
  uint32_t host_fp = fp_mxcsr_read();
  fp_mxcsr_write(fp_mxcsr(hart->frm));
  hart->guest_fp = true;
  hart->slice = slice;
  hart->budget = (int64_t)slice;
  bool whole = true;
  do whole = trip(hart, exact);
  while (whole && (int32_t)hart->budget > 0 && !hart->waiting && !hart->stopped && !hart->clock->changed &&
         !atomic_load_explicit(&hart->control->attention, memory_order_relaxed));
  uint64_t left = (uint64_t)(int64_t)(int32_t)hart->budget;
  hart->retired += hart->slice - left;
  hart->accesses += (uint64_t)(hart->budget >> 32);
  hart->slice = 0;
  hart->budget = 0;
  hart->fflags |= (uint8_t)fp_flags();
  hart->guest_fp = false;
  fp_mxcsr_write(host_fp);
  *ended = hart->waiting || (!whole && hart->mmio.state != MMIO_ASKED);
  return slice - left;
}

static bool awake(Hart *hart)
{
  if (hart->waiting && (hart_mip(hart) & hart->mie)) hart->waiting = false;
  return !hart->waiting && !(hart->pace & UM_PACE_HELD);
}

static bool all_asleep(Turns *turns)
{
  bool any = false;
  for (unsigned i = 0; i < turns->count; i++) any |= awake(turns->hart[i]);
  return !any;
}

// Nobody has anything to do until a timer, a line or the host. False: the caller wants to look around.
static bool sleep_all(Turns *turns, uint64_t deadline)
{
  Hart *hart = turns->hart[0];
  Clock *clock = hart->clock;
  if (clock->virtual_rate && clock->next != CLOCK_NEVER) {
    clock_jump(clock, clock->next);
    return true;
  }
  uint64_t now = clock_host_ns(), limit = deadline > now ? deadline - now : 0;
  uint64_t timer = clock->next == CLOCK_NEVER ? limit : clock_ns_until(clock, clock->next);
  bool woken = control_sleep(hart->control, timer < limit ? timer : limit);
  hart->idle_ns += clock_host_ns() - now;
  return !woken;
}

// Instructions from now to the next timer of a virtual clock, at least 1.
static uint64_t until_timer(const Clock *clock)
{
  if (clock->next == CLOCK_NEVER) return UINT64_MAX;
  uint64_t due = clock_instructions_at(clock, clock->next), now = clock->instructions;
  return due > now ? due - now : 1;
}

static void begin_turn(Turns *turns)
{
  Hart *hart = turns->hart[turns->turn];
  turns->left = turns->length;
  turns->from = hart->retired;
  hart->clock->runner = hart;
}

static void begin_round(Turns *turns)
{
  Clock *clock = turns->hart[0]->clock;
  uint64_t length = clock->virtual_rate ? until_timer(clock) : SLICE;
  uint64_t most = clock->virtual_rate && turns->count == 1 ? 8 * SLICE : SLICE;
  turns->length = length < most ? length : most;
  turns->turn = 0;
  begin_turn(turns);
}

// The hart whose turn it is has used its slice or sleeps. Virtual time passes by what one hart did, or by whole rounds.
static void end_turn(Turns *turns)
{
  Clock *clock = turns->hart[0]->clock;
  uint64_t used = turns->length - turns->left;
  turns->left = 0;
  clock->runner = NULL;
  if (++turns->turn < turns->count) {
    begin_turn(turns);
    return;
  }
  turns->turn = 0;
  if (clock->virtual_rate) clock->instructions += turns->count == 1 ? used : turns->length;
}

uint64_t hart_turn_progress(const void *hart)
{
  Hart *running = (Hart *)(uintptr_t)hart;
  return hart_instret(running) - running->turns->from;
}

// What a run may still do. A trap whose handler traps at once retires nothing, for ever: when that has used up a whole
// slice without one instruction, its tries count too.
typedef struct Budget {
  uint64_t left, fruitless;
} Budget;

static void spend(Budget *budget, uint64_t retired, uint64_t used)
{
  budget->left -= retired;
  budget->fruitless = retired ? 0 : budget->fruitless + used;
  if (budget->fruitless > SLICE && budget->fruitless >= budget->left) budget->left = 0;
}

// One hart's next piece of work. UM_EXIT_BUDGET: nothing to report.
static uint32_t step(Turns *turns, Budget *budget)
{
  Hart *hart = turns->hart[turns->turn];
  Clock *clock = hart->clock;
  bool ended = true, stepped = false;
  if (awake(hart)) {
    turns->last = turns->turn;
    uint64_t slice = turns->left < budget->left ? turns->left : budget->left, before = hart->retired;
    stepped = hart->pace & UM_PACE_STEP;
    bool single = stepped || turns->watch & WATCH_EXEC;
    if (single) slice = 1;
    uint64_t used = run_slice(hart, slice, clock->virtual_rate || single || slice == budget->left, &ended);
    turns->left -= used;
    spend(budget, hart->retired - before, used);
    stepped = stepped && !hart->again;
  }
  if (clock->changed) {
    // A timer was set: one hart alone must not run past it.
    clock->changed = false;
    uint64_t due = until_timer(clock), used = turns->length - turns->left;
    if (clock->virtual_rate && turns->count == 1 && due < turns->length) {
      turns->length = due > used ? due : used;
      turns->left = turns->length - used;
    }
  }
  if (hart->mmio.state == MMIO_ASKED) return UM_EXIT_MMIO;
  if (ended || !turns->left) end_turn(turns);
  if (hart->stopped & STOPPED_AT) return UM_EXIT_STOP;
  if (stepped && !hart->before) return UM_EXIT_STEP;
  return hart->stopped ? UM_EXIT_HOOK : UM_EXIT_BUDGET;
}

static uint32_t run_turns(Turns *turns, uint64_t instructions, uint64_t deadline)
{
  Budget budget = { .left = instructions };
  Control *control = turns->hart[0]->control;
  for (;;) {
    if (atomic_exchange(&control->attention, 0)) {
      if (control->halt) return UM_EXIT_HALT;
      atomic_store(&control->kicked, 0);
      return UM_EXIT_ATTENTION;
    }
    if (!budget.left) return UM_EXIT_BUDGET;
    if (!turns->left) {
      clock_poll(turns->hart[0]->clock);
      turns->hart[0]->clock->changed = false;
      if (atomic_load(&control->attention)) continue;       // an alarm: it is served before the next instruction
      if (deadline != UINT64_MAX && clock_host_ns() >= deadline) return UM_EXIT_TIME;
      if (all_asleep(turns)) {
        if (!sleep_all(turns, deadline)) return UM_EXIT_ATTENTION;
        continue;
      }
      begin_round(turns);
    }
    uint32_t reason = step(turns, &budget);
    if (reason != UM_EXIT_BUDGET) return reason;
  }
}

static uint64_t retired(const Turns *turns)
{
  uint64_t sum = 0;
  for (unsigned i = 0; i < turns->count; i++) sum += turns->hart[i]->retired;
  return sum;
}

// Hits come one a run, and before what ended the run in which they came.
static uint32_t run_or_report(Turns *turns, uint64_t budget, uint64_t deadline)
{
  if (hooks_have_hits(turns->hooks)) return UM_EXIT_HOOK;
  uint32_t reason = turns->owed;
  turns->owed = 0;
  if (reason) return reason;
  reason = run_turns(turns, budget, deadline);
  if (reason == UM_EXIT_HOOK || !hooks_have_hits(turns->hooks)) return reason;
  turns->owed = reason;
  return UM_EXIT_HOOK;
}

UM_EXPORT int um_hart_run(um_hart *first, uint64_t budget, uint64_t host_ns, struct um_exit *exit)
{
  Turns *turns = first->turns;
  uint64_t start = retired(turns), now = clock_host_ns();
  for (unsigned i = 0; i < turns->count; i++)
    if (turns->hart[i]->pc != turns->hart[i]->skip_stop) turns->hart[i]->skip_stop = 1;
  trace_begin(turns);
  tier1_begin(turns);
  *exit = (struct um_exit){ .reason = run_or_report(turns, budget, host_ns > UINT64_MAX - now ? UINT64_MAX : now + host_ns) };
  Hart *hart = turns->hart[turns->last];
  hart->stopped = 0;
  if (exit->reason == UM_EXIT_MMIO) {
    exit->gpa = hart->mmio.gpa;
    exit->value = hart->mmio.value;
    exit->size = hart->mmio.size;
    exit->write = hart->mmio.write;
    exit->window = hart->mmio.window;
  }
  Log *log = hart->mem->log;
  if (log && log->on && exit->reason != UM_EXIT_MMIO && exit->reason != UM_EXIT_HOOK) um_log_flush(log);
  exit->hart = turns->last;
  exit->owed = turns->owed;
  exit->pc = hart->pc;
  exit->executed = retired(turns) - start;
  exit->block = hart->last_block;
  return UM_OK;
}

// Between rounds only: in the middle of one, time has yet to pass for those that slept before.
UM_EXPORT bool um_hart_idle(const um_hart *first)
{
  Turns *turns = first->turns;
  return !turns->left && all_asleep(turns) && first->clock->next == CLOCK_NEVER;
}

UM_EXPORT void um_hart_pace(um_hart *hart, uint32_t pace)
{
  hart->pace = (uint8_t)pace;
  if (hart->turns->owed == UM_EXIT_STEP) hart->turns->owed = 0;
}

UM_EXPORT int um_hart_answer(um_hart *first, uint64_t value, struct um_fault *why)
{
  Hart *hart = first->turns->hart[first->turns->turn];
  if (hart->mmio.state != MMIO_ASKED) return fault_set(why, UM_EINVAL, "no access is waiting for an answer");
  hart->mmio.value = value;
  hart->mmio.state = MMIO_ANSWERED;
  if (hooks_wait(hart->turns->hooks, hart->pc)) hart->skip_stop = hart->pc;     // one may have come since it was asked
  return UM_OK;
}
