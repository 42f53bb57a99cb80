// tier1: translated blocks in the run loop.
// SPDX-License-Identifier: MIT
#include "cpu/riscv/tier1.h"
#include "base/fault.h"
#include "cpu/riscv/lift.h"
#include "cpu/riscv/lockstep.h"
#include "cpu/riscv/tier0.h"
#include "cpu/riscv/trace.h"
#include "jit/jit.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct Tier1 {
  Jit *jit;
  Ir   ir;                                  // of the block that is translated
  JitRun run;
  uint32_t threshold;
  uint32_t generation;                      // changes when all code is forgotten
  struct um_translations counts;
  bool     lockstep;
  uint32_t pressure;                        // a block has to be 2^pressure times as hot
  uint64_t executed_before, made_before;    // counts when room was made last
  uint8_t copy[BLOCK_MOST * 4];             // of code in a window
};

// Which registers of RISC-V live in registers of the host: those that compilers use most.
static const struct { char file; uint8_t number; const char *reg; } pins[] = {
  { 'x', 2, "rbx" }, { 'x', 8, "r12" }, { 'x', 10, "rdi" }, { 'x', 11, "rsi" }, { 'x', 12, "r8" }, { 'x', 13, "r9" }, { 'x', 14, "r10" }, { 'x', 15, "r11" },
  { 'f', 8, "xmm5" }, { 'f', 9, "xmm6" }, { 'f', 10, "xmm7" }, { 'f', 11, "xmm8" }, { 'f', 12, "xmm9" }, { 'f', 13, "xmm10" }, { 'f', 14, "xmm11" },
  { 'f', 15, "xmm12" },
};

enum { BIAS = 128, PUNTS_MOST = 64, RUNS_WANTED = 200, PRESSURE_MOST = 12 };

static int open_jit(Tier1 *t, Hart *first, struct um_fault *why)
{
  const struct um_jit_options options = { .size = first->options.code_bytes, .backing = UM_CODE_DUAL, .bias = BIAS, .features = ~0u };
  t->jit = um_jit_new(&riscv_guest, &options, why);
  if (!t->jit) return why->status;
  um_riscv_prepare(t->jit);
  if (first->window) um_riscv_prepare_window(t->jit, first);
  for (unsigned i = 0; i < sizeof pins / sizeof pins[0]; i++) {
    const char file[] = { pins[i].file, 0 };
    int status = um_jit_pin(t->jit, (uint32_t)um_ir_guest_find(&riscv_guest, file, why), pins[i].number, pins[i].reg, why);
    if (status < 0) return status;
  }
  return jit_make_thunks(t->jit, why);
}

int tier1_open(Hart *first, struct um_fault *why)
{
  if (first->options.engine == UM_ENGINE_T0) return UM_OK;
  Tier1 *t = calloc(1, sizeof *t);
  if (!t || !ir_init(&t->ir, &riscv_guest)) {
    free(t);
    return fault_set(why, UM_ENOMEM, "no memory for translated code");
  }
  t->lockstep = first->options.engine == UM_ENGINE_LOCKSTEP;
  t->threshold = first->options.engine == UM_ENGINE_AUTO ? first->options.threshold : 0;
  int status = open_jit(t, first, why);
  if (status < 0) {
    tier1_close(t);
    return status;
  }
  first->tier1 = t;
  return UM_OK;
}

void tier1_close(Tier1 *t)
{
  if (!t) return;
  um_jit_free(t->jit);
  ir_fini(&t->ir);
  free(t);
}

uint32_t tier1_heat(const Hart *hart)
{
  const Tier1 *t = hart->tier1;
  return !t ? UINT32_MAX : t->pressure ? (t->threshold + 1) << t->pressure : t->threshold;
}

// Whoever wants to see instructions, accesses or blocks sees them in tier 0.
static bool watched(const Hart *hart)
{
  bool logs = hart->mem && hart->mem->log && hart->mem->log->on;
  return hart->turns->watch || hart->ring || logs;
}

void tier1_begin(Turns *turns)
{
  for (unsigned i = 0; i < turns->count; i++) turns->hart[i]->stay = watched(turns->hart[i]) ? STAY : 0;
}

// Translating ---------------------------------------------------------------------------------------

