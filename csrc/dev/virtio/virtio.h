// virtio: what a virtio device is made of: the mmio transport, split virtqueues, and the devices over them.
// SPDX-License-Identifier: MIT
//
// Manual: Virtual I/O Device (VIRTIO) 1.2. Everything a guest puts into a ring is checked before it is used;
// what does not hold sets DEVICE_NEEDS_RESET, and the device rests until the driver resets it.
#pragma once
#include "dev/dev.h"

enum { VIRTIO_QUEUES = 2, VIRTIO_QUEUE_MAX = 256, VIRTIO_CONFIG_BYTES = 64 };

enum {
  VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8, VIRTIO_NEEDS_RESET = 64,
  VIRTIO_FAILED = 128,
};

#define VIRTIO_F_INDIRECT_DESC ((uint64_t)1 << 28)
#define VIRTIO_F_EVENT_IDX     ((uint64_t)1 << 29)
#define VIRTIO_F_VERSION_1     ((uint64_t)1 << 32)

typedef struct Virtio Virtio;

typedef struct VirtioKind {
  uint32_t id;                        // device id (manual, 5)
  unsigned queues;
  void   (*serve)(Virtio *virtio, unsigned queue);    // buffers may have come: use them up as far as possible
} VirtioKind;

// No padding: it is declared state as a whole.
typedef struct VirtQueue {
  uint64_t descriptors, available, used;      // guest-physical
  uint32_t size;                      // descriptors, a power of two
  uint16_t ready;
  uint16_t next_available;            // index of the next chain to take
  uint16_t next_used;                 // index of the next used element to fill
  uint16_t told_used;                 // next_used when the driver was last told
  uint32_t progress;                  // bytes of the next chain that the device is done with, if it had to stop within it
} VirtQueue;
_Static_assert(sizeof(VirtQueue) == 40, "no padding");

struct Virtio {
  Device   base;
  const VirtioKind *kind;
  Irq     *line;
  uint64_t offered;                   // features of the device
  uint8_t  config[VIRTIO_CONFIG_BYTES];       // device-specific configuration as the driver reads it
  const char *broken;                 // why it needs a reset
  uint64_t features;                  // accepted by the driver
  uint32_t status, interrupts, generation;
  uint32_t offered_select, features_select, queue_select;
  VirtQueue queues[VIRTIO_QUEUES];
};

// Rows of the state that all virtio devices share; `type` begins with a Virtio named `virtio`.
#define VIRTIO_STATE(type) \
  STATE(type, virtio.features), STATE(type, virtio.status), STATE(type, virtio.interrupts), STATE(type, virtio.generation), \
  STATE(type, virtio.offered_select), STATE(type, virtio.features_select), STATE(type, virtio.queue_select), \
  STATE_ARRAY(type, virtio.queues)

// The parts of a DeviceModel that all virtio devices share.
#define VIRTIO_MODEL \
  .bytes = 0x1000, .ops = { .read = virtio_mmio_read, .write = virtio_mmio_write, .min_size = 1, .max_size = 8 }

MmioRead virtio_mmio_read;
MmioWrite virtio_mmio_write;

void virtio_init(Virtio *virtio, const VirtioKind *kind, uint64_t features, Irq *line);
void virtio_reset(Virtio *virtio);    // what a reset leaves to do after the state was cleared
void virtio_serve(Virtio *virtio, unsigned queue);    // serves a queue if the driver is ready, and tells it what was used
// The guest broke the rules: `why` is a constant, for people.
void virtio_break(Virtio *virtio, const char *why);
void virtio_interrupt(Virtio *virtio, uint32_t bits);

static inline bool virtio_runs(const Virtio *virtio)
{
  return (virtio->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK;
}

// queue.c: a chain of buffers, checked: each lies in one piece of plain RAM, the writable ones not in ROM.
typedef struct Buffer {
  uint64_t gpa;
  uint8_t *host;                      // valid until the device returns
  uint32_t size;
} Buffer;

typedef struct Chain {
  uint16_t head;
  unsigned readable, writable;        // buffers; the readable ones come first
  uint64_t readable_bytes, writable_bytes;    // each below 2^32
  Buffer   buffers[VIRTIO_QUEUE_MAX];
} Chain;

// Makes a queue ready; breaks the device where its place or size is not what it should be.
void queue_enable(Virtio *virtio, VirtQueue *queue);
// The next chain, which stays next until queue_done; false if there is none or the device broke.
bool queue_next(Virtio *virtio, unsigned queue, Chain *chain);
// Hands the chain back: the device wrote the first `written` bytes of what is writable.
void queue_done(Virtio *virtio, unsigned queue, const Chain *chain, uint32_t written);
// Interrupts the driver if it wants to know of what was done since the last call.
void queue_tell(Virtio *virtio, unsigned queue);

// The buffer that holds byte `at` of the readable (or writable) bytes, from that byte on; size 0 past the end.
Buffer chain_readable(const Chain *chain, uint64_t at);
Buffer chain_writable(const Chain *chain, uint64_t at);
// Copies as much as there is; returns how much. A write tells mem of it.
uint32_t chain_read(const Chain *chain, uint64_t at, void *to, uint32_t size);
uint32_t chain_write(Virtio *virtio, const Chain *chain, uint64_t at, const void *from, uint32_t size);
