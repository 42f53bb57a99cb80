// matmul: the product of two matrices of Number, which the includer defines.
// SPDX-License-Identifier: MIT
#pragma once
#include "common.h"

enum { SIDE = 96 };

static Number a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];

uint64_t kernel(uint64_t repeat)
{
  uint64_t seed = 11, sum = FOLD_START;
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      a[i][j] = (Number)(int64_t)(next_random(&seed) % 2001) / 1000 - 1;
      b[i][j] = (Number)(int64_t)(next_random(&seed) % 2001) / 1000 - 1;
    }
  while (repeat--) {
    for (int i = 0; i < SIDE; i++)
      for (int j = 0; j < SIDE; j++) {
        Number total = 0;
        for (int k = 0; k < SIDE; k++) total += a[i][k] * b[k][j];
        c[i][j] = total;
      }
    for (int i = 0; i < SIDE; i++) sum = fold(sum, (uint64_t)(int64_t)(c[i][(i * 37) % SIDE] * 4096));
    a[repeat % SIDE][repeat % 7] += (Number)0.5;
  }
  return sum;
}