static bool translated_addresses(const Hart *hart) { return !hart->window && hart->priv != PRIV_M; }

static bool woven(const BlockHead *head)
{
  const Cold *cold = block_cold(head);
  for (unsigned i = 0; i < head->slots; i += riscv_ops[cold[i].op].width)
    if (cold[i].op == OP_HOOK || cold[i].op == OP_RING) return true;
  return false;
}

static const uint8_t *bytes_of(Hart *hart, const BlockHead *head)
{
  if (!hart->window) return mem_ram(hart->mem, head->gpa, head->bytes);
  return window_read(hart->window, head->gpa, hart->tier1->copy, head->bytes) ? hart->tier1->copy : NULL;
}

// The IR of a decoded block, up to what is no instruction. False: there is none.
static bool lift_block(Hart *hart, const BlockHead *head, Ir *ir, bool *fp)
{
  Lift l = { .ir = ir, .context = hart->extensions | LIFT_FP_READY };
  const uint8_t *code = bytes_of(hart, head);
  ir_clear(ir);
  while (code && !l.ended && l.at < head->bytes) {
    uint32_t word = 0;
    memcpy(&word, code + l.at, head->bytes - l.at < 4 ? 2 : 4);
    if (!riscv_lift(&l, word)) break;
  }
  if (!l.at) return false;
  lift_end(&l);
  ir_sweep(ir);
  debug_check(ir->full || ir_verify(ir, NULL) >= 0);
  *fp = l.fp;
  return !ir->full;
}

// Room is made too often when what was translated has hardly been run: blocks have to be hotter then, to be translated again.
static void feel_pressure(Tier1 *t)
{
  uint64_t run = t->counts.executed - t->executed_before, made = t->jit->instructions - t->made_before;
  if (run / RUNS_WANTED < made) t->pressure += t->pressure < PRESSURE_MOST;
  else if (run / RUNS_WANTED / 4 > made) t->pressure -= t->pressure > 0;
  t->executed_before = t->counts.executed;
  t->made_before = t->jit->instructions;
}

static void forget_all(Hart *hart)
{
  Tier1 *t = hart->tier1;
  feel_pressure(t);
  for (uint32_t i = 0; i < t->jit->code_count; i++) {
    if (t->jit->codes[i].dropped) continue;
    BlockHead *head = t->jit->codes[i].owner;
    head->code = 0;
    head->heat = tier1_heat(hart);
  }
  jit_flush(t->jit);
  t->generation++;
  t->counts.flushes++;
  for (unsigned i = 0; i < hart->turns->count; i++) hart_forget_jumps(hart->turns->hart[i]);
}

static void note_time(Tier1 *t, uint64_t began, uint64_t pc)
{
  uint64_t ns = clock_host_ns() - began;
  t->counts.ns += ns;
  if (ns <= t->counts.slowest_ns) return;
  t->counts.slowest_ns = ns;
  t->counts.slowest_pc = pc;
}

// Its number, or a refusal.
static int64_t translate(Hart *hart, const BlockHead *head)
{
  Tier1 *t = hart->tier1;
  struct um_fault why;
  uint64_t began = clock_host_ns();
  bool fp, paged = translated_addresses(hart);
  if (woven(head) || (t->lockstep && !lockstep_takes(head)) || !lift_block(hart, head, &t->ir, &fp)) return UM_EINVAL;
  unsigned flags = (fp ? JIT_GUARDED : 0) | (paged ? JIT_PAGED : 0);
  int64_t number = jit_translate(t->jit, &t->ir, hart->pc, flags, &why);
  if (number == UM_ENOMEM) {
    forget_all(hart);
    number = jit_translate(t->jit, &t->ir, hart->pc, flags, &why);
  }
  note_time(t, began, hart->pc);
  return number;
}

static JitCode *find_code(Hart *hart, const BlockHead *head, uint64_t gva)
{
  const Jit *jit = hart->tier1->jit;
  unsigned paged = translated_addresses(hart) ? JIT_PAGED : 0;
  for (uint32_t i = head->code; i; i = jit->codes[i - 1].sibling) {
    JitCode *code = &jit->codes[i - 1];
    if (code->pc == gva && (code->flags & JIT_PAGED) == paged) return code;
  }
  return NULL;
}

