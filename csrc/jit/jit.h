// jit: blocks of IR as host code.
// SPDX-License-Identifier: MIT
//
// A guest comes as data: its slots and helpers (IrGuest), which slots live in host registers (pins), and what its memory is
// (IrHost). Pinned slots are in their registers while translated code runs, all others at [rbp + place - bias]; the state in memory
// is whole again whenever C is called and when the code is left.
#pragma once
#include "ir/ir.h"
#include "jit/code.h"
#include "mem/window.h"

typedef struct um_jit Jit;

enum { JIT_WINDOW_REG = 14 };            // holds the base of a window
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

// What translated code shares with a run loop, as offsets in the state.
typedef struct JitLoop {
  bool     there;
  uint32_t left;                         // 32 bits: instructions left, exact whenever C runs
  uint32_t leave;                        // a byte that C sets when the code is to be left behind the instruction at hand
  uint32_t unready;                      // a byte: not 0, a guarded block is not run
  // Where indirect jumps went: records of 32 bytes { address, epoch, -, code }, by the bits of an address above the lowest. One holds
  // as long as its epoch is the state's.
  uint32_t jumps, jump_count, epoch;
  uint32_t page_bits;                    // addresses of a page go together
} JitLoop;
// Where the state keeps what an lr reserved: the host address of the place, and the value seen there. Offsets.
typedef struct JitReserved {
  bool     there;
  uint32_t place, value;
} JitReserved;

// Memory that is a window (mem/window.h): the state has its base. `bound`: the base is 2^WINDOW_BITS, and so the bound of addresses.
typedef struct JitWindow {
  bool     there, bound;
  uint32_t base;                         // offset in the state
} JitWindow;

// How translated code is entered, and what it is left with. Reached from the code at [rsp + FRAME_RUN].
typedef struct JitRun {
  struct um_ir_exit exit;
  int64_t  left;                         // instructions that may be run; what is not run yet of them
  uint32_t which;                        // JIT_LINKED: the link; JIT_HEAD, UM_IR_FAULT: the code
  void  *state;
  IrHost host;
  const IrGuest *guest;
} JitRun;

// Reasons beside UM_IR_*: by a way out to a fixed address; at a block's head, nothing of it done: too few instructions left, or not ready.
enum { JIT_LINKED = 16, JIT_HEAD };

enum { JIT_LEFT = 1 << 30 };             // what jit_run gives a block

// A way out of a block to a fixed address: a jump to a stub that says so, until it is led to code that stands there.
typedef struct JitLink {
  uint64_t pc;
  uint32_t site, stub;                   // offsets in code memory: of the distance, and of where it leads when unlinked
  uint32_t from, to;                     // codes; `to` plus 1, 0: unlinked
  uint32_t next, previous;               // of those that lead to the same code, plus 1
} JitLink;

// GUARDED: run only when the state is ready (JitLoop). PAGED: a way into another page is looked up each time.
enum { JIT_GUARDED = 1, JIT_PAGED = 2 };
// An operation that C does now and then: code calls jit->slow, or faults in the window as if it did, and goes on at `back` with the
// result in its register. Registers: 16 general ones, then those of XMM, then the constant k.
typedef struct JitSite {
  uint32_t at, back;                     // offsets in code memory: behind the call, or of what faults
  int32_t  disp, k;                      // disp: is added to the first operand
  uint32_t delta;                        // of the guest instruction, from the block
  uint16_t paid, aux;                    // instructions that were paid for and not done, this one too; the op's
  uint8_t  op, type, from, to;           // from: type of the first operand
  uint8_t  operand[3];
} JitSite;
enum { SITE_XMM = 16, SITE_CONST = 32 };

typedef struct JitCode {
  const uint8_t *at;
  uint64_t pc;
  uint32_t size, insns;
  uint32_t links, link_count;            // its ways out
  uint32_t incoming;                     // links that lead here, the first plus 1
  uint32_t punts;                        // the guest's: what it left to others
  uint32_t sibling;                      // the guest's: another code of the same owner, plus 1
  void    *owner;
  uint8_t  flags;                        // JIT_*
  bool     rounds;                       // by what MXCSR says
  bool     dropped;
} JitCode;

