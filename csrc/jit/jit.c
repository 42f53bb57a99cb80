// jit: translated blocks by number, and how they are run.
// SPDX-License-Identifier: MIT
#include "jit/jit.h"
#include "base/fault.h"
#include "base/fp.h"
#include "jit/x64/x64_ffi.h"
#include <stddef.h>
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
  free(jit->links);
  free(jit->sites);
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
  if (!xmm && jit->window.there && number == JIT_WINDOW_REG) return fault_set(why, UM_EINVAL, "r14 is the window's");
  if (xmm && number == 15) return fault_set(why, UM_EINVAL, "xmm15 is no register for a pin");
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
  if (xmm) jit->xmm_rows |= 1u << row;
  jit->pin_of[row << 6 | element] = (uint8_t)jit->pin_count;
  return UM_OK;
}

// Room for one more of `size` bytes each; false without memory.
static bool grow(void **array, uint32_t count, uint32_t *capacity, size_t size)
{
  if (count < *capacity) return true;
  uint32_t wanted = *capacity ? 2 * *capacity : 64;
  void *bigger = realloc(*array, wanted * size);
  if (!bigger) return false;
  *array = bigger;
  *capacity = wanted;
  return true;
}

JitLink *jit_add_link(Jit *jit)
{
  if (!grow((void **)&jit->links, jit->link_count, &jit->link_capacity, sizeof *jit->links)) return NULL;
  return &jit->links[jit->link_count];
}

int64_t jit_translate(Jit *jit, const Ir *ir, uint64_t pc, unsigned flags, struct um_fault *why)
{
  if (!jit->enter) {
    int status = jit_make_thunks(jit, why);
    if (status < 0) return status;
  }
  if (!grow((void **)&jit->codes, jit->code_count, &jit->code_capacity, sizeof *jit->codes)) return fault_set(why, UM_ENOMEM, "no memory for a block");
  uint8_t *to = code_begin(&jit->code);
  if (!to) return fault_set(why, UM_EIO, "the host does not make code memory writable");
  uint32_t links = jit->link_count;
  JitCode *code = &jit->codes[jit->code_count];
  *code = (JitCode){ .pc = pc, .links = links, .flags = (uint8_t)flags };
  int status = jit_lower(jit, ir, code, to, code_left(&jit->code), why);
  const uint8_t *at = code_commit(&jit->code, status < 0 ? 0 : code->size);        // back to executable in any case
  if (status < 0) jit->link_count = links;
  if (status < 0) return status;
  if (!at) return fault_set(why, UM_EIO, "the host does not make code memory executable");
  code->at = at;
  code->link_count = jit->link_count - links;
  jit->bytes += code->size;
  jit->translated++;
  return jit->code_count++;
}

int jit_marks(Jit *jit, const Ir *ir, uint32_t number, uint32_t *marks, struct um_fault *why)
{
  JitCode again = jit->codes[number];
  uint32_t links = jit->link_count;
  uint64_t instructions = jit->instructions;
  uint8_t *to = code_begin(&jit->code);
  if (!to) return fault_set(why, UM_EIO, "the host does not make code memory writable");
  jit->marks = marks;
  int status = jit_lower(jit, ir, &again, to, code_left(&jit->code), why);
  jit->marks = NULL;
  jit->link_count = links;
  jit->instructions = instructions;
  if (!code_close(&jit->code)) return fault_set(why, UM_EIO, "the host does not make code memory executable");
  return status;
}

UM_EXPORT int64_t um_jit_translate(um_jit *jit, const um_ir *ir, uint64_t pc, struct um_fault *why)
{
  if (ir->guest != jit->guest) return fault_set(why, UM_EINVAL, "the block is another guest's");
  int status = ir->sound ? UM_OK : ir_verify(ir, why);
  return status < 0 ? status : jit_translate(jit, ir, pc, 0, why);
}

// Links ---------------------------------------------------------------------------------------------

static void lead(Jit *jit, const JitLink *link, size_t to)
{
  jit_patch(jit->code.write + link->site, jit->code.write + to);
}

bool jit_link(Jit *jit, uint32_t number, uint32_t code)
{
  JitLink *link = &jit->links[number];
  JitCode *target = &jit->codes[code];
  if (link->to || target->dropped || jit->codes[link->from].dropped) return true;
  if (!code_open(&jit->code)) return false;
  lead(jit, link, (size_t)(target->at - jit->code.run));
  link->to = code + 1;
  link->next = target->incoming;
  link->previous = 0;
  if (link->next) jit->links[link->next - 1].previous = number + 1;
  target->incoming = number + 1;
  jit->linked++;
  return code_close(&jit->code);
}

