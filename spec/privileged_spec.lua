-- privileged: how programs are run and stopped, and random ones beside QEMU.
-- SPDX-License-Identifier: MIT
local guest      = require "spec.support.guest"
local machine    = require "umbra.machine"
local privileged = require "spec.support.privileged"
local programs   = require "spec.support.programs"
local random     = require "spec.support.random"

local PAGING = privileged.PAGING

describe("running", function()
  -- Traps, device accesses, self-made code, jumps across pages: what may lose or invent an instruction.
  local BUSY = PAGING .. [[
main:   paging
        li      s0, 40
        li      s2, CLINT
        csrwi   minstret, 0
1:      la      s10, 2f
        ecall
2:      lw      t0, 0(s2)
        la      t0, 3f
        li      t1, 0x00150513
        sw      t1, 0(t0)
        fence.i
        .balign 4
3:      .4byte  0x00000013
        li      t0, SPACE + 0xffe
        li      t1, 0x00150513
        sh      t1, 0(t0)
        srli    t1, t1, 16
        sh      t1, 2(t0)
        li      t1, 0x8082
        sh      t1, 4(t0)
        fence.i
        jalr    ra, t0
        la      s10, 4f
        .4byte  0x00007053                      # fadd.s, with FS off
4:
        addi    s0, s0, -1
        bnez    s0, 1b
        csrr    t0, minstret
        note    t0
        note    a0
        j       finish
]]
  local function spent(budget_of)
    local m = machine.load("machines/bare.lua", { kernel = guest.build(BUSY), isa = guest.ISA })
    local total, runs = 0, 0
    repeat
      local budget = budget_of()
      local result = m:run { instructions = budget, timeout = 10 }
      total, runs = total + result.executed, runs + 1
      if result.reason == "instructions" then assert.equal(budget, result.executed) end
    until result.reason ~= "instructions"
    local n, counters = m.hart:reg "s11", m.hart:counters()
    local notes_ = m.mem:read(0x80100000, n - 0x80100000)
    m:close()
    return { notes = notes_, total = total, counted = counters.instructions }, runs
  end

  it("retires exactly its budget, and the same instructions however it is cut", function()
    local whole = spent(function() return 1e9 end)
    assert.equal(whole.total, whole.counted)
    local next_ = random.new(random.seed(5))
    for _, most in ipairs { 1, 3, 17, 200 } do
      local cut, runs = spent(function() return 1 + next_(most) end)
      assert.is_true(runs > 10)
      assert.same(whole, cut)
    end
  end)

  it("stops before an address wherever it lies in a block, and goes on from there", function()
    local m = machine.load("machines/bare.lua", { kernel = guest.build [[
main:   li      a0, 0
1:      addi    a0, a0, 1
        addi    a1, a0, 1
        li      t0, 100
        bne     a0, t0, 1b
        j       finish
]] })
    local pc
    repeat pc = m.hart:pc() m:run { instructions = 1, timeout = 1 } until m.hart:reg "a1" == 2
    for i = 2, 50 do
      local result = m:run { until_pc = pc, timeout = 5 }
      assert.same({ "pc", pc }, { result.reason, result.pc })
      assert.same({ i, i }, { m.hart:reg "a0", m.hart:reg "a1" })
    end
    assert.equal("exit", m:run { timeout = 5 }.reason)
    for _ = 1, 2 do                              -- after a reset the address is as good as new
      m:reset()
      m.hart:set_reg("a0", 0)
      assert.same({ "pc", pc }, (function(r) return { r.reason, r.pc } end)(m:run { until_pc = pc, timeout = 5 }))
      assert.equal(1, m.hart:reg "a0")
    end
    m:reset()
    local entry = m.hart:pc()
    for _ = 1, 2 do
      m:reset()
      local result = m:run { until_pc = entry, timeout = 5 }
      assert.same({ "pc", 0 }, { result.reason, result.executed })
    end
    m:close()
  end)
end)

describe("at random, as QEMU", function()
  -- One program is 40 CSR accesses, or 20 accesses through page tables or under protection.
  local long = random.soak() and 40 or 1
  local function compare(kind, batches, count, first)
    for batch = 1, batches * long do
      local seed = random.seed(1000) + batch
      local text = programs[kind](random.new(seed), count, 40)
      local path = guest.build(text)
      local ours, theirs = guest.run(path), guest.qemu(path)
      if first then programs.correct(theirs.notes, text, first) end
      local found = guest.differences(ours, theirs, function(i) return first and ("case %d"):format((i - 1) / 7) or "" end)
      if found then error(("seed %d, %s:\n%s"):format(seed, path, found)) end
      assert.is_true(#ours.notes > 100)
      os.remove(path)
      os.remove((path:gsub("elf$", "s")))
    end
  end

  it("CSRs hold what may be written and trap where they must", function() compare("csrs", 4, 25) end)
  it("page tables give and forbid the same accesses", function() compare("pages", 3, 1000, 1) end)
  it("protection gives and forbids the same accesses", function() compare("pmp", 3, 1000, 2) end)
end)
