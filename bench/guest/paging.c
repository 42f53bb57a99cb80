// paging: maps the program one to one with pages of 4 KiB under Sv39, so that every page it touches needs a TLB entry of its own.
// SPDX-License-Identifier: MIT
#include "common.h"

enum { PAGE = 4 * KIB, ENTRIES = 512, TABLES = 16, SV39 = 8 };
enum { V = 1, R = 2, W = 4, X = 8, A = 64, D = 128 };        // privileged manual 4.4.1

extern char image_start[], text_end[], image_end[];          // link.ld

static uint64_t root[ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t middle[ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t leaves[TABLES][ENTRIES] __attribute__((aligned(PAGE)));

static uint64_t entry(uintptr_t address, uint64_t flags)
{
  return address / PAGE << 10 | flags;
}

// Returns satp for the tables it made, 0 if the program is larger than they can map. A and D are set, so no walk traps or writes.
uint64_t make_page_tables(void)
{
  uintptr_t base = (uintptr_t)image_start;
  if ((uintptr_t)image_end - base > (uintptr_t)TABLES * ENTRIES * PAGE) return 0;
  root[base >> 30 & 511] = entry((uintptr_t)middle, V);
  for (uintptr_t at = base; at < (uintptr_t)image_end; at += PAGE) {
    uintptr_t table = (at - base) / PAGE / ENTRIES;
    middle[at >> 21 & 511] = entry((uintptr_t)leaves[table], V);
    leaves[table][at >> 12 & 511] = entry(at, at < (uintptr_t)text_end ? V | R | X | A : V | R | W | A | D);
  }
  return (uint64_t)SV39 << 60 | (uintptr_t)root / PAGE;
}
