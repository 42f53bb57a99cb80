// window: reserving it, the state of its pages, and recovering from faults in it.
// SPDX-License-Identifier: MIT
#include "mem/window.h"
#include "base/fault.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { GUARD = 1 << 21 };          // before and after: more than any access that begins inside can reach

#define PAGES (WINDOW_BYTES >> 12)

// A place that may fault and where to go on: both relative to themselves.
typedef struct Row { int32_t at, to; } Row;
extern const Row __start_um_recover[], __stop_um_recover[] __attribute__((visibility("hidden")));

static __thread WindowFault last_fault;
static __thread const WindowCode *running;

// The rows by address, made before the first window: what a handler may search.
typedef struct Place { uintptr_t at, to; } Place;
static Place *places;

static uintptr_t place_of(const int32_t *relative) { return (uintptr_t)relative + (uintptr_t)(intptr_t)*relative; }

static int by_address(const void *a, const void *b)
{
  uintptr_t x = ((const Place *)a)->at, y = ((const Place *)b)->at;
  return (x > y) - (x < y);
}

static bool sort_places(void)
{
  size_t count = (size_t)(__stop_um_recover - __start_um_recover);
  if (places) return true;
  Place *sorted = malloc(count * sizeof *sorted);
  if (!sorted) return false;
  for (size_t i = 0; i < count; i++) sorted[i] = (Place){ .at = place_of(&__start_um_recover[i].at), .to = place_of(&__start_um_recover[i].to) };
  qsort(sorted, count, sizeof *sorted, by_address);
  places = sorted;
  return true;
}

