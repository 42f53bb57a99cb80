// mem: the memory map: which region answers where.
// SPDX-License-Identifier: MIT
#include "mem/mem_int.h"
#include "base/fault.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20 };

// RAM is reserved, not committed: the host gives pages as the guest touches them.
static void *map_pages(uint64_t size)
{
  if (size > SIZE_MAX / 2) return NULL;
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

// As map_pages, aligned so that the host may back it with huge pages.
static uint8_t *map_ram(uint64_t size)
{
  if (size < 2 * HUGE_PAGE_BYTES) return map_pages(size);
  if (size > SIZE_MAX / 2) return NULL;
  uint8_t *all = map_pages(size + HUGE_PAGE_BYTES);
  if (!all) return NULL;
  size_t before = -(uintptr_t)all & (HUGE_PAGE_BYTES - 1);
  if (before) munmap(all, before);
  if (before < HUGE_PAGE_BYTES) munmap(all + before + size, HUGE_PAGE_BYTES - before);
  madvise(all + before, size, MADV_HUGEPAGE);
  madvise(all + before, size, MADV_DONTDUMP);
  return all + before;
}

// The largest power of two that can be mapped now: for messages.
static uint64_t most_ram(void)
{
  for (uint64_t size = (uint64_t)1 << 56; size > PAGE_BYTES; size >>= 1) {
    void *at = map_pages(size);
    if (!at) continue;
    munmap(at, size);
    return size;
  }
  return 0;
}

typedef struct { char text[24]; } SizeText;

static SizeText size_text(uint64_t bytes)
{
  static const char units[] = "KMGTPE";
  SizeText out;
  int unit = -1;
  while (unit < 5 && bytes && bytes % 1024 == 0) {
    bytes /= 1024;
    unit++;
  }
  snprintf(out.text, sizeof out.text, "%" PRIu64 "%.*s", bytes, unit >= 0, unit >= 0 ? units + unit : "");
  return out;
}

UM_EXPORT um_mem *um_mem_new(void)
{
  return calloc(1, sizeof(Mem));
}

static void region_fini(Region *region)
{
  if (!region->host) return;
  munmap(region->host, region->size);
  munmap(region->pages, region->size >> PAGE_BITS);
}

UM_EXPORT void um_mem_free(um_mem *mem)
{
  if (!mem) return;
  for (int i = 0; i < mem->count; i++) region_fini(&mem->regions[i]);
  free(mem->regions);
  free(mem);
}

// The region of regions[first..last) that holds gpa, by bisection.
static Region *bisect(Region *first, Region *last, uint64_t gpa)
{
  while (first < last) {
    Region *middle = first + (last - first) / 2;
    if (region_holds(middle, gpa)) return middle;
    if (gpa < middle->at) last = middle;
    else first = middle + 1;
  }
  return NULL;
}

Region *region_under(Mem *mem, uint64_t gpa)
{
  if (likely(mem->ram && region_holds(mem->ram, gpa))) return mem->ram;
  return bisect(mem->regions + mem->windows, mem->regions + mem->count, gpa);
}

Region *mem_find(Mem *mem, uint64_t gpa)
{
  Region *ram = mem->ram;
  if (likely(ram && region_holds(ram, gpa) && !(*region_page(ram, gpa) & PAGE_SLOW))) return ram;
  Region *window = bisect(mem->regions, mem->regions + mem->windows, gpa);
  return window ? window : region_under(mem, gpa);
}

static bool overlaps(const Region *region, uint64_t at, uint64_t size)
{
  return at - region->at < region->size || region->at - at < size;
}

bool window_over(Mem *mem, uint64_t gpa, uint64_t size)
{
  for (int i = 0; i < mem->windows; i++)
    if (overlaps(&mem->regions[i], gpa, size)) return true;
  return false;
}

// Sets PAGE_SLOW on every RAM page that [at, at + size) touches, or clears it where no window is left.
static void mark_slow(Mem *mem, uint64_t at, uint64_t size)
{
  for (int i = mem->windows; i < mem->count; i++) {
    Region *region = &mem->regions[i];
    if (!overlaps(region, at, size)) continue;
    uint64_t first = at > region->at ? at : region->at;
    uint64_t last = at + (size - 1) < region->at + (region->size - 1) ? at + (size - 1) : region->at + (region->size - 1);
    for (uint64_t page = first & PAGE_MASK; page - region->at <= last - region->at; page += PAGE_BYTES) {
      if (window_over(mem, page, PAGE_BYTES)) *region_page(region, page) |= PAGE_SLOW;
      else *region_page(region, page) &= (uint8_t)~PAGE_SLOW;
    }
  }
}

static void find_ram(Mem *mem)
{
  mem->ram = NULL;
  for (int i = mem->windows; i < mem->count; i++)
    if (!mem->ram || mem->regions[i].size > mem->ram->size) mem->ram = &mem->regions[i];
}

// Refuses a region that is empty, wraps around, or overlaps one of its own kind.
static int check_place(const Mem *mem, const Region *wanted, struct um_fault *why)
{
  if (wanted->size == 0) return fault_set(why, UM_EINVAL, "%s: size must not be 0", wanted->name);
  if (wanted->at + (wanted->size - 1) < wanted->at)
    return fault_set(why, UM_EINVAL, "%s: %s at 0x%" PRIx64 " reaches beyond the last address", wanted->name,
                     size_text(wanted->size).text, wanted->at);
  for (int i = 0; i < mem->count; i++) {
    const Region *other = &mem->regions[i];
    if (!other->host != !wanted->host || !overlaps(other, wanted->at, wanted->size)) continue;
    return fault_set(why, UM_EOVERLAP, "%s (0x%" PRIx64 " to 0x%" PRIx64 ") overlaps %s (0x%" PRIx64 " to 0x%" PRIx64 ")",
                     wanted->name, wanted->at, wanted->at + (wanted->size - 1), other->name, other->at,
                     other->at + (other->size - 1));
  }
  return UM_OK;
}

static int insert(Mem *mem, const Region *region, struct um_fault *why)
{
  Region *grown = realloc(mem->regions, (size_t)(mem->count + 1) * sizeof *grown);
  if (!grown) {
    find_ram(mem);
    return fault_set(why, UM_ENOMEM, "%s: the host has no memory for it", region->name);
  }
  mem->regions = grown;
  int i = region->host ? mem->windows : 0;
  int end = region->host ? mem->count : mem->windows;
  while (i < end && grown[i].at < region->at) i++;
  memmove(&grown[i + 1], &grown[i], (size_t)(mem->count - i) * sizeof *grown);
  grown[i] = *region;
  mem->count++;
  if (!region->host) mem->windows++;
  find_ram(mem);
  return UM_OK;
}

UM_EXPORT int um_mem_add_ram(um_mem *mem, uint64_t at, uint64_t size, int rom, const char *name, struct um_fault *why)
{
  uint8_t placeholder;                            // check_place tells RAM from windows by `host`
  Region region = { .at = at, .size = size, .host = &placeholder, .rom = rom };
  snprintf(region.name, sizeof region.name, "%s", name);
  if ((at | size) & (PAGE_BYTES - 1))
    return fault_set(why, UM_EINVAL, "%s: address 0x%" PRIx64 " and size %" PRIu64 " must be multiples of 4096", region.name, at, size);
  int status = check_place(mem, &region, why);
  if (status < 0) return status;
  region.host = map_ram(size);
  region.pages = region.host ? map_pages(size >> PAGE_BITS) : NULL;
  if (!region.pages) {
    if (region.host) munmap(region.host, size);
    return fault_set(why, UM_ENOMEM, "%s: %s is more than this host can map (limit %s)", region.name, size_text(size).text,
                     size_text(most_ram()).text);
  }
  if (rom) memset(region.pages, PAGE_ROM, size >> PAGE_BITS);
  status = insert(mem, &region, why);
  if (status < 0) {
    region_fini(&region);
    return status;
  }
  for (int i = 0; i < mem->windows; i++) mark_slow(mem, mem->regions[i].at, mem->regions[i].size);
  return UM_OK;
}

static int add_window(Mem *mem, const Region *region, struct um_fault *why)
{
  int status = check_place(mem, region, why);
  if (status < 0) return status;
  status = insert(mem, region, why);
  if (status < 0) return status;
  mark_slow(mem, region->at, region->size);
  return UM_OK;
}

int mem_add_mmio(Mem *mem, uint64_t at, uint64_t size, const MmioOps *ops, void *device, const char *name, struct um_fault *why)
{
  check(ops && ops->read && ops->write);
  check_values(ops->min_size >= 1 && ops->min_size <= ops->max_size && ops->max_size <= 8, ops->min_size, ops->max_size);
  Region region = { .at = at, .size = size, .ops = ops, .device = device };
  snprintf(region.name, sizeof region.name, "%s", name);
  return add_window(mem, &region, why);
}

UM_EXPORT int um_mem_add_window(um_mem *mem, uint64_t at, uint64_t size, uint32_t number, const char *name, struct um_fault *why)
{
  Region region = { .at = at, .size = size, .script = true, .number = number };
  snprintf(region.name, sizeof region.name, "%s", name);
  return add_window(mem, &region, why);
}

void mem_remove_mmio(Mem *mem, void *device)
{
  for (int i = 0; i < mem->windows;) {
    Region gone = mem->regions[i];
    if (gone.device != device) {
      i++;
      continue;
    }
    memmove(&mem->regions[i], &mem->regions[i + 1], (size_t)(mem->count - i - 1) * sizeof gone);
    mem->count--;
    mem->windows--;
    mark_slow(mem, gone.at, gone.size);
  }
  find_ram(mem);
}

UM_EXPORT void um_mem_clear(um_mem *mem)
{
  for (int i = mem->windows; i < mem->count; i++) {
    Region *region = &mem->regions[i];
    if (region->rom) continue;
    mem_dma_touch(mem, region->at, region->size);
    if (madvise(region->host, region->size, MADV_DONTNEED) < 0) memset(region->host, 0, region->size);
  }
}

UM_EXPORT void um_mem_log(um_mem *mem, um_log *log)
{
  mem->log = log;
}

UM_EXPORT int um_mem_rows(const um_mem *mem)
{
  return mem->count;
}

UM_EXPORT int um_mem_row(const um_mem *mem, int index, struct um_mem_row *row)
{
  if (index < 0 || index >= mem->count) return UM_EINVAL;
  // Merges the two sorted parts; a window comes before RAM that begins at the same address.
  const Region *window = mem->regions, *ram = window + mem->windows;
  const Region *last_window = ram, *last_ram = window + mem->count, *region = NULL;
  for (int i = 0; i <= index; i++) {
    bool take_window = ram == last_ram || (window < last_window && window->at <= ram->at);
    region = take_window ? window++ : ram++;
  }
  *row = (struct um_mem_row){
    .at = region->at, .size = region->size, .reads = region->reads, .writes = region->writes,
    .kind = !region->host ? UM_MEM_MMIO : region->rom ? UM_MEM_ROM : UM_MEM_RAM,
  };
  memcpy(row->name, region->name, sizeof row->name);
  return UM_OK;
}
