// machine: what the guest hears about the machine and its limits.
// SPDX-License-Identifier: MIT
#include "linux/linux_int.h"
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

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
  void *pointer = (void *)(uintptr_t)a[1];
  switch ((int)a[0]) {
  case PR_SET_NAME: case PR_GET_NAME: case PR_GET_PDEATHSIG: case PR_GET_CHILD_SUBREAPER:
    if (!guest_pointer(thread->process, a[1], &pointer)) return -EFAULT;
    break;
  case PR_SET_PDEATHSIG: case PR_SET_CHILD_SUBREAPER: case PR_GET_DUMPABLE: case PR_SET_DUMPABLE: case PR_GET_KEEPCAPS: case PR_SET_KEEPCAPS:
  case PR_SET_TIMERSLACK: case PR_GET_TIMERSLACK: case PR_SET_NO_NEW_PRIVS: case PR_GET_NO_NEW_PRIVS: case PR_CAPBSET_READ: case PR_GET_SECUREBITS:
  case PR_CAP_AMBIENT:
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
enum { KEY_MVENDORID, KEY_MARCHID, KEY_MIMPID, KEY_BASE, KEY_IMA_EXT, KEY_CPUPERF, KEY_ZICBOZ_SIZE };

static uint64_t ima_extensions(uint64_t has)
{
  static const struct { int extension, bit; } rows[] = {
    { EXT_D, 0 }, { EXT_C, 1 }, { EXT_ZBA, 3 }, { EXT_ZBB, 4 }, { EXT_ZBS, 5 }, { EXT_ZICBOZ, 6 }, { EXT_ZBC, 7 },
  };
  uint64_t bits = 0;
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (has >> rows[i].extension & 1) bits |= (uint64_t)1 << rows[i].bit;
  return bits;
}

int64_t call_hwprobe(Thread *thread, const uint64_t *a)
{
  struct { int64_t key; uint64_t value; } pair;
  uint64_t has = thread->process->options.extensions;
  if (a[4]) return -EINVAL;
  for (uint64_t i = 0; i < a[1]; i++) {
    if (!get(thread, a[0] + 16 * i, &pair, sizeof pair)) return -EFAULT;
    switch (pair.key) {
    case KEY_MVENDORID: case KEY_MARCHID: case KEY_MIMPID: pair.value = 0; break;
    case KEY_BASE:        pair.value = 1; break;                       // IMA
    case KEY_IMA_EXT:     pair.value = ima_extensions(has); break;
    case KEY_CPUPERF:     pair.value = 3; break;                       // misaligned accesses are fast
    case KEY_ZICBOZ_SIZE: pair.value = has >> EXT_ZICBOZ & 1 ? 64 : 0; break;
    default:              pair.key = -1; pair.value = 0; break;
    }
    if (!put(thread, a[0] + 16 * i, &pair, sizeof pair)) return -EFAULT;
  }
  return 0;
}
