-- harts: several harts in one machine: entry, interrupts of each, stops, counters, the device tree, and Linux on four.
-- SPDX-License-Identifier: MIT
local dev     = require "devices"
local machine = require "umbra.machine"
local refuses = require "spec.support.refuses"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

-- Each hart counts in RAM at `counts` and in s0, hart 2 through `second`, until its software interrupt; then it leaves its number
-- in `rung` and goes on to the next hart's; the last one switches off.
local RING = [[
        .globl _start, counts, second, rung
_start: csrr  s1, mhartid
        mv    s2, a0
        mv    s3, a1
        la    t0, rings
        csrw  mtvec, t0
        li    t0, 8
        csrw  mie, t0
        csrsi mstatus, 8
        la    s4, counts
        slli  t0, s1, 3
        add   s4, s4, t0
        li    t0, 2
        beq   s1, t0, second
first:  addi  s0, s0, 1
        sd    s0, 0(s4)
        j     first
second: addi  s0, s0, 1
        sd    s0, 0(s4)
        j     second
        .balign 4
rings:  la    t0, rung
        add   t0, t0, s1
        addi  t1, s1, 1
        sb    t1, 0(t0)
        li    t0, HARTS
        lui   t2, 0x2000
        slli  t3, t1, 2
        add   t2, t2, t3
        li    t4, 1
        blt   t1, t0, 1f
        lui   t0, 0x100
        li    t1, 0x5555
        sw    t1, 0(t0)
1:      sw    t4, 0(t2)
2:      wfi
        j     2b
        .data
        .balign 8
counts: .zero 64
rung:   .zero 8
]]

local folder
local programs = {}

setup(function()
  folder = umbra.folder()
  for _, harts in ipairs { 1, 3, 8 } do
    programs[harts] = umbra.assemble(RING:gsub("HARTS", harts), ("%s/ring%d.elf"):format(folder.path, harts))
  end
end)
teardown(function() folder.remove() end)

local function board(harts)
  return machine.build(machine {
    cpu = { harts = harts }, ram = { size = "4M" },
    map = {
      { at = 0x100000, name = "power", dev.syscon {} },
      { at = 0x2000000, name = "clint", dev.clint {} },
      { at = 0xc000000, name = "plic", dev.plic {} },
    },
    boot = { kernel = programs[harts] },
  })
end

local function symbol(m, name) return tonumber(m.files.kernel:symbol(name)) end

