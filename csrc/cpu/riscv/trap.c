// trap: traps, returns from them, interrupts, and the translation contexts they switch.
// SPDX-License-Identifier: MIT
//
// RISC-V Privileged Architecture 20240411, chapters 3.1.6 to 3.1.9, 3.3, 10.2 and 12 (Svinval).
#include "base/fp.h"
#include "cpu/riscv/hart.h"
#include "cpu/riscv/hook.h"
#include "cpu/riscv/tier1.h"
#include "cpu/riscv/trace.h"
#include <stdio.h>
#include <string.h>

#define INTERRUPT (1ull << 63)

void hart_raise(Hart *hart, uint64_t cause, uint64_t value)
{
  hart->trap_cause = cause;
  hart->trap_value = value;
}

static bool illegal(Hart *hart)
{
  hart_raise(hart, CAUSE_ILLEGAL, 0);
  return false;
}

void hart_take_trap(Hart *hart, uint64_t cause, uint64_t value)
{
  unsigned code = cause & 31;
  bool interrupt = cause & INTERRUPT;
  uint64_t status = hart->mstatus, vector, from = hart->pc;
  uint8_t priv = hart->priv;
  if (hart->window) {
    hart->exceptions[code]++;
    hart->trapped = true;
    return;
  }
  if (unlikely(hart->turns->watch & WATCH_TRAPS)) hook_trap(hart, cause, value);
  if (interrupt) {
    hart->interrupts[code]++;
  } else {
    uint64_t retired = hart->retired + hart->slice - (uint64_t)(int64_t)(int32_t)hart->budget;
    hart->exceptions[code]++;
    hart->barren = retired == hart->trapped_at;
    hart->trapped_at = retired;
  }
  hart->waiting = false;
  if (hart->priv != PRIV_M && (interrupt ? hart->mideleg : hart->medeleg) >> code & 1) {
    hart->scause = cause;
    hart->stval = value;
    hart->sepc = hart->pc & hart->epc_mask;
    status &= ~(MSTATUS_SPP | MSTATUS_SPIE | MSTATUS_SIE);
    if (hart->priv == PRIV_S) status |= MSTATUS_SPP;
    if (hart->mstatus & MSTATUS_SIE) status |= MSTATUS_SPIE;
    hart->priv = PRIV_S;
    vector = hart->stvec;
  } else {
    hart->mcause = cause;
    hart->mtval = value;
    hart->mepc = hart->pc & hart->epc_mask;
    status &= ~(MSTATUS_MPP | MSTATUS_MPIE | MSTATUS_MIE);
    status |= (uint64_t)hart->priv << 11;
    if (hart->mstatus & MSTATUS_MIE) status |= MSTATUS_MPIE;
    hart->priv = PRIV_M;
    vector = hart->mtvec;
  }
  hart->mstatus = status;
  hart->pc = (vector & ~3ull) + (interrupt && vector & 1 ? 4 * code : 0);
  if (trace_wants(hart, UM_LOG_INT)) trace_trap(hart, cause, value, from, priv);
  if (unlikely(hart->ring)) ring_trap(hart, cause, value, from);
  hart_update_context(hart);
}

int hart_pending(Hart *hart)
{
  static const uint8_t priority[] = { IRQ_MEI, IRQ_MSI, IRQ_MTI, IRQ_SEI, IRQ_SSI, IRQ_STI };
  uint64_t pending = hart_mip(hart) & hart->mie;
  if (likely(!pending)) return -1;
  uint64_t machine = pending & ~hart->mideleg, supervisor = pending & hart->mideleg;
  if (hart->priv == PRIV_M && !(hart->mstatus & MSTATUS_MIE)) machine = 0;
  if (hart->priv == PRIV_M || (hart->priv == PRIV_S && !(hart->mstatus & MSTATUS_SIE))) supervisor = 0;
  pending = machine ? machine : supervisor;
  if (!pending) return -1;
  for (unsigned i = 0; i < sizeof priority; i++)
    if (pending >> priority[i] & 1) return priority[i];
  return -1;
}

