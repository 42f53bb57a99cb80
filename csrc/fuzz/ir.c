// ir: any text: what is parsed is verified, prints as itself, and ends when it is evaluated.
// SPDX-License-Identifier: MIT
#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static um_ir_guest *make_guest(void)
{
  um_ir_guest *guest = um_ir_guest_new(true, NULL);
  um_ir_guest_slot(guest, "x", IR_I64, 32, NULL);
  um_ir_guest_slot(guest, "n", IR_I1, 1, NULL);
  um_ir_guest_slot(guest, "v", IR_I256, 4, NULL);
  um_ir_guest_slot(guest, "d", IR_F64, 4, NULL);
  um_ir_guest_slot(guest, "s", IR_F32, 4, NULL);
  um_ir_guest_helper(guest, "h", "51:59", EFFECT_READ | EFFECT_FAULT, NULL);
  um_ir_guest_helper(guest, "p.q", ":", 0, NULL);
  return guest;
}

static char *print(const um_ir *ir)
{
  uint64_t size = um_ir_print(ir, NULL, 0);
  char *text = malloc(size + 1);
  check(text);
  check_values(um_ir_print(ir, text, size + 1) == size, size, 0);
  return text;
}

static void evaluate(um_ir *ir, const um_ir_guest *guest)
{
  uint8_t memory[64] = { 1, 2, 3 }, *state = calloc(1, um_ir_guest_size(guest));
  check(state);
  const struct um_ir_world world = { state, memory, 0, sizeof memory };
  struct um_ir_exit exit = { 0 };
  struct um_fault why;
  int turns = 0;
  do check_values(um_ir_eval(ir, &world, 0x1000, &exit, &why) >= 0, exit.at, turns);
  while (exit.reason == UM_IR_CALL && ++turns < IR_MOST);
  check_values(exit.at < um_ir_count(ir), exit.at, exit.reason);
  free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
  static um_ir_guest *guest;
  if (!guest) guest = make_guest();
  struct um_fault why = { 0 };
  um_ir *ir = um_ir_new(guest, &why), *again = um_ir_new(guest, &why);
  check(ir && again);
  bool fine = um_ir_parse(ir, (const char *)bytes, size, &why) >= 0;
  if (!fine) check_values(um_ir_count(ir) == 1 && why.text[0], um_ir_count(ir), 0);
  if (fine) {
    char *text = print(ir);
    check(um_ir_parse(again, text, strlen(text), &why) >= 0);
    char *same = print(again);
    check(strcmp(text, same) == 0);
    free(text);
    free(same);
    if (um_ir_verify(ir, &why) >= 0) {
      evaluate(ir, guest);
      ir_sweep(ir);
      check(um_ir_verify(ir, &why) >= 0);
      evaluate(ir, guest);
    }
  }
  um_ir_free(ir);
  um_ir_free(again);
  return 0;
}
