// signal: the guest's handlers, masks and frames over the host's signals.
// SPDX-License-Identifier: MIT
//
// The host's kernel decides who gets a signal and when: masks, ignored signals and default actions are set there. For a signal
// that the guest handles our handler only notes it, blocks all others until it is delivered, and makes the thread leave guest
// code or the call it is about to make (blocking.c). Nothing is queued here, so order and number stay the kernel's.
#include "linux/linux_int.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ALL_SIGNALS (~(uint64_t)0)
#define UNMASKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))

enum { STACK_BYTES = 64 << 10, GUEST_SA_SIGINFO = 4, SS_AUTODISARM_BIT = 1 << 31, MINSIGSTKSZ_GUEST = 2048 };

__thread Thread *linux_thread;

// struct rt_sigframe of riscv64 (arch/riscv/kernel/signal.c, uapi/asm/ucontext.h).
typedef struct Frame {
  uint8_t  info[128];
  uint64_t flags, link;
  AltStack stack;
  uint64_t mask;
  uint8_t  unused[120];
  uint64_t pad;
  uint64_t pc, x[31];                        // x1 to x31
  uint64_t f[32];
  uint32_t fcsr;
  uint8_t  rest[268];                        // of the space for quad precision, and the end of the list of extensions
} Frame;
_Static_assert(sizeof(siginfo_t) == 128 && offsetof(Frame, pc) == 128 + 176 && offsetof(Frame, f) == 128 + 432 && sizeof(Frame) == 128 + 960, "as the kernel's");

// What rt_sigaction of the host takes.
typedef struct HostAction { void *handler; uint64_t flags; void (*restorer)(void); uint64_t mask; } HostAction;

void linux_sigreturn(void);
extern const char linux_call_begin[], linux_call_end[], linux_call_restart[];

static int64_t host_action(int signal, const HostAction *action, HostAction *old)
{
  return syscall(SYS_rt_sigaction, signal, action, old, 8) < 0 ? -errno : 0;
}

static void host_mask(uint64_t mask)
{
  mask &= ~NEVER_BLOCKED;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
}

void signal_block_all(void)
{
  host_mask(ALL_SIGNALS);
}

// While a signal waits for its delivery the host blocks all others, and the delivery ends that.
void signal_set_mask(Thread *thread, uint64_t mask)
{
  thread->mask = mask & ~UNMASKABLE;
  host_mask(ALL_SIGNALS);
  if (!atomic_load(&thread->signal)) host_mask(thread->mask);
}

bool signal_is_fatal(const Process *process, int signal)
{
  if (process->actions[signal].handler != (uint64_t)(uintptr_t)SIG_DFL) return false;
  switch (signal) {
  case SIGCHLD: case SIGCONT: case SIGSTOP: case SIGTSTP: case SIGTTIN: case SIGTTOU: case SIGURG: case SIGWINCH: return false;
  default: return true;
  }
}

// A program may queue a signal for itself that looks like a fault of its own (a code above 0). On the host that one has a code
// below FORGED, or it would be taken for a fault of ours.
enum { FORGED = -(1 << 24), FORGED_MOST = 1 << 24 };

static bool get_info(const Thread *thread, uint64_t gva, int signal, siginfo_t *info)
{
  if (!get(thread, gva, info, sizeof *info)) return false;
  if ((signal == SIGSEGV || signal == SIGBUS) && info->si_code > 0) info->si_code = FORGED - (info->si_code < FORGED_MOST ? info->si_code : FORGED_MOST);
  return true;
}

static void keep_info(Thread *thread, int signal, const siginfo_t *info)
{
  thread->info = *info;
  bool forged = (signal == SIGSEGV || signal == SIGBUS) && info->si_code < FORGED && info->si_code >= FORGED - FORGED_MOST;
  if (forged) thread->info.si_code = FORGED - info->si_code;
}

// -- Arrival --------------------------------------------------------------------------------------------------------------

