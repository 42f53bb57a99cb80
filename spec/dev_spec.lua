-- dev: each device through its registers, as a hart reaches them; the interrupt controller against a twin; hostile accesses to all.
-- SPDX-License-Identifier: MIT
local bit     = require "bit"
local block   = require "umbra.block"
local clock   = require "umbra.clock"
local control = require "umbra.control"
local cpu     = require "umbra.cpu"
local dev     = require "umbra.dev"
local irq     = require "umbra.irq"
local mem     = require "umbra.mem"
local example = require "spec.support.example"
local refuses = require "spec.support.refuses"
local shadow  = require "spec.support.shadow"

local RAM = 0x80000000
local RING = 65536

-- What a spec makes is closed in reverse order.
local made
local function make(object)
  made[#made + 1] = object
  return object
end

-- A device in a mem of its own; returns the mem.
local function map(device, at)
  local m = make(mem.new())
  device:map { mem = m, at = at }
  make(device)
  return m
end

describe("dev", function()
  before_each(function() made = {} end)
  after_each(function()
    for i = #made, 1, -1 do made[i]:close() end
  end)

  it("does what its page of docs begins with", function() example "docs/dev.md" end)

  it("maps a device once and takes it out when it is closed", function()
    local m, other = make(mem.new()), make(mem.new())
    local switch = make(control.new())
    local device = make(dev.syscon { control = switch })
    device:map { mem = m, at = 0x100000, name = "power" }
    assert.same({ "power", 0x100000, 4096, "mmio" }, { m:rows()[1].name, m:rows()[1].at, m:rows()[1].size, m:rows()[1].kind })
    refuses(function() device:map { mem = other, at = 0 } end, "syscon: is mapped already, at 0x100000")
    local second = make(dev.syscon { control = switch })
    refuses(function() second:map { mem = m, at = 0x100ff0 } end, "syscon %(.-%) overlaps power %(.-%)")
    device:close()
    assert.equal(0, #m:rows())
    second:map { mem = m, at = 0x100ff0 }
    refuses(function() device:reset() end, "this dev is closed")
  end)

  it("refuses parts of another kind, by their names", function()
    local line = make(irq.new())
    refuses(function() dev.ns16550a { line = line } end, "missing key `ns16550a.chardev` %(dev.chardev%)")
    refuses(function() dev.ns16550a { chardev = line } end, "`ns16550a.chardev` must be what umbra.chardev makes, not a table")
    refuses(function() dev.ns16550a { chardev = make(dev.chardev()), lin = line } end, "unknown key `ns16550a.lin`, did you mean `line`%?")
    local port = make(dev.chardev())
    make(dev.ns16550a { chardev = port })
    local switch = make(control.new())
    refuses(function() dev.htif { chardev = port, control = switch } end, "htif: the character device serves a ns16550a already")
  end)

  it("refuses to be closed after the memory it is mapped into", function()
    local m, switch = mem.new(), make(control.new())
    local device = dev.syscon { control = switch }
    device:map { mem = m, at = 0 }
    m:close()
    refuses(function() device:close() end, "this mem is closed")
  end)

  it("names every model once, and each has a window and state that a reset clears", function()
    local m, switch, time = make(mem.new()), make(control.new()), make(clock.new())
    m:add_ram { at = RAM, size = 4096 }
    local path = os.tmpname()
    local file = io.open(path, "wb")
    file:write(("\0"):rep(4096))
    file:close()
    local disk = make(block.open { path = path })
    os.remove(path)
    for i, name in ipairs(dev.MODELS) do
      local port = make(dev.chardev())
      local known = { chardev = port, control = switch, clock = time, block = disk }
      local needs = {
        clint = { "clock" }, goldfish_rtc = { "clock" }, htif = { "chardev", "control" }, ns16550a = { "chardev" }, plic = {},
        syscon = { "control" }, virtio_blk = { "block" }, virtio_console = { "chardev" }, virtio_rng = {},
      }
      local options = {}
      for _, key in ipairs(needs[name]) do options[key] = known[key] end
      local device = make(dev[name](options))
      assert.equal(name, device:model())
      if name == "htif" then device:map { mem = m, tohost = i * 0x1000000, fromhost = i * 0x1000000 + 8 }
      else device:map { mem = m, at = i * 0x1000000 } end
      device:reset()
      local fresh = device:state()
      local base, size = i * 0x1000000, name == "htif" and 16 or device:bytes()
      shadow.play(3000, function()
        local width = shadow.pick { 1, 2, 4, 8 }
        local at = base + math.random(0, math.min(size, shadow.pick { 64, 512, size }) / width - 1) * width
        if shadow.flip() then pcall(m.load, m, at, width)
        elseif not (name == "virtio_blk" and at - base < 0x100) then pcall(m.store, m, at, width, shadow.u64()) end
      end)
      device:reset()
      assert.same(fresh, device:state())
    end
  end)
end)

describe("chardev", function()
  local port
  before_each(function() port = dev.chardev() end)
  after_each(function() port:close() end)

  it("holds 64 KiB for the guest and says how much fitted", function()
    assert.equal(RING, port:room())
    assert.equal(RING, port:give(("x"):rep(RING + 5)))
    assert.equal(0, port:give "y")
    assert.equal(0, port:room())
    assert.equal("", port:take())
  end)
end)

describe("syscon", function()
  it("presses the buttons of the machine", function()
    made = {}
    local switch = make(control.new())
    local m = map(dev.syscon { control = switch }, 0x100000)
    for _, row in ipairs { { 0x5555, "off", 0 }, { 0x7777, "reset", 0 }, { 0x00073333, "exit", 7 }, { 0xffff3333, "exit", 65535 } } do
      m:store(0x100000, 4, row[1])
      assert.same({ row[2], row[3] }, { switch:halted() })
      switch:clear()
    end
    m:store(0x100000, 2, 0x5555)
    assert.equal("off", (switch:halted()))
    switch:clear()
    m:store(0x100000, 4, 0x1234)
    m:store(0x100004, 4, 0x5555)
    assert.is_nil(switch:halted())
    refuses(function() m:store(0x100000, 1, 0x55) end, "nothing answers a store of 1 bytes.*")
    for i = #made, 1, -1 do made[i]:close() end
  end)
end)

describe("clint", function()
  local time, device, m, software, timer
  local MTIMECMP, MTIME = 0x2004000, 0x200bff8
  before_each(function()
    made = {}
    time = make(clock.new())
    software, timer = make(irq.new()), make(irq.new())
    device = dev.clint { clock = time }
    device:lines(0, software, timer)
    m = map(device, 0x2000000)
  end)
  after_each(function()
    for i = #made, 1, -1 do made[i]:close() end
  end)

  it("raises the software line by bit 0 of msip", function()
    m:store(0x2000000, 4, 0xffffffff)
    assert.is_true(software:level())
    assert.equal(1, m:load(0x2000000, 4))
    m:store(0x2000000, 4, 0xfffffffe)
    assert.is_false(software:level())
    m:store(0x2000004, 4, 1)                       -- a hart that is not there
    assert.equal(0, m:load(0x2000004, 4))
    assert.equal(0, m:load(MTIMECMP + 8, 8))
  end)

  it("has registers for each hart that is wired, and no more than eight", function()
    local second = make(irq.new())
    device:lines(7, second, nil)
    m:store(0x200001c, 4, 1)
    assert.is_true(second:level())
    assert.is_false(software:level())
    assert.equal(0x100000000ULL, m:load(0x2000018, 8))
    assert.equal(-1ULL, m:load(MTIMECMP + 56, 8))
    refuses(function() device:lines(8, second, nil) end, "clint: hart must be 0 to 7, not 8")
  end)

  it("counts the clock's ticks and takes what is written to mtime", function()
    local before = time:now()
    local read = m:load(MTIME, 8)
    assert.is_true(read >= before and read <= time:now())
    m:store(MTIME, 8, 0x123456789abcdef0ULL)
    local now = m:load(MTIME, 8)
    assert.is_true(now >= 0x123456789abcdef0ULL and now < 0x123456789abcdef0ULL + 10000000)
    m:store(MTIME + 4, 4, 7)
    assert.equal(7, m:load(MTIME + 4, 4))
    m:store(MTIME, 4, 0)
    assert.is_true(m:load(MTIME, 4) < 10000000)
    device:reset()
    assert.is_true(m:load(MTIME, 8) <= time:now())
  end)

  it("raises the timer line while mtime >= mtimecmp", function()
    assert.equal(-1ULL, m:load(MTIMECMP, 8))
    assert.is_false(timer:level())
    m:store(MTIMECMP, 8, 0)
    assert.is_true(timer:level())
    m:store(MTIMECMP + 4, 4, 0xffff)               -- halves, as 32-bit harts write it
    assert.is_false(timer:level())
    m:store(MTIMECMP, 4, 0x89abcdef)
    assert.equal(0xffff89abcdefULL, m:load(MTIMECMP, 8))
    m:store(MTIME, 8, 0xffff89abcdefULL)
    assert.is_true(timer:level())
    m:store(MTIME, 8, 0)
    assert.is_false(timer:level())
    m:store(MTIMECMP, 8, 0)
    device:reset()
    assert.is_false(timer:level())
  end)

  it("raises it when the time comes, while a hart runs", function()
    m:add_ram { at = RAM, size = 4096 }
    m:store(RAM, 4, 0x0000006f)                    -- j .
    local switch = make(control.new())
    local hart = make(cpu.new { mem = m, clock = time, control = switch, reset_pc = RAM })
    m:store(MTIMECMP, 8, time:now() + 50000)       -- 5 ms
    assert.is_false(timer:level())
    local started = os.clock()
    while not timer:level() and os.clock() - started < 10 do hart:run(100000, 0.1) end
    assert.is_true(timer:level())
    assert.is_true(m:load(MTIME, 8) >= m:load(MTIMECMP, 8))
  end)
end)

describe("goldfish_rtc", function()
  local time, line, m, device
  local BASE = 0x101000
  local function now()
    local low = m:load(BASE, 4)
    return m:load(BASE + 4, 4) * 2^32 + low
  end
  before_each(function()
    made = {}
    time, line = make(clock.new()), make(irq.new())
    device = dev.goldfish_rtc { clock = time, line = line }
    m = map(device, BASE)
  end)
  after_each(function()
    for i = #made, 1, -1 do made[i]:close() end
  end)

  it("tells the host's time until the guest sets another", function()
    assert.is_true(math.abs(now() / 1e9 - os.time()) < 5)
    m:store(BASE + 4, 4, 1000)
    m:store(BASE, 4, 5)
    assert.is_true(now() >= 1000 * 2^32 + 5 and now() < 1000 * 2^32 + 5e9)
    device:reset()
    assert.is_true(math.abs(now() / 1e9 - os.time()) < 5)
  end)

  it("rings an alarm that has passed at once, and only interrupts when enabled", function()
    m:store(BASE + 0x0c, 4, 0)
    m:store(BASE + 0x08, 4, 1)
    assert.equal(0, m:load(BASE + 0x18, 4))        -- rung, so no longer armed
    assert.is_false(line:level())
    m:store(BASE + 0x10, 4, 1)
    assert.is_true(line:level())
    m:store(BASE + 0x1c, 4, 1)
    assert.is_false(line:level())
  end)

  it("rings a coming alarm when its time comes, while a hart runs", function()
    m:add_ram { at = RAM, size = 4096 }
    m:store(RAM, 4, 0x0000006f)
    local switch = make(control.new())
    local hart = make(cpu.new { mem = m, clock = time, control = switch, reset_pc = RAM })
    local at = now() + 2e7
    m:store(BASE + 0x10, 4, 1)
    m:store(BASE + 0x0c, 4, math.floor(at / 2^32))
    m:store(BASE + 0x08, 4, at % 2^32)
    assert.equal(1, m:load(BASE + 0x18, 4))
    assert.equal(math.floor(at / 2^32), m:load(BASE + 0x0c, 4))
    assert.is_false(line:level())
    local started = os.clock()
    while not line:level() and os.clock() - started < 10 do hart:run(100000, 0.1) end
    assert.is_true(line:level())
    assert.is_true(now() >= at)
    m:store(BASE + 0x1c, 4, 1)
    m:store(BASE + 0x0c, 4, 0x7fffffff)
    m:store(BASE + 0x08, 4, 0)
    m:store(BASE + 0x14, 4, 1)
    assert.equal(0, m:load(BASE + 0x18, 4))
    assert.is_false(line:level())
  end)
end)

describe("ns16550a", function()
  local port, line, m, device
  local THR, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR = 0, 1, 2, 2, 3, 4, 5, 6, 7
  local BASE = 0x10000000
  local function get(at) return m:load(BASE + at, 1) end
  local function put(at, value) m:store(BASE + at, 1, value) end
  before_each(function()
    made = {}
    port, line = make(dev.chardev()), make(irq.new())
    device = dev.ns16550a { chardev = port, line = line }
    m = map(device, BASE)
  end)
  after_each(function()
    for i = #made, 1, -1 do made[i]:close() end
  end)

  it("passes what a PC driver tries to find out what it is", function()
    put(IER, 0)
    assert.equal(0, get(IER))
    put(IER, 0xff)
    assert.equal(0x0f, get(IER))
    put(IER, 0)
    put(MCR, 0x1a)                                 -- loopback, OUT2, RTS
    assert.equal(0x90, bit.band(get(MSR), 0xf0))
    put(MCR, 0)
    put(FCR, 1)
    assert.equal(0xc1, get(IIR))                   -- the FIFOs work: a 16550A
    put(FCR, 0)
    assert.equal(0x01, get(IIR))
    for _, value in ipairs { 0x55, 0xaa } do
      put(SCR, value)
      assert.equal(value, get(SCR))
    end
    put(LCR, 0x83)
    put(THR, 12)
    put(IER, 34)
    assert.same({ 12, 34, 0x83 }, { get(THR), get(IER), get(LCR) })
    put(LCR, 3)
    assert.equal(0, get(IER))
    assert.equal("", port:take())
    assert.equal(0x60, get(LSR))
    assert.equal(0xb0, bit.band(get(MSR), 0xf0))
  end)

  it("answers accesses up to a word at each register, with a byte", function()
    m:store(BASE, 4, 0x11223341)
    assert.equal("A", port:take())
    assert.equal(0x60, m:load(BASE + 5, 1))
    assert.equal(0, m:load(BASE + 4, 4))
    assert.equal(0, m:load(BASE + 0x40, 2))
    refuses(function() m:load(BASE, 8) end, "nothing answers a load of 8 bytes.*")
  end)

  it("interrupts as soon as the transmitter is empty, once", function()
    put(IER, 2)
    assert.is_true(line:level())
    assert.equal(0x02, get(IIR))
    assert.is_false(line:level())                  -- reading IIR answered it
    put(THR, 65)
    assert.is_true(line:level())
    put(IER, 0)
    assert.is_false(line:level())
    put(IER, 2)
    assert.equal(0x02, get(IIR))
    assert.equal(0x01, get(IIR))
  end)

  it("raises receive interrupts by the trigger level, and the timeout below it", function()
    put(FCR, 0x81)                                 -- 8 bytes
    put(IER, 1)
    assert.is_false(line:level())
    port:give "1234567"
    assert.is_true(line:level())
    assert.equal(0xcc, get(IIR))
    port:give "8"
    assert.equal(0xc4, get(IIR))
    for i = 1, 8 do assert.equal(48 + i, get(THR)) end
    assert.equal(0xc1, get(IIR))
    assert.is_false(line:level())
    assert.equal(0, get(THR))
  end)

  it("receives all that is given, with FIFOs and without", function()
    local text = {}
    for i = 1, 3000 do text[i] = string.char(i % 251) end
    text = table.concat(text)
    for _, fcr in ipairs { 0, 1 } do
      put(FCR, fcr)
      port:give(text)
      local got = {}
      while bit.band(get(LSR), 1) == 1 do got[#got + 1] = string.char(get(THR)) end
      assert.equal(text, table.concat(got))
    end
  end)

  it("forgets what its FIFO holds when told so, not what waits behind it", function()
    put(FCR, 1)
    port:give(("a"):rep(16) .. "b")
    put(FCR, 3)
    assert.equal(98, get(THR))
    assert.equal(0x60, get(LSR))
  end)

  it("loses nothing of a guest that heeds THRE while the host does not take", function()
    put(FCR, 1)
    put(IER, 2)
    local sent = 0
    while bit.band(get(LSR), 0x20) ~= 0 do         -- as a driver does: a FIFO full whenever the transmitter is empty
      for _ = 1, 16 do
        put(THR, sent % 256)
        sent = sent + 1
      end
      assert.is_true(sent < 2 * RING)
    end
    assert.equal(RING + 16, sent)
    assert.equal(RING, port:waiting())
    get(IIR)
    assert.is_false(line:level())
    local first = port:take(100)
    assert.equal(0x60, get(LSR))
    assert.is_true(line:level())                   -- it says so
    local all = first .. port:take()
    assert.equal(sent, #all)
    for i = 0, sent - 1 do
      if all:byte(i + 1) ~= i % 256 then error("byte " .. i) end
    end
  end)

  it("tells the control before the guest has to wait", function()
    local switch = make(control.new())
    local told = make(dev.chardev { control = switch })
    local ram = map(dev.ns16550a { chardev = told }, BASE)
    ram:add_ram { at = RAM, size = 4096 }
    -- lui t0, 0x10000; 1: sb zero, 0(t0); j 1b
    for i, word in ipairs { 0x100002b7, 0x00028023, 0xffdff06f } do ram:store(RAM + 4 * (i - 1), 4, word) end
    local hart = make(cpu.new { mem = ram, clock = make(clock.new()), control = switch, reset_pc = RAM })
    local reason = hart:run(10000000, 10)
    assert.equal("attention", reason)
    assert.is_true(told:waiting() >= RING / 2 and told:waiting() < RING)
  end)

  it("loops back what is sent, and overruns", function()
    put(MCR, 0x10)
    put(FCR, 1)
    put(IER, 5)
    for i = 1, 17 do put(THR, i) end
    assert.equal("", port:take())
    assert.equal(0xc6, get(IIR))                   -- overrun: the line status is the most urgent
    assert.equal(0x63, get(LSR))
    assert.equal(0x61, get(LSR))
    for i = 1, 16 do assert.equal(i, get(THR)) end
    port:give "z"
    assert.equal(0x60, get(LSR))                   -- the wire is cut
    put(MCR, 0)
    assert.equal(0x61, get(LSR))
    assert.equal(122, get(THR))
  end)

  it("reports changes of the modem lines once", function()
    put(IER, 8)
    put(MCR, 0x10)                                 -- CTS, DSR, DCD fall
    assert.is_true(line:level())
    assert.equal(0x00, get(IIR))
    assert.equal(0x0b, get(MSR))
    assert.is_false(line:level())
    put(MCR, 0x14)                                 -- RI rises: no event
    assert.equal(0x40, get(MSR))
    put(MCR, 0x10)                                 -- and falls
    assert.equal(0x04, get(MSR))
    assert.equal(0x00, get(MSR))
  end)
end)

describe("plic", function()
  local SOURCES, CONTEXTS, BASE = 70, 3, 0xc000000
  local ENABLE, CONTEXT = BASE + 0x2000, BASE + 0x200000
  local device, m, inputs, outputs
  before_each(function()
    made = {}
    inputs, outputs = {}, {}
    for i = 1, SOURCES do inputs[i] = make(irq.new()) end
    for i = 1, CONTEXTS do outputs[i] = make(irq.new()) end
    device = dev.plic { sources = SOURCES, contexts = CONTEXTS }
    m = map(device, BASE)
    for i, line in ipairs(inputs) do device:source(i, line) end
    for i, line in ipairs(outputs) do device:context(i - 1, line) end
  end)
  after_each(function()
    for i = #made, 1, -1 do made[i]:close() end
  end)

  -- What the manual says, as naively as can be.
  local function new_twin()
    local twin = { priority = {}, pending = {}, claimed = {}, level = {}, enabled = {}, threshold = {} }
    for source = 1, SOURCES do twin.priority[source] = 0 end
    for context = 0, CONTEXTS - 1 do twin.enabled[context], twin.threshold[context] = {}, 0 end
    function twin.best(context)
      local best, best_priority = 0, 0
      for source = 1, SOURCES do
        if twin.pending[source] and twin.enabled[context][source] and twin.priority[source] > best_priority then
          best, best_priority = source, twin.priority[source]
        end
      end
      return best, best_priority
    end
    function twin.output(context)
      local _, priority = twin.best(context)
      return priority > twin.threshold[context]
    end
    function twin.set(source, level)
      if level and not twin.level[source] and not twin.claimed[source] then twin.pending[source] = true end
      twin.level[source] = level
    end
    function twin.claim(context)
      local source = twin.best(context)
      if source ~= 0 then twin.pending[source], twin.claimed[source] = nil, true end
      return source
    end
    function twin.complete(context, source)
      if not twin.enabled[context][source] or not twin.claimed[source] then return end
      twin.claimed[source] = nil
      if twin.level[source] then twin.pending[source] = true end
    end
    return twin
  end

  it("does what the manual says, whatever is asked", function()
    local twin = new_twin()
    local function bits_of(set, word)
      local value = 0
      for i = 0, 31 do
        if set[word * 32 + i] then value = value + 2^i end
      end
      return value
    end
    local ops = {
      function(source) local level = shadow.flip() inputs[source]:set(level) twin.set(source, level) end,
      function(source) local p = math.random(0, 9) m:store(BASE + 4 * source, 4, p) twin.priority[source] = p % 8 end,
      function(_, context)
        local word, value = math.random(0, 3), math.random(0, 2^32 - 1)
        m:store(ENABLE + context * 0x80 + word * 4, 4, value)
        for i = 0, 31 do
          local source = word * 32 + i
          if source >= 1 and source <= SOURCES then twin.enabled[context][source] = math.floor(value / 2^i) % 2 == 1 or nil end
        end
        shadow.same(m:load(ENABLE + context * 0x80 + word * 4, 4), bits_of(twin.enabled[context], word), "enable")
      end,
      function(_, context) local t = math.random(0, 7) m:store(CONTEXT + context * 0x1000, 4, t) twin.threshold[context] = t end,
      function(_, context) shadow.same(m:load(CONTEXT + context * 0x1000 + 4, 4), twin.claim(context), "claim") end,
      function(source, context) m:store(CONTEXT + context * 0x1000 + 4, 4, source) twin.complete(context, source) end,
      function(source) shadow.same(m:load(BASE + 0x1000 + math.floor(source / 32) * 4, 4), bits_of(twin.pending, math.floor(source / 32)), "pending") end,
      function(source) m:store(BASE + 0x1000 + math.floor(source / 32) * 4, 4, math.random(0, 2^32 - 1)) end,
    }
    shadow.play(20000, function()
      shadow.pick(ops)(math.random(1, SOURCES), math.random(0, CONTEXTS - 1))
      for context = 0, CONTEXTS - 1 do shadow.same(outputs[context + 1]:level(), twin.output(context), "output " .. context) end
    end)
  end)

  it("keeps a request whose line fell, and passes a level on again after completion", function()
    m:store(BASE + 4 * 5, 4, 1)
    m:store(ENABLE, 4, 2^5)
    inputs[5]:raise()
    inputs[5]:lower()
    assert.is_true(outputs[1]:level())
    assert.equal(5, m:load(CONTEXT + 4, 4))
    inputs[5]:raise()                              -- the gateway is shut
    assert.is_false(outputs[1]:level())
    m:store(CONTEXT + 4, 4, 5)
    assert.is_true(outputs[1]:level())
  end)

  it("has a window as long as its contexts, and refuses what it has not", function()
    assert.equal(0x203000, device:bytes())
    refuses(function() device:source(SOURCES + 1, inputs[1]) end, "plic: source must be 1 to 70, not 71")
    refuses(function() device:source(3, inputs[1]) end, "plic: source 3 has a line already")
    refuses(function() device:context(3, outputs[1]) end, "plic: context must be 0 to 2, not 3")
    refuses(function() dev.plic { sources = 1024 } end, "`plic.sources` must be 1 to 1023, not 1024")
    refuses(function() m:load(BASE, 8) end, "nothing answers.*")
    m:store(BASE + 4 * 71, 4, 7)                   -- no such source
    assert.equal(0, m:load(BASE + 4 * 71, 4))
  end)

  it("sees raised lines again after a reset, and lets go of them when closed", function()
    inputs[9]:raise()
    device:reset()
    assert.equal(2^9, m:load(BASE + 0x1000, 4))
    device:close()
    inputs[9]:lower()
    inputs[9]:raise()
  end)
end)

describe("htif", function()
  local port, switch, m, device
  local TOHOST, FROMHOST = RAM + 0x1000, RAM + 0x1040
  before_each(function()
    made = {}
    port, switch = make(dev.chardev()), make(control.new())
    m = make(mem.new())
    m:add_ram { at = RAM, size = 65536 }
    device = make(dev.htif { chardev = port, control = switch })
    device:map { mem = m, tohost = TOHOST, fromhost = FROMHOST }
  end)
  after_each(function()
    for i = #made, 1, -1 do made[i]:close() end
  end)

  it("ends the program with the code of an odd payload", function()
    for _, code in ipairs { 0, 1, 42, 2^20 } do
      m:store(TOHOST, 8, code * 2 + 1)
      assert.same({ "exit", code }, { switch:halted() })
      assert.equal(0, m:load(TOHOST, 8))
      switch:clear()
    end
  end)

  it("takes the halves of the word in either order, again and again", function()
    for _ = 1, 3 do                                -- sw gp, tohost; sw zero, tohost + 4
      m:store(TOHOST, 4, 7)
      m:store(TOHOST + 4, 4, 0)
      assert.same({ "exit", 3 }, { switch:halted() })
    end
    switch:clear()
    m:store(TOHOST + 4, 4, 0x01010000)
    assert.equal("", port:take())
    m:store(TOHOST, 4, 65)
    assert.equal("A", port:take())
    assert.is_nil(switch:halted())
    assert.equal(0, m:load(TOHOST, 8))
  end)

  it("prints, and makes a program wait when nobody takes", function()
    local PUT = 0x0101000000000000ULL
    m:store(TOHOST, 8, PUT + 33)
    assert.equal("!", port:take())
    for _ = 1, RING do m:store(TOHOST, 8, PUT + 46) end
    m:store(TOHOST, 8, PUT + 47)
    assert.equal(PUT + 47, m:load(TOHOST, 8))
    assert.equal(RING, #port:take())
    assert.equal(0, m:load(TOHOST, 8))
    assert.equal("/", port:take())
  end)

  it("answers a request for input when there is some, once fromhost is free", function()
    m:store(FROMHOST, 8, 99)
    m:store(TOHOST, 8, 0x0100000000000000ULL)
    port:give "ab"
    assert.equal(99, m:load(FROMHOST, 8))
    m:store(FROMHOST, 8, 0)
    assert.equal(0x0100000000000161ULL, m:load(FROMHOST, 8))
    m:store(FROMHOST, 8, 0)
    assert.equal(0, m:load(FROMHOST, 8))
  end)

  it("serves write and exit of programs that proxy their system calls", function()
    local function call(...)
      for i, value in ipairs { ... } do m:store(RAM + 8 * (i - 1), 8, value) end
      m:store(TOHOST, 8, RAM)
      assert.equal(0, m:load(TOHOST, 8))
      local answer = m:load(FROMHOST, 8)
      m:store(FROMHOST, 8, 0)
      return m:load(RAM, 8), answer
    end
    m:write(RAM + 256, ("0123456789"):rep(50))
    assert.same({ 500, 1 }, { call(64, 1, RAM + 256, 500) })
    assert.equal(("0123456789"):rep(50), port:take())
    assert.equal(-9ULL, (call(64, 7, RAM, 1)))
    assert.equal(-14ULL, (call(64, 1, 0x1000, 1)))
    assert.equal(-38ULL, (call(57, 0, 0, 0)))
    call(93, 5, 0, 0)
    assert.same({ "exit", 5 }, { switch:halted() })
  end)

  it("survives a system call that points nowhere", function()
    for _, at in ipairs { 0x10, RAM + 65536 - 8, 0xfffffffffffeULL, TOHOST, FROMHOST } do
      m:store(TOHOST, 8, at)
      assert.equal(0, m:load(TOHOST, 8))
    end
  end)

  it("leaves nothing behind when its second word cannot be mapped", function()
    local other = make(dev.htif { chardev = make(dev.chardev()), control = switch })
    refuses(function() other:map { mem = m, tohost = RAM, fromhost = TOHOST + 4 } end, "fromhost %(.-%) overlaps tohost %(.-%)")
    m:store(RAM, 8, 3)
    assert.equal(3, m:load(RAM, 8))
    assert.is_nil(switch:halted())
    other:map { mem = m, tohost = RAM }
    assert.equal(0, m:load(RAM, 8))
  end)
end)
