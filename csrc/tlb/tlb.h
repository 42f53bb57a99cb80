// tlb: cached translations of one context, and the inline hit path.
// SPDX-License-Identifier: MIT
//
// Direct-mapped arrays for read, write and execute. A hit is one compare that also proves alignment:
// ((gva ^ tag) & (PAGE_MASK | (size - 1))) == 0. The low bits of a tag are zero, so a misaligned
// access misses and takes the slow path. An empty entry carries the tag of a page that another
// index would hold, hence it can never be hit (tlb_clear).
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "tlb/tlb_ffi.h"

typedef struct um_tlb Tlb;

typedef struct TlbEntry {
  uint64_t  tag;      // gva of the page
  uintptr_t value;    // read, write: host address minus gva; execute: what the owner of the fetch path wants
} TlbEntry;

enum { TLB_READ, TLB_WRITE, TLB_EXECUTE, TLB_KINDS };
_Static_assert(sizeof(TlbEntry) == 16, "tlb_entry shifts by 4");

struct um_tlb {
  uint64_t  mask;                 // (entries - 1) << 4
  TlbEntry *kind[TLB_KINDS];
  uint64_t  misses[TLB_KINDS];
  uint64_t  fills, flushes, page_flushes;
  unsigned  entries;
  bool      used;                 // something was filled since the last flush
  uint8_t   large[2];             // log2 of the largest leaf cached since then, by half of the address space; 0: 4 KiB
};

static inline TlbEntry *tlb_entry(const Tlb *tlb, int kind, uint64_t gva)
{
  return (TlbEntry *)((char *)tlb->kind[kind] + ((gva >> (12 - 4)) & tlb->mask));
}

static inline bool tlb_hit(const TlbEntry *entry, uint64_t gva, unsigned size)
{
  return ((gva ^ entry->tag) & (~(uint64_t)4095 | (size - 1))) == 0;
}

static inline void tlb_fill(Tlb *tlb, int kind, uint64_t gva, uintptr_t value)
{
  TlbEntry *entry = tlb_entry(tlb, kind, gva);
  entry->tag = gva & ~(uint64_t)4095;
  entry->value = value;
  tlb->fills++;
  tlb->used = true;
}

// Says that a page just filled is part of a leaf of `page` bytes. Entries are 4 KiB each, but a guest that
// changes a larger leaf may flush by any address in it (Privileged Architecture, SFENCE.VMA), so
// tlb_flush_page must know how far it has to reach. By half, because a kernel maps large and its
// processes mostly small.
static inline void tlb_note_leaf(Tlb *tlb, uint64_t gva, uint64_t page)
{
  if (page <= 4096) return;
  uint8_t bits = (uint8_t)__builtin_ctzll(page);
  if (bits > tlb->large[gva >> 63]) tlb->large[gva >> 63] = bits;
}

// True if gva may be part of a leaf above 4 KiB that was cached.
static inline bool tlb_has_large(const Tlb *tlb, uint64_t gva)
{
  return tlb->large[gva >> 63] != 0;
}

bool tlb_init(Tlb *tlb, unsigned entries);     // a power of two, 16 to 65536; false without memory
void tlb_fini(Tlb *tlb);
void tlb_flush(Tlb *tlb);                      // cheap when nothing was filled
void tlb_flush_kind(Tlb *tlb, int kind);
void tlb_flush_page(Tlb *tlb, uint64_t gva);   // and all else that may belong to the same leaf
// Drops every entry whose page overlaps host bytes [host, host + size); for TLB_WRITE: the page begins to hold code.
void tlb_flush_host(Tlb *tlb, int kind, const void *host, uint64_t size);
