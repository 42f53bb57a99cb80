// memory: the guest's mappings: mmap, munmap, mprotect, mremap, brk, and who must hear of changed code.
// SPDX-License-Identifier: MIT
//
// The window is always mapped as a whole: what the guest has not mapped is reserved (PROT_NONE), so no other mapping of this
// process can ever come to lie in it. The host never executes guest memory: PROT_EXEC becomes PROT_READ there.
#include "linux/linux_int.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096u
#define LOWEST 0x10000u                      // vm.mmap_min_addr
enum { LAST_ADVICE = 25 };                   // MADV_COLLAPSE; what is above it tests memory for errors
#define STACK_TOP (WINDOW_BYTES - PAGE)

static uint64_t round_up(uint64_t size) { return (size + PAGE - 1) & ~(uint64_t)(PAGE - 1); }

static int host_prot(int prot)
{
  return (prot & PROT_WRITE ? PROT_READ | PROT_WRITE : 0) | (prot & (PROT_READ | PROT_EXEC) ? PROT_READ : 0);
}

static unsigned flags_of(int prot)
{
  return WINDOW_MAPPED | (prot & PROT_READ ? WINDOW_READ : 0) | (prot & PROT_WRITE ? WINDOW_WRITE : 0) | (prot & PROT_EXEC ? WINDOW_EXECUTE : 0);
}

// -- Areas: sorted, disjoint ----------------------------------------------------------------------------------------------

// The first area that ends above gva.
static unsigned area_at(const Process *p, uint64_t gva)
{
  unsigned low = 0, high = p->area_count;
  while (low < high) {
    unsigned middle = (low + high) / 2;
    if (p->areas[middle].to <= gva) low = middle + 1;
    else high = middle;
  }
  return low;
}

static bool make_room(Process *p)
{
  if (p->area_count + 4 <= p->area_room) return true;
  unsigned room = p->area_room ? 2 * p->area_room : 64;
  Area *areas = realloc(p->areas, room * sizeof *areas);
  if (!areas) return false;
  p->areas = areas;
  p->area_room = room;
  return true;
}

static void insert(Process *p, unsigned at, Area area)
{
  memmove(&p->areas[at + 1], &p->areas[at], (p->area_count - at) * sizeof(Area));
  p->areas[at] = area;
  p->area_count++;
}

// Makes an area begin at gva if one spans it. Room was made.
static void split(Process *p, uint64_t gva)
{
  unsigned i = area_at(p, gva);
  if (i == p->area_count || p->areas[i].from >= gva) return;
  Area upper = p->areas[i];
  upper.offset += gva - upper.from;
  upper.from = gva;
  if (upper.name) upper.name = strdup(upper.name);
  p->areas[i].to = gva;
  insert(p, i + 1, upper);
}

static void forget(Process *p, uint64_t from, uint64_t to)
{
  split(p, from);
  split(p, to);
  unsigned first = area_at(p, from), last = first;
  while (last < p->area_count && p->areas[last].from < to) free(p->areas[last++].name);
  memmove(&p->areas[first], &p->areas[last], (p->area_count - last) * sizeof(Area));
  p->area_count -= last - first;
}

static bool same_kind(const Area *a, const Area *b)
{
  return a->to == b->from && !a->name && !b->name && a->prot == b->prot && a->shared == b->shared;
}

static void remember(Process *p, Area area)
{
  forget(p, area.from, area.to);
  unsigned i = area_at(p, area.from);
  if (i > 0 && same_kind(&p->areas[i - 1], &area)) p->areas[i - 1].to = area.to;
  else insert(p, i, area);
}

bool memory_mapped(Process *p, uint64_t at, uint64_t size)
{
  if (!window_holds(at, size)) return false;
  for (unsigned i = area_at(p, at); size; i++) {
    if (i == p->area_count || p->areas[i].from > at) return false;
    uint64_t part = p->areas[i].to - at;
    if (part >= size) return true;
    at += part;
    size -= part;
  }
  return true;
}