struct um_jit {
  const IrGuest *guest;
  CodeMemory code;
  uint32_t features;                     // host features that may be used (x64_features)
  uint32_t bias;                         // rbp is the state plus this
  JitPin   pins[PINS_MOST];
  uint32_t pin_count;
  uint32_t xmm_rows;                     // bits of the rows of slots with pins in XMM registers
  uint8_t  pin_of[PIN_ROWS << 6];        // by slot row and element below 64: 1 + index of its pin
  JitTlb   tlb;
  JitLoop  loop;
  JitWindow window;
  JitReserved reservation;
  WindowCode in_window;
  JitSite *sites;                        // by `at`
  uint32_t site_count, site_capacity;
  uint8_t *enter, *leave, *leave_next, *leave_link, *leave_head, *jump, *call, *call_run;      // thunks (x64/enter.c), where they run
  uint8_t *slow;                         // where sites call
  uint32_t *marks;                       // not NULL: where guest instructions begin is wanted
  struct Lower *lower;                   // what a translation works with
  JitCode *codes;                        // by number
  uint32_t code_count, code_capacity;
  JitLink *links;
  uint32_t link_count, link_capacity;
  size_t   thunk_end;                    // code memory is for blocks from here on
  uint64_t bytes, instructions, translated, linked;      // so far
  void    *reserved;                     // by an lr of code that Lua runs
  uint64_t reserved_value;
};

// x64/: the back end.
int jit_make_thunks(Jit *jit, struct um_fault *why);
// Translates a verified block that stands at code->pc into code->size bytes, or refuses: what cannot be translated is named.
int jit_lower(Jit *jit, const Ir *ir, JitCode *code, uint8_t *to, size_t room, struct um_fault *why);
void jit_lower_free(Jit *jit);
void jit_patch(uint8_t *site, const uint8_t *target);
JitLink *jit_add_link(Jit *jit);        // where link number jit->link_count goes; NULL without memory
const JitCode *jit_code_at(const Jit *jit, const uint8_t *at);           // whose code lies there
JitSite *jit_add_site(Jit *jit);                                         // NULL without memory; to be filled, `at` above those before
const JitSite *jit_find_site(const Jit *jit, size_t at);                 // NULL: there is none
void jit_begin_sites(Jit *jit);                                          // forgets those of code that is there no more

// The block at `pc` as code: its number, or a refusal, UM_ENOMEM when code memory is full.
int64_t jit_translate(Jit *jit, const Ir *ir, uint64_t pc, unsigned flags, struct um_fault *why);
// Where in the code of a block, whose IR is given again, its instructions begin, and where what comes behind the last does.
int  jit_marks(Jit *jit, const Ir *ir, uint32_t code, uint32_t *marks, struct um_fault *why);
static inline const JitLink *jit_link_at(const Jit *jit, uint32_t link) { return &jit->links[link]; }
bool jit_link(Jit *jit, uint32_t link, uint32_t code);      // false: the host will not make code writable
void jit_drop(Jit *jit, uint32_t code);                     // nothing leads there any more; it may be running
void jit_unlink_all(Jit *jit);
bool jit_renew(Jit *jit);                                   // after a fork and jit_flush: code memory of its own; false: there is none, nothing may be run
void jit_flush(Jit *jit);                                   // forgets all code; none may be running

// One run of the translated block `code`: run->state, left, host and guest are given, run->exit, which and left are found. MXCSR must be the guest's.
void jit_enter(const Jit *jit, const uint8_t *code, JitRun *run);
// The same by number, MXCSR set and flags collected by the way. A refusal: there is no such code, or its rounding mode is not the host's.
int  jit_run(Jit *jit, int64_t code, JitRun *run, struct um_fault *why);
