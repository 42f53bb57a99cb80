// lower: walks a block once and emits it; control, state, memory and calls. Values are placed by regs.c.
// SPDX-License-Identifier: MIT
#include "jit/x64/lower_int.h"
#include "base/fault.h"
#include "base/fp.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

void refuse(Lower *l, const char *what, Ref ref)
{
  if (l->refused[0]) return;
  if (ref) snprintf(l->refused, sizeof l->refused, "%%%u (%s): %s", ref, ir_info[ins_at(l, ref)->op].name, what);
  else snprintf(l->refused, sizeof l->refused, "%s", what);
}

void add_stub(Lower *l, Stub stub)
{
  if (l->stub_count == STUBS_MOST) refuse(l, "too many exits", 0);
  else l->stubs[l->stub_count++] = stub;
}

// Code memory is mapped as one piece, so distances within it are the same in both views.
static void lead_to(Lower *l, Site site, const uint8_t *target)
{
  const CodeMemory *code = &l->jit->code;
  if (!l->as.full) x64_patch(site, code->write + (target - code->run));
}

static void jump_to(Lower *l, const uint8_t *target) { lead_to(l, x64_jmp(&l->as), target); }

void call_thunk(Lower *l, const uint8_t *thunk) { lead_to(l, x64_call(&l->as), thunk); }

static Mem loop_mem(const Lower *l, uint32_t offset) { return x64_mem(RBP, (int32_t)offset - (int32_t)l->jit->bias); }

// What was paid at the block's head and is not done: all but `done` instructions.
static void give_back(Lower *l, uint32_t done)
{
  if (l->all_insns != done) x64_add_ri(&l->as, W8, R15, (int32_t)(l->all_insns - done));
}

// C wants to know how far the guest is: before the instruction at hand.
static void call_through(Lower *l, const uint8_t *thunk, uint64_t function)
{
  x64_load_constant(&l->as, RAX, function);
  if (l->jit->loop.there) x64_load_constant(&l->as, RDX, l->all_insns + 1 - l->insns);
  call_thunk(l, thunk);
}

void call_c(Lower *l, JitFn *function, uint32_t what)
{
  x64_load_constant(&l->as, RCX, what);
  call_through(l, l->jit->call_run, (uint64_t)(uintptr_t)function);
}

static void emit_leave(Lower *l, uint32_t reason, uint32_t done, uint64_t pc)
{
  give_back(l, done);
  x64_load_constant(&l->as, RAX, reason);
  if (reason == UM_IR_FAULT) x64_load_constant(&l->as, RCX, l->number);
  x64_load_constant(&l->as, RDX, pc);
  jump_to(l, l->jit->leave);
}

// The instruction at hand is done but for a trap.
void leave_by(Lower *l, uint32_t reason, uint64_t pc)
{
  emit_leave(l, reason, l->insns - (reason == UM_IR_TRAP), pc);
}

static uint64_t address_mask(const Lower *l) { return l->jit->guest->address == IR_I32 ? UINT32_MAX : UINT64_MAX; }
static uint64_t target_of(const Lower *l, Ref ref) { return (l->pc + (uint64_t)ins_at(l, ref)->imm) & address_mask(l); }

// Conditions ----------------------------------------------------------------------------------------

static const Cond condition_of[] = { CC_E, CC_NE, CC_B, CC_BE, CC_L, CC_LE };

// Whether `ref` is a comparison that only the instruction behind it uses: it stays in the flags.
static bool fuses(const Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref), *next = ins_at(l, ref + 1);
  if (ins->op < IR_EQ || ins->op > IR_LES || l->values[ref].uses != 1 || ref + 1 >= l->ir->count) return false;
  return (next->op == IR_BRANCH || next->op == IR_WHEN || (next->op == IR_SELECT && !ir_is_float(next->type))) && next->a == ref;
}