static bool is_data(const Area *area) { return area->prot & PROT_WRITE && !area->shared; }

// Of what is mapped in a range; of data only.
static uint64_t bytes_within(const Process *p, uint64_t at, uint64_t size, bool data)
{
  uint64_t bytes = 0;
  for (unsigned i = area_at(p, at); i < p->area_count && p->areas[i].from < at + size; i++) {
    const Area *area = &p->areas[i];
    uint64_t from = area->from > at ? area->from : at, to = area->to < at + size ? area->to : at + size;
    if (!data || is_data(area)) bytes += to - from;
  }
  return bytes;
}

uint64_t memory_bytes(Process *p)
{
  return bytes_within(p, 0, WINDOW_BYTES, false);
}

// Whether the program's own limits forbid `size` bytes more, in the place of what is mapped in `replaced` bytes at `at`.
static bool over_limit(const Process *p, uint64_t at, uint64_t replaced, uint64_t size, bool data)
{
  for (int i = 0; i <= (data ? 1 : 0); i++) {
    const Limit *limit = &p->limits[i];      // of address space, of data
    if (limit->set && bytes_within(p, 0, WINDOW_BYTES, i) - bytes_within(p, at, replaced, i) + size > limit->soft) return true;
  }
  return false;
}

// The highest hole of `size` bytes below `top`; 0: none.
static uint64_t find_hole(const Process *p, uint64_t size, uint64_t top)
{
  uint64_t high = top;
  for (unsigned i = area_at(p, top - 1) + 1; i-- > 0;) {
    if (i < p->area_count && p->areas[i].from < top) {
      if (p->areas[i].to < high && high - p->areas[i].to >= size) return high - size;
      if (p->areas[i].from < high) high = p->areas[i].from;
    }
  }
  return high >= LOWEST + size ? high - size : 0;
}

static uint64_t choose(const Process *p, uint64_t hint, uint64_t size)
{
  hint &= ~(uint64_t)(PAGE - 1);
  if (hint >= LOWEST && window_holds(hint, size) && hint + size <= STACK_TOP) {
    unsigned i = area_at(p, hint);
    if (i == p->area_count || p->areas[i].from >= hint + size) return hint;
  }
  uint64_t at = find_hole(p, size, p->mmap_top);
  return at ? at : find_hole(p, size, STACK_TOP);
}

// -- Changed code ---------------------------------------------------------------------------------------------------------

void code_changed(Thread *self, uint64_t at, uint64_t size)
{
  Process *p = self->process;
  hart_user_drop(self->hart, at, size);
  pthread_mutex_lock(&p->lock);
  for (Thread *t = p->threads; t; t = t->next) {
    if (t == self) continue;
    if (!t->drop_to || at < t->drop_from) t->drop_from = at;
    if (at + size > t->drop_to) t->drop_to = at + size;
    atomic_store(&t->hart->control->attention, 1);
  }
  // Whoever runs guest code leaves it within a slice; it waits for the lock before it goes back.
  for (Thread *t = p->threads; t; t = t->next)
    while (t != self && atomic_load(&t->inside)) sched_yield();
  pthread_mutex_unlock(&p->lock);
}

// After an operation under the lock: `had_code` says that something was decoded from the range.
static int64_t done(Thread *thread, int64_t result, bool had_code, uint64_t at, uint64_t size)
{
  pthread_mutex_unlock(&thread->process->memory);
  if (had_code) code_changed(thread, at, size);
  return result;
}

// -- Operations -----------------------------------------------------------------------------------------------------------

