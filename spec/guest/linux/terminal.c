// terminal: ticks until it is interrupted. With an argument it handles what a terminal sends and says so; SIGINT for the second time ends it.
// SPDX-License-Identifier: MIT
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t interrupts, stops, continues, quits;

static void handler(int number)
{
  if (number == SIGINT) interrupts++;
  if (number == SIGQUIT) quits++;
  if (number == SIGCONT) continues++;
  if (number == SIGTSTP) {
    stops++;
    signal(SIGTSTP, SIG_DFL);                // stops as it would without a handler, and has it again afterwards
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGTSTP, handler);
  }
}

int main(int argc, char **argv)
{
  setvbuf(stdout, NULL, _IONBF, 0);
  (void)argv;
  if (argc > 1) {
    static const int numbers[] = { SIGINT, SIGQUIT, SIGCONT, SIGTSTP };
    struct sigaction action = { .sa_handler = handler };
    for (int i = 0; i < 4; i++) sigaction(numbers[i], &action, NULL);
  }
  for (int i = 0; interrupts < 2; i++) {
    printf("tick %d: %d %d %d %d.\n", i, interrupts, quits, stops, continues);
    usleep(50000);
  }
  struct termios mode;
  printf("at the terminal %d %d\n", isatty(0), tcgetattr(0, &mode) == 0 && tcgetpgrp(0) == getpgrp());
  char text[100];
  alarm(20);
  printf("line? ");
  ssize_t size = read(0, text, sizeof text - 1);
  printf("got %.*s", size < 0 ? 0 : (int)size, text);
  return 5;
}
