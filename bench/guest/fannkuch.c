// fannkuch: how often the head of a permutation can be turned over, for all permutations of nine numbers: indexed bytes, short loops,
// branches that are hard to foresee.
// SPDX-License-Identifier: MIT
#include "common.h"

enum { COUNT = 9 };

// How often `line` is turned over until it begins with 0: as many elements as its first one says, and one.
static int flips(const uint8_t *line)
{
  uint8_t copy[COUNT];
  for (int i = 0; i < COUNT; i++) copy[i] = line[i];
  int count = 0;
  for (int first; (first = copy[0]); count++)
    for (int low = 0, high = first; low < high; low++, high--) {
      uint8_t kept = copy[low];
      copy[low] = copy[high];
      copy[high] = kept;
    }
  return count;
}

// The next permutation, by rotating ever longer heads; `turns` counts how often each was. False: that was the last one.
static int advance(uint8_t *line, uint8_t *turns)
{
  for (int length = 1; length < COUNT; length++) {
    uint8_t first = line[0];
    for (int i = 0; i < length; i++) line[i] = line[i + 1];
    line[length] = first;
    if (++turns[length] <= length) return 1;
    turns[length] = 0;
  }
  return 0;
}

uint64_t kernel(uint64_t repeat)
{
  uint64_t sum = FOLD_START;
  while (repeat--) {
    uint8_t line[COUNT], turns[COUNT] = { 0 };
    for (int i = 0; i < COUNT; i++) line[i] = (uint8_t)i;
    int64_t check = 0, sign = 1;
    int most = 0;
    do {
      int count = flips(line);
      if (count > most) most = count;
      check += sign * count;
      sign = -sign;
    } while (advance(line, turns));
    sum = fold(fold(sum, (uint64_t)check), (uint64_t)most);
  }
  return sum;
}
