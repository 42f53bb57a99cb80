// fp: the RISC-V floating point that SSE cannot do by itself, computed on integers.
// SPDX-License-Identifier: MIT
#include "base/fp.h"
#include "base/check.h"

/*
 * Every operation here unpacks its operands to sign, exponent and a 64-bit significand, forms the exact value
 * with whatever lies below bit 0 kept as a sticky bit 0 (round to odd), and rounds once in pack(). No host
 * floating point is executed, so MXCSR changes only where fp_flags_raise() says so; the exception is
 * operate() at the end, which runs the inline forms.
 */

unsigned fp_host;

__attribute__((constructor)) static void host_init(void)
{
  __builtin_cpu_init();
  // "fma" also means that the operating system saves the AVX state.
  if (__builtin_cpu_supports("fma")) fp_host |= FP_HOST_FMA;
  if (__builtin_cpu_supports("sse4.1")) fp_host |= FP_HOST_SSE41;
}

typedef unsigned __int128 Wide;

typedef struct Format {
  int bits;      // width of the whole
  int precision; // significand bits, the hidden one included
  int emin;      // exponent of the least normal number; the greatest is 1 - emin
  uint64_t canon;
} Format;

static const Format SINGLE = { 32, 24, -126, FP_CANON_S };
static const Format DOUBLE = { 64, 53, -1022, FP_CANON_D };

typedef enum Kind { ZERO, FINITE, INF, QUIET, SIGNALLING } Kind;

// FINITE: (-1)^minus * significand * 2^(exponent - 63), bit 63 of the significand set.
typedef struct Number {
  uint64_t significand;
  int exponent;
  bool minus;
  Kind kind;
} Number;

static bool is_nan(Number x)
{
  return x.kind >= QUIET;
}

static Number unpack(const Format *f, uint64_t bits)
{
  int fraction_bits = f->precision - 1;
  int top = (1 << (f->bits - f->precision)) - 1;
  uint64_t fraction = bits & ((1ull << fraction_bits) - 1);
  int biased = (int)(bits >> fraction_bits) & top;
  Number x = { .minus = bits >> (f->bits - 1) & 1 };

  if (biased == top) {
    x.kind = !fraction ? INF : fraction >> (fraction_bits - 1) ? QUIET : SIGNALLING;
  } else if (biased) {
    x.kind = FINITE;
    x.exponent = biased + f->emin - 1;
    x.significand = (fraction | 1ull << fraction_bits) << (64 - f->precision);
  } else if (fraction) {
    int shift = __builtin_clzll(fraction);
    x.kind = FINITE;
    x.exponent = f->emin + 64 - f->precision - shift;
    x.significand = fraction << shift;
  }
  return x;
}

static uint64_t shift_sticky(uint64_t x, int by)
{
  if (by <= 0) return x;
  if (by > 63) return x != 0;
  return x >> by | ((x & ((1ull << by) - 1)) != 0);
}

static Wide shift_sticky_wide(Wide x, int by)
{
  if (by <= 0) return x;
  if (by > 127) return x != 0;
  return x >> by | ((x & (((Wide)1 << by) - 1)) != 0);
}

// Whether dropping `rest` below the last kept bit (of value `unit`, set or not: `odd`) rounds away from zero.
static bool rounds_away(unsigned rm, bool minus, bool odd, uint64_t rest, uint64_t unit)
{
  uint64_t half = unit >> 1;
  switch (rm) {
  case FP_RNE: return rest > half || (rest == half && odd);
  case FP_RDN: return rest && minus;
  case FP_RUP: return rest && !minus;
  case FP_RMM: return rest >= half;
  default: return false;
  }
}

// `significand` without its lowest `drop` bits, rounded. May carry out to one bit more.
static uint64_t round_off(uint64_t significand, int drop, unsigned rm, bool minus)
{
  uint64_t kept = significand >> drop, unit = 1ull << drop;
  return kept + rounds_away(rm, minus, kept & 1, significand & (unit - 1), unit);
}

