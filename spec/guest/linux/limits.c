// limits: a program whose own limits of address space and data hold.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define MIB ((size_t)1 << 20)

// How many MiB there are to be had, each written to; they are given back.
static int most(void)
{
  int count = 0;
  void *last = NULL, **block;
  for (; (block = malloc(MIB)); count++) {
    *block = last;
    last = memset(block + 1, 1, MIB - 8);
    last = block;
  }
  while (last) {
    void *next = *(void **)last;
    free(last);
    last = next;
  }
  return count;
}

static void *map(size_t size, int prot) { return mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

int main(void)
{
  struct rlimit limit = { 64 * MIB, 256 * MIB };
  int count, failed = setrlimit(RLIMIT_AS, &limit);
  count = most();
  printf("address space %d %d %d", failed, count > 30 && count < 64, errno == ENOMEM);
  printf(" %d\n", map(100 * MIB, PROT_NONE) == MAP_FAILED && errno == ENOMEM);
  limit.rlim_cur = 256 * MIB;
  failed = setrlimit(RLIMIT_AS, &limit);
  char *mapped = map(MIB, PROT_READ), *moved = mremap(mapped, MIB, 100 * MIB, MREMAP_MAYMOVE);
  printf("raised %d %d %d\n", failed, moved != MAP_FAILED, mremap(moved, 100 * MIB, 256 * MIB, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
  munmap(moved, 100 * MIB);
  limit.rlim_cur = limit.rlim_max = 16 * MIB;
  failed = setrlimit(RLIMIT_DATA, &limit);
  count = most();
  printf("data %d %d %d\n", failed, count > 2 && count < 16, map(32 * MIB, PROT_READ) != MAP_FAILED);
  return 0;
}
