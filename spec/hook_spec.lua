-- hook: what a guest does is noticed where it was asked for, nowhere else, and changes nothing by itself.
-- SPDX-License-Identifier: MIT
local asm     = require "umbra.asm"
local dev     = require "devices"
local machine = require "umbra.machine"
local refuses = require "spec.support.refuses"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local RAM = 0x80000000
local folder, m, program

setup(function() folder = umbra.folder() end)
teardown(function() folder.remove() end)
after_each(function()
  if m then m:close() end
  m = nil
end)

-- A machine with `text` as its kernel; symbols are known. It ends where the text says `off`, with a label of that name.
local function build(text, options)
  options = options or {}
  program = asm.assemble(text .. "\noff: li t0, 0x100000\nli t1, 0x5555\nsw t1, (t0)\nj .\n", { at = RAM, name = "guest" })
  local path = folder.path .. "/guest.elf"
  local file = assert(io.open(path, "wb"))
  file:write(asm.elf(program))
  file:close()
  m = machine.build(machine {
    clock = options.clock, cpu = { harts = options.harts, isa = "rv64gc_zicboz_zicntr" },
    ram = { at = RAM, size = "4M" },
    map = {
      { at = 0x00100000, name = "power", dev.syscon {} },
      { at = 0x02000000, name = "clint", dev.clint {} },
      { at = 0x10000000, name = "uart0", dev.ns16550a {} },
    },
    boot = { kernel = path },
  })
  return m
end

local function run(options)
  local result = m:run(options or { timeout = 20 })
  assert.equal("off", result.reason)
  return result
end

local LOOP = [[
        li      a0, 0
        la      s0, data
loop:   addi    a0, a0, 1
store:  sd      a0, 0(s0)
next:   ld      a1, 0(s0)
        li      t0, 10
        bne     a0, t0, loop
        j       off
        .balign 4096
data:   .dword  0, 0, 0, 0, 0, 0, 0, 0
]]

