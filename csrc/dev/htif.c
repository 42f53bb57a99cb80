// htif: Berkeley's host-target interface: two words in memory through which a program exits and prints.
// SPDX-License-Identifier: MIT
//
// tohost: device in bits 63:56, command in 55:48, payload in 47:0. Device 0 is the system: an odd payload ends
// the program with code payload >> 1, an even one is the address of a system call. Device 1 is the console.
//
// The other side of the protocol polls the whole word, at times of its own; here a store to its low half acts,
// if the whole word is then not zero. So eight bytes at once work, so does a program that stores the halves high
// first, and so does one that stores low first a word with device 0.
#include "dev/chardev.h"
#include <stdlib.h>

enum { DEVICE_SYSTEM, DEVICE_CONSOLE };
enum { CONSOLE_GET, CONSOLE_PUT };
enum { CALL_WRITE = 64, CALL_EXIT = 93 };                          // Linux's numbers, as are the errors
enum { BAD_FD = -9, TRY_AGAIN = -11, BAD_ADDRESS = -14, UNKNOWN_CALL = -38 };
enum { CALL_WORDS = 4, CALL_BYTES_MAX = 1 << 20 };

typedef struct Htif {
  Device   base;
  Chardev *chardev;
  Control *control;
  uint64_t tohost, fromhost;
  uint64_t answer;                    // waits until the program has taken the last one out of fromhost; 0: none
  uint8_t  wants_input;               // a console read waits for a byte
} Htif;

#define PAYLOAD_BITS 48
#define PAYLOAD(word) ((word) & (((uint64_t)1 << PAYLOAD_BITS) - 1))

static void deliver(Htif *htif)
{
  uint8_t byte;
  if (!htif->answer && htif->wants_input && chardev_get(htif->chardev, &byte, 1) == 1) {
    htif->wants_input = 0;
    htif->answer = (uint64_t)DEVICE_CONSOLE << 56 | (uint64_t)CONSOLE_GET << PAYLOAD_BITS | 0x100 | byte;
  }
  if (htif->fromhost || !htif->answer) return;
  htif->fromhost = htif->answer;
  htif->answer = 0;
}

// write(fd, buffer, size) of a program that proxies its system calls. Returns what write would.
static int64_t write_call(Htif *htif, uint64_t fd, uint64_t gpa, uint64_t size)
{
  uint8_t part[256];
  uint64_t done = 0;
  if (fd != 1 && fd != 2) return BAD_FD;
  if (size > CALL_BYTES_MAX) size = CALL_BYTES_MAX;
  while (done < size) {
    uint32_t count = size - done < sizeof part ? (uint32_t)(size - done) : sizeof part;
    if (!mem_dma_read(htif->base.mem, gpa + done, part, count)) return done ? (int64_t)done : BAD_ADDRESS;
    uint32_t sent = chardev_put(htif->chardev, part, count);
    done += sent;
    if (sent < count) return done ? (int64_t)done : TRY_AGAIN;      // a short write: the program goes on with the rest
  }
  return (int64_t)done;
}

// False: it has to wait for room.
static bool system_call(Htif *htif, uint64_t gpa)
{
  uint64_t call[CALL_WORDS];
  if (!mem_dma_read(htif->base.mem, gpa, call, sizeof call)) return true;
  if (call[0] == CALL_EXIT) {
    DEVICE_LOG(&htif->base, "exit %u", (uint32_t)call[1]);
    control_halt(htif->control, UM_HALT_EXIT, (int)(uint32_t)call[1]);
    return true;
  }
  int64_t result = call[0] == CALL_WRITE ? write_call(htif, call[1], call[2], call[3]) : UNKNOWN_CALL;
  if (result == TRY_AGAIN) return false;
  if (mem_dma_write(htif->base.mem, gpa, &result, sizeof result)) htif->answer = 1;
  deliver(htif);
  return true;
}

