// border: guests and blocks made from Lua: the same tables and lists, every step checked.
// SPDX-License-Identifier: MIT
#include "base/fault.h"
#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MOST = 64, HELPERS_MOST = 128, STATE_HEAD = 32 };     // pc, rounding and flags come first in a state

// Guests -------------------------------------------------------------------------------------------

UM_EXPORT um_ir_guest *um_ir_guest_new(bool wide_addresses, struct um_fault *why)
{
  IrGuest *guest = calloc(1, sizeof *guest);
  IrSlot *slots = calloc(SLOTS_MOST, sizeof *slots);
  IrHelper *helpers = calloc(HELPERS_MOST, sizeof *helpers);
  if (!guest || !slots || !helpers) {
    free(guest);
    free(slots);
    free(helpers);
    fault_set(why, UM_ENOMEM, "no memory for a guest");
    return NULL;
  }
  *guest = (IrGuest){ .slots = slots, .helpers = helpers, .state_size = STATE_HEAD, .pc = 0, .rounding = 8, .flags = 9,
                      .address = wide_addresses ? IR_I64 : IR_I32, .owned = true };
  return guest;
}

UM_EXPORT void um_ir_guest_free(um_ir_guest *guest)
{
  if (!guest || !guest->owned) return;
  for (uint32_t i = 0; i < guest->slot_count; i++) free((char *)(uintptr_t)guest->slots[i].name);
  for (uint32_t i = 0; i < guest->helper_count; i++) free((char *)(uintptr_t)guest->helpers[i].name);
  free((void *)(uintptr_t)guest->slots);
  free((void *)(uintptr_t)guest->helpers);
  free(guest);
}

UM_EXPORT int um_ir_guest_find(const um_ir_guest *guest, const char *name, struct um_fault *why)
{
  for (uint32_t i = 0; i < guest->slot_count; i++)
    if (strcmp(guest->slots[i].name, name) == 0) return (int)i;
  return fault_set(why, UM_EINVAL, "the guest has no slot %s", name);
}

UM_EXPORT int um_ir_guest_find_helper(const um_ir_guest *guest, const char *name, struct um_fault *why)
{
  for (uint32_t i = 0; i < guest->helper_count; i++)
    if (strcmp(guest->helpers[i].name, name) == 0) return (int)i;
  return fault_set(why, UM_EINVAL, "the guest has no helper %s", name);
}

// A word of letters, digits, _ and inner dots where `dots`.
static bool good_name(const char *name, bool dots)
{
  size_t length = strlen(name);
  if (length == 0 || length > 31 || (name[0] >= '0' && name[0] <= '9')) return false;
  for (size_t i = 0; i < length; i++) {
    char c = name[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!letter && !(dots && c == '.' && i > 0)) return false;
  }
  return true;
}

UM_EXPORT int um_ir_guest_slot(um_ir_guest *guest, const char *name, uint32_t type, uint32_t count, struct um_fault *why)
{
  if (!good_name(name, false)) return fault_set(why, UM_EINVAL, "\"%.40s\" is no name of a slot", name);
  if (um_ir_guest_find(guest, name, NULL) >= 0) return fault_set(why, UM_EINVAL, "slot %s is there twice", name);
  if (type == IR_VOID || type >= IR_TYPES) return fault_set(why, UM_EINVAL, "slot %s: type %u does not exist", name, type);
  if (count < 1 || count > 256) return fault_set(why, UM_EINVAL, "slot %s: 1 to 256 elements, not %u", name, count);
  if (!guest->owned || guest->slot_count == SLOTS_MOST) return fault_set(why, UM_EINVAL, "slot %s: %d are the most", name, SLOTS_MOST);
  char *copy = strdup(name);
  if (!copy) return fault_set(why, UM_ENOMEM, "no memory for slot %s", name);
  uint32_t bytes = ir_bytes(type), offset = (guest->state_size + bytes - 1) / bytes * bytes;
  IrSlot *slots = (IrSlot *)(uintptr_t)guest->slots;
  slots[guest->slot_count] = (IrSlot){ copy, (uint8_t)type, (uint16_t)count, offset, bytes };
  guest->state_size = offset + count * bytes;
  return (int)guest->slot_count++;
}

