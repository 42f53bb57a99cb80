-- blocks: decoded blocks and remembered jumps keep up with what the guest changes.
-- SPDX-License-Identifier: MIT
local guest = require "spec.support.guest"

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
