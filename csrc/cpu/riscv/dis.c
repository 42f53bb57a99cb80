// dis: text of an instruction, from the tables that lua/isa/riscv gives.
// SPDX-License-Identifier: MIT
#include "cpu/riscv/decode.h"
#include "cpu/riscv/hart.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct Text {
  char  *to;
  size_t size, used;
} Text;

static void __attribute__((format(printf, 2, 3))) add(Text *text, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  size_t room = text->size - text->used;
  int n = vsnprintf(text->to + text->used, room, format, args);
  va_end(args);
  if (n > 0) text->used += (size_t)n < room ? (size_t)n : room - 1;
}

static const char *const x_names[32] = {
  "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
  "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};
static const char *const f_names[32] = {
  "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5",
  "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};
static const char *const rounding_names[8] = { "rne", "rtz", "rdn", "rup", "rmm", "5", "6", "dyn" };

static void add_fence(Text *text, int32_t set)
{
  if (!set) add(text, "0");
  for (int bit = 3; bit >= 0; bit--)
    if (set >> bit & 1) add(text, "%c", "wroi"[bit]);
}

static void add_operand(Text *text, char kind, int32_t value, uint64_t pc)
{
  const char *name;
  switch (kind) {
  case 'x': add(text, "%s", x_names[value & 31]); break;
  case 'f': add(text, "%s", f_names[value & 31]); break;
  case 'R': add(text, "%s", rounding_names[value & 7]); break;
  case 'F': add_fence(text, value); break;
  case 'U': add(text, "%#x", (uint32_t)value >> 12); break;
  case 'T': add(text, "%#" PRIx64, pc + (uint64_t)(int64_t)value); break;
  case 'C':
    name = csr_name((unsigned)value);
    if (name) add(text, "%s", name);
    else add(text, "%#x", (unsigned)value);
    break;
  default: add(text, "%d", value);
  }
}

// The operands of `word` as `format` has them: plain text, and fields as \1 or \2 (left out when 0), kind, id + 1.
static void add_operands(Text *text, const char *format, uint32_t word, uint64_t pc)
{
  bool any = false;
  for (const char *p = format; *p; p++) {
    bool field = *p <= 2;
    int32_t value = field ? riscv_field((unsigned)(uint8_t)p[2] - 1, word) : 0;
    if (!field) {
      if (!any) add(text, " ");
      add(text, "%c", *p);
    } else if (*p == 1 || value) {
      if (!any) add(text, " ");
      else if (*p == 2) add(text, ", ");
      add_operand(text, p[1], value, pc);
    }
    any = any || !field || *p == 1 || value;
    if (field) p += 2;
  }
}

// Base-instruction names, registers by their ABI names, no aliases; jumps show where they go.
UM_EXPORT int um_riscv_disassemble(uint32_t word, uint64_t pc, uint64_t extensions, char *to, uint32_t size)
{
  Decoded d = { 0 };
  Text text = { .to = to, .size = size };
  if (size == 0) return 0;
  to[0] = 0;
  unsigned index = riscv_decode(word, extensions, &d);
  if (!index) return 0;
  const Encoding *encoding = &riscv_encodings[index];
  add(&text, "%s", encoding->name);
  if (encoding->ordered && (word >> 25 & 3)) add(&text, ".%s%s", word >> 26 & 1 ? "aq" : "", word >> 25 & 1 ? "rl" : "");
  add_operands(&text, encoding->operands, word, pc);
  return d.length;
}

UM_EXPORT bool um_riscv_target(uint32_t word, uint64_t pc, uint64_t extensions, uint64_t *target)
{
  Decoded d = { 0 };
  unsigned index = riscv_decode(word, extensions, &d);
  for (const char *p = index ? riscv_encodings[index].operands : ""; *p; p += *p <= 2 ? 3 : 1) {
    if (*p > 2 || p[1] != 'T') continue;
    *target = pc + (uint64_t)(int64_t)riscv_field((unsigned)(uint8_t)p[2] - 1, word);
    return true;
  }
  return false;
}
