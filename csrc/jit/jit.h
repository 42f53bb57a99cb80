// jit: blocks of IR as host code.
// SPDX-License-Identifier: MIT
//
// A guest comes as data: its slots and helpers (IrGuest), which slots live in host registers (pins), and what its memory is
// (IrHost). Pinned slots are in their registers while translated code runs, all others at [rbp + place - bias]; the state in memory
// is whole again whenever C is called and when the code is left.
#pragma once
#include "ir/ir.h"
#include "jit/code.h"

typedef struct um_jit Jit;

enum { PINS_MOST = 24, PIN_ROWS = 16 };     // rows of slots that can be pinned, their elements 0 to 63
typedef struct JitPin {
  uint16_t slot;                         // row << 8 | element
  uint8_t  reg;                          // of the host: general, or XMM when `xmm`
  bool     xmm;
} JitPin;

// Where translated code finds the guest's TLB: the state has a pointer to a record with a mask for (address >> 8) and two arrays, for
// loads and for stores, of { tag, host address minus guest address }. A tag has the address of a page and zeros below.
typedef struct JitTlb {
  bool     there;
  uint32_t pointer;                      // offset in the state
  uint32_t mask, entries[2];             // offsets in the record
} JitTlb;

// How translated code is entered, and what it is left with. Reached from the code at [rsp + FRAME_RUN].
typedef struct JitRun {
  struct um_ir_exit exit;
  void  *state;
  IrHost host;
  const IrGuest *guest;
} JitRun;

typedef struct JitCode {
  const uint8_t *at;
  uint32_t size;
  bool     rounds;                       // by what MXCSR says
} JitCode;

struct um_jit {
  const IrGuest *guest;
  CodeMemory code;
  uint32_t features;                     // host features that may be used (x64_features)
  uint32_t bias;                         // rbp is the state plus this
  JitPin   pins[PINS_MOST];
  uint32_t pin_count;
  uint8_t  pin_of[PIN_ROWS << 6];        // by slot row and element below 64: 1 + index of its pin
  JitTlb   tlb;
  uint8_t *enter, *leave, *call, *call_run;      // thunks (x64/enter.c), where they run
  struct Lower *lower;                   // what a translation works with
  JitCode *codes;                        // by number
  uint32_t code_count, code_capacity;
  uint64_t bytes, instructions;          // translated so far
  void    *reserved;                     // by an lr of code that Lua runs
  uint64_t reserved_value;
};

// x64/: the back end.
int jit_make_thunks(Jit *jit, struct um_fault *why);
// Translates a verified block that stands at `pc`; returns its bytes, or a refusal: what cannot be translated is named.
int64_t jit_lower(Jit *jit, const Ir *ir, uint64_t pc, uint8_t *to, size_t room, bool *rounds, struct um_fault *why);
void jit_lower_free(Jit *jit);

// One run of the translated block `code`: run->state, host and guest are given, run->exit is found. MXCSR must be the guest's.
void jit_enter(const Jit *jit, const uint8_t *code, JitRun *run);
// The same by number, MXCSR set and flags collected by the way. A refusal: there is no such code, or its rounding mode is not the host's.
int  jit_run(Jit *jit, int64_t code, JitRun *run, struct um_fault *why);
