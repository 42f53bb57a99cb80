// matmul_double: the product of two 96 x 96 matrices of doubles, by rows and columns.
// SPDX-License-Identifier: MIT
#define Number double
#include "matmul.h"
