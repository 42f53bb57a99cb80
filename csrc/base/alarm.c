// alarm: makes a run come back when guest time reaches a tick.
// SPDX-License-Identifier: MIT
#include "base/check.h"
#include "base/clock.h"
#include "base/control.h"
#include "base/alarm_ffi.h"       // after the types that it names
#include <stdlib.h>

struct um_alarm {
  Timer timer;
  Clock *clock;
  Control *control;
  bool rang;                 // since it was last asked
};

static void ring(void *owner)
{
  um_alarm *alarm = owner;
  alarm->rang = true;
  control_attention(alarm->control);
}

UM_EXPORT um_alarm *um_alarm_new(um_clock *clock, um_control *control)
{
  um_alarm *alarm = calloc(1, sizeof *alarm);
  if (!alarm) return NULL;
  alarm->clock = clock;
  alarm->control = control;
  clock_add(clock, &alarm->timer, ring, alarm);
  return alarm;
}

UM_EXPORT void um_alarm_free(um_alarm *alarm)
{
  if (!alarm) return;
  clock_remove(alarm->clock, &alarm->timer);
  free(alarm);
}

UM_EXPORT void um_alarm_set(um_alarm *alarm, uint64_t tick)
{
  clock_arm(alarm->clock, &alarm->timer, tick);
}

UM_EXPORT bool um_alarm_rings(const um_alarm *alarm)
{
  return alarm->rang;
}

UM_EXPORT bool um_alarm_rang(um_alarm *alarm)
{
  bool rang = alarm->rang;
  alarm->rang = false;
  return rang;
}
