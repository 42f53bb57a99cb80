// fork: new processes and threads: clone and what it can be asked for.
// SPDX-License-Identifier: MIT
#include "linux/linux_int.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// -- Fork -----------------------------------------------------------------------------------------------------------------

// In the child only the calling thread lives. It is the first one from now on; it came from Lua or not, it returns there no more.
static void become_child(Thread *thread)
{
  Process *p = thread->process;
  for (Thread *t = p->threads, *next; t; t = next) {
    next = t->next;
    if (t != thread) thread_free(t);
  }
  hart_user_forked(thread->hart);
  thread->next = NULL;
  thread->tid = gettid();
  thread->drop_to = 0;
  thread->robust = 0;
  bool on_lua = p->first == thread;
  p->threads = p->first = thread;
  p->thread_count = 1;
  p->child = true;
  counts_forked(p, thread->hart);
  paths_forked(p);
  written_end(p);
  if (p->vfork_fd >= 0) close(p->vfork_fd);            // of the process that forked us
  p->vfork_fd = -1;
  for (unsigned i = 0; !on_lua && i < CALLS_MOST; i++) {
    if (p->hooked[i]) dprintf(2, "umbra: process %d was forked by a thread that Lua does not run on: its calls are not hooked\n", getpid());
    if (p->hooked[i]) memset(p->hooked, 0, sizeof p->hooked);
  }
  pthread_mutex_init(&p->lock, NULL);
  pthread_mutex_init(&p->memory, NULL);
  pthread_mutex_init(&p->jail.pins, NULL);
  pthread_cond_init(&p->changed, NULL);
}

static void tell_parent(Thread *thread, const Start *start, pid_t pid)
{
  if (start->flags & CLONE_PARENT_SETTID) put(thread, start->parent_tid, &pid, sizeof pid);
  if (!(start->flags & CLONE_PIDFD)) return;
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  put(thread, start->pidfd, &fd, sizeof fd);
}

static int64_t new_process(Thread *thread, Start start, uint64_t stack, uint64_t tls)
{
  Process *p = thread->process;
  int ends[2] = { -1, -1 };
  signal_block_all();
  if (thread->signal) return -RESTART;       // it is delivered once, in the parent
  if (start.flags & CLONE_VFORK && pipe2(ends, O_CLOEXEC) < 0) ends[0] = ends[1] = -1;
  pthread_mutex_lock(&p->memory);
  pthread_mutex_lock(&p->lock);
  pid_t pid = fork();
  int64_t result = pid < 0 ? -errno : pid;
  if (pid == 0) {
    become_child(thread);
    if (ends[0] >= 0) close(ends[0]);
    if (ends[1] >= 0) p->vfork_fd = files_put_aside(p, ends[1]);
    if (stack) thread->hart->x[REG_SP] = stack;
    if (start.flags & CLONE_SETTLS) thread->hart->x[REG_TP] = tls;
    start.flags &= ~(uint64_t)CLONE_PARENT_SETTID;
    if (start.flags & CLONE_VM) written_begin(p);
    if (start.flags & CLONE_CLEAR_SIGHAND) signals_exec(p);
    thread_tell_tids(thread, &start);
    signal_set_mask(thread, thread->mask);
    return 0;
  }
  p->counts.forks++;
  pthread_mutex_unlock(&p->lock);
  pthread_mutex_unlock(&p->memory);
  if (ends[1] >= 0) close(ends[1]);
  if (pid > 0) tell_parent(thread, &start, pid);
  if (ends[0] >= 0) written_hear(thread, ends[0]);     // until its end of the pipe closes with an exec or its end
  if (ends[0] >= 0) close(ends[0]);
  signal_set_mask(thread, thread->mask);
  return result;
}

static const uint64_t KNOWN = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                              CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CLONE_DETACHED | CLONE_VFORK | CLONE_UNTRACED | CLONE_PTRACE |
                              CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
enum { THREAD_FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD };

static int64_t clone_with(Thread *thread, uint64_t signal, Start start, uint64_t stack, uint64_t tls)
{
  uint64_t kinds = start.flags;
  if (kinds & ~KNOWN) return -EINVAL;
  if (kinds & CLONE_PIDFD && kinds & (CLONE_THREAD | CLONE_DETACHED)) return -EINVAL;
  if (kinds & CLONE_CLEAR_SIGHAND && kinds & CLONE_SIGHAND) return -EINVAL;
  if ((kinds & THREAD_FLAGS) == THREAD_FLAGS) return thread_start(thread, start, stack, tls);
  // A process that shares some of these but not all: only vfork's way, of which it does not matter to the child whether it shares.
  if (kinds & (CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_FS) || (kinds & CLONE_VM && !(kinds & CLONE_VFORK))) return -EINVAL;
  if (signal && signal != SIGCHLD) return -EINVAL;
  return new_process(thread, start, stack, tls);
}

int64_t call_clone(Thread *thread, const uint64_t *a)
{
  Start start = { .flags = (uint32_t)a[0] & ~(uint32_t)CSIGNAL, .parent_tid = a[2], .child_tid = a[4], .pidfd = a[2] };
  if (start.flags & CLONE_PIDFD && start.flags & CLONE_PARENT_SETTID) return -EINVAL;      // both at one place
  return clone_with(thread, a[0] & CSIGNAL, start, a[1], a[3]);
}

int64_t call_clone3(Thread *thread, const uint64_t *a)
{
  // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, then what asks for more than is done here
  uint64_t given[11] = { 0 };
  int64_t error = get_grown(thread, a[0], a[1], given, 64, sizeof given);
  if (error) return error;
  if (given[0] & (CSIGNAL | CLONE_DETACHED) || given[4] > SIGNALS || given[8] || given[9] || given[10]) return -EINVAL;
  if (!given[5] != !given[6]) return -EINVAL;
  Start start = { .flags = given[0], .parent_tid = given[3], .child_tid = given[2], .pidfd = given[1] };
  return clone_with(thread, given[4], start, given[5] + given[6], given[7]);
}
