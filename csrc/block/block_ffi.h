// block: disk images at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_block um_block;

struct um_block_counts {
  uint64_t reads, writes, flushes;          // requests done without an error
  uint64_t read_bytes, written_bytes;
  uint64_t errors;                          // requests that failed
};

// Opens a raw image, a file or a block device. Writing takes it exclusively, reading shares it with other readers.
// UM_EIO: not there, no rights, in use; UM_EFORMAT: neither a file nor a block device.
um_block *um_block_open(const char *path, int read_only, struct um_fault *why);   // NULL on refusal
void      um_block_close(um_block *block);                                        // NULL is fine; does not flush to the medium
uint64_t  um_block_bytes(const um_block *block);       // a multiple of 512: the size of the file at opening, rounded up
int       um_block_read_only(const um_block *block);
// `at` and `size` in bytes, of any alignment, within um_block_bytes. 0, UM_EINVAL outside of it or read-only, UM_EIO.
// A request that failed half-way has read or written an unknown part.
int       um_block_read(um_block *block, uint64_t at, void *to, uint64_t size, struct um_fault *why);
int       um_block_write(um_block *block, uint64_t at, const void *from, uint64_t size, struct um_fault *why);
int       um_block_flush(um_block *block, struct um_fault *why);                  // comes back when what was written is on the medium
void      um_block_counts(const um_block *block, struct um_block_counts *counts);
