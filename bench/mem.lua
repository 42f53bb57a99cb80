-- mem: what an access to guest memory costs from Lua, through the checks that every access passes.
-- SPDX-License-Identifier: MIT
local bench, mem = require "umbra.bench", require "umbra.mem"

local RAM, BYTES = 0x80000000, 2^20

local function setup()
  local m = mem.new()
  m:add_ram { at = RAM, size = BYTES }
  m:write(RAM, ("\1"):rep(BYTES))                 -- the host gives the pages now, not while we measure
  return m
end

return bench {
  help = "guest memory through umbra.mem",
  bench.component {
    name = "load", unit = "access", params = { size = { 1, 2, 4, 8 } },
    setup = function(p) return { mem = setup(), size = p.size } end,
    routine = function(s, i) return s.mem:load(RAM + i % 8192 * 8, s.size) end,
    teardown = function(s) s.mem:close() end,
  },
  bench.component {
    name = "store", unit = "access", params = { size = { 1, 2, 4, 8 } },
    setup = function(p) return { mem = setup(), size = p.size } end,
    routine = function(s, i) s.mem:store(RAM + i % 8192 * 8, s.size, i) end,
    teardown = function(s) s.mem:close() end,
  },
  bench.component {
    name = "read", unit = "byte", params = { bytes = { 64, 4096, 65536 } }, per = function(p) return p.bytes end,
    setup = function(p) return { mem = setup(), bytes = p.bytes } end,
    routine = function(s, i) return s.mem:read(RAM + i % 8 * 65536, s.bytes) end,
    teardown = function(s) s.mem:close() end,
  },
  bench.component {
    name = "write", unit = "byte", params = { bytes = { 64, 4096, 65536 } }, per = function(p) return p.bytes end,
    setup = function(p) return { mem = setup(), text = ("x"):rep(p.bytes) } end,
    routine = function(s, i) s.mem:write(RAM + i % 8 * 65536, s.text) end,
    teardown = function(s) s.mem:close() end,
  },
  bench.component {
    name = "view", unit = "access", setup = setup, teardown = function(m) m:close() end,
    routine = function(m, i) return m:view(RAM + i % 256 * 4096, 4096)[0] end,
  },
}
