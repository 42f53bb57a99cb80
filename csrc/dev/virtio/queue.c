// queue: split virtqueues, seen from the device.
// SPDX-License-Identifier: MIT
//
// Manual: 2.7. Nothing of a ring is kept from one call to the next but the two indices that are the device's
// own, so a guest that changes a ring behind our back is as harmless as one that never wrote it.
#include "dev/virtio/virtio.h"
#include <endian.h>
#include <stdatomic.h>
#include <string.h>

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, AVAIL_NO_INTERRUPT = 1 };

typedef struct Descriptor {
  uint64_t gpa;
  uint32_t size;
  uint16_t flags, next;
} Descriptor;
_Static_assert(sizeof(Descriptor) == 16, "as the manual says");

// Where a chain's descriptors come from: the queue's own table, then at most one indirect one.
typedef struct Table {
  uint64_t gpa;
  uint32_t count;
  bool     indirect;
} Table;

static bool read_half(Virtio *virtio, uint64_t gpa, uint16_t *value)
{
  uint16_t raw;
  if (!mem_dma_read(virtio->base.mem, gpa, &raw, sizeof raw)) {
    virtio_break(virtio, "a ring is no longer in RAM");
    return false;
  }
  *value = le16toh(raw);
  return true;
}

static void write_half(Virtio *virtio, uint64_t gpa, uint16_t value)
{
  uint16_t raw = htole16(value);
  if (!mem_dma_write(virtio->base.mem, gpa, &raw, sizeof raw)) virtio_break(virtio, "a ring is no longer in RAM");
}

static uint64_t used_event(const VirtQueue *queue)     // in the available ring: tell me when this is used
{
  return queue->available + 4 + 2 * (uint64_t)queue->size;
}

static uint64_t available_event(const VirtQueue *queue)        // in the used ring: tell me when this is available
{
  return queue->used + 4 + 8 * (uint64_t)queue->size;
}

static bool is_writable(Mem *mem, uint64_t gpa)
{
  return !(mem_page_flags(mem, gpa) & PAGE_ROM);
}

void queue_enable(Virtio *virtio, VirtQueue *queue)
{
  Mem *mem = virtio->base.mem;
  uint64_t size = queue->size;
  if (size == 0 || size > VIRTIO_QUEUE_MAX || (size & (size - 1))) {
    virtio_break(virtio, "queue size is no power of two up to the maximum");
  } else if (queue->descriptors & 15 || queue->available & 1 || queue->used & 3) {
    virtio_break(virtio, "a ring is misaligned");
  } else if (!mem_ram(mem, queue->descriptors, 16 * size) || !mem_ram(mem, queue->available, 6 + 2 * size) ||
             !mem_ram(mem, queue->used, 6 + 8 * size) || !is_writable(mem, queue->used)) {
    virtio_break(virtio, "a ring is not in RAM");
  } else {
    queue->next_available = queue->next_used = queue->told_used = 0;
    queue->progress = 0;
    queue->ready = 1;
  }
}

// True if a chain waits. With EVENT_IDX an empty queue asks for a notification, and looks again: it may have come in between.
static bool is_waiting(Virtio *virtio, VirtQueue *queue)
{
  uint16_t end;
  if (!read_half(virtio, queue->available + 2, &end)) return false;
  if (end == queue->next_available && virtio->features & VIRTIO_F_EVENT_IDX) {
    write_half(virtio, available_event(queue), queue->next_available);
    atomic_thread_fence(memory_order_seq_cst);
    if (!virtio_runs(virtio) || !read_half(virtio, queue->available + 2, &end)) return false;
  }
  uint16_t waiting = end - queue->next_available;
  if (waiting > queue->size) {
    virtio_break(virtio, "the available index ran ahead of the queue");
    return false;
  }
  atomic_thread_fence(memory_order_acquire);
  return waiting != 0;
}

// Adds one buffer to the chain; the text of what is wrong with it, or NULL.
static const char *add_buffer(Virtio *virtio, Chain *chain, const Descriptor *desc)
{
  bool writable = desc->flags & DESC_WRITE;
  uint64_t *bytes = writable ? &chain->writable_bytes : &chain->readable_bytes;
  if (chain->writable && !writable) return "a readable buffer follows a writable one";
  if (desc->size == 0) return NULL;               // harmless, and nothing to point to
  Buffer *buffer = &chain->buffers[chain->readable + chain->writable];
  uint8_t *host = mem_ram(virtio->base.mem, desc->gpa, desc->size);
  if (!host || (writable && !is_writable(virtio->base.mem, desc->gpa))) return "a buffer is not in RAM";
  *buffer = (Buffer){ .gpa = desc->gpa, .host = host, .size = desc->size };
  *bytes += desc->size;
  if (*bytes > UINT32_MAX) return "a chain is longer than 2^32 bytes";
  if (writable) chain->writable++;
  else chain->readable++;
  return NULL;
}

