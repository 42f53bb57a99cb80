-- hook: pages under several addresses, changing code, traps, interrupts, guest time and text.
-- SPDX-License-Identifier: MIT
local board   = require "spec.support.board"
local luadev  = require "umbra.device"
local refuses = require "spec.support.refuses"
local umbra   = require "spec.support.umbra"

local RAM = board.RAM
local LOOP = board.LOOP
local folder, m, program

setup(function() folder = umbra.folder() end)
teardown(function() folder.remove() end)
after_each(function()
  if m then m:close() end
  m = nil
end)

local function build(text, options)
  m, program = board.build(folder, text, options)
  return m
end

local function run(options) return board.run(m, options) end

-- Two virtual pages of supervisor mode, at 0x10000000 and 0x20001000, are the physical page `shared`; the rest is mapped as it is.
local PAGED = [[
        .equ    TABLES, 0x80200000
        .macro  entry at, to, flags
        li      t0, \at
        la      t1, \to
        srli    t1, t1, 12
        slli    t1, t1, 10
        ori     t1, t1, \flags
        sd      t1, 0(t0)
        .endm
start:  li      t0, (1 << 54) - 1
        csrw    pmpaddr0, t0
        li      t0, 31
        csrw    pmpcfg0, t0
        entry   TABLES, TABLES + 0x1000, 1
        entry   TABLES + 16, 0x80000000, 0xcf
        entry   TABLES + 0x1000 + 0x400, TABLES + 0x2000, 1
        entry   TABLES + 0x1000 + 0x800, TABLES + 0x2000, 1
        entry   TABLES + 0x2000, shared, 0xcf
        entry   TABLES + 0x2008, shared, 0xcf
        li      t0, 8 << 60 | TABLES / 4096
        csrw    satp, t0
        sfence.vma
        la      t0, super
        csrw    mepc, t0
        li      t0, 1 << 11
        csrs    mstatus, t0
        mret
super:  li      s0, 0x10000000
        li      s1, 0x20001000
        li      s2, 3
        la      s3, shared
again:  jalr    s0
        jalr    s1
        jalr    s3
        addi    s2, s2, -1
        bnez    s2, again
        li      t0, TABLES
        li      t1, 0xcf
        sd      t1, (t0)
        sfence.vma
        j       off
        .balign 4096
shared: addi    a0, a0, 1
        addi    a1, a1, 1
        ret
        .balign 4096
]]

