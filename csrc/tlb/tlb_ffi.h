// tlb: cached translations at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_tlb um_tlb;

struct um_tlb_counts {
  uint64_t misses[3];                       // by kind: read, write, execute (look-ups through um_tlb_lookup and slow paths)
  uint64_t fills, flushes, page_flushes;
};

um_tlb *um_tlb_new(uint32_t entries, struct um_fault *why);   // entries a kind: a power of two, 16 to 65536
void    um_tlb_free(um_tlb *tlb);
// kind: 0 read, 1 write, 2 execute. The page of gva translates to the page of gpa.
void    um_tlb_fill(um_tlb *tlb, int kind, uint64_t gva, uint64_t gpa);
void    um_tlb_note_leaf(um_tlb *tlb, uint64_t gva, uint64_t page);   // what was filled at gva is part of a leaf of `page` bytes, a power of two
bool    um_tlb_lookup(um_tlb *tlb, int kind, uint64_t gva, uint32_t size, uint64_t *gpa);   // false on a miss; size 1, 2, 4, 8
void    um_tlb_flush(um_tlb *tlb);
void    um_tlb_flush_page(um_tlb *tlb, uint64_t gva);                 // and what may belong to the same leaf
void    um_tlb_counts(const um_tlb *tlb, struct um_tlb_counts *counts);
uint64_t um_tlb_sweep(um_tlb *tlb, int kind, uint64_t gva, uint64_t stride, uint64_t count);  // look-ups in C for measuring; returns hits