// What both returns end with: no privilege but M may keep MPRV.
static bool return_to(Hart *hart, int priv, uint64_t status, uint64_t pc)
{
  if (priv != PRIV_M) status &= ~MSTATUS_MPRV;
  hart->mstatus = status;
  hart->priv = (uint8_t)priv;
  hart->pc = pc;
  hart->leave = true;
  hart_update_context(hart);
  return true;
}

bool hart_mret(Hart *hart)
{
  if (hart->priv != PRIV_M) return illegal(hart);
  uint64_t status = hart->mstatus & ~(MSTATUS_MIE | MSTATUS_MPP);
  if (hart->mstatus & MSTATUS_MPIE) status |= MSTATUS_MIE;
  if (!hart_has(hart, EXT_U)) status |= MSTATUS_MPP;
  return return_to(hart, (hart->mstatus & MSTATUS_MPP) >> 11, status | MSTATUS_MPIE, hart->mepc);
}

bool hart_sret(Hart *hart)
{
  if (!hart_has(hart, EXT_S) || hart->priv < PRIV_S) return illegal(hart);
  if (hart->priv == PRIV_S && hart->mstatus & MSTATUS_TSR) return illegal(hart);
  uint64_t status = hart->mstatus & ~(MSTATUS_SIE | MSTATUS_SPP);
  if (hart->mstatus & MSTATUS_SPIE) status |= MSTATUS_SIE;
  return return_to(hart, hart->mstatus & MSTATUS_SPP ? PRIV_S : PRIV_U, status | MSTATUS_SPIE, hart->sepc);
}

bool hart_wfi(Hart *hart)
{
  // The time limit of TW is zero. User mode below a supervisor may never wait: the manual allows that, QEMU does it.
  if (hart->priv != PRIV_M && hart->mstatus & MSTATUS_TW) return illegal(hart);
  if (hart->priv == PRIV_U && hart_has(hart, EXT_S)) return illegal(hart);
  hart->waiting = !(hart_mip(hart) & hart->mie);
  hart->leave = true;
  return true;
}

// -- Address spaces -----------------------------------------------------------------------------------

static void new_epoch(Hart *hart, AddressSpace *space, int context)
{
  space->epoch[context] = ++hart->epochs;
  memset(space->fetched[context], 0, sizeof space->fetched[context]);
}

static void flush_space(Hart *hart, AddressSpace *space)
{
  for (int i = CONTEXT_S; i < CONTEXTS; i++) {
    tlb_flush(&space->tlb[i]);
    new_epoch(hart, space, i);
  }
}

static void flush_space_page(Hart *hart, AddressSpace *space, uint64_t gva)
{
  unsigned word;
  uint64_t bit = fetched_bit(gva, &word);
  for (int i = CONTEXT_S; i < CONTEXTS; i++) {
    tlb_flush_page(&space->tlb[i], gva);
    if (space->fetched[i][word] & bit || tlb_has_large(&space->tlb[i], gva)) new_epoch(hart, space, i);
  }
}

void hart_flush_all(Hart *hart)
{
  tlb_flush(&hart->machine_tlb);
  hart->machine_epoch = ++hart->epochs;
  for (int i = 0; i < ADDRESS_SPACES; i++)
    if (hart->spaces[i].valid) flush_space(hart, &hart->spaces[i]);
  if (hart->space) hart_update_context(hart);
  tier1_unlink(hart);
}

