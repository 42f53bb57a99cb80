// two_ns: a routine of about two nanoseconds, and the loop by hand that says how long it takes.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <stdint.h>
#include <time.h>

// A chain through memory: no call overlaps the next, whatever loop is around it.
__attribute__((noipa)) void spec_two_ns(uint64_t *state)
{
  *state = *state * 6364136223846793005u + 1442695040888963407u;
}

// Nanoseconds of CPU time a call, with the stack `shift` times 16 bytes lower.
double spec_two_ns_loop(uint64_t *state, uint64_t count, unsigned shift)
{
  volatile char *room = __builtin_alloca(16 * shift + 16);
  room[0] = 0;
  struct timespec from, to;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
  for (uint64_t i = 0; i < count; i++) spec_two_ns(state);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
  return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / (double)count;
}
