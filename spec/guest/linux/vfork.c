// vfork: what children write before they execute or end is seen by the parent, beside what its other threads write meanwhile.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *self;
static volatile int global, error, stop;
static struct { volatile long others; volatile long childs; } together;
static char fresh[1 << 16], buffer[100000];
static volatile sig_atomic_t handled;

static void *count(void *given)
{
  while (!stop) together.others++;
  return given;
}

static void handler(int signal) { handled = signal; }

static int spawn(const char *path, char *const *arguments)
{
  pid_t pid;
  int status, failed = posix_spawn(&pid, path, NULL, NULL, arguments, environ);
  if (failed) return -failed;
  waitpid(pid, &status, 0);
  return WEXITSTATUS(status);
}

static void spawned(void)
{
  char *arguments[] = { self, "child", NULL }, *none[] = { "nothing", NULL };
  int missing = spawn("/nowhere/nothing", none), folder = spawn("/", none), text = spawn("/etc/passwd", none);
  printf("spawn %d %d %d %d\n", missing == -ENOENT, folder == -EACCES, text == -EACCES, spawn(self, arguments));
  pid_t pid;
  printf("spawnp %d\n", posix_spawnp(&pid, "there-is-no-such-program", NULL, NULL, none, environ));
}

static void written(void)
{
  volatile int local = 1;
  int status, pipes[2], seen;
  char *heap = malloc(5000);
  volatile int *mapped = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(heap, 1, 5000);
  if (pipe(pipes) || write(pipes[1], buffer + 100, 50000) != 50000) exit(1);
  pid_t pid = vfork();
  if (pid == 0) {
    local = 2;
    global = 3;
    memset(heap + 100, 4, 4500);
    mapped[1000] = 5;
    fresh[40000] = 6;
    buffer[0] = 'x';
    if (read(pipes[0], buffer + 1, 60000) != 50000) _exit(1);              // the kernel writes
    execl("/nowhere/nothing", "nothing", (char *)NULL);
    error = errno;
    execl(self, self, "child", (char *)NULL);
    _exit(2);
  }
  seen = local;
  waitpid(pid, &status, 0);
  printf("%d %d %d %d %d %d %d %d %d %c%c, %d\n", seen, global, heap[99], heap[100], heap[4599], heap[4600], mapped[1000], fresh[40000], error == ENOENT, buffer[0],
         buffer[50000], WEXITSTATUS(status));
  if ((pid = vfork()) == 0) {
    global = 10;
    pid_t inner = vfork();                   // its parent is a child itself
    if (inner == 0) {
      global = 11;
      _exit(12);
    }
    waitpid(inner, &status, 0);
    _exit(global == 11 ? 13 : 1);
  }
  int outer;
  waitpid(pid, &outer, 0);
  printf("nested %d %d %d\n", global, WEXITSTATUS(status), WEXITSTATUS(outer));
  if ((pid = vfork()) == 0) {
    global = 20;
    if ((pid = fork()) == 0) {               // not told to anybody
      global = 21;
      _exit(0);
    }
    waitpid(pid, NULL, 0);
    _exit(0);
  }
  while (wait(NULL) > 0) continue;
  printf("fork within %d\n", global);
}

static void beside_threads(void)
{
  pthread_t thread;
  pthread_create(&thread, NULL, count, NULL);
  int wrong = 0;
  for (long i = 1; i <= 30; i++) {
    long before = together.others;
    pid_t pid = vfork();
    if (pid == 0) {
      together.childs = i;
      usleep(2000);
      _exit(0);
    }
    waitpid(pid, NULL, 0);
    wrong += together.childs != i || together.others < before;
  }
  long before = together.others;
  while (together.others == before) usleep(100);
  stop = 1;
  pthread_join(thread, NULL);
  printf("beside threads %d\n", wrong);
}

static void signals(void)
{
  signal(SIGUSR1, handler);
  pid_t pid = vfork();
  if (pid == 0) {
    signal(SIGUSR1, SIG_DFL);                // the child's own
    global = 30;
    raise(SIGUSR1);
    _exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  raise(SIGUSR1);
  printf("signals %d %d\n", WTERMSIG(status) == SIGUSR1, handled == SIGUSR1);
}

int main(int argc, char **argv)
{
  self = argv[0];
  if (argc > 1) return 7;
  setvbuf(stdout, NULL, _IOLBF, 0);
  memset(buffer + 100, 'y', 99000);
  memset(buffer, 'z', 100);
  spawned();
  written();
  beside_threads();
  signals();
  return 0;
}
