// tier0: the interpreter: threaded handlers over decoded blocks, and the slow ways out of them.
// SPDX-License-Identifier: MIT
//
// A handler gets the machine's hot state in registers and ends in a tail call of the next one. What is
// rare (a TLB miss, FS off, a budget that is spent) is itself a tail call, of a function that does the
// instruction again without shortcuts, so that no hot path saves a register. Handlers are generated
// from lua/isa/riscv; the macros below are the words they are written in. With UMBRA_DEBUG (debug
// and sanitizer builds, whose compilers may not make tail calls) a handler returns to a loop instead.
//
// The file is compiled twice: here guest memory is found through the TLB; tier0_window.c makes the form for
// processes, whose memory is a window of the host's (mem/window.h).
#include "cpu/riscv/tier0.h"
#include "base/bits.h"
#include "base/fp.h"
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/helpers.h"
#include "cpu/riscv/hook.h"
#include "cpu/riscv/tier1.h"
#include "cpu/riscv/trace.h"
#ifdef TIER0_WINDOW
#include "mem/window.h"
#endif

#ifdef UMBRA_DEBUG
#define RUN(first) do { h->next_ip = (first); h->next_pc = pc; h->next_budget = budget; h->next_tlb = tlb; return; } while (0)
#elif defined(__clang__)
#define RUN(first) do { const Dinsn *next_ = (first); __attribute__((musttail)) return next_->fn(next_, h, pc, budget, tlb); } while (0)
#else
#define RUN(first) do { const Dinsn *next_ = (first); return next_->fn(next_, h, pc, budget, tlb); } while (0)
#endif

#define PASS(place) (place), h, pc, budget, tlb
#define HANDLER(name)      static __attribute__((aligned(64))) void op_##name(ARGS)     // a line of their own: 5 to 9 % on sha256
#define SLOW_HANDLER(name) static __attribute__((noinline)) void slow_##name(ARGS)
#define NEXT(slots) RUN(ip + (slots));
#define SYNC() (h->ip = ip, h->budget = budget, h->block_pc = pc)

#define REG_x(n) h->x[n]
#define SET_x(n, value) h->x[n] = (value);
#define REG_f(n) h->f[n]
#define SET_f(n, value) h->f[n] = (value);

// Leaving guest code --------------------------------------------------------------------------------

// Back to the run loop before the instruction at ip.
static __attribute__((noinline)) void leave_at(ARGS)
{
  (void)tlb;
  const Cold *cold = blocks_cold(h->blocks, ip);
  h->pc = pc + 2u * cold->offset;
  h->budget = budget + blocks_refund(h->blocks, ip, false);
}

// The instruction at ip raised h->trap_*.
static __attribute__((noinline)) void leave_trap(ARGS)
{
  leave_at(PASS(ip));
  if (h->mmio.state == MMIO_ASKED || h->again || h->before) {   // not a trap: the host does its part, and the instruction is done again
    if (h->before || hooks_wait(h->turns->hooks, h->pc)) h->skip_stop = h->pc;   // not arrived at again
    return;
  }
  hart_take_trap(h, h->trap_cause, h->trap_value);
}

static __attribute__((noinline)) void leave_illegal(ARGS)
{
  const Cold *cold = blocks_cold(h->blocks, ip);
  hart_raise(h, CAUSE_ILLEGAL, hart_instruction_at(h, pc + 2u * cold->offset));
  leave_trap(PASS(ip));
}

// A helper refused with CAUSE_ILLEGAL and no value: the value is the instruction.
static __attribute__((noinline)) void leave_refused(ARGS)
{
  if (h->trap_cause == CAUSE_ILLEGAL) leave_illegal(PASS(ip));
  else leave_trap(PASS(ip));
}

// The instruction at ip is done and set h->pc itself (mret, sret).
static __attribute__((noinline)) void leave_redirected(ARGS)
{
  (void)pc, (void)tlb;
  h->budget = budget + blocks_refund(h->blocks, ip, true);
}

// Control has arrived at h->pc, where the block at ip lies, with `budget` left.
static __attribute__((noinline)) void enter(ARGS)
{
  h->budget = budget;
  blocks_note_jump(h, h->pc, ip);
  int64_t left = budget + block_head(ip)->packed;
  if (unlikely((int32_t)left < 0)) return;
  pc = h->pc;
  budget = left;
  RUN(ip);
}

