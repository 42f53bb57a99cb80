// mem: what the files of this folder share.
// SPDX-License-Identifier: MIT
#pragma once
#include "mem/mem.h"

static inline bool region_holds(const Region *region, uint64_t gpa)
{
  return gpa - region->at < region->size;
}

static inline uint8_t *region_page(const Region *region, uint64_t gpa)
{
  return &region->pages[(gpa - region->at) >> PAGE_BITS];
}

// The RAM or ROM region at gpa, whatever window lies over it, or NULL.
Region *region_under(Mem *mem, uint64_t gpa);
// True if a window covers any byte of [gpa, gpa + size); size >= 1.
bool window_over(Mem *mem, uint64_t gpa, uint64_t size);
