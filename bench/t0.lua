-- t0: guest instructions a second of tier 0 on bare-metal kernels, without paging and under Sv39, fused and not.
-- SPDX-License-Identifier: MIT
local bench, machine, dev = require "umbra.bench", require "umbra.machine", require "devices"
local build = bench.file "guest/build.lua"

local QUICK = 10                                  -- of how many turns a quick run does one

local function build_machine(p)
  local kernel = build.kernel(p.kernel)
  local repeats = p.quick and math.ceil(kernel.repeats / QUICK) or kernel.repeats
  return machine.build(machine {
    engine = "t0",
    cpu  = { isa = "rv64gc_zicntr", mmu = "sv39", fuse = p.fuse },
    ram  = { at = 0x80000000, size = "64M" },
    map  = { { name = "htif", dev.htif {} } },
    boot = { kernel = build.program(p.kernel, p.mode, repeats) },
  })
end

local group = { help = "tier 0 on kernels" }
for _, suite in ipairs { "integer", "mixed", "float" } do
  group[#group + 1] = bench.guest {
    name = suite, needs = { build.compiler_program }, machine = build_machine, samples = 9,
    params = { kernel = build.names(suite), mode = build.modes },
    sides = { { "fused", fuse = true }, { "not fused", fuse = false } },
  }
end
return bench(group)
