// linux_int: what the files of this folder share: the process, its threads, and how calls are made.
// SPDX-License-Identifier: MIT
//
// A guest thread is a host thread with a hart of its own; a guest process is a host process; a descriptor is the host's
// descriptor. So the kernel does what kernels do: futexes, masks, job control, waiting. Ours are memory, code, signal frames and
// what is laid out differently on riscv64 (docs/adr/0005-processes.md).
// Locks, taken in this order: `memory` (areas and break), `lock` (threads, actions, end). Both are held across a fork.
#pragma once
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/check.h"
#include "base/fault.h"
#include "cpu/riscv/user.h"
#include "mem/window.h"
#include "linux/linux_ffi.h"

enum { SIGNALS = 64, CALLS_MOST = 512, PATH_MOST = 4096 };
enum { KICK = 64 };                          // ours: interrupts another thread's call. Guests find no such signal.
enum { RESTART = 512 };                      // -RESTART: the call is to be made again, after whatever interrupted it

enum { REG_RA = 1, REG_SP = 2, REG_TP = 4, REG_A0 = 10, REG_A1, REG_A2, REG_A7 = 17 };

#define SIGNAL_BIT(n) ((uint64_t)1 << ((n) - 1))
// What the host may never block: the faults that window_recover handles, and the kick.
#define NEVER_BLOCKED (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(KICK))

// As riscv64's kernel lays it out.
typedef struct Action { uint64_t handler, flags, mask; } Action;
typedef struct AltStack { uint64_t sp; int32_t flags; uint32_t unused; uint64_t size; } AltStack;

typedef struct Area {
  uint64_t from, to;                         // guest addresses, whole pages
  uint64_t offset;                           // in the file
  char    *name;                             // NULL: anonymous
  uint8_t  prot;                             // WINDOW_READ, ...
  bool     shared;
} Area;

// Where a path of the guest lies: for a call of the host with a folder's descriptor and a path, until place_leave.
typedef struct Place {
  int         dirfd;
  const char *path;                          // in `text` or as given
  int         pin;                           // what the path goes by, ours; -1: none
  char        text[PATH_MOST + 32];
} Place;

typedef struct Jail {
  char *folder;                              // its real path; NULL: no jail
  int   fd, ruleset;
  pthread_mutex_t pins;                      // descriptors appear, are hidden, are closed: one at a time
  uint64_t pinned[16];                       // which of them calls in progress go by
} Jail;

typedef struct Limit { uint64_t soft, hard; bool set; } Limit;

typedef struct um_linux Process;
typedef struct Image Image;
typedef struct Written Written;
typedef struct Family Family;

typedef struct Thread {
  Process *process;
  struct Thread *next;
  Hart    *hart;
  pid_t    tid;
  uint64_t clear_tid;                        // guest address, 0: none
  uint64_t robust;                           // guest address of the list's head
  uint64_t mask;                             // blocked signals
  uint64_t call_mask;                        // what the call in progress blocks instead
  bool     call_masked;
  AltStack alt;
  _Atomic int signal;                        // arrived and not delivered yet: no other arrives meanwhile. 0: none
  siginfo_t info;                            // of it
  _Atomic int inside;                        // runs guest code
  uint64_t drop_from, drop_to;               // code others changed (process->lock); drop_to 0: none
  bool     restart;                          // the interrupted call may be made again if the handler says so
  bool     replaced;                         // the call put registers and pc in place itself
  bool     exits;                            // leaves its loop
  void    *host_stack;                       // for host signals
} Thread;

struct um_linux {
  struct um_linux_options options;
  char    *sysroot;
  int      sysroot_fd, vfork_fd;             // -1: none; the end of a pipe that an exec closes
  Written *written;                          // what a child of vfork has to tell; NULL: nothing
  Jail     jail;
  Window   window;
  pthread_mutex_t memory, lock;
  pthread_cond_t  changed;                   // a thread ended, started, or the process ends
  Area    *areas;
  unsigned area_count, area_room;
  uint64_t brk_start, brk, brk_limit, mmap_top, trampoline;
  Limit    limits[3];                        // of address space, data and stack: the program's, not passed on
  Thread  *threads, *first;                  // the first runs on the thread that called um_linux_run
  unsigned thread_count;
  Action   actions[SIGNALS + 1];
  char     exe[PATH_MOST];                   // host path of the program
  char    *command;                          // its arguments, each with its zero; /proc/self/cmdline
  uint64_t command_bytes;
  uint64_t auxv[64];
  unsigned auxv_words;
  _Atomic int ending;                        // ENDING_*
  int      status, death;                    // exit code; signal, 0: none
  bool     fault;                            // it died by a fault of its own
  uint64_t fault_address, fault_pc, fault_x[32];
  bool     child;                            // made by fork: ends by itself, returns to nobody
  bool     loaded, over;
  uint64_t hidden[16];                       // descriptors below 1,024 that are not the guest's
  // Another thread's exec, waiting for the first one.
  Image   *image;
  // Hooks: on the first thread only.
  uint8_t  hooked[CALLS_MOST];
  struct um_linux_event *event;              // of the run in progress
  enum { HOOK_NONE, HOOK_ASKED, HOOK_GO, HOOK_RETURNED } hook;
  uint64_t hook_arguments[6];
  uint64_t mask_before;                      // of the host thread around us
  // Counts of threads that are gone, and of what is not a hart's.
  struct um_linux_counts counts;
  _Atomic uint64_t calls[CALLS_MOST], unknown, signals_delivered;
  Family  *family;                           // of all children that have ended
};

