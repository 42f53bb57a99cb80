// files: paths below the sysroot, descriptors that are the host's own, and calls whose structures differ.
// SPDX-License-Identifier: MIT
#include "linux/linux_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HIDDEN_FDS = 1024, ASIDE = 960, VECTORS_MOST = 1024, FDS_MOST = 65536 };

// -- Descriptors that are ours ----------------------------------------------------------------------------------------------

bool fd_visible(const Process *p, int fd)
{
  return fd >= HIDDEN_FDS || (fd >= 0 && !(p->hidden[fd / 64] >> fd % 64 & 1));
}

static void hide(Process *p, int fd)
{
  if (fd >= 0 && fd < HIDDEN_FDS) p->hidden[fd / 64] |= (uint64_t)1 << fd % 64;
}

int files_put_aside(Process *p, int fd)
{
  int aside = fcntl(fd, F_DUPFD_CLOEXEC, ASIDE);
  if (aside < 0) aside = fd;                 // a low limit of descriptors: it stays where it is
  else close(fd);
  hide(p, aside);
  return aside;
}

UM_EXPORT int um_linux_keep(um_linux *p, int fd) { return files_put_aside(p, fd); }

// Calls what(p, fd) for each open descriptor, or for those that an exec closes.
static void each_fd(Process *p, bool closing, void (*what)(Process *, int))
{
  DIR *folder = opendir("/proc/self/fd");
  if (!folder) {                             // as in a jail
    struct rlimit limit = { 0 };
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 0; fd < (int)(limit.rlim_cur < FDS_MOST ? limit.rlim_cur : FDS_MOST); fd++) {
      int flags = fcntl(fd, F_GETFD);
      if (flags >= 0 && (!closing || flags & FD_CLOEXEC)) what(p, fd);
    }
    return;
  }
  for (const struct dirent *entry; (entry = readdir(folder));) {
    int fd = entry->d_name[0] == '.' ? -1 : (int)strtol(entry->d_name, NULL, 10);
    if (fd >= 0 && fd != dirfd(folder) && (!closing || fcntl(fd, F_GETFD) & FD_CLOEXEC)) what(p, fd);
  }
  closedir(folder);
}

static void hide_inherited(Process *p, int fd)
{
  if (fd > 2) hide(p, fd);
  if (fd >= HIDDEN_FDS) close(fd);
}

void files_hide(Process *p)
{
  if (p->jail.folder) each_fd(p, false, hide_inherited);
  else each_fd(p, true, hide);
}

void files_take_back(Process *p, int fd)
{
  if (fd < HIDDEN_FDS) p->hidden[fd / 64] &= ~((uint64_t)1 << fd % 64);
  close(fd);
}

static void close_visible(Process *p, int fd)
{
  if (fd_visible(p, fd)) close(fd);
}

void files_exec(Process *p)
{
  each_fd(p, true, close_visible);
}

// What takes a number away while a call of another thread goes by a descriptor of ours (paths.c) waits until it is hidden.
static int64_t guarded(Thread *thread, Call *call, const uint64_t *a)
{
  pthread_mutex_lock(&thread->process->jail.pins);
  int64_t result = call(thread, a);
  pthread_mutex_unlock(&thread->process->jail.pins);
  return result;
}

static int64_t close_one(Thread *thread, const uint64_t *a)
{
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  return close((int)a[0]) < 0 ? -errno : 0;
}

int64_t call_close(Thread *thread, const uint64_t *a)
{
  return thread->process->jail.folder ? guarded(thread, close_one, a) : close_one(thread, a);
}

static int64_t close_many(Thread *thread, const uint64_t *a)
{
  unsigned first = (unsigned)a[0], last = (unsigned)a[1];
  if (first > last) return -EINVAL;
  if ((unsigned)a[2] & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) return -EINVAL;
  // Stretches without a descriptor of ours, and those one by one.
  for (uint64_t from = first, to; from <= last; from = to + 1) {
    bool ours = from < HIDDEN_FDS && !fd_visible(thread->process, (int)from);
    for (to = from; !ours && to < last && to < HIDDEN_FDS && fd_visible(thread->process, (int)to + 1);) to++;
    if (to >= HIDDEN_FDS) to = last;
    if (!ours && syscall(SYS_close_range, (unsigned)from, (unsigned)to, (unsigned)a[2]) < 0) return -errno;
  }
  return 0;
}

