// thread: threads, fork, exec, and how all of them end.
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HOST_STACK = 256 << 10, ROBUST_MOST = 2048 };

#define ALL_SIGNALS (~(uint64_t)0)

static void block_all(void)
{
  uint64_t mask = ALL_SIGNALS & ~NEVER_BLOCKED;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
}

Thread *thread_new(Process *process, Hart *hart)
{
  Thread *thread = calloc(1, sizeof *thread);
  if (!thread) return NULL;
  thread->process = process;
  thread->hart = hart;
  thread->alt.flags = SS_DISABLE;
  return thread;
}

static void add_counts(struct um_linux_counts *counts, const Hart *hart)
{
  struct um_hart_counts blocks = { 0 };
  um_hart_counts((Hart *)(uintptr_t)hart, &blocks);
  counts->instructions += blocks.instructions;
  counts->accesses += blocks.accesses;
  counts->decoded += blocks.decoded;
  counts->invalidated += blocks.invalidated;
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
  add_counts(&p->counts, thread->hart);
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

typedef struct Start {
  Thread *thread;
  pid_t    tid;
  uint64_t flags, parent_tid, child_tid;
  bool     ready;
} Start;

static void tell_tids(Thread *child, const Start *start)
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
  tell_tids(thread, start);
  pthread_mutex_lock(&p->lock);
  link_thread(thread);
  if (p->ending) thread->exits = true;
  start->ready = true;
  pthread_cond_broadcast(&p->changed);
  pthread_mutex_unlock(&p->lock);
  signal_set_mask(thread, thread->mask);
  thread_loop(thread);
  if (thread == p->first) run_first(thread);           // a child that this thread forked: the end of that process
  block_all();
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

static int64_t new_thread(Thread *thread, Start start, uint64_t stack, uint64_t tls)
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
  block_all();
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

// -- Fork -----------------------------------------------------------------------------------------------------------------

// In the child only the calling thread lives. It is the first one from now on; it came from Lua or not, it returns there no more.
static void become_child(Thread *thread)
{
  Process *p = thread->process;
  for (Thread *t = p->threads, *next; t; t = next) {
    next = t->next;
    if (t != thread) thread_free(t);
  }
  thread->next = NULL;
  thread->tid = gettid();
  thread->drop_to = 0;
  thread->robust = 0;
  bool on_lua = p->first == thread;
  p->threads = p->first = thread;
  p->thread_count = 1;
  p->child = true;
  p->counts = (struct um_linux_counts){ 0 };
  if (p->vfork_fd >= 0) close(p->vfork_fd);            // of the process that forked us
  p->vfork_fd = -1;
  for (unsigned i = 0; !on_lua && i < CALLS_MOST; i++) {
    if (p->hooked[i]) dprintf(2, "umbra: process %d was forked by a thread that Lua does not run on: its calls are not hooked\n", getpid());
    if (p->hooked[i]) memset(p->hooked, 0, sizeof p->hooked);
  }
  pthread_mutex_init(&p->lock, NULL);
  pthread_mutex_init(&p->memory, NULL);
  pthread_cond_init(&p->changed, NULL);
}

// Waits until the child has left the parent's memory, as after vfork: its end of the pipe closes with an exec or its end.
static void wait_for_child(int fd)
{
  char byte;
  while (read(fd, &byte, 1) < 0 && errno == EINTR) continue;
  close(fd);
}

static int64_t new_process(Thread *thread, Start start, uint64_t stack, uint64_t tls)
{
  Process *p = thread->process;
  int ends[2] = { -1, -1 };
  block_all();
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
    tell_tids(thread, &start);
    signal_set_mask(thread, thread->mask);
    return 0;
  }
  p->counts.forks++;
  pthread_mutex_unlock(&p->lock);
  pthread_mutex_unlock(&p->memory);
  if (ends[1] >= 0) close(ends[1]);
  uint32_t child = (uint32_t)pid;
  if (pid > 0 && start.flags & CLONE_PARENT_SETTID) put(thread, start.parent_tid, &child, 4);
  if (ends[0] >= 0) wait_for_child(ends[0]);
  signal_set_mask(thread, thread->mask);
  return result;
}

enum { KNOWN = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
               CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CLONE_DETACHED | CLONE_VFORK | CLONE_UNTRACED | CLONE_PTRACE };