describe("harts of a machine", function()
  for _, harts in ipairs { 1, 3, 8 } do
    it(("enter alike and interrupt one another, %d of them"):format(harts), function()
      local m = board(harts)
      m:run { instructions = 200000 }
      for i = 0, harts - 1 do
        local hart = m.cpu[i]
        assert.same({ i, i, m.hart:reg "s3" }, { hart:reg "s1", hart:reg "s2", hart:reg "s3" })
        local count = m.mem:load(symbol(m, "counts") + 8 * i, 8)
        assert.is_true(count > 1000 and math.abs(count - hart:reg "s0") <= 1)
        assert.is_true(math.abs(hart:counters().instructions - 200000 / harts) <= 8192)
      end
      assert.is_nil(m.cpu[harts])
      m.mem:store(0x2000000, 4, 1)
      assert.equal("off", m:run({ timeout = 10 }).reason)
      local expected = {}
      for i = 1, harts do expected[i] = string.char(i) end
      assert.equal(table.concat(expected), m.mem:read(symbol(m, "rung"), harts))
      m:close()
    end)
  end

  it("each have a comparator of their own", function()
    local m = board(8)
    m:run { instructions = 1000 }
    for i = 0, 7 do
      m.mem:store(0x2004000 + 8 * i, 8, 0)
      for j = 0, 7 do assert.equal(j <= i and 0x80 or 0, m.cpu[j]:csr "mip" % 0x100 - m.cpu[j]:csr "mip" % 0x80) end
    end
    m:close()
  end)

  it("stop wherever one of them comes to an address", function()
    local m = board(3)
    local at = symbol(m, "second")
    for _ = 1, 3 do
      local result = m:run { until_pc = at, timeout = 10 }
      assert.same({ "pc", 2, at }, { result.reason, result.hart, result.pc })
      assert.equal(at, m.cpu[2]:pc())
    end
    m:close()
  end)

  it("are reset together", function()
    local m = board(3)
    m:run { instructions = 50000 }
    m:reset()
    for i = 0, 2 do
      assert.same({ 0x80000000, 0, i, "machine" }, { m.cpu[i]:pc(), m.cpu[i]:reg "s0", m.cpu[i]:reg "a0", m.cpu[i]:privilege() })
    end
    m:run { instructions = 50000 }
    for i = 0, 2 do assert.is_true(m.cpu[i]:reg "s0" > 1000) end
    m:close()
  end)

  it("are counted each and together", function()
    local m = board(3)
    m:run { instructions = 100000 }
    local counts, sum = m:counters(), 0
    for i = 0, 2 do
      assert.same(m.cpu[i]:counters(), counts.harts["hart" .. i])
      sum = sum + m.cpu[i]:counters().instructions
    end
    assert.equal(100000, sum)
    assert.equal(sum, counts.instructions)
    assert.equal(m.hart:counters().blocks.decoded, counts.blocks.decoded)
    m:close()
    m = board(1)
    assert.is_nil(m:counters().harts)
    m:close()
  end)

  it("are all in the device tree", function()
    local m = board(3)
    local path = folder.write("three.dtb", m:dtb())
    local text, code = tree.run(("dtc -I dtb -O dts %s"):format(path))
    assert.equal(0, code)
    for i = 0, 2 do
      assert.matches(("cpu@%d {.-reg = <0x0%d>;.-phandle = <0x0%d>;.-interrupt%%-controller {.-phandle = <0x0%d>;"):format(i, i, 2 * i + 1, 2 * i + 2), text)
      assert.matches(("core%d {%%s*cpu = <0x0%d>;"):format(i, 2 * i + 1), text)
    end
    assert.matches("clint@2000000 {.-interrupts%-extended = <0x02 0x03 0x02 0x07 0x04 0x03 0x04 0x07 0x06 0x03 0x06 0x07>;", text)
    assert.matches("plic@c000000 {.-interrupts%-extended = <0x02 0x0b 0x02 0x09 0x04 0x0b 0x04 0x09 0x06 0x0b 0x06 0x09>;", text)
    m:close()
  end)

  it("are 1 to 8, and run with the first", function()
    for _, harts in ipairs { 0, 9, 1.5 } do
      refuses(function() machine { cpu = { harts = harts }, ram = { size = "1M" } } end, "`cpu%.harts` must be .*")
    end
    local m = board(3)
    refuses(function() m.cpu[1]:run(1) end, "hart:run: harts that were added run with the first one")
    m:close()
    m = board(8)
    refuses(function() m.hart:add(8) end, "cpu: harts: at most 8, added to the first")
    m:close()
  end)
end)

-- Every hart makes environment calls and gets timer interrupts, each at a pace of its own.
local BUSY = [[
        .globl _start, calls, ticks
_start: csrr  s1, mhartid
        la    t0, traps
        csrw  mtvec, t0
        lui   s2, 0x2004
        slli  t0, s1, 3
        add   s2, s2, t0
        la    s3, calls
        add   s3, s3, t0
        la    s4, ticks
        add   s4, s4, t0
        li    s5, 13
        add   s5, s5, s1
        sd    s5, 0(s2)
        li    t0, 128
        csrw  mie, t0
        csrsi mstatus, 8
1:      addi  s6, s6, 1
        ecall
        andi  t0, s6, 7
        bnez  t0, 1b
        .word 0
        j     1b
        .balign 4
traps:  csrr  t0, mcause
        bltz  t0, 2f
        ld    t1, 0(s3)
        addi  t1, t1, 1
        sd    t1, 0(s3)
        csrr  t1, mepc
        addi  t1, t1, 4
        csrw  mepc, t1
        mret
2:      ld    t1, 0(s4)
        addi  t1, t1, 1
        sd    t1, 0(s4)
        ld    t1, 0(s2)
        add   t1, t1, s5
        sd    t1, 0(s2)
        mret
        .data
        .balign 8
calls:  .zero 64
ticks:  .zero 64
]]

