-- aa: two sides that are the same. Whatever difference is measured here is noise.
--
--   umbra bench bench/noise/aa.lua --quick
--
-- SPDX-License-Identifier: MIT
local bench = require "umbra.bench"
local C = require("umbra.clib").C
local machine, mem, mmu, tlb = require "umbra.machine", require "umbra.mem", require "umbra.mmu", require "umbra.tlb"
local build = bench.file "../guest/build.lua"

local RAM = 0x80000000

local function memory()
  local m = mem.new()
  m:add_ram { at = RAM, size = "4M" }
  m:write(RAM, ("\1"):rep(2^20))
  return m
end

local function close(s) s:close() end

local function filled()
  local t = tlb.new { entries = 512 }
  for page = 0, 511 do t:fill { gva = page * 4096, gpa = page * 4096 } end
  return t
end

local function walker()
  local m = memory()
  m:store(RAM, 8, mmu.pte(RAM + 4096, "v"))
  m:store(RAM + 4096, 8, mmu.pte(RAM + 8192, "v"))
  for page = 0, 511 do m:store(RAM + 8192 + 8 * page, 8, mmu.pte(RAM + 2^20 + 4096 * page, "vrwad")) end
  local w = mmu.new { mem = m, root = RAM }
  return { w = w, close = function() w:close() m:close() end }
end

local group = {
  { name = "load", setup = memory, routine = function(m, i) return m:load(RAM + i % 8192 * 8, 8) end, teardown = close },
  { name = "hit", per = 10000, setup = filled, teardown = close, routine = function(t) return t:sweep { at = 0, stride = 4160, count = 10000 } end },
  { name = "flush", setup = filled, teardown = close, routine = function(t) C.um_tlb_fill(t.ptr, 0, 4096, 4096) C.um_tlb_flush(t.ptr) end },
  { name = "walk", setup = walker, teardown = close, routine = function(s, i) return s.w:translate(i % 512 * 4096, "r") end },
}
for i, case in ipairs(group) do
  case.sides = { { "a" }, { "b" } }
  group[i] = bench.component(case)
end
for _, kernel in ipairs { "fib", "qsort" } do
  group[#group + 1] = bench.guest {
    name = kernel, sides = { { "a" }, { "b" } },
    machine = function() return machine.load("bare", { kernel = build.program(kernel, "bare", build.kernel(kernel).repeats) }) end,
    to = { instructions = 3e7 },
  }
end
group[#group + 1] = bench.process { name = "run native", command = { build.native_program "sieve", "24" }, sides = { { "a" }, { "b" } } }
group[#group + 1] = bench.process {
  name = "run umbra", command = { bench.umbra, "run", "bare", "kernel=" .. build.program("fib", "bare", 6) }, sides = { { "a" }, { "b" } },
}
return bench(group)
