// chardev: the device's side of a character device.
// SPDX-License-Identifier: MIT
#pragma once
#include "dev/dev.h"

typedef struct um_chardev Chardev;

// Takes the character device for `device`; one device only (UM_EINVAL). `room` is called when the host has drained a ring
// that was too full for a put, `input` when it has bytes for the guest. Both run on the thread that runs the harts.
int chardev_attach(Chardev *chardev, Device *device, void (*room)(Device *), void (*input)(Device *), struct um_fault *why);
void chardev_detach(Chardev *chardev, const Device *device);   // no effect for a device that did not attach

uint32_t chardev_put(Chardev *chardev, const void *from, uint32_t size);   // from the guest; how many fitted
uint32_t chardev_get(Chardev *chardev, void *to, uint32_t size);           // for the guest; how many there were
uint32_t chardev_available(const Chardev *chardev);                        // how many bytes for the guest wait
