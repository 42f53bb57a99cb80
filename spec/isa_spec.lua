-- isa: every unprivileged instruction agrees with qemu-riscv64 on random and corner operands, in results and flags; what that
-- does not know agrees with a table from the manual; and the errors of descriptions.
-- SPDX-License-Identifier: MIT
local bit       = require "bit"
local ffi       = require "ffi"
local cases     = require "spec.support.cases"
local isa       = require "umbra.isa"
local random    = require "spec.support.random"
local sequences = require "spec.support.sequences"
local word      = require "umbra.isa.word"

local SEED = random.seed(20240411)
local EACH = random.soak() and 2000 or 200
local PART = 1000                                    -- cases a program, which is a process here and under qemu-riscv64

local description = isa.load "lua/isa/riscv/riscv.lua"

-- Debian 12's QEMU knows none of these extensions; QEMU before 8.0 counts ctzw over 64 bits.
local BY_HAND = { zicond = true, zawrs = true, zicbom = true, zicboz = true }
local BY_HAND_TOO = { ctzw = true }
-- What needs more than operands: specs of traps and of address translation try it.
local ELSEWHERE = {
  ecall = "below", ebreak = "below", ["c.ebreak"] = "below", mret = "trap", wfi = "trap", sret = "trap",
  ["sfence.vma"] = "mmu", ["sinval.vma"] = "mmu", ["sfence.w.inval"] = "mmu", ["sfence.inval.ir"] = "mmu",
}

