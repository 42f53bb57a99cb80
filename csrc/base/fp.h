// fp: RISC-V F and D arithmetic on the host's SSE unit, exact in result and in flags.
// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Why this is exact (RISC-V Unprivileged ISA, chapters "F" and "D"; Intel SDM vol. 1, chapters 10 to 14).
 *
 * Contract. While guest code runs the guest owns MXCSR: every exception masked, FTZ and DAZ clear, RC = the
 * guest's frm, the sticky flags = the guest's fflags since the last clear. fp_mxcsr() makes that value.
 * Operands and results are raw bits; NaN boxing of singles is the caller's. frm = RMM has no RC: the caller
 * sends such operations to fp_rmm(). fmsub, fnmsub and fnmadd are fp_madd with the sign bit of c, a or both
 * flipped: the flip is exact, and a NaN operand's sign never reaches the result.
 *
 * Add, subtract, multiply, divide, square root and fused multiply-add are correctly rounded by both
 * architectures, so every result that is not a NaN is the same bits. Both detect tininess after rounding
 * and, masked, raise underflow only if the result is inexact as well; both raise overflow, inexact and
 * divide by zero alike; x86's denormal-operand flag has no counterpart and is dropped by fp_flags(). What
 * differs is repaired behind one unlikely branch:
 *  - A NaN result carries a payload on x86 and is canonical on RISC-V: each form tests its result with
 *    ucomis x,x, which raises nothing, because no arithmetic result is a signalling NaN.
 *  - inf * 0 + qNaN must raise NV; x86 may leave it silent. That result is a NaN, so the same branch sees
 *    it.
 *  - min and max: minss is not commutative and raises IE for quiet NaNs. ucomis raises it for signalling
 *    NaNs only, which is the rule of minimumNumber; operands that compare equal are the same bits or zeros
 *    of either sign, and then OR gives the minimum, AND the maximum.
 *  - feq is quiet (ucomis), flt and fle signal on any NaN (comis).
 *  - To integer: the host yields INT_MIN with IE where RISC-V saturates with NV; INT_MIN leads to the exact
 *    integer code. For unsigned targets the range is checked on the bits first, so that a host conversion
 *    never sees an operand whose guest answer is NV. Any rm but RTZ rounds to integral without raising
 *    inexact (SSE4.1), converts that exactly, and only once the value is known to fit truncates the
 *    original, which raises NX if and only if it was not integral (truncation stays within any range that
 *    holds the rounded value).
 *  - From uint64 above 2^63: halve, keeping the lost bit sticky, convert, double. 63 bits with a sticky last
 *    bit round as 64 do (63 >= 53 + 2), and the doubling is exact.
 * RMM, and multiply-add on a host without FMA, are computed on integers in fp.c: exact value with a sticky
 * last bit (round to odd) in at least two bits more than the target holds, then one rounding.
 *
 * All host operations are volatile asm: compilers keep volatile asm in order, never fold it and never drop
 * it, so no -frounding-math is needed and nothing moves across a read or write of MXCSR. The code assumes
 * SSE2; FMA and SSE4.1 are looked up once, when the program is loaded (fp_host). Before that, and without
 * them, the integer code runs.
 */

// Rounding modes as in frm and the rm field.
enum { FP_RNE, FP_RTZ, FP_RDN, FP_RUP, FP_RMM };

// Bits of fflags.
enum { FP_NX = 1, FP_UF = 2, FP_OF = 4, FP_DZ = 8, FP_NV = 16 };

#define FP_CANON_S 0x7fc00000u
#define FP_CANON_D 0x7ff8000000000000u

// The operations whose result depends on the rounding mode, and their exact neighbours cvt_d_{s,w,wu}.
// Singles and 32-bit integers are the low half of an operand; the high half is ignored.
// clang-format off
enum FpOp {
  FP_ADD_S, FP_SUB_S, FP_MUL_S, FP_DIV_S, FP_SQRT_S, FP_MADD_S,
  FP_ADD_D, FP_SUB_D, FP_MUL_D, FP_DIV_D, FP_SQRT_D, FP_MADD_D,
  FP_CVT_S_W, FP_CVT_S_WU, FP_CVT_S_L, FP_CVT_S_LU, FP_CVT_S_D,
  FP_CVT_D_W, FP_CVT_D_WU, FP_CVT_D_L, FP_CVT_D_LU, FP_CVT_D_S,
};
// clang-format on

// The integer a number is converted to.
enum FpInt { FP_TO_W, FP_TO_WU, FP_TO_L, FP_TO_LU };

