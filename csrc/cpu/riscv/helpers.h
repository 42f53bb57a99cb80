// helpers: what the descriptions leave to C (`func` rows of lua/isa/riscv), for every way of running them.
// SPDX-License-Identifier: MIT
//
// False: an exception was raised. Decoded code says with h->ip where it is; otherwise h->pc is right.
#pragma once
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/hart.h"
#include "cpu/riscv/tier0.h"

static inline uint64_t fp_box(uint32_t single) { return 0xffffffff00000000u | single; }
static inline uint32_t fp_unbox(uint64_t value) { return likely(value >> 32 == 0xffffffffu) ? (uint32_t)value : 0x7fc00000u; }

static inline void do_fence(uint32_t pred, uint32_t succ)
{
  // Only a store before, a load after is left unordered by the host (unprivileged manual 2.7; x86 TSO).
  if ((pred & 1) && (succ & 2)) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline bool do_csr_swap(Hart *h, uint32_t number, uint64_t value, uint32_t read, uint64_t *old)
{
  return csr_modify(h, number, CSR_WRITE, read, true, value, old);
}

static inline bool do_csr_set(Hart *h, uint32_t number, uint64_t bits, uint32_t write, uint64_t *old)
{
  return csr_modify(h, number, CSR_SET, true, write, bits, old);
}

static inline bool do_csr_clear(Hart *h, uint32_t number, uint64_t bits, uint32_t write, uint64_t *old)
{
  return csr_modify(h, number, CSR_CLEAR, true, write, bits, old);
}

static inline bool do_ecall(Hart *h)
{
  hart_raise(h, h->priv == PRIV_U ? CAUSE_ECALL_U : h->priv == PRIV_S ? CAUSE_ECALL_S : CAUSE_ECALL_M, 0);
  return false;
}

static inline bool do_ebreak(Hart *h)
{
  uint64_t at = h->ip ? h->block_pc + 2u * blocks_cold(h->blocks, h->ip)->offset : h->pc;
  if (h->options.semihosting && hart_semihosting(h, at)) return !h->again;
  hart_raise(h, CAUSE_BREAKPOINT, at);
  return false;
}

static inline bool do_fence_i(Hart *h)
{
  // Stores and DMA have dropped what they changed already; only this block itself must not run on. In a window nobody saw stores.
  if (h->window) blocks_drop_writable(h);
  h->leave = true;
  return true;
}

static inline bool do_cbo_zero(Hart *h, uint64_t gva)
{
  return hart_zero_block(h, h->data, gva);
}

static inline bool do_cbo(Hart *h, uint64_t gva, uint32_t operation)
{
  return hart_cbo(h, h->data, gva, operation);
}
