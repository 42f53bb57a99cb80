// access: the slow path of fetches, loads and stores: translation, refill, misalignment, devices.
// SPDX-License-Identifier: MIT
//
// RISC-V Privileged Architecture 20240411, chapters 3.1.6.3 (MPRV), 3.6 (PMA), 3.7 (PMP), 10.3; Unprivileged, CMO. As
// PMA: RAM does misaligned accesses of any kind but atomics; devices do aligned loads and stores of the widths they
// answer and nothing else: the rest are access faults. The part of an access that faults names the address in tval.
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/hart.h"
#include "cpu/riscv/hook.h"
#include "cpu/riscv/trace.h"
#include <signal.h>
#include <string.h>

#define ENVCFG_CBIE  (3ull << 4)
#define ENVCFG_CBCFE (1ull << 6)
#define ENVCFG_CBZE  (1ull << 7)

enum { BLOCK_BYTES = 64 };                        // of cbo.*

// Where an access within one page goes.
typedef struct Place {
  uint8_t *host;                                  // NULL: a device
  uint64_t gpa;                                   // where a TLB answered, only known while somebody watches
} Place;

static bool access_fault(Hart *hart, int access, uint64_t gva)
{
  static const uint8_t cause[] = { CAUSE_LOAD_ACCESS, CAUSE_STORE_ACCESS, CAUSE_FETCH_ACCESS };
  hart_raise(hart, cause[access], gva);
  return false;
}

static bool page_fault(Hart *hart, int access, uint64_t gva)
{
  static const uint8_t cause[] = { CAUSE_LOAD_PAGE, CAUSE_STORE_PAGE, CAUSE_FETCH_PAGE };
  hart_raise(hart, cause[access], gva);
  return false;
}

bool hart_translate(Hart *hart, uint64_t gva, unsigned size, int access, int priv, MmuResult *result)
{
  Mmu *mmu = &hart->mmu;
  mmu->priv = (uint8_t)priv;
  mmu->levels = priv == PRIV_M ? 0 : hart->paging;
  mmu->sum = hart->mstatus & MSTATUS_SUM;
  mmu->mxr = hart->mstatus & MSTATUS_MXR;
  if (unlikely(!mmu_translate(mmu, gva, size, access, result)))
    return result->fault == UM_MMU_PAGE_FAULT ? page_fault(hart, access, gva) : access_fault(hart, access, gva);
  return true;
}

// The same for the guest itself, which a log may want to see.
static bool translate(Hart *hart, uint64_t gva, unsigned size, int access, int priv, MmuResult *result)
{
  bool ok = hart_translate(hart, gva, size, access, priv, result);
  if (trace_wants(hart, UM_LOG_MMU)) trace_walk(hart, gva, access, ok, result);
  return ok;
}

bool hart_fetch(Hart *hart, uint64_t gva, MmuResult *result)
{
  if (!translate(hart, gva, 2, ACCESS_EXECUTE, hart->priv, result)) return false;
  return mem_ram(hart->mem, result->gpa, 2) || access_fault(hart, ACCESS_EXECUTE, gva);
}

const uint8_t *hart_code(Hart *hart, uint64_t gva)
{
  MmuResult at;
  if (!hart->window) return hart_fetch(hart, gva, &at) ? mem_ram(hart->mem, at.gpa, 2) : NULL;
  if (window_flags(hart->window, gva) & WINDOW_EXECUTE) return hart->window->base + gva;
  page_fault(hart, ACCESS_EXECUTE, gva);
  return NULL;
}

bool hart_code_half(Hart *hart, uint64_t gva, uint16_t *half)
{
  const uint8_t *host = hart_code(hart, gva);
  if (!host) return false;
  if (!hart->window) return memcpy(half, host, 2), true;
  return window_read(hart->window, gva, half, 2) || access_fault(hart, ACCESS_EXECUTE, gva);
}

// The page's host address and flags, NULL for a device or a hole.
static uint8_t *ram_page(Mem *mem, uint64_t gpa, unsigned *flags)
{
  Region *ram = mem->ram;
  uint64_t page = gpa & PAGE_MASK;
  if (likely(ram && page - ram->at < ram->size)) {
    *flags = ram->pages[(page - ram->at) >> PAGE_BITS];
    return ram->host + (page - ram->at);
  }
  *flags = mem_page_flags(mem, gpa);
  return *flags & PAGE_SLOW ? NULL : mem_ram(mem, page, PAGE_BYTES);
}

