-- run: the command as a user meets it: pipes, a terminal, signals, exit codes.
-- SPDX-License-Identifier: MIT
local lfs   = require "lfs"
local tree  = require "spec.support.tree"
local umbra = require "spec.support.umbra"

local folder, programs, serial

-- Answers each byte with itself plus one, after "go"; "x" ends it with exit code 7 through the finisher, "r" resets the machine.
local NEXT = [[
        .globl _start
_start: lui   s0, 0x10000
        lui   s1, 0x100
        li    t1, 'g'
        sb    t1, 0(s0)
        li    t1, 'o'
        sb    t1, 0(s0)
read:   lbu   t0, 5(s0)
        andi  t0, t0, 1
        beqz  t0, read
        lbu   t1, 0(s0)
        li    t2, 'x'
        beq   t1, t2, fail
        li    t2, 'r'
        beq   t1, t2, reset
        addi  t1, t1, 1
        sb    t1, 0(s0)
        j     read
fail:   li    t1, 0x73333
        sw    t1, 0(s1)
reset:  li    t1, 0x7777
        sw    t1, 0(s1)
1:      j     1b
]]

local FLOOD = ".globl _start\n_start: lui s0, 0x10000\n li t1, 'y'\n1: sb t1, 0(s0)\n j 1b\n"
local IDLE = ".globl _start\n_start: lui s0, 0x10000\n li t1, '.'\n sb t1, 0(s0)\n1: wfi\n j 1b\n"

local function htif(code)
  return ([[
        .globl _start, tohost
_start: li    a0, %d
        la    a1, tohost
        sd    a0, 0(a1)
1:      j     1b
        .data
        .balign 64
tohost: .dword 0
]]):format(code)
end

-- SYS_WRITE0 and SYS_EXIT_EXTENDED of semihosting.
local SEMIHOSTING = [[
        .globl _start
_start: li    a0, 4
        la    a1, text
        jal   call
        li    a0, 0x20
        la    a1, block
        jal   call
        .balign 16
call:   .option push
        .option norvc
        slli  x0, x0, 0x1f
        ebreak
        srai  x0, x0, 7
        .option pop
        ret
        .balign 8
block:  .dword 0x20026, 9
text:   .asciz "semihosting says hello\n"
]]

-- Jumps to an address where nothing is, with the trap vector there too: traps for ever.
local NOWHERE = ".globl _start\n_start: li t0, 0x40000000\n csrw mtvec, t0\n jr t0\n"

-- Stores to pseudo-random offsets of every device of riscv-virt, all widths, through a trap vector that skips what faults.
local MMIO = [[
        .globl _start
_start: la    t0, skip
        csrw  mtvec, t0
        li    s0, 12345
        li    s1, 200000
        la    s2, bases
loop:   li    t0, 1103515245
        mul   s0, s0, t0
        addi  s0, s0, 1234
        srli  t0, s0, 20
        andi  t1, t0, 7
        slli  t1, t1, 3
        add   t1, t1, s2
        ld    t1, 0(t1)
        srli  t0, t0, 3
        li    t2, 0xfff
        and   t0, t0, t2
        add   t1, t1, t0
        sb    s0, 0(t1)
        sh    s0, 0(t1)
        sw    s0, 0(t1)
        sd    s0, 0(t1)
        lbu   t2, 0(t1)
        lw    t2, 0(t1)
        ld    t2, 0(t1)
        addi  s1, s1, -1
        bnez  s1, loop
        lui   t0, 0x100
        li    t1, 0x5555
        sw    t1, 0(t0)
1:      j     1b
        .balign 4
skip:   csrr  t6, mepc
        lhu   t5, 0(t6)
        andi  t5, t5, 3
        addi  t6, t6, 2
        li    t4, 3
        bne   t5, t4, 2f
        addi  t6, t6, 2
2:      csrw  mepc, t6
        mret
        .balign 8
bases:  .dword 0x101000, 0x2000000, 0xc000000, 0xc200000, 0x10000000, 0x10002000, 0x10003000, 0x1000
]]

