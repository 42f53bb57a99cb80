// matmul_float: the product of two 96 x 96 matrices of floats, by rows and columns.
// SPDX-License-Identifier: MIT
#define Number float
#include "matmul.h"
