// fault: how C refuses, and how it stops at a bug.
// SPDX-License-Identifier: MIT
#include "base/fault.h"
#include "base/check.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int fault_set(struct um_fault *why, int status, const char *format, ...)
{
  if (why) {
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    why->status = status;
  }
  return status;
}

void check_failed(const char *file, int line, const char *text, uint64_t a, uint64_t b)
{
  fprintf(stderr, "umbra: bug: %s:%d: %s (%#llx, %#llx)\n", file, line, text, (unsigned long long)a, (unsigned long long)b);
  abort();
}

UM_EXPORT const char *um_version(void)
{
  return UMBRA_VERSION;
}
