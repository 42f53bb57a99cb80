// dev: what all devices share: mapping, reset and state, driven by their declarations.
// SPDX-License-Identifier: MIT
#include "dev/dev.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *device_new(const DeviceModel *model, size_t bytes, struct um_fault *why)
{
  check(bytes >= sizeof(Device) && model->state);
  Device *device = calloc(1, bytes);
  if (!device) {
    fault_set(why, UM_ENOMEM, "%s: the host has no memory for it", model->name);
    return NULL;
  }
  device->model = model;
  device->bytes = model->bytes;
  return device;
}

void device_log(const Device *device, const char *format, ...)
{
  const Region *window = mem_find(device->mem, device->at);
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  log_print(device->mem->log, UM_LOG_DEV, "dev  %s: %s", window && window->device == device ? window->name : device->model->name, text);
}

static int state_rows(const DeviceModel *model)
{
  int count = 0;
  while (model->state[count].name) count++;
  return count;
}

UM_EXPORT const char *um_dev_model(const um_dev *device)
{
  return device->model->name;
}

UM_EXPORT uint64_t um_dev_bytes(const um_dev *device)
{
  return device->bytes;
}

UM_EXPORT int um_dev_map(um_dev *device, um_mem *mem, uint64_t at, const char *name, struct um_fault *why)
{
  if (device->mem) return fault_set(why, UM_EINVAL, "%s: is mapped already, at 0x%" PRIx64, name, device->at);
  int status = mem_add_mmio(mem, at, device->bytes, &device->model->ops, device, name, why);
  if (status < 0) return status;
  device->mem = mem;
  device->at = at;
  return UM_OK;
}

UM_EXPORT void um_dev_reset(um_dev *device)
{
  for (const DeviceState *row = device->model->state; row->name; row++)
    memset((char *)device + row->offset, 0, (size_t)row->size * row->count);
  if (device->model->reset) device->model->reset(device);
}

UM_EXPORT void um_dev_free(um_dev *device)
{
  if (!device) return;
  if (device->mem) mem_remove_mmio(device->mem, device);
  if (device->model->close) device->model->close(device);
  free(device);
}

static const DeviceState *find_row(const Device *device, int index, struct um_fault *why)
{
  int rows = state_rows(device->model);
  if (index >= 0 && index < rows) return &device->model->state[index];
  fault_set(why, UM_EINVAL, "%s: has %d pieces of state, no number %d", device->model->name, rows, index);
  return NULL;
}

UM_EXPORT int um_dev_state(const um_dev *device, int index, struct um_dev_state *row, struct um_fault *why)
{
  const DeviceState *state = find_row(device, index, why);
  if (!state) return UM_EINVAL;
  *row = (struct um_dev_state){ .size = state->size, .count = state->count };
  snprintf(row->name, sizeof row->name, "%s", state->name);
  return UM_OK;
}

UM_EXPORT int um_dev_state_read(const um_dev *device, int index, void *to, uint64_t size, struct um_fault *why)
{
  const DeviceState *state = find_row(device, index, why);
  if (!state) return UM_EINVAL;
  uint64_t bytes = (uint64_t)state->size * state->count;
  if (size != bytes)
    return fault_set(why, UM_EINVAL, "%s.%s: has %" PRIu64 " bytes, not %" PRIu64, device->model->name, state->name, bytes, size);
  memcpy(to, (const char *)device + state->offset, bytes);
  return UM_OK;
}
