// code: the two backings.
// SPDX-License-Identifier: MIT
#include "jit/code.h"
#include "base/fault.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CODE_ALIGN = 64 };

// Maps a new file twice, at the addresses there are, if any.
static bool map_dual(CodeMemory *code)
{
  int fd = memfd_create("umbra-code", MFD_CLOEXEC);
  if (fd < 0) return false;
  void *write = MAP_FAILED, *run = MAP_FAILED;
  int fixed = code->write ? MAP_FIXED : 0;
  if (ftruncate(fd, (off_t)code->size) == 0) {
    write = mmap(code->write, code->size, PROT_READ | PROT_WRITE, MAP_SHARED | fixed, fd, 0);
    run = mmap(code->run, code->size, PROT_READ | PROT_EXEC, MAP_SHARED | fixed, fd, 0);
  }
  int error = errno;
  close(fd);
  if (write != MAP_FAILED && run != MAP_FAILED) {
    code->write = write;
    code->run = run;
    return true;
  }
  if (write != MAP_FAILED) munmap(write, code->size);
  if (run != MAP_FAILED) munmap(run, code->size);
  errno = error;
  return false;
}

bool code_renew(CodeMemory *code, size_t kept)
{
  if (code->backing == UM_CODE_PRIVATE) return true;         // the child's copy is its own
  uint8_t *copy = malloc(kept);
  if (!copy) return false;
  memcpy(copy, code->run, kept);
  bool ok = map_dual(code);
  if (ok) memcpy(code->write, copy, kept);
  free(copy);
  return ok;
}

int code_init(CodeMemory *code, size_t size, int backing, struct um_fault *why)
{
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  *code = (CodeMemory){ .size = (size + page - 1) / page * page, .backing = backing };
  if (backing == UM_CODE_DUAL) {
    if (map_dual(code)) return UM_OK;
    snprintf(code->notice, sizeof code->notice, "no executable memory file (%s): code memory is private", strerror(errno));
    code->backing = UM_CODE_PRIVATE;
  }
  void *memory = mmap(NULL, code->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fault_set(why, UM_ENOMEM, "no memory for %zu bytes of code: %s", code->size, strerror(errno));
  code->write = code->run = memory;
  code->open = true;
  return UM_OK;
}

void code_fini(CodeMemory *code)
{
  if (code->run && code->run != code->write) munmap(code->run, code->size);
  if (code->write) munmap(code->write, code->size);
  code->write = code->run = NULL;
}

static bool flip(CodeMemory *code, bool open)
{
  if (code->backing != UM_CODE_PRIVATE || code->open == open) return true;
  if (mprotect(code->write, code->size, PROT_READ | (open ? PROT_WRITE : PROT_EXEC)) != 0) return false;
  code->open = open;
  return true;
}

bool code_open(CodeMemory *code) { return flip(code, true); }
bool code_close(CodeMemory *code) { return flip(code, false); }

// Has the host make pages in larger steps than one by one where they are first written and run.
static void touch(CodeMemory *code)
{
  enum { AHEAD = 16 << 10, STEP = 128 << 10 };
  if (code->backing != UM_CODE_DUAL || code->used + AHEAD <= code->touched || code->touched == code->size) return;
  size_t from = code->touched, bytes = code->size - from < STEP ? code->size - from : STEP;
  if (madvise(code->write + from, bytes, MADV_POPULATE_WRITE) == 0) madvise(code->run + from, bytes, MADV_POPULATE_READ);
  code->touched += bytes;
}

uint8_t *code_begin(CodeMemory *code)
{
  touch(code);
  return flip(code, true) ? code->write + code->used : NULL;
}

uint8_t *code_commit(CodeMemory *code, size_t bytes)
{
  uint8_t *at = code->run + code->used;
  if (!flip(code, false)) return NULL;
  size_t used = (code->used + bytes + CODE_ALIGN - 1) / CODE_ALIGN * CODE_ALIGN;
  code->used = used < code->size ? used : code->size;
  return at;
}
