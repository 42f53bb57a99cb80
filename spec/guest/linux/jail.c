// jail: tries to get out. Prints each attempt that did something else than fail as it should. Run with the jail as current
// folder; arguments: a file outside (in a folder beside the jail) and its folder's name as seen from the jail. Standard input is
// that folder, and so is descriptor 5. In the jail are: f, real/secret (one byte more than the file outside), host (a program of the host's).
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { TURNS = 6000 };

static int attempts, wrong;
static volatile int stop;

static void check(const char *text, long result, int number, int expected)
{
  attempts++;
  if (result < 0 && (number == expected || (expected == 0 && number))) return;
  wrong++;
  printf("%s: %ld, %s; expected %s\n", text, result, result < 0 ? strerror(number) : "done", strerror(expected));
}

#define FAILS(call, expected) do { errno = 0; long result_ = (call); check(#call, result_, errno, expected); } while (0)
#define WORKS(call) do { attempts++; if ((long)(call) < 0 && ++wrong) printf("%s: %s\n", #call, strerror(errno)); } while (0)

static const char *with(const char *before, const char *after)
{
  static char texts[8][4096];
  static unsigned n;
  char *text = texts[n++ % 8];
  snprintf(text, 4096, "%s%s", before, after);
  return text;
}

// `link_inside`: its last part is a symbolic link in the jail, which may be seen itself.
static void by_path(const char *path, int link_inside)
{
  struct stat st;
  struct statfs fs;
  char text[100];
  FAILS(open(path, O_RDONLY), ENOENT);
  FAILS(open(path, O_PATH), ENOENT);
  FAILS(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), ENOENT);
  FAILS(stat(path, &st), ENOENT);
  FAILS(access(path, F_OK), ENOENT);
  FAILS(chmod(path, 0777), ENOENT);
  FAILS(chown(path, 1, 1), ENOENT);
  FAILS(utimensat(AT_FDCWD, path, NULL, 0), ENOENT);
  FAILS(truncate(path, 0), ENOENT);
  FAILS(statfs(path, &fs), ENOENT);
  FAILS(getxattr(path, "user.x", text, 10), ENOENT);
  FAILS(setxattr(path, "user.x", "y", 1, 0), ENOENT);
  FAILS(inotify_add_watch(inotify_init(), path, IN_ACCESS), ENOENT);
  FAILS(execl(path, path, (char *)NULL), ENOENT);
  FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "taken", AT_SYMLINK_FOLLOW), ENOENT);
  if (link_inside) return;
  FAILS(link(path, "taken"), ENOENT);
  FAILS(lstat(path, &st), ENOENT);
  FAILS(open(path, O_PATH | O_NOFOLLOW), ENOENT);
}

static void to_path(const char *folder)
{
  FAILS(rename("f", with(folder, "/f")), ENOENT);
  FAILS(link("f", with(folder, "/f")), ENOENT);
  FAILS(symlink("f", with(folder, "/f")), ENOENT);
  FAILS(mkdir(with(folder, "/d"), 0700), ENOENT);
  FAILS(mknod(with(folder, "/n"), S_IFIFO | 0600, 0), ENOENT);
  FAILS(unlink(with(folder, "/secret")), ENOENT);
  FAILS(rename(with(folder, "/secret"), "taken"), ENOENT);
  FAILS(chdir(folder), ENOENT);
  FAILS(open(with(folder, "/made"), O_WRONLY | O_CREAT, 0600), ENOENT);
}

