-- hook: what a guest does is noticed where it was asked for, nowhere else, and changes nothing by itself.
-- SPDX-License-Identifier: MIT
local asm        = require "umbra.asm"
local bits       = require "umbra.bits"
local board      = require "spec.support.board"
local conditions = require "spec.support.conditions"
local dev        = require "devices"
local machine    = require "umbra.machine"
local random     = require "spec.support.random"
local refuses    = require "spec.support.refuses"
local tree       = require "spec.support.tree"
local umbra      = require "spec.support.umbra"

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
    m:hook { pc = "loop", when = "a0 == 2", stop = true }              -- a hook's end comes first
    assert.equal("hook", m:run({ until_pc = program.symbols.loop, timeout = 20 }).reason)
    local result = m:run { until_pc = program.symbols.loop, timeout = 20 }
    assert.same({ "pc", 3 }, { result.reason, m.hart:reg "a0" })
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
    refuses(function() m:hook { pc = {}, call = call } end, "hook: `pc` must be an address or the name of a symbol, not nil")
    refuses(function() m:hook { read = { 8, 8 }, call = call } end, "hook: `read`: the range from 0x8 up to 0x8 is empty")
    refuses(function() m:hook { pc = "lop", call = call } end, 'hook: `pc`: no symbol "lop", did you mean `loop`%?')
    refuses(function() m:hook { pc = "loop", wenn = "1", call = call } end, "unknown key `hook.wenn`, did you mean `when`%?")
    refuses(function() m:hook { pc = "loop", when = "a7 == == 3", call = call } end,
      "hook: when: `a7 == == 3`: column 7: unexpected `==`, a value is expected")
    refuses(function() m:hook { trap = "page fault", call = call } end, 'hook: `trap`: no cause "page fault".+')
    refuses(function() m:hook { mmio = "uart", call = call } end, 'hook: `mmio`: no device "uart" in the map, did you mean `uart0`%?')
  end)
end)

-- Shadow -----------------------------------------------------------------------------------------------------------------------

-- Random programs: a loop over loads, stores, atomics and arithmetic around a page's end, with s0 there.
local SIZES = { b = 1, bu = 1, h = 2, hu = 2, w = 4, wu = 4, d = 8 }
local LOADS, STORES = { "lb", "lbu", "lh", "lhu", "lw", "lwu", "ld" }, { "sb", "sh", "sw", "sd" }
local AMOS = { "amoadd.w", "amoswap.d", "amoxor.w", "amomaxu.d", "amomin.w" }
local VALUES = { "a0", "a1", "a2", "t1", "t2" }