static inline bool watches(const Hart *hart) { return unlikely(hart->turns->watch & (WATCH_ACCESSES | WATCH_EXEC)); }

// Finds `size` bytes within one page and refills the TLB where it may answer for the whole page: plain RAM that the
// PMP treats alike, and for writes neither ROM nor code. Pages with code leave it to every store to tell the watcher.
static bool locate(Hart *hart, Tlb *tlb, uint64_t gva, unsigned size, int access, Place *place)
{
  const TlbEntry *entry = tlb_entry(tlb, access, gva);
  if (tlb_hit(entry, gva, 1)) {                   // only the alignment was against it
    place->host = (uint8_t *)(entry->value + gva);
    if (watches(hart)) place->gpa = mem_gpa(hart->mem, place->host);
    return true;
  }
  MmuResult result;
  if (!translate(hart, gva, size, access, hart->data_priv, &result)) return false;
  unsigned flags;
  uint64_t gpa = place->gpa = result.gpa;
  uint8_t *page = ram_page(hart->mem, gpa, &flags);
  if (unlikely(!page || flags & PAGE_SLOW)) {
    place->host = mem_ram(hart->mem, gpa, size);
    if (!place->host) return true;
  } else {
    place->host = page + (gpa & ~PAGE_MASK);
  }
  if (access == ACCESS_WRITE && unlikely(flags & (PAGE_ROM | PAGE_CODE))) {
    if (flags & PAGE_ROM) return access_fault(hart, access, gva);
    mem_dma_touch(hart->mem, gpa, size);
    flags = mem_page_flags(hart->mem, gpa);
  }
  if (flags & PAGE_SLOW || (access == ACCESS_WRITE && (flags & PAGE_CODE || !result.dirty))) return true;
  if (hart->pmp.active && !pmp_uniform(&hart->pmp, gpa)) return true;
  if (unlikely(hart->turns->watch & WATCH_ACCESSES) && hook_watches_page(hart->turns->hooks, access, gva, gpa)) return true;
  tlb_fill(tlb, access, gva, (uintptr_t)place->host - gva);
  tlb_note_leaf(tlb, gva, result.page);
  return true;
}

// After a device was reached: it may have switched the machine off, filled a buffer or raised a line.
static void settle(Hart *hart)
{
  hart->device_accesses++;
  if (atomic_load_explicit(&hart->control->attention, memory_order_relaxed)) hart->leave = true;
  if (hart_pending(hart) >= 0 || hart->clock->changed) hart->leave = true;
}

// An access to a window that Lua serves: asks, or takes the answer when the instruction is done again. False: asked.
static bool ask(Hart *hart, Region *region, uint64_t gpa, unsigned size, bool write, uint64_t *value)
{
  MmioAsk *ask = &hart->mmio;
  uint64_t given = *value;
  if (ask->state == MMIO_ANSWERED && ask->gpa == gpa && ask->size == size && ask->write == write) {
    ask->state = MMIO_NONE;
    *value = ask->value & (UINT64_MAX >> (64 - 8 * size));
    settle(hart);
    if (write) region->writes++;
    else region->reads++;
    if (trace_wants(hart, UM_LOG_MMIO)) trace_mmio(hart, region, gpa, size, write, write ? given : *value);
    return true;
  }
  *ask = (MmioAsk){ .gpa = gpa, .value = *value, .window = region->number, .size = (uint8_t)size, .write = write, .state = MMIO_ASKED };
  return false;
}

// A load or store beside RAM. False: a trap was raised, or Lua asked.
static bool device_access(Hart *hart, uint64_t gva, uint64_t gpa, unsigned size, bool write, uint64_t *value)
{
  if (hart->in_code) return !(hart->punt = true);              // what follows asks where the instruction is
  Region *region = mem_find(hart->mem, gpa);
  if (region && region->script && gpa + size - region->at <= region->size) return ask(hart, region, gpa, size, write, value);
  bool ok = write ? mem_store(hart->mem, gpa, size, *value) : mem_load(hart->mem, gpa, size, value);
  if (!ok) return access_fault(hart, write ? ACCESS_WRITE : ACCESS_READ, gva);
  if (trace_wants(hart, UM_LOG_MMIO)) trace_mmio(hart, region, gpa, size, write, *value);
  settle(hart);
  return true;
}

