-- gdb: the server as a client of its own sees it: packets, points, steps, threads, and that no guest byte differs because of them.
-- SPDX-License-Identifier: MIT
local dev     = require "devices"
local host    = require "umbra.host"
local machine = require "umbra.machine"
local packet  = require "umbra.gdb.packet"
local refuses = require "spec.support.refuses"
local socket  = require "umbra.socket"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local SOAK = os.getenv "UMBRA_SOAK" == "1"

-- Every hart adds to a word of its own, makes an environment call each time, and has timer interrupts.
local PROGRAM = [[
        .globl _start, again, load, sums, traps, ticks
_start: csrr  s1, mhartid
        la    t0, traps
        csrw  mtvec, t0
        lui   s2, 0x2004
        slli  t0, s1, 3
        add   s2, s2, t0
        la    s3, sums
        add   s3, s3, t0
        la    s4, ticks
        add   s4, s4, t0
        li    s5, 50
        sd    s5, 0(s2)
        li    t0, 128
        csrw  mie, t0
        csrsi mstatus, 8
again:  ld    t0, 0(s3)
        addi  t0, t0, 1
load:   sd    t0, 0(s3)
        ecall
        j     again
        .balign 4
traps:  csrr  t1, mcause
        bltz  t1, 2f
        csrr  t1, mepc
        addi  t1, t1, 4
        csrw  mepc, t1
        mret
2:      ld    t2, 0(s4)
        addi  t2, t2, 1
        sd    t2, 0(s4)
        ld    t1, 0(s2)
        addi  t1, t1, 50
        sd    t1, 0(s2)
        mret
        .data
        .balign 8
sums:   .zero 64
ticks:  .zero 64
]]

local folder, program
setup(function()
  folder = umbra.folder()
  program = umbra.assemble(PROGRAM, folder.path .. "/program.elf")
end)
teardown(function() folder.remove() end)

local open = {}                                   -- machines to be closed after each test
after_each(function()
  for _, m in ipairs(open) do m:close() end
  open = {}
end)