int64_t call_close_range(Thread *thread, const uint64_t *a)
{
  return thread->process->jail.folder ? guarded(thread, close_many, a) : close_many(thread, a);
}

int64_t call_dup(Thread *thread, const uint64_t *a)
{
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  int fd = dup((int)a[0]);
  return fd < 0 ? -errno : fd;
}

static int64_t put_at(Thread *thread, const uint64_t *a)
{
  if (!fd_visible(thread->process, (int)a[0]) || !fd_visible(thread->process, (int)a[1])) return -EBADF;
  int fd = dup3((int)a[0], (int)a[1], (int)a[2]);
  return fd < 0 ? -errno : fd;
}

int64_t call_dup3(Thread *thread, const uint64_t *a)
{
  return thread->process->jail.folder ? guarded(thread, put_at, a) : put_at(thread, a);
}

int64_t call_fcntl(Thread *thread, const uint64_t *a)
{
  void *pointer = (void *)(uintptr_t)a[2];
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  // These would come with a code above 0, as faults do.
  if ((int)a[1] == F_SETSIG && (a[2] == SIGSEGV || a[2] == SIGBUS || a[2] >= KICK)) return -EINVAL;
  switch ((int)a[1]) {
  case F_DUPFD: case F_DUPFD_CLOEXEC: case F_GETFD: case F_SETFD: case F_GETFL: case F_SETFL: case F_SETOWN: case F_GETOWN: case F_SETSIG: case F_GETSIG:
  case F_SETLEASE: case F_GETLEASE: case F_NOTIFY: case F_SETPIPE_SZ: case F_GETPIPE_SZ: case F_ADD_SEALS: case F_GET_SEALS:
    break;
  case F_GETLK: case F_SETLK: case F_SETLKW: case F_OFD_GETLK: case F_OFD_SETLK: case F_OFD_SETLKW: case F_GETOWN_EX: case F_SETOWN_EX:
  case F_GET_RW_HINT: case F_SET_RW_HINT: case F_GET_FILE_RW_HINT: case F_SET_FILE_RW_HINT:
    if (!guest_pointer(thread->process, a[2], &pointer)) return -EFAULT;
    break;
  default: return -EINVAL;
  }
  return host_call(thread, SYS_fcntl, (int)a[0], (int)a[1], (long)pointer, 0, 0, 0);
}

// Requests whose argument is a number or a flat structure. Others may hold addresses, which the host would take for its own.
int64_t call_ioctl(Thread *thread, const uint64_t *a)
{
  static const unsigned numbers[] = { TCSBRK, TCSBRKP, TCXONC, TCFLSH, TIOCSCTTY, TIOCNOTTY, TIOCEXCL, TIOCNXCL, FIOCLEX, FIONCLEX, TIOCGPTPEER, FICLONE };
  static const unsigned flat[] = {
    TCGETS, TCSETS, TCSETSW, TCSETSF, TCGETA, TCSETA, TCSETAW, TCSETAF, TIOCGWINSZ, TIOCSWINSZ, TIOCGPGRP, TIOCSPGRP, TIOCGSID, TIOCOUTQ, FIONREAD,
    FIONBIO, FIOASYNC, TIOCGPTN, TIOCSPTLCK, TIOCGPTLCK, TIOCPKT, TIOCGETD, TIOCMGET, FIGETBSZ, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_GETVERSION,
    FICLONERANGE, BLKGETSIZE64, BLKSSZGET, BLKGETSIZE, 0x802c542a /* TCGETS2 */, 0x402c542b, 0x402c542c, 0x402c542d,
    0x8910 /* SIOCGIFNAME */, 0x8913 /* SIOCGIFFLAGS */, 0x8915 /* SIOCGIFADDR */, 0x8919, 0x891b, 0x8921 /* MTU */, 0x8927 /* HWADDR */, 0x8933 /* INDEX */, 0x8905 /* ATMARK */,
  };
  unsigned request = (unsigned)a[1];
  void *pointer = (void *)(uintptr_t)a[2];
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  bool known = false;
  for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) known |= numbers[i] == request;
  for (unsigned i = 0; !known && i < sizeof flat / sizeof flat[0]; i++) {
    if (flat[i] != request) continue;
    known = true;
    if (!guest_pointer(thread->process, a[2], &pointer)) return -EFAULT;
  }
  if (!known) return fcntl((int)a[0], F_GETFD) < 0 ? -EBADF : -ENOTTY;
  if (request == FS_IOC_SETFLAGS && thread->process->jail.folder && !jail_has_fd(thread->process, (int)a[0], false)) return -EACCES;
  return host_call(thread, SYS_ioctl, (int)a[0], (long)request, (long)pointer, 0, 0, 0);
}

