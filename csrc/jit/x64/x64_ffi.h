// x64: the encoder at the border.
// SPDX-License-Identifier: MIT
#pragma once

// An instruction of x86-64 that can be emitted (csrc/jit/x64/forms.h).
struct um_x64_form {
  const char *name, *shape, *feature;
  uint32_t widths;                       // sum of the bytes an operand may have; 0: none is sized
  bool     here;                         // this host has the feature
};

static const int UM_X64_LONGEST = 16;

struct um_x64_operands {
  uint32_t width;                        // bytes: 1, 2, 4, 8
  uint32_t a, b, c;                      // registers, 0 to 15: the one that is written, then the others
  uint32_t cond;                         // 0 to 15: o no b ae e ne be a s ns p np l ge le g
  uint32_t base, index;                  // of an address; 16: none
  int32_t  disp;
  uint8_t  scale;                        // log2
  int64_t  imm;
};

bool um_x64_form(uint32_t number, struct um_x64_form *form);                                 // false past the end
// Bytes of one instruction into `to` (UM_X64_LONGEST of them have room); returns how many.
int  um_x64_encode(uint32_t number, const struct um_x64_operands *operands, uint8_t *to, struct um_fault *why);

const char *um_jit_feature(uint32_t index);                              // "base", "sse4.1", ...; NULL past the end
uint32_t um_jit_features(void);                                          // bits: what this host has