extern __thread Thread *linux_thread;        // of this host thread; NULL: none

// written.c: a child of vfork, whose parent shall see what it wrote.
void written_begin(Process *p);              // from now on
void written_end(Process *p);                // nothing is told
bool written_fault(Process *p, uintptr_t host);                      // a refused store at a host address is to be made again
void written_touch(Process *p, uint64_t gva, uint64_t size);         // the kernel may write there
void written_tell(Process *p);               // blocks all signals
void written_hear(Thread *thread, int fd);   // in the parent, until the child has left

// Guest memory for calls ----------------------------------------------------------------------------

// A host pointer for the kernel, which answers EFAULT for what is not mapped in the window; NULL stays NULL. False: no guest address.
static inline bool guest_pointer(Process *process, uint64_t gva, void **host)
{
  enum { MOST_STRUCTURES = 65536 };
  if (process->written) written_touch(process, gva, MOST_STRUCTURES);
  *host = gva ? process->window.base + gva : NULL;
  return gva < WINDOW_BYTES;
}

static inline bool get(const Thread *thread, uint64_t gva, void *to, uint64_t size) { return window_read(&thread->process->window, gva, to, size); }
static inline bool put(const Thread *thread, uint64_t gva, const void *from, uint64_t size) { return window_write(&thread->process->window, gva, from, size); }

// A structure that may grow in later versions: `known` bytes of it, zeros where the guest's is shorter (it has at least `least`). What
// is behind must be zeros. 0, -EINVAL, -E2BIG, -EFAULT.
int64_t get_grown(const Thread *thread, uint64_t gva, uint64_t size, void *to, uint64_t least, uint64_t known);

// blocking.S in C: makes a call of the host unless thread->hart wants attention, without a gap between look and call. A result or
// -errno; -RESTART: not made.
long linux_blocking(_Atomic uint32_t *attention, long number, long a0, long a1, long a2, long a3, long a4, long a5);
static inline long host_call(Thread *thread, long number, long a0, long a1, long a2, long a3, long a4, long a5)
{
  return linux_blocking(&thread->hart->control->attention, number, a0, a1, a2, a3, a4, a5);
}

// memory.c
int64_t memory_map(Thread *thread, uint64_t at, uint64_t size, int prot, int flags, int fd, uint64_t offset);
int64_t memory_unmap(Thread *thread, uint64_t at, uint64_t size);
int64_t memory_protect(Thread *thread, uint64_t at, uint64_t size, int prot);
int64_t memory_move(Thread *thread, uint64_t at, uint64_t size, uint64_t new_size, int flags, uint64_t to);
int64_t memory_break(Thread *thread, uint64_t to);
bool    memory_mapped(Process *process, uint64_t at, uint64_t size);        // all of it
void    memory_reset(Process *process);                                    // as before any program
int     memory_describe(Process *process, int fd);                         // writes what /proc/self/maps says
uint64_t memory_bytes(Process *process);
void    code_changed(Thread *thread, uint64_t at, uint64_t size);          // no thread runs old code afterwards; holds no lock before

// load.c
enum { IMAGE_HOST = 4096 };                  // image_open's error for a program of the host
// `path` is the host's, `called` what the guest knows it by.
Image  *image_open(Process *process, const char *path, const char *called, const char *const *argv, const char *const *envp, int *error, struct um_fault *why);
void    image_free(Image *image);
int64_t image_run(Thread *thread, Image *image);               // takes the place of what runs; frees the image. -errno: nothing is left

// paths.c
enum { PATH_FOLLOW = 1, PATH_READS = 2, PATH_CREATES = 4, PATH_OPENS = 8 };          // the last link too; changes nothing; may not be there yet; to open it
int64_t path_find(Process *p, int dirfd, const char *path, unsigned how, Place *place);      // 0 or -errno
int64_t path_find_real(Process *p, int dirfd, const char *path, unsigned how, char out[PATH_MOST]);      // as a path, for what outlives the call
void    place_leave(Process *p, Place *place);
void    paths_forked(Process *p);                              // what calls of other threads went by
bool    path_of_fd(int fd, char out[PATH_MOST]);               // of AT_FDCWD too
const char *path_below(const char *path, const char *folder);  // the rest, beginning with /; NULL: it is not below, or there is no folder
const char *path_for_guest(const Process *p, const char *path);            // without the sysroot
// What follows /proc/self/ in a path to this process's own files, by whatever name; NULL: it is none of these. In `path` or `joined`.
const char *path_own_proc(int dirfd, const char *path, char joined[PATH_MOST]);

