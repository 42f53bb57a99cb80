// alarm: makes a run come back when guest time reaches a tick.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_alarm um_alarm;

um_alarm *um_alarm_new(um_clock *clock, um_control *control);   // off; freed before both; NULL without memory
void      um_alarm_free(um_alarm *alarm);
void      um_alarm_set(um_alarm *alarm, uint64_t tick);         // run comes back with UM_EXIT_ATTENTION then; UINT64_MAX: never
bool      um_alarm_rang(um_alarm *alarm);                        // whether the tick was reached since this was last asked
bool      um_alarm_rings(const um_alarm *alarm);                 // the same, but it may be asked again
