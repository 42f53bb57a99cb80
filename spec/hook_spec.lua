-- hook: what a guest does is noticed where it was asked for, nowhere else, and changes nothing by itself.
-- SPDX-License-Identifier: MIT
local asm        = require "umbra.asm"
local bits       = require "umbra.bits"
local conditions = require "spec.support.conditions"
local dev        = require "devices"
local luadev     = require "umbra.device"
local machine    = require "umbra.machine"
local random     = require "spec.support.random"
local refuses    = require "spec.support.refuses"
local tree       = require "spec.support.tree"
local umbra      = require "spec.support.umbra"

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
  program = asm.assemble(text .. "\n.text\noff: li t0, 0x100000\nli t1, 0x5555\nsw t1, (t0)\nj .\n", { at = RAM, name = "guest" })
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
      options.row,
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

local function environment(hart, pc, event)
  local env = {
    pc = pc, reg = function(i) return hart:reg(i) end,
    load = function(address, size)
      local ok, bytes = pcall(hart.read, hart, address, size)
      return ok and address < RAM + 2^22 and address >= RAM and bytes or nil
    end,
  }
  for key, value in pairs(event or {}) do env[key] = value end       -- fields: any order will do
  return env
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
        if hook.kind == "pc" and exact == (pass == 1) and covers(hook, pc, 1) and hook.holds(environment(hart, pc)) then log(i, pc) end
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
        if wanted and covers(hook, access.addr, access.size) and hook.holds(environment(hart, pc, event)) then log(i, pc, event) end
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

