-- machine: a computer described by one table: its memory map is the file, and bus, interrupt wiring and device tree come from it.
--
-- Three things are called machine here: `machine {...}` checks a description and returns it (umbra.machine.description); machine.load
-- reads a machine file, with parameters, and returns a Machine that runs; what a Machine is made of it closes itself, in reverse order.
-- SPDX-License-Identifier: MIT
local ffi         = require "ffi"
local address     = require "umbra.address"
local bits        = require "umbra.bits"
local boot        = require "umbra.boot"
local bus         = require "umbra.bus"
local clib        = require "umbra.clib"
local clock       = require "umbra.clock"
local console     = require "umbra.console"
local control     = require "umbra.control"
local counters    = require "umbra.counters"
local translated  = require "umbra.translated"
local cpu         = require "umbra.cpu"
local description = require "umbra.machine.description"
local dev         = require "umbra.dev"
local devices     = require "devices"
local fault       = require "umbra.fault"
local handle      = require "umbra.handle"
local hash        = require "umbra.hash"
local hook        = require "umbra.hook"
local host        = require "umbra.host"
local linux       = require "umbra.linux"
local log         = require "umbra.log"
local luadev      = require "umbra.device"
local mem         = require "umbra.mem"
local param       = require "umbra.param"
local ring        = require "umbra.ring"
local sched       = require "umbra.sched"
local schema      = require "umbra.schema"
local symbols     = require "umbra.symbols"
local tree        = require "umbra.tree"
local units       = require "umbra.units"

local C = clib.C

local machine = { param = param.declare, serve = sched.serve, find = description.find, describe = description.load }

local SLICE = 0.01                                -- seconds between two looks at consoles and limits
local LOOK = 2^20                                 -- instructions between two such looks with a virtual clock
local FIXED_SEED = 1                              -- of a machine with a virtual clock

local Machine = {}
Machine.noun = "machine"                          -- for umbra.help
local made_once = {}                              -- what a machine makes when it is first asked for: name -> function

function Machine.__index(self, key)
  if not made_once[key] then return Machine[key] end
  self[key] = made_once[key](self)
  return self[key]
end

local Closed = {
  __index = function(_, key)
    if key == "close" then return Machine.close end
    fault.raise "this machine is closed"
  end,
}

