// syscon: SiFive's test finisher: the word a guest writes to switch off, fail or reset.
// SPDX-License-Identifier: MIT
#include "dev/dev.h"

enum { FINISHER_FAIL = 0x3333, FINISHER_PASS = 0x5555, FINISHER_RESET = 0x7777 };

typedef struct Syscon {
  Device   base;
  Control *control;
} Syscon;

static uint64_t syscon_read(void *device, uint64_t offset, unsigned size)
{
  (void)device, (void)offset, (void)size;
  return 0;
}

static void syscon_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
  Syscon *syscon = device;
  (void)size;
  if (offset != 0) return;
  DEVICE_LOG(&syscon->base, "written 0x%llx", (unsigned long long)value);
  switch (value & 0xffff) {
  case FINISHER_PASS: control_halt(syscon->control, UM_HALT_OFF, 0); break;
  case FINISHER_FAIL: control_halt(syscon->control, UM_HALT_EXIT, (int)(value >> 16 & 0xffff)); break;
  case FINISHER_RESET: control_halt(syscon->control, UM_HALT_RESET, 0); break;
  default: break;                                 // other words mean nothing to the finisher
  }
}

static const DeviceState syscon_state[] = { { 0 } };

static const DeviceModel syscon_model = {
  .name = "syscon", .bytes = 0x1000, .state = syscon_state,
  .ops = { .read = syscon_read, .write = syscon_write, .min_size = 2, .max_size = 4 },
};

UM_EXPORT um_dev *um_syscon_new(um_control *control, struct um_fault *why)
{
  Syscon *syscon = device_new(&syscon_model, sizeof *syscon, why);
  if (!syscon) return NULL;
  syscon->control = control;
  return &syscon->base;
}