// Control has arrived at h->pc with `budget` left: go on there if that is possible.
static __attribute__((noinline)) void arrive(ARGS)
{
  (void)ip;
  h->budget = budget;
  const Dinsn *first = blocks_find(h, h->pc);
  if (unlikely(!first)) {
    hart_take_trap(h, h->trap_cause, h->trap_value);
    return;
  }
  enter(PASS(first));
}

// A direct jump at ip that is taken and cannot go the short way: unlinked, out of the page, or out of budget.
static __attribute__((noinline)) void branch_slow(ARGS)
{
  const Link *link = (const Link *)(ip + 1);
  uint64_t to = pc + (uint64_t)(int64_t)ip->imm;
  if (unlikely(to & 2 && !hart_has(h, EXT_C))) {
    hart_raise(h, CAUSE_FETCH_MISALIGNED, to);
    leave_trap(PASS(ip));
    return;
  }
  int64_t refund = blocks_refund(h->blocks, ip, true);        // first: what follows may drop this very block
  h->pc = to;
  budget += refund;
  if (!link->target) {
    uint32_t generation = blocks_generation(h->blocks);
    h->budget = budget;
    const Dinsn *target = blocks_find(h, h->pc);
    if (!target) {
      hart_take_trap(h, h->trap_cause, h->trap_value);
      return;
    }
    if (blocks_generation(h->blocks) == generation) blocks_link(h, ip, target);
    enter(PASS(target));
    return;
  }
  arrive(PASS(ip));
}

static void op_DEAD(ARGS)
{
  h->pc = pc;
  budget -= block_head(ip)->packed;
  arrive(PASS(ip));
}

static void op_BAD(ARGS)
{
  leave_illegal(PASS(ip));
}

// At the head of a block that may be translated once it is hot.
static void op_HEAT(ARGS)
{
  BlockHead *head = block_head(ip);
  if (unlikely(!head->heat) && !h->stay) { leave_at(PASS(ip)); return; }
  head->heat -= head->heat > 0;
  h->stay &= STAY;
  NEXT(1)
}

static void op_PASSES(ARGS)
{
  NEXT(1)
}

// At the head of a block, if somebody may ask what was run.
static void op_RING(ARGS)
{
  const BlockHead *head = block_head(ip);
  if (unlikely(!h->ring)) { NEXT(1) }              // a hart that was added later
  RingRow *row = &h->ring[h->ring_next++ & h->ring_mask];
  row->pc = pc;
  row->gpa = head->gpa;
  row->retired = h->retired + h->slice - (uint64_t)(int64_t)(int32_t)budget - head->count;
  NEXT(1)
}

// Before an instruction that somebody may wait for.
static __attribute__((noinline)) void op_HOOK(ARGS)
{
  SYNC();
  if (hook_reached(h, pc + 2u * ip->a)) {
    leave_at(PASS(ip));
    return;
  }
  NEXT(1)
}

static void op_HOOK_AT(ARGS)
{
  if (unlikely((uint32_t)pc + 2u * ip->a == (uint32_t)ip->imm)) { op_HOOK(PASS(ip)); return; }
  NEXT(1)
}

