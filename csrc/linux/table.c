// table: every system call: its number, name, arguments, and what makes it.
// SPDX-License-Identifier: MIT
//
// Most calls are the host's with the guest's pointers turned into the host's: a pointer below 2^38 becomes an address in the
// window, where the kernel itself finds out what is mapped. What has structures of its own, or pointers inside them, has a
// function. What may not be passed on has no row: it answers ENOSYS.
#include "linux/linux_int.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// Made again after a handler with SA_RESTART; the result is an address; printed before. For a jail: changes nothing that its path or
// descriptor names; changes what its descriptor names; is about sockets.
enum { RESTARTS = 1, HEX = 2, NO_RETURN = 4, READS = 8, ALTERS = 16, SOCKETS = 32 };

// One letter an argument: d descriptor, D descriptor of a folder for the path behind it, P path, L path whose last link is not
// followed, a flags with AT_SYMLINK_NOFOLLOW, f flags with AT_SYMLINK_FOLLOW for the first path, s text, b bytes (as many as the next argument says), p pointer, m address, i u x o numbers.
typedef struct Row {
  const char *name, *shape;
  Call       *call;                          // NULL: the host's call `host`
  int16_t     host;
  uint8_t     flags;
} Row;

#define PASS(number, name, shape)       [number] = { #name, shape, NULL, SYS_##name, 0 }
#define WAITS(number, name, shape)      [number] = { #name, shape, NULL, SYS_##name, RESTARTS }
#define LOOKS(number, name, shape)      [number] = { #name, shape, NULL, SYS_##name, READS }
#define ALTER(number, name, shape)      [number] = { #name, shape, NULL, SYS_##name, ALTERS }
#define SOCKET(number, name, shape, flags) [number] = { #name, shape, NULL, SYS_##name, SOCKETS | (flags) }
#define NEWER(number, name, shape, flags) [number] = { #name, shape, NULL, number, flags }       // than the host's headers; numbered alike everywhere
#define OWN(number, name, shape, flags) [number] = { #name, shape, call_##name, 0, flags }
#define BY(number, name, shape, function, flags) [number] = { #name, shape, function, 0, flags }

