// calls: system calls that programs use now and then, and every operation of futexes. Prints the same on any Linux. Argument: a folder.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *name_of(long result) { return result < 0 ? strerrorname_np(errno) : ""; }
#define SHOW(call) do { errno = 0; long result_ = (call); printf("%s = %ld %s\n", #call, result_ < 0 ? -1 : result_, name_of(result_)); } while (0)

static void files(void)
{
  struct { struct open_how how; uint64_t more; } how = { .how = { .flags = O_RDONLY, .resolve = RESOLVE_BENEATH } };
  struct stat st;
  char text[100] = "";
  int in = open("in", O_RDWR | O_CREAT, 0600), out = open("out", O_RDWR | O_CREAT, 0600), pipes[2], more[2];
  SHOW(write(in, "0123456789", 10));
  SHOW(close(syscall(SYS_openat2, AT_FDCWD, "in", &how, sizeof how.how)));
  SHOW(close(syscall(SYS_openat2, AT_FDCWD, "in", &how, sizeof how)));
  SHOW(syscall(SYS_openat2, AT_FDCWD, "../in", &how, sizeof how.how));
  SHOW(syscall(SYS_openat2, AT_FDCWD, "in", &how, 8));
  how.more = 1;
  SHOW(syscall(SYS_openat2, AT_FDCWD, "in", &how, sizeof how));
  SHOW(symlink("/in", "absolute"));
  how.how.resolve = RESOLVE_IN_ROOT;
  SHOW(close(syscall(SYS_openat2, AT_FDCWD, "absolute", &how, sizeof how.how)));
  how.how.resolve = RESOLVE_NO_SYMLINKS;
  SHOW(syscall(SYS_openat2, AT_FDCWD, "absolute", &how, sizeof how.how));
  off_t from = 2, to = 1;
  SHOW(sendfile(out, in, &from, 4));
  printf("offset %ld\n", (long)from);
  SHOW(copy_file_range(in, &from, out, &to, 3, 0));
  SHOW(pread(out, text, 10, 0));
  printf("copied %s, offsets %ld %ld\n", text, (long)from, (long)to);
  SHOW(fallocate(out, 0, 0, 8192));
  SHOW(fallocate(out, FALLOC_FL_KEEP_SIZE, 0, 16384));
  SHOW(fstat(out, &st));
  printf("size %ld\n", (long)st.st_size);
  SHOW(pipe(pipes) | pipe(more));
  from = 0;
  SHOW(splice(in, &from, pipes[1], NULL, 5, 0));
  SHOW(tee(pipes[0], more[1], 5, 0));
  struct iovec vectors[2] = { { "ab", 2 }, { "cde", 3 } };
  SHOW(vmsplice(more[1], vectors, 2, 0));
  memset(text, 0, sizeof text);
  SHOW(read(more[0], text, sizeof text));
  printf("spliced %s\n", text);
  SHOW(syscall(452 /* fchmodat2 */, AT_FDCWD, "in", 0640, 0));
  SHOW(flock(in, 2));
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 5 };
  SHOW(fcntl(in, F_OFD_SETLK, &lock));
  int other = open("in", O_RDWR);
  SHOW(fcntl(other, F_OFD_SETLK, &lock));
  SHOW(fcntl(other, F_OFD_GETLK, &lock));
  printf("lock %d %d\n", lock.l_type == F_WRLCK, lock.l_pid);
}