// What the host has beyond SSE2: FP_HOST_* bits. A program may clear bits to run the portable code.
enum { FP_HOST_FMA = 1, FP_HOST_SSE41 = 2 };
extern unsigned fp_host __attribute__((visibility("hidden")));

typedef union FpS {
  uint32_t bits;
  float real;
} FpS;

typedef union FpD {
  uint64_t bits;
  double real;
} FpD;

// -- MXCSR -----------------------------------------------------------------------------------------

enum { FP_MXCSR_MASKED = 0x1f80, FP_MXCSR_FLAGS = 0x3f, FP_MXCSR_RC = 0x6000 };

static inline uint32_t fp_mxcsr_read(void)
{
  uint32_t mxcsr;
  asm volatile("stmxcsr %0" : "=m"(mxcsr));
  return mxcsr;
}

static inline void fp_mxcsr_write(uint32_t mxcsr)
{
  asm volatile("ldmxcsr %0" : : "m"(mxcsr));
}

// MXCSR for frm (0 to 4; RMM becomes RNE, see fp_rmm), flags clear.
static inline uint32_t fp_mxcsr(unsigned frm)
{
  // RC: 0 nearest, 1 down, 2 up, 3 zero; two bits for each frm, RNE lowest.
  return FP_MXCSR_MASKED | (0x09cu >> (2 * frm) & 3) << 13;
}

// The flags raised since the last clear, as in fflags.
static inline unsigned fp_flags(void)
{
  uint32_t m = fp_mxcsr_read();
  return (m & 1) << 4 | (m & 4) << 1 | (m >> 1 & FP_OF) | (m >> 3 & FP_UF) | (m >> 5 & FP_NX);
}

static inline void fp_flags_clear(void)
{
  fp_mxcsr_write(fp_mxcsr_read() & ~(uint32_t)FP_MXCSR_FLAGS);
}

// Raises the given fflags bits; those already raised stay.
static inline void fp_flags_raise(unsigned flags)
{
  uint32_t m = (flags & FP_NV) >> 4 | (flags & FP_DZ) >> 1 | (flags & FP_OF) << 1 | (flags & FP_UF) << 3 |
               (flags & FP_NX) << 5;
  if (m) fp_mxcsr_write(fp_mxcsr_read() | m);
}

// -- Out of line (fp.c) ----------------------------------------------------------------------------

// op rounded to nearest, ties away from zero, whatever RC is.
uint64_t fp_rmm(enum FpOp op, uint64_t a, uint64_t b, uint64_t c);

// op under rm (0 to 4) whatever RC is; RC is left as it was, flags accumulate.
uint64_t fp_static(enum FpOp op, unsigned rm, uint64_t a, uint64_t b, uint64_t c);

// a rounded by rm to an integer, saturated, 32-bit results sign-extended: the slow path of
// fp_cvt_{w,wu,l,lu}_*.
uint64_t fp_to_int_s(uint32_t a, unsigned rm, enum FpInt to);
uint64_t fp_to_int_d(uint64_t a, unsigned rm, enum FpInt to);

// a * b + c under the current RC, for hosts without FMA.
uint32_t fp_madd_soft_s(uint32_t a, uint32_t b, uint32_t c);
uint64_t fp_madd_soft_d(uint64_t a, uint64_t b, uint64_t c);

// The canonical NaN that a * b + anything gave; NV if the product is inf * 0.
uint32_t fp_madd_nan_s(uint32_t a, uint32_t b);
uint64_t fp_madd_nan_d(uint64_t a, uint64_t b);

// min and max with at least one NaN operand: the other operand, or the canonical NaN.
uint32_t fp_number_s(uint32_t a, uint32_t b);
uint64_t fp_number_d(uint64_t a, uint64_t b);

// -- Arithmetic ------------------------------------------------------------------------------------
//
// The templates take the format's letter x (s or d), in which the x86 mnemonics differ too; FP_DEFINE_FORMAT, at the end, makes all
// of them for both.

// clang-format off
#define FP_DEFINE_BINARY(op, x, Bits, Real, canon)                                                        \
  static inline Bits fp_##op##_##x(Bits a, Bits b)                                                        \
  {                                                                                                       \
    Real r = {a}, y = {b};                                                                                \
    bool nan;                                                                                             \
    asm volatile(#op "s" #x " %2, %0\n\tucomis" #x " %0, %0"                                              \
                 : "+x"(r.real), "=@ccp"(nan) : "x"(y.real));                                             \
    return __builtin_expect(nan, 0) ? (canon) : r.bits;                                                   \
  }