// clang-format off
static const Row rows[CALLS_MOST] = {
  PASS(5, setxattr, "Pspui"), PASS(6, lsetxattr, "Lspui"), ALTER(7, fsetxattr, "dspui"), LOOKS(8, getxattr, "Pspu"), LOOKS(9, lgetxattr, "Lspu"),
  PASS(10, fgetxattr, "dspu"), LOOKS(11, listxattr, "Ppu"), LOOKS(12, llistxattr, "Lpu"), PASS(13, flistxattr, "dpu"), PASS(14, removexattr, "Ps"),
  PASS(15, lremovexattr, "Ls"), ALTER(16, fremovexattr, "ds"),
  OWN(17, getcwd, "pu", 0), PASS(19, eventfd2, "ux"), PASS(20, epoll_create1, "x"), OWN(21, epoll_ctl, "didp", 0), OWN(22, epoll_pwait, "dpiipu", 0),
  OWN(23, dup, "d", 0), OWN(24, dup3, "dix", 0), OWN(25, fcntl, "dix", RESTARTS), PASS(26, inotify_init1, "x"), LOOKS(27, inotify_add_watch, "dPx"),
  PASS(28, inotify_rm_watch, "di"), OWN(29, ioctl, "dxp", RESTARTS), PASS(30, ioprio_set, "iii"), PASS(31, ioprio_get, "ii"), WAITS(32, flock, "di"),
  PASS(33, mknodat, "DLox"), PASS(34, mkdirat, "DLo"), PASS(35, unlinkat, "DLx"), OWN(36, symlinkat, "sDL", 0), PASS(37, linkat, "DLDLf"),
  PASS(38, renameat, "DLDL"), LOOKS(43, statfs, "Pp"), PASS(44, fstatfs, "dp"), PASS(45, truncate, "Pi"), PASS(46, ftruncate, "di"),
  WAITS(47, fallocate, "dxii"), LOOKS(48, faccessat, "DPo"), LOOKS(49, chdir, "P"), LOOKS(50, fchdir, "d"), ALTER(52, fchmod, "do"), PASS(53, fchmodat, "DPo"),
  PASS(54, fchownat, "DPuua"), ALTER(55, fchown, "duu"), OWN(56, openat, "DPxo", RESTARTS), OWN(57, close, "d", 0), PASS(59, pipe2, "px"),
  PASS(61, getdents64, "dpu"), PASS(62, lseek, "dii"), WAITS(63, read, "dpu"), WAITS(64, write, "dbu"), OWN(65, readv, "dpi", RESTARTS),
  OWN(66, writev, "dpi", RESTARTS), WAITS(67, pread64, "dpui"), WAITS(68, pwrite64, "dbui"), OWN(69, preadv, "dpii", RESTARTS), OWN(70, pwritev, "dpii", RESTARTS),
  WAITS(71, sendfile, "ddpu"), OWN(72, pselect6, "ippppp", 0), OWN(73, ppoll, "pupp", 0), OWN(74, signalfd4, "ipux", 0),
  OWN(75, vmsplice, "dpux", RESTARTS), WAITS(76, splice, "dpdpux"), WAITS(77, tee, "ddux"), OWN(78, readlinkat, "DLpu", 0), OWN(79, newfstatat, "DPpa", 0), OWN(80, fstat, "dp", 0),
  PASS(81, sync, ""), PASS(82, fsync, "d"), PASS(83, fdatasync, "d"), PASS(84, sync_file_range, "diix"), PASS(85, timerfd_create, "ix"),
  PASS(86, timerfd_settime, "dxpp"), PASS(87, timerfd_gettime, "dp"), ALTER(88, utimensat, "DPpa"), PASS(90, capget, "pp"), PASS(91, capset, "pp"),
  OWN(92, personality, "x", 0), OWN(93, exit, "i", NO_RETURN), OWN(94, exit_group, "i", NO_RETURN), WAITS(95, waitid, "iipxp"), OWN(96, set_tid_address, "m", 0),
  OWN(98, futex, "mxupmu", RESTARTS), OWN(99, set_robust_list, "mu", 0), OWN(100, get_robust_list, "ipp", 0), PASS(101, nanosleep, "pp"),
  PASS(102, getitimer, "ip"), PASS(103, setitimer, "ipp"), PASS(107, timer_create, "ipp"), PASS(108, timer_gettime, "ip"), PASS(109, timer_getoverrun, "i"),
  PASS(110, timer_settime, "ixpp"), PASS(111, timer_delete, "i"), PASS(113, clock_gettime, "ip"), PASS(114, clock_getres, "ip"), PASS(115, clock_nanosleep, "ixpp"),
  PASS(118, sched_setparam, "ip"), PASS(119, sched_setscheduler, "iip"), PASS(120, sched_getscheduler, "i"), PASS(121, sched_getparam, "ip"),
  PASS(122, sched_setaffinity, "iup"), PASS(123, sched_getaffinity, "iup"), PASS(124, sched_yield, ""), PASS(125, sched_get_priority_max, "i"),
  PASS(126, sched_get_priority_min, "i"), PASS(127, sched_rr_get_interval, "ip"), OWN(129, kill, "ii", 0), OWN(130, tkill, "ii", 0), OWN(131, tgkill, "iii", 0),
  OWN(132, sigaltstack, "pp", 0), OWN(133, rt_sigsuspend, "pu", 0), OWN(134, rt_sigaction, "ippu", 0), OWN(135, rt_sigprocmask, "ippu", 0),
  OWN(136, rt_sigpending, "pu", 0), OWN(137, rt_sigtimedwait, "pppu", 0), OWN(138, rt_sigqueueinfo, "iip", 0), OWN(139, rt_sigreturn, "", 0),
  PASS(140, setpriority, "iii"), PASS(141, getpriority, "ii"), PASS(143, setregid, "uu"), PASS(144, setgid, "u"), PASS(145, setreuid, "uu"), PASS(146, setuid, "u"),
  PASS(147, setresuid, "uuu"), PASS(148, getresuid, "ppp"), PASS(149, setresgid, "uuu"), PASS(150, getresgid, "ppp"), PASS(151, setfsuid, "u"), PASS(152, setfsgid, "u"),
  PASS(153, times, "p"), PASS(154, setpgid, "ii"), PASS(155, getpgid, "i"), PASS(156, getsid, "i"), PASS(157, setsid, ""), PASS(158, getgroups, "ip"),
  PASS(159, setgroups, "ip"), OWN(160, uname, "p", 0), OWN(163, getrlimit, "ip", 0), OWN(164, setrlimit, "ip", 0), PASS(165, getrusage, "ip"), PASS(166, umask, "o"),
  OWN(167, prctl, "ixxxx", 0), PASS(168, getcpu, "ppp"), PASS(169, gettimeofday, "pp"), PASS(172, getpid, ""), PASS(173, getppid, ""), PASS(174, getuid, ""),
  PASS(175, geteuid, ""), PASS(176, getgid, ""), PASS(177, getegid, ""), PASS(178, gettid, ""), PASS(179, sysinfo, "p"),
  SOCKET(198, socket, "ixi", 0), SOCKET(199, socketpair, "ixip", 0), SOCKET(200, bind, "dpu", 0), SOCKET(201, listen, "di", 0), SOCKET(202, accept, "dpp", RESTARTS), SOCKET(203, connect, "dpu", RESTARTS),
  SOCKET(204, getsockname, "dpp", 0), SOCKET(205, getpeername, "dpp", 0), SOCKET(206, sendto, "dbuxpu", RESTARTS), SOCKET(207, recvfrom, "dpuxpp", RESTARTS), OWN(208, setsockopt, "diipu", SOCKETS),
  OWN(209, getsockopt, "diipp", SOCKETS), SOCKET(210, shutdown, "di", 0), OWN(211, sendmsg, "dpx", RESTARTS | SOCKETS), OWN(212, recvmsg, "dpx", RESTARTS | SOCKETS), PASS(213, readahead, "diu"),
  OWN(214, brk, "m", HEX), OWN(215, munmap, "mu", 0), OWN(216, mremap, "muuxm", HEX), OWN(220, clone, "xmpmp", 0), OWN(221, execve, "Ppp", NO_RETURN),
  OWN(222, mmap, "muxxii", HEX), PASS(223, fadvise64, "diii"), OWN(226, mprotect, "mux", 0), BY(227, msync, "mux", call_memory_range, 0),
  BY(228, mlock, "mu", call_memory_range, 0), BY(229, munlock, "mu", call_memory_range, 0), BY(232, mincore, "mup", call_memory_range, 0), OWN(233, madvise, "mui", 0),
  OWN(240, rt_tgsigqueueinfo, "iiip", 0), SOCKET(242, accept4, "dppx", RESTARTS), OWN(243, recvmmsg, "dpuxp", RESTARTS | SOCKETS),
  BY(258, riscv_hwprobe, "pupux", call_hwprobe, 0), BY(259, riscv_flush_icache, "mmx", call_flush_icache, 0), WAITS(260, wait4, "ipxp"),
  OWN(261, prlimit64, "iipp", 0), PASS(267, syncfs, "d"), PASS(274, sched_setattr, "ipx"), PASS(275, sched_getattr, "ipux"), OWN(269, sendmmsg, "dpux", RESTARTS | SOCKETS), PASS(276, renameat2, "DLDLx"), WAITS(278, getrandom, "pux"),
  PASS(279, memfd_create, "sx"), OWN(281, execveat, "DPppx", NO_RETURN), PASS(283, membarrier, "ixi"), BY(284, mlock2, "mux", call_memory_range, 0), WAITS(285, copy_file_range, "dpdpux"),
  OWN(286, preadv2, "dpiiix", RESTARTS), OWN(287, pwritev2, "dpiiix", RESTARTS), LOOKS(291, statx, "DPaxp"),
  OWN(424, pidfd_send_signal, "dipx", 0), PASS(434, pidfd_open, "ix"), OWN(435, clone3, "pu", 0), OWN(436, close_range, "uux", 0), OWN(437, openat2, "DPpu", RESTARTS),
  LOOKS(439, faccessat2, "DPoa"), OWN(441, epoll_pwait2, "dpippu", 0),
  OWN(449, futex_waitv, "puxpi", RESTARTS), NEWER(451, cachestat, "dppx", 0), NEWER(452, fchmodat2, "DPoa", 0), NEWER(454, futex_wake, "puix", 0),
  NEWER(455, futex_wait, "puuxpi", RESTARTS), OWN(456, futex_requeue, "pxii", 0),
};
// clang-format on

