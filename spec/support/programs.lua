-- programs: random privileged programs for spec.support.guest: CSR accesses, page tables, physical memory protection.
--
-- What QEMU 7.2 does otherwise than the manual is left out of them: docs/cpu-deviations.md lists it.
-- SPDX-License-Identifier: MIT
local bit  = require "bit"
local ffi  = require "ffi"
local tree = require "spec.support.tree"

local programs = {}

local u64 = ffi.typeof "uint64_t"
local function text_of(value) return "0x" .. bit.tohex(value, 16) end
local function bits_of(...)
  local value = u64(0)
  for _, n in ipairs { ... } do value = bit.bor(value, bit.lshift(u64(1), n)) end
  return value
end
local ALL = bit.bnot(u64(0))
local M = 3

-- A value with interesting bits: random, sparse, dense or extreme.
local function value_of(random, mask)
  local kind, value = random(6), random()
  if kind == 0 then value = ALL
  elseif kind == 1 then value = u64(0)
  elseif kind == 2 then value = bit.lshift(u64(1), random(64))
  elseif kind == 3 then value = bit.band(value, random()) end
  return bit.band(value, mask)
end

-- CSRs ---------------------------------------------------------------------------------------------------------------------

-- name, bits that may be written (nil: read only), and what else a row needs: ways = only plain writes; fix = function(value, way).
-- Not written: MIE and MPRV of mstatus, because the program itself runs in machine mode; satp below it, for the same reason.
local FS_BITS = bits_of(13, 14)
local function whole_mpp(value, way, random)
  value = bit.band(value, bit.bnot(bits_of(11, 12)))
  local mpp = way == "csrrw" and ({ 0, 1, 3 })[random(3) + 1] or ({ 0, 3 })[random(2) + 1]
  return bit.bor(value, bit.lshift(u64(mpp), 11))
end
local function sane_pmp(value)
  for i = 0, 7 do
    local byte = tonumber(bit.band(bit.rshift(value, 8 * i), u64(0x1f)))
    if byte % 4 == 2 then value = bit.bxor(value, bit.lshift(u64(2), 8 * i)) end       -- W without R is reserved
  end
  return value
end
-- QEMU 7.2 takes the lowest number first: never enable two.
local function one_interrupt(value, _, random)
  return bit.bor(bit.band(value, bit.bnot(bits_of(1, 3, 5, 7, 9, 11))), bit.lshift(u64(random(2)), 1 + 2 * random(6)))
end
local INTERRUPT_BITS = bit.bnot(bits_of(2, 6, 10, 12, 13))
local PMP_CFG = u64(0x1f) * 0x0101010101010101ULL

local CSRS = {
  { "mstatus", bit.band(ALL, bit.bnot(bits_of(3, 9, 10, 15, 16, 17, 32, 33, 34, 35, 36, 37, 38, 39, 63))), fix = whole_mpp },
  { "sstatus", bit.bnot(bits_of(9, 10, 15, 16, 32, 33, 63)) },
  { "mstatus", bit.bor(FS_BITS, bits_of(18, 19, 20, 21, 22)) },
  { "medeleg", bit.bnot(bits_of(9, 10, 11, 20, 21, 22, 23)) }, { "mideleg", INTERRUPT_BITS },
  { "mie", INTERRUPT_BITS, ways = "csrrw", fix = one_interrupt }, { "sie", INTERRUPT_BITS, ways = "csrrw", fix = one_interrupt },
  { "mip", INTERRUPT_BITS }, { "sip", INTERRUPT_BITS },
  { "mtvec", ALL, restore = "trap" }, { "stvec", ALL, restore = "supervisor_trap" },
  { "mepc", bit.bnot(u64(1)) }, { "sepc", bit.bnot(u64(1)) }, { "mcause", ALL }, { "scause", ALL }, { "mtval", ALL }, { "stval", ALL },
  { "mscratch", ALL }, { "sscratch", ALL }, { "mcounteren", u64(0xffffffff) }, { "scounteren", u64(0xffffffff) },
  { "mcountinhibit", u64(5) }, { "menvcfg", bit.bnot(bits_of(4, 5, 6, 7, 61, 63)) }, { "senvcfg", bit.bnot(bits_of(4, 5, 6, 7)) },
  { "satp", ALL, ways = "csrrw", machine = true }, { "misa" }, { "mhartid" }, { "mvendorid" }, { "mconfigptr" },
  { "fflags", ALL }, { "frm", ALL }, { "fcsr", ALL },
  { "pmpcfg0", PMP_CFG, ways = "csrrw", fix = sane_pmp }, { "pmpcfg2", PMP_CFG, ways = "csrrw", fix = sane_pmp },
  { "pmpaddr0", bit.rshift(ALL, 10) }, { "pmpaddr5", bit.rshift(ALL, 10) }, { "pmpaddr15", bit.rshift(ALL, 10) },
  { "0x3a1", ALL }, { "0x3c0", ALL }, { "0x310", ALL }, { "0xc80", ALL }, { "0x5c0", ALL }, { "0x800", ALL }, { "0xbc0", ALL },
  { "cycle", hidden = true }, { "time", hidden = true }, { "instret", hidden = true }, { "mcycle", hidden = true },
}
programs.CSRS, programs.whole_mpp, programs.value_of = CSRS, whole_mpp, value_of
local WAYS = { "csrrw", "csrrs", "csrrc" }

