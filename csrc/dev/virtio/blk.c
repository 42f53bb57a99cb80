// blk: virtio's disk over an image.
// SPDX-License-Identifier: MIT
//
// Manual: 5.2. Requests are served in order, each before the next one is looked at.
#include "dev/virtio/virtio.h"
#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8 };
enum { STATUS_OK, STATUS_IO_ERROR, STATUS_UNSUPPORTED };
enum { CONFIG_CAPACITY = 0, CONFIG_SEG_MAX = 12, CONFIG_BLK_SIZE = 20 };
enum { ID_BYTES = 20 };

#define F_SEG_MAX  ((uint64_t)1 << 2)
#define F_RO       ((uint64_t)1 << 5)
#define F_BLK_SIZE ((uint64_t)1 << 6)
#define F_FLUSH    ((uint64_t)1 << 9)

typedef struct Blk {
  Virtio virtio;
  Block *block;
  bool   read_only;
  char   id[ID_BYTES];                // not ended where it is full
} Blk;

typedef struct Header {
  uint32_t type, reserved;
  uint64_t sector;
} Header;

// Whether `size` bytes from `sector` on are whole sectors of the disk.
static bool on_disk(const Blk *blk, uint64_t sector, uint64_t size)
{
  uint64_t sectors = block_sectors(blk->block);
  return size % SECTOR_BYTES == 0 && sector <= sectors && size / SECTOR_BYTES <= sectors - sector;
}

// Reads the disk into the writable buffers, all but the status byte.
static uint8_t read_disk(Blk *blk, const Chain *chain, uint64_t sector, uint32_t size)
{
  if (!on_disk(blk, sector, size)) return STATUS_IO_ERROR;
  for (uint32_t done = 0; done < size;) {
    Buffer part = chain_writable(chain, done);
    if (part.size > size - done) part.size = size - done;
    mem_dma_touch(blk->virtio.base.mem, part.gpa, part.size);
    if (um_block_read(blk->block, sector * SECTOR_BYTES + done, part.host, part.size, NULL) < 0) return STATUS_IO_ERROR;
    done += part.size;
  }
  return STATUS_OK;
}

// Without a FLUSH that the driver could send, what is written must be on the medium at once (5.2.6.2).
static uint8_t write_disk(Blk *blk, const Chain *chain, uint64_t sector)
{
  uint64_t size = chain->readable_bytes - sizeof(Header);
  if (blk->read_only || !on_disk(blk, sector, size)) return STATUS_IO_ERROR;
  for (uint64_t done = 0; done < size;) {
    Buffer part = chain_readable(chain, sizeof(Header) + done);
    if (um_block_write(blk->block, sector * SECTOR_BYTES + done, part.host, part.size, NULL) < 0) return STATUS_IO_ERROR;
    done += part.size;
  }
  if (blk->virtio.features & F_FLUSH) return STATUS_OK;
  return um_block_flush(blk->block, NULL) < 0 ? STATUS_IO_ERROR : STATUS_OK;
}

// Serves one request; how many bytes it wrote before the status byte goes to `written`.
static uint8_t serve_request(Blk *blk, const Chain *chain, const Header *header, uint32_t *written)
{
  uint32_t room = (uint32_t)chain->writable_bytes - 1;
  uint8_t status = STATUS_OK;
  *written = 0;
  switch (header->type) {
  case TYPE_IN:
    status = read_disk(blk, chain, header->sector, room);
    if (status == STATUS_OK) *written = room;
    return status;
  case TYPE_OUT:
    return write_disk(blk, chain, header->sector);
  case TYPE_FLUSH:
    return !blk->read_only && um_block_flush(blk->block, NULL) < 0 ? STATUS_IO_ERROR : STATUS_OK;
  case TYPE_GET_ID:
    *written = chain_write(&blk->virtio, chain, 0, blk->id, room < ID_BYTES ? room : ID_BYTES);
    return STATUS_OK;
  default:
    return STATUS_UNSUPPORTED;
  }
}

static void blk_serve(Virtio *virtio, unsigned queue)
{
  Blk *blk = (Blk *)virtio;
  Chain chain;
  while (queue_next(virtio, queue, &chain)) {
    Header header;
    if (chain_read(&chain, 0, &header, sizeof header) < sizeof header || chain.writable_bytes == 0) {
      virtio_break(virtio, "a disk request has no header or no status byte");
      return;
    }
    header = (Header){ le32toh(header.type), 0, le64toh(header.sector) };
    uint32_t written;
    uint8_t status = serve_request(blk, &chain, &header, &written);
    DEVICE_LOG(&virtio->base, "request %u sector %llu: read %llu bytes, wrote %u, status %u", header.type, (unsigned long long)header.sector,
               (unsigned long long)chain.readable_bytes, written, status);
    chain_write(virtio, &chain, chain.writable_bytes - 1, &status, 1);
    // Used bytes count from the first on: with a gap before the status byte only what comes before the gap.
    queue_done(virtio, queue, &chain, written + 1 == chain.writable_bytes ? written + 1 : written);
  }
}

static void blk_reset(Device *device)
{
  virtio_reset((Virtio *)device);
}

static const DeviceState blk_state[] = {
  VIRTIO_STATE(Blk),
  { 0 },
};

static const DeviceModel blk_model = { VIRTIO_MODEL, .name = "virtio_blk", .state = blk_state, .reset = blk_reset };

static const VirtioKind blk_kind = { .id = 2, .queues = 1, .serve = blk_serve };

static int check_options(const Block *block, const char *id, uint32_t block_size, struct um_fault *why)
{
  if (block_size != 512 && block_size != 4096)
    return fault_set(why, UM_EINVAL, "virtio_blk: block_size must be 512 or 4096, not %u", block_size);
  if (strlen(id) > ID_BYTES)
    return fault_set(why, UM_EINVAL, "virtio_blk: id must be at most %d bytes, not %zu (\"%.40s\")", ID_BYTES, strlen(id), id);
  if (block->bytes % block_size)
    return fault_set(why, UM_EINVAL, "virtio_blk: %s has %llu bytes, no multiple of block_size %u", block->path,
                     (unsigned long long)block->bytes, block_size);
  return UM_OK;
}

UM_EXPORT um_dev *um_virtio_blk_new(um_block *block, const char *id, uint32_t block_size, int read_only, um_irq *line,
                                    struct um_fault *why)
{
  if (check_options(block, id, block_size, why) < 0) return NULL;
  Blk *blk = device_new(&blk_model, sizeof *blk, why);
  if (!blk) return NULL;
  blk->block = block;
  blk->read_only = read_only || block->read_only;
  memcpy(blk->id, id, strlen(id));
  virtio_init(&blk->virtio, &blk_kind, F_SEG_MAX | F_BLK_SIZE | F_FLUSH | (blk->read_only ? F_RO : 0), line);
  uint64_t capacity = htole64(block_sectors(block));
  uint32_t seg_max = htole32(VIRTIO_QUEUE_MAX - 2), size = htole32(block_size);
  memcpy(blk->virtio.config + CONFIG_CAPACITY, &capacity, sizeof capacity);
  memcpy(blk->virtio.config + CONFIG_SEG_MAX, &seg_max, sizeof seg_max);
  memcpy(blk->virtio.config + CONFIG_BLK_SIZE, &size, sizeof size);
  return &blk->virtio.base;
}