setup(function()
  folder = umbra.folder()
  programs = {}
  for name, text in pairs { next = NEXT, flood = FLOOD, idle = IDLE, pass = htif(1), fail = htif(2 * 3 + 1), far = htif(2 * 512 + 1), semi = SEMIHOSTING,
    nowhere = NOWHERE, mmio = MMIO } do
    programs[name] = umbra.assemble(text, folder.path .. "/" .. name .. ".elf")
  end
  serial = folder.write("serial.lua", [[
    local machine, dev = require "umbra.machine", require "devices"
    return machine {
      ram = { size = "1M" },
      map = { { at = 0x100000, name = "power", dev.syscon {} }, { at = 0x10000000, name = "uart0", dev.ns16550a {} } },
      boot = { kernel = machine.param "kernel" },
    }
  ]])
end)
teardown(function() folder.remove() end)

-- Shell text that waits until process `pid` ("$pid") listens for signals: a shell starts it deaf to Ctrl-C and Ctrl-\.
local function listening(pid)
  return ('for i in $(seq 200); do case "$(ls -l /proc/%s/fd 2> /dev/null)" in *signalfd*) break; esac; sleep 0.05; done; sleep 0.1'):format(pid)
end

-- Starts `command` in the background through a shell, sends it `signal` once it listens, and returns its exit code.
local function signalled(command, signal)
  local _, code = tree.run(("%s & pid=$!; %s; kill -%s $pid; wait $pid"):format(command, listening "$pid", signal))
  return code
end

describe("the exit code", function()
  it("is the guest's", function()
    assert.equal(0, umbra.run({ "run", "machines/bare.lua", "kernel=" .. programs.pass }).code)
    assert.equal(3, umbra.run({ "run", "machines/bare.lua", "kernel=" .. programs.fail }).code)
    assert.equal(255, umbra.run({ "run", "machines/bare.lua", "kernel=" .. programs.far }).code)
    assert.equal(7, umbra.run({ "run", serial, "kernel=" .. programs.next }, { input = "x" }).code)
  end)

  it("is that of the fetch when the guest cannot be had, in one line", function()
    local result = umbra.run({ "run", "riscv-virt" }, { env = "XDG_CACHE_HOME=/proc" })
    assert.equal(127, result.code)
    assert.equal("umbra: cannot fetch debian-riscv64: cannot make /proc/umbra: no such file or folder\n", result.err)
    assert.equal("", result.out)
  end)

  it("is 124 after a timeout, in one line", function()
    local result = umbra.run { "run", serial, "kernel=" .. programs.idle, "--timeout", "0.3" }
    assert.equal(124, result.code)
    assert.equal(".", result.out)
    assert.equal("umbra: timeout: the guest still ran after 0.3 seconds\n", result.err)
  end)

  it("is 128 + n after a signal, also while the guest sleeps or prints", function()
    for _, program in ipairs { "idle", "next", "flood", "nowhere" } do
      for signal, code in pairs { INT = 130, QUIT = 131, TERM = 143, HUP = 129 } do
        assert.equal(code, signalled(("build/umbra run %s kernel=%s > /dev/null 2>&1 < /dev/null"):format(serial, programs[program]), signal))
      end
    end
  end)

  it("is 128 + n too when nobody reads what the guest prints", function()
    local command = ("{ build/umbra run %s kernel=%s & echo $! > %s/pid; wait $!; echo $? > %s/code; } | sleep 2")
      :format(serial, programs.flood, folder.path, folder.path)
    tree.run(("( %s ) & sleep 0.3; %s; kill -TERM $(cat %s/pid); wait"):format(command, listening("$(cat " .. folder.path .. "/pid)"), folder.path))
    assert.equal("143\n", tree.read(folder.path .. "/code"))
  end)

  it("is 141 when the reader of the console goes away", function()
    tree.run(("{ build/umbra run %s kernel=%s; echo $? > %s/code; } | head -c 1000 > %s/out")
      :format(serial, programs.flood, folder.path, folder.path))
    assert.equal("141\n", tree.read(folder.path .. "/code"))
    assert.equal(("y"):rep(1000), tree.read(folder.path .. "/out"))
  end)

  it("fails in one line, whatever the command, when standard output takes no more", function()
    for _, words in ipairs { { "--help" }, { "run", "--help" }, { "dis", "13", "93" }, { "asm", "nop" }, { "bench", "--list" }, { "doctor" } } do
      local result = umbra.run(words, { after = "> /dev/full" })
      assert.equal("umbra: standard output takes no more: No space left on device, or an error\n", result.err)
      assert.equal(125, result.code, table.concat(words, " "))
    end
    local _, code = require("spec.support.tree").run "bash -c '(sleep 0.5; exec build/umbra run --help) | head -n 0; exit ${PIPESTATUS[0]}'"
    assert.equal(141, code)
  end)

  it("is 125 when the console's file takes no more", function()
    local result = umbra.run({ "run", serial, "kernel=" .. programs.flood }, { after = "> /dev/full" })
    assert.equal(125, result.code)
    assert.matches("^umbra: standard output takes no more", result.err)
  end)
end)

