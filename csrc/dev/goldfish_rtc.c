// goldfish_rtc: the real-time clock of Android's goldfish board: nanoseconds since 1970, with an alarm.
// SPDX-License-Identifier: MIT
//
// Manual: "Goldfish virtual hardware", goldfish RTC. The guest's time is the clock's day (clock_day_ns) plus what
// the guest set.
#include "dev/dev.h"

enum {
  TIME_LOW = 0x00, TIME_HIGH = 0x04, ALARM_LOW = 0x08, ALARM_HIGH = 0x0c, IRQ_ENABLED = 0x10, CLEAR_ALARM = 0x14,
  ALARM_STATUS = 0x18, CLEAR_INTERRUPT = 0x1c,
};

typedef struct Rtc {
  Device   base;
  Clock   *clock;
  Irq     *line;
  Timer    timer;
  uint64_t offset;                    // ns, guest minus the clock's day
  uint64_t alarm;                     // ns of guest time
  uint32_t time_high;                 // latched by a read of TIME_LOW
  uint32_t alarm_high;                // waits for the write of ALARM_LOW
  uint32_t armed, pending, enabled;
} Rtc;

static uint64_t guest_ns(const Rtc *rtc)
{
  return clock_day_ns(rtc->clock) + rtc->offset;
}

static void update_line(Rtc *rtc)
{
  device_line(rtc->line, rtc->pending && rtc->enabled);
}

// Rings if it is time, else waits on the machine's clock. Asked again when that fires: the host's time may have been set back.
static void update_alarm(Rtc *rtc)
{
  uint64_t now = guest_ns(rtc), wake = CLOCK_NEVER;
  if (rtc->armed && rtc->alarm <= now) {
    rtc->armed = 0;
    rtc->pending = 1;
  } else if (rtc->armed) {
    unsigned __int128 ticks = (unsigned __int128)(rtc->alarm - now) * rtc->clock->hertz / 1000000000u + 1;
    uint64_t tick = clock_now(rtc->clock);
    if (ticks < CLOCK_NEVER - tick) wake = tick + (uint64_t)ticks;
  }
  clock_arm(rtc->clock, &rtc->timer, wake);
  update_line(rtc);
}

static void rtc_fire(void *owner)
{
  update_alarm(owner);
}

static uint64_t rtc_read(void *device, uint64_t offset, unsigned size)
{
  Rtc *rtc = device;
  (void)size;
  switch (offset) {
  case TIME_LOW: {
    uint64_t now = guest_ns(rtc);
    rtc->time_high = (uint32_t)(now >> 32);
    return (uint32_t)now;
  }
  case TIME_HIGH:    return rtc->time_high;
  case ALARM_LOW:    return (uint32_t)rtc->alarm;
  case ALARM_HIGH:   return rtc->alarm >> 32;
  case IRQ_ENABLED:  return rtc->enabled;
  case ALARM_STATUS: return rtc->armed;
  default:           return 0;
  }
}

static void rtc_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
  Rtc *rtc = device;
  uint64_t now = guest_ns(rtc);
  (void)size;
  switch (offset) {
  case TIME_LOW:        rtc->offset += (now >> 32 << 32 | value) - now; break;
  case TIME_HIGH:       rtc->offset += (value << 32 | (uint32_t)now) - now; break;
  case ALARM_LOW:
    rtc->alarm = (uint64_t)rtc->alarm_high << 32 | value;
    DEVICE_LOG(&rtc->base, "alarm at %llu ns, it is %llu", (unsigned long long)rtc->alarm, (unsigned long long)guest_ns(rtc));
    rtc->armed = 1;
    break;
  case ALARM_HIGH:      rtc->alarm_high = (uint32_t)value; break;
  case IRQ_ENABLED:     rtc->enabled = value & 1; break;
  case CLEAR_ALARM:     rtc->armed = 0; break;
  case CLEAR_INTERRUPT: rtc->pending = 0; break;
  default:              return;
  }
  update_alarm(rtc);
}

static void rtc_reset(Device *device)
{
  update_alarm((Rtc *)device);
}

static void rtc_close(Device *device)
{
  Rtc *rtc = (Rtc *)device;
  clock_remove(rtc->clock, &rtc->timer);
}

static const DeviceState rtc_state[] = {
  STATE(Rtc, offset),
  STATE(Rtc, alarm),
  STATE(Rtc, time_high),
  STATE(Rtc, alarm_high),
  STATE(Rtc, armed),
  STATE(Rtc, pending),
  STATE(Rtc, enabled),
  { 0 },
};

static const DeviceModel rtc_model = {
  .name = "goldfish_rtc", .bytes = 0x1000, .state = rtc_state,
  .ops = { .read = rtc_read, .write = rtc_write, .min_size = 4, .max_size = 4 },
  .reset = rtc_reset, .close = rtc_close,
};

UM_EXPORT um_dev *um_goldfish_rtc_new(um_clock *clock, um_irq *line, struct um_fault *why)
{
  Rtc *rtc = device_new(&rtc_model, sizeof *rtc, why);
  if (!rtc) return NULL;
  rtc->clock = clock;
  rtc->line = line;
  clock_add(clock, &rtc->timer, rtc_fire, rtc);
  return &rtc->base;
}