// -- Paths ------------------------------------------------------------------------------------------------------------------

static int64_t read_path(Thread *thread, uint64_t gva, char *path)
{
  int64_t length = window_read_text(&thread->process->window, gva, path, PATH_MOST);
  return length == -1 ? -EFAULT : length == -2 ? -ENAMETOOLONG : length;
}

static int from_memory(const void *bytes, size_t size)
{
  int fd = memfd_create("proc", MFD_CLOEXEC);
  if (fd >= 0 && size && write(fd, bytes, size) != (ssize_t)size) {
    close(fd);
    return -1;
  }
  return fd;
}

// Files of /proc that would tell about the emulator. -1: none of them; -2: an error in errno.
static int open_own_proc(Process *p, const char *name)
{
  int fd;
  if (strcmp(name, "exe") == 0) fd = open(p->exe, O_RDONLY | O_CLOEXEC);
  else if (strcmp(name, "cmdline") == 0) fd = from_memory(p->command, p->command_bytes);
  else if (strcmp(name, "auxv") == 0) fd = from_memory(p->auxv, p->auxv_words * 8);
  else if (strcmp(name, "maps") == 0) {
    fd = from_memory(NULL, 0);
    if (fd >= 0) memory_describe(p, fd);
  } else return -1;
  if (fd >= 0) lseek(fd, 0, SEEK_SET);
  return fd < 0 ? -2 : fd;
}

// Through /proc/PID/mem a guest could write to the emulator, whatever links and folders it went by.
static int refuse_memory(int fd)
{
  struct statfs file_system;
  char link[32], path[PATH_MOST];
  if (fd < 0 || fstatfs(fd, &file_system) < 0 || file_system.f_type != PROC_SUPER_MAGIC) return fd;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length >= 0) path[length] = 0;
  const char *name = length >= 0 ? strrchr(path, '/') : NULL;
  if (name && strcmp(name, "/mem") != 0) return fd;
  close(fd);
  return -EACCES;
}

// What a path is opened for.
static unsigned how_to_find(uint64_t flags)
{
  bool follow = !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  bool reads = !(flags & (O_ACCMODE | O_CREAT | O_TRUNC)) || flags & O_PATH;
  return PATH_OPENS | (follow ? PATH_FOLLOW : 0) | (reads ? PATH_READS : 0) | (flags & O_CREAT ? PATH_CREATES : 0);
}

static int64_t open_path(Thread *thread, int dirfd, const char *path, const struct open_how *how)
{
  Process *p = thread->process;
  Place place;
  if (how->resolve) {                        // within a folder by the caller's own wish
    if (dirfd != AT_FDCWD && !fd_visible(p, dirfd)) return -EBADF;
    return host_call(thread, SYS_openat2, dirfd, (long)path, (long)how, sizeof *how, 0, 0);
  }
  int64_t error = path_find(p, dirfd, path, how_to_find(how->flags), &place);
  if (error) return error;
  int64_t fd = host_call(thread, SYS_openat, place.dirfd, (long)place.path, (long)how->flags, (long)how->mode, 0, 0);
  place_leave(p, &place);
  return fd;
}

static int64_t open_how(Thread *thread, const uint64_t *a, const struct open_how *how)
{
  Process *p = thread->process;
  char path[PATH_MOST], joined[PATH_MOST];
  int64_t length = read_path(thread, a[1], path);
  if (length < 0) return length;
  const char *own = path_own_proc((int)a[0], path, joined);
  int fd = own && !(how->flags & (O_PATH | O_NOFOLLOW)) ? open_own_proc(p, own) : -1;
  if (fd == -2) return -errno;
  if (fd >= 0) {
    if (!(how->flags & O_CLOEXEC)) fcntl(fd, F_SETFD, 0);
    return fd;
  }
  int64_t result = open_path(thread, (int)a[0], path, how);
  if (result >= 0 && p->jail.folder && !jail_has_fd(p, (int)result, true)) {
    close((int)result);
    return -ENOENT;
  }
  return result < 0 ? result : refuse_memory((int)result);
}

int64_t call_openat(Thread *thread, const uint64_t *a)
{
  struct open_how how = { .flags = (uint32_t)a[2], .mode = a[3] & 07777 };
  return open_how(thread, a, &how);
}

