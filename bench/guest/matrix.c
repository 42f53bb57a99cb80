// matrix: the product of two 128 x 128 matrices of 64-bit integers, by rows and columns: two loads, a multiplication, an addition.
// SPDX-License-Identifier: MIT
#include "common.h"

enum { SIDE = 128 };

static int64_t a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];

uint64_t kernel(uint64_t repeat)
{
  uint64_t seed = 7, sum = FOLD_START;
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      a[i][j] = (int64_t)(next_random(&seed) % 2001) - 1000;
      b[i][j] = (int64_t)(next_random(&seed) % 2001) - 1000;
    }
  while (repeat--) {
    for (int i = 0; i < SIDE; i++)
      for (int j = 0; j < SIDE; j++) {
        int64_t total = 0;
        for (int k = 0; k < SIDE; k++) total += a[i][k] * b[k][j];
        c[i][j] = total;
      }
    for (int i = 0; i < SIDE; i++) sum = fold(sum, (uint64_t)c[i][(i * 37) % SIDE]);
    a[repeat % SIDE][repeat % 7] += 1;
  }
  return sum;
}
