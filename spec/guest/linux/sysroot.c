// sysroot: paths in a sysroot that has bin/sysroot (this program), bin/script (#!/bin/interpreter one), bin/interpreter -> /bin/sysroot,
// usr/share/text, etc/absolute -> /usr/share/text, etc/folder -> /usr/share. The argument: a file of the host's outside.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *contents(int folder, const char *path)
{
  static char text[100];
  int fd = openat(folder, path, O_RDONLY);
  ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (size < 0) return strerror(errno);
  text[size] = 0;
  text[strcspn(text, "\n")] = 0;
  close(fd);
  return text;
}

static const char *target(int folder, const char *path)
{
  static char text[4096];
  ssize_t size = readlinkat(folder, path, text, sizeof text - 1);
  if (size < 0) return strerror(errno);
  text[size] = 0;
  return text;
}

static const char *here(void)
{
  static char text[4096];
  return getcwd(text, sizeof text) ? text : strerror(errno);
}

static void look(const char *host)
{
  struct stat st, link;
  char text[4096];
  int etc = open("/etc", O_RDONLY | O_DIRECTORY);
  printf("absolute %s, %s\n", contents(AT_FDCWD, "/etc/absolute"), contents(AT_FDCWD, "/etc/folder/text"));
  printf("beyond the root %s\n", contents(AT_FDCWD, "/../../etc/../../../etc/absolute"));
  printf("below a descriptor %s, %s\n", contents(etc, "absolute"), contents(etc, "../../usr/share/text"));
  printf("a link's text %s, %s\n", target(AT_FDCWD, "/etc/absolute"), target(etc, "absolute"));
  printf("chdir %d %s\n", chdir("/etc"), here());
  printf("relative %s, %s, %s\n", contents(AT_FDCWD, "absolute"), contents(AT_FDCWD, "folder/text"), contents(AT_FDCWD, "folder/../share/text"));
  printf("stat %d %d %d\n", stat("absolute", &st) || lstat("absolute", &link), S_ISREG(st.st_mode), S_ISLNK(link.st_mode));
  printf("up %d %s, %s\n", chdir("../../.."), here(), contents(AT_FDCWD, "../../etc/absolute"));
  printf("realpath %s\n", realpath("/etc/folder/text", text) ? text : strerror(errno));
  printf("through a link %d %s\n", chdir("/etc/folder"), here());
  printf("new %d", close(open("new", O_CREAT | O_WRONLY, 0600)));
  printf(" %d", close(open("../../../new", O_CREAT | O_WRONLY, 0600)));
  printf(" %d %d %d\n", access("/usr/share/new", F_OK), access("/new", F_OK), mkdir("folder", 0700));
  printf("renamed %d %d\n", rename("new", "newer"), access("/usr/share/newer", F_OK));
  int proc = open("/proc/self", O_RDONLY | O_DIRECTORY), text_fd = open("/usr/share/text", O_RDONLY);
  printf("/proc/self/exe %s, %s\n", target(AT_FDCWD, "/proc/self/exe"), target(proc, "exe"));
  printf("/proc/self/cwd %s\n", target(AT_FDCWD, "/proc/self/cwd"));
  snprintf(text, sizeof text, "/proc/self/fd/%d", text_fd);
  printf("/proc/self/fd %s\n", target(AT_FDCWD, text));
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(text, sizeof text, maps))
    if (strstr(text, "r-xp") && strstr(text, " /")) printf("/proc/self/maps %s", strstr(text, " /") + 1);
  printf("of the host %s\n", contents(AT_FDCWD, host));
}

static void run(int folder, const char *path, int flags)
{
  char *arguments[] = { "called", "with", NULL }, *environment[] = { NULL };
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    execveat(folder, path, arguments, environment, flags);
    printf("%s: %s\n", path, strerror(errno));
    fflush(stdout);
    _exit(1);
  }
  waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
  if (argc > 1 && argv[1][0] != '/') {
    for (int i = 0; i < argc; i++) printf("%s ", argv[i]);
    printf("by %s\n", target(AT_FDCWD, "/proc/self/exe"));
    return 0;
  }
  look(argv[1]);
  int bin = open("/bin", O_RDONLY | O_DIRECTORY), script = open("/bin/script", O_RDONLY), program = open("/bin/sysroot", O_RDONLY | O_CLOEXEC);
  dup2(bin, 100);
  dup2(script, 101);
  dup2(program, 102);
  if (chdir("/bin")) return 1;
  run(AT_FDCWD, "/bin/sysroot", 0);
  run(AT_FDCWD, "/bin/script", 0);
  run(AT_FDCWD, "./script", 0);
  run(100, "script", 0);
  run(101, "", AT_EMPTY_PATH);
  run(102, "", AT_EMPTY_PATH);
  run(100, "nothing", 0);
  return 0;
}
