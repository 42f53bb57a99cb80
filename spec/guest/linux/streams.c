// streams: what a program finds that was started without some of its standard descriptors. Argument: a file for what it found.
// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
  char byte;
  int out = write(1, "out\n", 4) < 0 ? errno : 0, err = write(2, "err\n", 4) < 0 ? errno : 0, in = read(0, &byte, 1) < 0 ? errno : 0;
  int next = open("/dev/null", O_RDONLY);
  FILE *file = argc == 2 ? fopen(argv[1], "w") : NULL;
  if (!file) return 2;
  fprintf(file, "%d %d %d %d\n", in, out, err, next);
  fclose(file);
  puts("end");
  return fclose(stdout) ? 9 : 0;
}
