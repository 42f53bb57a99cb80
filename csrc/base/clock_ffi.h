// clock: guest time at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_clock um_clock;

um_clock *um_clock_new(uint64_t hertz);      // wall clock ticking at `hertz` from 0; NULL without memory
// A clock that counts instructions instead of host time: `rate` a second of guest time (1 to 10^12).
um_clock *um_clock_new_virtual(uint64_t hertz, uint64_t rate);
bool      um_clock_is_virtual(const um_clock *clock);
uint64_t  um_clock_instructions(const um_clock *clock);     // of a virtual clock: passed, sleep counted as if they had been run; else 0
void      um_clock_reset(um_clock *clock);                  // 0 again; timers are idle until their owners set them
void      um_clock_hold(um_clock *clock, bool on);          // a wall clock stands still until off; a virtual one does whenever nothing runs
void      um_clock_free(um_clock *clock);
uint64_t  um_clock_now(um_clock *clock);     // guest ticks
uint64_t  um_clock_hertz(const um_clock *clock);