describe("pipes", function()
  it("carry bytes both ways, whatever they are", function()
    local input = "ab\1c\0\255\1\1"
    local result = umbra.run({ "run", serial, "kernel=" .. programs.next }, { input = input .. "x" })
    assert.equal("gobc\2d\1\0\2\2", result.out)
    assert.equal("", result.err)
    assert.equal(7, result.code)
  end)

  it("carry more than any buffer holds, and lose nothing", function()
    local input = ("abcdefgh"):rep(20000)
    local result = umbra.run({ "run", serial, "kernel=" .. programs.next }, { input = input .. "x" })
    assert.is_true(result.out == "go" .. ("bcdefghi"):rep(20000))
    assert.equal(7, result.code)
  end)

  it("may be closed", function()
    for _, closing in ipairs { "< /dev/null", "<&-", "<&- 2>&-" } do
      local result = umbra.run({ "run", serial, "kernel=" .. programs.idle, "--timeout=0.3" }, { after = closing })
      assert.equal(".", result.out)
      assert.equal(124, result.code)
    end
    assert.equal(124, umbra.run({ "run", serial, "kernel=" .. programs.idle, "--timeout=0.3" }, { after = ">&-" }).code)
  end)

  it("show output at once", function()
    local file = folder.path .. "/prompt"
    local start = ("build/umbra run %s kernel=%s < /dev/null > %s & pid=$!; sleep 0.6"):format(serial, programs.idle, file)
    local _, code = tree.run(("( %s; grep -q '^[.]$' %s; code=$?; kill $pid; exit $code )"):format(start, file))
    assert.equal(0, code)
  end)

  it("cost no host time while the guest sleeps", function()
    local command = ("build/umbra run %s kernel=%s --timeout 2 < /dev/null > /dev/null 2>&1"):format(serial, programs.idle)
    local text = tree.run(("bash -c 'TIMEFORMAT=%%U; time %s'"):format(command))
    local seconds = tonumber(text:match "([%d.]+)")
    assert.is_true(seconds < 0.5, "used " .. tostring(seconds) .. " s")
  end)
end)