// -- Passing on -------------------------------------------------------------------------------------------------------------

// Whether the last link of the path that is argument i is followed.
static bool follows(const Row *row, int i, const uint64_t *a)
{
  const char *flags = strpbrk(row->shape, "af");
  uint64_t given = flags ? a[flags - row->shape] : 0;
  if (row->shape[i] == 'P') return !(flags && *flags == 'a' && given & AT_SYMLINK_NOFOLLOW);
  return flags && *flags == 'f' && given & AT_SYMLINK_FOLLOW && i < 2;
}

typedef struct Paths { char given[2][PATH_MOST]; Place place[2]; unsigned count; } Paths;

static int64_t pass_path(Thread *thread, const Row *row, int i, const uint64_t *a, Paths *paths, long host[6])
{
  Process *p = thread->process;
  bool relative = i > 0 && row->shape[i - 1] == 'D';
  if (!a[i]) return row->flags & ALTERS && relative && p->jail.folder && !jail_has_fd(p, (int)a[i - 1], false) ? -EACCES : 0;
  unsigned n = paths->count;
  int64_t length = window_read_text(&p->window, a[i], paths->given[n], PATH_MOST);
  if (length < 0) return length == -1 ? -EFAULT : -ENAMETOOLONG;
  unsigned how = (follows(row, i, a) ? PATH_FOLLOW : 0) | (row->flags & READS ? PATH_READS : 0);
  int64_t error = path_find(p, relative ? (int)a[i - 1] : AT_FDCWD, paths->given[n], how, &paths->place[n]);
  if (error) return error;
  paths->count++;
  if (relative) host[i - 1] = paths->place[n].dirfd;
  host[i] = (long)paths->place[n].path;
  return 0;
}

