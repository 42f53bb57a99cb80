// log: where harts and devices write what they do, if somebody asked for it.
// SPDX-License-Identifier: MIT
//
// What logs asks log_wants first: one test while nothing is logged. Only the thread that runs the harts writes.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "base/check.h"
#include "base/log_ffi.h"

typedef struct um_log Log;
typedef struct LogFile LogFile;

enum { LOG_LINE_MOST = 1024 };

struct um_log {
  uint32_t on;                     // bits of the items that are logged
  LogFile *file[UM_LOG_ITEMS];     // NULL: not logged
  LogFile *files;
};

static inline bool log_wants(const Log *log, unsigned item)
{
  return unlikely(log && log->on >> item & 1);
}

// Room for a line of LOG_LINE_MOST bytes; log_end takes what was written there, whose last byte is \n.
char *log_line(Log *log, unsigned item);
void log_end(Log *log, unsigned item, const char *end);
void log_print(Log *log, unsigned item, const char *format, ...) __attribute__((format(printf, 3, 4)));    // adds the \n

static inline char *log_word(char *to, const char *text)
{
  while (*text) *to++ = *text++;
  return to;
}

// "0x" and `digits` digits: printf takes too long for what is logged a million times a second.
static inline char *log_hex(char *to, uint64_t value, unsigned digits)
{
  *to++ = '0';
  *to++ = 'x';
  for (unsigned i = digits; i-- > 0;) *to++ = "0123456789abcdef"[value >> 4 * i & 15];
  return to;
}