describe("a hook on an instruction", function()
  it("calls before it is executed, each time", function()
    build(LOOP)
    local seen = {}
    local h = m:hook { pc = "loop", call = function(hit) seen[#seen + 1] = hit.cpu:reg "a0" end }
    run()
    assert.same({ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, seen)
    assert.equal(10, h:counters().hits)
    assert.is_true(h:counters().ns > 0)
  end)

  it("gives the place, the hart and the hook", function()
    build(LOOP)
    local hit
    local h = m:hook { pc = program.symbols.next, when = "a0 == 3", call = function(given) hit = given end }
    run()
    assert.same({ program.symbols.next, 0 }, { hit.pc, hit.hart })
    assert.equal(h, hit.hook)
    assert.equal(m, hit.machine)
    assert.equal(1, h:counters().hits)
  end)

  it("covers a range", function()
    build(LOOP)
    local pcs = {}
    m:hook { pc = { "loop", "next" }, when = "a0 < 2", call = function(hit) pcs[#pcs + 1] = hit.pc - program.symbols.loop end }
    run()
    assert.same({ 0, 4, 0 }, pcs)
  end)

  it("ends the run with stop, and the next run goes on from there", function()
    build(LOOP)
    local calls = 0
    local h = m:hook { pc = "loop", stop = true, call = function() calls = calls + 1 end }
    for i = 0, 9 do
      local result = m:run { timeout = 20 }
      assert.same({ "hook", program.symbols.loop, i }, { result.reason, result.pc, m.hart:reg "a0" })
      assert.equal(h, result.hook)
      assert.equal(program.symbols.loop, result.hit.pc)
    end
    run()
    assert.equal(10, calls)
  end)

  it("ends the run when its function returns true", function()
    build(LOOP)
    m:hook { pc = "loop", call = function(hit) return hit.cpu:reg "a0" == 4 end }
    assert.same({ "hook", 4 }, { m:run({ timeout = 20 }).reason, m.hart:reg "a0" })
    run()
  end)

  it("does not wait for another page's instruction at the same place", function()
    build [[
        j       far
here:   nop
        j       off
        .balign 4096
far:    nop
        nop
        nop
        j       here
    ]]
    local h = m:hook { pc = program.symbols.far + 4, call = function() end }
    run()
    assert.equal(1, h:counters().hits)
    m:reset()
    h:detach()
    local alias = m:hook { pc = RAM + 4 * 4096 + 4, call = function() end }
    run()
    assert.equal(0, alias:counters().hits)
  end)

  it("is attached and detached while the machine runs, within a hook", function()
    build(LOOP)
    local order, second = {}, nil
    local first
    first = m:hook { pc = "loop", when = "a0 == 2", call = function()
      order[#order + 1] = "first"
      first:detach()
      first:detach()
      second = m:hook { pc = "next", call = function(hit)
        order[#order + 1] = hit.cpu:reg "a0"
        if hit.cpu:reg "a0" == 5 then second:detach() end
      end }
    end }
    run()
    assert.same({ "first", 3, 4, 5 }, order)
    assert.same({}, m:hooks())
    m:reset()
    second:attach()
    assert.same({ second }, m:hooks())
    run()
    assert.same({ "first", 3, 4, 5, 1, 2, 3, 4, 5 }, order)
  end)

  it("is no other's affair: stops and hooks share a place", function()
    build(LOOP)
    local calls = {}
    m:hook { pc = "loop", call = function() calls[#calls + 1] = 1 end }
    m:hook { pc = "loop", call = function() calls[#calls + 1] = 2 end }
    assert.equal("pc", m:run({ until_pc = program.symbols.loop, timeout = 20 }).reason)
    assert.same({ 1, 2 }, calls)
    assert.equal("pc", m:run({ until_pc = program.symbols.loop, timeout = 20 }).reason)
    assert.same({ 1, 2, 1, 2 }, calls)
    run()
    assert.equal(20, #calls)
  end)
end)

describe("a hook on accesses", function()
  it("sees loads and stores when they are done", function()
    build(LOOP)
    local log = {}
    m:hook { access = "data", when = "value >= 9", call = function(hit)
      log[#log + 1] = { hit.write, hit.pc - RAM, hit.addr - program.symbols.data, hit.size, hit.old, hit.value, hit.cpu:pc() - hit.pc }
    end }
    run()
    local store, load = program.symbols.store - RAM, program.symbols.next - RAM
    assert.same({ { true, store, 0, 8, 8, 9, 4 }, { false, load, 0, 8, 0, 9, 4 }, { true, store, 0, 8, 9, 10, 4 }, { false, load, 0, 8, 0, 10, 4 } }, log)
  end)
end)

describe("a hook before accesses", function()
  local ACCESSES = [[
        la      s0, data
        li      a0, 7
        sd      a0, 0(s0)
        ld      a1, 0(s0)
        sw      a0, 6(s0)           # misaligned
        lw      a2, 6(s0)
        amoadd.d a3, a0, (s0)
        lr.d    a4, (s0)
        sc.d    a5, a0, (s0)
        sc.d    a5, a0, (s0)        # fails: no access
        cbo.zero (s0)
        sb      a0, 0x20(s0)        # beside
        j       off
        .balign 4096
data:   .dword  1, 0, 0, 0, 0, 0, 0, 0
  ]]

  it("sees each once, undone, and what it changes is taken", function()
    for _, harts in ipairs { 1, 2 } do
      build(ACCESSES, { harts = harts })
      for i = 1, harts - 1 do m.cpu[i]:pace { hold = true } end
      local list, data = {}, program.symbols.data
      local h = m:hook { access = { data, data + 8 }, before = true, call = function(hit)
        list[#list + 1] = ("%s %x %d %x"):format(hit.write and "write" or "read", hit.value, hit.size, m.mem:load(data, 8))
        assert.equal(hit.pc, hit.cpu:pc())
        if #list == 2 then m.mem:store(data, 8, 9) end
      end }
      local after = m:hook { access = { data, data + 8 }, call = function() end }
      run()
      -- The value of an atomic access is what lies there before it.
      assert.same({ "write 7 8 1", "read 7 8 7", "write 7 4 9", "read 7 4 7000000000009", "write 7000000000009 8 7000000000009",
        "read 7000000000010 8 7000000000010", "write 7000000000010 8 7000000000010", "write 0 64 7" }, list)
      assert.equal(9, m.hart:reg "a1")
      assert.same({ #list, #list }, { h:counters().hits, after:counters().hits })
      m:close()
    end
    m = nil
  end)

  it("ends the run there, and nothing differs", function()
    local function play(watch)
      build(LOOP, { clock = "virtual" })
      local stops, log = 0, folder.path .. "/log"
      m:log { exec = log }
      if watch then m:hook { write = "data", before = true, stop = true } end
      while not m.ended do
        if m:run({ timeout = 20 }).reason == "hook" then
          stops = stops + 1
          assert.same({ program.symbols.store, stops - 1 }, { m.hart:pc(), m.mem:load(program.symbols.data, 8) })
        end
      end
      local hash = m:hash()
      m:close()
      return hash, tree.read(log), stops
    end
    local hash, log, stops = play(true)
    assert.equal(10, stops)
    local other, other_log = play(false)
    assert.equal(other, hash)
    assert.equal(other_log, log)                     -- what was left undone is not in it
    m = nil
  end)
end)

describe("a hook", function()
  it("that raises stops the run at its line, and the machine runs on behind it", function()
    build(LOOP)
    local calls = 0
    m:hook { pc = "loop", call = function()
      calls = calls + 1
      if calls == 3 then error "enough" end
    end }
    local line = debug.getinfo(1, "l").currentline - 2
    local ok, text = pcall(m.run, m, { timeout = 20 })
    assert.is_false(ok)
    assert.matches(("hook_spec.lua:%d: enough$"):format(line), text)
    assert.equal(2, m.hart:reg "a0")
    run()
    assert.equal(10, calls)
  end)

  it("is refused with what is wrong", function()
    build(LOOP)
    local function call() end
    refuses(function() m:hook { call = call } end, "hook: what for%? Give one of pc, read, .+")
    refuses(function() m:hook { pc = 4, read = 8, call = call } end, "hook: `pc` and `read`: one hook waits for one thing")
    refuses(function() m:hook { pc = 4 } end, "hook: what then%? Give `call`, a function, or `stop = true`")
    refuses(function() m:hook { pc = 5, call = call } end, "hook: `pc`: no instruction lies at the odd address 0x5")
    refuses(function() m:hook { pc = {}, call = call } end, "hook: `pc` must be an address, a symbol or { from, to }, not nil")
    refuses(function() m:hook { read = { 8, 8 }, call = call } end, "hook: `read`: the range from 0x8 up to 0x8 is empty")
    refuses(function() m:hook { pc = "lop", call = call } end, 'hook: `pc`: no symbol "lop" in what was loaded')
    refuses(function() m:hook { pc = "loop", wenn = "1", call = call } end, "unknown key `hook.wenn`, did you mean `when`%?")
    refuses(function() m:hook { pc = "loop", when = "a7 == == 3", call = call } end,
      "hook: when: `a7 == == 3`: column 7: unexpected `==`, a value is expected")
    refuses(function() m:hook { trap = "page fault", call = call } end, 'hook: `trap`: no cause "page fault".+')
    refuses(function() m:hook { mmio = "uart", call = call } end, 'hook: `mmio`: no device "uart" in the map, did you mean `uart0`%?')
  end)
end)
