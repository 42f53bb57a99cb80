-- engine: the engines beside one another: kernels on a bare machine and under Sv39, and Debian's boot. Beside QEMU: bench/programs.lua
-- (processes, the same ELF), bench/kernels.lua, bench/system.lua and bench/boot.lua; UMBRA_ENGINE says which engine those measure.
-- SPDX-License-Identifier: MIT
--
--   umbra bench bench/engine.lua                      all of it
--   umbra bench bench/engine.lua --filter boot        umbra run riscv-virt engine=E append=mode=off ...
local bench, fetch = require "umbra.bench", require "umbra.fetch"
local build = bench.file "guest/build.lua"

local QUICK = 10                                  -- of how many turns a quick run does one

local function repeats(p)
  local all = build.kernel(p.kernel).repeats
  return tostring(p.quick and math.ceil(all / QUICK) or all)
end

local function bare(engine)
  return function(p) return { bench.umbra, "run", "bare", "engine=" .. engine, "kernel=" .. build.program(p.kernel, p.mode, tonumber(repeats(p))) } end
end

local function boot(engine)
  return function()
    local guest = fetch.ensure "debian-riscv64"
    return { bench.umbra, "run", "riscv-virt", "engine=" .. engine, "firmware=" .. guest.firmware, "kernel=" .. guest.kernel, "initrd=" .. guest.initrd,
      "append=mode=off", "ram=512M" }
  end
end

local function sides(of) return { { "auto", command = of "auto" }, { "t1", command = of "t1" }, { "t0", command = of "t0" } } end

local group = {
  help = "t0, t1 and auto beside one another: kernels on a bare machine and under Sv39, and Debian's boot",
  bench.process { name = "boot", limit = 120, samples = 9, sides = sides(boot) },
}
for suite, quick in build.suites { integer = "qsort", mixed = "fannkuch", float = "nbody" } do
  group[#group + 1] = bench.process {
    name = suite, samples = 9, params = { kernel = build.names(suite), mode = build.modes }, quick = { kernel = quick, mode = "sv39" },
    needs = { build.compiler_program }, sides = sides(bare),
  }
end
return bench(group)
