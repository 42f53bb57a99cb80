-- privileged: programs of machine mode, run here and under QEMU, and what they must note.
--
-- `both` asks QEMU 7.2 for the truth; where it differs from the manual (docs/cpu-deviations.md) the program runs here alone and what
-- it must note is written beside it.
-- SPDX-License-Identifier: MIT
local assert = require "luassert"
local guest  = require "spec.support.guest"

local privileged = {}

function privileged.both(text, options)
  local path = guest.build(text)
  local ours = guest.run(path, options)
  local found = guest.differences(ours, guest.qemu(path, options))
  if found then error(path .. ":\n" .. found, 2) end
  assert.equal("exit", ours.reason)
  return ours
end

-- The program's notes, run here, must be these numbers.
function privileged.notes(expected, text, options)
  local ours = guest.run(guest.build(text), options)
  assert.equal("exit", ours.reason)
  local wanted = {}
  for i, value in ipairs(expected) do
    wanted[i] = type(value) == "string" and value or ("%08x%08x"):format(math.floor(value / 2 ^ 32), value % 2 ^ 32)
  end
  assert.same(wanted, ours.notes)
  return ours
end

privileged.NONE = 0x600d                         -- what `try` notes when there was no trap

-- Maps SPACE of Sv39 by 4 KiB pages at 0x10000000 (leaf entries at TABLES + 0x2000), and all of RAM by 1 GiB at its own address
-- and at 0x180000000; turns it on. Modes below machine mode may use all of it.
privileged.PAGING = [[
        .equ    LEAVES, TABLES + 0x2000
        .equ    PAGES, 0x10000000
        .macro  leaf number, page, flags
        li      t0, LEAVES + 8 * \number
        li      t1, ((SPACE / 4096 + \page) << 10) | \flags
        sd      t1, 0(t0)
        .endm
        .macro  paging
        open_memory
        li      t0, TABLES
        li      t1, ((TABLES + 0x1000) / 4096 << 10) | 1
        sd      t1, 0(t0)
        li      t1, (0x80000000 / 4096 << 10) | 0xcf
        sd      t1, 16(t0)
        li      t1, (0x80000000 / 4096 << 10) | 0xcf
        sd      t1, 48(t0)
        li      t0, TABLES + 0x1000
        li      t1, (LEAVES / 4096 << 10) | 1
        sd      t1, 0x400(t0)
        li      t0, 8 << 60 | TABLES / 4096
        csrw    satp, t0
        sfence.vma
        .endm
        # Loads and stores of machine mode go through the page tables as supervisor's.
        .macro  through_tables
        li      t0, 3 << 11
        csrc    mstatus, t0
        li      t0, 1 << 17 | 1 << 11
        csrs    mstatus, t0
        .endm
        .macro  directly
        li      t0, 1 << 17
        csrc    mstatus, t0
        .endm
]]

return privileged