local function csr_step(random, number, out)
  local row = CSRS[random(#CSRS) + 1]
  local way, mask = row.ways or WAYS[random(3) + 1], row[2]
  local value = value_of(random, mask or ALL)
  if row.fix then value = row.fix(value, way, random) end
  if value == 0 then value = bit.band(mask or ALL, -(mask or ALL)) end                          -- QEMU 7.2 takes a set of no bits for no write
  local insn = ("%s a0, %s, %s"):format(way, row[1], (mask or random(8) == 0) and "a1" or "zero")
  if not mask and insn:find "zero" then insn = "csrr a0, " .. row[1] end
  local see = row.hidden and "li a0, 0" or "nop"
  out("        li a0, 0x77\n        li a1, %s\n", text_of(value))
  local mode = row.machine and M or random(4)                      -- half of them in machine mode
  if mode >= 2 then
    out("        try %s\n        %s\n        note a0\n", insn, see)
  else
    out("        csrw satp, zero\n        open_memory\n        in_mode %d, %df\n        j %df\n%d: %s\n        ecall\n%d: %s\n        note a0\n",
      mode, number, number + 1, number, insn, number + 1, see)
  end
  if mask then out("        try csrr a0, %s\n        note a0\n", row[1]) end
  if row.restore then out("        la t0, %s\n        csrw %s, t0\n", row.restore, row[1]) end
end

-- `count` programs of `steps` accesses each, one after the other in one text.
function programs.csrs(random, count, steps)
  local lines = {}
  local function out(...) lines[#lines + 1] = select("#", ...) == 1 and (...) or string.format(...) end
  out "main:   li t0, CLINT + 0x4000\n        li t1, -1\n        sd t1, 0(t0)\n"
  for _ = 1, count do
    out [[
        li t0, 0x9a1000
        csrc mstatus, t0
        csrw medeleg, zero
        csrw mideleg, zero
        csrw mie, zero
        csrw mip, zero
        csrw mcounteren, zero
        csrw scounteren, zero
        csrw pmpcfg0, zero
        csrw pmpcfg2, zero
]]
    for i = 1, steps do csr_step(random, i * 2 + 100, out) end
  end
  out "        j finish\n"
  return table.concat(lines)
end

-- Page tables --------------------------------------------------------------------------------------------------------------

local TABLES, SPACE, STUBS = 0x80200000, 0x80400000, 0xffffffffc0000000ULL
local V, R, W, X, USER, A, D = 1, 2, 4, 8, 16, 64, 128
local MODES = { [3] = 8, [4] = 9, [5] = 10 }                       -- satp's, by levels

local function index(gva, level) return tonumber(bit.band(bit.rshift(gva, 12 + 9 * level), u64(511))) end

-- Page tables being written: a list of { address, value }, in order, each address once.
local function new_tables()
  local t = { stores = {}, at = {}, used = 1 }
  function t.set(address, value)
    if t.at[address] then t.at[address][2] = value return end
    t.at[address] = { address, value }
    t.stores[#t.stores + 1] = t.at[address]
  end
  -- Maps gva with the leaf entry `pte` at `level`, pointers having `extra` bits; returns the address of the leaf entry.
  function t.map(levels, gva, level, pte, extra)
    local at = TABLES
    for l = levels - 1, level + 1, -1 do
      local entry = at + 8 * index(gva, l)
      local known = t.at[entry]
      if known then
        at = tonumber(bit.band(bit.rshift(known[2], 10), u64(2 ^ 44 - 1))) * 4096
      else
        at = TABLES + 4096 * t.used
        t.used = t.used + 1
        t.set(entry, bit.bor(u64(at / 4096) * 1024, u64(V), extra))
      end
    end
    t.set(at + 8 * index(gva, level), pte)
    return at + 8 * index(gva, level)
  end
  return t
end

-- One case of spec/guest/pages.s. FLAGS: leaf bits that are tried; what makes QEMU 7.2 differ is not among them.
local function page_case(random, fragments)
  local levels = 3 + random(3)
  local level = random(8) == 0 and random(levels) or random(math.min(levels, 3))
  local mode, mpp, access = ({ 0, 1, 3 })[random(3) + 1], random(2), random(13)
  if access == 12 and mode == 3 then mode = random(2) end
  local odd = random(10)                                           -- one case in ten has something unusual
  local flags = random(4) == 0 and random(256) or bit.bor(random(256), V + R + A)
  if random(2) == 0 then flags = bit.bor(flags, D + W) end
  local who = mode == 3 and mpp or mode
  if random(3) > 0 then flags = who == 0 and bit.bor(flags, USER) or bit.band(flags, 255 - USER) end
  if access == 9 or access == 10 then flags = bit.bor(flags, A) end          -- QEMU 7.2 sets A before it denies an AMO
  local t = new_tables()
  local gva = bit.band(random(), bit.lshift(u64(1), 12 + 9 * levels - 1) - 1)
  local top = 12 + 9 * levels - 1
  if random(3) == 0 and index(gva, levels - 1) ~= 255 then gva = bit.bor(gva, bit.lshift(ALL, top)) end
  if index(gva, levels - 1) == 511 then gva = bit.band(gva, bit.lshift(u64(1), top) - 1) end
  local inside = u64(SPACE) + bit.band(gva, u64(4095))
  local extra = u64(0)
  local ppn = bit.rshift(u64(SPACE), 12)
  if level > 0 then ppn = bit.band(ppn, bit.bnot(bit.lshift(u64(1), 9 * level) - 1)) end
  local where = bit.lshift(bit.rshift(inside, 12), 12)
  if level > 0 then                                                -- a superpage: the address below it that leads to SPACE
    local mask = bit.lshift(u64(1), 12 + 9 * level) - 1
    gva = bit.bor(bit.band(gva, bit.bnot(mask)), bit.band(inside, mask))
  end
  if access >= 8 or random(6) > 0 then gva = bit.band(gva, bit.bnot(u64(7))) end
  if access == 12 then gva = bit.band(gva, bit.bnot(u64(3))) end
  if bit.band(gva, u64(4095)) > 4088 then gva = gva - 16 end
  if bit.band(flags, V + R + W + X) == V then ppn = u64(TABLES / 4096 + 64) end         -- a pointer after all, to a table of zeros
  local pte = bit.bor(ppn * 1024, u64(flags))
  if odd == 0 then pte = bit.bor(pte, bits_of(63), random(2) == 0 and u64(8 * 1024) or u64(A + D))             -- Svnapot, or nearly
  elseif odd == 1 then pte = bit.bor(pte, bit.lshift(u64(random(3)), 61))                                       -- Svpbmt
  elseif odd == 2 then extra = bits_of(({ 4, 6, 7, 61, 62, 63 })[random(6) + 1])                                -- a pointer with leaf bits
  elseif odd == 3 and level > 0 then pte = bit.bor(pte, u64(1024))                                              -- misaligned superpage
  elseif odd == 4 then gva = bit.bxor(gva, bit.lshift(u64(1), 63 - random(5)))                                  -- not canonical
  elseif odd == 5 then pte = bit.bor(pte, u64(random(4) * 256)) end                                             -- software's bits
  local leaf = t.map(levels, gva, level, pte, extra)
  local stub = bit.bor(bit.rshift(fragments, 12) * 1024, u64(V + R + X + A + D + (who == 0 and USER or 0)))
  if mode ~= 3 then t.map(levels, STUBS, 0, stub, u64(0)) end
  t.set(tonumber(where + bit.band(gva, u64(0xff8))), access == 12 and 0x7300000073ULL or random())
  local satp = bit.bor(bit.lshift(u64(MODES[levels]), 60), bit.lshift(u64(random(4)), 44), u64(TABLES / 4096))
  local status = bit.lshift(u64(random(4)), 18)
  local words = { u64(#t.stores) }
  for _, s in ipairs(t.stores) do words[#words + 1], words[#words + 2] = u64(s[1]), s[2] end
  for _, w in ipairs { satp, status, u64(mode), u64(mpp), u64(access), gva, random(), u64(leaf), where + bit.band(gva, u64(0xff8)) } do
    words[#words + 1] = w
  end
  return words
end

local function data(lines, words)
  for i, w in ipairs(words) do words[i] = text_of(w) end
  lines[#lines + 1] = "        .dword " .. table.concat(words, ", ")
end

-- Corrects what QEMU 7.2 notes for the cases of programs.pages and programs.pmp, `first` being the note of the first cause: it
-- calls a denied AMO a load.
function programs.correct(notes, text, first)
  local cases, i = text:sub((text:find("\ncases:", 1, true))), first
  for words in cases:gmatch "%.dword (0x[^\n]*)" do
    local list = {}
    for word in words:gmatch "0x(%x+)" do list[#list + 1] = word end
    local access = tonumber(list[#list - (first == 1 and 4 or 2)], 16)
    if (access == 9 or access == 10) and notes[i] then
      notes[i] = notes[i]:gsub("000000d$", "000000f"):gsub("0000005$", "0000007")
    end
    i = i + 7
  end
end

-- `count` accesses through page tables of their own.
function programs.pages(random, count)
  local lines = { tree.read "spec/guest/pages.s", tree.read "spec/guest/accesses.s", "        .data\n        .balign 8\ncases:" }
  for _ = 1, count do data(lines, page_case(random, u64(programs.FRAGMENTS))) end
  lines[#lines + 1] = "        .dword -1\n"
  return table.concat(lines, "\n")
end
programs.FRAGMENTS = 0x80001000                                     -- the first page boundary behind the code

-- Physical memory protection -----------------------------------------------------------------------------------------------

local function pmp_case(random)
  local words, cfg = { u64(1) }, u64(0)
  for i = 1, 7 do
    local kind = random(4)                                          -- off, TOR, NA4, NAPOT
    local at = u64(SPACE - 4096) + random(3 * 4096)
    if random(2) == 0 then at = bit.band(at, bit.bnot(u64(4095))) end
    local addr = bit.rshift(at, 2)
    if kind == 3 then
      local ones = random(12)
      addr = bit.bor(bit.band(addr, bit.bnot(bit.lshift(u64(1), ones + 1) - 1)), bit.lshift(u64(1), ones) - 1)
    end
    words[#words + 1] = addr
    local rwx = ({ 0, 1, 3, 4, 5, 7, 7, 7 })[random(8) + 1]
    cfg = bit.bor(cfg, bit.lshift(u64(kind * 8 + rwx), 8 * i))
  end
  words[#words + 1] = cfg
  local mode, access = ({ 0, 1, 3 })[random(3) + 1], random(13)
  if access == 12 and mode == 3 then mode = 1 end
  local at = u64(SPACE - 4096) + 8 * random(3 * 512)
  if random(4) == 0 and access < 7 and access ~= 3 and bit.band(at, u64(4095)) ~= 4088 then at = at + random(8) end
  if access == 12 then at = bit.band(at, bit.bnot(u64(3))) end
  for _, w in ipairs { u64(mode), u64(random(2)), u64(access), at, random() } do words[#words + 1] = w end
  return words
end

-- `count` accesses under protection of their own.
function programs.pmp(random, count)
  local lines = { tree.read "spec/guest/pmp.s", tree.read "spec/guest/accesses.s", "        .data\n        .balign 8\ncases:" }
  for _ = 1, count do data(lines, pmp_case(random)) end
  lines[#lines + 1] = "        .dword 0\n"
  return table.concat(lines, "\n")
end

return programs
