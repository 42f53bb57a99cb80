// hostcall: joins a hart's host calls to a character device; the two never see each other otherwise.
// SPDX-License-Identifier: MIT
#include "base/check.h"
#include "dev/chardev.h"
#include "dev/hostcall_ffi.h"

static uint32_t print(void *owner, const void *bytes, uint32_t size)
{
  return chardev_put(owner, bytes, size);
}

UM_EXPORT void um_hostcall_print_to(um_control *control, um_chardev *chardev)
{
  control->owner = chardev;
  control->write = chardev ? print : NULL;
}
