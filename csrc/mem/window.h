// window: guest memory of a process: a reserved stretch of host address space, with fault-proof access to it.
// SPDX-License-Identifier: MIT
//
// A guest address below 2^38 (Sv39's user half) is an offset from `base`; the host's page tables hold the guest's mappings and
// protections, so a load is a load. What lies around the window is reserved too and never mapped: an access that begins inside
// and ends outside faults. The base is 2^38 where the host has that place free (WINDOW_BYTES), so that one register can be base and bound. Whoever touches guest memory does it with the macros or copies below: each names a place to go on
// from when the host refuses, which the handler of SIGSEGV and SIGBUS finds by the instruction (window_recover), so the state
// at a guest's fault is exact and a guest that pulls memory away from under a system call gets EFAULT.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "base/check.h"

enum { WINDOW_BITS = 38 };
#define WINDOW_BYTES ((uint64_t)1 << WINDOW_BITS)

// State of a guest page. The first three are those of mmap. CODE: a hart has decoded from it; WATCHED: to the host it is read-only
// until the first store, though the guest may write it.
enum { WINDOW_READ = 1, WINDOW_WRITE = 2, WINDOW_EXECUTE = 4, WINDOW_MAPPED = 8, WINDOW_CODE = 16, WINDOW_WATCHED = 32 };

typedef struct Window {
  uint8_t *base;               // of guest address 0
  uint8_t *pages;              // WINDOW_* by page
} Window;

int  window_open(Window *window, struct um_fault *why);
void window_close(Window *window);

static inline bool window_holds(uint64_t gva, uint64_t size)
{
  return gva < WINDOW_BYTES && size <= WINDOW_BYTES - gva;
}

static inline unsigned window_flags(const Window *window, uint64_t gva)
{
  return gva < WINDOW_BYTES ? __atomic_load_n(&window->pages[gva >> 12], __ATOMIC_RELAXED) : 0;
}

void window_set(Window *window, uint64_t gva, uint64_t size, unsigned flags);       // of whole pages, CODE cleared
void window_note_code(Window *window, uint64_t gva);
bool window_has_code(const Window *window, uint64_t gva, uint64_t size);

// Copies; false when any of it is not there (what comes before may have been copied).
bool window_read(const Window *window, uint64_t gva, void *to, uint64_t size);
bool window_write(const Window *window, uint64_t gva, const void *from, uint64_t size);
// One access of 1, 2, 4 or 8 bytes, zero-extended. False: it is not there, and nothing of it was written.
bool window_load(const Window *window, uint64_t gva, unsigned size, uint64_t *value);
bool window_store(const Window *window, uint64_t gva, unsigned size, uint64_t value);
// A text that ends in a zero, at most `size` bytes with it. Its length, -1 when it is not there, -2 when it is longer.
int64_t window_read_text(const Window *window, uint64_t gva, char *to, uint64_t size);

// The last fault of this thread that window_recover redirected.
typedef struct WindowFault { uintptr_t host; int signal; } WindowFault;
const WindowFault *window_fault(void);
// For a handler of SIGSEGV and SIGBUS: sends the interrupted access to its place of recovery. False: it was none of these.
bool window_recover(int signal, void *siginfo, void *ucontext);

// The handlers of this process while one thread runs code in a window by itself. `on` false: those before.
void window_handle(bool on);

// Code made at run time, some instructions of which access the window. Where one faults, it is as if it had called `resume`.
typedef struct WindowCode {
  const uint8_t *start, *resume;
  size_t size;
  bool (*accesses)(const struct WindowCode *code, size_t offset);          // the instruction there does
} WindowCode;
void window_run_code(const WindowCode *code);      // what this thread runs from now on; NULL: none

// -- Access ---------------------------------------------------------------------------------------------------------------
// `fault` is a label. The narrow loads fill 32 bits.

#define WINDOW_ROW "1:\n\t.pushsection um_recover,\"a\"\n\t.balign 4\n\t.long 1b - ., %l[recover] - .\n\t.popsection\n\t"

#define WINDOW_TEMP_uint8_t  uint32_t
#define WINDOW_TEMP_uint16_t uint32_t
#define WINDOW_TEMP_uint32_t uint32_t
#define WINDOW_TEMP_uint64_t uint64_t
#define WINDOW_LOAD_uint8_t  "movzbl %[from], %k[to]"
#define WINDOW_LOAD_uint16_t "movzwl %[from], %k[to]"
#define WINDOW_LOAD_uint32_t "movl %[from], %k[to]"
#define WINDOW_LOAD_uint64_t "movq %[from], %q[to]"
#define WINDOW_STORE_uint8_t  "movb %b[from], %[to]"
#define WINDOW_STORE_uint16_t "movw %w[from], %[to]"
#define WINDOW_STORE_uint32_t "movl %k[from], %[to]"
#define WINDOW_STORE_uint64_t "movq %q[from], %[to]"

#define WINDOW_LOAD(type, out, place, fault) \
  do { \
    __label__ recover; \
    asm volatile goto(WINDOW_ROW WINDOW_LOAD_##type : [to] "=r"(out) : [from] "m"(*(const volatile type *)(place)) : : recover); \
    break; \
    recover: goto fault; \
  } while (0)

#define WINDOW_STORE(type, place, value, fault) \
  do { \
    __label__ recover; \
    asm volatile goto(WINDOW_ROW WINDOW_STORE_##type : [to] "=m"(*(volatile type *)(place)) : [from] "r"((type)(value)) : : recover); \
    break; \
    recover: goto fault; \
  } while (0)

// Exchanges `wanted` for what lies there if that is `old`, which gets what lay there; `done` says whether.
#define WINDOW_EXCHANGE(type, place, old, wanted, done, fault) \
  do { \
    __label__ recover; \
    asm volatile goto(WINDOW_ROW "lock cmpxchg %[new], %[at]\n\tsete %b[ok]" \
             : [at] "+m"(*(volatile type *)(place)), "+a"(old), [ok] "=&r"(done) : [new] "r"((type)(wanted)) : "memory", "cc" : recover); \
    break; \
    recover: goto fault; \
  } while (0)