// Sets the flags by a comparison and uses its operands up; the condition that holds if it does.
static Cond compare(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  unsigned type = ins_at(l, ins->a)->type;
  bool is_signed = ins->op >= IR_LTS;
  Width w = width_of(type);
  int64_t k;
  Reg a = use_clean(l, ins->a, is_signed);
  bool constant = is_constant(l, ins->b, &k);
  if (constant && !is_signed && ir_bits(type) < 32) k &= (1 << ir_bits(type)) - 1;
  if (constant && is_signed && type == IR_I1) k = -k;
  if (constant && k >= INT32_MIN && k <= INT32_MAX) {
    if (k == 0 && ins->op <= IR_NE) x64_test_rr(&l->as, w, a, a);
    else x64_cmp_ri(&l->as, w, a, (int32_t)k);
  } else x64_cmp_rr(&l->as, w, a, use_clean(l, ins->b, is_signed));
  used(l, ins->a);
  used(l, ins->b);
  return condition_of[ins->op - IR_EQ];
}

// The condition of a branch, when or select at `ref`: in the flags, its value used up.
static Cond condition(Lower *l, Ref ref)
{
  Ref value = ins_at(l, ref)->a;
  if (value + 1 == ref && fuses(l, value)) {
    Cond cc = compare(l, value);
    l->values[value].uses = 0;
    return cc;
  }
  Reg reg = use_reg(l, value);
  x64_test_rr(&l->as, W4, reg, reg);
  used(l, value);
  return CC_NE;
}

static void emit_compare(Lower *l, Ref ref)
{
  if (fuses(l, ref)) return;                           // the instruction behind it does it
  Cond cc = compare(l, ref);
  Reg dst = new_reg(l);
  x64_set_r(&l->as, cc, dst);
  x64_movzx8_rr(&l->as, W4, dst, dst);
  define_reg(l, ref, dst);
}

static void emit_select(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  Reg dst = new_reg(l);
  copy_to(l, dst, ins->c, true, false);
  used(l, ins->c);
  Reg yes = use_reg(l, ins->b);
  Cond cc = condition(l, ref);
  x64_cmov_rr(&l->as, cc, width_of(ins->type), dst, yes);
  used(l, ins->b);
  define_reg(l, ref, dst);
}

// Control -------------------------------------------------------------------------------------------

static void emit_branch(Lower *l, Ref ref)
{
  Site site = x64_jcc(&l->as, condition(l, ref));
  add_stub(l, (Stub){ .from = site, .kind = STUB_LINK, .insns = l->insns, .pc = target_of(l, ref) });
}

// Behind an instruction that left something to C: does that want to leave?
static void leave_if_asked(Lower *l, uint64_t pc)
{
  if (!l->may_leave) return;
  l->may_leave = false;
  x64_cmp_mi(&l->as, W1, loop_mem(l, l->jit->loop.leave), 0);
  add_stub(l, (Stub){ .from = x64_jcc(&l->as, CC_NE), .kind = STUB_LEAVE, .reason = UM_IR_NEXT, .insns = l->insns, .pc = pc });
}

static void emit_goto(Lower *l, Ref ref)
{
  leave_if_asked(l, target_of(l, ref));
  add_stub(l, (Stub){ .from = x64_jmp(&l->as), .kind = STUB_LINK, .insns = l->insns, .pc = target_of(l, ref) });
}

// A way out that can be led to other code (jit_link). What is given back is so on the way there.
static void emit_link_stub(Lower *l, const Stub *stub)
{
  Asm *as = &l->as;
  Jit *jit = l->jit;
  JitLink *link = jit_add_link(jit);
  Site site = stub->from;
  if (!link) {
    refuse(l, "no memory for a link", 0);
    return;
  }
  x64_bind(as, site);
  if (l->paged && (stub->pc ^ l->pc) >> jit->loop.page_bits) {
    give_back(l, stub->insns);
    x64_load_constant(as, RDX, stub->pc);
    jump_to(l, jit->jump);
    return;
  }
  if (l->all_insns != stub->insns) {
    give_back(l, stub->insns);
    site = x64_jmp(as);
    x64_bind(as, site);
  }
  if (as->full) return;
  *link = (JitLink){ .pc = stub->pc, .site = (uint32_t)(site - jit->code.write), .stub = (uint32_t)(as->at - jit->code.write), .from = l->number };
  x64_load_constant(as, RAX, jit->link_count++);
  jump_to(l, jit->leave_link);
}

