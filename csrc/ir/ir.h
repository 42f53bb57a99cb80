// ir: what guest instructions mean, as a list of typed instructions that every engine can read.
// SPDX-License-Identifier: MIT
//
// A block has one entry and goes forward only: whatever it does, it ends. Each instruction may give one value, which later
// ones name by its index (a Ref). Guest state is reached by get and set of slots, memory by load, store and atomics,
// the rest by calls of helpers; a guest is a table of slots and helpers (um_ir_guest). `when` nests, and a value made
// inside does not outlive it: what must, goes through a slot. State is canonical at every instruction, so a fault leaves
// exactly what was set before it.
// Arithmetic is total: nothing is undefined. Floats are IEEE 754, NaN results are the canonical quiet NaN (0x7fc00000,
// 0x7ff8000000000000), flags are sticky in the state.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "base/check.h"
#include "base/wide.h"
#include "ir/ir_ffi.h"

typedef struct um_ir Ir;
typedef struct um_ir_guest IrGuest;
typedef uint32_t Ref;                    // index of an instruction; 0: none
typedef u256 IrValue;                    // zero-extended; floats as their bits

enum IrType { IR_VOID, IR_I1, IR_I8, IR_I16, IR_I32, IR_I64, IR_I128, IR_I256, IR_F32, IR_F64, IR_TYPES };

enum IrOp {
#define IR_OP(NAME, ...) IR_##NAME,
#include "ir/ops.h"
#undef IR_OP
  IR_OPS
};

// What an instruction carries in aux and imm.
enum IrExtra {
  EXTRA_NONE,
  EXTRA_CONST,     // imm: the value, sign-extended; aux 1: imm is an index into wide[]
  EXTRA_DELTA,     // imm: signed bytes from the block's address
  EXTRA_SLOT,      // imm: row << 8 | element
  EXTRA_MEM,       // aux: ir_mem()
  EXTRA_AMO,       // aux: ir_mem() | operation << 8
  EXTRA_ROUND,     // aux: enum IrRound
  EXTRA_HELPER,    // aux: index; a: first of its arguments in args[], imm: how many
  EXTRA_INDEX,     // a: the call, imm: which result
  EXTRA_INSN,      // imm: delta, aux: length
  EXTRA_CAUSE,     // imm
  EXTRA_FENCE,     // aux: predecessors << 4 | successors
};

enum IrEffect {
  EFFECT_READ = 1, EFFECT_WRITE = 2,       // guest state
  EFFECT_LOAD = 4, EFFECT_STORE = 8,       // guest memory
  EFFECT_FAULT = 16,                       // may end the block by an exception
  EFFECT_FLAGS = 32,                       // reads the rounding mode, raises floating-point flags
  EFFECT_ORDER = 64, EFFECT_CONTROL = 128,
  EFFECT_LAST = 256,                       // nothing follows it
  EFFECT_CALL = 512,                       // the effects are the helper's
};

enum IrRound { ROUND_NEAREST, ROUND_ZERO, ROUND_DOWN, ROUND_UP, ROUND_AWAY, ROUND_STATE = 7 };     // away: nearest, ties away from zero
enum IrAmo { AMO_SWAP, AMO_ADD, AMO_AND, AMO_OR, AMO_XOR, AMO_MIN, AMO_MAX, AMO_MINU, AMO_MAXU, AMO_COUNT };

enum { MEM_SIZE = 7, MEM_SIGNED = 8, MEM_BIG = 16, MEM_ACQUIRE = 32, MEM_RELEASE = 64 };     // MEM_SIZE: log2 of the bytes

typedef struct IrInfo {
  const char *name, *signature, *text;
  uint16_t effects;
  uint8_t  extra;
  uint8_t  operands;
} IrInfo;

extern const IrInfo ir_info[IR_OPS];

typedef struct IrIns {
  uint8_t  op, type;
  uint16_t aux;
  Ref      a;
  union {
    struct { Ref b, c; };
    int64_t imm;
  };
} IrIns;
_Static_assert(sizeof(IrIns) == 16, "blocks are dense");

