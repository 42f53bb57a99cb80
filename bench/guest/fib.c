// fib: Fibonacci numbers by recursion: calls, returns and the stack.
// SPDX-License-Identifier: MIT
#include "common.h"

static uint64_t fib(uint64_t n)
{
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

uint64_t kernel(uint64_t repeat)
{
  static volatile uint64_t n = 27;
  uint64_t sum = FOLD_START;
  while (repeat--) sum = fold(sum, fib(n));
  return sum;
}