// The block stays tier 0's.
static void cool(Hart *hart, BlockHead *head)
{
  head->heat = UINT32_MAX;
  block_first(head)->fn = hart->tier0->passes;
}

// The code of a hot block at hart->pc; NULL: it stays tier 0's.
static JitCode *code_at(Hart *hart, const Dinsn *first)
{
  Tier1 *t = hart->tier1;
  BlockHead *head = block_head(first);
  JitCode *code = find_code(hart, head, hart->pc);
  if (code) return code;
  int64_t number = translate(hart, head);
  if (number < 0) {
    t->counts.refused++;
    cool(hart, head);
    return NULL;
  }
  code = &t->jit->codes[number];
  code->owner = head;
  code->sibling = head->code;
  head->code = (uint32_t)number + 1;
  Jump *jump = hart_jump(hart, hart->pc);
  if (!t->lockstep && jump->first == first && jump->gva == hart->pc && jump->epoch == hart->fetch_epoch) jump->code = code->at;
  return code;
}

const void *tier1_entry(Hart *hart, uint64_t gva, const Dinsn *first)
{
  if (!hart->tier1) return NULL;
  const JitCode *code = hart->tier1->lockstep ? NULL : find_code(hart, block_head(first), gva);
  return code ? code->at : hart->tier1->jit->leave_next;
}

// Dropping ------------------------------------------------------------------------------------------

void tier1_drop(Hart *hart, BlockHead *head)
{
  if (!hart->tier1 || !head->code) return;
  Jit *jit = hart->tier1->jit;
  for (uint32_t i = head->code; i; i = jit->codes[i - 1].sibling) jit_drop(jit, i - 1);
  head->code = 0;
  for (unsigned i = 0; i < hart->turns->count; i++) {
    Jump *jump = hart_jump(hart->turns->hart[i], head->gpa);          // its index has no more bits than a page's offset
    if (jump->first == block_first(head)) jump->gva = 1;
  }
}
_Static_assert((int)JUMPS <= (int)PAGE_ENTRIES, "tier1_drop");

void tier1_forked(Hart *hart)
{
  forget_all(hart);
  if (!jit_renew(hart->tier1->jit)) hart->stay = STAY;
}

void tier1_flush(Hart *hart)
{
  if (!hart->tier1) return;
  jit_flush(hart->tier1->jit);
  hart->tier1->generation++;
}

void tier1_unlink(Hart *hart)
{
  if (hart->tier1) jit_unlink_all(hart->tier1->jit);
}

// Running -------------------------------------------------------------------------------------------

static void enter(Hart *hart, const JitCode *code)
{
  Tier1 *t = hart->tier1;
  JitRun *run = &t->run;
  run->state = hart;
  run->guest = &riscv_guest;
  run->host = hart_host(hart);
  int64_t before = run->left = (int32_t)hart->budget;
  hart->in_code = true;
  hart->punt = false;
  if (hart->window) window_run_code(&t->jit->in_window);
  jit_enter(t->jit, code->at, run);
  if (hart->window) window_run_code(NULL);               // the code may be gone before this thread's next fault
  hart->in_code = false;
  if (run->exit.reason == JIT_HEAD) hart->pc = t->jit->codes[run->which].pc;
  else if (run->exit.reason == JIT_LINKED) hart->pc = t->jit->links[run->which].pc;
  else if (run->exit.reason != UM_IR_LEAVE) hart->pc = run->exit.pc;
  hart->budget = (int64_t)(((uint64_t)hart->budget & ~(uint64_t)UINT32_MAX) | (uint32_t)run->left);
  t->counts.entries++;
  t->counts.executed += (uint64_t)(before - run->left);
}

// A block that goes to devices again and again is better off in tier 0 as a whole.
static void punted(Hart *hart)
{
  Tier1 *t = hart->tier1;
  JitCode *code = &t->jit->codes[t->run.which];
  t->counts.punts++;
  if (code->dropped || ++code->punts < PUNTS_MOST) return;
  BlockHead *head = code->owner;
  tier1_drop(hart, head);
  cool(hart, head);
}

