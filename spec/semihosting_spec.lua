-- semihosting: a bare-metal guest's calls of the host.
-- SPDX-License-Identifier: MIT
local guest   = require "spec.support.guest"
local machine = require "umbra.machine"

-- Runs `text` (a program for spec.support.guest that ends by itself); returns what it printed, its machine and the result.
local function printed(text)
  local m = machine.load("machines/bare.lua", { kernel = guest.build(text) })
  local pieces = {}
  m.console.sink = function(bytes) pieces[#pieces + 1] = bytes end
  local result = m:run { timeout = 20 }
  local s5 = m.hart:reg "s5"
  m:close()
  return table.concat(pieces), result, s5
end

local LEAVE = [[
        la      a1, host_exit
        li      a0, 0x20
        call    host
]]

describe("a semihosting call", function()
  it("prints all there is, more than the console holds and more often than it is looked at", function()
    local text, result, left = printed([[
main:   li      s0, 3000
1:      la      a1, text
        li      a0, 4                           # SYS_WRITE0
        call    host
        la      a1, bang
        li      a0, 3                           # SYS_WRITEC
        call    host
        addi    s0, s0, -1
        bnez    s0, 1b
        la      a1, args
        li      a0, 5                           # SYS_WRITE
        call    host
        mv      s5, a0
]] .. LEAVE .. [[
        .data
        .balign 8
args:   .dword  1, big, 300000
bang:   .ascii  "!"
text:   .ascii  "]] .. ("umbra"):rep(40) .. [["
        .byte   0
big:    .fill   300000, 1, 66
        .text
    ]])
    assert.equal("exit", result.reason)
    assert.equal(0, left)
    assert.equal(3000 * 201 + 300000, #text)
    assert.is_true(text == (("umbra"):rep(40) .. "!"):rep(3000) .. ("B"):rep(300000))
  end)

  it("prints as much as can be read, and says how much could not", function()
    local text, result, left = printed([[
        .equ    LAST, 0x88000000 - 8            # the end of RAM
main:   li      t0, LAST
        li      t1, 0x4847464544434241
        sd      t1, 0(t0)
        la      a1, args
        li      a0, 5
        call    host
        mv      s5, a0
        li      a1, LAST
        li      a0, 4
        call    host
]] .. LEAVE .. [[
        .data
        .balign 8
args:   .dword  1, LAST, 20
        .text
    ]])
    assert.equal("exit", result.reason)
    assert.equal("ABCDEFGHABCDEFGH", text)
    assert.equal(12, left)
  end)

  -- A text without an end in a page that is mapped everywhere: the host must stay its own master.
  it("never holds the host for long", function()
    local m = machine.load("machines/bare.lua", { kernel = guest.build [[
main:   open_memory
        li      t0, TABLES
        li      t1, (0x80000000 / 4096 << 10) | 0xcf
        sd      t1, 16(t0)
        li      t1, ((TABLES + 0x1000) / 4096 << 10) | 1
        sd      t1, 0(t0)
        li      t1, ((TABLES + 0x2000) / 4096 << 10) | 1
        li      t2, (SPACE / 4096 << 10) | 0xcf
        li      t0, TABLES + 0x1000
        li      t3, TABLES + 0x2000
        li      t4, 512
1:      sd      t1, 0(t0)
        sd      t2, 0(t3)
        addi    t0, t0, 8
        addi    t3, t3, 8
        addi    t4, t4, -1
        bnez    t4, 1b
        li      t0, SPACE
        li      t1, 0x4141414141414141
        li      t2, SPACE + 4096
2:      sd      t1, 0(t0)
        addi    t0, t0, 8
        bltu    t0, t2, 2b
        li      t0, 8 << 60 | TABLES / 4096
        csrw    satp, t0
        sfence.vma
        in_mode S, supervisor
supervisor:
        li      a0, 4
        li      a1, 0
        call    host
        ecall
    ]] })
    m.console.sink = function() end
    local start = os.clock()
    assert.equal("timeout", m:run({ timeout = 0.1 }).reason)
    assert.is_true(os.clock() - start < 1)
    m:close()
  end)

  it("is an ordinary breakpoint where it is not offered, or without its marks", function()
    local text, result, left = printed([[
main:   la      s10, 1f
        li      a0, 3
        ebreak
1:      csrr    s5, mcause
]] .. LEAVE)
    assert.equal("", text)
    assert.equal("exit", result.reason)
    assert.equal(3, left)
  end)
end)