describe("a terminal", function()
  -- Runs `command` on a pseudo-terminal where `input` (shell text that prints) is typed; returns what the terminal showed.
  local function on_terminal(command, input)
    -- Under a sanitizer everything takes longer, the start above all.
    if os.getenv "LD_PRELOAD" then input = input:gsub("sleep ([%d.]+)", function(seconds) return "sleep " .. seconds * 5 end) end
    local shown = folder.path .. "/shown"
    tree.run(("( %s ) | TERM=dumb script -qefc %s %s > /dev/null"):format(input, umbra.quote("stty -a > " .. folder.path .. "/before; " .. command
      .. "; echo code=$?; stty -a > " .. folder.path .. "/after"), shown))
    return tree.read(shown)
  end

  local function check_restored()
    assert.equal(tree.read(folder.path .. "/before"), tree.read(folder.path .. "/after"))
  end

  it("is raw: keys reach the guest one by one, Ctrl-C too, and Ctrl-A x ends the run", function()
    local shown = on_terminal(("build/umbra run %s kernel=%s"):format(serial, programs.next),
      [[sleep 0.5; printf 'a'; sleep 0.2; printf '\003'; sleep 0.2; printf '\001\001'; sleep 0.2; printf '\001x'; sleep 0.3]])
    assert.is_truthy(shown:find("gob\4\2code=0", 1, true), shown)
    check_restored()
  end)

  it("shows help with Ctrl-A h", function()
    local shown = on_terminal(("build/umbra run %s kernel=%s"):format(serial, programs.next),
      [[sleep 0.5; printf '\001h'; sleep 0.2; printf '\001x'; sleep 0.3]])
    assert.matches("Ctrl%-A x    end the run", shown)
    check_restored()
  end)

  it("ends the run with Ctrl-A x when the guest reads nothing", function()
    local shown = on_terminal(("build/umbra run %s kernel=%s"):format(serial, programs.nowhere), [[sleep 0.5; printf 'abc\001x'; sleep 0.3]])
    assert.matches("code=0", shown)
    check_restored()
  end)

  it("is restored after a timeout, a signal, and the guest's own end", function()
    assert.matches("code=124", on_terminal(("build/umbra run %s kernel=%s --timeout 0.5"):format(serial, programs.idle), "sleep 1"))
    check_restored()
    assert.matches("code=143", on_terminal(("timeout --foreground 0.5 build/umbra run %s kernel=%s; code=$?; [ $code = 124 ] && (exit 143)")
      :format(serial, programs.idle), "sleep 1"))
    check_restored()
    assert.matches("code=7", on_terminal(("build/umbra run %s kernel=%s"):format(serial, programs.next), [[sleep 0.5; printf 'x'; sleep 0.3]]))
    check_restored()
  end)
end)

describe("a guest", function()
  it("that resets the machine starts again", function()
    local keys = "(printf a; sleep 0.4; printf r; sleep 0.4; printf b; sleep 0.4; printf r; sleep 0.4; printf x)"
    local text = tree.run(("%s | build/umbra run %s kernel=%s; echo $?"):format(keys, serial, programs.next))
    assert.equal("gobgocgo7\n", text)
  end)

  it("may print and leave through semihosting", function()
    local result = umbra.run { "run", "machines/bare.lua", "kernel=" .. programs.semi }
    assert.equal("semihosting says hello\n", result.out)
    assert.equal(9, result.code)
  end)

  it("that jumps to nowhere and traps for ever is a guest that runs", function()
    local result = umbra.run { "run", "machines/bare.lua", "kernel=" .. programs.nowhere, "--timeout", "0.5" }
    assert.equal(124, result.code)
    assert.equal("", result.out)
  end)

  it("that writes all over the devices does no harm to the host", function()
    local result = umbra.run({ "run", "riscv-virt", "guest=none", "firmware=none", "kernel=" .. programs.mmio }, { seconds = 60 })
    assert.equal("", result.err)
    assert.equal(0, result.code)
  end)
end)

