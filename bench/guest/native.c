// native: runs a kernel on the host and prints its checksum and its time.
// SPDX-License-Identifier: MIT
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "common.h"

int main(int argc, char **argv)
{
  if (argc != 2) return 2;
  struct timespec from, to;
  uint64_t repeat = strtoull(argv[1], NULL, 10);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
  uint64_t sum = kernel(repeat);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
  double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9;
  printf("%" PRIu64 " %.6f\n", sum, seconds);
  return 0;
}
