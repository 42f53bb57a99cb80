-- linux: RISC-V Linux programs as processes: run one, see how it ends, capture what it prints, look at its system calls.
-- SPDX-License-Identifier: MIT
--
-- A guest process is this process: its descriptors, its current folder and its process id are the host's. So one runs at a time,
-- and where it ends by a signal that the host's process survives (a fault of its own, abort), run says so.
local bit    = require "bit"
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local cpu    = require "umbra.cpu"
local fault  = require "umbra.fault"
local handle = require "umbra.handle"
local schema = require "umbra.schema"

local C = clib.C
local H = clib.host [[
extern char **um_linux_environ __asm__("environ");
int um_linux_memfd(const char *name, unsigned int flags) __asm__("memfd_create");
int um_linux_dup(int fd, int command, int least) __asm__("fcntl");
int um_linux_dup2(int from, int to) __asm__("dup2");
int um_linux_shut(int fd) __asm__("close");
ssize_t um_linux_pread(int fd, void *to, size_t size, int64_t at) __asm__("pread64");
int64_t um_linux_seek(int fd, int64_t at, int from) __asm__("lseek64");
]]

local linux = {}
local Linux = { noun = "linux" }
Linux.__index = Linux

linux.ISA = "rv64gc_zba_zbb_zbs"

linux.OPTIONS = {
  { "elf",     type = "path", required = true, help = "the program, or a script that begins with #!" },
  { "args",    type = "table", default = {}, help = "its arguments, without its name" },
  { "name",    type = "string", help = "its argument 0; the program's path when not given" },
  { "env",     type = "table", help = "its environment as { NAME = value }; ours when not given" },
  { "sysroot", type = "path", help = "folder in which absolute paths are tried first" },
  { "isa",     type = "string", default = linux.ISA, help = "instruction set" },
  { "fuse",    type = "boolean", default = true, help = "run fused sequences" },
  { "strace",  type = "boolean", default = false, help = "print every system call to standard error" },
  { "capture", type = "boolean", default = false, help = "keep what it prints: result.out and result.err" },
}

-- Names of signals, for people.
linux.SIGNALS = { [1] = "SIGHUP", [2] = "SIGINT", [3] = "SIGQUIT", [4] = "SIGILL", [5] = "SIGTRAP", [6] = "SIGABRT", [7] = "SIGBUS", [8] = "SIGFPE",
                  [9] = "SIGKILL", [10] = "SIGUSR1", [11] = "SIGSEGV", [12] = "SIGUSR2", [13] = "SIGPIPE", [14] = "SIGALRM", [15] = "SIGTERM" }

