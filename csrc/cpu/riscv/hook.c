// hook: notices what a guest does at places that were asked about, and queues it for Lua.
// SPDX-License-Identifier: MIT
//
// Instructions: a slot is woven into every block before an instruction whose offset in its page may match (a block is
// shared by all virtual addresses of its page), and compares the whole address when it is run. Accesses: no TLB
// answers for a page that is watched, so they come to the slow path; what they hit is reported once the instruction is
// complete. All harts of a machine share their hooks, as they share decoded code.
#include "cpu/riscv/hook.h"
#include "cpu/riscv/blocks.h"
#include <stdlib.h>
#include <string.h>

enum { PLACES = PAGE_BYTES / 2, RANGES = PLACES, ACCESSES, TRAPS, LISTS };

struct Hook {
  struct um_hook_options is;
  Condition condition;
  uint32_t id;                       // 0: a stop, which is not reported but ends the run
  struct Hook *next;
};

struct Hooks {
  Hook *list[LISTS];                 // of one address, by its place in the page; of ranges; of accesses; of traps
  uint64_t ranged[PLACES / 64];      // places in a page that some range covers
  uint32_t ids;                      // given out so far
  struct um_hit *hit;
  unsigned hits, taken, room;
};

void hooks_free(Hooks *hooks)
{
  if (!hooks) return;
  for (unsigned i = 0; i < LISTS; i++) {
    for (Hook *hook = hooks->list[i], *next; hook; hook = next) {
      next = hook->next;
      free(hook);
    }
  }
  free(hooks->hit);
  free(hooks);
}

// -- Places -------------------------------------------------------------------------------------------

static bool is_exact(const Hook *hook) { return hook->is.first == hook->is.last; }
static unsigned place_of(uint64_t address) { return (unsigned)(address & (PAGE_BYTES - 1)) / 2; }

static unsigned list_of(const Hook *hook)
{
  if (hook->is.what & UM_HOOK_PC) return is_exact(hook) ? place_of(hook->is.first) : RANGES;
  return hook->is.what & (UM_HOOK_READ | UM_HOOK_WRITE) ? ACCESSES : TRAPS;
}

// The places in a page that a range covers: all, or `count` from `from` on, around the end.
static unsigned places_of(const Hook *hook, unsigned *from)
{
  uint64_t halves = hook->is.last / 2 - hook->is.first / 2 + 1;
  *from = halves >= PLACES ? 0 : place_of(hook->is.first);
  return halves >= PLACES ? PLACES : (unsigned)halves;
}

static void cover(Hooks *hooks)
{
  memset(hooks->ranged, 0, sizeof hooks->ranged);
  for (const Hook *hook = hooks->list[RANGES]; hook; hook = hook->next) {
    unsigned from, count = places_of(hook, &from);
    for (unsigned i = from; i < from + count; i++) hooks->ranged[i % PLACES / 64] |= 1ull << i % 64;
  }
}

// Blocks that were decoded without this hook, or with it, go.
static void drop_blocks(Hart *hart, const Hook *hook)
{
  unsigned from, count = places_of(hook, &from), first = from + count > PLACES ? PLACES - from : count;
  blocks_drop(hart, 2 * from, 2 * first);
  if (first < count) blocks_drop(hart, 0, 2 * (count - first));
}

bool hooks_wait(const Hooks *hooks, uint64_t pc)
{
  unsigned place = place_of(pc);
  return hooks && (hooks->list[place] || hooks->ranged[place / 64] >> place % 64 & 1);
}

bool hooks_weave(const Hooks *hooks, unsigned offset, HookPlace *place)
{
  if (!hooks_wait(hooks, offset)) return false;
  const Hook *hook = hooks->list[offset / 2];
  bool ranged = hooks->ranged[offset / 128] >> offset / 2 % 64 & 1;
  *place = (HookPlace){ 0 };
  if (hook && (hook->next || ranged)) return true;
  if (!hook) hook = hooks->list[RANGES];
  if (ranged && hook->next) return true;
  place->exact = is_exact(hook);
  place->pc = hook->is.first;
  place->guard = condition_guard(&hook->condition);
  place->early = place->exact && hook->condition.ops && condition_is_early(&hook->condition, &place->registers);
  if (!place->guard.compare) return true;
  place->early = true;
  place->registers = 1u << place->guard.reg;
  return true;
}