// Reads descriptor `index` and puts the table it names in place of `table` if it is an indirect one.
static const char *read_descriptor(Virtio *virtio, Table *table, uint32_t index, Descriptor *desc)
{
  if (index >= table->count) return "a descriptor index is out of range";
  if (!mem_dma_read(virtio->base.mem, table->gpa + 16 * (uint64_t)index, desc, sizeof *desc))
    return "a descriptor is not in RAM";
  *desc = (Descriptor){ le64toh(desc->gpa), le32toh(desc->size), le16toh(desc->flags), le16toh(desc->next) };
  if (!(desc->flags & DESC_INDIRECT)) return NULL;
  if (!(virtio->features & VIRTIO_F_INDIRECT_DESC)) return "an indirect descriptor was not negotiated";
  if (table->indirect || desc->flags & DESC_NEXT) return "an indirect descriptor is where none may be";
  if (desc->size == 0 || desc->size % 16) return "an indirect table is no multiple of 16 bytes";
  *table = (Table){ .gpa = desc->gpa, .count = desc->size / 16, .indirect = true };
  return read_descriptor(virtio, table, 0, desc);
}

// Follows a chain. One that is longer than the queue has a loop, or breaks 2.7.5.3.1 of the manual.
static const char *walk(Virtio *virtio, const VirtQueue *queue, Chain *chain)
{
  Table table = { .gpa = queue->descriptors, .count = queue->size };
  uint32_t index = chain->head;
  for (uint32_t i = 0; i < queue->size; i++) {
    Descriptor desc;
    const char *wrong = read_descriptor(virtio, &table, index, &desc);
    if (!wrong) wrong = add_buffer(virtio, chain, &desc);
    if (wrong) return wrong;
    if (!(desc.flags & DESC_NEXT)) return NULL;
    index = desc.next;
  }
  return "descriptor loop";
}

bool queue_next(Virtio *virtio, unsigned index, Chain *chain)
{
  VirtQueue *queue = &virtio->queues[index];
  if (!virtio_runs(virtio) || !queue->ready || !is_waiting(virtio, queue)) return false;
  uint64_t slot = queue->available + 4 + 2 * (uint64_t)(queue->next_available & (queue->size - 1));
  uint16_t head;
  if (!read_half(virtio, slot, &head)) return false;
  chain->head = head;
  chain->readable = chain->writable = 0;
  chain->readable_bytes = chain->writable_bytes = 0;
  const char *wrong = walk(virtio, queue, chain);
  if (wrong) virtio_break(virtio, wrong);
  return !wrong;
}

void queue_done(Virtio *virtio, unsigned index, const Chain *chain, uint32_t written)
{
  VirtQueue *queue = &virtio->queues[index];
  uint32_t element[2] = { htole32(chain->head), htole32(written) };
  uint64_t slot = queue->used + 4 + 8 * (uint64_t)(queue->next_used & (queue->size - 1));
  if (!mem_dma_write(virtio->base.mem, slot, element, sizeof element)) {
    virtio_break(virtio, "a ring is no longer in RAM");
    return;
  }
  DEVICE_LOG(&virtio->base, "queue %u: chain %u done, %u bytes written", index, chain->head, written);
  queue->next_available++;
  queue->next_used++;
  queue->progress = 0;
  atomic_thread_fence(memory_order_release);
  write_half(virtio, queue->used + 2, queue->next_used);
}

void queue_tell(Virtio *virtio, unsigned index)
{
  VirtQueue *queue = &virtio->queues[index];
  uint16_t from = queue->told_used, to = queue->next_used, word;
  if (!virtio_runs(virtio) || !queue->ready || from == to) return;
  queue->told_used = to;
  bool by_event = virtio->features & VIRTIO_F_EVENT_IDX;
  atomic_thread_fence(memory_order_seq_cst);
  if (!read_half(virtio, by_event ? used_event(queue) : queue->available, &word)) return;
  bool wanted = by_event ? (uint16_t)(to - word - 1) < (uint16_t)(to - from) : !(word & AVAIL_NO_INTERRUPT);
  if (wanted) virtio_interrupt(virtio, 1);
}

static Buffer find_byte(const Buffer *buffers, unsigned count, uint64_t at)
{
  for (unsigned i = 0; i < count; i++) {
    if (at < buffers[i].size)
      return (Buffer){ .gpa = buffers[i].gpa + at, .host = buffers[i].host + at, .size = buffers[i].size - (uint32_t)at };
    at -= buffers[i].size;
  }
  return (Buffer){ 0 };
}

Buffer chain_readable(const Chain *chain, uint64_t at)
{
  return find_byte(chain->buffers, chain->readable, at);
}

Buffer chain_writable(const Chain *chain, uint64_t at)
{
  return find_byte(chain->buffers + chain->readable, chain->writable, at);
}

uint32_t chain_read(const Chain *chain, uint64_t at, void *to, uint32_t size)
{
  uint32_t done = 0;
  while (done < size) {
    Buffer part = chain_readable(chain, at + done);
    if (part.size == 0) break;
    if (part.size > size - done) part.size = size - done;
    memcpy((uint8_t *)to + done, part.host, part.size);
    done += part.size;
  }
  return done;
}

uint32_t chain_write(Virtio *virtio, const Chain *chain, uint64_t at, const void *from, uint32_t size)
{
  uint32_t done = 0;
  while (done < size) {
    Buffer part = chain_writable(chain, at + done);
    if (part.size == 0) break;
    if (part.size > size - done) part.size = size - done;
    mem_dma_touch(virtio->base.mem, part.gpa, part.size);
    memcpy(part.host, (const uint8_t *)from + done, part.size);
    done += part.size;
  }
  return done;
}
