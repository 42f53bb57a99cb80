-- clock: guest time that follows the host's or counts instructions; with the latter, runs that end in the same state.
-- SPDX-License-Identifier: MIT
local bit     = require "bit"
local ffi     = require "ffi"
local clib    = require "umbra.clib"
local clock   = require "umbra.clock"
local control = require "umbra.control"
local cpu     = require "umbra.cpu"
local dev     = require "devices"
local device  = require "umbra.device"
local host    = require "umbra.host"
local machine = require "umbra.machine"
local mem     = require "umbra.mem"
local random  = require "spec.support.random"
local refuses = require "spec.support.refuses"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local folder, programs

-- Every hart: timer interrupts at random times, each logged (cause and hart, cycle, mtime, the real-time clock) and passed on to
-- the next hart as a software interrupt; between them work on a shared counter, and wfi every other time. s7 is the hart, s8 its
-- interrupts, s9 its random number, s11 the number of harts; t3 to t6 belong to the handler.
local TICKING = [[
        .globl _start, events, log, seen
_start: mv    s7, a0
        la    t0, trap
        csrw  mtvec, t0
        li    s0, 0x02000000
        li    s8, 0
        addi  s9, a0, 99
        la    t0, harts
        lw    s11, 0(t0)
        li    t0, 0x88
        csrw  mie, t0
        jal   set_timer
        csrsi mstatus, 8
        li    s1, 0x10000000
        lui   s6, 0x10005
        la    s2, shared
work:   li    t1, 1
        slli  t0, s9, 47
        srli  t0, t0, 53
1:      amoadd.d t2, t1, (s2)
        xor   s3, s3, t2
        addi  t0, t0, -1
        bgtz  t0, 1b
        andi  t0, s9, 1
        beqz  t0, 2f
        wfi
2:      sw    s9, 0(s6)
        lw    t0, 4(s6)
        la    t2, log
        sw    t0, 28(t2)
        la    t0, events
        lw    t0, 0(t0)
        blt   s8, t0, work
        csrci mstatus, 8
        la    t0, finished
        amoadd.w t2, t1, (t0)
        bnez  s7, sleep
wait:   la    t0, finished
        lw    t0, 0(t0)
        blt   t0, s11, wait
        la    s4, ready
        jal   print
ask:    lbu   t0, 5(s1)
        andi  t0, t0, 1
        beqz  t0, ask
        csrr  s6, mcycle
        lbu   s5, 0(s1)
        sb    s5, 0(s1)
        la    t0, seen
        sd    s6, 0(t0)
        li    t0, 'q'
        bne   s5, t0, ask
        lui   t0, 0x100
        li    t1, 0x5555
        sw    t1, 0(t0)
sleep:  wfi
        j     sleep
print:  lbu   t0, 0(s4)
        beqz  t0, 3f
        sb    t0, 0(s1)
        addi  s4, s4, 1
        j     print
3:      ret

        .balign 4
trap:   csrr  t3, mcause
        andi  t3, t3, 15
        slli  t4, s7, 8
        or    t3, t3, t4
        la    t5, log_end
        li    t6, 1
        amoadd.d t5, t6, (t5)
        slli  t5, t5, 5
        slli  t5, t5, 47
        srli  t5, t5, 47
        la    t6, log
        add   t5, t5, t6
        sd    t3, 0(t5)
        csrr  t6, mcycle
        sd    t6, 8(t5)
        lui   t6, 0x200c
        ld    t6, -8(t6)
        sd    t6, 16(t5)
        lui   t6, 0x101
        lwu   t6, 0(t6)
        sd    t6, 24(t5)
        addi  s8, s8, 1
        andi  t3, t3, 15
        li    t6, 7
        beq   t3, t6, timer
        slli  t4, s7, 2
        add   t4, t4, s0
        sw    x0, 0(t4)
        mret
timer:  addi  t4, s7, 1
        blt   t4, s11, 4f
        li    t4, 0
4:      slli  t4, t4, 2
        add   t4, t4, s0
        li    t6, 1
        sw    t6, 0(t4)
        mv    s10, ra
        jal   set_timer
        mv    ra, s10
        mret
# mtimecmp of this hart is mtime and up to 2047 ticks. Uses s9, t3 to t6.
set_timer:
        li    t3, 1103515245
        mul   s9, s9, t3
        addi  s9, s9, 1013
        slli  t3, s9, 33
        srli  t3, t3, 53
        lui   t4, 0x200c
        ld    t5, -8(t4)
        add   t3, t3, t5
        lui   t4, 0x2004
        slli  t5, s7, 3
        add   t4, t4, t5
        sd    t3, 0(t4)
        ret

ready:  .asciz "ready\n"
        .data
        .balign 8
shared: .dword 0
finished: .dword 0
log_end: .dword 0
seen:   .dword 0
events: .word 3000
harts:  .word HARTS
        .balign 32
log:    .zero 131072
]]