-- Whoever makes a part says how it is closed; Machine:close goes backwards. Parts lean on one another and finalizers run in any
-- order, so no part has one: the machine's guard is the net for all of them.
local function owned(self, object, close)
  if not close then
    local class = getmetatable(object)
    ffi.gc(object.ptr, nil)
    object.close = function() fault.raise("this %s belongs to a machine, which closes it", class.noun) end
    close = function() class.close(object) end
  end
  self.closers[#self.closers + 1] = close
  return object
end

local function own_pointer(self, ptr, free, what)
  if ptr == nil then fault.raise("%s: the host has no memory for it", what) end
  return owned(self, ptr, function() free(ptr) end)
end

-- Closes a machine that was forgotten: a userdata, because tables have no finalizers here.
local function guard(self)
  local proxy = newproxy(true)
  getmetatable(proxy).__gc = function() self:close() end
  return proxy
end

-- For what is served in Lua: devices while the machine is built, hooks at any time.
function Machine:need_bus()
  if self.bus then return end
  self.bus = bus.new(self)
  self.closers[#self.closers + 1] = function() self.bus:close() end
  if self.hart then self.hart.bus = self.bus end
end

-- For devices.lua, while the machine is built.
function Machine:new_line() return own_pointer(self, C.um_irq_new(), C.um_irq_free, "interrupt line") end

function Machine:new_chardev(row)
  local ptr = own_pointer(self, C.um_chardev_new(self.control.ptr), C.um_chardev_free, row.name)
  local text = console.new(ptr, row.name)
  text.machine = self
  self.consoles[row.name] = text
  self.consoles[#self.consoles + 1] = text
  return ptr
end

function Machine:new_block(path, read_only)
  return owned(self, require("umbra.block").open { path = path, read_only = read_only })
end

-- "FILE:LINE: " of the row's device, or "".
local function refuse_at(row, text, ...)
  error(row.device.place .. text:format(...), 0)
end

local function make_devices(self, described)
  for _, row in ipairs(described.rows) do
    if not (row.model.absent and row.model.absent(row.options)) then
      local made = { name = row.name, at = row.at, device = row.device, model = row.model, options = row.options, bytes = row.options.size }
      if row.options.irq then made.line = self:new_line() end
      if row.model.script then
        luadev.build(made, self)
      elseif row.model.create then
        local ok, text = pcall(devices.create, made, self)
        if not ok then refuse_at(row, "%s: %s", row.name, (text:gsub("^[^:]*:%d+: ", ""))) end
        made.bytes = bits.number(C.um_dev_bytes(made.ptr))
        owned(self, made, function() C.um_dev_free(made.ptr) end)
      end
      self.rows[#self.rows + 1] = made
      if row.model == devices.models.plic then self.plic = made end
    end
  end
end

local function range(at, size) return ("%s to %s"):format(bits.hex(at), bits.hex(at + size - 1)) end

-- Rows that claim the same addresses, and lines that lead nowhere, are refused at the line of the later row.
local function check_map(self)
  local by_irq = {}
  for i, row in ipairs(self.rows) do
    if row.at then
      local others = { { name = "ram", at = self.ram.at, bytes = self.ram.size } }
      for j = 1, i - 1 do others[#others + 1] = self.rows[j] end
      for _, other in ipairs(others) do
        if other.at and row.at < other.at + other.bytes and other.at < row.at + row.bytes then
          refuse_at(row, "map row `%s` (%s) overlaps `%s` (%s)", row.name, range(row.at, row.bytes), other.name, range(other.at, other.bytes))
        end
      end
    end
    local irq = row.options.irq
    if irq then
      if not self.plic then refuse_at(row, "map row `%s`: irq = %d needs an interrupt controller in the map (dev.plic)", row.name, irq) end
      local sources = self.plic.options.sources
      if irq > sources then refuse_at(row, "map row `%s`: irq = %d is out of range: `%s` has inputs 1 to %d", row.name, irq, self.plic.name, sources) end
      if by_irq[irq] then refuse_at(row, "map row `%s`: irq = %d is taken by `%s`", row.name, irq, by_irq[irq]) end
      by_irq[irq] = row.name
    end
  end
end

local function map_devices(self)
  for _, row in ipairs(self.rows) do
    if row.model == devices.models.rom then
      fault.check(C.um_mem_add_ram(self.mem.ptr, row.at, row.bytes, 1, row.name, self.why), self.why)
      self.rom = self.rom or row
    elseif row.port then
      luadev.map(row, self)
    elseif row.model.place then
      row.model.place(row, self)
    elseif C.um_dev_map(row.ptr, self.mem.ptr, row.at, row.name, self.why) < 0 then
      refuse_at(row, "%s: %s", row.name, ffi.string(self.why.text))
    end
  end
end

local function connect(self)
  for _, row in ipairs(self.rows) do
    if row.model.connect then row.model.connect(row, self) end
    if row.line then fault.check(C.um_plic_source(self.plic.ptr, row.options.irq, row.line, self.why), self.why) end
  end
end

local function choose_console(self, described)
  self.console = described.console and self.consoles[described.console] or self.consoles[1]
  if described.cpu.semihosting and self.console then C.um_hostcall_print_to(self.control.ptr, self.console.ptr) end
end

local function open_signature(self, options)
  if not options.signature then return end
  local from, to = boot.symbol(self.files, "begin_signature"), boot.symbol(self.files, "end_signature")
  if not from or not to then
    fault.raise("signature: %s has no symbols begin_signature and end_signature", self.files.kernel and self.files.kernel.name or "no kernel")
  end
  if to < from or to - from > self.ram.size then fault.raise("signature: end_signature lies before begin_signature") end
  local file, why = io.open(options.signature, "wb")
  if not file then fault.raise("signature: cannot open %s", why) end
  self.signature = { file = file, from = from, size = tonumber(to - from), granularity = options.signature_granularity }
  owned(self, self.signature, function() file:close() end)
end

local function build(self, described)
  self.files   = boot.open(described.boot)
  self.control = owned(self, control.new())
  self.clock   = owned(self, clock.new { hertz = described.timebase, rate = described.rate })
  self.mem     = owned(self, mem.new())
  if C.um_mem_add_ram(self.mem.ptr, self.ram.at, self.ram.size, 0, "ram", self.why) < 0 then fault.raise("ram.size: %s", ffi.string(self.why.text)) end
  make_devices(self, described)
  check_map(self)
  map_devices(self)
  local options = { mem = self.mem, clock = self.clock, control = self.control, reset_pc = self.rom and self.rom.at or self.ram.at, engine = described.engine,
                    jit = described.jit }
  for _, row in ipairs(cpu.OPTIONS) do options[row[1]] = described.cpu[row[1]] end
  self.hart = owned(self, cpu.new(options))
  self.cpu  = { [0] = self.hart }
  self.hart.bus = self.bus
  for i = 1, self.harts - 1 do self.cpu[i] = owned(self, self.hart:add(i)) end
  connect(self)
  choose_console(self, described)
  open_signature(self, described.boot)
  self:reset()
  if described.boot.symbols then self.symbols:count() end       -- a file that is no good is refused now, not at the first name
  if described.ring > 0 then ring.set(self.hart, described.ring) end
  if described.log then self:log(described.log) end
end

local RUN = {
  { "instructions", type = "integer", min = 1, help = "stop after so many" },
  { "until_text", type = "string", help = "stop when the console shows this" },
  { "until_pc", type = "any", help = "stop before the instruction at this address or symbol" },
  { "timeout", type = "number", min = 0, help = "seconds of host time" },
  { "is_pattern", type = "boolean", default = false, help = "until_text is a Lua pattern" },
  { "console", type = "table", help = "whose text until_text means; default: the machine's" },
}

local RESET = { { "memory", type = "boolean", default = false, help = "RAM holds zeros again" } }

-- What is checked by which rows, for help: { title, rows } each.
machine.OPTIONS = {}
for i, rows in ipairs(description.OPTIONS) do machine.OPTIONS[i] = rows end
for _, rows in ipairs { { "m:run {...}", RUN }, { "m:start {...}", sched.START }, { "m:reset {...}", RESET } } do
  machine.OPTIONS[#machine.OPTIONS + 1] = rows
end

-- Builds a machine from a description.
function machine.build(described)
  if not description.is(described) then fault.raise("machine.build takes what machine {...} returns, not %s", schema.show(described)) end
  if described.process then
    local process = linux.new(described.process)
    process.name, process.description = described.name, described
    return process
  end
  local self = setmetatable({
    name = described.name, description = described, ram = described.ram, timebase = described.timebase, harts = described.harts,
    is_virtual = described.rate ~= nil, seed = described.seed or (described.rate and FIXED_SEED or 0), done = 0,
    why = ffi.new "struct um_fault", closers = {}, consoles = {}, rows = {},
  }, Machine)
  self.guard = guard(self)
  local ok, text = pcall(build, self, described)
  if ok then return self end
  self:close()
  error(text, 0)
end

-- machine.load("machines/riscv-virt.lua", { ram = "256M" }): a machine that is ready to run.
function machine.load(name, given)
  if type(name) ~= "string" then fault.raise("machine.load takes the path of a machine file, not %s", schema.show(name)) end
  return machine.build((machine.describe(name, given)))
end

local function reset(self, options)
  self.control:clear()
  self.ended, self.done = nil, 0
  self.clock:reset()
  if options.memory then C.um_mem_clear(self.mem.ptr) end
  for _, row in ipairs(self.rows) do
    if row.ptr then C.um_dev_reset(row.ptr) end
    if row.port then row.port:reset() end
  end
  -- Once more: what a line showed while its device was still to come has become a request.
  if self.plic then C.um_dev_reset(self.plic.ptr) end
  for i = 0, self.harts - 1 do self.cpu[i]:reset() end
  self.plan = boot.place(self, self.files, function(plan) return tree.of(self, plan) end)
  if self.hooked then hook.reset(self) end
end

-- As a reset button does: harts, devices and time start anew, files are loaded anew; the rest of memory keeps what it holds.
-- reset { memory = true }: it holds zeros, as in a new machine.
function Machine:reset(options)
  sched.renew(self, reset, schema.check(options or {}, RESET, "reset"))
end

-- The names of guest addresses (umbra.symbols): those of firmware and kernel, and of the file that boot.symbols names.
function made_once.symbols(self)
  local names = owned(self, symbols.new())
  for _, key in ipairs { "firmware", "kernel" } do
    local file = self.files[key]
    if file and file.kind ~= "raw" then pcall(names.parse, names, file.bytes, file.name) end      -- broken: it has none
    for _, segment in ipairs(file and file.segments or {}) do
      if segment.at ~= segment.virtual_at then names:alias(segment.at, segment.memory_bytes, segment.virtual_at) end
    end
    local start = file and file.kind == "linux" and names:address "_start"
    if start then names:alias(self.plan.kernel, file.memory_bytes, start) end
  end
  local more = self.description.boot.symbols
  if more then names:add(more) end
  self.closers[#self.closers] = function()         -- C may hold on to it
    C.um_hart_symbols(self.hart.ptr, nil)
    getmetatable(names).close(names)
  end
  self.symbols = names
  if self.started then sched.hold(self) end        -- its thread may read them
  return names
end

-- What of this machine runs as translated code (umbra.translated): m.jit:counters(), m.jit:show(pc).
function made_once.jit(self) return translated.new(self.hart) end

-- Logs from now on: m:log "int,mmio:FILE", m:log { exec = "FILE", int = false } (umbra.log). Returns { item = file } of what is logged.
function Machine:log(what)
  if not self.logs then
    local logs = log.new(function(text) io.stderr:write("umbra: ", text, "\n") end, self.description.log_limit)
    self.logs = owned(self, logs, function()
      C.um_mem_log(self.mem.ptr, nil)
      logs:close()
    end)
    C.um_mem_log(self.mem.ptr, logs.ptr)
  end
  if self.started then sched.hold(self) end
  if what ~= nil then self.logs:set(what) end
  local list = self.logs:list()
  if list.int or list.mmio then C.um_hart_symbols(self.hart.ptr, self.symbols.ptr) end
  return list
end

-- The row of the map that is called `name`.
local function row_of(self, name)
  local names = {}
  for i, row in ipairs(self.rows) do
    if row.name == name then return row end
    names[i] = row.name
  end
  fault.raise("no device %s in the map%s", schema.show(name), schema.suggest(tostring(name), names))
end

-- The device called `name`: one written in Lua, as its functions know it.
function Machine:device(name)
  local row = row_of(self, name)
  if not row.port then fault.raise("device %s is not written in Lua", schema.show(name)) end
  return row.port.object
end

-- Puts another class in the place of a device written in Lua; what registers and state hold is kept. Without a class its file is
-- read again (umbra.device's load). Timers set by name call the new class.
function Machine:reload(name, class)
  local row = row_of(self, name)
  if not row.port then fault.raise("device %s is not written in Lua", schema.show(name)) end
  if class == nil then
    local path = luadev.path(row.port.class)
    if not path then fault.raise("reload of %s: from what? It came from no file", schema.show(name)) end
    class = luadev.load(path)
  end
  local object = luadev.reload(row, class)
  if self.started then sched.hold(self) end
  return object
end

-- The device tree as the guest sees it: bytes.
function Machine:dtb() return tree.of(self, self.plan) end

local function write_signature(self)
  local s = self.signature
  if not s or s.done then return end
  s.done = true
  local bytes = self.mem:read(s.from, s.size)
  for at = 1, #bytes, s.granularity do
    local line = bytes:sub(at, at + s.granularity - 1)
    line = line .. ("\0"):rep(s.granularity - #line)
    s.file:write((line:reverse():gsub(".", function(c) return ("%02x"):format(c:byte()) end)), "\n")
  end
  s.file:flush()
end

-- Whether the consoles may be looked at now. With a virtual clock what the host does must not depend on how long it took: only every
-- LOOK instructions, and where the guest sleeps until somebody types.
local function may_look(self)
  if self.is_virtual and sched.is_busy(self) then return false end
  return not self.is_virtual or self.done % LOOK == 0 or self.ended ~= nil or self.hart:idle()
end

-- The last `count` instructions and traps (default: all that ring=N remembers) of hart number `hart` (default: who ran last), the
-- oldest first (umbra.ring). tostring shows them.
function Machine:last(count, hart)
  local most = self.description.ring
  if most == 0 then fault.raise "last: this machine remembers no instructions (ring = N has it remember N)" end
  hart = hart or self.hart.exit.hart
  if not self.cpu[hart] then fault.raise("last: hart must be 0 to %d, not %s", self.harts - 1, schema.show(hart)) end
  return ring.last(self.cpu[hart], address.count(count or most, "count", 0, ring.MOST), self.symbols)
end

-- The guest came to grief: what it did last, if the machine remembers it.
function Machine:grieve(why)
  if self.description.ring == 0 or self.stuck and why == "timeout" then return end
  for i = 0, self.harts - 1 do
    local list = self:last(nil, i)
    local text = #list > 0 and ":\n" .. tostring(list) or " nothing"
    io.stderr:write(("umbra: %s; what hart %d did last%s\n"):format(why, i, text))
  end
end

-- One run of the harts; an error raised by a device or hook passes on, after what the guest did last.
local function run_harts(self, budget, seconds)
  local runner = self.bus or self.hart
  local ok, reason, executed = pcall(runner.run, runner, budget, seconds, self.started and self.runner)
  if not ok then                                  -- what was executed before counts
    self.done = self.done + (self.bus and self.bus.executed or 0)
    self:grieve "an error ended the run"
    error(reason, 0)
  end
  if sched.is_busy(self) then return reason, executed end
  if executed > 0 then self.stuck = false end
  if executed == 0 and reason ~= "stop" and not self.stuck and C.um_hart_stuck(self.hart.ptr) then
    self.stuck = true
    self:grieve "the guest's trap handler traps at once, for ever"
  end
  return reason, executed
end

local function slice(self, budget, seconds, hold)
  local debugger = self.debugger
  if debugger and debugger:serve(seconds) or self.ended then return "time", 0 end
  for _, text in ipairs(hold and {} or self.consoles) do text:feed() end
  local reason, executed = run_harts(self, budget, seconds)
  self.done = self.done + executed
  for _, text in ipairs(self.consoles) do text:drain() end
  if sched.is_busy(self) then return reason, executed end        -- what it has come to is on its way
  if self.logs then self.logs:settle() end
  local halt, code = self.control:halted()
  if halt then
    self.ended = { reason = halt, code = code }
    if halt == "exit" and code ~= 0 then self:grieve(("the guest exited with code %d"):format(code)) end
    if halt ~= "reset" then write_signature(self) end
  end
  if self.hooked and may_look(self) then hook.look(self) end
  if self.hooked and self.bus.stopped then reason = "hook" end
  return debugger and debugger:after(reason) or reason, executed
end

-- Lets a gdb connect: m:gdb { port = 1234 }, { path = "/tmp/gdb" }; wait = true: the guest waits for it (umbra.gdb). The server is
-- closed with the machine.
function Machine:gdb(options)
  local server = require("umbra.gdb").new(self, options)
  return owned(self, server, function() server:close() end)
end

-- Runs for one slice (at most `budget` instructions and `seconds` of host time) and serves the consoles. Returns the hart's reason
-- and the instructions executed. self.ended is { reason, code } once the guest asked for off, reset or exit. hold: what was sent and
-- not yet taken waits.
function Machine:slice(budget, seconds, hold)
  if self.inside then fault.raise("run: not from a function that is called while the machine is served") end
  self.inside = true
  local ok, reason, executed = pcall(slice, self, budget, seconds, hold)
  self.inside = nil
  if not ok then error(reason, 0) end
  return reason, executed
end


-- One look at the limits: the result when the run is over, else nil. short: a budget was used up by less instructions (traps whose
-- handler traps at once retire nothing).
local function finished(self, options, state, reason, short)
  if options.until_text and (may_look(self) or short) then
    local found = { state.console:find(options.until_text, options.is_pattern) }
    if found[1] ~= nil then return { reason = "text", found = found } end
  end
  if self.ended then return { reason = self.ended.reason, code = self.ended.code } end
  if reason == "stop" then return { reason = "pc" } end
  if reason == "hook" then return { reason = "hook", hook = self.bus.stopped.hook, hit = self.bus.stopped } end
  if state.left and (state.left <= 0 or short) then return { reason = "instructions" } end
  if state.deadline and host.seconds() >= state.deadline then return { reason = "timeout" } end
end

-- Instructions to the next limit or look, nil: none.
local function budget_of(self, state)
  if not self.is_virtual then return state.left end
  return math.min(state.left or LOOK, LOOK - self.done % LOOK)
end

local function stop_at(self, pc, on)
  for i = 0, self.harts - 1 do self.cpu[i]:stop_at(pc, on) end
end

local function complete(self, result, executed)
  result.executed, result.hart = executed, self.hart.exit.hart
  result.pc = self.cpu[result.hart]:pc()
  return setmetatable(result, { __tostring = function(r) return ("%s at %s"):format(r.reason, self.symbols:show(r.pc)) end })
end

-- Runs until one of the limits given, or until the guest ends. Returns { reason =, executed =, hart =, pc = }: reason is
-- "instructions", "text" (found = what matched), "pc", "timeout", or what the guest asked for: "off" and "exit" (code = its exit
-- code), "reset"; "hook" (hook, hit: what stopped it); hart is the number of the hart that ran last, pc its next instruction.
function Machine:run(options)
  options = schema.check(options, RUN, "run")
  local state = {
    console  = options.console or self.console,
    left     = options.instructions,
    deadline = options.timeout and host.seconds() + options.timeout,
  }
  if options.until_text and not state.console then fault.raise("run: until_text needs a console in the map") end
  if options.until_pc then
    if not bits.is_integer(options.until_pc) then options.until_pc = self.symbols:resolve(options.until_pc, "run: until_pc") end
    stop_at(self, options.until_pc)
  end
  local executed, result = 0, nil
  local ok, text = pcall(function()
    result = options.until_text and finished(self, { until_text = options.until_text, is_pattern = options.is_pattern }, state)
    while not result do
      local seconds = state.deadline and math.max(math.min(state.deadline - host.seconds(), SLICE), 0) or SLICE
      if self.ended then result = finished(self, options, state) break end
      local budget = budget_of(self, state)
      local reason, count = self:slice(budget, seconds, not may_look(self))
      executed = executed + count
      if state.left then state.left = state.left - count end
      result = finished(self, options, state, reason, reason == "budget" and count < budget)
      sched.serve_others(self)
    end
  end)
  if options.until_pc then stop_at(self, options.until_pc, false) end
  if not ok then error(text, 0) end
  if result.reason == "timeout" then self:grieve "timeout" end
  return complete(self, result, executed)
end

-- Has Lua called, or the run end, when the guest comes to a place or does something (umbra.hook). Attached at once.
function Machine:hook(options) return hook.new(self, options) end

-- The hooks that are attached, in the order of attaching.
function Machine:hooks()
  local list = {}
  for i, each in ipairs(self.hooked and self.hooked.list or {}) do list[i] = each end
  return list
end

sched.install {
  class = Machine, RUN = RUN, finished = finished, budget_of = budget_of, may_look = may_look, stop_at = stop_at, complete = complete,
}

-- The state of the machine as 16 hexadecimal digits (umbra.hash): equal for equal memory, harts, devices and virtual time.
function Machine:hash() return hash.of(self) end

-- Everything that was counted since the machine was made.
local function tally(self)
  local each = {}
  for i = 0, self.harts - 1 do each[i + 1] = self.cpu[i]:counters() end
  local counts = cpu.sum_counters(each)
  counts.traps = { exceptions = counts.exceptions, interrupts = counts.interrupts }
  counts.exceptions, counts.interrupts = nil, nil
  if self.harts > 1 then
    counts.harts = {}
    for i, own in ipairs(each) do counts.harts["hart" .. i - 1] = own end
  end
  local by_device = {}
  for _, row in ipairs(self:map()) do
    local sum = by_device[row.name] or { reads = 0, writes = 0 }
    if row.kind == "mmio" then by_device[row.name] = { reads = sum.reads + row.reads, writes = sum.writes + row.writes } end
  end
  for _, mapped in ipairs(self.rows) do          -- what a device in Lua did not take as it came
    for name, count in pairs(mapped.port and mapped.port.counts or {}) do by_device[mapped.name][name] = count end
  end
  counts.mmio = { total = counts.mmio, devices = by_device }
  return counters.new(counts)
end

-- Everything that was counted since reset_counters, or since the machine was made, as a tree of numbers: the harts' (umbra.cpu)
-- added up, those of each where there are several, and reads and writes by device. m:counters():since(before) is the difference.
function Machine:counters()
  local now = tally(self)
  return self.counted and now:since(self.counted) or now
end

-- Counting begins anew.
function Machine:reset_counters() self.counted = tally(self) end

local KINDS = { [C.UM_MEM_RAM] = "ram", [C.UM_MEM_ROM] = "rom", [C.UM_MEM_MMIO] = "mmio" }
local Map = {}

function Map:__tostring()
  local lines = {}
  for i, row in ipairs(self) do
    lines[i] = ("0x%012x  0x%012x  %-4s  %-12s %s"):format(row.at, row.at + row.size - 1, row.kind, row.name,
      row.kind == "mmio" and ("%.0f reads, %.0f writes"):format(row.reads, row.writes) or units.format(row.size))
  end
  return table.concat(lines, "\n")
end

-- The memory map by address: { at =, size =, name =, kind = "ram", "rom" or "mmio", reads =, writes = } a row, as harts see it now.
function Machine:map()
  local row, list = ffi.new "struct um_mem_row", setmetatable({}, Map)
  for i = 0, C.um_mem_rows(self.mem.ptr) - 1 do
    fault.check(C.um_mem_row(self.mem.ptr, i, row), self.why)
    list[i + 1] = {
      at = bits.number(row.at), size = bits.number(row.size), name = ffi.string(row.name), kind = KINDS[row.kind],
      reads = tonumber(row.reads), writes = tonumber(row.writes),
    }
  end
  return list
end

-- Closes every part in the reverse order of its making. Harmless when called again.
function Machine:close()
  if getmetatable(self) == Closed then return end
  if self.inside then fault.raise("close: not from a function that is called while the machine is served") end
  sched.abandon(self)
  for _, text in ipairs(self.consoles) do console.forget(text) end
  for i = #self.closers, 1, -1 do self.closers[i]() end
  handle.clear(self)
  setmetatable(self, Closed)
end

-- What a device's row says, and for a device in C its state.
local function describe_row(self, row)
  if row.port then return row.port.object:describe() end
  local lines = { ("%s: %s%s"):format(row.name, row.device.name, row.at and ", " .. range(row.at, row.bytes) or "") }
  for _, option in ipairs(row.model.options) do
    local name = option[1] or option.name
    if row.options[name] ~= nil then lines[#lines + 1] = ("  %s = %s (%s: %s)"):format(name, schema.show(row.options[name]), option.type, option.help or "") end
  end
  local seen = self:counters().mmio.devices[row.name]
  if seen then lines[#lines + 1] = ("%d reads, %d writes"):format(seen.reads, seen.writes) end
  if row.ptr then lines[#lines + 1] = dev.describe(dev.state_of(row.ptr)) end
  return table.concat(lines, "\n")
end

-- What it is and its memory map as text, one row a line; or, of a device by its name, window, options, state and accesses.
function Machine:describe(name)
  if name ~= nil then return describe_row(self, row_of(self, name)) end
  local lines = {}
  lines[1] = ("machine %s: %d hart%s (%s), %s of RAM; %s"):format(self.name, self.harts, self.harts > 1 and "s" or "", self.hart.isa,
    units.format(self.ram.size), self.clock:describe())
  for _, row in ipairs(self:map()) do lines[#lines + 1] = ("0x%012x  0x%012x  %s"):format(row.at, row.at + row.size - 1, row.name) end
  return table.concat(lines, "\n")
end

return setmetatable(machine, { __call = function(_, options) return description.check(options) end })
