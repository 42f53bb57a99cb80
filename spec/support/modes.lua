-- modes: random programs over machine, supervisor and user mode, run here and by qemu-system-riscv64 -M virt, and what they left compared.
--
-- spec/guest/modes.s runs them; a batch of programs is one file and one run of each. A program comes from its number alone, so the
-- number is all that has to be told. What QEMU 7.2 does otherwise than the manual is left out (docs/cpu-deviations.md):
--  - mie of a program never holds two bits whose order QEMU gets wrong; MPRV is cleared by every handler; MPP is never 2.
--  - no misaligned access to what is not RAM, none across two pages under protection; entries of the PMP are 8 bytes or larger.
--  - entries of page tables that refuse stores have A and D set, as all have without Svadu; reserved bits stay 0.
--  - no AMO where both protection and page tables may refuse it: QEMU tries the load first.
--  - each change of protection is a whole write of pmpcfg0 and a fence.
-- A denied AMO is corrected in QEMU's notes. QEMU runs one instruction a block (-singlestep): interrupts come at once.
-- SPDX-License-Identifier: MIT
local asm      = require "umbra.asm"
local bit      = require "bit"
local dev      = require "devices"
local ffi      = require "ffi"
local guest    = require "spec.support.guest"
local host     = require "umbra.host"
local lfs      = require "lfs"
local machine  = require "umbra.machine"
local programs = require "spec.support.programs"
local random   = require "spec.support.random"
local tree     = require "spec.support.tree"

local modes = {}

local U, S, M = 0, 1, 3
local NOTES, NOTES_BYTES, LINKS = 0x81000000, 2^24, 0x1000
local PAGES, BIG, SPACE, SPACE_BYTES, SHARED, CLINT = 0x08000000, 0x0a000000, 0x84000000, 0x200000, 0x83f00000, 0x02000000
local TABLES, TABLES_BYTES = 0x83000000, 0x10000
local CODE_SLOT, BIG_SLOT = 12, 16                -- entries 12 to 15 map the pages with code; the 2 MiB page comes last
local STEPS = 24
local V, R, W, X, A, D = 1, 2, 4, 8, 64, 128

