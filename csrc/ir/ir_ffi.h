// ir: the intermediate representation at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_ir_guest um_ir_guest;
typedef struct um_ir um_ir;

// Types, as in "i64": 0 void, i1 i8 i16 i32 i64 i128 i256 f32 f64.
struct um_ir_op {
  const char *name, *signature, *text;     // csrc/ir/ops.h
  uint32_t effects;                        // bits: 0 reads state, 1 writes it, 2 loads, 3 stores, 4 may fault, 5 flags, 6 order, 7 control, 8 last, 9 call
  uint32_t extra;                          // what it carries: enum IrExtra
};

struct um_ir_row {
  uint32_t op, type, aux, a, b, c;
  int64_t  imm;                            // where the op carries one; b and c otherwise
};

// Why an evaluation came back.
enum {
  UM_IR_NEXT,       // control goes on at pc
  UM_IR_LEAVE,      // a helper has set the pc
  UM_IR_TRAP,       // a trap instruction: cause, value
  UM_IR_FAULT,      // a memory access or a helper raised an exception: value is the address of an access
  UM_IR_CALL,       // a helper without C: answer, then go on
};

struct um_ir_exit {
  uint32_t reason;  // UM_IR_*
  uint32_t at;      // instruction where it stands
  uint32_t insns;   // guest instructions begun
  uint32_t helper;  // UM_IR_CALL
  uint64_t pc;      // UM_IR_NEXT: where to go on; else of the guest instruction
  uint64_t cause, value;
};

// Memory of an evaluation: one window; every access outside faults.
struct um_ir_world {
  void    *state;
  uint8_t *memory;
  uint64_t at, size;
};

// A guest: slots and helpers are added, then blocks are built for it. It must outlive them.
um_ir_guest *um_ir_guest_new(bool wide_addresses, struct um_fault *why);                     // addresses of 64 bits, else of 32
void     um_ir_guest_free(um_ir_guest *guest);
int      um_ir_guest_slot(um_ir_guest *guest, const char *name, uint32_t type, uint32_t count, struct um_fault *why);   // its row
// types: one digit each, as above, results behind a colon: "55:51".
int      um_ir_guest_helper(um_ir_guest *guest, const char *name, const char *types, uint32_t effects, struct um_fault *why);
uint32_t um_ir_guest_size(const um_ir_guest *guest);                                         // bytes of a state
uint32_t um_ir_guest_address(const um_ir_guest *guest);                                      // type of addresses
int      um_ir_guest_find(const um_ir_guest *guest, const char *name, struct um_fault *why); // row of a slot
int      um_ir_guest_place(const um_ir_guest *guest, uint32_t row, uint32_t element, struct um_fault *why);   // its offset in a state
int      um_ir_guest_find_helper(const um_ir_guest *guest, const char *name, struct um_fault *why);
uint32_t um_ir_guest_slot_type(const um_ir_guest *guest, uint32_t row);
const char *um_ir_guest_helper_name(const um_ir_guest *guest, uint32_t helper);
uint32_t um_ir_guest_helper_result(const um_ir_guest *guest, uint32_t helper, uint32_t index);   // its type; 0: there are no more
uint32_t um_ir_guest_pc(const um_ir_guest *guest);                                           // offsets in a state: the pc,
uint32_t um_ir_guest_fp(const um_ir_guest *guest);                                           // the byte of the rounding mode; flags follow

bool     um_ir_op(uint32_t op, struct um_ir_op *row);                                        // false past the end
um_ir   *um_ir_new(const um_ir_guest *guest, struct um_fault *why);
void     um_ir_free(um_ir *ir);
void     um_ir_clear(um_ir *ir);
uint32_t um_ir_count(const um_ir *ir);                                                       // instructions are 1 to count - 1
void     um_ir_row_of(const um_ir *ir, uint32_t ref, struct um_ir_row *row);
// Appends; returns the instruction's number. Refused, nothing is appended.
int      um_ir_emit(um_ir *ir, const struct um_ir_row *row, struct um_fault *why);
int      um_ir_emit_wide(um_ir *ir, uint32_t type, const uint64_t *value, struct um_fault *why);              // const of 4 limbs
int      um_ir_emit_call(um_ir *ir, uint32_t helper, const uint32_t *args, uint32_t count, struct um_fault *why);
int      um_ir_verify(const um_ir *ir, struct um_fault *why);                                // complete and right
uint64_t um_ir_print(const um_ir *ir, char *to, uint64_t size);                              // length of the text, whatever fits of it
int      um_ir_parse(um_ir *ir, const char *text, uint64_t size, struct um_fault *why);      // appends
// exit->at 0 starts; after UM_IR_CALL the same exit goes on.
int      um_ir_eval(um_ir *ir, const struct um_ir_world *world, uint64_t pc, struct um_ir_exit *exit, struct um_fault *why);
void     um_ir_value(const um_ir *ir, uint32_t ref, uint64_t *to);                           // 4 limbs an instruction gave
int      um_ir_argument(const um_ir *ir, uint32_t call, uint32_t index, uint64_t *to, struct um_fault *why);
int      um_ir_answer(um_ir *ir, uint32_t call, uint32_t index, const uint64_t *from, struct um_fault *why);