static void emit_jump(Lower *l, Ref ref)
{
  take_reg(l, RDX);
  copy_to(l, RDX, ins_at(l, ref)->a, false, true);
  if (l->jit->guest->address == IR_I32) x64_mov_rr(&l->as, W4, RDX, RDX);
  used(l, ins_at(l, ref)->a);
  give_back(l, l->insns);
  if (l->jit->loop.there) jit_emit_jump(l->jit, &l->as, l->jit->leave_next);
  else jump_to(l, l->jit->leave_next);
}

static void emit_trap(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  take_reg(l, RDX);
  take_reg(l, RAX);
  copy_to(l, RDX, ins_at(l, ref)->a, false, true);
  if (l->jit->guest->address == IR_I32) x64_mov_rr(as, W4, RDX, RDX);
  used(l, ins_at(l, ref)->a);
  x64_mov_rm(as, W8, RAX, x64_mem(RSP, FRAME_RUN));
  x64_mov_mr(as, W8, x64_mem(RAX, offsetof(JitRun, exit.value)), RDX);
  x64_load_constant(as, RDX, (uint64_t)ins_at(l, ref)->imm);
  x64_mov_mr(as, W8, x64_mem(RAX, offsetof(JitRun, exit.cause)), RDX);
  leave_by(l, UM_IR_TRAP, l->here);
}

static void emit_leave_op(Lower *l, Ref ref)
{
  (void)ref;
  leave_by(l, UM_IR_LEAVE, l->here);
}

static void emit_insn(Lower *l, Ref ref)
{
  l->here = l->pc + (uint64_t)ins_at(l, ref)->imm;
  leave_if_asked(l, l->here);
  if (l->jit->marks) l->jit->marks[l->insns] = (uint32_t)(l->as.at - l->as.start);
  l->insns++;
}

// Counting is done where it is known how far control came: the ways of a `when` begin no guest instruction.
static void emit_when(Lower *l, Ref ref)
{
  spill_all(l, true);
  Cond cc = condition(l, ref);
  spill_all(l, true);                                  // all have their homes: no code, the flags stay
  l->depth++;
  l->whens[l->depth].otherwise = x64_jcc(&l->as, x64_not(cc));
  l->whens[l->depth].end = NULL;
}

static void emit_otherwise(Lower *l, Ref ref)
{
  (void)ref;
  spill_all(l, true);
  l->whens[l->depth].end = x64_jmp(&l->as);
  x64_bind(&l->as, l->whens[l->depth].otherwise);
  l->whens[l->depth].otherwise = NULL;
}

static void emit_end(Lower *l, Ref ref)
{
  (void)ref;
  spill_all(l, true);
  if (l->whens[l->depth].otherwise) x64_bind(&l->as, l->whens[l->depth].otherwise);
  if (l->whens[l->depth].end) x64_bind(&l->as, l->whens[l->depth].end);
  l->depth--;
}

// State ---------------------------------------------------------------------------------------------

static void emit_nothing(Lower *l, Ref ref) { (void)l, (void)ref; }
static void emit_const(Lower *l, Ref ref) { define_const(l, ref, ins_at(l, ref)->imm); }
static void emit_get(Lower *l, Ref ref) { define_slot(l, ref, ins_at(l, ref)->imm); }
static void emit_set(Lower *l, Ref ref) { write_slot(l, ins_at(l, ref)->imm, ins_at(l, ref)->a); }

static void emit_pc(Lower *l, Ref ref)
{
  uint64_t pc = target_of(l, ref);
  define_const(l, ref, l->jit->guest->address == IR_I32 ? (int64_t)(int32_t)pc : (int64_t)pc);
}

