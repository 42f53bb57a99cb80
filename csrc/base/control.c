// control: how a running machine is stopped, kicked and put to sleep.
// SPDX-License-Identifier: MIT
#include "base/control.h"
#include "base/check.h"
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

void control_attention(Control *control)
{
  atomic_store_explicit(&control->attention, 1, memory_order_release);
}

void control_halt(Control *control, int halt, int code)
{
  control->halt = halt;
  control->code = code;
  control_attention(control);
}

bool control_sleep(Control *control, uint64_t ns)
{
  struct pollfd fds[2] = { { .fd = control->event_fd, .events = POLLIN }, { .fd = control->watch_fd, .events = POLLIN } };
  struct timespec limit = { .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
  int ready = ppoll(fds, control->watch_fd >= 0 ? 2 : 1, &limit, NULL);
  if (ready <= 0) return ready < 0;               // a signal: let the caller look around
  uint64_t count;
  if (fds[0].revents && read(control->event_fd, &count, sizeof count) < 0) return true;
  return true;
}

UM_EXPORT um_control *um_control_new(void)
{
  Control *control = calloc(1, sizeof *control);
  if (!control) return NULL;
  control->watch_fd = -1;
  control->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (control->event_fd >= 0) return control;
  free(control);
  return NULL;
}

UM_EXPORT void um_control_free(um_control *control)
{
  if (!control) return;
  close(control->event_fd);
  free(control);
}

UM_EXPORT void um_control_kick(um_control *control)
{
  uint64_t one = 1;
  atomic_store(&control->kicked, 1);
  control_attention(control);
  // A full counter means a wake-up is pending already, so a failed write loses nothing.
  if (write(control->event_fd, &one, sizeof one) < 0) return;
}

UM_EXPORT void um_control_watch(um_control *control, int fd)
{
  control->watch_fd = fd;
}

UM_EXPORT int um_control_halted(const um_control *control, int *code)
{
  if (code) *code = control->code;
  return control->halt;
}

UM_EXPORT void um_control_clear(um_control *control)
{
  uint64_t count;
  control->halt = UM_HALT_NONE;
  control->code = 0;
  atomic_store(&control->kicked, 0);
  atomic_store(&control->attention, 0);
  if (read(control->event_fd, &count, sizeof count) < 0) return;
}
