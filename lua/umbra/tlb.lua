-- tlb: a translation cache of its own: fill it, look up, flush, measure. A hart has the same inside.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local address = require "umbra.address"
local bits    = require "umbra.bits"
local clib    = require "umbra.clib"
local fault   = require "umbra.fault"
local handle  = require "umbra.handle"
local schema  = require "umbra.schema"

local C = clib.C

local tlb = {}
local Tlb = { noun = "tlb" }
Tlb.__index = Tlb

local why, answer = ffi.new "struct um_fault", ffi.new "uint64_t[1]"

local KIND = { r = 0, w = 1, x = 2 }
local SIZES = { [1] = true, [2] = true, [4] = true, [8] = true }

local OPTIONS = {
  { "entries", type = "integer", default = 256, min = 16, max = 65536, power_of_two = true, help = "entries for each of read, write, execute" },
}
local FILL = {
  { "gva", type = "any", required = true, help = "any address of the page" },
  { "gpa", type = "any", required = true, help = "any address of the page it translates to" },
  { "allow", type = "string", default = "r", help = "which accesses may hit: letters of rwx" },
  { "page", type = "size", default = 4096, min = 4096, power_of_two = true, help = "bytes of the leaf it comes from" },
}
local SWEEP = {
  { "at", type = "any", required = true, help = "first address" },
  { "stride", type = "integer", default = 4096, help = "bytes from one address to the next" },
  { "count", type = "integer", required = true, min = 0, help = "look-ups" },
  { "access", type = "enum", values = { "r", "w", "x" }, default = "r", help = "kind of access" },
}

local function kind_of(access)
  local kind = KIND[access]
  if not kind then fault.raise('`access` must be "r", "w" or "x", not %s', schema.show(access)) end
  return kind
end

-- tlb.new { entries = 256 }
function tlb.new(options)
  options = schema.check(options, OPTIONS, "tlb")
  local ptr = C.um_tlb_new(options.entries, why)
  if ptr == nil then fault.check(why.status, why) end
  return handle.new(Tlb, ptr, C.um_tlb_free)
end

-- fill { gva = 0x1000, gpa = 0x80001000, allow = "rw" }: one page; an earlier one at the same index is gone.
function Tlb:fill(options)
  options = schema.check(options, FILL, "fill")
  local gva, gpa = address.check(options.gva, "fill.gva"), address.check(options.gpa, "fill.gpa")
  if not options.allow:find "^[rwx]+$" then
    fault.raise("`fill.allow` must be letters of rwx, not %s", schema.show(options.allow))
  end
  for letter in options.allow:gmatch "." do C.um_tlb_fill(self.ptr, KIND[letter], gva, gpa) end
  C.um_tlb_note_leaf(self.ptr, gva, options.page)
end

-- The guest-physical address of an access, or nil on a miss. An access that is not aligned to its size (1, 2, 4 or 8) always misses.
function Tlb:lookup(gva, access, size)
  size = size or 1
  if not SIZES[size] then fault.raise("`size` must be 1, 2, 4 or 8, not %s", schema.show(size)) end
  if C.um_tlb_lookup(self.ptr, kind_of(access), address.check(gva, "gva"), size, answer) then return bits.number(answer[0]) end
  return nil
end

function Tlb:flush() C.um_tlb_flush(self.ptr) end

-- Forgets the page of gva, and what may belong to the same larger leaf.
function Tlb:flush_page(gva) C.um_tlb_flush_page(self.ptr, address.check(gva, "gva")) end

-- `count` look-ups in C, `stride` bytes apart: sweep { at = 0, count = 1e6 }. Returns the hits.
function Tlb:sweep(options)
  options = schema.check(options, SWEEP, "sweep")
  local at = address.check(options.at, "sweep.at")
  return tonumber(C.um_tlb_sweep(self.ptr, KIND[options.access], at, bits.u64(options.stride), options.count))
end

-- { misses = { r =, w =, x = }, fills =, flushes =, page_flushes = } since it was made.
function Tlb:counts()
  local counts = ffi.new "struct um_tlb_counts"
  C.um_tlb_counts(self.ptr, counts)
  return {
    misses       = { r = tonumber(counts.misses[0]), w = tonumber(counts.misses[1]), x = tonumber(counts.misses[2]) },
    fills        = tonumber(counts.fills),
    flushes      = tonumber(counts.flushes),
    page_flushes = tonumber(counts.page_flushes),
  }
end

Tlb.close = handle.close

return tlb
