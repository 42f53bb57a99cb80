// runner: the thread that runs the harts of one machine, and the mailbox between it and the thread of Lua.
// SPDX-License-Identifier: MIT
//
// `state` says whose the machine is: from RUNNING on the thread's, else Lua's. Each side hands it over with one store, so neither
// needs a lock. Who waits spins first, since a wake-up costs more than an access; but only while that pays: two threads that spin
// for each other on one processor keep each other from running (docs/perf/2026-11-sched.md).
#include "base/check.h"
#include "base/clock.h"
#include "base/control.h"
#include "base/fault.h"
#include "base/alarm_ffi.h"
#include "image/image.h"
#include "ir/ir_ffi.h"
#include "jit/jit_ffi.h"
#include "irq/irq.h"
#include "mem/mem.h"
#include "cpu/cpu_ffi.h"
#include "sched/sched_ffi.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STANDING, DONE, RUNNING, QUIT };   // DONE: standing, and `exit` has yet to be taken

enum {
  SPIN_NS  = 50000,
  BRIEF_NS = 1000,                        // after a spin in vain,
  PROBE    = 32,                          // but every so many waits a whole one
  NAP_NS  = 10000000,                     // with a virtual clock: how long sleeping harts are left alone before Lua looks for input
};

typedef struct Spin {
  unsigned waits;
  bool     in_vain;                       // the last whole one
} Spin;

struct um_runner {
  um_hart    *hart;
  um_clock   *clock;
  um_control *control;
  um_alarm   *alarm;
  pthread_t   thread;
  bool        is_virtual, held;
  uint64_t    budget, executed;           // posted, and done of it
  struct um_exit exit;
  Spin        thread_spin, lua_spin;
  _Atomic uint32_t state;                 // a futex: the thread sleeps on it
  _Atomic uint32_t asleep;                // the thread does
  _Atomic uint32_t pause;                 // it shall come back from where it is
};

static _Atomic uint32_t news, sleepers;   // a futex: Lua sleeps on it
static _Atomic uint32_t armed;            // Lua sleeps in a poll, and `bell` shall wake it
static int bell = -1;

