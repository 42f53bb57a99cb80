// mem: the guest-physical address space: RAM, ROM, MMIO windows, and the state of each page.
// SPDX-License-Identifier: MIT
//
// Regions never overlap, with one exception: an MMIO window may lie over RAM (HTIF's tohost). Pages
// touched by such a window are PAGE_SLOW: no TLB may map them. Windows are mapped before harts run, or
// whoever maps one flushes their TLBs.
// Nobody but mem keeps a RAM pointer across a safe point, save what a TLB caches under the page's flags.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "base/check.h"
#include "base/log.h"
#include "mem/mem_ffi.h"

enum { PAGE_BITS = 12, PAGE_BYTES = 1 << PAGE_BITS };
#define PAGE_MASK (~(uint64_t)(PAGE_BYTES - 1))

// State of a RAM page. ORDER none: bits.
enum {
  PAGE_CODE  = 1,     // holds decoded or translated code: stores and DMA must tell the watcher
  PAGE_SLOW  = 2,     // an MMIO window lies over part of it
  PAGE_ROM   = 4,     // guest stores fail
};

typedef struct um_mem Mem;
typedef uint64_t MmioRead(void *device, uint64_t offset, unsigned size);
typedef void     MmioWrite(void *device, uint64_t offset, uint64_t value, unsigned size);

typedef struct MmioOps {
  MmioRead  *read;            // offset is a multiple of size; result in the low `size` bytes, the rest is ignored
  MmioWrite *write;
  uint8_t    min_size, max_size;   // widths the device answers, 1 to 8; others are access faults for the guest
} MmioOps;

typedef struct Region {
  uint64_t at, size;          // guest-physical bytes
  uint8_t *host;              // NULL: MMIO
  uint8_t *pages;             // RAM: PAGE_* a page
  const MmioOps *ops;
  void    *device;
  uint64_t reads, writes;
  char     name[28];
  bool     rom;
  bool     script;            // Lua serves it: only a hart's run can ask
  uint32_t number;            // of a script window
} Region;

// Told before the bytes of a PAGE_CODE page change (a store, DMA, a host write).
typedef void CodeWatch(void *watcher, uint64_t gpa, uint64_t size);

struct um_mem {
  Region   *regions;          // MMIO windows, then RAM and ROM, each part sorted by at; moves when one is added
  int       windows, count;   // how many are windows; how many there are
  Region   *ram;              // the largest RAM region: most look-ups end here
  CodeWatch *code_watch;
  void     *code_watcher;
  Log      *log;              // of what goes on in this machine, or NULL
};

// The region that answers at gpa, or NULL for a hole.
Region *mem_find(Mem *mem, uint64_t gpa);
// A device's window: `at` any, `size` bytes; may lie over RAM, not over another window.
int mem_add_mmio(Mem *mem, uint64_t at, uint64_t size, const MmioOps *ops, void *device, const char *name, struct um_fault *why);
void mem_remove_mmio(Mem *mem, void *device);
// Host address of [gpa, gpa + size) if all of it is plain RAM or ROM of one region (not under a window), else NULL.
uint8_t *mem_ram(Mem *mem, uint64_t gpa, uint64_t size);
// The guest-physical address of what mem_ram gave.
uint64_t mem_gpa(const Mem *mem, const uint8_t *host);
// Flags of the RAM page at gpa (PAGE_*), PAGE_SLOW where there is no RAM.
unsigned mem_page_flags(Mem *mem, uint64_t gpa);
void mem_page_set(Mem *mem, uint64_t gpa, unsigned flags);
void mem_page_clear(Mem *mem, uint64_t gpa, unsigned flags);
// DMA: a device reads RAM and ROM and writes RAM; false where any byte is something else (nothing is done then).
bool mem_dma_read(Mem *mem, uint64_t gpa, void *to, uint64_t size);
bool mem_dma_write(Mem *mem, uint64_t gpa, const void *from, uint64_t size);
// Told before bytes in RAM are changed through a pointer from mem_ram.
void mem_dma_touch(Mem *mem, uint64_t gpa, uint64_t size);
// One access of 1, 2, 4 or 8 bytes, aligned or not (an unaligned one must lie in one region, and not in a
// window: devices see aligned accesses only). False: access fault, nothing was done.
bool mem_load(Mem *mem, uint64_t gpa, unsigned size, uint64_t *value);
bool mem_store(Mem *mem, uint64_t gpa, unsigned size, uint64_t value);
