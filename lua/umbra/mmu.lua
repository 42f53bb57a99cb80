-- mmu: RISC-V's page-table walker and physical memory protection, over an address space of umbra.mem.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local bit     = require "bit"
local address = require "umbra.address"
local bits    = require "umbra.bits"
local clib    = require "umbra.clib"
local fault   = require "umbra.fault"
local handle  = require "umbra.handle"
local schema  = require "umbra.schema"

local C = clib.C

local mmu = {}
local Mmu = { noun = "mmu" }
Mmu.__index = Mmu

local why, result = ffi.new "struct um_fault", ffi.new "struct um_mmu_result"

local ACCESS = { r = 0, w = 1, x = 2 }
local PRIV   = { u = 0, s = 1, m = 3 }
local MODE   = { bare = 0ULL, sv39 = 8ULL, sv48 = 9ULL, sv57 = 10ULL }
local FAULTS = { [C.UM_MMU_PAGE_FAULT] = "page fault", [C.UM_MMU_ACCESS_FAULT] = "access fault" }
local PAGE_BYTES = 4096

local OPTIONS = {
  { "mem", type = "table", required = true, help = "the address space that holds the tables" },
  { "mode", type = "enum", values = { "bare", "sv39", "sv48", "sv57" }, default = "sv39", help = "layout of the page tables" },
  { "root", type = "address", default = 0, max = 2^56 - PAGE_BYTES, multiple_of = PAGE_BYTES, help = "where the root table lies" },
  { "priv", type = "enum", values = { "u", "s", "m" }, default = "s", help = "privilege of the accesses: m with mode bare only" },
  { "sum", type = "boolean", default = false, help = "supervisor may load and store user pages" },
  { "mxr", type = "boolean", default = false, help = "loads may read pages that are only executable" },
  { "update_ad", type = "boolean", default = false, help = "set A and D bits (Svadu) instead of faulting (Svade)" },
  { "napot", type = "boolean", default = false, help = "64 KiB leaves (Svnapot)" },
  { "pbmt", type = "boolean", default = false, help = "memory types in leaves (Svpbmt)" },
}
local SWEEP = {
  { "at", type = "any", required = true, help = "first address" },
  { "stride", type = "integer", default = PAGE_BYTES, help = "bytes from one address to the next" },
  { "count", type = "integer", required = true, min = 0, help = "walks" },
}

local function number_of(names, value, what, choices)
  local number = names[value]
  if not number then fault.raise("`%s` must be %s, not %s", what, choices, schema.show(value)) end
  return number
end

local function access_of(value) return number_of(ACCESS, value, "access", '"r", "w" or "x"') end
local function priv_of(value) return number_of(PRIV, value, "priv", '"u", "s" or "m"') end

-- The walker's pointer, and proof that the memory it reads is still there.
local function live(self)
  local _ = self.mem.ptr
  return self.ptr
end

-- mmu.new { mem = m, mode = "sv39", root = 0x80001000, priv = "u" }
function mmu.new(options)
  options = schema.check(options, OPTIONS, "mmu")
  local raw = ffi.new("struct um_mmu_options", {
    satp = MODE[options.mode] * 2ULL^60 + bits.u64(options.root) / PAGE_BYTES,
    priv = PRIV[options.priv],
    sum = options.sum, mxr = options.mxr, update_ad = options.update_ad, napot = options.napot, pbmt = options.pbmt,
  })
  if not ffi.istype("um_mem *", options.mem.ptr) then fault.raise("`mmu.mem` must be an address space from umbra.mem") end
  local ptr = C.um_mmu_new(options.mem.ptr, raw, why)
  if ptr == nil then fault.check(why.status, why) end
  return handle.new(Mmu, ptr, C.um_mmu_free, { mem = options.mem })
end

local BITS = { v = 1, r = 2, w = 4, x = 8, u = 16, g = 32, a = 64, d = 128 }

-- A page-table entry (uint64_t) for the page or table at `gpa`: mmu.pte(0x80200000, "vrwad").
function mmu.pte(gpa, flags)
  local entry = address.check(gpa, "gpa") / PAGE_BYTES * 1024ULL
  for letter in flags:gmatch "." do
    entry = bit.bor(entry, 0ULL + number_of(BITS, letter, "flags", "letters of vrwxugad"))
  end
  return entry
end

-- Translates an access of `size` bytes (default 1, within one page): its guest-physical address, the bytes of the leaf and whether
-- stores to it may be cached (D is set); or nil and "page fault" or "access fault".
function Mmu:translate(gva, access, size)
  gva = address.check(gva, "gva")
  size = address.count(size or 1, "size", 1, tonumber(PAGE_BYTES - gva % PAGE_BYTES))
  if not C.um_mmu_translate(live(self), gva, size, access_of(access), result) then return nil, FAULTS[result.fault] end
  return bits.number(result.gpa), tonumber(result.page), result.dirty
end

-- `count` walks for loads in C, `stride` bytes apart: sweep { at = 0, count = 1e6 }. Returns how many succeeded.
function Mmu:sweep(options)
  options = schema.check(options, SWEEP, "sweep")
  return tonumber(C.um_mmu_sweep(live(self), address.check(options.at, "sweep.at"), bits.u64(options.stride), options.count))
end

function Mmu:walks() return tonumber(C.um_mmu_walks(self.ptr)) end
function Mmu:steps() return tonumber(C.um_mmu_steps(self.ptr)) end      -- page-table entries read by the walks

-- Sets PMP entry `index` (0 to 15) to what pmpcfg and pmpaddr would hold. With the first one the walker has PMP: from then on what no
-- entry matches is denied to u and s.
function Mmu:set_pmp(index, cfg, addr)
  address.count(index, "index", 0, 15)
  address.count(cfg, "cfg", 0, 255)
  fault.check(C.um_mmu_set_pmp(self.ptr, index, cfg, address.check(addr, "addr"), why), why)
end

-- True if PMP lets an access of `size` bytes through.
function Mmu:pmp_allows(gpa, size, access, priv)
  gpa = address.check(gpa, "gpa")
  return C.um_mmu_pmp_allows(self.ptr, gpa, address.count(size, "size", 1, 2^53), access_of(access), priv_of(priv))
end

-- True if PMP treats all bytes of gpa's 4 KiB page alike.
function Mmu:pmp_uniform(gpa)
  return C.um_mmu_pmp_uniform(self.ptr, address.check(gpa, "gpa"))
end

Mmu.close = handle.close

return mmu