// "551" into types; false: a digit that is none, or too many.
static bool read_types(const char *from, size_t length, uint8_t *types, uint8_t *count, unsigned most)
{
  if (length > most) return false;
  for (size_t i = 0; i < length; i++) {
    if (from[i] <= '0' || from[i] >= '0' + IR_TYPES) return false;
    types[i] = (uint8_t)(from[i] - '0');
  }
  *count = (uint8_t)length;
  return true;
}

UM_EXPORT int um_ir_guest_helper(um_ir_guest *guest, const char *name, const char *types, uint32_t effects, struct um_fault *why)
{
  IrHelper helper = { .effects = (uint16_t)effects };
  const char *colon = strchr(types, ':');
  if (!good_name(name, true)) return fault_set(why, UM_EINVAL, "\"%.40s\" is no name of a helper", name);
  if (um_ir_guest_find_helper(guest, name, NULL) >= 0) return fault_set(why, UM_EINVAL, "helper %s is there twice", name);
  if (!colon || !read_types(types, (size_t)(colon - types), helper.arg, &helper.args, HELPER_ARGS) ||
      !read_types(colon + 1, strlen(colon + 1), helper.result, &helper.results, HELPER_RESULTS))
    return fault_set(why, UM_EINVAL, "helper %s: at most %d types of arguments and %d of results, not \"%.40s\"", name, HELPER_ARGS, HELPER_RESULTS, types);
  if (effects > (EFFECT_READ | EFFECT_WRITE | EFFECT_LOAD | EFFECT_STORE | EFFECT_FAULT | EFFECT_FLAGS))
    return fault_set(why, UM_EINVAL, "helper %s: effects %#x", name, effects);
  if (!guest->owned || guest->helper_count == HELPERS_MOST) return fault_set(why, UM_EINVAL, "helper %s: %d are the most", name, HELPERS_MOST);
  char *copy = strdup(name);
  if (!copy) return fault_set(why, UM_ENOMEM, "no memory for helper %s", name);
  helper.name = copy;
  ((IrHelper *)(uintptr_t)guest->helpers)[guest->helper_count] = helper;
  return (int)guest->helper_count++;
}

UM_EXPORT uint32_t um_ir_guest_size(const um_ir_guest *guest) { return guest->state_size; }
UM_EXPORT uint32_t um_ir_guest_address(const um_ir_guest *guest) { return guest->address; }
UM_EXPORT uint32_t um_ir_guest_pc(const um_ir_guest *guest) { return guest->pc; }
UM_EXPORT uint32_t um_ir_guest_fp(const um_ir_guest *guest) { return guest->rounding; }

UM_EXPORT int um_ir_guest_place(const um_ir_guest *guest, uint32_t row, uint32_t element, struct um_fault *why)
{
  if (row >= guest->slot_count) return fault_set(why, UM_EINVAL, "the guest has no slot %u", row);
  const IrSlot *slot = &guest->slots[row];
  if (element >= slot->count) return fault_set(why, UM_EINVAL, "%s has elements 0 to %u, not %u", slot->name, slot->count - 1u, element);
  return (int)(slot->offset + element * slot->stride);
}

UM_EXPORT uint32_t um_ir_guest_slot_type(const um_ir_guest *guest, uint32_t row) { return row < guest->slot_count ? guest->slots[row].type : IR_VOID; }
UM_EXPORT const char *um_ir_guest_helper_name(const um_ir_guest *guest, uint32_t helper) { return helper < guest->helper_count ? guest->helpers[helper].name : NULL; }

UM_EXPORT uint32_t um_ir_guest_helper_result(const um_ir_guest *guest, uint32_t helper, uint32_t index)
{
  return helper < guest->helper_count && index < guest->helpers[helper].results ? guest->helpers[helper].result[index] : IR_VOID;
}