// Calls ---------------------------------------------------------------------------------------------

// al tells whether C raised no exception.
static void leave_unless_al(Lower *l)
{
  x64_test_rr(&l->as, W1, RAX, RAX);
  Site site = x64_jcc(&l->as, CC_E);
  add_stub(l, (Stub){ .from = site, .kind = STUB_LEAVE, .reason = UM_IR_FAULT, .insns = l->insns - 1, .pc = l->here });
}

// Uses an operand up: zero-extended, as argument `index` of C. Registers are free.
void store_argument(Lower *l, Ref ref, unsigned index)
{
  Asm *as = &l->as;
  unsigned type = ins_at(l, ref)->type;
  copy_to(l, RAX, ref, false, true);
  if (ir_bits(type) == 32) x64_mov_rr(as, W4, RAX, RAX);
  x64_mov_mr(as, W8, x64_mem(RSP, FRAME_ARGS + 32 * (int32_t)index), RAX);
  used(l, ref);
}

static void emit_call(Lower *l, Ref ref)
{
  Asm *as = &l->as;
  const IrIns *ins = ins_at(l, ref);
  const IrHelper *helper = &l->jit->guest->helpers[ins->aux];
  bool touches = helper->effects & (EFFECT_READ | EFFECT_WRITE | EFFECT_FAULT);
  if (!helper->fn) {
    refuse(l, "its helper is Lua's", ref);
    return;
  }
  spill_all(l, helper->effects & EFFECT_WRITE);
  if (helper->effects & EFFECT_WRITE) l->rounding_changed = true;
  for (unsigned i = 0; i < helper->args; i++) store_argument(l, l->ir->args[ins->a + i], i);
  if (touches) {
    x64_load_constant(as, RAX, l->here);
    x64_mov_mr(as, width_of(l->jit->guest->address), x64_mem(RBP, (int32_t)l->jit->guest->pc - (int32_t)l->jit->bias), RAX);
  }
  call_through(l, l->jit->call, (uint64_t)(uintptr_t)helper->fn);
  if (l->jit->loop.there && helper->effects & EFFECT_WRITE) l->may_leave = true;
  if (helper->effects & EFFECT_FAULT) leave_unless_al(l);
}

void take_result(Lower *l, Ref ref, unsigned index)
{
  Reg dst = result_reg(l, ref, RSP);
  x64_mov_rm(&l->as, W8, dst, x64_mem(RSP, FRAME_RESULTS + 32 * (int32_t)index));
  if (ins_at(l, ref)->type == IR_I1) x64_and_ri(&l->as, W4, dst, 1);
  define_reg(l, ref, dst);
}

static void emit_result(Lower *l, Ref ref) { take_result(l, ref, (unsigned)ins_at(l, ref)->imm); }

// An op as one word for C: what jit_access and jit_compute take apart.
static uint32_t packed(const Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  unsigned from = ir_info[ins->op].operands ? ins_at(l, ins->a)->type : 0;
  return ins->op | (uint32_t)ins->aux << 8 | (uint32_t)ins->type << 24 | from << 28;
}

static IrIns unpacked(uint32_t what) { return (IrIns){ .op = (uint8_t)what, .aux = (uint16_t)(what >> 8), .type = what >> 24 & 15 }; }

// Memory --------------------------------------------------------------------------------------------

static bool jit_access(JitRun *run, const IrValue *args, IrValue *results, uint32_t what)
{
  IrIns ins = unpacked(what);
  run->exit.value = args[0].w[0];
  return ir_access(&run->host, ins, args[0].w[0], args[1], results);
}

static void emit_access(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  bool writes = ins->op == IR_STORE || ins->op == IR_AMO || ins->op == IR_SC;
  if (1u << (ins->aux & MEM_SIZE) > 8) {
    refuse(l, "more than 64 bits", ref);
    return;
  }
  if (emit_inline_access(l, ref)) return;
  spill_all(l, false);
  store_argument(l, ins->a, 0);
  if (writes) store_argument(l, ins->b, 1);
  call_c(l, jit_access, packed(l, ref));
  leave_unless_al(l);
  if (ins->type != IR_VOID) take_result(l, ref, 0);
}

