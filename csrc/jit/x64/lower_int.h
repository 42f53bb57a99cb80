// lower_int: what the files that turn a block into host code share.
// SPDX-License-Identifier: MIT
//
// One walk, no passes. A value is where it is cheapest until somebody wants it elsewhere: a constant, a slot that has not been
// written since, a register, the stack. Integers narrower than their register have anything above their width, i1 excepted,
// which is 0 or 1. Registers that no pin took are for values; RSP, RBP and R15 are not, nor is R14 in a window, nor XMM15, which holds
// what a boxed single has above it.
#pragma once
#include "jit/jit.h"
#include "jit/x64/asm.h"

// Constants come first, where they have short addresses.
enum { FRAME_MASK = 0, FRAME_NAN_D = 8, FRAME_NAN_S = 16, FRAME_ARGS = 32, FRAME_RESULTS = FRAME_ARGS + 32 * HELPER_ARGS, FRAME_VALUE = FRAME_RESULTS + 32 * HELPER_RESULTS, FRAME_RUN = FRAME_VALUE + 8,
       FRAME_HOMES = FRAME_RUN + 8, HOMES = 256, FRAME_SIZE = FRAME_HOMES + 8 * HOMES + 8 };

enum { XMM_BOX = 15 };
typedef enum Where { NOWHERE, IN_CONST, IN_SLOT, IN_SUM, IN_REG, IN_XMM, IN_HOME } Where;

typedef struct Value {
  uint8_t  where, reg;
  uint16_t home;                         // 1 + number of its place on the stack, once it has one; 0: none
  uint32_t uses;                         // to come
  int64_t  k;                            // the constant; the slot; what is added to the base of a sum (sum_base)
} Value;

// Code that is wanted once in a while: emitted behind the block.
typedef struct Stub {
  Site     from, back;                   // back: where it jumps to afterwards
  uint8_t  kind;
  uint8_t  reg;                          // STUB_NAN: the XMM register
  union {
    struct { uint32_t reason, insns; uint64_t pc; };         // STUB_LEAVE, STUB_LINK: with `insns` instructions done
    JitSite site;
  };
} Stub;
enum { STUB_LEAVE, STUB_LINK, STUB_HEAD, STUB_NAN_S, STUB_NAN_D, STUB_SITE };

enum { STUBS_MOST = 384, ALIASES_MOST = 64, NEAR_MOST = 8 };
enum { NEAR = (1 << 20) - 64 };        // twice as much is reserved around a window

// Kept from block to block: what comes before `stubs` is cleared, the rest is not looked at before it is written.
typedef struct Lower {
  Asm       as;
  Jit      *jit;
  const Ir *ir;
  uint32_t  number;                      // of the code
  uint64_t  pc, here;                    // of the block, of the guest instruction
  uint32_t  insns, all_insns;            // begun where the walk is; of the whole block
  bool      paged;                       // ways into other pages are looked up
  bool      may_leave;                   // C may have asked to leave behind the instruction at hand
  Value    *values;
  Ref      *amounts;                     // of a shift whose amount is masked by its width: the unmasked one; of a set in vain: itself
  uint32_t  free_regs, free_xmms;        // bits
  uint32_t  locked_regs, locked_xmms;    // operands and results of the instruction at hand
  Ref       in_reg[16], in_xmm[16];
  // Registers that hold what a slot of 64 bits holds in the state, besides or instead of a value: slot plus 1, 0: none.
  uint16_t  copy[16], copy_xmm[16];
  uint32_t  copies, copies_xmm;          // bits of those that do
  uint64_t  boxed;                       // slots of floats, by element, that hold boxed singles
  unsigned  hand;                        // whose turn it is to be overwritten
  Ref       aliases[ALIASES_MOST];
  unsigned  alias_count;
  unsigned  homes;
  unsigned  stub_count;
  struct { Site otherwise, end; } whens[IR_NESTING + 1];
  unsigned  depth;
  struct { int64_t slot; int32_t slack; } near[NEAR_MOST];   // slots whose value lies in the window, or at most `slack` bytes off it
  unsigned  near_count;
  Ref       moved;                       // a sum of a slot near the window and a constant: it is at most moved_slack off
  int32_t   moved_slack;
  bool      rounds, rounding_changed;    // an operation relies on MXCSR; a helper may have changed the mode since
  char      refused[120];                // why the block cannot be translated; empty: it can
  Stub      stubs[STUBS_MOST];
  Value    *value_room;                  // for `capacity` values and amounts
  Ref      *amount_room;
  uint32_t  capacity;
} Lower;

