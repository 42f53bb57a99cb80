// riscv: the page-table walker of Sv39, Sv48 and Sv57.
// SPDX-License-Identifier: MIT
//
// RISC-V Privileged Architecture 20240411, 10.3.2 (the algorithm, whose step numbers appear below),
// 10.4 to 10.6, Svnapot, Svpbmt and Svade/Svadu.
#include "mmu/mmu.h"

enum {
  PTE_V = 1 << 0, PTE_R = 1 << 1, PTE_W = 1 << 2, PTE_X = 1 << 3,
  PTE_U = 1 << 4, PTE_G = 1 << 5, PTE_A = 1 << 6, PTE_D = 1 << 7,
  VPN_BITS = 9, PPN_SHIFT = 10, PBMT_SHIFT = 61,
};
static const uint64_t PTE_PPN      = (((uint64_t)1 << 44) - 1) << PPN_SHIFT;
static const uint64_t PTE_RESERVED = (uint64_t)0x7f << 54;
static const uint64_t PTE_PBMT     = (uint64_t)3 << PBMT_SHIFT;
static const uint64_t PTE_N        = (uint64_t)1 << 63;
enum { NAPOT_BITS = 4, NAPOT_64K = 8 };           // Svnapot has one size: ppn[3:0] = 1000 means 64 KiB

static bool fail(MmuResult *result, uint32_t fault)
{
  result->fault = fault;
  return false;
}

// Where the 8 bytes of a page-table entry lie on the host, or NULL: table memory must be plain RAM or ROM.
static inline uint64_t *pte_host(const Mmu *mmu, uint64_t gpa)
{
  const Region *ram = mmu->mem->ram;
  if (likely(ram && gpa - ram->at < ram->size)) {
    uint64_t offset = gpa - ram->at;
    if (likely(!(ram->pages[offset >> PAGE_BITS] & PAGE_SLOW))) return (uint64_t *)(void *)(ram->host + offset);
  }
  return (uint64_t *)(void *)mem_ram(mmu->mem, gpa, sizeof(uint64_t));
}

static inline bool pmp_ok(const Mmu *mmu, uint64_t gpa, uint64_t size, int access, int priv)
{
  return !mmu->pmp || pmp_allows(mmu->pmp, gpa, size, access, priv);
}

static inline bool is_leaf(uint64_t pte)
{
  return pte & (PTE_R | PTE_X);
}

// Step 3: encodings that fault whatever the access is.
static bool is_reserved(const Mmu *mmu, uint64_t pte, int level)
{
  if (!(pte & PTE_V) || (pte & (PTE_R | PTE_W)) == PTE_W) return true;
  if (likely(!(pte & (PTE_RESERVED | PTE_PBMT | PTE_N))))
    return !is_leaf(pte) && (pte & (PTE_U | PTE_A | PTE_D));
  if (pte & PTE_RESERVED) return true;
  if (!is_leaf(pte)) return true;                 // N and PBMT are for leaves
  if ((pte & PTE_PBMT) && (!mmu->pbmt || (pte & PTE_PBMT) == PTE_PBMT)) return true;
  if (!(pte & PTE_N)) return false;
  uint64_t size = (pte >> PPN_SHIFT) & ((1 << NAPOT_BITS) - 1);
  return !mmu->napot || level > 0 || size != NAPOT_64K;
}

// Step 6: does a leaf permit the access?
static bool permits(const Mmu *mmu, uint64_t pte, int access)
{
  if (mmu->priv == PRIV_U) {
    if (!(pte & PTE_U)) return false;
  } else if ((pte & PTE_U) && (access == ACCESS_EXECUTE || !mmu->sum)) {
    return false;
  }
  switch (access) {
  case ACCESS_READ:  return pte & (mmu->mxr ? PTE_R | PTE_X : PTE_R);
  case ACCESS_WRITE: return pte & PTE_W;
  default:           return pte & PTE_X;
  }
}

typedef enum { UPDATE_DONE, UPDATE_RACE, UPDATE_DENIED } Update;