describe("a condition", function()
  it("says what a slow reading of it says", function()
    local seed = random.seed(1)
    local r = random.new(seed)
    build [[
        la      s0, data
        li      a0, 3
        li      a1, -7
        li      a2, 0x8000000000000001
        li      t1, 1 << 31
        li      t2, 5
before: nop
here:   nop
        j       off
        .balign 4096
data:   .word   1, 0x80000000, 0xfedcba98, -1, 5, 6, 7, 8, 9
    ]]
    m:run { until_pc = "before", timeout = 20 }
    local env, hooks, wanted = environment(m.hart, program.symbols.here), {}, {}
    for i = 1, random.soak() and 20000 or 1500 do
      local text, holds = conditions.make(r)
      wanted[i] = { text, holds(env) and 1 or 0 }
      local ok, h = pcall(m.hook, m, { pc = "here", when = text, call = function() end })
      if ok then hooks[#hooks + 1] = { i, h } else assert.matches("more than 256 operations", h) end
    end
    m:run { instructions = 2, timeout = 20 }
    local yes = 0
    for _, each in ipairs(hooks) do
      local i, h = unpack(each)
      assert.same(wanted[i], { h.when, h:counters().hits }, "seed " .. seed)
      yes = yes + wanted[i][2]
    end
    assert.is_true(yes > #hooks / 8 and yes < 7 * #hooks / 8)
  end)

  it("knows registers, CSRs, symbols and memory by name", function()
    build(LOOP)
    for _, text in ipairs {
      "x10 == a0 && sp == 0 && fp == s0", "(mstatus >> 11 & 3) == 0 || 1", "misa != 0 && mhartid == 0", "fa0 == f10", "loop + 4 == store", "pc == loop",
      "priv == 3", "u32[loop] == (u16[loop] | u16[loop + 2] << 16)", "s64(-1) < 0 && -1 > 0", "!u8[0] || 1", "0b101 == 5", "s8(0xff) == -1 && u8(-1) == 0xff",
      "instret < 100 && !(cycle > 100)", "1 + 2 * 3 == 7 && 1 << 2 + 1 == 8 && (7 & 4 == 4) == 1", "a0 / 0 == 0 || 1", "off - loop > 4096 && hart == 0",
    } do
      local h = m:hook { pc = "loop", when = text, call = function() end }
      m:reset()
      m:run { instructions = 6, timeout = 20 }
      local false_altogether = text:find "u8%[0%]" or text:find "/ 0"
      assert.equal(false_altogether and 0 or 1, h:counters().hits, text)
      h:detach()
    end
  end)

  it("is refused with the column of what is wrong", function()
    build(LOOP)
    local function wrong(text, kind, why)
      local ok, message = pcall(function() m:hook { [kind] = kind == "trap" and "any" or "loop", when = text, call = function() end } end)
      assert.is_false(ok, text)
      assert.matches("^[^\n]*hook_spec.lua:%d+: hook: when: `[^\n]*`: " .. why .. "$", message)
    end
    wrong("", "pc", "column 1: a value is missing")
    wrong("a0 ==", "pc", "column 6: a value is missing")
    wrong("(a0 == 1", "pc", "column 9: `%)` is missing")
    wrong("a0 = 1", "pc", "column 4: unexpected `=`")
    wrong("a0 1", "pc", "column 4: unexpected `1`, an operator is expected")
    wrong("u8[a0 == 1", "pc", "column 11: `%]` is missing")
    wrong("0x10000000000000000 == a0", "pc", "column 1: `0x10000000000000000` is no whole number of at most 64 bits")
    wrong("12x == a0", "pc", "column 1: `12x` is no whole number of at most 64 bits")
    wrong("lopp == 1", "pc", "column 1: `lopp` is no register, CSR or symbol.*")
    wrong("value == 1", "pc", "column 1: `value` is of accesses, and this hook waits for something else")
    wrong("cause == 1", "write", "column 1: `cause` is of traps, and this hook waits for something else")
    wrong(("("):rep(200) .. "1", "pc", "column 102: too many operations within one another")
    wrong("a0 ==\n1 1", "pc", "column 9: unexpected `1`, an operator is expected")
    wrong(("a0 && "):rep(90) .. "vstart", "pc", ".*no register, CSR or symbol.*")
  end)

  it("that is no program is refused by C, whatever it is", function()
    local ffi, clib = require "ffi", require "umbra.clib"
    build(LOOP)
    local C, r, why, taken = clib.C, random.new(random.seed(1)), ffi.new "struct um_fault", 0
    local options = ffi.new("struct um_hook_options", { first = program.symbols.loop, last = program.symbols.loop, what = C.UM_HOOK_PC, harts = 1 })
    local hit = ffi.new "struct um_hit"
    for _ = 1, random.soak() and 1000000 or 20000 do
      local count = 1 + r(12)
      local ops = ffi.new("struct um_condition_op[?]", count)
      for i = 0, count - 1 do
        ops[i].op, ops[i].index, ops[i].value = r(i == 0 and 8 or C.UM_COND_OPS + 1), r(8) == 0 and r(2^31) or r(20), r()
      end
      local id = C.um_hook_attach(m.hart.ptr, options, ops, count, why)
      if id > 0 then
        taken = taken + 1
        m.hart:set_pc(program.symbols.loop)
        C.um_hart_run(m.hart.ptr, 1, 1e9, m.hart.exit)
        C.um_hook_detach(m.hart.ptr, id, why)
        while C.um_hook_take(m.hart.ptr, hit) do assert.equal(id, hit.id) end
      end
    end
    assert.is_true(taken > 200, taken)
  end)
end)

describe("a machine with hooks", function()
  -- Timer interrupts, traps, sleep, accesses, text: everything that time and turns could show in.
  local BUSY = [[
        la      t0, handler
        csrw    mtvec, t0
        csrr    s4, mhartid
        la      s0, data
        slli    t1, s4, 6
        add     s0, s0, t1
        li      s1, 0x2004000
        slli    t1, s4, 3
        add     s1, s1, t1
        li      s3, 0x200bff8
        ld      t1, (s3)
        addi    t1, t1, 50
        sd      t1, (s1)
        li      t1, 0x80
        csrw    mie, t1
        csrsi   mstatus, 8
        li      s2, 3000
        li      s5, 0x10000000
work:   addi    s2, s2, -1
        la      t2, data
        amoadd.d t3, s2, (t2)
store:  sd      t3, 8(s0)
        andi    t3, s2, 63
        bnez    t3, 1f
        ecall
        li      t3, 46
        sb      t3, (s5)
        wfi
1:      bnez    s2, work
        la      t2, done
        li      t3, 1
        amoadd.w t3, t3, (t2)
        csrr    s4, mhartid
wait:   bnez    s4, wait
2:      lw      t3, (t2)
        li      t4, HARTS
        bne     t3, t4, 2b
        j       off
        .balign 4
handler: csrr   t5, mcause
        bltz    t5, 3f
        csrr    t5, mepc
        addi    t5, t5, 4
        csrw    mepc, t5
        mret
3:      ld      t5, (s3)
        addi    t5, t5, 50
        sd      t5, (s1)
        addi    s6, s6, 1
        sd      s6, 16(s0)
        mret
        .balign 4096
done:   .dword  0
data:   .space  1024
  ]]

  local function nothing() end
  local KINDS = {
    { pc = "work", call = nothing }, { pc = "work", when = "s2 == 1234", call = nothing }, { pc = "handler", call = nothing },
    { pc = { "work", "wait" }, when = "s2 * 7 == 21", call = nothing }, { access = { "data", "wait" }, call = nothing },
    { write = "data", when = "value != old", call = nothing }, { trap = "any", call = nothing }, { interrupt = "any", call = nothing },
    { mmio = "any", call = nothing }, { text = ".", call = nothing }, { read = "done", before = true, call = nothing },
  }

  local function hash_of(harts, hooks, chop)
    build((BUSY:gsub("HARTS", harts)), { clock = "virtual", harts = harts })
    local made, hits = {}, 0
    for i, options in ipairs(hooks) do
      local own = {}
      for key, value in pairs(options) do own[key] = value end         -- a copy: any order will do
      if type(own.access) == "table" then own.access = { program.symbols.data, program.symbols.data + 1024 } end
      made[i] = m:hook(own)
    end
    repeat local result = m:run { timeout = 20, instructions = chop } until result.reason == "off"
    for _, h in ipairs(made) do hits = hits + h:counters().hits end
    local hash = m:hash()
    m:close()
    m = nil
    return hash, hits
  end

  for _, harts in ipairs { 1, 3 } do
    it(("ends as one without, with %d harts and a virtual clock"):format(harts), function()
      local wanted = hash_of(harts, {})
      for i, options in ipairs(KINDS) do
        local hash, hits = hash_of(harts, { options })
        assert.equal(wanted, hash, "kind " .. i)
        assert.is_true(hits > 0, "kind " .. i)
      end
      assert.equal(wanted, (hash_of(harts, KINDS)))
      assert.equal(wanted, (hash_of(harts, KINDS, 777)))
      local every = { { every = 0.0001, call = nothing } }
      if harts == 1 then assert.equal(wanted, (hash_of(1, every))) end
      assert.equal((hash_of(harts, every)), (hash_of(harts, every, 777)))
    end)
  end

  it("tells the harts apart", function()
    build((BUSY:gsub("HARTS", 3)), { clock = "virtual", harts = 3 })
    local by_hart = { [0] = 0, 0, 0 }
    m:hook { pc = "work", when = "s2 < 100", call = function(hit)
      assert.equal(hit.hart, hit.cpu:csr "mhartid")
      by_hart[hit.hart] = by_hart[hit.hart] + 1
    end }
    local one = m:hook { pc = "work", hart = 2, call = nothing }
    local two = m:hook { trap = "ecall from machine", when = "hart == 1", call = nothing }
    run()
    assert.same({ [0] = 99, 99, 99 }, by_hart)
    assert.same({ 3000, 47 }, { one:counters().hits, two:counters().hits })
    refuses(function() m:hook { pc = "work", hart = 3, stop = true } end, "hook: hart = 3: the machine has 3")
  end)

  it("stops an endless function, and runs on", function()
    build(LOOP)
    m:hook { pc = "loop", when = "a0 == 3", call = function() while true do end end }
    local line = debug.getinfo(1, "l").currentline - 1
    local ok, text = pcall(m.run, m, { timeout = 20 })
    assert.is_false(ok)
    assert.equal(("spec/hook_spec.lua:%d: hook pc = loop: runs longer than 1 s and was stopped"):format(line), (text:gsub("^%./", "")))
    run()
  end)

  it("is neither run nor closed by a hook", function()
    build(LOOP)
    local texts = {}
    m:hook { pc = "loop", when = "a0 == 3", call = function()
      for i, f in ipairs { m.run, m.close } do texts[i] = select(2, pcall(f, m, { timeout = 1 })):match ":%d+: (.*)" end
    end }
    run()
    assert.matches("not from a function that is called while the machine is served$", texts[2])
    assert.is_string(texts[1])                       -- "run: not from ...", or that it is started
  end)

  it("says which function raised no text", function()
    build(LOOP)
    m:hook { pc = "loop", when = "a0 == 3", call = function() error {} end }
    local ok, text = pcall(m.run, m, { timeout = 20 })
    assert.is_false(ok)
    assert.matches("hook_spec.lua:%d+: hook pc = loop: raised a table$", text)
    run()
  end)
end)
