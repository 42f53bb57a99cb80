// base: the types every component shares at the border.
// SPDX-License-Identifier: MIT
#pragma once

// Status of a call that may refuse: 0 or more is success, below 0 one of these.
enum {
  UM_OK       = 0,
  UM_EINVAL   = -1,   // an argument out of range
  UM_ENOMEM   = -2,   // the host has no memory for it
  UM_EIO      = -3,   // the host refused a file operation
  UM_EFORMAT  = -4,   // a file is not what it should be
  UM_EOVERLAP = -5,   // two things claim the same place
  UM_EGUEST   = -6,   // the guest address is not there
};

// Why a call refused: one a Lua state, owned by the caller.
struct um_fault {
  int  status;
  char text[244];
};

const char *um_version(void);
