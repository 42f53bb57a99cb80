// asm: an encoder of x86-64 that reads like assembly: x64_add_rr(as, W8, RAX, RBX), x64_mov_rm(as, W4, RCX, x64_mem(RBP, 16)).
// SPDX-License-Identifier: MIT
//
// One function for each row of forms.h; a suffix says the operands: r register, m memory, i immediate, c count in cl, x XMM.
// The first operand is written. Bytes go to a buffer; when it is full as->full is set and nothing more is written. asm knows
// no guest. (Intel SDM volume 2, chapter 2 and appendix A.)
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef enum Reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, REG_NONE } Reg;
typedef uint8_t Xmm;                     // 0 to 15
typedef enum Width { W1 = 1, W2 = 2, W4 = 4, W8 = 8 } Width;
typedef enum Cond { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G } Cond;

typedef enum Feature {
  FEATURE_BASE, FEATURE_SSE41, FEATURE_POPCNT, FEATURE_LZCNT, FEATURE_BMI1, FEATURE_BMI2, FEATURE_MOVBE, FEATURE_AVX, FEATURE_FMA, FEATURE_AVX2, FEATURES
} Feature;
uint32_t x64_features(void);             // bits of what this host has, asked once

typedef struct Asm {
  uint8_t *start, *at, *end;
  bool     full;
} Asm;

typedef struct Mem {
  Reg     base, index;                   // REG_NONE: none; RSP is no index
  uint8_t scale;                         // log2: 0 to 3
  int32_t disp;
} Mem;

static inline Mem x64_mem(Reg base, int32_t disp) { return (Mem){ base, REG_NONE, 0, disp }; }
static inline Mem x64_index(Reg base, Reg index, unsigned scale, int32_t disp) { return (Mem){ base, index, (uint8_t)scale, disp }; }

static inline void x64_bytes(Asm *as, uint64_t value, unsigned count)
{
  if (as->end - as->at < (long)count) {
    as->full = true;
    return;
  }
  memcpy(as->at, &value, count);
  as->at += count;
}

static inline void x64_byte(Asm *as, unsigned value)
{
  if (as->at == as->end) as->full = true;
  else *as->at++ = (uint8_t)value;
}

// The lowest `count` of eight.
static inline void x64_some(Asm *as, uint64_t bytes, unsigned count)
{
  if (as->end - as->at < 8) {
    as->full = true;
    return;
  }
  memcpy(as->at, &bytes, 8);
  as->at += count;
}

// What a row says, as one argument.
typedef struct X64Code {
  uint8_t prefix, map, opcode, ext;
} X64Code;

// Encoding (asm.c): reg is the field in modrm; rm a register or `mem`; bytes: width of byte registers that need REX to be named.
void x64_modrm_reg(Asm *as, X64Code code, unsigned width, unsigned reg, unsigned rm, unsigned byte_regs);
void x64_modrm_mem(Asm *as, X64Code code, unsigned width, unsigned reg, Mem mem, unsigned byte_regs);
void x64_short(Asm *as, X64Code code, unsigned width, unsigned reg);                                      // the register lies in the opcode
void x64_vex(Asm *as, X64Code code, bool w, unsigned reg, unsigned second, unsigned rm);
void x64_immediate(Asm *as, unsigned width, int32_t k);

enum { BYTE_REG = 1, BYTE_RM = 2 };

// One encoder a shape: what the functions of the rows call, and x64_any by name.
#define SHAPE(name, ...) static inline void x64_shape_##name(Asm *as, X64Code code, ##__VA_ARGS__)
static inline unsigned x64_byte_regs(Width w) { return w == W1 ? BYTE_REG | BYTE_RM : 0; }
static inline unsigned x64_byte_rm(Width w) { return w == W1 ? BYTE_RM : 0; }       // reg holds a digit
static inline bool x64_is_byte(int64_t k) { return k >= -128 && k <= 127; }