static uint64_t pack_special(const Format *f, Kind kind, bool minus)
{
  uint64_t sign = (uint64_t)minus << (f->bits - 1);
  if (kind == ZERO) return sign;
  if (kind == INF) return sign | ((1ull << (f->bits - f->precision)) - 1) << (f->precision - 1);
  return f->canon;
}

static uint64_t pack_overflow(const Format *f, unsigned rm, bool minus, unsigned *flags)
{
  *flags |= FP_OF | FP_NX;
  uint64_t inf = pack_special(f, INF, minus);
  bool away = rm == FP_RNE || rm == FP_RMM || (rm == FP_RDN && minus) || (rm == FP_RUP && !minus);
  return away ? inf : inf - 1;
}

// A number in the format, rounded by rm. Bit 0 of the significand may be sticky.
static uint64_t pack(const Format *f, Number x, unsigned rm, unsigned *flags)
{
  if (x.kind != FINITE) return pack_special(f, x.kind, x.minus);

  int drop = 64 - f->precision;
  uint64_t sign = (uint64_t)x.minus << (f->bits - 1), full = 1ull << f->precision;
  if (x.exponent < f->emin) {
    uint64_t shifted = shift_sticky(x.significand, f->emin - x.exponent);
    uint64_t kept = round_off(shifted, drop, rm, x.minus);
    // Tiny after rounding: with an unbounded exponent it would still lie below the least normal number.
    bool tiny = x.exponent < f->emin - 1 || round_off(x.significand, drop, rm, x.minus) < full;
    if (shifted & ((1ull << drop) - 1)) *flags |= tiny ? FP_NX | FP_UF : FP_NX;
    return sign | kept; // a carry into the hidden bit is the least normal number's encoding
  }

  uint64_t kept = round_off(x.significand, drop, rm, x.minus);
  int exponent = x.exponent;
  if (kept == full) {
    kept >>= 1;
    exponent++;
  }
  if (exponent > 1 - f->emin) return pack_overflow(f, rm, x.minus, flags);
  if (x.significand & ((1ull << drop) - 1)) *flags |= FP_NX;
  // The hidden bit adds the missing one to the biased exponent.
  return sign | (((uint64_t)(exponent - f->emin) << (f->precision - 1)) + kept);
}

// -- Operations on numbers --------------------------------------------------------------------------

static Number nan_of(bool invalid, unsigned *flags)
{
  if (invalid) *flags |= FP_NV;
  return (Number){ .kind = QUIET };
}

// The sum of two finite values a * 2^(ea - 126), b * 2^(eb - 126); bit 126 of a and b is set, bit 127 clear.
// Bits lost to alignment are sticky; the 20 spare low bits that both have keep them far below any rounding
// position, for once bits are lost at most one bit cancels.
static Number add_wide(Wide a, int ea, bool ma, Wide b, int eb, bool mb, unsigned rm)
{
  if (ea < eb || (ea == eb && a < b)) {
    Wide w = a;
    int e = ea;
    bool m = ma;
    a = b, ea = eb, ma = mb;
    b = w, eb = e, mb = m;
  }
  b = shift_sticky_wide(b, ea - eb);
  Wide sum = ma == mb ? a + b : a - b;
  if (!sum) return (Number){ .kind = ZERO, .minus = rm == FP_RDN };

  uint64_t high = (uint64_t)(sum >> 64);
  int shift = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)sum);
  sum <<= shift;
  return (Number){
    .kind = FINITE,
    .minus = ma,
    .exponent = ea + 1 - shift,
    .significand = (uint64_t)(sum >> 64) | ((uint64_t)sum != 0),
  };
}

