// control: the buttons of a machine: devices press off, reset, exit; other threads kick; harts poll.
// SPDX-License-Identifier: MIT
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "base/control_ffi.h"

typedef struct um_control Control;

struct um_control {
  _Atomic uint32_t attention;   // non-zero: the run loop leaves guest code at the next poll and looks at the rest
  _Atomic uint32_t kicked;
  int halt, code;               // written by the hart's thread only (devices run on it)
  int event_fd, watch_fd;
  bool eager;                   // attention at the first byte of text, not only when there is much: somebody waits for it
  uint32_t (*write)(void *owner, const void *bytes, uint32_t size);   // where a guest's host calls print: how much was taken; NULL: nowhere
  void *owner;
};

void control_halt(Control *control, int halt, int code);        // a device's request: UM_HALT_*, guest exit code
void control_attention(Control *control);                       // a device wants the run loop to come back (full buffer)
// Sleeps until kicked, the watched descriptor is readable, or `ns` passed. True when woken by kick or descriptor.
bool control_sleep(Control *control, uint64_t ns);