// -- Attaching ----------------------------------------------------------------------------------------

static Hooks *hooks_of(Turns *turns)
{
  if (turns->hooks) return turns->hooks;
  Hooks *hooks = calloc(1, sizeof *hooks);
  if (!hooks) return NULL;
  hooks->room = 16;
  hooks->hit = calloc(hooks->room, sizeof *hooks->hit);
  if (hooks->hit) return turns->hooks = hooks;
  free(hooks);
  return NULL;
}

// What the slow paths have to look for; and no TLB answers for a page that is watched from now on.
static void update(Turns *turns)
{
  Hooks *hooks = turns->hooks;
  turns->watch = (turns->watch & WATCH_EXEC) | (hooks->list[ACCESSES] ? WATCH_ACCESSES : 0) | (hooks->list[TRAPS] ? WATCH_TRAPS : 0);
  cover(hooks);
}

static void changed(Hart *first, const Hook *hook, bool attached)
{
  update(first->turns);
  if (hook->is.what & UM_HOOK_PC) drop_blocks(first, hook);
  else if (attached && list_of(hook) == ACCESSES) hart_flush_data(first);
}

static int attach(Hart *first, const Hook *like, struct um_fault *why)
{
  Hooks *hooks = hooks_of(first->turns);
  Hook *hook = hooks ? malloc(sizeof *hook + like->condition.ops * sizeof *like->condition.op) : NULL;
  if (!hook) return fault_set(why, UM_ENOMEM, "no memory for a hook");
  *hook = *like;
  hook->condition.op = (struct um_condition_op *)(hook + 1);
  if (like->condition.ops) memcpy(hook->condition.op, like->condition.op, like->condition.ops * sizeof *like->condition.op);
  Hook **end = &hooks->list[list_of(hook)];
  while (*end) end = &(*end)->next;                  // hits come in the order of attaching
  *end = hook;
  changed(first, hook, true);
  return UM_OK;
}

static void detach(Hart *first, Hook **link)
{
  Hook *hook = *link;
  *link = hook->next;
  changed(first, hook, false);
  free(hook);
}

static int check_options(Hart *first, const struct um_hook_options *is, struct um_fault *why)
{
  bool pc = is->what & UM_HOOK_PC, access = is->what & (UM_HOOK_READ | UM_HOOK_WRITE), trap = is->what & (UM_HOOK_EXCEPTION | UM_HOOK_INTERRUPT);
  if (pc + access + trap != 1 || is->what >= 2 * UM_HOOK_BEFORE) return fault_set(why, UM_EINVAL, "hook: instructions, accesses or traps expected");
  if (!trap && is->first > is->last) return fault_set(why, UM_EINVAL, "hook: the range is empty");
  if (pc && is->first == is->last && is->first & 1) return fault_set(why, UM_EINVAL, "hook: no instruction lies at an odd address");
  if (first->turns->hart[0] != first) return fault_set(why, UM_EINVAL, "hook: hooks are the first hart's");
  return UM_OK;
}

UM_EXPORT int um_hook_attach(um_hart *first, const struct um_hook_options *options, const struct um_condition_op *condition, uint32_t ops, struct um_fault *why)
{
  int status = check_options(first, options, why);
  if (status >= 0) status = condition_check(first, condition, ops, why);
  if (status < 0) return status;
  Hooks *hooks = hooks_of(first->turns);
  if (!hooks) return fault_set(why, UM_ENOMEM, "no memory for hooks");
  if (hooks->ids == INT32_MAX) return fault_set(why, UM_EINVAL, "hook: no more than %d in a machine's life", INT32_MAX);
  Hook hook = { .is = *options, .condition = { (struct um_condition_op *)(uintptr_t)condition, ops }, .id = hooks->ids + 1 };
  status = attach(first, &hook, why);
  return status < 0 ? status : (int)++hooks->ids;
}

UM_EXPORT int um_hook_detach(um_hart *first, uint32_t id, struct um_fault *why)
{
  Hooks *hooks = first->turns->hooks;
  for (unsigned i = 0; hooks && id && i < LISTS; i++) {
    for (Hook **link = &hooks->list[i]; *link; link = &(*link)->next) {
      if ((*link)->id != id) continue;
      detach(first, link);
      return UM_OK;
    }
  }
  return fault_set(why, UM_EINVAL, "hook: there is none with the id %u", id);
}