#define FP_DEFINE_SQRT(x, Bits, Real, canon)                                                              \
  static inline Bits fp_sqrt_##x(Bits a)                                                                  \
  {                                                                                                       \
    Real r = {a};                                                                                         \
    bool nan;                                                                                             \
    asm volatile("sqrts" #x " %0, %0\n\tucomis" #x " %0, %0" : "+x"(r.real), "=@ccp"(nan));               \
    return __builtin_expect(nan, 0) ? (canon) : r.bits;                                                   \
  }

#define FP_DEFINE_MADD(x, Bits, Real)                                                                     \
  static inline Bits fp_madd_##x(Bits a, Bits b, Bits c)                                                  \
  {                                                                                                       \
    if (__builtin_expect(!(fp_host & FP_HOST_FMA), 0)) return fp_madd_soft_##x(a, b, c);                  \
    Real r = {c}, y = {a}, z = {b};                                                                       \
    bool nan;                                                                                             \
    asm volatile("vfmadd231s" #x " %3, %2, %0\n\tucomis" #x " %0, %0"                                     \
                 : "+x"(r.real), "=@ccp"(nan) : "x"(y.real), "x"(z.real));                                \
    return __builtin_expect(nan, 0) ? fp_madd_nan_##x(a, b) : r.bits;                                     \
  }

// less: the host condition of a < b (for min) or a > b (for max); tie: what joins zeros of both signs.
#define FP_DEFINE_PICK(op, x, Bits, Real, less, tie)                                                      \
  static inline Bits fp_##op##_##x(Bits a, Bits b)                                                        \
  {                                                                                                       \
    Real y = {a}, z = {b};                                                                                \
    bool nan, equal, first;                                                                               \
    asm volatile("ucomis" #x " %4, %3"                                                                    \
                 : "=@ccp"(nan), "=@cce"(equal), "=@cc" less(first) : "x"(y.real), "x"(z.real));          \
    if (__builtin_expect(nan, 0)) return fp_number_##x(a, b);                                             \
    if (__builtin_expect(equal, 0)) return a tie b;                                                       \
    return first ? a : b;                                                                                 \
  }

// comis b, a leaves "above" exactly for a < b, "above or equal" for a <= b; a NaN is neither.
#define FP_DEFINE_COMPARE(x, Bits, Real)                                                                  \
  static inline uint64_t fp_eq_##x(Bits a, Bits b)                                                        \
  {                                                                                                       \
    Real y = {a}, z = {b};                                                                                \
    bool nan, equal;                                                                                      \
    asm volatile("ucomis" #x " %3, %2" : "=@ccp"(nan), "=@cce"(equal) : "x"(y.real), "x"(z.real));        \
    return equal & !nan;                                                                                  \
  }                                                                                                       \
  static inline uint64_t fp_lt_##x(Bits a, Bits b)                                                        \
  {                                                                                                       \
    Real y = {a}, z = {b};                                                                                \
    bool less;                                                                                            \
    asm volatile("comis" #x " %1, %2" : "=@cca"(less) : "x"(y.real), "x"(z.real));                        \
    return less;                                                                                          \
  }                                                                                                       \
  static inline uint64_t fp_le_##x(Bits a, Bits b)                                                        \
  {                                                                                                       \
    Real y = {a}, z = {b};                                                                                \
    bool less;                                                                                            \
    asm volatile("comis" #x " %1, %2" : "=@ccae"(less) : "x"(y.real), "x"(z.real));                       \
    return less;                                                                                          \
  }

// The bit of fclass: 0 -inf, 1 -normal, 2 -subnormal, 3 -0, 4 +0, 5 +subnormal, 6 +normal, 7 +inf,
// 8 sNaN, 9 qNaN.
#define FP_DEFINE_CLASS(x, Bits, inf, least, quiet)                                                       \
  static inline uint64_t fp_class_##x(Bits a)                                                             \
  {                                                                                                       \
    Bits size = a & ~(Bits)0 >> 1;                                                                        \
    bool minus = size != a;                                                                               \
    if (size > (inf)) return a & (quiet) ? 1 << 9 : 1 << 8;                                               \
    if (size == (inf)) return minus ? 1 << 0 : 1 << 7;                                                    \
    if (size >= (least)) return minus ? 1 << 1 : 1 << 6;                                                  \
    if (size) return minus ? 1 << 2 : 1 << 5;                                                             \
    return minus ? 1 << 3 : 1 << 4;                                                                       \
  }

// -- To integer ------------------------------------------------------------------------------------
//
// rm is 0 to 4, RC plays no part. 32-bit results come sign-extended, signed or not.

// fp_rounded_*: r is rounded by rm to an integral value, which raises only NV, for a signalling NaN; by RTZ it stays as it is, for
// the truncation that follows. False: this host cannot.
// fp_trunc_*_*: cvtts*2si; drops what does not fit to INT_MIN with NV, raises NX if r was not integral.
#define FP_DEFINE_INTEGRAL(x, Real, Type)                                                                 \
  static inline bool fp_rounded_##x(Real *r, unsigned rm)                                                 \
  {                                                                                                       \
    if (rm == FP_RTZ) return true;                                                                        \
    if (rm > FP_RUP || !(fp_host & FP_HOST_SSE41)) return false;                                          \
    if (rm == FP_RNE) asm volatile("rounds" #x " $8, %0, %0" : "+x"(r->real));                            \
    else if (rm == FP_RDN) asm volatile("rounds" #x " $9, %0, %0" : "+x"(r->real));                       \
    else asm volatile("rounds" #x " $10, %0, %0" : "+x"(r->real));                                        \
    return true;                                                                                          \
  }                                                                                                       \
  static inline int32_t fp_trunc_w_##x(Type r)                                                            \
  {                                                                                                       \
    int32_t n;                                                                                            \
    asm volatile("cvtts" #x "2si %1, %0" : "=r"(n) : "x"(r));                                             \
    return n;                                                                                             \
  }                                                                                                       \
  static inline int64_t fp_trunc_l_##x(Type r)                                                            \
  {                                                                                                       \
    int64_t n;                                                                                            \
    asm volatile("cvtts" #x "2si %1, %0" : "=r"(n) : "x"(r));                                             \
    return n;                                                                                             \
  }

#define FP_DEFINE_TO_SIGNED(to, x, Bits, Real, Int, least, TO)                                            \
  static inline uint64_t fp_cvt_##to##_##x(Bits a, unsigned rm)                                           \
  {                                                                                                       \
    Real y = {a}, r = {a};                                                                                \
    if (!fp_rounded_##x(&r, rm)) return fp_to_int_##x(a, rm, TO);                                         \
    Int n = fp_trunc_##to##_##x(r.real);                                                                  \
    if (__builtin_expect(n == (least), 0)) return fp_to_int_##x(a, rm, TO);                               \
    if (rm != FP_RTZ) fp_trunc_##to##_##x(y.real);                                                        \
    return (uint64_t)(int64_t)n;                                                                          \
  }

// limit: the bits of 2^32 or 2^63; negative numbers and NaNs compare above it. [2^63, 2^64) is left to the
// slow path.
#define FP_DEFINE_TO_UNSIGNED(to, x, Bits, Real, Int, limit, TO)                                          \
  static inline uint64_t fp_cvt_##to##_##x(Bits a, unsigned rm)                                           \
  {                                                                                                       \
    Real y = {a}, r = {a};                                                                                \
    if (!fp_rounded_##x(&r, rm)) return fp_to_int_##x(a, rm, TO);                                         \
    if (__builtin_expect(r.bits >= (limit), 0)) return fp_to_int_##x(a, rm, TO);                          \
    int64_t n = fp_trunc_l_##x(r.real);                                                                   \
    if (rm != FP_RTZ) fp_trunc_l_##x(y.real);                                                             \
    return (uint64_t)(int64_t)(Int)n;                                                                     \
  }

// -- From integer and between formats --------------------------------------------------------------

// The xorps cut the dependency on the register's old upper half.
#define FP_DEFINE_FROM_INT(x, Bits, Real)                                                                 \
  static inline Bits fp_cvt_##x##_w(uint64_t n)                                                           \
  {                                                                                                       \
    Real r;                                                                                               \
    asm volatile("xorps %0, %0\n\tcvtsi2s" #x "l %k1, %0" : "=x"(r.real) : "r"(n));                       \
    return r.bits;                                                                                        \
  }                                                                                                       \
  static inline Bits fp_cvt_##x##_l(uint64_t n)                                                           \
  {                                                                                                       \
    Real r;                                                                                               \
    asm volatile("xorps %0, %0\n\tcvtsi2s" #x "q %1, %0" : "=x"(r.real) : "r"(n));                        \
    return r.bits;                                                                                        \
  }                                                                                                       \
  static inline Bits fp_cvt_##x##_wu(uint64_t n)                                                          \
  {                                                                                                       \
    return fp_cvt_##x##_l((uint32_t)n);                                                                   \
  }                                                                                                       \
  static inline Bits fp_cvt_##x##_lu(uint64_t n)                                                          \
  {                                                                                                       \
    if (__builtin_expect((int64_t)n >= 0, 1)) return fp_cvt_##x##_l(n);                                   \
    Real r = {fp_cvt_##x##_l(n >> 1 | (n & 1))};                                                          \
    asm volatile("adds" #x " %0, %0" : "+x"(r.real));                                                     \
    return r.bits;                                                                                        \
  }

#define FP_DEFINE_CONVERT(to, from, Bits, Real, FromBits, FromReal, canon)                                \
  static inline Bits fp_cvt_##to##_##from(FromBits a)                                                     \
  {                                                                                                       \
    FromReal y = {a};                                                                                     \
    Real r;                                                                                               \
    bool nan;                                                                                             \
    asm volatile("xorps %0, %0\n\tcvts" #from "2s" #to " %2, %0\n\tucomis" #to " %0, %0"                 \
                 : "=&x"(r.real), "=@ccp"(nan) : "x"(y.real));                                            \
    return __builtin_expect(nan, 0) ? (canon) : r.bits;                                                   \
  }

// -- The two formats -------------------------------------------------------------------------------
//
// inf, least, quiet: the bits of infinity, of the smallest normal number, and the bit of a quiet NaN; two32, two63: the bits of 2^32
// and 2^63.
#define FP_DEFINE_FORMAT(x, Bits, Real, Type, canon, inf, least, quiet, two32, two63)                     \
  FP_DEFINE_BINARY(add, x, Bits, Real, canon)                                                             \
  FP_DEFINE_BINARY(sub, x, Bits, Real, canon)                                                             \
  FP_DEFINE_BINARY(mul, x, Bits, Real, canon)                                                             \
  FP_DEFINE_BINARY(div, x, Bits, Real, canon)                                                             \
  FP_DEFINE_SQRT(x, Bits, Real, canon)                                                                    \
  FP_DEFINE_MADD(x, Bits, Real)                                                                           \
  FP_DEFINE_PICK(min, x, Bits, Real, "b", |)                                                              \
  FP_DEFINE_PICK(max, x, Bits, Real, "a", &)                                                              \
  FP_DEFINE_COMPARE(x, Bits, Real)                                                                        \
  FP_DEFINE_CLASS(x, Bits, inf, least, quiet)                                                             \
  FP_DEFINE_INTEGRAL(x, Real, Type)                                                                       \
  FP_DEFINE_TO_SIGNED(w, x, Bits, Real, int32_t, INT32_MIN, FP_TO_W)                                      \
  FP_DEFINE_TO_SIGNED(l, x, Bits, Real, int64_t, INT64_MIN, FP_TO_L)                                      \
  FP_DEFINE_TO_UNSIGNED(wu, x, Bits, Real, int32_t, two32, FP_TO_WU)                                      \
  FP_DEFINE_TO_UNSIGNED(lu, x, Bits, Real, int64_t, two63, FP_TO_LU)                                      \
  FP_DEFINE_FROM_INT(x, Bits, Real)

FP_DEFINE_FORMAT(s, uint32_t, FpS, float, FP_CANON_S, 0x7f800000u, 0x00800000u, 0x00400000u, 0x4f800000u, 0x5f000000u)
FP_DEFINE_FORMAT(d, uint64_t, FpD, double, FP_CANON_D, 0x7ff0000000000000u, 0x0010000000000000u, 0x0008000000000000u,
                 0x41f0000000000000u, 0x43e0000000000000u)
FP_DEFINE_CONVERT(s, d, uint32_t, FpS, uint64_t, FpD, FP_CANON_S)
FP_DEFINE_CONVERT(d, s, uint64_t, FpD, uint32_t, FpS, FP_CANON_D)
// clang-format on

#undef FP_DEFINE_BINARY
#undef FP_DEFINE_SQRT
#undef FP_DEFINE_MADD
#undef FP_DEFINE_PICK
#undef FP_DEFINE_COMPARE
#undef FP_DEFINE_CLASS
#undef FP_DEFINE_INTEGRAL
#undef FP_DEFINE_TO_SIGNED
#undef FP_DEFINE_TO_UNSIGNED
#undef FP_DEFINE_FROM_INT
#undef FP_DEFINE_CONVERT
#undef FP_DEFINE_FORMAT
