// signals: nested handlers, alternate stacks, faults that are recovered from, SA_RESTART, timers that hit blocking calls, order of
// queued signals, and children that signals end. Prints what it saw; argument: rounds.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t count, depth, deepest, was_on_alt;
static sigjmp_buf back;
static char alt[65536];
static char *read_only;

static void nested(int signal, siginfo_t *info, void *context)
{
  (void)info, (void)context;
  if (++depth > deepest) deepest = depth;
  if (signal == SIGUSR1) raise(SIGUSR2);
  depth--;
}

static void on_alt(int signal, siginfo_t *info, void *context)
{
  char here;
  (void)signal, (void)info, (void)context;
  was_on_alt = &here >= alt && &here < alt + sizeof alt;
}

static void fault(int signal, siginfo_t *info, void *context)
{
  const ucontext_t *at = context;
  printf("signal %d code %d at %s, pc %s\n", signal, info->si_code, info->si_addr == (void *)0x123456 ? "0x123456" : "a mapped place",
         at->uc_mcontext.__gregs[0] ? "given" : "missing");
  siglongjmp(back, 1);
}

static void skip(int signal, siginfo_t *info, void *context)
{
  ucontext_t *at = context;
  unsigned short half = *(unsigned short *)at->uc_mcontext.__gregs[0];
  (void)signal, (void)info;
  at->uc_mcontext.__gregs[0] += (half & 3) == 3 ? 4 : 2;
  count++;
}

static void tick(int signal)
{
  (void)signal;
  count++;
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
  struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
  sigaction(signal, &action, NULL);
}

static void handlers(void)
{
  stack_t stack = { .ss_sp = alt, .ss_size = sizeof alt };
  handle(SIGUSR1, nested, 0);
  handle(SIGUSR2, nested, 0);
  raise(SIGUSR1);
  sigaltstack(&stack, NULL);
  handle(SIGUSR1, on_alt, SA_ONSTACK);
  raise(SIGUSR1);
  printf("nested %d, alternate stack %d\n", (int)deepest, (int)was_on_alt);
}

static void faults(long rounds)
{
  static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP };
  char name[] = "/tmp/umbra-signals-XXXXXX";
  int fd = mkstemp(name);
  unlink(name);
  if (fd < 0 || ftruncate(fd, 100)) exit(9);
  char *file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 4; i++) handle(signals[i], fault, SA_NODEFER | SA_ONSTACK);
  if (!sigsetjmp(back, 1)) *(volatile int *)0x123456 = 1;
  if (!sigsetjmp(back, 1)) *(volatile char *)read_only = 1;
  if (!sigsetjmp(back, 1)) ((void (*)(void))read_only)();
  if (!sigsetjmp(back, 1)) __asm__ volatile(".word 0");
  if (!sigsetjmp(back, 1)) __asm__ volatile("ebreak");
  if (!sigsetjmp(back, 1)) file[5000] = 1;
  if (!sigsetjmp(back, 1)) __asm__ volatile("amoadd.w zero, zero, (%0)" : : "r"(read_only + 2) : "memory");
  handle(SIGSEGV, skip, 0);
  count = 0;
  for (long i = 0; i < rounds; i++) *(volatile char *)read_only = 1;
  printf("recovered %d\n", count == rounds);
}

static void *late_writer(void *given)
{
  usleep(20000);
  return write(((int *)given)[1], "x", 1) == 1 ? NULL : given;
}

static void restarts(void)
{
  struct sigaction action = { .sa_handler = tick, .sa_flags = SA_RESTART };
  struct itimerval soon = { .it_value.tv_usec = 5000 };
  int pipe_ends[2];
  char byte;
  pthread_t thread;
  if (pipe(pipe_ends)) exit(9);
  sigaction(SIGALRM, &action, NULL);
  count = 0;
  setitimer(ITIMER_REAL, &soon, NULL);
  pthread_create(&thread, NULL, late_writer, pipe_ends);
  long got = read(pipe_ends[0], &byte, 1);
  pthread_join(thread, NULL);
  printf("restarted %ld %d\n", got, count >= 1);
  action.sa_flags = 0;
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &soon, NULL);
  got = read(pipe_ends[0], &byte, 1);
  printf("interrupted %ld %d\n", got, errno == EINTR);
}

// Waits, by one of the calls that take a mask, for a signal that is blocked else. True: nothing came in two seconds.
static int wait_for(int how, sigset_t *block, const sigset_t *open, int polled)
{
  struct timespec limit = { .tv_sec = 2 };
  struct epoll_event event;
  if (how == 0) return sigtimedwait(block, NULL, &limit) != SIGALRM;
  if (how == 1) return ppoll(NULL, 0, &limit, open) == 0;
  if (how == 2) return pselect(0, NULL, NULL, NULL, &limit, open) == 0;
  if (how == 3) return epoll_pwait(polled, &event, 1, 2000, open) == 0;
  while (!count) sigsuspend(open);
  return 0;
}

// Each timer goes off around the moment in which the thread begins to wait for it.
static void timers(long rounds)
{
  struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
  int polled = epoll_create1(0);
  timer_t timer;
  sigset_t block, old;
  long lost = 0, odd = 0;
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  sigemptyset(&block);
  sigaddset(&block, SIGALRM);
  for (long i = 0; i < rounds; i++) {
    struct itimerspec soon = { .it_value.tv_nsec = 1000 + i % 50000 };
    int how = (int)(i % 5);
    count = 0;
    timer_settime(timer, 0, &soon, NULL);
    sigprocmask(SIG_BLOCK, &block, &old);
    if (!count) {
      lost += wait_for(how, &block, &old, polled);
      odd += count != (how != 0);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
  }
  printf("lost %ld, handled otherwise than once %ld\n", lost, odd);
}

static void queued(void)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  for (int i = 0; i < 5; i++) sigqueue(getpid(), SIGRTMIN + (i & 1), (union sigval){ .sival_int = i });
  for (int i = 0; i < 5; i++) {
    siginfo_t info;
    sigwaitinfo(&set, &info);
    printf("%d:%d ", info.si_signo - SIGRTMIN, info.si_value.sival_int);
  }
  printf("\n");
}

static void deaths(void)
{
  fflush(stdout);
  for (int i = 0; i < 3; i++) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
      signal(SIGSEGV, SIG_DFL);
      if (i == 0) abort();
      if (i == 1) *(volatile int *)8 = 1;
      kill(getpid(), SIGTERM);
      pause();
    }
    waitpid(pid, &status, 0);
    printf("ended by %d\n", WTERMSIG(status));
  }
}

int main(int argc, char **argv)
{
  long rounds = argc > 1 ? atol(argv[1]) : 1000;
  handlers();
  faults(rounds);
  restarts();
  timers(rounds);
  queued();
  deaths();
  return 0;
}