-- A device in Lua: a write starts a timer, whose end is counted and told apart by the guest's time.
local Echo = device {
  name = "echo",
  regs = { { at = 0, name = "start", access = "w" }, { at = 4, name = "ended", access = "r" } },
  state = { { "sum", default = 0 } },
}
function Echo:write_start(value) self:after(value % 1000 * 1e-7, "finish") end
function Echo:finish()
  self.ended = (self.ended + 1) % 2^32
  self.sum = (self.sum * 5 + self:now() * 1e7) % 2^40
end

local SPIN = ".globl _start\n_start: addi t0, t0, 1\n j _start\n"

setup(function()
  folder = umbra.folder()
  programs = { spin = umbra.assemble(SPIN, folder.path .. "/spin.elf") }
  for harts = 1, 3 do programs[harts] = umbra.assemble(TICKING:gsub("HARTS", harts), ("%s/ticking%d.elf"):format(folder.path, harts)) end
end)
teardown(function() folder.remove() end)

local function board(harts, options)
  options = options or {}
  return machine.build(machine {
    cpu = { harts = harts, fuse = options.fuse, tlb = options.tlb }, ram = { size = "1M" },
    clock = options.clock or "virtual", rate = options.rate, seed = options.seed,
    map = {
      { at = 0x100000, name = "power", dev.syscon {} },
      { at = 0x101000, name = "rtc", dev.goldfish_rtc {} },
      { at = 0x2000000, name = "clint", dev.clint {} },
      { at = 0x10000000, name = "uart0", dev.ns16550a {} },
      { at = 0x10005000, name = "echo", Echo {} },
    },
    boot = { kernel = options.program or programs[harts] },
  })
end

-- Kicks `m` from another thread every `microseconds`, until the function that comes back is called.
local function kicks(m, microseconds)
  local rt = clib.host [[
    struct umbra_spec_event { um_control *value; int signo, notify; void (*function)(um_control *); void *attributes; char pad[32]; };
    struct umbra_spec_period { long period_s, period_ns, first_s, first_ns; };
    int timer_create(int clock, struct umbra_spec_event *event, void **timer);
    int timer_settime(void *timer, int flags, const struct umbra_spec_period *period, void *old);
    int timer_delete(void *timer);
  ]]
  local event = ffi.new "struct umbra_spec_event"
  event.value, event.notify, event["function"] = m.control.ptr, 2, clib.C.um_control_kick      -- SIGEV_THREAD
  local timer, period = ffi.new "void *[1]", ffi.new("struct umbra_spec_period", { period_ns = microseconds * 1000, first_ns = microseconds * 1000 })
  assert.equal(0, rt.timer_create(1, event, timer))
  assert.equal(0, rt.timer_settime(timer[0], 0, period, nil))
  return function()
    assert.equal(0, rt.timer_delete(timer[0]))
    local till = host.seconds() + 0.05            -- a kick may be on its way
    while host.seconds() < till do m.control:clear() end
  end
end

local function digits(text) assert.matches("^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$", text) end

-- Runs a machine to its end, one piece after the other.
local function to_the_end(m, piece)
  local till = host.seconds() + 100
  while not m.ended and host.seconds() < till do piece() end