static void by_descriptor(void)
{
  struct open_how how = { .flags = O_RDONLY }, root = { .flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT };
  struct stat st;
  FAILS(openat(0, "secret", O_RDONLY), ENOENT);
  FAILS(openat(0, ".", O_RDONLY), ENOENT);
  FAILS(openat(5, "secret", O_RDONLY), EBADF);
  FAILS(fstat(5, &st), EBADF);
  FAILS(dup(5), EBADF);
  FAILS(fstatat(0, "secret", &st, 0), ENOENT);
  FAILS(fchdir(0), EACCES);
  FAILS(fchmod(0, 0777), EACCES);
  FAILS(fchown(0, 1, 1), EACCES);
  FAILS(fchownat(0, "", 1, 1, AT_EMPTY_PATH), EACCES);
  FAILS(futimens(0, NULL), EACCES);
  FAILS(fsetxattr(0, "user.x", "y", 1, 0), EACCES);
  FAILS(unlinkat(0, "secret", 0), ENOENT);
  FAILS(renameat(0, "secret", AT_FDCWD, "taken"), ENOENT);
  FAILS(renameat(AT_FDCWD, "f", 0, "f"), ENOENT);
  FAILS(linkat(0, "secret", AT_FDCWD, "taken", 0), ENOENT);
  FAILS(linkat(0, "", AT_FDCWD, "taken", AT_EMPTY_PATH), 0);
  FAILS(syscall(SYS_openat2, 0, "secret", &how, sizeof how), ENOENT);
  FAILS(syscall(SYS_openat2, 0, "secret", &root, sizeof root), 0);
  FAILS(syscall(SYS_openat2, 0, "/secret", &root, sizeof root), 0);
}

static void otherwise(void)
{
  int pair[2];
  FAILS(socket(AF_INET, SOCK_STREAM, 0), EACCES);
  FAILS(socket(AF_UNIX, SOCK_STREAM, 0), EACCES);
  FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), EACCES);
  FAILS(mknod("device", S_IFBLK | 0600, makedev(8, 0)), EACCES);
  FAILS(mknod("device", S_IFCHR | 0600, makedev(1, 1)), EACCES);
  FAILS(execl("./host", "host", (char *)NULL), EACCES);
  FAILS(unshare(CLONE_NEWUSER), ENOSYS);
  FAILS(syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0), EINVAL);
  FAILS(setns(0, 0), ENOSYS);
  FAILS(chroot("."), ENOSYS);
  FAILS(mount("none", ".", "tmpfs", 0, NULL), ENOSYS);
  FAILS(umount2(".", MNT_DETACH), ENOSYS);
  FAILS(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL), ENOSYS);
  FAILS(syscall(SYS_pivot_root, ".", "."), ENOSYS);
  FAILS(syscall(SYS_open_tree, AT_FDCWD, "..", 0), ENOSYS);
  FAILS(syscall(SYS_fsopen, "proc", 0), ENOSYS);
  FAILS(syscall(SYS_bpf, 0, NULL, 0), ENOSYS);
  FAILS(syscall(SYS_io_uring_setup, 1, NULL), ENOSYS);
  FAILS(syscall(SYS_name_to_handle_at, AT_FDCWD, "f", NULL, NULL, 0), ENOSYS);
  FAILS(syscall(SYS_open_by_handle_at, 0, NULL, 0), ENOSYS);
  FAILS(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0), ENOSYS);
  FAILS(syscall(SYS_pidfd_getfd, 0, 0, 0), ENOSYS);
  FAILS(open(with("/proc/", "1/environ"), O_RDONLY), ENOENT);
  FAILS(open("/proc/self/environ", O_RDONLY), ENOENT);
  FAILS(open("/proc/self/mem", O_RDWR), ENOENT);
  FAILS(open("/dev/mem", O_RDONLY), ENOENT);
}

static void inside(void)
{
  struct stat st;
  char text[64];
  int pipes[2], fd;
  WORKS(mkdir("made", 0700));
  WORKS(mkdir("made/again/", 0700));
  WORKS(fd = open("made/file", O_RDWR | O_CREAT | O_EXCL, 0600));
  WORKS(write(fd, "text", 4));
  WORKS(fchmod(fd, 0640));
  WORKS(rename("made/file", "made/again/file"));
  WORKS(stat("made/../made/again/./file", &st));
  if (st.st_size != 4 || (st.st_mode & 0777) != 0640) wrong++, puts("stat");
  WORKS(symlink("again/file", "made/link"));
  WORKS(lstat("made/link", &st));
  if (!S_ISLNK(st.st_mode)) wrong++, puts("lstat");
  WORKS(readlink("made/link", text, sizeof text));
  WORKS(chmod("made/link", 0600));
  WORKS(stat("made/link", &st));
  if ((st.st_mode & 0777) != 0600) wrong++, puts("chmod");
  WORKS(chdir("made"));
  WORKS(open("../f", O_RDONLY));
  WORKS(chdir("again/.."));
  FAILS(open("../../outside", O_RDONLY), ENOENT);
  FAILS(unlink("link/"), ENOTDIR);
  WORKS(unlink("link"));
  WORKS(unlink("again/file"));
  WORKS(rmdir("again/"));
  WORKS(chdir(".."));
  WORKS(rmdir("made"));
  WORKS(open("/dev/null", O_RDWR));
  WORKS(open("/proc/self/maps", O_RDONLY));
  WORKS(pipe(pipes));
  snprintf(text, sizeof text, "/dev/fd/%d", pipes[1]);
  WORKS(open(text, O_WRONLY));
}

