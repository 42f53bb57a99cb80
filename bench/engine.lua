-- engine: the engines beside one another and beside QEMU: kernels as processes (qemu-riscv64, the same ELF), on a bare machine and under
-- Sv39, and Debian's boot.
-- SPDX-License-Identifier: MIT
--
--   umbra bench bench/engine.lua                      all of it
--   umbra bench bench/engine.lua --filter processes   build/umbra exec --engine E FILE.linux N, qemu-riscv64 FILE.linux N
--   umbra bench bench/engine.lua --filter boot        umbra run riscv-virt engine=E append=mode=off ...
local bench, fetch = require "umbra.bench", require "umbra.fetch"
local build = bench.file "guest/build.lua"

local QUICK = 10                                  -- of how many turns a quick run does one

local function repeats(p)
  local all = build.kernel(p.kernel).repeats
  return tostring(p.quick and math.ceil(all / QUICK) or all)
end

local function process(engine)
  return function(p) return { bench.umbra, "exec", "--engine", engine, build.linux_program(p.kernel), repeats(p) } end
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

local group = { help = "t0, t1 and auto beside one another and beside QEMU" }
for _, suite in ipairs { "integer", "mixed", "float" } do
  local list = sides(process)
  list[#list + 1] = { "qemu", command = function(p) return { "qemu-riscv64", build.linux_program(p.kernel), repeats(p) } end }
  group[#group + 1] = bench.process {
    name = "processes/" .. suite, samples = 9, params = { kernel = build.names(suite) }, needs = { build.compiler_program, "qemu-riscv64" }, sides = list,
  }
  group[#group + 1] = bench.process {
    name = "machines/" .. suite, samples = 9, params = { kernel = build.names(suite), mode = build.modes }, needs = { build.compiler_program },
    sides = sides(bare),
  }
end
group[#group + 1] = bench.process { name = "boot", limit = 120, samples = 9, sides = sides(boot) }
return bench(group)
