-- machine: descriptions, parameters, memory, and what a script does with a running machine.
-- SPDX-License-Identifier: MIT
local dev     = require "devices"
local device  = require "umbra.device"
local machine = require "umbra.machine"
local refuses = require "spec.support.refuses"
local umbra   = require "spec.support.umbra"

local RAM = { size = "16M" }

local folder, programs

-- Prints a line on an ns16550a, reads lines and answers "got " and the line; "q" switches off.
local ECHO = [[
        .globl _start, loop
_start: lui   s0, 0x10000
        la    s1, hello
        jal   print
loop:   la    s1, got
        li    s2, 0
read:   lbu   t0, 5(s0)
        andi  t0, t0, 1
        beqz  t0, read
        lbu   t1, 0(s0)
        li    t2, 'q'
        beq   t1, t2, off
        bnez  s2, put
        li    s2, 1
        jal   print
put:    sb    t1, 0(s0)
        li    t2, 10
        bne   t1, t2, read
        j     loop
off:    lui   t0, 0x100
        li    t1, 0x5555
        sw    t1, 0(t0)
1:      j     1b
print:  lbu   t0, 0(s1)
        beqz  t0, 2f
        sb    t0, 0(s0)
        addi  s1, s1, 1
        j     print
2:      ret
hello:  .asciz "ready\n"
got:    .asciz "got "
]]

-- Leaves with 42 through HTIF.
local EXIT = [[
        .globl _start, tohost, fromhost
_start: li    a0, 42
        slli  a0, a0, 1
        ori   a0, a0, 1
        la    a1, tohost
        sd    a0, 0(a1)
1:      j     1b
        .data
        .balign 64
tohost: .dword 0
fromhost: .dword 0
]]

local SPIN = ".globl _start\n_start: addi t0, t0, 1\n j _start\n"

-- Memory to be written to a signature file.
local SIGN = [[
        .globl _start, tohost, begin_signature, end_signature
_start: la    a0, begin_signature
        li    a1, 0x0123456789abcdef
        sd    a1, 0(a0)
        li    a1, 1
        la    a0, tohost
        sd    a1, 0(a0)
1:      j     1b
        .data
        .balign 64
tohost: .dword 0
        .balign 16
begin_signature: .dword 0, 0x1122334455667788, 7
        .word 0xdeadbeef
end_signature:
]]

local function serial_machine()
  return machine {
    name = "serial", ram = RAM,
    map = { { at = 0x100000, name = "power", dev.syscon {} }, { at = 0x10000000, name = "uart0", dev.ns16550a {} } },
    boot = { kernel = programs.echo },
  }
end

setup(function()
  folder = umbra.folder()
  programs = {}
  for name, text in pairs { echo = ECHO, exit = EXIT, spin = SPIN, sign = SIGN } do
    programs[name] = umbra.assemble(text, folder.path .. "/" .. name .. ".elf")
  end
end)
teardown(function() folder.remove() end)

