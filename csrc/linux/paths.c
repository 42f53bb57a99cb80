// paths: where the guest's paths lie on the host: below the sysroot, in the jail, or as they are.
// SPDX-License-Identifier: MIT
//
// With a sysroot a path is tried below it first, if it is absolute or begins in a folder of the sysroot, and links and .. within it
// mean what they would mean with the sysroot as the root. In a jail nothing else is tried but what is below the jail's
// folder: each path is opened by the kernel itself without leaving (RESOLVE_BENEATH, RESOLVE_IN_ROOT), so that no link, .. or
// renaming meanwhile leads out, and the call is made on that descriptor. What is not there is ENOENT, as if there were nothing.
#include "linux/linux_int.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_within(int base, const char *path, uint64_t flags, uint64_t resolve)
{
  struct open_how how = { .flags = flags | O_PATH | O_CLOEXEC, .resolve = resolve };
  int fd;
  for (int tries = 0; tries < 16; tries++)   // EAGAIN: something was renamed meanwhile
    if ((fd = (int)syscall(SYS_openat2, base, path, &how, sizeof how)) >= 0 || errno != EAGAIN) return fd;
  return fd;
}

bool path_of_fd(int fd, char out[PATH_MOST])
{
  char link[32];
  snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, out, PATH_MOST - 1);
  out[length < 0 ? 0 : length] = 0;
  return length > 0;
}

const char *path_below(const char *path, const char *folder)
{
  size_t length = folder ? strlen(folder) : 0;
  if (length == 1) return path[0] == '/' ? path : NULL;
  if (!length || strncmp(path, folder, length) != 0 || (path[length] && path[length] != '/')) return NULL;
  return path[length] ? path + length : "/";
}

const char *path_for_guest(const Process *p, const char *path)
{
  const char *below = path_below(path, p->sysroot);
  return below ? below : path;
}

// -- /proc ------------------------------------------------------------------------------------------------------------------

const char *path_own_proc(int dirfd, const char *path, char joined[PATH_MOST])
{
  char pid[16], base[PATH_MOST];
  if (path[0] != '/' && path_of_fd(dirfd, base) && strncmp(base, "/proc", 5) == 0) {
    if (snprintf(joined, PATH_MOST, "%s/%s", base, path) >= PATH_MOST) return NULL;
    path = joined;
  }
  if (strncmp(path, "/proc/", 6) != 0) return NULL;
  path += 6;
  snprintf(pid, sizeof pid, "%d/", getpid());
  const char *names[] = { "self/", "thread-self/", pid };
  for (unsigned i = 0; i < 3; i++)
    if (strncmp(path, names[i], strlen(names[i])) == 0) return path + strlen(names[i]);
  return NULL;
}

// The number in /dev/fd/N and its other names; -1: none of them.
static int named_fd(const char *path)
{
  char joined[PATH_MOST], *end;
  const char *own = path[0] == '/' ? path_own_proc(AT_FDCWD, path, joined) : NULL;
  const char *number = own && strncmp(own, "fd/", 3) == 0 ? own + 3 : strncmp(path, "/dev/fd/", 8) == 0 ? path + 8 : NULL;
  static const char *const names[] = { "/dev/stdin", "/dev/stdout", "/dev/stderr" };
  for (int i = 0; i < 3; i++)
    if (strcmp(path, names[i]) == 0) return i;
  if (!number || *number < '0' || *number > '9') return -1;
  long fd = strtol(number, &end, 10);
  return *end || fd > INT32_MAX ? -1 : (int)fd;
}

// -- Sysroot ----------------------------------------------------------------------------------------------------------------

// What to look for below the sysroot: the path, if it is absolute or begins in a folder there. NULL: nothing.
static const char *sought(const Process *p, int dirfd, const char *path, char joined[PATH_MOST])
{
  char base[PATH_MOST];
  if (p->sysroot_fd < 0 || !path[0]) return NULL;
  if (path[0] == '/') return path;
  const char *below = path_of_fd(dirfd, base) ? path_below(base, p->sysroot) : NULL;
  return below && snprintf(joined, PATH_MOST, "%s/%s", below, path) < PATH_MOST ? joined : NULL;
}

