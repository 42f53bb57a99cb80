// hello: says its arguments and a variable of its environment, and ends with their number.
// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
  const char *greeting = getenv("GREETING");
  printf("%s", greeting ? greeting : "hello");
  for (int i = 1; i < argc; i++) printf(" %s", argv[i]);
  printf("\n");
  return argc;
}