// What is almost always false is decided here.
#define SECOND_BODY() RUN(ip + (ip->c | (unsigned)ip->d << 8))
#define HOOK_GUARD(name, type, compare) \
  HANDLER(HOOK_##name) \
  { \
    if (unlikely((type)h->x[ip->b] compare (type)(int64_t)ip->imm)) { op_HOOK(PASS(ip)); return; } \
    NEXT(1) \
  } \
  HANDLER(EARLY_##name) \
  { \
    if (unlikely((type)h->x[ip->b] compare (type)(int64_t)ip->imm)) { SECOND_BODY(); } \
    NEXT(1) \
  }
HOOK_GUARD(EQ, uint64_t, ==)
HOOK_GUARD(NE, uint64_t, !=)
HOOK_GUARD(LTU, uint64_t, <)
HOOK_GUARD(GEU, uint64_t, >=)
HOOK_GUARD(LT, int64_t, <)
HOOK_GUARD(GE, int64_t, >=)

static __attribute__((noinline)) void early_answer(ARGS)
{
  if (hook_would_hit(h, pc + 2u * ip->a)) { SECOND_BODY(); }
  NEXT(1)
}

static void op_EARLY(ARGS)
{
  if (unlikely((uint32_t)pc + 2u * ip->a == (uint32_t)ip->imm)) { early_answer(PASS(ip)); return; }
  NEXT(1)
}

// Jumps ---------------------------------------------------------------------------------------------

#define GOTO_DIRECT(k) \
  { \
    const Link *link_ = (const Link *)(ip + (k) + 1); \
    int64_t left_ = budget + link_->delta; \
    if (unlikely((int32_t)left_ < 0)) { branch_slow(PASS(ip + (k))); return; } \
    budget = left_; \
    pc += (uint64_t)(int64_t)ip[k].imm; \
    RUN(link_->target); \
  }

// By what earlier jumps to the same place found, as long as no fetch translates otherwise (epoch).
#define GOTO_CHECKED(va, refund, slow) \
  { \
    const Jump *jump_ = hart_jump(h, va); \
    if (unlikely(((jump_->gva ^ va) | (jump_->epoch ^ h->fetch_epoch)) != 0)) { slow; } \
    const Dinsn *first_ = jump_->first; \
    int64_t left_ = budget + (refund) + block_head(first_)->packed; \
    if (unlikely((int32_t)left_ < 0)) { slow; } \
    budget = left_; \
    pc = va; \
    RUN(first_); \
  }

#define GOTO_FAR(k) \
  { \
    uint64_t va_ = pc + (uint64_t)(int64_t)ip[k].imm; \
    GOTO_CHECKED(va_, ((const Link *)(ip + (k) + 1))->delta, branch_slow(PASS(ip + (k))); return) \
  }

#define GOTO_INDIRECT(target) \
  { \
    uint64_t va_ = (target); \
    GOTO_CHECKED(va_, 0, h->pc = va_; arrive(PASS(ip)); return) \
  }

static void op_NEXT(ARGS)
{
  GOTO_DIRECT(0)
}

static void op_NEXT_FAR(ARGS)
{
  GOTO_FAR(0)
}

// Memory --------------------------------------------------------------------------------------------

#ifdef TIER0_WINDOW

// The fifth argument is the window's first byte. Where the host refuses, the slow handler does the instruction again and raises.

#define OUTSIDE(va) unlikely((va) >> WINDOW_BITS)
#define OUTSIDE_ALIGNED(va, size) unlikely((va) & (~(uint64_t)0 << WINDOW_BITS | ((size) - 1)))
#define PLACE(va) ((uint8_t *)(void *)tlb + (va))

#define FAST_LOAD(type, out, va, size, slow, k) TRY_LOAD(type, out, va, slow(PASS(ip + (k))))
#define FAST_STORE(type, va, v, size, slow, k) TRY_STORE(type, va, v, slow(PASS(ip + (k))))
#define FAST_AMO(operation, type, out, va, v, size, slow, k) TRY_AMO(operation, type, out, va, v, size, slow(PASS(ip + (k))))
#define FAST_LR(type, out, va, size, slow, k) TRY_LR(type, out, va, size, slow(PASS(ip + (k))))
#define FAST_SC(type, out, va, v, size, slow, k) TRY_SC(type, out, va, v, size, slow(PASS(ip + (k))))
#define SLOW_LOAD(type, out, va, size) SYNC(); TRY_LOAD(type, out, va, refused(PASS(ip), va, 1, ACCESS_READ))
#define SLOW_STORE(type, va, v, size) SYNC(); TRY_STORE(type, va, v, refused(PASS(ip), va, 1, ACCESS_WRITE))
#define SLOW_AMO(operation, type, out, va, v, size) SYNC(); TRY_AMO(operation, type, out, va, v, size, refused(PASS(ip), va, size, ACCESS_WRITE))
#define SLOW_LR(type, out, va, size) SYNC(); TRY_LR(type, out, va, size, refused(PASS(ip), va, size, ACCESS_READ))
#define SLOW_SC(type, out, va, v, size) SYNC(); TRY_SC(type, out, va, v, size, refused(PASS(ip), va, size, ACCESS_WRITE))

static __attribute__((noinline)) void refused(ARGS, uint64_t va, unsigned size, int access)
{
  hart_window_refused(h, va, size, access);
  leave_trap(PASS(ip));
}

// What has a place to go on from behind `fault_` ends with `done_`.
#define TRY(bad, access, failed) \
  { \
    __label__ fault_, done_; \
    if (bad) goto fault_; \
    access; \
    goto done_; \
   fault_: failed; \
    return; \
   done_:; \
  }

#define TRY_LOAD(type, out, va, failed) \
  WINDOW_TEMP_##type out; \
  TRY(OUTSIDE(va), WINDOW_LOAD(type, out, PLACE(va), fault_), failed)

#define TRY_STORE(type, va, v, failed) TRY(OUTSIDE(va), WINDOW_STORE(type, PLACE(va), v, fault_), failed)

// Another's store between load and exchange makes a new try: `out` is then what it stored.
#define TRY_AMO(operation, type, out, va, v, size, failed) \
  type out; \
  TRY(OUTSIDE_ALIGNED(va, size), { \
    uint8_t stored_; \
    WINDOW_LOAD(type, out, PLACE(va), fault_); \
    do WINDOW_EXCHANGE(type, PLACE(va), out, NEW_##operation(type, out, (type)(v)), stored_, fault_); \
    while (unlikely(!stored_)); \
  }, failed)

#define SIGNED_uint32_t int32_t
#define SIGNED_uint64_t int64_t
#define NEW_swap(type, old, v) (v)
#define NEW_add(type, old, v) (type)((old) + (v))
#define NEW_and(type, old, v) ((old) & (v))
#define NEW_or(type, old, v) ((old) | (v))
#define NEW_xor(type, old, v) ((old) ^ (v))
#define NEW_min(type, old, v) ((SIGNED_##type)(v) < (SIGNED_##type)(old) ? (v) : (old))
#define NEW_max(type, old, v) ((SIGNED_##type)(v) > (SIGNED_##type)(old) ? (v) : (old))
#define NEW_minu(type, old, v) ((v) < (old) ? (v) : (old))
#define NEW_maxu(type, old, v) ((v) > (old) ? (v) : (old))

#define TRY_LR(type, out, va, size, failed) \
  WINDOW_TEMP_##type out; \
  TRY(OUTSIDE_ALIGNED(va, size), WINDOW_LOAD(type, out, PLACE(va), fault_), failed) \
  h->reserved = PLACE(va); \
  h->reserved_value = out;

// A store that has no reservation may not fault either (unprivileged manual 13.2 leaves it open).
#define TRY_SC(type, out, va, v, size, failed) \
  uint32_t out = 1; \
  TRY(OUTSIDE_ALIGNED(va, size), { \
    if (h->reserved == PLACE(va)) { \
      type expected_ = (type)h->reserved_value; \
      uint8_t stored_; \
      WINDOW_EXCHANGE(type, PLACE(va), expected_, (type)(v), stored_, fault_); \
      out = !stored_; \
    } \
  }, failed) \
  h->reserved = NULL;

#else

#define FAST_PROBE(kind, out, va, size, slow, k) \
  TlbEntry *out##_entry = tlb_entry(tlb, kind, va); \
  if (unlikely(!tlb_hit(out##_entry, va, size))) { slow(PASS(ip + (k))); return; }

#define FAST_LOAD(type, out, va, size, slow, k) \
  FAST_PROBE(TLB_READ, out, va, size, slow, k) \
  type out = *(const volatile type *)(va + out##_entry->value);

#define FAST_STORE(type, va, v, size, slow, k) \
  { \
    FAST_PROBE(TLB_WRITE, st, va, size, slow, k) \
    *(volatile type *)(va + st_entry->value) = (type)(v); \
  }

// A variable whose address was given away must be dead before the next handler is called, or that is no tail call.
#define SLOW_LOAD(type, out, va, size) \
  type out; \
  SYNC(); \
  { \
    uint64_t value_ = 0; \
    if (!hart_load(h, tlb, va, size, &value_)) { leave_trap(PASS(ip)); return; } \
    out = (type)value_; \
  }

#define SLOW_STORE(type, va, v, size) \
  SYNC(); \
  if (!hart_store(h, tlb, va, size, (type)(v))) { leave_trap(PASS(ip)); return; }

#define AMO_swap(type, p, v) __atomic_exchange_n((type *)(p), (type)(v), __ATOMIC_SEQ_CST)
#define AMO_add(type, p, v) __atomic_fetch_add((type *)(p), (type)(v), __ATOMIC_SEQ_CST)
#define AMO_and(type, p, v) __atomic_fetch_and((type *)(p), (type)(v), __ATOMIC_SEQ_CST)
#define AMO_or(type, p, v) __atomic_fetch_or((type *)(p), (type)(v), __ATOMIC_SEQ_CST)
#define AMO_xor(type, p, v) __atomic_fetch_xor((type *)(p), (type)(v), __ATOMIC_SEQ_CST)
#define AMO_min(type, p, v) amo_choose_##type((void *)(p), v, true, true)
#define AMO_max(type, p, v) amo_choose_##type((void *)(p), v, true, false)
#define AMO_minu(type, p, v) amo_choose_##type((void *)(p), v, false, true)
#define AMO_maxu(type, p, v) amo_choose_##type((void *)(p), v, false, false)

#define AMO_CHOOSE(type, stype) \
  static inline type amo_choose_##type(void *place, type v, bool is_signed, bool smaller) \
  { \
    type *p = place, old = __atomic_load_n(p, __ATOMIC_RELAXED), wanted; \
    do { \
      bool less = is_signed ? (stype)v < (stype)old : v < old; \
      wanted = less == smaller ? v : old; \
    } while (!__atomic_compare_exchange_n(p, &old, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)); \
    return old; \
  }
AMO_CHOOSE(uint32_t, int32_t)
AMO_CHOOSE(uint64_t, int64_t)

#define FAST_AMO(operation, type, out, va, v, size, slow, k) \
  FAST_PROBE(TLB_WRITE, out, va, size, slow, k) \
  type out = AMO_##operation(type, va + out##_entry->value, v);

#define SLOW_AMO(operation, type, out, va, v, size) \
  SYNC(); \
  void *out##_place = hart_atomic(h, tlb, va, size, true); \
  if (!out##_place) { leave_trap(PASS(ip)); return; } \
  type out = AMO_##operation(type, out##_place, v);

#define RESERVE(type, out, place) \
  type out = __atomic_load_n((type *)(place), __ATOMIC_SEQ_CST); \
  h->reserved = (void *)(place); \
  h->reserved_value = out;

#define FAST_LR(type, out, va, size, slow, k) \
  FAST_PROBE(TLB_READ, out, va, size, slow, k) \
  RESERVE(type, out, va + out##_entry->value)

#define SLOW_LR(type, out, va, size) \
  SYNC(); \
  void *out##_place = hart_atomic(h, tlb, va, size, false); \
  if (!out##_place) { leave_trap(PASS(ip)); return; } \
  RESERVE(type, out, out##_place)

#define CONDITIONAL(type, out, place, v) \
  uint32_t out = 1; \
  if (h->reserved == (void *)(place)) { \
    type expected_ = (type)h->reserved_value; \
    out = !__atomic_compare_exchange_n((type *)(place), &expected_, (type)(v), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED); \
  } \
  h->reserved = NULL;

#define FAST_SC(type, out, va, v, size, slow, k) \
  FAST_PROBE(TLB_WRITE, out, va, size, slow, k) \
  CONDITIONAL(type, out, va + out##_entry->value, v)

#define SLOW_SC(type, out, va, v, size) \
  SYNC(); \
  void *out##_place = hart_atomic(h, tlb, va, size, true); \
  if (!out##_place) { leave_trap(PASS(ip)); return; } \
  CONDITIONAL(type, out, out##_place, v)

#endif

#define AFTER_SLOW(slots) \
  if (unlikely(h->leave)) { leave_at(PASS(ip + (slots))); return; } \
  NEXT(slots)

// Floating point ------------------------------------------------------------------------------------

#define FP_GUARD(slow, k) \
  if (unlikely(h->fp_mode)) { slow(PASS(ip + (k))); return; }
// Only the dynamic mode (7) is what MXCSR holds.
#define FP_GUARD_ROUNDING(mode, slow, k) \
  if (unlikely(h->fp_mode | ((mode) ^ 7))) { slow(PASS(ip + (k))); return; }
#define FP_GIVEN(mode) ((mode) == 7 ? h->frm : (mode))
#define SLOW_FP() \
  if (!(h->mstatus & MSTATUS_FS)) { leave_illegal(PASS(ip)); return; }
#define FP_DIRTY() hart_fp_dirty(h);
#define SLOW_ROUNDING(mode) \
  unsigned rounding = (unsigned)(mode) == 7 ? h->frm : (unsigned)(mode); \
  if (rounding > 4) { leave_illegal(PASS(ip)); return; }

// State ---------------------------------------------------------------------------------------------

#define STATE_CALL(function, ...) \
  SYNC(); \
  if (unlikely(!function(h, ##__VA_ARGS__))) { leave_refused(PASS(ip)); return; }
#define STATE_VALUE(out, function, ...) \
  { \
    uint64_t value_ = 0; \
    STATE_CALL(function, ##__VA_ARGS__, &value_) \
    out = value_; \
  }
#define AFTER_STATE(slots) \
  tlb = h->data; \
  if (unlikely(h->leave)) { leave_at(PASS(ip + (slots))); return; } \
  NEXT(slots)
#define AFTER_REDIRECT() leave_redirected(PASS(ip));

#include "riscv_handlers.h"

// Tables --------------------------------------------------------------------------------------------

static void op_JAL_MISALIGNED(ARGS)
{
  hart_raise(h, CAUSE_FETCH_MISALIGNED, pc + (uint64_t)(int64_t)ip->imm);
  leave_trap(PASS(ip));
}

static void op_JALR_CHECKED(ARGS)
{
  uint64_t to = h->x[ip->b] + (uint64_t)(int64_t)ip->imm;
  if (to & 2) {
    hart_raise(h, CAUSE_FETCH_MISALIGNED, to & ~(uint64_t)1);
    leave_trap(PASS(ip));
    return;
  }
  op_jalr(PASS(ip));
}

enum { FUSED_BUCKETS = 4096 };
static uint16_t fused_index[FUSED_BUCKETS];          // 1 + place in fused[], 0: empty; open addressing

static unsigned fused_bucket(uint64_t key)
{
  return (unsigned)(key * 0x9e3779b97f4a7c15u >> 52);
}

static __attribute__((constructor)) void build_fused_index(void)
{
  _Static_assert(FUSED < FUSED_BUCKETS / 2, "the index stays sparse");
  for (unsigned i = 0; i < sizeof fused / sizeof fused[0] - 1; i++) {
    unsigned bucket = fused_bucket(fused[i].key);
    while (fused_index[bucket]) bucket = (bucket + 1) % FUSED_BUCKETS;
    fused_index[bucket] = (uint16_t)(i + 1);
  }
}

static Handler *find_fused(uint64_t key)
{
  for (unsigned bucket = fused_bucket(key); fused_index[bucket]; bucket = (bucket + 1) % FUSED_BUCKETS)
    if (fused[fused_index[bucket] - 1].key == key) return fused[fused_index[bucket] - 1].fn;
  return NULL;
}

static void run(Hart *h, const Dinsn *first, Tlb *data)
{
  int64_t budget = h->budget + block_head(first)->packed;
#ifdef UMBRA_DEBUG
  h->next_ip = first;
  h->next_pc = h->pc;
  h->next_budget = budget;
  h->next_tlb = data;
  while (h->next_ip) {
    const Dinsn *ip = h->next_ip;
    h->next_ip = NULL;
    ip->fn(ip, h, h->next_pc, h->next_budget, h->next_tlb);
  }
#else
  first->fn(first, h, h->pc, budget, data);
#endif
  h->ip = NULL;
}

#ifdef TIER0_WINDOW
const Tier0 tier0_window
#else
const Tier0 tier0_tlb
#endif
  = { .handlers = handlers, .far = far_handlers, .dead = op_DEAD, .passes = op_PASSES, .jal_misaligned = op_JAL_MISALIGNED, .jalr_checked = op_JALR_CHECKED,
      .fused = find_fused, .run = run, .hook_at = op_HOOK_AT, .early = op_EARLY,
      .hook_guards = { op_HOOK_EQ, op_HOOK_NE, op_HOOK_LTU, op_HOOK_GEU, op_HOOK_LT, op_HOOK_GE },
      .early_guards = { op_EARLY_EQ, op_EARLY_NE, op_EARLY_LTU, op_EARLY_GEU, op_EARLY_LT, op_EARLY_GE } };
