// main: runs a kernel as a guest program and compares its checksum with the host's.
//
// Built with -DREPEAT=n and -DEXPECTED=checksum. _start (start.S) calls main and hands what it returns to the host.
// SPDX-License-Identifier: MIT
#include "common.h"

// volatile: the work must not be computed by the compiler.
static volatile uint64_t repeat = REPEAT;

int main(void)
{
  return kernel(repeat) == EXPECTED ? 0 : 1;
}

// gcc calls these two by itself, whatever -ffreestanding says.
void *memcpy(void *to, const void *from, size_t size)
{
  char *t = to;
  const char *f = from;
  for (; size >= 8 && ((uintptr_t)t | (uintptr_t)f) % 8 == 0; size -= 8, t += 8, f += 8) *(uint64_t *)t = *(const uint64_t *)f;
  while (size--) *t++ = *f++;
  return to;
}

void *memset(void *to, int byte, size_t size)
{
  char *t = to;
  uint64_t word = 0x0101010101010101 * (uint8_t)byte;
  for (; size && (uintptr_t)t % 8; size--) *t++ = (char)byte;
  for (; size >= 8; size -= 8, t += 8) *(uint64_t *)t = word;
  while (size--) *t++ = (char)byte;
  return to;
}
