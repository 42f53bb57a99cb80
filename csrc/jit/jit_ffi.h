// jit: host code at the border.
// SPDX-License-Identifier: MIT
#pragma once

// Translation of blocks of IR.
typedef struct um_jit um_jit;

enum { UM_CODE_DUAL, UM_CODE_PRIVATE };  // backings of code memory: docs/jit.md

struct um_jit_options {
  uint64_t size;                         // bytes of code memory
  int      backing;                      // UM_CODE_*
  uint32_t bias;                         // the state's register points so far into it
  uint32_t features;                     // bits in the order of um_jit_feature that may be used
};

struct um_jit_counts {
  uint64_t blocks, bytes, instructions;  // translated: blocks, host bytes, guest instructions
  uint64_t size, used;                   // code memory
  int      backing;
};

um_jit *um_jit_new(const um_ir_guest *guest, const struct um_jit_options *options, struct um_fault *why);
void    um_jit_free(um_jit *jit);
const char *um_jit_notice(const um_jit *jit);                            // a line to tell the user, or ""
// A slot that lives in a register ("rbx", "xmm3") while code runs. Before the first translation.
int     um_jit_pin(um_jit *jit, uint32_t row, uint32_t element, const char *reg, struct um_fault *why);
// The block at guest address pc, as host code: a number for um_jit_run. UM_EINVAL: what cannot be translated.
int64_t um_jit_translate(um_jit *jit, const um_ir *ir, uint64_t pc, struct um_fault *why);
int64_t um_jit_bytes(const um_jit *jit, int64_t code, uint8_t *to, uint64_t size, struct um_fault *why);   // its length, what fits of it
// One run of a block; exit as um_ir_eval has it.
int     um_jit_run(um_jit *jit, int64_t code, const struct um_ir_world *world, struct um_ir_exit *exit, struct um_fault *why);
void    um_jit_counts(const um_jit *jit, struct um_jit_counts *counts);