static void events(void)
{
  int notify = inotify_init1(IN_NONBLOCK), epoll = epoll_create1(0), event = eventfd(0, EFD_SEMAPHORE), timer = timerfd_create(CLOCK_MONOTONIC, 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int signals = signalfd(-1, &set, SFD_NONBLOCK);
  char bytes[4096];
  SHOW(inotify_add_watch(notify, ".", IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE));
  close(open("watched", O_CREAT | O_WRONLY, 0600));
  rename("watched", "moved");
  unlink("moved");
  ssize_t size = read(notify, bytes, sizeof bytes);
  for (ssize_t at = 0; at < size;) {
    struct inotify_event *e = (struct inotify_event *)(bytes + at);
    printf("inotify %x %s\n", e->mask, e->name);
    at += (ssize_t)sizeof *e + e->len;
  }
  SHOW(read(notify, bytes, sizeof bytes));
  SHOW(read(signals, bytes, sizeof bytes));
  union sigval value = { .sival_int = 42 };
  SHOW(sigqueue(getpid(), SIGUSR1, value));
  struct signalfd_siginfo info;
  SHOW(read(signals, &info, sizeof info));
  printf("signalfd %d %d %d\n", info.ssi_signo == SIGUSR1, info.ssi_int, info.ssi_pid == (uint32_t)getpid());
  struct itimerspec spec = { .it_value.tv_nsec = 2000000, .it_interval.tv_nsec = 2000000 };
  uint64_t times = 0;
  SHOW(timerfd_settime(timer, 0, &spec, NULL));
  struct epoll_event wanted = { .events = EPOLLIN, .data.u64 = 0x123456789abcdefull }, got[4];
  SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &wanted));
  SHOW(epoll_wait(epoll, got, 4, 5000));
  printf("epoll %d %llx\n", got[0].events == EPOLLIN, (unsigned long long)got[0].data.u64);
  SHOW(read(timer, &times, 8));
  printf("timer %d\n", times >= 1);
  SHOW(timerfd_gettime(timer, &spec));
  printf("interval %ld\n", spec.it_interval.tv_nsec);
  times = 2;
  SHOW(write(event, &times, 8));
  SHOW(read(event, &times, 8));
  printf("eventfd %d\n", (int)times);
  struct timespec none = { 0 };
  SHOW(syscall(SYS_epoll_pwait2, epoll, got, 0, &none, NULL, 8));
  SHOW(sigprocmask(SIG_UNBLOCK, &set, NULL));
}

static void process(void)
{
  char text[32] = "", auxv[8192];
  int *tid = NULL;
  struct sched { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t a, b, c; uint32_t d, e; } sched = { 0 };
  SHOW(prctl(PR_SET_NAME, "a name that is long"));
  SHOW(prctl(PR_GET_NAME, text));
  printf("name %s\n", text);
  SHOW(prctl(PR_SET_PDEATHSIG, SIGTERM));
  SHOW(prctl(PR_SET_DUMPABLE, 0));
  SHOW(prctl(PR_GET_DUMPABLE));
  SHOW(prctl(PR_SET_DUMPABLE, 1));
  SHOW(prctl(PR_SET_TIMERSLACK, 1234));
  SHOW(prctl(PR_GET_TIMERSLACK));
  SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  SHOW(prctl(PR_GET_TID_ADDRESS, &tid) == 0 && tid != NULL);
  SHOW(prctl(0x41555856, auxv, sizeof auxv, 0, 0) > 100);
  SHOW(prctl(123456));
  SHOW(syscall(SYS_sched_getattr, 0, &sched, sizeof sched, 0));
  printf("policy %u %d\n", sched.policy, sched.nice);
  SHOW(syscall(SYS_membarrier, 0 /* QUERY */, 0, 0) > 0);
  SHOW(syscall(SYS_membarrier, 16 /* REGISTER_PRIVATE_EXPEDITED */, 0, 0));
  SHOW(syscall(SYS_membarrier, 8 /* PRIVATE_EXPEDITED */, 0, 0));
  SHOW(syscall(SYS_membarrier, 3, 0, 0));
  char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  SHOW(mlock(page + 100, 10));
  SHOW(mlock2(page + 100, 10, MLOCK_ONFAULT));
  SHOW(munlock(page + 1, 8000));
  SHOW(msync(page + 1, 10, MS_ASYNC));
  SHOW(mincore(page, 8192, (unsigned char *)text));
  SHOW(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0));
  SHOW(syscall(SYS_clone, CLONE_THREAD | SIGCHLD, 0, 0, 0, 0));
  uint64_t clone3[12] = { 0x1000 /* PIDFD */ | 0x100000000ull /* CLEAR_SIGHAND */, (uint64_t)(uintptr_t)auxv, 0, 0, SIGCHLD };
  signal(SIGUSR2, SIG_IGN);
  signal(SIGUSR1, (void (*)(int))(uintptr_t)exit);
  pid_t pid = (pid_t)syscall(SYS_clone3, clone3, 88);
  if (pid == 0) {
    struct sigaction one, two;
    sigaction(SIGUSR1, NULL, &one);
    sigaction(SIGUSR2, NULL, &two);
    _exit(one.sa_handler == SIG_DFL && two.sa_handler == SIG_IGN ? 5 : 6);
  }
  siginfo_t info = { 0 };
  SHOW(waitid(3 /* P_PIDFD */, *(unsigned *)auxv, &info, WEXITED));
  printf("clone3 %d %d\n", info.si_pid == pid, info.si_status);
  if ((pid = (pid_t)syscall(SYS_clone3, clone3, 96)) == 0) _exit(0);          // longer, but zeros
  SHOW(waitpid(pid, NULL, 0) == pid);
  clone3[11] = 1;
  SHOW(syscall(SYS_clone3, clone3, 96));
  SHOW(syscall(SYS_clone3, clone3, 8));
}

