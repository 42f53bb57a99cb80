// semihosting: a bare-metal guest's calls of the host, by an ebreak between two marks.
// SPDX-License-Identifier: MIT
//
// RISC-V Semihosting 0.4 over Arm's "Semihosting for AArch32 and AArch64" 2.0: a0 is the call, a1 its argument or the
// address of its arguments. Only the console (":tt"), clocks and exits are offered: a guest opens no file of the host.
#include "cpu/riscv/hart.h"
#include "cpu/riscv/tier0.h"
#include <string.h>

enum {
  SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITEC = 0x03, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_READC = 0x07,
  SYS_ISERROR = 0x08, SYS_ISTTY = 0x09, SYS_CLOCK = 0x10, SYS_TIME = 0x11, SYS_ERRNO = 0x13, SYS_GET_CMDLINE = 0x15,
  SYS_EXIT = 0x18, SYS_EXIT_EXTENDED = 0x20, SYS_ELAPSED = 0x30, SYS_TICKFREQ = 0x31,
};

enum { EXIT_APPLICATION = 0x20026 };           // ADP_Stopped_ApplicationExit
enum { PIECE_BYTES = 64 << 10 };               // printed at one go: a kick or a timer must not wait for more
#define FAILED (~(uint64_t)0)

static bool argument(Hart *hart, unsigned index, uint64_t *value)
{
  return um_hart_read(hart, hart->x[11] + 8 * index, value, sizeof *value, NULL) == UM_OK;
}

// Prints `size` bytes of the guest at gva, or up to a NUL when size is FAILED; hart->again when there is no room for the
// rest now. Returns how many were not printed.
static uint64_t print(Hart *hart, uint64_t gva, uint64_t size)
{
  char bytes[256];
  const Control *control = hart->control;
  uint64_t *done = &hart->call_done, stop = *done + PIECE_BYTES;
  for (bool text = size == FAILED; *done < size && !hart->again;) {
    uint64_t at = gva + *done, part = size - *done, room = PAGE_BYTES - (at & (PAGE_BYTES - 1));
    if (part > sizeof bytes) part = sizeof bytes;
    if (part > room) part = room;
    if (um_hart_read(hart, at, bytes, part, NULL) < 0) break;
    const char *end = text ? memchr(bytes, 0, part) : NULL;
    if (end) {
      part = (uint64_t)(end - bytes);
      size = *done + part;
    }
    uint64_t taken = control->write ? control->write(control->owner, bytes, (uint32_t)part) : part;
    *done += taken;
    hart->again = taken < part || (*done >= stop && *done < size);
  }
  return size - *done;
}

static uint64_t open_console(Hart *hart)
{
  uint64_t name, mode;
  char text[4] = { 0 };
  if (!argument(hart, 0, &name) || !argument(hart, 1, &mode) || um_hart_read(hart, name, text, 4, NULL) < 0) return FAILED;
  return strcmp(text, ":tt") ? FAILED : mode < 4 ? 0 : mode < 8 ? 1 : 2;
}

static uint64_t leave(Hart *hart, uint64_t reason, uint64_t code)
{
  control_halt(hart->control, UM_HALT_EXIT, reason == EXIT_APPLICATION ? (int)(code & 0xff) : 1);
  hart->leave = true;
  return 0;
}

static uint64_t call(Hart *hart, uint64_t number)
{
  uint64_t a = 0, b = 0, c = 0;
  switch (number) {
  case SYS_OPEN:    return open_console(hart);
  case SYS_CLOSE:   return 0;
  case SYS_WRITEC:  return print(hart, hart->x[11], 1);
  case SYS_WRITE0:  return print(hart, hart->x[11], FAILED);
  case SYS_WRITE:
    if (!argument(hart, 0, &a) || !argument(hart, 1, &b) || !argument(hart, 2, &c)) return FAILED;
    return a == 1 || a == 2 ? print(hart, b, c) : c;
  case SYS_READ:    return argument(hart, 2, &c) ? c : FAILED;         // end of input: nothing was read
  case SYS_READC:   return FAILED;
  case SYS_ISERROR: return argument(hart, 0, &a) && (int64_t)a < 0;
  case SYS_ISTTY:   return argument(hart, 0, &a) && a <= 2;
  case SYS_CLOCK:   return (uint64_t)((unsigned __int128)clock_now(hart->clock) * 100 / hart->clock->hertz);   // centiseconds
  case SYS_TIME:    return clock_day_ns(hart->clock) / 1000000000u;
  case SYS_ERRNO:   return 0;
  case SYS_ELAPSED:
    a = clock_now(hart->clock);
    return um_hart_write(hart, hart->x[11], &a, sizeof a, NULL) < 0 ? FAILED : 0;
  case SYS_TICKFREQ: return hart->clock->hertz;
  case SYS_EXIT:                                                       // with 64 bits: as the extended call
  case SYS_EXIT_EXTENDED:
    if (!argument(hart, 0, &a) || !argument(hart, 1, &b)) return leave(hart, hart->x[11], 0);
    return leave(hart, a, b);
  }
  return FAILED;
}

bool hart_semihosting(Hart *hart, uint64_t gva)
{
  enum { BEFORE = 0x01f01013, EBREAK = 0x00100073, AFTER = 0x40705013 };
  if (hart_instruction_at(hart, gva) != EBREAK || hart_instruction_at(hart, gva - 4) != BEFORE || hart_instruction_at(hart, gva + 4) != AFTER)
    return false;
  uint64_t cause = hart->trap_cause, value = hart->trap_value;
  if (hart->call_at != gva) hart->call_done = 0;
  hart->call_at = gva;
  uint64_t result = call(hart, hart->x[10]);
  hart->trap_cause = cause;
  hart->trap_value = value;
  if (hart->again) return true;
  hart->x[10] = result;
  hart->call_done = 0;
  if (atomic_load_explicit(&hart->control->attention, memory_order_relaxed)) hart->leave = true;
  return true;
}