local function texts(list, what)
  for i, value in ipairs(list) do
    if type(value) ~= "string" or value:find "%z" then fault.raise("`%s[%d]` must be text without zero bytes, not %s", what, i, schema.show(value)) end
  end
  local array = ffi.new("const char *[?]", #list + 1)
  for i, value in ipairs(list) do array[i - 1] = value end
  return array
end

local function environment(given)
  local list = {}
  if not given then
    local at = H.um_linux_environ
    while at ~= nil and at[#list] ~= nil do list[#list + 1] = ffi.string(at[#list]) end
    return list
  end
  for key, value in pairs(given) do
    if type(key) ~= "string" or key == "" or key:find "[=%z]" then fault.raise("`env`: %s is no name", schema.show(key)) end
    list[#list + 1] = key .. "=" .. tostring(value)
  end
  table.sort(list)
  return list
end

-- The host's path of a program: an absolute one below the sysroot first, a bare name among the sysroot's programs.
function linux.find(path, sysroot)
  local function there(place)
    local file = io.open(place, "rb")
    if file then file:close() end
    return file and place
  end
  if not sysroot then return path end
  if path:sub(1, 1) == "/" then return there(sysroot .. path) or path end
  if path:find "/" or there(path) then return path end
  return there(sysroot .. "/usr/bin/" .. path) or there(sysroot .. "/bin/" .. path) or path
end

-- linux.new { elf = "a.out", args = { "x" } }: a process of which nothing has run yet.
function linux.new(options)
  options = schema.check(options, linux.OPTIONS, "linux")
  local why, o = ffi.new "struct um_fault", ffi.new "struct um_linux_options"
  local sysroot = options.sysroot and options.sysroot:gsub("(.)/+$", "%1")
  if sysroot and sysroot:sub(1, 1) ~= "/" then sysroot = require("umbra.host").folder() .. sysroot end
  o.extensions, o.sysroot, o.fuse, o.strace = cpu.isa_mask(options.isa, "su"), sysroot, options.fuse, options.strace
  local path = linux.find(options.elf, sysroot)
  local argv = { options.name or options.elf, unpack(options.args) }
  local arguments, env = texts(argv, "args"), environment(options.env)
  local ptr = C.um_linux_new(o, why)
  if ptr == nil then fault.raise("%s", ffi.string(why.text)) end
  local self = handle.new(Linux, ptr, C.um_linux_free, {
    why = why, event = ffi.new "struct um_linux_event", hooks = {}, capture = options.capture, isa = options.isa, path = path, started = false,
  })
  if C.um_linux_load(ptr, path, arguments, texts(env, "env"), why) < 0 then
    local text = ffi.string(why.text)
    self:close()
    fault.raise("%s", text)
  end
  return self
end

local numbers                                     -- of calls by name, made at first use

local function calls()
  if numbers then return numbers end
  numbers = {}
  local call, index = ffi.new "struct um_linux_call", 0
  while C.um_linux_call(nil, index, call) >= 0 do
    numbers[ffi.string(call.name)] = { number = call.number, arguments = call.arguments }
    index = index + 1
  end
  return numbers
end

-- From now on f(call) is called before and after each system call `name` of the program's first thread:
-- call.name, call.returned (false: about to be made), call[1] to call[6] (arguments; changed ones are what is made),
-- call.result (after; what is left there is what the program gets). A result set before the call stands for it: it is not made.
-- Calls of other threads are not seen. nil instead of f: no longer.
function Linux:on(name, f)
  local call = calls()[name]
  if not call then
    local names = {}
    for known in pairs(calls()) do names[#names + 1] = known end
    table.sort(names)
    local near = schema.nearest(tostring(name), names)
    fault.raise("there is no system call %s%s", schema.show(name), near and (", did you mean `%s`?"):format(near) or "")
  end
  if f ~= nil and type(f) ~= "function" then fault.raise("on(%s) takes a function, not %s", schema.show(name), schema.show(f)) end
  fault.check(C.um_linux_hook(self.ptr, call.number, f ~= nil, self.why), self.why)
  self.hooks[call.number] = f and { f = f, name = name, arguments = call.arguments } or nil
end

local function serve(self)
  local event = self.event
  local hook = self.hooks[event.call]
  if not hook then return end
  local call = { name = hook.name, returned = event.returned }
  for i = 1, hook.arguments do call[i] = bits.number(event.argument[i - 1]) end
  if event.returned then call.result = bits.number(ffi.cast("uint64_t", event.result)) end
  if event.returned and event.result < 0 then call.result = tonumber(event.result) end
  hook.f(call)
  for i = 1, hook.arguments do event.argument[i - 1] = bits.u64(call[i]) end
  if call.result ~= nil then
    event.result = ffi.cast("int64_t", bits.u64(call.result))
    event.skip = not event.returned
  end
end

-- Standard output and error go to files in memory until `restore`, which returns what came.
local function captured()
  local saved, files = {}, {}
  for fd = 1, 2 do
    files[fd] = H.um_linux_memfd("out", 1)
    saved[fd] = H.um_linux_dup(fd, 1030, 900)     -- F_DUPFD_CLOEXEC
    H.um_linux_dup2(files[fd], fd)
  end
  return function()
    local out = {}
    for fd = 1, 2 do
      H.um_linux_dup2(saved[fd], fd)
      local size = tonumber(H.um_linux_seek(files[fd], 0, 2))
      local buffer = ffi.new("uint8_t[?]", math.max(size, 1))
      H.um_linux_pread(files[fd], buffer, size, 0)
      out[fd] = ffi.string(buffer, size)
      H.um_linux_shut(files[fd])
      H.um_linux_shut(saved[fd])
    end
    return out[1], out[2]
  end
end

local ABI = {}
for i, name in ipairs { "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
                        "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6" } do ABI[name] = i end
ABI.zero, ABI.pc = 0, 32

-- A register of the first thread by name ("a0", "pc").
function Linux:reg(name)
  return bits.number(C.um_linux_reg(self.ptr, ABI[name] or fault.raise("there is no register %s", schema.show(name))))
end

-- Guest memory: `size` bytes as a string, or text up to its zero byte.
function Linux:read(gva, size)
  if type(size) ~= "number" or size < 0 or size > 2^31 - 1 then fault.raise("read takes an address and a size below 2 GiB, not %s", schema.show(size)) end
  local buffer = ffi.new("uint8_t[?]", math.max(size, 1))
  fault.check(C.um_linux_read(self.ptr, bits.u64(gva), buffer, size, self.why), self.why)
  return ffi.string(buffer, size)
end

function Linux:text(gva, most)
  local out, at = {}, gva
  while #out < (most or 4096) do
    local byte = self:read(at, 1)
    if byte == "\0" then break end
    out[#out + 1], at = byte, at + 1
  end
  return table.concat(out)
end

function Linux:write(gva, bytes)
  if type(bytes) ~= "string" then fault.raise("write takes an address and bytes, not %s", schema.show(bytes)) end
  fault.check(C.um_linux_write(self.ptr, bits.u64(gva), bytes, #bytes, self.why), self.why)
end

-- Runs the program to its end: { code = 0 to 255 } or { signal = number }, with `fault` = { pc =, address = } where an instruction
-- of its own ended it; with capture also out and err.
function Linux:run()
  io.stdout:flush()
  local restore = self.capture and captured()
  local event = self.event
  local ok, problem = pcall(function()
    repeat
      fault.check(C.um_linux_run(self.ptr, event, self.why), self.why)
      if event.reason == C.UM_LINUX_CALL then serve(self) end
    until event.reason ~= C.UM_LINUX_CALL
  end)
  local result = {}
  if restore then result.out, result.err = restore() end
  if not ok then error(problem, 0) end
  if event.reason == C.UM_LINUX_EXITED then
    result.code = event.code
  else
    result.signal = event.code
    if event.fault then result.fault = { pc = bits.number(event.pc), address = bits.number(event.address) } end
  end
  return result
end

-- What was counted: instructions, calls by name, ...
function Linux:counters()
  local counts, call, index = ffi.new "struct um_linux_counts", ffi.new "struct um_linux_call", 0
  C.um_linux_counts(self.ptr, counts)
  local by_name = {}
  while C.um_linux_call(self.ptr, index, call) >= 0 do
    if call.count > 0 then by_name[ffi.string(call.name)] = tonumber(call.count) end
    index = index + 1
  end
  return {
    instructions = tonumber(counts.instructions), accesses = tonumber(counts.accesses),
    blocks = { decoded = tonumber(counts.decoded), invalidated = tonumber(counts.invalidated) },
    calls = tonumber(counts.calls), calls_by_name = by_name, unknown_calls = tonumber(counts.unknown),
    threads = tonumber(counts.threads), forks = tonumber(counts.forks), signals = tonumber(counts.signals), mapped_bytes = tonumber(counts.mapped_bytes),
  }
end

local function word_at(self, pc)
  local ok, bytes = pcall(self.read, self, pc, 4)
  if not ok then ok, bytes = pcall(self.read, self, pc, 2) end
  if not ok then return end
  local a, b, c, d = bytes:byte(1, 4)
  return a + b * 256 + (c or 0) * 65536 + (d or 0) * 16777216
end

-- A report of the fault that ended the program: what, where, the instructions around it, and the registers.
function Linux:report(result)
  local lines, at = {}, result.fault
  local name = linux.SIGNALS[result.signal] or "signal " .. result.signal
  lines[1] = ("%s at pc 0x%s"):format(name, bit.tohex(bits.u64(at.pc), 16):gsub("^0+(.)", "%1"))
  if result.signal == 11 or result.signal == 7 then
    lines[1] = lines[1] .. (", touching address 0x%s"):format(bit.tohex(bits.u64(at.address), 16):gsub("^0+(.)", "%1"))
  end
  local mask, text, pc = cpu.isa_mask(self.isa), ffi.new "char[128]", bits.u64(at.pc)
  for i = 0, 3 do
    local word = word_at(self, pc)
    if not word then break end
    local length = C.um_riscv_disassemble(word, pc, mask, text, 128)
    lines[#lines + 1] = ("%s %s: %s"):format(i == 0 and "=>" or "  ", bit.tohex(pc, 10), length > 0 and ffi.string(text) or "illegal instruction")
    pc = pc + (length > 0 and length or 2)
  end
  local names = {}
  for reg, index in pairs(ABI) do names[index + 1] = reg end
  for row = 0, 28, 4 do
    local columns = {}
    for i = row + 1, row + 4 do columns[#columns + 1] = ("%-4s %s"):format(names[i], bit.tohex(C.um_linux_reg(self.ptr, i - 1), 16)) end
    lines[#lines + 1] = "   " .. table.concat(columns, "  ")
  end
  return table.concat(lines, "\n")
end

function Linux:close() handle.close(self) end

-- linux.run { elf = "a.out", capture = true }: runs a program from start to end and returns what Linux:run does.
function linux.run(options)
  local self = linux.new(options)
  local ok, result = pcall(self.run, self)
  self:close()
  if not ok then error(result, 0) end
  return result
end

return linux
