// asm: prefixes, modrm, SIB and VEX; and rows by number, for Lua.
// SPDX-License-Identifier: MIT
#include "jit/x64/asm.h"
#include "base/check.h"
#include "base/fault.h"
#include "jit/x64/x64_ffi.h"
#include <cpuid.h>

uint32_t x64_features(void)
{
  static uint32_t known;
  if (known) return known;
  uint32_t a, b, c, d, c1 = 0, b7 = 0, c8 = 0, found = 1u << FEATURE_BASE;
  if (__get_cpuid(1, &a, &b, &c, &d)) c1 = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) b7 = b;
  if (__get_cpuid(0x80000001, &a, &b, &c, &d)) c8 = c;
  bool avx = c1 >> 28 & c1 >> 27 & 1;
  if (avx) {                                       // the host's kernel must save the upper halves
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    avx = (low & 6) == 6;
  }
  found |= (c1 >> 19 & 1) << FEATURE_SSE41 | (c1 >> 23 & 1) << FEATURE_POPCNT | (c8 >> 5 & 1) << FEATURE_LZCNT | (c1 >> 22 & 1) << FEATURE_MOVBE;
  found |= (uint32_t)avx << FEATURE_AVX;
  if (avx) found |= (b7 >> 3 & 1) << FEATURE_BMI1 | (b7 >> 8 & 1) << FEATURE_BMI2 | (c1 >> 12 & 1) << FEATURE_FMA | (b7 >> 5 & 1) << FEATURE_AVX2;
  return known = found;
}

// Prefixes, REX and opcode. reg, index and base: registers whose fourth bit REX holds. byte: spl to dil are named.
static void opcode(Asm *as, X64Code code, unsigned width, unsigned reg, unsigned index, unsigned base, bool byte)
{
  unsigned rex = (width == 8) << 3 | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1);
  uint64_t bytes = 0;
  unsigned n = 0;
  if (width == 2) bytes = 0x66, n = 8;
  if (code.prefix) bytes |= (uint64_t)code.prefix << n, n += 8;
  if (rex || byte) bytes |= (uint64_t)(0x40 | rex) << n, n += 8;
  if (code.map) bytes |= (uint64_t)0x0f << n, n += 8;
  if (code.map > 1) bytes |= (uint64_t)(code.map == 2 ? 0x38 : 0x3a) << n, n += 8;
  bytes |= (uint64_t)(uint8_t)(code.opcode - (width == 1)) << n;
  x64_some(as, bytes, n / 8 + 1);
}

