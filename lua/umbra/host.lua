-- host: the host's terminal, pipes and signals, as `umbra run` needs them.
--
-- Signals become a file descriptor (signalfd), so no handler runs at a bad moment and a terminal in raw mode is restored on the
-- ordinary way out. Nothing here changes a descriptor's blocking mode: standard input and output are shared with the shell.
-- SPDX-License-Identifier: MIT
local bit  = require "bit"
local ffi  = require "ffi"
local clib = require "umbra.clib"

-- The um_host_ names keep clear of declarations that a user's script may have made of the same functions.
local C = clib.host [[
struct um_host_pollfd { int fd; short events, revents; };
ssize_t um_host_read(int fd, void *to, size_t size) __asm__("read");
ssize_t um_host_write(int fd, const void *from, size_t size) __asm__("write");
int um_host_open(const char *path, int flags, int mode) __asm__("open");
int um_host_close(int fd) __asm__("close");
int um_host_dup2(int from, int to) __asm__("dup2");
int um_host_fcntl(int fd, int command, int argument) __asm__("fcntl");
int um_host_prctl(int option, unsigned long argument) __asm__("prctl");
int um_host_poll(struct um_host_pollfd *fds, unsigned long count, int milliseconds) __asm__("poll");
int um_host_ioctl(int fd, unsigned long request, void *argument) __asm__("ioctl");
int um_host_isatty(int fd) __asm__("isatty");
int um_host_ferror(void *file) __asm__("ferror");
int um_host_getpgrp(void) __asm__("getpgrp");
int um_host_tcgetpgrp(int fd) __asm__("tcgetpgrp");
int um_host_tcgetattr(int fd, void *attributes) __asm__("tcgetattr");
int um_host_tcsetattr(int fd, int when, const void *attributes) __asm__("tcsetattr");
void um_host_cfmakeraw(void *attributes) __asm__("cfmakeraw");
int um_host_sigemptyset(void *set) __asm__("sigemptyset");
int um_host_sigaddset(void *set, int signal) __asm__("sigaddset");
int um_host_sigprocmask(int how, const void *set, void *old) __asm__("pthread_sigmask");
int um_host_signalfd(int fd, const void *set, int flags) __asm__("signalfd");
void *um_host_signal(int signal, void *handler) __asm__("signal");
char *um_host_getcwd(char *to, size_t size) __asm__("getcwd");
int um_host_clock_gettime(int clock, int64_t *seconds_and_ns) __asm__("clock_gettime");
int um_host_epoll_create(int flags) __asm__("epoll_create1");
int um_host_epoll_ctl(int epoll, int operation, int fd, void *event) __asm__("epoll_ctl");
]]

local host = {}

local EINTR, EAGAIN, EPIPE = 4, 11, 32
local POLLIN, POLLOUT, POLLGONE = 1, 4, 8 + 16 + 32      -- POLLGONE: error, hang-up, not open
local SIG_BLOCK, SIG_SETMASK = 0, 2
local CLOEXEC, NONBLOCK = 0x80000, 0x800                 -- O_, EPOLL_, SFD_: the same values
local EPOLL_ADD, EPOLL_DEL = 1, 2
local SIGPIPE, SIGKILL = 13, 9
local SIGNALS = { 1, 2, 3, 15 }                          -- HUP, INT, QUIT, TERM
local SIGNAL_BYTES = 128                                 -- struct signalfd_siginfo
local ATTRIBUTE_BYTES, SET_BYTES = 256, 256              -- at least struct termios and sigset_t

local closed_before = {}                                 -- standard descriptors that this process was started without