SHAPE(RR, Width w, Reg dst, Reg src) { x64_modrm_reg(as, code, w, src, dst, x64_byte_regs(w)); }
SHAPE(RV, Width w, Reg dst, Reg src) { x64_modrm_reg(as, code, w, dst, src, 0); }
SHAPE(RV1, Width w, Reg dst, Reg src) { x64_modrm_reg(as, code, w, dst, src, BYTE_RM); }
SHAPE(RV2, Width w, Reg dst, Reg src) { x64_modrm_reg(as, code, w, dst, src, 0); }
SHAPE(RV4, Width w, Reg dst, Reg src) { x64_modrm_reg(as, code, w, dst, src, 0); }
SHAPE(RM, Width w, Reg dst, Mem m) { x64_modrm_mem(as, code, w, dst, m, x64_byte_regs(w)); }
SHAPE(RM1, Width w, Reg dst, Mem m) { x64_modrm_mem(as, code, w, dst, m, 0); }
SHAPE(RM2, Width w, Reg dst, Mem m) { x64_modrm_mem(as, code, w, dst, m, 0); }
SHAPE(RM4, Width w, Reg dst, Mem m) { x64_modrm_mem(as, code, w, dst, m, 0); }
SHAPE(MR, Width w, Mem m, Reg src) { x64_modrm_mem(as, code, w, src, m, x64_byte_regs(w)); }
// k: a byte where it fits, which has an opcode of its own (83), else as wide as w, at most 4 bytes.
SHAPE(RI, Width w, Reg dst, int32_t k)
{
  bool is_short = w != W1 && x64_is_byte(k);
  if (is_short) code.opcode = 0x83;
  x64_modrm_reg(as, code, w, code.ext, dst, x64_byte_rm(w));
  x64_immediate(as, is_short ? 1 : w, k);
}
SHAPE(MI, Width w, Mem m, int32_t k)
{
  bool is_short = w != W1 && x64_is_byte(k);
  if (is_short) code.opcode = 0x83;
  x64_modrm_mem(as, code, w, code.ext, m, 0);
  x64_immediate(as, is_short ? 1 : w, k);
}
SHAPE(RK, Width w, Reg dst, int32_t k)
{
  x64_modrm_reg(as, code, w, code.ext, dst, x64_byte_rm(w));
  x64_immediate(as, w, k);
}
SHAPE(MK, Width w, Mem m, int32_t k)
{
  x64_modrm_mem(as, code, w, code.ext, m, 0);
  x64_immediate(as, w, k);
}
SHAPE(OK, Width w, Reg dst, uint64_t k)
{
  x64_short(as, code, w, dst);
  x64_bytes(as, k, 8);
}
SHAPE(RVK, Width w, Reg dst, Reg src, int32_t k)
{
  if (x64_is_byte(k)) code.opcode = 0x6b;
  x64_modrm_reg(as, code, w, dst, src, 0);
  x64_immediate(as, x64_is_byte(k) ? 1 : w, k);
}
SHAPE(R, Width w, Reg dst) { x64_modrm_reg(as, code, w, code.ext, dst, x64_byte_rm(w)); }
SHAPE(RC, Width w, Reg dst) { x64_modrm_reg(as, code, w, code.ext, dst, x64_byte_rm(w)); }
SHAPE(R4, Reg dst) { x64_modrm_reg(as, code, W4, code.ext, dst, 0); }          // 64 bits without REX.W
SHAPE(R8, Width w, Reg dst, unsigned k)
{
  x64_modrm_reg(as, code, w, code.ext, dst, x64_byte_rm(w));
  x64_byte(as, k);
}
SHAPE(M, Mem m) { x64_modrm_mem(as, code, W4, code.ext, m, 0); }
SHAPE(O, Width w, Reg dst) { x64_short(as, code, w, dst); }
SHAPE(O4, Reg dst) { x64_short(as, code, W4, dst); }
SHAPE(NW, Width w) { x64_short(as, code, w, 0); }
SHAPE(N) { x64_short(as, code, W4, 0); }
SHAPE(CR, Cond cc, Reg dst)
{
  code.opcode += (uint8_t)cc;
  x64_modrm_reg(as, code, W4, 0, dst, BYTE_RM);
}
SHAPE(CRV, Cond cc, Width w, Reg dst, Reg src)
{
  code.opcode += (uint8_t)cc;
  x64_modrm_reg(as, code, w, dst, src, 0);
}
SHAPE(XX, Xmm dst, Xmm src) { x64_modrm_reg(as, code, W4, dst, src, 0); }
SHAPE(XX8, Xmm dst, Xmm src, unsigned k)
{
  x64_modrm_reg(as, code, W4, dst, src, 0);
  x64_byte(as, k);
}
SHAPE(XM, Xmm dst, Mem m) { x64_modrm_mem(as, code, W4, dst, m, 0); }
SHAPE(MX, Mem m, Xmm src) { x64_modrm_mem(as, code, W4, src, m, 0); }
SHAPE(XR, Width w, Xmm dst, Reg src) { x64_modrm_reg(as, code, w, dst, src, 0); }
SHAPE(RX, Width w, Reg dst, Xmm src) { x64_modrm_reg(as, code, w, dst, src, 0); }
SHAPE(MXR, Width w, Reg dst, Xmm src) { x64_modrm_reg(as, code, w, src, dst, 0); }
SHAPE(VRMV, Width w, Reg dst, Reg src, Reg count) { x64_vex(as, code, w == W8, dst, count, src); }
SHAPE(VRVM, Width w, Reg dst, Reg second, Reg src) { x64_vex(as, code, w == W8, dst, second, src); }
SHAPE(VRM8, Width w, Reg dst, Reg src, unsigned k)
{
  x64_vex(as, code, w == W8, dst, 0, src);
  x64_byte(as, k);
}
SHAPE(VXXX, Xmm dst, Xmm a, Xmm b) { x64_vex(as, code, code.ext, dst, a, b); }
#undef SHAPE

