-- tlb: look-ups that hit and miss, filling, flushing.
-- SPDX-License-Identifier: MIT
local bench, tlb = require "umbra.bench", require "umbra.tlb"
local C = require("umbra.clib").C

local READ = 0                                    -- um_tlb's kind of a load

local function filled(p)
  local t = tlb.new { entries = p.entries }
  for page = 0, p.entries - 1 do t:fill { gva = page * 4096, gpa = page * 4096, allow = "rwx" } end
  return t
end

local function close(t) t:close() end

-- A call is 10,000 look-ups in C: what a hart pays, without Lua's part.
local function sweep(at)
  return function(t) return t:sweep { at = at, stride = 4096 + 64, count = 10000 } end
end

return bench {
  help = "the translation cache",
  bench.component { name = "hit", unit = "look-up", per = 10000, params = { entries = { 64, 512 } }, setup = filled, routine = sweep(0), teardown = close },
  bench.component { name = "miss", unit = "look-up", per = 10000, params = { entries = 512 }, setup = filled, routine = sweep(2^32), teardown = close },
  bench.component {
    name = "hit from Lua", unit = "look-up", params = { entries = 512 }, setup = filled, teardown = close,
    routine = function(t, i) return t:lookup(i % 512 * 4096, "r") end,
  },
  bench.component {
    name = "fill", unit = "entry", params = { entries = 512 }, setup = filled, teardown = close,
    routine = function(t, i) C.um_tlb_fill(t.ptr, READ, i % 512 * 4096, 4096) end,
  },
  bench.component {
    name = "flush", unit = "flush", params = { entries = { 64, 512 } }, setup = filled, teardown = close,
    routine = function(t)                         -- one entry in between: a flush of an empty TLB does nothing
      C.um_tlb_fill(t.ptr, READ, 4096, 4096)
      C.um_tlb_flush(t.ptr)
    end,
  },
  bench.component {
    name = "flush a page", unit = "flush", params = { entries = 512 }, setup = filled, teardown = close,
    routine = function(t, i) t:flush_page(i % 512 * 4096) end,
  },
}
