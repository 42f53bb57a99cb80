-- hook: conditions, and what machines with hooks are and stay.
-- SPDX-License-Identifier: MIT
local board      = require "spec.support.board"
local conditions = require "spec.support.conditions"
local random     = require "spec.support.random"
local refuses    = require "spec.support.refuses"
local umbra      = require "spec.support.umbra"

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
    local env, hooks, wanted = board.environment(m.hart, program.symbols.here), {}, {}
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
      assert.matches("^[^\n]*hook_machine_spec.lua:%d+: hook: when: `[^\n]*`: " .. why .. "$", message)
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

  it("is served by a run of its hart by hand too", function()
    build(LOOP)
    local pcs = {}
    m:hook { pc = "loop", call = function(hit) pcs[#pcs + 1] = hit.cpu:reg "a0" end }
    local reason, executed = m.hart:run(20, 5)
    assert.same({ "budget", 20, { 0, 1, 2, 3 } }, { reason, executed, pcs })
    m:hook { pc = "next", stop = true }
    assert.same({ "hook", "hook" }, { (m.hart:run(20, 5)), (m.hart:run(20, 5)) })
    assert.equal(program.symbols.next, m.hart:pc())
    assert.equal(5, #pcs)
  end)

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
    assert.equal(("spec/hook_machine_spec.lua:%d: hook pc = loop: runs longer than 1 s and was stopped"):format(line), (text:gsub("^%./", "")))
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
    assert.matches("hook_machine_spec.lua:%d+: hook pc = loop: raised a table$", text)
    run()
  end)
end)
