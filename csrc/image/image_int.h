// image: what the files of this folder share: fields of a byte buffer, and the headers of ELF files.
// SPDX-License-Identifier: MIT
#pragma once
#include <string.h>
#include "base/check.h"
#include "image/image.h"

typedef struct Buffer {
  const uint8_t *bytes;
  uint64_t size;
} Buffer;

// ELF header fields in a width-neutral form.
typedef struct Elf {
  Buffer   file;
  bool     wide;                   // ELF64
  uint32_t machine;
  uint64_t entry;
  uint64_t ph_offset, sh_offset;
  uint32_t ph_size, ph_count, sh_size, sh_count;
} Elf;

static inline bool has(Buffer file, uint64_t offset, uint64_t need)
{
  return offset <= file.size && file.size - offset >= need;
}

// Little-endian field of `width` bytes; the caller has checked that it is there.
static inline uint64_t field(Buffer file, uint64_t offset, unsigned width)
{
  uint64_t value = 0;
  debug_check(has(file, offset, width));
  for (unsigned i = 0; i < width; i++) value |= (uint64_t)file.bytes[offset + i] << 8 * i;
  return value;
}

static inline bool starts_with(Buffer file, uint64_t offset, const char *magic, size_t length)
{
  return has(file, offset, length) && memcmp(file.bytes + offset, magic, length) == 0;
}

// The header of an ELF file; refuses what is none.
int elf_open(Elf *elf, Buffer file, struct um_fault *why);