static Number madd(Number a, Number b, Number c, unsigned rm, unsigned *flags)
{
  bool invalid_product = (a.kind == INF && b.kind == ZERO) || (a.kind == ZERO && b.kind == INF);
  if (is_nan(a) || is_nan(b) || is_nan(c) || invalid_product) {
    bool signalling = a.kind == SIGNALLING || b.kind == SIGNALLING || c.kind == SIGNALLING;
    return nan_of(signalling || invalid_product, flags);
  }
  bool minus = a.minus != b.minus;
  if (a.kind == INF || b.kind == INF) {
    if (c.kind == INF && c.minus != minus) return nan_of(true, flags);
    return (Number){ .kind = INF, .minus = minus };
  }
  if (c.kind == INF) return c;
  if (a.kind == ZERO || b.kind == ZERO) {
    if (c.kind == ZERO && c.minus != minus) c.minus = rm == FP_RDN;
    return c;
  }

  // At most 53 + 53 bits of the product are in use: normalising to bit 126 loses none.
  Wide product = (Wide)a.significand * b.significand;
  int exponent = a.exponent + b.exponent;
  if (product >> 127) {
    product >>= 1;
    exponent++;
  }
  if (c.kind == ZERO) {
    uint64_t high = (uint64_t)(product >> 63), low = (uint64_t)(product << 1);
    return (Number){ .kind = FINITE, .minus = minus, .exponent = exponent, .significand = high | (low != 0) };
  }
  return add_wide(product, exponent, minus, (Wide)c.significand << 63, c.exponent, c.minus, rm);
}

static Number divide(Number a, Number b, unsigned *flags)
{
  bool same = a.kind == b.kind && (a.kind == ZERO || a.kind == INF);
  if (is_nan(a) || is_nan(b) || same) {
    return nan_of(same || a.kind == SIGNALLING || b.kind == SIGNALLING, flags);
  }
  bool minus = a.minus != b.minus;
  if (a.kind == INF) return (Number){ .kind = INF, .minus = minus };
  if (b.kind == ZERO) {
    *flags |= FP_DZ;
    return (Number){ .kind = INF, .minus = minus };
  }
  if (a.kind == ZERO || b.kind == INF) return (Number){ .kind = ZERO, .minus = minus };

  // The quotient lies in (2^62, 2^64): ten bits or more beyond the target's, the remainder is sticky.
  Wide dividend = (Wide)a.significand << 63;
  uint64_t quotient = (uint64_t)(dividend / b.significand);
  quotient |= dividend % b.significand != 0;
  int shift = __builtin_clzll(quotient);
  return (Number){ .kind = FINITE,
                   .minus = minus,
                   .exponent = a.exponent - b.exponent - shift,
                   .significand = quotient << shift };
}

static Number from_int(uint64_t magnitude, bool minus)
{
  if (!magnitude) return (Number){ .kind = ZERO };
  int shift = __builtin_clzll(magnitude);
  return (
      Number){ .kind = FINITE, .minus = minus, .exponent = 63 - shift, .significand = magnitude << shift };
}

static Number from_signed(int64_t n)
{
  return from_int(n < 0 ? -(uint64_t)n : (uint64_t)n, n < 0);
}

// The quiet form of a number passed from one format to another.
static Number resize(Number x, unsigned *flags)
{
  return is_nan(x) ? nan_of(x.kind == SIGNALLING, flags) : x;
}

// -- To integer -------------------------------------------------------------------------------------

// The saturated result. NaN counts as too large.
static uint64_t saturate(Number x, enum FpInt to)
{
  bool low = x.minus && !is_nan(x);
  switch (to) {
  case FP_TO_W: return low ? (uint64_t)INT32_MIN : INT32_MAX;
  case FP_TO_L: return low ? (uint64_t)INT64_MIN : INT64_MAX;
  default: return low ? 0 : UINT64_MAX; // of 32 bits: all ones sign-extend to the same
  }
}

static bool fits(uint64_t magnitude, bool minus, enum FpInt to)
{
  switch (to) {
  case FP_TO_W: return magnitude <= (uint64_t)INT32_MAX + minus;
  case FP_TO_L: return magnitude <= (uint64_t)INT64_MAX + minus;
  case FP_TO_WU: return minus ? !magnitude : magnitude <= UINT32_MAX;
  default: return !minus || !magnitude;
  }
}

