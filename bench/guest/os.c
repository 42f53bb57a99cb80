// os: what programs ask an operating system for, a number of times, as lines on standard input say: NAME COUNT, answered by
// "os: done NAME". Runs inside a guest (bench/system.lua); `run PROGRAM COUNT` runs another program with COUNT as its argument.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 4096 };

static void die(const char *what)
{
  perror(what);
  exit(1);
}

static char *map_pages(size_t count)
{
  char *pages = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) die("mmap");
  madvise(pages, count * PAGE, MADV_NOHUGEPAGE);       // the kernel may not have them
  return pages;
}

// Loads a word of each of 4,096 pages in turn.
static void touch(unsigned count)
{
  static char *pages;
  if (!pages) {
    pages = map_pages(PAGES);
    for (size_t i = 0; i < PAGES; i++) pages[i * PAGE] = (char)i;
  }
  for (unsigned i = 0; i < count; i++) *(volatile char *)(pages + (size_t)i % PAGES * PAGE);
}

// First stores to anonymous pages.
static void fault(unsigned count)
{
  while (count) {
    unsigned some = count < 256 ? count : 256;
    char *pages = map_pages(some);
    for (unsigned i = 0; i < some; i++) pages[(size_t)i * PAGE] = 1;
    munmap(pages, (size_t)some * PAGE);
    count -= some;
  }
}

static void null_call(unsigned count)
{
  while (count--) syscall(SYS_getppid);
}

// A byte to another process and back.
static void pipe_round(unsigned count)
{
  int there[2], back[2];
  char byte = 1;
  if (pipe(there) || pipe(back)) die("pipe");
  pid_t child = fork();
  if (child < 0) die("fork");
  if (!child) {
    close(there[1]);
    while (read(there[0], &byte, 1) == 1)
      if (write(back[1], &byte, 1) != 1) break;
    _exit(0);
  }
  while (count--)
    if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) die("pipe");
  close(there[0]), close(there[1]), close(back[0]), close(back[1]);
  waitpid(child, NULL, 0);
}

static volatile unsigned handled;
static void handler(int signal) { handled += (unsigned)signal; }

static void raise_signal(unsigned count)
{
  signal(SIGUSR1, handler);
  while (count--) raise(SIGUSR1);
}

static void protect(unsigned count)
{
  char *page = map_pages(1);
  while (count--) {
    if (mprotect(page, PAGE, PROT_READ)) die("mprotect");
    *(volatile char *)page;
    if (mprotect(page, PAGE, PROT_READ | PROT_WRITE)) die("mprotect");
    *(volatile char *)page = (char)count;
  }
  munmap(page, PAGE);
}

static void run_once(char *const *words)
{
  int status = 0;
  pid_t child = fork();
  if (child < 0) die("fork");
  if (!child) {
    execv(words[0], words);
    _exit(127);
  }
  if (waitpid(child, &status, 0) < 0 || status) die(words[0]);
}

static void fork_exec(unsigned count)
{
  char *words[] = { "/bench/os", "exit", NULL };
  while (count--) run_once(words);
}

// Code that is written anew, made visible and called: li a0, N; ret.
static void patch(unsigned count)
{
  uint32_t *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) die("mmap");
  code[1] = 0x00008067;
  while (count--) {
    unsigned value = count & 1023;
    code[0] = 0x00000513 | value << 20;
    __asm__ volatile("fence.i" ::: "memory");
    int (*function)(void);
    memcpy(&function, &code, sizeof function);
    if (function() != (int)value) die("patch");
  }
  munmap(code, PAGE);
}

static const struct { const char *name; void (*work)(unsigned); } works[] = {
  { "touch", touch }, { "fault", fault }, { "call", null_call }, { "pipe", pipe_round }, { "signal", raise_signal },
  { "mprotect", protect }, { "exec", fork_exec }, { "patch", patch },
};

int main(int argc, char **argv)
{
  char line[256], name[64], program[128], count[32];
  if (argc > 1) return strcmp(argv[1], "exit") != 0;
  puts("os: ready");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "run %63s %31s", name, count) == 2) {
      snprintf(program, sizeof program, "/bench/%s", name);
      char *words[] = { program, count, NULL };
      run_once(words);
    } else if (sscanf(line, "%63s %31s", name, count) == 2) {
      for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
        if (strcmp(works[i].name, name) == 0) works[i].work((unsigned)strtoul(count, NULL, 10));
    } else {
      continue;
    }
    printf("os: done %s\n", name);
    fflush(stdout);
  }
  return 0;
}
