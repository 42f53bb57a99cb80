// thread: threads, and how they end.
// SPDX-License-Identifier: MIT
#include "linux/linux_int.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HOST_STACK = 256 << 10, ROBUST_MOST = 2048 };

Thread *thread_new(Process *process, Hart *hart)
{
  Thread *thread = calloc(1, sizeof *thread);
  if (!thread) return NULL;
  thread->process = process;
  thread->hart = hart;
  thread->alt.flags = SS_DISABLE;
  return thread;
}

void thread_free(Thread *thread)
{
  if (!thread) return;
  hart_user_free(thread->hart);
  free(thread);
}

static void link_thread(Thread *thread)
{
  Process *p = thread->process;
  thread->next = p->threads;
  p->threads = thread;
  p->thread_count++;
}

// process->lock is held.
static void unlink_thread(Thread *thread)
{
  Process *p = thread->process;
  for (Thread **link = &p->threads; *link; link = &(*link)->next) {
    if (*link != thread) continue;
    *link = thread->next;
    break;
  }
  p->thread_count--;
  counts_add(&p->counts, thread->hart);
  pthread_cond_broadcast(&p->changed);
}

// -- The end --------------------------------------------------------------------------------------------------------------

void process_kick_others(Thread *self)
{
  Process *p = self->process;
  for (Thread *t = p->threads; t; t = t->next) {
    if (t == self) continue;
    atomic_store(&t->hart->control->attention, 1);
    syscall(SYS_tgkill, getpid(), t->tid, KICK);
  }
}

// The process ends with an exit code or by a signal. A child does so at once; the one that Lua waits for sends its threads home.
void process_end(Process *p, int status, int death)
{
  // An exec that another thread began has this one's program gone already, though it had not been told yet.
  pthread_mutex_lock(&p->lock);
  bool replaced = !death && p->ending == ENDING_EXEC;
  pthread_mutex_unlock(&p->lock);
  if (replaced) {
    linux_thread->exits = true;
    return;
  }
  if (p->child) {
    counts_tell(p);
    written_tell(p);
    if (death) um_linux_die(death);
    _exit(status);
  }
  pthread_mutex_lock(&p->lock);
  if (p->ending != ENDING_ALL) {
    p->status = status;
    p->death = death;
    atomic_store(&p->ending, ENDING_ALL);
    process_kick_others(linux_thread);
    pthread_cond_broadcast(&p->changed);
  }
  pthread_mutex_unlock(&p->lock);
  linux_thread->exits = true;
}

UM_EXPORT void um_linux_die(int signal)
{
  struct rlimit none = { 0 };
  setrlimit(RLIMIT_CORE, &none);             // a core of the emulator helps nobody
  struct { void *handler; uint64_t flags; void *restorer; uint64_t mask; } action = { 0 };
  uint64_t mask = ~SIGNAL_BIT(signal);
  syscall(SYS_rt_sigaction, signal, &action, NULL, 8);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
  syscall(SYS_tgkill, getpid(), gettid(), signal);
  _exit(128 + signal);
}

static void wake(Thread *thread, uint64_t gva, int count)
{
  syscall(SYS_futex, thread->process->window.base + gva, FUTEX_WAKE, count, NULL, NULL, 0);
}

// A lock of the list: marked as left behind by its dead owner if it was this thread's.
static void release_robust(Thread *thread, uint64_t gva)
{
  Process *p = thread->process;
  uint32_t word;
  if (!window_holds(gva, 4) || gva & 3) return;
  for (int tries = 0; tries < 1000 && get(thread, gva, &word, 4); tries++) {
    if ((word & FUTEX_TID_MASK) != (uint32_t)thread->tid) return;
    uint32_t old = word;
    uint8_t stored;
    WINDOW_EXCHANGE(uint32_t, p->window.base + gva, old, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED, stored, gone);
    if (!stored) continue;
    if (word & FUTEX_WAITERS) wake(thread, gva, 1);
    return;
  }
gone:
  return;
}

// What the kernel does for a thread of its own (kernel/futex/core.c): the list, then the lock it was about to take or give back.
static void walk_robust(Thread *thread)
{
  uint64_t head[3], entry;
  if (!thread->robust || !get(thread, thread->robust, head, sizeof head)) return;
  entry = head[0];
  for (int i = 0; i < ROBUST_MOST && (entry & ~(uint64_t)1) != thread->robust; i++) {
    uint64_t next, at = entry & ~(uint64_t)1;
    bool ok = get(thread, at, &next, 8);
    if (at != (head[2] & ~(uint64_t)1)) release_robust(thread, at + head[1]);
    if (!ok) return;
    entry = next;
  }
  if (head[2] & ~(uint64_t)1) release_robust(thread, (head[2] & ~(uint64_t)1) + head[1]);
}

