// fuzz: children make random system calls with random arguments. Prints how they ended; what must not happen is an end by
// SIGABRT, which is how the emulator reports a bug of its own. Arguments: seed, children.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 300, NUMBERS = 470 };

static uint64_t state;
static char *scratch;                        // four pages: writable, read-only, unmapped, writable
static const char *texts[] = { "/tmp/umbra-fuzz/a", "/tmp/umbra-fuzz/b", "a", "", "/proc/self/maps", "/dev/null", "user.x", "/proc/self/mem" };

static uint64_t next(void)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static uint64_t pick(const uint64_t *values, size_t count) { return values[next() % count]; }

static uint64_t argument(void)
{
  static const uint64_t edges[] = { 0, 1, 2, 8, 0x40, 0x1000, 0x10000, 0x7fffffff, 0x80000000, 0x3ffffffff8, 0x4000000000, 0x4000000008, 0x7fffffffffffffff,
                                    0x8000000000000000, 0xfffffffffffff000, 0xffffffffffffff9c, 0xffffffffffffffff };
  switch (next() % 8) {
  case 0: return next() % 10;
  case 1: return pick(edges, sizeof edges / sizeof edges[0]);
  case 2: return (uint64_t)scratch + next() % (4 * 4096);
  case 3: return (uint64_t)scratch + 4096 * (next() % 4);
  case 4: return (uint64_t)texts[next() % (sizeof texts / sizeof texts[0])];
  case 5: return (uint64_t)1 << next() % 64;
  case 6: return next() % 70000;
  default: return next();
  }
}

// What would stop the test and not test anything: ends, waits, stops, and what reaches other processes.
static int left_out(long number)
{
  static const short numbers[] = { SYS_exit, SYS_exit_group, SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_send_signal,
                                   SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_setitimer, SYS_clone, SYS_clone3, SYS_execve, SYS_execveat, SYS_prlimit64,
                                   SYS_sched_setscheduler, SYS_sched_setparam, SYS_setpriority, SYS_rt_sigprocmask, SYS_rt_sigaction };
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (numbers[i] == number) return 1;
  return 0;
}

static void child(uint64_t seed)
{
  struct itimerval limit = { .it_value.tv_usec = 300000 };
  struct rlimit files = { 1 << 20, 1 << 20 };
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  if (setgroups(0, NULL) || setgid(65534) || setuid(65534)) (void)0;
  setrlimit(RLIMIT_FSIZE, &files);
  scratch = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(scratch + 4096, 4096, PROT_READ);
  munmap(scratch + 2 * 4096, 4096);
  setitimer(ITIMER_REAL, &limit, NULL);
  state = seed * 0x9e3779b97f4a7c15u | 1;
  for (int i = 0; i < CALLS; i++) {
    long number = (long)(next() % NUMBERS);
    if (left_out(number)) continue;
    for (int word = 0; word < 64; word++) ((uint64_t *)scratch)[word] = argument();
    if (next() % 2) strcpy(scratch + 512, texts[next() % 8]);
    syscall(number, argument(), argument(), argument(), argument(), argument(), argument());
  }
  _exit(0);
}

int main(int argc, char **argv)
{
  uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
  int children = argc > 2 ? atoi(argv[2]) : 50, aborted = 0;
  mkdir("/tmp/umbra-fuzz", 0777);
  for (int i = 0; i < children; i++) {
    int status;
    pid_t pid = fork();
    if (pid == 0) child(seed + (uint64_t)i);
    if (waitpid(pid, &status, 0) != pid) return 2;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) continue;
    printf("seed %llu: aborted\n", (unsigned long long)seed + i);
    aborted++;
  }
  printf("%d children, %d aborted\n", children, aborted);
  return aborted > 0;
}