static bool reserve(Process *p, uint64_t at, uint64_t size)
{
  return mmap(p->window.base + at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static char *file_name(int fd)
{
  char link[32], name[PATH_MOST];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, sizeof name - 1);
  if (length < 0) return NULL;
  name[length] = 0;
  return strdup(name);
}

int64_t memory_map(Thread *thread, uint64_t at, uint64_t size, int prot, int flags, int fd, uint64_t offset)
{
  Process *p = thread->process;
  bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
  int type = flags & MAP_TYPE;
  if (!size || (offset & (PAGE - 1)) || (fixed && (at & (PAGE - 1)))) return -EINVAL;
  if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE) return -EINVAL;
  if (size > WINDOW_BYTES || (fixed && !window_holds(at, round_up(size)))) return -ENOMEM;
  size = round_up(size);
  if (fixed && at < LOWEST) return -EPERM;
  pthread_mutex_lock(&p->memory);
  if (!make_room(p)) return done(thread, -ENOMEM, false, 0, 0);
  if (!fixed) at = choose(p, at, size);
  if (!at) return done(thread, -ENOMEM, false, 0, 0);
  unsigned i = area_at(p, at);
  bool taken = i < p->area_count && p->areas[i].from < at + size;
  if (flags & MAP_FIXED_NOREPLACE && taken) return done(thread, -EEXIST, false, 0, 0);
  if (over_limit(p, at, size, size, prot & PROT_WRITE && type == MAP_PRIVATE)) return done(thread, -ENOMEM, false, 0, 0);
  bool had_code = taken && window_has_code(&p->window, at, size);
  int host_flags = (flags & ~(MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | MAP_LOCKED | 0x40 /* MAP_32BIT */)) | MAP_FIXED;
  if (mmap(p->window.base + at, size, host_prot(prot), host_flags, flags & MAP_ANONYMOUS ? -1 : fd, (off_t)offset) == MAP_FAILED)
    return done(thread, -errno, false, 0, 0);
  remember(p, (Area){ .from = at, .to = at + size, .offset = offset, .prot = (uint8_t)(prot & 7), .shared = type != MAP_PRIVATE,
                      .name = flags & MAP_ANONYMOUS ? NULL : file_name(fd) });
  window_set(&p->window, at, size, flags_of(prot));
  return done(thread, (int64_t)at, had_code, at, size);
}

int64_t memory_unmap(Thread *thread, uint64_t at, uint64_t size)
{
  Process *p = thread->process;
  if (at & (PAGE - 1) || !size || !window_holds(at, size) || !window_holds(at, round_up(size))) return -EINVAL;
  size = round_up(size);
  pthread_mutex_lock(&p->memory);
  if (!make_room(p)) return done(thread, -ENOMEM, false, 0, 0);
  unsigned i = area_at(p, at);
  if (i == p->area_count || p->areas[i].from >= at + size) return done(thread, 0, false, 0, 0);
  bool had_code = window_has_code(&p->window, at, size);
  if (!reserve(p, at, size)) return done(thread, -ENOMEM, false, 0, 0);
  forget(p, at, at + size);
  window_set(&p->window, at, size, 0);
  return done(thread, 0, had_code, at, size);
}

int64_t memory_protect(Thread *thread, uint64_t at, uint64_t size, int prot)
{
  Process *p = thread->process;
  if (at & (PAGE - 1) || prot & ~7) return -EINVAL;
  if (!window_holds(at, size) || !window_holds(at, round_up(size))) return -ENOMEM;
  size = round_up(size);
  if (!size) return 0;
  pthread_mutex_lock(&p->memory);
  if (!make_room(p) || !memory_mapped(p, at, size)) return done(thread, -ENOMEM, false, 0, 0);
  bool had_code = window_has_code(&p->window, at, size);
  if (mprotect(p->window.base + at, size, host_prot(prot)) < 0) return done(thread, -errno, false, 0, 0);
  split(p, at);
  split(p, at + size);
  for (unsigned i = area_at(p, at); i < p->area_count && p->areas[i].from < at + size; i++) p->areas[i].prot = (uint8_t)prot;
  window_set(&p->window, at, size, flags_of(prot));
  return done(thread, 0, had_code, at, size);
}

