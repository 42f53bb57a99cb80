// decode: any word under any set of extensions: the decoder and the disassembler stay within their bounds and agree.
// SPDX-License-Identifier: MIT
#include "base/check.h"
#include "cpu/riscv/decode.h"
#include "cpu/riscv/hart.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
  struct { uint64_t extensions, pc; uint32_t word; uint8_t room; } input = { 0 };
  if (size < sizeof input.word) return 0;
  input.extensions = ~(uint64_t)0;
  memcpy(&input.word, bytes, sizeof input.word);
  if (size >= 20) memcpy(&input.extensions, bytes + 4, 16);
  input.room = size > 20 ? bytes[20] : 80;

  Decoded d = { 0 };
  unsigned encoding = riscv_decode(input.word, input.extensions, &d);
  check_values(encoding < ENCODINGS, encoding, input.word);
  check_values(d.length == 2 || d.length == 4, d.length, input.word);
  char text[256], guard = 0x5a;
  memset(text, guard, sizeof text);
  int length = um_riscv_disassemble(input.word, input.pc, input.extensions, text, input.room);
  check_values(text[input.room] == guard, input.room, input.word);
  if (input.room) check_values((length != 0) == (encoding != 0), length, encoding);
  if (!encoding) return 0;
  const OpInfo *info = &riscv_ops[riscv_encodings[encoding].op];
  const uint8_t *slot = &d.a;
  for (unsigned i = 0; i < info->sources; i++) check_values(slot[info->source[i].slot] < 32, slot[info->source[i].slot], input.word);
  if (info->destination.file) check_values(slot[info->destination.slot] <= 32, slot[info->destination.slot], input.word);
  return 0;
}
