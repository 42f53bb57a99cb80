// clint: SiFive's core-local interruptor: software interrupts, the timer and its comparators.
// SPDX-License-Identifier: MIT
//
// Manual: RISC-V ACLINT 1.0-rc4; the layout is that of an ACLINT MSWI at 0 and an MTIMER at 0x4000.
// mtime is the machine's clock plus what the guest wrote to it; `time` as harts read it is the clock.
#include "dev/dev.h"

enum { CLINT_HARTS = 8, MSIP = 0, MTIMECMP = 0x4000, MTIME = 0xbff8, CLINT_BYTES = 0x10000 };

typedef struct Clint {
  Device   base;
  Clock   *clock;
  uint32_t harts;                     // registers beyond are zero and stay so
  Irq     *software[CLINT_HARTS], *timer[CLINT_HARTS];
  Timer    timers[CLINT_HARTS];
  uint32_t msip[CLINT_HARTS];
  uint64_t mtimecmp[CLINT_HARTS];
  uint64_t mtime_offset;              // ticks
} Clint;

static uint64_t clint_mtime(const Clint *clint)
{
  return clock_now(clint->clock) + clint->mtime_offset;
}

// The line is raised as long as mtime >= mtimecmp; if it is not yet, the clock tells when.
static void update_timer(Clint *clint, uint32_t hart)
{
  uint64_t now = clock_now(clint->clock), left = clint->mtimecmp[hart] - (now + clint->mtime_offset);
  bool due = now + clint->mtime_offset >= clint->mtimecmp[hart];
  bool never = due || clint->mtimecmp[hart] == UINT64_MAX || left > CLOCK_NEVER - 1 - now;
  clock_arm(clint->clock, &clint->timers[hart], never ? CLOCK_NEVER : now + left);
  device_line(clint->timer[hart], due);
}

static void clint_fire(void *owner)
{
  Clint *clint = owner;
  for (uint32_t hart = 0; hart < clint->harts; hart++) update_timer(clint, hart);
}

static uint32_t read_msip(const Clint *clint, uint64_t hart)
{
  return hart < clint->harts ? clint->msip[hart] : 0;
}

static void write_msip(Clint *clint, uint64_t hart, uint64_t value)
{
  if (hart >= clint->harts) return;
  clint->msip[hart] = value & 1;
  device_line(clint->software[hart], value & 1);
}

// The eight aligned bytes at `at`.
static uint64_t read_double(const Clint *clint, uint64_t at)
{
  if (at < MTIMECMP) return read_msip(clint, at / 4) | (uint64_t)read_msip(clint, at / 4 + 1) << 32;
  if (at == MTIME) return clint_mtime(clint);
  uint64_t hart = (at - MTIMECMP) / 8;
  return hart < clint->harts ? clint->mtimecmp[hart] : 0;
}

static uint64_t clint_read(void *device, uint64_t offset, unsigned size)
{
  uint64_t value = read_double(device, offset & ~(uint64_t)7);
  return size == 4 && offset & 4 ? value >> 32 : value;
}

static void clint_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
  Clint *clint = device;
  if (offset < MTIMECMP) {
    write_msip(clint, offset / 4, value);
    if (size == 8) write_msip(clint, offset / 4 + 1, value >> 32);
    return;
  }
  uint64_t at = offset & ~(uint64_t)7, old = read_double(clint, at);
  if (size == 4) value = offset & 4 ? value << 32 | (uint32_t)old : (old >> 32 << 32) | value;
  uint64_t hart = (at - MTIMECMP) / 8;
  if (at == MTIME) {
    clint->mtime_offset = value - clock_now(clint->clock);
    clint_fire(clint);
  } else if (hart < clint->harts) {
    clint->mtimecmp[hart] = value;
    DEVICE_LOG(&clint->base, "timer of hart %u set to 0x%llx, it is 0x%llx", (unsigned)hart, (unsigned long long)value, (unsigned long long)clint_mtime(clint));
    update_timer(clint, (uint32_t)hart);
  }
}

// Without a value written to it, a comparator must not interrupt: the manual leaves it open, firmware expects it.
static void clint_reset(Device *device)
{
  Clint *clint = (Clint *)device;
  for (uint32_t hart = 0; hart < CLINT_HARTS; hart++) {
    clint->mtimecmp[hart] = UINT64_MAX;
    device_line(clint->software[hart], false);
    update_timer(clint, hart);
  }
}

static void clint_close(Device *device)
{
  Clint *clint = (Clint *)device;
  for (int hart = 0; hart < CLINT_HARTS; hart++) clock_remove(clint->clock, &clint->timers[hart]);
}

static const DeviceState clint_state[] = {
  STATE_ARRAY(Clint, msip),
  STATE_ARRAY(Clint, mtimecmp),
  STATE(Clint, mtime_offset),
  { 0 },
};

static const DeviceModel clint_model = {
  .name = "clint", .bytes = CLINT_BYTES, .state = clint_state,
  .ops = { .read = clint_read, .write = clint_write, .min_size = 4, .max_size = 8 },
  .reset = clint_reset, .close = clint_close,
};

UM_EXPORT um_dev *um_clint_new(um_clock *clock, struct um_fault *why)
{
  Clint *clint = device_new(&clint_model, sizeof *clint, why);
  if (!clint) return NULL;
  clint->clock = clock;
  clint->harts = 1;
  for (int hart = 0; hart < CLINT_HARTS; hart++) clock_add(clock, &clint->timers[hart], clint_fire, clint);
  um_dev_reset(&clint->base);
  return &clint->base;
}

UM_EXPORT int um_clint_lines(um_dev *device, int hart, um_irq *software, um_irq *timer, struct um_fault *why)
{
  check(device->model == &clint_model);
  Clint *clint = (Clint *)device;
  if (hart < 0 || hart >= CLINT_HARTS)
    return fault_set(why, UM_EINVAL, "clint: hart must be 0 to %d, not %d", CLINT_HARTS - 1, hart);
  clint->software[hart] = software;
  clint->timer[hart] = timer;
  if (clint->harts <= (uint32_t)hart) clint->harts = (uint32_t)hart + 1;
  device_line(software, clint->msip[hart]);
  update_timer(clint, (uint32_t)hart);
  return UM_OK;
}