static void unlink_one(Jit *jit, JitLink *link)
{
  lead(jit, link, link->stub);
  if (link->previous) jit->links[link->previous - 1].next = link->next;
  else jit->codes[link->to - 1].incoming = link->next;
  if (link->next) jit->links[link->next - 1].previous = link->previous;
  link->to = 0;
}

void jit_drop(Jit *jit, uint32_t number)
{
  JitCode *code = &jit->codes[number];
  if (code->dropped) return;
  check(code_open(&jit->code));                          // or the guest would run what is no more
  while (code->incoming) unlink_one(jit, &jit->links[code->incoming - 1]);
  for (uint32_t i = 0; i < code->link_count; i++)
    if (jit->links[code->links + i].to) unlink_one(jit, &jit->links[code->links + i]);
  code->dropped = true;
  check(code_close(&jit->code));
}

void jit_unlink_all(Jit *jit)
{
  check(code_open(&jit->code));
  for (uint32_t i = 0; i < jit->link_count; i++)
    if (jit->links[i].to) unlink_one(jit, &jit->links[i]);
  check(code_close(&jit->code));
}

void jit_flush(Jit *jit)
{
  jit->code_count = jit->link_count = 0;
  jit->code.used = jit->thunk_end;
}

bool jit_renew(Jit *jit)
{
  return code_renew(&jit->code, jit->thunk_end);
}

// Sites --------------------------------------------------------------------------------------

const JitCode *jit_code_at(const Jit *jit, const uint8_t *at)
{
  uint32_t low = 0, high = jit->code_count;              // they lie in the order of their numbers
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (jit->codes[middle].at <= at) low = middle;
    else high = middle;
  }
  return &jit->codes[low];
}

JitSite *jit_add_site(Jit *jit)
{
  if (jit->site_count == jit->site_capacity) {
    uint32_t wanted = jit->site_capacity ? 2 * jit->site_capacity : 256;
    JitSite *bigger = realloc(jit->sites, wanted * sizeof *bigger);
    if (!bigger) return NULL;
    jit->sites = bigger;
    jit->site_capacity = wanted;
  }
  return &jit->sites[jit->site_count++];
}

const JitSite *jit_find_site(const Jit *jit, size_t at)
{
  uint32_t low = 0, high = jit->site_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (jit->sites[middle].at < at) low = middle + 1;
    else high = middle;
  }
  return low < jit->site_count && jit->sites[low].at == at ? &jit->sites[low] : NULL;
}

static bool accesses(const WindowCode *code, size_t offset)
{
  return jit_find_site((const Jit *)(const void *)((const char *)code - offsetof(Jit, in_window)), offset) != NULL;
}

void jit_begin_sites(Jit *jit)
{
  // A call that ends a block has its place just behind it.
  while (jit->site_count && jit->sites[jit->site_count - 1].at > jit->code.used) jit->site_count--;
  jit->in_window = (WindowCode){ .start = jit->code.run, .size = jit->code.size, .resume = jit->slow, .accesses = accesses };
}

// Running -------------------------------------------------------------------------------------------

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

// What the evaluator would say of it.
static void settle(const Jit *jit, JitRun *run)
{
  struct um_ir_exit *exit = &run->exit;
  if (exit->reason == JIT_LINKED) {
    exit->pc = jit->links[run->which].pc;
    exit->reason = UM_IR_NEXT;
  }
  exit->insns = (uint32_t)(JIT_LEFT - run->left) + (exit->reason == UM_IR_FAULT || exit->reason == UM_IR_TRAP);
}

int jit_run(Jit *jit, int64_t number, JitRun *run, struct um_fault *why)
{
  const JitCode *code = code_by_number(jit, number, why);
  if (!code) return UM_EINVAL;
  uint8_t *rounding = (uint8_t *)run->state + jit->guest->rounding, *flags = (uint8_t *)run->state + jit->guest->flags;
  if (code->rounds && *rounding > ROUND_UP) return fault_set(why, UM_EINVAL, "rounding mode %u is not the host's: evaluate the block", *rounding);
  uint32_t saved = fp_mxcsr_read();
  fp_mxcsr_write(fp_mxcsr(*rounding > ROUND_UP ? ROUND_NEAREST : *rounding));
  run->left = JIT_LEFT;
  if (jit->window.there) window_run_code(&jit->in_window);
  jit_enter(jit, code->at, run);
  if (jit->window.there) window_run_code(NULL);
  settle(jit, run);
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
  *counts = (struct um_jit_counts){ .blocks = jit->translated, .bytes = jit->bytes, .instructions = jit->instructions, .size = jit->code.size,
                                    .used = jit->code.used, .backing = jit->code.backing };
}