describe("a description", function()
  it("is refused at the user's line", function()
    refuses(function() machine {} end, "missing key `ram` .*")
    refuses(function() machine { ram = { size = 0 } } end, "`ram%.size` must be 4K to 1T, not 0")
    refuses(function() machine { ram = RAM, cpus = {} } end, "unknown key `cpus`, did you mean `cpu`%?")
    refuses(function() machine { ram = RAM, map = { 7 } } end, "map row 1 must be a table like .*")
    refuses(function() machine { ram = RAM, map = { { at = 0, name = "x", 7 } } } end, "map row 1: 7 is no device: write dev%.MODEL {%.%.%.}")
    refuses(function() return dev.no_such_model {} end, "unknown device `dev%.no_such_model`.*")
    refuses(function() dev.plic { sources = 2000 } end, "`dev%.plic%.sources` must be 1 to 1023, not 2000")
    refuses(function() machine.build {} end, "machine%.build takes what machine {%.%.%.} returns, not a table")
    refuses(function() machine.load "/nowhere/x.lua" end, "cannot open /nowhere/x%.lua: No such file or directory")
  end)

  it("skips rows that are nil or false", function()
    local d = machine { ram = RAM, map = { nil, false, { at = 0x1000, name = "a", dev.syscon {} }, nil, { at = 0x2000, name = "b", dev.syscon {} } } }
    assert.equal(2, #d.rows)
    assert.equal("b", d.rows[2].name)
  end)

  it("extends another one by name", function()
    local d = machine {
      extends = "riscv-virt", name = "mine", ram = { size = "64M" },
      map = { rtc = false, uart0 = { dev.ns16550a { irq = 12 } }, { at = 0x20000000, name = "uart1", dev.ns16550a { irq = 13 } },
        extra = { at = 0x30000000, dev.syscon {} } },
    }
    local rows = {}
    for _, row in ipairs(d.rows) do rows[row.name] = row end
    assert.equal("mine", d.name)
    assert.equal(0x80000000, d.ram.at)
    assert.equal(64 * 2^20, d.ram.size)
    assert.equal("sv48", d.cpu.mmu)
    assert.is_nil(rows.rtc)
    assert.equal(0x10000000, rows.uart0.at)
    assert.equal(12, rows.uart0.options.irq)
    assert.equal(13, rows.uart1.options.irq)
    assert.equal(0x30000000, rows.extra.at)
    assert.equal("extra", d.rows[#d.rows].name)
  end)
end)

describe("a machine file", function()
  local FILE = [[
    local machine, dev = require "umbra.machine", require "devices"
    local param = machine.param
    local count = param { "count", type = "integer", default = 2, min = 1, max = 4, help = "serial ports" }
    local rows = {}
    for i = 1, count do rows[i] = { at = 0x10000000 + i * 0x1000, name = "uart" .. i, dev.ns16550a {} } end
    return machine { ram = { size = param { "ram", default = "8M" } }, map = rows, boot = { kernel = param "kernel" } }
  ]]

  it("has parameters, from text or from values", function()
    local path = folder.write("count.lua", FILE)
    assert.equal(2, #machine.describe(path).rows)
    assert.equal(3, #machine.describe(path, { count = "3" }).rows)
    local description, rows = machine.describe(path, { count = 4, ram = "1M" })
    assert.equal(4, #description.rows)
    assert.equal(2^20, description.ram.size)
    assert.same({ "count", "ram", "kernel" }, { rows[1].name, rows[2].name, rows[3].name })
    refuses(function() machine.describe(path, { count = 5 }) end, "count=5: must be 1 to 4")
    refuses(function() machine.describe(path, { cuont = 1 }) end, "unknown parameter `cuont`, did you mean `count`%?")
  end)

  it("finds literal paths beside itself, and paths from outside in the current folder", function()
    local path = folder.write("paths.lua", [[
      local machine = require "umbra.machine"
      return machine { ram = { size = "1M" }, boot = { kernel = "echo.elf", initrd = machine.param "initrd" } }
    ]])
    local description = machine.describe(path, { initrd = "README.md" })
    assert.equal(folder.path .. "/echo.elf", description.boot.kernel)
    assert.matches("/README%.md$", description.boot.initrd)
    assert.is_nil(description.boot.initrd:find(folder.path, 1, true))
  end)

  it("shares its parameters with the one it extends, and may give them other defaults", function()
    folder.write("base.lua", FILE)
    local path = folder.write("derived.lua", [[
      local machine = require "umbra.machine"
      machine.param { "count", type = "integer", default = 1, max = 4 }
      return machine { extends = "base.lua", name = "derived" }
    ]])
    assert.equal(1, #machine.describe(path).rows)
    local description, rows = machine.describe(path, { ram = "2M", count = 2 })
    assert.equal(2, #description.rows)
    assert.equal(2^21, description.ram.size)
    assert.same({ "count", "ram" }, { rows[1].name, rows[2].name })
  end)

  it("keeps its globals to itself", function()
    machine.describe(folder.write("globals.lua", 'leaked = 1\nreturn require "umbra.machine" { ram = { size = "1M" } }\n'))
    assert.is_nil(rawget(_G, "leaked"))
  end)
end)

describe("memory before the first instruction", function()
  local function load(given)
    given.guest, given.seed = "none", 1
    return machine.load("riscv-virt", given)
  end

  -- A RISC-V Linux Image header and some bytes.
  local function linux_image()
    local function le(value, bytes)
      local text = ""
      for _ = 1, bytes do text, value = text .. string.char(value % 256), math.floor(value / 256) end
      return text
    end
    return "MZ\0\0\0\0\0\0" .. le(2^21, 8) .. le(3 * 2^20, 8) .. ("\0"):rep(32) .. "RSC\5" .. ("\0"):rep(4) .. "kernel code"
  end

  it("has firmware, kernel, RAM disk, tree and reset vector where QEMU has them", function()
    local fw, kernel = folder.write("fw.bin", ("f"):rep(70000)), folder.write("Image", linux_image())
    local initrd = folder.write("initrd", ("i"):rep(5000))
    local m = load { firmware = fw, kernel = kernel, initrd = initrd, ram = "64M", append = "quiet" }
    assert.equal(0x1000, m.hart:pc())
    assert.equal(0x00000297, m.mem:load(0x1000, 4))                -- auipc t0, 0
    assert.equal(0x80000000, m.mem:load(0x1018, 8))                -- first program
    assert.equal(0x83e00000, m.mem:load(0x1020, 8))                -- device tree
    assert.equal(0x4942534f, m.mem:load(0x1028, 8))                -- struct fw_dynamic_info: magic, version, next, mode S
    assert.equal(2, m.mem:load(0x1030, 8))
    assert.equal(0x80200000, m.mem:load(0x1038, 8))
    assert.equal(1, m.mem:load(0x1040, 8))
    assert.equal(("f"):rep(70000), m.mem:read(0x80000000, 70000))
    assert.equal("MZ", m.mem:read(0x80200000, 2))
    assert.equal(0x83dfe000, m.plan.initrd)
    assert.equal(("i"):rep(5000), m.mem:read(m.plan.initrd, 5000))
    assert.equal("\208\13\254\237", m.mem:read(0x83e00000, 4))
    local tree = m:dtb()
    assert.is_truthy(tree:find("\0\0\0\0\131\223\224\0", 1, true))  -- linux,initrd-start
    assert.is_truthy(tree:find("\0\0\0\0\131\223\243\136", 1, true))  -- linux,initrd-end
    m:close()
  end)

  it("has the tree below 3 GiB when there is more RAM", function()
    local m = load { firmware = "none", kernel = programs.spin, ram = "2G" }
    assert.equal(0xbfe00000, m.plan.tree)
    m:close()
  end)

  it("goes without a tree when RAM is too small for one", function()
    local m = machine.build(machine { ram = { size = "4K" }, boot = { kernel = programs.spin } })
    assert.is_nil(m.plan.tree)
    assert.equal(0, m.hart:reg "a1")
    m:close()
  end)

  it("gives a hart without a reset ROM its registers", function()
    local m = machine.build(serial_machine())
    assert.equal(0x80000000, m.hart:pc())
    assert.equal(0, m.hart:reg "a0")
    assert.equal(m.plan.tree, m.hart:reg "a1")
    m:close()
  end)
end)

describe("a machine that runs", function()
  local m

  after_each(function() if m then m:close() end m = nil end)

  it("stops after a number of instructions, exactly", function()
    m = machine.build(machine { ram = RAM, boot = { kernel = programs.spin } })
    for _, count in ipairs { 1, 2, 1000, 12345 } do
      local before = m:counters().instructions
      local result = m:run { instructions = count }
      assert.equal("instructions", result.reason)
      assert.equal(count, result.executed)
      assert.equal(before + count, m:counters().instructions)
    end
    assert.equal(math.ceil(13348 / 2), m.hart:reg "t0")
  end)

  it("stops at a timeout", function()
    m = machine.build(machine { ram = RAM, boot = { kernel = programs.spin } })
    local result = m:run { timeout = 0.05 }
    assert.equal("timeout", result.reason)
    assert.is_true(result.executed > 10000)
  end)

  it("stops before a pc, again and again", function()
    m = machine.build(serial_machine())
    local loop = m.files.kernel:symbol "loop"
    local result = m:run { until_pc = loop, timeout = 10 }
    assert.equal("pc", result.reason)
    assert.equal(loop, result.pc)
    assert.equal("ready\n", m.console:text())
    m.console:send "a\n"
    assert.equal("pc", m:run({ until_pc = loop, timeout = 10 }).reason)
    assert.equal("ready\ngot a\n", m.console:text())
  end)

  it("talks: expect, send, match, off", function()
    m = machine.build(serial_machine())
    assert.equal("ready", m.console:expect("ready", 10))
    m.console:send "one\n"
    assert.equal("one", m.console:match("got (%w+)\n", 10))
    m.console:send "two\nthree\n"
    assert.equal("two", m.console:match("got (%w+)\n", 10))
    assert.equal("text", m:run({ until_text = "three", timeout = 10 }).reason)
    m.console:send "q"
    local result = m:run { timeout = 10 }
    assert.equal("off", result.reason)
    assert.equal("off", m:run({ timeout = 10 }).reason)           -- and it stays so
    assert.equal("ready\ngot one\ngot two\ngot three\n", m.console:text())
  end)

  it("says what did not come", function()
    m = machine.build(serial_machine())
    m.console:expect("ready", 10)
    refuses(function() m.console:expect("never", 0.1) end, 'console uart0: "never" did not come within 0%.1 seconds; its last line: "ready"')
    m.console:send "q"
    refuses(function() m.console:expect("never", 10) end, 'console uart0: "never" did not come: the guest switched off; its last line: "ready"')
    refuses(function() m.console:expect(7) end, "console:expect takes text to wait for, not 7")
    refuses(function() m.console:send(7) end, "console:send takes a string, not 7")
  end)

  it("starts again after a reset", function()
    m = machine.build(serial_machine())
    m.console:expect("ready", 10)
    m.console:send "q"
    assert.equal("off", m:run({ timeout = 10 }).reason)
    m.mem:write(0x80000000, "\0\0\0\0")
    m:reset()
    m.console:expect("ready", 10)
  end)

  it("closes its parts itself", function()
    m = machine.build(machine { ram = { size = "1M" } })
    for name, part in pairs { hart = m.hart, mem = m.mem, clock = m.clock, control = m.control } do
      refuses(function() part:close() end, "this " .. name .. " belongs to a machine, which closes it")
    end
    local memory = m.mem
    m:close()
    refuses(function() return memory.read end, "this mem is closed")
  end)

  it("forgets at a reset what devices asked for before, wherever they stand in the map", function()
    local Bell = device { name = "bell", config = { { "irq", required = true } }, regs = { { at = 0, name = "level" } } }
    m = machine.build(machine { ram = { size = "1M" }, map = {
      { at = 0x10001000, name = "first", Bell { irq = 1 } },
      { at = 0x0c000000, name = "plic", dev.plic {} },
      { at = 0x10002000, name = "last", Bell { irq = 2 } },
    } })
    for _, name in ipairs { "first", "last" } do m:device(name).irq:raise() end
    assert.equal(6, m.mem:load(0x0c001000, 4))
    m:reset()
    assert.equal(0, m.mem:load(0x0c001000, 4))
  end)

  it("gives the guest's exit code", function()
    m = machine.load("bare", { kernel = programs.exit })
    local result = m:run { timeout = 10 }
    assert.equal("exit", result.reason)
    assert.equal(42, result.code)
  end)

  it("writes a signature when the guest ends", function()
    local path = folder.path .. "/signature"
    for granularity, lines in pairs { [16] = { "1122334455667788" .. "0123456789abcdef", "00000000deadbeef0000000000000007" },
      [4] = { "89abcdef", "01234567", "55667788", "11223344", "00000007", "00000000", "deadbeef" } } do
      m = machine.load("bare", { kernel = programs.sign, signature = path, signature_granularity = granularity })
      assert.equal("exit", m:run({ timeout = 10 }).reason)
      m:close()
      local file = assert(io.open(path))
      assert.equal(table.concat(lines, "\n") .. "\n", file:read "*a")
      file:close()
    end
    m = nil
  end)

  it("shows registers, CSRs and memory, and lets them be set", function()
    m = machine.build(machine { ram = RAM, boot = { kernel = programs.spin } })
    m.hart:set_reg("a0", -1)
    assert.is_true(m.hart:reg "x10" == 0xffffffffffffffffULL)
    m.hart:set_reg(10, 5)
    assert.equal(5, m.hart:reg "a0")
    m.hart:set_reg("zero", 5)
    assert.equal(0, m.hart:reg "zero")
    assert.equal("machine", m.hart:privilege())
    m.hart:set_csr("mscratch", 0x123456789abcdefULL)
    assert.is_true(m.hart:csr "mscratch" == 0x123456789abcdefULL)
    assert.is_true(m.hart:csr(0x340) == 0x123456789abcdefULL)
    refuses(function() m.hart:csr "mscrtach" end, 'unknown CSR "mscrtach", did you mean `mscratch`%?')
    refuses(function() m.hart:reg "a9" end, 'unknown register "a9"')
    refuses(function() m.hart:set_reg("a0", 1.5) end, "a register holds 64%-bit integers, not 1%.5")
    m.mem:write(0x80100000, "bytes")
    assert.equal("bytes", m.hart:read(0x80100000, 5))
    m.hart:write(0x80100001, "i")
    assert.equal("bites", m.mem:read(0x80100000, 5))
    assert.equal(0x80100000, m.hart:translate(0x80100000, "w"))
    assert.equal(m.hart, m.cpu[0])
  end)

  it("counts, by device too", function()
    m = machine.build(serial_machine())
    m.console:expect("ready\n", 10)
    local counts = m:counters()
    assert.equal(6, counts.mmio.devices.uart0.writes)
    assert.equal(0, counts.mmio.devices.power.writes)
    assert.is_true(counts.mmio.total >= 6)
    assert.is_true(counts.instructions > 20)
    assert.is_number(counts.tlb.hits)
    assert.is_number(counts.tlb.misses.execute)
    assert.is_number(counts.walks)
    assert.is_table(counts.traps.exceptions)
    m.hart:set_pc(0x40000000)                                       -- nothing is there
    m:run { timeout = 0.1 }                                         -- no trap vector either: nothing ever retires
    assert.is_true(m:counters().traps.exceptions["fetch access"] > 0)
  end)

  it("refuses options that make no sense", function()
    m = machine.build(machine { ram = RAM, boot = { kernel = programs.spin } })
    refuses(function() m:run { instrctions = 5 } end, "unknown key `run%.instrctions`, did you mean `instructions`%?")
    refuses(function() m:run { instructions = 0 } end, "`run%.instructions` must be at least 1, not 0")
    refuses(function() m:run { until_text = "x" } end, "run: until_text needs a console in the map")
    refuses(function() m:run { until_pc = "main" } end, 'run: until_pc: no symbol "main".*')
    refuses(function() m:run { until_pc = {} } end, "run: until_pc must be an address or the name of a symbol, not a table")
  end)

  it("is closed when it is forgotten, in the right order, at the end of the process too", function()
    local path = folder.write("forget.lua", ([[
      local machine = require "umbra.machine"
      for i = 1, 5 do machine.load("riscv-virt", { guest = "none", firmware = "none", kernel = %q, ram = "16M" }):run { instructions = 1000 } end
      collectgarbage()
      local m = machine.load("bare", { kernel = %q })
      error "on purpose"
    ]]):format(programs.spin, programs.exit))
    local result = umbra.run { "exec", path }
    assert.equal(126, result.code)
    assert.matches("^umbra: [^\n]*forget%.lua:5: on purpose\n$", result.err)
    local text, code = require("spec.support.tree").run("LUA_PATH='lua/?.lua;;' luajit " .. path)
    assert.equal(1, code)
    assert.is_truthy(text:find("forget.lua:5: on purpose", 1, true), text)
  end)

  it("is emptied by a loop that is never compiled", function()
    local path = folder.write("empty.lua", [[
      local util, control = require "jit.util", require "umbra.control"
      local compiled = 0
      jit.attach(function(what, _, f)
        local at = f and util.funcinfo(f)
        if what == "start" and at.source:find "handle%.lua$" and f == require("umbra.handle").clear then compiled = compiled + 1 end
      end, "trace")
      for _ = 1, 500 do control.new():close() end
      print(compiled)
    ]])
    assert.equal("0\n", (require("spec.support.tree").run("LUA_PATH='lua/?.lua;;' luajit " .. path)))
  end)

  it("is closed once, and refuses to be used afterwards", function()
    m = machine.build(serial_machine())
    local hart, mem = m.hart, m.mem
    m:close()
    m:close()
    refuses(function() m:run {} end, "this machine is closed")
    refuses(function() hart:pc() end, "this hart is closed")
    refuses(function() mem:read(0, 1) end, "this mem is closed")
    m = nil
  end)
end)
