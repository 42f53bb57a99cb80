// exec: a program takes the place of another.
// SPDX-License-Identifier: MIT
#include "linux/linux_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

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
  written_tell(p);
  written_end(p);
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

// `path` is the host's, `name` what the guest calls it.
static int64_t exec_path(Thread *thread, const char *path, const char *name, char **argv, char **envp)
{
  int error = 0;
  if (access(path, X_OK) < 0) return -errno;
  Image *image = image_open(thread->process, path, name, (const char *const *)argv, (const char *const *)envp, &error, NULL);
  if (image) return replace(thread, image);
  if (error != IMAGE_HOST) return -error;
  if (thread->process->jail.folder) return -EACCES;        // it would run outside of the first wall
  if (thread->process->options.strace) dprintf(2, "[%d] umbra: %s is a program of the host\n", thread->tid, path);
  if (thread->process->child) counts_tell(thread->process);
  written_tell(thread->process);
  uint64_t mask = thread->mask;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
  execve(path, argv, envp);
  error = errno;
  signal_set_mask(thread, thread->mask);
  return -error;
}

static int64_t exec_at(Thread *thread, int dirfd, uint64_t path_at, uint64_t argv_at, uint64_t envp_at, int flags)
{
  char given[PATH_MOST], path[PATH_MOST], name[PATH_MOST + 32];
  int64_t length = window_read_text(&thread->process->window, path_at, given, sizeof given);
  if (length < 0) return length == -1 ? -EFAULT : -ENAMETOOLONG;
  if (!length && !(flags & AT_EMPTY_PATH)) return -ENOENT;
  int64_t failed = path_find_real(thread->process, dirfd, given, PATH_FOLLOW | PATH_READS, path);
  if (failed) return failed;
  bool below_fd = dirfd != AT_FDCWD && given[0] != '/';
  if (below_fd) snprintf(name, sizeof name, "/dev/fd/%d%s%s", dirfd, length ? "/" : "", given);
  else snprintf(name, sizeof name, "%s", given);
  size_t room = (size_t)2 << 20;
  int error = 0;
  char **argv = copy_vector(thread, argv_at, &room, &error), **envp = argv ? copy_vector(thread, envp_at, &room, &error) : NULL;
  int64_t result = envp ? exec_path(thread, path, name, argv, envp) : -error;
  free_vector(argv);
  free_vector(envp);
  return result;
}

int64_t call_execve(Thread *thread, const uint64_t *a) { return exec_at(thread, AT_FDCWD, a[0], a[1], a[2], 0); }
int64_t call_execveat(Thread *thread, const uint64_t *a) { return exec_at(thread, (int)a[0], a[1], a[2], a[3], (int)a[4]); }