static uint64_t to_int(Number x, unsigned rm, enum FpInt to)
{
  if (x.kind == ZERO) return 0;
  if (x.kind != FINITE || x.exponent > 63) {
    fp_flags_raise(FP_NV);
    return saturate(x, to);
  }

  // whole.rest, both 64 bits, the latter's last bit sticky.
  uint64_t whole = 0, rest = 0;
  if (x.exponent == 63) {
    whole = x.significand;
  } else if (x.exponent >= 0) {
    whole = x.significand >> (63 - x.exponent);
    rest = x.significand << (x.exponent + 1);
  } else {
    rest = shift_sticky(x.significand, -1 - x.exponent);
  }
  // Room for the unit 2^64: one bit less, the lost one sticky.
  whole += rounds_away(rm, x.minus, whole & 1, shift_sticky(rest, 1), 1ull << 63);
  if (!fits(whole, x.minus, to)) {
    fp_flags_raise(FP_NV);
    return saturate(x, to);
  }
  if (rest) fp_flags_raise(FP_NX);
  uint64_t n = x.minus ? -whole : whole;
  return to == FP_TO_W || to == FP_TO_WU ? (uint64_t)(int32_t)n : n;
}

uint64_t fp_to_int_s(uint32_t a, unsigned rm, enum FpInt to)
{
  return to_int(unpack(&SINGLE, a), rm, to);
}

uint64_t fp_to_int_d(uint64_t a, unsigned rm, enum FpInt to)
{
  return to_int(unpack(&DOUBLE, a), rm, to);
}

// -- Slow paths of the inline forms -----------------------------------------------------------------

static uint64_t madd_bits(const Format *f, uint64_t a, uint64_t b, uint64_t c, unsigned rm)
{
  unsigned flags = 0;
  uint64_t bits = pack(f, madd(unpack(f, a), unpack(f, b), unpack(f, c), rm, &flags), rm, &flags);
  fp_flags_raise(flags);
  return bits;
}

// RC as a rounding mode of the guest.
static unsigned rm_of_rc(void)
{
  static const uint8_t rm[4] = { FP_RNE, FP_RDN, FP_RUP, FP_RTZ };
  return rm[(fp_mxcsr_read() & FP_MXCSR_RC) >> 13];
}

uint32_t fp_madd_soft_s(uint32_t a, uint32_t b, uint32_t c)
{
  return (uint32_t)madd_bits(&SINGLE, a, b, c, rm_of_rc());
}

uint64_t fp_madd_soft_d(uint64_t a, uint64_t b, uint64_t c)
{
  return madd_bits(&DOUBLE, a, b, c, rm_of_rc());
}

static bool product_invalid(const Format *f, uint64_t a, uint64_t b)
{
  Number x = unpack(f, a), y = unpack(f, b);
  return (x.kind == INF && y.kind == ZERO) || (x.kind == ZERO && y.kind == INF);
}

uint32_t fp_madd_nan_s(uint32_t a, uint32_t b)
{
  if (product_invalid(&SINGLE, a, b)) fp_flags_raise(FP_NV);
  return FP_CANON_S;
}

uint64_t fp_madd_nan_d(uint64_t a, uint64_t b)
{
  if (product_invalid(&DOUBLE, a, b)) fp_flags_raise(FP_NV);
  return FP_CANON_D;
}

// NV is raised already, by the comparison.
uint32_t fp_number_s(uint32_t a, uint32_t b)
{
  if (!is_nan(unpack(&SINGLE, a))) return a;
  return is_nan(unpack(&SINGLE, b)) ? FP_CANON_S : b;
}

uint64_t fp_number_d(uint64_t a, uint64_t b)
{
  if (!is_nan(unpack(&DOUBLE, a))) return a;
  return is_nan(unpack(&DOUBLE, b)) ? FP_CANON_D : b;
}

// -- Whole operations -------------------------------------------------------------------------------