// -- Races ------------------------------------------------------------------------------------------------------------------

static void *swap(void *given)
{
  while (!stop) syscall(SYS_renameat2, AT_FDCWD, "real", AT_FDCWD, "led", 2 /* RENAME_EXCHANGE */);
  return given;
}

// Puts the folder outside in the place of any descriptor that others may be using.
static void *replace(void *given)
{
  while (!stop)
    for (int fd = 900; fd < 1024; fd++) {
      dup2(0, fd);
      close(fd);
    }
  return given;
}

static void race(void *(*other)(void *), void (*once)(int *))
{
  pthread_t thread;
  int seen[2] = { 0, 0 };
  stop = 0;
  pthread_create(&thread, NULL, other, NULL);
  for (int i = 0; i < TURNS; i++) once(seen);
  stop = 1;
  pthread_join(thread, NULL);
  attempts++;
  if (seen[1] || !seen[0]) wrong++, printf("race: %d inside, %d outside\n", seen[0], seen[1]);
}

static long size_inside;

static void look(int seen[2])
{
  struct stat st;
  if (stat("real/secret", &st) == 0) seen[st.st_size != size_inside]++;
  int fd = open("real/secret", O_RDONLY);
  if (fd >= 0 && fstat(fd, &st) == 0) seen[st.st_size != size_inside]++;
  if (fd >= 0) close(fd);
}

static void change(int seen[2])
{
  struct stat st;
  if (chmod("f", 0600) == 0) seen[0]++;
  if (stat("f", &st) == 0) seen[!S_ISREG(st.st_mode)]++;
}

static void *in_thread(void *path)
{
  FAILS(open(path, O_RDONLY), ENOENT);
  return NULL;
}

int main(int argc, char **argv)
{
  if (argc != 3) return 2;
  struct stat st;
  const char *secret = argv[1], *folder = argv[2];
  pthread_t thread;
  setvbuf(stdout, NULL, _IOLBF, 0);
  by_path(secret, 0);
  by_path(with(folder, "/secret"), 0);
  by_path(with("/proc/self/root", secret), 0);
  by_path(with("/proc/self/cwd/", with(folder, "/secret")), 0);
  by_path("/proc/self/fd/0/secret", 0);
  by_path("/dev/fd/0/secret", 0);
  by_path("/proc/self/fd/0", 0);
  WORKS(symlink(secret, "absolute"));
  by_path("absolute", 1);
  WORKS(symlink(folder, "led"));
  by_path("led/secret", 0);
  WORKS(symlink("/proc/self/root", "root"));
  by_path(with("root", secret), 0);
  WORKS(symlink("/proc/self/fd/0", "zero"));
  by_path("zero/secret", 0);
  to_path(folder);
  to_path("led");
  to_path("..");
  FAILS(lstat("led/", &st), ENOENT);
  by_descriptor();
  otherwise();
  inside();
  WORKS(stat("real/secret", &st));
  size_inside = st.st_size;
  race(swap, look);
  race(replace, change);
  pthread_create(&thread, NULL, in_thread, (void *)secret);
  pthread_join(thread, NULL);
  if (fork() == 0) {
    wrong = 0;
    in_thread((void *)secret);
    _exit(wrong);
  }
  int status;
  wait(&status);
  wrong += status != 0;
  printf("%d attempts, %d wrong\n", attempts, wrong);
  return wrong != 0;
}
