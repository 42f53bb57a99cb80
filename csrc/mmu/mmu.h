// mmu: RISC-V page-table walks (Sv39, Sv48, Sv57) and physical memory protection.
// SPDX-License-Identifier: MIT
//
// RISC-V Privileged Architecture 20240411, chapters 10.3 to 10.6 (Sv39 to Sv57, Svnapot, Svpbmt,
// Svadu, Svade) and 3.7 (PMP).
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "mem/mem.h"
#include "mmu/mmu_ffi.h"

enum { ACCESS_READ, ACCESS_WRITE, ACCESS_EXECUTE };          // the order of TLB_READ, TLB_WRITE, TLB_EXECUTE
enum { PRIV_U, PRIV_S, PRIV_RESERVED, PRIV_M };

enum { PMP_ENTRIES = 16 };

// pmpcfg and pmpaddr as the CSRs hold them, and the ranges decoded from them.
typedef struct Pmp {
  uint8_t  cfg[PMP_ENTRIES];
  uint64_t addr[PMP_ENTRIES];
  struct { uint64_t first, last; } range[PMP_ENTRIES];        // bytes, inclusive; first > last: off
  unsigned active;                                            // entries with A != OFF
  unsigned top;                                               // index of the last of them, plus 1
} Pmp;

enum { PMP_R = 1, PMP_W = 2, PMP_X = 4, PMP_A = 3 << 3, PMP_L = 1 << 7 };            // of pmpcfg
enum { PMP_OFF = 0, PMP_TOR = 1 << 3, PMP_NA4 = 2 << 3, PMP_NAPOT = 3 << 3 };        // values of PMP_A

void pmp_update(Pmp *pmp);                                     // after any change of cfg or addr
bool pmp_allows(const Pmp *pmp, uint64_t gpa, uint64_t size, int access, int priv);
// True if every byte of gpa's 4 KiB page is treated alike, so that one answer may be cached for the page.
bool pmp_uniform(const Pmp *pmp, uint64_t gpa);

typedef struct um_mmu Mmu;
struct um_mmu {
  Mem       *mem;
  const Pmp *pmp;          // NULL: no PMP
  uint64_t   root;         // gpa of the root table
  uint8_t    levels;       // 0 bare, 3 Sv39, 4 Sv48, 5 Sv57
  uint8_t    priv;         // effective privilege of the access: PRIV_U or PRIV_S when levels > 0
  bool       sum, mxr;
  bool       update_ad;    // Svadu and menvcfg.ADUE: set A and D by compare-and-swap; else fault (Svade)
  bool       napot, pbmt;  // Svnapot; Svpbmt and menvcfg.PBMTE: else the bits must be zero
  uint64_t   walks, steps; // counters
};

typedef struct MmuResult {
  uint64_t gpa;            // of the byte asked for
  uint64_t page;           // bytes of the leaf: 4 KiB, 64 KiB (napot), 2 MiB, ...; bare: 4 KiB
  bool     dirty;          // leaf has D set (or bare): stores may be cached
  uint32_t fault;          // UM_MMU_*
} MmuResult;

// Translates gva for an access; also checks PMP on the walk's own reads and on the leaf for `size` bytes
// (which lie in one page). False: result->fault says which fault.
bool mmu_translate(Mmu *mmu, uint64_t gva, unsigned size, int access, MmuResult *result);
