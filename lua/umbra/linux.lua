-- linux: RISC-V Linux programs as processes: run one, see how it ends, capture what it prints, look at its system calls.
-- SPDX-License-Identifier: MIT
--
-- A guest process is this process: its descriptors, its current folder and its process id are the host's. So one runs at a time,
-- and where it ends by a signal that the host's process survives (a fault of its own, abort), run says so.
local bit    = require "bit"
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local engine = require "umbra.cpu.engine"
local fault  = require "umbra.fault"
local handle = require "umbra.handle"
local isa    = require "umbra.cpu.isa"
local schema = require "umbra.schema"

local C = clib.C
local H = clib.host [[
extern char **um_linux_environ __asm__("environ");
int um_linux_memfd(const char *name, unsigned int flags) __asm__("memfd_create");
int um_linux_dup(int fd, int command, int least) __asm__("fcntl");
int um_linux_dup2(int from, int to) __asm__("dup2");
int um_linux_shut(int fd) __asm__("close");
ssize_t um_linux_pread(int fd, void *to, size_t size, int64_t at) __asm__("pread64");
ssize_t um_linux_pwrite(int fd, const void *from, size_t size, int64_t at) __asm__("pwrite64");
int64_t um_linux_seek(int fd, int64_t at, int from) __asm__("lseek64");
]]

-- Other modules are loaded where they are needed: a short program's time is mostly that of loading Lua.
local linux = {}
local Linux = { noun = "linux" }
local made_once = {}                              -- what a process makes when it is first asked for: name -> function

-- What other machines have and a process has not is refused in one line.
local MISSING = {
  hook = "m:on(NAME, f) sees its system calls", console = "capture = true keeps what it prints", reset = "build another one",
  start = "m:run() runs it to its end", gdb = "none can connect to one", log = "strace = true prints its system calls",
  ram = "its memory is m:map()", clock = "its time is the host's",
}

function Linux.__index(self, key)
  if made_once[key] then
    self[key] = made_once[key](self)
    return self[key]
  end
  if Linux[key] == nil and MISSING[key] then fault.raise("a process has no `%s`: %s", key, MISSING[key]) end
  return Linux[key]
end

linux.ISA = "rv64gc_zba_zbb_zbs"

linux.OPTIONS = {
  { "elf",     type = "path", required = true, help = "the program, or a script that begins with #!" },
  { "args",    type = "any", default = {}, help = "its arguments, without its name: a list, or text that is split at blanks" },
  { "name",    type = "string", help = "its argument 0; the program's path when not given" },
  { "env",     type = "table", help = "its environment as { NAME = value }; ours when not given" },
  { "sysroot", type = "path", help = "folder in which absolute paths are tried first" },
  { "jail",    type = "path", help = "the only folder that it finds, and no sockets; holds for this process too, for good" },
  { "isa",     type = "string", default = linux.ISA, help = "instruction set" },
  engine.ROWS[1], engine.ROWS[2],
  { "fuse",    type = "boolean", default = true, help = "run fused sequences" },
  { "strace",  type = "boolean", default = false, help = "print every system call to standard error" },
  { "input",   type = "string", help = "bytes for its standard input; ours when not given" },
  { "capture", type = "boolean", default = false, help = "keep what it prints: result.out and result.err" },
}

