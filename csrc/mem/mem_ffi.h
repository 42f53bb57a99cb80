// mem: guest-physical address space at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_mem um_mem;

// One row of the memory map, for people and counters.
struct um_mem_row {
  uint64_t at, size;          // guest-physical bytes
  uint64_t reads, writes;     // MMIO accesses so far; 0 for RAM
  uint32_t kind;              // UM_MEM_*
  char     name[28];
};

enum { UM_MEM_RAM, UM_MEM_ROM, UM_MEM_MMIO };

um_mem *um_mem_new(void);                                                          // NULL without memory
void    um_mem_free(um_mem *mem);
// Adds zeroed RAM (or ROM: only um_mem_write fills it). `at` and `size` in bytes, multiples of 4096. UM_EINVAL, UM_EOVERLAP, UM_ENOMEM.
int     um_mem_add_ram(um_mem *mem, uint64_t at, uint64_t size, int rom, const char *name, struct um_fault *why);
// A window whose accesses a hart's run hands to Lua (UM_EXIT_MMIO) under `number`; other masters find nothing there.
int     um_mem_add_window(um_mem *mem, uint64_t at, uint64_t size, uint32_t number, const char *name, struct um_fault *why);
void    um_mem_clear(um_mem *mem);                                                 // all RAM (not ROM) holds zeros, as when it was added
void    um_mem_log(um_mem *mem, um_log *log);                                      // where its harts and devices log; NULL: nowhere
int     um_mem_rows(const um_mem *mem);
int     um_mem_row(const um_mem *mem, int index, struct um_mem_row *row);          // sorted by address; UM_EINVAL past the end
// Bulk access to RAM and ROM by the host (ROM is writable here). The whole range must be there, else UM_EGUEST and nothing is done.
int     um_mem_read(um_mem *mem, uint64_t gpa, void *to, uint64_t size, struct um_fault *why);
int     um_mem_write(um_mem *mem, uint64_t gpa, const void *from, uint64_t size, struct um_fault *why);
// A single access of 1, 2, 4 or 8 bytes as a hart or device master would do it, MMIO included. UM_EGUEST where nothing answers.
int     um_mem_load(um_mem *mem, uint64_t gpa, uint32_t size, uint64_t *value, struct um_fault *why);
int     um_mem_store(um_mem *mem, uint64_t gpa, uint32_t size, uint64_t value, struct um_fault *why);
void   *um_mem_view(um_mem *mem, uint64_t gpa, uint64_t size);                     // host address of RAM until close, or NULL; writes through it are not seen by code tracking
