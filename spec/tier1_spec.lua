-- tier1: what a guest does not tell from tier 0, whatever it does to its code, and what the host sees of it.
-- SPDX-License-Identifier: MIT
local asm     = require "umbra.asm"
local machine = require "umbra.machine"
local dev     = require "devices"
local fetch   = require "umbra.fetch"
local example = require "spec.support.example"
local random  = require "spec.support.random"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local RAM = 0x80000000
local ENGINES = { { "t0" }, { "t1" }, { "auto", { threshold = 2 } }, { "t1", { code = "64K" } }, { "lockstep" } }

local function build(text, engine, jit, more)
  local options = {
    name = "tier1", engine = engine, jit = jit, clock = "virtual", ram = { at = RAM, size = "1M" }, cpu = { isa = "rv64gc_zicsr_zifencei_zba", mmu = "sv39" },
    map = { { at = 0x10000000, name = "uart0", dev.ns16550a {} }, { at = 0x02000000, name = "clint", dev.clint {} } },
  }
  for key, value in pairs(more or {}) do options[key] = value end
  local m = machine.build(machine(options))
  m.mem:write(RAM, asm.assemble(text, { at = RAM, isa = "rv64gc_zicsr_zifencei_zba" }).bytes)
  return m
end

-- Runs `text` for `count` instructions in every engine; the state must be the same. Returns the machine of "t1", closed by the caller.
local function alike(text, count, check)
  local wanted
  for _, way in ipairs(ENGINES) do
    local m = build(text, way[1], way[2])
    m:run { instructions = count }
    local hash = m:hash()
    wanted = wanted or hash
    local setting = way[2] and " (" .. tostring(way[2].code or way[2].threshold) .. ")" or ""
    if hash ~= wanted then error(("%s%s differs from t0: %s"):format(way[1], setting, m.cpu[0]:describe()), 2) end
    local counts = m.jit:counters()
    assert.equal(way[1] ~= "t0", counts ~= nil)
    if counts then assert.equal(0, counts.differences) end
    if check then check(m, counts, way[1]) end
    m:close()
  end
end

local LOOP = [[
        li      s0, 0x80010000
        li      a1, 2000
1:      add     a0, a0, a1
        sd      a0, 0(s0)
        ld      a2, 0(s0)
        xor     a3, a3, a2
        addi    a1, a1, -1
        bnez    a1, 1b
2:      j       2b
]]

describe("translated code", function()
  it("runs what is hot, and says so", function()
    alike(LOOP, 15000, function(m, counts, engine)
      assert.equal(2001000, m.cpu[0]:reg "a0")
      if engine == "auto" or engine == "t1" then assert.is_true(counts.executed > 13000) end
      if counts then assert.is_true(counts.blocks > 0 and counts.bytes > 0 and counts.used <= counts.size) end
    end)
  end)

  it("stops at every count asked for, and goes on as if it had not", function()
    local whole = build(LOOP, "t0")
    whole:run { instructions = 4000 }
    for _, step in ipairs { 1, 3, 7, 64, 1000 } do
      local m, done = build(LOOP, "t1"), 0
      while done < 4000 do
        local now = math.min(step, 4000 - done)
        assert.equal(now, m:run { instructions = now }.executed)
        done = done + now
      end
      assert.equal(whole:hash(), m:hash())
      m:close()
    end
    whole:close()
  end)

  it("keeps up with a guest that changes the code it runs", function()
    alike([[
        la      s0, 2f
        li      s1, 0x00150513              # addi a0, a0, 1
        li      s2, 0x00250513              # addi a0, a0, 2
        li      s3, 3000
1:      sw      s1, 0(s0)
        fence.i
        call    2f
        sw      s2, 0(s0)
        fence.i
        call    2f
        addi    s3, s3, -1
        bnez    s3, 1b
3:      j       3b
        .balign 4
2:      addi    a0, a0, 0
        ret
    ]], 60000, function(m) assert.equal(9000, m.cpu[0]:reg "a0") end)
  end)

  it("keeps up with a caller whose continuation the callee patches", function()
    alike([[
        li      s2, 0x00750513              # addi a0, a0, 7
        li      s3, 0x00150513
        li      s4, 500
1:      call    2f
4:      addi    a0, a0, 1
        sw      s3, 0(s0)
        addi    s4, s4, -1
        bnez    s4, 1b
3:      j       3b
2:      la      s0, 4b
        sw      s2, 0(s0)
        fence.i
        ret
    ]], 6000, function(m) assert.equal(3500, m.cpu[0]:reg "a0") end)
  end)

  it("stores into the page that it runs from, beside the code", function()
    alike([[
        la      s0, 2f
        li      s1, 5000
1:      ld      a0, 0(s0)
        addi    a0, a0, 3
        sd      a0, 0(s0)
        addi    s1, s1, -1
        bnez    s1, 1b
3:      j       3b
        .balign 64
2:      .dword  0
    ]], 26000, function(m) assert.equal(15000, m.cpu[0]:reg "a0") end)
  end)

  it("goes into the middle of an instruction", function()
    -- At 2: lui a5, 0x00505, whose upper half is `addi a0, a0, 1` in 16 bits (0x0505).
    alike([[
        la      s0, 2f
        li      s1, 300
1:      jalr    ra, 0(s0)
        jalr    ra, 2(s0)
        addi    s1, s1, -1
        bnez    s1, 1b
3:      j       3b
        .balign 4
2:      .word   0x050507b7
        ret
    ]], 3000, function(m) assert.equal(300, m.cpu[0]:reg "a0") end)
  end)
end)