// -- Futexes ----------------------------------------------------------------------------------------------------------------

static uint32_t words[4];
static int waiting;

static long futex(uint32_t *at, int operation, uint32_t value, const void *time_or_number, uint32_t *second, uint32_t third)
{
  return syscall(SYS_futex, at, operation, value, time_or_number, second, third);
}
#define NUMBER(n) ((void *)(uintptr_t)(n))

static void *wait_on_0(void *given)
{
  struct timespec limit = { 10, 0 };
  __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
  return NUMBER(futex(&words[0], (int)(uintptr_t)given, 0, (int)(uintptr_t)given == FUTEX_WAIT ? &limit : NULL, NULL, 4) == 0);
}

static pthread_t waiters[8];

static void start(int count, void *(*what)(void *), int given)
{
  waiting = 0;
  for (int i = 0; i < count; i++) pthread_create(&waiters[i], NULL, what, NUMBER(given));
  while (__atomic_load_n(&waiting, __ATOMIC_SEQ_CST) < count) usleep(100);
  usleep(30000);                             // by then they wait
}

static int joined(int count)
{
  int good = 0;
  for (int i = 0; i < count; i++) {
    void *result;
    pthread_join(waiters[i], &result);
    good += result != NULL;
  }
  return good;
}

// Takes word 1 by priority inheritance, from a wait on word 0.
static void *wait_for_lock(void *given)
{
  struct timespec limit;
  clock_gettime(CLOCK_MONOTONIC, &limit);
  limit.tv_sec += 10;
  (void)given;
  __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
  if (futex(&words[0], FUTEX_WAIT_REQUEUE_PI, 0, &limit, &words[1], 0) < 0) return NULL;
  int owned = (words[1] & FUTEX_TID_MASK) == (uint32_t)gettid();
  return NUMBER(futex(&words[1], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0) == 0 && owned);
}

static void *lock_1(void *given)
{
  (void)given;
  __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
  if (futex(&words[1], FUTEX_LOCK_PI, 0, NULL, NULL, 0) < 0) return NULL;
  return NUMBER(futex(&words[1], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0) == 0);
}

static void *wait_on_two(void *given)
{
  struct { uint64_t value, at; uint32_t flags, reserved; } vector[2] = { { 0, (uintptr_t)&words[0], 2, 0 }, { 0, (uintptr_t)&words[2], 2, 0 } };
  (void)given;
  __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
  return NUMBER(syscall(449 /* futex_waitv */, vector, 2, 0, NULL, 0) == 1);
}

static volatile sig_atomic_t alarmed;        // 1: before it had the lock, 2: with it
static void on_alarm(int number) { alarmed = number == SIGALRM && (words[1] & FUTEX_TID_MASK) == (uint32_t)gettid() ? 2 : 1; }

static void *hold_1(void *given)
{
  if (futex(&words[1], FUTEX_LOCK_PI, 0, NULL, NULL, 0) < 0) return NULL;
  __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
  usleep(300000);
  (void)given;
  return NUMBER(futex(&words[1], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0) == 0);
}