void x64_modrm_reg(Asm *as, X64Code code, unsigned width, unsigned reg, unsigned rm, unsigned byte_regs)
{
  bool byte = (byte_regs & BYTE_REG && reg >= 4) || (byte_regs & BYTE_RM && rm >= 4);
  opcode(as, code, width, reg, 0, rm, byte);
  x64_byte(as, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

// A base rbp or r13 needs a displacement, rsp or r12 a SIB; without a base there are four bytes of it.
void x64_modrm_mem(Asm *as, X64Code code, unsigned width, unsigned reg, Mem m, unsigned byte_regs)
{
  debug_check(m.index != RSP);
  bool has_base = m.base != REG_NONE, has_index = m.index != REG_NONE, sib = has_index || !has_base || (m.base & 7) == RSP;
  opcode(as, code, width, reg, has_index ? m.index : 0, has_base ? m.base : 0, byte_regs & BYTE_REG && reg >= 4);
  unsigned mod = !has_base ? 0 : m.disp == 0 && (m.base & 7) != RBP ? 0 : x64_is_byte(m.disp) ? 1 : 2;
  x64_byte(as, mod << 6 | (reg & 7) << 3 | (sib ? 4 : m.base & 7));
  if (sib) x64_byte(as, (unsigned)m.scale << 6 | (has_index ? m.index & 7 : 4) << 3 | (has_base ? m.base & 7 : 5));
  if (mod == 1) x64_byte(as, (uint8_t)m.disp);
  if (mod == 2 || !has_base) x64_bytes(as, (uint32_t)m.disp, 4);
}

void x64_short(Asm *as, X64Code code, unsigned width, unsigned reg)
{
  X64Code whole = code;
  whole.opcode = (uint8_t)(code.opcode + (reg & 7));
  opcode(as, whole, width, 0, 0, reg, false);
}

void x64_vex(Asm *as, X64Code code, bool w, unsigned reg, unsigned second, unsigned rm)
{
  unsigned pp = code.prefix == 0x66 ? 1 : code.prefix == 0xf3 ? 2 : code.prefix == 0xf2 ? 3 : 0;
  unsigned not_r = (~reg >> 3 & 1) << 7, not_second = (~second & 15) << 3;
  if (code.map == 1 && !w && rm < 8) {
    x64_byte(as, 0xc5);
    x64_byte(as, not_r | not_second | pp);
  } else {
    x64_byte(as, 0xc4);
    x64_byte(as, not_r | 0x40 | (~rm >> 3 & 1) << 5 | code.map);
    x64_byte(as, (unsigned)w << 7 | not_second | pp);
  }
  x64_byte(as, code.opcode);
  x64_byte(as, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

void x64_immediate(Asm *as, unsigned width, int32_t k)
{
  x64_bytes(as, (uint32_t)k, width > 4 ? 4 : width);
}

// A rel32 that leads nowhere yet.
static Site rel32(Asm *as)
{
  x64_bytes(as, 0, 4);
  return as->full ? NULL : as->at - 4;
}

Site x64_jmp(Asm *as)
{
  x64_byte(as, 0xe9);
  return rel32(as);
}

Site x64_call(Asm *as)
{
  x64_byte(as, 0xe8);
  return rel32(as);
}

Site x64_jcc(Asm *as, Cond cc)
{
  x64_byte(as, 0x0f);
  x64_byte(as, 0x80u | cc);
  return rel32(as);
}

void x64_patch(Site site, const uint8_t *target)
{
  int32_t distance = (int32_t)(target - (site + 4));
  memcpy(site, &distance, 4);
}

void x64_bind(Asm *as, Site site)
{
  if (!as->full && site) x64_patch(site, as->at);
}

void x64_load_constant(Asm *as, Reg dst, uint64_t k)
{
  if (k <= UINT32_MAX) {                           // mov r32, imm32: five bytes, zeros above
    x64_short(as, (X64Code){ 0, 0, 0xb8, 0 }, W4, dst);
    x64_bytes(as, k, 4);
  } else if ((int64_t)k >= INT32_MIN && (int64_t)k < 0) {
    x64_mov_ri(as, W8, dst, (int32_t)k);
  } else {
    x64_movabs_ri(as, W8, dst, k);
  }
}

// Rows by number ------------------------------------------------------------------------------------

typedef struct Form {
  const char *name, *shape;
  X64Code code;
  uint8_t widths, feature;
  void (*emit)(Asm *as, X64Code code, const struct um_x64_operands *o);
} Form;

#define w   ((Width)o->width)
#define dst ((Reg)o->a)
#define src ((Reg)o->b)
#define count ((Reg)o->c)
#define second ((Reg)o->b)
#define cc  ((Cond)o->cond)
#define k   ((int32_t)o->imm)
#define m   ((Mem){ (Reg)o->base, (Reg)o->index, o->scale, o->disp })
#define BY_NAME(SHAPE, ...) \
  static void any_##SHAPE(Asm *as, X64Code code, const struct um_x64_operands *o) { (void)o; x64_shape_##SHAPE(as, code, ##__VA_ARGS__); }
BY_NAME(RR, w, dst, src) BY_NAME(RV, w, dst, src) BY_NAME(RV1, w, dst, src) BY_NAME(RV2, w, dst, src) BY_NAME(RV4, w, dst, src)
BY_NAME(RM, w, dst, m) BY_NAME(RM1, w, dst, m) BY_NAME(RM2, w, dst, m) BY_NAME(RM4, w, dst, m) BY_NAME(MR, w, m, src)
BY_NAME(RI, w, dst, k) BY_NAME(RK, w, dst, k) BY_NAME(MI, w, m, k) BY_NAME(MK, w, m, k) BY_NAME(OK, w, dst, (uint64_t)o->imm) BY_NAME(RVK, w, dst, src, k)
BY_NAME(R, w, dst) BY_NAME(RC, w, dst) BY_NAME(O, w, dst) BY_NAME(R4, dst) BY_NAME(O4, dst) BY_NAME(R8, w, dst, (uint8_t)k) BY_NAME(M, m) BY_NAME(NW, w) BY_NAME(N)
BY_NAME(CR, cc, dst) BY_NAME(CRV, cc, w, dst, src) BY_NAME(XX, (Xmm)dst, (Xmm)src) BY_NAME(XX8, (Xmm)dst, (Xmm)src, (uint8_t)k) BY_NAME(XM, (Xmm)dst, m)
BY_NAME(MX, m, (Xmm)src) BY_NAME(XR, w, (Xmm)dst, src) BY_NAME(RX, w, dst, (Xmm)src) BY_NAME(MXR, w, dst, (Xmm)src)
BY_NAME(VRMV, w, dst, src, count) BY_NAME(VRVM, w, dst, second, count) BY_NAME(VRM8, w, dst, src, (uint8_t)k) BY_NAME(VXXX, (Xmm)dst, (Xmm)src, (Xmm)count)
#undef w
#undef dst
#undef src
#undef count
#undef second
#undef cc
#undef k
#undef m

static const Form forms[] = {
#define X64(name, SHAPE, prefix, map, opcode, ext, widths, feature) { #name, #SHAPE, { prefix, map, opcode, ext }, widths, FEATURE_##feature, any_##SHAPE },
#include "jit/x64/forms.h"
#undef X64
};
enum { FORMS = sizeof forms / sizeof forms[0] };

static const char *const feature_names[FEATURES] = { "base", "sse4.1", "popcnt", "lzcnt", "bmi1", "bmi2", "movbe", "avx", "fma", "avx2" };

UM_EXPORT const char *um_jit_feature(uint32_t index) { return index < FEATURES ? feature_names[index] : NULL; }
UM_EXPORT uint32_t um_jit_features(void) { return x64_features(); }

UM_EXPORT bool um_x64_form(uint32_t number, struct um_x64_form *form)
{
  if (number >= FORMS) return false;
  const Form *row = &forms[number];
  *form = (struct um_x64_form){ row->name, row->shape, feature_names[row->feature], row->widths, x64_features() >> row->feature & 1 };
  return true;
}

UM_EXPORT int um_x64_encode(uint32_t number, const struct um_x64_operands *o, uint8_t *to, struct um_fault *why)
{
  if (number >= FORMS) return fault_set(why, UM_EINVAL, "form %u does not exist", number);
  const Form *row = &forms[number];
  bool sized = row->widths != 0 && (row->widths & (row->widths - 1)) != 0;
  if (sized && (!(row->widths & o->width) || (o->width & (o->width - 1)))) return fault_set(why, UM_EINVAL, "%s: no operand of %u bytes", row->name, o->width);
  if (o->a > 15 || o->b > 15 || o->c > 15 || o->cond > 15) return fault_set(why, UM_EINVAL, "%s: registers and conditions are 0 to 15", row->name);
  if (o->base > REG_NONE || o->index > REG_NONE || o->index == RSP || o->scale > 3) return fault_set(why, UM_EINVAL, "%s: no such address", row->name);
  struct um_x64_operands given = *o;
  if (!sized && row->widths) given.width = row->widths;
  Asm as = { to, to, to + UM_X64_LONGEST, false };
  row->emit(&as, row->code, &given);
  check_values(!as.full, number, as.at - as.start);
  return (int)(as.at - as.start);
}
