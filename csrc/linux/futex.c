// futex: the host's, on the guest's memory.
// SPDX-License-Identifier: MIT
#include "linux/linux_int.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

// The fourth argument is a time for some operations and a number for others, the fifth a second futex for some and nothing else.
int64_t call_futex(Thread *thread, const uint64_t *a)
{
  int operation = (int)a[1] & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
  void *first, *second = NULL, *limit = (void *)(uintptr_t)a[3];
  if (!guest_pointer(thread->process, a[0], &first)) return -EFAULT;
  bool waits = operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET || operation == FUTEX_LOCK_PI || operation == FUTEX_LOCK_PI2;
  bool moves = operation == FUTEX_REQUEUE || operation == FUTEX_CMP_REQUEUE || operation == FUTEX_CMP_REQUEUE_PI || operation == FUTEX_WAKE_OP;
  bool both = operation == FUTEX_WAIT_REQUEUE_PI;
  if ((waits || both) && !guest_pointer(thread->process, a[3], &limit)) return -EFAULT;
  if ((moves || both) && !guest_pointer(thread->process, a[4], &second)) return -EFAULT;
  return host_call(thread, SYS_futex, (long)first, (int)a[1], (uint32_t)a[2], (long)limit, (long)second, (uint32_t)a[5]);
}

// -- Vectors of futexes -----------------------------------------------------------------------------------------------------

enum { VECTOR_MOST = 128 };                  // FUTEX_WAITV_MAX
typedef struct Waiter { uint64_t value, at; uint32_t flags, reserved; } Waiter;

static int64_t read_waiters(Thread *thread, uint64_t gva, uint64_t count, Waiter *waiters)
{
  void *host;
  if (!get(thread, gva, waiters, count * sizeof *waiters)) return -EFAULT;
  for (uint64_t i = 0; i < count; i++) {
    if (!guest_pointer(thread->process, waiters[i].at, &host)) return -EFAULT;
    waiters[i].at = (uint64_t)(uintptr_t)host;
  }
  return 0;
}

int64_t call_futex_waitv(Thread *thread, const uint64_t *a)
{
  Waiter waiters[VECTOR_MOST];
  void *limit;
  uint32_t count = (uint32_t)a[1];
  if (!count || count > VECTOR_MOST || !a[0]) return -EINVAL;
  if (!guest_pointer(thread->process, a[3], &limit)) return -EFAULT;
  int64_t error = read_waiters(thread, a[0], count, waiters);
  return error ? error : host_call(thread, SYS_futex_waitv, (long)waiters, count, (long)a[2], (long)limit, (int)a[4], 0);
}

int64_t call_futex_requeue(Thread *thread, const uint64_t *a)
{
  enum { NUMBER = 456 };                     // alike on all architectures; from Linux 6.7 on
  Waiter pair[2];
  if (!a[0]) return -EINVAL;
  int64_t error = read_waiters(thread, a[0], 2, pair);
  return error ? error : host_call(thread, NUMBER, (long)pair, (long)a[1], (int)a[2], (int)a[3], 0, 0);
}