static void leave_behind(Thread *thread)
{
  static const uint32_t zero;
  walk_robust(thread);
  if (thread->clear_tid && put(thread, thread->clear_tid, &zero, 4)) wake(thread, thread->clear_tid, 1);
  thread->clear_tid = thread->robust = 0;
}

int64_t call_exit(Thread *thread, const uint64_t *a)
{
  Process *p = thread->process;
  pthread_mutex_lock(&p->lock);
  bool last = p->thread_count == 1;
  pthread_mutex_unlock(&p->lock);
  if (last) process_end(p, (int)a[0] & 255, 0);
  thread->exits = true;
  return 0;
}

int64_t call_exit_group(Thread *thread, const uint64_t *a)
{
  process_end(thread->process, (int)a[0] & 255, 0);
  return 0;
}

// -- The loop -------------------------------------------------------------------------------------------------------------

static void trap(Thread *thread)
{
  Hart *hart = thread->hart;
  uint64_t value = hart->trap_value;
  bool mapped = window_flags(&thread->process->window, value) & WINDOW_MAPPED;
  switch (hart->trap_cause) {
  case CAUSE_ECALL_U: call_make(thread); break;
  case CAUSE_ILLEGAL: signal_fault(thread, SIGILL, ILL_ILLOPC, hart->pc); break;
  case CAUSE_BREAKPOINT: signal_fault(thread, SIGTRAP, TRAP_BRKPT, hart->pc); break;
  case CAUSE_FETCH_PAGE: case CAUSE_LOAD_PAGE: case CAUSE_STORE_PAGE:
    signal_fault(thread, SIGSEGV, mapped ? SEGV_ACCERR : SEGV_MAPERR, value);
    break;
  case CAUSE_FETCH_ACCESS: case CAUSE_LOAD_ACCESS: case CAUSE_STORE_ACCESS: signal_fault(thread, SIGBUS, BUS_ADRERR, value); break;
  default: signal_fault(thread, SIGBUS, BUS_ADRALN, value); break;
  }
}

// What others asked this thread for, and signals.
static void attend(Thread *thread)
{
  Process *p = thread->process;
  pthread_mutex_lock(&p->lock);
  if (thread->drop_to) hart_user_drop(thread->hart, thread->drop_from, thread->drop_to - thread->drop_from);
  thread->drop_from = thread->drop_to = 0;
  if (p->ending) thread->exits = true;
  pthread_mutex_unlock(&p->lock);
  if (!thread->exits) signal_deliver(thread);
}

// Until the thread ends, or a hooked call wants to be seen (process->hook).
void thread_loop(Thread *thread)
{
  Hart *hart = thread->hart;
  Process *p = thread->process;
  while (!thread->exits) {
    if (thread == p->first && (p->hook == HOOK_ASKED || p->hook == HOOK_RETURNED)) return;
    if (atomic_exchange(&hart->control->attention, 0)) {
      attend(thread);
      continue;
    }
    atomic_store(&thread->inside, 1);
    bool trapped = !atomic_load(&hart->control->attention) && hart_user_run(hart);
    atomic_store(&thread->inside, 0);
    if (trapped) trap(thread);
  }
}

// -- New threads ----------------------------------------------------------------------------------------------------------

void thread_tell_tids(Thread *child, const Start *start)
{
  uint32_t tid = (uint32_t)child->tid;
  if (start->flags & CLONE_PARENT_SETTID) put(child, start->parent_tid, &tid, 4);
  if (start->flags & CLONE_CHILD_SETTID) put(child, start->child_tid, &tid, 4);
  if (start->flags & CLONE_CHILD_CLEARTID) child->clear_tid = start->child_tid;
}

static void run_first(Thread *thread);

static void *thread_main(void *given)
{
  Start *start = given;
  Thread *thread = start->thread;
  Process *p = thread->process;
  linux_thread = thread;
  signal_stack(thread);
  thread->tid = gettid();
  start->tid = thread->tid;
  thread_tell_tids(thread, start);
  pthread_mutex_lock(&p->lock);
  link_thread(thread);
  if (p->ending) thread->exits = true;
  start->ready = true;
  pthread_cond_broadcast(&p->changed);
  pthread_mutex_unlock(&p->lock);
  signal_set_mask(thread, thread->mask);
  thread_loop(thread);
  if (thread == p->first) run_first(thread);           // a child that this thread forked: the end of that process
  signal_block_all();
  if (p->ending != ENDING_ALL) leave_behind(thread);
  pthread_mutex_lock(&p->lock);
  signal_stack_free(thread);
  linux_thread = NULL;
  unlink_thread(thread);
  pthread_mutex_unlock(&p->lock);
  thread_free(thread);
  return NULL;
}

