// check: invariants of our own; a broken one is a bug and aborts with its place and values.
// SPDX-License-Identifier: MIT
#pragma once
#include <stdint.h>

#ifndef UMBRA_VERSION
#define UMBRA_VERSION "0.1.0"
#endif

#define UM_EXPORT __attribute__((visibility("default")))
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

_Noreturn void check_failed(const char *file, int line, const char *text, uint64_t a, uint64_t b) __attribute__((cold));

// check() stays in release builds; debug_check() is for what costs on hot paths.
#define check_values(cond, a, b) \
  do { if (unlikely(!(cond))) check_failed(__FILE__, __LINE__, #cond, (uint64_t)(a), (uint64_t)(b)); } while (0)
#define check(cond) check_values(cond, 0, 0)

#ifdef UMBRA_DEBUG
#define debug_check(cond) check(cond)
#else
#define debug_check(cond) ((void)0)
#endif
