// tiny: the smallest tier 0: runs one instruction at a time on states read from standard input.
// SPDX-License-Identifier: MIT
//
// It defines the macros that generated handlers are written in. Half of the memory goes the slow way, so that both forms of every
// access run. spec/support/tiny.lua writes the file that includes this: State, the registers' macros, handlers and main.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/wide.h"
#include "ir/lift.h"

enum { MEMORY = 1024 };

typedef struct Decoded {
  uint8_t a, b, c, d;
  int32_t imm;
} Decoded;

typedef struct State State;
typedef void Handler(const Decoded *ip, State *s, uint64_t pc);

#define ARGS const Decoded *ip, State *s, uint64_t pc
#define HANDLER(name) static void op_##name(ARGS)
#define SLOW_HANDLER(name) static void slow_##name(ARGS)
#define NEXT(slots) do { (void)ip; s->pc = (XLEN_TYPE)(pc + s->length); return; } while (0);
#define AFTER_SLOW(slots) NEXT(slots)
#define AFTER_STATE(slots) NEXT(slots)
#define AFTER_REDIRECT() return;
#define GOTO_DIRECT(k) do { s->pc = (XLEN_TYPE)(pc + (uint64_t)(int64_t)ip[k].imm); return; } while (0);
#define GOTO_FAR(k) GOTO_DIRECT(k)
#define GOTO_INDIRECT(target) do { s->pc = (target); return; } while (0);
#define STATE_CALL(function, ...) do { if (!function(s, ##__VA_ARGS__)) return; } while (0);
#define STATE_VALUE(out, function, ...) STATE_CALL(function, ##__VA_ARGS__, &out)

static inline void load_bytes(const uint8_t *memory, uint64_t at, void *to, unsigned size)
{
  for (unsigned i = 0; i < size; i++) ((uint8_t *)to)[i] = memory[(at + i) % MEMORY];
}

static inline void store_bytes(uint8_t *memory, uint64_t at, const void *from, unsigned size)
{
  for (unsigned i = 0; i < size; i++) memory[(at + i) % MEMORY] = ((const uint8_t *)from)[i];
}

#define SLOW_LOAD(type, out, va, size) \
  type out; \
  load_bytes(s->memory, va, &out, size);
#define SLOW_STORE(type, va, v, size) \
  do { type v_ = v; store_bytes(s->memory, va, &v_, size); } while (0);
#define FAST_LOAD(type, out, va, size, slow, k) \
  if ((va) & (MEMORY / 2)) { slow(ip, s, pc); return; } \
  SLOW_LOAD(type, out, va, size)
#define FAST_STORE(type, va, v, size, slow, k) \
  if ((va) & (MEMORY / 2)) { slow(ip, s, pc); return; } \
  SLOW_STORE(type, va, v, size)

// What a generated lift is written in.
typedef void Lifter(Lift *l, const Decoded *d);
#define EXTRA_HELPERS
static inline void lift_goto(Lift *l, int64_t distance) { ir_delta(l->ir, IR_GOTO, IR_VOID, 0, l->at + distance); }
static inline void lift_branch(Lift *l, Ref condition, int64_t distance) { ir_delta(l->ir, IR_BRANCH, IR_VOID, condition, l->at + distance); }
static inline void lift_jump(Lift *l, Ref target) { ir_add(l->ir, (IrIns){ .op = IR_JUMP, .a = target }); }
static inline void lift_fp(Lift *l, int rounding) { (void)l, (void)rounding; }
static inline void lift_fp_dirty(Lift *l) { (void)l; }
