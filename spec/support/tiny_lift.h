// tiny_lift: an instruction as IR, written, read back, swept and evaluated on a state.
// SPDX-License-Identifier: MIT
//
// Included after a generated lift (spec/support/tiny.lua).
static const IrGuest guest = {
  .slots = lift_slots, .helpers = lift_helpers, .slot_count = SLOTS, .helper_count = HELPERS, .state_size = sizeof(State), .address = XLEN_IR,
  .pc = offsetof(State, pc), .rounding = offsetof(State, rounding), .flags = offsetof(State, flags),
};

static bool load(void *context, uint64_t address, unsigned bytes, IrValue *value)
{
  *value = u256_from(0);
  load_bytes(((State *)context)->memory, address, value, bytes);
  return true;
}

static bool store(void *context, uint64_t address, unsigned bytes, const IrValue *value)
{
  store_bytes(((State *)context)->memory, address, value, bytes);
  return true;
}

static void fail(const char *what, const Ir *ir)
{
  static char text[65536];
  um_ir_print(ir, text, sizeof text);
  printf("%s:\n%s", what, text);
  exit(1);
}

// What is printed and read back is the same text again.
static void round_trip(const Ir *ir, Ir *copy)
{
  static char text[65536], again[65536];
  struct um_fault why;
  uint64_t size = um_ir_print(ir, text, sizeof text);
  ir_clear(copy);
  if (size >= sizeof text || um_ir_parse(copy, text, size, &why) < 0) fail(why.text, ir);
  um_ir_print(copy, again, sizeof again);
  if (strcmp(text, again) != 0) fail("read back otherwise", copy);
}

static void evaluate(unsigned op, const Decoded *d, State *s)
{
  static Ir ir, copy;
  static bool made;
  if (!made) made = ir_init(&ir, &guest) && ir_init(&copy, &guest);
  const IrHost host = { s, load, store, NULL, NULL, NULL, NULL };
  struct um_fault why;
  struct um_ir_exit exit = { 0 };
  ir_clear(&ir);
  Lift l = { .ir = &ir };
  lift_begin_insn(&l, s->length);
  lifters[op](&l, d);
  l.at += s->length;
  lift_end(&l);
  if (ir_verify(&ir, &why) < 0) fail(why.text, &ir);
  round_trip(&ir, &copy);
  ir_sweep(&ir);
  if (ir_verify(&ir, &why) < 0) fail(why.text, &ir);
  round_trip(&ir, &copy);
  ir_eval(&copy, &host, s, s->pc, &exit);
  if (exit.reason == UM_IR_NEXT) s->pc = exit.pc;
}
