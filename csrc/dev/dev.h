// dev: what every device model is made of.
// SPDX-License-Identifier: MIT
//
// A device is a struct that begins with Device. It declares its window, its registers' state (once,
// as data: reset, hash and later save and load walk this table), and what it does on an access.
// Devices run on the thread that runs the harts.
#pragma once
#include <stddef.h>
#include "base/check.h"
#include "base/clock.h"
#include "base/control.h"
#include "base/fault.h"
#include "block/block.h"
#include "irq/irq.h"
#include "mem/mem.h"
#include "dev/dev_ffi.h"

typedef struct um_dev Device;

// One piece of a device's state. `count` elements of `size` bytes at `offset` of the device's struct.
typedef struct DeviceState {
  const char *name;
  uint32_t offset, size, count;
} DeviceState;

#define STATE(type, field) \
  { #field, offsetof(type, field), sizeof(((type *)0)->field), 1 }
#define STATE_ARRAY(type, field) \
  { #field, offsetof(type, field), sizeof(((type *)0)->field[0]), sizeof(((type *)0)->field) / sizeof(((type *)0)->field[0]) }

typedef struct DeviceModel {
  const char *name;               // "ns16550a"
  uint64_t    bytes;              // size of the MMIO window; a device may have another one (Device.bytes)
  MmioOps     ops;
  void      (*reset)(Device *device);      // after the declared state was cleared; may be NULL
  void      (*close)(Device *device);      // frees what the device owns besides itself; may be NULL
  const DeviceState *state;       // ends with a row whose name is NULL
} DeviceModel;

struct um_dev {
  const DeviceModel *model;
  Mem     *mem;                   // NULL until mapped; outlives the device
  uint64_t at, bytes;             // the window
};

// A line may be missing: the device is then only polled.
static inline void device_line(Irq *line, bool level)
{
  if (line) irq_set(line, level);
}

// A line in the log, if devices are logged: "dev  NAME: ...", by the name of the device's window.
void device_log(const Device *device, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline bool device_logs(const Device *device) { return device->mem && log_wants(device->mem->log, UM_LOG_DEV); }
#define DEVICE_LOG(device, ...) do { if (device_logs(device)) device_log(device, __VA_ARGS__); } while (0)

void *device_new(const DeviceModel *model, size_t bytes, struct um_fault *why);   // zeroed, model set, not reset
