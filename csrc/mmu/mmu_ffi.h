// mmu: page-table walks at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_mmu um_mmu;

enum { UM_MMU_OK, UM_MMU_PAGE_FAULT, UM_MMU_ACCESS_FAULT };

struct um_mmu_options {
  uint64_t satp;           // as the CSR: mode 63:60, asid 59:44, ppn 43:0
  uint32_t priv;           // 0 user, 1 supervisor, 3 machine (with mode bare only)
  bool     sum, mxr, update_ad, napot, pbmt;
};

struct um_mmu_result {
  uint64_t gpa, page;      // bytes
  uint32_t fault;          // UM_MMU_*
  bool     dirty;
};

um_mmu *um_mmu_new(um_mem *mem, const struct um_mmu_options *options, struct um_fault *why);   // UM_EINVAL: unknown satp mode or priv
void    um_mmu_free(um_mmu *mmu);
bool    um_mmu_translate(um_mmu *mmu, uint64_t gva, uint32_t size, int access, struct um_mmu_result *result);   // access 0 read, 1 write, 2 execute; size bytes within one page
uint64_t um_mmu_walks(const um_mmu *mmu);
uint64_t um_mmu_steps(const um_mmu *mmu);    // page-table entries read by them
uint64_t um_mmu_sweep(um_mmu *mmu, uint64_t gva, uint64_t stride, uint64_t count);   // read walks in C for measuring; returns how many succeeded

// Physical memory protection: none until the first entry is set, then 16. cfg and addr as pmpcfg and pmpaddr hold them. UM_EINVAL: no such entry.
int     um_mmu_set_pmp(um_mmu *mmu, uint32_t index, uint32_t cfg, uint64_t addr, struct um_fault *why);
bool    um_mmu_pmp_allows(const um_mmu *mmu, uint64_t gpa, uint64_t size, int access, int priv);
bool    um_mmu_pmp_uniform(const um_mmu *mmu, uint64_t gpa);         // one answer holds for the whole 4 KiB page
