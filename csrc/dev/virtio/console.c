// console: virtio's serial port: one port, bytes both ways over a character device.
// SPDX-License-Identifier: MIT
//
// Manual: 5.3. What the character device has no room for stays in the guest's queue.
#include "dev/virtio/virtio.h"
#include "dev/chardev.h"
#include <stdlib.h>

enum { RECEIVE, TRANSMIT };

typedef struct Console {
  Virtio   virtio;
  Chardev *chardev;
} Console;

static void transmit(Console *console)
{
  VirtQueue *queue = &console->virtio.queues[TRANSMIT];
  Chain chain;
  while (queue_next(&console->virtio, TRANSMIT, &chain)) {
    for (;;) {
      Buffer part = chain_readable(&chain, queue->progress);
      uint32_t sent = part.size ? chardev_put(console->chardev, part.host, part.size) : 0;
      queue->progress += sent;
      if (sent < part.size) return;               // full: goes on when there is room
      if (part.size == 0) break;
    }
    queue_done(&console->virtio, TRANSMIT, &chain, 0);
  }
}

static void receive(Console *console)
{
  Chain chain;
  uint8_t byte[256];
  while (chardev_available(console->chardev) && queue_next(&console->virtio, RECEIVE, &chain)) {
    uint32_t done = 0;
    while (done < chain.writable_bytes) {
      uint64_t left = chain.writable_bytes - done;
      uint32_t count = chardev_get(console->chardev, byte, left < sizeof byte ? (uint32_t)left : sizeof byte);
      if (!count) break;
      done += chain_write(&console->virtio, &chain, done, byte, count);
    }
    queue_done(&console->virtio, RECEIVE, &chain, done);
  }
}

static void console_serve(Virtio *virtio, unsigned queue)
{
  if (queue == TRANSMIT) transmit((Console *)virtio);
  else receive((Console *)virtio);
}

static void console_room(Device *device)
{
  virtio_serve((Virtio *)device, TRANSMIT);
}

static void console_input(Device *device)
{
  virtio_serve((Virtio *)device, RECEIVE);
}

static void console_reset(Device *device)
{
  virtio_reset((Virtio *)device);
}

static void console_close(Device *device)
{
  chardev_detach(((Console *)device)->chardev, device);
}

static const DeviceState console_state[] = {
  VIRTIO_STATE(Console),
  { 0 },
};

static const DeviceModel console_model = {
  VIRTIO_MODEL, .name = "virtio_console", .state = console_state, .reset = console_reset, .close = console_close,
};

static const VirtioKind console_kind = { .id = 3, .queues = 2, .serve = console_serve };

UM_EXPORT um_dev *um_virtio_console_new(um_chardev *chardev, um_irq *line, struct um_fault *why)
{
  Console *console = device_new(&console_model, sizeof *console, why);
  if (!console) return NULL;
  Device *device = &console->virtio.base;
  if (chardev_attach(chardev, device, console_room, console_input, why) < 0) {
    free(console);
    return NULL;
  }
  console->chardev = chardev;
  virtio_init(&console->virtio, &console_kind, 0, line);
  return device;
}
