// written: what a child of vfork writes before it executes or ends, told to the process that waits for it.
// SPDX-License-Identifier: MIT
//
// Such a child has a copy of the memory that it should share, because the program it executes takes the place of the old one here
// (docs/adr/0010-vfork.md). So its pages are write-protected on the host until the first store into each, which keeps a copy; when the child
// leaves, the bytes that differ from the copies go through the pipe that the parent waits at. The parent stores just those, so
// that what its other threads wrote meanwhile beside them stays.
#include "linux/linux_int.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, COPIES = 16384 };        // at most 64 MiB are told of

struct Written {
  _Atomic unsigned count;                    // may pass COPIES
  uint64_t page[COPIES];
  uint8_t  copy[COPIES][PAGE];
};

// One run of changed bytes, in front of them.
typedef struct Run { uint64_t at, size; } Run;

void written_begin(Process *p)
{
  Written *written = mmap(NULL, sizeof *written, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (written == MAP_FAILED) return;         // its writes stay its own
  p->written = written;
  for (unsigned i = 0; i < p->area_count; i++) {
    const Area *area = &p->areas[i];
    if (!(area->prot & PROT_WRITE) || area->shared) continue;
    if (mprotect(p->window.base + area->from, area->to - area->from, PROT_READ) < 0) continue;
    for (uint64_t at = area->from; at < area->to; at += PAGE) p->window.pages[at >> 12] |= WINDOW_WATCHED;
  }
}

void written_end(Process *p)
{
  if (!p->written) return;
  for (unsigned i = 0; i < p->area_count; i++) {
    const Area *area = &p->areas[i];
    if (!(area->prot & PROT_WRITE) || area->shared) continue;
    for (uint64_t at = area->from; at < area->to; at += PAGE) __atomic_fetch_and(&p->window.pages[at >> 12], (uint8_t)~WINDOW_WATCHED, __ATOMIC_RELAXED);
    mprotect(p->window.base + area->from, area->to - area->from, PROT_READ | PROT_WRITE);
  }
  munmap(p->written, sizeof *p->written);
  p->written = NULL;
}

// In a handler of SIGSEGV as well. The copy comes before the page can change.
static void keep(Process *p, uint64_t page)
{
  Written *written = p->written;
  unsigned i = atomic_fetch_add(&written->count, 1);
  if (i < COPIES) {
    memcpy(written->copy[i], p->window.base + page, PAGE);
    written->page[i] = page;
  }
  __atomic_fetch_and(&p->window.pages[page >> 12], (uint8_t)~WINDOW_WATCHED, __ATOMIC_RELAXED);
}

static bool make_writable(const Process *p, uint64_t page)
{
  return mprotect(p->window.base + page, PAGE, PROT_READ | PROT_WRITE) == 0;
}

bool written_fault(Process *p, uintptr_t host)
{
  uint64_t gva = host - (uintptr_t)p->window.base;
  if (!p->written || gva >= WINDOW_BYTES || !(window_flags(&p->window, gva) & WINDOW_WRITE)) return false;
  uint64_t page = gva & ~(uint64_t)(PAGE - 1);
  // Another thread of this child may have been here first, or mremap has moved the page: then the store is just made again.
  if (window_flags(&p->window, gva) & WINDOW_WATCHED) keep(p, page);
  return make_writable(p, page);
}

void written_touch(Process *p, uint64_t gva, uint64_t size)
{
  for (uint64_t at = gva & ~(uint64_t)(PAGE - 1); at < gva + size && at < WINDOW_BYTES; at += PAGE)
    if (window_flags(&p->window, at) & WINDOW_WATCHED) {
      keep(p, at);
      make_writable(p, at);
    }
}

// -- Telling --------------------------------------------------------------------------------------------------------------

static bool send_all(int fd, const void *bytes, size_t size)
{
  for (const uint8_t *at = bytes; size;) {
    ssize_t done = write(fd, at, size);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return false;
    at += done;
    size -= (size_t)done;
  }
  return true;
}

static bool tell_page(const Process *p, unsigned i)
{
  uint8_t now[PAGE];
  const uint8_t *before = p->written->copy[i];
  if (!window_read(&p->window, p->written->page[i], now, PAGE)) return true;       // no longer there
  for (unsigned from = 0; from < PAGE;) {
    if (now[from] == before[from]) {
      from++;
      continue;
    }
    unsigned to = from;
    while (to < PAGE && now[to] != before[to]) to++;
    Run run = { .at = p->written->page[i] + from, .size = to - from };
    if (!send_all(p->vfork_fd, &run, sizeof run) || !send_all(p->vfork_fd, now + from, to - from)) return false;
    from = to;
  }
  return true;
}

// All signals are blocked, so that a parent that is gone shows as EPIPE and no more.
void written_tell(Process *p)
{
  if (!p->written || p->vfork_fd < 0) return;
  unsigned count = p->written->count < COPIES ? p->written->count : COPIES;
  bool there = true;
  signal_block_all();
  for (unsigned i = 0; there && i < count; i++) there = tell_page(p, i);
  const struct timespec now = { 0 };
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  if (!there) sigtimedwait(&pipe, NULL, &now);
}

// -- Hearing --------------------------------------------------------------------------------------------------------------

// False at the end, or when this process is to end and waits for nobody.
static bool receive(const Process *p, int fd, void *to, size_t size)
{
  for (uint8_t *at = to; size;) {
    ssize_t done = read(fd, at, size);
    if (done < 0 && errno == EINTR && !p->ending) continue;
    if (done <= 0) return false;
    at += done;
    size -= (size_t)done;
  }
  return true;
}

void written_hear(Thread *thread, int fd)
{
  Run run;
  uint8_t bytes[PAGE];
  while (receive(thread->process, fd, &run, sizeof run) && run.size <= PAGE && receive(thread->process, fd, bytes, run.size))
    put(thread, run.at, bytes, run.size);
}
