// fuzz virtio: the devices behind virtio-mmio, over hostile rings and registers.
// SPDX-License-Identifier: MIT
//
// The input is a device, 8 KiB of guest RAM, and a list of register writes of six bytes each: which, what value.
#include "base/check.h"
#include "dev/dev.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RAM = 0x80000000, RAM_BYTES = 1 << 16, GIVEN_BYTES = 8 << 10, BASE = 0x10000000, DISK_BYTES = 64 << 9, STEP_BYTES = 6 };
enum { QUEUE_NUM = 0x38, QUEUE_READY = 0x44, QUEUE_NOTIFY = 0x50, STATUS = 0x70, ALL_OK = 15 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static um_block *open_disk(void)
{
  char path[32];
  int fd = memfd_create("disk", MFD_CLOEXEC);
  check(fd >= 0 && ftruncate(fd, DISK_BYTES) == 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  um_block *disk = um_block_open(path, 0, NULL);
  check(disk);
  close(fd);
  return disk;
}

static um_dev *make_device(unsigned which, um_block *disk, um_chardev *chardev, um_irq *line)
{
  switch (which % 3) {
  case 0:  return um_virtio_rng_new(1, line, NULL);
  case 1:  return um_virtio_console_new(chardev, line, NULL);
  default: return um_virtio_blk_new(disk, "fuzz", 512, which & 4, line, NULL);
  }
}

static void put(um_mem *mem, uint64_t offset, uint32_t value)
{
  um_mem_store(mem, BASE + offset, 4, value, NULL);
}

// A driver's way to DRIVER_OK, with both queues in the RAM that is given.
static void start(um_mem *mem, uint8_t choices)
{
  put(mem, STATUS, 3);
  put(mem, 0x24, 1);
  put(mem, 0x20, 1);
  put(mem, 0x24, 0);
  put(mem, 0x20, choices & 1 ? 3u << 28 : 0);
  put(mem, STATUS, 11);
  for (uint32_t queue = 0; queue < 2; queue++) {
    uint32_t at = RAM + queue * (GIVEN_BYTES / 2);
    put(mem, 0x30, queue);
    put(mem, QUEUE_NUM, 1u << (choices >> 1 & 7));
    put(mem, 0x80, at);
    put(mem, 0x90, at + 0x800);
    put(mem, 0xa0, at + 0xc00);
    put(mem, QUEUE_READY, 1);
  }
  put(mem, STATUS, ALL_OK);
}

// Most steps notify; the rest writes any register with any value.
static void step(um_mem *mem, const uint8_t *bytes)
{
  uint32_t value;
  memcpy(&value, bytes + 2, sizeof value);
  if (bytes[0] & 1) put(mem, QUEUE_NOTIFY, value & 1);
  else put(mem, bytes[1] & 0xfcu, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
  if (size < 2) return 0;
  um_block *disk = open_disk();
  um_chardev *chardev = um_chardev_new(NULL);
  um_irq *line = um_irq_new();
  um_mem *mem = um_mem_new();
  uint8_t taken[64];
  size_t given = size - 2 < GIVEN_BYTES ? size - 2 : GIVEN_BYTES;
  check(um_mem_add_ram(mem, RAM, RAM_BYTES, 0, "ram", NULL) == UM_OK);
  um_dev *device = make_device(bytes[0], disk, chardev, line);
  check(device && um_dev_map(device, mem, BASE, "device", NULL) == UM_OK);
  check(um_mem_write(mem, RAM, bytes + 2, given, NULL) == UM_OK);
  start(mem, bytes[1]);
  um_chardev_give(chardev, bytes, (uint32_t)given);
  for (size_t at = 2 + given; at + STEP_BYTES <= size; at += STEP_BYTES) {
    step(mem, bytes + at);
    um_chardev_take(chardev, taken, sizeof taken);
  }
  put(mem, QUEUE_NOTIFY, 0);
  put(mem, QUEUE_NOTIFY, 1);
  um_dev_free(device);
  um_mem_free(mem);
  um_irq_free(line);
  um_chardev_free(chardev);
  um_block_close(disk);
  return 0;
}
