-- cpu: a hart alone: ISA strings, options, registers, runs, counters; the clock and the control beside it.
-- SPDX-License-Identifier: MIT
local clib    = require "umbra.clib"
local clock   = require "umbra.clock"
local control = require "umbra.control"
local cpu     = require "umbra.cpu"
local fault   = require "umbra.fault"
local host    = require "umbra.host"
local irq     = require "umbra.irq"
local mem     = require "umbra.mem"
local refuses = require "spec.support.refuses"

local C = clib.C
local BASE = 0x80000000

local function word(value)
  return string.char(value % 256, math.floor(value / 256) % 256, math.floor(value / 65536) % 256, math.floor(value / 2^24))
end

local function code(...)
  local text = {}
  for i = 1, select("#", ...) do text[i] = word((select(i, ...))) end
  return table.concat(text)
end

local ADDI_A0 = 0x00150513                        -- addi a0, a0, 1
local BACK = 0xffdff06f                           -- j pc - 4
local WFI = 0x10500073
local EBREAK = 0x00100073

describe("an ISA string", function()
  it("names extensions, those implied with it, in canonical order", function()
    assert.same({ "i" }, cpu.parse_isa "rv64i")
    assert.same({ "i", "m", "a", "f", "d", "c", "zicsr", "zifencei" }, cpu.parse_isa "rv64gc")
    assert.same({ "i", "f", "d", "zicsr" }, cpu.parse_isa "RV64ID")
    assert.same({ "i", "m", "zba", "zbb", "zbs", "sstc" }, cpu.parse_isa "rv64im_sstc_zbs_zbb_zba")
    assert.same({ "i", "m", "zicsr" }, cpu.parse_isa "rv64imzicsr")
  end)

  it("is refused when it is none, or names what is not known", function()
    refuses(function() cpu.parse_isa "rv32i" end, "isa `rv32i`: must begin with rv64, like rv64gc")
    refuses(function() cpu.parse_isa "arm" end, "isa `arm`: must begin with rv64, like rv64gc")
    refuses(function() cpu.parse_isa "rv64" end, "isa `rv64`: the base i %(or g%) is missing")
    for _, text in ipairs { "rv64gc_", "rv64gc__zba", "rv64_", "rv64gc_zba_" } do
      refuses(function() cpu.parse_isa(text) end, "isa `" .. text .. "`: an extension is missing behind `_`")
    end
    refuses(function() cpu.parse_isa "rv64i2p0" end, "isa `rv64i2p0`: must look like rv64gc_zba_zbb")
    refuses(function() cpu.parse_isa "rv64iv" end, "isa `rv64iv`: unknown extension `v`; known: i, m, a, .*zba, .*")
    refuses(function() cpu.parse_isa "rv64i_zicnd" end, "isa `rv64i_zicnd`: unknown extension `zicnd`, did you mean `zicond`%?")
  end)

  it("may name everything there is", function()
    local all = cpu.extensions()
    assert.is_true(#all >= 20)
    local singles, others = {}, {}
    for _, name in ipairs(all) do
      local list = #name == 1 and singles or others
      list[#list + 1] = name
    end
    assert.same(all, cpu.parse_isa("rv64" .. table.concat(singles) .. "_" .. table.concat(others, "_")))
  end)
end)

describe("a hart", function()
  local m, c, k, hart

  local function make(options, program)
    m, c, k = mem.new(), clock.new(), control.new()
    m:add_ram { at = BASE, size = "64K" }
    m:write(BASE, program)
    options.mem, options.clock, options.control, options.reset_pc = m, c, k, BASE
    hart = cpu.new(options)
  end

  after_each(function()
    for _, part in ipairs { hart or false, k or false, c or false, m or false } do
      if part then part:close() end
    end
    m, c, k, hart = nil, nil, nil, nil
  end)

  it("runs exactly as many instructions as it is given", function()
    make({}, code(ADDI_A0, BACK))
    for _, budget in ipairs { 1, 2, 7, 1000, 99991 } do
      local reason, executed = hart:run(budget)
      assert.equal("budget", reason)
      assert.equal(budget, executed)
    end
    assert.equal((1 + 2 + 7 + 1000 + 99991 + 1) / 2, hart:reg "a0")
    assert.equal(1 + 2 + 7 + 1000 + 99991, hart:counters().instructions)
  end)

  it("runs as long as it is given, also when it does nothing", function()
    make({}, code(ADDI_A0, BACK))
    assert.equal("time", (hart:run(nil, 0.02)))
    assert.is_true(hart:reg "a0" > 1000)
    hart:close()
    make({}, code(WFI, BACK))
    local start, used = host.seconds(), os.clock()
    local reason = hart:run(nil, 0.1)
    assert.equal("time", reason)
    assert.is_true(host.seconds() - start >= 0.09)
    assert.is_true(os.clock() - used < 0.05)
    assert.is_true(hart:counters().idle_ns > 5e7)
  end)

  it("comes back when it is kicked before it runs", function()
    make({}, code(ADDI_A0, BACK))
    k:kick()
    assert.equal("attention", (hart:run(nil, 10)))
    assert.equal("budget", (hart:run(10)))
  end)

  it("stops where it is told, and no longer when it is told so", function()
    make({}, code(ADDI_A0, ADDI_A0, BACK))
    hart:stop_at(BASE + 4)
    assert.equal("stop", (hart:run(100)))
    assert.equal(BASE + 4, hart:pc())
    assert.equal(1, hart:reg "a0")
    assert.equal("stop", (hart:run(100)))
    assert.equal(2, hart:reg "a0")
    hart:stop_at(BASE + 4, false)
    assert.equal("budget", (hart:run(100)))
  end)

  it("counts traps by cause", function()
    make({}, code(EBREAK))
    hart:set_csr("mtvec", BASE + 0x100)
    m:write(BASE + 0x100, code(ADDI_A0, BACK))
    hart:run(10)
    assert.same({ breakpoint = 1 }, hart:counters().exceptions)
    assert.equal(3, hart:csr "mcause")
    assert.equal(BASE, hart:csr "mepc")
  end)

  it("takes interrupts from lines, and leaves them alone when it is closed", function()
    local line, closed = irq.new(), irq.new()
    make({}, code(ADDI_A0, BACK))
    refuses(function() hart:connect(line, "stip") end, 'a line drives "msip", "mtip", "seip" or "meip", not "stip"')
    refuses(function() hart:connect({ ptr = m.ptr }, "meip") end, "`line` must be what umbra.irq makes, not a table")
    hart:connect(line, "meip")
    hart:connect(closed, "msip")
    closed:close()
    line:raise()
    assert.equal(0x800, hart:csr "mip")
    line:lower()
    assert.equal(0, hart:csr "mip")
    hart:close()
    line:raise()
    line:close()
  end)

  it("is closed after those that were added to it", function()
    make({}, code(ADDI_A0, BACK))
    local second = hart:add(1)
    refuses(function() hart:close() end, "harts are closed in reverse order: one that was added comes first")
    second:close()
    second:close()
    hart:close()
    hart:close()
  end)

  it("asks again what nobody answered, and traps as ever meanwhile", function()
    local LW_A0 = 0x00052503                      -- lw a0, 0(a0)
    make({}, code(LW_A0, EBREAK))
    fault.check(C.um_mem_add_window(m.ptr, 0x1000, 8, 5, "window", hart.why), hart.why)
    hart:set_csr("mtvec", BASE + 4)
    hart:set_reg("a0", 0x1000)
    for _ = 1, 3 do
      hart:run(10)
      assert.same({ C.UM_EXIT_MMIO, 5, BASE }, { tonumber(hart.exit.reason), hart.exit.window, hart:pc() })
    end
    hart:set_pc(BASE + 4)
    assert.equal("budget", (hart:run(10)))
    assert.is_true(hart:counters().exceptions.breakpoint > 1)
    hart:set_pc(BASE)
    hart:run(10)
    fault.check(C.um_hart_answer(hart.ptr, 0x80000001, hart.why), hart.why)
    hart:run(1)
    assert.is_true(hart:reg "a0" == 0xffffffff80000001ULL)
  end)

  it("has floating-point registers with bits of their own", function()
    make({ isa = "rv64gc" }, code(ADDI_A0, BACK))
    hart:set_freg("fa0", 0xffffffff3f800000ULL)
    assert.is_true(hart:freg "f10" == 0xffffffff3f800000ULL)
    refuses(function() hart:freg "a0" end, 'unknown floating%-point register "a0"')
  end)

  it("has the privilege it is given, of those it has", function()
    make({ modes = "mu" }, code(ADDI_A0, BACK))
    hart:set_privilege "user"
    assert.equal("user", hart:privilege())
    refuses(function() hart:set_privilege "supervisor" end, "this hart has no privilege mode 1")
    refuses(function() hart:set_privilege(3) end, 'a privilege is "user", "supervisor" or "machine", not 3')
  end)

  it("has the CSRs its options give it", function()
    make({ isa = "rv64i_zicsr", modes = "m" }, code(ADDI_A0, BACK))
    assert.equal(0x100, tonumber(hart:csr "misa" % 2^26))         -- i alone
    refuses(function() hart:csr "satp" end, ".+")
    hart:close()
    make({ isa = "rv64gc" }, code(ADDI_A0, BACK))
    assert.equal(0x14112d, tonumber(hart:csr "misa" % 2^26))      -- a c d f i m s u
    assert.equal(0, hart:csr "satp")
  end)

  it("disassembles", function()
    make({}, code(ADDI_A0, BACK))
    local text, length = hart:disassemble(ADDI_A0)
    assert.equal("addi a0, a0, 1", (text:gsub(",%s*", ", "):gsub("%s+", " ")))
    assert.equal(4, length)
    assert.is_nil(hart:disassemble(0))
  end)

  it("starts again after a reset", function()
    make({}, code(ADDI_A0, BACK))
    hart:run(10)
    hart:reset()
    assert.equal(BASE, hart:pc())
    assert.equal(0, hart:reg "a0")
    assert.equal("machine", hart:privilege())
  end)

  it("is the only one of its memory until it is closed", function()
    make({}, code(ADDI_A0, BACK))
    hart:run(100)
    refuses(function() cpu.new { mem = m, clock = c, control = k, reset_pc = BASE } end, "cpu: mem: it has a hart already")
    hart:close()
    hart = cpu.new { mem = m, clock = c, control = k, reset_pc = BASE }
    assert.equal("budget", (hart:run(100)))
    refuses(function() cpu.new { mem = mem.new(), clock = c, control = k, reset_pc = BASE + 1 } end,
      "cpu: reset_pc: an even address expected, not 0x80000001")
  end)

  it("refuses arguments that make no sense", function()
    make({}, code(ADDI_A0, BACK))
    local given = "must be a whole number from 0 to .+"
    refuses(function() hart:read(BASE, -1) end, "`size` " .. given .. ", not %-1")
    refuses(function() hart:read("x", 1) end, "`gva` must be an address like 0x80000000, not \"x\"")
    refuses(function() hart:write(BASE) end, "`bytes` must be a string, not nil")
    refuses(function() hart:run "x" end, "hart:run takes instructions and seconds, numbers from 0 on, not \"x\"")
    refuses(function() hart:run(1, 0 / 0) end, "hart:run takes .+")
    refuses(function() hart:stop_at {} end, "`pc` must be an address .+")
    refuses(function() hart:add "x" end, "`hartid` " .. given)
    refuses(function() hart:disassemble "x" end, "`word` " .. given)
    refuses(function() k:watch "x" end, "`fd` " .. given)
    refuses(function() m:load(BASE) end, "`size` must be a whole number from 1 to 8, not nil")
    refuses(function() cpu.parse_isa(5) end, "an ISA string is text like rv64gc, not 5")
  end)

  it("leans on its memory, clock and control, and says which is gone", function()
    refuses(function() cpu.new() end, "cpu.new takes a table, not nil")
    make({}, code(ADDI_A0, BACK))
    refuses(function() cpu.new { mem = c, clock = c, control = k } end, "`cpu%.mem` must be what umbra%.mem makes, not a table")
    refuses(function() cpu.new { mem = m, clock = {}, control = k } end, "`cpu%.clock` must be what umbra%.clock makes, not a table")
    m:close()
    refuses(function() hart:run(10) end, "this mem is closed")
    refuses(function() hart:read(BASE, 1) end, "this mem is closed")
    refuses(function() hart:close() end, "this mem is closed")
    hart = nil
  end)

  it("refuses options that make no sense", function()
    m, c, k = mem.new(), clock.new(), control.new()
    local function new(options)
      options.mem, options.clock, options.control = m, c, k
      return cpu.new(options)
    end
    refuses(function() new { tlb = { entries = 100 } } end, "`cpu%.tlb%.entries` must be a power of two, not 100")
    refuses(function() new { pmp = 5 } end, "`cpu%.pmp` must be one of 0, 16, not 5")
    refuses(function() new { mmu = "sv32" } end, '`cpu%.mmu` must be one of "none", "sv39", "sv48", "sv57", not "sv32"')
    refuses(function() new { modes = "su" } end, '`cpu%.modes` must be one of "m", "mu", "msu", not "su"')
    refuses(function() new { harts = 2 } end, "unknown key `cpu%.harts`.*")
    refuses(function() cpu.new {} end, "missing key `cpu%.mem`")
  end)
end)

describe("a clock", function()
  it("ticks at its rate", function()
    local c = clock.new { hertz = 1000000 }
    local from, start = c:now(), host.seconds()
    repeat until host.seconds() - start > 0.02
    local ticks = c:now() - from
    assert.is_true(ticks >= 20000 and ticks < 2000000, tostring(ticks))
    assert.equal(1000000, c:hertz())
    c:hold()
    local held = c:now()
    repeat until host.seconds() - start > 0.08
    c:hold()
    assert.equal(held, c:now())
    c:hold(false)
    assert.is_true(c:now() >= held and c:now() < held + 50000)         -- the 60 ms are not made up for
    c:close()
    c:close()
    refuses(function() c:now() end, "this clock is closed")
    refuses(function() clock.new { hertz = 0 } end, "`clock%.hertz` must be 1 to 1000000000, not 0")
  end)
end)
