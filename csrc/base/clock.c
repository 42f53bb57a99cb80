// clock: guest time and its timers.
// SPDX-License-Identifier: MIT
#include "base/clock.h"
#include "base/check.h"
#include <stdlib.h>
#include <time.h>

uint64_t clock_host_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#define EPOCH (1767225600u * (uint64_t)1000000000u)   // 2026-01-01 00:00 UTC

uint64_t clock_day_ns(const Clock *clock)
{
  if (clock->virtual_rate) return EPOCH + (uint64_t)((unsigned __int128)clock_now(clock) * 1000000000u / clock->hertz);
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_now(const Clock *clock)
{
  if (clock->virtual_rate) {
    uint64_t instructions = clock->instructions + (clock->runner ? clock->progress(clock->runner) : 0);
    return (uint64_t)((unsigned __int128)instructions * clock->hertz / clock->virtual_rate);
  }
  uint64_t ns = (clock->held_ns ? clock->held_ns : clock_host_ns()) - clock->start_ns;
  return (uint64_t)((unsigned __int128)ns * clock->hertz / 1000000000u);
}

uint64_t clock_ns_until(const Clock *clock, uint64_t tick)
{
  uint64_t now = clock_now(clock);
  if (tick <= now) return 0;
  unsigned __int128 ns = (unsigned __int128)(tick - now) * 1000000000u / clock->hertz + 1;
  return ns > INT64_MAX ? INT64_MAX : (uint64_t)ns;
}

uint64_t clock_instructions_at(const Clock *clock, uint64_t tick)
{
  unsigned __int128 count = ((unsigned __int128)tick * clock->virtual_rate + clock->hertz - 1) / clock->hertz;
  return count > UINT64_MAX ? UINT64_MAX : (uint64_t)count;
}

void clock_jump(Clock *clock, uint64_t tick)
{
  uint64_t count = clock_instructions_at(clock, tick);
  if (count > clock->instructions) clock->instructions = count;
}

static void recompute_next(Clock *clock)
{
  clock->next = CLOCK_NEVER;
  for (Timer *t = clock->timers; t; t = t->next)
    if (t->deadline < clock->next) clock->next = t->deadline;
}

void clock_add(Clock *clock, Timer *timer, void (*fire)(void *), void *owner)
{
  *timer = (Timer){ .deadline = CLOCK_NEVER, .fire = fire, .owner = owner, .next = clock->timers };
  clock->timers = timer;
}

void clock_remove(Clock *clock, Timer *timer)
{
  for (Timer **link = &clock->timers; *link; link = &(*link)->next) {
    if (*link != timer) continue;
    *link = timer->next;
    break;
  }
  recompute_next(clock);
}

// Whether a virtual clock can count that far, in ticks and in instructions, and on from there. It jumps to nothing else.
static bool reaches(const Clock *clock, uint64_t tick)
{
  return !clock->virtual_rate || (tick <= INT64_MAX && (unsigned __int128)tick * clock->virtual_rate / clock->hertz <= INT64_MAX);
}

void clock_arm(Clock *clock, Timer *timer, uint64_t deadline)
{
  timer->deadline = reaches(clock, deadline) ? deadline : CLOCK_NEVER;
  clock->changed = true;
  recompute_next(clock);
}

void clock_poll(Clock *clock)
{
  if (clock->next == CLOCK_NEVER) return;
  uint64_t now = clock_now(clock);
  while (clock->next <= now) {
    for (Timer *t = clock->timers; t; t = t->next) {
      if (t->deadline > now) continue;
      t->deadline = CLOCK_NEVER;
      t->fire(t->owner);
    }
    recompute_next(clock);
  }
}

UM_EXPORT um_clock *um_clock_new(uint64_t hertz)
{
  Clock *clock = hertz ? calloc(1, sizeof *clock) : NULL;
  if (!clock) return NULL;
  clock->hertz = hertz;
  clock->start_ns = clock_host_ns();
  clock->next = CLOCK_NEVER;
  return clock;
}

UM_EXPORT um_clock *um_clock_new_virtual(uint64_t hertz, uint64_t rate)
{
  um_clock *clock = rate && rate <= 1000000000000u ? um_clock_new(hertz) : NULL;
  if (clock) clock->virtual_rate = rate;
  return clock;
}

UM_EXPORT bool um_clock_is_virtual(const um_clock *clock)
{
  return clock->virtual_rate != 0;
}

UM_EXPORT uint64_t um_clock_instructions(const um_clock *clock)
{
  return clock->instructions;
}

UM_EXPORT void um_clock_reset(um_clock *clock)
{
  clock->instructions = 0;
  clock->runner = NULL;
  clock->start_ns = clock_host_ns();
  if (clock->held_ns) clock->held_ns = clock->start_ns;
  for (Timer *t = clock->timers; t; t = t->next) t->deadline = CLOCK_NEVER;
  clock->next = CLOCK_NEVER;
}

UM_EXPORT void um_clock_hold(um_clock *clock, bool on)
{
  uint64_t now = clock_host_ns();
  if (on && !clock->held_ns) clock->held_ns = now;
  if (on || !clock->held_ns) return;
  clock->start_ns += now - clock->held_ns;
  clock->held_ns = 0;
}

UM_EXPORT void um_clock_free(um_clock *clock)
{
  free(clock);
}

UM_EXPORT uint64_t um_clock_now(um_clock *clock)
{
  return clock_now(clock);
}

UM_EXPORT uint64_t um_clock_hertz(const um_clock *clock)
{
  return clock->hertz;
}
