// code: memory for host code, never writable and executable at one address.
// SPDX-License-Identifier: MIT
//
// `dual`: one memory file mapped twice, writable here and executable there: code is written while other code runs.
// `private`: one mapping that is flipped in batches: a forked child has its own copy. A host that forbids executable memory
// files gets the second, with a line that says so.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "ir/ir_ffi.h"
#include "jit/jit_ffi.h"

typedef struct CodeMemory {
  uint8_t *write, *run;                  // the same address when it is private
  size_t   size, used, touched;          // touched: pages that are there already
  int      backing;                      // UM_CODE_DUAL or UM_CODE_PRIVATE
  bool     open;                         // private: writable now
  char     notice[160];                  // why it is not what was asked for; empty otherwise
} CodeMemory;

int  code_init(CodeMemory *code, size_t size, int backing, struct um_fault *why);
// In a child of fork: memory of its own at the same addresses, with the first `kept` bytes. False: the host has none, and nothing is there.
bool code_renew(CodeMemory *code, size_t kept);
void code_fini(CodeMemory *code);
uint8_t *code_begin(CodeMemory *code);                     // where to write next; NULL: the host will not make it writable
// `bytes` written there are code now; returns where they run, NULL: the host will not make them executable.
uint8_t *code_commit(CodeMemory *code, size_t bytes);
bool code_open(CodeMemory *code);                          // what is there may be written; false: the host will not have it
bool code_close(CodeMemory *code);                         // and run again
static inline size_t code_left(const CodeMemory *code) { return code->size - code->used; }