static uint32_t bit_of(const Hart *hart)
{
  unsigned i = 0;
  while (hart->turns->hart[i] != hart) i++;
  return 1u << i;
}

int hook_stop_at(Hart *hart, uint64_t pc, bool on, struct um_fault *why)
{
  Hook stop = { .is = { .first = pc, .last = pc, .what = UM_HOOK_PC, .harts = bit_of(hart) } };
  Hooks *hooks = hooks_of(hart->turns);
  if (!hooks) return fault_set(why, UM_ENOMEM, "no memory for a stop");
  Hook **link = &hooks->list[place_of(pc)];
  while (*link && ((*link)->id || (*link)->is.first != pc || (*link)->is.harts != stop.is.harts)) link = &(*link)->next;
  if (on == (*link != NULL)) return UM_OK;
  if (on) return attach(hart->turns->hart[0], &stop, why);
  if (hart->turns->owed == UM_EXIT_STOP) hart->turns->owed = 0;
  detach(hart->turns->hart[0], link);
  return UM_OK;
}

// -- Hits ---------------------------------------------------------------------------------------------

bool hooks_have_hits(const Hooks *hooks)
{
  return hooks && hooks->hits > 0;
}

void hooks_forget_hits(Hooks *hooks)
{
  if (hooks) hooks->taken = hooks->hits = 0;
}

UM_EXPORT bool um_hook_take(um_hart *first, struct um_hit *hit)
{
  Hooks *hooks = first->turns->hooks;
  if (!hooks_have_hits(hooks)) return false;
  *hit = hooks->hit[hooks->taken++];
  if (hooks->taken == hooks->hits) hooks->taken = hooks->hits = 0;
  return true;
}

static void push(Hooks *hooks, const struct um_hit *event, uint32_t id)
{
  if (hooks->hits == hooks->room) {
    hooks->room *= 2;
    hooks->hit = realloc(hooks->hit, hooks->room * sizeof *hooks->hit);
    check(hooks->hit != NULL);
  }
  hooks->hit[hooks->hits] = *event;
  hooks->hit[hooks->hits++].id = id;
}

static bool applies(Hart *hart, const Hook *hook, const struct um_hit *event)
{
  return hook->is.harts >> event->hart & 1 && condition_holds(&hook->condition, hart, event);
}

// What hook->is says of the hart, and its condition; then the hit is queued, and the hart will leave.
static bool consider(Hart *hart, const Hook *hook, const struct um_hit *event)
{
  if (!applies(hart, hook, event)) return false;
  hart->stopped |= hook->id ? STOPPED_HOOK : STOPPED_AT;
  if (hook->id) push(hart->turns->hooks, event, hook->id);
  return true;
}

static bool is_at(const Hook *hook, uint64_t pc) { return pc - hook->is.first <= hook->is.last - hook->is.first; }

bool hook_would_hit(Hart *hart, uint64_t pc)
{
  const Hooks *hooks = hart->turns->hooks;
  struct um_hit event = { .pc = pc, .hart = hart->turns->turn };
  for (unsigned i = 0; hooks && i < 2; i++)
    for (const Hook *hook = hooks->list[i ? RANGES : place_of(pc)]; hook; hook = hook->next)
      if (is_at(hook, pc) && applies(hart, hook, &event)) return true;
  return false;
}

bool hook_reached(Hart *hart, uint64_t pc)
{
  Hooks *hooks = hart->turns->hooks;
  struct um_hit event = { .pc = pc, .hart = hart->turns->turn };
  if (!hooks) return false;
  for (const Hook *hook = hooks->list[place_of(pc)]; hook; hook = hook->next)
    if (is_at(hook, pc)) consider(hart, hook, &event);
  for (const Hook *hook = hooks->list[RANGES]; hook; hook = hook->next)
    if (is_at(hook, pc)) consider(hart, hook, &event);
  if (!hart->stopped) return false;
  hart->skip_stop = pc;
  return hart->before = true;
}

