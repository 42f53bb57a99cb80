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

// Symbols: names of guest addresses, from any number of files.
typedef struct um_symbols um_symbols;

struct um_symbol {
  uint64_t at, size;         // size 0: unknown
  const char *name;          // good until the table changes
  char     kind;             // as nm prints it: T and t code, D, B, R, d, b, r data, ... ; capital: global
};

um_symbols *um_symbols_new(void);                                // NULL without memory
void        um_symbols_free(um_symbols *symbols);
// Adds what an ELF file's .symtab, a Linux Image's kallsyms (6.4 on) or the text of a System.map names, `offset` added to
// every address. Returns how many they are, 0 when the file has none. UM_EFORMAT: it is broken, or nothing that could have any.
int         um_symbols_add(um_symbols *symbols, const void *bytes, uint64_t size, uint64_t offset, struct um_fault *why);
// Addresses from `from` on (`size` bytes) are called what the ones from `to` on are. At most 16.
int         um_symbols_alias(um_symbols *symbols, uint64_t from, uint64_t size, uint64_t to, struct um_fault *why);
uint32_t    um_symbols_count(const um_symbols *symbols);
bool        um_symbols_row(const um_symbols *symbols, uint32_t index, struct um_symbol *symbol);       // by address; false: past the end
bool        um_symbols_find(const um_symbols *symbols, uint64_t at, struct um_symbol *symbol);         // the one that covers `at`
bool        um_symbols_lookup(const um_symbols *symbols, const char *name, struct um_symbol *symbol);  // the file added last counts most
// "start_kernel+0x10" into `text`: its length, 0 when nothing covers `at`.
int         um_symbols_text(const um_symbols *symbols, uint64_t at, char *text, uint32_t size);
