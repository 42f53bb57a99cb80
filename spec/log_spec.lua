-- log: what harts and devices do, as text: its form, its truth, and that it changes nothing.
-- SPDX-License-Identifier: MIT
local bits    = require "umbra.bits"
local device  = require "umbra.device"
local devices = require "devices"
local fetch   = require "umbra.fetch"
local machine = require "umbra.machine"
local refuses = require "spec.support.refuses"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local SOAK = os.getenv "UMBRA_SOAK" == "1"

local folder
setup(function() folder = umbra.folder() end)
teardown(function() folder.remove() end)

local number = 0
local function program(text)
  number = number + 1
  return umbra.assemble(text, ("%s/%d.elf"):format(folder.path, number))
end

local END = "li t1, 0x5555\n li t0, 0x100000\n sw t1, 0(t0)\n 1: j 1b\n"

-- The lines that `options.log` items write while the program runs on riscv-virt's map, of which those of the reset ROM are left out.
local function logged(text, items, options)
  local path = folder.path .. "/out.log"
  options = options or {}
  options.guest, options.firmware, options.kernel, options.log = "none", "none", program(text), items .. ":" .. path
  local m = machine.load("riscv-virt", options)
  m:run { instructions = 100000 }
  m:close()
  local lines = {}
  for line in tree.read(path):gmatch "[^\n]+" do
    if not line:find "^core%s+%d+: 3 0x000000000000[01]" then lines[#lines + 1] = line end
  end
  return lines
end

describe("the exec log", function()
  it("has the form of Spike's commit log", function()
    local lines = logged([[
      .globl _start
      _start: li a0, -5
              la a1, data
              sd a0, 0(a1)
              sb a0, 3(a1)
              lw a2, 1(a1)
              c.nop
              amoadd.w a3, a0, (a1)
              lr.d a4, (a1)
              sc.d a5, a0, (a1)
              sc.d a5, a0, (a1)
              csrw sscratch, a0
              csrr a6, sscratch
              csrwi fcsr, 1
              csrs sstatus, a0
              fmv.d.x f1, a0
              fcvt.d.l f2, a6
              fdiv.d f31, f2, f2
              fsqrt.d f1, f2
              ecall
      .data
      .balign 4096
      data:   .dword 0
    ]], "exec")
    local data = "0x0000000080002000"
    local want = {
      "3 0x0000000080000000 (0x556d) x10 0xfffffffffffffffb",
      "3 0x0000000080000002 (0x00002597) x11 0x0000000080002002",
      "3 0x0000000080000006 (0xffe58593) x11 " .. data,
      "3 0x000000008000000a (0xe188) mem " .. data .. " 0xfffffffffffffffb",
      "3 0x000000008000000c (0x00a581a3) mem 0x0000000080002003 0xfb",
      "3 0x0000000080000010 (0x0015a603) x12 0xfffffffffffbffff mem 0x0000000080002001",
      "3 0x0000000080000014 (0x0001)",
      "3 0x0000000080000016 (0x00a5a6af) x13 0xfffffffffbfffffb mem " .. data .. " mem " .. data .. " 0xfbfffff6",
      "3 0x000000008000001a (0x1005b72f) x14 0xfffffffffbfffff6 mem " .. data,
      "3 0x000000008000001e (0x18a5b7af) x15 0x0000000000000000 mem " .. data .. " 0xfffffffffffffffb",
      "3 0x0000000080000022 (0x18a5b7af) x15 0x0000000000000001",
      "3 0x0000000080000026 (0x14051073) c320_sscratch 0xfffffffffffffffb",
      "3 0x000000008000002a (0x14002873) x16 0xfffffffffffffffb",
    }
    for i, line in ipairs(want) do assert.equal("core   0: " .. line, lines[i]) end
    -- Floating point is off: fcsr traps, to 0, where there is nothing, for ever.
    assert.equal(#want, #lines)
  end)

  it("tells CSRs, floating-point flags and returns from traps", function()
    local lines = logged([[
      .globl _start
      _start: li a0, 0x2000
              csrs sstatus, a0
              csrwi fcsr, 3
              csrwi frm, 1
              li a0, 3
              fcvt.d.l f2, a0
              fdiv.d f31, f2, f2
              fsqrt.d f1, f2
              csrrsi a1, fflags, 0
              la a2, 1f
              csrw mepc, a2
              csrwi mie, 8
              mret
      1:      ecall
    ]], "exec", { isa = "rv64gc" })
    local texts = {}
    for i, line in ipairs(lines) do texts[i] = line:match "%) ?(.*)$" end
    assert.same({
      "x10 0x0000000000002000", "c768_mstatus 0x0000000a00002000",
      "c1_fflags 0x0000000000000003 c2_frm 0x0000000000000000 c768_mstatus 0x8000000a00006000", "c2_frm 0x0000000000000001",
      "x10 0x0000000000000003", "f2  0x4008000000000000", "f31 0x3ff0000000000000",
      "f1  0x3ffbb67ae8584caa c1_fflags 0x0000000000000003", "x11 0x0000000000000003",
      "x12 0x0000000080000020", "x12 0x0000000080000034", "c833_mepc 0x0000000080000034", "c772_mie 0x0000000000000008",
      "c768_mstatus 0x8000000a00006080",
    }, texts)
  end)

  -- QEMU runs the same instructions: it notes all registers before each of them.
  it("says what qemu-system-riscv64 says", function()
    local path = program([[
      .globl _start
      _start: li a0, 40
              la a1, data
      1:      ld a2, 0(a1)
              add a3, a2, a0
              sd a3, 8(a1)
              lw a4, 4(a1)
              lbu a5, 1(a1)
              amoadd.d a4, a0, (a1)
              lr.w a5, (a1)
              sc.w a6, a0, (a1)
              li t0, 0x6000
              csrs mstatus, t0
              fcvt.d.l fa0, a0
              fsqrt.d fa1, fa0
              fcvt.l.d a7, fa1
              fmv.x.d s2, fa1
              mul a3, a3, a2
              mulh s3, a3, a3
              c.addi a0, -1
              bnez a0, 1b
    ]] .. END .. ".data\n.balign 64\ndata: .dword 1,2,3,4\n")
    local theirs = folder.path .. "/qemu.log"
    tree.run(("env -u LD_PRELOAD timeout -s KILL 20 qemu-system-riscv64 -M virt -bios none -kernel %s -display none -serial none -monitor none " ..
      "-singlestep -d nochain,cpu -D %s"):format(path, theirs))
    local ours = folder.path .. "/ours.log"
    local m = machine.load("riscv-virt", { guest = "none", firmware = "none", kernel = path, log = "exec:" .. ours })
    assert.equal("off", m:run({ instructions = 100000 }).reason)
    m:close()
    local states = {}
    for state in tree.read(theirs):gmatch "\n pc .-x31/t6%s+%x+" do
      local row = { pc = state:match "pc%s+(%x+)" }
      for register, value in state:gmatch "x(%d+)/%w+%s+(%x+)" do row[tonumber(register)] = value end
      if row.pc >= "0000000080000000" then states[#states + 1] = row end
    end
    local count = 0
    for line in tree.read(ours):gmatch "[^\n]+" do
      local pc = line:match ": 3 0x(%x+) "
      if pc >= "0000000080000000" then
        count = count + 1
        local before, after = states[count], states[count + 1]
        assert.equal(before.pc, pc)
        local x, value = line:match " x(%d+)%s+0x(%x+)"
        if x then before[tonumber(x)] = value end
        for i = 0, after and 31 or -1 do assert.equal(after[i], before[i], line) end
      end
    end
    assert.is_true(count > 700)
  end)

  -- A second machine steps and looks: each line says the next instruction, and all that it changes.
  local function replay(m, path)
    local hart, states, count = m.hart, {}, 0
    local function look()
      for i = 0, 31 do states[i], states[32 + i] = hart:reg(i), hart:freg(i) end
    end
    local handle = assert(io.open(path))
    look()
    for line in handle:lines() do
      count = count + 1
      local before, pc, privilege = m.done, nil, nil
      while m.done == before do                    -- a trap may come first
        pc, privilege = hart:pc(), hart:privilege()
        m:run { instructions = 1 }
      end
      local P, at, rest = line:match "^core   0: (%d) 0x(%x+) %(0x%x+%)(.*)$"
      assert(P, line)
      if ("%016x"):format(bits.u64(pc)) ~= at then
        -- An interrupt came first: then this is the first instruction of its handler.
        local vector = hart:csr(P == "3" and "mtvec" or "stvec")
        assert.equal(at, ("%016x"):format(bits.u64(vector)), line)
      else
        assert.equal(({ user = "0", supervisor = "1", machine = "3" })[privilege], P, line)
      end
      local told = {}
      for kind, index, value in rest:gmatch " ([xf])(%d+) +0x(%x+)" do told[tonumber(index) + (kind == "f" and 32 or 0)] = value end
      for i = 1, 63 do
        local now = i < 32 and hart:reg(i) or hart:freg(i - 32)
        if told[i] then assert.equal(told[i], ("%016x"):format(bits.u64(now)), line)
        elseif now ~= states[i] then error(("line %d: %s%d changed and is not told: %s"):format(count, i < 32 and "x" or "f", i % 32, line)) end
        states[i] = now
      end
      for csr, value in rest:gmatch " c(%d+)_%w+ 0x(%x+)" do assert.equal(value, ("%016x"):format(bits.u64(hart:csr(tonumber(csr)))), line) end
      for address, value in rest:gmatch " mem 0x(%x+) 0x(%x+)" do
        local ok, bytes = pcall(hart.read, hart, bits.parse("0x" .. address), #value / 2)
        if ok then assert.equal(value, (bytes:reverse():gsub(".", function(c) return ("%02x"):format(c:byte()) end)), line) end
      end
    end
    handle:close()
    return count
  end

  it("of Debian's boot replays against the state of a hart", function()
    local guest = fetch.ensure "debian-riscv64"
    local path = folder.path .. "/boot.log"
    local options = { kernel = guest.kernel, initrd = guest.initrd, firmware = guest.firmware, clock = "virtual" }
    local total = 0
    for _, part in ipairs { { 0, SOAK and 500000 or 25000 }, { 120000000, SOAK and 500000 or 25000 } } do
      local logs, steps, plain = machine.load("riscv-virt", options), machine.load("riscv-virt", options), machine.load("riscv-virt", options)
      for i, m in ipairs { logs, steps, plain } do
        if part[1] > 0 then m:run { instructions = part[1] } end
        if i == 1 then m:log { exec = path } end
      end
      logs:run { instructions = part[2] }
      plain:run { instructions = part[2] }
      local count = replay(steps, path)
      assert.equal(part[2], count)
      total = total + count
      local hashes = { logs:hash(), steps:hash(), plain:hash() }
      for _, m in ipairs { logs, steps, plain } do m:close() end
      assert.same({ hashes[3], hashes[3], hashes[3] }, hashes)
    end
    assert.equal(SOAK and 1000000 or 50000, total)
  end)

  it("and all others change nothing", function()
    local guest = fetch.ensure "debian-riscv64"
    local hashes = {}
    for _, items in ipairs { false, "exec,int,mmu,mmio,dev" } do
      local m = machine.load("riscv-virt", { kernel = guest.kernel, initrd = guest.initrd, firmware = guest.firmware, clock = "virtual", harts = 2,
        log = items and items .. ":/dev/null" or nil })
      m:run { instructions = 3000000 }
      if items then m:log { exec = false } end
      m:run { instructions = SOAK and 400000000 or 40000000 }
      hashes[#hashes + 1] = m:hash()
      m:close()
    end
    assert.equal(hashes[1], hashes[2])
  end)
end)

describe("the log of", function()
  local TRAP = [[
    .globl _start
    _start: la t0, handler
            csrw mtvec, t0
            .word 0
    handler: csrr a0, mcause
  ]]

  it("traps names cause, place and handler", function()
    assert.same({ "int  core   0: @9 exception 2 illegal instruction: M 0x8000000c <_start+0xc> tval 0x0 to M 0x80000010 <handler>" },
      logged(TRAP .. END, "int"))
  end)

  it("interrupts too", function()
    local lines = logged([[
      .globl _start
      _start: la t0, handler
              csrw mtvec, t0
              csrwi mie, 8
              li t1, 1
              li t2, 0x2000000
              csrsi mstatus, 8
              sw t1, 0(t2)
              nop
      handler:
    ]] .. END, "int,dev")
    assert.equal("dev  core   0: line 3 (machine software) raised", lines[1])
    assert.is_truthy(lines[2]:find "^int  core   0: @%d+ interrupt 3 machine software: M 0x%x+ <_start%+0x%x+> tval 0x0 to M 0x%x+ <handler>$", lines[2])
    assert.equal("dev  power: written 0x5555", lines[3])
    assert.equal(3, #lines)
  end)

  it("accesses to devices has place, size and value", function()
    local lines = logged(".globl _start\n_start: li a0, 0x10000000\n li a1, 'A'\n sb a1, 0(a0)\n lbu a2, 5(a0)\n" .. END, "mmio,dev")
    assert.same({
      'dev  uart0: sent "A"', "mmio core   0: 0x80000008 <_start+0x8> write 1 uart0+0x0 0x41",
      "mmio core   0: 0x8000000c <_start+0xc> read  1 uart0+0x5 0x60",
      "dev  power: written 0x5555", "mmio core   0: 0x8000001a <_start+0x1a> write 4 power+0x0 0x00005555",
    }, lines)
  end)

  it("translations has pages, faults and fences", function()
    local lines = logged([[
      .globl _start
      _start: la t0, table
              li t1, 0x200000cf          # 0x80000000, RWX, A and D
              sd t1, 16(t0)
              srli t0, t0, 12
              li t1, 8 << 60
              or t0, t0, t1
              li t1, -1
              csrw pmpaddr0, t1
              csrwi pmpcfg0, 15
              la t2, handler
              csrw mtvec, t2
              csrw satp, t0
              sfence.vma t1, zero
              li t1, 1 << 11
              csrs mstatus, t1
              la t2, 1f
              csrw mepc, t2
              mret
      1:      ld a0, 0(t2)
              li a1, 0x40000000
              ld a0, 0(a1)
      .balign 4
      handler:
    ]] .. END .. "\n.data\n.balign 4096\ntable: .fill 512, 8, 0\n", "mmu")
    local texts = {}
    for _, line in ipairs(lines) do texts[line:match "^mmu  core   0: (.*)$"] = true end
    assert.is_true(texts["satp 0x8000000000080002"], table.concat(lines, "\n"))
    assert.is_true(texts["fence 0xffffffffffffffff"])
    assert.is_true(texts["fetch 0x0000000080000000 -> 0x80000000 page 4K bare"])
    local walks = table.concat(lines, "\n")
    assert.is_truthy(walks:find "fetch 0x00000000800000%x%x %-> 0x800000%x%x page 1048576K\n")
    assert.is_truthy(walks:find "read  0x00000000800000%x%x %-> 0x800000%x%x page 1048576K\n")
    assert.is_true(texts["read  0x0000000040000000 -> page fault"])
  end)

  it("a disk shows its requests", function()
    local guest = fetch.ensure "debian-riscv64"
    local disk, path = folder.write("disk", ("x"):rep(2^20)), folder.path .. "/disk.log"
    local m = machine.load("riscv-virt", { kernel = guest.kernel, initrd = guest.initrd, firmware = guest.firmware, drive = disk, log = "dev:" .. path })
    finally(function() m:close() end)
    assert.equal("text", m:run({ until_text = "guest# ", timeout = 300 }).reason)
    local text = tree.read(path)
    assert.is_truthy(text:find('dev  disk0: status 0xf\n', 1, true))
    assert.is_truthy(text:find "dev  disk0: request 0 sector %d+: read 16 bytes, wrote 4096, status 0\n")
    assert.is_truthy(text:find "dev  plic: source 1 raised\ndev  core   0: line 9 %(supervisor external%) raised\n")
    assert.is_truthy(text:find "dev  plic: source 1 claimed by context 1\n")
    assert.is_truthy(text:find "dev  plic: source 1 completed by context 1\n")
  end)

  it("a device in Lua is what it says", function()
    local Speaker = device { name = "speaker", regs = { { at = 0, name = "word" } } }
    function Speaker:write_word(value) self:log(("heard %d\ntwice"):format(value)) end
    local path = folder.path .. "/lua.log"
    local m = machine.build(machine {
      ram = { size = "1M" }, map = { { at = 0x10000000, name = "ear", Speaker {} }, { at = 0x100000, name = "power", devices.syscon {} } },
      boot = { kernel = program(".globl _start\n_start: li a0, 0x10000000\n li a1, 7\n sw a1, 0(a0)\n" .. END) },
    })
    finally(function() m:close() end)
    assert.same({ dev = path, mmio = path }, m:log("dev,mmio:" .. path))
    m:run { instructions = 100 }
    assert.equal("dev  ear: heard 7\ndev  ear: twice\nmmio core   0: 0x80000006 <_start+0x6> write 4 ear+0x0 0x00000007\n" ..
      "dev  power: written 0x5555\nmmio core   0: 0x80000012 <_start+0x12> write 4 power+0x0 0x00005555\n", tree.read(path))
    refuses(function() m:device("ear"):log(5) end, "log: a line of text, not 5")
  end)
end)

describe("a log", function()
  local LOOP = ".globl _start\n_start: addi a0, a0, 1\n j _start\n"
  local function loop(options)
    options.kernel = program(LOOP)
    return machine.load("bare", options)
  end

  it("is switched on and off", function()
    local a, b = folder.path .. "/a", folder.path .. "/b"
    local m = loop {}
    assert.same({}, m:log())
    m:run { instructions = 10 }
    assert.same({ exec = a, int = a }, m:log { exec = a, int = a })
    m:run { instructions = 3 }
    assert.same({ int = a, exec = b }, m:log { exec = b })
    m:run { instructions = 4 }
    assert.same({ int = a }, m:log { exec = false })
    m:run { instructions = 5 }
    m:close()
    assert.equal(3, select(2, tree.read(a):gsub("\n", "")))
    assert.equal(4, select(2, tree.read(b):gsub("\n", "")))
  end)

  it("ends at its limit, and where the disk is full, and the guest goes on", function()
    local path = folder.path .. "/limited"
    for _, case in ipairs {
      { "exec:" .. path, "umbra: log: .*/limited has reached its limit: it ends here\n", 5000 },
      { "exec:/dev/full", "umbra: log: cannot write /dev/full: No space left on device: it ends here\n" },
    } do
      local result = umbra.run({ "run", "bare", "kernel=" .. program(LOOP), "log_limit=5000", "--log", case[1], "--timeout=0.3" })
      assert.equal(124, result.code)
      assert.is_truthy(result.err:find("^" .. case[2] .. "umbra: timeout: [^\n]*\n$"), result.err)
      if case[3] then assert.equal(case[3], #tree.read(path)) end
    end
  end)

  -- A pipe of another program's making that is full and does not block: waited for, at no cost.
  local PIPE = [[
import os, resource, subprocess, sys, time
r, w = os.pipe()
os.set_blocking(w, False)
run = subprocess.Popen(sys.argv[1:], stderr=w)
os.close(w)
time.sleep(2)
size = 0
while True:
    chunk = os.read(r, 1 << 20)
    if not chunk: break
    size += len(chunk)
code = run.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, size, used.ru_utime + used.ru_stime)
]]

  it("waits for a full pipe that does not block, and loses nothing", function()
    local kernel = program(".globl _start\n_start: li t0, 20000\n1: addi t0, t0, -1\nbnez t0, 1b\n" .. END)
    local words = { "build/umbra", "run", "riscv-virt", "guest=none", "firmware=none", kernel, "--log=exec:-" }
    local all = tonumber((tree.run(table.concat(words, " ") .. " 2>&1 >/dev/null | wc -c")))
    local script = os.tmpname()
    finally(function() os.remove(script) end)
    local file = assert(io.open(script, "w"))
    file:write(PIPE)
    file:close()
    local code, got, used = tree.run(("python3 %s %s"):format(script, table.concat(words, " "))):match "(%d+) (%d+) (%S+)"
    assert.same({ "0", all, true }, { code, tonumber(got), all > 10^6 })
    assert.is_true(tonumber(used) < (os.getenv "LD_PRELOAD" and 5 or 1), used)
  end)

  it("is asked for by the command", function()
    local path = folder.path .. "/command"
    local kernel = program(".globl _start\n_start: " .. END)
    for _, words in ipairs { { "--log=exec,mmio:" .. path }, { "-d", "exec,mmio", "-D", path }, { "log=exec:" .. path .. ";mmio:" .. path } } do
      os.remove(path)
      assert.equal(0, umbra.run({ "run", "riscv-virt", "guest=none", "firmware=none", kernel, unpack(words) }).code)
      local text = tree.read(path)
      assert.is_truthy(text:find("core   0: 3 0x0000000080000000 (", 1, true))
      assert.is_truthy(text:find("power+0x0 0x00005555", 1, true))
    end
    local result = umbra.run { "run", "riscv-virt", "guest=none", "firmware=none", kernel, "-d", "mmio" }
    assert.is_truthy(result.err:find "^mmio core   0: 0x%x+ <[^>]*> write 4 power%+0x0 0x00005555\n$")
  end)

  it("refuses what makes no sense", function()
    refuses(function() loop { log = "foo:x" } end, "log: unknown item `foo`; known: exec, int, mmu, mmio, dev")
    refuses(function() loop { log = "mmo:x" } end, "log: unknown item `mmo`, did you mean `mmu`%?")
    refuses(function() loop { log = "exec" } end, 'log = "exec": must be ITEMS:FILE, like exec,int:out.log; items: exec, int, mmu, mmio, dev')
    refuses(function() loop { log = ":x" } end, 'log = ":x": which items%? .*')
    refuses(function() loop { log = "exec:" } end, 'log = "exec:": must be ITEMS:FILE, .*')
    refuses(function() loop { log = "exec:/nothing/x" } end, "cannot open /nothing/x: No such file or directory")
    refuses(function() loop { log = "exec:" .. folder.path } end, "cannot open .*: Is a directory")
    local m = loop {}
    finally(function() m:close() end)
    refuses(function() m:log { exe = "x" } end, "log: unknown item `exe`, did you mean `exec`%?")
    refuses(function() m:log { exec = 5 } end, "log.exec must be a file or false, not 5")
    refuses(function() m:log { limit = "x" } end, "log.limit must be .*, not \"x\"")
    refuses(function() m:log(5) end, 'log takes text like "int:FILE" or a table like { int = "FILE" }, not 5')
    refuses(function() m.symbols:close() end, "this symbols belongs to a machine, which closes it")
    for _, row in ipairs { { "%-D goes with %-d ITEMS", "-D", "x" }, { "log: unknown item `foo`; .*", "-d", "foo" }, { "%-d: a value must follow", "-d" } } do
      local result = umbra.run { "run", "bare", "kernel=README.md", unpack(row, 2) }
      assert.equal(126, result.code)
      assert.is_truthy(result.err:find("umbra: " .. row[1] .. "\n$"), result.err)
    end
  end)
end)