// op in the RC that is loaded.
static uint64_t operate(enum FpOp op, uint64_t a, uint64_t b, uint64_t c)
{
  uint32_t as = (uint32_t)a, bs = (uint32_t)b, cs = (uint32_t)c;
  switch (op) {
  case FP_ADD_S: return fp_add_s(as, bs);
  case FP_SUB_S: return fp_sub_s(as, bs);
  case FP_MUL_S: return fp_mul_s(as, bs);
  case FP_DIV_S: return fp_div_s(as, bs);
  case FP_SQRT_S: return fp_sqrt_s(as);
  case FP_MADD_S: return fp_madd_s(as, bs, cs);
  case FP_ADD_D: return fp_add_d(a, b);
  case FP_SUB_D: return fp_sub_d(a, b);
  case FP_MUL_D: return fp_mul_d(a, b);
  case FP_DIV_D: return fp_div_d(a, b);
  case FP_SQRT_D: return fp_sqrt_d(a);
  case FP_MADD_D: return fp_madd_d(a, b, c);
  case FP_CVT_S_W: return fp_cvt_s_w(a);
  case FP_CVT_S_WU: return fp_cvt_s_wu(a);
  case FP_CVT_S_L: return fp_cvt_s_l(a);
  case FP_CVT_S_LU: return fp_cvt_s_lu(a);
  case FP_CVT_S_D: return fp_cvt_s_d(a);
  case FP_CVT_D_W: return fp_cvt_d_w(a);
  case FP_CVT_D_WU: return fp_cvt_d_wu(a);
  case FP_CVT_D_L: return fp_cvt_d_l(a);
  case FP_CVT_D_LU: return fp_cvt_d_lu(a);
  case FP_CVT_D_S: return fp_cvt_d_s(as);
  }
  check_values(false, op, 0);
  return 0;
}

uint64_t fp_rmm(enum FpOp op, uint64_t a, uint64_t b, uint64_t c)
{
  bool single = op <= FP_MADD_S || (op >= FP_CVT_S_W && op <= FP_CVT_S_D);
  const Format *f = single ? &SINGLE : &DOUBLE;
  const Number one = { .kind = FINITE, .significand = 1ull << 63 };
  unsigned flags = 0;
  Number x = unpack(f, a), y = unpack(f, b), r;

  switch (op) {
  case FP_SUB_S:
  case FP_SUB_D:
    y.minus = !y.minus;
    r = madd(x, one, y, FP_RMM, &flags);
    break;
  case FP_ADD_S:
  case FP_ADD_D: r = madd(x, one, y, FP_RMM, &flags); break;
  case FP_MUL_S:
  case FP_MUL_D: r = madd(x, y, (Number){ .kind = ZERO, .minus = x.minus != y.minus }, FP_RMM, &flags); break;
  case FP_DIV_S:
  case FP_DIV_D: r = divide(x, y, &flags); break;
  case FP_MADD_S:
  case FP_MADD_D: r = madd(x, y, unpack(f, c), FP_RMM, &flags); break;
  case FP_CVT_S_W:
  case FP_CVT_D_W: r = from_signed((int32_t)a); break;
  case FP_CVT_S_WU:
  case FP_CVT_D_WU: r = from_int((uint32_t)a, false); break;
  case FP_CVT_S_L:
  case FP_CVT_D_L: r = from_signed((int64_t)a); break;
  case FP_CVT_S_LU:
  case FP_CVT_D_LU: r = from_int(a, false); break;
  case FP_CVT_S_D: r = resize(unpack(&DOUBLE, a), &flags); break;
  case FP_CVT_D_S: r = resize(unpack(&SINGLE, a), &flags); break;
  default:
    // A square root is never half way between two numbers: a half-way point has p + 1 significant bits, its
    // square more than 2p, an operand p. So both ways of rounding to nearest agree.
    return fp_static(op, FP_RNE, a, b, c);
  }
  uint64_t bits = pack(f, r, FP_RMM, &flags);
  fp_flags_raise(flags);
  return bits;
}

uint64_t fp_static(enum FpOp op, unsigned rm, uint64_t a, uint64_t b, uint64_t c)
{
  check_values(rm <= FP_RMM, op, rm);
  if (rm == FP_RMM) return fp_rmm(op, a, b, c);
  uint32_t mxcsr = fp_mxcsr_read(), change = (mxcsr ^ fp_mxcsr(rm)) & FP_MXCSR_RC;
  if (!change) return operate(op, a, b, c);
  fp_mxcsr_write(mxcsr ^ change);
  uint64_t r = operate(op, a, b, c);
  fp_mxcsr_write(fp_mxcsr_read() ^ change);
  return r;
}
