// ir_run: a hart that is run by its IR: evaluated, which is the reference for whatever is faster, or translated, a block at a time.
// SPDX-License-Identifier: MIT
#include "base/fp.h"
#include "cpu/riscv/helpers.h"
#include "cpu/riscv/lift.h"
#include "jit/jit.h"
#include <stddef.h>

// A window that holds the bytes but not the pages raises the fault of a page, or what the host said.
static bool load(void *context, uint64_t address, unsigned bytes, IrValue *value)
{
  Hart *hart = context;
  *value = u256_from(0);
  if (!hart->window) return hart_load(hart, hart->data, address, bytes, &value->w[0]);
  if (window_load(hart->window, address, bytes, &value->w[0])) return true;
  hart_window_refused(hart, address, 1, ACCESS_READ);
  return false;
}

static bool store(void *context, uint64_t address, unsigned bytes, const IrValue *value)
{
  Hart *hart = context;
  if (!hart->window) return hart_store(hart, hart->data, address, bytes, value->w[0]);
  if (window_store(hart->window, address, bytes, value->w[0])) return true;
  hart_window_refused(hart, address, 1, ACCESS_WRITE);
  return false;
}

static void *place(void *context, uint64_t address, unsigned bytes, bool write)
{
  Hart *hart = context;
  if (!hart->window) return hart_atomic(hart, hart->data, address, bytes, write);
  if (!(address & (bytes - 1)) && window_holds(address, bytes)) return hart->window->base + address;
  hart_window_refused(hart, address, bytes, write ? ACCESS_WRITE : ACCESS_READ);
  return NULL;
}

static void refused(void *context, uint64_t address, unsigned bytes, bool write)
{
  hart_window_refused(context, address, bytes, write ? ACCESS_WRITE : ACCESS_READ);
}

IrHost hart_host(Hart *hart)
{
  return (IrHost){ hart, load, store, place, &hart->reserved, &hart->reserved_value, refused };
}

// The instruction at pc raised an exception, or wants the host first. False: the latter.
static bool take_fault(Hart *hart)
{
  if (hart->mmio.state == MMIO_ASKED || hart->again) return false;
  if (hart->trap_cause == CAUSE_ILLEGAL) hart->trap_value = hart_instruction_at(hart, hart->pc);
  hart_take_trap(hart, hart->trap_cause, hart->trap_value);
  return true;
}

// Code that was left at exit->pc, with exit->insns instructions begun. False: the last of them is not done.
static bool settle(Hart *hart, const struct um_ir_exit *exit)
{
  bool done = exit->reason == UM_IR_NEXT || exit->reason == UM_IR_LEAVE;
  hart->retired += exit->insns - !done;
  if (exit->reason != UM_IR_LEAVE) hart->pc = exit->pc;
  if (exit->reason == UM_IR_FAULT) return take_fault(hart);
  if (exit->reason == UM_IR_TRAP) hart_take_trap(hart, exit->cause, exit->value);
  return true;
}

// One instruction, or the exception it raises; before it an interrupt, if one is pending. False: it is not done.
static bool evaluate_one(Hart *hart, Ir *ir)
{
  int interrupt = hart_pending(hart);
  if (interrupt >= 0) hart_take_trap(hart, 1ull << 63 | (unsigned)interrupt, 0);
  const IrHost host = hart_host(hart);
  MmuResult fetched;
  struct um_ir_exit exit = { 0 };
  if (!hart_fetch(hart, hart->pc, &fetched)) return take_fault(hart);
  uint32_t word = hart_instruction_at(hart, hart->pc);
  if ((word & 3) == 3 && !hart_fetch(hart, hart->pc + 2, &fetched)) return take_fault(hart);
  Lift l = { .ir = ir, .context = hart->extensions };
  ir_clear(ir);
  if (!riscv_lift(&l, word)) {
    hart_raise(hart, CAUSE_ILLEGAL, 0);
    return take_fault(hart);
  }
  lift_end(&l);
  check(ir_verify(ir, NULL) >= 0);
  check(ir_eval(ir, &host, hart, hart->pc, &exit));
  return settle(hart, &exit);
}

