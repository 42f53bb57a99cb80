// mmu: a walker of its own at the border, with the PMP entries that a hart would bring.
// SPDX-License-Identifier: MIT
#include "mmu/mmu.h"
#include "base/fault.h"
#include <stdlib.h>

// What um_mmu points to; harts embed an Mmu and point it at their own Pmp.
typedef struct {
  Mmu mmu;
  Pmp pmp;
} Alone;

enum { SATP_MODE_SHIFT = 60 };
static const uint64_t SATP_PPN = ((uint64_t)1 << 44) - 1;

// Levels by satp.MODE (table 36 of the privileged manual: 0 Bare, 8 Sv39, 9 Sv48, 10 Sv57), or -1.
static int levels_of(uint64_t mode)
{
  if (mode == 0) return 0;
  return mode >= 8 && mode <= 10 ? (int)mode - 5 : -1;
}

UM_EXPORT um_mmu *um_mmu_new(um_mem *mem, const struct um_mmu_options *options, struct um_fault *why)
{
  uint64_t mode = options->satp >> SATP_MODE_SHIFT;
  int levels = levels_of(mode);
  if (levels < 0) {
    fault_set(why, UM_EINVAL, "satp mode %u is none of 0 (bare), 8 (Sv39), 9 (Sv48), 10 (Sv57)", (unsigned)mode);
    return NULL;
  }
  if (options->priv > PRIV_M || options->priv == PRIV_RESERVED || (options->priv == PRIV_M && levels)) {
    fault_set(why, UM_EINVAL, "privilege %u cannot be translated for: 0 user, 1 supervisor, or 3 machine without paging", options->priv);
    return NULL;
  }
  Alone *alone = calloc(1, sizeof *alone);
  if (!alone) {
    fault_set(why, UM_ENOMEM, "the host has no memory for a walker");
    return NULL;
  }
  alone->mmu = (Mmu){
    .mem = mem, .root = (options->satp & SATP_PPN) << PAGE_BITS, .levels = (uint8_t)levels, .priv = (uint8_t)options->priv,
    .sum = options->sum, .mxr = options->mxr, .update_ad = options->update_ad, .napot = options->napot, .pbmt = options->pbmt,
  };
  return &alone->mmu;
}

UM_EXPORT void um_mmu_free(um_mmu *mmu)
{
  free(mmu);
}

UM_EXPORT bool um_mmu_translate(um_mmu *mmu, uint64_t gva, uint32_t size, int access, struct um_mmu_result *result)
{
  check_values(size && ((gva ^ (gva + size - 1)) & PAGE_MASK) == 0, gva, size);
  check_values(access >= ACCESS_READ && access <= ACCESS_EXECUTE, access, gva);
  MmuResult got;
  bool ok = mmu_translate(mmu, gva, size, access, &got);
  *result = (struct um_mmu_result){ .gpa = got.gpa, .page = got.page, .fault = got.fault, .dirty = got.dirty };
  return ok;
}

UM_EXPORT uint64_t um_mmu_walks(const um_mmu *mmu)
{
  return mmu->walks;
}

UM_EXPORT uint64_t um_mmu_steps(const um_mmu *mmu)
{
  return mmu->steps;
}

UM_EXPORT uint64_t um_mmu_sweep(um_mmu *mmu, uint64_t gva, uint64_t stride, uint64_t count)
{
  uint64_t good = 0;
  MmuResult result;
  for (uint64_t i = 0; i < count; i++, gva += stride) good += mmu_translate(mmu, gva, 1, ACCESS_READ, &result);
  return good;
}

UM_EXPORT int um_mmu_set_pmp(um_mmu *mmu, uint32_t index, uint32_t cfg, uint64_t addr, struct um_fault *why)
{
  if (index >= PMP_ENTRIES) return fault_set(why, UM_EINVAL, "PMP entry %u is none of 0 to 15", index);
  Pmp *pmp = &((Alone *)mmu)->pmp;
  pmp->cfg[index] = (uint8_t)cfg;
  pmp->addr[index] = addr;
  pmp_update(pmp);
  mmu->pmp = pmp;
  return UM_OK;
}

UM_EXPORT bool um_mmu_pmp_allows(const um_mmu *mmu, uint64_t gpa, uint64_t size, int access, int priv)
{
  check_values(access >= ACCESS_READ && access <= ACCESS_EXECUTE && size, access, size);
  return !mmu->pmp || pmp_allows(mmu->pmp, gpa, size, access, priv);
}

UM_EXPORT bool um_mmu_pmp_uniform(const um_mmu *mmu, uint64_t gpa)
{
  return !mmu->pmp || pmp_uniform(mmu->pmp, gpa);
}
