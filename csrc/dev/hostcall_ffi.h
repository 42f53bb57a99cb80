// hostcall: where a guest's calls of its host print, at the border.
// SPDX-License-Identifier: MIT
#pragma once

// What the guest prints through its hart (semihosting) goes to `chardev`, and waits while that is full; NULL: nowhere. Both stay the caller's.
void um_hostcall_print_to(um_control *control, um_chardev *chardev);
