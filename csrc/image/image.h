// image: parsers of the files a machine boots: ELF and the RISC-V Linux Image. No file and no guest access.
// SPDX-License-Identifier: MIT
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/base_ffi.h"
#include "image/image_ffi.h"

// Name of an ELF e_machine value for people ("x86-64"), or NULL.
const char *image_machine_name(uint32_t machine);

typedef struct um_symbols Symbols;
