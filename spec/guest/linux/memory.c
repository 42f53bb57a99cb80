// memory: mmap, mprotect, mremap, munmap, brk and code that is written while it runs. Prints what it found.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096 };

static char *map(char *at, size_t size, int prot, int flags)
{
  return mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static void moves(void)
{
  char *a = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, 0);
  strcpy(a + 3 * PAGE, "end");
  char *b = mremap(a, 4 * PAGE, 400 * PAGE, MREMAP_MAYMOVE);
  b[399 * PAGE] = 'x';
  printf("moved %s %d\n", b + 3 * PAGE, b[200 * PAGE]);
  char *c = mremap(b, 400 * PAGE, 2 * PAGE, 0);
  printf("shrunk %d, gone %d\n", c == b, msync(b + 3 * PAGE, PAGE, MS_ASYNC) < 0 && errno == ENOMEM);
  char *place = map(NULL, 8 * PAGE, PROT_READ, 0);
  printf("fixed %d\n", mremap(c, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place + PAGE) == place + PAGE);
  printf("noreplace %d\n", map(place, PAGE, PROT_READ, MAP_FIXED_NOREPLACE) == MAP_FAILED && errno == EEXIST);
  munmap(place, 8 * PAGE);
}

static void refusals(void)
{
  char *a = map(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, 0);
  munmap(a + PAGE, PAGE);
  printf("mprotect %d\n", mprotect(a, 3 * PAGE, PROT_READ) < 0 && errno == ENOMEM);
  printf("size 0 %d\n", map(NULL, 0, PROT_READ, 0) == MAP_FAILED && errno == EINVAL);
  printf("huge %d\n", map(NULL, (size_t)1 << 46, PROT_READ, 0) == MAP_FAILED && errno == ENOMEM);
  printf("EFAULT %d", write(1, a + PAGE, 1) < 0 && errno == EFAULT);
  printf(" %d", write(1, (char *)-8, 1) < 0 && errno == EFAULT);
  printf(" %d", write(1, (char *)((size_t)1 << 40), 1) < 0 && errno == EFAULT);
  printf(" %d", syscall(SYS_read, 0, a, -1L) <= 0);
  printf(" %d\n", syscall(SYS_getcwd, 8, 4096) < 0 && errno == EFAULT);
  printf("no call %d\n", syscall(500) < 0 && errno == ENOSYS);
}

static void heap(void)
{
  char *before = sbrk(0);
  if (sbrk(100 * PAGE) != before) printf("brk failed\n");
  before[100 * PAGE - 1] = 1;
  sbrk(-100 * PAGE);
  printf("brk %d\n", sbrk(0) == before);
}

// li a0, value; ret
static void put_code(unsigned *at, int value)
{
  at[0] = 0x00000513u | (unsigned)value << 20;
  at[1] = 0x00008067u;
}

static void code(void)
{
  unsigned *at = (unsigned *)map(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);
  int sum = 0;
  for (int i = 0; i < 100; i++) {
    put_code(at, i);
    __builtin___clear_cache((char *)at, (char *)(at + 2));
    sum += ((int (*)(void))at)();
  }
  printf("written code %d\n", sum);
  mprotect(at, PAGE, PROT_READ | PROT_WRITE);
  put_code(at, 42);
  mprotect(at, PAGE, PROT_READ | PROT_EXEC);
  printf("protected code %d\n", ((int (*)(void))at)());
  map((char *)at, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_FIXED);
  put_code(at, 43);
  __asm__ volatile("fence.i" : : : "memory");
  printf("mapped anew %d\n", ((int (*)(void))at)());
}

// Of five pages, page n full of n: two are mapped, one is changed, then it grows where it is, and somewhere else.
static void file(int flags)
{
  char page[PAGE], path[] = "/tmp/umbra-memory-XXXXXX";
  int fd = mkstemp(path);
  unlink(path);
  for (int i = 0; i < 5; i++) {
    memset(page, i, PAGE);
    if (write(fd, page, PAGE) != PAGE) return;
  }
  char *room = map(NULL, 8 * PAGE, PROT_NONE, 0);
  munmap(room, 8 * PAGE);
  char *a = mmap(room, 2 * PAGE, PROT_READ | PROT_WRITE, flags, fd, PAGE);
  a[10] = 'x';
  char *b = mremap(a, 2 * PAGE, 3 * PAGE, 0);
  printf("file %d %c %d %d,", b == a, b[10], b[PAGE], b[2 * PAGE]);
  map(b + 3 * PAGE, PAGE, PROT_READ, MAP_FIXED);
  printf(" %d,", mremap(b, 3 * PAGE, 4 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
  char *c = mremap(b, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
  printf(" %d %c %d %d", c != b, c[10], c[2 * PAGE], c[3 * PAGE]);
  printf(" %d", msync(b, PAGE, MS_ASYNC) < 0 && errno == ENOMEM);
  c[3 * PAGE] = 'y';
  printf(" %d\n", pread(fd, page, PAGE, 4 * PAGE) == PAGE && (page[0] == 'y') == (flags == MAP_SHARED));
  munmap(c, 4 * PAGE);
  close(fd);
}

int main(void)
{
  moves();
  file(MAP_SHARED);
  file(MAP_PRIVATE);
  refusals();
  heap();
  code();
  return 0;
}
