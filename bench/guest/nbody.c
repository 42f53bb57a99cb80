// nbody: five bodies that attract one another, leapfrog in doubles: multiplications, a square root, a division.
// SPDX-License-Identifier: MIT
#include "common.h"

enum { BODIES = 5, STEPS = 1000 };

typedef struct { double at[3], speed[3], mass; } Body;

static Body bodies[BODIES];

static uint64_t bits_of(double value)
{
  union { double value; uint64_t bits; } u = { .value = value };
  return u.bits;
}

static void set_up(void)
{
  uint64_t seed = 5;
  for (int i = 0; i < BODIES; i++) {
    for (int k = 0; k < 3; k++) {
      bodies[i].at[k] = (double)(int64_t)(next_random(&seed) % 20001) * 1e-3 - 10 + 3 * i;
      bodies[i].speed[k] = (double)(int64_t)(next_random(&seed) % 2001) * 1e-4 - 0.1;
    }
    bodies[i].mass = 1 + 0.25 * i;
  }
}

static void advance(double time)
{
  for (int i = 0; i < BODIES; i++) {
    for (int j = i + 1; j < BODIES; j++) {
      double d[3], square = 1e-3;                    // softened: no collision divides by nothing
      for (int k = 0; k < 3; k++) {
        d[k] = bodies[i].at[k] - bodies[j].at[k];
        square += d[k] * d[k];
      }
      double pull = time / (square * __builtin_sqrt(square));
      for (int k = 0; k < 3; k++) {
        bodies[i].speed[k] -= d[k] * bodies[j].mass * pull;
        bodies[j].speed[k] += d[k] * bodies[i].mass * pull;
      }
    }
  }
  for (int i = 0; i < BODIES; i++)
    for (int k = 0; k < 3; k++) bodies[i].at[k] += time * bodies[i].speed[k];
}

uint64_t kernel(uint64_t repeat)
{
  uint64_t sum = FOLD_START;
  set_up();
  while (repeat--) {
    for (int i = 0; i < STEPS; i++) advance(0.001);
    for (int i = 0; i < BODIES; i++) sum = fold(sum, bits_of(bodies[i].at[i % 3]));
  }
  return sum;
}