// A handler without SA_RESTART ends other waits, but not one for a lock.
static void interrupted(void)
{
  struct sigaction action = { .sa_handler = on_alarm };
  struct itimerval soon = { .it_value.tv_usec = 80000 };
  sigaction(SIGALRM, &action, NULL);
  start(1, hold_1, 0);
  setitimer(ITIMER_REAL, &soon, NULL);
  SHOW(futex(&words[1], FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  printf("alarmed %d\n", alarmed);
  SHOW(futex(&words[1], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  printf("held %d\n", joined(1));
  setitimer(ITIMER_REAL, &soon, NULL);
  SHOW(futex(&words[0], FUTEX_WAIT, 0, NULL, NULL, 0));
}

static void futexes(void)
{
  struct timespec short_time = { 0, 1000000 }, past = { 1, 0 };
  memset(words, 0, sizeof words);
  SHOW(futex(&words[0], FUTEX_WAIT, 1, NULL, NULL, 0));
  SHOW(futex(&words[0], FUTEX_WAIT, 0, &short_time, NULL, 0));
  SHOW(futex(&words[0], FUTEX_WAIT_BITSET, 0, &past, NULL, 1));
  SHOW(futex(&words[0], FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &past, NULL, 1));
  SHOW(futex(&words[0], FUTEX_WAIT_BITSET, 0, NULL, NULL, 0));
  SHOW(futex((uint32_t *)((char *)words + 1), FUTEX_WAIT, 0, NULL, NULL, 0));
  SHOW(futex((uint32_t *)16, FUTEX_WAIT, 0, NULL, NULL, 0));
  SHOW(futex(&words[0], 77, 0, NULL, NULL, 0));
  SHOW(futex(&words[0], FUTEX_WAKE, 1, NULL, NULL, 0));
  start(3, wait_on_0, FUTEX_WAIT);
  SHOW(futex(&words[0], FUTEX_WAKE, 2, NULL, NULL, 0));
  SHOW(futex(&words[0], FUTEX_WAKE, 2, NULL, NULL, 0));
  printf("woken %d\n", joined(3));
  start(2, wait_on_0, FUTEX_WAIT_BITSET);
  SHOW(futex(&words[0], FUTEX_WAKE_BITSET, 9, NULL, NULL, 3));
  SHOW(futex(&words[0], FUTEX_WAKE_BITSET, 9, NULL, NULL, 12));
  printf("woken %d\n", joined(2));
  start(4, wait_on_0, FUTEX_WAIT);
  SHOW(futex(&words[0], FUTEX_CMP_REQUEUE, 1, NUMBER(9), &words[1], 5));
  SHOW(futex(&words[0], FUTEX_CMP_REQUEUE, 1, NUMBER(2), &words[1], 0));
  SHOW(futex(&words[0], FUTEX_REQUEUE, 0, NUMBER(9), &words[2], 0));
  SHOW(futex(&words[0], FUTEX_WAKE, 9, NULL, NULL, 0));
  SHOW(futex(&words[1], FUTEX_WAKE, 9, NULL, NULL, 0));
  SHOW(futex(&words[2], FUTEX_WAKE, 9, NULL, NULL, 0));
  printf("woken %d\n", joined(4));
  start(2, wait_on_0, FUTEX_WAIT);
  words[1] = 5;
  SHOW(futex(&words[1], FUTEX_WAKE_OP, 1, NUMBER(1), &words[0], FUTEX_OP(FUTEX_OP_ADD, 7, FUTEX_OP_CMP_EQ, 1)));
  printf("word %u\n", words[0]);
  SHOW(futex(&words[1], FUTEX_WAKE_OP, 1, NUMBER(9), &words[0], FUTEX_OP(FUTEX_OP_SET, 3, FUTEX_OP_CMP_EQ, 7)));
  printf("word %u, woken %d\n", words[0], joined(2));
  memset(words, 0, sizeof words);
  SHOW(futex(&words[1], FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  printf("owner %d\n", words[1] == (uint32_t)gettid());
  SHOW(futex(&words[1], FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  SHOW(futex(&words[1], FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
  start(2, lock_1, 0);
  printf("waiters %d\n", (words[1] & FUTEX_WAITERS) != 0);
  SHOW(futex(&words[1], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  printf("locked %d\n", joined(2));
  SHOW(futex(&words[1], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  SHOW(futex(&words[1], FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  start(2, wait_for_lock, 0);
  SHOW(futex(&words[0], FUTEX_CMP_REQUEUE_PI, 1, NUMBER(9), &words[1], 0));
  SHOW(futex(&words[1], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  printf("requeued %d\n", joined(2));
  start(1, wait_on_two, 0);
  SHOW(futex(&words[2], FUTEX_WAKE, 1, NULL, NULL, 0));
  printf("of two %d\n", joined(1));
}

int main(int argc, char **argv)
{
  setvbuf(stdout, NULL, _IONBF, 0);
  umask(022);
  if (argc != 2 || chdir(argv[1])) return 1;
  files();
  events();
  process();
  futexes();
  interrupted();
  return 0;
}