static void host_handler(int signal, siginfo_t *info, void *context)
{
  ucontext_t *at = context;
  int saved = errno;
  if ((signal == SIGSEGV || signal == SIGBUS) && info->si_code > 0) {
    if (info->si_code == SEGV_ACCERR && linux_thread && written_fault(linux_thread->process, (uintptr_t)info->si_addr)) {
      errno = saved;
      return;
    }
    if (window_recover(signal, info, context)) return;
    check_values(!"a fault outside of guest memory", (uintptr_t)info->si_addr, (uintptr_t)at->uc_mcontext.gregs[REG_RIP]);
  }
  Thread *thread = linux_thread;
  if (!thread) return;
  if (signal != KICK) {
    keep_info(thread, signal, info);
    atomic_store(&thread->signal, signal);
    uint64_t mask = ALL_SIGNALS & ~NEVER_BLOCKED;
    memcpy(&at->uc_sigmask, &mask, sizeof mask);
  }
  atomic_store(&thread->hart->control->attention, 1);
  uintptr_t rip = (uintptr_t)at->uc_mcontext.gregs[REG_RIP];
  if (rip >= (uintptr_t)linux_call_begin && rip < (uintptr_t)linux_call_end) at->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)linux_call_restart;
  errno = saved;
}

static int64_t set_host_action(int signal, uint64_t handler, uint64_t flags)
{
  bool ours = signal == SIGSEGV || signal == SIGBUS || signal == KICK;
  bool handled = handler > (uint64_t)(uintptr_t)SIG_IGN;
  HostAction action = { .handler = ours || handled ? (void *)host_handler : (void *)(uintptr_t)handler,
                        .flags = SA_SIGINFO | SA_ONSTACK | 0x04000000 /* SA_RESTORER */ | (flags & (SA_NOCLDSTOP | SA_NOCLDWAIT)),
                        .restorer = linux_sigreturn, .mask = ALL_SIGNALS & ~NEVER_BLOCKED };
  return host_action(signal, &action, NULL);
}

static HostAction before[SIGNALS + 1];       // of the process around us

// What the process around us ignores the guest ignores too, as after an exec.
void signals_install(Process *process)
{
  for (int n = 1; n <= SIGNALS; n++) {
    if (n == SIGKILL || n == SIGSTOP || host_action(n, NULL, &before[n]) < 0) continue;
    bool ignored = before[n].handler == (void *)SIG_IGN && n != KICK;
    process->actions[n] = (Action){ .handler = ignored };
    set_host_action(n, ignored, 0);
  }
}

void signals_remove(void)
{
  for (int n = 1; n <= SIGNALS; n++)
    if (n != SIGKILL && n != SIGSTOP) host_action(n, &before[n], NULL);
}

void signals_exec(Process *process)
{
  for (int n = 1; n <= SIGNALS; n++) {
    if (process->actions[n].handler <= (uint64_t)(uintptr_t)SIG_IGN) continue;
    process->actions[n] = (Action){ 0 };
    set_host_action(n, 0, 0);
  }
}

void signal_stack(Thread *thread)
{
  thread->host_stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(thread->host_stack != MAP_FAILED);
  stack_t stack = { .ss_sp = thread->host_stack, .ss_size = STACK_BYTES };
  sigaltstack(&stack, NULL);
}

void signal_stack_free(Thread *thread)
{
  stack_t none = { .ss_flags = SS_DISABLE };
  sigaltstack(&none, NULL);
  munmap(thread->host_stack, STACK_BYTES);
}

// -- Delivery -------------------------------------------------------------------------------------------------------------

static bool on_alt_stack(const Thread *thread, uint64_t sp)
{
  return !(thread->alt.flags & SS_DISABLE) && thread->alt.size && sp > thread->alt.sp && sp - thread->alt.sp <= thread->alt.size;
}

