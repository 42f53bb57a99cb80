// wide: arithmetic on 256 bits, as generated code wants it for vector and multi-word values.
// SPDX-License-Identifier: MIT
//
// A u256 is four limbs, lowest first. Values narrower than 256 bits are kept zero-extended by the caller (u256_low).
// Shift amounts of 256 and more give 0, or copies of the sign for u256_sar.
#pragma once
#include "base/bits.h"

typedef struct u256 {
  uint64_t w[4];
} u256;

static inline u256 u256_make(uint64_t a, uint64_t b, uint64_t c, uint64_t d) { return (u256){ { a, b, c, d } }; }
static inline u256 u256_from(u128 v) { return u256_make((uint64_t)v, (uint64_t)(v >> 64), 0, 0); }
static inline u128 u256_to_u128(u256 v) { return (u128)v.w[1] << 64 | v.w[0]; }

#define U256_BITWISE(name, op) \
  static inline u256 u256_##name(u256 a, u256 b) { return u256_make(a.w[0] op b.w[0], a.w[1] op b.w[1], a.w[2] op b.w[2], a.w[3] op b.w[3]); }
U256_BITWISE(and, &)
U256_BITWISE(or, |)
U256_BITWISE(xor, ^)

static inline u256 u256_not(u256 a) { return u256_make(~a.w[0], ~a.w[1], ~a.w[2], ~a.w[3]); }

static inline u256 u256_add(u256 a, u256 b)
{
  u256 sum;
  u128 carry = 0;
  for (int i = 0; i < 4; i++) {
    carry += (u128)a.w[i] + b.w[i];
    sum.w[i] = (uint64_t)carry;
    carry >>= 64;
  }
  return sum;
}

static inline u256 u256_neg(u256 a) { return u256_add(u256_not(a), u256_from(1)); }
static inline u256 u256_sub(u256 a, u256 b) { return u256_add(a, u256_neg(b)); }

static inline u256 u256_mul(u256 a, u256 b)
{
  u256 product = { { 0 } };
  for (int i = 0; i < 4; i++) {
    u128 carry = 0;
    for (int j = 0; i + j < 4; j++) {
      carry += (u128)a.w[i] * b.w[j] + product.w[i + j];      // at most 2^128 - 1
      product.w[i + j] = (uint64_t)carry;
      carry >>= 64;
    }
  }
  return product;
}

static inline u256 u256_shl(u256 a, unsigned n)
{
  u256 out = { { 0 } };
  if (n >= 256) return out;
  int limbs = (int)(n / 64);
  unsigned rest = n % 64;
  for (int i = 3; i >= limbs; i--) {
    out.w[i] = a.w[i - limbs] << rest;
    if (rest && i > limbs) out.w[i] |= a.w[i - limbs - 1] >> (64 - rest);
  }
  return out;
}

static inline u256 u256_shr(u256 a, unsigned n)
{
  u256 out = { { 0 } };
  if (n >= 256) return out;
  int limbs = (int)(n / 64);
  unsigned rest = n % 64;
  for (int i = 0; i + limbs < 4; i++) {
    out.w[i] = a.w[i + limbs] >> rest;
    if (rest && i + limbs < 3) out.w[i] |= a.w[i + limbs + 1] << (64 - rest);
  }
  return out;
}

// The low `bits` (1 to 256) of a.
static inline u256 u256_low(u256 a, unsigned bits) { return u256_shr(u256_shl(a, 256 - bits), 256 - bits); }

// Arithmetic shift of all 256 bits.
static inline u256 u256_sar(u256 a, unsigned n)
{
  if (!(a.w[3] >> 63)) return u256_shr(a, n);
  return n >= 256 ? u256_make(~0ull, ~0ull, ~0ull, ~0ull) : u256_not(u256_shr(u256_not(a), n));
}

// The low `bits` (1 to 256) of a, the highest of them repeated up to bit 255.
static inline u256 u256_sext(u256 a, unsigned bits) { return u256_sar(u256_shl(a, 256 - bits), 256 - bits); }

static inline uint32_t u256_eq(u256 a, u256 b)
{
  return a.w[0] == b.w[0] && a.w[1] == b.w[1] && a.w[2] == b.w[2] && a.w[3] == b.w[3];
}

static inline uint32_t u256_ne(u256 a, u256 b) { return !u256_eq(a, b); }

static inline uint32_t u256_ltu(u256 a, u256 b)
{
  for (int i = 3; i >= 0; i--)
    if (a.w[i] != b.w[i]) return a.w[i] < b.w[i];
  return 0;
}

static inline uint32_t u256_lts(u256 a, u256 b)
{
  a.w[3] ^= 1ull << 63;
  b.w[3] ^= 1ull << 63;
  return u256_ltu(a, b);
}

// Bytes of a value of 256 bits in the other order. `width` is there because narrower swaps have it.
static inline u256 bits_bswap256(u256 v, unsigned width)
{
  (void)width;
  return u256_make(__builtin_bswap64(v.w[3]), __builtin_bswap64(v.w[2]), __builtin_bswap64(v.w[1]), __builtin_bswap64(v.w[0]));
}

// Counts and rotations of 65 to 128 bits.
static inline u128 bits_clz128(u128 v, unsigned width)
{
  uint64_t high = (uint64_t)(v >> 64), low = (uint64_t)v;
  if (!v) return width;
  return (unsigned)(high ? __builtin_clzll(high) : 64 + __builtin_clzll(low)) - (128 - width);
}

static inline u128 bits_ctz128(u128 v, unsigned width)
{
  uint64_t high = (uint64_t)(v >> 64), low = (uint64_t)v;
  if (!v) return width;
  return (unsigned)(low ? __builtin_ctzll(low) : 64 + __builtin_ctzll(high));
}

static inline u128 bits_popcount128(u128 v, unsigned width)
{
  (void)width;
  return (unsigned)(__builtin_popcountll((uint64_t)v) + __builtin_popcountll((uint64_t)(v >> 64)));
}

BITS_ROTATE(128, u128)
