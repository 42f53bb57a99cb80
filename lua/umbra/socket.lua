-- socket: streams over TCP and Unix sockets, for what talks to a machine from outside.
--
--   local listener = socket.listen(socket.place "unix:/tmp/gdb")
--   local stream = listener:accept()              -- nil while nobody came
--
-- Nothing here waits: who wants to, waits for `fd` (umbra.host's poller).
-- SPDX-License-Identifier: MIT
local bit   = require "bit"
local ffi   = require "ffi"
local clib  = require "umbra.clib"
local fault = require "umbra.fault"

local C = clib.host [[
int um_host_socket(int family, int type, int protocol) __asm__("socket");
int um_host_bind(int fd, const void *address, unsigned size) __asm__("bind");
int um_host_listen(int fd, int backlog) __asm__("listen");
int um_host_accept(int fd, void *address, unsigned *size, int flags) __asm__("accept4");
int um_host_connect(int fd, const void *address, unsigned size) __asm__("connect");
int um_host_getsockname(int fd, void *address, unsigned *size) __asm__("getsockname");
int um_host_setsockopt(int fd, int level, int name, const void *value, unsigned size) __asm__("setsockopt");
ssize_t um_host_send(int fd, const void *from, size_t size, int flags) __asm__("send");
ssize_t um_host_recv(int fd, void *to, size_t size, int flags) __asm__("recv");
int um_host_shut(int fd) __asm__("close");
int um_host_unlink(const char *path) __asm__("unlink");
int um_host_fchmod(int fd, unsigned mode) __asm__("fchmod");
char *um_host_strerror(int number) __asm__("strerror");
]]

local socket = {}

local UNIX, INET, STREAM = 1, 2, 1
local CLOEXEC, NONBLOCK, DONTWAIT, NOSIGNAL = 0x80000, 0x800, 0x40, 0x4000
local SOL_SOCKET, REUSE, TCP, NODELAY = 1, 2, 6, 1
local EINTR, EAGAIN, EADDRINUSE, ECONNREFUSED = 4, 11, 98, 111
local PATH_BYTES = 107                            -- of a Unix socket
local MOST_QUEUED = 2^20                          -- bytes that a peer may leave unread before it is given up
local PIECE = 16384

local function reason() return ffi.string(C.um_host_strerror(ffi.errno())) end

-- Places -------------------------------------------------------------------------------------------------------------------

-- The place named by `text`: "1234", ":1234", "127.0.0.1:1234", "tcp::1234" ({ address =, port = }; port 0: any that is free), or
-- "unix:PATH" ({ path = }). nil and what would be right otherwise.
function socket.place(text)
  local path = text:match "^unix:(.+)$"
  if path then
    if #path > PATH_BYTES or path:find "%z" then return nil, ("unix:PATH with at most %d bytes of path"):format(PATH_BYTES) end
    return { path = path }
  end
  local wanted = "PORT (0 to 65535), ADDRESS:PORT or unix:PATH"
  local address, port = text:gsub("^tcp:", ""):match "^([^:]*):(%d+)$"
  if not port then address, port = "", text:match "^%d+$" end
  if not port or tonumber(port) > 65535 then return nil, wanted end
  if address == "" or address == "localhost" then address = "127.0.0.1" end
  local a, b, c, d = address:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  for _, part in ipairs { a or 256, b, c, d } do
    if tonumber(part) > 255 then return nil, wanted end
  end
  return { address = address, port = tonumber(port) }
end

-- The place as text: what gdb's `target remote` takes.
function socket.show(place)
  return place.path or place.address .. ":" .. place.port
end

local function sockaddr(place)
  local family = ffi.new("uint16_t[1]", place.path and UNIX or INET)
  if place.path then return ffi.string(family, 2) .. place.path .. "\0" end
  local parts = {}
  for part in place.address:gmatch "%d+" do parts[#parts + 1] = string.char(part) end
  return ffi.string(family, 2) .. string.char(bit.rshift(place.port, 8), place.port % 256) .. table.concat(parts) .. ("\0"):rep(8)
end

local function new_fd(place, more)
  local fd = C.um_host_socket(place.path and UNIX or INET, STREAM + CLOEXEC + more, 0)
  if fd < 0 then fault.raise("no socket: %s", reason()) end
  return fd
end

-- Streams ------------------------------------------------------------------------------------------------------------------

local Stream = {}
Stream.__index = Stream

local buffer = ffi.new("uint8_t[?]", PIECE)

local function new_stream(fd, place)
  if not place.path then C.um_host_setsockopt(fd, TCP, NODELAY, ffi.new("int[1]", 1), 4) end
  return setmetatable({ fd = fd, queue = "" }, Stream)
end

-- Bytes that came: nil when there are none now, "" once the peer is gone.
function Stream:read()
  local got = C.um_host_recv(self.fd, buffer, PIECE, DONTWAIT)
  if got > 0 then return ffi.string(buffer, got) end
  if got < 0 and (ffi.errno() == EAGAIN or ffi.errno() == EINTR) then return end
  return ""
end

-- Sends `bytes`, or keeps them until flush while the peer reads nothing. False once the peer is gone, or has left too much unread.
function Stream:write(bytes)
  self.queue = self.queue .. bytes
  return self:flush()
end

function Stream:flush()
  if not self.fd then return false end
  while self.queue ~= "" do
    local sent = tonumber(C.um_host_send(self.fd, self.queue, #self.queue, DONTWAIT + NOSIGNAL))
    if sent < 0 then return (ffi.errno() == EAGAIN or ffi.errno() == EINTR) and #self.queue <= MOST_QUEUED end
    self.queue = self.queue:sub(sent + 1)
  end
  return true
end

function Stream:close()
  if self.fd then C.um_host_shut(self.fd) end
  self.fd = nil
end

-- A stream to who listens at `place`, or nil and why not.
function socket.connect(place)
  local fd, address = new_fd(place, place.path and NONBLOCK or 0), sockaddr(place)      -- a full Unix socket would let us wait
  if C.um_host_connect(fd, address, #address) == 0 then return new_stream(fd, place) end
  local number, text = ffi.errno(), reason()
  C.um_host_shut(fd)
  return nil, text, number
end

-- Listeners ----------------------------------------------------------------------------------------------------------------

local Listener = {}
Listener.__index = Listener

-- A socket at which nobody listens any more is left over from a process that was killed.
local function is_left_over(place)
  local status = require("luv").fs_lstat(place.path)
  if not status or status.type ~= "socket" then return false end
  local other, _, number = socket.connect(place)
  if other then other:close() end
  return number == ECONNREFUSED
end

local function bind(fd, place)
  local address = sockaddr(place)
  if C.um_host_bind(fd, address, #address) == 0 then return true end
  if not place.path or ffi.errno() ~= EADDRINUSE then return false, reason() end
  local text = reason()
  if not is_left_over(place) then return false, text end
  C.um_host_unlink(place.path)
  if C.um_host_bind(fd, address, #address) == 0 then return true end
  return false, reason()
end

-- Listens at `place` (socket.place); listener.place has the port that was chosen. A path is for its owner alone. Refuses a place that
-- is taken.
function socket.listen(place)
  local fd = new_fd(place, NONBLOCK)
  if place.path then C.um_host_fchmod(fd, 384)    -- 0600
  else C.um_host_setsockopt(fd, SOL_SOCKET, REUSE, ffi.new("int[1]", 1), 4) end
  local ok, text = bind(fd, place)
  if ok and C.um_host_listen(fd, 4) ~= 0 then ok, text = false, reason() end
  if not ok then
    C.um_host_shut(fd)
    fault.raise("cannot listen at %s: %s", socket.show(place), text)
  end
  local self = setmetatable({ fd = fd, place = place }, Listener)
  if not place.path then
    local name, size = ffi.new "uint8_t[16]", ffi.new("unsigned[1]", 16)
    C.um_host_getsockname(fd, name, size)
    self.place = { address = place.address, port = name[2] * 256 + name[3] }
  end
  return self
end

-- A stream to the next one who came, nil when nobody did.
function Listener:accept()
  local fd = C.um_host_accept(self.fd, nil, nil, CLOEXEC)
  if fd >= 0 then return new_stream(fd, self.place) end
end

function Listener:close()
  if not self.fd then return end
  C.um_host_shut(self.fd)
  if self.place.path then C.um_host_unlink(self.place.path) end
  self.fd = nil
end

return socket
