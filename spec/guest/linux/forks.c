// forks: three threads fork while two others are busy; their children start threads and exec. Then exec from a thread, spawn, vfork.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORKS = 20, EXEC_CODE = 7 };

extern char **environ;
static char *self;
static int *shared;
static volatile int stop;

static void *spin(void *given)
{
  long *count = given;
  for (; !stop; ++*count) free(malloc(100));
  return NULL;
}

static void *child_thread(void *given)
{
  (void)given;
  __atomic_fetch_add(shared, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static void child(int i)
{
  pthread_t thread;
  free(malloc(1000));
  pthread_create(&thread, NULL, child_thread, NULL);
  pthread_join(thread, NULL);
  if (i & 1) execl(self, self, "child", (char *)NULL);
  _exit(i);
}

// Adds up the exit codes of the children.
static void *fork_many(void *given)
{
  for (int i = 0; i < FORKS; i++) {
    int status;
    pid_t pid = fork();
    if (pid == 0) child(i);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
      printf("child %d: status %#x\n", i, status);
      exit(1);
    }
    *(long *)given += WEXITSTATUS(status);
  }
  return NULL;
}

static void *exec_from_thread(void *given)
{
  execl(self, self, "child", (char *)NULL);
  return given;
}

static void spawn_many(void)
{
  char *arguments[] = { self, "thread", NULL };
  for (int i = 0; i < 5; i++) {
    pid_t pid;
    int status, error = posix_spawn(&pid, self, NULL, NULL, arguments, environ);
    if (!error) waitpid(pid, &status, 0);
    printf("%d ", error ? -error : WEXITSTATUS(status));
  }
  int status;
  pid_t pid = vfork();
  if (pid == 0) {
    execl(self, self, "child", (char *)NULL);
    _exit(1);
  }
  waitpid(pid, &status, 0);
  printf("vfork %d\n", WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
  pthread_t thread[4];
  long count[4] = { 0 }, mine = 0;
  self = argv[0];
  if (argc > 1 && strcmp(argv[1], "child") == 0) return EXEC_CODE;
  if (argc > 1 && strcmp(argv[1], "thread") == 0) {
    pthread_create(thread, NULL, exec_from_thread, NULL);
    pthread_join(thread[0], NULL);
    return 1;
  }
  shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 2; i++) pthread_create(&thread[i], NULL, spin, &count[i]);
  for (int i = 2; i < 4; i++) pthread_create(&thread[i], NULL, fork_many, &count[i]);
  fork_many(&mine);
  for (int i = 2; i < 4; i++) pthread_join(thread[i], NULL);
  stop = 1;
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  printf("%ld %ld %ld %d\n", count[2], count[3], mine, *shared);
  fflush(stdout);
  spawn_many();
  return 0;
}