// Blocks -------------------------------------------------------------------------------------------

UM_EXPORT bool um_ir_op(uint32_t op, struct um_ir_op *row)
{
  if (op >= IR_OPS) return false;
  const IrInfo *info = &ir_info[op];
  *row = (struct um_ir_op){ info->name, info->signature, info->text, info->effects, info->extra };
  return true;
}

UM_EXPORT um_ir *um_ir_new(const um_ir_guest *guest, struct um_fault *why)
{
  Ir *ir = calloc(1, sizeof *ir);
  if (!ir || !ir_init(ir, guest)) {
    um_ir_free(ir);
    fault_set(why, UM_ENOMEM, "no memory for a block");
    return NULL;
  }
  return ir;
}

UM_EXPORT void um_ir_free(um_ir *ir)
{
  if (!ir) return;
  ir_fini(ir);
  free(ir);
}

UM_EXPORT void um_ir_clear(um_ir *ir) { ir_clear(ir); }
UM_EXPORT uint32_t um_ir_count(const um_ir *ir) { return ir->count; }

UM_EXPORT void um_ir_row_of(const um_ir *ir, uint32_t ref, struct um_ir_row *row)
{
  IrIns ins = ref < ir->count ? ir->ins[ref] : (IrIns){ 0 };
  *row = (struct um_ir_row){ ins.op, ins.type, ins.aux, ins.a, ins.b, ins.c, ins.imm };
}

int ir_append(Ir *ir, IrIns ins, struct um_fault *why)
{
  IrScopes scopes = ir->scopes;
  if (ins.op >= IR_OPS) return fault_set(why, UM_EINVAL, "op %u does not exist", ins.op);
  ir->sound = false;
  Ref ref = ir_add(ir, ins);
  if (!ref) return fault_set(why, UM_EINVAL, "the block is full: %d instructions are the most", IR_MOST - 1);
  int status = ir_verify_next(ir, &ir->scopes, ir->scope, ref, why);
  if (status >= 0) return (int)ref;
  ir->count--;
  ir->scopes = scopes;
  return status;
}

UM_EXPORT int um_ir_emit(um_ir *ir, const struct um_ir_row *row, struct um_fault *why)
{
  if (row->op >= IR_OPS || row->type > 255 || row->aux > 0xffff) return fault_set(why, UM_EINVAL, "op %u, type %u, %u: out of range", row->op, row->type, row->aux);
  IrIns ins = { .op = (uint8_t)row->op, .type = (uint8_t)row->type, .aux = (uint16_t)row->aux, .a = row->a };
  if (ir_info[row->op].operands > 1) {
    ins.b = row->b;
    ins.c = row->c;
  } else ins.imm = row->imm;
  return ir_append(ir, ins, why);
}

UM_EXPORT int um_ir_emit_wide(um_ir *ir, uint32_t type, const uint64_t *value, struct um_fault *why)
{
  IrValue v = u256_make(value[0], value[1], value[2], value[3]);
  if (type == IR_VOID || type >= IR_TYPES) return fault_set(why, UM_EINVAL, "const: type %u does not exist", type);
  if (!u256_eq(u256_low(v, ir_bits(type)), v)) return fault_set(why, UM_EINVAL, "const: the value does not fit %s", ir_type_name[type]);
  Ref made = ir_wide_const(ir, type, v);
  if (!made) return fault_set(why, UM_EINVAL, "the block is full");
  return ir_append(ir, ir->ins[--ir->count], why);
}