// Parameters and arguments of the shapes; then the function of every row.
// clang-format off
#define P_RR    (Asm *as, Width w, Reg dst, Reg src)
#define A_RR    (as, code, w, dst, src)
#define P_RV    (Asm *as, Width w, Reg dst, Reg src)
#define A_RV    (as, code, w, dst, src)
#define P_RV1   (Asm *as, Width w, Reg dst, Reg src)
#define A_RV1   (as, code, w, dst, src)
#define P_RV2   (Asm *as, Width w, Reg dst, Reg src)
#define A_RV2   (as, code, w, dst, src)
#define P_RV4   (Asm *as, Width w, Reg dst, Reg src)
#define A_RV4   (as, code, w, dst, src)
#define P_RM    (Asm *as, Width w, Reg dst, Mem m)
#define A_RM    (as, code, w, dst, m)
#define P_RM1   (Asm *as, Width w, Reg dst, Mem m)
#define A_RM1   (as, code, w, dst, m)
#define P_RM2   (Asm *as, Width w, Reg dst, Mem m)
#define A_RM2   (as, code, w, dst, m)
#define P_RM4   (Asm *as, Width w, Reg dst, Mem m)
#define A_RM4   (as, code, w, dst, m)
#define P_MR    (Asm *as, Width w, Mem m, Reg src)
#define A_MR    (as, code, w, m, src)
#define P_RI    (Asm *as, Width w, Reg dst, int32_t k)
#define A_RI    (as, code, w, dst, k)
#define P_RK    (Asm *as, Width w, Reg dst, int32_t k)
#define A_RK    (as, code, w, dst, k)
#define P_MI    (Asm *as, Width w, Mem m, int32_t k)
#define A_MI    (as, code, w, m, k)
#define P_MK    (Asm *as, Width w, Mem m, int32_t k)
#define A_MK    (as, code, w, m, k)
#define P_OK    (Asm *as, Width w, Reg dst, uint64_t k)
#define A_OK    (as, code, w, dst, k)
#define P_RVK   (Asm *as, Width w, Reg dst, Reg src, int32_t k)
#define A_RVK   (as, code, w, dst, src, k)
#define P_R     (Asm *as, Width w, Reg dst)
#define A_R     (as, code, w, dst)
#define P_RC    (Asm *as, Width w, Reg dst)
#define A_RC    (as, code, w, dst)
#define P_O     (Asm *as, Width w, Reg dst)
#define A_O     (as, code, w, dst)
#define P_R4    (Asm *as, Reg dst)
#define A_R4    (as, code, dst)
#define P_O4    (Asm *as, Reg dst)
#define A_O4    (as, code, dst)
#define P_R8    (Asm *as, Width w, Reg dst, unsigned k)
#define A_R8    (as, code, w, dst, k)
#define P_M     (Asm *as, Mem m)
#define A_M     (as, code, m)
#define P_NW    (Asm *as, Width w)
#define A_NW    (as, code, w)
#define P_CR    (Asm *as, Cond cc, Reg dst)
#define A_CR    (as, code, cc, dst)
#define P_CRV   (Asm *as, Cond cc, Width w, Reg dst, Reg src)
#define A_CRV   (as, code, cc, w, dst, src)
#define P_XX    (Asm *as, Xmm dst, Xmm src)
#define A_XX    (as, code, dst, src)
#define P_XX8   (Asm *as, Xmm dst, Xmm src, unsigned k)
#define A_XX8   (as, code, dst, src, k)
#define P_XM    (Asm *as, Xmm dst, Mem m)
#define A_XM    (as, code, dst, m)
#define P_MX    (Asm *as, Mem m, Xmm src)
#define A_MX    (as, code, m, src)
#define P_XR    (Asm *as, Width w, Xmm dst, Reg src)
#define A_XR    (as, code, w, dst, src)
#define P_RX    (Asm *as, Width w, Reg dst, Xmm src)
#define A_RX    (as, code, w, dst, src)
#define P_MXR   (Asm *as, Width w, Reg dst, Xmm src)
#define A_MXR   (as, code, w, dst, src)
#define P_VRMV  (Asm *as, Width w, Reg dst, Reg src, Reg count)
#define A_VRMV  (as, code, w, dst, src, count)
#define P_VRVM  (Asm *as, Width w, Reg dst, Reg second, Reg src)
#define A_VRVM  (as, code, w, dst, second, src)
#define P_VRM8  (Asm *as, Width w, Reg dst, Reg src, unsigned k)
#define A_VRM8  (as, code, w, dst, src, k)
#define P_VXXX  (Asm *as, Xmm dst, Xmm a, Xmm b)
#define A_VXXX  (as, code, dst, a, b)
#define P_N     (Asm *as)
#define A_N     (as, code)
#define X64(name, SHAPE, prefix, map, opcode, ext, widths, feature) \
  static inline void x64_##name P_##SHAPE \
  { \
    const X64Code code = { prefix, map, opcode, ext }; \
    x64_shape_##SHAPE A_##SHAPE; \
  }
#include "jit/x64/forms.h"
#undef X64
// clang-format on

// Jumps. A site is where a rel32 lies; x64_bind makes it lead to where the next byte goes. NULL is none.
typedef uint8_t *Site;
Site x64_jmp(Asm *as);
Site x64_jcc(Asm *as, Cond cc);
Site x64_call(Asm *as);
void x64_bind(Asm *as, Site site);
void x64_patch(Site site, const uint8_t *target);       // both addresses in the same mapping
static inline Cond x64_not(Cond cc) { return (Cond)(cc ^ 1); }

// k into dst by the shortest way; flags are kept.
void x64_load_constant(Asm *as, Reg dst, uint64_t k);
