// mem_test: what Lua cannot reach of mem, tlb and mmu: windows over RAM, DMA, code pages, host flushes.
// Silent and 0 when all holds; otherwise it names what does not.
// SPDX-License-Identifier: MIT
#include "mem/mem.h"
#include "mmu/mmu.h"
#include "tlb/tlb.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define expect(cond) \
  do { if (!(cond)) { printf("%s:%d: %s\n", __FILE__, __LINE__, #cond); failures++; } } while (0)

static const uint64_t RAM = 0x80000000, MIB = 1 << 20;

typedef struct { uint64_t offset, value; unsigned size, reads, writes; } Probe;

static uint64_t probe_read(void *device, uint64_t offset, unsigned size)
{
  Probe *probe = device;
  probe->offset = offset;
  probe->size = size;
  probe->reads++;
  return 0xf1f2f3f4f5f6f7f8;
}

static void probe_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
  *(Probe *)device = (Probe){ .offset = offset, .value = value, .size = size, .writes = ((Probe *)device)->writes + 1 };
}

static const MmioOps any_width = { probe_read, probe_write, 1, 8 };
static const MmioOps words_only = { probe_read, probe_write, 4, 4 };

typedef struct { uint64_t gpa, size; int calls; uint8_t before; Mem *mem; } Watch;

static void watch(void *watcher, uint64_t gpa, uint64_t size)
{
  Watch *w = watcher;
  w->gpa = gpa;
  w->size = size;
  w->calls++;
  w->before = *mem_ram(w->mem, gpa, 1);
}

static Mem *new_mem(void)
{
  struct um_fault why;
  Mem *mem = um_mem_new();
  if (!mem || um_mem_add_ram(mem, RAM, MIB, 0, "ram", &why) < 0 || um_mem_add_ram(mem, 0x1000, 8192, 1, "rom", &why) < 0) abort();
  return mem;
}

static void test_windows(void)
{
  struct um_fault why;
  struct um_mem_row row;
  Probe uart = { 0 }, host = { 0 };
  uint64_t value = 0;
  Mem *mem = new_mem();
  expect(mem_add_mmio(mem, 0x10000000, 0x100, &words_only, &uart, "uart", &why) == 0);
  expect(mem_add_mmio(mem, 0x100000ff, 1, &any_width, &host, "late", &why) == UM_EOVERLAP);
  expect(!strcmp(why.text, "late (0x100000ff to 0x100000ff) overlaps uart (0x10000000 to 0x100000ff)"));
  expect(mem_add_mmio(mem, 0x20000000, 0, &any_width, &host, "none", &why) == UM_EINVAL);
  expect(mem_load(mem, 0x10000010, 4, &value) && value == 0xf5f6f7f8 && uart.offset == 0x10 && uart.size == 4);
  expect(!mem_load(mem, 0x10000010, 1, &value) && !mem_load(mem, 0x10000010, 8, &value));
  expect(!mem_load(mem, 0x10000012, 4, &value) && !mem_load(mem, 0x100000fe, 4, &value));
  expect(!mem_store(mem, 0x10000010, 2, 0) && uart.writes == 0);
  expect(mem_store(mem, 0x100000fc, 4, 0xaaaabbbbcccc) && uart.value == 0xbbbbcccc && uart.offset == 0xfc);
  expect(!mem_load(mem, 0x10000100, 4, &value) && !mem_store(mem, 0x10000100, 4, 0));
  expect(um_mem_row(mem, 1, &row) == 0 && row.kind == UM_MEM_MMIO && row.reads == 1 && row.writes == 1);
  expect(um_mem_row(mem, 3, &row) == UM_EINVAL && um_mem_row(mem, -1, &row) == UM_EINVAL);

  // A window over RAM: its page is slow, the bytes beside it stay RAM, the host reaches the bytes below.
  expect(mem_add_mmio(mem, RAM + 0x1008, 8, &any_width, &host, "tohost", &why) == 0);
  expect(mem_page_flags(mem, RAM + 0x1fff) == PAGE_SLOW && mem_page_flags(mem, RAM + 0x2000) == 0 && mem_page_flags(mem, RAM) == 0);
  expect(mem_store(mem, RAM + 0x1000, 8, 1) && host.writes == 0);
  expect(mem_store(mem, RAM + 0x1008, 8, 2) && host.writes == 1 && host.value == 2);
  expect(mem_load(mem, RAM + 0x100c, 4, &value) && host.offset == 4);
  expect(!mem_store(mem, RAM + 0x1004, 8, 3) && !mem_load(mem, RAM + 0x100e, 4, &value));
  expect(mem_load(mem, RAM + 0xffc, 8, &value) && value == 0x100000000);
  expect(mem_ram(mem, RAM + 0x1000, 8) && !mem_ram(mem, RAM + 0x1000, 9) && !mem_ram(mem, RAM, 0x2000));
  expect(mem_ram(mem, RAM + 0x1010, 0x1000) && !mem_ram(mem, RAM + MIB - 1, 2) && !mem_ram(mem, 0x10000000, 1));
  expect(!mem_dma_write(mem, RAM + 0x1000, "0123456789", 10) && mem_dma_write(mem, RAM + 0x1000, "01234567", 8));
  expect(um_mem_write(mem, RAM + 0x1000, "0123456789", 10, &why) == 0 && host.writes == 1);
  expect(um_mem_row(mem, 2, &row) == 0 && row.at == RAM && um_mem_row(mem, 3, &row) == 0 && row.at == RAM + 0x1008);
  mem_remove_mmio(mem, &host);
  expect(mem_page_flags(mem, RAM + 0x1008) == 0 && mem_load(mem, RAM + 0x1008, 2, &value) && value == 0x3938);
  expect(mem_load(mem, 0x10000010, 4, &value) && um_mem_rows(mem) == 3);

  // RAM that comes after its window; two windows in one page.
  expect(mem_add_mmio(mem, 0x40000010, 4, &any_width, &host, "a", &why) == 0);
  expect(mem_add_mmio(mem, 0x40000020, 4, &any_width, &uart, "b", &why) == 0);
  expect(um_mem_add_ram(mem, 0x40000000, 8192, 0, "low", &why) == 0);
  expect(mem_page_flags(mem, 0x40000000) == PAGE_SLOW && mem_page_flags(mem, 0x40001000) == 0);
  mem_remove_mmio(mem, &host);
  expect(mem_page_flags(mem, 0x40000000) == PAGE_SLOW);
  mem_remove_mmio(mem, &uart);
  expect(mem_page_flags(mem, 0x40000000) == 0 && mem_page_flags(mem, 0x50000000) == PAGE_SLOW);
  um_mem_free(mem);
}

static void test_dma(void)
{
  struct um_fault why;
  char text[16] = "";
  Mem *mem = new_mem();
  Watch w = { .mem = mem };
  mem->code_watch = watch;
  mem->code_watcher = &w;
  expect(mem_dma_write(mem, RAM + 4090, "abcdefghijk", 12) && w.calls == 0);
  expect(mem_dma_read(mem, RAM + 4090, text, 12) && !strcmp(text, "abcdefghijk"));
  expect(!mem_dma_write(mem, 0x1000, "x", 1) && mem_dma_read(mem, 0x1000, text, 1));
  expect(!mem_dma_write(mem, RAM + MIB - 2, "xyz", 3) && !mem_dma_read(mem, RAM + MIB, text, 1));
  expect(mem_page_flags(mem, 0x2000) == PAGE_ROM);

  mem_page_set(mem, RAM + 4096, PAGE_CODE);
  expect(mem_store(mem, RAM + 4092, 8, 0x1122334455667788));
  expect(w.calls == 1 && w.gpa == RAM + 4096 && w.size == 4 && w.before == 'g');
  static uint8_t ones[5000];
  expect(mem_dma_write(mem, RAM + 4000, memset(ones, 1, sizeof ones), sizeof ones));
  expect(w.calls == 2 && w.gpa == RAM + 4096 && w.size == 4096 && w.before == 0x44);
  expect(um_mem_write(mem, RAM + 8191, "xy", 2, &why) == 0 && w.calls == 3 && w.gpa == RAM + 8191 && w.size == 1);
  mem_dma_touch(mem, RAM + 5000, 8);
  expect(w.calls == 4 && w.gpa == RAM + 5000 && w.size == 8);
  mem_page_clear(mem, RAM + 4096, PAGE_CODE);
  expect(mem_store(mem, RAM + 4096, 4, 0) && w.calls == 4);
  um_mem_free(mem);
}

static void test_mmu(void)
{
  struct um_fault why;
  Probe probe = { 0 };
  Mem *mem = new_mem();
  Watch w = { .mem = mem };
  MmuResult result;
  Mmu mmu = { .mem = mem, .root = RAM, .levels = 3, .priv = PRIV_S, .update_ad = true };
  // gigabyte leaves: 0 at RAM, without A and D; 1 a table in ROM
  expect(mem_store(mem, RAM, 8, (RAM >> 12) << 10 | 7) && mem_store(mem, RAM + 8, 8, (uint64_t)1 << 10 | 1));
  mem->code_watch = watch;
  mem->code_watcher = &w;
  mem_page_set(mem, RAM, PAGE_CODE);
  expect(mmu_translate(&mmu, 0x1234, 4, ACCESS_READ, &result) && result.gpa == RAM + 0x1234 && !result.dirty);
  expect(w.calls == 1 && w.gpa == RAM && w.size == 8 && w.before == 7);
  expect(mmu_translate(&mmu, 0x1234, 4, ACCESS_WRITE, &result) && result.dirty && result.page == 1 << 30 && w.calls == 2);
  // tables in ROM can be read; their A bits cannot be set
  uint64_t leaf = (RAM >> 12) << 10 | 3;
  expect(um_mem_write(mem, 0x1000, &leaf, 8, &why) == 0);
  expect(!mmu_translate(&mmu, 1 << 30, 1, ACCESS_READ, &result) && result.fault == UM_MMU_ACCESS_FAULT);
  leaf |= 0x40;
  expect(um_mem_write(mem, 0x1000, &leaf, 8, &why) == 0);
  expect(mmu_translate(&mmu, 1 << 30, 1, ACCESS_READ, &result) && result.gpa == RAM);
  // an entry under a window is no memory; its neighbour is
  expect(mem_add_mmio(mem, RAM + 8, 8, &any_width, &probe, "over", &why) == 0);
  expect(!mmu_translate(&mmu, 1 << 30, 1, ACCESS_READ, &result) && result.fault == UM_MMU_ACCESS_FAULT && probe.reads == 0);
  expect(mmu_translate(&mmu, 0, 1, ACCESS_READ, &result));
  um_mem_free(mem);
}

static void test_tlb(void)
{
  static char host[4 * 4096];
  Tlb tlb;
  if (!tlb_init(&tlb, 16)) abort();
  for (uint64_t i = 0; i < 4; i++) {
    uint64_t gva = 0x5000 + i * 4096;
    tlb_fill(&tlb, TLB_WRITE, gva, (uintptr_t)host + i * 4096 - gva);
    tlb_fill(&tlb, TLB_READ, gva, (uintptr_t)host + i * 4096 - gva);
  }
  tlb_flush_host(&tlb, TLB_WRITE, host + 4096, 4097);
  expect(tlb_hit(tlb_entry(&tlb, TLB_WRITE, 0x5000), 0x5000, 8) && tlb_hit(tlb_entry(&tlb, TLB_WRITE, 0x8000), 0x8000, 8));
  expect(!tlb_hit(tlb_entry(&tlb, TLB_WRITE, 0x6000), 0x6000, 1) && !tlb_hit(tlb_entry(&tlb, TLB_WRITE, 0x7000), 0x7000, 1));
  expect(tlb_hit(tlb_entry(&tlb, TLB_READ, 0x6000), 0x6000, 1));
  tlb_flush_kind(&tlb, TLB_READ);
  expect(!tlb_hit(tlb_entry(&tlb, TLB_READ, 0x6000), 0x6000, 1) && tlb_hit(tlb_entry(&tlb, TLB_WRITE, 0x8000), 0x8000, 1));
  for (uint64_t gva = 0; gva < 64 << 12; gva += 4096) expect(!tlb_hit(tlb_entry(&tlb, TLB_EXECUTE, gva), gva, 1));
  tlb_fini(&tlb);
}

int main(void)
{
  test_windows();
  test_dma();
  test_mmu();
  test_tlb();
  return failures > 0;
}
