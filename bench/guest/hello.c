// hello: the shortest program, for the time that starting and ending one takes.
// SPDX-License-Identifier: MIT
#include <stdio.h>

int main(void)
{
  puts("hello");
  return 0;
}