static void emit_fence(Lower *l, Ref ref)
{
  unsigned sets = ins_at(l, ref)->aux;
  take_reg(l, RAX);
  if (sets & 0x10 && sets & 2) x64_lock_xadd_mr(&l->as, W4, x64_mem(RSP, FRAME_VALUE), RAX);       // a locked operation orders a load behind a store
}

// Whatever is not worth code of its own: integers up to 64 bits and floats.
uint64_t jit_computed(const JitRun *run, IrIns ins, unsigned from, const IrValue *args)
{
  if (ins.op == IR_UNBOX) return args[0].w[0] >> 32 == UINT32_MAX ? (uint32_t)args[0].w[0] : FP_CANON_S;
  if (!(ir_info[ins.op].effects & EFFECT_FLAGS)) return ir_eval_int(ins.op, ir_bits(ins.type), ir_bits(from), args[0].w[0], args[1].w[0]);
  unsigned rm = ir_rounding(ins.op, ins.aux, ((const uint8_t *)run->state)[run->guest->rounding]);
  return ir_eval_float(ins.op, ins.type, from, rm, args[0].w[0], args[1].w[0], args[2].w[0]);
}

static bool jit_compute(JitRun *run, const IrValue *args, IrValue *results, uint32_t what)
{
  results[0].w[0] = jit_computed(run, unpacked(what), what >> 28, args);
  return true;
}

void emit_by_call(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref);
  const Ref operand[3] = { ins->a, ins->b, ins->c };
  spill_all(l, false);
  for (unsigned i = 0; i < ir_info[ins->op].operands; i++) store_argument(l, operand[i], i);
  call_c(l, jit_compute, packed(l, ref));
  take_result(l, ref, 0);
}

// The walk ------------------------------------------------------------------------------------------

static Emit *const emit_other[IR_OPS] = {
  [IR_NOP] = emit_nothing, [IR_CONST] = emit_const, [IR_PC] = emit_pc, [IR_GET] = emit_get, [IR_SET] = emit_set,
  [IR_EQ] = emit_compare, [IR_NE] = emit_compare, [IR_LTU] = emit_compare, [IR_LEU] = emit_compare, [IR_LTS] = emit_compare, [IR_LES] = emit_compare,
  [IR_SELECT] = emit_select, [IR_LOAD] = emit_access, [IR_STORE] = emit_access, [IR_AMO] = emit_access, [IR_LR] = emit_access, [IR_SC] = emit_access,
  [IR_FENCE] = emit_fence, [IR_CALL] = emit_call, [IR_RESULT] = emit_result, [IR_INSN] = emit_insn, [IR_WHEN] = emit_when, [IR_OTHERWISE] = emit_otherwise,
  [IR_END] = emit_end, [IR_BRANCH] = emit_branch, [IR_GOTO] = emit_goto, [IR_JUMP] = emit_jump, [IR_TRAP] = emit_trap, [IR_LEAVE] = emit_leave_op,
};

// A shift whose amount is x & (its width - 1), used by it alone, takes x: the host masks by itself.
static void find_masked_amount(Lower *l, Ref ref)
{
  const IrIns *ins = ins_at(l, ref), *amount = ins_at(l, ins->b);
  unsigned bits = ir_bits(ins->type);
  if ((bits != 32 && bits != 64) || amount->op != IR_AND || l->values[ins->b].uses != 1) return;
  const IrIns *mask = ins_at(l, amount->b);
  if (mask->op == IR_CONST && mask->imm == bits - 1) l->amounts[ref] = amount->a;
}

static bool is_pure(const IrIns *ins)
{
  return ins->type != IR_VOID && ins->op != IR_RESULT && (ir_info[ins->op].effects & ~EFFECT_READ) == 0;
}