static void save_registers(const Hart *hart, Frame *frame)
{
  frame->pc = hart->pc;
  memcpy(frame->x, &hart->x[1], sizeof frame->x);
  memcpy(frame->f, hart->f, sizeof frame->f);
  frame->fcsr = (uint32_t)hart->frm << 5 | hart->fflags;
}

// False: there is no room on the stack.
static bool push_frame(Thread *thread, int signal, const siginfo_t *info, const Action *action)
{
  Hart *hart = thread->hart;
  uint64_t sp = hart->x[REG_SP];
  Frame frame = { .stack = thread->alt, .mask = thread->mask };
  if (frame.stack.size == 0) frame.stack.flags |= SS_DISABLE;
  if (action->flags & SA_ONSTACK && !(thread->alt.flags & SS_DISABLE) && thread->alt.size && !on_alt_stack(thread, sp)) {
    sp = thread->alt.sp + thread->alt.size;
    if (thread->alt.flags & SS_AUTODISARM_BIT) thread->alt = (AltStack){ .flags = SS_DISABLE };
  }
  sp = (sp - sizeof frame) & ~(uint64_t)15;
  memcpy(frame.info, info, sizeof frame.info);
  save_registers(hart, &frame);
  if (!put(thread, sp, &frame, sizeof frame)) return false;
  hart->x[REG_SP] = sp;
  hart->x[REG_RA] = thread->process->trampoline;
  hart->x[REG_A0] = (uint64_t)signal;
  hart->x[REG_A1] = sp;
  hart->x[REG_A2] = sp + offsetof(Frame, flags);
  hart->pc = action->handler;
  return true;
}

// Into a handler. `base`: the mask that holds now.
static void enter_handler(Thread *thread, int signal, const siginfo_t *info, uint64_t base)
{
  Process *process = thread->process;
  pthread_mutex_lock(&process->lock);
  Action action = process->actions[signal];
  if (action.flags & SA_RESETHAND) {
    process->actions[signal].handler = 0;
    set_host_action(signal, 0, 0);
  }
  pthread_mutex_unlock(&process->lock);
  if (thread->restart && !(action.flags & SA_RESTART)) {
    thread->hart->x[REG_A0] = (uint64_t)-EINTR;
    thread->hart->pc += 4;
  }
  thread->restart = false;
  thread->hart->reserved = NULL;
  if (!push_frame(thread, signal, info, &action)) {
    process->fault_address = thread->hart->x[REG_SP];
    process_end(process, 0, SIGSEGV);
    return;
  }
  atomic_fetch_add(&process->signals_delivered, 1);
  signal_set_mask(thread, base | action.mask | (action.flags & SA_NODEFER ? 0 : SIGNAL_BIT(signal)));
}

void signal_deliver(Thread *thread)
{
  int signal = atomic_exchange(&thread->signal, 0);
  uint64_t base = thread->call_masked ? thread->call_mask : thread->mask;
  if (signal) {
    siginfo_t info = thread->info;
    uint64_t handler = thread->process->actions[signal].handler;
    if (handler > (uint64_t)(uintptr_t)SIG_IGN) {
      enter_handler(thread, signal, &info, base);
    } else {
      // Its action changed between arrival and delivery, or it is a fault's number that another process sent.
      if (signal_is_fatal(thread->process, signal)) process_end(thread->process, 0, signal);
      host_mask(thread->mask);
    }
    thread->call_masked = false;
  }
}

void signal_fault(Thread *thread, int signal, int code, uint64_t address)
{
  Process *process = thread->process;
  siginfo_t info = { .si_signo = signal, .si_code = code };
  info.si_addr = (void *)(uintptr_t)address;
  bool handled = process->actions[signal].handler > (uint64_t)(uintptr_t)SIG_IGN && !(thread->mask & SIGNAL_BIT(signal));
  if (handled) {
    enter_handler(thread, signal, &info, thread->mask);
    return;
  }
  pthread_mutex_lock(&process->lock);
  if (!process->ending) {
    process->fault = true;
    process->fault_pc = thread->hart->pc;
    memcpy(process->fault_x, thread->hart->x, sizeof process->fault_x);
    process->fault_address = address;
  }
  pthread_mutex_unlock(&process->lock);
  process_end(process, 0, signal);
}

