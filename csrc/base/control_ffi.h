// control: the buttons of a machine at the border.
// SPDX-License-Identifier: MIT
#pragma once

typedef struct um_control um_control;

// What a guest asked of its machine. ORDER control.c
enum { UM_HALT_NONE, UM_HALT_OFF, UM_HALT_RESET, UM_HALT_EXIT };

um_control *um_control_new(void);                                // NULL without memory or file descriptors
void        um_control_free(um_control *control);
void        um_control_kick(um_control *control);                // any thread or signal handler: run comes back soon
void        um_control_watch(um_control *control, int fd);       // wake an idle hart when fd is readable; -1: none
int         um_control_halted(const um_control *control, int *code);   // UM_HALT_*; the guest's exit code
void        um_control_clear(um_control *control);               // forget halt and kicks (after a reset)
