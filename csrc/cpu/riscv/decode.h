// decode: what the generated decoder gives, and what is known of every op.
// SPDX-License-Identifier: MIT
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "riscv_ops.h"

// Operands in the slots that lua/umbra/isa.lua chose. A destination x0 is 32.
typedef struct Decoded {
  uint8_t a, b, c, d;
  int32_t imm;
  uint8_t length;          // bytes, 2 or 4
} Decoded;

enum { OPF_DIRECT = 1, OPF_ENDS = 2, OPF_STATE = 4 };   // has a link; nothing after it in a block; calls C that may change anything

typedef struct OpSlot { uint8_t slot; char file; } OpSlot;

typedef struct OpInfo {
  const char *name;
  uint8_t flags, accesses, width, sources;      // OPF_*; memory accesses; slots in a block; source registers
  OpSlot  destination, source[3];               // slot 0 to 3 (a to d); file 'x', 'f' or 0
  uint8_t pc_slot, next_slot;                   // 1 + slot that wants the place of this or the next instruction, 0: none
} OpInfo;

typedef struct Encoding {
  uint16_t op;
  const char *name, *operands;                  // operands: \1, kind, field id + 1 (dis.c)
  bool ordered;                                 // has aq and rl
} Encoding;

extern const OpInfo riscv_ops[OPS_ALL];
extern const Encoding riscv_encodings[ENCODINGS];

unsigned riscv_decode(uint32_t word, uint64_t extensions, Decoded *d);   // encoding, 0: none; sets d->length always
int32_t  riscv_field(unsigned id, uint32_t word);