enum { THREAD_FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD };

static int64_t clone_with(Thread *thread, uint64_t flags, uint64_t stack, uint64_t parent_tid, uint64_t child_tid, uint64_t tls)
{
  Start start = { .flags = flags, .parent_tid = parent_tid, .child_tid = child_tid };
  uint64_t signal = flags & CSIGNAL, kinds = flags & ~(uint64_t)CSIGNAL;
  if (kinds & ~(uint64_t)KNOWN) return -EINVAL;
  if ((kinds & THREAD_FLAGS) == THREAD_FLAGS) return new_thread(thread, start, stack, tls);
  // A process that shares some of these but not all: only vfork's way, of which it does not matter to the child whether it shares.
  if (kinds & (CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_FS) || (kinds & CLONE_VM && !(kinds & CLONE_VFORK))) return -EINVAL;
  if (signal && signal != SIGCHLD) return -EINVAL;
  return new_process(thread, start, stack, tls);
}

int64_t call_clone(Thread *thread, const uint64_t *a)
{
  return clone_with(thread, a[0], a[1], a[2], a[4], a[3]);
}

int64_t call_clone3(Thread *thread, const uint64_t *a)
{
  // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, then what asks for more than is done here
  uint64_t given[11] = { 0 };
  if (a[1] < 64) return -EINVAL;
  if (a[1] > sizeof given) return -E2BIG;
  if (!get(thread, a[0], given, a[1])) return -EFAULT;
  if (given[0] & (CSIGNAL | CLONE_PIDFD) || given[4] > SIGNALS || given[8] || given[9] || given[10]) return -EINVAL;
  return clone_with(thread, given[0] | given[4], given[5] ? given[5] + given[6] : 0, given[3], given[2], given[7]);
}

// -- Exec -----------------------------------------------------------------------------------------------------------------

// The other threads end; then the first one becomes the new program. A thread that is not the first hands it over and ends too.
static int64_t replace(Thread *thread, Image *image)
{
  Process *p = thread->process;
  pthread_mutex_lock(&p->lock);
  if (p->ending || p->image) {
    pthread_mutex_unlock(&p->lock);
    image_free(image);
    thread->exits = true;
    return 0;
  }
  p->image = image;
  atomic_store(&p->ending, ENDING_EXEC);
  process_kick_others(thread);
  pthread_mutex_unlock(&p->lock);
  thread->exits = true;
  return 0;
}

// On the first thread, alone: what runs now is `image`.
void thread_exec(Thread *thread, Image *image)
{
  Process *p = thread->process;
  signals_exec(p);
  if (p->vfork_fd >= 0) close(p->vfork_fd);
  p->vfork_fd = -1;
  thread->clear_tid = thread->robust = 0;
  thread->alt = (AltStack){ .flags = SS_DISABLE };
  thread->exits = thread->replaced = false;
  int64_t result = image_run(thread, image);
  files_exec(p);                             // not before: the image's own files would be among them
  if (result < 0) process_end(p, 0, SIGKILL);          // the old program is gone: nobody to tell
  else signal_set_mask(thread, thread->mask);
}

// A vector of guest pointers to texts, copied; ends in NULL. NULL with *error.
static char **copy_vector(Thread *thread, uint64_t gva, size_t *room, int *error)
{
  size_t count = 0, space = 16;
  char **vector = calloc(space, sizeof *vector);
  char *text = malloc(131072);
  for (;; count++) {
    uint64_t at = 0;
    if (gva && !get(thread, gva + 8 * count, &at, 8)) goto bad;
    if (!at) break;
    int64_t length = window_read_text(&thread->process->window, at, text, 131072);
    if (length == -1) goto bad;
    if (length == -2 || (size_t)length + 9 > *room) goto big;
    *room -= (size_t)length + 9;
    if (count + 2 > space) vector = realloc(vector, (space *= 2) * sizeof *vector);
    check(vector != NULL);
    vector[count] = strdup(text);
    vector[count + 1] = NULL;
  }
  free(text);
  return vector;
big:
  *error = E2BIG;
  goto fail;
bad:
  *error = EFAULT;
fail:
  free(text);
  while (count) free(vector[--count]);
  free(vector);
  return NULL;
}

