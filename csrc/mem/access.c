// mem: access to what the map holds: by a hart, by DMA, and in bulk by the host.
// SPDX-License-Identifier: MIT
#include "mem/mem_int.h"
#include "base/fault.h"
#include <inttypes.h>
#include <string.h>

// Bytes from gpa to the end of the range or of the region, whichever comes first.
static uint64_t span(const Region *region, uint64_t gpa, uint64_t size)
{
  uint64_t left = region->size - (gpa - region->at);
  return left < size ? left : size;
}

static uint8_t *host_at(const Region *region, uint64_t gpa)
{
  return region->host + (gpa - region->at);
}

// True if any page of [gpa, gpa + size), which lies in one region, carries `flags`.
static bool any_page(const Region *region, uint64_t gpa, uint64_t size, unsigned flags)
{
  const uint8_t *page = region_page(region, gpa), *last = region_page(region, gpa + (size - 1));
  for (; page <= last; page++)
    if (*page & flags) return true;
  return false;
}

// Tells the watcher which code is about to change; [gpa, gpa + size) lies in one region.
static void touch(Mem *mem, const Region *region, uint64_t gpa, uint64_t size)
{
  while (size) {
    uint64_t part = PAGE_BYTES - (gpa & (PAGE_BYTES - 1));
    if (part > size) part = size;
    if (unlikely(*region_page(region, gpa) & PAGE_CODE) && mem->code_watch) mem->code_watch(mem->code_watcher, gpa, part);
    gpa += part;
    size -= part;
  }
}

uint8_t *mem_ram(Mem *mem, uint64_t gpa, uint64_t size)
{
  Region *region = region_under(mem, gpa);
  if (!region || span(region, gpa, size) < size) return NULL;
  if (size && unlikely(any_page(region, gpa, size, PAGE_SLOW)) && window_over(mem, gpa, size)) return NULL;
  return host_at(region, gpa);
}

uint64_t mem_gpa(const Mem *mem, const uint8_t *host)
{
  const Region *region = &mem->regions[mem->windows];
  while ((uintptr_t)host - (uintptr_t)region->host >= region->size) region++;
  return region->at + (uintptr_t)host - (uintptr_t)region->host;
}

unsigned mem_page_flags(Mem *mem, uint64_t gpa)
{
  Region *region = region_under(mem, gpa);
  return region ? *region_page(region, gpa) : PAGE_SLOW;
}

void mem_page_set(Mem *mem, uint64_t gpa, unsigned flags)
{
  Region *region = region_under(mem, gpa);
  check_values(region, gpa, flags);
  *region_page(region, gpa) |= (uint8_t)flags;
}

void mem_page_clear(Mem *mem, uint64_t gpa, unsigned flags)
{
  Region *region = region_under(mem, gpa);
  check_values(region, gpa, flags);
  *region_page(region, gpa) &= (uint8_t)~flags;
}

// First byte of [gpa, gpa + size) that is no memory of the wanted sort, by way of `bad`. Ranges may cross
// from one region into the next; `plain`: windows over RAM count as holes; `writable`: so does ROM.
static bool covered(Mem *mem, uint64_t gpa, uint64_t size, bool plain, bool writable, uint64_t *bad)
{
  while (size) {
    Region *region = region_under(mem, gpa);
    *bad = gpa;
    if (!region || (writable && region->rom)) return false;
    uint64_t part = span(region, gpa, size);
    if (plain && any_page(region, gpa, part, PAGE_SLOW) && window_over(mem, gpa, part)) return false;
    gpa += part;
    size -= part;
    *bad = gpa;
    if (size && gpa == 0) return false;           // past the last address there is nothing
  }
  return true;
}

static void copy_out(Mem *mem, uint64_t gpa, void *to, uint64_t size)
{
  for (uint8_t *next = to; size;) {
    Region *region = region_under(mem, gpa);
    uint64_t part = span(region, gpa, size);
    memcpy(next, host_at(region, gpa), part);
    next += part;
    gpa += part;
    size -= part;
  }
}

static void copy_in(Mem *mem, uint64_t gpa, const void *from, uint64_t size)
{
  for (const uint8_t *next = from; size;) {
    Region *region = region_under(mem, gpa);
    uint64_t part = span(region, gpa, size);
    touch(mem, region, gpa, part);
    memcpy(host_at(region, gpa), next, part);
    next += part;
    gpa += part;
    size -= part;
  }
}

bool mem_dma_read(Mem *mem, uint64_t gpa, void *to, uint64_t size)
{
  uint64_t bad;
  if (!covered(mem, gpa, size, true, false, &bad)) return false;
  copy_out(mem, gpa, to, size);
  return true;
}

bool mem_dma_write(Mem *mem, uint64_t gpa, const void *from, uint64_t size)
{
  uint64_t bad;
  if (!covered(mem, gpa, size, true, true, &bad)) return false;
  copy_in(mem, gpa, from, size);
  return true;
}

void mem_dma_touch(Mem *mem, uint64_t gpa, uint64_t size)
{
  while (size) {
    Region *region = region_under(mem, gpa);
    if (!region) return;
    uint64_t part = span(region, gpa, size);
    touch(mem, region, gpa, part);
    gpa += part;
    size -= part;
  }
}

