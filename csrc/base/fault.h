// fault: how C refuses: a negative status and one clear line in the caller's struct um_fault.
// SPDX-License-Identifier: MIT
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/base_ffi.h"

// Fills `why` (may be NULL) and returns `status`, so that `return fault_set(...)` reads as a refusal.
int fault_set(struct um_fault *why, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