// A jail asks more of a descriptor than that it is the guest's.
static int64_t pass_fd(Thread *thread, const Row *row, int i, int fd)
{
  Process *p = thread->process;
  if (!fd_visible(p, fd)) return -EBADF;
  bool asked = p->jail.folder && i == 0 && (row->flags & ALTERS || row->host == SYS_fchdir);
  return asked && !jail_has_fd(p, fd, row->flags & READS) ? -EACCES : 0;
}

static int64_t pass(Thread *thread, const Row *row, const uint64_t *a, Paths *paths)
{
  long host[6] = { 0 };
  int64_t error = 0;
  for (int i = 0; row->shape[i]; i++) {
    void *pointer;
    host[i] = (long)a[i];
    switch (row->shape[i]) {
    case 'd':
      error = pass_fd(thread, row, i, (int)a[i]);
      break;
    case 'p': case 's': case 'b':
      if (!guest_pointer(thread->process, a[i], &pointer)) return -EFAULT;
      if (thread->process->written && row->shape[i + 1] == 'u') written_touch(thread->process, a[i], a[i + 1]);
      host[i] = (long)pointer;
      break;
    case 'P': case 'L':
      host[i] = 0;
      error = pass_path(thread, row, i, a, paths, host);
      break;
    default: break;
    }
    if (error) return error;
  }
  return host_call(thread, row->host, host[0], host[1], host[2], host[3], host[4], host[5]);
}

static __attribute__((noinline)) int64_t pass_with_paths(Thread *thread, const Row *row, const uint64_t *a)
{
  Paths paths;
  paths.count = 0;
  int64_t result = pass(thread, row, a, &paths);
  while (paths.count) place_leave(thread->process, &paths.place[--paths.count]);
  return result;
}