// One access to bytes of the host: one instruction each, so an aligned access is atomic.
static uint64_t get(const uint8_t *host, unsigned size)
{
  uint16_t half;
  uint32_t word;
  uint64_t both;
  switch (size) {
  case 1: return *host;
  case 2: memcpy(&half, host, sizeof half); return half;
  case 4: memcpy(&word, host, sizeof word); return word;
  default: memcpy(&both, host, sizeof both); return both;
  }
}

static void put(uint8_t *host, unsigned size, uint64_t value)
{
  uint16_t half = (uint16_t)value;
  uint32_t word = (uint32_t)value;
  switch (size) {
  case 1: *host = (uint8_t)value; break;
  case 2: memcpy(host, &half, sizeof half); break;
  case 4: memcpy(host, &word, sizeof word); break;
  default: memcpy(host, &value, sizeof value); break;
  }
}

// An access to RAM that touches a PAGE_SLOW page: no byte of it may lie under a window.
static bool crosses(Mem *mem, const Region *region, uint64_t gpa, unsigned size)
{
  return unlikely(any_page(region, gpa, size, PAGE_SLOW)) && window_over(mem, gpa, size);
}

static bool device_answers(const Region *window, uint64_t gpa, unsigned size)
{
  uint64_t offset = gpa - window->at;
  return size >= window->ops->min_size && size <= window->ops->max_size && (offset & (size - 1)) == 0;
}

bool mem_load(Mem *mem, uint64_t gpa, unsigned size, uint64_t *value)
{
  Region *region = mem_find(mem, gpa);
  if (unlikely(!region || span(region, gpa, size) < size)) return false;
  if (likely(region->host)) {
    if (crosses(mem, region, gpa, size)) return false;
    *value = get(host_at(region, gpa), size);
    return true;
  }
  if (region->script || !device_answers(region, gpa, size)) return false;
  region->reads++;
  *value = region->ops->read(region->device, gpa - region->at, size) & (UINT64_MAX >> (64 - 8 * size));
  return true;
}

bool mem_store(Mem *mem, uint64_t gpa, unsigned size, uint64_t value)
{
  Region *region = mem_find(mem, gpa);
  if (unlikely(!region || span(region, gpa, size) < size)) return false;
  if (likely(region->host)) {
    if (region->rom || crosses(mem, region, gpa, size)) return false;
    touch(mem, region, gpa, size);
    put(host_at(region, gpa), size, value);
    return true;
  }
  if (region->script || !device_answers(region, gpa, size)) return false;
  region->writes++;
  region->ops->write(region->device, gpa - region->at, value & (UINT64_MAX >> (64 - 8 * size)), size);
  return true;
}

static int refuse_range(uint64_t gpa, uint64_t size, uint64_t bad, struct um_fault *why)
{
  return fault_set(why, UM_EGUEST, "no memory at 0x%" PRIx64 " (asked for %" PRIu64 " bytes at 0x%" PRIx64 ")", bad, size, gpa);
}

UM_EXPORT int um_mem_read(um_mem *mem, uint64_t gpa, void *to, uint64_t size, struct um_fault *why)
{
  uint64_t bad;
  if (!covered(mem, gpa, size, false, false, &bad)) return refuse_range(gpa, size, bad, why);
  copy_out(mem, gpa, to, size);
  return UM_OK;
}

UM_EXPORT int um_mem_write(um_mem *mem, uint64_t gpa, const void *from, uint64_t size, struct um_fault *why)
{
  uint64_t bad;
  if (!covered(mem, gpa, size, false, false, &bad)) return refuse_range(gpa, size, bad, why);
  copy_in(mem, gpa, from, size);
  return UM_OK;
}

UM_EXPORT void *um_mem_view(um_mem *mem, uint64_t gpa, uint64_t size)
{
  Region *region = region_under(mem, gpa);
  return region && span(region, gpa, size) == size ? host_at(region, gpa) : NULL;
}

static bool is_access_size(uint32_t size)
{
  return size == 1 || size == 2 || size == 4 || size == 8;
}

UM_EXPORT int um_mem_load(um_mem *mem, uint64_t gpa, uint32_t size, uint64_t *value, struct um_fault *why)
{
  if (!is_access_size(size)) return fault_set(why, UM_EINVAL, "an access has 1, 2, 4 or 8 bytes, not %u", size);
  if (mem_load(mem, gpa, size, value)) return UM_OK;
  return fault_set(why, UM_EGUEST, "nothing answers a load of %u bytes at 0x%" PRIx64, size, gpa);
}

UM_EXPORT int um_mem_store(um_mem *mem, uint64_t gpa, uint32_t size, uint64_t value, struct um_fault *why)
{
  if (!is_access_size(size)) return fault_set(why, UM_EINVAL, "an access has 1, 2, 4 or 8 bytes, not %u", size);
  if (mem_store(mem, gpa, size, value)) return UM_OK;
  return fault_set(why, UM_EGUEST, "nothing answers a store of %u bytes at 0x%" PRIx64, size, gpa);
}
