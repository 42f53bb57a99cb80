// copy: the C library's memcpy, SIZE bytes a call between buffers that are not aligned alike, until TOTAL MiB are copied.
// SPDX-License-Identifier: MIT
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 4 << 20, STEP = 64 };

static char from[LARGEST + STEP], to[LARGEST + STEP];

int main(int argc, char **argv)
{
  size_t size = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
  if (!size || size > LARGEST) return 2;
  uint64_t calls = (strtoull(argv[2], NULL, 10) << 20) / size;
  // Through a pointer that the compiler does not know: no call is left out or replaced.
  void *(*volatile copy)(void *, const void *, size_t) = memcpy;
  memset(from, 1, sizeof from);
  for (uint64_t i = 0; i < calls; i++) copy(to + i % STEP / 8 * 8, from + (i * 8) % STEP, size);
  unsigned sum = 0;
  for (size_t i = 0; i < size; i++) sum += (unsigned char)to[STEP - 8 + i % size];
  printf("%" PRIu64 " %u\n", calls, sum != 0);
  return 0;
}