// The instruction at hart->pc is not done. True: tier 0 does it.
static bool fault(Hart *hart, const struct um_ir_exit *exit)
{
  if (exit->reason == UM_IR_TRAP) {
    hart_take_trap(hart, exit->cause, exit->value);
    return false;
  }
  if (hart->punt) {
    punted(hart);
    return true;
  }
  if (hart->again) return false;
  if (hart->trap_cause == CAUSE_ILLEGAL) hart->trap_value = hart_instruction_at(hart, hart->pc);
  hart_take_trap(hart, hart->trap_cause, hart->trap_value);
  return false;
}

static const Dinsn *find(Hart *hart)
{
  const Dinsn *first = blocks_find(hart, hart->pc);
  if (!first) hart_take_trap(hart, hart->trap_cause, hart->trap_value);
  return first;
}

// What pages hold may be told apart only where they are looked up: a link to another page stands where addresses are not translated.
static void connect(Hart *hart, uint32_t number, const JitCode *to)
{
  Jit *jit = hart->tier1->jit;
  const JitLink *link = &jit->links[number];
  const JitCode *from = &jit->codes[link->from];
  bool near = !((from->pc ^ to->pc) & PAGE_MASK);
  if (near || !(from->flags & JIT_PAGED)) jit_link(jit, number, (uint32_t)(to - jit->codes));
}

const Dinsn *tier1_run(Hart *hart, const Dinsn *first)
{
  Tier1 *t = hart->tier1;
  const JitRun *run = &t->run;
  JitCode *code = code_at(hart, first);
  if (t->lockstep && code && block_head(first)->count <= (int32_t)hart->budget && !hart->fp_mode)
    return lockstep_run(hart, t->jit, code, &t->counts.differences) ? NULL : first;
  if (t->lockstep) return first;
  while (code) {
    enter(hart, code);
    uint32_t generation = t->generation;
    int reason = (int)run->exit.reason;
    if (reason == UM_IR_FAULT || reason == UM_IR_TRAP) return fault(hart, &run->exit) ? find(hart) : NULL;
    if (reason == UM_IR_LEAVE || hart->leave) return NULL;
    first = find(hart);
    if (!first || reason == JIT_HEAD || block_head(first)->heat) {
      if (first && reason == UM_IR_NEXT) blocks_note_jump(hart, hart->pc, first);
      return first;
    }
    code = code_at(hart, first);
    if (code && reason == JIT_LINKED && t->generation == generation) connect(hart, run->which, code);
    if (code && reason == UM_IR_NEXT) blocks_note_jump(hart, hart->pc, first);
  }
  return first;
}

// Looking at it -------------------------------------------------------------------------------------

UM_EXPORT bool um_hart_translations(const um_hart *hart, struct um_translations *counts)
{
  const Tier1 *t = hart->tier1;
  if (!t) return false;
  const Jit *jit = t->jit;
  *counts = t->counts;
  counts->blocks = jit->translated;
  counts->instructions = jit->instructions;
  counts->bytes = jit->bytes;
  counts->links = jit->linked;
  counts->used = jit->code.used;
  counts->size = jit->code.size;
  counts->backing = jit->code.backing;
  for (uint32_t i = 0; i < jit->code_count; i++) counts->alive += !jit->codes[i].dropped;
  return true;
}

UM_EXPORT const char *um_hart_notice(const um_hart *hart) { return hart->tier1 ? hart->tier1->jit->code.notice : ""; }

UM_EXPORT int64_t um_hart_translated(um_hart *hart, uint64_t gva, um_ir *ir, uint8_t *host, uint64_t size, uint32_t *marks, uint32_t *insns, struct um_fault *why)
{
  Jit *jit = hart->tier1 ? hart->tier1->jit : NULL;
  uint32_t i = jit ? jit->code_count : 0;
  while (i && (jit->codes[i - 1].dropped || jit->codes[i - 1].pc != gva)) i--;
  if (!i) return fault_set(why, UM_EINVAL, "no translated block stands at %#llx", (unsigned long long)gva);
  const JitCode *code = &jit->codes[i - 1];
  bool fp;
  if (!lift_block(hart, code->owner, ir, &fp)) return fault_set(why, UM_EINVAL, "the code at %#llx cannot be read", (unsigned long long)gva);
  int status = jit_marks(jit, ir, i - 1, marks, why);
  if (status < 0) return status;
  memcpy(host, code->at, code->size < size ? code->size : size);
  *insns = code->insns;
  return code->size;
}
