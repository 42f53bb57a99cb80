// mmio: the virtio transport over a page of registers, version 2.
// SPDX-License-Identifier: MIT
//
// Manual: 4.2. Registers are 32 bits wide; other widths reach the configuration space only, elsewhere they
// read zero and write nothing.
#include "dev/virtio/virtio.h"
#include <string.h>

enum {
  MAGIC = 0x000, VERSION = 0x004, DEVICE_ID = 0x008, VENDOR_ID = 0x00c, DEVICE_FEATURES = 0x010, DEVICE_FEATURES_SEL = 0x014,
  DRIVER_FEATURES = 0x020, DRIVER_FEATURES_SEL = 0x024, QUEUE_SEL = 0x030, QUEUE_NUM_MAX = 0x034, QUEUE_NUM = 0x038,
  QUEUE_READY = 0x044, QUEUE_NOTIFY = 0x050, INTERRUPT_STATUS = 0x060, INTERRUPT_ACK = 0x064, STATUS = 0x070,
  QUEUE_DESC_LOW = 0x080, QUEUE_DESC_HIGH = 0x084, QUEUE_DRIVER_LOW = 0x090, QUEUE_DRIVER_HIGH = 0x094,
  QUEUE_DEVICE_LOW = 0x0a0, QUEUE_DEVICE_HIGH = 0x0a4, SHM_LEN_LOW = 0x0b0, SHM_BASE_HIGH = 0x0bc, CONFIG_GENERATION = 0x0fc,
  CONFIG = 0x100,
};

enum { INTERRUPT_USED = 1, INTERRUPT_CONFIG = 2 };

static const uint32_t MAGIC_VALUE = 0x74726976, VENDOR_VALUE = 0x52424d55;      // "virt", "UMBR"

void virtio_init(Virtio *virtio, const VirtioKind *kind, uint64_t features, Irq *line)
{
  check_values(kind->queues <= VIRTIO_QUEUES, kind->queues, VIRTIO_QUEUES);
  virtio->kind = kind;
  virtio->line = line;
  virtio->offered = features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
}

void virtio_reset(Virtio *virtio)
{
  virtio->broken = NULL;
  device_line(virtio->line, false);
}

void virtio_interrupt(Virtio *virtio, uint32_t bits)
{
  DEVICE_LOG(&virtio->base, "interrupt 0x%x", bits);
  virtio->interrupts |= bits;
  device_line(virtio->line, virtio->interrupts != 0);
}

void virtio_break(Virtio *virtio, const char *why)
{
  if (virtio->status & VIRTIO_NEEDS_RESET) return;
  DEVICE_LOG(&virtio->base, "needs a reset: %s", why);
  virtio->broken = why;
  virtio->status |= VIRTIO_NEEDS_RESET;
  virtio->generation++;
  if (virtio->status & VIRTIO_DRIVER_OK) virtio_interrupt(virtio, INTERRUPT_CONFIG);
}

void virtio_serve(Virtio *virtio, unsigned queue)
{
  if (!virtio_runs(virtio) || !virtio->queues[queue].ready) return;
  virtio->kind->serve(virtio, queue);
  queue_tell(virtio, queue);
}

// The bits of a new status that the driver may set now (manual, 3.1.1).
static void write_status(Virtio *virtio, uint32_t value)
{
  if (value == 0) {
    DEVICE_LOG(&virtio->base, "reset by its driver");
    um_dev_reset(&virtio->base);
    return;
  }
  uint32_t old = virtio->status;
  value |= old;                                   // only a reset takes bits back
  value = (value & ~(uint32_t)VIRTIO_NEEDS_RESET) | (old & VIRTIO_NEEDS_RESET);
  bool acceptable = !(virtio->features & ~virtio->offered) && virtio->features & VIRTIO_F_VERSION_1;
  if (!(old & VIRTIO_FEATURES_OK) && !acceptable) value &= ~(uint32_t)VIRTIO_FEATURES_OK;
  if (!(value & VIRTIO_FEATURES_OK)) value &= ~(uint32_t)VIRTIO_DRIVER_OK;
  virtio->status = value & 0xff;
  DEVICE_LOG(&virtio->base, "status 0x%x", virtio->status);
  if (!(value & VIRTIO_DRIVER_OK) || old & VIRTIO_DRIVER_OK) return;
  if (value & VIRTIO_NEEDS_RESET) virtio_interrupt(virtio, INTERRUPT_CONFIG);
  for (unsigned queue = 0; queue < virtio->kind->queues; queue++) virtio_serve(virtio, queue);
}