// A file is not at hand to map more of it, but the kernel has it: it grows the mapping somewhere else, from where that comes back
// onto what is reserved.
static int64_t move_grown(Process *p, uint64_t at, uint64_t size, uint64_t to, uint64_t new_size)
{
  uint8_t *base = p->window.base;
  void *aside = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (aside == MAP_FAILED) return -ENOMEM;
  bool away = mremap(base + at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, aside) != MAP_FAILED;
  void *grown = away ? mremap(aside, size, new_size, MREMAP_MAYMOVE) : MAP_FAILED;
  if (grown == MAP_FAILED) {                 // back, if it was away
    int error = errno;
    if (!away) munmap(aside, size);
    else check(mremap(aside, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, base + at) != MAP_FAILED);
    return -error;
  }
  if (to != at && !reserve(p, at, size)) return -ENOMEM;
  return mremap(grown, new_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, base + to) == MAP_FAILED ? -errno : 0;
}

// Moves pages without ever leaving a hole that another mapping of this process might fall into: the old place stays mapped
// (MREMAP_DONTUNMAP) until it is reserved again.
static int64_t move_pages(Process *p, const Area *area, uint64_t at, uint64_t size, uint64_t to, uint64_t new_size)
{
  uint8_t *base = p->window.base;
  uint64_t kept = size < new_size ? size : new_size;
  if (area->name && new_size > size) return move_grown(p, at, size, to, new_size);
  if (mremap(base + at, kept, kept, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, base + to) == MAP_FAILED) return -errno;
  int flags = MAP_ANONYMOUS | MAP_FIXED | (area->shared ? MAP_SHARED : MAP_PRIVATE);
  if (new_size > kept && mmap(base + to + kept, new_size - kept, host_prot(area->prot), flags, -1, 0) == MAP_FAILED) return -errno;
  return reserve(p, at, size) ? 0 : -ENOMEM;
}

// Grows an area where it is. An anonymous tail is a mapping of its own to the host, which joins it to the rest.
static int64_t grow(Process *p, const Area *area, uint64_t at, uint64_t size, uint64_t new_size)
{
  int flags = MAP_ANONYMOUS | MAP_FIXED | MAP_PRIVATE;
  unsigned next = area_at(p, at + size);
  if ((area->shared && !area->name) || area->to != at + size || !window_holds(at, new_size) || at + new_size > STACK_TOP) return -ENOMEM;
  if (next < p->area_count && p->areas[next].from < at + new_size) return -ENOMEM;
  // Meanwhile other threads would find the file's own pages where private changed ones were.
  if (area->name) return area->shared || p->thread_count == 1 ? move_grown(p, at, size, at, new_size) : -ENOMEM;
  if (mmap(p->window.base + at + size, new_size - size, host_prot(area->prot), flags, -1, 0) == MAP_FAILED) return -errno;
  return 0;
}

static void resize(Process *p, Area area, uint64_t at, uint64_t size, uint64_t to, uint64_t new_size)
{
  area.offset += at - area.from;
  area.name = area.name ? strdup(area.name) : NULL;
  forget(p, at, at + size);
  window_set(&p->window, at, size, 0);
  area.from = to;
  area.to = to + new_size;
  remember(p, area);
  window_set(&p->window, to, new_size, flags_of(area.prot));
}

