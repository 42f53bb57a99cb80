// log: the files that logs go to: buffered, limited, given up without harm when the host refuses a write.
// SPDX-License-Identifier: MIT
#include "base/log.h"
#include "base/fault.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 18 };

struct LogFile {
  LogFile *next;
  char    *path;
  int      fd;
  uint32_t used;                   // bytes of buffer
  uint64_t left;                   // bytes that may still be written
  bool     limited, told;
  int      error;                  // errno of the write that failed; 0: none
  char     buffer[BUFFER_BYTES];
};

UM_EXPORT um_log *um_log_new(void)
{
  return calloc(1, sizeof(Log));
}

// Nothing goes to `file` any more.
static void give_up(Log *log, LogFile *file)
{
  for (unsigned item = 0; item < UM_LOG_ITEMS; item++)
    if (log->file[item] == file) log->on &= ~(1u << item);
  file->used = 0;
}

static void flush(Log *log, LogFile *file)
{
  const char *from = file->buffer;
  uint64_t size = file->used < file->left ? file->used : file->left;
  bool over = file->used > file->left;
  while (size && !file->error) {
    ssize_t wrote = write(file->fd, from, size);
    if (wrote < 0 && errno == EAGAIN) poll(&(struct pollfd){ .fd = file->fd, .events = POLLOUT }, 1, -1);     // a pipe that does not block
    else if (wrote < 0 && errno != EINTR) file->error = errno;
    if (wrote <= 0) continue;
    from += wrote;
    size -= (uint64_t)wrote;
    file->left -= (uint64_t)wrote;
  }
  file->used = 0;
  file->limited = over;
  if (over || file->error) give_up(log, file);
}

UM_EXPORT void um_log_flush(um_log *log)
{
  for (LogFile *file = log->files; file; file = file->next)
    if (file->used) flush(log, file);
}

static void close_file(Log *log, LogFile *file)
{
  if (file->used) flush(log, file);
  if (file->fd != STDERR_FILENO) close(file->fd);
  free(file->path);
  free(file);
}

UM_EXPORT void um_log_free(um_log *log)
{
  if (!log) return;
  for (LogFile *file = log->files, *next; file; file = next) {
    next = file->next;
    close_file(log, file);
  }
  free(log);
}

static LogFile *find(Log *log, const char *path)
{
  for (LogFile *file = log->files; file; file = file->next)
    if (strcmp(file->path, path) == 0) return file;
  return NULL;
}

static LogFile *make(Log *log, const char *path, uint64_t limit, struct um_fault *why)
{
  LogFile *file = calloc(1, sizeof *file);
  char *name = strdup(path);
  if (!file || !name) {
    free(file);
    free(name);
    fault_set(why, UM_ENOMEM, "no memory for a log");
    return NULL;
  }
  *file = (LogFile){ .next = log->files, .path = name, .fd = STDERR_FILENO, .left = limit ? limit : UINT64_MAX };
  if (strcmp(path, "-") != 0) file->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file->fd >= 0) return log->files = file;
  fault_set(why, UM_EIO, "cannot open %.160s: %s", path, strerror(errno));
  free(file);
  free(name);
  return NULL;
}

UM_EXPORT int um_log_open(um_log *log, uint32_t items, const char *path, uint64_t limit, struct um_fault *why)
{
  um_log_close(log, items);
  LogFile *file = find(log, path);
  if (!file) file = make(log, path, limit, why);
  if (!file) return why ? why->status : UM_EIO;
  for (unsigned item = 0; item < UM_LOG_ITEMS; item++)
    if (items >> item & 1) log->file[item] = file;
  if (!file->error && !file->limited) log->on |= items & ((1u << UM_LOG_ITEMS) - 1);
  return UM_OK;
}

UM_EXPORT void um_log_close(um_log *log, uint32_t items)
{
  log->on &= ~items;
  for (unsigned item = 0; item < UM_LOG_ITEMS; item++)
    if (items >> item & 1) log->file[item] = NULL;
  for (LogFile **link = &log->files; *link;) {
    LogFile *file = *link;
    bool used = false;
    for (unsigned item = 0; item < UM_LOG_ITEMS; item++) used |= log->file[item] == file;
    if (used) {
      link = &file->next;
    } else {
      *link = file->next;
      close_file(log, file);
    }
  }
}

UM_EXPORT uint32_t um_log_items(const um_log *log)
{
  return log->on;
}

UM_EXPORT int um_log_trouble(um_log *log, struct um_fault *why)
{
  for (LogFile *file = log->files; file; file = file->next) {
    if (file->told || !(file->error || file->limited)) continue;
    file->told = true;
    if (file->error) return fault_set(why, UM_EIO, "log: cannot write %.160s: %s: it ends here", file->path, strerror(file->error));
    return fault_set(why, UM_EIO, "log: %.160s has reached its limit: it ends here", file->path);
  }
  return UM_OK;
}

char *log_line(Log *log, unsigned item)
{
  LogFile *file = log->file[item];
  if (file->used + LOG_LINE_MOST > BUFFER_BYTES) flush(log, file);
  return file->buffer + file->used;
}

void log_end(Log *log, unsigned item, const char *end)
{
  LogFile *file = log->file[item];
  uint32_t used = (uint32_t)(end - file->buffer);
  debug_check(used - file->used <= LOG_LINE_MOST);
  if (log->on >> item & 1) file->used = used;               // not given up meanwhile
}

void log_print(Log *log, unsigned item, const char *format, ...)
{
  char *line = log_line(log, item);
  va_list args;
  va_start(args, format);
  int length = vsnprintf(line, LOG_LINE_MOST - 1, format, args);
  va_end(args);
  if (length < 0) return;
  if (length > LOG_LINE_MOST - 2) length = LOG_LINE_MOST - 2;
  line[length++] = '\n';
  log_end(log, item, line + length);
}

UM_EXPORT void um_log_text(um_log *log, uint32_t item, const char *name, const char *text, uint64_t size)
{
  for (uint64_t at = 0; at < size && item < UM_LOG_ITEMS && log_wants(log, item);) {
    const char *stop = memchr(text + at, '\n', size - at);
    uint64_t length = stop ? (uint64_t)(stop - (text + at)) : size - at;
    log_print(log, item, "%s%.*s", name, length > LOG_LINE_MOST ? LOG_LINE_MOST : (int)length, text + at);
    at += length + 1;
  }
}