-- Opens /dev/null in place of standard descriptors that are closed: another file opened later must not be taken for them.
function host.keep_standard_files()
  for fd = 0, 2 do
    if C.um_host_fcntl(fd, 1, 0) < 0 then                -- F_GETFD; the lowest free number is fd
      C.um_host_open("/dev/null", fd == 0 and 0 or 1, 0)
      closed_before[#closed_before + 1] = fd
    end
  end
end

-- Closes these again, for a program that takes its place, until the function that is returned is called.
function host.give_back_standard_files()
  for _, fd in ipairs(closed_before) do C.um_host_close(fd) end
  return function()
    for _, fd in ipairs(closed_before) do
      local null = C.um_host_open("/dev/null", 2, 0)     -- O_RDWR
      if null ~= fd then
        C.um_host_dup2(null, fd)
        C.um_host_close(null)
      end
    end
  end
end

-- Programs that this process starts do not get descriptor `fd`.
function host.keep_from_children(fd) C.um_host_fcntl(fd, 2, 1) end        -- F_SETFD, FD_CLOEXEC

-- Whoever started this process takes it along when it ends, however that happens.
function host.end_with_parent() C.um_host_prctl(1, SIGKILL) end           -- PR_SET_PDEATHSIG

-- A reader that went away is a refused write (EPIPE), not the end of this process.
local sigpipe_before
function host.ignore_sigpipe()
  sigpipe_before = C.um_host_signal(SIGPIPE, ffi.cast("void *", 1))       -- SIG_IGN
end

-- As it was when this process began, for a program that takes its place.
function host.restore_sigpipe()
  if sigpipe_before then C.um_host_signal(SIGPIPE, sigpipe_before) end
end

-- Seconds of the host's monotonic clock.
local time = ffi.new "int64_t[2]"
function host.seconds()
  C.um_host_clock_gettime(1, time)
  return tonumber(time[0]) + tonumber(time[1]) * 1e-9
end

-- The current folder, ending in "/".
function host.folder()
  local buffer = ffi.new "char[4096]"
  if C.um_host_getcwd(buffer, 4096) == nil then return "./" end
  return (ffi.string(buffer):gsub("/*$", "/"))
end

function host.is_terminal(fd) return C.um_host_isatty(fd) == 1 end

-- Whether this process may read its terminal: a background job that tried would be stopped.
function host.is_foreground(fd) return C.um_host_tcgetpgrp(fd) == C.um_host_getpgrp() end

-- Characters a line of the terminal `fd` has; 80 where nobody knows.
function host.columns(fd)
  local size = ffi.new "uint16_t[4]"
  return C.um_host_ioctl(fd, 0x5413, size) == 0 and size[1] > 0 and size[1] or 80        -- TIOCGWINSZ
end

-- Puts the terminal `fd` into raw mode; returns a function that restores it, nil when it is none.
function host.raw(fd)
  local old, raw = ffi.new("uint8_t[?]", ATTRIBUTE_BYTES), ffi.new("uint8_t[?]", ATTRIBUTE_BYTES)
  if C.um_host_tcgetattr(fd, old) ~= 0 then return end
  ffi.copy(raw, old, ATTRIBUTE_BYTES)
  C.um_host_cfmakeraw(raw)
  ffi.cast("uint32_t *", raw)[1] = ffi.cast("uint32_t *", old)[1]     -- c_oflag: programs that end lines with \n alone stay readable
  C.um_host_tcsetattr(fd, 0, raw)
  return function() C.um_host_tcsetattr(fd, 0, old) end
end

local Poller = {}
Poller.__index = Poller

-- host.poller(): its fd is readable while one of those added is.
function host.poller()
  return setmetatable({ fd = C.um_host_epoll_create(CLOEXEC), polled = ffi.new "struct um_host_pollfd[1]" }, Poller)
end

-- Until it is closed, `fd` counts.
function Poller:add(fd) C.um_host_epoll_ctl(self.fd, EPOLL_ADD, fd, ffi.new("uint32_t[4]", POLLIN)) end

-- Waits until one of them is readable, at most `seconds`.
function Poller:wait(seconds)
  self.polled[0].fd, self.polled[0].events, self.polled[0].revents = self.fd, POLLIN, 0
  C.um_host_poll(self.polled, 1, math.ceil(math.min(seconds, 3600) * 1000))
end

function Poller:close()
  if self.fd then C.um_host_close(self.fd) end
  self.fd = nil
end

-- What became of all that was written to standard output: nil where it arrived, "gone" where its reader went away, "refused" where
-- the host took no more (a full disk).
function host.output_trouble()
  local flushed = io.stdout:flush()
  if flushed and C.um_host_ferror(io.stdout) == 0 then return end
  local p = ffi.new("struct um_host_pollfd[1]")
  p[0].fd, p[0].events = 1, POLLOUT
  local gone = C.um_host_poll(p, 1, 0) > 0 and bit.band(p[0].revents, POLLGONE) ~= 0
  return gone and "gone" or "refused"
end

local Input = {}
Input.__index = Input

-- host.input(fd): bytes and signals that come from outside. `fd` nil: signals alone. input.fd becomes readable (for poll and
-- Control:watch) when either is there. Blocks HUP, INT and TERM until close.
function host.input(fd)
  local self = setmetatable({ source = fd, watching = false }, Input)
  self.set, self.old = ffi.new("uint8_t[?]", SET_BYTES), ffi.new("uint8_t[?]", SET_BYTES)
  C.um_host_sigemptyset(self.set)
  for _, signal in ipairs(SIGNALS) do C.um_host_sigaddset(self.set, signal) end
  C.um_host_sigprocmask(SIG_BLOCK, self.set, self.old)
  self.signals = C.um_host_signalfd(-1, self.set, bit.bor(CLOEXEC, NONBLOCK))
  self.fd = C.um_host_epoll_create(CLOEXEC)
  self.event = ffi.new("uint32_t[4]", POLLIN)            -- struct epoll_event, packed or not
  C.um_host_epoll_ctl(self.fd, EPOLL_ADD, self.signals, self.event)
  self.buffer = ffi.new("uint8_t[?]", 4096)
  self.polled = ffi.new("struct um_host_pollfd[2]")
  self:want(fd ~= nil)
  return self
end

-- Whether bytes are welcome now. While they are not, waiting ones do not make input.fd readable.
function Input:want(yes)
  yes = yes and self.source ~= nil
  if yes == self.watching then return end
  self.watching = yes
  C.um_host_epoll_ctl(self.fd, yes and EPOLL_ADD or EPOLL_DEL, self.source, self.event)   -- refused for plain files, which are always ready
end

-- input.fd is readable when `fd` is, too.
function Input:join(fd) C.um_host_epoll_ctl(self.fd, EPOLL_ADD, fd, self.event) end

-- Whether there is something to read: true; "gone" where whoever wrote it hung up; nil: not now.
function Input:ready()
  self.polled[0].fd, self.polled[0].events, self.polled[0].revents = self.source or -1, POLLIN, 0
  if C.um_host_poll(self.polled, 1, 0) <= 0 then return end
  return bit.band(self.polled[0].revents, POLLIN) ~= 0 or "gone"
end

-- Sleeps until there is something, however long that takes.
function Input:wait()
  self.polled[0].fd, self.polled[0].events, self.polled[0].revents = self.fd, POLLIN, 0
  C.um_host_poll(self.polled, 1, -1)
end

-- Waiting bytes, at most `most`: nil when there are none now, "" once at the end of input.
function Input:read(most)
  if not self.source or most <= 0 or not self:ready() then return end
  local got = C.um_host_read(self.source, self.buffer, math.min(most, 4096))
  if got > 0 then return ffi.string(self.buffer, got) end
  if got < 0 and (ffi.errno() == EINTR or ffi.errno() == EAGAIN) then return end
  self:want(false)
  self.source = nil
  return ""
end

-- The number of a signal that came, or nil.
function Input:signal()
  local info = ffi.new("uint32_t[?]", SIGNAL_BYTES / 4)
  if C.um_host_read(self.signals, info, SIGNAL_BYTES) == SIGNAL_BYTES then return info[0] end
end

-- Writes all of `bytes` to `fd`. True, or nil and why not: "gone" when the reader closed it, or the number of a signal that
-- came while the reader let us wait.
function Input:write(fd, bytes)
  local at, size = 0, #bytes
  local from = ffi.cast("const uint8_t *", bytes)
  while at < size do
    local p = self.polled
    p[0].fd, p[0].events, p[0].revents = fd, POLLOUT, 0
    p[1].fd, p[1].events, p[1].revents = self.signals, POLLIN, 0
    C.um_host_poll(p, 2, -1)
    if p[0].revents ~= 0 then
      -- A pipe that polls writable takes 4096 bytes without blocking.
      local wrote = C.um_host_write(fd, from + at, math.min(size - at, 4096))
      if wrote > 0 then
        at = at + tonumber(wrote)
      elseif ffi.errno() == EPIPE or bit.band(p[0].revents, POLLGONE) ~= 0 then
        return nil, "gone"
      elseif ffi.errno() ~= EINTR and ffi.errno() ~= EAGAIN then
        return nil, "refused"
      end
    elseif p[1].revents ~= 0 then
      local signal = self:signal()
      if signal then return nil, signal end
    end
  end
  return true
end

function Input:close()
  if not self.fd then return end
  C.um_host_close(self.fd)
  C.um_host_close(self.signals)
  C.um_host_sigprocmask(SIG_SETMASK, self.old, nil)
  self.fd = nil
end

return host
