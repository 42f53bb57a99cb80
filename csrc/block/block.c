// block: raw disk images.
// SPDX-License-Identifier: MIT
#include "block/block.h"
#include "base/check.h"
#include "base/fault.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// One system call moves at most this much: Linux stops at 2^31 - 4096 anyway.
enum { PIECE_BYTES = 1 << 30 };

// What to do about an image that cannot be written, said with the refusal.
#define READ_ONLY_ADVICE "make it writable, or open it with read_only = true"

static int refuse_open(const Block *block, struct um_fault *why)
{
  const char *path = block->path;
  bool read_only = block->read_only;
  if (!read_only && (errno == EACCES || errno == EROFS || errno == EPERM))
    return fault_set(why, UM_EIO, "cannot open %s for writing: %s; " READ_ONLY_ADVICE, path, strerror(errno));
  if (!read_only && errno == EISDIR) return fault_set(why, UM_EFORMAT, "%s is a directory, not a disk image", path);
  if (!read_only && errno == ETXTBSY) return fault_set(why, UM_EIO, "cannot open %s for writing: a program runs from it", path);
  return fault_set(why, UM_EIO, "cannot open %s: %s", path, strerror(errno));
}

// Refuses what is no raw image. Root may write files that nobody else may: here a file without any write
// permission is taken as its owner meant it.
static int check_kind(const Block *block, const struct stat *info, struct um_fault *why)
{
  const char *path = block->path;
  if (S_ISDIR(info->st_mode)) return fault_set(why, UM_EFORMAT, "%s is a directory, not a disk image", path);
  if (!S_ISREG(info->st_mode) && !S_ISBLK(info->st_mode))
    return fault_set(why, UM_EFORMAT, "%s is neither a file nor a block device", path);
  if (!block->read_only && !(info->st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)))
    return fault_set(why, UM_EIO, "cannot open %s for writing: it is marked read-only; " READ_ONLY_ADVICE, path);
  return UM_OK;
}