local function one_of(next_random, list) return list[next_random(#list) + 1] end

local function random_line(r, labels)
  local kind, a, b = r(12), one_of(r, VALUES), one_of(r, VALUES)
  if kind < 3 then return ("%s %s, %d(s0)"):format(one_of(r, LOADS), a, r(48) - 24) end
  if kind < 6 then return ("%s %s, %d(s0)"):format(one_of(r, STORES), a, r(48) - 24) end
  if kind == 6 then return ("addi s1, s0, %d\n%s %s, %s, (s1)"):format(8 * (r(6) - 3), one_of(r, AMOS), a, b) end
  if kind == 7 then
    local width = one_of(r, { "w", "d" })
    return ("addi s1, s0, %d\nlr.%s %s, (s1)\n%ssc.%s %s, %s, (s1)"):format(8 * (r(6) - 3), width, a, r(3) == 0 and "sd a0, 0(s1)\n" or "", width, a, b)
  end
  if kind == 8 and r(3) == 0 then return ("addi s1, s0, %d\ncbo.zero (s1)"):format(r(3) == 0 and 64 or r(64) - 32) end
  if kind == 9 then
    labels[#labels + 1] = true
    return ("beq %s, %s, %df\naddi %s, %s, 1\nxor %s, %s, %s\n%d:"):format(a, b, #labels, a, a, b, a, b, #labels)
  end
  return ("%s %s, %s, %s"):format(one_of(r, { "add", "sub", "xor", "and", "mul", "sltu" }), a, a, b)
end

local function random_program(r)
  local lines, labels = {}, {}
  for i = 1, 20 + r(20) do lines[i] = random_line(r, labels) end
  return ([[
        la      s0, middle
        li      s2, %d
        li      a0, %d
        li      a1, 7
        li      a2, -5
        li      t1, 1
        li      t2, 99
loop:   %s
        addi    s2, s2, -1
        bnez    s2, far
        j       off
far:    j       loop
        .data
        .balign 4096
        .space  4096
middle: .space  4096
  ]]):format(3 + r(6), r(1000), table.concat(lines, "\n        "))
end

-- What the instruction at pc will access: { addr, size, reads, writes } or nil; conditional: a store that may fail.
local function access_of(hart)
  local b1, b2, b3, b4 = hart:read(hart:pc(), 4):byte(1, 4)
  local text = hart:disassemble(b1 + b2 * 2^8 + b3 * 2^16 + b4 * 2^24, hart:pc()):gsub("^c%.", "")
  local name, rest = text:match "^(%S+)%s*(.*)$"
  local offset, base = rest:match "(-?%w*)%((%w+)%)"
  if not base then return end
  local address = hart:reg(base) + (tonumber(offset) or 0)
  if name == "cbo.zero" then return { addr = address - address % 64, size = 64, writes = true } end
  local size = SIZES[name:match "%.([wd])$" or name:sub(2)]
  if name:find "^amo" then return { addr = address, size = size, reads = true, writes = true } end
  if name:find "^lr" then return { addr = address, size = size, reads = true } end
  if name:find "^sc" then return { addr = address, size = size, writes = true, conditional = rest:match "^%w+" } end
  return { addr = address, size = size, reads = name:find "^l" ~= nil, writes = name:find "^s" ~= nil }
end

local function number_at(hart, address, size)
  local value = 0ULL
  for i, byte in ipairs { hart:read(address, math.min(size, 8)):byte(1, 8) } do value = value + bits.u64(byte) * 256ULL ^ (i - 1) end
  return value
end

local FIELDS = { "addr", "size", "value", "old", "write" }

-- Random hooks: options of m:hook, and holds(env) of the condition.
local function random_hooks(r, symbols)
  local code = symbols.off - RAM
  local function range(base, most)
    local from = base + r(most)
    return r(2) == 0 and from or { from, from + 2 + r(2) * r(most) }
  end
  local hooks = {}
  for i = 1, 6 do
    local kind = one_of(r, { "pc", "pc", "read", "write", "access" })
    local where = kind == "pc" and (r(3) > 0 and RAM + 2 * r(code / 2) or range(RAM, code / 2)) or range(symbols.middle - 32, 64)
    if kind == "pc" and type(where) == "number" then where = where - where % 2 end       -- a range may begin and end in an instruction
    local when, holds
    if r(3) > 0 then when, holds = conditions.make(r, kind == "pc" and {} or FIELDS) end
    hooks[i] = { kind = kind, where = where, when = when, holds = holds or function() return true end }
  end
  return hooks
end

local function covers(hook, from, size)
  local where = hook.where
  if type(where) ~= "table" then where = { where, where + 1 } end
  local first, behind = where[1], where[2]
  return from < behind and first < from + size
end

-- By single steps of a machine without hooks: what should be hit, in order.
local function expected_hits(twin, hooks, log)
  local hart = twin.hart
  while hart:pc() ~= twin.symbols:address "off" do
    local pc = hart:pc()
    for pass = 1, 2 do                               -- addresses before ranges
      for i, hook in ipairs(hooks) do
        local exact = type(hook.where) == "number"
        if hook.kind == "pc" and exact == (pass == 1) and covers(hook, pc, 1) and hook.holds(board.environment(hart, pc)) then log(i, pc) end
      end
    end
    local access = access_of(hart)
    local old = access and number_at(hart, access.addr, access.size)
    assert.equal("step", hart:step())
    if access and not (access.conditional and hart:reg(access.conditional) ~= 0) then
      local now = number_at(hart, access.addr, access.size)
      if access.size == 64 then now = 0ULL end
      local event = { addr = access.addr, size = access.size, value = now, old = 0ULL, write = 0 }
      if access.writes then event.old, event.write = old, 1 end
      for i, hook in ipairs(hooks) do
        local wanted = hook.kind == "access" or (hook.kind == "read" and access.reads) or (hook.kind == "write" and access.writes)
        if wanted and covers(hook, access.addr, access.size) and hook.holds(board.environment(hart, pc, event)) then log(i, pc, event) end
      end
    end
  end
end

local function logger()
  local lines = {}
  return lines, function(i, pc, event)
    local text = ("%d at %s"):format(i, bits.hex(pc))
    if event then text = ("%s: %s %s %s -> %s %s"):format(text, bits.hex(event.addr), event.size, bits.hex(event.old), bits.hex(event.value), event.write) end
    lines[#lines + 1] = text
  end
end

local function shadow(seed)
  local r = random.new(seed)
  local text = random_program(r)
  local twin = build(text)
  local hooks = random_hooks(r, program.symbols)
  local wanted, want = logger()
  local ok, why = pcall(expected_hits, twin, hooks, want)
  local registers = ok and twin.hart:state()
  twin:close()
  if not ok then error(why, 0) end
  build(text)
  local got, log = logger()
  for i, hook in ipairs(hooks) do
    m:hook {
      [hook.kind] = hook.where, when = hook.when,
      call = function(hit)
        log(i, hit.pc, hit.addr and { addr = hit.addr, size = hit.size, old = hit.old, value = hit.value, write = hit.write and 1 or 0 })
      end,
    }
  end
  assert.equal("pc", m:run({ until_pc = "off", timeout = 20 }).reason)
  local about = ("seed %d\n%s"):format(seed, text)
  for i, hook in ipairs(hooks) do
    local where = hook.where
    if type(where) == "table" then where = ("%x..%x"):format(where[1], where[2]) else where = ("%x"):format(where) end
    about = about .. ("\nhook %d: %s %s when %s"):format(i, hook.kind, where, tostring(hook.when))
  end
  assert.equal(table.concat(wanted, "\n"), table.concat(got, "\n"), about)
  assert.same(registers, m.hart:state(), about)
  m:close()
  m = nil
  return #got
end

describe("hooks", function()
  it("hit what single steps say", function()
    local seed, hits = random.seed(1), 0
    for i = 1, random.soak() and 2000 or 40 do hits = hits + shadow(seed * 10000 + i) end
    assert.is_true(hits > 500)
  end)
end)

describe("a hook on accesses", function()
  local ACCESSES = [[
        la      s0, data
        li      t0, 0x1122334455667788
        sb      t0, 7(s0)
        sd      t0, 5(s0)                  # misaligned
        lw      t1, 16(s0)                 # beside it
        lr.d    t1, (s0)
        sc.d    t2, t0, (s0)
        sc.d    t2, t0, (s0)               # fails
        amoadd.w t1, t0, (s0)
        cbo.zero (s0)
        lw      t1, -2(s0)                 # across pages
        j       off
        .balign 4096
        .space  4096
data:   .space  4096
  ]]

  local function text_of(hit)
    return ("%s%d %d %s>%s"):format(hit.write and "w" or "r", hit.addr - program.symbols.data, hit.size, bits.hex(hit.old), bits.hex(hit.value))
  end

  local WANTED = {
    "w7 1 0x0>0x88", "w5 8 0x880000>0x1122334455667788", "r0 8 0x0>0x6677880000000000", "w0 8 0x6677880000000000>0x1122334455667788",
    "w0 4 0x55667788>0xaaccef10", "w0 64 0x11223344aaccef10>0x0", "r-2 4 0x0>0x0",
  }

  it("sees every kind of it that touches its range", function()
    build(ACCESSES)
    local log = {}
    m:hook { access = { program.symbols.data, program.symbols.data + 8 }, call = function(hit) log[#log + 1] = text_of(hit) end }
    run()
    assert.same(WANTED, log)
  end)

  it("tells reads from writes; an atomic one is both", function()
    build(ACCESSES)
    local reads, writes = {}, {}
    m:hook { read = { program.symbols.data, program.symbols.data + 8 }, call = function(hit) reads[#reads + 1] = text_of(hit) end }
    m:hook { write = { program.symbols.data, program.symbols.data + 8 }, call = function(hit) writes[#writes + 1] = text_of(hit) end }
    run()
    assert.same({ WANTED[3], WANTED[5], WANTED[7] }, reads)
    assert.same({ WANTED[1], WANTED[2], WANTED[4], WANTED[5], WANTED[6] }, writes)
  end)

  it("looks at one byte alone, and at one hart alone", function()
    build(ACCESSES)
    local h = m:hook { write = program.symbols.data + 12, call = function() end }
    local none = m:hook { write = program.symbols.data + 12, when = "hart != 0", call = function() end }
    run()
    assert.same({ 2, 0 }, { h:counters().hits, none:counters().hits })      -- the misaligned sd, cbo.zero
  end)

  it("sees devices by row, by range and all of them", function()
    build [[
        li      s0, 0x10000000
        li      t0, 65
        sb      t0, 0(s0)
        lbu     t1, 5(s0)
        la      s1, off
        lw      t1, (s1)
        j       off
    ]]
    local log = {}
    m:hook { mmio = "uart0", call = function(hit) log[#log + 1] = { hit.write, hit.gpa, hit.size, hit.value } end }
    local line = m:hook { mmio = { 0x10000005, 0x10000006 }, call = function() end }
    local all = m:hook { mmio = "any", call = function() end }
    run()
    assert.same({ { true, 0x10000000, 1, 65 }, { false, 0x10000005, 1, 0x60 } }, log)
    assert.same({ 1, 3 }, { line:counters().hits, all:counters().hits })
  end)

  it("costs an access that Lua answers nothing: its instruction is reached once", function()
    local device = require "umbra.device"
    local Thing = device { name = "thing", regs = { { at = 0, name = "one" } } }
    local reads = 0
    function Thing.read_one()
      reads = reads + 1
      return 7
    end
    program = asm.assemble("li s0, 0x10005000\nhere: lw a0, (s0)\nli t0, 0x100000\nli t1, 0x5555\nsw t1, (t0)\nj .", { at = RAM })
    m = machine.build(machine { ram = { at = RAM, size = "1M" },
      map = { { at = 0x00100000, name = "power", dev.syscon {} }, { at = 0x10005000, name = "thing", Thing {} } } })
    m.mem:write(RAM, program.bytes)
    local seen = {}
    m:hook { pc = program.symbols.here, call = function() seen[#seen + 1] = "pc" end }
    m:hook { mmio = "thing", call = function(hit) seen[#seen + 1] = hit.value end }
    run()
    assert.same({ "pc", 7 }, seen)
    assert.equal(1, reads)
  end)
end)