// Slots that are written again before anybody can look at them, while a block is read from its end.
typedef struct Overwritten {
  uint64_t elements[PIN_ROWS];
  bool     any, calls;                   // calls: the block has some, after which it may be left before each instruction
} Overwritten;

// Whether a `set` is in vain.
static bool overwritten(Overwritten *o, const IrIns *ins)
{
  unsigned row = (unsigned)(ins->imm >> 8), element = (unsigned)(ins->imm & 255);
  if (row >= PIN_ROWS || element > 63) return false;
  bool vain = o->elements[row] >> element & 1;
  o->elements[row] |= 1ull << element;
  o->any = true;
  return vain;
}

static void observe(Overwritten *o, const IrIns *ins)
{
  unsigned row = (unsigned)(ins->imm >> 8), element = (unsigned)(ins->imm & 255);
  if (ins->op == IR_GET && row < PIN_ROWS && element < 64) o->elements[row] &= ~(1ull << element);
  bool leaves = ir_info[ins->op].effects & (EFFECT_FAULT | EFFECT_CALL | EFFECT_CONTROL) && (ins->op != IR_INSN || o->calls);
  if (!leaves || !o->any) return;
  memset(o->elements, 0, sizeof o->elements);
  o->any = false;
}

// Counts who uses values, of what is not in vain itself: from the end, so that users come first. In amounts: sets that are.
static void count_uses(Lower *l)
{
  const Ir *ir = l->ir;
  Overwritten o = { .any = false, .calls = ir->arg_count };
  for (Ref ref = 1; ref < ir->count && !o.calls; ref++) o.calls = ir->ins[ref].op == IR_CALL;
  for (Ref ref = ir->count - 1; ref > 0; ref--) {
    const IrIns *ins = &ir->ins[ref];
    if (!l->values[ref].uses && is_pure(ins)) continue;
    if (ins->op == IR_SET && overwritten(&o, ins)) {
      l->amounts[ref] = ref;
      continue;
    }
    observe(&o, ins);
    unsigned operands = ir_info[ins->op].operands;
    if (operands > 0) l->values[ins->a].uses++;
    if (operands > 1) l->values[ins->b].uses++;
    if (operands > 2) l->values[ins->c].uses++;
    l->all_insns += ins->op == IR_INSN;
    for (int64_t i = 0; ins->op == IR_CALL && i < ins->imm; i++) l->values[ir->args[ins->a + i]].uses++;
  }
  for (Ref ref = 1; ref < ir->count; ref++) {
    unsigned op = ir->ins[ref].op;
    if (op < IR_SHL || op > IR_SAR || !l->values[ref].uses) continue;
    find_masked_amount(l, ref);
    if (!l->amounts[ref]) continue;
    Ref masked = ins_at(l, ref)->b;                    // nobody wants it, nor its mask; its operand is the shift's now
    l->values[masked].uses = 0;
    l->values[ins_at(l, masked)->b].uses--;
  }
}

static void walk(Lower *l)
{
  const Ir *ir = l->ir;
  for (Ref ref = 1; ref < ir->count && !l->refused[0]; ref++) {
    const IrIns *ins = &ir->ins[ref];
    if (ir_bits(ins->type) > 64) refuse(l, "more than 64 bits", ref);
    if (is_pure(ins) ? !l->values[ref].uses : ins->op == IR_SET && l->amounts[ref]) continue;
    Emit *emit = emit_integer[ins->op] ? emit_integer[ins->op] : emit_float[ins->op] ? emit_float[ins->op] : emit_other[ins->op];
    if (emit) emit(l, ref);
    else refuse(l, "has no emitter", ref);
    end_instruction(l);
  }
}

static void emit_head_stub(Lower *l)
{
  give_back(l, 0);
  x64_load_constant(&l->as, RAX, l->number);
  jump_to(l, l->jit->leave_head);
}

