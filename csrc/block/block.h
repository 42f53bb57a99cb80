// block: disk images; knows sectors, not virtio.
// SPDX-License-Identifier: MIT
//
// A raw image is read and written with pread and pwrite and never mapped: a file that another process
// cuts short while a guest uses it is then an I/O error of one request, not a SIGBUS.
//
// An image whose size is no multiple of 512 keeps its tail: the last sector is padded with zeros, and a
// write that reaches into the padding lets the file grow up to the end of that sector, never further.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "block/block_ffi.h"

enum { SECTOR_BITS = 9, SECTOR_BYTES = 1 << SECTOR_BITS };

typedef struct um_block Block;

struct um_block {
  int      fd;
  bool     read_only;
  bool     is_file;           // else a block device, whose size cannot change under us
  uint64_t bytes;             // capacity, a multiple of SECTOR_BYTES
  uint64_t file_bytes;        // bytes of it that the file must hold; zeros behind them
  struct um_block_counts counts;
  char     path[128];         // for messages, cut at its end when longer
};

static inline uint64_t block_sectors(const Block *block)
{
  return block->bytes >> SECTOR_BITS;
}