-- A copy of options with defaults; `where` names them in refusals.
function linux.check(options, where)
  options = schema.check(options, linux.OPTIONS, where)
  if options.engine == "lockstep" then fault.raise("`%s.engine`: lockstep compares machines; a process runs by t0, t1 or auto", where) end
  options.jit = engine.check_jit(options.jit, where .. ".jit")
  if type(options.args) == "string" then
    local list = {}
    for word in options.args:gmatch "%S+" do list[#list + 1] = word end
    options.args = list
  end
  if type(options.args) ~= "table" then fault.raise("`%s.args` must be a list of texts or text, not %s", where, schema.show(options.args)) end
  return options
end

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

-- What is loaded when it is needed: from within a jail it could not be.
local LATER = { "umbra.image", "umbra.symbols", "umbra.counters" }

local Hart = {}
Hart.__index = Hart

-- linux.new { elf = "a.out", args = { "x" } }: a process of which nothing has run yet. It is a machine, too: machines/linux-user.lua.
function linux.new(options)
  options = linux.check(options, "linux")
  local why, o = ffi.new "struct um_fault", ffi.new "struct um_linux_options"
  local sysroot = options.sysroot and options.sysroot:gsub("(.)/+$", "%1")
  if sysroot and sysroot:sub(1, 1) ~= "/" then sysroot = require("umbra.host").folder() .. sysroot end
  o.jail = options.jail
  for _, name in ipairs(options.jail and LATER or {}) do require(name) end
  o.engine, o.threshold, o.code_bytes = engine.choose(options)
  o.extensions, o.sysroot, o.fuse, o.strace = isa.isa_mask(options.isa, "su"), sysroot, options.fuse, options.strace
  local path = linux.find(options.elf, sysroot)
  local argv = { options.name or options.elf, unpack(options.args) }
  local arguments, env = texts(argv, "args"), environment(options.env)
  local ptr = C.um_linux_new(o, why)
  if ptr == nil then fault.raise("%s", ffi.string(why.text)) end
  local self = handle.new(Linux, ptr, C.um_linux_free, {
    name = "linux-user", why = why, event = ffi.new "struct um_linux_event", hooks = {}, capture = options.capture, input = options.input,
    isa = options.isa, path = path,
  })
  self.engine = options.engine
  self.hart = setmetatable({ process = self, isa = options.isa }, Hart)
  self.cpu = { [0] = self.hart }
  self.mem = setmetatable({ process = self }, linux.Memory)
  if options.capture then self.console = setmetatable({ process = self }, linux.Console) end
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

-- The program's standard streams ---------------------------------------------------------------------------------------------

local CLOEXEC = 1                                 -- of memfd_create
local F_DUPFD_CLOEXEC = 1030

-- A file in memory that the program neither sees nor can close.
local function hidden_file(self)
  local fd = H.um_linux_memfd("stream", CLOEXEC)
  if fd < 0 then fault.raise "capture: the host gives no file in memory" end
  return C.um_linux_keep(self.ptr, fd)
end

local function contents(fd)
  local size = tonumber(H.um_linux_seek(fd, 0, 2))
  local buffer = ffi.new("uint8_t[?]", math.max(size, 1))
  return ffi.string(buffer, math.max(tonumber(H.um_linux_pread(fd, buffer, size, 0)), 0))
end

-- Standard output and error (capture) go to files in memory, standard input (input) comes from one, until the function that is
-- returned is called.
local function redirect(self)
  local saved = {}
  local function put(fd, file)
    saved[fd] = H.um_linux_dup(fd, F_DUPFD_CLOEXEC, 3)
    if saved[fd] >= 0 then saved[fd] = C.um_linux_keep(self.ptr, saved[fd]) end
    H.um_linux_dup2(file, fd)
  end
  self.files = {}
  for fd = self.input and 0 or 1, self.capture and 2 or 0 do
    self.files[fd] = hidden_file(self)
    put(fd, self.files[fd])
  end
  if self.input then H.um_linux_pwrite(0, self.input, #self.input, 0) end
  return function()
    for fd = 0, 2 do
      if saved[fd] then
        if saved[fd] < 0 then H.um_linux_shut(fd) else H.um_linux_dup2(saved[fd], fd) end
        H.um_linux_shut(saved[fd])
      end
    end
    local out, err = self.capture and contents(self.files[1]), self.capture and contents(self.files[2])
    for fd = 0, 2 do
      if self.files[fd] then H.um_linux_shut(self.files[fd]) end
    end
    self.files, self.printed = nil, out
    return out or nil, err or nil
  end
end

-- m.console of a process whose output is captured.
local Console = {}
Console.__index = Console
linux.Console = Console

-- All that it has written to standard output so far.
function Console:text() return self.process.files and contents(self.process.files[1]) or self.process.printed or "" end
function Console:describe() return ("console: %d bytes printed"):format(#self:text()) end

-- State ----------------------------------------------------------------------------------------------------------------------

local ABI = {}
for i, name in ipairs { "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
                        "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6" } do ABI[name] = i end
ABI.zero, ABI.pc = 0, 32

-- m.cpu[0]: the first thread.
function Hart:reg(name) return self.process:reg(name) end
function Hart:pc() return self.process:reg "pc" end

-- m.mem: the process's memory by its own addresses.
local Memory = {}
Memory.__index = Memory
linux.Memory = Memory

function Memory:read(at, size) return self.process:read(at, size) end
function Memory:write(at, bytes) self.process:write(at, bytes) end
function Memory:text(at, most) return self.process:text(at, most) end

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

local Map = {}

function Map:__tostring()
  local lines = {}
  for i, row in ipairs(self) do lines[i] = ("0x%012x  0x%012x  %s  %s"):format(row.at, row.at + row.size - 1, row.access, row.name) end
  return table.concat(lines, "\n")
end

-- The memory map by address: { at =, size =, access = "r-xp", name = file or "[heap]" or "", offset = in the file } a row.
function Linux:map()
  local area, list = ffi.new "struct um_linux_area", setmetatable({}, Map)
  while C.um_linux_area(self.ptr, #list, area) >= 0 do
    list[#list + 1] = {
      at = tonumber(area.from), size = tonumber(area.to - area.from), offset = tonumber(area.offset), name = ffi.string(area.name),
      access = (area.readable and "r" or "-") .. (area.writable and "w" or "-") .. (area.executable and "x" or "-") .. (area.shared and "s" or "p"),
    }
  end
  return list
end

-- How far behind the addresses in an ELF file the area `row` lies; nil: it is no ELF file's.
local function bias_of(bytes, row)
  local ok, parsed = pcall(require("umbra.image").parse, bytes, row.name)
  for _, segment in ipairs(ok and parsed.segments or {}) do
    local skew = segment.offset % 4096
    if segment.offset - skew == row.offset then return row.at - (tonumber(segment.virtual_at) - skew) end
  end
end

-- The names of what is mapped now: the program's, its interpreter's, its libraries'. Closed with the process.
function made_once.symbols(self)
  local image, names, done = require "umbra.image", require("umbra.symbols").new(), {}
  for _, row in ipairs(self:map()) do
    if row.access:find "x" and not done[row.name] then
      done[row.name] = true
      local bytes = row.name:find "^/" and image.read(row.name)
      local bias = bytes and bias_of(bytes, row)
      if bias then pcall(names.parse, names, bytes, row.name, bias) end                  -- one without names has none
    end
  end
  return names
end

-- What it is and its memory map as text.
function Linux:describe()
  return ("process %s: %s (%s)\n%s"):format(self.name, self.path, self.isa, tostring(self:map()))
end

-- Runs the program to its end: { code = 0 to 255 } or { signal = number }, with `fault` = { pc =, address = } where an instruction
-- of its own ended it; with capture also out and err. `reason` is "exit" or "signal".
local function result_of(event)
  local result, derived = {}, {}
  if event.reason == C.UM_LINUX_EXITED then
    result.code, derived.reason = event.code, "exit"
  else
    result.signal, derived.reason = event.code, "signal"
    if event.fault then result.fault = { pc = bits.number(event.pc), address = bits.number(event.address) } end
  end
  return setmetatable(result, {
    __index = derived,
    __tostring = function(r) return r.code and "exit " .. r.code or linux.SIGNALS[r.signal] or "signal " .. r.signal end,
  })
end

function Linux:run(options)
  schema.check(options or {}, {}, "run")
  io.stdout:flush()
  local restore = redirect(self)
  local event = self.event
  local ok, problem = pcall(function()
    repeat
      fault.check(C.um_linux_run(self.ptr, event, self.why), self.why)
      if event.reason == C.UM_LINUX_CALL then serve(self) end
    until event.reason ~= C.UM_LINUX_CALL
  end)
  local out, err = restore()
  if not ok then error(problem, 0) end
  local result = result_of(event)
  result.out, result.err = out, err
  self.ended = result
  return result
end

local function tally(self)
  local counts, theirs, call, index = ffi.new "struct um_linux_counts", ffi.new "struct um_linux_counts", ffi.new "struct um_linux_call", 0
  C.um_linux_counts(self.ptr, counts)
  local children, by_name, by_name_there = C.um_linux_children(self.ptr, theirs), {}, {}
  while C.um_linux_call(self.ptr, index, call) >= 0 do
    if call.count > 0 then by_name[ffi.string(call.name)] = tonumber(call.count) end
    if call.children > 0 then by_name_there[ffi.string(call.name)] = tonumber(call.children) end
    index = index + 1
  end
  return require("umbra.counters").new {
    instructions = tonumber(counts.instructions),
    accesses = self.engine == "t0" and tonumber(counts.accesses) or nil,        -- translated code does not count them
    blocks = { decoded = tonumber(counts.decoded), invalidated = tonumber(counts.invalidated) },
    calls = tonumber(counts.calls), calls_by_name = by_name, unknown_calls = tonumber(counts.unknown),
    threads = tonumber(counts.threads), forks = tonumber(counts.forks), signals = tonumber(counts.signals), mapped_bytes = tonumber(counts.mapped_bytes),
    children = { ended = tonumber(children), instructions = tonumber(theirs.instructions), calls = tonumber(theirs.calls), calls_by_name = by_name_there },
  }
end

-- What was counted: instructions, calls by name, ... m:counters():since(before) is the difference.
function Linux:counters()
  local now = tally(self)
  return self.counted and now:since(self.counted) or now
end

-- Counting begins anew.
function Linux:reset_counters() self.counted = tally(self) end

local function word_at(self, pc)
  local ok, bytes = pcall(self.read, self, pc, 4)
  if not ok then ok, bytes = pcall(self.read, self, pc, 2) end
  if not ok then return end
  local a, b, c, d = bytes:byte(1, 4)
  return a + b * 256 + (c or 0) * 65536 + (d or 0) * 16777216
end

-- Whether an address is in the gap below the first thread's stack.
local function overflowed(self, address)
  for _, row in ipairs(self:map()) do
    if row.name == "[stack]" then return address < row.at and address >= row.at - 2^20 end
  end
end

-- A report of the fault that ended the program: what, where, the instructions around it, and the registers.
function Linux:report(result)
  local lines, at = {}, result.fault
  local name = linux.SIGNALS[result.signal] or "signal " .. result.signal
  local place = self.symbols:name(at.pc)
  lines[1] = ("%s at pc 0x%s%s"):format(name, bit.tohex(bits.u64(at.pc), 16):gsub("^0+(.)", "%1"), place and " <" .. place .. ">" or "")
  if result.signal == 11 or result.signal == 7 then
    lines[1] = lines[1] .. (", touching address 0x%s"):format(bit.tohex(bits.u64(at.address), 16):gsub("^0+(.)", "%1"))
    if overflowed(self, at.address) then lines[2] = "   that is just below its stack, which has overflowed" end
  end
  local mask, text, pc = isa.isa_mask(self.isa), ffi.new "char[128]", bits.u64(at.pc)
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

function Linux:close()
  local names = rawget(self, "symbols")
  if names then names:close() end
  handle.close(self)
end

-- linux.run { elf = "a.out", capture = true }: runs a program from start to end and returns what Linux:run does.
function linux.run(options)
  local self = linux.new(options)
  local ok, result = pcall(self.run, self)
  self:close()
  if not ok then error(result, 0) end
  return result
end

return linux