// Pays for the whole block; what is not done is given back on the way out.
static void emit_head(Lower *l, bool guarded)
{
  Asm *as = &l->as;
  if (l->all_insns) {
    x64_sub_ri(as, W8, R15, (int32_t)l->all_insns);
    add_stub(l, (Stub){ .from = x64_jcc(as, CC_S), .kind = STUB_HEAD });
  }
  if (!guarded) return;
  x64_cmp_mi(as, W1, loop_mem(l, l->jit->loop.unready), 0);
  add_stub(l, (Stub){ .from = x64_jcc(as, CC_NE), .kind = STUB_HEAD });
}

static void emit_stubs(Lower *l)
{
  for (unsigned i = 0; i < l->stub_count && !l->as.full; i++) {          // a call adds another
    const Stub *stub = &l->stubs[i];
    if (stub->kind != STUB_LINK && stub->kind != STUB_SITE) x64_bind(&l->as, stub->from);
    if (stub->kind == STUB_LEAVE) emit_leave(l, stub->reason, stub->insns, stub->pc);
    else if (stub->kind == STUB_LINK) emit_link_stub(l, stub);
    else if (stub->kind == STUB_HEAD) emit_head_stub(l);
    else if (stub->kind == STUB_SITE) emit_site(l, stub);
    else emit_nan(l, stub);
  }
}

static void begin(Lower *l)
{
  uint32_t regs = 0xffff & ~(1u << RSP | 1u << RBP | 1u << R15 | (uint32_t)l->jit->window.there << JIT_WINDOW_REG), xmms = 0xffff & ~(1u << XMM_BOX);
  for (unsigned i = 0; i < l->jit->pin_count; i++) {
    const JitPin *pin = &l->jit->pins[i];
    *(pin->xmm ? &xmms : &regs) &= ~(1u << pin->reg);
  }
  l->free_regs = regs;
  l->free_xmms = xmms;
}

// Room for `count` values; false: there is no memory.
static bool make_room(Lower *l, uint32_t count)
{
  if (l->capacity >= count) return true;
  Value *values = realloc(l->value_room, count * sizeof *values);
  if (values) l->value_room = values;
  Ref *amounts = realloc(l->amount_room, count * sizeof *amounts);
  if (amounts) l->amount_room = amounts;
  if (values && amounts) l->capacity = count;
  return values && amounts;
}

void jit_lower_free(Jit *jit)
{
  if (!jit->lower) return;
  free(jit->lower->value_room);
  free(jit->lower->amount_room);
  free(jit->lower);
}

int jit_lower(Jit *jit, const Ir *ir, JitCode *code, uint8_t *to, size_t room, struct um_fault *why)
{
  if (!jit->lower) jit->lower = calloc(1, sizeof *jit->lower);
  Lower *l = jit->lower;
  if (!l || !make_room(l, ir->count)) return fault_set(why, UM_ENOMEM, "no memory to translate with");
  memset(l, 0, offsetof(Lower, stubs));
  memset(l->value_room, 0, ir->count * sizeof *l->value_room);
  memset(l->amount_room, 0, ir->count * sizeof *l->amount_room);
  l->as = (Asm){ to, to, to + room, false };
  l->jit = jit;
  l->ir = ir;
  l->number = jit->code_count;
  l->paged = code->flags & JIT_PAGED;
  l->pc = l->here = code->pc;
  l->values = l->value_room;
  l->amounts = l->amount_room;
  jit_begin_sites(jit);
  begin(l);
  count_uses(l);
  emit_head(l, code->flags & JIT_GUARDED);
  walk(l);
  if (jit->marks) jit->marks[l->insns] = (uint32_t)(l->as.at - l->as.start);
  if (!l->refused[0]) emit_stubs(l);
  if (l->refused[0]) return fault_set(why, UM_EINVAL, "cannot translate %s", l->refused);
  if (l->as.full) return fault_set(why, UM_ENOMEM, "code memory is full");
  jit->instructions += l->insns;
  code->size = (uint32_t)(l->as.at - l->as.start);
  code->insns = l->all_insns;
  code->rounds = l->rounds;
  return UM_OK;
}