local function board(harts, clock)
  local m = machine.build(machine {
    cpu = { harts = harts }, ram = { size = "1M" }, clock = clock or "virtual",
    map = {
      { at = 0x100000, name = "power", dev.syscon {} },
      { at = 0x2000000, name = "clint", dev.clint {} },
      { at = 0xc000000, name = "plic", dev.plic {} },
    },
    boot = { kernel = program },
  })
  open[#open + 1] = m
  return m
end

local function symbol(m, name) return tonumber(m.files.kernel:symbol(name)) end

-- A debugger: asks, and runs the machine until the answer came.
local Client = {}
Client.__index = Client

local sockets = 0
local function connect(m, waits)
  sockets = sockets + 1
  if not m.debugger then m:gdb { path = ("%s/gdb%d"):format(folder.path, sockets), wait = waits } end
  local stream = assert(socket.connect(m.debugger.listener.place))
  local self = setmetatable({ m = m, stream = stream, bytes = "" }, Client)
  self.reader = packet.reader(function() end)
  return self
end

function Client:receive()
  local bytes = self.stream:read()
  if bytes == "" then self.gone = true end
  if bytes then
    self.bytes = self.bytes .. bytes
    self.reader:feed(bytes)
  end
end

-- The next packet from the server; nil when it hangs up, or after `seconds`.
function Client:answer(seconds)
  local deadline = host.seconds() + (seconds or 5)
  repeat
    local kind, data = self.reader:next()
    if kind == "packet" then return data end
    if self.gone then return end
    local server = self.m.debugger
    if not (server and server:serve(0)) then self.m:slice(nil, 0.0005) end
    self:receive()
  until host.seconds() > deadline
end

function Client:ask(data)
  assert(self.stream:write(packet.wrap(data)))
  return self:answer()
end

local function attached(harts, clock)
  local m = board(harts or 1, clock)
  local client = connect(m, true)
  assert.equal("T05thread:1;", client:ask "?")
  return client, m
end

local function little(value)
  local bytes = {}
  for i = 1, 8 do bytes[i], value = ("%02x"):format(value % 256), math.floor(value / 256) end
  return table.concat(bytes)
end

describe("packets of gdb", function()
  local function read_all(reader)
    local list = {}
    for kind, data in function() return reader:next() end do list[#list + 1] = kind == "packet" and data or kind end
    return list
  end

  it("come out whole, however they came in", function()
    math.randomseed(7)
    for _ = 1, SOAK and 2000 or 100 do
      local sent, bytes = {}, {}
      for i = 1, 20 do
        local data = {}
        for j = 1, math.random(0, 40) do data[j] = string.char(math.random(0, 255)) end
        sent[i] = table.concat(data)
        bytes[i] = ("+ab\0"):rep(math.random(0, 2)) .. packet.wrap(sent[i])
      end
      local all, said, got = table.concat(bytes), {}, {}
      local reader = packet.reader(function(text) said[#said + 1] = text end)
      while all ~= "" do
        local part = math.random(1, 30)
        reader:feed(all:sub(1, part))
        all = all:sub(part + 1)
        for _, data in ipairs(read_all(reader)) do got[#got + 1] = data end
      end
      assert.same(sent, got)
      assert.equal(("+"):rep(20), table.concat(said))
    end
  end)

  it("are asked for again when they are damaged, and forgotten when they are cut off", function()
    local said = {}
    local reader = packet.reader(function(text) said[#said + 1] = text end)
    reader:feed "$m0,4#00$m0,4#fd"
    assert.same({ "m0,4" }, read_all(reader))
    assert.equal("-+", table.concat(said))
    reader:feed "$m0$g#67"
    assert.same({ "g" }, read_all(reader))
    reader:feed("$" .. ("a"):rep(packet.MOST + 10) .. "#00$g#67\3-")
    assert.same({ "g", "interrupt", "again" }, read_all(reader))
    reader.acks = false
    reader:feed "$g#00"
    assert.same({ "g" }, read_all(reader))
  end)
end)

describe("a gdb server", function()
  it("says what it can, and nothing to what it does not know", function()
    local gdb = attached(2)
    local can = gdb:ask "qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386"
    for _, word in ipairs { "PacketSize=4000", "qXfer:features:read+", "vContSupported+", "multiprocess+", "QStartNoAckMode+" } do
      assert.is_truthy(can:find(word, 1, true), word)
    end
    for _, unknown in ipairs { "vMustReplyEmpty", "vNothing;1", "qNothing", "Qnothing:1", "e", "", "Z9,0,4", "qXfer:auxv:read::0,100" } do
      assert.equal("", gdb:ask(unknown), unknown)
    end
    for _, wrong in ipairs { "m", "mx,1", "m0", "m00000000000000000,1", "M0,4:00", "M0,2:zzzz", "X0,4:a", "p", "pffff", "P0", "P0=1", "Pffff=00", "G00",
      "H", "Hx0", "Hg9", "T9", "Z0,1,4", "Z0,80000000", "vCont;x", "vCont;c:p1.9", "Qqemu.sstep=0", "Qqemu.PhyMemMode:2", "qRcmd,x", "Cx" } do
      assert.is_truthy((gdb:ask(wrong) or ""):find "^E%x%x$", wrong)
    end
    assert.equal("OK", gdb:ask "QStartNoAckMode")
    gdb.bytes = ""
    assert.equal("QCp1.1", gdb:ask "qC")
    assert.equal("$QCp1.1#94", gdb.bytes)          -- no "+" before it
  end)

  it("describes the registers that a hart has", function()
    local gdb, m = attached()
    local xml, at = "", 0
    repeat
      local part = gdb:ask(("qXfer:features:read:target.xml:%x,500"):format(at))
      xml, at = xml .. part:sub(2), at + #part - 1
    until part:sub(1, 1) == "l"
    local names, count = {}, 0
    for name, size, number in xml:gmatch '<reg name="([%w]+)" bitsize="(%d+)" regnum="(%d+)"' do
      names[name] = { size = tonumber(size), number = tonumber(number) }
      count = count + 1
    end
    local numbers = {}
    for _, row in pairs(names) do numbers[row.number + 1] = true end
    assert.equal(count, #numbers)
    for number = 0, 4095 do
      local name = require("umbra.clib").C.um_riscv_csr_name(number)
      if name ~= nil and pcall(m.hart.csr, m.hart, number) then assert.is_truthy(names[require("ffi").string(name)], number) end
    end
    m.hart:set_csr("mscratch", 0x1122334455667788ULL)
    m.hart:set_freg("fa0", 0x3ff0000000000000ULL)
    assert.equal("8877665544332211", gdb:ask(("p%x"):format(names.mscratch.number)))
    assert.equal("000000000000f03f", gdb:ask(("p%x"):format(names.fa0.number)))
    assert.equal("0300000000000000", gdb:ask(("p%x"):format(names.priv.number)))
    assert.equal("OK", gdb:ask(("P%x=%s"):format(names.mscratch.number, little(0x42))))
    assert.equal("OK", gdb:ask(("P%x=%s"):format(names.priv.number, little(1))))
    assert.equal("E16", gdb:ask(("P%x=%s"):format(names.priv.number, little(2))))
    assert.equal("E16", gdb:ask(("P%x=%s"):format(names.mhartid.number, little(2))))
    assert.equal(0x42, m.hart:csr "mscratch")
    assert.equal("supervisor", m.hart:privilege())
  end)

  it("reads and writes the registers of the hart it is told", function()
    local gdb, m = attached(2)
    local words = {}
    for i = 0, 31 do
      words[i + 1] = little(i * 1000)
      m.cpu[1]:set_reg(i, i * 1000)
    end
    m.cpu[1]:set_pc(0x80000010)
    words[33] = little(0x80000010)
    assert.equal("OK", gdb:ask "Hg2")
    assert.equal(table.concat(words), gdb:ask "g")
    words[11] = little(77)
    assert.equal("OK", gdb:ask("G" .. table.concat(words)))
    assert.equal(77, m.cpu[1]:reg "a0")
    assert.equal("OK", gdb:ask("Pb=" .. little(78)))
    assert.equal(78, m.cpu[1]:reg "a1")
    assert.equal(little(78), gdb:ask "pb")
    assert.equal(1, m.cpu[0]:reg(10) == 0 and 1)
  end)

  it("reads and writes memory, whole or not at all", function()
    local gdb, m = attached()
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    local all = table.concat(bytes)
    m.mem:write(0x80080000, all)
    assert.equal(packet.hex(all), gdb:ask "m80080000,100")
    assert.equal("OK", gdb:ask "M80080001,3:aabbcc")
    assert.equal("\0\170\187\204\4", m.mem:read(0x80080000, 5))
    assert.equal("OK", gdb:ask("X80080100,100:" .. all))
    assert.equal(all, m.mem:read(0x80080100, 256))
    assert.equal("OK", gdb:ask "X80080100,0:")
    assert.equal("0000", gdb:ask "m800ffffe,8")              -- RAM ends
    assert.equal("E0e", gdb:ask "m80100000,8")
    assert.equal("E0e", gdb:ask "m100000,4")                 -- a device has no bytes
    assert.equal("E0e", gdb:ask "M800ffffe,4:01020304")
    assert.equal("\0\0", m.mem:read(0x800ffffe, 2))
    assert.equal(packet.MOST, #gdb:ask "m80000000,ffffffff")
  end)

  -- Sv39: the gigabyte at 0x40000000 is RAM for the user alone, not accessed yet; the one at 0 is nothing.
  it("sees memory through the page tables of the hart", function()
    local gdb, m = attached()
    local leaf = 0x80000000 / 4096 * 1024 + 1 + 2 + 16       -- V, R, U
    m.mem:write(0x80040008, packet.bytes(little(leaf)))
    m.mem:write(0x80010000, "there")
    m.hart:set_csr("satp", 0x8000000000080040ULL)
    m.hart:set_privilege "supervisor"
    assert.equal(packet.hex "there", gdb:ask "m40010000,5")
    assert.equal("E0e", gdb:ask "m80010000,5")
    assert.equal("E0e", gdb:ask "m4000000040010000,5")
    assert.equal("OK", gdb:ask("M40010000,5:" .. packet.hex "here!"))
    assert.equal("here!", m.mem:read(0x80010000, 5))
    assert.equal("0", gdb:ask "qqemu.PhyMemMode")
    assert.equal("OK", gdb:ask "Qqemu.PhyMemMode:1")
    assert.equal(packet.hex "here!", gdb:ask "m80010000,5")
    assert.equal(packet.bytes(little(leaf)), m.mem:read(0x80040008, 8))          -- A and D are as they were
    assert.equal("OK", gdb:ask "Qqemu.PhyMemMode:0")
    m.hart:set_privilege "machine"
    assert.equal(packet.hex "here!", gdb:ask "m80010000,5")
    assert.equal(packet.hex "here!", gdb:ask "m40010000,5")  -- nothing is there for machine mode: what the tables say
  end)

  it("stops at breakpoints that are nowhere in memory", function()
    local gdb, m = attached()
    local at = symbol(m, "load")
    local code = m.mem:read(0x80000000, 256)
    assert.equal("OK", gdb:ask(("Z0,%x,4"):format(at)))
    gdb:ask "qSupported:swbreak+;hwbreak+"
    for i = 1, 3 do
      assert.equal("T05thread:1;swbreak:;", gdb:ask "vCont;c")
      assert.equal(at, m.hart:pc())
      assert.equal(i, m.hart:reg "t0")
    end
    assert.equal(packet.hex(code), gdb:ask "m80000000,100")
    assert.equal(code, m.mem:read(0x80000000, 256))
    assert.equal("OK", gdb:ask(("z0,%x,4"):format(at)))
    assert.equal("OK", gdb:ask(("Z1,%x,4"):format(symbol(m, "again"))))
    assert.equal("T05thread:1;hwbreak:;", gdb:ask "c")
    assert.equal("T05thread:1;hwbreak:;", gdb:ask(("c%x"):format(symbol(m, "again") + 4)))
    assert.equal(4, m.hart:reg "t0")                          -- 3, though memory had less: the load was left out
  end)

  it("stops before an access that is watched, and once for each", function()
    local gdb, m = attached()
    gdb:ask "qSupported:swbreak+;hwbreak+"
    local sums, load = symbol(m, "sums"), symbol(m, "load")
    local stored = 0
    for kind, why in pairs { [2] = "watch", [4] = "awatch" } do
      assert.equal("OK", gdb:ask(("Z%d,%x,4"):format(kind, sums + 4)))        -- the upper half of what is stored
      for _ = 1, 3 do
        if kind == 4 then
          assert.equal(("T05thread:1;awatch:%x;"):format(sums + 4), gdb:ask "c")
          assert.equal(symbol(m, "again"), m.hart:pc())
        end
        assert.equal(("T05thread:1;%s:%x;"):format(why, sums + 4), gdb:ask "c")
        assert.equal(load, m.hart:pc())
        assert.same({ stored, stored + 1 }, { m.mem:load(sums, 8), m.hart:reg "t0" })
        stored = stored + 1
      end
      assert.equal("OK", gdb:ask(("z%d,%x,4"):format(kind, sums + 4)))
    end
    assert.equal("OK", gdb:ask(("Z3,%x,1"):format(sums)))
    assert.equal(("T05thread:1;rwatch:%x;"):format(sums), gdb:ask "c")
    assert.equal(symbol(m, "again"), m.hart:pc())
    for _, wrong in ipairs { "Z2,80000000,0", "Z0,80000001,4", "Z4,ffffffffffffffff,2" } do assert.equal("E16", gdb:ask(wrong)) end
  end)

  it("steps one hart, and holds or runs the others as it is told", function()
    local gdb, m = attached(3)
    gdb:ask "qSupported:multiprocess+"
    local function retired()
      local list = {}
      for i = 0, 2 do list[i + 1] = m.cpu[i]:counters().instructions end
      return list
    end
    m.mem:write(symbol(m, "ticks"), ("\0"):rep(8))
    local before = retired()
    assert.equal("T05thread:p1.2;", gdb:ask "vCont;s:p1.2")
    assert.same({ before[1], before[2] + 1, before[3] }, retired())
    before = retired()
    assert.equal("T05thread:p1.1;", gdb:ask "vCont;s:p1.1;c:p1.-1")
    local now = retired()
    assert.equal(before[1] + 1, now[1])
    assert.is_true(now[2] > before[2] and now[3] > before[3])
    assert.equal("T05thread:p1.1;", gdb:ask "s")
    assert.equal("OK", gdb:ask "Hcp1.3")
    assert.equal("T05thread:p1.3;", gdb:ask "S05")
    before = retired()
    gdb.stream:write(packet.wrap "vCont;c:p1.2")
    gdb:answer(0.02)
    gdb.stream:write "\3"
    assert.equal("T02thread:p1.2;", gdb:answer())
    now = retired()
    assert.is_true(now[2] > before[2] + 100)
    assert.same({ before[1], before[3] }, { now[1], now[3] })
  end)

  it("has harts for threads", function()
    local gdb, m = attached(4)
    gdb:ask "qSupported:multiprocess+"
    assert.equal("mp1.1,p1.2,p1.3,p1.4", gdb:ask "qfThreadInfo")
    assert.equal("l", gdb:ask "qsThreadInfo")
    assert.equal("hart 2, machine", packet.bytes(gdb:ask "qThreadExtraInfo,p1.3"))
    m.mem:write(0x80000000, "\115\0\80\16")                   -- wfi
    m.cpu[3]:step()
    assert.equal("hart 3, machine, in wfi", packet.bytes(gdb:ask "qThreadExtraInfo,p1.4"))
    assert.equal("OK", gdb:ask "Tp1.4")
    assert.equal("E16", gdb:ask "Tp1.5")
    assert.equal("1", gdb:ask "qAttached:1")
  end)

  it("stands beside the hooks and stops of a script", function()
    local gdb, m = attached()
    local hits = 0
    m:hook { write = symbol(m, "sums"), stop = true, call = function() hits = hits + 1 end }
    gdb:ask(("Z0,%x,4"):format(symbol(m, "load")))
    assert.equal("T05thread:1;", gdb:ask "c")
    assert.equal("T05thread:1;", gdb:ask "vCont;s:1")          -- what it stores ends the run for the hook, too
    assert.same({ 1, symbol(m, "load") + 4 }, { hits, m.hart:pc() })
    gdb.stream:write(packet.wrap "c")
    local result = m:run { until_pc = symbol(m, "load"), timeout = 5 }
    assert.same({ "pc", symbol(m, "load") }, { result.reason, result.pc })
    assert.equal("T05thread:1;", gdb:answer())
    assert.equal("T05thread:1;", gdb:ask "c")                  -- the breakpoint is still there
    assert.equal(symbol(m, "load"), m.hart:pc())
    gdb:ask(("z0,%x,4"):format(symbol(m, "load")))
    gdb.stream:write(packet.wrap "c")
    result = m:run { timeout = 5 }
    assert.same({ "hook", 3 }, { result.reason, hits })
  end)

  it("lets a device written in Lua answer in a step", function()
    local device = require "umbra.device"
    local Words = device { name = "words", regs = { { at = 0, name = "next", access = "r", size = 8 }, { at = 8, name = "count", size = 8 } } }
    function Words:read_next()
      self.count = self.count + 1
      return self.count
    end
    local path = umbra.assemble(".globl _start\n_start: lui s0, 0x10000\n1: ld a0, 0(s0)\n j 1b\n", folder.path .. "/device.elf")
    local function build()
      local m = machine.build(machine {
        ram = { size = "1M" }, clock = "virtual", map = { { at = 0x10000000, name = "words", Words {} } }, boot = { kernel = path },
      })
      open[#open + 1] = m
      return m
    end
    local m = build()
    local gdb = connect(m, true)
    for i = 1, 20 do
      assert.equal("T05thread:1;", gdb:ask "s")
      assert.equal(math.floor(i / 2), m.hart:reg "a0")
    end
    assert.equal(20, m:counters().instructions)
    local other = build()
    other:run { instructions = 20 }
    assert.equal(other:hash(), m:hash())
  end)

  it("is interrupted by byte 3, and keeps what was sent too early", function()
    local gdb = attached()
    gdb.stream:write(packet.wrap "c" .. packet.wrap "qC")
    assert.is_nil(gdb:answer(0.05))
    gdb.stream:write "\3"
    assert.equal("T02thread:1;", gdb:answer())
    assert.equal("QC1", gdb:answer())
  end)

  it("keeps guest time from passing while the guest stands still", function()
    local gdb, m = attached(1, "wall")
    gdb.stream:write(packet.wrap "c")
    gdb:answer(0.02)
    gdb.stream:write "\3"
    assert.equal("T02thread:1;", gdb:answer())
    local now, start = m.clock:now(), host.seconds()
    repeat m:slice(nil, 0.01) until host.seconds() - start > 0.03
    assert.equal(now, m.clock:now())
    assert.equal("0x3", gdb:ask "qqemu.sstep")
    assert.equal("OK", gdb:ask "Qqemu.sstep=0x1")
    assert.equal("0x1", gdb:ask "qqemu.sstep")
    assert.equal("ENABLE=1,NOIRQ=2", gdb:ask "qqemu.sstepbits")
    gdb:ask "D"
    m:slice(nil, 0.01)
    assert.is_true(m.clock:now() > now)
  end)

  it("runs lines of Lua", function()
    local gdb, m = attached()
    local function monitor(line)
      local text, reply = {}, gdb:ask("qRcmd," .. packet.hex(line))
      while reply and reply ~= "OK" and reply:sub(1, 1) == "O" do
        text[#text + 1] = packet.bytes(reply:sub(2))
        reply = gdb:answer()
      end
      assert.equal("OK", reply)
      return table.concat(text)
    end
    assert.equal("2\n", monitor "1 + 1")
    assert.equal("a\tb\nc\n", monitor "print('a', 'b') print 'c'")
    assert.equal("", monitor "local x = 1")
    assert.equal(m:hash() .. "\n", monitor "m:hash()")
    assert.is_truthy(monitor("m.hart:reg 'nothing'"):find "unknown register \"nothing\"")
    assert.is_truthy(monitor("1 +"):find "monitor:1: ")
    assert.is_truthy(monitor("help(m.debugger)"):find "server:serve%(seconds%)")
    assert.is_truthy(monitor("while true do end"):find "runs longer than 1 s")
    assert.is_truthy(monitor("m:run { instructions = 10 }"):find "the machine is stopped for its debugger")
    assert.equal(("x"):rep(30000) .. "\n", monitor "('x'):rep(30000)")
    assert.equal(("x"):rep(2^17) .. "\n(868929 bytes more)\n", monitor "('x'):rep(1000000)")
    monitor "m.mem:write(0x80080000, 'changed')"
    assert.equal(packet.hex "changed", gdb:ask "m80080000,7")
    gdb.stream:write(packet.wrap("qRcmd," .. packet.hex "m.debugger:close()"))
    assert.is_nil(gdb:answer())
    assert.equal("instructions", m:run({ instructions = 1000, timeout = 5 }).reason)
  end)

  it("lets the guest go on when the debugger goes", function()
    for _, leave in ipairs {
      function(gdb)
        assert.equal("OK", gdb:ask "D;1")
        gdb.stream:close()
      end,
      function(gdb) gdb.stream:close() end,
      function(gdb) gdb.stream:write(packet.wrap "c" .. "$m8000") gdb.m:slice(nil, 0.01) gdb.stream:close() end,
    } do
      local gdb, m = attached(2)
      gdb:ask(("Z0,%x,4"):format(symbol(m, "again")))
      gdb:ask "vCont;s:1"
      leave(gdb)
      local result = m:run { instructions = 100000, timeout = 10 }
      assert.equal("instructions", result.reason)
      assert.equal("T05thread:1;", connect(m):ask "?")
      m:close()
    end
  end)

  it("may be attached to again by a debugger that stays", function()
    local gdb, m = attached(2)
    assert.equal("OK", gdb:ask "!")
    assert.equal("OK", gdb:ask "D;1")
    assert.equal("W00", gdb:ask "?")
    assert.equal("l", gdb:ask "qfThreadInfo")
    for _, packet_of in ipairs { "g", "m80000000,4", "c", "vCont;s:1", "vKill;1", "Z0,80000000,4" } do assert.equal("E16", gdb:ask(packet_of)) end
    local before = m:counters().instructions
    assert.is_nil(gdb:answer(0.01))
    assert.is_true(m:counters().instructions > before)
    assert.is_truthy(gdb:ask("vAttach;1"):find "^T05thread:[12];$")
    before = m:counters().instructions
    assert.is_nil(gdb:answer(0.01))
    assert.equal(before, m:counters().instructions)
  end)

  it("says what became of the guest", function()
    local gdb, m = attached()
    m.mem:write(0x80000000, "\183\2\16\0\55\83\7\0\27\3\51\51\35\160\98\0")    -- lui t0, 0x100; li t1, 0x73333 by halves; sw t1, 0(t0)
    m.hart:set_pc(0x80000000)
    m.hart:set_reg("t1", 0x73333)
    m.mem:write(0x80000004, "\35\160\98\0")
    assert.equal("W07", gdb:ask "c")
    assert.same({ reason = "exit", code = 7 }, m.ended)
    gdb, m = attached()
    gdb.stream:write(packet.wrap "k")
    assert.same({ "exit", 137 }, { m:run({ timeout = 5 }).reason, m.ended.code })
    gdb, m = attached()
    assert.equal("OK", gdb:ask "vKill;1")
    assert.equal(137, m:run({ timeout = 5 }).code)
  end)

  it("has one debugger at a time, which begins like one", function()
    local gdb, m = attached()
    local other = connect(m)
    assert.is_nil(other:ask "?")
    assert.equal("umbra: another debugger is connected\n", other.bytes)
    assert.equal("T05thread:1;", gdb:ask "?")
    gdb:ask "D"
    gdb.stream:close()
    for _, text in ipairs { "POST / HTTP/1.1\r\n\r\n" .. packet.wrap "k", "\0\0\0", "\22\3\1" } do
      other = connect(m)
      other.stream:write(text)
      assert.is_nil(other:answer())
      assert.equal("umbra: this is a gdb server\n", other.bytes)
      assert.is_nil(m.ended)
    end
    assert.equal("T05thread:1;", connect(m):ask "?")
  end)

  it("waits for one when it is told", function()
    local m = board(1)
    m:gdb { port = 0, wait = true }
    assert.equal("timeout", m:run({ timeout = 0.05 }).reason)
    assert.equal(0, m.hart:counters().instructions)
    local gdb = connect(m)
    assert.equal("T05thread:1;", gdb:ask "?")
    gdb.stream:write(packet.wrap "c")
    gdb:answer(0.02)
    assert.is_true(m.hart:counters().instructions > 0)
  end)

  it("lives through whatever it is sent", function()
    math.randomseed(11)
    local letters = { "m", "M", "X", "g", "G", "p", "P", "Z0,", "Z1,", "Z2,", "z3,", "vCont;", "qXfer:features:read:target.xml:", "H", "T", "q", "Q", "v", "D",
      "c", "s", "C", "S", "qRcmd,", "?", "!", "qThreadExtraInfo,", "qSupported:", "\3", "#", "$", "-", "+", "}" }
    local m = board(2)
    for round = 1, SOAK and 3000 or 60 do
      local gdb = connect(m)
      local bytes = { "+" }
      for i = 1, math.random(1, 30) do
        local data = letters[math.random(#letters)]
        for _ = 1, math.random(0, 12) do
          local at = math.random(1, 30)
          data = data .. (at > 23 and string.char(math.random(0, 255)) or ("0123456789abcdef,:;=p.-"):sub(at, at))
        end
        bytes[i + 1] = math.random(5) == 1 and data or packet.wrap(data)
      end
      gdb.stream:write(table.concat(bytes))
      gdb:answer(0.002)
      gdb.stream:close()
      m:slice(nil, 0.001)
      if m.ended then m:reset() end
      assert.is_nil(m.debugger.client, round)
    end
    m:reset()
    assert.equal("T05thread:1;", connect(m):ask "?")
  end)

  it("gives up a debugger that sends without end, or never reads", function()
    local m = board(1)
    local gdb = connect(m)
    gdb.stream:write(packet.wrap "c")
    gdb:answer(0.01)
    for _ = 1, 200 do
      if not gdb.stream:write(("x"):rep(4096)) then break end
      m:slice(nil, 0.0002)
    end
    assert.is_nil(m.debugger.client)
    gdb = connect(m)
    local ask = packet.wrap "m80000000,2000"
    local deadline = host.seconds() + 5
    repeat
      local ok = gdb.stream:write(ask:rep(20))
      m:slice(nil, 0.0002)
    until not ok or not m.debugger.client or host.seconds() > deadline
    m:slice(nil, 0.001)
    assert.is_nil(m.debugger.client)
  end)

  it("refuses places where it cannot be", function()
    local m, other = board(1), board(1)
    local server = m:gdb { port = 0 }
    local port = server.listener.place.port
    assert.is_true(port > 0)
    refuses(function() m:gdb { port = 0 } end, "gdb: this machine has a server already, at 127.0.0.1:%d+")
    refuses(function() other:gdb { port = port } end, "cannot listen at 127.0.0.1:" .. port .. ": Address already in use")
    refuses(function() other:gdb {} end, "gdb: either `port` or `path` must be given")
    refuses(function() other:gdb { port = 70000 } end, "`gdb.port` must be 0 to 65535, not 70000")
    refuses(function() other:gdb { port = 0, address = "nowhere" } end, 'gdb: "nowhere:0": must be PORT .*')
    refuses(function() other:gdb { path = folder.path .. "/no/such" } end, "cannot listen at .*/no/such: No such file or directory")
    refuses(function() other:gdb { path = ("x"):rep(200) } end, "gdb: .* must be unix:PATH with at most 107 bytes of path")
    local file = folder.write("plain", "text")
    refuses(function() other:gdb { path = file } end, "cannot listen at .*/plain: Address already in use")
    assert.equal("text", tree.read(file))
    m:close()
    local path = folder.path .. "/stale"
    socket.listen({ path = path }).fd = nil                  -- as if the process had been killed; its listener is never closed
    refuses(function() other:gdb { path = path } end, "cannot listen at .*/stale: Address already in use")
    other:gdb { port = port }                                -- free again
  end)

  it("takes the place of one that was killed", function()
    local path = folder.path .. "/killed"
    local text = tree.run(("{ build/umbra run machines/bare.lua kernel=%s gdb=unix:%s -S & } 2>&1; "
      .. "for i in $(seq 200); do [ -S %s ] && break; sleep 0.05; done; "
      .. "sleep 0.2; kill -9 $!; wait $! 2> /dev/null"):format(program, path, path))
    assert.equal(1, (text:find("umbra: gdb: target remote " .. path .. "\n", 1, true)), text)
    assert.equal("socket", require("lfs").attributes(path, "mode"))
    assert.equal("Connection refused", select(2, socket.connect { path = path }))
    local m = board(1)
    m:gdb { path = path }
    assert.equal("T05thread:1;", connect(m):ask "?")
  end)

  it("changes nothing in the guest", function()
    for _, harts in ipairs { 1, 3 } do
      local gdb, m = attached(harts)
      gdb:ask "qSupported:swbreak+"
      local at = { symbol(m, "load"), symbol(m, "again"), symbol(m, "traps"), symbol(m, "traps") + 8 }
      math.randomseed(3)
      for i = 1, 300 do
        local where = at[i % 4 + 1]
        gdb:ask(("Z0,%x,4"):format(where))
        local stop = gdb:ask "c"
        local thread = stop:match "^T05thread:(%d+);swbreak"
        assert.is_truthy(thread, stop)
        gdb:ask(("z0,%x,4"):format(where))
        gdb:ask("vCont;s:" .. thread)                          -- as gdb steps over a breakpoint
        for _ = 1, math.random(0, 5) do gdb:ask(("vCont;s:%s;c"):format(thread)) end
        gdb:ask "m80000000,100"
        gdb:ask "g"
        gdb:ask "p44"
        gdb:ask "qThreadExtraInfo,1"
      end
      gdb:ask "D"
      m:run { instructions = 10000 }
      local other = board(harts)
      other:run { instructions = m:counters().instructions }
      assert.equal(m:counters().instructions, other:counters().instructions)
      assert.equal(other:hash(), m:hash())
      assert.is_true(m.mem:read(symbol(m, "ticks"), 1):byte() > 0)
    end
  end)
end)

describe("umbra run", function()
  it("takes gdb=, -s, -S and -gdb, and refuses what it cannot do", function()
    local file = "machines/bare.lua"
    for word, text in pairs {
      ["gdb=foo"] = 'gdb=foo: must be PORT %(0 to 65535%), ADDRESS:PORT or unix:PATH', ["gdb="] = "gdb=: must be PORT .*",
      ["gdb=99999"] = "gdb=99999: must be PORT .*", ["gdb=1.2.3:4"] = "gdb=1.2.3:4: must be .*", ["-S"] = "%-S goes with gdb=PLACE or %-s",
      ["-gdb"] = "%-gdb: a value must follow",
    } do
      local result = umbra.run { "run", file, "kernel=" .. program, word }
      assert.equal(126, result.code, word)
      assert.is_truthy(result.err:find("^umbra: " .. text .. "\n$"), result.err)
    end
    local twice = umbra.run { "run", file, "kernel=" .. program, "-s", "gdb=1" }
    assert.equal("umbra: gdb=1: gdb is given twice\n", twice.err)
    local listener = socket.listen(socket.place "0")
    local taken = umbra.run { "run", file, "kernel=" .. program, "-gdb", "tcp::" .. listener.place.port }
    assert.equal(("umbra: cannot listen at 127.0.0.1:%d: Address already in use\n"):format(listener.place.port), taken.err)
    assert.equal(126, taken.code)
    listener:close()
  end)
end)
