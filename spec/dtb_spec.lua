-- dtb: device trees, read back by dtc, which warns about what bindings forbid.
-- SPDX-License-Identifier: MIT
local dtb     = require "umbra.dtb"
local machine = require "umbra.machine"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

-- The source dtc makes of `bytes`; fails the spec when it warns.
local function decompile(bytes)
  local folder = umbra.folder { ["t.dtb"] = bytes }
  finally(folder.remove)
  local warnings, code = tree.run(("dtc -q -I dtb -O dts -o %s/t.dts %s/t.dtb"):format(folder.path, folder.path))
  assert.equal("", warnings)
  assert.equal(0, code)
  warnings = tree.run(("dtc -I dtb -O dts -o /dev/null %s/t.dtb"):format(folder.path))
  assert.equal("", warnings)
  return tree.read(folder.path .. "/t.dts")
end

describe("the writer", function()
  it("writes cells, strings, 64-bit values and empty properties", function()
    local bytes = dtb.new():begin "":prop("#address-cells", 2):prop("#size-cells", 1):prop("cells", 1, 0x80000000, 0xffffffff)
      :prop("texts", "a", "bc"):prop("mixed", 7, "x"):bytes "empty":bytes("raw", "\1\2\3"):bytes("wide", dtb.wide(0x123456789abc))
      :begin "child":prop("deep", 1):finish_node():finish_node():close()
    local text = decompile(bytes)
    assert.matches("cells = <0x01 0x80000000 0xffffffff>;", text, 1, true)
    assert.matches([[texts = "a\0bc";]], text, 1, true)
    assert.matches("empty;", text, 1, true)
    assert.matches("raw = [01 02 03];", text, 1, true)
    assert.matches("wide = <0x1234 0x56789abc>;", text, 1, true)
    assert.matches("child {\n\t\tdeep = <0x01>;", text, 1, true)
  end)

  it("refuses a tree that is too large, and one that is not finished", function()
    local t = dtb.new():begin ""
    assert.has_error(function() t:close() end)
    assert.error_matches(function() t:bytes("big", ("x"):rep(70000)) end, "device tree: FDT_ERR_NOSPACE")
  end)
end)

describe("the tree of riscv-virt", function()
  local m

  before_each(function()
    m = machine.load("riscv-virt", { firmware = "none", guest = "none", ram = "256M", append = "console=ttyS0 quiet" })
  end)
  after_each(function() m:close() end)

  it("is one that dtc has nothing against, and says what the map says", function()
    local text = decompile(m:dtb())
    for _, part in ipairs {
      'bootargs = "console=ttyS0 quiet";', 'stdout-path = "/soc/serial@10000000";', "memory@80000000 {", "reg = <0x00 0x80000000 0x00 0x10000000>;",
      'riscv,isa-base = "rv64i";', 'mmu-type = "riscv,sv48";', "timebase-frequency = <0x989680>;", "test@100000 {",
      [[compatible = "sifive,test1\0sifive,test0\0syscon";]], "rtc@101000 {", 'compatible = "google,goldfish-rtc";', "clint@2000000 {",
      "interrupts-extended = <0x02 0x03 0x02 0x07>;", "plic@c000000 {", "interrupts-extended = <0x02 0x0b 0x02 0x09>;",
      "riscv,ndev = <0x5f>;", "serial@10000000 {", "interrupts = <0x0a>;", 'compatible = "ns16550a";', "virtio_mmio@10002000 {",
      'compatible = "virtio,mmio";', 'compatible = "syscon-poweroff";', "value = <0x5555>;", 'compatible = "syscon-reboot";', "value = <0x7777>;",
    } do
      assert.is_truthy(text:find(part, 1, true), part .. " is missing in\n" .. text)
    end
    assert.is_nil(text:find("virtio_mmio@10001000", 1, true))           -- no drive, no disk
    assert.is_nil(text:find("initrd", 1, true))
  end)

  it("lies in guest memory where a1 will point", function()
    assert.equal(0x8fe00000, m.plan.tree)
    assert.equal(m:dtb(), m.mem:read(m.plan.tree, #m:dtb()))
    assert.equal(m.plan.tree, tonumber(m.mem:load(0x1020, 8)))     -- the reset vector's word for a1
  end)

  it("has another seed for every machine, unless it is given one", function()
    local function seed_of(given)
      local other = machine.load("riscv-virt", { firmware = "none", guest = "none", seed = given })
      local seed = decompile(other:dtb()):match "rng%-seed = <([^>]*)>"
      other:close()
      return seed
    end
    assert.equal(seed_of "7", seed_of "7")
    assert.are_not.equal(seed_of "7", seed_of "8")
    assert.are_not.equal(seed_of(), seed_of())
  end)
end)
