// sieve: the primes below 1 Mi by Eratosthenes, a byte a number: byte stores at every stride.
// SPDX-License-Identifier: MIT
#include "common.h"

enum { LIMIT = 1024 * KIB };

static uint8_t composite[LIMIT];

uint64_t kernel(uint64_t repeat)
{
  uint64_t sum = FOLD_START;
  while (repeat--) {
    for (size_t i = 0; i < LIMIT; i++) composite[i] = 0;
    for (size_t i = 2; i * i < LIMIT; i++) {
      if (composite[i]) continue;
      for (size_t j = i * i; j < LIMIT; j += i) composite[j] = 1;
    }
    uint64_t count = 0, total = 0;
    for (size_t i = 2; i < LIMIT; i++) {
      if (composite[i]) continue;
      count++;
      total += i;
    }
    sum = fold(fold(sum, count), total);
  }
  return sum;
}
