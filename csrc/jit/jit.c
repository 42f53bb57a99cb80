// jit: translated blocks by number, and how they are run.
// SPDX-License-Identifier: MIT
#include "jit/jit.h"
#include "base/fault.h"
#include "base/fp.h"
#include "jit/x64/x64_ffi.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GENERAL_PINS_MOST = 8, XMM_PINS_MOST = 11 };        // the others are for values

UM_EXPORT um_jit *um_jit_new(const um_ir_guest *guest, const struct um_jit_options *options, struct um_fault *why)
{
  Jit *jit = calloc(1, sizeof *jit);
  if (!jit) {
    fault_set(why, UM_ENOMEM, "no memory for a jit");
    return NULL;
  }
  *jit = (Jit){ .guest = guest, .bias = options->bias, .features = options->features & um_jit_features() };
  if (code_init(&jit->code, options->size, options->backing, why) < 0) {
    free(jit);
    return NULL;
  }
  return jit;
}

UM_EXPORT void um_jit_free(um_jit *jit)
{
  if (!jit) return;
  code_fini(&jit->code);
  jit_lower_free(jit);
  free(jit->codes);
  free(jit);
}

UM_EXPORT const char *um_jit_notice(const um_jit *jit) { return jit->code.notice; }

static int find_register(const char *name, bool *xmm)
{
  static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
  *xmm = strncmp(name, "xmm", 3) == 0;
  for (int i = 0; i < 16; i++) {
    char text[8];
    snprintf(text, sizeof text, "xmm%d", i);
    if (strcmp(name, *xmm ? text : names[i]) == 0) return i;
  }
  return -1;
}

UM_EXPORT int um_jit_pin(um_jit *jit, uint32_t row, uint32_t element, const char *reg, struct um_fault *why)
{
  const IrGuest *guest = jit->guest;
  bool xmm;
  int number = find_register(reg, &xmm);
  unsigned pins = 0;
  if (jit->enter) return fault_set(why, UM_EINVAL, "pins are chosen before the first translation");
  if (number < 0 || (!xmm && (1u << number & 0x8037))) return fault_set(why, UM_EINVAL, "%.20s is no register for a pin", reg);      // rax rcx rdx rsp rbp r15
  if (row >= guest->slot_count || element >= guest->slots[row].count || row >= PIN_ROWS || element > 63) return fault_set(why, UM_EINVAL, "no such slot for a pin");
  if (ir_bits(guest->slots[row].type) != 64) return fault_set(why, UM_EINVAL, "%s: a pin is a slot of 64 bits", guest->slots[row].name);
  for (unsigned i = 0; i < jit->pin_count; i++) {
    const JitPin *pin = &jit->pins[i];
    pins += pin->xmm == xmm;
    if (pin->xmm == xmm && pin->reg == number) return fault_set(why, UM_EINVAL, "%s is a pin already", reg);
    if (pin->slot == (row << 8 | element)) return fault_set(why, UM_EINVAL, "%s[%u] has a pin already", guest->slots[row].name, element);
  }
  if (pins == (xmm ? XMM_PINS_MOST : GENERAL_PINS_MOST)) return fault_set(why, UM_EINVAL, "at most %d pins of a kind", xmm ? XMM_PINS_MOST : GENERAL_PINS_MOST);
  jit->pins[jit->pin_count++] = (JitPin){ (uint16_t)(row << 8 | element), (uint8_t)number, xmm };
  jit->pin_of[row << 6 | element] = (uint8_t)jit->pin_count;
  return UM_OK;
}

static JitCode *next_code(Jit *jit)
{
  if (jit->code_count == jit->code_capacity) {
    uint32_t wanted = jit->code_capacity ? 2 * jit->code_capacity : 64;
    JitCode *bigger = realloc(jit->codes, wanted * sizeof *bigger);
    if (!bigger) return NULL;
    jit->codes = bigger;
    jit->code_capacity = wanted;
  }
  return &jit->codes[jit->code_count];
}

UM_EXPORT int64_t um_jit_translate(um_jit *jit, const um_ir *ir, uint64_t pc, struct um_fault *why)
{
  if (ir->guest != jit->guest) return fault_set(why, UM_EINVAL, "the block is another guest's");
  int status = ir_verify(ir, why);
  if (status >= 0 && !jit->enter) status = jit_make_thunks(jit, why);
  if (status < 0) return status;
  JitCode *code = next_code(jit);
  uint8_t *to = code_begin(&jit->code);
  if (!code) return fault_set(why, UM_ENOMEM, "no memory for a block");
  if (!to) return fault_set(why, UM_EIO, "the host does not make code memory writable");
  bool rounds = false;
  int64_t size = jit_lower(jit, ir, pc, to, code_left(&jit->code), &rounds, why);
  const uint8_t *at = code_commit(&jit->code, size < 0 ? 0 : (size_t)size);        // back to executable in any case
  if (size < 0) return size;
  if (!at) return fault_set(why, UM_EIO, "the host does not make code memory executable");
  *code = (JitCode){ at, (uint32_t)size, rounds };
  jit->bytes += (uint64_t)size;
  return jit->code_count++;
}

static const JitCode *code_by_number(const Jit *jit, int64_t number, struct um_fault *why)
{
  if (number >= 0 && number < jit->code_count) return &jit->codes[number];
  fault_set(why, UM_EINVAL, "there is no code %lld", (long long)number);
  return NULL;
}

UM_EXPORT int64_t um_jit_bytes(const um_jit *jit, int64_t number, uint8_t *to, uint64_t size, struct um_fault *why)
{
  const JitCode *code = code_by_number(jit, number, why);
  if (!code) return UM_EINVAL;
  if (size) memcpy(to, code->at, size < code->size ? size : code->size);
  return code->size;
}

int jit_run(Jit *jit, int64_t number, JitRun *run, struct um_fault *why)
{
  const JitCode *code = code_by_number(jit, number, why);
  if (!code) return UM_EINVAL;
  uint8_t *rounding = (uint8_t *)run->state + jit->guest->rounding, *flags = (uint8_t *)run->state + jit->guest->flags;
  if (code->rounds && *rounding > ROUND_UP) return fault_set(why, UM_EINVAL, "rounding mode %u is not the host's: evaluate the block", *rounding);
  uint32_t saved = fp_mxcsr_read();
  fp_mxcsr_write(fp_mxcsr(*rounding > ROUND_UP ? ROUND_NEAREST : *rounding));
  jit_enter(jit, code->at, run);
  *flags |= (uint8_t)fp_flags();
  fp_mxcsr_write(saved);
  return UM_OK;
}

UM_EXPORT int um_jit_run(um_jit *jit, int64_t number, const struct um_ir_world *world, struct um_ir_exit *exit, struct um_fault *why)
{
  JitRun run = { .state = world->state, .guest = jit->guest, .host = ir_window(world, &jit->reserved, &jit->reserved_value) };
  int status = jit_run(jit, number, &run, why);
  *exit = run.exit;
  return status;
}

UM_EXPORT void um_jit_counts(const um_jit *jit, struct um_jit_counts *counts)
{
  *counts = (struct um_jit_counts){ .blocks = jit->code_count, .bytes = jit->bytes, .instructions = jit->instructions, .size = jit->code.size,
                                    .used = jit->code.used, .backing = jit->code.backing };
}
