// trace: what harts write to a log, and the ring of what they ran last.
// SPDX-License-Identifier: MIT
#pragma once
#include "cpu/riscv/hart.h"

// Where an instruction's accesses are found when the log wants them: its TLB never answers, so all come to the slow path.
typedef struct Trace {
  Tlb      blind;
  const Symbols *symbols;          // names for addresses, or NULL
  unsigned seen;                   // accesses of the instruction that runs
  Watched  access[4];
} Trace;

struct RingRow {
  uint64_t pc, gpa, retired;       // a block's start; a trap's place, RING_TRAP and its cause; what was retired before it
  uint64_t value;                  // a trap's tval
};
#define RING_TRAP      (1ull << 63)
#define RING_INTERRUPT (1ull << 62)
#define RING_TIME      (1ull << 8)         // one repetition
#define RING_TIMES     (0xffffffull << 8)

// Instructions retired, where hart->budget has been given back what was not run.
static inline uint64_t trace_count(const Hart *hart)
{
  return hart->retired + hart->slice - (uint64_t)(int64_t)(int32_t)hart->budget;
}

static inline bool trace_wants(const Hart *hart, unsigned item) { return hart->mem && log_wants(hart->mem->log, item); }   // a process has no log

bool trace_init(Turns *turns);                               // false without memory
void trace_fini(Turns *turns);
void trace_begin(Turns *turns);                              // a run begins: what does the log want now?
void trace_run(Hart *hart, const Dinsn *first);              // one instruction, with its line
void trace_access(Turns *turns, const Watched *access);      // what it loads, or is about to store
void trace_trap(Hart *hart, uint64_t cause, uint64_t value, uint64_t pc, int priv);      // was taken, from there
void trace_walk(Hart *hart, uint64_t gva, int access, bool ok, const MmuResult *result);
void trace_mmio(Hart *hart, const Region *region, uint64_t gpa, unsigned size, bool write, uint64_t value);
void trace_note(Hart *hart, unsigned item, const char *format, ...) __attribute__((format(printf, 3, 4)));

// ring.c
void ring_trap(Hart *hart, uint64_t cause, uint64_t value, uint64_t pc);
