// hook: what the run loop, the block builder and the slow paths ask of hooks.
// SPDX-License-Identifier: MIT
#pragma once
#include "cpu/riscv/hart.h"
#include "cpu/hook_ffi.h"

// condition.c
typedef struct Condition {
  struct um_condition_op *op;
  uint32_t ops;                      // 0: always true
} Condition;

// A comparison of an x register with a constant that must hold for the whole condition to: what tier 0 checks by itself.
typedef struct Guard {
  uint8_t compare;                   // UM_COND_EQ to UM_COND_GE; 0: none
  uint8_t reg;
  int32_t constant;                  // sign-extended
} Guard;

int  condition_check(Hart *hart, const struct um_condition_op *op, uint32_t ops, struct um_fault *why);
bool condition_holds(const Condition *condition, Hart *hart, const struct um_hit *event);
Guard condition_guard(const Condition *condition);
// Whether the condition's value changes with x registers alone while one block runs; *registers: with which, a bit each.
bool condition_is_early(const Condition *condition, uint32_t *registers);

// hook.c
typedef struct Hook Hook;

// How the block builder prepares the slot before an instruction.
typedef struct HookPlace {
  Guard guard;                       // of the only hook there
  bool  early;                       // what the only hook there asks changes with `registers` alone while a block runs
  uint32_t registers;                // a bit an x register
  bool  exact;                       // the only hook there waits for one address, `pc`
  uint64_t pc;
} HookPlace;

void hooks_free(Hooks *hooks);
bool hooks_have_hits(const Hooks *hooks);
void hooks_forget_hits(Hooks *hooks);
bool hooks_wait(const Hooks *hooks, uint64_t pc);            // whether a slot is woven in at pc
// Whether some hook may wait for an instruction at `offset` (bytes) of a page, and how.
bool hooks_weave(const Hooks *hooks, unsigned offset, HookPlace *place);
// Control is at pc, where a slot is woven in. True: the hart leaves before the instruction.
bool hook_reached(Hart *hart, uint64_t pc);
// Whether a hook would be hit at pc if the registers were as they are. Nothing comes of it.
bool hook_would_hit(Hart *hart, uint64_t pc);
int  hook_stop_at(Hart *hart, uint64_t pc, bool on, struct um_fault *why);
// Before a trap is taken: cause as mcause has it.
void hook_trap(Hart *hart, uint64_t cause, uint64_t value);
// No TLB may answer for this page: accesses of that kind are watched. `access`: ACCESS_READ or ACCESS_WRITE.
bool hook_watches_page(const Hooks *hooks, int access, uint64_t gva, uint64_t gpa);
// An access is about to be done, or was: the event is kept until the instruction is complete, and the hart leaves then.
void hook_access(Hart *hart, const Watched *access);
// Whether a hook ends the run before this access, which is not done then; it is let pass when it is tried again.
bool hook_forestalls(Hart *hart, const Watched *access);
void hook_settle(Hart *hart);        // after guest code: what the last access hits
