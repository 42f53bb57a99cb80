// common: what the benchmark kernels share.
// SPDX-License-Identifier: MIT
#pragma once
#include <stddef.h>
#include <stdint.h>

// Each kernel file defines this one: its work, done `repeat` times, as a checksum. The same source runs on the host to learn
// what the guest must find, so results may not depend on addresses, time or word order.
uint64_t kernel(uint64_t repeat);

// xorshift64 (Marsaglia 2003): the input of kernels that need one. The state must not be 0.
static inline uint64_t next_random(uint64_t *state)
{
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *state = x;
}

// FNV-1a over the eight bytes of `value`.
static inline uint64_t fold(uint64_t sum, uint64_t value)
{
  for (int i = 0; i < 8; i++) sum = (sum ^ (value >> 8 * i & 0xff)) * 0x100000001b3;
  return sum;
}

enum { KIB = 1024 };
static const uint64_t FOLD_START = 0xcbf29ce484222325;