// The host's thread starts with everything blocked, so that no signal meets it half made.
static int start_host_thread(Start *start)
{
  pthread_attr_t attributes;
  pthread_t host;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, HOST_STACK);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  int error = pthread_create(&host, &attributes, thread_main, start);
  pthread_attr_destroy(&attributes);
  return error;
}

int64_t thread_start(Thread *thread, Start start, uint64_t stack, uint64_t tls)
{
  Process *p = thread->process;
  Hart *hart = hart_user_clone(thread->hart, NULL);
  Thread *child = hart ? thread_new(p, hart) : NULL;
  if (!child) {
    hart_user_free(hart);
    return -EAGAIN;
  }
  hart->pc += 4;
  hart->x[REG_A0] = 0;
  if (stack) hart->x[REG_SP] = stack;
  if (start.flags & CLONE_SETTLS) hart->x[REG_TP] = tls;
  child->mask = thread->mask;
  start.thread = child;
  signal_block_all();
  int error = start_host_thread(&start);
  if (error) {
    thread_free(child);
    signal_set_mask(thread, thread->mask);
    return -EAGAIN;
  }
  pthread_mutex_lock(&p->lock);
  while (!start.ready) pthread_cond_wait(&p->changed, &p->lock);
  p->counts.threads++;
  pthread_mutex_unlock(&p->lock);
  signal_set_mask(thread, thread->mask);
  return start.tid;                          // the thread itself may be gone by now
}

// -- What threads say of themselves -----------------------------------------------------------------------------------------

int64_t call_set_tid_address(Thread *thread, const uint64_t *a)
{
  thread->clear_tid = a[0];
  return thread->tid;
}

int64_t call_set_robust_list(Thread *thread, const uint64_t *a)
{
  if (a[1] != 24) return -EINVAL;
  thread->robust = a[0];
  return 0;
}

int64_t call_get_robust_list(Thread *thread, const uint64_t *a)
{
  uint64_t size = 24;
  if (a[0] && (pid_t)a[0] != thread->tid) return -EPERM;
  return put(thread, a[1], &thread->robust, 8) && put(thread, a[2], &size, 8) ? 0 : -EFAULT;
}

// -- The border -----------------------------------------------------------------------------------------------------------

static Process *running;                     // signals are the host process's: one at a time

static bool open_sysroot(Process *p, const char *folder, struct um_fault *why)
{
  p->sysroot = realpath(folder, NULL);       // as the kernel tells paths of descriptors
  p->sysroot_fd = p->sysroot ? open(p->sysroot, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  if (p->sysroot_fd < 0) fault_set(why, UM_EIO, "sysroot %s: %s", folder, strerror(errno));
  else p->sysroot_fd = files_put_aside(p, p->sysroot_fd);
  return p->sysroot_fd >= 0;
}

UM_EXPORT um_linux *um_linux_new(const struct um_linux_options *options, struct um_fault *why)
{
  Process *p = calloc(1, sizeof *p);
  if (!p) return fault_set(why, UM_ENOMEM, "no memory for a process"), NULL;
  p->options = *options;
  p->sysroot_fd = p->vfork_fd = p->jail.fd = p->jail.ruleset = -1;
  pthread_mutex_init(&p->memory, NULL);
  pthread_mutex_init(&p->jail.pins, NULL);
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->changed, NULL);
  Hart *hart = window_open(&p->window, why) < 0 ? NULL : hart_user_new(&p->window, options->extensions, options->fuse, why);
  if (hart && hart_user_engine(hart, options->engine, options->threshold, options->code_bytes, why) < 0) {
    hart_user_free(hart);
    hart = NULL;
  }
  p->first = hart ? thread_new(p, hart) : NULL;
  if (p->first) link_thread(p->first);
  bool opened = p->first && counts_open(p) && (!options->sysroot || open_sysroot(p, options->sysroot, why)) && (!options->jail || jail_open(p, options->jail, why) == UM_OK);
  if (opened) return p;
  um_linux_free(p);
  return NULL;
}

// Ends what still runs: the threads besides the first, which is where we are.
static void finish(Process *p)
{
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->ending, ENDING_ALL);
  process_kick_others(p->first);
  while (p->thread_count > 1) pthread_cond_wait(&p->changed, &p->lock);
  pthread_mutex_unlock(&p->lock);
}

static void leave_host(Process *p)
{
  signal_block_all();
  signals_remove();
  signal_stack_free(p->first);
  linux_thread = NULL;
  running = NULL;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &p->mask_before, NULL, 8);
}

static void enter_host(Process *p)
{
  running = p;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &p->mask_before, 8);
  linux_thread = p->first;
  p->first->tid = gettid();
  signal_stack(p->first);
  signals_install(p);
  signal_set_mask(p->first, p->mask_before);
}