// Step 7 with Svadu: another hart may have changed the entry since it was read, hence compare and swap.
static Update update_ad(Mmu *mmu, uint64_t gpa, uint64_t *host, uint64_t *pte, uint64_t wanted)
{
  if (!pmp_ok(mmu, gpa, sizeof *pte, ACCESS_WRITE, PRIV_S)) return UPDATE_DENIED;
  if (mem_page_flags(mmu->mem, gpa) & PAGE_ROM) return UPDATE_DENIED;
  mem_dma_touch(mmu->mem, gpa, sizeof *pte);
  uint64_t seen = *pte;
  if (!__atomic_compare_exchange_n(host, &seen, wanted, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return UPDATE_RACE;
  *pte = wanted;
  return UPDATE_DONE;
}

// Step 8: the leaf's address; then the access itself must pass PMP.
static bool finish(const Mmu *mmu, uint64_t gva, unsigned size, int access, uint64_t pte, int level, MmuResult *result)
{
  unsigned bits = PAGE_BITS + VPN_BITS * (unsigned)level + (pte & PTE_N ? NAPOT_BITS : 0);
  uint64_t offset = ((uint64_t)1 << bits) - 1;
  uint64_t base = (pte & PTE_PPN) << (PAGE_BITS - PPN_SHIFT);
  result->gpa = (base & ~offset) | (gva & offset);
  result->page = offset + 1;
  result->dirty = pte & PTE_D;
  if (!pmp_ok(mmu, result->gpa, size, access, mmu->priv)) return fail(result, UM_MMU_ACCESS_FAULT);
  result->fault = UM_MMU_OK;
  return true;
}

static bool walk(Mmu *mmu, uint64_t gva, unsigned size, int access, MmuResult *result)
{
  uint64_t table = mmu->root;
  const uint64_t needed = access == ACCESS_WRITE ? PTE_A | PTE_D : PTE_A;
  mmu->walks++;
  for (int level = mmu->levels - 1; level >= 0;) {
    uint64_t gpa = table + ((gva >> (PAGE_BITS + VPN_BITS * level)) & ((1 << VPN_BITS) - 1)) * sizeof(uint64_t);
    uint64_t *host = pte_host(mmu, gpa);
    if (unlikely(!host) || !pmp_ok(mmu, gpa, sizeof *host, ACCESS_READ, PRIV_S)) return fail(result, UM_MMU_ACCESS_FAULT);
    uint64_t pte = __atomic_load_n(host, __ATOMIC_RELAXED);
    mmu->steps++;
    if (is_reserved(mmu, pte, level)) return fail(result, UM_MMU_PAGE_FAULT);
    if (!is_leaf(pte)) {                          // step 4: a pointer to the next table
      table = (pte & PTE_PPN) << (PAGE_BITS - PPN_SHIFT);
      level--;
      continue;
    }
    uint64_t low_ppn = ((uint64_t)1 << (VPN_BITS * level)) - 1;
    if ((pte >> PPN_SHIFT) & low_ppn) return fail(result, UM_MMU_PAGE_FAULT);      // step 5: misaligned superpage
    if (!permits(mmu, pte, access)) return fail(result, UM_MMU_PAGE_FAULT);
    if (unlikely((pte & needed) != needed)) {
      if (!mmu->update_ad) return fail(result, UM_MMU_PAGE_FAULT);                 // Svade
      Update update = update_ad(mmu, gpa, host, &pte, pte | needed);
      if (update == UPDATE_DENIED) return fail(result, UM_MMU_ACCESS_FAULT);
      if (update == UPDATE_RACE) continue;        // read the entry again
    }
    return finish(mmu, gva, size, access, pte, level, result);
  }
  return fail(result, UM_MMU_PAGE_FAULT);         // a pointer where only a leaf may be
}

bool mmu_translate(Mmu *mmu, uint64_t gva, unsigned size, int access, MmuResult *result)
{
  debug_check(size && ((gva ^ (gva + size - 1)) & PAGE_MASK) == 0);
  debug_check(mmu->levels == 0 || mmu->priv <= PRIV_S);
  result->gpa = gva;
  result->page = PAGE_BYTES;
  result->dirty = true;
  if (mmu->levels == 0) {
    if (!pmp_ok(mmu, gva, size, access, mmu->priv)) return fail(result, UM_MMU_ACCESS_FAULT);
    result->fault = UM_MMU_OK;
    return true;
  }
  // The bits above the highest index must all equal its top bit.
  unsigned unused = 64 - (unsigned)(PAGE_BITS + VPN_BITS * mmu->levels);
  if ((uint64_t)((int64_t)(gva << unused) >> unused) != gva) return fail(result, UM_MMU_PAGE_FAULT);
  return walk(mmu, gva, size, access, result);
}
