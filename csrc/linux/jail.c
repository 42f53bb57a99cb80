// jail: a process that sees one folder and no sockets, by the host's landlock and seccomp beside the table of calls.
// SPDX-License-Identifier: MIT
//
// The first wall are paths.c and the rows of the table; a guest cannot get past those but by a bug of ours. The second is
// the kernel's, and holds for this thread, Lua on it included, for all that it starts, and for good. Landlock decides by what a path leads to, whichever
// way it was found; it knows opening, making, removing, renaming and linking, and nothing of looking (stat) and of modes, owners and
// times, which stand at the first wall alone. Seccomp lets through what the table and umbra itself need.
#include "linux/linux_int.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/fault.h"

const char *const jail_devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", NULL };

// -- Landlock ---------------------------------------------------------------------------------------------------------------

// Of later headers than the oldest that this is compiled with.
enum { FIRST_RIGHTS = 13, REFER = 1 << 13, TRUNCATE = 1 << 14, IOCTL_DEV = 1 << 15 };
enum { NET_TCP = 3, SCOPE_SOCKETS_AND_SIGNALS = 3 };
typedef struct Ruleset { uint64_t files, net, scoped; } Ruleset;

// What each version of landlock added: rights over files, and how much of the structure it knows.
static const struct { uint64_t files; size_t size; } versions[] = {
  { 0, 0 }, { (1 << FIRST_RIGHTS) - 1, 8 }, { REFER, 8 }, { TRUNCATE, 8 }, { 0, 16 }, { IOCTL_DEV, 16 }, { 0, 24 },
};
enum { VERSIONS = sizeof versions / sizeof versions[0] };

enum { READING = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE };
enum { NOT_EVEN_THERE = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SOCK | IOCTL_DEV };

static bool allow(int ruleset, int fd, uint64_t rights)
{
  struct landlock_path_beneath_attr rule = { .allowed_access = rights, .parent_fd = fd };
  return fd >= 0 && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

static int make_ruleset(const Process *p, struct um_fault *why)
{
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return fault_set(why, UM_EIO, "jail %s: this host's kernel has no landlock (Linux 5.13 and lsm=landlock), without which there is no jail", p->jail.folder);
  if (version >= VERSIONS) version = VERSIONS - 1;
  Ruleset rules = { .net = NET_TCP, .scoped = SCOPE_SOCKETS_AND_SIGNALS };
  for (long i = 0; i <= version; i++) rules.files |= versions[i].files;
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, versions[version].size, 0);
  bool made = ruleset >= 0 && allow(ruleset, p->jail.fd, rules.files & ~(uint64_t)NOT_EVEN_THERE);
  if (made && p->sysroot_fd >= 0) made = allow(ruleset, p->sysroot_fd, READING);
  for (unsigned i = 0; made && jail_devices[i]; i++) {
    int fd = open(jail_devices[i], O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    made = allow(ruleset, fd, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
    close(fd);
  }
  if (made) return ruleset;
  int error = errno;
  if (ruleset >= 0) close(ruleset);
  return fault_set(why, UM_EIO, "jail %s: landlock: %s", p->jail.folder, strerror(error));
}

// -- Seccomp ----------------------------------------------------------------------------------------------------------------

// What umbra itself and the functions of calls need beside the rows that are passed on. No exec: a program of the guest's is
// executed in place, and one of the host's not at all.
static const short needed[] = {
  SYS_read, SYS_write, SYS_close, SYS_fstat, SYS_lseek, SYS_mmap, SYS_mprotect, SYS_munmap, SYS_brk, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
  SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_rt_sigqueueinfo, SYS_rt_sigsuspend, SYS_sigaltstack, SYS_rt_tgsigqueueinfo, SYS_kill, SYS_tkill, SYS_tgkill,
  SYS_pread64, SYS_readv, SYS_writev, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2, SYS_access, SYS_pipe2, SYS_select, SYS_pselect6, SYS_poll, SYS_ppoll,
  SYS_mremap, SYS_msync, SYS_mincore, SYS_madvise, SYS_mlock, SYS_munlock, SYS_dup, SYS_dup2, SYS_dup3, SYS_exit, SYS_exit_group, SYS_wait4, SYS_uname, SYS_fcntl,
  SYS_getcwd, SYS_chdir, SYS_readlink, SYS_readlinkat, SYS_symlinkat, SYS_futex, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_signalfd4,
  SYS_openat, SYS_openat2, SYS_newfstatat, SYS_statx, SYS_close_range, SYS_clock_nanosleep, SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_restart_syscall,
  SYS_prlimit64, SYS_getrlimit, SYS_setrlimit, SYS_getrandom, SYS_memfd_create, SYS_process_vm_readv, SYS_process_vm_writev, SYS_prctl, SYS_arch_prctl, SYS_time,
  SYS_gettid, SYS_getdents64, SYS_fstatfs, SYS_faccessat, SYS_faccessat2, SYS_membarrier, SYS_pidfd_open, SYS_pidfd_send_signal,
};

typedef struct Filter { struct sock_filter row[2 * CALLS_MOST + 64]; unsigned short count; } Filter;

static void add(Filter *filter, struct sock_filter row)
{
  check(filter->count < sizeof filter->row / sizeof filter->row[0]);
  filter->row[filter->count++] = row;
}

#define LOAD(field)       (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
#define ANSWER(result)    (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (result))
#define FAIL(error)       ANSWER(SECCOMP_RET_ERRNO | (error))
#define SKIP(test, value, n) (struct sock_filter)BPF_JUMP(BPF_JMP | (test) | BPF_K, (unsigned)(value), (n), 0)       // the next n rows, if the test holds
#define UNLESS(test, value)  (struct sock_filter)BPF_JUMP(BPF_JMP | (test) | BPF_K, (unsigned)(value), 0, 1)         // the next row, if it does not

static void make_filter(Filter *filter)
{
  enum { X32 = 0x40000000, LINUX = 0x541c, NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET };
  bool allowed[CALLS_MOST] = { false };
  calls_passed_on(allowed);
  for (unsigned i = 0; i < sizeof needed / sizeof needed[0]; i++) allowed[needed[i]] = true;
  add(filter, LOAD(arch));
  add(filter, SKIP(BPF_JEQ, AUDIT_ARCH_X86_64, 1));
  add(filter, ANSWER(SECCOMP_RET_KILL_PROCESS));
  add(filter, LOAD(nr));
  add(filter, UNLESS(BPF_JGE, X32));
  add(filter, FAIL(EPERM));
  add(filter, UNLESS(BPF_JEQ, SYS_clone3));            // its flags are in memory: whoever asks finds the older one
  add(filter, FAIL(ENOSYS));
  add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4));
  add(filter, LOAD(args[0]));
  add(filter, UNLESS(BPF_JSET, NAMESPACES));
  add(filter, FAIL(EPERM));
  add(filter, ANSWER(SECCOMP_RET_ALLOW));
  add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 6));
  add(filter, LOAD(args[1]));
  add(filter, UNLESS(BPF_JEQ, TIOCSTI));               // input for whoever shares the terminal
  add(filter, FAIL(EPERM));
  add(filter, UNLESS(BPF_JEQ, LINUX));                 // TIOCLINUX: likewise
  add(filter, FAIL(EPERM));
  add(filter, ANSWER(SECCOMP_RET_ALLOW));
  for (unsigned i = 0; i < CALLS_MOST; i++) {
    if (!allowed[i]) continue;
    add(filter, UNLESS(BPF_JEQ, i));
    add(filter, ANSWER(SECCOMP_RET_ALLOW));
  }
  add(filter, FAIL(EPERM));
}

