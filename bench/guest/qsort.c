// qsort: 32 Ki random 64-bit numbers sorted through a comparison function, as the C library's: calls and guesses that fail.
// SPDX-License-Identifier: MIT
#include "common.h"

enum { COUNT = 32 * KIB, SMALL = 8 };

typedef int Compare(const void *a, const void *b);

static int64_t numbers[COUNT];

static int by_value(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

static void swap(int64_t *a, int64_t *b)
{
  int64_t t = *a;
  *a = *b;
  *b = t;
}

static void insertion_sort(int64_t *from, int64_t *to, Compare *compare)
{
  for (int64_t *p = from + 1; p < to; p++)
    for (int64_t *q = p; q > from && compare(q - 1, q) > 0; q--) swap(q - 1, q);
}

// Sorts [from, to): median of three, the smaller part by recursion.
static void quick_sort(int64_t *from, int64_t *to, Compare *compare)
{
  while (to - from > SMALL) {
    int64_t *middle = from + (to - from) / 2, *i = from, *j = to - 1;
    if (compare(middle, from) < 0) swap(middle, from);
    if (compare(to - 1, from) < 0) swap(to - 1, from);
    if (compare(to - 1, middle) < 0) swap(to - 1, middle);
    int64_t pivot = *middle;
    while (i <= j) {
      while (compare(i, &pivot) < 0) i++;
      while (compare(j, &pivot) > 0) j--;
      if (i <= j) swap(i++, j--);
    }
    if (j + 1 - from < to - i) {
      quick_sort(from, j + 1, compare);
      from = i;
    } else {
      quick_sort(i, to, compare);
      to = j + 1;
    }
  }
  insertion_sort(from, to, compare);
}

uint64_t kernel(uint64_t repeat)
{
  static Compare *volatile compare = by_value;     // volatile: through the pointer, as from a library
  uint64_t seed = 88172645463325252, sum = FOLD_START;
  while (repeat--) {
    for (size_t i = 0; i < COUNT; i++) numbers[i] = (int64_t)next_random(&seed);
    quick_sort(numbers, numbers + COUNT, compare);
    for (size_t i = 0; i < COUNT; i += 64) sum = fold(sum, (uint64_t)numbers[i]);
    for (size_t i = 1; i < COUNT; i++)
      if (numbers[i - 1] > numbers[i]) return 0;
  }
  return sum;
}