// Acts on a whole word in tohost and clears it; a word that has to wait stays, and programs wait for it to go.
static void act(Htif *htif)
{
  uint64_t word = htif->tohost, payload = PAYLOAD(word);
  unsigned device = (unsigned)(word >> 56), command = word >> PAYLOAD_BITS & 0xff;
  if (!word) return;
  if (device == DEVICE_SYSTEM && command == 0) {
    DEVICE_LOG(&htif->base, "system call 0x%llx", (unsigned long long)payload);
    if (payload & 1) control_halt(htif->control, UM_HALT_EXIT, (int)(uint32_t)(payload >> 1));
    else if (!system_call(htif, payload)) return;
  } else if (device == DEVICE_CONSOLE && command == CONSOLE_PUT) {
    uint8_t byte = (uint8_t)payload;
    if (chardev_put(htif->chardev, &byte, 1) == 0) return;
  } else if (device == DEVICE_CONSOLE && command == CONSOLE_GET) {
    htif->wants_input = 1;
    deliver(htif);
  }
  htif->tohost = 0;
}

static void htif_room(Device *device)
{
  act((Htif *)device);
}

static void htif_input(Device *device)
{
  deliver((Htif *)device);
}

static uint64_t load_part(uint64_t word, uint64_t offset)
{
  return word >> (8 * offset);
}

static uint64_t store_part(uint64_t word, uint64_t offset, uint64_t value, unsigned size)
{
  uint64_t mask = UINT64_MAX >> (64 - 8 * size) << (8 * offset);
  return (word & ~mask) | (value << (8 * offset) & mask);
}

static uint64_t tohost_read(void *device, uint64_t offset, unsigned size)
{
  (void)size;
  return load_part(((Htif *)device)->tohost, offset);
}

static void tohost_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
  Htif *htif = device;
  htif->tohost = store_part(htif->tohost, offset, value, size);
  if (offset == 0) act(htif);
}

static uint64_t fromhost_read(void *device, uint64_t offset, unsigned size)
{
  (void)size;
  return load_part(((Htif *)device)->fromhost, offset);
}

static void fromhost_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
  Htif *htif = device;
  htif->fromhost = store_part(htif->fromhost, offset, value, size);
  deliver(htif);
}

static void htif_close(Device *device)
{
  chardev_detach(((Htif *)device)->chardev, device);
}

static const DeviceState htif_state[] = {
  STATE(Htif, tohost),
  STATE(Htif, fromhost),
  STATE(Htif, answer),
  STATE(Htif, wants_input),
  { 0 },
};

static const DeviceModel htif_model = {
  .name = "htif", .bytes = 8, .state = htif_state,
  .ops = { .read = tohost_read, .write = tohost_write, .min_size = 1, .max_size = 8 },
  .close = htif_close,
};

static const MmioOps fromhost_ops = { .read = fromhost_read, .write = fromhost_write, .min_size = 1, .max_size = 8 };

UM_EXPORT um_dev *um_htif_new(um_chardev *chardev, um_control *control, struct um_fault *why)
{
  Htif *htif = device_new(&htif_model, sizeof *htif, why);
  if (!htif) return NULL;
  if (chardev_attach(chardev, &htif->base, htif_room, htif_input, why) < 0) {
    free(htif);
    return NULL;
  }
  htif->chardev = chardev;
  htif->control = control;
  return &htif->base;
}

UM_EXPORT int um_htif_map(um_dev *htif, um_mem *mem, uint64_t tohost, uint64_t fromhost, struct um_fault *why)
{
  check(htif->model == &htif_model);
  int status = um_dev_map(htif, mem, tohost, "tohost", why);
  if (status < 0 || fromhost == 0) return status;
  status = mem_add_mmio(mem, fromhost, htif->bytes, &fromhost_ops, htif, "fromhost", why);
  if (status < 0) {
    mem_remove_mmio(mem, htif);
    htif->mem = NULL;
  }
  return status;
}