-- Faults ----------------------------------------------------------------------------------------------------------------------------

-- The handler notes cause, value and place, and goes on behind the instruction, which has four bytes.
local HANDLER = [[
        la      t0, 9f
        csrw    mtvec, t0
        li      s9, 0x80020000
        li      t0, 0x2000
        csrs    mstatus, t0
        j       main
        .balign 4
9:      csrr    t0, mcause
        csrr    t1, mtval
        csrr    t2, mepc
        sd      t0, 0(s9)
        sd      t1, 8(s9)
        sd      t2, 16(s9)
        addi    s9, s9, 24
        addi    t2, t2, 4
        csrw    mepc, t2
        mret
main:
]]

describe("a fault in translated code", function()
  local ACCESSES = {
    "lb a0, 0(s0)", "lhu a0, 1(s0)", "lw a0, 2(s0)", "ld a0, 0(s0)", "sb a1, 0(s0)", "sh a1, 0(s0)", "sw a1, 4(s0)", "sd a1, 8(s0)",
    "fld fa0, 0(s0)", "fsw fa1, 0(s0)", "lr.w a0, (s0)", "sc.d a0, a1, (s0)", "amoadd.w a0, a1, (s0)", "amomax.d a0, a1, (s0)", "amoswap.w a0, a1, (s1)",
    "lr.d a0, (s1)", "csrw 0x5c0, a1", ".word 0x0000000b", "ecall", "csrr a0, 0x180",
  }

  it("is exact in the middle of every kind of access, in the hole beside RAM and misaligned", function()
    for _, access in ipairs(ACCESSES) do
      alike(HANDLER .. ([[
        li      s0, 0x90000000              # nobody is there
        li      s1, 0x80010002              # not aligned
        li      s2, 40
        li      a1, 5
1:      addi    a0, a0, 1
        addi    a3, a3, 3
        ACCESS
        add     a4, a4, a0
        addi    s2, s2, -1
        bnez    s2, 1b
3:      j       3b
      ]]):gsub("ACCESS", access), 1500)
    end
  end)

  it("is exact at the page's edge: an access and an instruction that lie across it, the next page unmapped", function()
    -- Sv39: one leaf of 4 KiB at 0x40001000, nothing behind it; user code in its last bytes.
    alike(HANDLER .. [[
        li      t0, 0x80080000              # root
        li      t1, 0x80081000 / 4096 << 10 | 1
        sd      t1, 8(t0)
        li      t0, 0x80081000
        li      t1, 0x80082000 / 4096 << 10 | 1
        sd      t1, 0(t0)
        li      t0, 0x80082000
        li      t1, 0x80090000 / 4096 << 10 | 0xdf
        sd      t1, 8(t0)
        li      t0, 8 << 60 | 0x80080000 / 4096
        csrw    satp, t0
        sfence.vma
        li      t0, -1
        csrw    pmpaddr0, t0
        li      t0, 0x1f
        csrw    pmpcfg0, t0
        li      s0, 0x80090ff8
        li      t0, 0x00001597              # last words: auipc a1, 1; then half of `addi a0, a0, 1`
        sw      t0, 0(s0)
        li      t0, 0x05130001
        sw      t0, 4(s0)
        li      s2, 60
1:      li      t0, 0x1800
        csrc    mstatus, t0
        la      t0, 2f
        csrw    mtvec, t0
        li      t0, 0x40001ff8
        csrw    mepc, t0
        mret
        .balign 4
2:      csrr    a2, mcause
        csrr    a3, mtval
        csrr    a4, mepc
        xor     a5, a5, a2
        xor     a5, a5, a3
        add     a6, a6, a4
        li      t0, 0x20000
        csrs    mstatus, t0                 # MPRV: an access with the user's eyes
        li      t1, 0x1800
        csrc    mstatus, t1
        la      t1, 4f
        csrw    mtvec, t1
        li      s4, 0x40001ffd
        ld      a7, 0(s4)
        .balign 4
4:      li      t0, 0x20000
        csrc    mstatus, t0
        csrr    a2, mtval
        xor     a5, a5, a2
        addi    s2, s2, -1
        bnez    s2, 1b
3:      j       3b
    ]], 3500, function(m)
      assert.equal(0, m.cpu[0]:reg "s2")
      assert.equal(13, m.cpu[0]:csr "mcause")         -- the load's, the last one
      assert.equal(0x40002000, m.cpu[0]:reg "a2")
    end)
  end)

  it("is taken where the guest jumps to a device, an odd place or nothing", function()
    alike(HANDLER:gsub("addi    t2, t2, 4\n", "mv t2, ra\n") .. [[
        li      s0, 0x10000000
        li      s1, 0x90000000
        li      s2, 50
1:      jalr    ra, 0(s0)
        jalr    ra, 0(s1)
        addi    s2, s2, -1
        bnez    s2, 1b
3:      j       3b
    ]], 2500, function(m) assert.equal(0, m.cpu[0]:reg "s2") end)
  end)
end)