UM_EXPORT void um_linux_free(um_linux *p)
{
  if (!p) return;
  if (running == p) {
    finish(p);
    leave_host(p);
  }
  thread_free(p->first);
  image_free(p->image);
  if (p->window.base) memory_reset(p);
  window_close(&p->window);
  if (p->sysroot_fd >= 0) close(p->sysroot_fd);
  if (p->jail.fd >= 0) close(p->jail.fd);
  if (p->jail.ruleset >= 0) close(p->jail.ruleset);
  free(p->jail.folder);
  counts_close(p);
  free(p->areas);
  free(p->sysroot);
  free(p->command);
  free(p);
}

UM_EXPORT int um_linux_load(um_linux *p, const char *path, const char *const *argv, const char *const *envp, struct um_fault *why)
{
  int error = 0;
  if (p->loaded) return fault_set(why, UM_EINVAL, "a process loads one program; this one has");
  files_hide(p);
  Image *image = image_open(p, path, path_for_guest(p, path), argv, envp, &error, why);
  if (!image) return UM_EFORMAT;
  int status = jail_enter(p, why);
  if (status < 0) {
    image_free(image);
    return status;
  }
  p->loaded = true;
  int64_t result = image_run(p->first, image);
  return result < 0 ? fault_set(why, UM_ENOMEM, "%s: %s", path, strerror((int)-result)) : UM_OK;
}

// The first thread, until the process ends or a hook wants Lua. It outlives its own exit while others run, and becomes what
// any of them executes.
static void run_first(Thread *thread)
{
  Process *p = thread->process;
  for (;;) {
    thread_loop(thread);
    if (!thread->exits) return;
    signal_block_all();
    if (!p->ending) leave_behind(thread);
    pthread_mutex_lock(&p->lock);
    while (p->thread_count > 1) pthread_cond_wait(&p->changed, &p->lock);
    Image *image = p->ending == ENDING_EXEC ? p->image : NULL;
    p->image = NULL;
    if (image) p->ending = ENDING_NOT;
    pthread_mutex_unlock(&p->lock);
    if (!image) break;
    thread_exec(thread, image);
  }
  if (p->child) _exit(p->status);
  p->over = true;
}

UM_EXPORT int um_linux_run(um_linux *p, struct um_linux_event *event, struct um_fault *why)
{
  if (!p->loaded || p->over) return fault_set(why, UM_EINVAL, p->over ? "this process has ended" : "this process has no program yet");
  if (running && running != p) return fault_set(why, UM_EINVAL, "another process has not ended: signals belong to all of this one, so they run one by one");
  if (!running) enter_host(p);
  call_answer(p->first, event);
  p->event = event;
  run_first(p->first);
  if (!p->over) return UM_OK;
  leave_host(p);
  event->reason = p->death ? UM_LINUX_KILLED : UM_LINUX_EXITED;
  event->code = p->death ? p->death : p->status;
  event->fault = p->fault;
  event->pc = p->fault_pc;
  event->address = p->fault_address;
  return UM_OK;
}

// By the kernel, which refuses what is not there: our handler of faults may not be in place now.
static bool copy(Process *p, uint64_t gva, void *host, uint64_t size, bool write)
{
  struct iovec here = { .iov_base = host, .iov_len = size }, there = { .iov_base = p->window.base + gva, .iov_len = size };
  if (!window_holds(gva, size)) return false;
  if (write && p->written) written_touch(p, gva, size);
  ssize_t done = write ? process_vm_writev(getpid(), &here, 1, &there, 1, 0) : process_vm_readv(getpid(), &here, 1, &there, 1, 0);
  return done == (ssize_t)size;
}

UM_EXPORT int um_linux_read(um_linux *p, uint64_t gva, void *to, uint64_t size, struct um_fault *why)
{
  if (copy(p, gva, to, size, false)) return UM_OK;
  return fault_set(why, UM_EGUEST, "the program has no %llu bytes at %#llx", (unsigned long long)size, (unsigned long long)gva);
}

UM_EXPORT int um_linux_write(um_linux *p, uint64_t gva, const void *from, uint64_t size, struct um_fault *why)
{
  if (copy(p, gva, (void *)(uintptr_t)from, size, true)) return UM_OK;
  return fault_set(why, UM_EGUEST, "the program has no %llu bytes at %#llx that may be written", (unsigned long long)size, (unsigned long long)gva);
}

UM_EXPORT uint64_t um_linux_reg(const um_linux *p, uint32_t index)
{
  if (p->over && p->fault) return index < 32 ? p->fault_x[index] : p->fault_pc;
  return index < 32 ? p->first->hart->x[index] : p->first->hart->pc;
}