// Cuts a path in two: its folder, and its last name without slashes behind it. False: it has no last name (it ends in . or .. or is /).
static bool split(const char *path, char folder[PATH_MOST], char name[PATH_MOST])
{
  size_t end = strlen(path);
  while (end && path[end - 1] == '/') end--;
  size_t start = end;
  while (start && path[start - 1] != '/') start--;
  snprintf(folder, PATH_MOST, "%.*s", start ? (int)start : 1, start ? path : ".");
  snprintf(name, PATH_MOST, "%.*s", (int)(end - start), path + start);
  return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

// Below the sysroot, as a path of the host in place->text.
static bool find_below_sysroot(Process *p, int dirfd, const char *path, unsigned how, Place *place)
{
  char joined[PATH_MOST], folder[PATH_MOST], name[PATH_MOST];
  const char *below = sought(p, dirfd, path, joined);
  if (!below) return false;
  int fd = open_within(p->sysroot_fd, below, how & PATH_FOLLOW ? 0 : O_NOFOLLOW, RESOLVE_IN_ROOT);
  // What is to be made in a folder of the sysroot, as seen from there, is made there.
  bool made = fd < 0 && path[0] != '/' && split(below, folder, name);
  if (made) fd = open_within(p->sysroot_fd, folder, O_DIRECTORY, RESOLVE_IN_ROOT);
  if (fd < 0) return false;
  bool found = path_of_fd(fd, place->text);
  size_t length = strlen(place->text);
  if (found && made) found = snprintf(place->text + length, PATH_MOST - length, "/%s", name) < (int)(PATH_MOST - length);
  close(fd);
  if (!found) return false;
  place->dirfd = AT_FDCWD;
  place->path = place->text;
  return true;
}

// -- Jail -------------------------------------------------------------------------------------------------------------------

static void note(Process *p, int fd, bool pinned)
{
  if (fd < 0 || fd / 64 >= (int)(sizeof p->jail.pinned / 8)) return;
  uint64_t bit = (uint64_t)1 << fd % 64, *word = &p->jail.pinned[fd / 64];
  *word = pinned ? *word | bit : *word & ~bit;
}

// A descriptor that only this call uses: out of the guest's sight before anybody may close it or put another in its place.
static int hidden(Process *p, int base, const char *path, uint64_t flags, uint64_t resolve)
{
  pthread_mutex_lock(&p->jail.pins);
  int fd = open_within(base, path, flags, resolve), error = errno;
  if (fd >= 0) fd = files_put_aside(p, fd);
  note(p, fd, true);
  pthread_mutex_unlock(&p->jail.pins);
  errno = error;
  return fd;
}

// Below a folder: the thing itself, or its folder and its name. 0 or -errno; *there says whether it is there already.
static int64_t pin_within(Process *p, int base, const char *path, uint64_t resolve, unsigned how, Place *place, bool *there)
{
  char folder[PATH_MOST], name[PATH_MOST];
  struct stat st;
  bool named = split(path, folder, name), slash = path[strlen(path) - 1] == '/';
  *there = true;
  if (how & PATH_FOLLOW || !named || (slash && how & PATH_READS)) {
    place->pin = hidden(p, base, path, 0, resolve);
    snprintf(place->text, sizeof place->text, named && !slash ? "/proc/self/fd/%d" : "/proc/self/fd/%d/.", place->pin);
    if (place->pin >= 0) return 0;
    if (errno != ENOENT || !(how & PATH_CREATES) || !named) return -errno;
  }
  place->pin = hidden(p, base, folder, O_DIRECTORY, resolve);
  if (place->pin < 0) return -errno;
  *there = fstatat(place->pin, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (how & PATH_FOLLOW && *there) return -ENOENT;         // a link that points nowhere: nothing is made there
  if (slash && *there && !S_ISDIR(st.st_mode)) return -ENOTDIR;
  snprintf(place->text, sizeof place->text, "/proc/self/fd/%d/%s", place->pin, name);
  return 0;
}

// What lies below the jail, seen from there.
static const char *from_jail(const Process *p, int dirfd, const char *path, char joined[PATH_MOST])
{
  char base[PATH_MOST];
  const char *below;
  if (path[0] == '/') below = path_below(path, p->jail.folder);
  else if (!path_of_fd(dirfd, base) || !(below = path_below(base, p->jail.folder))) return NULL;
  if (!below) return NULL;
  int length = snprintf(joined, PATH_MOST, path[0] == '/' ? "./%s" : "./%s/%s", below, path);
  return length < PATH_MOST ? joined : NULL;
}

// Harmless devices, by their names.
static bool is_device(const char *path)
{
  for (unsigned i = 0; jail_devices[i]; i++)
    if (strcmp(path, jail_devices[i]) == 0) return true;
  return false;
}

// Without a path it is the descriptor that the call is about.
static int64_t find_fd(const Process *p, int dirfd, unsigned how)
{
  return how & PATH_READS || jail_has_fd(p, dirfd, false) ? 0 : -EACCES;
}

// 0, -errno, or 1: not there.
static int64_t find_in_jails_sysroot(Process *p, int dirfd, const char *path, unsigned how, Place *place)
{
  char joined[PATH_MOST];
  const char *below = sought(p, dirfd, path, joined);
  bool there, ours = p->sysroot && path_below(p->sysroot, p->jail.folder);
  if (!below) return 1;
  int64_t error = pin_within(p, p->sysroot_fd, below, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, ours ? how : how & ~(unsigned)PATH_CREATES, place, &there);
  if (!error && (there || ours)) return how & PATH_READS || ours ? 0 : -EACCES;
  place_leave(p, place);
  return 1;
}

static int64_t find_in_jail(Process *p, int dirfd, const char *path, unsigned how, Place *place)
{
  char joined[PATH_MOST];
  bool there;
  int fd = named_fd(path);
  if (!path[0]) return find_fd(p, dirfd, how);
  place->dirfd = AT_FDCWD;
  place->path = place->text;
  if (fd >= 0) {
    if (!(how & (PATH_READS | PATH_OPENS)) || !fd_visible(p, fd) || !jail_has_fd(p, fd, true)) return -ENOENT;
    snprintf(place->text, sizeof place->text, "/proc/self/fd/%d", fd);
    return 0;
  }
  int64_t error = find_in_jails_sysroot(p, dirfd, path, how, place);
  if (error <= 0) return error;
  if (is_device(path)) {
    if (!(how & (PATH_READS | PATH_OPENS))) return -EACCES;
    place->pin = hidden(p, AT_FDCWD, path, 0, RESOLVE_NO_SYMLINKS);
    snprintf(place->text, sizeof place->text, "/proc/self/fd/%d", place->pin);
    return place->pin < 0 ? -ENOENT : 0;
  }
  const char *below = from_jail(p, dirfd, path, joined);
  error = below ? pin_within(p, p->jail.fd, below, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS, how, place, &there) : -ENOENT;
  return error == -EXDEV ? -ENOENT : error;
}

// -- Both -------------------------------------------------------------------------------------------------------------------

int64_t path_find(Process *p, int dirfd, const char *path, unsigned how, Place *place)
{
  place->dirfd = dirfd;
  place->path = path;
  place->pin = -1;
  if (dirfd != AT_FDCWD && path[0] != '/' && !fd_visible(p, dirfd)) return -EBADF;
  if (!p->jail.folder) {
    find_below_sysroot(p, dirfd, path, how, place);
    return 0;
  }
  int64_t error = find_in_jail(p, dirfd, path, how, place);
  if (error) place_leave(p, place);
  return error;
}

int64_t path_find_real(Process *p, int dirfd, const char *path, unsigned how, char out[PATH_MOST])
{
  Place place;
  int64_t error = path_find(p, dirfd, path, how, &place);
  if (error) return error;
  char base[PATH_MOST];
  bool fits = true;
  if (place.pin >= 0) fits = path_of_fd(place.pin, out);
  else if (!place.path[0] && place.dirfd != AT_FDCWD) snprintf(out, PATH_MOST, "/proc/self/fd/%d", place.dirfd);
  else if (place.path[0] != '/' && place.dirfd != AT_FDCWD) fits = path_of_fd(place.dirfd, base) && snprintf(out, PATH_MOST, "%s/%s", base, place.path) < PATH_MOST;
  else fits = snprintf(out, PATH_MOST, "%s", place.path) < PATH_MOST;
  place_leave(p, &place);
  return fits ? 0 : -ENAMETOOLONG;
}

void place_leave(Process *p, Place *place)
{
  if (place->pin < 0) return;
  pthread_mutex_lock(&p->jail.pins);
  note(p, place->pin, false);
  files_take_back(p, place->pin);
  pthread_mutex_unlock(&p->jail.pins);
  place->pin = -1;
}

void paths_forked(Process *p)
{
  for (int fd = 0; fd < 64 * (int)(sizeof p->jail.pinned / 8); fd++)
    if (p->jail.pinned[fd / 64] >> fd % 64 & 1) files_take_back(p, fd);
  memset(p->jail.pinned, 0, sizeof p->jail.pinned);
}
