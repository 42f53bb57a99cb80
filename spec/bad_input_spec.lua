-- bad_input: what people and hosts get wrong is refused in one line that names it, with an exit code, and never a traceback.
-- SPDX-License-Identifier: MIT
local umbra = require "spec.support.umbra"

local folder

-- An ELF for RISC-V 64 with one segment, as text; `machine` and the like as bytes to put in place.
local function elf(patches)
  local text = "\127ELF\2\1\1" .. ("\0"):rep(9) .. "\2\0\243\0\1\0\0\0" .. "\0\0\0\128\0\0\0\0" .. "\64\0\0\0\0\0\0\0" .. ("\0"):rep(8)
    .. "\0\0\0\0" .. "\64\0\56\0\1\0\64\0\0\0\0\0" .. "\1\0\0\0\5\0\0\0" .. "\120\0\0\0\0\0\0\0" .. ("\0\0\0\128\0\0\0\0"):rep(2)
    .. "\4\0\0\0\0\0\0\0" .. "\4\0\0\0\0\0\0\0" .. "\0\16\0\0\0\0\0\0" .. "\111\0\0\0"
  for _, patch in ipairs(patches or {}) do text = text:sub(1, patch[1]) .. patch[2] .. text:sub(patch[1] + #patch[2] + 1) end
  return text
end

local FILES = {
  ["good.elf"]      = elf(),
  ["x86.elf"]       = elf { { 18, "\62" } },
  ["arm.elf"]       = elf { { 18, "\183" } },
  ["rv32.elf"]      = elf { { 4, "\1" }, { 40, "\0\0\0\0\52\0\32\0\0\0\40\0" } },
  ["high.elf"]      = elf { { 88, "\0\0\0\0\255\255\255\255" } },
  ["huge.elf"]      = elf { { 104, "\0\0\0\0\1" } },
  ["cut.elf"]       = elf():sub(1, 100),
  ["stub.elf"]      = elf():sub(1, 30),
  ["empty.bin"]     = "",
  ["image.gz"]      = "\31\139\8\0\0\0\0\0",
  ["big.bin"]       = ("x"):rep(3 * 2^20),
  ["syntax.lua"]    = "local machine = require 'umbra.machine'\nreturn machine { name = 'x',, }\n",
  ["runtime.lua"]   = "local t\nprint(t.x)\nreturn 1\n",
  ["nothing.lua"]   = "local x = 1\n",
  ["number.lua"]    = "return 42\n",
  ["forever.lua"]   = "local x = 0\nwhile true do x = x + 1 end\n",
  ["catches.lua"]   = "while true do\n  pcall(function() while true do end end)\nend\n",
  ["raises.lua"]    = "error({ 1, 2 })\n",
  ["multiline.lua"] = "error('one\\ntwo\\27[31m')\n",
  ["circle.lua"]    = "return require 'umbra.machine' { extends = 'circle.lua' }\n",
  ["require.lua"]   = "require 'umbra.no_such_module'\n",
  ["bytecode.lua"]  = string.dump(function() return 1 end),
}

-- A machine file made of `ram`, `map` and other lines of Lua.
local function machine(body)
  return "local machine, dev = require 'umbra.machine', require 'devices'\nlocal param = machine.param\nreturn machine {\n" .. body .. "\n}\n"
end

local RAM = "ram = { size = '16M' },"
local MACHINES = {
  ["noram.lua"]     = machine "cpu = {}",
  ["ramsize.lua"]   = machine "ram = { size = 12345 }",
  ["topkey.lua"]    = machine(RAM .. "\nmpa = {}"),
  ["isa.lua"]       = machine(RAM .. "\ncpu = { isa = 'rv64gcq' }"),
  ["zext.lua"]      = machine(RAM .. "\ncpu = { isa = 'rv64gc_zab' }"),
  ["rv32.lua"]      = machine(RAM .. "\ncpu = { isa = 'rv32gc' }"),
  ["tlb.lua"]       = machine(RAM .. "\ncpu = { tlb = { entries = 500 } }"),
  ["tlbkey.lua"]    = machine(RAM .. "\ncpu = { tlb = { way = 4 } }"),
  ["cpukind.lua"]   = machine(RAM .. "\ncpu = 'rv64gc'"),
  ["device.lua"]    = machine(RAM .. "\nmap = {\n{ at = 0, name = 'u', dev.ns16550 {} } }"),
  ["option.lua"]    = machine(RAM .. "\nmap = {\n{ at = 0, name = 'u', dev.ns16550a { iqr = 1 } } }"),
  ["overlap.lua"]   = machine(RAM .. "\nmap = {\n{ at = 0x1000, name = 'a', dev.syscon {} },\n{ at = 0x1800, name = 'b', dev.syscon {} } }"),
  ["overram.lua"]   = machine(RAM .. "\nmap = {\n{ at = 0x80100000, name = 'a', dev.syscon {} } }"),
  ["irq.lua"]       = machine(RAM .. "\nmap = {\n{ at = 0xc000000, name = 'plic', dev.plic { sources = 8 } },\n"
    .. "{ at = 0x1000, name = 'u', dev.ns16550a { irq = 9 } } }"),
  ["irq2.lua"]      = machine(RAM .. "\nmap = {\n{ at = 0xc000000, name = 'plic', dev.plic {} },\n"
    .. "{ at = 0x1000, name = 'u', dev.ns16550a { irq = 9 } },\n{ at = 0x2000, name = 'v', dev.ns16550a { irq = 9 } } }"),
  ["noplic.lua"]    = machine(RAM .. "\nmap = {\n{ at = 0x1000, name = 'u', dev.ns16550a { irq = 1 } } }"),
  ["twice.lua"]     = machine(RAM .. "\nmap = {\n{ at = 0x1000, name = 'u', dev.syscon {} },\n{ at = 0x3000, name = 'u', dev.syscon {} } }"),
  ["noat.lua"]      = machine(RAM .. "\nmap = {\n{ name = 'u', dev.syscon {} } }"),
  ["nodev.lua"]     = machine(RAM .. "\nmap = {\n{ at = 0x1000, name = 'u' } }"),
  ["noname.lua"]    = machine(RAM .. "\nmap = {\n{ at = 0x1000, dev.syscon {} } }"),
  ["rowkey.lua"]    = machine(RAM .. "\nmap = {\n{ at = 0x1000, nmae = 'u', dev.syscon {} } }"),
  ["console.lua"]   = machine(RAM .. "\nconsole = 'uart'"),
  ["bootkey.lua"]   = machine(RAM .. "\nboot = { kernal = 'x' }"),
  ["literal.lua"]   = machine(RAM .. "\nboot = { kernel = 'no_such.elf' }"),
  ["param.lua"]     = machine(RAM .. "\nname = param { 'x', typ = 'string' }"),
  ["takeout.lua"]   = machine "extends = 'riscv-virt',\nmap = { disk9 = false }",
  ["nobase.lua"]    = machine "extends = 'no_such_machine.lua'",
}

-- { words after `umbra run` (# is the folder), exit code, pattern the line must match }
local CASES = {
  { "#/no_such.lua", 127, "cannot open .*/no_such%.lua: No such file or directory" },
  { "#", 126, "cannot read /.*: Is a directory" },
  { "riscv-vrit", 127, "cannot open riscv%-vrit: No such file or directory, did you mean `riscv%-virt`%?" },
  { "#/syntax.lua", 126, "syntax%.lua:2: unexpected symbol near ','" },
  { "#/runtime.lua", 126, "runtime%.lua:2: attempt to index local 't'" },
  { "#/nothing.lua", 126, "nothing%.lua:1: the file returns nil: a machine file ends with `return machine {...}`" },
  { "#/number.lua", 126, "number%.lua:1: the file returns 42" },
  { "#/forever.lua", 126, "forever%.lua:2: still running after 5 seconds" },
  { "#/catches.lua", 126, "catches%.lua:[12]: still running after 5 seconds" },
  { "#/raises.lua", 126, "raises%.lua: raised a table" },
  { "#/multiline.lua", 126, "multiline%.lua:1: one; two" },
  { "#/circle.lua", 126, "circle%.lua:1: .*circle" },
  { "#/require.lua", 126, "require%.lua:1: module 'umbra%.no_such_module' not found" },
  { "#/bytecode.lua", 126, "bytecode%.lua" },
  { "#/good.elf", 126, "good%.elf:1: " },
  { "#/noram.lua", 126, "noram%.lua:%d: missing key `ram`" },
  { "#/ramsize.lua", 126, "ramsize%.lua:%d: `ram%.size` must be a multiple of 4K, not 12345" },
  { "#/topkey.lua", 126, "topkey%.lua:%d: unknown key `mpa`, did you mean `map`%?" },
  { "#/isa.lua", 126, "isa%.lua:%d: isa `rv64gcq`: unknown extension `q`; known: i, " },
  { "#/zext.lua", 126, "zext%.lua:%d: isa `rv64gc_zab`: unknown extension `zab`, did you mean `zba`%?" },
  { "#/rv32.lua", 126, "rv32%.lua:%d: isa `rv32gc`: must begin with rv64" },
  { "#/tlb.lua", 126, "tlb%.lua:%d: `cpu%.tlb%.entries` must be a power of two, not 500" },
  { "#/tlbkey.lua", 126, "tlbkey%.lua:%d: unknown key `cpu%.tlb%.way`" },
  { "#/cpukind.lua", 126, "cpukind%.lua:%d: `cpu` must be a table, not \"rv64gc\"" },
  { "#/device.lua", 126, "device%.lua:6: unknown device `dev%.ns16550`, did you mean `ns16550a`%?" },
  { "#/option.lua", 126, "option%.lua:6: unknown key `dev%.ns16550a%.iqr`, did you mean `irq`%?" },
  { "#/overlap.lua", 126, "overlap%.lua:7: map row `b` %(0x1800 to 0x27ff%) overlaps `a` %(0x1000 to 0x1fff%)" },
  { "#/overram.lua", 126, "overram%.lua:6: map row `a` .* overlaps `ram` %(0x80000000 to 0x80ffffff%)" },
  { "#/irq.lua", 126, "irq%.lua:7: map row `u`: irq = 9 is out of range: `plic` has inputs 1 to 8" },
  { "#/irq2.lua", 126, "irq2%.lua:8: map row `v`: irq = 9 is taken by `u`" },
  { "#/noplic.lua", 126, "noplic%.lua:6: map row `u`: irq = 1 needs an interrupt controller" },
  { "#/twice.lua", 126, "twice%.lua:%d: map row 2: there is a row named `u` already" },
  { "#/noat.lua", 126, "noat%.lua:%d: map row 1 %(`u`%): missing key `at`" },
  { "#/nodev.lua", 126, "nodev%.lua:%d: map row 1 %(`u`%): its device is missing" },
  { "#/noname.lua", 126, "noname%.lua:%d: missing key `map row 1%.name`" },
  { "#/rowkey.lua", 126, "rowkey%.lua:%d: unknown key `map row 1%.nmae`, did you mean `name`%?" },
  { "#/console.lua", 126, "console%.lua:%d: console = \"uart\"" },
  { "#/bootkey.lua", 126, "bootkey%.lua:%d: unknown key `boot%.kernal`, did you mean `kernel`%?" },
  { "#/literal.lua", 127, "kernel: cannot open .*/no_such%.elf: No such file or directory" },
  { "#/param.lua", 126, "param%.lua:%d: param `x`: unknown key `typ`, did you mean `type`%?" },
  { "#/takeout.lua", 126, "takeout%.lua:%d: map%.disk9 = false: there is no such row" },
  { "#/nobase.lua", 127, "nobase%.lua:%d: cannot open .*no_such_machine%.lua: No such file or directory" },

  { "machines/bare.lua", 126, "missing parameter `kernel`" },
  { "machines/bare.lua kernle=x", 126, "missing parameter `kernel`" },
  { "machines/bare.lua kernel=#/good.elf krnl=x", 126, "unknown parameter `krnl`, did you mean `kernel`%?" },
  { "machines/bare.lua kernel=#/no_such", 127, "kernel: cannot open .*/no_such: No such file or directory" },
  { "machines/bare.lua kernel=#", 126, "kernel: cannot read .*: Is a directory" },
  { "machines/bare.lua kernel=", 126, "kernel=: must be the path of a file" },
  { "machines/bare.lua kernel=#/empty.bin", 126, "kernel: .*/empty%.bin: empty file" },
  { "machines/bare.lua kernel=#/cut.elf", 126, "kernel: .*/cut%.elf: truncated ELF file" },
  { "machines/bare.lua kernel=#/stub.elf", 126, "kernel: .*/stub%.elf: truncated ELF file: 30 bytes" },
  { "machines/bare.lua kernel=#/x86.elf", 126, "kernel: .*/x86%.elf: not for RISC%-V 64: x86%-64" },
  { "machines/bare.lua kernel=#/arm.elf", 126, "kernel: .*/arm%.elf: not for RISC%-V 64: AArch64" },
  { "machines/bare.lua kernel=#/rv32.elf", 126, "kernel: .*/rv32%.elf" },
  { "machines/bare.lua kernel=/bin/ls", 126, "kernel: /bin/ls: not for RISC%-V 64" },
  { "machines/bare.lua kernel=#/image.gz", 126, "kernel: .*/image%.gz: compressed with gzip: unpack it first" },
  { "machines/bare.lua kernel=#/high.elf", 126, "kernel: .*/high%.elf: needs 4 bytes at 0xffffffff00000000, which do not all lie in RAM" },
  { "machines/bare.lua kernel=#/huge.elf", 126, "kernel: .*/huge%.elf: needs 4G bytes at 0x80000000" },
  { "machines/bare.lua kernel=#/big.bin ram=2M", 126, "kernel: .*/big%.bin: needs 3M bytes at 0x80000000, which do not all lie in RAM %(2M at 0x80000000%)" },
  { "machines/bare.lua kernel=#/good.elf signature=#/out", 126, "signature: .*/good%.elf has no symbols begin_signature and end_signature" },
  { "machines/bare.lua kernel=#/good.elf ram=0", 126, "ram=0: must be 1M to 1T" },
  { "machines/bare.lua kernel=#/good.elf ram=-1", 126, "ram=%-1: must be a size like" },
  { "machines/bare.lua kernel=#/good.elf ram=900T", 126, "ram=900T: must be 1M to 1T" },
  { "machines/bare.lua kernel=#/good.elf ram=lots", 126, "ram=lots: must be a size like" },
  { "machines/bare.lua kernel=#/good.elf ram=1234567", 126, "ram=1234567: must be a multiple of 4K" },
  { "machines/bare.lua kernel=#/good.elf ram=1G ram=2G", 126, "ram=2G: `ram` is given twice" },
  { "machines/bare.lua kernel=#/good.elf mmu=sv42", 126, "mmu=sv42: must be one of \"none\", \"sv39\", \"sv48\", \"sv57\"" },
  { "machines/bare.lua kernel=#/good.elf isa=rv64gc_zbx", 126, "isa `rv64gc_zbx`: unknown extension `zbx`, did you mean" },
  { "machines/bare.lua kernel=#/good.elf symbols=#/no_such", 127, "symbols: cannot open .*/no_such: No such file or directory" },
  { "machines/bare.lua kernel=#/good.elf symbols=#/runtime.lua", 126, "symbols: .*/runtime%.lua: no file with symbols" },
  { "machines/bare.lua kernel=#/good.elf symbols=/bin/ls", 126, "symbols: /bin/ls: " },
  { "machines/bare.lua kernel=#/good.elf log=;", 126, "log = \";\": must be ITEMS:FILE" },
  { "machines/bare.lua kernel=#/good.elf -x", 126, "unknown option `%-x`; known: " },
  { "machines/bare.lua kernel=#/good.elf --timeout", 126, "%-%-timeout: a value must follow" },
  { "machines/bare.lua kernel=#/good.elf --timeout soon", 126, "%-%-timeout soon: must be a number of seconds" },
  { "machines/bare.lua kernel=#/good.elf --timeout=-1", 126, "%-%-timeout %-1: must be a number of seconds" },
  { "machines/bare.lua kernel=#/good.elf --timeuot=1", 126, "unknown option `%-%-timeuot=1`, did you mean `%-%-timeout`%?" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf harts=1000000000", 126, "harts=1000000000: must be 1 to 8" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf -smp 9", 126, "harts=9: must be 1 to 8" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf tlb=500", 126, "tlb=500: must be a power of two" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf initrd=#/no_such", 127, "initrd: cannot open .*/no_such: No such file or directory" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf initrd=#/empty.bin", 126, "initrd: .*/empty%.bin: empty file" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf initrd=#/big.bin -m 2", 126, "initrd: .*/big%.bin: needs 3M bytes" },
  { "riscv-virt guest=none firmware=#/x86.elf kernel=#/good.elf", 126, "firmware: .*/x86%.elf: not for RISC%-V 64: x86%-64" },
  { "riscv-virt guest=none firmware=#/good.elf kernel=#/good.elf", 126, "kernel: .*/good%.elf lies at 0x80000000, over the firmware" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf drive=#/no_such", 127, "disk0: cannot open .*/no_such: No such file or directory" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf drive=#", 126, "disk0: .*" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf -drive file=#/big.bin,format=qcow2", 126, "%-drive format=qcow2: must be raw" },
  { "riscv-virt guest=none firmware=none kernel=#/good.elf -drive format=raw", 126, "%-drive format=raw: file= is missing" },
  { "riscv-virt guest=debain-riscv64", 126, "no guest `debain%-riscv64`" },
}

describe("bad input", function()
  setup(function()
    folder = umbra.folder(FILES)
    for name, text in pairs(MACHINES) do folder.write(name, text) end
  end)
  teardown(function() folder.remove() end)

  for _, case in ipairs(CASES) do
    it("is refused in one line: run " .. case[1], function()
      local words = { "run" }
      for word in case[1]:gmatch "%S+" do words[#words + 1] = (word:gsub("#", folder.path)) end
      if not case[1]:find "timeout" then words[#words + 1] = "--timeout=10" end
      local result = umbra.run(words)
      assert.equal("", result.out)
      assert.matches("^umbra: [^\n]+\n$", result.err)
      assert.is_truthy(result.err:find("^umbra: .*" .. case[3]), result.err)
      assert.is_nil(result.err:find "traceback")
      assert.is_nil(result.err:find "stack")
      assert.is_nil(result.err:find "lua/umbra/")
      assert.equal(case[2], result.code)
    end)
  end

  it("of the command itself is refused too", function()
    local result = umbra.run { "rnu" }
    assert.equal("umbra: unknown command `rnu`, did you mean `run`?\n", result.err)
    assert.equal(126, result.code)
    assert.equal(126, umbra.run({}).code)
  end)
end)