local function rows_of(extension)
  local rows = {}
  for _, list in ipairs { description.insns, description.shorts } do
    for _, row in ipairs(list) do
      if row.extension == extension and not ELSEWHERE[row.name] then rows[#rows + 1] = row end
    end
  end
  return rows
end

local function scratch() return os.tmpname() end

-- Runs `program` under qemu-riscv64, in harts of a machine and in processes; the options of the hart may change nothing.
local function agree(program, what)
  local code, data, stop = program:finish()
  local path = scratch()
  local function differ(ours, theirs, how)
    local lines, count = program:compare(ours, theirs, 5)
    assert(count == 0, ("%s: %d of %d cases differ (UMBRA_SEED=%d, %s)\n%s"):format(what, count, #program.list, SEED, how, table.concat(lines, "\n")))
  end
  local ok, problem = pcall(function()
    local theirs = cases.qemu(code, data, path)
    for _, options in ipairs { { fuse = true }, { fuse = false } } do
      local how = "fuse=" .. tostring(options.fuse)
      local ours, why = cases.umbra(code, data, stop, options)
      assert(ours, why and ("%s, seed %d: %s"):format(what, SEED, why))
      differ(ours, theirs, how)
      differ(cases.process(path, #data, options), theirs, how .. ", as a process")
    end
  end)
  os.remove(path)
  if not ok then error(problem, 0) end
end

describe("instructions against qemu-riscv64", function()
  for index, extension in ipairs(description.extensions) do
    local rows = rows_of(extension)
    if #rows > 0 and not BY_HAND[extension] then
      it(("%s: %d encodings, %d cases each"):format(extension, #rows, EACH), function()
        local numbers = random.new(SEED + index)
        local program = cases.new(description, numbers)
        for _, row in ipairs(rows) do
          assert.is_string(cases.kind(row), row.name .. " is tried nowhere")
          for each = 1, EACH do
            program:add(row, BY_HAND_TOO[row.name] and 0x80000000ULL)
            if each == EACH then program:dump() end
            if #program.list >= PART then
              agree(program, extension)
              program = cases.new(description, numbers)
            end
          end
        end
        if #program.list > 0 then agree(program, extension) end
      end)
    end
  end

  it("sequences that tier 0 fuses", function()
    local program, numbers, untried, patterns = nil, random.new(SEED), {}, dofile "lua/isa/riscv/fusion.lua"
    for _, text in ipairs(patterns) do
      program = program or cases.new(description, numbers)
      local items, missing = sequences.parse(description, text)
      assert(items, missing)
      local done = 0
      for _ = 1, BY_HAND[items[1].insn.extension] and 0 or EACH / 10 do
        for _ = 1, 10 do
          if sequences.add(program, items) then
            done = done + 1
            break
          end
        end
      end
      if done < EACH / 20 then untried[#untried + 1] = text end
      if #program.list >= PART then
        agree(program, "sequences")
        program = nil
      end
    end
    if program then agree(program, "sequences") end
    -- A few take a jump target or a store's address from where it cannot be arranged.
    assert(#untried <= #patterns / 25, table.concat(untried, "\n"))
  end)

  it("covers every instruction of the description", function()
    local seen = {}
    for _, extension in ipairs(description.extensions) do
      for _, row in ipairs(rows_of(extension)) do seen[row.name] = true end
    end
    for _, list in ipairs { description.insns, description.shorts } do
      for _, row in ipairs(list) do
        assert(seen[row.name] or ELSEWHERE[row.name], row.name .. " is of no extension")
      end
    end
  end)
end)

-- By hand --------------------------------------------------------------------------------------------------------------------

local CODE, DATA = 0x1000000, 0x4000000

-- Runs words (32-bit each) from CODE with these registers; returns the hart (closed by the caller's `done`), its memory and done.
local function run(words, registers, isa_text, budget)
  local clock, control, cpu, mem = require "umbra.clock", require "umbra.control", require "umbra.cpu", require "umbra.mem"
  local memory = mem.new()
  memory:add_ram { at = CODE, size = 4096 }
  memory:add_ram { at = DATA, size = 8192 }
  memory:write(DATA, ("\255"):rep(8192))
  local code = ffi.new("uint32_t[?]", #words, words)
  memory:write(CODE, ffi.string(code, 4 * #words))
  local hart = cpu.new { mem = memory, clock = clock.new(), control = control.new(), isa = isa_text, reset_pc = CODE }
  hart:set_csr("mstatus", 0x6000)
  hart:set_csr("mtvec", CODE + 2048)
  hart:stop_at(CODE + 2048)
  hart:stop_at(CODE + 4 * #words)
  for name, value in pairs(registers or {}) do hart:set_reg(name, value) end
  hart:run(budget or #words + 1, 10)
  return hart, memory, function() hart:close() memory:close() end
end

local ALL = "rv64gc_zba_zbb_zbc_zbs_zicond_zawrs_zicbom_zicboz_zicntr_zihpm"

local function make(name, values)
  local value, why = word.make(description.by_name[name], values)
  return assert(value, why)
end

describe("instructions by the manual", function()
  local A, B = 0x123456789abcdef0ULL, 0x8000000000000000ULL
  -- name, rs1, rs2, rd
  local zicond = {
    { "czero.eqz", A, 0ULL, 0ULL }, { "czero.eqz", A, 1ULL, A }, { "czero.eqz", A, B, A }, { "czero.eqz", 0ULL, 0ULL, 0ULL },
    { "czero.eqz", B, -1ULL, B }, { "czero.eqz", -1ULL, 0ULL, 0ULL }, { "czero.eqz", A, 0x100000000ULL, A }, { "czero.eqz", 0ULL, 5ULL, 0ULL },
    { "czero.nez", A, 0ULL, A }, { "czero.nez", A, 1ULL, 0ULL }, { "czero.nez", A, B, 0ULL }, { "czero.nez", 0ULL, 0ULL, 0ULL },
    { "czero.nez", B, -1ULL, 0ULL }, { "czero.nez", -1ULL, 0ULL, -1ULL }, { "czero.nez", A, 0x100000000ULL, 0ULL }, { "czero.nez", B, 0ULL, B },
  }
  local ctzw = {
    { "ctzw", 0ULL, 0ULL, 32ULL }, { "ctzw", 0x100000000ULL, 0ULL, 32ULL }, { "ctzw", 0x8000000000000000ULL, 0ULL, 32ULL },
    { "ctzw", -1ULL, 0ULL, 0ULL }, { "ctzw", 0x80000000ULL, 0ULL, 31ULL }, { "ctzw", 0x180000000ULL, 0ULL, 31ULL }, { "ctzw", 0x10ULL, 0ULL, 4ULL },
  }

  local function check(rows)
    for _, row in ipairs(rows) do
      local hart, _, done = run({ make(row[1], { rd = 12, rs1 = 10, rs2 = 11 }) }, { a0 = row[2], a1 = row[3] }, ALL)
      local got = ffi.cast("uint64_t", hart:reg "a2")
      done()
      assert(got == row[4], ("%s %s %s: %s, not %s"):format(row[1], bit.tohex(row[2]), bit.tohex(row[3]), bit.tohex(got), bit.tohex(row[4])))
    end
  end

  it("Zicond, on a table", function() check(zicond) end)
  it("Zicond, on 200 random pairs each, and in place", function()
    local numbers = random.new(SEED)
    for _, name in ipairs { "czero.eqz", "czero.nez" } do
      local words, registers, wanted = {}, {}, {}
      for i = 1, 200 do
        local rs1, rs2 = numbers(), numbers(2) == 0 and 0ULL or bit.rshift(numbers(), numbers(64))
        local keeps = (rs2 ~= 0) == (name == "czero.eqz")
        registers[i], wanted[i] = { a0 = rs1, a1 = rs2 }, keeps and rs1 or 0ULL
      end
      words[1] = make(name, { rd = 10, rs1 = 10, rs2 = 11 })
      for i, given in ipairs(registers) do
        local hart, _, done = run(words, given, ALL)
        local got = ffi.cast("uint64_t", hart:reg "a0")
        done()
        assert(got == wanted[i], ("%s %s %s gives %s"):format(name, bit.tohex(given.a0), bit.tohex(given.a1), bit.tohex(got)))
      end
    end
  end)
  it("ctzw counts 32 bits", function() check(ctzw) end)

  it("Zawrs: waiting ends and changes nothing", function()
    local hart, _, done = run({ 0x00d00073, 0x01d00073, make("addi", { rd = 10, rs1 = 10, imm = 1 }) }, { a0 = 41 }, ALL)
    assert.equal(42, hart:reg "a0")
    assert.equal(CODE + 12, hart:pc())
    assert.equal(3, hart:counters().instructions)
    done()
  end)

  it("Zicboz: clears the 64 bytes around the address", function()
    for _, offset in ipairs { 0, 1, 63, 64, 100, 4095, 4096, 8191 } do
      local hart, memory, done = run({ make("cbo.zero", { rs1 = 10 }) }, { a0 = DATA + offset }, ALL)
      local from = math.floor(offset / 64) * 64
      assert.equal(CODE + 4, hart:pc())
      assert.equal(("\255"):rep(from) .. ("\0"):rep(64) .. ("\255"):rep(8192 - from - 64), memory:read(DATA, 8192))
      done()
    end
  end)

  it("Zicbom: changes nothing, and faults as a store or load would", function()
    for _, name in ipairs { "cbo.inval", "cbo.clean", "cbo.flush" } do
      local hart, memory, done = run({ make(name, { rs1 = 10 }) }, { a0 = DATA + 100 }, ALL)
      assert.equal(CODE + 4, hart:pc())
      assert.equal(("\255"):rep(8192), memory:read(DATA, 8192))
      done()
      local other, _, close = run({ make(name, { rs1 = 10 }) }, { a0 = 0x2000 }, ALL)
      assert.equal(CODE + 2048, other:pc())
      assert.equal(7, other:csr "mcause")                      -- store access fault
      assert.equal(0x2000, other:csr "mtval")
      close()
    end
  end)

  it("ecall and ebreak trap", function()
    for value, cause in pairs { [0x00000073] = 11, [0x00100073] = 3, [0x00019002] = 3 } do      -- the last is c.ebreak
      local hart, _, done = run({ 0x00000013, value }, {}, ALL)
      assert.equal(CODE + 2048, hart:pc())
      assert.equal(cause, hart:csr "mcause")
      assert.equal(CODE + 4, hart:csr "mepc")
      done()
    end
  end)

  it("counters: instret counts instructions, cycle and time move", function()
    local read, nop = 0xc02025f3, 0x13                          -- rdinstret a1
    local hart, _, done = run({ 0xc0202573, nop, nop, nop, read, 0xc0002673, nop, 0xc00026f3, 0xc0102773 }, {}, ALL, 100)
    assert.equal(4, hart:reg "a1" - hart:reg "a0")
    assert.is_true(hart:reg "a3" > hart:reg "a2")
    assert.is_true(hart:reg "a4" >= 0)
    assert.equal(CODE + 36, hart:pc())
    done()
  end)

  it("a rounding mode that is reserved is illegal", function()
    local function cause(value, frm)
      local hart, _, done = run({ value }, { a0 = 1 }, ALL, 0)
      hart:set_csr("frm", frm)
      hart:run(3, 10)
      local trapped = hart:pc() == CODE + 2048 and hart:csr "mcause"
      local tval = hart:csr "mtval"
      done()
      return trapped, tval
    end
    local add = make("fadd.d", { fd = 1, fs1 = 2, fs2 = 3, rm = 7 })
    local convert = make("fcvt.w.s", { rd = 1, fs1 = 2, rm = 7 })
    for frm = 0, 7 do
      for _, value in ipairs { add, convert } do
        local trapped, tval = cause(value, frm)
        assert.equal(frm > 4 and 2 or false, trapped)
        if trapped then assert.equal(value, tval) end
      end
      assert.is_false((cause(add - 7 * 4096, frm)))            -- a static mode does not look at frm
      assert.equal(2, (cause(add - 2 * 4096, frm)))            -- 5
      assert.equal(2, (cause(convert - 1 * 4096, frm)))        -- 6
    end
  end)
end)