typedef struct IrSlot {
  const char *name;
  uint8_t  type;
  uint16_t count;                        // 1 to 256 registers in a row
  uint32_t offset, stride;               // bytes in the state
} IrSlot;

// False: an exception was raised. NULL as fn: whoever evaluates serves the call.
typedef bool IrHelperFn(void *state, const IrValue *args, IrValue *results);

enum { HELPER_ARGS = 8, HELPER_RESULTS = 6 };
typedef struct IrHelper {
  const char *name;
  IrHelperFn *fn;
  uint16_t effects;
  uint8_t  args, results;
  uint8_t  arg[HELPER_ARGS], result[HELPER_RESULTS];     // types
} IrHelper;

struct um_ir_guest {
  const IrSlot   *slots;
  const IrHelper *helpers;
  uint32_t slot_count, helper_count;
  uint32_t state_size;
  uint32_t pc, rounding, flags;          // offsets in the state: an address, a byte, a byte
  uint8_t  address;                      // IR_I32 or IR_I64
  bool     owned;                        // made by um_ir_guest_new
};

enum { IR_NESTING = 16, IR_MOST = 1 << 16 };

// What is open while a block is read from its start; verify.c.
typedef struct IrScopes {
  uint32_t depth, open[IR_NESTING + 1], next;
  bool     ended[IR_NESTING + 1], otherwise[IR_NESTING + 1];
  int64_t  delta;                        // of the last insn, -1: none
} IrScopes;

struct um_ir {
  const IrGuest *guest;
  IrIns    *ins;                         // ins[0] is a nop: Ref 0 names nothing
  uint32_t *scope;                       // which `when` an instruction is in
  uint32_t  count, capacity;
  Ref      *args;
  uint32_t  arg_count, arg_capacity;
  IrValue  *wide;
  uint32_t  wide_count, wide_capacity;
  IrValue  *values;                      // of an evaluation
  uint32_t  value_capacity;
  uint32_t *table;                       // of a sweep
  uint32_t  table_capacity;
  void     *reserved;                    // by an lr that Lua evaluated
  uint64_t  reserved_value;
  bool      sound;                       // made by a lift, whose blocks are right: need not be verified to be run
  bool      full;                        // no memory, or IR_MOST instructions: what came after is not there
  IrScopes  scopes;
};

static inline unsigned ir_bits(unsigned type)
{
  static const uint16_t bits[IR_TYPES] = { 0, 1, 8, 16, 32, 64, 128, 256, 32, 64 };
  return bits[type];
}

static inline bool ir_is_float(unsigned type) { return type >= IR_F32; }
static inline bool ir_is_int(unsigned type) { return type >= IR_I1 && type <= IR_I256; }
static inline unsigned ir_bytes(unsigned type) { return (ir_bits(type) + 7) / 8; }
static inline uint16_t ir_mem(unsigned size_log2, bool is_signed, bool big) { return (uint16_t)(size_log2 | (is_signed ? MEM_SIGNED : 0) | (big ? MEM_BIG : 0)); }
static inline const IrSlot *ir_slot(const IrGuest *guest, int64_t slot) { return &guest->slots[slot >> 8]; }
static inline uint32_t ir_slot_offset(const IrGuest *guest, int64_t slot)
{
  return ir_slot(guest, slot)->offset + (uint32_t)(slot & 255) * ir_slot(guest, slot)->stride;
}