int64_t memory_move(Thread *thread, uint64_t at, uint64_t size, uint64_t new_size, int flags, uint64_t to)
{
  Process *p = thread->process;
  if (at & (PAGE - 1) || !new_size || !size || flags & ~3 || (flags & MREMAP_FIXED && !(flags & MREMAP_MAYMOVE))) return -EINVAL;
  if (!window_holds(at, size) || new_size > WINDOW_BYTES) return -EFAULT;
  size = round_up(size);
  new_size = round_up(new_size);
  bool fixed = flags & MREMAP_FIXED;
  if (fixed && (to & (PAGE - 1) || to < LOWEST || !window_holds(to, new_size) || (to < at + size && at < to + new_size))) return -EINVAL;
  if (!fixed && new_size <= size) return new_size == size ? (int64_t)at : memory_unmap(thread, at + new_size, size - new_size) < 0 ? -EINVAL : (int64_t)at;
  if (fixed) memory_unmap(thread, to, new_size);
  pthread_mutex_lock(&p->memory);
  if (p->written) written_touch(p, at, size);
  unsigned i = area_at(p, at);
  if (!make_room(p) || i == p->area_count || p->areas[i].from > at || p->areas[i].to < at + size) return done(thread, -EFAULT, false, 0, 0);
  Area area = p->areas[i];
  if (new_size > size && over_limit(p, at, 0, new_size - size, is_data(&area))) return done(thread, -ENOMEM, false, 0, 0);
  bool had_code = window_has_code(&p->window, at, size);
  int64_t result = fixed ? -ENOMEM : grow(p, &area, at, size, new_size);
  if (!result) to = at;
  else if (!(flags & MREMAP_MAYMOVE)) return done(thread, -ENOMEM, false, 0, 0);
  if (result) {
    if (!fixed) to = choose(p, 0, new_size);
    result = to ? move_pages(p, &area, at, size, to, new_size) : -ENOMEM;
    if (result) return done(thread, result, false, 0, 0);
  }
  resize(p, area, at, size, to, new_size);
  return done(thread, (int64_t)to, had_code, at, size);
}

int64_t memory_break(Thread *thread, uint64_t to)
{
  Process *p = thread->process;
  uint64_t old = p->brk, from = round_up(old), end = round_up(to);
  if (to < p->brk_start || end > p->brk_limit) return (int64_t)old;
  if (end > from && memory_map(thread, from, end - from, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) < 0)
    return (int64_t)old;
  if (end < from) memory_unmap(thread, end, from - end);
  p->brk = to;
  return (int64_t)to;
}

void memory_reset(Process *p)
{
  check(reserve(p, 0, WINDOW_BYTES));
  window_set(&p->window, 0, WINDOW_BYTES, 0);
  for (unsigned i = 0; i < p->area_count; i++) free(p->areas[i].name);
  p->area_count = 0;
}

static const char *area_name(const Process *p, const Area *area)
{
  if (area->name) return area->name;
  if (area->from == p->trampoline) return "[vdso]";
  if (area->to == STACK_TOP) return "[stack]";
  return area->from >= p->brk_start && area->to <= p->brk_limit && p->brk > p->brk_start ? "[heap]" : "";
}

int memory_describe(Process *p, int fd)
{
  pthread_mutex_lock(&p->memory);
  for (unsigned i = 0; i < p->area_count; i++) {
    const Area *a = &p->areas[i];
    dprintf(fd, "%08llx-%08llx %c%c%c%c %08llx 00:00 0 %26s%s\n", (unsigned long long)a->from, (unsigned long long)a->to, a->prot & 1 ? 'r' : '-',
            a->prot & 2 ? 'w' : '-', a->prot & 4 ? 'x' : '-', a->shared ? 's' : 'p', (unsigned long long)a->offset, "", path_for_guest(p, area_name(p, a)));
  }
  pthread_mutex_unlock(&p->memory);
  return 0;
}

UM_EXPORT int um_linux_area(um_linux *p, uint32_t index, struct um_linux_area *area)
{
  pthread_mutex_lock(&p->memory);
  bool there = index < p->area_count;
  if (there) {
    const Area *a = &p->areas[index];
    *area = (struct um_linux_area){ .from = a->from, .to = a->to, .offset = a->offset, .readable = a->prot & WINDOW_READ,
                                    .writable = a->prot & WINDOW_WRITE, .executable = a->prot & WINDOW_EXECUTE, .shared = a->shared };
    snprintf(area->name, sizeof area->name, "%s", area_name(p, a));
  }
  pthread_mutex_unlock(&p->memory);
  return there ? UM_OK : UM_EINVAL;
}