int64_t call_openat2(Thread *thread, const uint64_t *a)
{
  struct open_how how;
  int64_t error = get_grown(thread, a[2], a[3], &how, sizeof how, sizeof how);
  if (error) return error;
  return open_how(thread, a, &how);
}

int64_t call_readlinkat(Thread *thread, const uint64_t *a)
{
  Process *p = thread->process;
  char path[PATH_MOST], joined[PATH_MOST], target[PATH_MOST];
  Place place;
  int64_t length = read_path(thread, a[1], path);
  if (length < 0) return length;
  if ((int)a[3] <= 0) return -EINVAL;
  const char *own = path_own_proc((int)a[0], path, joined), *text = target;
  if (own && strcmp(own, "exe") == 0) {
    text = path_for_guest(p, p->exe);
  } else {
    int64_t error = path_find(p, (int)a[0], path, PATH_READS, &place);
    if (error) return error;
    ssize_t got = readlinkat(place.dirfd, place.path, target, sizeof target - 1);
    error = errno;
    place_leave(p, &place);
    if (got < 0) return -error;
    target[got] = 0;
    if (own || strncmp(path, "/proc/", 6) == 0) text = path_for_guest(p, target);
  }
  size_t size = strlen(text) < a[3] ? strlen(text) : (size_t)a[3];
  return put(thread, a[2], text, size) ? (int64_t)size : -EFAULT;
}

// The first path is a link's text, not to be looked for.
int64_t call_symlinkat(Thread *thread, const uint64_t *a)
{
  char text[PATH_MOST], path[PATH_MOST];
  Place place;
  int64_t length = read_path(thread, a[0], text), second = read_path(thread, a[2], path);
  if (length < 0 || second < 0) return length < 0 ? length : second;
  int64_t error = path_find(thread->process, (int)a[1], path, 0, &place);
  if (error) return error;
  error = symlinkat(text, place.dirfd, place.path) < 0 ? -errno : 0;
  place_leave(thread->process, &place);
  return error;
}

int64_t call_getcwd(Thread *thread, const uint64_t *a)
{
  char path[PATH_MOST];
  long length = syscall(SYS_getcwd, path, sizeof path);
  if (length < 0) return -errno;
  const char *text = path_for_guest(thread->process, path);
  size_t size = strlen(text) + 1;
  if (size > a[1]) return -ERANGE;
  return put(thread, a[0], text, size) ? (int64_t)size : -EFAULT;
}

// -- stat -------------------------------------------------------------------------------------------------------------------

// struct stat of riscv64 (uapi/asm-generic/stat.h).
typedef struct GuestStat {
  uint64_t dev, ino;
  uint32_t mode, nlink, uid, gid;
  uint64_t rdev, pad;
  int64_t  size;
  int32_t  blksize, pad2;
  int64_t  blocks, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
  uint32_t unused[2];
} GuestStat;
_Static_assert(sizeof(GuestStat) == 128, "as the kernel's");

static int64_t put_stat(Thread *thread, uint64_t gva, const struct stat *st)
{
  GuestStat guest = {
    .dev = st->st_dev, .ino = st->st_ino, .mode = st->st_mode, .nlink = (uint32_t)st->st_nlink, .uid = st->st_uid, .gid = st->st_gid, .rdev = st->st_rdev,
    .size = st->st_size, .blksize = (int32_t)st->st_blksize, .blocks = st->st_blocks, .atime = st->st_atim.tv_sec, .atime_ns = st->st_atim.tv_nsec,
    .mtime = st->st_mtim.tv_sec, .mtime_ns = st->st_mtim.tv_nsec, .ctime = st->st_ctim.tv_sec, .ctime_ns = st->st_ctim.tv_nsec,
  };
  return put(thread, gva, &guest, sizeof guest) ? 0 : -EFAULT;
}

int64_t call_fstat(Thread *thread, const uint64_t *a)
{
  struct stat st;
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  return fstat((int)a[0], &st) < 0 ? -errno : put_stat(thread, a[1], &st);
}