// -- Calls ----------------------------------------------------------------------------------------------------------------

int64_t call_rt_sigreturn(Thread *thread, const uint64_t *a)
{
  (void)a;
  Hart *hart = thread->hart;
  Frame frame;
  if (!get(thread, hart->x[REG_SP], &frame, sizeof frame)) {
    signal_fault(thread, SIGSEGV, SEGV_MAPERR, hart->x[REG_SP]);
    thread->replaced = true;
    return 0;
  }
  memcpy(&hart->x[1], frame.x, sizeof frame.x);
  memcpy(hart->f, frame.f, sizeof frame.f);
  hart->pc = frame.pc & hart->epc_mask;
  hart->fflags = frame.fcsr & 31;
  hart->frm = frame.fcsr >> 5 & 7;
  hart_update_fp(hart);
  if (!on_alt_stack(thread, hart->x[REG_SP])) thread->alt = frame.stack;
  signal_set_mask(thread, frame.mask);
  thread->replaced = true;
  return 0;
}

int64_t call_rt_sigaction(Thread *thread, const uint64_t *a)
{
  Process *process = thread->process;
  int signal = (int)a[0];
  Action action, old;
  if (signal < 1 || signal >= KICK || a[3] != 8) return -EINVAL;
  if (a[1] && (signal == SIGKILL || signal == SIGSTOP)) return -EINVAL;
  if (a[1] && !get(thread, a[1], &action, sizeof action)) return -EFAULT;
  pthread_mutex_lock(&process->lock);
  old = process->actions[signal];
  if (a[1]) {
    action.mask &= ~UNMASKABLE;
    process->actions[signal] = action;
    set_host_action(signal, action.handler, action.flags);
  }
  pthread_mutex_unlock(&process->lock);
  return a[2] && !put(thread, a[2], &old, sizeof old) ? -EFAULT : 0;
}

int64_t call_rt_sigprocmask(Thread *thread, const uint64_t *a)
{
  uint64_t set, old = thread->mask;
  if (a[3] != 8) return -EINVAL;
  if (a[1]) {
    if (!get(thread, a[1], &set, sizeof set)) return -EFAULT;
    switch ((int)a[0]) {
    case SIG_BLOCK:   signal_set_mask(thread, old | set); break;
    case SIG_UNBLOCK: signal_set_mask(thread, old & ~set); break;
    case SIG_SETMASK: signal_set_mask(thread, set); break;
    default: return -EINVAL;
    }
  }
  return a[2] && !put(thread, a[2], &old, sizeof old) ? -EFAULT : 0;
}

int64_t call_rt_sigpending(Thread *thread, const uint64_t *a)
{
  uint64_t set = 0;
  if (a[1] > 8) return -EINVAL;
  syscall(SYS_rt_sigpending, &set, 8);
  return put(thread, a[0], &set, a[1]) ? 0 : -EFAULT;
}

int64_t call_sigaltstack(Thread *thread, const uint64_t *a)
{
  AltStack old = thread->alt, stack;
  bool on = on_alt_stack(thread, thread->hart->x[REG_SP]);
  if (!old.size) old.flags |= SS_DISABLE;
  if (on) old.flags |= SS_ONSTACK;
  if (a[0]) {
    if (!get(thread, a[0], &stack, sizeof stack)) return -EFAULT;
    if (on) return -EPERM;
    int mode = stack.flags & ~SS_AUTODISARM_BIT;
    if (mode && mode != SS_DISABLE && mode != SS_ONSTACK) return -EINVAL;
    if (mode == SS_DISABLE) stack = (AltStack){ .flags = SS_DISABLE };
    else if (stack.size < MINSIGSTKSZ_GUEST) return -ENOMEM;
    stack.flags &= ~SS_ONSTACK;
    thread->alt = stack;
  }
  return a[1] && !put(thread, a[1], &old, sizeof old) ? -EFAULT : 0;
}

