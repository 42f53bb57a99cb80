// hostcall: joins a hart's host calls to a character device; the two never see each other otherwise.
// SPDX-License-Identifier: MIT
#include "base/check.h"
#include "dev/chardev.h"
#include "dev/hostcall_ffi.h"

static void print(void *owner, const void *bytes, uint32_t size)
{
  chardev_put(owner, bytes, size);
}

UM_EXPORT void um_hostcall_print_to(um_control *control, um_chardev *chardev)
{
  control->owner = chardev;
  control->write = chardev ? print : NULL;
}