// build.c: appends; a block that is full keeps what it has and says so in ir->full.
bool ir_init(Ir *ir, const IrGuest *guest);
void ir_fini(Ir *ir);
void ir_clear(Ir *ir);
Ref  ir_add(Ir *ir, IrIns ins);
Ref  ir_const(Ir *ir, unsigned type, uint64_t value);
Ref  ir_wide_const(Ir *ir, unsigned type, IrValue value);
Ref  ir_unary(Ir *ir, unsigned op, unsigned type, Ref a);
Ref  ir_binary(Ir *ir, unsigned op, unsigned type, Ref a, Ref b);         // folds constants and what changes nothing
Ref  ir_select(Ir *ir, unsigned type, Ref condition, Ref yes, Ref no);
Ref  ir_get(Ir *ir, unsigned type, unsigned row, unsigned element);
void ir_set(Ir *ir, unsigned row, unsigned element, Ref value);
Ref  ir_call(Ir *ir, unsigned helper, const Ref *args, unsigned count);
static inline Ref ir_result(Ir *ir, unsigned type, Ref call, unsigned index) { return ir_add(ir, (IrIns){ .op = IR_RESULT, .type = (uint8_t)type, .a = call, .imm = index }); }
static inline Ref ir_delta(Ir *ir, unsigned op, unsigned type, Ref a, int64_t delta) { return ir_add(ir, (IrIns){ .op = (uint8_t)op, .type = (uint8_t)type, .a = a, .imm = delta }); }

static inline IrValue ir_constant(const Ir *ir, const IrIns *ins)
{
  return ins->aux ? ir->wide[ins->imm] : u256_low(u256_from((uint64_t)ins->imm), ir_bits(ins->type));
}

// verify.c
void ir_scopes_begin(IrScopes *scopes);
int  ir_verify_next(const Ir *ir, IrScopes *scopes, uint32_t *scope, Ref ref, struct um_fault *why);     // all before it are verified
int  ir_verify(const Ir *ir, struct um_fault *why);                       // the whole block
uint16_t ir_effects(const Ir *ir, const IrIns *ins);

// sweep.c: takes out what gives a value that nobody uses and does nothing else; instructions are numbered anew.
void ir_sweep(Ir *ir);

// border.c: appends `ins` if it is right there; its number, or a refusal.
int ir_append(Ir *ir, IrIns ins, struct um_fault *why);

// print.c, parse.c
extern const char *const ir_type_name[IR_TYPES];
extern const char *const ir_round_name[8];
extern const char *const ir_amo_name[AMO_COUNT];

// eval.c
uint64_t ir_eval_int(unsigned op, unsigned bits, unsigned from, uint64_t a, uint64_t b);       // up to 64 bits; from: width of a

// A float operation; flags go to the host's MXCSR, which must be a guest's (base/fp.h). rm: 0 to 4.
uint64_t ir_eval_float(unsigned op, unsigned type, unsigned from, unsigned rm, uint64_t a, uint64_t b, uint64_t c);
unsigned ir_rounding(unsigned op, unsigned aux, unsigned state);          // what an op that carries `aux` rounds by; none: to nearest

// How an evaluation reaches memory.
typedef struct IrHost {
  void *context;
  // Little-endian and zero-extended. False: an exception was raised.
  bool (*load)(void *context, uint64_t address, unsigned bytes, IrValue *value);
  bool (*store)(void *context, uint64_t address, unsigned bytes, const IrValue *value);
  void *(*place)(void *context, uint64_t address, unsigned bytes, bool write);      // of an atomic access; NULL: an exception was raised
  void **reserved;                       // where lr keeps its place, NULL: nothing is reserved
  uint64_t *reserved_value;
  void (*refused)(void *context, uint64_t address, unsigned bytes, bool write);     // memory that is a window was not there: raises that
} IrHost;

IrHost ir_window(const struct um_ir_world *world, void **reserved, uint64_t *reserved_value);     // border.c: the memory of Lua's evaluations

// A load, store, amo, lr or sc by itself. False: an exception was raised.
bool ir_access(const IrHost *host, IrIns ins, uint64_t address, IrValue operand, IrValue *value);

// Goes on after exit->at (0: from the start) until the block is left; it is verified. False: no memory for its values.
bool ir_eval(Ir *ir, const IrHost *host, void *state, uint64_t pc, struct um_ir_exit *exit);

_Static_assert(IR_LTU == IR_EQ + 2 && IR_LES == IR_EQ + 5, "comparisons in a row");
_Static_assert(IR_F64 == IR_F32 + 1 && IR_I256 == IR_I1 + 6, "types by width");
