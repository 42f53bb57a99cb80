-- mmu: page-table walks in every paging mode, leaves of 4 KiB.
-- SPDX-License-Identifier: MIT
local bench, mem, mmu = require "umbra.bench", require "umbra.mem", require "umbra.mmu"

local RAM, LEVELS = 0x80000000, { bare = 0, sv39 = 3, sv48 = 4, sv57 = 5 }

-- Tables below each other, a page each: the first entry of all but the last leads on, the last maps 512 pages.
local function setup(p)
  local m, levels = mem.new(), LEVELS[p.mode]
  m:add_ram { at = RAM, size = "4M" }
  for level = 0, levels - 2 do m:store(RAM + 4096 * level, 8, mmu.pte(RAM + 4096 * (level + 1), "v")) end
  for page = 0, 511 do m:store(RAM + 4096 * math.max(levels - 1, 0) + 8 * page, 8, mmu.pte(RAM + 2^20 + 4096 * page, "vrwad")) end
  return { mem = m, at = levels == 0 and RAM or 0, walker = mmu.new { mem = m, mode = p.mode, root = RAM, priv = "s" } }
end

local function teardown(s)
  s.walker:close()
  s.mem:close()
end

return bench {
  help = "translation of an address",
  bench.component {
    name = "walk", unit = "walk", per = 5120, params = { mode = { "bare", "sv39", "sv48", "sv57" } }, setup = setup, teardown = teardown,
    routine = function(s)
      for _ = 1, 10 do s.walker:sweep { at = s.at, count = 512 } end
    end,
  },
  bench.component {
    name = "walk from Lua", unit = "walk", params = { mode = "sv39" }, setup = setup, teardown = teardown,
    routine = function(s, i) return s.walker:translate(i % 512 * 4096, "r") end,
  },
}