int64_t call_newfstatat(Thread *thread, const uint64_t *a)
{
  Process *p = thread->process;
  char path[PATH_MOST] = "", joined[PATH_MOST];
  Place place;
  struct stat st;
  int flags = (int)a[3];
  int64_t length = !a[1] && flags & AT_EMPTY_PATH ? 0 : read_path(thread, a[1], path);
  if (length < 0) return length;
  const char *own = path_own_proc((int)a[0], path, joined);
  if (own && strcmp(own, "exe") == 0 && !(flags & AT_SYMLINK_NOFOLLOW)) return stat(p->exe, &st) < 0 ? -errno : put_stat(thread, a[2], &st);
  int64_t error = path_find(p, (int)a[0], path, PATH_READS | (flags & AT_SYMLINK_NOFOLLOW ? 0 : PATH_FOLLOW), &place);
  if (error) return error;
  error = syscall(SYS_newfstatat, place.dirfd, place.path, &st, flags) < 0 ? -errno : 0;
  place_leave(p, &place);
  return error ? error : put_stat(thread, a[2], &st);
}

// -- Vectors ----------------------------------------------------------------------------------------------------------------

// Guest vectors with host addresses, in `host` or newly allocated. NULL with *error.
static struct iovec *read_vectors(Thread *thread, uint64_t gva, uint64_t count, struct iovec host[8], int *error)
{
  if (count > VECTORS_MOST) return *error = -EINVAL, NULL;
  struct iovec *vectors = count <= 8 ? host : malloc(count * sizeof *vectors);
  if (!vectors) return *error = -ENOMEM, NULL;
  *error = count && !get(thread, gva, vectors, count * sizeof *vectors) ? -EFAULT : 0;
  for (uint64_t i = 0; i < count && !*error; i++) {
    uint64_t at = (uint64_t)(uintptr_t)vectors[i].iov_base;
    if (vectors[i].iov_len > INT64_MAX) *error = -EINVAL;
    else if (!guest_pointer(thread->process, at, &vectors[i].iov_base)) *error = -EFAULT;
    else if (thread->process->written) written_touch(thread->process, at, vectors[i].iov_len);
  }
  if (!*error) return vectors;
  if (vectors != host) free(vectors);
  return NULL;
}

static int64_t vector_call(Thread *thread, const uint64_t *a, long number)
{
  struct iovec few[8];
  int error;
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  struct iovec *vectors = read_vectors(thread, a[1], a[2], few, &error);
  if (!vectors) return error;
  int64_t result = host_call(thread, number, (int)a[0], (long)vectors, (long)a[2], (long)a[3], (long)a[4], (long)a[5]);
  if (vectors != few) free(vectors);
  return result;
}

int64_t call_readv(Thread *thread, const uint64_t *a) { return vector_call(thread, a, SYS_readv); }
int64_t call_writev(Thread *thread, const uint64_t *a) { return vector_call(thread, a, SYS_writev); }
int64_t call_preadv(Thread *thread, const uint64_t *a) { return vector_call(thread, a, SYS_preadv); }
int64_t call_pwritev(Thread *thread, const uint64_t *a) { return vector_call(thread, a, SYS_pwritev); }
int64_t call_preadv2(Thread *thread, const uint64_t *a) { return vector_call(thread, a, SYS_preadv2); }
int64_t call_pwritev2(Thread *thread, const uint64_t *a) { return vector_call(thread, a, SYS_pwritev2); }

// The host's pages of guest memory: what the guest writes there later is seen, as natively.
int64_t call_vmsplice(Thread *thread, const uint64_t *a) { return vector_call(thread, a, SYS_vmsplice); }

// -- Sockets and events -----------------------------------------------------------------------------------------------------

// struct msghdr is laid out alike; what it points at is the guest's.
static int64_t translate_message(Thread *thread, uint64_t gva, struct msghdr *message, struct iovec few[8])
{
  int error = 0;
  void *name, *control;
  if (!get(thread, gva, message, sizeof *message)) return -EFAULT;
  if (!guest_pointer(thread->process, (uint64_t)(uintptr_t)message->msg_name, &name)) return -EFAULT;
  if (!guest_pointer(thread->process, (uint64_t)(uintptr_t)message->msg_control, &control)) return -EFAULT;
  message->msg_name = name;
  message->msg_control = control;
  message->msg_iov = read_vectors(thread, (uint64_t)(uintptr_t)message->msg_iov, message->msg_iovlen, few, &error);
  return error;
}

