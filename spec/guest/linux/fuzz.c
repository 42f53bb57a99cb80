// fuzz: children make random system calls with random arguments, half of them from three threads. Prints how many ended by SIGABRT,
// which is how the emulator reports a bug of its own. Arguments: "fuzz", seed, most children, most seconds, folder to work in.
//
// What would reach other processes is turned towards the own one, what would end the test at once is left out.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 300, NUMBERS = 470, TEXTS = 16, PAGES = 4, MOST_POPULATED = 1 << 24 };

static char *scratch;                        // four pages: writable, read-only, unmapped, writable
static const char *texts[TEXTS] = { "a", "b", "folder", "folder/x", "", ".", "/", "/proc/self/maps", "/proc/self/mem", "/proc/thread-self/mem", "/proc/self/exe",
                                    "/proc/self/fd/0", "/proc/self/fd", "/dev/null", "/dev/zero", "user.x" };

static uint64_t next(uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static uint64_t argument(uint64_t *state)
{
  static const uint64_t edges[] = { 0, 1, 2, 8, 0x40, 0x1000, 0x10000, 0x7fffffff, 0x80000000, 0x3fff6fe000, 0x3fff7ff000, 0x3ffffff000, 0x3ffffffff8, 0x4000000000,
                                    0x4000000008, 0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffff000, 0xffffffffffffff9c, 0xffffffffffffffff };
  uint64_t kind = next(state) % 9;
  switch (kind) {
  case 0: return next(state) % 10;
  case 1: return edges[next(state) % (sizeof edges / sizeof edges[0])];
  case 2: return (uint64_t)scratch + next(state) % (PAGES * 4096);
  case 3: return (uint64_t)scratch + 4096 * (next(state) % PAGES);
  case 4: return (uint64_t)texts[next(state) % TEXTS];
  case 5: return (uint64_t)1 << next(state) % 64;
  case 6: return next(state) % 70000;
  case 7: return 4096 * (next(state) % 64);
  default: return next(state);
  }
}

// Ends, what reaches other processes whatever its arguments, and what makes the whole host wait for its disks.
static int left_out(long number)
{
  static const short numbers[] = { SYS_exit, SYS_exit_group, SYS_pidfd_send_signal, SYS_sched_setscheduler, SYS_sched_setparam, SYS_sync, SYS_syncfs };
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (numbers[i] == number) return 1;
  return 0;
}

// Arguments of a call that may only be made of this process, or only so large.
static void tame(long number, uint64_t *a)
{
  static const int harmless[] = { 0, SIGCHLD, SIGURG, SIGUSR1, SIGALRM, SIGSEGV, 64, 65 };
  uint64_t signal = (uint64_t)harmless[a[1] % 8];
  switch (number) {
  case SYS_kill: case SYS_rt_sigqueueinfo: a[0] = (uint64_t)getpid(), a[1] = signal; break;
  case SYS_tkill: a[0] = (uint64_t)gettid(), a[1] = signal; break;
  case SYS_tgkill: case SYS_rt_tgsigqueueinfo: a[0] = (uint64_t)getpid(), a[1] = (uint64_t)gettid(), a[2] = signal; break;
  case SYS_prlimit64: case SYS_sched_setaffinity: case SYS_sched_setattr: a[0] = 0; break;
  case SYS_setpriority: a[0] = PRIO_PROCESS, a[1] = 0; break;
  case SYS_mmap:
    if (a[3] & MAP_POPULATE) a[1] %= MOST_POPULATED;
    break;
  case SYS_madvise: a[1] %= MOST_POPULATED; break;
  default: break;
  }
}

static void *make_calls(void *given)
{
  uint64_t state = *(uint64_t *)given, a[6];
  for (int i = 0; i < CALLS; i++) {
    long number = (long)(next(&state) % NUMBERS);
    if (left_out(number) || (number == SYS_rt_sigsuspend && next(&state) % 8)) continue;
    for (int word = 0; word < 64; word++) ((uint64_t *)scratch)[word] = argument(&state);
    if (next(&state) % 2) strcpy(scratch + 512, texts[next(&state) % TEXTS]);
    for (int k = 0; k < 6; k++) a[k] = argument(&state);
    tame(number, a);
    long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (result == 0 && (number == SYS_clone || number == SYS_clone3)) _exit(0);
  }
  return NULL;
}

static void child(uint64_t seed)
{
  struct itimerval limit = { .it_value.tv_usec = 300000 };
  struct rlimit files = { 1 << 20, 1 << 20 }, processes = { 64, 64 };
  uint64_t states[3];
  pthread_t thread[2];
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  if (setgroups(0, NULL) || setgid(65534) || setuid(65534)) (void)0;           // who is not root stays who he is
  setrlimit(RLIMIT_FSIZE, &files);
  setrlimit(RLIMIT_NPROC, &processes);
  scratch = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(scratch + 4096, 4096, PROT_READ);
  munmap(scratch + 2 * 4096, 4096);
  setitimer(ITIMER_REAL, &limit, NULL);
  for (int i = 0; i < 3; i++) states[i] = (seed * 3 + (uint64_t)i) * 0x9e3779b97f4a7c15u | 1;
  for (int i = 0; i < 2 && seed & 1; i++) pthread_create(&thread[i], NULL, make_calls, &states[i]);
  make_calls(&states[2]);
  _exit(0);
}

// How the child ended; one that no longer hears its alarm is killed after two seconds.
static int end_of(pid_t pid)
{
  int status = 0;
  for (int tenths_of_ms = 0; waitpid(pid, &status, WNOHANG) == 0; tenths_of_ms += 10) {
    if (tenths_of_ms == 20000) kill(pid, SIGKILL);
    usleep(1000);
  }
  return status;
}

int main(int argc, char **argv)
{
  if (argc < 6 || strcmp(argv[1], "fuzz") != 0) return 3;        // a child's execve
  if (chdir(argv[5])) return 4;
  uint64_t seed = strtoull(argv[2], NULL, 10);
  long most = atol(argv[3]), count = 0, aborted = 0;
  time_t end = time(NULL) + atol(argv[4]);
  for (; count < most && time(NULL) < end; count++) {
    pid_t pid = fork();
    if (pid < 0) return 2;
    if (pid == 0) child(seed + (uint64_t)count);
    int status = end_of(pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) continue;
    printf("seed %llu: aborted\n", (unsigned long long)seed + count);
    fflush(stdout);
    aborted++;
  }
  printf("%ld children, %ld aborted\n", count, aborted);
  return aborted > 0;
}
