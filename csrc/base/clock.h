// clock: guest time, one clock a machine, and the timers that wait on it.
// SPDX-License-Identifier: MIT
//
// Time is counted in ticks of `hertz` (the device tree's timebase-frequency). Timers belong to
// their owners (a CLINT comparator, a hart's stimecmp) and are only linked here; they fire on the
// thread that runs the harts, at the next poll, so owners need no lock of their own.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "base/clock_ffi.h"

#define CLOCK_NEVER UINT64_MAX

typedef struct um_clock Clock;

typedef struct Timer {
  uint64_t deadline;                 // ticks; CLOCK_NEVER when idle
  void   (*fire)(void *owner);       // called once the deadline is reached; deadline is CLOCK_NEVER by then
  void    *owner;
  struct Timer *next;                // the clock's list of timers, unordered: there are few
} Timer;

struct um_clock {
  uint64_t hertz;
  uint64_t start_ns;                 // host monotonic time of tick 0
  uint64_t held_ns;                  // a wall clock that stands still: since when; 0: it runs
  uint64_t next;                     // earliest deadline of all timers, CLOCK_NEVER if none
  Timer   *timers;
  // A virtual clock counts instructions instead of host time.
  uint64_t virtual_rate;             // instructions a second of guest time; 0: a wall clock
  uint64_t instructions;             // that have passed, but for the slice that runs now
  uint64_t (*progress)(const void *runner);   // instructions of that slice so far
  const void *runner;                // who runs it; NULL: nobody
  bool     changed;                  // a timer was set since this was cleared
};

uint64_t clock_now(const Clock *clock);
// Nanoseconds since 1970: the host's, or, as nothing of the host may show then, of a virtual clock's day, which begins
// on 2026-01-01 00:00 UTC.
uint64_t clock_day_ns(const Clock *clock);
uint64_t clock_host_ns(void);                               // host monotonic time
uint64_t clock_ns_until(const Clock *clock, uint64_t tick); // host ns from now to `tick`, 0 if passed
void clock_add(Clock *clock, Timer *timer, void (*fire)(void *), void *owner);
void clock_remove(Clock *clock, Timer *timer);
void clock_arm(Clock *clock, Timer *timer, uint64_t deadline);      // CLOCK_NEVER, or beyond what a virtual clock can count: idle
uint64_t clock_instructions_at(const Clock *clock, uint64_t tick);   // virtual: the first count at which now is `tick` or later
void clock_jump(Clock *clock, uint64_t tick);               // virtual: everybody sleeps until then
void clock_poll(Clock *clock);                              // fires what is due