void calls_passed_on(bool set[CALLS_MOST])
{
  for (unsigned i = 0; i < CALLS_MOST; i++)
    if (rows[i].name && !rows[i].call && !(rows[i].flags & SOCKETS)) set[rows[i].host] = true;
}

// -- Showing ----------------------------------------------------------------------------------------------------------------

typedef struct Text { char bytes[1024]; size_t length; } Text;

static __attribute__((format(printf, 2, 3))) void add(Text *text, const char *format, ...)
{
  va_list list;
  va_start(list, format);
  int length = vsnprintf(text->bytes + text->length, sizeof text->bytes - text->length, format, list);
  va_end(list);
  text->length += length < 0 ? 0 : (size_t)length;
  if (text->length >= sizeof text->bytes) text->length = sizeof text->bytes - 1;
}

static void add_quoted(Text *text, const char *bytes, size_t size, bool more)
{
  add(text, "\"");
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)bytes[i];
    if (c == '\n') add(text, "\\n");
    else if (c < 32 || c > 126 || c == '"' || c == '\\') add(text, "\\%03o", c);
    else add(text, "%c", c);
  }
  add(text, more ? "\"..." : "\"");
}

static void add_argument(Thread *thread, Text *text, const Row *row, int i, const uint64_t *a)
{
  enum { SHOWN = 32 };
  char bytes[128];
  int64_t length;
  switch (row->shape[i]) {
  case 'D':
    if ((int)a[i] == AT_FDCWD) add(text, "AT_FDCWD");
    else add(text, "%d", (int)a[i]);
    break;
  case 'd': add(text, "%d", (int)a[i]); break;
  case 'i': add(text, "%lld", (long long)a[i]); break;
  case 'u': add(text, "%llu", (unsigned long long)a[i]); break;
  case 'o': add(text, "0%llo", (unsigned long long)a[i]); break;
  case 'P': case 'L': case 's':
    length = window_read_text(&thread->process->window, a[i], bytes, sizeof bytes);
    if (length >= 0) add_quoted(text, bytes, (size_t)length, false);
    else if (length == -2) add_quoted(text, bytes, sizeof bytes - 1, true);
    else add(text, "%#llx", (unsigned long long)a[i]);
    break;
  case 'b': {
    size_t size = a[i + 1] < SHOWN ? (size_t)a[i + 1] : SHOWN;
    if (get(thread, a[i], bytes, size)) add_quoted(text, bytes, size, a[i + 1] > SHOWN);
    else add(text, "%#llx", (unsigned long long)a[i]);
    break;
  }
  default: add(text, a[i] ? "%#llx" : "0", (unsigned long long)a[i]); break;
  }
}

static void show(Thread *thread, const Row *row, const uint64_t *a, bool made, int64_t result)
{
  Text text = { .length = 0 };
  add(&text, "[%d] %s(", thread->tid, row->name);
  for (int i = 0; row->shape[i]; i++) {
    if (i) add(&text, ", ");
    add_argument(thread, &text, row, i, a);
  }
  add(&text, ")");
  if (made && result < 0 && result > -4096) add(&text, " = -1 %s (%s)", strerrorname_np((int)-result) ? strerrorname_np((int)-result) : "?", strerror((int)-result));
  else if (made) add(&text, row->flags & HEX ? " = %#llx" : " = %lld", (unsigned long long)result);
  add(&text, "\n");
  if (write(2, text.bytes, text.length) < 0) return;
}

// -- Making a call ----------------------------------------------------------------------------------------------------------

static int64_t unknown(Thread *thread, uint64_t number)
{
  Process *p = thread->process;
  static _Atomic uint8_t named[CALLS_MOST];
  p->unknown++;
  if (p->options.strace && (number >= CALLS_MOST || !named[number])) dprintf(2, "[%d] umbra: there is no system call %llu here (ENOSYS)\n", thread->tid, (unsigned long long)number);
  if (number < CALLS_MOST) named[number] = 1;
  return -ENOSYS;
}

