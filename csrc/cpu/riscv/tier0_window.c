// tier0_window: tier 0 for processes, whose guest memory is a window of the host's address space.
// SPDX-License-Identifier: MIT
#define TIER0_WINDOW
#include "cpu/riscv/tier0.c"       // NOLINT(bugprone-suspicious-include): the point of this file