end

local WAYS = {
  { "one run", function(m) m:run { timeout = 100 } end },
  { "slices of instructions", function(m, draw, most)
    to_the_end(m, function() m:run { instructions = 1 + draw(most) } end)
  end },
  { "slices of host time", function(m, draw)
    to_the_end(m, function() m:slice(nil, draw(1000) / 1e6) end)
  end },
  { "kicks", function(m)
    local stop = kicks(m, 200)
    local ok, text = pcall(to_the_end, m, function() m:slice(nil, 1) end)
    stop()
    assert.is_true(ok, text)
  end },
}

WAYS[5] = { "a thread of its own, stopped and looked at at random moments", function(m, draw, most)
  to_the_end(m, function()
    m:start()
    m:wait { timeout = draw(most) / 2e7 }
    m.hart:reg "a0"
    m:stop()
  end)
end }

-- Runs m in a way of WAYS until the guest switches it off; its hash.
local function hash_after(m, way, draw, most)
  way[2](m, draw, most)
  assert.equal("off", (m.ended or {}).reason, way[1])
  return m:hash()
end

describe("a virtual clock", function()
  it("passes as instructions are run", function()
    local m = board(1, { rate = 50000000, program = programs.spin })
    m:run { instructions = 5000000 }
    assert.is_true(m.clock:is_virtual())
    -- 10 million ticks a second; the slice under way has yet to be added.
    assert.is_true(m.clock:now() <= 1000000 and m.clock:now() > 1000000 - 65536)
    m:close()
  end)

  it("passes together for harts that run together", function()
    local m = board(3, { rate = 100000000, program = programs.spin })
    m:run { instructions = 3000000 }
    assert.is_true(math.abs(m.clock:now() - 100000) <= 820)
    for i = 0, 2 do assert.is_true(math.abs(m.cpu[i]:counters().instructions - 1000000) <= 8192) end
    m:close()
  end)

  it("jumps over sleep", function()
    local parts = { mem = mem.new(), clock = clock.new { rate = 1000000 }, control = control.new(), reset_pc = 0x1000, isa = "rv64i_zicsr_sstc" }
    parts.mem:add_ram { at = 0x1000, size = "4K" }
    local hart = cpu.new(parts)
    parts.mem:write(0x1000, "\115\0\80\16\111\240\223\255")                    -- wfi; j back
    hart:set_csr("menvcfg", 2ULL ^ 63)
    hart:set_csr("mie", 0x20)
    hart:set_csr("stimecmp", 36000 * 10000000)                                  -- ten hours
    local start = host.seconds()
    assert.equal("budget", (hart:run(100000, 20)))
    assert.is_true(host.seconds() - start < 10)
    assert.is_true(parts.clock:now() >= 36000 * 10000000)
    hart:close()
    for _, name in ipairs { "control", "clock", "mem" } do parts[name]:close() end
  end)

  it("jumps to no time that it cannot count to: the machine is idle", function()
    local parts = { mem = mem.new(), clock = clock.new { rate = 1000000 }, control = control.new(), reset_pc = 0x1000, isa = "rv64i_zicsr_sstc" }
    parts.mem:add_ram { at = 0x1000, size = "4K" }
    local hart = cpu.new(parts)
    parts.mem:write(0x1000, "\115\0\80\16\111\240\223\255")                    -- wfi; j back
    hart:set_csr("menvcfg", 2ULL ^ 63)
    hart:set_csr("mie", 0x20)
    for _, far in ipairs { bit.lshift(0xffffULL, 48), 0xfffffffffffffffeULL, 0x7fffffffffffffffULL * 20 } do
      hart:set_csr("stimecmp", far)
      local cpu_seconds = os.clock()
      assert.equal("time", (hart:run(nil, 0.2)))
      assert.is_true(os.clock() - cpu_seconds < 0.1)
      assert.is_true(hart:idle())
    end
    hart:set_csr("stimecmp", parts.clock:now() + 5000000)                            -- and it can be woken all the same
    assert.equal("budget", (hart:run(10, 5)))
    hart:close()
    for _, name in ipairs { "control", "clock", "mem" } do parts[name]:close() end
  end)

  it("is not there unless asked for", function()
    local m = board(1, { clock = "wall", program = programs.spin })
    m:run { instructions = 1000 }
    assert.is_false(m.clock:is_virtual())
    assert.equal(0, m.clock:instructions())
    m:close()
    refuses(function() machine { ram = { size = "1M" }, rate = 5 } end, 'rate = 5 needs clock = "virtual": a wall clock counts no instructions')
    refuses(function() machine { ram = { size = "1M" }, clock = "virtual", rate = 0 } end, "`rate` must be 1 to 1000000000000, not 0")
    refuses(function() machine { ram = { size = "1M" }, clock = "fast" } end, '`clock` must be one of "wall", "virtual", not "fast"')
    refuses(function() clock.new { rate = 2^50 } end, "`clock%.rate` must be 1 to 1000000000000, not .*")
  end)

  it("gives the day from a fixed start", function()
    local m = board(1, { program = programs.spin })
    local function seconds()
      local low = m.mem:load(0x101000, 4)
      return (m.mem:load(0x101004, 4) * 2^32 + low) / 1e9
    end
    assert.equal(os.time { year = 2026, month = 1, day = 1, hour = 0 } - os.time { year = 1970, month = 1, day = 1, hour = 0 }, math.floor(seconds()))
    m:run { instructions = 250000000 }
    assert.equal(2, math.floor(seconds() - 1767225600))
    m:close()
    -- SYS_CLOCK and SYS_TIME, after 100 million instructions.
    local path = umbra.assemble([[
        .globl _start, done
        .option norvc
_start: li    t0, 49999999
1:      addi  t0, t0, -1
        bnez  t0, 1b
        li    a0, 0x10
        slli  x0, x0, 0x1f
        ebreak
        srai  x0, x0, 7
        mv    s0, a0
        li    a0, 0x11
        slli  x0, x0, 0x1f
        ebreak
        srai  x0, x0, 7
done:   j     done
    ]], folder.path .. "/asks.elf")
    m = machine.load("bare", { clock = "virtual", kernel = path })
    assert.equal("pc", m:run({ until_pc = tonumber(m.files.kernel:symbol "done"), timeout = 30 }).reason)
    assert.same({ 100, 1767225601 }, { m.hart:reg "s0", m.hart:reg "a0" })
    m:close()
  end)

  it("fixes the random numbers of the guest", function()
    local one, two, other = board(1), board(1), board(1, { seed = 7 })
    assert.equal(one:dtb(), two:dtb())
    assert.not_equal(one:dtb(), other:dtb())
    assert.equal(one:hash(), two:hash())
    assert.not_equal(one:hash(), other:hash())
    for _, m in ipairs { one, two, other } do m:close() end
  end)

  for harts = 1, 3 do
    it(("makes %d hart%s end in the same state however they are run"):format(harts, harts > 1 and "s" or ""), function()
      local draw, first = random.new(random.seed(3)), nil
      for i, way in ipairs(WAYS) do
        local m = board(harts, { fuse = i % 2 == 1, tlb = { entries = 16 * 2^i } })     -- how it is run does not show either
        m.console:send "q"
        local hash = hash_after(m, way, draw, 20000)
        digits(hash)
        first = first or hash
        assert.equal(first, hash, way[1])
        assert.is_true(m:counters().traps.interrupts["machine timer"] > 1000, way[1])
        m:close()
      end
    end)
  end

  it("begins anew with a reset: the run after it ends as that of a new machine does", function()
    for harts = 1, 3 do
      local m = board(harts)
      local new = m:hash()
      m.console:send "q"
      local hash = hash_after(m, WAYS[1])
      for _, instructions in ipairs { 1, 12345, 2000000, 0 } do                       -- also in the middle of things
        m:reset { memory = true }
        assert.equal(0, m.clock:now())
        assert.equal(new, m:hash())
        if instructions > 0 then m:run { instructions = instructions } end
      end
      local before = m:counters().instructions
      m.console:send "q"
      assert.equal(hash, hash_after(m, WAYS[1]))
      assert.is_true(m:counters().instructions > before and before > 2000000)          -- what is counted goes on
      m:reset()                                                                       -- the program's files fill all that it uses
      m.console:send "q"
      assert.equal(hash, hash_after(m, WAYS[1]))
      m:close()
    end
  end)

  it("makes a script's input arrive at the same instruction", function()
    local function play(around)
      local m = board(2)
      local stop = around(m)
      m.console:expect "ready\n"
      for _, letter in ipairs { "a", "b", "c" } do
        m.console:send(letter)
        m.console:expect(letter)
      end
      m.console:send "q"
      m:run { timeout = 60 }
      stop()
      local hash, text = m:hash(), m.console:text()
      m:close()
      return hash, text
    end
    local function quietly() return function() end end
    local hash, text = play(quietly)
    assert.equal("ready\nabcq", text)
    assert.equal(hash, (play(quietly)))
    assert.equal(hash, (play(function(m) return kicks(m, 300) end)))
  end)

  -- Boots Debian to its poweroff in each of `ways`: the hash at the end is one.
  local function boots(harts, ways)
    require("umbra.fetch").ensure("debian-riscv64", {})
    local draw, first = random.new(random.seed(5)), nil
    for i, way in ipairs(ways) do
      local m = machine.load("riscv-virt", { harts = harts, clock = "virtual", append = "console=ttyS0 mode=off" })
      local hash = hash_after(m, way, draw, 5000000)
      assert.matches("BOOT%-OK", m.console:text())
      assert.matches(("Brought up 1 node, %d CPUs?"):format(harts), m.console:text())
      first = first or hash
      assert.equal(first, hash, ("%d harts, %s"):format(harts, way[1]))
      if i == #ways then                          -- and once more after a reset
        m:reset { memory = true }
        assert.equal(first, hash_after(m, WAYS[1]))
      end
      m:close()
    end
  end

  it("makes Debian with four harts end in the same state, run twice, in slices of another length of host time, and there", function()
    boots(4, { WAYS[1], WAYS[1], WAYS[5], WAYS[3] })
  end)

  if random.soak() then
    it("makes it end in the same state in every way to run it, with one hart and four", function()
      for _, harts in ipairs { 1, 4 } do boots(harts, WAYS) end
    end)
  end
end)

