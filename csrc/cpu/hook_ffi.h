// hook: places and events of a guest at which a run comes back, with conditions that are checked here.
// SPDX-License-Identifier: MIT
#pragma once

// What a hook waits for: bits of um_hook_options.what.
enum {
  UM_HOOK_PC        = 1,     // the instruction at an address, before it is executed
  UM_HOOK_READ      = 2,     // loads of an address, once they are done
  UM_HOOK_WRITE     = 4,     // stores to it, once they are done
  UM_HOOK_EXCEPTION = 8,     // an exception that is taken
  UM_HOOK_INTERRUPT = 16,    // an interrupt that is taken
  UM_HOOK_PHYSICAL  = 32,    // with READ, WRITE: the addresses are guest-physical
  UM_HOOK_DEVICE    = 64,    // with READ, WRITE: only accesses that reach a device; the addresses are guest-physical
  UM_HOOK_BEFORE    = 128,   // with READ, WRITE: before they are done; the run goes on with them
};

// A condition is a program for a stack of 64-bit words: true when the word left over is not 0. It has no loops.
enum {
  UM_COND_CONST,             // push value
  UM_COND_X, UM_COND_F,      // push register `index`
  UM_COND_PC,                // of the instruction it is about
  UM_COND_PRIV, UM_COND_HART,
  UM_COND_CSR,               // push CSR `index`; false altogether where the hart has none such
  UM_COND_FIELD,             // push a word of the event: UM_FIELD_*
  UM_COND_LOAD,              // the top is an address: take the `index` (1, 2, 4, 8) bytes of RAM there; false altogether where a load would trap
  UM_COND_SEXT, UM_COND_ZEXT,        // the low `index` (8, 16, 32) bits of the top
  UM_COND_NOT, UM_COND_NEG, UM_COND_INVERT, UM_COND_BOOL,
  UM_COND_ADD, UM_COND_SUB, UM_COND_MUL, UM_COND_DIV, UM_COND_DIVU, UM_COND_REM, UM_COND_REMU,     // by 0: false altogether
  UM_COND_AND, UM_COND_OR, UM_COND_XOR, UM_COND_SHL, UM_COND_SHR, UM_COND_SAR,                     // by the low 6 bits
  UM_COND_EQ, UM_COND_NE, UM_COND_LTU, UM_COND_GEU, UM_COND_LT, UM_COND_GE,
  UM_COND_AND_THEN,          // top 0: on to op `index`; else drop it
  UM_COND_OR_ELSE,           // top not 0: on to op `index`; else drop it
  UM_COND_OPS,
};
enum { UM_FIELD_ADDR, UM_FIELD_SIZE, UM_FIELD_VALUE, UM_FIELD_OLD, UM_FIELD_WRITE, UM_FIELD_CAUSE, UM_FIELD_TVAL, UM_FIELDS };

struct um_condition_op {
  uint64_t value;
  uint32_t op, index;
};

struct um_hook_options {
  uint64_t first, last;      // addresses, both included
  uint64_t causes;           // EXCEPTION, INTERRUPT: a bit a cause
  uint32_t what;             // UM_HOOK_*
  uint32_t harts;            // a bit a hart
};

// What happened, in the words that conditions use too.
struct um_hit {
  uint64_t pc;               // of the instruction: the next one (PC), the one just done (READ, WRITE), the one that traps
  uint64_t field[7];         // UM_FIELD_*
  uint64_t gpa;              // READ, WRITE
  uint32_t id;               // of the hook
  uint32_t hart;
};

// From now on `first` and the harts added to it report. Returns an id from 1 on, never given out again.
int      um_hook_attach(um_hart *first, const struct um_hook_options *options, const struct um_condition_op *condition, uint32_t ops, struct um_fault *why);
int      um_hook_detach(um_hart *first, uint32_t id, struct um_fault *why);
// What a run that left with UM_EXIT_HOOK is about. False: there is none. As long as there are more, the next run leaves at once.
bool     um_hook_take(um_hart *first, struct um_hit *hit);