void hook_trap(Hart *hart, uint64_t cause, uint64_t value)
{
  unsigned kind = cause >> 63 ? UM_HOOK_INTERRUPT : UM_HOOK_EXCEPTION;
  uint64_t code = cause & (UINT64_MAX >> 1);
  struct um_hit event = { .pc = hart->pc, .hart = hart->turns->turn, .field = { [UM_FIELD_CAUSE] = code, [UM_FIELD_TVAL] = value } };
  for (const Hook *hook = hart->turns->hooks->list[TRAPS]; hook; hook = hook->next)
    if (hook->is.what & kind && hook->is.causes >> (code & 63) & 1) consider(hart, hook, &event);
}

// -- Accesses -----------------------------------------------------------------------------------------

bool hook_watches_page(const Hooks *hooks, int access, uint64_t gva, uint64_t gpa)
{
  for (const Hook *hook = hooks->list[ACCESSES]; hook; hook = hook->next) {
    if (hook->is.what & UM_HOOK_DEVICE) continue;
    // An atomic instruction reads through the entry for writes.
    if (access == ACCESS_READ && !(hook->is.what & UM_HOOK_READ)) continue;
    uint64_t page = (hook->is.what & UM_HOOK_PHYSICAL ? gpa : gva) >> PAGE_BITS;
    if (page >= hook->is.first >> PAGE_BITS && page <= hook->is.last >> PAGE_BITS) return true;
  }
  return false;
}

static bool touches(const Hook *hook, const Watched *access, bool before)
{
  if (before != !!(hook->is.what & UM_HOOK_BEFORE)) return false;
  bool wanted = (hook->is.what & UM_HOOK_READ && access->read) || (hook->is.what & UM_HOOK_WRITE && access->write);
  if (!wanted || (hook->is.what & UM_HOOK_DEVICE && !access->device)) return false;
  bool physical = hook->is.what & (UM_HOOK_PHYSICAL | UM_HOOK_DEVICE);
  for (unsigned i = 0; i < 2; i++) {                // the parts of an access that crosses pages
    uint64_t from = physical ? access->gpa[i] : access->gva + (i ? access->part : 0);
    uint64_t size = i ? access->size - access->part : access->part;
    if (size && from - hook->is.first <= hook->is.last - hook->is.first) return true;
    if (size && hook->is.first - from < size) return true;
  }
  return false;
}

static uint64_t pc_of_access(Hart *hart)
{
  return hart->block_pc + 2u * blocks_cold(hart->blocks, hart->ip)->offset;
}

static struct um_hit event_of(const Hart *hart, const Watched *access, uint64_t pc)
{
  return (struct um_hit){
    .pc = pc, .gpa = access->gpa[0], .hart = hart->turns->turn,
    .field = { [UM_FIELD_ADDR] = access->gva, [UM_FIELD_SIZE] = access->size, [UM_FIELD_VALUE] = access->value,
               [UM_FIELD_OLD] = access->old, [UM_FIELD_WRITE] = access->write },
  };
}

bool hook_forestalls(Hart *hart, const Watched *access)
{
  const Hook *hook = hart->turns->hooks->list[ACCESSES];
  while (hook && !touches(hook, access, true)) hook = hook->next;
  if (!hook) return false;
  uint64_t pc = pc_of_access(hart), retired = hart_instret(hart);
  if (pc == hart->forestalled && retired == hart->forestalled_at) return false;
  struct um_hit event = event_of(hart, access, pc);
  for (; hook; hook = hook->next)
    if (touches(hook, access, true) && consider(hart, hook, &event)) hart->before = true;
  if (!hart->before) return false;
  hart->forestalled = pc;
  hart->forestalled_at = retired;
  return true;
}

void hook_access(Hart *hart, const Watched *access)
{
  for (const Hook *hook = hart->turns->hooks->list[ACCESSES]; hook; hook = hook->next) {
    if (!touches(hook, access, false)) continue;
    hart->watched = *access;
    hart->watched.pc = pc_of_access(hart);
    hart->leave = true;
    return;
  }
}

void hook_settle(Hart *hart)
{
  Watched *access = &hart->watched;
  if (access->place) {                              // an atomic one: what it wrote lies there now
    uint64_t now = 0;
    memcpy(&now, access->place, access->size);
    if (access->write) access->value = now;
  }
  struct um_hit event = event_of(hart, access, access->pc);
  for (const Hook *hook = hart->turns->hooks->list[ACCESSES]; hook; hook = hook->next)
    if (touches(hook, access, false)) consider(hart, hook, &event);
  access->size = 0;
}