describe("the hash of a machine", function()
  it("sees memory, registers and devices", function()
    local m = board(2)
    local hash = m:hash()
    digits(hash)
    assert.equal(hash, m:hash())
    local last = 0x80000000 + 2^20 - 1
    m.mem:write(last, "\1")
    local changed = m:hash()
    assert.not_equal(hash, changed)
    m.mem:write(last, "\0")
    assert.equal(hash, m:hash())
    m.cpu[1]:set_reg("t6", 1)
    assert.not_equal(hash, m:hash())
    m.cpu[1]:set_reg("t6", 0)
    assert.equal(hash, m:hash())
    m.mem:store(0x2004000, 8, 12345)
    assert.not_equal(hash, m:hash())
    m:close()
  end)

  it("sees nothing of the host", function()
    local m = board(1, { clock = "wall" })
    m:run { instructions = 1000 }
    local hash = m:hash()
    local till = host.seconds() + 0.002
    while host.seconds() < till do m:counters() end
    assert.equal(hash, m:hash())
    m:close()
  end)
end)

describe("the page about clocks", function()
  it("has an example that works", function()
    local script = folder.write("twice.lua", tree.read("docs/clock.md"):match "\n```lua\n(.-)```")
    local result = umbra.run({ "exec", script }, { seconds = 60 })
    assert.equal("", result.err)
    local one, two = result.out:match "^5000000\t(%x+)\n5000000\t(%x+)\n$"
    digits(one)
    assert.equal(one, two)
  end)
end)