// regs.c
static inline const IrIns *ins_at(const Lower *l, Ref ref) { return &l->ir->ins[ref]; }
static inline Width width_of(unsigned type) { return ir_bits(type) == 64 ? W8 : W4; }
const JitPin *pin_at(const Lower *l, int64_t slot);
Mem  slot_mem(const Lower *l, int64_t slot);
Reg  new_reg(Lower *l);                                // locked until the instruction ends
Xmm  new_xmm(Lower *l);
void release(Lower *l, Reg reg);                       // what new_reg gave and nobody defined
Reg  use_reg(Lower *l, Ref ref);                       // the value in a register, to be read only
Xmm  use_xmm(Lower *l, Ref ref);
Reg  use_clean(Lower *l, Ref ref, bool is_signed);     // extended to 32 bits where it is narrower
void copy_to(Lower *l, Reg dst, Ref ref, bool is_signed, bool clean);      // the value into a register of its own choice, which must be free
void take_reg(Lower *l, Reg reg);                      // moves whatever lies there away, and locks it
bool is_constant(const Lower *l, Ref ref, int64_t *k); // sign-extended
void used(Lower *l, Ref ref);                          // one use less
void define_reg(Lower *l, Ref ref, Reg reg);
void define_xmm(Lower *l, Ref ref, Xmm xmm);
void define_const(Lower *l, Ref ref, int64_t k);
void define_slot(Lower *l, Ref ref, int64_t slot);
void define_sum(Lower *l, Ref ref, int64_t k);          // its first operand, or its second, plus k; they are used later
Ref  sum_base(const Lower *l, Ref ref);
void share(Lower *l, Ref ref, Ref from);               // the same bits under another type; uses `from` up
bool extends_for_free(const Lower *l, Ref ref);        // a sext whose operand's register has its 64 bits already
// Where the result is wanted, after its operands were used: a pin, else the first operand's register if that is dead.
Reg  result_reg(Lower *l, Ref ref, Reg first);
Xmm  result_xmm(Lower *l, Ref ref, Xmm first);
bool slot_is_boxed(const Lower *l, Ref ref);           // it is a slot that holds a boxed single
bool wants_xmm(const Lower *l, Ref ref);               // it goes straight to a slot that lives in an XMM register
bool in_xmm_now(const Lower *l, Ref ref);
bool slot_is_near(const Lower *l, int64_t slot);       // an address in it lies in the window or right beside it
void note_near(Lower *l, int64_t slot, int32_t slack);
void note_moved(Lower *l, Ref ref, Ref base, int64_t k);
void write_slot(Lower *l, int64_t slot, Ref ref);
void spill_all(Lower *l, bool slots_too);              // every value off the registers; off slots too
void end_instruction(Lower *l);

// enter.c
void jit_emit_jump(const Jit *jit, Asm *as, const uint8_t *otherwise);    // to where rdx says, which is handed on too
// lower.c
void refuse(Lower *l, const char *what, Ref ref);
void add_stub(Lower *l, Stub stub);
typedef bool JitFn(JitRun *run, const IrValue *args, IrValue *results, uint32_t what);
void store_argument(Lower *l, Ref ref, unsigned index);
void call_c(Lower *l, JitFn *function, uint32_t what); // values and pins are in memory while it runs
void take_result(Lower *l, Ref ref, unsigned index);
void call_thunk(Lower *l, const uint8_t *thunk);
void emit_by_call(Lower *l, Ref ref);
void emit_nan(Lower *l, const Stub *stub);             // floats.c
uint64_t jit_computed(const JitRun *run, IrIns ins, unsigned from, const IrValue *args);
// slow.c: the op at `ref` done by C when `from` is taken, or when the host refuses what lies at `at`. Of the site are given disp, k,
// operands and the result's register.
void add_site(Lower *l, Ref ref, Site from, JitSite site);
void add_fault(Lower *l, Ref ref, const uint8_t *at, JitSite site);
uint8_t site_operand(const Value *value);
void emit_site(Lower *l, const Stub *stub);
uint8_t *emit_slow_thunk(const Jit *jit, Asm *as, const uint8_t *leave);
// enter.c
void emit_pins(const Jit *jit, Asm *as, bool load);
// memory.c
bool emit_inline_access(Lower *l, Ref ref);            // false: it has no short form here
void leave_by(Lower *l, uint32_t reason, uint64_t pc);

// integers.c, floats.c: emitters by op; NULL: there is none
typedef void Emit(Lower *l, Ref ref);
extern Emit *const emit_integer[IR_OPS], *const emit_float[IR_OPS];