static uint64_t host_load(const uint8_t *host, unsigned size)
{
  uint64_t value = 0;
  switch (size) {
  case 1: return *host;
  case 2: memcpy(&value, host, 2); return value;
  case 4: memcpy(&value, host, 4); return value;
  case 8: memcpy(&value, host, 8); return value;
  default: memcpy(&value, host, size); return value;       // a part of a misaligned access
  }
}

static void host_store(uint8_t *host, unsigned size, uint64_t value)
{
  switch (size) {
  case 1: *host = (uint8_t)value; break;
  case 2: memcpy(host, &value, 2); break;
  case 4: memcpy(host, &value, 4); break;
  case 8: memcpy(host, &value, 8); break;
  default: memcpy(host, &value, size); break;
  }
}

// -- Watched accesses ---------------------------------------------------------------------------------

static uint64_t old_value(const Place *part, unsigned size, unsigned first)
{
  uint64_t value = host_load(part[0].host, first < 8 ? first : 8);
  return first < size ? value | host_load(part[1].host, size - first) << 8 * first : value;
}

// To whom it may concern.
static void report(Hart *hart, const Watched *access)
{
  if (hart->turns->watch & WATCH_EXEC) trace_access(hart->turns, access);
  if (hart->turns->watch & WATCH_ACCESSES) hook_access(hart, access);
}

// The TLB that answers in place of the one that never does (trace.c), which misses all that this one would have known.
static Tlb *sighted(Hart *hart, Tlb *tlb, int access, uint64_t gva, unsigned size)
{
  if (likely(tlb != &hart->turns->trace->blind)) return tlb;
  if (tlb_hit(tlb_entry(hart->data, access, gva), gva, size)) hart->data->misses[access]--;
  return hart->data;
}

// `first` bytes lie in part[0] and the rest in part[1]. value: what is stored, or a device gave.
static Watched watched(uint64_t gva, unsigned size, unsigned first, bool write, const Place *part, uint64_t value)
{
  Watched access = {
    .gva = gva, .size = (uint8_t)size, .part = (uint8_t)first, .read = !write, .write = write, .device = !part[0].host, .value = value,
    .gpa = { part[0].gpa, first < size ? part[1].gpa : 0 },
  };
  if (part[0].host) *(write ? &access.old : &access.value) = old_value(part, size, first);
  return access;
}

// Tells of a load that was done or a store that will be.
static void watch(Hart *hart, uint64_t gva, unsigned size, unsigned first, bool write, const Place *part, uint64_t value)
{
  Watched access = watched(gva, size, first, write, part, value);
  report(hart, &access);
}

// Whether a hook ends the run before a load or store.
static bool forestalled(Hart *hart, uint64_t gva, unsigned size, unsigned first, bool write, const Place *part, uint64_t value)
{
  if (likely(!(hart->turns->watch & WATCH_ACCESSES))) return false;
  if (!part[0].host && hart->mmio.state == MMIO_ANSWERED) return false;       // Lua did it already: too late
  Watched access = watched(gva, size, first, write, part, value);
  return hook_forestalls(hart, &access);
}

// lr reads, an AMO reads and writes, sc writes if it succeeds: which is certain before, since nobody else runs.
// False: a hook ends the run before.
static bool watch_atomic(Hart *hart, uint64_t gva, unsigned size, bool write, const Place *place)
{
  unsigned op = blocks_cold(hart->blocks, hart->ip)->op;
  uint64_t old = host_load(place->host, size);
  bool conditional = op == OP_sc_w || op == OP_sc_d;
  uint64_t expected = hart->reserved_value & (UINT64_MAX >> (64 - 8 * size));
  if (conditional && (hart->reserved != place->host || old != expected)) return true;
  Watched access = {
    .gva = gva, .size = (uint8_t)size, .part = (uint8_t)size, .read = !conditional, .write = write, .value = old, .old = write ? old : 0,
    .gpa = { place->gpa, 0 }, .place = place->host,
  };
  if (hart->turns->watch & WATCH_ACCESSES && hook_forestalls(hart, &access)) return false;
  report(hart, &access);
  return true;
}

