// chardev: two rings of bytes between a device and the host.
// SPDX-License-Identifier: MIT
//
// Each ring has one producer and one consumer, which may be two threads: an index is written by one side
// only and read by the other: in one order for both, so that a byte that makes the ring not empty is noticed by the
// producer, or found by a consumer that looks again. Indices run freely, so full and empty differ.
#include "dev/chardev.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RING_BYTES = 64 << 10 };
_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "indices are reduced by a mask");

typedef struct Ring {
  _Atomic uint32_t head;              // written by the producer
  _Atomic uint32_t tail;              // written by the consumer
  uint8_t bytes[RING_BYTES];
} Ring;

struct um_chardev {
  Control *control;
  Device  *device;                    // NULL: not attached
  void   (*room)(Device *);
  void   (*input)(Device *);
  _Atomic bool starved;               // a put found less room than it wanted
  Ring     from_guest, to_guest;
};

static uint32_t ring_used(const Ring *ring)
{
  return atomic_load(&ring->head) - atomic_load(&ring->tail);
}

static uint32_t ring_put(Ring *ring, const void *from, uint32_t size)
{
  uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
  uint32_t room = RING_BYTES - ring_used(ring);
  if (size > room) size = room;
  uint32_t at = head & (RING_BYTES - 1), first = RING_BYTES - at < size ? RING_BYTES - at : size;
  memcpy(ring->bytes + at, from, first);
  memcpy(ring->bytes, (const uint8_t *)from + first, size - first);
  atomic_store(&ring->head, head + size);
  return size;
}

static uint32_t ring_get(Ring *ring, void *to, uint32_t size)
{
  uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
  uint32_t used = ring_used(ring);
  if (size > used) size = used;
  uint32_t at = tail & (RING_BYTES - 1), first = RING_BYTES - at < size ? RING_BYTES - at : size;
  memcpy(to, ring->bytes + at, first);
  memcpy((uint8_t *)to + first, ring->bytes, size - first);
  atomic_store(&ring->tail, tail + size);
  return size;
}

int chardev_attach(Chardev *chardev, Device *device, void (*room)(Device *), void (*input)(Device *), struct um_fault *why)
{
  if (chardev->device)
    return fault_set(why, UM_EINVAL, "%s: the character device serves a %s already", device->model->name, chardev->device->model->name);
  chardev->device = device;
  chardev->room = room;
  chardev->input = input;
  return UM_OK;
}

void chardev_detach(Chardev *chardev, const Device *device)
{
  if (chardev->device == device) chardev->device = NULL;
}

// Bytes that passed, for the log: as they are where they print.
static void note(const Chardev *chardev, const char *what, const void *bytes, uint32_t size)
{
  enum { LINE = 48 };
  const uint8_t *next = bytes;
  if (!size || !chardev->device || !device_logs(chardev->device)) return;
  for (uint32_t done = 0; done < size;) {
    char text[4 * LINE + 1] = "";
    for (unsigned used = 0, i = 0; i < LINE && done < size; i++, done++) {
      bool plain = next[done] >= ' ' && next[done] < 127 && next[done] != '"' && next[done] != '\\';
      used += (unsigned)snprintf(text + used, sizeof text - used, plain ? "%c" : "\\x%02x", next[done]);
    }
    device_log(chardev->device, "%s \"%s\"", what, text);
  }
}

uint32_t chardev_put(Chardev *chardev, const void *from, uint32_t size)
{
  uint32_t fitted = ring_put(&chardev->from_guest, from, size);
  note(chardev, "sent", from, fitted);
  if (fitted < size) chardev->starved = true;
  uint32_t used = ring_used(&chardev->from_guest);
  if (chardev->control && (used >= RING_BYTES / 2 || (chardev->control->eager && used <= fitted))) control_attention(chardev->control);
  return fitted;
}

uint32_t chardev_get(Chardev *chardev, void *to, uint32_t size)
{
  uint32_t taken = ring_get(&chardev->to_guest, to, size);
  note(chardev, "received", to, taken);
  return taken;
}

uint32_t chardev_available(const Chardev *chardev)
{
  return ring_used(&chardev->to_guest);
}

UM_EXPORT um_chardev *um_chardev_new(um_control *control)
{
  Chardev *chardev = calloc(1, sizeof *chardev);
  if (chardev) chardev->control = control;
  return chardev;
}

UM_EXPORT void um_chardev_free(um_chardev *chardev)
{
  free(chardev);
}

UM_EXPORT uint32_t um_chardev_waiting(const um_chardev *chardev)
{
  return ring_used(&chardev->from_guest);
}

UM_EXPORT uint32_t um_chardev_room(const um_chardev *chardev)
{
  return RING_BYTES - ring_used(&chardev->to_guest);
}

UM_EXPORT uint32_t um_chardev_skim(um_chardev *chardev, void *to, uint32_t size)
{
  return ring_get(&chardev->from_guest, to, size);
}

UM_EXPORT bool um_chardev_starved(const um_chardev *chardev)
{
  return chardev->starved;
}

UM_EXPORT uint32_t um_chardev_take(um_chardev *chardev, void *to, uint32_t size)
{
  uint32_t taken = ring_get(&chardev->from_guest, to, size);
  if (chardev->starved && ring_used(&chardev->from_guest) < RING_BYTES) {
    chardev->starved = false;
    if (chardev->device) chardev->room(chardev->device);
  }
  return taken;
}

UM_EXPORT uint32_t um_chardev_give(um_chardev *chardev, const void *from, uint32_t size)
{
  uint32_t given = ring_put(&chardev->to_guest, from, size);
  if (given && chardev->device) chardev->input(chardev->device);
  return given;
}
