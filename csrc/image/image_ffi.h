// image: what a file to be booted is, at the border.
// SPDX-License-Identifier: MIT
#pragma once

enum {
  UM_IMAGE_RAW,          // nothing known: bytes to be loaded as they are
  UM_IMAGE_ELF,
  UM_IMAGE_LINUX,        // flat kernel with the RISC-V Image header
};

enum { UM_IMAGE_READ = 4, UM_IMAGE_WRITE = 2, UM_IMAGE_EXECUTE = 1 };   // as ELF's p_flags

struct um_image {
  uint32_t kind;             // UM_IMAGE_*
  uint32_t bits;             // ELF: 32 or 64; else 64
  uint32_t machine;          // ELF: e_machine; 243 is RISC-V
  uint32_t segments;         // ELF: PT_LOAD headers that take memory
  uint64_t entry;            // ELF: guest address of the first instruction
  uint64_t low, high;        // ELF: physical addresses covered, high exclusive
  uint64_t header_bytes;     // ELF: size of the headers that begin the file (a linker may make a segment of them alone)
  uint64_t text_offset;      // LINUX: load at a 2 MiB boundary + this
  uint64_t memory_bytes;     // bytes the image takes once loaded, its bss included
};

struct um_image_segment {
  uint64_t at, virtual_at;   // physical and virtual guest address
  uint64_t offset;           // in the file
  uint64_t file_bytes;       // copied from the file
  uint64_t memory_bytes;     // taken in memory; what lies past file_bytes is zero
  uint32_t flags;            // UM_IMAGE_READ | ...
};

// All of these read `size` bytes at `bytes` and keep nothing.
// Fills `image` from headers that were checked in full. UM_EFORMAT: empty, truncated, contradictory, compressed, or for
// another architecture than RISC-V.
int um_image_probe(const void *bytes, uint64_t size, struct um_image *image, struct um_fault *why);
// ELF: loadable segment `index` from 0, in the order of the file. UM_EINVAL past the last.
int um_image_segment(const void *bytes, uint64_t size, uint32_t index, struct um_image_segment *segment, struct um_fault *why);
// ELF: value of the symbol `name`. UM_EINVAL when there is no such symbol (or no symbol table), UM_EFORMAT when the table is broken.
int um_image_symbol(const void *bytes, uint64_t size, const char *name, uint64_t *value, struct um_fault *why);