// A misaligned access lies in one page or two. Both parts are found before anything is done, so that a fault on the
// second leaves no half of a store. Returns the bytes in the first part, 0 after a fault.
static unsigned locate_parts(Hart *hart, Tlb *tlb, uint64_t gva, unsigned size, int access, Place part[2])
{
  unsigned first = PAGE_BYTES - (gva & ~PAGE_MASK), rest = 0;
  if (first < size) rest = size - first;
  else first = size;
  if (!locate(hart, tlb, gva, first, access, &part[0])) return 0;
  if (!part[0].host) return access_fault(hart, access, gva);
  if (!rest) return first;
  if (!locate(hart, tlb, gva + first, rest, access, &part[1])) return 0;
  if (!part[1].host) return access_fault(hart, access, gva + first);
  return first;
}

static bool load_misaligned(Hart *hart, Tlb *tlb, uint64_t gva, unsigned size, uint64_t *value)
{
  if (hart->options.misaligned_trap) {
    hart_raise(hart, CAUSE_LOAD_MISALIGNED, gva);
    return false;
  }
  Place part[2];
  unsigned first = locate_parts(hart, tlb, gva, size, ACCESS_READ, part);
  if (!first || forestalled(hart, gva, size, first, false, part, 0)) return false;
  *value = host_load(part[0].host, first);
  if (first < size) *value |= host_load(part[1].host, size - first) << 8 * first;
  if (watches(hart)) watch(hart, gva, size, first, false, part, *value);
  return true;
}

static bool store_misaligned(Hart *hart, Tlb *tlb, uint64_t gva, unsigned size, uint64_t value)
{
  if (hart->options.misaligned_trap) {
    hart_raise(hart, CAUSE_STORE_MISALIGNED, gva);
    return false;
  }
  Place part[2];
  unsigned first = locate_parts(hart, tlb, gva, size, ACCESS_WRITE, part);
  if (!first || forestalled(hart, gva, size, first, true, part, value)) return false;
  if (watches(hart)) watch(hart, gva, size, first, true, part, value);
  host_store(part[0].host, first, value);
  if (first < size) host_store(part[1].host, size - first, value >> 8 * first);
  return true;
}

bool hart_load(Hart *hart, Tlb *tlb, uint64_t gva, unsigned size, uint64_t *value)
{
  tlb = sighted(hart, tlb, ACCESS_READ, gva, size);
  tlb->misses[TLB_READ]++;
  if (unlikely(gva & (size - 1))) return load_misaligned(hart, tlb, gva, size, value);
  Place place;
  if (!locate(hart, tlb, gva, size, ACCESS_READ, &place) || forestalled(hart, gva, size, size, false, &place, 0)) return false;
  if (likely(place.host)) {
    *value = host_load(place.host, size);
  } else if (!device_access(hart, gva, place.gpa, size, false, value)) {
    return false;
  }
  if (watches(hart)) watch(hart, gva, size, size, false, &place, *value);
  return true;
}

bool hart_store(Hart *hart, Tlb *tlb, uint64_t gva, unsigned size, uint64_t value)
{
  tlb = sighted(hart, tlb, ACCESS_WRITE, gva, size);
  tlb->misses[TLB_WRITE]++;
  if (unlikely(gva & (size - 1))) return store_misaligned(hart, tlb, gva, size, value);
  Place place;
  if (!locate(hart, tlb, gva, size, ACCESS_WRITE, &place) || forestalled(hart, gva, size, size, true, &place, value)) return false;
  if (likely(place.host)) {
    if (watches(hart)) watch(hart, gva, size, size, true, &place, value);
    host_store(place.host, size, value);
    return true;
  }
  uint64_t given = value;
  if (!device_access(hart, gva, place.gpa, size, true, &value)) return false;
  if (watches(hart)) watch(hart, gva, size, size, true, &place, given);
  return true;
}