// jail.c
extern const char *const jail_devices[];     // that even a jail has; ends in NULL
int     jail_open(Process *p, const char *folder, struct um_fault *why);   // refuses what this host cannot hold
int     jail_enter(Process *p, struct um_fault *why);          // this thread and all that it starts, for good
bool    jail_has_fd(const Process *p, int fd, bool reading);   // it is of a file that may be changed (read), or of none

// files.c
bool    fd_visible(const Process *process, int fd);
void    files_hide(Process *process);                          // descriptors that an exec would close are the host's own; for a jail all but the first three
void    files_exec(Process *process);                          // closes what an exec closes
int     files_put_aside(Process *process, int fd);             // moves a descriptor of ours out of the guest's way and sight
void    files_take_back(Process *process, int fd);             // closes one of these

// signal.c
void    signals_install(Process *process);
void    signals_remove(void);
void    signals_exec(Process *process);                        // handlers become defaults
void    signal_set_mask(Thread *thread, uint64_t mask);
void    signal_block_all(void);                                // on the host; the thread's mask stays what it is
void    signal_deliver(Thread *thread);                        // what has arrived
void    signal_fault(Thread *thread, int signal, int code, uint64_t address);     // what the thread's own instruction caused
bool    signal_is_fatal(const Process *process, int signal);   // by default
void    signal_stack(Thread *thread);                          // gives this host thread a stack for handlers
void    signal_stack_free(Thread *thread);

// thread.c
// What a new thread or process is told and tells: flags of clone, and where thread ids go.
typedef struct Start {
  Thread *thread;
  pid_t    tid;
  uint64_t flags, parent_tid, child_tid, pidfd;        // where to put them
  bool     ready;
} Start;

int64_t thread_start(Thread *thread, Start start, uint64_t stack, uint64_t tls);      // its tid
void    thread_tell_tids(Thread *child, const Start *start);
Thread *thread_new(Process *process, Hart *hart);
void    thread_free(Thread *thread);
void    thread_loop(Thread *thread);
void    process_end(Process *process, int status, int death);
void    process_kick_others(Thread *self);                     // process->lock is held
enum { ENDING_NOT, ENDING_ALL, ENDING_EXEC };                  // why threads leave: the process ends; all but the first, for an exec

// counts.c
bool    counts_open(Process *p);
void    counts_close(Process *p);
void    counts_add(struct um_linux_counts *counts, const Hart *hart);
void    counts_forked(Process *p, const Hart *hart);           // in the child: from here on
void    counts_tell(Process *p);                               // a child's, at its end
uint64_t counts_family_calls(const Process *p, unsigned number);

// exec.c
void    thread_exec(Thread *thread, Image *image);             // on the first thread, alone

// table.c
void    call_make(Thread *thread);                             // the ecall at hart->pc
void    call_answer(Thread *thread, const struct um_linux_event *event);   // Lua has seen a hooked call
void    calls_passed_on(bool set[CALLS_MOST]);                 // calls of the host that rows of the table are, sockets apart

typedef int64_t Call(Thread *thread, const uint64_t *a);

// calls in files of their own
Call call_brk, call_mmap, call_munmap, call_mprotect, call_mremap, call_madvise, call_memory_range, call_flush_icache;
Call call_rt_sigaction, call_rt_sigprocmask, call_rt_sigreturn, call_sigaltstack, call_rt_sigsuspend, call_rt_sigtimedwait, call_kill, call_tkill, call_tgkill,
     call_rt_sigqueueinfo, call_rt_tgsigqueueinfo, call_rt_sigpending, call_signalfd4, call_pidfd_send_signal;
Call call_clone, call_clone3, call_exit, call_exit_group, call_execve, call_execveat, call_set_tid_address, call_set_robust_list, call_get_robust_list, call_futex, call_futex_waitv,
     call_futex_requeue;
Call call_openat, call_close, call_close_range, call_dup, call_dup3, call_fcntl, call_ioctl, call_fstat, call_newfstatat, call_readlinkat, call_getcwd,
     call_readv, call_writev, call_preadv, call_pwritev, call_preadv2, call_pwritev2, call_openat2, call_symlinkat;
Call call_sendmsg, call_recvmsg, call_sendmmsg, call_recvmmsg, call_setsockopt, call_getsockopt, call_vmsplice, call_epoll_ctl, call_epoll_pwait, call_epoll_pwait2,
     call_ppoll, call_pselect6;
Call call_uname, call_prctl, call_prlimit64, call_getrlimit, call_setrlimit, call_hwprobe, call_personality;