static void ask(Thread *thread, uint64_t number, bool returned, int64_t result)
{
  Process *p = thread->process;
  struct um_linux_event *event = p->event;
  *event = (struct um_linux_event){ .reason = UM_LINUX_CALL, .call = (uint32_t)number, .returned = returned, .result = result };
  const uint64_t *a = returned ? p->hook_arguments : &thread->hart->x[REG_A0];
  memcpy(event->argument, a, sizeof event->argument);
  p->hook = returned ? HOOK_RETURNED : HOOK_ASKED;
}

void call_answer(Thread *thread, const struct um_linux_event *event)
{
  Process *p = thread->process;
  if (p->hook == HOOK_ASKED) {
    memcpy(p->hook_arguments, event->argument, sizeof p->hook_arguments);
    p->hook = HOOK_GO;
    if (!event->skip) return;
  } else if (p->hook != HOOK_RETURNED) {
    return;
  }
  thread->hart->x[REG_A0] = (uint64_t)event->result;
  thread->hart->pc += 4;
  p->hook = HOOK_NONE;
}

// After an interrupted call: it is made again, or has failed, or a handler will decide (thread->restart). True: nothing to store.
static bool interrupted(Thread *thread, const Row *row, const uint64_t *a, int64_t result)
{
  thread->restart = false;
  if (result == -RESTART) thread->call_masked = false;
  if (result == -RESTART) return true;
  bool signal = atomic_load(&thread->signal);
  if (!signal) thread->call_masked = false;
  if (result != -EINTR) return false;
  if (!signal) return true;                  // kicked, or stopped and continued
  thread->restart = row->flags & RESTARTS && !(row->call == call_futex && a[3]);
  return thread->restart;
}

void call_make(Thread *thread)
{
  Hart *hart = thread->hart;
  Process *p = thread->process;
  uint64_t number = hart->x[REG_A7], a[6];
  const Row *row = number < CALLS_MOST && rows[number].name ? &rows[number] : NULL;
  bool hooked = row && thread == p->first && p->hooked[number];
  memcpy(a, hooked && p->hook == HOOK_GO ? p->hook_arguments : &hart->x[REG_A0], sizeof a);
  if (hooked && p->hook != HOOK_GO) {
    ask(thread, number, false, 0);
    return;
  }
  if (row) atomic_fetch_add_explicit(&p->calls[number], 1, memory_order_relaxed);
  if (row && p->options.strace && row->flags & NO_RETURN) show(thread, row, a, false, 0);
  thread->replaced = false;
  int64_t result;
  if (!row) result = unknown(thread, number);
  else if (row->flags & SOCKETS && p->jail.folder) result = -EACCES;
  else if (row->call) result = row->call(thread, a);
  else if (strpbrk(row->shape, "PL")) result = pass_with_paths(thread, row, a);
  else result = pass(thread, row, a, NULL);
  if (row && interrupted(thread, row, a, result)) return;
  if (row && p->options.strace && (!(row->flags & NO_RETURN) || result < 0)) show(thread, row, a, true, result);
  if (hooked) p->hook = HOOK_NONE;
  if (thread->replaced || thread->exits) return;
  if (hooked) {
    ask(thread, number, true, result);
    return;
  }
  hart->x[REG_A0] = (uint64_t)result;
  hart->pc += 4;
}

// -- The border -------------------------------------------------------------------------------------------------------------

UM_EXPORT int um_linux_hook(um_linux *p, uint32_t number, bool on, struct um_fault *why)
{
  if (number >= CALLS_MOST || !rows[number].name) return fault_set(why, UM_EINVAL, "there is no system call %u", number);
  p->hooked[number] = on;
  return UM_OK;
}

UM_EXPORT int um_linux_call(const um_linux *p, uint32_t index, struct um_linux_call *call)
{
  for (uint32_t number = 0; number < CALLS_MOST; number++) {
    if (!rows[number].name || index--) continue;
    *call = (struct um_linux_call){ .number = number, .arguments = (uint32_t)strlen(rows[number].shape), .count = p ? p->calls[number] : 0, .children = p ? counts_family_calls(p, number) : 0 };
    snprintf(call->name, sizeof call->name, "%s", rows[number].name);
    return UM_OK;
  }
  return UM_EINVAL;
}
