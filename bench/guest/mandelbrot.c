// mandelbrot: iterations until escape on a grid, in doubles: short dependent chains and comparisons.
// SPDX-License-Identifier: MIT
#include "common.h"

enum { SIDE = 64, MOST = 100 };

static int escape(double cr, double ci)
{
  double r = 0, i = 0;
  for (int n = 0; n < MOST; n++) {
    double rr = r * r, ii = i * i;
    if (rr + ii > 4) return n;
    i = 2 * r * i + ci;
    r = rr - ii + cr;
  }
  return MOST;
}

uint64_t kernel(uint64_t repeat)
{
  uint64_t sum = FOLD_START;
  for (uint64_t turn = 0; turn < repeat; turn++) {
    uint64_t total = 0;
    double shift = (double)turn * 1e-6;
    for (int y = 0; y < SIDE; y++)
      for (int x = 0; x < SIDE; x++) total = total * 31 + (uint64_t)escape(x * (3.0 / SIDE) - 2.25 + shift, y * (3.0 / SIDE) - 1.5);
    sum = fold(sum, total);
  }
  return sum;
}