// -- The jail ---------------------------------------------------------------------------------------------------------------

bool jail_has_fd(const Process *p, int fd, bool reading)
{
  char path[PATH_MOST];
  if (!path_of_fd(fd, path)) return false;
  for (unsigned i = 0; reading && jail_devices[i]; i++)
    if (strcmp(path, jail_devices[i]) == 0) return true;
  bool no_file = path[0] != '/' || strncmp(path, "/memfd:", 7) == 0;
  return no_file || path_below(path, p->jail.folder) || (reading && path_below(path, p->sysroot));
}

int jail_open(Process *p, const char *folder, struct um_fault *why)
{
  char *real = realpath(folder, NULL);
  p->jail.fd = real ? open(real, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  if (p->jail.fd < 0) {
    free(real);
    return fault_set(why, UM_EIO, "jail %s: %s", folder, strerror(errno));
  }
  p->jail.fd = files_put_aside(p, p->jail.fd);
  p->jail.folder = real;
  int ruleset = make_ruleset(p, why);
  if (ruleset < 0) return ruleset;
  p->jail.ruleset = files_put_aside(p, ruleset);
  return UM_OK;
}

int jail_enter(Process *p, struct um_fault *why)
{
  char here[PATH_MOST];
  static Filter filter;
  if (!p->jail.folder) return UM_OK;
  if ((!path_of_fd(AT_FDCWD, here) || !path_below(here, p->jail.folder)) && chdir(p->jail.folder) < 0)
    return fault_set(why, UM_EIO, "jail %s: cannot go there: %s", p->jail.folder, strerror(errno));
  filter.count = 0;
  make_filter(&filter);
  struct sock_fprog program = { .len = filter.count, .filter = filter.row };
  bool in = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, p->jail.ruleset, 0) == 0 &&
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
  return in ? UM_OK : fault_set(why, UM_EIO, "jail %s: the host refuses it: %s", p->jail.folder, strerror(errno));
}
