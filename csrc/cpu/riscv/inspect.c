// inspect: a hart's registers, memory, stops and counters for the host.
// SPDX-License-Identifier: MIT
#include "cpu/riscv/blocks.h"
#include "cpu/riscv/hart.h"
#include "cpu/riscv/hook.h"
#include <stddef.h>
#include <string.h>

UM_EXPORT uint64_t um_hart_reg(const um_hart *hart, uint32_t index)
{
  return index < 32 ? hart->x[index] : 0;
}

UM_EXPORT void um_hart_set_reg(um_hart *hart, uint32_t index, uint64_t value)
{
  if (index > 0 && index < 32) hart->x[index] = value;
}

UM_EXPORT uint64_t um_hart_freg(const um_hart *hart, uint32_t index)
{
  return index < 32 ? hart->f[index] : 0;
}

UM_EXPORT void um_hart_set_freg(um_hart *hart, uint32_t index, uint64_t value)
{
  if (index < 32) hart->f[index] = value;
}

UM_EXPORT uint64_t um_hart_pc(const um_hart *hart)
{
  return hart->pc;
}

UM_EXPORT void um_hart_set_pc(um_hart *hart, uint64_t pc)
{
  hart->pc = pc & ~(uint64_t)1;
  hart->waiting = false;
}

UM_EXPORT uint32_t um_hart_priv(const um_hart *hart)
{
  return hart->priv;
}

UM_EXPORT int um_hart_set_priv(um_hart *hart, uint32_t priv, struct um_fault *why)
{
  bool has = priv == PRIV_M || (priv == PRIV_S && hart_has(hart, EXT_S)) || (priv == PRIV_U && hart_has(hart, EXT_U));
  if (!has) return fault_set(why, UM_EINVAL, "this hart has no privilege mode %u", priv);
  hart->priv = (uint8_t)priv;
  hart_update_context(hart);
  return UM_OK;
}

UM_EXPORT const char *um_riscv_csr_name(uint32_t number)
{
  return csr_name(number);
}

UM_EXPORT const char *um_riscv_extensions(void)
{
  return EXTENSION_NAMES;
}

UM_EXPORT int um_hart_csr(um_hart *hart, uint32_t number, uint64_t *value, struct um_fault *why)
{
  if (number < 4096 && csr_read(hart, number, value)) return UM_OK;
  return fault_set(why, UM_EINVAL, "this hart has no CSR %#x", number);
}

UM_EXPORT int um_hart_set_csr(um_hart *hart, uint32_t number, uint64_t value, struct um_fault *why)
{
  if (number < 4096 && csr_write(hart, number, value)) return UM_OK;
  return fault_set(why, UM_EINVAL, "this hart has no writable CSR %#x", number);
}

#define STATE(field) { #field, offsetof(Hart, field), sizeof(((Hart *)0)->field), 1 }
#define STATE_ARRAY(field, n) { #field, offsetof(Hart, field), sizeof(((Hart *)0)->field[0]), n }

// What a hart is, once: what a hash and a comparison walk. Caches and counters of the host are not in it.
static const struct { const char *name; uint32_t offset, size, count; } states[] = {
  STATE_ARRAY(x, 32), STATE_ARRAY(f, 32), STATE(pc), STATE(priv), STATE(waiting), STATE(fflags), STATE(frm), STATE(mstatus), STATE(mie),
  STATE(medeleg), STATE(mideleg), STATE(mtvec), STATE(mepc), STATE(mcause), STATE(mtval), STATE(mscratch), STATE(mcounteren),
  STATE(mcountinhibit), STATE(menvcfg), STATE(stvec), STATE(sepc), STATE(scause), STATE(stval), STATE(sscratch), STATE(scounteren),
  STATE(senvcfg), STATE(satp), STATE(stimecmp), STATE(mip_soft), STATE(mip_lines), STATE(retired), STATE(cycle_offset),
  STATE(instret_offset), STATE_ARRAY(pmp.cfg, PMP_ENTRIES), STATE_ARRAY(pmp.addr, PMP_ENTRIES),
};

static int check_state(int index, struct um_fault *why)
{
  int count = (int)(sizeof states / sizeof states[0]);
  return index >= 0 && index < count ? UM_OK : fault_set(why, UM_EINVAL, "state %d: a hart has %d", index, count);
}

UM_EXPORT int um_hart_state(const um_hart *hart, int index, struct um_hart_state *row, struct um_fault *why)
{
  (void)hart;
  if (check_state(index, why) < 0) return UM_EINVAL;
  *row = (struct um_hart_state){ .size = states[index].size, .count = states[index].count };
  memcpy(row->name, states[index].name, strlen(states[index].name) + 1);
  return UM_OK;
}

UM_EXPORT int um_hart_state_read(const um_hart *hart, int index, void *to, uint64_t size, struct um_fault *why)
{
  if (check_state(index, why) < 0) return UM_EINVAL;
  uint64_t bytes = (uint64_t)states[index].size * states[index].count;
  if (size != bytes) return fault_set(why, UM_EINVAL, "%s has %llu bytes", states[index].name, (unsigned long long)bytes);
  memcpy(to, (const char *)hart + states[index].offset, bytes);
  return UM_OK;
}