describe("a page under several addresses", function()
  for _, first in ipairs { "before", "after" } do
    it("is told apart, hooked " .. first .. " its code is decoded", function()
      build(PAGED)
      if first == "after" then
        m:run { until_pc = "again", timeout = 20 }
        m:run { instructions = 12, timeout = 20 }      -- once under each address
        m.hart:set_reg("a0", 0)
        m.hart:set_reg("s2", 3)
        m.hart:set_pc(program.symbols.again)
      end
      local pcs = {}
      local function note(hit) pcs[#pcs + 1] = hit.pc end
      m:hook { pc = 0x10000004, call = note }
      m:hook { pc = 0x20001004, when = "a0 > 5", call = note }
      m:hook { pc = { program.symbols.shared + 4, program.symbols.shared + 6 }, when = "s64(a0) == 9", call = note }
      run()
      assert.same({ 0x10000004, 0x10000004, 0x10000004, 0x20001004, program.symbols.shared + 4 }, pcs)
    end)
  end

  it("stops a run at the address that was meant", function()
    build(PAGED)
    assert.equal("pc", m:run({ until_pc = "again", timeout = 20 }).reason)
    m.hart:set_reg("a1", 0)
    assert.equal("pc", m:run({ until_pc = 0x10000004, timeout = 20 }).reason)
    for _, count in ipairs { 1, 4, 7 } do                -- how often it was run before, under any address
      local result = m:run { until_pc = 0x20001004, timeout = 20 }
      assert.same({ "pc", 0x20001004, count }, { result.reason, result.pc, m.hart:reg "a1" })
    end
    run()
  end)

  it("is watched under one, or as the physical page that it is", function()
    build((PAGED:gsub("addi    a1, a1, 1", "auipc   t0, 0\n        addi t0, t0, 1024\n        sd      a0, (t0)")))
    local gvas, gpas = {}, {}
    m:hook { write = { 0x20001000, 0x20002000 }, call = function(hit) gvas[#gvas + 1] = hit.addr - 0x20001000 end }
    m:hook { write = { program.symbols.shared, program.symbols.shared + 4096 }, physical = true, call = function(hit) gpas[#gpas + 1] = hit.gpa end }
    run()
    local at = program.symbols.shared + 4 + 1024
    assert.same({ 1028, 1028, 1028 }, gvas)
    assert.same({ at, at, at, at, at, at, at, at, at }, gpas)
  end)
end)

describe("a hook on code", function()
  it("stays where the guest writes other instructions", function()
    build [[
        la      s0, here
        la      s1, words
        li      s2, 4
again:  call    here
        andi    t3, s2, 1
        slli    t3, t3, 2
        add     t2, s1, t3
        lw      t1, (t2)
        sw      t1, (s0)
        fence.i
        addi    s2, s2, -1
        bnez    s2, again
        j       off
        .balign 4
here:   addi    a0, a0, 1
        ret
        .balign 4
words:  .word   0x00250513, 0x00350513        # addi a0, a0, 2; addi a0, a0, 3
    ]]
    local before = {}
    m:hook { pc = "here", call = function(hit) before[#before + 1] = hit.cpu:reg "a0" end }
    run()
    assert.same({ 0, 1, 3, 6 }, before)
    assert.equal(8, m.hart:reg "a0")
    m:hooks()[1]:detach()
    m:reset()
    m.hart:set_reg("a0", 0)
    local guarded = m:hook { pc = "here", when = "a0 == 3", call = function() end }
    run()
    assert.equal(1, guarded:counters().hits)
  end)

  it("hits an instruction across two pages", function()
    build [[
        j       here
        .balign 4096
        .space  4094
here:   .2byte  0x0513, 0x0015              # addi a0, a0, 1
        j       off
    ]]
    local h = m:hook { pc = "here", when = "a0 == 0", call = function() end }
    local all = m:hook { pc = { RAM, RAM + 2^20 }, when = "a0 == 0 && pc == here", call = function() end }
    run()
    assert.same({ 1, 1, 1 }, { h:counters().hits, all:counters().hits, m.hart:reg "a0" })
  end)

  it("may be there a thousand times", function()
    build(LOOP)
    local hooks = {}
    for i = 1, 1000 do hooks[i] = m:hook { pc = RAM + 4096 + 2 * i, call = function() end } end
    local h = m:hook { pc = "loop", call = function() end }
    run()
    assert.equal(10, h:counters().hits)
    assert.equal(1001, #m:hooks())
    for _, each in ipairs(hooks) do each:detach() end
    assert.same({ h }, m:hooks())
  end)
end)

describe("a hook on traps", function()
  local TRAPS = [[
        la      t0, handler
        csrw    mtvec, t0
        li      a7, 93
        ecall
first:  ecall
        .word   0
second: li      a7, 94
        ecall
        j       off
        .balign 4
handler: csrr   t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        mret
  ]]

  it("sees exceptions where they come from, at the handler's first instruction", function()
    build(TRAPS)
    local log = {}
    m:hook { trap = "ecall from machine", when = "a7 == 93 && priv == 3", call = function(hit)
      log[#log + 1] = { hit.pc - program.symbols.first, hit.cpu:pc() - program.symbols.handler, hit.cause, hit.name }
    end }
    m:hook { trap = 2, call = function(hit) log[#log + 1] = { hit.pc - program.symbols.first, hit.tval, hit.name } end }
    local any = m:hook { trap = "any", when = "cause != 2", call = function() end }
    local list = m:hook { trap = { "breakpoint", "illegal instruction" }, call = function() end }
    run()
    assert.same({ { -4, 0, 11, "ecall from machine" }, { 0, 0, 11, "ecall from machine" }, { 4, 0, "illegal instruction" } }, log)
    assert.same({ 3, 1 }, { any:counters().hits, list:counters().hits })
  end)

  it("ends the run, and hooks on the handler's first instruction hit behind it", function()
    build(TRAPS)
    local order = {}
    m:hook { trap = "any", stop = true, call = function() order[#order + 1] = "trap" end }
    m:hook { pc = "handler", call = function() order[#order + 1] = "pc" end }
    for _ = 1, 4 do assert.equal("hook", m:run({ timeout = 20 }).reason) end
    run()
    assert.same({ "trap", "pc", "trap", "pc", "trap", "pc", "trap", "pc" }, order)
  end)

  it("sees interrupts", function()
    build [[
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 0x2000000
        li      t1, 1
        sw      t1, (t0)                   # msip
        li      t1, 8
        csrw    mie, t1
        csrw    mstatus, t1
here:   nop
        j       off
        .balign 4
handler: li     t0, 0x2000000
        sw      zero, (t0)
        mret
    ]]
    local log = {}
    m:hook { interrupt = "machine software", call = function(hit) log[#log + 1] = { hit.name, hit.cause, hit.pc - program.symbols.here } end }
    local other = m:hook { interrupt = "machine timer", call = function() end }
    run()
    assert.same({ { "machine software", 3, 0 } }, log)
    assert.equal(0, other:counters().hits)
  end)
end)

-- A hook is told of something once, and what it is told of is done once.
describe("a hook, an interrupt and an answer", function()
  it("does not hit again what an interrupt came before", function()
    for _, slice in ipairs { 1, 2, 100 } do
      m = build([[
          la      t0, handler
          csrw    mtvec, t0
          li      t0, 8
          csrw    mie, t0
          csrw    mstatus, t0
          la      s1, data
          li      a0, 0
  here:   addi    a0, a0, 1
          sd      a0, (s1)
          li      t0, 3
          bne     a0, t0, here
          j       off
          .balign 4
  handler: li     s0, 0x2000000
          sw      zero, (s0)
          nop
          nop
          mret
          .balign 4096
  data:   .dword  0
      ]], { clock = "virtual" })
      local function ring(hit) if hit.cpu:reg "a0" < 2 then m.mem:store(0x2000000, 4, 1) end end
      local place = m:hook { pc = "here", call = ring }
      local store = m:hook { write = "data", before = true, call = ring }
      local handler = m:hook { pc = "handler", call = function() end }
      local result
      repeat result = m:run { timeout = 20, instructions = slice } until result.reason ~= "instructions"
      assert.same({ "off", 3, 3, 3 }, { result.reason, place:counters().hits, store:counters().hits, handler:counters().hits })
      m:close()
    end
    m = nil
  end)

  it("does not lose what a device gave when its function attaches one at the access", function()
    for _, attach in ipairs {
      function() m:hook { pc = m.hart:pc(), call = function() end } end,
      function() m:hook { read = 0x20000000, before = true, call = function() end } end,
      function() m.hart:stop_at(m.hart:pc()) end,
    } do
      local Counter = luadev { name = "counter", help = "counts", regs = { { at = 0, name = "next", access = "r", help = "one more" } } }
      local reads = 0
      function Counter.read_next()
        reads = reads + 1
        if reads == 1 then attach() end
        return reads
      end
      build("li s0, 0x20000000\nlw a0, (s0)\nj off", { row = { at = 0x20000000, name = "counter", Counter {} } })
      run()
      assert.same({ 1, 1 }, { reads, m.hart:reg "a0" })
      m:close()
    end
    m = nil
  end)

  it("knows physical addresses where a TLB answered", function()
    build [[
          la      s0, data
          sd      zero, (s0)               # known to the TLB from here on
          sd      zero, 1(s0)
          li      t0, 4092
          add     t0, t0, s0
          sd      s0, (t0)
          j       off
          .balign 4096
  data:   .zero   8192
    ]]
    local low = m:hook { write = 0, physical = true, call = function() end }
    local high = m:hook { write = -1, physical = true, call = function() end }
    local places = {}
    m:hook { write = program.symbols.data + 4096, call = function(hit) places[#places + 1] = hit.gpa end }
    run()
    assert.same({ 0, 0, { program.symbols.data + 4092 } }, { low:counters().hits, high:counters().hits, places })
  end)
end)

describe("a hook on guest time", function()
  local TICKS = "li s0, 2000000\n1: addi s0, s0, -1\nbnez s0, 1b\nj off"         -- 4,000,000 instructions: 40 ms of a virtual clock

  it("comes at its time, and again and again", function()
    build(TICKS, { clock = "virtual" })
    local log, once = {}, {}
    m:hook { every = 0.01, call = function(hit) log[#log + 1] = hit.time end }
    m:hook { at = 0.025, call = function(hit) once[#once + 1] = { hit.time, math.floor(hit.cpu:reg "s0" / 1000) } end }
    run()
    assert.same({ 0.01, 0.02, 0.03, 0.04 }, log)
    assert.same({ { 0.025, 750 } }, once)
  end)

  it("ends the run", function()
    build(TICKS, { clock = "virtual" })
    local h = m:hook { at = 0.025, stop = true }
    local result = m:run { timeout = 20 }
    assert.equal("hook", result.reason)
    assert.equal(h, result.hook)
    assert.same({}, m:hooks())                       -- it will not come again
    m:run { instructions = 100000, timeout = 20 }
    refuses(function() h:attach() end, "hook: `at`: guest time is 0.026 s already")
    run()
  end)

  it("comes again after a reset, which sets time back", function()
    build(TICKS, { clock = "virtual" })
    local log = {}
    m:hook { every = 0.015, call = function(hit) log[#log + 1] = hit.time end }
    m:run { instructions = 3200000, timeout = 20 }
    m:reset()
    run()
    assert.same({ 0.015, 0.03, 0.015, 0.03 }, log)
  end)

  it("comes by a wall clock too, until it is detached", function()
    build "1: j 1b"
    local times, h = 0, nil
    h = m:hook { every = 0.001, call = function()
      times = times + 1
      if times == 3 then h:detach() end
    end }
    m:run { timeout = 0.1 }
    assert.equal(3, times)
  end)
end)

describe("a hook on text", function()
  local TEXT = [[
        li      s0, 0x10000000
        la      s1, text
1:      lbu     t0, (s1)
        beqz    t0, 2f
        sb      t0, (s0)
        addi    s1, s1, 1
        j       1b
2:      j       off
text:   .asciz  "one 17, two 23; done\n"
        .balign 4
  ]]

  it("matches text or a pattern, every time it comes", function()
    build(TEXT)
    local log = {}
    m:hook { text = "(%a+) (%d+)", is_pattern = true, call = function(hit) log[#log + 1] = { hit.text, hit.found[1], hit.found[2] } end }
    m:hook { text = "done", console = "uart0", call = function(hit) log[#log + 1] = hit.found[1] end }
    run()
    assert.same({ { "one 17", "one", "17" }, { "two 23", "two", "23" }, "done" }, log)
    assert.equal("one 17, two 23; done\n", m.console:text())
  end)

  it("ends the run", function()
    build(TEXT)
    local h = m:hook { text = "two", stop = true }
    local result
    repeat result = m:run { instructions = 10, timeout = 20 } until result.reason ~= "instructions"
    assert.same({ "hook", "two" }, { result.reason, result.hit.text })
    assert.equal(h, result.hook)
    run()
  end)

  it("is refused when it is no pattern, or there is no such console", function()
    build(TEXT)
    local function call() end
    refuses(function() m:hook { text = "[a", is_pattern = true, call = call } end, "hook: `text`: .*malformed pattern.*")
    refuses(function() m:hook { text = "", call = call } end, 'hook: `text`: "" matches where there is nothing')
    refuses(function() m:hook { text = "a", console = "uart", call = call } end, "hook: `text` needs a console in the map, did you mean `uart0`%?")
    refuses(function() m:hook { text = "a", when = "a0 == 1", call = call } end, "hook: `when` does not go with `text`")
    refuses(function() m:hook { at = -1, call = call } end, "`hook.at` must be at least 0, not %-1")
  end)
end)
