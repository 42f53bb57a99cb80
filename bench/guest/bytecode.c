// bytecode: a register machine with one switch, counting the steps of Collatz sequences: indirect jumps that are hard to guess.
// SPDX-License-Identifier: MIT
#include "common.h"

enum { HALT, SET, MOVE, ADD, ADDI, SHR, ANDI, MUL3, JUMP, JUMP_IF, JUMP_LESS };

typedef struct { uint8_t op, a, b, c; int32_t imm; } Insn;

enum { N, X, STEPS, BEST, LIMIT, BIT, ONE, TOTAL, REGISTERS };

static const Insn program[] = {
  { SET, N, 0, 0, 1 },                 //  0
  { SET, BEST, 0, 0, 0 },              //  1
  { SET, ONE, 0, 0, 1 },               //  2
  { SET, TOTAL, 0, 0, 0 },             //  3
  { MOVE, X, N, 0, 0 },                //  4  next number
  { SET, STEPS, 0, 0, 0 },             //  5
  { JUMP_LESS, 0, ONE, X, 8 },         //  6  while x > 1
  { JUMP, 0, 0, 0, 15 },               //  7
  { ANDI, BIT, X, 0, 1 },              //  8
  { JUMP_IF, 0, BIT, 0, 12 },          //  9
  { SHR, X, X, 0, 1 },                 // 10
  { JUMP, 0, 0, 0, 13 },               // 11
  { MUL3, X, X, 0, 1 },                // 12
  { ADDI, STEPS, STEPS, 0, 1 },        // 13
  { JUMP, 0, 0, 0, 6 },                // 14
  { ADD, TOTAL, TOTAL, STEPS, 0 },     // 15
  { JUMP_LESS, 0, BEST, STEPS, 18 },   // 16
  { JUMP, 0, 0, 0, 19 },               // 17
  { MOVE, BEST, STEPS, 0, 0 },         // 18
  { ADDI, N, N, 0, 1 },                // 19
  { JUMP_LESS, 0, N, LIMIT, 4 },       // 20
  { HALT, 0, 0, 0, 0 },                // 21
};

static void run(const Insn *code, int64_t *r)
{
  for (const Insn *ip = code;;) {
    const Insn *i = ip++;
    switch (i->op) {
    case HALT:      return;
    case SET:       r[i->a] = i->imm; break;
    case MOVE:      r[i->a] = r[i->b]; break;
    case ADD:       r[i->a] = r[i->b] + r[i->c]; break;
    case ADDI:      r[i->a] = r[i->b] + i->imm; break;
    case SHR:       r[i->a] = r[i->b] >> i->imm; break;
    case ANDI:      r[i->a] = r[i->b] & i->imm; break;
    case MUL3:      r[i->a] = 3 * r[i->b] + i->imm; break;
    case JUMP:      ip = code + i->imm; break;
    case JUMP_IF:   if (r[i->b]) ip = code + i->imm; break;
    case JUMP_LESS: if (r[i->b] < r[i->c]) ip = code + i->imm; break;
    }
  }
}

uint64_t kernel(uint64_t repeat)
{
  static const Insn *volatile code = program;      // volatile: the compiler must not run the program
  uint64_t sum = FOLD_START;
  int64_t r[REGISTERS] = { 0 };
  while (repeat--) {
    r[LIMIT] = 3000;
    run(code, r);
    sum = fold(fold(sum, (uint64_t)r[BEST]), (uint64_t)r[TOTAL]);
  }
  return sum;
}