void *hart_atomic(Hart *hart, Tlb *tlb, uint64_t gva, unsigned size, bool write)
{
  int access = write ? ACCESS_WRITE : ACCESS_READ;
  tlb = sighted(hart, tlb, access, gva, size);
  tlb->misses[access]++;
  if (gva & (size - 1)) {
    hart_raise(hart, write ? CAUSE_STORE_MISALIGNED : CAUSE_LOAD_MISALIGNED, gva);
    return NULL;
  }
  Place place;
  if (!locate(hart, tlb, gva, size, access, &place)) return NULL;
  if (!place.host) access_fault(hart, access, gva);
  else if (watches(hart) && !watch_atomic(hart, gva, size, write, &place)) return NULL;
  return place.host;
}

void hart_window_refused(Hart *hart, uint64_t gva, unsigned alignment, int access)
{
  const WindowFault *fault = window_fault();
  if (gva & (alignment - 1)) {
    hart_raise(hart, access == ACCESS_WRITE ? CAUSE_STORE_MISALIGNED : CAUSE_LOAD_MISALIGNED, gva);
  } else if (gva >= WINDOW_BYTES) {
    page_fault(hart, access, gva);
  } else {
    uint64_t at = (uint64_t)(fault->host - (uintptr_t)hart->window->base);      // behind gva where the access began in another page
    if (fault->signal == SIGBUS) access_fault(hart, access, at);
    else page_fault(hart, access, at);
  }
}

// -- Cache blocks -------------------------------------------------------------------------------------

// True where menvcfg, and for user mode senvcfg, has one of the bits.
static bool cbo_enabled(Hart *hart, uint64_t bits)
{
  if (hart->priv == PRIV_M) return true;
  if (hart->menvcfg & bits && (hart->priv == PRIV_S || !hart_has(hart, EXT_S) || hart->senvcfg & bits)) return true;
  hart_raise(hart, CAUSE_ILLEGAL, 0);
  return false;
}

bool hart_zero_block(Hart *hart, Tlb *tlb, uint64_t gva)
{
  if (!cbo_enabled(hart, ENVCFG_CBZE)) return false;
  if (hart->window) {
    static const uint8_t zeros[BLOCK_BYTES];
    if (window_write(hart->window, gva & ~(uint64_t)(BLOCK_BYTES - 1), zeros, BLOCK_BYTES)) return true;
    hart_window_refused(hart, gva, 1, ACCESS_WRITE);
    hart->trap_value = gva;
    return false;
  }
  Place place;
  tlb->misses[TLB_WRITE]++;
  if (!locate(hart, tlb, gva & ~(uint64_t)(BLOCK_BYTES - 1), BLOCK_BYTES, ACCESS_WRITE, &place)) {
    hart->trap_value = gva;                       // tval is the address given, not the block's
    return false;
  }
  if (!place.host) return access_fault(hart, ACCESS_WRITE, gva);
  uint64_t block = gva & ~(uint64_t)(BLOCK_BYTES - 1);
  if (forestalled(hart, block, BLOCK_BYTES, BLOCK_BYTES, true, &place, 0)) return false;
  if (watches(hart)) watch(hart, block, BLOCK_BYTES, BLOCK_BYTES, true, &place, 0);
  memset(place.host, 0, BLOCK_BYTES);
  return true;
}

// There is no cache: what remains are the checks. A block may be managed where a load or a store may go, which is
// where a load may go, since no page or PMP entry allows stores alone. Faults are a store's.
bool hart_cbo(Hart *hart, Tlb *tlb, uint64_t gva, unsigned operation)
{
  if (!cbo_enabled(hart, operation == 0 ? ENVCFG_CBIE : ENVCFG_CBCFE)) return false;
  uint64_t block = gva & ~(uint64_t)(BLOCK_BYTES - 1);
  if (hart->window) return window_flags(hart->window, gva) & (WINDOW_READ | WINDOW_WRITE) || page_fault(hart, ACCESS_WRITE, gva);
  if (tlb_hit(tlb_entry(tlb, TLB_READ, block), block, 1)) return true;
  MmuResult result;
  bool found = translate(hart, block, BLOCK_BYTES, ACCESS_READ, hart->data_priv, &result);
  if (!found && result.fault == UM_MMU_PAGE_FAULT) return page_fault(hart, ACCESS_WRITE, gva);
  return (found && mem_find(hart->mem, result.gpa)) || access_fault(hart, ACCESS_WRITE, gva);
}
