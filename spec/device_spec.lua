-- device: devices written in Lua answer a guest, and what is wrong with one is said at its line.
-- SPDX-License-Identifier: MIT
local asm     = require "umbra.asm"
local bits    = require "umbra.bits"
local bounded = require "umbra.bounded"
local dev     = require "devices"
local device  = require "umbra.device"
local machine = require "umbra.machine"
local refuses = require "spec.support.refuses"
local umbra   = require "spec.support.umbra"

local RAM, AT, OFF = 0x80000000, 0x10005000, "\nli t0, 0x100000\nli t1, 0x5555\nsw t1, (t0)\nj .\n"
local m

after_each(function()
  if m then m:close() end
  m = nil
end)

-- A machine with `description` (what Class {...} gave) at AT, ready to run `text`, which ends by switching off.
local function build(description, text, clock)
  m = machine.build(machine {
    clock = clock,
    ram = { at = RAM, size = "1M" },
    map = {
      { at = 0x00100000, name = "power", dev.syscon {} },
      { at = 0x0c000000, name = "plic",  dev.plic { sources = 31 } },
      { at = AT, name = "thing", description },
    },
  })
  local program = asm.assemble("li s0, 0x10005000\nli s1, 0x80080000\n" .. (text or "") .. OFF, { at = RAM, name = "guest" })
  m.mem:write(RAM, program.bytes)
  m.warnings = {}
  if m.bus then m.bus.warn = function(line) m.warnings[#m.warnings + 1] = line end end
  return m:device "thing"
end

local function run(options)
  local result = m:run(options or { timeout = 20 })
  assert.equal("off", result.reason)
  return result
end

local function counts() return m:counters().mmio.devices.thing end
local function note(index) return m.mem:load(RAM + 0x80000 + 8 * index, 8) end

describe("a device in Lua", function()
  local Plain = device { name = "plain", regs = {
    { at = 0x00, name = "a", reset = 0x11223344 }, { at = 0x04, name = "b", access = "r", reset = 7 }, { at = 0x08, name = "c", access = "w" },
    { at = 0x10, name = "wide", size = 8, reset = 0x123456789abcdef0ULL }, { at = 0x18, name = "half", size = 2 }, { at = 0x1a, name = "byte", size = 1 },
  } }

  it("stores and gives what registers without functions hold", function()
    local thing = build(Plain {}, [[
      lwu a0, 0(s0)
      sd a0, 0(s1)
      ld a0, 16(s0)
      sd a0, 8(s1)
      not a0, a0
      sd a0, 16(s0)
      ld a0, 16(s0)
      sd a0, 16(s1)
      li a0, 0x12345
      sh a0, 24(s0)
      sb a0, 26(s0)
      lhu a0, 24(s0)
      sd a0, 24(s1)
      lb a0, 26(s0)
      sd a0, 32(s1)]])
    run()
    assert.equal(0x11223344, note(0))
    assert.equal("0x123456789abcdef0", bits.hex(note(1)))
    assert.equal("0xedcba9876543210f", bits.hex(note(2)))
    assert.equal(0x2345, note(3))
    assert.equal(0x45, note(4))
    assert.equal(0x2345, thing.half)
    local seen = counts()
    assert.same({ 5, 3, 0, 0, 0 }, { seen.reads, seen.writes, seen.refused, seen.partial, seen.nowhere })
  end)

  it("keeps access rights and counts who does not", function()
    local thing = build(Plain {}, "li a0, 99\nsw a0, 4(s0)\nsw a0, 8(s0)\nlw a1, 8(s0)\nsd a1, 0(s1)\nlw a1, 0x40(s0)\nsw a1, 0x44(s0)")
    run()
    assert.equal(7, thing.b)
    assert.equal(99, thing.c)
    assert.equal(0, note(0))
    assert.equal(2, counts().refused)
    assert.equal(2, counts().nowhere)
  end)

  it("is made of bytes: accesses of other sizes touch what they cover", function()
    local thing = build(Plain {}, [[
      ld a0, 0(s0)
      sd a0, 0(s1)
      lbu a0, 2(s0)
      sd a0, 8(s1)
      li a0, 0xaa
      sb a0, 1(s0)
      lw a0, 24(s0)
      li a0, 0x778899aa
      sw a0, 24(s0)]])
    run()
    assert.equal("0x711223344", bits.hex(note(0)))
    assert.equal(0x22, note(1))
    assert.equal(0x1122aa44, thing.a)
    assert.equal(0x99aa, thing.half)
    assert.equal(0x88, thing.byte)
    assert.equal(8, counts().partial)
  end)

  it("goes back to what was declared", function()
    local calls = 0
    local Class = device { name = "r", regs = { { at = 0, name = "a", reset = 5 } }, state = { { "list", default = { 1, 2 } }, { "mode", default = "idle" } } }
    function Class:reset() calls = calls + 1 self.seen = self.a end
    local thing = build(Class {})
    thing.a, thing.mode, thing.list[1] = 6, "busy", 9
    m:reset()
    assert.same({ 5, "idle", { 1, 2 }, 5, 2 }, { thing.a, thing.mode, thing.list, thing.seen, calls })
  end)

  it("has functions that give and take values", function()
    local Class = device { name = "f", regs = { { at = 0, name = "a" }, { at = 8, name = "wide", size = 8 } } }
    function Class:read_a() return -1 - self.a end
    function Class:write_a(value) self.a = value + 1 end
    function Class:write_wide(value) self.wide = value end
    build(Class {}, "li a0, 41\nsw a0, 0(s0)\nlwu a0, 0(s0)\nsd a0, 0(s1)\nli a0, -2\nsd a0, 8(s0)\nld a0, 8(s0)\nsd a0, 8(s1)")
    run()
    assert.equal(0xffffffff - 42, note(0))
    assert.equal("0xfffffffffffffffe", bits.hex(note(1)))
  end)

  it("answers 1,000,000 accesses, counted exactly, within 300 ns each", function()
    local Class = device { name = "speed", regs = { { at = 0, name = "a", access = "r" }, { at = 4, name = "b" } } }
    function Class:read_a() return self.b end
    function Class:write_b(value) self.b = value end
    local least = math.huge
    for _ = 1, 5 do
      local thing = build(Class {}, "li s2, 100000\n1: lw a0, (s0)\naddi a0, a0, 1\nsw a0, 4(s0)\naddi s2, s2, -1\nbnez s2, 1b")
      local start = os.clock()
      run()
      least = math.min(least, (os.clock() - start) * 1e9 / 200000)
      assert.equal(100000, thing.b)
      assert.same({ 100000, 100000 }, { counts().reads, counts().writes })
      m:close()
    end
    m = nil
    if not os.getenv "UMBRA_LIB" then assert.is_true(least <= 300, least .. " ns an access") end
  end)

  it("reads and writes memory, and is refused elsewhere", function()
    local Class = device { name = "dma", regs = { { at = 0, name = "go", access = "w" }, { at = 8, name = "from", size = 8 } },
      state = { { "ok" }, { "bytes" } } }
    function Class:write_go(size)
      self.bytes = self.mem:read(self.from, size)
      self.ok = self.bytes and self.mem:write(self.from + 0x1000, self.bytes:upper())
    end
    local thing = build(Class {}, "li a0, 0x80020000\nsd a0, 8(s0)\nli a0, 5\nsw a0, 0(s0)")
    m.mem:write(0x80020000, "hello")
    run()
    assert.is_true(thing.ok)
    assert.equal("HELLO", m.mem:read(0x80021000, 5))
    for _, bad in ipairs { { 0, 4 }, { -8, 4 }, { 0xffffffffffffffffULL, 4 }, { RAM + 0xffffe, 4 }, { AT, 4 }, { RAM, 2^40 }, { RAM, -1 }, { 0.5, 1 } } do
      assert.is_false(thing.mem:read(bad[1], bad[2]))
    end
    assert.is_false(thing.mem:write(RAM + 0xffffe, "1234"))
    assert.is_false(thing.mem:write(0, "x"))
    assert.equal(10, counts().dma_refused)
  end)

  it("raises its line", function()
    local Class = device { name = "line", config = { { "irq", required = true } }, regs = { { at = 0, name = "level" } } }
    function Class:write_level(value) self.irq:set(value ~= 0) end
    build(Class { irq = 3 }, [[
      la t0, handler
      csrw mtvec, t0
      li s2, 0x0c000000
      li t0, 1
      sw t0, 12(s2)
      li t1, 0x0c002000
      li t0, 8
      sw t0, (t1)
      li t0, 0x800
      csrw mie, t0
      csrsi mstatus, 8
      li a0, 1
      sw a0, (s0)
      li a1, 1                          # the interrupt comes before this
      j end
      .align 2
      handler: sd a1, 0(s1)
      csrr a2, mepc
      sd a2, 8(s1)
      sw zero, (s0)
      li s3, 0x0c200000
      lw a2, 4(s3)
      sw a2, 4(s3)
      sd a2, 16(s1)
      li a1, 0
      mret
      end: sd a1, 24(s1)]])
    m.hart:set_reg("a1", 0)
    run()
    assert.equal(0, note(0))
    assert.equal(3, note(2))
    assert.equal(1, note(3))
    assert.equal(1, m:counters().traps.interrupts["machine external"])
  end)
end)

describe("timers of a device", function()
  local Class = device { name = "timed", regs = { { at = 0, name = "start", access = "w" }, { at = 4, name = "done" } },
    state = { { "times", default = {} } } }
  function Class:write_start(us)
    self.start = self:ticks()
    for i = 3, 1, -1 do self:after(i * us * 1e-6, "mark") end
    self.never = self:after(us * 1e-6, function(same) same.done = 99 end)
    self:cancel(self.never)
  end
  function Class:mark()
    self.times[#self.times + 1] = self:ticks()
    self.done = #self.times
  end

  local WAIT = "li a0, 300\nsw a0, 0(s0)\nli a1, 3\n1: lw a0, 4(s0)\nbne a0, a1, 1b"

  it("come after their time and in their order", function()
    local thing = build(Class {}, WAIT)
    run()
    assert.equal(3, #thing.times)
    for i = 1, 3 do assert.is_true(thing.times[i] - thing.start >= i * 3000) end
    assert.is_true(thing.times[1] <= thing.times[2] and thing.times[2] <= thing.times[3])   -- a late host serves several at one tick
  end)

  it("come at the very tick, and after the same instruction in every run, with a virtual clock", function()
    local executed = {}
    for i = 1, 2 do
      local thing = build(Class {}, WAIT, "virtual")
      executed[i] = 0
      repeat                                      -- in slices of another length
        local result = m:run { instructions = i == 1 and 1000000 or 777 }
        executed[i] = executed[i] + result.executed
      until result.reason ~= "instructions"
      for j = 1, 3 do assert.equal(j * 3000, thing.times[j] - thing.start) end
      m:close()
    end
    m = nil
    assert.is_true(executed[1] > 90000)           -- 900 microseconds at 100 MIPS
    assert.equal(executed[1], executed[2])
  end)

  it("wake a machine that sleeps", function()
    build(Class {}, "li a0, 1000\nsw a0, 0(s0)\nwfi")
    local result = m:run { timeout = 0.05 }
    assert.equal("timeout", result.reason)
    assert.equal(3, m:device("thing").done)
  end)

  it("leave the guest some time however short they are", function()
    local Short = device { name = "short", regs = { { at = 0, name = "go" }, { at = 4, name = "count" } } }
    function Short:write_go() self:tick() end
    function Short:tick()
      self.count = self.count + 1
      self:after(0, "tick")
    end
    build(Short {}, "sw zero, 0(s0)\nli s2, 100000\n1: addi s2, s2, -1\nbnez s2, 1b")
    run()
    assert.is_true(m:device("thing").count > 2)
  end)

  it("are gone after a reset", function()
    local thing = build(Class {}, "")
    device.write(thing, 0, 10)
    m:reset()
    m.mem:write(RAM, asm.assemble("1: wfi\nj 1b", { at = RAM }).bytes)
    m:run { timeout = 0.02 }
    assert.equal(0, thing.done)
  end)
end)

describe("a device that misbehaves", function()
  local function line() return debug.getinfo(2, "l").currentline end

  it("and throws stops the run at its line; the access is asked again", function()
    local Class = device { name = "bad", regs = { { at = 0, name = "a" } } }
    local place = line() + 1
    function Class:read_a() return self.nothing.there end
    build(Class {}, "lw a0, (s0)\nsd a0, 0(s1)")
    local ok, text = pcall(run)
    assert.is_false(ok)
    assert.matches("device_spec%.lua:" .. place .. ": attempt to index field 'nothing'", text)
    local Better = device { name = "good", regs = { { at = 0, name = "a" } } }
    function Better:read_a() return 17 + self.a end        -- luacheck: ignore 432
    m:reload("thing", Better)
    run()
    assert.equal(17, note(0))
    assert.equal(1, counts().reads)
  end)

  it("and raises no text, or gives no number, is named all the same", function()
    for _, case in ipairs { { function() error {} end, "thing: raised a table" }, { function() return "x" end, 'thing: a must give a number, not "x"' },
      { function() error("no place", 0) end, "thing: raised no place" }, { function() end, "thing: a must give a number, not nil" },
      { function(self) for _ = 1, 2 do self.x = 1 end error {} end, "thing: raised a table" },
      { function(self) for _ = 1, 2 do self.x = 1 end return 0 / 0 end, "thing: a must give a number, not nan" } } do
      local Class = device { name = "bad", regs = { { at = 0, name = "a" } } }
      Class.read_a = case[1]
      build(Class {}, "lw a0, (s0)")
      local ok, text = pcall(run)
      assert.is_false(ok)
      assert.matches("device_spec%.lua:%d+: " .. case[2]:gsub("%-", "%%-"), text)
      m:close()
    end
    m = nil
  end)

  it("and closes or runs its machine is refused; it may reset it", function()
    local calls = {}
    local Class = device { name = "bad", regs = { { at = 0, name = "a" } } }
    function Class:write_a(value) return calls[value]() end           -- luacheck: ignore 212
    calls[1] = function() m:close() end
    calls[2] = function() m:run { instructions = 5 } end
    calls[3] = function() m:reset() end
    for i = 1, 2 do
      build(Class {}, ("li a0, %d\nsw a0, (s0)"):format(i))
      local ok, why = pcall(run)
      assert.is_false(ok)
      assert.matches("%.lua:%d+: %a+: .*the machine is s[et]", why)          -- served, or started
      m:close()                                    -- from here it may be
    end
    build(Class {}, "li a0, 3\nsw a0, (s0)\n1: addi s5, s5, 1\nj 1b")
    assert.equal("instructions", m:run({ instructions = 1000 }).reason)
    assert.is_true(m.hart:reg "s5" < 5)             -- it began anew, again and again
  end)

  it("and never ends is left out with one line; its reads give 0", function()
    local Class = device { name = "bad", regs = { { at = 0, name = "a" }, { at = 4, name = "b", reset = 3 } } }
    function Class:read_a()
      while true do pcall(function() while true do self.b = self.b end end) end
    end
    local thing = build(Class {}, "li a0, 1\nlw a0, (s0)\nsd a0, 0(s1)\nlw a0, (s0)\nlw a0, 4(s0)\nsd a0, 8(s1)")
    local start = os.clock()
    run()
    assert.is_true(os.clock() - start < 3)
    assert.equal(0, note(0))
    assert.equal(3, note(1))
    assert.equal(1, #m.warnings)
    assert.matches("device_spec%.lua:%d+: thing: read_a runs longer than 1 s and is left out until a reset: reads give 0", m.warnings[1])
    assert.equal(2, counts().unanswered)
    assert.equal(2, counts().reads - 1)
    assert.is_true(jit.status())
    assert.is_nil(debug.gethook())
    assert.equal(3, thing.b)
  end)

  it("and never ends in a timer is left out too", function()
    local Class = device { name = "bad", regs = { { at = 0, name = "go" } } }
    function Class:write_go() self:after(0, "tick") end
    function Class:tick() return self:tick() end           -- for ever, by tail calls
    build(Class {}, "sw zero, (s0)\nli s2, 100000000\n1: addi s2, s2, -1\nbnez s2, 1b")
    run()
    assert.equal(1, #m.warnings)
    assert.matches("thing: timer tick runs longer", m.warnings[1])
  end)
end)

describe("bounded", function()
  local thing = { count = 0, irq = { set = function() end } }
  function thing:tick() self.count = self.count + 1 self.irq:set(self.count >= 5) end
  function thing:twice() self:tick() if self.count > 3 then self:tick() end return math.max(self.count, 2) end
  function thing:text() return tonumber(("%d"):format(self.count)) end
  function thing:by_while() while true do self.count = 1 end end
  function thing:by_for() for i = 1, 10 do self.count = i end end
  function thing:by_goto() ::again:: self.count = 1 goto again end
  function thing:by_tail() return self:by_tail() end
  function thing:by_call() self:by_while() end
  function thing:by_choice() local f = self.tick if self.count > 1 then f = self.by_while end f(self) end
  function thing:by_callback() return (("x"):gsub(".", self.by_while)) end
  function thing:by_argument(f) f() end                     -- luacheck: ignore 212

  it("tells functions that end from those that may not", function()
    for _, name in ipairs { "tick", "twice", "text" } do assert.is_true(bounded(thing[name], thing), name) end
    for _, name in ipairs { "by_while", "by_for", "by_goto", "by_tail", "by_call", "by_choice", "by_callback", "by_argument" } do
      assert.is_false(bounded(thing[name], thing), name)
    end
  end)
end)

describe("a class", function()
  local function class(regs, more)
    local options = { name = "x", regs = regs }
    for key, value in pairs(more or {}) do options[key] = value end
    return device(options)
  end

  it("is refused at its line when its rows are wrong", function()
    refuses(function() class { { at = 0, name = "a" }, { at = 0, name = "b" } } end, "register `b` %(0x0 to 0x3%) overlaps `a` %(0x0 to 0x3%)")
    refuses(function() class { { at = 0, name = "a", size = 8 }, { at = 4, name = "b" } } end, "register `b` .* overlaps `a` .*")
    refuses(function() class { { at = 0, name = "a" }, { at = 4, name = "a" } } end, "register `a`: there is a register of that name already")
    refuses(function() class { { at = 2, name = "a" } } end, "register `a` at 0x2: its address must be a multiple of its size, 4 bytes")
    refuses(function() class { { at = 0, name = "irq" } } end, "register `irq`: every device has a field or method of that name")
    refuses(function() class { { at = 0, name = "after" } } end, "register `after`: every device has .*")
    refuses(function() class { { at = 0, name = "a b" } } end, "register `a b`: a name has letters, digits and _")
    refuses(function() class { { at = 0, name = "a", size = 3 } } end, "`regs%[1%].size` must be one of 1, 2, 4, 8, not 3")
    refuses(function() class { { at = 0, name = "a", acces = "r" } } end, "unknown key `regs%[1%].acces`, did you mean `access`%?")
    refuses(function() class { { at = 0, name = "a", reset = 2^32 } } end, "register `a`: `reset` must be a number of 4 bytes, not 4294967296")
    refuses(function() class { { at = 0 } } end, "missing key `regs%[1%].name` %(field of the device%)")
    refuses(function() class { 5 } end, 'regs%[1%] must be a table like { name = "count" }, not 5')
    refuses(function() class({ { at = 0, name = "a" } }, { bytes = 2 }) end, "register `a` %(0x0 to 0x3%) lies outside the window: bytes = 2")
    refuses(function() class({ { at = 0, name = "a" } }, { state = { { "a" } } }) end, "state `a`: there is a register of that name already")
    refuses(function() class({}, { config = { { "hz", type = "integer", default = "x" } } }) end, "config `hz`: its default is not an integer")
    refuses(function() class({}, { tree = { { 1 } } }) end, "tree%[1%] must be { NAME, numbers and texts... }")
  end)

  it("is refused in a map when its irq or place is wrong", function()
    local Class = class({ { at = 0, name = "a" } }, { config = { { "irq" } } })
    refuses(function() build(Class { irq = 32 }) end, "map row `thing`: irq = 32 is out of range: `plic` has inputs 1 to 31")
    refuses(function() build(Class { irq = "x" }) end, '`x.irq` must be an integer, not "x"')
    refuses(function() build(Class { irg = 3 }) end, "unknown key `x.irg`, did you mean `irq`%?")
    refuses(function() machine.build(machine { ram = { size = "1M" }, map = { { at = RAM, name = "t", Class {} } } }) end, "map row `t` .* overlaps `ram` .*")
    refuses(function() machine.build(machine { ram = { size = "1M" }, map = { { at = AT, name = "t", Class { irq = 1 } } } }) end,
      "map row `t`: irq = 1 needs an interrupt controller in the map %(dev.plic%)")
  end)

  it("is refused when it has functions that nobody would call", function()
    local Class = class { { at = 0, name = "count", access = "r" } }
    function Class:read_cuont() return self.count end
    refuses(function() build(Class {}) end, "x: read_cuont: there is no register `cuont`, did you mean `count`%?")
    Class.read_cuont = nil
    function Class:write_count(value) self.count = value end
    refuses(function() build(Class {}) end, 'x: write_count is never called: the access of `count` is "r"')
    Class.write_count = nil
    function Class:count() return self end
    refuses(function() build(Class {}) end, "x: the function hides register `count`")
  end)

  it("describes itself, and a device what it holds", function()
    local Class = device { name = "shown", help = "to be looked at", config = { { "hz", type = "integer", default = 1000, unit = "Hz", help = "rate" } },
      regs = { { at = 4, name = "count", access = "r", reset = 16, unit = "ticks", help = "so far" } },
      state = { { "mode", default = "idle", help = "what it does" } } }
    assert.equal(table.concat({ "shown: to be looked at", "options", "  hz           Hz             1000           integer: rate", "registers",
      "  count        ticks    r     0x10           0x004, 4 bytes: so far",
      "state", '  mode                        "idle"         string: what it does' }, "\n"),
      Class:describe())
    local thing = build(Class { hz = 50 })
    thing.count = 255
    assert.matches("^thing: shown: to be looked at\n", thing:describe())
    assert.matches("hz +Hz +50 ", thing:describe())
    assert.matches("count +ticks +r +0xff ", thing:describe())
  end)

  it("appears in the device tree", function()
    local Class = device { name = "node", compatible = { "acme,node-2", "acme,node" }, tree = { { "clock-frequency", 1234 } }, config = { { "irq" } },
      regs = { { at = 0, name = "a" } } }
    build(Class { irq = 6 })
    local dtb = m:dtb()
    for _, text in ipairs { "node@10005000\0", "acme,node-2\0acme,node\0", "clock-frequency\0", "\0\0\4\210" } do
      assert.is_truthy(dtb:find(text, 1, true), text)
    end
  end)
end)

describe("reload", function()
  it("keeps what registers, state and timers hold", function()
    local function class(step)
      local Class = device { name = "x", config = { { "hz", type = "integer", default = 5 } }, regs = { { at = 0, name = "a", reset = 1 } },
        state = { { "list", default = {} } } }
      function Class:write_a(value) self.a = value self.list[#self.list + 1] = step self:after(0.001, "tick") end
      function Class:tick() self.list[#self.list + 1] = step * 10 end
      return Class
    end
    build(class(1) { hz = 9 }, "li a0, 44\nsw a0, (s0)\nnop\nlw a0, (s0)\nsd a0, 0(s1)\n1: j 1b", "virtual")
    m:run { instructions = 10 }
    local thing = m:reload("thing", class(2))
    assert.equal(thing, m:device "thing")
    m:run { instructions = 200000, timeout = 10 }
    assert.same({ 44, 9, { 1, 20 }, 44 }, { thing.a, thing.config.hz, thing.list, note(0) })
    refuses(function() m:reload("thing", device { name = "x", bytes = 8, regs = {} }) end, "reload of thing: its window has 4096 bytes, the new one 8")
    refuses(function() m:reload("thign", class(3)) end, 'no device "thign" in the map, did you mean `thing`%?')
    refuses(function() m:reload("power", class(3)) end, 'device "power" is not written in Lua')
    refuses(function() m:reload "thing" end, 'reload of "thing": from what%? It came from no file')
  end)

  it("reads the file of a class again", function()
    local folder = umbra.folder()
    local text = 'local C = require "umbra.device" { name = "x", regs = { { at = 0, name = "a" } } }\nfunction C:read_a() return self.a + %d end\nreturn C\n'
    local path = folder.write("x.lua", text:format(1))
    local thing = build(device.load(path) {})
    thing.a = 10
    assert.equal(11, device.read(thing, 0))
    folder.write("x.lua", text:format(2))
    assert.equal(12, device.read(m:reload "thing", 0))
    folder.write("x.lua", "return 5")
    refuses(function() m:reload "thing" end, "device.load: .*/x.lua returns 5: .*")
    folder.remove()
  end)

  it("gives the declared state, the same for the same", function()
    local Class = device { name = "x", regs = { { at = 0, name = "a", size = 2 } }, state = { { "t", default = { b = 1, a = { 2, "x" } } } } }
    local rows = device.state(build(Class {}))
    assert.same({ "a", "t", "timers", "irq" }, { rows[1].name, rows[2].name, rows[3].name, rows[4].name })
    assert.equal("\0\0", rows[1].bytes)
    assert.equal('{"a"={0x1=0x2,0x2="x"},"b"=0x1}', rows[2].bytes)
  end)
end)

describe("the page about devices", function()
  it("begins with an example that works", function() require "spec.support.example" "docs/device.md" end)

  it("has every key of a declaration", function()
    local text = require("spec.support.tree").read "docs/device.md"
    for _, key in ipairs { "name", "help", "config", "regs", "state", "bytes", "compatible", "tree", "jit", "access", "reset", "unit" } do
      assert.is_truthy(text:find("`" .. key .. "`", 1, true), key)
    end
  end)
end)

describe("04-lua-device", function()
  it("is a device of at most 25 lines, and a driver that it interrupts", function()
    local file = require("spec.support.tree").read "examples/04-lua-device/ticker.lua"
    assert.is_true(select(2, file:gsub("\n", "")) <= 25)
    local result = umbra.run { "exec", "examples/04-lua-device/run.lua" }
    assert.equal("", result.err)
    assert.matches("^1\n2\n3\nticker: ticker: raises its line again and again\n", result.out)
    assert.matches("\nended with: off\n$", result.out)
  end)
end)
