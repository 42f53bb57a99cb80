// machine: what the guest hears about the machine and its limits.
// SPDX-License-Identifier: MIT
#include "linux/linux_int.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

int64_t get_grown(const Thread *thread, uint64_t gva, uint64_t size, void *to, uint64_t least, uint64_t known)
{
  enum { PAGE = 4096 };
  uint8_t more[PAGE];
  if (size < least) return -EINVAL;
  if (size > PAGE) return -E2BIG;
  memset(to, 0, known);
  if (!get(thread, gva, to, size < known ? size : known)) return -EFAULT;
  if (size <= known) return 0;
  if (!get(thread, gva + known, more, size - known)) return -EFAULT;
  for (uint64_t i = 0; i < size - known; i++)
    if (more[i]) return -E2BIG;
  return 0;
}

int64_t call_uname(Thread *thread, const uint64_t *a)
{
  struct utsname name;
  if (syscall(SYS_uname, &name) < 0) return -errno;
  memset(name.machine, 0, sizeof name.machine);
  memcpy(name.machine, "riscv64", 7);
  return put(thread, a[0], &name, sizeof name) ? 0 : -EFAULT;
}

// A personality that moves the stack or makes everything executable changes the host, not the guest.
int64_t call_personality(Thread *thread, const uint64_t *a)
{
  (void)thread;
  return (uint32_t)a[0] == 0xffffffff || a[0] == 0 ? 0 : -EINVAL;
}

int64_t call_prctl(Thread *thread, const uint64_t *a)
{
  enum { GET_AUXV = 0x41555856 };
  Process *p = thread->process;
  void *pointer = (void *)(uintptr_t)a[1], *name;
  switch ((int)a[0]) {
  case PR_GET_TID_ADDRESS: return put(thread, a[1], &thread->clear_tid, 8) ? 0 : -EFAULT;
  case GET_AUXV: {
    uint64_t bytes = p->auxv_words * 8;
    if (a[3] || a[4]) return -EINVAL;
    return put(thread, a[1], p->auxv, a[2] < bytes ? a[2] : bytes) ? (int64_t)bytes : -EFAULT;
  }
  case PR_SET_VMA:                           // a name for anonymous memory
    if (a[1] != PR_SET_VMA_ANON_NAME || !window_holds(a[2], a[3]) || !guest_pointer(p, a[4], &name)) return -EINVAL;
    return host_call(thread, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, (long)(p->window.base + a[2]), (long)a[3], (long)name, 0);
  case PR_SET_NAME: case PR_GET_NAME: case PR_GET_PDEATHSIG: case PR_GET_CHILD_SUBREAPER:
    if (!guest_pointer(p, a[1], &pointer)) return -EFAULT;
    break;
  case PR_SET_PDEATHSIG: case PR_SET_CHILD_SUBREAPER: case PR_GET_DUMPABLE: case PR_SET_DUMPABLE: case PR_GET_KEEPCAPS: case PR_SET_KEEPCAPS:
  case PR_SET_TIMERSLACK: case PR_GET_TIMERSLACK: case PR_SET_NO_NEW_PRIVS: case PR_GET_NO_NEW_PRIVS: case PR_CAPBSET_READ: case PR_GET_SECUREBITS:
  case PR_CAP_AMBIENT: case PR_SET_THP_DISABLE: case PR_GET_THP_DISABLE:
    break;
  default: return -EINVAL;
  }
  return host_call(thread, SYS_prctl, (int)a[0], (long)pointer, (long)a[2], (long)a[3], (long)a[4], 0);
}

// -- Limits -----------------------------------------------------------------------------------------------------------------

// A limit of address space, data or stack would hold for the emulator: those are not passed on but kept, and hold for the window.
static int kept(int resource)
{
  return resource == RLIMIT_AS ? 1 : resource == RLIMIT_DATA ? 2 : resource == RLIMIT_STACK ? 3 : 0;
}

static int64_t limit(Thread *thread, pid_t pid, int resource, uint64_t new_at, uint64_t old_at)
{
  Process *p = thread->process;
  struct rlimit wanted, old;
  int own = pid == 0 || pid == getpid() ? kept(resource) : 0;
  if (new_at && !get(thread, new_at, &wanted, sizeof wanted)) return -EFAULT;
  if (new_at && wanted.rlim_cur > wanted.rlim_max) return -EINVAL;
  if (syscall(SYS_prlimit64, pid, resource, own ? NULL : new_at ? &wanted : NULL, &old) < 0) return -errno;
  if (own && p->limits[own - 1].set) old = (struct rlimit){ p->limits[own - 1].soft, p->limits[own - 1].hard };
  if (own && new_at) {
    if (wanted.rlim_max > old.rlim_max) return -EPERM;
    p->limits[own - 1] = (Limit){ .soft = wanted.rlim_cur, .hard = wanted.rlim_max, .set = true };
  }
  return old_at && !put(thread, old_at, &old, sizeof old) ? -EFAULT : 0;
}