static int64_t message_call(Thread *thread, int fd, uint64_t gva, int flags, long number)
{
  struct iovec few[8];
  struct msghdr message, guest;
  int64_t error = translate_message(thread, gva, &message, few);
  if (error) return error;
  int64_t result = host_call(thread, number, fd, (long)&message, flags, 0, 0, 0);
  if (message.msg_iov != few) free(message.msg_iov);
  if (result < 0 || number == SYS_sendmsg) return result;
  if (!get(thread, gva, &guest, sizeof guest)) return -EFAULT;
  guest.msg_namelen = message.msg_namelen;
  guest.msg_controllen = message.msg_controllen;
  guest.msg_flags = message.msg_flags;
  return put(thread, gva, &guest, sizeof guest) ? result : -EFAULT;
}

int64_t call_sendmsg(Thread *thread, const uint64_t *a)
{
  return fd_visible(thread->process, (int)a[0]) ? message_call(thread, (int)a[0], a[1], (int)a[2], SYS_sendmsg) : -EBADF;
}

int64_t call_recvmsg(Thread *thread, const uint64_t *a)
{
  return fd_visible(thread->process, (int)a[0]) ? message_call(thread, (int)a[0], a[1], (int)a[2], SYS_recvmsg) : -EBADF;
}

// One by one: after the first, what would wait ends the call.
static int64_t messages_call(Thread *thread, const uint64_t *a, long number)
{
  enum { ENTRY = 64 };                       // struct mmsghdr
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  int64_t done = 0;
  for (; done < (int64_t)(uint32_t)a[2] && done < VECTORS_MOST; done++) {
    int flags = (int)a[3] & ~MSG_WAITFORONE;
    if (done && (number == SYS_sendmsg || (int)a[3] & MSG_WAITFORONE)) flags |= MSG_DONTWAIT;
    uint64_t at = a[1] + ENTRY * (uint64_t)done;
    int64_t result = message_call(thread, (int)a[0], at, flags, number);
    if (result < 0) return done ? done : result;
    uint32_t length = (uint32_t)result;
    if (!put(thread, at + 56, &length, 4)) return -EFAULT;
  }
  return done;
}

int64_t call_sendmmsg(Thread *thread, const uint64_t *a) { return messages_call(thread, a, SYS_sendmsg); }
int64_t call_recvmmsg(Thread *thread, const uint64_t *a) { return messages_call(thread, a, SYS_recvmsg); }

// Options with addresses in them, and those of packet filters, are not there.
static bool option_is_flat(int level, int name)
{
  enum { FILTER_OPTIONS = 64, ZEROCOPY_RECEIVE = 35 };
  switch (level) {
  case SOL_SOCKET: return name != 26 && name != 27 && name != 50 && name != 51 && name != 52;      // SO_ATTACH_FILTER and its kin
  case 0: case 41: return name < FILTER_OPTIONS || name > FILTER_OPTIONS + 5;
  case 6: return name != ZEROCOPY_RECEIVE;
  case 17: case 136: case 58: return true;
  default: return false;
  }
}

int64_t call_setsockopt(Thread *thread, const uint64_t *a)
{
  void *value;
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  if (!option_is_flat((int)a[1], (int)a[2])) return -ENOPROTOOPT;
  if (!guest_pointer(thread->process, a[3], &value)) return -EFAULT;
  return host_call(thread, SYS_setsockopt, (int)a[0], (int)a[1], (int)a[2], (long)value, (long)a[4], 0);
}

int64_t call_getsockopt(Thread *thread, const uint64_t *a)
{
  void *value, *size;
  if (!fd_visible(thread->process, (int)a[0])) return -EBADF;
  if (!option_is_flat((int)a[1], (int)a[2])) return -ENOPROTOOPT;
  if (!guest_pointer(thread->process, a[3], &value) || !guest_pointer(thread->process, a[4], &size)) return -EFAULT;
  return host_call(thread, SYS_getsockopt, (int)a[0], (int)a[1], (int)a[2], (long)value, (long)size, 0);
}

// struct epoll_event has no gap on x86-64.
int64_t call_epoll_ctl(Thread *thread, const uint64_t *a)
{
  struct { uint32_t events, unused; uint64_t data; } guest = { 0 };
  struct { uint32_t events; uint64_t data; } __attribute__((packed)) host;
  if (!fd_visible(thread->process, (int)a[0]) || !fd_visible(thread->process, (int)a[2])) return -EBADF;
  if (a[3] && !get(thread, a[3], &guest, sizeof guest)) return -EFAULT;
  host.events = guest.events;
  host.data = guest.data;
  return host_call(thread, SYS_epoll_ctl, (int)a[0], (int)a[1], (int)a[2], a[3] ? (long)&host : 0, 0, 0);
}
