-- ring: the last instructions of a hart: against its exec log, and printed when the guest comes to grief.
-- SPDX-License-Identifier: MIT
local bits    = require "umbra.bits"
local fetch   = require "umbra.fetch"
local machine = require "umbra.machine"
local refuses = require "spec.support.refuses"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local folder
setup(function() folder = umbra.folder() end)
teardown(function() folder.remove() end)

local number = 0
local function program(text)
  number = number + 1
  return umbra.assemble(text, ("%s/%d.elf"):format(folder.path, number))
end

local SUM = [[
  .globl _start, add, handler
  _start: la t0, handler
          csrw mtvec, t0
          li a0, 3
  1:      call add
          addi a0, a0, -1
          bnez a0, 1b
          .word 0
  add:    add a1, a1, a0
          ret
  .balign 4
  handler: j handler
]]

describe("the ring", function()
  it("has what was run, and the traps", function()
    local m = machine.load("bare", { kernel = program(SUM), ring = 100 })
    finally(function() m:close() end)
    assert.equal(0, #m:last())
    m:run { instructions = 24 }
    local texts = {}
    for i, entry in ipairs(m:last()) do texts[i] = ("%d %s %s"):format(entry.count, entry.name, entry.text) end
    assert.equal("0 _start auipc t0, 0", texts[1])
    assert.is_truthy(texts[3]:find "^2 _start%+0x%x+ csrrw zero, mtvec, t0$")
    for i = 0, 2 do                                -- call add, the addition, ret, addi, bnez
      for j, pattern in ipairs { "auipc ra", "jalr ra", " add c.add a1, a0", " add%+0x2 c.jr ra", "c.addi a0, %-1", "c.bnez a0, 0x" } do
        assert.is_truthy(texts[4 + 6 * i + j]:find(pattern), texts[4 + 6 * i + j])
      end
    end
    local last = m:last(3)
    assert.equal(3, #last)
    assert.same({ "exception", 2, "illegal instruction", 22, 1 }, { last[1].kind, last[1].cause, last[1].text, last[1].count, last[1].times })
    assert.same({ "instruction", "handler", "handler" }, { last[2].kind, last[2].name, last[2].goal })
    assert.is_truthy(tostring(last):find "^  @22 +800000%x%x:  exception 2 illegal instruction, tval 0x0  <_start%+0x%x+>\n")
    assert.is_truthy(tostring(last):find "jal? ?%w*,? ?0x%x+ <handler> +<handler>$" or tostring(last):find "c%.j 0x%x+ <handler> +<handler>$")
    m:reset()
    assert.equal(0, #m:last())
  end)

  it("of a kernel is what its exec log says, for each hart, and changes nothing", function()
    local guest = fetch.ensure "debian-riscv64"
    local options = { kernel = guest.kernel, initrd = guest.initrd, firmware = guest.firmware, clock = "virtual", harts = 2 }
    local hashes, path, want = {}, folder.path .. "/exec", {}
    for _, remembers in ipairs { 0, 2000 } do
      options.ring = remembers
      local m = machine.load("riscv-virt", options)
      m:run { instructions = 130000000 }
      if remembers == 0 then m:log { exec = path } end
      m:run { instructions = 40000 }
      hashes[#hashes + 1] = m:hash()
      if remembers == 0 then
        for line in io.lines(path) do
          local hart, pc, word = line:match "^core%s+(%d+): %d 0x(%x+) %(0x(%x+)%)"
          want[hart] = want[hart] or {}
          table.insert(want[hart], pc .. " " .. word)
        end
      else
        for i = 0, 1 do
          local list, mine = m:last(nil, i), want[tostring(i)] or {}
          local at = #mine
          for j = #list, 1, -1 do
            if at == 0 then break end
            local entry = list[j]
            if entry.kind == "instruction" then
              assert.equal(mine[at], ("%016x %s"):format(bits.u64(entry.pc), require("bit").tohex(entry.word, 2 * entry.length)))
              at = at - 1
            end
          end
          assert.is_true(#mine - at >= math.min(#mine, 1500))
        end
      end
      m:close()
    end
    assert.equal(hashes[1], hashes[2])
  end)

  it("is printed when the guest comes to grief, and only then", function()
    local hang = program ".globl _start\n_start: ld a0, 0(zero)\n"
    local fails = program ".globl _start\n_start: li a0, 0x33333\n li a1, 0x100000\n sw a0, 0(a1)\n1: j 1b\n"
    local fine = program ".globl _start\n_start: li a0, 0x5555\n li a1, 0x100000\n sw a0, 0(a1)\n1: j 1b\n"
    local function run(kernel, ...)
      return umbra.run { "run", "riscv-virt", "guest=none", "firmware=none", kernel, ... }
    end
    local result = run(hang, "ring=8", "--timeout=0.3")
    assert.equal(124, result.code)
    assert.is_truthy(result.err:find "^umbra: the guest's trap handler traps at once, for ever; what hart 0 did last:\n")
    assert.is_truthy(result.err:find "80000000:  exception 5 load access, tval 0x0  <_start>\n  @6 +0:  exception 1 fetch access, tval 0x0, %d+ times\n")
    assert.equal(1, select(2, result.err:gsub("did last", "")))
    result = run(fails, "ring=8")
    assert.equal(3, result.code)
    assert.is_truthy(result.err:find "^umbra: the guest exited with code 3; what hart 0 did last:\n.*c%.sw a0, 0%(a1%) +<_start%+0x%x+>\n$")
    assert.equal("", run(fails).err)
    assert.equal("", run(fine, "ring=8").err)
    local spin = program ".globl _start\n_start: j _start\n"
    local line = "[^\n]*<_start>[^\n]*\n"
    assert.is_truthy(run(spin, "ring=2", "--timeout=0.2").err:find("^umbra: timeout; what hart 0 did last:\n" .. line .. line .. "umbra: timeout: "))
  end)

  it("is printed when a device raises an error", function()
    local script = folder.write("bad.lua", ([[
      local device, machine = require "umbra.device", require "umbra.machine"
      local Bad = device { name = "bad", regs = { { at = 0, name = "x" } } }
      function Bad:write_x() error "no" end
      machine.build(machine { ring = 4, ram = { size = "1M" }, map = { { at = 0x10000000, name = "bad", Bad {} } }, boot = { kernel = %q } }):run {}
    ]]):format(program ".globl _start\n_start: li a0, 0x10000000\n sw a0, 0(a0)\n"))
    local result = umbra.run { "exec", script }
    assert.equal(126, result.code)
    assert.is_truthy(result.err:find("^umbra: an error ended the run; what hart 0 did last:\n" ..
      "  @0 +80000000:  10000537  lui a0, 0x10000 +<_start>\numbra: .*bad.lua:3: no\n$"), result.err)
  end)

  it("refuses what makes no sense", function()
    local kernel = program ".globl _start\n_start: j _start\n"
    refuses(function() machine.load("bare", { kernel = kernel, ring = -1 }) end, "ring=%-1: must be 0 to 1048576")
    refuses(function() machine.load("bare", { kernel = kernel, ring = "x" }) end, "ring=x: must be an integer")
    local m = machine.load("bare", { kernel = kernel })
    refuses(function() m:last() end, "last: this machine remembers no instructions %(ring = N has it remember N%)")
    m:close()
    local other = machine.load("bare", { kernel = kernel, ring = 5 })
    finally(function() other:close() end)
    refuses(function() other:last(3, 1) end, "last: hart must be 0 to 0, not 1")
    refuses(function() other:last(-1) end, "`count` must be a whole number from 0 to 1048576, not %-1")
  end)
end)

describe("counters", function()
  local function counted()
    return machine.load("bare", { kernel = program ".globl _start\n_start: la a0, x\n1: ld a1, 0(a0)\n j 1b\n.data\nx: .dword 0\n", harts = 2, engine = "t0" })
  end

  it("have differences, and begin anew", function()
    local m = counted()
    finally(function() m:close() end)
    m:run { instructions = 1000 }
    local before = m:counters()
    m:run { instructions = 500 }
    local now = m:counters()
    assert.equal(1500, now.instructions)
    assert.equal(500, now:since(before).instructions)
    assert.equal(now.accesses - before.accesses, now:since(before).accesses)
    assert.equal(now.blocks.alive, now:since(before).blocks.alive)
    assert.equal(500, now:since(before).harts.hart0.instructions + now:since(before).harts.hart1.instructions)
    assert.same({}, now:since(now).traps.exceptions)
    m:reset_counters()
    assert.equal(0, m:counters().instructions)
    m:run { instructions = 7 }
    assert.equal(7, m:counters().instructions)
    assert.is_true(m:counters().blocks.alive >= now.blocks.alive)
    refuses(function() m:counters():since {} end, "since: what m:counters%(%) gave earlier, not a table")
  end)

  it("of devices and traps too", function()
    local m = machine.load("riscv-virt", { guest = "none", firmware = "none",
      kernel = program ".globl _start\n_start: li a0, 0x10000000\n sb a0, 0(a0)\n la t0, 1f\n csrw mtvec, t0\n.balign 4\n1: ecall\n" })
    finally(function() m:close() end)
    m:run { instructions = 11 }
    m:reset_counters()
    m:run { instructions = 3 }
    local now = m:counters()
    assert.equal(0, now.mmio.devices.uart0.writes)
    assert.is_true(next(now.traps.exceptions) == nil or now.traps.exceptions["ecall from machine"] > 0)
  end)
end)

describe("the map of a machine", function()
  it("is data and text", function()
    local m = machine.load("riscv-virt", { guest = "none", firmware = "none",
      kernel = program ".globl _start\n_start: li a0, 0x10000000\n sb a0, 0(a0)\n1: j 1b\n" })
    finally(function() m:close() end)
    m:run { instructions = 20 }
    local rows = {}
    for _, row in ipairs(m:map()) do rows[row.name] = row end
    assert.same({ at = 0x10000000, size = 256, name = "uart0", kind = "mmio", reads = 0, writes = 1 }, rows.uart0)
    assert.same({ "ram", 0x80000000, 2^29 }, { rows.ram.kind, rows.ram.at, rows.ram.size })
    assert.equal("rom", rows.mrom.kind)
    assert.is_truthy(tostring(m:map()):find("0x000010000000  0x0000100000ff  mmio  uart0        0 reads, 1 writes\n", 1, true))
  end)

  it("and its device tree are written by the command", function()
    local kernel, tree_file = program ".globl _start\n_start: j _start\n", folder.path .. "/t.dtb"
    local shown = umbra.run { "run", "riscv-virt", "guest=none", "firmware=none", kernel, "--map", "--dtb=" .. tree_file }
    assert.equal(0, shown.code, shown.err)
    assert.is_truthy(shown.out:find("0x000080000000  0x00009fffffff  ram   ram          512M\n", 1, true))
    assert.equal("\208\13\254\237", tree.read(tree_file):sub(1, 4))
    local refused = umbra.run { "run", "riscv-virt", "guest=none", "firmware=none", kernel, "--dtb=/nothing/x" }
    assert.same({ 126, "umbra: --dtb: cannot open /nothing/x: No such file or directory\n" }, { refused.code, refused.err })
    assert.equal(125, umbra.run({ "run", "riscv-virt", "guest=none", "firmware=none", kernel, "--dtb=/dev/full" }).code)
  end)
end)