-- Those who watch -------------------------------------------------------------------------------------------------------------------

describe("what is watched is seen", function()
  local function warm(more)
    local m = build(LOOP, "t1", nil, more)
    m:run { instructions = 3000 }
    assert.is_true(m.jit:counters().executed > 2000)
    return m
  end

  it("by a hook of an instruction, attached while it is translated", function()
    local m = warm()
    local hits = 0
    local hook = m:hook { pc = RAM + 0x10, call = function() hits = hits + 1 end }
    m:run { instructions = 600 }
    assert.equal(100, hits)
    hook:detach()
    local before = m.jit:counters().executed
    m:run { instructions = 600 }
    assert.equal(100, hits)
    assert.is_true(m.jit:counters().executed > before + 500)
    m:close()
  end)

  it("by a hook of stores, attached while they are translated", function()
    local m = warm()
    local hits = 0
    m:hook { write = { 0x80010000, 0x80010008 }, call = function() hits = hits + 1 end }
    m:run { instructions = 600 }
    assert.equal(100, hits)
    m:close()
  end)

  it("by stops", function()
    local m = warm()
    for _ = 1, 3 do
      local result = m:run { instructions = 1000, until_pc = RAM + 0x10 }
      assert.equal("pc", result.reason)
      assert.equal(RAM + 0x10, result.pc)
    end
    m:close()
  end)

  it("by a log that begins while it is translated", function()
    local m, path = warm(), os.tmpname()
    m:log("exec:" .. path)
    m:run { instructions = 600 }
    m:log { exec = false }
    local lines = select(2, tree.read(path):gsub("\n", "\n"))
    os.remove(path)
    assert.equal(600, lines)
    local before = m.jit:counters().executed
    m:run { instructions = 600 }
    assert.is_true(m.jit:counters().executed > before + 500)
    m:close()
  end)

  it("by the ring", function()
    local m = build(LOOP, "t1", nil, { ring = 50 })
    m:run { instructions = 3000 }
    assert.equal(50, #m:last())
    m:close()
  end)
end)

-- Code memory -----------------------------------------------------------------------------------------------------------------------

describe("code memory", function()
  -- Some 3,000 blocks of their own, run three times.
  local function many()
    local lines = { "li s0, 3", "1:" }
    for i = 1, 3000 do lines[#lines + 1] = ("add a0, a0, s0\nbeqz s0, 3f\naddi a1, a1, %d\nj 3f\n3:"):format(i % 7) end
    lines[#lines + 1] = "addi s0, s0, -1\nbeqz s0, 2f\nla t0, 1b\njr t0\n2: j 2b"
    return table.concat(lines, "\n")
  end

  it("of 64 KiB is enough for any guest", function()
    alike(many(), 40000, function(m, counts)
      assert.equal(18000, m.cpu[0]:reg "a0")
      if counts and counts.size == 65536 then assert.is_true(counts.flushes > 0) end
    end)
  end)

  it("is private where memory files are forbidden, with one line", function()
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write [[
package.path = "./lua/?.lua;" .. package.path
local ffi = require "ffi"
ffi.cdef "int prctl(int, unsigned long, ...);"
local row = ffi.typeof "struct { uint16_t code; uint8_t jt, jf; uint32_t k; }"
local rows = ffi.new(ffi.typeof("$[5]", row), {
  { 0x20, 0, 0, 0 }, { 0x15, 0, 1, 319 }, { 0x06, 0, 0, 0x50001 }, { 0x06, 0, 0, 0x7fff0000 }, { 0x06, 0, 0, 0x7fff0000 } })
local program = ffi.new("struct { unsigned short len; void *filter; }", { 4, rows })
local long = ffi.typeof "unsigned long"
assert(ffi.C.prctl(38, 1, long(0), long(0), long(0)) == 0)
assert(ffi.C.prctl(22, 2, ffi.cast("void *", program)) == 0)
local machine, asm = require "umbra.machine", require "umbra.asm"
local m = machine.build(machine { engine = "t1", ram = { at = 0x80000000, size = "1M" } })
m.mem:write(0x80000000, asm.assemble("li a1, 500\n1: add a0, a0, a1\naddi a1, a1, -1\nbnez a1, 1b\n2: j 2b", { at = 0x80000000 }).bytes)
m:run { instructions = 2000 }
print(m.jit:counters().backing, m.cpu[0]:reg "a0", m.jit:counters().executed > 1500)
]]
    file:close()
    local text, code = tree.run("luajit " .. script)
    os.remove(script)
    assert.equal("umbra: no executable memory file (Operation not permitted): code memory is private\nprivate\t125250\ttrue\n", text)
    assert.equal(0, code)
  end)

  it("is never writable where it is executable", function()
    local m = build(LOOP, "t1")
    m:run { instructions = 1000 }
    assert.is_nil(tree.read("/proc/self/maps"):match "%f[%x]%x+%-%x+ rwx")
    m:close()
  end)
end)

-- Debian ----------------------------------------------------------------------------------------------------------------------------

describe("Debian's kernel", function()
  -- 150 million instructions of its boot; the soak boots to the end, in lockstep too.
  it("has the same state in every engine", function()
    local whole, guest, wanted = random.soak(), fetch.ensure "debian-riscv64", nil
    for _, way in ipairs { { "t0" }, { "t1" }, { "auto" }, whole and { "lockstep" } or nil } do
      local m = machine.load("riscv-virt", {
        engine = way[1], clock = "virtual", append = "mode=off", firmware = guest.firmware, kernel = guest.kernel, initrd = guest.initrd,
      })
      m:run { instructions = not whole and 150000000 or nil, timeout = 500 }
      wanted = wanted or m:hash()
      assert.equal(wanted, m:hash())
      local counts = m.jit:counters()
      if counts then assert.equal(0, counts.differences) end
      if way[1] == "auto" then assert.is_true(counts.executed > (whole and 500000000 or 100000000)) end
      m:close()
    end
  end)
end)

describe("a translated block is shown", function()
  it("as guest code, IR and host code", function()
    local m = build(LOOP, "t1")
    m:run { instructions = 1000 }
    local text = m.jit:show(RAM + 12)
    assert.matches("^block 0x8000000c: %d+ instructions, %d+ bytes\n", text)
    assert.matches("\n0x8000000c  c?%.?add a0, a", text)
    assert.matches("set x%[10%]", text)
    assert.matches("\nways out\n", text)
    assert.has_error(function() m.jit:show(RAM + 0x4000) end)
    m:close()
  end)
end)

describe("what is asked for wrongly", function()
  it("is refused in one line", function()
    assert.equal(126, umbra.run({ "run", "bare", "kernel=x", "engine=t2" }).code)
    assert.matches('engine', umbra.run({ "run", "bare", "kernel=x", "engine=t2" }).err)
    assert.has_error(function() machine { engine = "fast", ram = { size = "1M" } } end)
    assert.has_error(function() machine { jit = { code = "1K" }, ram = { size = "1M" } } end)
    assert.has_error(function() machine { jit = { treshold = 3 }, ram = { size = "1M" } } end)
  end)
end)

describe("the page of docs", function()
  it("begins with an example that runs", function() example "docs/tier1.md" end)
end)