// As the hart's loads would translate, but A and D bits are left as they are and no trap is noted.
static bool peek(Hart *hart, uint64_t gva, int access, uint64_t *gpa)
{
  uint64_t cause = hart->trap_cause, value = hart->trap_value;
  bool update = hart->mmu.update_ad;
  MmuResult result;
  hart->mmu.update_ad = false;
  bool ok = hart_translate(hart, gva, 1, access, access == ACCESS_EXECUTE ? hart->priv : hart->data_priv, &result);
  hart->mmu.update_ad = update;
  hart->trap_cause = cause;
  hart->trap_value = value;
  if (ok) *gpa = result.gpa;
  return ok;
}

UM_EXPORT int um_hart_translate(um_hart *hart, uint64_t gva, int access, uint64_t *gpa, struct um_fault *why)
{
  if (access < ACCESS_READ || access > ACCESS_EXECUTE) return fault_set(why, UM_EINVAL, "access: 0, 1 or 2 expected, not %d", access);
  if (peek(hart, gva, access, gpa)) return UM_OK;
  return fault_set(why, UM_EGUEST, "%#llx does not translate", (unsigned long long)gva);
}

bool hart_peek(Hart *hart, uint64_t gva, void *to, unsigned size)
{
  for (unsigned i = 0; i < size; i++) {
    uint64_t gpa;
    if (!peek(hart, gva + i, ACCESS_READ, &gpa)) return false;
    const uint8_t *host = mem_ram(hart->mem, gpa, 1);
    if (!host) return false;
    ((uint8_t *)to)[i] = *host;
  }
  return true;
}

static int copy(Hart *hart, uint64_t gva, void *host, uint64_t size, bool write, struct um_fault *why)
{
  for (uint64_t done = 0; done < size;) {
    uint64_t at = gva + done, part = PAGE_BYTES - (at & (PAGE_BYTES - 1)), gpa;
    if (part > size - done) part = size - done;
    if (!peek(hart, at, ACCESS_READ, &gpa)) return fault_set(why, UM_EGUEST, "%#llx does not translate", (unsigned long long)at);
    int status = write ? um_mem_write(hart->mem, gpa, (const char *)host + done, part, why)
                       : um_mem_read(hart->mem, gpa, (char *)host + done, part, why);
    if (status < 0) return status;
    done += part;
  }
  return UM_OK;
}

UM_EXPORT int um_hart_read(um_hart *hart, uint64_t gva, void *to, uint64_t size, struct um_fault *why)
{
  return copy(hart, gva, to, size, false, why);
}

UM_EXPORT int um_hart_write(um_hart *hart, uint64_t gva, const void *from, uint64_t size, struct um_fault *why)
{
  return copy(hart, gva, (void *)(uintptr_t)from, size, true, why);
}

UM_EXPORT int um_hart_connect(um_hart *hart, um_irq *line, uint32_t mip_bit, struct um_fault *why)
{
  if (mip_bit != IRQ_MSI && mip_bit != IRQ_MTI && mip_bit != IRQ_SEI && mip_bit != IRQ_MEI)
    return fault_set(why, UM_EINVAL, "mip bit: 3, 7, 9 or 11 expected, not %u", mip_bit);
  irq_connect(line, hart_line, hart, mip_bit);
  return UM_OK;
}

UM_EXPORT void um_hart_disconnect(um_hart *hart, um_irq *line)
{
  if (line->sink == hart) irq_connect(line, NULL, NULL, 0);
}

UM_EXPORT int um_hart_stop_at(um_hart *hart, uint64_t pc, bool on, struct um_fault *why)
{
  return hook_stop_at(hart, pc, on, why);
}

static void add_tlb(struct um_hart_counts *counts, const Tlb *tlb)
{
  for (int kind = 0; kind < TLB_KINDS; kind++) counts->tlb_misses[kind] += tlb->misses[kind];
  counts->tlb_fills += tlb->fills;
  counts->tlb_flushes += tlb->flushes;
}

UM_EXPORT void um_hart_counts(um_hart *hart, struct um_hart_counts *counts)
{
  *counts = (struct um_hart_counts){ .instructions = hart->past + hart->retired, .accesses = hart->accesses, .walks = hart->mmu.walks,
                                     .walk_steps = hart->mmu.steps, .mmio = hart->device_accesses, .idle_ns = hart->idle_ns };
  add_tlb(counts, &hart->machine_tlb);
  for (int i = 0; i < ADDRESS_SPACES; i++)
    for (int c = CONTEXT_S; c < CONTEXTS; c++) add_tlb(counts, &hart->spaces[i].tlb[c]);
  blocks_counts(hart->blocks, counts);
  memcpy(counts->exceptions, hart->exceptions, sizeof counts->exceptions);
  memcpy(counts->interrupts, hart->interrupts, sizeof counts->interrupts);
}

UM_EXPORT void um_riscv_decode(uint32_t word, uint64_t extensions, struct um_riscv_decoded *decoded)
{
  Decoded d = { 0 };
  unsigned index = riscv_decode(word, extensions, &d);
  *decoded = (struct um_riscv_decoded){ .op = index ? riscv_encodings[index].op : OP_ILLEGAL, .length = d.length,
                                        .slot = { d.a, d.b, d.c, d.d }, .imm = d.imm };
}