int64_t call_prlimit64(Thread *thread, const uint64_t *a) { return limit(thread, (pid_t)a[0], (int)a[1], a[2], a[3]); }
int64_t call_getrlimit(Thread *thread, const uint64_t *a) { return limit(thread, 0, (int)a[0], 0, a[1]); }
int64_t call_setrlimit(Thread *thread, const uint64_t *a) { return limit(thread, 0, (int)a[0], a[1], 0); }

// -- riscv_hwprobe ----------------------------------------------------------------------------------------------------------

// Keys of arch/riscv/include/uapi/asm/hwprobe.h.
enum { KEY_MVENDORID, KEY_MARCHID, KEY_MIMPID, KEY_BASE, KEY_IMA_EXT, KEY_CPUPERF, KEY_ZICBOZ_SIZE, KEY_HIGHEST_ADDRESS, KEY_TIME_HERTZ, KEY_MISALIGNED };
enum { WHICH_CPUS = 1, FAST = 3, IMA = 1 };

static uint64_t ima_extensions(uint64_t has)
{
  static const struct { int extension, bit; } rows[] = {
    { EXT_D, 0 }, { EXT_C, 1 }, { EXT_ZBA, 3 }, { EXT_ZBB, 4 }, { EXT_ZBS, 5 }, { EXT_ZICBOZ, 6 }, { EXT_ZBC, 7 },
    { EXT_ZICOND, 35 }, { EXT_ZAWRS, 48 },
  };
  uint64_t bits = 0;
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (has >> rows[i].extension & 1) bits |= (uint64_t)1 << rows[i].bit;
  return bits;
}

typedef struct Pair { int64_t key; uint64_t value; } Pair;

// Unknown keys become -1.
static void answer(const Thread *thread, Pair *pair)
{
  uint64_t has = thread->process->options.extensions;
  switch (pair->key) {
  case KEY_MVENDORID: case KEY_MARCHID: case KEY_MIMPID: pair->value = 0; break;
  case KEY_BASE:        pair->value = IMA; break;
  case KEY_IMA_EXT:     pair->value = ima_extensions(has); break;
  case KEY_CPUPERF: case KEY_MISALIGNED: pair->value = FAST; break;
  case KEY_ZICBOZ_SIZE: pair->value = has >> EXT_ZICBOZ & 1 ? 64 : 0; break;
  case KEY_HIGHEST_ADDRESS: pair->value = WINDOW_BYTES - 1; break;
  case KEY_TIME_HERTZ:  pair->value = thread->hart->clock->hertz; break;
  default:              pair->key = -1; pair->value = 0; break;
  }
}

// All processors are alike: whether they have what a pair asks for. Keys that are sets of bits ask for these at least.
static bool matches(const Thread *thread, const Pair *asked)
{
  Pair pair = *asked;
  answer(thread, &pair);
  bool bits = asked->key == KEY_BASE || asked->key == KEY_IMA_EXT || asked->key == KEY_CPUPERF;
  return pair.key >= 0 && (bits ? (pair.value & asked->value) == asked->value : pair.value == asked->value);
}

// Which of the processors in a set match all pairs: the set itself, or none.
static int64_t which(Thread *thread, const uint64_t *a)
{
  Pair pair;
  uint8_t set[CPU_SETSIZE / 8], online[CPU_SETSIZE / 8] = { 0 };
  uint64_t bytes = a[2] < sizeof set ? a[2] : sizeof set;
  bool all = true, empty = true;
  if (!a[2] || !a[3]) return -EINVAL;
  if (!get(thread, a[3], set, bytes)) return -EFAULT;
  if (syscall(SYS_sched_getaffinity, 0, sizeof online, online) < 0) return -errno;
  for (uint64_t i = 0; i < bytes; i++) empty &= !set[i];
  for (uint64_t i = 0; i < a[1]; i++) {
    if (!get(thread, a[0] + 16 * i, &pair, sizeof pair)) return -EFAULT;
    Pair known = pair;
    answer(thread, &known);
    if (known.key < 0 && !put(thread, a[0] + 16 * i, &known, sizeof known)) return -EFAULT;
    all &= matches(thread, &pair);
  }
  for (uint64_t i = 0; i < bytes; i++) set[i] = all ? (uint8_t)(online[i] & (empty ? 0xff : set[i])) : 0;
  return put(thread, a[3], set, bytes) ? 0 : -EFAULT;
}

int64_t call_hwprobe(Thread *thread, const uint64_t *a)
{
  Pair pair;
  if (a[4] & ~(uint64_t)WHICH_CPUS) return -EINVAL;
  if (a[4]) return which(thread, a);
  for (uint64_t i = 0; i < a[1]; i++) {
    if (!get(thread, a[0] + 16 * i, &pair, sizeof pair)) return -EFAULT;
    answer(thread, &pair);
    if (!put(thread, a[0] + 16 * i, &pair, sizeof pair)) return -EFAULT;
  }
  return 0;
}