// A mask for the length of one call. It holds for what is delivered because of the call, too.
static bool mask_for_call(Thread *thread, uint64_t gva, uint64_t *host)
{
  uint64_t set;
  if (!get(thread, gva, &set, sizeof set)) return false;
  thread->call_mask = set & ~UNMASKABLE;
  thread->call_masked = true;
  *host = thread->call_mask & ~NEVER_BLOCKED;
  return true;
}

int64_t call_rt_sigsuspend(Thread *thread, const uint64_t *a)
{
  uint64_t mask;
  if (a[1] != 8) return -EINVAL;
  if (!mask_for_call(thread, a[0], &mask)) return -EFAULT;
  return host_call(thread, SYS_rt_sigsuspend, (long)&mask, 8, 0, 0, 0, 0);
}

int64_t call_ppoll(Thread *thread, const uint64_t *a)
{
  uint64_t mask;
  void *fds, *limit;
  if (!guest_pointer(thread->process, a[0], &fds) || !guest_pointer(thread->process, a[2], &limit)) return -EFAULT;
  if (a[3] && a[4] != 8) return -EINVAL;
  if (a[3] && !mask_for_call(thread, a[3], &mask)) return -EFAULT;
  return host_call(thread, SYS_ppoll, (long)fds, (long)a[1], (long)limit, a[3] ? (long)&mask : 0, 8, 0);
}

int64_t call_pselect6(Thread *thread, const uint64_t *a)
{
  uint64_t given[2] = { 0 }, mask;
  void *p[4];
  struct { const void *mask; uint64_t size; } masked = { NULL, 8 };
  for (int i = 0; i < 4; i++)
    if (!guest_pointer(thread->process, a[1 + i], &p[i])) return -EFAULT;
  if (a[5] && !get(thread, a[5], given, sizeof given)) return -EFAULT;
  if (given[0]) {
    if (given[1] != 8) return -EINVAL;
    if (!mask_for_call(thread, given[0], &mask)) return -EFAULT;
    masked.mask = &mask;
  }
  return host_call(thread, SYS_pselect6, (long)a[0], (long)p[0], (long)p[1], (long)p[2], (long)p[3], (long)&masked);
}

static int64_t epoll_wait_masked(Thread *thread, const uint64_t *a, long number, long limit)
{
  enum { MOST = 1024 };
  struct HostEvent { uint32_t events; uint64_t data; } __attribute__((packed)) host[MOST];
  uint64_t mask;
  long most = (int)a[2] > MOST ? MOST : (int)a[2];
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  if (a[4] && a[5] != 8) return -EINVAL;
  if (a[4] && !mask_for_call(thread, a[4], &mask)) return -EFAULT;
  long count = host_call(thread, number, (int)a[0], (long)host, most, limit, a[4] ? (long)&mask : 0, 8);
  for (long i = 0; i < count; i++) {
    struct { uint32_t events, unused; uint64_t data; } event = { host[i].events, 0, host[i].data };
    if (!put(thread, a[1] + 16 * (uint64_t)i, &event, sizeof event)) return -EFAULT;
  }
  return count;
}

int64_t call_epoll_pwait(Thread *thread, const uint64_t *a)
{
  return epoll_wait_masked(thread, a, SYS_epoll_pwait, (int)a[3]);
}

int64_t call_epoll_pwait2(Thread *thread, const uint64_t *a)
{
  void *limit;
  if (!guest_pointer(thread->process, a[3], &limit)) return -EFAULT;
  return epoll_wait_masked(thread, a, SYS_epoll_pwait2, (long)limit);
}