// Two writers, or a writer and a reader, would each see a disk that changes by itself. The lock belongs
// to the open file description, so it also holds within one process and ends with the descriptor.
static int lock(const Block *block, struct um_fault *why)
{
  struct flock range = { .l_type = block->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
  if (fcntl(block->fd, F_OFD_SETLK, &range) == 0) return UM_OK;
  if (errno != EAGAIN && errno != EACCES) return UM_OK;     // a file system without locks is no reason to refuse
  return fault_set(why, UM_EIO, "%s is in use%s", block->path,
                   block->read_only ? ": someone else writes to it" : " by someone else; several may share it only when all open it read-only");
}

static int open_image(Block *block, const char *path, struct um_fault *why)
{
  struct stat info;
  // A FIFO would block in open, a device could act on it: look before opening, and again at what was opened.
  if (stat(path, &info) < 0) return refuse_open(block, why);
  int status = check_kind(block, &info, why);
  if (status < 0) return status;
  block->fd = open(path, (block->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (block->fd < 0) return refuse_open(block, why);
  if (fstat(block->fd, &info) < 0) return refuse_open(block, why);
  status = check_kind(block, &info, why);
  if (status < 0) return status;
  status = lock(block, why);
  if (status < 0) return status;
  off_t end = lseek(block->fd, 0, SEEK_END);
  if (end < 0) return fault_set(why, UM_EIO, "cannot tell the size of %s: %s", block->path, strerror(errno));
  block->is_file = S_ISREG(info.st_mode);
  block->file_bytes = (uint64_t)end;
  block->bytes = ((uint64_t)end + SECTOR_BYTES - 1) & ~(uint64_t)(SECTOR_BYTES - 1);
  if (block->bytes == 0) return fault_set(why, UM_EFORMAT, "%s is empty: a disk needs at least one sector of 512 bytes", block->path);
  return UM_OK;
}

UM_EXPORT um_block *um_block_open(const char *path, int read_only, struct um_fault *why)
{
  Block *block = calloc(1, sizeof *block);
  if (!block) {
    fault_set(why, UM_ENOMEM, "the host has no memory for a disk");
    return NULL;
  }
  block->fd = -1;
  block->read_only = read_only;
  // A message has room for one line: of a long path the end says more than the beginning.
  size_t length = strlen(path), room = sizeof block->path - 1;
  if (length <= room) snprintf(block->path, sizeof block->path, "%s", path);
  else snprintf(block->path, sizeof block->path, "...%s", path + length - (room - 3));
  if (open_image(block, path, why) == UM_OK) return block;
  um_block_close(block);
  return NULL;
}

UM_EXPORT void um_block_close(um_block *block)
{
  if (!block) return;
  if (block->fd >= 0) close(block->fd);
  free(block);
}

UM_EXPORT uint64_t um_block_bytes(const um_block *block)
{
  return block->bytes;
}

UM_EXPORT int um_block_read_only(const um_block *block)
{
  return block->read_only;
}

static int check_range(Block *block, uint64_t at, uint64_t size, struct um_fault *why)
{
  if (at <= block->bytes && size <= block->bytes - at) return UM_OK;
  block->counts.errors++;
  return fault_set(why, UM_EINVAL, "%s: %" PRIu64 " bytes at %" PRIu64 " lie outside of its %" PRIu64 " bytes",
                   block->path, size, at, block->bytes);
}

static int fail(Block *block, const char *verb, uint64_t at, const char *reason, struct um_fault *why)
{
  block->counts.errors++;
  return fault_set(why, UM_EIO, "cannot %s %s at byte %" PRIu64 ": %s", verb, block->path, at, reason);
}

static size_t piece(uint64_t left)
{
  return left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
}

UM_EXPORT int um_block_read(um_block *block, uint64_t at, void *to, uint64_t size, struct um_fault *why)
{
  int status = check_range(block, at, size, why);
  if (status < 0) return status;
  uint8_t *next = to;
  uint64_t left = at < block->file_bytes ? block->file_bytes - at : 0;
  if (left > size) left = size;
  memset(next + left, 0, size - left);
  while (left) {
    ssize_t got = pread(block->fd, next, piece(left), (off_t)at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(block, "read", at, strerror(errno), why);
    if (got == 0) return fail(block, "read", at, "the file has become shorter", why);
    next += got;
    at += (uint64_t)got;
    left -= (uint64_t)got;
  }
  block->counts.reads++;
  block->counts.read_bytes += size;
  return UM_OK;
}

// A write beyond the end would let a file that was cut short grow again, with a hole where data was.
static int check_length(Block *block, uint64_t at, struct um_fault *why)
{
  struct stat info;
  if (!block->is_file) return UM_OK;
  if (fstat(block->fd, &info) < 0) return fail(block, "write", at, strerror(errno), why);
  if ((uint64_t)info.st_size < block->file_bytes) return fail(block, "write", at, "the file has become shorter", why);
  return UM_OK;
}

UM_EXPORT int um_block_write(um_block *block, uint64_t at, const void *from, uint64_t size, struct um_fault *why)
{
  int status = check_range(block, at, size, why);
  if (status < 0) return status;
  if (block->read_only) {
    block->counts.errors++;
    return fault_set(why, UM_EINVAL, "cannot write %s: it was opened read-only", block->path);
  }
  status = check_length(block, at, why);
  if (status < 0) return status;
  const uint8_t *next = from;
  uint64_t left = size;
  while (left) {
    ssize_t put = pwrite(block->fd, next, piece(left), (off_t)at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail(block, "write", at, strerror(errno), why);
    if (put == 0) return fail(block, "write", at, "the host took no byte", why);
    next += put;
    at += (uint64_t)put;
    left -= (uint64_t)put;
    if (at > block->file_bytes) block->file_bytes = at;
  }
  block->counts.writes++;
  block->counts.written_bytes += size;
  return UM_OK;
}

UM_EXPORT int um_block_flush(um_block *block, struct um_fault *why)
{
  while (!block->read_only && fdatasync(block->fd) < 0) {
    if (errno == EINTR) continue;
    block->counts.errors++;
    return fault_set(why, UM_EIO, "cannot flush %s: %s", block->path, strerror(errno));
  }
  block->counts.flushes++;
  return UM_OK;
}

UM_EXPORT void um_block_counts(const um_block *block, struct um_block_counts *counts)
{
  *counts = block->counts;
}
