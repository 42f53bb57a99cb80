-- sched: machines that run on threads of their own do there what they do here, and may be looked at meanwhile.
-- SPDX-License-Identifier: MIT
local asm     = require "umbra.asm"
local dev     = require "devices"
local device  = require "umbra.device"
local example = require "spec.support.example"
local host    = require "umbra.host"
local machine = require "umbra.machine"
local random  = require "spec.support.random"
local refuses = require "spec.support.refuses"
local there   = require "spec.support.there"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local RAM, AT = 0x80000000, 0x10005000
local open = {}

-- A machine that runs `text`; options: clock, device (what Class {...} gave).
local function build(text, options)
  options = options or {}
  local m = machine.build(machine {
    ram = { at = RAM, size = "1M" }, clock = options.clock,
    map = {
      { at = 0x00100000, name = "power", dev.syscon {} },
      { at = 0x10000000, name = "uart0", dev.ns16550a {} },
      options.device and { at = AT, name = "thing", options.device },
    },
  })
  m.mem:write(RAM, asm.assemble("li s0, 0x10005000\nli s1, 0x80080000\nli s2, 0x10000000\nli s3, 0x100000\nli s4, 0x5555\n" .. text,
    { at = RAM, name = "guest" }).bytes)
  open[#open + 1] = m
  return m
end

after_each(function()
  for _, m in ipairs(open) do m:close() end
  open = {}
end)

local COUNT  = "1: addi a0, a0, 1\naddi a1, a1, 1\nj 1b"                       -- a0 is a1, or one more
local ECHO   = "1: lbu t0, 5(s2)\nandi t0, t0, 1\nbeqz t0, 1b\nlbu t0, 0(s2)\nsb t0, 0(s2)\nj 1b"
local OFF    = "\nsw s4, (s3)\nj .\n"
local UNTIL_FLAG = "1: ld a0, (s1)\nbeqz a0, 1b" .. OFF                         -- until somebody writes to 0x80080000

local function pass(seconds)
  local till = host.seconds() + seconds
  while host.seconds() < till do end                                            -- luacheck: ignore 542
end

describe("a started machine", function()
  it("runs by itself until it is stopped, at an instruction", function()
    local m = build(COUNT)
    assert.is_false(m:running())
    m:start()
    assert.is_true(m:running())
    repeat until m.hart:reg "a0" > 1000
    local result = m:stop()
    assert.is_false(m:running())
    assert.equal("stop", result.reason)
    assert.is_true(result.executed > 1000)
    assert.equal(result.executed, m:counters().instructions)
    assert.equal(result.pc, m.hart:pc())
    assert.is_nil(m:stop())
    assert.equal(1, m:run({ instructions = 1 }).executed)
  end)

  it("stands still for a moment when it is looked at, and runs on", function()
    local m, last = build(COUNT), -1
    m:start()
    while last < 1000 do
      pass(0.0002)
      local a0, instructions = m.hart:reg "a0", m:counters().instructions
      assert.is_true(a0 >= last and instructions >= a0)
      last = a0
      local one, other = m.hart:reg "a1", m.hart:reg "a1"
      assert.is_true(one <= other)
    end
    assert.matches("^%x+$", m:hash())
    assert.equal("machine", m.hart:privilege())
    assert.is_true(m.clock:now() > 0)
    m.hart:set_reg("a0", 2^40)
    m:wait { instructions = 1000 }
    assert.is_true(m.hart:reg "a0" > 2^40)
    assert.is_true(m.hart:reg "a0" - 2^40 < m.hart:reg "a1")
  end)

  it("sees what is written to its memory, and ends", function()
    local m = build(UNTIL_FLAG)
    m:start()
    assert.equal("timeout", m:wait({ timeout = 0.01 }).reason)
    assert.is_true(m:running())
    m.mem:store(RAM + 0x80000, 8, 7)
    assert.equal("off", m:wait({ timeout = 10 }).reason)
    assert.is_false(m:running())
    assert.equal(7, m.hart:reg "a0")
    assert.equal("off", m:run().reason)
    m:start()
    local result = m:wait()
    assert.same({ "off", 0 }, { result.reason, result.executed })
  end)

  it("keeps the limits of start and of wait, exactly", function()
    local m = build(COUNT)
    m:start { instructions = 100000 }
    local result = m:wait()
    assert.same({ "instructions", 100000 }, { result.reason, result.executed })
    assert.is_false(m:running())
    m:start { until_pc = RAM }                       -- never
    result = m:wait { instructions = 5000 }
    assert.equal("instructions", result.reason)
    assert.is_true(result.executed >= 5000)          -- it ran before it was waited for
    local loop = m.hart:pc()
    m:start()
    result = m:wait { until_pc = loop, timeout = 10 }
    assert.same({ "pc", loop }, { result.reason, result.pc })
    m:start { until_pc = loop }
    result = m:wait { timeout = 10 }
    assert.same({ "pc", loop, 3 }, { result.reason, result.pc, result.executed })
    m:start()                                        -- limits are gone
    assert.equal("timeout", m:wait({ timeout = 0.002 }).reason)
    m:stop()
    assert.equal(m:counters().instructions, m.done)
  end)

  it("is talked to on its console", function()
    local m = build(ECHO)
    m:start()
    for i = 1, 100 do
      m.console:send(("line %d\n"):format(i))
      assert.equal(tostring(i), (m.console:match "line (%d+)\n"))
    end
    assert.is_true(m:running())
    refuses(function() m.console:expect("never", 0.01) end, 'console uart0: "never" did not come within 0.01 seconds; its last line: "line 100"')
    m.console:send "z"
    assert.equal("text", m:wait({ until_text = "z", timeout = 10 }).reason)
    local big = ("0123456789abcdef"):rep(16384)      -- more than all rings hold
    m.console:send(big)
    m.console:send "\nend\n"
    m.console:expect("\nend\n", 30)
    assert.is_truthy(m.console:text():find(big, 1, true))
    m:stop()
  end)

  it("with a virtual clock waits where a run would look at its consoles", function()
    local m = build(COUNT, { clock = "virtual" })
    m:start()
    repeat until m:counters().instructions == 2^20
    pass(0.01)
    assert.equal(2^20, m:counters().instructions)
    repeat m:wait { timeout = 0.01 } until m:counters().instructions > 2^20
    m:stop()
  end)

  it("wakes up when it sleeps", function()
    local m = build "li t0, 8\ncsrw mie, t0\n1: wfi\nj 1b"
    m:start()
    pass(0.002)
    local start = host.seconds()
    assert.equal(0, m.hart:reg "a0")
    assert.is_true(host.seconds() - start < 1)
    assert.equal("stop", m:stop().reason)
  end)

  it("is reset as it runs, and goes on", function()
    local m = build(COUNT)
    m:start()
    pass(0.002)
    m.hart:set_reg("s11", 5)
    m:reset()
    assert.equal(0, m.hart:reg "s11")
    repeat until m.hart:reg "a0" > 1000
    assert.is_true(m:stop().executed > 1000)
  end)

  it("stands still while names are added that its thread logs with", function()
    local m = build "la t0, 1f\ncsrw mtvec, t0\n.balign 4\n1: addi a0, a0, 1\necall"
    m:log { int = "/dev/null" }
    m:start()
    for i = 1, 40 do                                  -- the table moves again and again
      local lines = {}
      for j = 1, 2000 do lines[j] = ("%016x T a_name_that_is_long_%d\n"):format(2^31 + 4 * i + 1024 * j, i) end
      assert.equal(2000, m.symbols:parse(table.concat(lines), "names"))
      assert.is_true(m:running())
    end
    assert.equal(2^31 + 4 * 40 + 1024, m.symbols:address "a_name_that_is_long_40")
    m:stop()
    m.symbols:parse("0000000080000000 T last\n", "names")
  end)

  it("is closed as it runs, or forgotten", function()
    for _ = 1, 20 do
      local m = build(COUNT)
      m:start()
      m:close()
      assert.has_error(function() m:running() end)
    end
    for _ = 1, 5 do build(COUNT):start() end
    open = {}
    collectgarbage()
    collectgarbage()
    local m = build(COUNT)
    m:start()
    assert.equal("timeout", m:wait({ timeout = 0.001 }).reason)
  end)

  it("runs on a thread that takes no signal", function()
    local m = build(COUNT)
    m:start()
    local blocked = 0
    for folder in tree.run("grep -l um-runner /proc/$PPID/task/*/comm"):gmatch "[^\n]+" do
      blocked = blocked + 1
      local mask = tree.read((folder:gsub("comm$", "status"))):match "SigBlk:%s*(%x+)"
      assert.equal(0x7ffbfeff, tonumber(mask:sub(-8), 16) % 2^31)      -- all but KILL and STOP
    end
    assert.equal(1, blocked)
  end)

  it("refuses what would get in its way", function()
    local m = build(COUNT)
    refuses(function() m:wait() end, "wait: the machine is not started: m:start%(%) first")
    refuses(function() m:start { timeout = 1 } end, "unknown key `start.timeout`; .*")
    refuses(function() m:start { until_pc = "x" } end, "start: until_pc.*")
    m:start()
    for _, name in ipairs { "run", "slice", "start" } do
      refuses(function() m[name](m) end, name .. ": the machine is started: m:stop%(%) first")
    end
    refuses(function() m.hart:run(5) end, "run: the machine is started: m:stop%(%) first")
    for _, part in ipairs { "hart", "mem", "clock", "control" } do
      refuses(function() m[part]:close() end, "this " .. part .. " belongs to a machine, which closes it")
    end
    refuses(function() m:wait { instructions = 0 } end, "`wait.instructions` must be at least 1, not 0")
    refuses(function() m.hart:reg "b9" end, 'unknown register "b9"')
    assert.is_true(m:running())
    m:stop()
    m.hart:run(5)
  end)
end)

describe("a device in Lua of a started machine", function()
  local Thing = device { name = "thing", config = { { "f", type = "function" } }, regs = { { at = 0, name = "a" } } }
  function Thing:read_a() return self.config.f(self) end

  it("is served where somebody waits, counted exactly", function()
    local calls = 0
    local m = build("li s5, 1000\n1: lw a0, (s0)\nadd a1, a1, a0\naddi s5, s5, -1\nbnez s5, 1b" .. OFF, {
      device = Thing { f = function() calls = calls + 1 return calls end } })
    m:start()
    pass(0.002)
    assert.equal(0, calls)                            -- nobody serves it
    assert.equal("off", m:wait({ timeout = 20 }).reason)
    assert.same({ 1000, 500500 }, { calls, m.hart:reg "a1" })
    assert.equal(1000, m:counters().mmio.devices.thing.reads)
  end)

  it("cannot close, stop or run its machine from within, here or there", function()
    for _, call in ipairs { "close", "stop", "run", "start", "wait" } do
      local m
      m = build("lw a0, (s0)" .. OFF, { device = Thing { f = function() return m[call](m) or 0 end } })
      if call ~= "stop" and call ~= "wait" then
        refuses(function() m:run() end, call .. ": not from a function that is called while the machine is served")
      end
      m:start()
      refuses(function() m:wait { timeout = 10 } end, call .. ": .*")
      assert.is_true(m:running())
      m:stop()
    end
  end)

  it("may be used while it runs", function()
    local Timed = device { name = "timed", config = { { "irq" } }, regs = { { at = 0, name = "count" } } }
    function Timed:tick()
      self.count = self.count + 1
      self.irq:set(self.count % 2 == 1)
      if self.count < 20 then self:after(0.0005, "tick") end
    end
    local m = build("1: lw a0, (s0)\nli t0, 20\nbne a0, t0, 1b" .. OFF, { device = Timed {} })
    m:start()
    local d = m:device "thing"
    d:after(0.001, "tick")
    assert.is_true(d:now() > 0)
    assert.equal("off", m:wait({ timeout = 20 }).reason)
    assert.equal(20, d.count)
  end)
end)

describe("several machines", function()
  it("run side by side and are served together", function()
    local Adder = device { name = "adder", regs = { { at = 0, name = "sum" } }, state = { { "calls", default = 0 } } }
    function Adder:write_sum(value)
      self.calls = self.calls + 1
      self.sum = self.sum + value
    end
    local all = {}
    for i = 1, 3 do
      all[i] = build(("li s5, %d\n1: sw s5, (s0)\naddi s5, s5, -1\nbnez s5, 1b"):format(100 * i) .. OFF, { device = Adder {} })
      all[i]:start()
    end
    assert.is_false(machine.serve { timeout = 30 })
    for i, m in ipairs(all) do
      assert.equal("off", m:wait().reason)
      assert.equal(100 * i, m:device("thing").calls)
      assert.equal(100 * i * (100 * i + 1) / 2, m:device("thing").sum)
    end
    assert.is_false(machine.serve())
  end)

  it("talk to each other over their consoles", function()
    -- Each sends what it gets, plus one, until it gets LAST or more.
    local PING = [[
        beqz a0, 1f
        sb a1, (s2)
     1: lbu t0, 5(s2)
        andi t0, t0, 1
        beqz t0, 1b
        lbu a1, (s2)
        li t0, LAST
        addi a1, a1, 1
        sb a1, (s2)
        bltu a1, t0, 1b]] .. OFF
    for way, last in pairs { wall = 100, virtual = 10 } do         -- any order will do
      local text = PING:gsub("LAST", last)
      local a, b = build(text, { clock = way }), build(text, { clock = way })
      a.hart:set_reg("a0", 1)
      a.console:connect(b.console)
      a:start()
      b:start()
      machine.serve { timeout = 30 }
      assert.same({ "off", "off" }, { a:wait({ timeout = 1 }).reason, b:wait({ timeout = 1 }).reason })
      assert.equal(2 * last + 1, a.hart:reg "a1" + b.hart:reg "a1")
      assert.equal("\0\2\4", a.console:text():sub(1, 3))
      assert.equal("\1\3\5", b.console:text():sub(1, 3))
    end
  end)

  it("hold each other back when one does not read", function()
    local a, b = build "1: sb a0, (s2)\naddi a0, a0, 1\nj 1b", build(COUNT)
    a.console:connect(b.console)
    a:start()
    b:start()
    machine.serve { timeout = 0.3 }
    assert.is_true(#b.console.pending < 2^17)
    assert.is_true(#a.console:text() < 2^18)
    a.console:connect(nil)
    repeat a:wait { timeout = 0.01 } until #a.console:text() > 2^18
    refuses(function() a.console:connect(5) end, "console:connect takes another console, not 5")
    refuses(function() a.console:connect(a.console) end, "console:connect takes another console, not itself")
    local text = b.console
    b:close()
    refuses(function() text:send "x" end, "console uart0: its machine is closed")
  end)
end)

describe("a process with machines that run", function()
  local function exec(text)
    local folder = umbra.folder()
    local head = 'local machine = require "umbra.machine"\nlocal m = machine.build(machine { ram = { size = "1M" } })\n'
      .. 'm.mem:write(0x80000000, "\\19\\5\\197\\0\\111\\240\\223\\255")\nm:start()\n'
    local result = umbra.run { "exec", folder.write("x.lua", head .. text) }
    folder.remove()
    return result
  end

  it("ends by os.exit, by an error, and at its end", function()
    assert.equal(3, exec("os.exit(3)").code)
    assert.equal(4, exec("os.exit(4, true)").code)
    local result = exec "error 'oh'"
    assert.matches("oh", result.err)
    assert.equal(126, result.code)
    assert.equal(0, exec("").code)
    assert.equal(0, exec("m = nil collectgarbage() collectgarbage()").code)
  end)
end)

describe("the page", function()
  it("has an example that works", function() example "docs/sched.md" end)
end)

-- The same specs, there. Left out: refusals that name the line of m:run, a bar for the way here, and what the other spec compares itself.
local WITHOUT = {
  device = { "within 300 ns each" }, machine = { "is refused at the user's line", "refuses options" },
  clock = { "end in the same state" },
}
for _, name in ipairs { "machine", "device", "harts", "clock", "semihosting", "hook" } do
  describe("there: " .. name, function() there.include(name, WITHOUT[name]) end)
end

describe("starting and stopping", function()
  it("at random moments leaves no trace", function()
    local draw, times = random.new(random.seed(11)), random.soak() and 10000 or 300
    local function play(disturb)
      local m = build("1: csrr a0, mcycle\nadd a1, a1, a0\nmul a2, a1, a0\nsd a2, (s1)\nld a3, (s1)\nxor a4, a4, a3\nj 1b", { clock = "virtual" })
      disturb(m)
      local hash, pc = m:hash(), m.hart:pc()
      m:close()
      open[#open] = nil
      return hash, pc
    end
    local total
    local hash, pc = play(function(m)
      for i = 1, times do
        m:start()
        local how = i % 4
        if how == 1 then pass(draw(200) / 1e6) end
        if how == 2 then m:wait { timeout = draw(200) / 1e6 } end
        if how == 3 then m.hart:reg "a0" end
        m:stop()
      end
      total = m:counters().instructions
    end)
    local other, where = play(function(m) m:run { instructions = total } end)
    assert.equal(where, pc)
    assert.equal(other, hash)
  end)
end)