static int may_run(const Hart *hart, struct um_fault *why)
{
  if (hart->turns->watch) return fault_set(why, UM_EINVAL, "hooks on accesses and traps do not see what is evaluated or translated");
  return UM_OK;
}

UM_EXPORT int um_hart_evaluate(um_hart *hart, uint64_t count, uint64_t *done, struct um_fault *why)
{
  Ir ir;
  *done = 0;
  if (may_run(hart, why) < 0) return UM_EINVAL;
  if (!ir_init(&ir, &riscv_guest)) {
    ir_fini(&ir);
    return fault_set(why, UM_ENOMEM, "no memory for a block");
  }
  bool fine = true;
  for (; *done < count && !hart->waiting && fine; *done += fine) {
    hart->leave = hart->again = false;
    fine = evaluate_one(hart, &ir);
  }
  ir_fini(&ir);
  if (fine) return UM_OK;
  hart->mmio.state = MMIO_NONE;
  return fault_set(why, UM_EINVAL, "the instruction at %#llx wants the host first", (unsigned long long)hart->pc);
}

static const JitReserved reservation = { true, offsetof(Hart, reserved), offsetof(Hart, reserved_value) };

UM_EXPORT void um_riscv_prepare(um_jit *jit)
{
  jit->reservation = reservation;
  jit->loop = (JitLoop){ .there = true, .left = offsetof(Hart, budget), .leave = offsetof(Hart, leave), .unready = offsetof(Hart, fp_mode),
                         .jumps = offsetof(Hart, jumps), .jump_count = JUMPS, .epoch = offsetof(Hart, fetch_epoch), .page_bits = PAGE_BITS };
  jit->tlb = (JitTlb){ true, offsetof(Hart, data), offsetof(Tlb, mask), { offsetof(Tlb, kind[TLB_READ]), offsetof(Tlb, kind[TLB_WRITE]) } };
}

_Static_assert(offsetof(Jump, gva) == 0 && offsetof(Jump, epoch) == 8 && offsetof(Jump, code) == 24 && sizeof(Jump) == 32, "as JitLoop says");
UM_EXPORT void um_riscv_prepare_window(um_jit *jit, const um_hart *hart)
{
  bool bound = hart->window->base == (uint8_t *)WINDOW_BYTES;
  jit->reservation = reservation;
  jit->window = (JitWindow){ .there = true, .bound = bound, .base = offsetof(Hart, data) };
}

_Static_assert(offsetof(TlbEntry, tag) == 0 && offsetof(TlbEntry, value) == 8, "as JitTlb says");

UM_EXPORT int um_hart_run_code(um_hart *hart, um_jit *jit, int64_t code, struct um_ir_exit *exit, struct um_fault *why)
{
  if (jit->guest != &riscv_guest || jit->window.there != (hart->window != NULL)) return fault_set(why, UM_EINVAL, "the code is not for such a hart");
  if (may_run(hart, why) < 0) return UM_EINVAL;
  JitRun run = { .state = hart, .guest = &riscv_guest, .host = hart_host(hart) };
  hart->leave = hart->again = false;
  hart->guest_fp = true;
  hart->slice = JIT_LEFT;
  hart->budget = JIT_LEFT;
  hart->fetch_epoch = UINT64_MAX;                            // no jump leads to the hart's own code
  if (hart->window) window_handle(true);
  int status = jit_run(jit, code, &run, why);
  if (hart->window) window_handle(false);
  hart_update_context(hart);
  hart->guest_fp = false;
  hart->slice = 0;
  hart->budget = 0;
  *exit = run.exit;
  if (status < 0) return status;
  bool done = settle(hart, exit);
  if (hart->window && exit->reason == UM_IR_FAULT) {
    exit->cause = hart->trap_cause;
    exit->value = hart->trap_value;
  }
  if (done) return UM_OK;
  hart->mmio.state = MMIO_NONE;
  return fault_set(why, UM_EINVAL, "the instruction at %#llx wants the host first", (unsigned long long)hart->pc);
}