int window_open(Window *window, struct um_fault *why)
{
  if (!sort_places()) return fault_set(why, UM_ENOMEM, "no memory for a window");
  uint8_t *all = mmap((void *)(WINDOW_BYTES - GUARD), WINDOW_BYTES + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  uint8_t *pages = mmap(NULL, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED || pages == MAP_FAILED) {
    int error = errno;
    if (all != MAP_FAILED) munmap(all, WINDOW_BYTES + 2 * GUARD);
    if (pages != MAP_FAILED) munmap(pages, PAGES);
    return fault_set(why, UM_ENOMEM, "cannot reserve 256 GiB of address space for guest memory: %s (a limit of it, ulimit -v, has to leave room)", strerror(error));
  }
  *window = (Window){ .base = all + GUARD, .pages = pages };
  last_fault.signal = 0;                       // touched once, so that a handler need not allocate it
  return UM_OK;
}

void window_close(Window *window)
{
  if (!window->base) return;
  munmap(window->base - GUARD, WINDOW_BYTES + 2 * GUARD);
  munmap(window->pages, PAGES);
  *window = (Window){ 0 };
}

void window_set(Window *window, uint64_t gva, uint64_t size, unsigned flags)
{
  check_values(window_holds(gva, size) && !((gva | size) & 4095), gva, size);
  uint8_t *pages = window->pages + (gva >> 12);
  // Clearing much gives the memory back instead of touching it.
  if (!flags && size >= (uint64_t)1 << 34 && mmap(pages, size >> 12, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED) return;
  memset(pages, (int)flags, size >> 12);
}

void window_note_code(Window *window, uint64_t gva)
{
  __atomic_fetch_or(&window->pages[gva >> 12], WINDOW_CODE, __ATOMIC_RELAXED);
}

bool window_has_code(const Window *window, uint64_t gva, uint64_t size)
{
  for (uint64_t page = gva >> 12; page < (gva + size) >> 12; page++)
    if (__atomic_load_n(&window->pages[page], __ATOMIC_RELAXED) & WINDOW_CODE) return true;
  return false;
}

// -- Copies ---------------------------------------------------------------------------------------------------------------

// Writing a part that is there before one that is not is what the kernel does too.
static bool copy(void *to, const void *from, uint64_t size)
{
  __label__ recover;
  asm volatile goto(WINDOW_ROW "rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory" : recover);
  return true;
recover:
  return false;
}

bool window_read(const Window *window, uint64_t gva, void *to, uint64_t size)
{
  return window_holds(gva, size) && copy(to, window->base + gva, size);
}

bool window_write(const Window *window, uint64_t gva, const void *from, uint64_t size)
{
  return window_holds(gva, size) && copy(window->base + gva, from, size);
}

bool window_load(const Window *window, uint64_t gva, unsigned size, uint64_t *value)
{
  uint32_t narrow;
  if (gva >= WINDOW_BYTES) return false;
  const uint8_t *at = window->base + gva;
  switch (size) {
  case 1: WINDOW_LOAD(uint8_t, narrow, at, fault); break;
  case 2: WINDOW_LOAD(uint16_t, narrow, at, fault); break;
  case 4: WINDOW_LOAD(uint32_t, narrow, at, fault); break;
  default: WINDOW_LOAD(uint64_t, *value, at, fault); return true;
  }
  *value = narrow;
  return true;
fault:
  return false;
}

bool window_store(const Window *window, uint64_t gva, unsigned size, uint64_t value)
{
  if (gva >= WINDOW_BYTES) return false;
  uint8_t *at = window->base + gva;
  switch (size) {
  case 1: WINDOW_STORE(uint8_t, at, value, fault); break;
  case 2: WINDOW_STORE(uint16_t, at, value, fault); break;
  case 4: WINDOW_STORE(uint32_t, at, value, fault); break;
  default: WINDOW_STORE(uint64_t, at, value, fault);
  }
  return true;
fault:
  return false;
}

int64_t window_read_text(const Window *window, uint64_t gva, char *to, uint64_t size)
{
  for (uint64_t i = 0; i < size; i++) {
    uint32_t byte;
    if (gva + i >= WINDOW_BYTES) return -1;
    WINDOW_LOAD(uint8_t, byte, window->base + gva + i, fault);
    to[i] = (char)byte;
    if (!byte) return (int64_t)i;
  }
  return -2;
fault:
  return -1;
}

// -- Faults ---------------------------------------------------------------------------------------------------------------

const WindowFault *window_fault(void)
{
  return &last_fault;
}

void window_run_code(const WindowCode *code)
{
  running = code;
}

bool window_recover(int signal, void *siginfo, void *ucontext)
{
  greg_t *gregs = ((ucontext_t *)ucontext)->uc_mcontext.gregs, *rip = &gregs[REG_RIP];
  const WindowCode *code = running;
  size_t offset = code ? (uintptr_t)*rip - (uintptr_t)code->start : 0;
  if (code && offset < code->size && code->accesses(code, offset)) {
    last_fault = (WindowFault){ .host = (uintptr_t)((siginfo_t *)siginfo)->si_addr, .signal = signal };
    gregs[REG_RSP] -= 8;
    memcpy((void *)(uintptr_t)gregs[REG_RSP], rip, sizeof *rip);
    *rip = (greg_t)(uintptr_t)code->resume;
    return true;
  }
  Place sought = { .at = (uintptr_t)*rip };
  const Place *place = bsearch(&sought, places, (size_t)(__stop_um_recover - __start_um_recover), sizeof *places, by_address);
  if (!place) return false;
  last_fault = (WindowFault){ .host = (uintptr_t)((siginfo_t *)siginfo)->si_addr, .signal = signal };
  *rip = (greg_t)place->to;
  return true;
}

static struct sigaction before[2];
static const int refusals[2] = { SIGSEGV, SIGBUS };

// What is no access to a window goes to who was there before, by way of the instruction that is done again.
static void handler(int signal, siginfo_t *info, void *context)
{
  if (!window_recover(signal, info, context)) window_handle(false);
}

void window_handle(bool on)
{
  struct sigaction ours = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
  for (int i = 0; i < 2; i++) sigaction(refusals[i], on ? &ours : &before[i], on ? &before[i] : NULL);
}
