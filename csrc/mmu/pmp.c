// pmp: physical memory protection.
// SPDX-License-Identifier: MIT
//
// RISC-V Privileged Architecture 20240411, 3.7.1. The lowest-numbered entry that matches any byte of an
// access decides and must match all of its bytes; an access that no entry matches is for machine mode only.
#include "mmu/mmu.h"

// pmpaddr holds bits 55:2 of an address.
static const uint64_t ADDR_BITS = ((uint64_t)1 << 54) - 1;

void pmp_update(Pmp *pmp)
{
  pmp->active = pmp->top = 0;
  for (unsigned i = 0; i < PMP_ENTRIES; i++) {
    uint64_t addr = pmp->addr[i] & ADDR_BITS;
    uint64_t below = i ? pmp->addr[i - 1] & ADDR_BITS : 0;
    uint64_t low = addr ^ (addr + 1);             // the trailing ones and the zero above them
    unsigned mode = pmp->cfg[i] & PMP_A;
    pmp->range[i].first = UINT64_MAX;
    pmp->range[i].last = 0;
    if (mode == PMP_OFF) continue;
    pmp->active++;
    pmp->top = i + 1;
    if (mode == PMP_TOR) {
      if (below >= addr) continue;                // matches nothing
      pmp->range[i].first = below << 2;
      pmp->range[i].last = (addr << 2) - 1;
    } else {
      if (mode == PMP_NA4) low = 0;
      pmp->range[i].first = (addr & ~low) << 2;
      pmp->range[i].last = ((addr | low) << 2) | 3;
    }
  }
}

bool pmp_allows(const Pmp *pmp, uint64_t gpa, uint64_t size, int access, int priv)
{
  static const uint8_t needs[] = { [ACCESS_READ] = PMP_R, [ACCESS_WRITE] = PMP_W, [ACCESS_EXECUTE] = PMP_X };
  uint64_t last = gpa + (size - 1);
  for (unsigned i = 0; i < pmp->top; i++) {
    if (last < pmp->range[i].first || gpa > pmp->range[i].last) continue;
    if (gpa < pmp->range[i].first || last > pmp->range[i].last) return false;
    if (priv == PRIV_M && !(pmp->cfg[i] & PMP_L)) return true;
    return pmp->cfg[i] & needs[access];
  }
  return priv == PRIV_M;
}

bool pmp_uniform(const Pmp *pmp, uint64_t gpa)
{
  uint64_t first = gpa & PAGE_MASK, last = first | ~PAGE_MASK;
  for (unsigned i = 0; i < pmp->top; i++) {
    if (last < pmp->range[i].first || first > pmp->range[i].last) continue;
    return first >= pmp->range[i].first && last <= pmp->range[i].last;
  }
  return true;
}