UM_EXPORT int um_ir_emit_call(um_ir *ir, uint32_t helper, const uint32_t *args, uint32_t count, struct um_fault *why)
{
  if (helper >= ir->guest->helper_count) return fault_set(why, UM_EINVAL, "call: the guest has no helper %u", helper);
  if (count > HELPER_ARGS) return fault_set(why, UM_EINVAL, "call: at most %d arguments, not %u", HELPER_ARGS, count);
  uint32_t before = ir->arg_count;
  Ref made = ir_call(ir, helper, args, count);
  if (!made) return fault_set(why, UM_EINVAL, "the block is full");
  int status = ir_append(ir, ir->ins[--ir->count], why);
  if (status < 0) ir->arg_count = before;
  return status;
}

UM_EXPORT int um_ir_verify(const um_ir *ir, struct um_fault *why) { return ir_verify(ir, why); }

// Evaluation ---------------------------------------------------------------------------------------

static uint8_t *window(const struct um_ir_world *w, uint64_t address, unsigned bytes)
{
  if (address < w->at || w->size < bytes || address - w->at > w->size - bytes) return NULL;
  return w->memory + (address - w->at);
}

static bool window_load(void *world, uint64_t address, unsigned bytes, IrValue *value)
{
  const uint8_t *from = window(world, address, bytes);
  *value = u256_from(0);
  if (from) memcpy(value, from, bytes);
  return from;
}

static bool window_store(void *world, uint64_t address, unsigned bytes, const IrValue *value)
{
  uint8_t *to = window(world, address, bytes);
  if (to) memcpy(to, value, bytes);
  return to;
}

static void *window_place(void *world, uint64_t address, unsigned bytes, bool write)
{
  (void)write;
  return address % bytes ? NULL : window(world, address, bytes);
}

IrHost ir_window(const struct um_ir_world *world, void **reserved, uint64_t *reserved_value)
{
  return (IrHost){ (void *)(uintptr_t)world, window_load, window_store, window_place, reserved, reserved_value, NULL };
}

UM_EXPORT int um_ir_eval(um_ir *ir, const struct um_ir_world *world, uint64_t pc, struct um_ir_exit *exit, struct um_fault *why)
{
  const IrHost host = ir_window(world, &ir->reserved, &ir->reserved_value);
  int status = ir_verify(ir, why);
  if (status < 0) return status;
  if (exit->at >= ir->count) return fault_set(why, UM_EINVAL, "the block has no instruction %u to go on from", exit->at);
  if (exit->at && (exit->reason != UM_IR_CALL || ir->ins[exit->at].op != IR_CALL || !ir->values)) return fault_set(why, UM_EINVAL, "only a call is gone on from");
  if (!ir_eval(ir, &host, world->state, pc, exit)) return fault_set(why, UM_ENOMEM, "no memory to evaluate with");
  return UM_OK;
}

UM_EXPORT void um_ir_value(const um_ir *ir, uint32_t ref, uint64_t *to)
{
  IrValue value = ref < ir->count && ref < ir->value_capacity ? ir->values[ref] : u256_from(0);
  memcpy(to, &value, sizeof value);
}

UM_EXPORT int um_ir_argument(const um_ir *ir, uint32_t call, uint32_t index, uint64_t *to, struct um_fault *why)
{
  if (call >= ir->count || ir->ins[call].op != IR_CALL) return fault_set(why, UM_EINVAL, "%%%u is no call", call);
  if (index >= (uint64_t)ir->ins[call].imm) return fault_set(why, UM_EINVAL, "the call has no argument %u", index);
  um_ir_value(ir, ir->args[ir->ins[call].a + index], to);
  return UM_OK;
}

UM_EXPORT int um_ir_answer(um_ir *ir, uint32_t call, uint32_t index, const uint64_t *from, struct um_fault *why)
{
  if (call >= ir->count || call >= ir->value_capacity || ir->ins[call].op != IR_CALL) return fault_set(why, UM_EINVAL, "%%%u is no call", call);
  for (Ref ref = call + 1; ref < ir->count && ir->ins[ref].op == IR_RESULT; ref++)
    if (ir->ins[ref].imm == index) ir->values[ref] = u256_low(u256_make(from[0], from[1], from[2], from[3]), ir_bits(ir->ins[ref].type));
  return UM_OK;
}