// -- Calls ----------------------------------------------------------------------------------------------------------------

int64_t call_brk(Thread *thread, const uint64_t *a) { return memory_break(thread, a[0]); }

int64_t call_mmap(Thread *thread, const uint64_t *a)
{
  if (!((int)a[3] & MAP_ANONYMOUS) && !fd_visible(thread->process, (int)a[4])) return -EBADF;
  return memory_map(thread, a[0], a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
}

int64_t call_munmap(Thread *thread, const uint64_t *a) { return memory_unmap(thread, a[0], a[1]); }
int64_t call_mprotect(Thread *thread, const uint64_t *a) { return memory_protect(thread, a[0], a[1], (int)a[2]); }
int64_t call_mremap(Thread *thread, const uint64_t *a) { return memory_move(thread, a[0], a[1], a[2], (int)a[3], a[4]); }

// A call of the host over a range of mapped guest memory: msync, mlock, mlock2, munlock, mincore. Locking rounds to pages.
int64_t call_memory_range(Thread *thread, const uint64_t *a)
{
  static const struct { int guest; long host; bool locks; } calls[] = {
    { 227, SYS_msync, false }, { 228, SYS_mlock, true }, { 229, SYS_munlock, true }, { 232, SYS_mincore, false }, { 284, SYS_mlock2, true },
  };
  Process *p = thread->process;
  unsigned i = 0;
  while (calls[i].guest != (int)thread->hart->x[REG_A7]) i++;
  uint64_t skew = a[0] & (PAGE - 1), at = a[0] - skew, size = round_up(a[1] + skew);
  if (skew && !calls[i].locks) return -EINVAL;
  if (size < a[1]) return -ENOMEM;
  void *third = (void *)(uintptr_t)a[2];
  if (calls[i].host == SYS_mincore && !guest_pointer(p, a[2], &third)) return -EFAULT;
  pthread_mutex_lock(&p->memory);
  bool mapped = memory_mapped(p, at, size);
  pthread_mutex_unlock(&p->memory);
  return mapped ? host_call(thread, calls[i].host, (long)(p->window.base + at), (long)size, (long)third, 0, 0, 0) : -ENOMEM;
}

int64_t call_madvise(Thread *thread, const uint64_t *a)
{
  Process *p = thread->process;
  uint64_t size = round_up(a[1]);
  int advice = (int)a[2];
  if (a[0] & (PAGE - 1) || size < a[1]) return -EINVAL;
  if (advice == MADV_DONTFORK || advice == MADV_DOFORK) return 0;        // a hole in a child's window would be no guest memory
  if (advice < 0 || advice > LAST_ADVICE) return -EINVAL;
  if (!size) return 0;
  pthread_mutex_lock(&p->memory);
  bool mapped = memory_mapped(p, a[0], size);
  int64_t result = mapped && madvise(p->window.base + a[0], size, advice) < 0 ? -errno : mapped ? 0 : -ENOMEM;
  return done(thread, result, mapped && window_has_code(&p->window, a[0], size), a[0], size);
}

// riscv_flush_icache: start, end, flags; for this thread alone with flag 1.
int64_t call_flush_icache(Thread *thread, const uint64_t *a)
{
  if (a[2] & ~(uint64_t)1) return -EINVAL;
  uint64_t from = a[0] & ~(uint64_t)(PAGE - 1), to = a[1] < WINDOW_BYTES ? a[1] : WINDOW_BYTES;
  if (to <= from) from = 0, to = WINDOW_BYTES;             // nothing said: everything, as the kernel does
  if (a[2] & 1) hart_user_drop(thread->hart, from, to - from);
  else code_changed(thread, from, to - from);
  return 0;
}