// Translations are kept by the whole of satp, so a switch finds its own again, ASID or not. That is allowed: without
// an sfence.vma the guest may see old translations at any time, and every sfence.vma reaches the kept spaces too.
void hart_set_satp(Hart *hart, uint64_t satp)
{
  unsigned mode = (unsigned)(satp >> 60);
  uint64_t key = mode ? satp : 0;
  AddressSpace *space = NULL, *oldest = &hart->spaces[0];
  for (AddressSpace *s = hart->spaces; s < hart->spaces + ADDRESS_SPACES; s++) {
    if (s->valid && s->satp == key) space = s;
    if (!s->valid || (oldest->valid && s->used_at < oldest->used_at)) oldest = s;
  }
  if (!space) {
    space = oldest;
    flush_space(hart, space);
    space->satp = key;
    space->valid = true;
  }
  space->used_at = ++hart->space_clock;
  hart->space = space;
  if (trace_wants(hart, UM_LOG_MMU)) trace_note(hart, UM_LOG_MMU, "satp 0x%llx", (unsigned long long)satp);
  hart->satp = satp;
  hart->paging = mode ? (uint8_t)(mode - 5) : 0;       // modes 8, 9, 10: 3, 4, 5 levels
  hart->mmu.root = (satp & ((1ull << 44) - 1)) << 12;
  hart->leave = true;
  hart_update_context(hart);
}

static void note_fence(Hart *hart, bool has_va, uint64_t va, bool has_asid, uint64_t asid)
{
  char page[40] = "all", space[40] = "";
  if (has_va) snprintf(page, sizeof page, "0x%016llx", (unsigned long long)va);
  if (has_asid) snprintf(space, sizeof space, " asid %llu", (unsigned long long)(asid & 0xffff));
  trace_note(hart, UM_LOG_MMU, "fence %s%s", page, space);
}

bool hart_sfence(Hart *hart, bool has_va, uint64_t va, bool has_asid, uint64_t asid)
{
  if (!hart_has(hart, EXT_S) || hart->priv < PRIV_S) return illegal(hart);
  if (hart->priv == PRIV_S && hart->mstatus & MSTATUS_TVM) return illegal(hart);
  if (trace_wants(hart, UM_LOG_MMU)) note_fence(hart, has_va, va, has_asid, asid);
  for (AddressSpace *s = hart->spaces; s < hart->spaces + ADDRESS_SPACES; s++) {
    // A bare space has no page table to fence. An ASID spares the others', and global pages, as the manual allows.
    if (!s->valid || !s->satp || (has_asid && ((s->satp >> 44) ^ asid) & 0xffff)) continue;
    if (has_va) flush_space_page(hart, s, va);
    else flush_space(hart, s);
  }
  hart_update_context(hart);
  hart->leave = true;
  return true;
}

bool hart_sfence_order(Hart *hart)
{
  return hart->priv >= PRIV_S || illegal(hart);
}

// -- Contexts -----------------------------------------------------------------------------------------

void hart_update_context(Hart *hart)
{
  uint64_t status = hart->mstatus;
  Tlb *tlb = hart->space->tlb;
  unsigned data = status & MSTATUS_MPRV ? (status & MSTATUS_MPP) >> 11 : hart->priv;
  hart->data_priv = (uint8_t)data;
  if (data == PRIV_M) hart->data = &hart->machine_tlb;
  else if (data == PRIV_U) hart->data = &tlb[CONTEXT_U];
  else hart->data = &tlb[status & MSTATUS_SUM ? CONTEXT_S_SUM : CONTEXT_S];
  // SUM plays no part in fetches, so toggling it leaves the fetch TLB alone.
  unsigned context = hart->priv == PRIV_S ? CONTEXT_S : CONTEXT_U;
  bool machine = hart->priv == PRIV_M;
  hart->fetch = machine ? &hart->machine_tlb : &tlb[context];
  hart->fetch_epoch = machine ? hart->machine_epoch : hart->space->epoch[context];
  hart->fetched = machine ? NULL : hart->space->fetched[context];
  if (hart->window) hart->data = (Tlb *)(void *)hart->window->base;
}

void hart_update_fp(Hart *hart)
{
  uint8_t before = hart->fp_mode;
  hart->fp_mode = ((hart->mstatus & MSTATUS_FS) == MSTATUS_FS ? 0 : FP_CLEAN) | (hart->frm > FP_RUP ? FP_SPECIAL : 0);
  if (hart->fp_mode != before) hart->leave = true;         // translated code goes by it
  if (hart->guest_fp) fp_mxcsr_write(fp_mxcsr(hart->frm) | (fp_mxcsr_read() & FP_MXCSR_FLAGS));
}
