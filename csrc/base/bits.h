// bits: arithmetic that C leaves open, as generated code wants it.
// SPDX-License-Identifier: MIT
//
// Division is total (docs/isa.md): x / 0 is all ones, x % 0 is x, the most negative number divided by
// -1 is itself with remainder 0. Counting and rotation take the width of the value.
#pragma once
#include <stdint.h>

typedef unsigned __int128 u128;
typedef __int128 i128;

#define SHIFT_CLAMP(amount, most) ((amount) > (most) ? (unsigned)(most) : (unsigned)(amount))

#define BITS_DIVISION(width, utype, stype) \
  static inline utype bits_div_u##width(utype a, utype b) { return b ? a / b : (utype)-1; } \
  static inline utype bits_rem_u##width(utype a, utype b) { return b ? a % b : a; } \
  static inline utype bits_div_s##width(utype a, utype b) \
  { \
    if (b == 0) return (utype)-1; \
    if (b == (utype)-1) return (utype)(0 - a); \
    return (utype)((stype)a / (stype)b); \
  } \
  static inline utype bits_rem_s##width(utype a, utype b) \
  { \
    if (b == 0) return a; \
    if (b == (utype)-1) return 0; \
    return (utype)((stype)a % (stype)b); \
  }
BITS_DIVISION(32, uint32_t, int32_t)
BITS_DIVISION(64, uint64_t, int64_t)
BITS_DIVISION(128, u128, i128)

static inline uint32_t bits_clz32(uint32_t v, unsigned width) { return v ? (uint32_t)__builtin_clz(v) - (32 - width) : width; }
static inline uint64_t bits_clz64(uint64_t v, unsigned width) { return v ? (uint64_t)__builtin_clzll(v) - (64 - width) : width; }
static inline uint32_t bits_ctz32(uint32_t v, unsigned width) { return v ? (uint32_t)__builtin_ctz(v) : width; }
static inline uint64_t bits_ctz64(uint64_t v, unsigned width) { return v ? (uint64_t)__builtin_ctzll(v) : width; }
static inline uint32_t bits_popcount32(uint32_t v, unsigned width) { (void)width; return (uint32_t)__builtin_popcount(v); }
static inline uint64_t bits_popcount64(uint64_t v, unsigned width) { (void)width; return (uint64_t)__builtin_popcountll(v); }
static inline uint32_t bits_bswap32(uint32_t v, unsigned width) { return __builtin_bswap32(v) >> (32 - width); }
static inline uint64_t bits_bswap64(uint64_t v, unsigned width) { return __builtin_bswap64(v) >> (64 - width); }
static inline u128 bits_bswap128(u128 v, unsigned width)
{
  return (((u128)__builtin_bswap64((uint64_t)v) << 64) | __builtin_bswap64((uint64_t)(v >> 64))) >> (128 - width);
}

#define BITS_ROTATE(bits, type) \
  static inline type bits_rol##bits(type v, unsigned n, unsigned width) { n %= width; return n ? (type)(v << n | v >> (width - n)) : v; } \
  static inline type bits_ror##bits(type v, unsigned n, unsigned width) { n %= width; return n ? (type)(v >> n | v << (width - n)) : v; }
BITS_ROTATE(32, uint32_t)
BITS_ROTATE(64, uint64_t)

static inline uint64_t bits_orc_b(uint64_t v)
{
  uint64_t low = (v | v >> 4) & 0x0f0f0f0f0f0f0f0full;
  low = (low | low >> 2) & 0x0303030303030303ull;
  low = (low | low >> 1) & 0x0101010101010101ull;
  return low * 0xff;
}

static inline u128 bits_carryless(uint64_t a, uint64_t b)
{
  u128 product = 0;
  for (unsigned i = 0; i < 64; i++)
    if (b >> i & 1) product ^= (u128)a << i;
  return product;
}

static inline uint64_t bits_clmul(uint64_t a, uint64_t b) { return (uint64_t)bits_carryless(a, b); }
static inline uint64_t bits_clmulh(uint64_t a, uint64_t b) { return (uint64_t)(bits_carryless(a, b) >> 64); }
static inline uint64_t bits_clmulr(uint64_t a, uint64_t b) { return (uint64_t)(bits_carryless(a, b) >> 63); }