local u64 = ffi.typeof "uint64_t"
local function one(n) return bit.lshift(u64(1), n) end
local function text_of(value) return "0x" .. bit.tohex(u64(value), 16) end
local function pick(draw, list) return list[draw(#list) + 1] end

-- Addresses ----------------------------------------------------------------------------------------------------------------

-- Offsets in a page that are noted at the end: its first and last 64 bytes. Aligned, or misaligned within the page or beyond it.
local function offset(p, size, aligned)
  local draw = p.draw
  local at = (draw(2) == 0 and 0 or 4032) + math.floor(draw(64) / size) * size
  if aligned or size == 1 or draw(4) > 0 then return at, false end
  if p.crossing and draw(2) == 0 then return 4095 - draw(size - 1), true end
  at = at + 1 + draw(size - 1)
  return at + size <= 4096 and at or at - size, false
end

-- An address for an access of `size` bytes in `mode`, "mprv" being machine mode by way of the page tables.
local function data_address(p, mode, size, aligned)
  local draw = p.draw
  local at, crosses = offset(p, size, aligned)
  if p.paged and mode ~= M then
    local kind = draw(16)
    if kind == 0 and not crosses then return u64(0x08100000) + bit.band(at, 0xff8) end                      -- nothing is mapped there
    if kind == 1 then return bit.bor(u64(PAGES) + at, one(38 + draw(26))) end                               -- not canonical, or not mapped
    if kind <= 4 then return u64(BIG) + draw(crosses and 3 or 4) * 4096 + at end
    if kind == 5 then return u64(p.space) + draw(3) * 4096 + at end
    return u64(PAGES) + draw(8) * 4096 + at
  end
  if draw(16) == 0 then return u64(PAGES) + bit.band(at, 0xff8) end                                         -- a hole
  return u64(p.space) + draw(3) * 4096 + at
end

local function code_address(p, mode)
  local draw = p.draw
  local at = pick(draw, { 0x800, 0x804, 0xffe })
  if p.paged and mode ~= M then return u64(PAGES) + (CODE_SLOT + draw(3)) * 4096 + at end
  return u64(p.space) + 4 * 4096 + at
end

-- What a program begins with -----------------------------------------------------------------------------------------------

local function leaf(p, page, level)
  local draw = p.draw
  if draw(12) == 0 then return u64(0) end
  local flags = draw(4) == 0 and draw(256) or bit.bor(draw(256), V + R + A)
  if draw(3) > 0 then flags = bit.bor(flags, W) end
  if draw(3) == 0 then flags = bit.bor(flags, X) end
  if bit.band(flags, R + W + X) == 0 then flags = bit.bor(flags, R) end               -- never a pointer
  if bit.band(flags, W) == 0 or not p.hardware then flags = bit.bor(flags, A + D) end
  local ppn = u64((p.space + page * 4096) / 4096)
  if level == 1 then
    ppn = u64(p.space / 4096)
    if draw(8) == 0 then ppn = ppn + 1 end                                                                  -- misaligned
  end
  return bit.bor(ppn * 1024, u64(flags), u64(draw(4) * 256))
end

local MXR_SLOT, SUM_SLOT = 6, 7                   -- begin as pages that MXR and SUM decide about

local function slot_leaf(p, slot)
  if slot == BIG_SLOT then return leaf(p, 0, 1) end
  if slot >= 8 and slot < CODE_SLOT then return u64(0) end
  return leaf(p, slot < 8 and p.draw(4) or 4 + p.draw(2), 0)
end

local function satp(p)
  local draw = p.draw
  if not p.paged then return u64(0) end
  local levels = 3 + draw(3)
  return bit.bor(bit.lshift(u64(levels + 5), 60), bit.lshift(u64(draw(4)), 44), u64(p.tables / 4096 + 5 - levels))
end

-- Interrupts whose order QEMU knows when several are pending: bits of mie.
local FAMILIES = { 0x022, 0x222 - 0x022 + 0x088, 0x028 }

local function mie(p) return bit.band(p.draw(4096), p.family) end

local function pmp_entry(p)
  local draw = p.draw
  local kind = draw(4)                            -- off, TOR, NAPOT twice
  local at = u64(p.space) + 8 * draw(6 * 512)
  if draw(2) == 0 then at = bit.band(at, bit.bnot(u64(4095))) end
  local address = bit.rshift(at, 2)
  if kind >= 2 then
    local ones = draw(2) == 0 and 9 or draw(11)
    address = bit.bor(bit.band(address, bit.bnot(one(ones + 1) - 1)), one(ones) - 1)
  end
  return address, ({ 0, 8, 0x18, 0x18 })[kind + 1] + pick(draw, { 0, 1, 3, 4, 5, 7, 7, 7 })
end

local function pmp(p)
  local addresses, cfg = {}, u64(0x1f)            -- entry 0: code, notes and tables may be used by all
  for i = 1, 7 do
    local own = 0
    addresses[i] = u64(0)
    if p.guarded then addresses[i], own = pmp_entry(p) end
    cfg = bit.bor(cfg, bit.lshift(u64(own), 8 * i))
  end
  return addresses, cfg
end

-- Bits of medeleg: not the ecall of supervisor mode, by which it gets to machine mode; faults of loads and stores alike, because QEMU
-- takes an AMO for a load.
local DELEGABLE = 0xb1ff
local function delegation(value)
  value = bit.band(value, bit.bnot(u64(0xa0c0)), u64(DELEGABLE))
  return bit.bor(value, bit.band(bit.lshift(value, 2), u64(0xa0c0)))
end

local function menvcfg(p) return bit.bor(p.timer and one(63) or u64(0), p.hardware and one(61) or u64(0)) end

-- The numbers of a program's row, in the order that modes.s reads them.
local function row(p)
  local draw = p.draw
  local list = { p.paged and u64(2^32) or u64(0) }
  local function add(value) list[#list + 1] = u64(value) end
  for slot = 0, BIG_SLOT do add(slot_leaf(p, slot)) end
  list[2 + MXR_SLOT] = bit.bor(u64(p.space / 4096) * 1024, u64(V + X + A + D))
  list[2 + SUM_SLOT] = bit.bor(u64(p.space / 4096 + 1) * 1024, u64(V + R + W + X + 16 + A + D))
  local addresses, cfg = pmp(p)
  for i = 1, 7 do add(addresses[i]) end
  add(cfg)
  add(bit.lshift(u64(0x18 + (p.guarded and draw(4) == 0 and draw(8) or 7)), 56))
  if bit.band(list[#list], bit.lshift(u64(3), 56)) == bit.lshift(u64(2), 56) then list[#list] = bit.lshift(u64(0x1f), 56) end
  add(menvcfg(p))
  add(delegation(u64(draw(65536))))
  add(bit.band(draw(4096), 0x222))
  add(draw(8))
  add(draw(8))
  add(satp(p))
  add(draw(2))
  add(draw(2))
  add(draw(3) == 0 and bit.band(draw(4096), 0x222) or 0)
  add(mie(p))
  add(bit.bor(bit.band(draw(1024), 0x0aa), draw(4) * 2^13, bit.band(draw(2^23), pick(draw, { 0x0c0000, 0x7c0000 }))))
  for _ = 1, 8 do add(draw()) end
  return list
end

-- Steps --------------------------------------------------------------------------------------------------------------------

local FOLD = "slli t4, s0, 1; add s0, s0, t4; add s0, s0, "          -- s0 sums up what was seen
local LOADS = { { "lb", 1 }, { "lbu", 1 }, { "lh", 2 }, { "lhu", 2 }, { "lw", 4 }, { "lwu", 4 }, { "ld", 8 } }
local STORES = { { "sb", 1 }, { "sh", 2 }, { "sw", 4 }, { "sd", 8 } }
local AMOS = { "amoadd", "amoswap", "amoand", "amoor", "amoxor", "amomax", "amominu" }

local function access(p, mode)
  local draw = p.draw
  local kind = draw(10)
  if kind < 4 then
    local insn = pick(draw, LOADS)
    return ("li a1, %s; %s a0, 0(a1); %sa0"):format(text_of(data_address(p, mode, insn[2])), insn[1], FOLD)
  elseif kind < 7 then
    local insn = pick(draw, STORES)
    return ("li a1, %s; %s a%d, 0(a1)"):format(text_of(data_address(p, mode, insn[2])), insn[1], 2 + draw(4))
  elseif kind == 7 and not (p.guarded and p.paged) then
    local size = 4 + 4 * draw(2)
    local width = size == 4 and "w" or "d"
    return ("li a1, %s; %s.%s a0, a%d, (a1); %sa0"):format(text_of(data_address(p, mode, size, true)), pick(draw, AMOS), width, 2 + draw(4), FOLD)
  elseif kind == 8 then
    local width = draw(2) == 0 and "w" or "d"
    local between = pick(draw, { "", "", "sb zero, 0(a1);", "ecall;" })
    return ("li a1, %s; lr.%s a0, (a1); %s addi a0, a0, 1; sc.%s a2, a0, (a1); %sa2"):format(
      text_of(data_address(p, mode, width == "w" and 4 or 8, true)), width, between, width, FOLD)
  end
  return ("li a1, %s; %s"):format(text_of(data_address(p, mode, 8)), pick(draw, { "fld fa0, 0(a1)", "fsd fa0, 0(a1)", "fsw fa1, 0(a1)" }))
end

-- Not here: what has steps of its own, or what the program could not go on with.
local OWN = { mtvec = true, stvec = true, satp = true, mie = true, sie = true, mip = true, pmpcfg0 = true, pmpcfg2 = true, menvcfg = true,
  pmpaddr0 = true, pmpaddr5 = true, pmpaddr15 = true, medeleg = true, mstatus = true, sstatus = true }
local CSRS = {}
for _, csr in ipairs(programs.CSRS) do if not OWN[csr[1]] then CSRS[#CSRS + 1] = csr end end
for _ = 1, 6 do
  CSRS[#CSRS + 1] = { "mstatus", u64(0x7e79aa - 0x020000), fix = programs.whole_mpp }
  CSRS[#CSRS + 1] = { "sstatus", u64(0x0c6122) }
  CSRS[#CSRS + 1] = { "medeleg", u64(DELEGABLE), fix = delegation }
  CSRS[#CSRS + 1] = { "mideleg", u64(0x222) }
  CSRS[#CSRS + 1] = { "mip", u64(0x222) }
  CSRS[#CSRS + 1] = { "sip", u64(0x222) }
end
for _ = 1, 3 do
  for _, name in ipairs { "mie", "sie" } do CSRS[#CSRS + 1] = { name, u64(0xaaa), interrupts = true } end
end
local WAYS = { "csrrw", "csrrs", "csrrc" }

local function csr_access(p)
  local draw = p.draw
  local csr = pick(draw, CSRS)
  local name, mask = csr[1], csr[2]
  local way = csr.ways or pick(draw, WAYS)
  if not mask then return ("li a1, 1; %s; %s"):format(draw(4) == 0 and ("csrrw a0, %s, a1"):format(name) or "csrr a0, " .. name,
    csr.hidden and "li a0, 0" or FOLD .. "a0") end
  local value = programs.value_of(draw, mask)
  if csr.fix then value = csr.fix(value, way, draw) end
  if csr.interrupts then value = u64(mie(p)) end
  if value == 0 then
    if csr.interrupts or name == "mip" or name == "sip" or way == "csrrw" then return ("csrw %s, zero"):format(name) end
    value = bit.band(mask, -mask)
  end
  return ("li a1, %s; %s a0, %s, a1; %sa0"):format(text_of(value), way, name, FOLD)
end

local function status_bits(p, csr)
  local draw = p.draw
  return ("li a1, %s; %s %s, a1"):format(text_of(bit.lshift(u64(1 + draw(3)), 18)), pick(draw, { "csrs", "csrc" }), csr)
end

local function fence(p)
  local draw = p.draw
  return pick(draw, { "sfence.vma", "sfence.vma zero, zero", "fence.i", "fence" }) .. (draw(3) == 0 and
    ("; li a1, %s; sfence.vma a1, zero"):format(text_of(u64(PAGES) + draw(16) * 4096)) or "")
end

local BAD = { ".word 0", ".word 0xffffffff", ".word 0x0000707b", "ebreak", "mret", "csrr a0, 0x5c0", "csrw mhartid, a0", ".half 0", "ecall" }

local steps = {}

steps.access = access

function steps.csr(p) return csr_access(p) end

function steps.jump(p, mode)                      -- where it goes an ecall follows
  if mode == M then return access(p, mode) end
  return ("li a1, %s; jalr a2, a1"):format(text_of(code_address(p, mode)))
end

function steps.bad(p, mode)
  local list = mode == U and { "wfi", "sret", "csrr a0, sstatus", "sfence.vma", unpack(BAD) } or BAD
  local insn = pick(p.draw, list)
  if mode == M and insn == "mret" then insn = "ebreak" end
  return insn
end

function steps.float(p)
  return pick(p.draw, { "fadd.d fa0, fa0, fa1", "fcvt.d.l fa1, a2", "fmul.d fa0, fa0, fa1, rtz", "fmv.x.d a0, fa0; " .. FOLD .. "a0", "fmv.d.x fa1, a3",
    "fadd.s fa1, fa0, fa1", "csrr a0, fcsr; " .. FOLD .. "a0", "fsrmi 5; fadd.d fa0, fa0, fa1" })
end

function steps.shared(p, mode)                    -- order does not matter: only the sum is seen
  if mode == U and p.paged then return access(p, mode) end
  return ("li a1, %s; li a0, %d; amoadd.d zero, a0, (a1)"):format(text_of(SHARED), 1 + p.draw(1000))
end

-- The same access before and after: what the first one leaves in a TLB must not answer the second.
local function twice(p, mode, change)
  local one_access = access(p, mode)
  return ("%s; %s; %s"):format(one_access, change, one_access)
end

-- MXR or SUM on, an access that needs it, off, and the same.
local function needed(p, csr)
  local name, slot = unpack(pick(p.draw, { { 2^19, MXR_SLOT }, { 2^18, SUM_SLOT } }))
  local look = ("li a1, %s; %s a0, 0(a1); %sa0"):format(text_of(PAGES + slot * 4096 + 8 * p.draw(8)), pick(p.draw, { "ld", "lhu" }), FOLD)
  return ("li a1, %d; csrs %s, a1; %s; li a1, %d; csrc %s, a1; %s"):format(name, csr, look, name, csr, look)
end

function steps.sum(p)
  if p.paged and p.draw(2) == 0 then return needed(p, "sstatus") end
  return twice(p, S, status_bits(p, "sstatus"))
end

-- Supervisor mode's
function steps.satp(p, mode)
  if mode == U then return "csrr a0, satp" end
  local value = p.draw(6) == 0 and bit.bor(satp(p), bit.lshift(u64(7), 60)) or satp(p)                      -- a reserved mode now and then
  return ("li a1, %s; csrrw a0, satp, a1; %sa0"):format(text_of(value), FOLD)
end

function steps.fence(p) return fence(p) end

function steps.sret(p, mode)
  return ("la a0, 1f; csrw sepc, a0; li a1, %d; csrc sstatus, a1; li a1, %d; csrs sstatus, a1; sret; 1: %s"):format(0x122, bit.band(p.draw(512), 0x122),
    access(p, mode))
end

function steps.software(p, mode)
  return mode == M and ("%s mip, %d"):format(pick(p.draw, { "csrs", "csrc" }), 2) or ("%s sip, %d"):format(pick(p.draw, { "csrs", "csrc" }), 2)
end

function steps.stimecmp(p, mode)
  if mode == M and not p.timer then return access(p, M) end
  return ("li a1, %d; csrw stimecmp, a1"):format(p.draw(2) - 1)
end

function steps.clint(p, mode)
  if mode == U then return access(p, mode) end
  return ("li a1, %s; %s"):format(text_of(CLINT + 4 * p.hart), pick(p.draw, { "li a0, 1; sw a0, 0(a1); nop", "sw zero, 0(a1); nop",
    ("li a0, %d; add a1, a1, a0; sd zero, 0(a1); nop"):format(0x4000 + 4 * p.hart),
    ("li a0, %d; add a1, a1, a0; li a0, -1; sd a0, 0(a1); nop"):format(0x4000 + 4 * p.hart) }))
end

-- Machine mode's
function steps.mprv(p)                            -- without interrupts, whose handler ends it
  local mode = pick(p.draw, { U, S, S, M })
  local how = mode == M and M or "mprv"
  return ("li a1, %d; csrc mstatus, a1; li a1, %d; csrs mstatus, a1; %s; csrc mstatus, s8"):format(3 * 2^11 + 8, 2^17 + mode * 2^11,
    p.draw(2) == 0 and twice(p, how, status_bits(p, "mstatus")) or access(p, how) .. "; " .. access(p, how))
end

function steps.entry(p)
  local slot = p.draw(BIG_SLOT + 1)
  local at = slot == BIG_SLOT and p.tables + 0x3280 or p.tables + 0x4000 + 8 * slot
  local far = PAGES + slot * 4096
  local change = ("li a1, %s; li a0, %s; sd a0, 0(a1); %s"):format(text_of(at), text_of(slot_leaf(p, slot)), slot < BIG_SLOT and p.draw(2) == 0 and
    ("li a1, %s; sfence.vma a1, zero"):format(text_of(far)) or "sfence.vma")
  if not p.paged or slot >= 8 or p.draw(2) == 0 then return change end
  local look = ("li a1, %s; %s a0, 0(a1); csrc mstatus, s8; %sa0"):format(text_of(far + 8 * p.draw(8)), pick(p.draw, { "ld", "lw", "sd" }), FOLD)
  local through = ("li a1, %d; csrc mstatus, a1; li a1, %d; csrs mstatus, a1"):format(3 * 2^11 + 8, 2^17 + pick(p.draw, { U, S }) * 2^11)
  return ("%s; %s; %s; %s; %s"):format(through, look, change, through, look)
end

function steps.protect(p)
  if not p.guarded then return access(p, M) end
  local addresses, cfg = pmp(p)
  local i = 1 + p.draw(7)
  return ("li a1, %s; csrw pmpaddr%d, a1; li a1, %s; csrw pmpcfg0, a1; csrr a0, pmpaddr%d; %sa0; sfence.vma"):format(text_of(addresses[i]), i,
    text_of(cfg), i, FOLD)
end

-- An interrupt that is delegated, pending and enabled in machine mode, and then no longer delegated.
local function undelegate(p)
  local own = bit.band(p.family, 2) ~= 0 and 2 or bit.band(p.family, 0x200)
  return ("li a1, %d; csrs mideleg, a1; csrs mip, a1; csrs mie, a1; csrs mstatus, 8; csrc mideleg, a1; nop; nop"):format(own)
end

function steps.enable(p)
  if bit.band(p.family, 0x202) ~= 0 and p.draw(4) == 0 then return undelegate(p) end
  return ("li a1, %d; csrw mie, a1; %s mstatus, 8"):format(mie(p), pick(p.draw, { "csrs", "csrs", "csrc" }))
end

function steps.vectors(p)
  local csr, handler = unpack(pick(p.draw, { { "mtvec", "trap" }, { "mtvec", "vectors + 1" }, { "stvec", "supervisor_trap" },
    { "stvec", "supervisor_vectors + 1" } }))
  return ("la a1, %s; csrw %s, a1; ori a1, a1, 2; csrw %s, a1"):format(handler, csr, csr)          -- mode 2 is reserved: nothing changes
end

function steps.environment(p)
  return ("li a1, %s; csrw menvcfg, a1; sfence.vma"):format(text_of(bit.bor(menvcfg(p), u64(p.draw(2)), p.draw(2) == 0 and one(62) or u64(0))))
end

function steps.mret(p)
  local mode = pick(p.draw, { S, M })
  return ("la a0, 1f; csrw mepc, a0; li a1, %d; csrc mstatus, a1; li a1, %d; csrs mstatus, a1; mret; 1: %s"):format(0x1888,
    bit.bor(mode * 2^11, bit.band(p.draw(256), 0x88)), access(p, mode))
end

-- What TVM, TW or TSR forbid to supervisor mode.
function steps.forbid(p)
  local name, insn = unpack(pick(p.draw, { { 20, "csrr a0, satp" }, { 20, "sfence.vma" }, { 20, "csrw satp, zero" }, { 21, "wfi" }, { 22, "sret" } }))
  return ("li a1, %d; csrs mstatus, a1; la a0, 1f; csrw mepc, a0; li a1, %d; csrc mstatus, a1; li a1, %d; csrs mstatus, a1; mret; 1: %s"):format(2^name,
    3 * 2^11, 2^11, insn)
end

function steps.poke(p)                            -- new code, through physical memory
  local at = p.space + (4 + p.draw(2)) * 4096 + 0x800
  local word = pick(p.draw, { "0x00150513", "0x00250513", "0x00000073", "0x00000000", "0x00100073" })
  return ("li a1, %s; li a0, %s; sw a0, 0(a1); fence.i"):format(text_of(at), word)
end

function steps.wait(p)
  if bit.band(p.family, 0x202) == 0 then return access(p, M) end
  local own = bit.band(p.family, 2) ~= 0 and 2 or 0x200
  return ("csrc mstatus, 8; li a1, %d; csrs mip, a1; csrw mie, a1; wfi; csrs mstatus, 8"):format(own)
end

-- Names and weights by mode.
local KINDS = {
  [U] = { access = 8, csr = 3, jump = 3, bad = 2, float = 2, shared = 1, satp = 1, fence = 1, clint = 1 },
  [S] = { access = 8, csr = 4, jump = 3, bad = 2, float = 1, shared = 1, sum = 3, satp = 2, fence = 1, sret = 2, software = 2, stimecmp = 1, clint = 1 },
  [M] = { access = 1, csr = 6, bad = 1, float = 1, shared = 1, mprv = 5, entry = 4, protect = 2, enable = 3, vectors = 1, environment = 1,
    mret = 2, poke = 1, forbid = 1, wait = 1, software = 2, stimecmp = 1, clint = 2, satp = 1, sret = 1, fence = 1 },
}
local LISTS = {}
for mode, kinds in pairs(KINDS) do
  LISTS[mode] = {}
  for name, weight in pairs(kinds) do LISTS[mode][#LISTS[mode] + 1] = { name, weight } end
  table.sort(LISTS[mode], function(a, b) return a[1] < b[1] end)
  local all = {}
  for _, kind in ipairs(LISTS[mode]) do for _ = 1, kind[2] do all[#all + 1] = kind[1] end end
  LISTS[mode] = all
end

-- Programs -----------------------------------------------------------------------------------------------------------------

-- The program with this number, for a hart: { row = numbers, steps = { { mode, text }, ... } }.
function modes.program(number, hart)
  local draw = random.new(number)
  local p = { draw = draw, hart = hart, number = number, tables = TABLES + hart * TABLES_BYTES, space = SPACE + hart * SPACE_BYTES }
  p.paged, p.guarded, p.hardware, p.timer = draw(5) < 3, draw(5) < 2, draw(3) > 0, draw(2) == 0
  p.crossing = not p.guarded
  p.family = pick(draw, FAMILIES)
  p.row = row(p)
  p.steps = {}
  for i = 1, STEPS do
    local mode = pick(draw, { U, U, S, S, S, M, M })
    local lines = {}
    for k = 1, 1 + draw(3) do lines[k] = steps[pick(draw, LISTS[mode])](p, mode) end
    p.steps[i] = { mode, table.concat(lines, "\n") }
  end
  return p
end

-- The assembler text of programs, one list a hart; steps that `without[number][i]` names are left out.
function modes.text(lists, without)
  local lines = { ("        .equ HARTS, %d"):format(#lists), tree.read "spec/guest/modes.s" }
  local function out(...) lines[#lines + 1] = (...):format(select(2, ...)) end
  local heads = {}
  for h, list in ipairs(lists) do
    heads[h] = "list_" .. h
    local rows = {}
    for i in ipairs(list) do rows[i] = ("row_%d_%d, "):format(h, i) end
    out("list_%d: .dword %s0", h, table.concat(rows))
    for i, p in ipairs(list) do
      local numbers = {}
      for k, value in ipairs(p.row) do numbers[k] = text_of(value) end
      out("row_%d_%d: .dword steps_%d_%d, %s", h, i, h, i, table.concat(numbers, ", "))
      local entries = {}
      local code = {}
      for k, step in ipairs(p.steps) do
        if not (without and without[k]) then
          code[#code + 1] = ("step_%d_%d_%d:\n%s\necall\n.balign 4"):format(h, i, k, step[2])
          entries[#entries + 1] = ("step_%d_%d_%d + %d"):format(h, i, k, step[1])
        end
      end
      entries[#entries + 1] = "2"
      out("steps_%d_%d: .dword %s\n%s\n.balign 8", h, i, table.concat(entries, ", "), table.concat(code, "\n"))
    end
  end
  out("lists: .dword %s", table.concat(heads, ", "))
  return table.concat(lines, "\n") .. "\n"
end

-- Running ------------------------------------------------------------------------------------------------------------------

local END = 8 * 145                               -- bytes that a program notes at its end, behind its traps

local FOLDER = "build/guest"

-- How a batch is run here: what may not show in what it leaves.
local RUNS = {
  { fuse = true, entries = 512 }, { fuse = false, entries = 16 }, { fuse = true, entries = 16, most = 400 }, { fuse = true, entries = 64, clock = "virtual" },
}

local function run_here(path, harts, seconds, way)
  local m = machine.build(machine {
    cpu = { isa = guest.ISA, mmu = "sv57", harts = harts, semihosting = true, fuse = way.fuse, tlb = { entries = way.entries } },
    ram = { size = "128M" }, clock = way.clock, map = { { at = CLINT, name = "clint", dev.clint {} } }, boot = { kernel = path },
  })
  local draw, till = random.new(harts), host.seconds() + seconds
  local result
  repeat
    result = m:run { timeout = seconds, instructions = way.most and 1 + draw(way.most) }
  until result.reason ~= "instructions" or host.seconds() > till
  local notes = {}
  for h = 1, harts do
    local at = NOTES + (h - 1) * NOTES_BYTES
    notes[h] = m.mem:read(at, math.min(m.mem:load(at, 8), NOTES_BYTES))
  end
  local pc = m.hart:pc()
  m:close()
  return notes, result.reason == "exit" and result.code == 0 or ("ended with %s at 0x%x"):format(result.reason, pc)
end

local function number_at(bytes, at)
  local value = u64(0)
  for i = 8, 1, -1 do value = value * 256 + (bytes:byte(at + i) or 0) end
  return value
end

local function run_qemu(path, harts, seconds)
  local result = guest.qemu(path, { seconds = seconds, options = ("-singlestep -smp %d"):format(harts), raw = true })
  local notes, at = {}, 0
  for h = 1, harts do
    local size = tonumber(number_at(result.bytes, at))
    notes[h] = result.bytes:sub(at + 1, at + size)
    at = at + size
  end
  return notes, result.reason == "exit" or "QEMU ended with " .. result.reason
end

-- The bytes that program i of a hart noted.
local function part(notes, i)
  local from = i == 1 and LINKS or tonumber(number_at(notes, 8 * (i - 1)) % NOTES_BYTES)
  local to = tonumber(number_at(notes, 8 * i) % NOTES_BYTES)
  if to <= from then to = #notes end
  return notes:sub(from + 1, to)
end

-- Whether an AMO lies at a place that was noted.
local function is_amo(program, place)
  local from = tonumber(bit.band(place, u64(0xffffffff))) - 0x80000000
  local low, high = program.bytes:byte(from + 1), program.bytes:byte(from + 4)
  return from >= 0 and low ~= nil and high ~= nil and bit.band(low, 0x7f) == 0x2f and bit.rshift(high, 3) ~= 2
end

-- QEMU's notes with what it calls a denied load where an AMO was denied.
local function corrected(notes, program)
  local pieces, done = {}, 0
  for at = 0, #notes - END - 32, 32 do
    local cause = notes:byte(at + 1)
    if (cause == 5 or cause == 13) and notes:sub(at + 2, at + 8) == ("\0"):rep(7) and
       is_amo(program, number_at(notes, at + 16)) then
      pieces[#pieces + 1] = notes:sub(done + 1, at) .. string.char(cause + 2)
      done = at + 1
    end
  end
  return table.concat(pieces) .. notes:sub(done + 1)
end

local function assemble(lists, name, without)
  local program = asm.assemble(modes.text(lists, without), { at = 0x80000000, name = name })
  lfs.mkdir "build"
  lfs.mkdir(FOLDER)
  local path = ("%s/%s.elf"):format(FOLDER, name)
  local file = assert(io.open(path, "wb"))
  file:write(asm.elf(program))
  file:close()
  return path, program
end

-- What two notes of one program say differently, as text.
local function difference(ours, theirs)
  local lines = {}
  for at = 0, math.max(#ours, #theirs) - 8, 8 do
    local a, b = number_at(ours, at), number_at(theirs, at)
    if a ~= b and #lines < 8 then lines[#lines + 1] = ("  note %d: %s here, %s there"):format(at / 8, bit.tohex(a, 16), bit.tohex(b, 16)) end
  end
  if #ours ~= #theirs then lines[#lines + 1] = ("  %d bytes here, %d there"):format(#ours, #theirs) end
  return table.concat(lines, "\n")
end

local function count_causes(notes, causes)
  for at = 0, #notes - END - 32, 32 do
    local cause = notes:byte(at + 1) + (notes:byte(at + 8) > 0 and 64 or 0)
    causes[cause] = (causes[cause] or 0) + 1
  end
end

-- Runs lists of programs, one a hart. Returns the first that differs { hart, index, text }, or nil and how many traps of each cause there
-- were (interrupts: their number + 64).
local function compare(lists, name, seconds, way, without)
  local path, program = assemble(lists, name, without)
  local ours, here = run_here(path, #lists, seconds, way)
  local theirs, there = run_qemu(path, #lists, seconds)
  os.remove(path)
  if #theirs[#lists] == 0 then return { text = "  " .. tostring(there) } end
  for h, list in ipairs(lists) do
    for i in ipairs(list) do
      local a, b = part(ours[h], i), part(theirs[h], i)
      if a ~= b then b = corrected(b, program) end
      if a ~= b then return { hart = h, index = i, text = difference(a, b), ours = a, theirs = b } end
    end
  end
  if here ~= true or there ~= true then return { text = ("  %s, %s"):format(tostring(here), tostring(there)) } end
  if #ours[1] ~= #theirs[1] or ours[1]:sub(-8) ~= theirs[1]:sub(-8) then return { text = "  the sum of all harts differs" } end
  local causes = {}
  for h, list in ipairs(lists) do
    for i in ipairs(list) do count_causes(part(ours[h], i), causes) end
  end
  return nil, causes
end

-- Leaves out steps of a program that differs for as long as it does; the text of what is left.
local function shrink(p, way)
  local without, left = {}, 0
  local lists = {}
  for h = 1, p.hart do lists[h] = {} end
  lists[p.hart + 1] = { p }
  local till = host.seconds() + 60
  for i = 1, #p.steps do
    without[i] = host.seconds() < till or nil
    local found = compare(lists, "shrink", 2, way, without)
    if not found or not found.hart then without[i] = nil end
  end
  local found = compare(lists, "shrink", 2, way, without)
  local lines = { found and found.text or "  (differs only among others)" }
  for i, step in ipairs(p.steps) do
    if not without[i] then
      left = left + 1
      lines[#lines + 1] = ("  %s: %s"):format(({ [U] = "user", [S] = "supervisor", [M] = "machine" })[step[1]], (step[2]:gsub("\n", "\n      ")))
    end
  end
  local numbers = {}
  for i, value in ipairs(p.row) do numbers[i] = bit.tohex(value, 16) end
  lines[#lines + 1] = ("  %d steps are left; row: %s"):format(left, table.concat(numbers, " "))
  return table.concat(lines, "\n")
end

modes.WAYS = #RUNS

-- Runs `count` programs from number `first` on, a share on each hart, here in one of several ways (1 to modes.WAYS). Raises what differs,
-- as small as it gets; returns how many traps of each cause there were.
function modes.compare(first, count, harts, way)
  local lists = {}
  for h = 1, harts do lists[h] = {} end
  for i = 0, count - 1 do
    local hart = i % harts
    table.insert(lists[hart + 1], modes.program(first + i, hart))
  end
  local found, causes = compare(lists, "modes" .. first, 60, RUNS[way or 1])
  if not found then return causes end
  if not found.hart then error(("programs %d to %d:\n%s"):format(first, first + count - 1, found.text), 0) end
  local p = lists[found.hart][found.index]
  error(("program %d on hart %d:\n%s\n%s"):format(p.number, p.hart, found.text, shrink(p, RUNS[way or 1])), 0)
end

return modes