// Signals to ourselves that end us: the host's process lives on where Lua waits for the outcome.
static bool ends_self(const Thread *thread, int signal)
{
  const Process *process = thread->process;
  if (signal == SIGKILL) return true;
  return signal > 0 && signal < KICK && signal_is_fatal(process, signal) && !(thread->mask & SIGNAL_BIT(signal));
}

static int64_t send(Thread *thread, bool self, int signal, int64_t (*way)(const uint64_t *), const uint64_t *a)
{
  if (signal < 0 || signal >= KICK) return -EINVAL;
  if (self && ends_self(thread, signal)) {
    process_end(thread->process, 0, signal);
    return 0;
  }
  return way(a);
}

static int64_t way_kill(const uint64_t *a) { return syscall(SYS_kill, (int)a[0], (int)a[1]) < 0 ? -errno : 0; }
static int64_t way_tkill(const uint64_t *a) { return syscall(SYS_tkill, (int)a[0], (int)a[1]) < 0 ? -errno : 0; }
static int64_t way_tgkill(const uint64_t *a) { return syscall(SYS_tgkill, (int)a[0], (int)a[1], (int)a[2]) < 0 ? -errno : 0; }

int64_t call_kill(Thread *thread, const uint64_t *a) { return send(thread, (int)a[0] == getpid(), (int)a[1], way_kill, a); }
int64_t call_tkill(Thread *thread, const uint64_t *a) { return send(thread, (int)a[0] == thread->tid, (int)a[1], way_tkill, a); }
int64_t call_tgkill(Thread *thread, const uint64_t *a) { return send(thread, (int)a[1] == thread->tid, (int)a[2], way_tgkill, a); }

int64_t call_rt_sigqueueinfo(Thread *thread, const uint64_t *a)
{
  siginfo_t info;
  if (!get_info(thread, a[2], (int)a[1], &info)) return -EFAULT;
  if ((int)a[1] >= KICK) return -EINVAL;
  return syscall(SYS_rt_sigqueueinfo, (int)a[0], (int)a[1], &info) < 0 ? -errno : 0;
}

int64_t call_rt_tgsigqueueinfo(Thread *thread, const uint64_t *a)
{
  siginfo_t info;
  if (!get_info(thread, a[3], (int)a[2], &info)) return -EFAULT;
  if ((int)a[2] >= KICK) return -EINVAL;
  return syscall(SYS_rt_tgsigqueueinfo, (int)a[0], (int)a[1], (int)a[2], &info) < 0 ? -errno : 0;
}

int64_t call_pidfd_send_signal(Thread *thread, const uint64_t *a)
{
  siginfo_t info;
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  if ((int)a[1] >= KICK) return -EINVAL;
  if (a[2] && !get_info(thread, a[2], (int)a[1], &info)) return -EFAULT;
  return syscall(SYS_pidfd_send_signal, (int)a[0], (int)a[1], a[2] ? &info : NULL, (unsigned)a[3]) < 0 ? -errno : 0;
}

int64_t call_rt_sigtimedwait(Thread *thread, const uint64_t *a)
{
  uint64_t set;
  void *info, *limit;
  if (a[3] != 8) return -EINVAL;
  if (!get(thread, a[0], &set, sizeof set) || !guest_pointer(thread->process, a[1], &info) || !guest_pointer(thread->process, a[2], &limit)) return -EFAULT;
  set &= ~NEVER_BLOCKED;
  return host_call(thread, SYS_rt_sigtimedwait, (long)&set, (long)info, (long)limit, 8, 0, 0);
}

int64_t call_signalfd4(Thread *thread, const uint64_t *a)
{
  uint64_t set;
  if (a[2] != 8) return -EINVAL;
  if ((int)a[0] != -1 && !fd_visible(thread->process, (int)a[0])) return -EBADF;
  if (!get(thread, a[1], &set, sizeof set)) return -EFAULT;
  set &= ~NEVER_BLOCKED;
  long fd = syscall(SYS_signalfd4, (int)a[0], &set, 8, (int)a[3]);
  return fd < 0 ? -errno : fd;
}