static void futex_sleep(_Atomic uint32_t *word, uint32_t seen, uint64_t ns)
{
  struct timespec limit = { .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, ns == UINT64_MAX ? NULL : &limit, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void relax(void)
{
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

// Spins until the machine is the thread's (or Lua's). False: it is not yet.
static bool spin(um_runner *runner, Spin *own, bool threads)
{
  bool whole = !own->in_vain || ++own->waits % PROBE == 0;
  uint64_t until = clock_host_ns() + (whole ? SPIN_NS : BRIEF_NS);
  do {
    for (int i = 0; i < 16; i++) {
      if ((atomic_load(&runner->state) >= RUNNING) == threads) {
        own->in_vain = false;
        return true;
      }
      relax();
    }
  } while (clock_host_ns() < until);
  own->in_vain = true;
  return false;
}

static void tell(void)
{
  atomic_fetch_add(&news, 1);
  if (atomic_load(&sleepers)) futex_wake(&news);
  if (atomic_load(&armed) && atomic_exchange(&armed, 0)) {
    uint64_t one = 1;
    if (write(bell, &one, sizeof one) < 0) return;       // full: it rings already
  }
}

UM_EXPORT uint32_t um_sched_news(void)
{
  return atomic_load(&news);
}

UM_EXPORT void um_sched_sleep(uint32_t seen, uint64_t host_ns)
{
  if (!host_ns || atomic_load(&news) != seen) return;
  atomic_fetch_add(&sleepers, 1);
  futex_sleep(&news, seen, host_ns);
  atomic_fetch_sub(&sleepers, 1);
}

UM_EXPORT int um_sched_bell(struct um_fault *why)
{
  if (bell < 0) bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return bell >= 0 ? bell : fault_set(why, UM_ENOMEM, "the host has no file descriptor for news: %s", strerror(errno));
}

UM_EXPORT bool um_sched_arm(uint32_t seen)
{
  uint64_t count;
  if (bell >= 0 && read(bell, &count, sizeof count) < 0 && errno != EAGAIN) return false;
  atomic_store(&armed, 1);
  return atomic_load(&news) == seen;
}

// Whether what a run came back with asks nothing of Lua. With a virtual clock all does: how long Lua takes must not show, so the
// harts wait for it. A pause alone is over when it is over.
static bool is_nothing(const um_runner *runner, bool paused)
{
  uint32_t reason = runner->exit.reason;
  if (reason != UM_EXIT_TIME && reason != UM_EXIT_ATTENTION) return false;
  if (runner->alarm && um_alarm_rings(runner->alarm)) return false;
  if (!runner->is_virtual) return true;
  return reason == UM_EXIT_TIME ? !um_hart_idle(runner->hart) : paused;
}

static void run(um_runner *runner)
{
  runner->control->eager = !runner->is_virtual;
  for (;;) {
    um_hart_run(runner->hart, runner->budget - runner->executed, runner->is_virtual ? NAP_NS : UINT64_MAX, &runner->exit);
    runner->executed += runner->exit.executed;
    if (atomic_load(&runner->pause) || !is_nothing(runner, false)) break;
    tell();                               // there may be text
  }
  runner->control->eager = false;
  runner->exit.executed = runner->executed;
  atomic_store(&runner->state, DONE);
  tell();
}

static void *thread_main(void *argument)
{
  um_runner *runner = argument;
  for (;;) {
    uint32_t state = atomic_load(&runner->state);
    if (state == QUIT) return NULL;
    if (state == RUNNING) run(runner);
    else if (!spin(runner, &runner->thread_spin, true)) {
      state = atomic_load(&runner->state);
      if (state >= RUNNING) continue;
      atomic_store(&runner->asleep, 1);
      futex_sleep(&runner->state, state, UINT64_MAX);
      atomic_store(&runner->asleep, 0);
    }
  }
}

static void give(um_runner *runner, uint32_t state)
{
  atomic_store(&runner->state, state);
  if (atomic_load(&runner->asleep)) futex_wake(&runner->state);
}

UM_EXPORT um_runner *um_runner_new(um_hart *first, um_clock *clock, um_control *control, um_alarm *alarm, struct um_fault *why)
{
  um_runner *runner = calloc(1, sizeof *runner);
  if (!runner) {
    fault_set(why, UM_ENOMEM, "the host has no memory for a runner");
    return NULL;
  }
  *runner = (um_runner){ .hart = first, .clock = clock, .control = control, .alarm = alarm, .is_virtual = um_clock_is_virtual(clock) };
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);               // signals are for the thread of Lua
  int error = pthread_create(&runner->thread, NULL, thread_main, runner);
  if (!error) pthread_setname_np(runner->thread, "um-runner");
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (!error) return runner;
  fault_set(why, UM_ENOMEM, "the host has no thread for a runner: %s", strerror(error));
  free(runner);
  return NULL;
}

UM_EXPORT bool um_runner_pause(um_runner *runner)
{
  if (atomic_load(&runner->state) != RUNNING) return false;
  atomic_store(&runner->pause, 1);
  um_control_kick(runner->control);
  while (!spin(runner, &runner->lua_spin, false)) {
    uint32_t seen = um_sched_news();
    if (atomic_load(&runner->state) == RUNNING) um_sched_sleep(seen, UINT64_MAX);
  }
  atomic_store(&runner->pause, 0);
  return true;
}

UM_EXPORT void um_runner_resume(um_runner *runner)
{
  if (atomic_load(&runner->state) == DONE && is_nothing(runner, true)) give(runner, RUNNING);
}

UM_EXPORT void um_runner_hold(um_runner *runner, bool on)
{
  runner->held = on;
}

UM_EXPORT bool um_runner_busy(const um_runner *runner)
{
  return atomic_load(&runner->state) != STANDING;
}

UM_EXPORT bool um_runner_runs(const um_runner *runner)
{
  return atomic_load(&runner->state) == RUNNING;
}

UM_EXPORT bool um_runner_post(um_runner *runner, uint64_t budget)
{
  if (runner->held || atomic_load(&runner->state) != STANDING) return false;
  runner->budget = budget;
  runner->executed = 0;
  give(runner, RUNNING);
  return true;
}

UM_EXPORT int um_runner_run(um_runner *runner, uint64_t budget, uint64_t host_ns, struct um_exit *exit)
{
  if (um_runner_post(runner, budget) && host_ns) spin(runner, &runner->lua_spin, false);
  if (atomic_load(&runner->state) == DONE) {
    *exit = runner->exit;
    atomic_store(&runner->state, STANDING);
  } else {
    exit->reason = UM_EXIT_TIME;
    exit->executed = 0;
  }
  return UM_OK;
}

UM_EXPORT void um_runner_free(um_runner *runner)
{
  if (!runner) return;
  um_runner_pause(runner);
  give(runner, QUIT);
  pthread_join(runner->thread, NULL);
  free(runner);
}
