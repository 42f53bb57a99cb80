-- kernels: the same C in umbra, in QEMU and natively: whole processes, their start included.
-- SPDX-License-Identifier: MIT
local bench = require "umbra.bench"
local build = bench.file "guest/build.lua"

local QUICK = 10                                  -- of how many turns a quick run does one

local function repeats(p)
  local all = build.kernel(p.kernel).repeats
  return p.quick and math.ceil(all / QUICK) or all
end

local function program(p) return build.program(p.kernel, "bare", repeats(p)) end

local function umbra(p) return { bench.umbra, "run", "bare", "kernel=" .. program(p) } end
local function qemu(p) return { "qemu-system-riscv64", "-M", "spike", "-m", "128M", "-nographic", "-bios", "none", "-kernel", program(p) } end
local function native(p) return { build.native_program(p.kernel), tostring(repeats(p)) } end

local group = { help = "kernels in umbra, QEMU (its compiler, a bare machine with HTIF) and natively" }
for suite, quick in build.suites { integer = { "bytecode", "fib" }, mixed = "mix", float = "mandelbrot" } do
  group[#group + 1] = bench.process {
    name = suite, samples = 9, params = { kernel = build.names(suite) }, quick = { kernel = quick }, needs = { build.compiler_program, "gcc" },
    sides = { { "umbra", command = umbra }, { "qemu", command = qemu }, { "native", command = native } },
  }
end
return bench(group)
