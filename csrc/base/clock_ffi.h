// clock: guest time at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_clock um_clock;

um_clock *um_clock_new(uint64_t hertz);      // wall clock ticking at `hertz` from 0; NULL without memory
void      um_clock_free(um_clock *clock);
uint64_t  um_clock_now(um_clock *clock);     // guest ticks
uint64_t  um_clock_hertz(const um_clock *clock);