describe("a step", function()
  local busy
  setup(function() busy = umbra.assemble(BUSY, folder.path .. "/busy.elf") end)

  local function busy_board(harts)
    return machine.build(machine {
      cpu = { harts = harts }, ram = { size = "1M" }, clock = "virtual",
      map = { { at = 0x2000000, name = "clint", dev.clint {} }, { at = 0xc000000, name = "plic", dev.plic {} } }, boot = { kernel = busy },
    })
  end

  local function instructions(m) return m:counters().instructions end

  it("changes nothing, however often it comes", function()
    for _, harts in ipairs { 1, 3 } do
      local m, other = busy_board(harts), busy_board(harts)
      local random = 1
      while instructions(m) < 60000 do
        random = random * 1103515245 % 2^31
        m:run { instructions = 1 + random % 3000 }
        -- The hart that ran last: its turn may be over, then the others run on.
        for _ = 1, random % 7 do assert.equal("step", m.cpu[m.hart.exit.hart]:step { others = true }) end
      end
      other:run { instructions = instructions(m) }
      assert.equal(instructions(m), instructions(other))
      assert.is_true(other.mem:read(symbol(other, "ticks"), 1):byte() > 0 and other.hart:counters().exceptions["illegal instruction"] > 100)
      assert.equal(other:hash(), m:hash())
      m:close()
      other:close()
    end
  end)

  it("is one instruction of one hart", function()
    local m = busy_board(3)
    m:run { instructions = 30000 }
    for _, number in ipairs { 2, 0, 1, 1, 2 } do
      local before = {}
      for i = 0, 2 do before[i] = { m.cpu[i]:counters().instructions, m.cpu[i]:counters().exceptions["ecall from machine"] or 0 } end
      assert.equal("step", m.cpu[number]:step { interrupts = false })
      for i = 0, 2 do
        local now = m.cpu[i]:counters()
        local done = now.instructions - before[i][1] + (now.exceptions["ecall from machine"] or 0) - before[i][2]
        assert.equal(i == number and 1 or 0, done)
      end
    end
    m:close()
  end)

  it("waits for a hart that sleeps, as long as it is told", function()
    local m = board(1)
    m.mem:write(0x80000000, "\x73\0\x50\x10\x6f\xf0\xdf\xff")       -- wfi; j back
    assert.equal("step", m.hart:step())
    assert.equal("time", m.hart:step { seconds = 0.01 })
    refuses(function() m.hart:step { seconds = -1 } end, "`step%.seconds` must be .*")
    m:close()
  end)
end)

describe("Linux", function()
  it("boots with four harts and switches off", function()
    require("umbra.fetch").ensure("debian-riscv64", {})
    local m = machine.load("riscv-virt", { harts = 4, append = "console=ttyS0 quiet" })
    m.console:expect("guest# ", 120)
    m.console:send "grep -c ^processor /proc/cpuinfo; cat /proc/interrupts; echo DO''NE; poweroff -f\n"
    assert.equal("4", m.console:match("cpuinfo.-\n(%d+)\r?\n", 30))
    local interrupts = m.console:match("(CPU0.-)DONE", 30)
    assert.matches("CPU0 +CPU1 +CPU2 +CPU3", interrupts)
    local timers = { interrupts:match "(%d+) +(%d+) +(%d+) +(%d+)[^\n]*[Tt]imer" }
    for i = 1, 4 do assert.is_true(tonumber(timers[i]) > 0) end
    assert.equal("off", m:run({ timeout = 30 }).reason)
    m:close()
  end)
end)