describe("the words of other emulators", function()
  it("mean the same", function()
    local result = umbra.run { "run", "riscv-virt", "guest=none", "-bios", "none", "-m", "64", "-kernel", programs.idle, "-smp", "1", "-nographic",
      "-append", "a=b c", "--timeout", "0.3" }
    assert.equal(124, result.code)
    assert.equal(".", result.out)
    local disk = folder.write("disk.img", ("d"):rep(4096))
    assert.equal(124, umbra.run({ "run", "riscv-virt", "guest=none", "-bios", "none", "-kernel", programs.idle, "-drive", "file=" .. disk .. ",format=raw",
      "--timeout", "0.3" }).code)
    assert.equal(0, umbra.run({ "run", "machines/bare.lua", "--isa=rv64gc", programs.pass }).code)
  end)

  it("are spike's for signatures", function()
    local path = umbra.assemble(htif(1):gsub("tohost: %.dword 0", "%0\n.globl begin_signature, end_signature\nbegin_signature: .word 1, 2\nend_signature:"),
      folder.path .. "/signed.elf")
    local file = folder.path .. "/signature"
    local result = umbra.run { "run", "machines/bare.lua", "+signature=" .. file, "+signature-granularity=4", path }
    assert.equal(0, result.code)
    assert.equal("00000001\n00000002\n", tree.read(file))
  end)
end)

describe("--stats", function()
  it("prints what was counted", function()
    local result = umbra.run { "run", "machines/bare.lua", "kernel=" .. programs.pass, "--stats" }
    assert.matches("\ninstructions +%d+\n", result.err)
    local as_json = umbra.run { "run", "machines/bare.lua", "kernel=" .. programs.pass, "--stats", "--json" }
    local counts = require("cjson").decode(as_json.err)
    assert.is_true(counts.instructions > 2)
    assert.is_number(counts.tlb.misses.read)
    assert.is_number(counts.mmio.devices.clint.reads)
  end)
end)

describe("umbra exec", function()
  it("runs a script with its arguments, and gives its exit code", function()
    local path = folder.write("script.lua", 'local units = require "umbra.units"\nprint(arg[1], ..., units.MiB(1))\nreturn 5\n')
    local result = umbra.run { "exec", path, "one" }
    assert.equal("one\tone\t1048576\n", result.out)
    assert.equal(5, result.code)
  end)

  it("shows in one line where a script went wrong", function()
    local path = folder.write("wrong.lua", 'local machine = require "umbra.machine"\nlocal m = machine.load("bare", { kernel = "/nowhere" })\n')
    local result = umbra.run { "exec", path }
    assert.is_truthy(result.err:find("wrong.lua:2: kernel: cannot open /nowhere: No such file or directory\n", 1, true), result.err)
    assert.equal(127, result.code)
    assert.equal(127, umbra.run({ "exec", "/nowhere.lua" }).code)
  end)

  it("shows where it came from with UMBRA_TRACE=1", function()
    local path = folder.write("trace.lua", "local t\nprint(t.x)\n")
    assert.is_nil(umbra.run({ "exec", path }).err:find "traceback")
    assert.matches("traceback", umbra.run({ "exec", path }, { env = "UMBRA_TRACE=1" }).err)
  end)
end)

describe("the command", function()
  it("says its version and what there is", function()
    assert.matches("^umbra %d+%.%d+", umbra.run({ "--version" }).out)
    local help = umbra.run { "help" }
    assert.equal(0, help.code)
    assert.matches("\n  run +run a machine file\n", help.out)
    for line in help.out:gmatch "\n  (%w+)" do assert.is_truthy(lfs.attributes("lua/cmd/" .. line .. ".lua"), line) end
  end)

  it("lists a machine's parameters", function()
    local result = umbra.run { "run", "machines/bare.lua", "--help" }
    assert.equal(0, result.code)
    assert.matches("\n  ram +size +guest memory %[128M%]\n", result.out)
    assert.matches("\n  kernel +path +ELF file or raw bytes to run %(required%)\n", result.out)
    assert.equal(result.out, umbra.run({ "help", "run", "machines/bare.lua" }).out)
  end)
end)
