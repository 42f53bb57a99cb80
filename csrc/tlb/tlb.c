// tlb: flushing, and the border.
// SPDX-License-Identifier: MIT
#include "tlb/tlb.h"
#include "base/check.h"
#include "base/fault.h"
#include <stdlib.h>
#include <string.h>

enum { TLB_MIN = 16, TLB_MAX = 65536, CACHE_LINE = 64 };

// Index 0 gets the tag of a page of index 1, the others one of index 0: no gva that leads to an entry
// equals the tag it has while empty. So a flush is a memset and one store.
static void clear_kind(Tlb *tlb, int kind)
{
  memset(tlb->kind[kind], 0, tlb->entries * sizeof(TlbEntry));
  tlb->kind[kind][0].tag = 1 << 12;
}

static void clear_entry(Tlb *tlb, int kind, TlbEntry *entry)
{
  *entry = (TlbEntry){ .tag = entry == tlb->kind[kind] ? 1 << 12 : 0 };
}

static bool is_empty(const Tlb *tlb, int kind, const TlbEntry *entry)
{
  return tlb_entry(tlb, kind, entry->tag) != entry;
}

bool tlb_init(Tlb *tlb, unsigned entries)
{
  check_values(entries >= TLB_MIN && entries <= TLB_MAX && !(entries & (entries - 1)), entries, 0);
  *tlb = (Tlb){ .entries = entries, .mask = (uint64_t)(entries - 1) << 4 };
  for (int kind = 0; kind < TLB_KINDS; kind++) {
    tlb->kind[kind] = aligned_alloc(CACHE_LINE, entries * sizeof(TlbEntry));
    if (!tlb->kind[kind]) {
      tlb_fini(tlb);
      return false;
    }
    clear_kind(tlb, kind);
  }
  return true;
}

void tlb_fini(Tlb *tlb)
{
  for (int kind = 0; kind < TLB_KINDS; kind++) {
    free(tlb->kind[kind]);
    tlb->kind[kind] = NULL;
  }
}

void tlb_flush(Tlb *tlb)
{
  tlb->flushes++;
  if (!tlb->used) return;
  for (int kind = 0; kind < TLB_KINDS; kind++) clear_kind(tlb, kind);
  tlb->used = false;
  tlb->large[0] = tlb->large[1] = 0;
}

void tlb_flush_kind(Tlb *tlb, int kind)
{
  tlb->flushes++;
  if (tlb->used) clear_kind(tlb, kind);
}

// Drops what lies in the naturally aligned 2^bits bytes around gva.
static void flush_leaf(Tlb *tlb, uint64_t gva, unsigned bits)
{
  for (int kind = 0; kind < TLB_KINDS; kind++) {
    TlbEntry *entry = tlb->kind[kind];
    for (unsigned i = 0; i < tlb->entries; i++, entry++)
      if ((entry->tag ^ gva) >> bits == 0) clear_entry(tlb, kind, entry);
  }
}

void tlb_flush_page(Tlb *tlb, uint64_t gva)
{
  tlb->page_flushes++;
  if (!tlb->used) return;
  if (unlikely(tlb->large[gva >> 63])) {
    flush_leaf(tlb, gva, tlb->large[gva >> 63]);
    return;
  }
  for (int kind = 0; kind < TLB_KINDS; kind++) {
    TlbEntry *entry = tlb_entry(tlb, kind, gva);
    if (tlb_hit(entry, gva, 1)) clear_entry(tlb, kind, entry);
  }
}

void tlb_flush_host(Tlb *tlb, int kind, const void *host, uint64_t size)
{
  if (!tlb->used) return;
  uintptr_t first = (uintptr_t)host, last = first + size;
  TlbEntry *entry = tlb->kind[kind];
  for (unsigned i = 0; i < tlb->entries; i++, entry++) {
    uintptr_t page = entry->value + entry->tag;
    if (page < last && page + 4096 > first && !is_empty(tlb, kind, entry)) clear_entry(tlb, kind, entry);
  }
}

UM_EXPORT um_tlb *um_tlb_new(uint32_t entries, struct um_fault *why)
{
  if (entries < TLB_MIN || entries > TLB_MAX || (entries & (entries - 1))) {
    fault_set(why, UM_EINVAL, "a TLB has a power of two entries, 16 to 65536, not %u", entries);
    return NULL;
  }
  Tlb *tlb = calloc(1, sizeof *tlb);
  if (tlb && tlb_init(tlb, entries)) return tlb;
  free(tlb);
  fault_set(why, UM_ENOMEM, "the host has no memory for a TLB of %u entries", entries);
  return NULL;
}

UM_EXPORT void um_tlb_free(um_tlb *tlb)
{
  if (!tlb) return;
  tlb_fini(tlb);
  free(tlb);
}

// Alone, a TLB caches guest-physical addresses where a hart's caches host addresses: gpa minus gva.
UM_EXPORT void um_tlb_fill(um_tlb *tlb, int kind, uint64_t gva, uint64_t gpa)
{
  check_values(kind >= 0 && kind < TLB_KINDS, kind, gva);
  tlb_fill(tlb, kind, gva, (gpa & ~(uint64_t)4095) - (gva & ~(uint64_t)4095));
}

UM_EXPORT void um_tlb_note_leaf(um_tlb *tlb, uint64_t gva, uint64_t page)
{
  check_values(page && !(page & (page - 1)), page, gva);
  tlb_note_leaf(tlb, gva, page);
}

UM_EXPORT bool um_tlb_lookup(um_tlb *tlb, int kind, uint64_t gva, uint32_t size, uint64_t *gpa)
{
  check_values(kind >= 0 && kind < TLB_KINDS, kind, gva);
  const TlbEntry *entry = tlb_entry(tlb, kind, gva);
  if (!tlb_hit(entry, gva, size)) {
    tlb->misses[kind]++;
    return false;
  }
  *gpa = gva + entry->value;
  return true;
}

UM_EXPORT void um_tlb_flush(um_tlb *tlb)
{
  tlb_flush(tlb);
}

UM_EXPORT void um_tlb_flush_page(um_tlb *tlb, uint64_t gva)
{
  tlb_flush_page(tlb, gva);
}

UM_EXPORT void um_tlb_counts(const um_tlb *tlb, struct um_tlb_counts *counts)
{
  *counts = (struct um_tlb_counts){ .fills = tlb->fills, .flushes = tlb->flushes, .page_flushes = tlb->page_flushes };
  memcpy(counts->misses, tlb->misses, sizeof counts->misses);
}

UM_EXPORT uint64_t um_tlb_sweep(um_tlb *tlb, int kind, uint64_t gva, uint64_t stride, uint64_t count)
{
  check_values(kind >= 0 && kind < TLB_KINDS, kind, gva);
  uint64_t hits = 0;
  for (uint64_t i = 0; i < count; i++, gva += stride) hits += tlb_hit(tlb_entry(tlb, kind, gva), gva, 1);
  tlb->misses[kind] += count - hits;
  return hits;
}
