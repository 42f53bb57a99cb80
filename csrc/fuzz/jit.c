// jit: any RISC-V code, floating point and atomics too, in a window: what is translated does what its IR evaluates to.
// SPDX-License-Identifier: MIT
#include "base/check.h"
#include "cpu/riscv/decode.h"
#include "cpu/riscv/hart.h"
#include "cpu/riscv/lift.h"
#include "jit/jit.h"
#include <stdlib.h>
#include <string.h>

enum { PC = 0x10000, DATA = 0x20000, BYTES = 4096, INSNS_MOST = 40, HEADER = 8, CODE = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

// One is evaluated, the other translated. They have windows at different addresses.
static struct { Hart *hart; uint8_t *data; } sides[2];
static Jit *jit;
static Ir ir;

#define EXTENSIONS (~(uint64_t)0 & ~LIFT_FP_READY)

static void open_all(void)
{
  static const struct { uint32_t row, element; const char *reg; } pins[] = {
    { 1, 2, "rbx" }, { 1, 8, "r12" }, { 1, 10, "rdi" }, { 1, 11, "rsi" }, { 1, 12, "r8" }, { 1, 13, "r9" }, { 1, 14, "r10" }, { 1, 15, "r11" },
    { 0, 10, "xmm5" }, { 0, 11, "xmm6" }, { 0, 12, "xmm7" }, { 0, 15, "xmm8" },
  };
  const struct um_jit_options options = { .size = CODE, .backing = UM_CODE_DUAL, .bias = 128, .features = ~0u };
  struct um_fault why;
  for (int i = 0; i < 2; i++) {
    sides[i].hart = um_hart_user(EXTENSIONS, &why);
    check(sides[i].hart);
    sides[i].data = um_hart_user_map(sides[i].hart, DATA, BYTES, true, &why);
    check(sides[i].data);
  }
  jit = um_jit_new(&riscv_guest, &options, &why);
  check(jit && ir_init(&ir, &riscv_guest));
  um_riscv_prepare_window(jit, sides[1].hart);
  for (unsigned i = 0; i < sizeof pins / sizeof pins[0]; i++) check(um_jit_pin(jit, pins[i].row, pins[i].element, pins[i].reg, &why) >= 0);
}

static uint64_t next(uint64_t *seed)
{
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

// Corners, addresses of the data and its end, anything; floats boxed or not.
static uint64_t value(uint64_t *seed, bool is_float)
{
  static const uint64_t corners[] = { 0, 1, ~0ull, 1ull << 63, INT32_MAX, 0xffffffff80000000u, 0x7ff0000000000001u, 0xfff8000000000123u, 0x7ff0000000000000u,
                                      0x3ff0000000000000u, 0xffffffff7f800001u, 0xffffffff3f800000u, 0xffffffff00000001u, 0x43e0000000000000u };
  uint64_t roll = next(seed), any = next(seed);
  switch (roll & 3) {
  case 0: return corners[any % (sizeof corners / sizeof corners[0])];
  case 1: return is_float ? any | 0xffffffff00000000u : DATA + any % (BYTES + 16);
  case 2: return is_float ? (any & 0x8fffffffffffffffu) | 0x3000000000000000u : DATA + 8 * (any % (BYTES / 8));
  default: return any;
  }
}

static void fill(uint64_t seed)
{
  Hart *hart = sides[0].hart;
  for (int i = 1; i < 32; i++) hart->x[i] = value(&seed, false);
  for (int i = 0; i < 32; i++) hart->f[i] = value(&seed, true);
  for (int i = 0; i < BYTES; i += 8) {
    uint64_t word = value(&seed, i & 8);
    memcpy(sides[0].data + i, &word, 8);
  }
  hart->frm = seed & 3;
  hart->fflags = seed >> 2 & 31;
  hart->reserved = NULL;
  memcpy(sides[1].data, sides[0].data, BYTES);
  memcpy(sides[1].hart->x, hart->x, sizeof hart->x);
  memcpy(sides[1].hart->f, hart->f, sizeof hart->f);
  sides[1].hart->frm = hart->frm;
  sides[1].hart->fflags = hart->fflags;
  sides[1].hart->reserved = NULL;
}

// What of the input is an instruction that changes registers and memory only. False: nothing.
static bool lift(const uint8_t *bytes, size_t size)
{
  Lift l = { .ir = &ir, .context = EXTENSIONS | LIFT_FP_READY };
  ir_clear(&ir);
  for (int count = 0; size >= 4 && count < INSNS_MOST && !l.ended; bytes += 4, size -= 4) {
    uint32_t word;
    Decoded d = { 0 };
    memcpy(&word, bytes, sizeof word);
    unsigned encoding = riscv_decode(word, EXTENSIONS, &d);
    if (!encoding || riscv_ops[riscv_encodings[encoding].op].flags & OPF_STATE) continue;
    check(riscv_lift(&l, word));
    count++;
  }
  if (!l.at) return false;
  lift_end(&l);
  ir_sweep(&ir);
  return !ir.full;
}

static void compare(const struct um_ir_exit *a, const struct um_ir_exit *b)
{
  const Hart *x = sides[0].hart, *y = sides[1].hart;
  check_values(a->reason == b->reason, a->reason, b->reason);
  check_values(a->pc == b->pc, a->pc, b->pc);
  check_values(a->insns == b->insns, a->insns, b->insns);
  if (a->reason == UM_IR_FAULT) {
    check_values(x->trap_cause == y->trap_cause, x->trap_cause, y->trap_cause);
    check_values(x->trap_value == y->trap_value, x->trap_value, y->trap_value);
  }
  for (int i = 1; i < 32; i++) check_values(x->x[i] == y->x[i], x->x[i], y->x[i]);
  for (int i = 0; i < 32; i++) check_values(x->f[i] == y->f[i], x->f[i], y->f[i]);
  check_values(x->fflags == y->fflags, x->fflags, y->fflags);
  check_values(memcmp(sides[0].data, sides[1].data, BYTES) == 0, 0, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
  uint64_t seed = 1;
  struct um_fault why;
  if (!jit) open_all();
  if (size < HEADER || !lift(bytes + HEADER, size - HEADER)) return 0;
  memcpy(&seed, bytes, sizeof seed);
  fill(seed | 1);
  if (jit->code.used > CODE / 2) jit_flush(jit);
  int64_t code = um_jit_translate(jit, &ir, PC, &why);
  check_values(code >= 0, code, ir.count);
  struct um_ir_exit evaluated = { 0 };
  JitRun run = { .state = sides[1].hart, .guest = &riscv_guest, .host = hart_host(sides[1].hart) };
  const IrHost host = hart_host(sides[0].hart);
  window_handle(true);
  check(ir_eval(&ir, &host, sides[0].hart, PC, &evaluated));
  check(jit_run(jit, code, &run, &why) >= 0);
  window_handle(false);
  compare(&evaluated, &run.exit);
  return 0;
}