static VirtQueue *selected(Virtio *virtio)
{
  return virtio->queue_select < virtio->kind->queues ? &virtio->queues[virtio->queue_select] : NULL;
}

static uint32_t half_of(uint64_t value, uint32_t select)
{
  return select > 1 ? 0 : (uint32_t)(value >> (32 * select));
}

static uint64_t with_half(uint64_t word, uint32_t select, uint64_t value)
{
  if (select > 1) return word;
  return select ? value << 32 | (uint32_t)word : (word >> 32 << 32) | value;
}

static uint32_t read_register(Virtio *virtio, uint64_t offset)
{
  const VirtQueue *queue = selected(virtio);
  if (offset >= SHM_LEN_LOW && offset <= SHM_BASE_HIGH) return UINT32_MAX;        // no shared memory
  switch (offset) {
  case MAGIC:             return MAGIC_VALUE;
  case VERSION:           return 2;
  case DEVICE_ID:         return virtio->kind->id;
  case VENDOR_ID:         return VENDOR_VALUE;
  case DEVICE_FEATURES:   return half_of(virtio->offered, virtio->offered_select);
  case QUEUE_NUM_MAX:     return queue ? VIRTIO_QUEUE_MAX : 0;
  case QUEUE_READY:       return queue ? queue->ready : 0;
  case INTERRUPT_STATUS:  return virtio->interrupts;
  case STATUS:            return virtio->status;
  case CONFIG_GENERATION: return virtio->generation;
  default:                return 0;
  }
}

static void write_queue(Virtio *virtio, VirtQueue *queue, uint64_t offset, uint32_t value)
{
  if (offset == QUEUE_READY) {
    if (!(value & 1)) queue->ready = 0;
    else if (!queue->ready) queue_enable(virtio, queue);
    return;
  }
  if (queue->ready) return;                       // its place must not change now (4.2.2.2)
  switch (offset) {
  case QUEUE_NUM:         queue->size = value; break;
  case QUEUE_DESC_LOW:    queue->descriptors = with_half(queue->descriptors, 0, value); break;
  case QUEUE_DESC_HIGH:   queue->descriptors = with_half(queue->descriptors, 1, value); break;
  case QUEUE_DRIVER_LOW:  queue->available = with_half(queue->available, 0, value); break;
  case QUEUE_DRIVER_HIGH: queue->available = with_half(queue->available, 1, value); break;
  case QUEUE_DEVICE_LOW:  queue->used = with_half(queue->used, 0, value); break;
  case QUEUE_DEVICE_HIGH: queue->used = with_half(queue->used, 1, value); break;
  default:                break;
  }
}

static void write_register(Virtio *virtio, uint64_t offset, uint32_t value)
{
  VirtQueue *queue = selected(virtio);
  switch (offset) {
  case DEVICE_FEATURES_SEL: virtio->offered_select = value; break;
  case DRIVER_FEATURES_SEL: virtio->features_select = value; break;
  case DRIVER_FEATURES:
    if (!(virtio->status & VIRTIO_FEATURES_OK))
      virtio->features = with_half(virtio->features, virtio->features_select, value);
    break;
  case QUEUE_SEL: virtio->queue_select = value; break;
  case QUEUE_NOTIFY:
    DEVICE_LOG(&virtio->base, "queue %u notified", value);
    if (value < virtio->kind->queues) virtio_serve(virtio, value);
    break;
  case INTERRUPT_ACK:
    virtio->interrupts &= ~value;
    device_line(virtio->line, virtio->interrupts != 0);
    break;
  case STATUS: write_status(virtio, value); break;
  default:
    if (queue) write_queue(virtio, queue, offset, value);
    break;
  }
}

uint64_t virtio_mmio_read(void *device, uint64_t offset, unsigned size)
{
  Virtio *virtio = device;
  uint64_t value = 0;
  if (offset >= CONFIG) {
    if (offset - CONFIG + size <= VIRTIO_CONFIG_BYTES) memcpy(&value, virtio->config + (offset - CONFIG), size);
    return value;
  }
  return size == 4 ? read_register(virtio, offset) : 0;
}

// No device here has configuration that the driver may write.
void virtio_mmio_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
  if (offset < CONFIG && size == 4) write_register(device, offset, (uint32_t)value);
}

UM_EXPORT const char *um_virtio_broken(const um_dev *device)
{
  if (device->model->ops.read != virtio_mmio_read) return NULL;
  return ((const Virtio *)device)->broken;
}
