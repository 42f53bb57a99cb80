-- blocks: decoded blocks and remembered jumps keep up with what the guest changes.
-- SPDX-License-Identifier: MIT
local clock   = require "umbra.clock"
local control = require "umbra.control"
local cpu     = require "umbra.cpu"
local guest   = require "spec.support.guest"
local mem     = require "umbra.mem"

-- Runs `text`; the notes it took must be these numbers.
local function notes(expected, text, options)
  local result = guest.run(guest.build(text), options)
  assert.equal("exit", result.reason)
  local wanted = {}
  for i, value in ipairs(expected) do wanted[i] = ("%016x"):format(value) end
  assert.same(wanted, result.notes)
  return result
end

describe("a remembered jump", function()
  -- All pages are small: with a large one about, sfence.vma forgets everything anyway.
  it("is forgotten with its page by sfence.vma of that address", function()
    notes({ 1, 1, 2 }, [[
        .equ    LEAVES, TABLES + 0x3000
        .equ    IDENTITY, TABLES + 0x4000
        .equ    PAGE, 0x10000000
        .macro  entry at, to, flags
        li      t0, \at
        li      t1, (\to) / 4096 << 10 | \flags
        sd      t1, 0(t0)
        .endm
        # What the page's code gives, called from supervisor mode.
        .macro  call_it
        mv      s1, s11
        in_mode S, call
        mv      s11, s1
        note    a0
        .endm
main:   open_memory
        entry   TABLES, TABLES + 0x1000, 1
        entry   TABLES + 16, TABLES + 0x2000, 1
        entry   TABLES + 0x1000 + 0x400, LEAVES, 1
        entry   TABLES + 0x2000, IDENTITY, 1
        entry   IDENTITY, 0x80000000, 0xcf
        entry   IDENTITY + 8, 0x80001000, 0xcf
        li      t0, SPACE
        li      t1, 0x80824505                  # li a0, 1; ret
        sw      t1, 0(t0)
        li      t0, SPACE + 4096
        li      t1, 0x80824509                  # li a0, 2; ret
        sw      t1, 0(t0)
        entry   LEAVES, SPACE, 0x4b
        li      t0, 8 << 60 | TABLES / 4096
        csrw    satp, t0
        sfence.vma
        call_it
        call_it
        entry   LEAVES, SPACE + 4096, 0x4b
        li      t0, PAGE
        sfence.vma t0, zero
        call_it
        j       finish
call:   li      t3, PAGE
        jalr    t3
        ecall
    ]])
  end)
end)

describe("the cache of blocks", function()
  -- 20 pages of c.nop, entered at every halfword, fill it nearly; a page that a device's window shares takes the rest.
  it("starts anew when it is full, also in a page that begins under a window", function()
    local result = notes({ 7 }, [[
        .equ    PAGES, 20
main:   la      s0, field
        li      s1, PAGES * 4096
        add     s1, s1, s0
        la      s2, tohost
        addi    s2, s2, 64
        li      s3, 4096 - 64
        add     s3, s3, s2
        li      t0, 0x00010001
        mv      t1, s0
1:      sw      t0, 0(t1)
        addi    t1, t1, 4
        bltu    t1, s1, 1b
        mv      t1, s2
2:      sw      t0, 0(t1)
        addi    t1, t1, 4
        bltu    t1, s3, 2b
        li      t0, 0x8082                      # ret, at each page's end
        li      t2, 4096
        add     t1, s0, t2
3:      sh      t0, -2(t1)
        add     t1, t1, t2
        bleu    t1, s1, 3b
        sh      t0, -2(s3)
        fence.i
4:      jalr    s0
        addi    s0, s0, 2
        bltu    s0, s1, 4b
5:      jalr    s2
        addi    s2, s2, 2
        bltu    s2, s3, 5b
        li      a0, 7
        note    a0
        j       finish
        .balign 4096
        .globl  tohost
tohost: .dword  0
        .balign 4096
field:  .space  PAGES * 4096
    ]])
    assert.is_true(result.counters.blocks.invalidated > 30000)
    assert.is_true(result.counters.blocks.alive < 10000)
  end)

  it("starts anew when code lies in more pages than it keeps", function()
    local result = notes({ 10000 }, [[
        .equ    PAGES, 10000
        .equ    FIELD, 0x81000000
main:   li      s0, FIELD
        li      s1, FIELD + PAGES * 4096
        li      t2, 4096
        li      t0, 0x80820505                  # addi a0, a0, 1; ret
1:      sw      t0, 0(s0)
        add     s0, s0, t2
        bltu    s0, s1, 1b
        fence.i
        li      a0, 0
        li      s0, FIELD
2:      jalr    s0
        add     s0, s0, t2
        bltu    s0, s1, 2b
        note    a0
        j       finish
    ]])
    assert.is_true(result.counters.blocks.invalidated > 8000)
  end)
end)

describe("a page that a device shares", function()
  -- htif's word lies among instructions; `half` is one whose second half lies under it.
  it("has no code under the device's window, whether the page is known or not", function()
    local result = guest.run(guest.build [[
main:   li      s1, 2
1:      la      s10, 2f
        la      t0, before                      # runs into the window
        jr      t0
        .balign 4
2:      la      s10, 3f
        la      t0, tohost                      # begins in it
        jr      t0
        .balign 4
3:      la      s10, 4f
        la      t0, half                        # ends in it
        jr      t0
        .balign 4
4:      la      s10, 5f
        la      t0, after
        jr      t0
        .balign 4
5:      addi    s1, s1, -1
        bnez    s1, 1b
        j       finish
        .balign 4096
before: c.nop
        c.nop
        c.nop
half:   .2byte  0x0013
        .globl  tohost
        .balign 8
tohost: .dword  0x0000001300000013
after:  ecall
    ]])
    assert.equal("exit", result.reason)
    local seen = {}
    for i = 1, #result.notes, 4 do
      for k = 0, 2 do seen[#seen + 1] = tonumber(result.notes[i + k], 16) end
    end
    local page = seen[2] - seen[2] % 4096
    local once = { 1, page + 8, page + 6, 1, page + 8, page + 8, 1, page + 8, page + 6, 11, 0, page + 16 }
    for i = 1, 12 do once[12 + i] = once[i] end
    assert.same(once, seen)
  end)
end)

describe("a block that is run in part", function()
  local BASE = 0x80000000
  local m, c, k, hart

  after_each(function()
    for _, part in ipairs { hart, k, c, m } do part:close() end
  end)

  -- What is left of a budget runs in a block that is not kept: its place must hold the longest there may be, which is one of
  -- branches that all have a stop.
  it("leaves the kept ones alone, however long it is", function()
    local J_TO_64, BRANCH, J_BACK = 0x0400006f, 0x00001063, 0xfc1ff06f           -- j pc + 64; bne x0, x0, pc; j pc - 64
    m, c, k = mem.new(), clock.new(), control.new()
    m:add_ram { at = BASE, size = "64K" }
    m:store(BASE, 4, J_TO_64)
    m:store(BASE + 64, 4, J_BACK)
    for i = 0, 63 do m:store(BASE + 256 + 4 * i, 4, BRANCH) end
    hart = cpu.new { mem = m, clock = c, control = k, reset_pc = BASE }
    for i = 0, 63 do hart:stop_at(BASE + 256 + 4 * i) end
    assert.equal("budget", (hart:run(100)))
    hart:set_pc(BASE + 256)
    assert.equal("stop", (hart:run(63)))
    hart:set_pc(BASE)
    assert.equal("budget", (hart:run(100)))
    assert.equal(BASE, hart:pc())
  end)
end)
