-- gdb: the server as gdb-multiarch sees it.
-- SPDX-License-Identifier: MIT
local host    = require "umbra.host"
local machine = require "umbra.machine"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local folder
setup(function() folder = umbra.folder() end)
teardown(function() folder.remove() end)

local open = {}                                   -- machines to be closed after each test
after_each(function()
  for _, m in ipairs(open) do m:close() end
  open = {}
end)

-- Reads what it may, and does what a user does; each p checks that it came so far.
local KERNEL = [[
set pagination off
set confirm off
file @names
target remote @socket
break start_kernel
continue
stepi
stepi
p/x $pc
p/x $satp
p/x $sstatus
info registers priv
x/s (char *)&linux_banner
watch *(int *)&system_state
continue
delete
hbreak *sched_init_smp
continue
info threads
monitor m.harts * 11
detach
]]

-- gdb-multiarch with the script `text` in the background, while step() runs; what it printed.
local function with_gdb(text, step)
  local script, output = folder.write("script", text), folder.path .. "/output"
  os.execute(("(env -u LD_PRELOAD timeout 60 gdb-multiarch -q -nx -batch -x %s > %s 2>&1; echo over >> %s) &"):format(script, output, output))
  local deadline = host.seconds() + 60
  repeat
    step()
    local printed = tree.exists(output) and tree.read(output) or ""
    if printed:find "over\n$" then return printed end
  until host.seconds() > deadline
  error "gdb-multiarch does not come to an end"
end

local function in_order(printed, patterns)
  local at = 1
  for _, pattern in ipairs(patterns) do
    local _, last = printed:find(pattern, at)
    if not last then error(("no %s in what gdb printed from byte %d on:\n%s"):format(pattern, at, printed)) end
    at = last + 1
  end
end

describe("gdb-multiarch", function()
  -- A variable that is stored, loaded, and changed by an atomic instruction.
  local WATCHED = [[
        .globl _start, var, again
_start: la    t0, var
        li    t1, 5
again:  addi  t1, t1, 1
        sd    t1, 0(t0)
        ld    t2, 0(t0)
        amoadd.d t3, t1, (t0)
        sd    t1, 8(t0)
        j     again
        .data
        .balign 8
var:    .dword 1, 0
]]

  for _, steps in ipairs { "by breakpoints", "by the server" } do
    it("shows old and new values of what it watches, stepping " .. steps, function()
      local path = umbra.assemble(WATCHED, folder.path .. "/watched.elf")
      local m = machine.load("machines/bare.lua", { kernel = path })
      open[#open + 1] = m
      m:gdb { path = folder.path .. "/watched.sock", wait = true }
      local script = "set osabi " .. (steps == "by the server" and "none" or "GNU/Linux") .. "\nset pagination off\nfile " .. path ..
        "\ntarget remote " .. m.debugger.place .. "\nset confirm off\n" .. [[
watch *(long *)&var
continue
p $pc
continue
p $pc
delete
rwatch *(long *)&var
continue
p $pc
delete
awatch *(long *)&var
continue
p $pc
kill
]]
      in_order(with_gdb(script, function() m:run { timeout = 0.05 } end), {
        "Old value = 1\nNew value = 6\n", "<again%+6>", "Old value = 6\nNew value = 12\n", "<again%+14>",
        "read watchpoint", "Value = 7\n", "<again%+10>", "access", "Old value = 7\nNew value = 14\n", "<again%+14>", "killed",
      })
      assert.same({ reason = "exit", code = 137 }, m.ended)
    end)
  end

  it("debugs a kernel that boots, and no byte of it differs", function()
    require("umbra.fetch").ensure("debian-riscv64", {})
    local function boot()
      local m = machine.load("riscv-virt", { harts = 4, clock = "virtual", append = "console=ttyS0 mode=off" })
      open[#open + 1] = m
      return m
    end
    local m, path = boot(), folder.path .. "/kernel.sock"
    local names = folder.write("names.elf", m.symbols:elf())
    m:run { instructions = 2^20 }                              -- it has begun
    m:gdb { path = path, wait = true }
    local printed = with_gdb(KERNEL:gsub("@names", names):gsub("@socket", path), function() m:run { instructions = 2^20, timeout = 1 } end)
    local start = ("0x%x"):format(m.symbols:address "start_kernel")
    local harts = {}
    for i = 0, 3 do harts[i + 1] = ("Thread 1.%d %%(hart %d, %%a+"):format(i + 1, i) end
    in_order(printed, { "hit Breakpoint 1, " .. start .. " in start_kernel", "= 0xffffffff80%x+\n", "= 0x9%x+\n", "= 0x2%x+\n",
      "priv .*%[Supervisor%]", '"Linux version 6', "hit Hardware watchpoint 2: .-Old value = 0\nNew value = 1\n", "hit Breakpoint 3, .- in sched_init_smp",
      harts[1], harts[2], harts[3], harts[4], "\n44\n", "detached" })
    local other = boot()
    other:run { instructions = m:counters().instructions }
    assert.equal(m:counters().instructions, other:counters().instructions)
    assert.equal(other:hash(), m:hash())
  end)
end)

describe("the page about gdb", function()
  it("has an example that works", function()
    local text = tree.read("docs/gdb.md"):match("\n```lua\n(.-)```"):gsub("timeout = 3600", "timeout = 0.02")
    local result = umbra.run { "exec", folder.write("example.lua", text) }
    assert.equal("", result.err)
    assert.is_truthy(result.out:find "^target remote 127%.0%.0%.1:%d+\n$")
  end)
end)