static void free_vector(char **vector)
{
  for (char **text = vector; vector && *text; text++) free(*text);
  free(vector);
}

static int64_t exec_path(Thread *thread, const char *path, char **argv, char **envp)
{
  int error = 0;
  if (access(path, X_OK) < 0) return -errno;
  Image *image = image_open(thread->process, path, (const char *const *)argv, (const char *const *)envp, &error, NULL);
  if (image) return replace(thread, image);
  if (error != IMAGE_HOST) return -error;
  if (thread->process->options.strace) dprintf(2, "[%d] umbra: %s is a program of the host\n", thread->tid, path);
  uint64_t mask = thread->mask;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
  execve(path, argv, envp);
  return -errno;
}

static int64_t exec_at(Thread *thread, int dirfd, uint64_t path_at, uint64_t argv_at, uint64_t envp_at, int flags)
{
  char given[PATH_MOST], out[PATH_MOST], link[64];
  int64_t length = window_read_text(&thread->process->window, path_at, given, sizeof given);
  if (length < 0) return length == -1 ? -EFAULT : -ENAMETOOLONG;
  const char *path = path_of(thread, dirfd, given, true, out);
  if (!length && flags & AT_EMPTY_PATH) snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd), path = link;
  else if (!length) return -ENOENT;
  else if (given[0] != '/' && dirfd != AT_FDCWD) snprintf(out, sizeof out, "/proc/self/fd/%d/%.4000s", dirfd, given), path = out;
  size_t room = (size_t)2 << 20;
  int error = 0;
  char **argv = copy_vector(thread, argv_at, &room, &error), **envp = argv ? copy_vector(thread, envp_at, &room, &error) : NULL;
  int64_t result = envp ? exec_path(thread, path, argv, envp) : -error;
  free_vector(argv);
  free_vector(envp);
  return result;
}

int64_t call_execve(Thread *thread, const uint64_t *a) { return exec_at(thread, AT_FDCWD, a[0], a[1], a[2], 0); }
int64_t call_execveat(Thread *thread, const uint64_t *a) { return exec_at(thread, (int)a[0], a[1], a[2], a[3], (int)a[4]); }

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

// -- The border -----------------------------------------------------------------------------------------------------------

static Process *running;                     // signals are the host process's: one at a time

UM_EXPORT um_linux *um_linux_new(const struct um_linux_options *options, struct um_fault *why)
{
  Process *p = calloc(1, sizeof *p);
  if (!p) return fault_set(why, UM_ENOMEM, "no memory for a process"), NULL;
  p->options = *options;
  p->sysroot_fd = p->vfork_fd = -1;
  pthread_mutex_init(&p->memory, NULL);
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->changed, NULL);
  Hart *hart = window_open(&p->window, why) < 0 ? NULL : hart_user_new(&p->window, options->extensions, options->fuse, why);
  p->first = hart ? thread_new(p, hart) : NULL;
  if (p->first) link_thread(p->first);
  if (p->first && options->sysroot) {
    p->sysroot = strdup(options->sysroot);
    p->sysroot_fd = open(options->sysroot, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (p->sysroot_fd >= 0) p->sysroot_fd = files_put_aside(p, p->sysroot_fd);
    if (p->sysroot_fd < 0) fault_set(why, UM_EIO, "sysroot %s: %s", options->sysroot, strerror(errno));
  }
  if (p->first && (!options->sysroot || p->sysroot_fd >= 0)) return p;
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
  block_all();
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
  Image *image = image_open(p, path, argv, envp, &error, why);
  if (!image) return UM_EFORMAT;
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
    block_all();
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
  return index < 32 ? p->first->hart->x[index] : p->first->hart->pc;
}

UM_EXPORT void um_linux_counts(const um_linux *process, struct um_linux_counts *counts)
{
  Process *p = (Process *)(uintptr_t)process;
  pthread_mutex_lock(&p->lock);
  *counts = p->counts;
  for (const Thread *t = p->threads; t; t = t->next) add_counts(counts, t->hart);
  pthread_mutex_unlock(&p->lock);
  for (unsigned i = 0; i < CALLS_MOST; i++) counts->calls += p->calls[i];
  counts->unknown = p->unknown;
  counts->signals = p->signals_delivered;
  counts->mapped_bytes = memory_bytes(p);
}
