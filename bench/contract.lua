-- contract: what umbra promises, as data. `umbra bench contract` measures it.
-- SPDX-License-Identifier: MIT
local bench = require "umbra.bench"

local T0, BOOT, DEVICE = "docs/perf/2026-11-tier0.md", "docs/perf/2026-11-boot.md", "docs/device.md"

return bench.contract {
  { name = "tier 0, six integer kernels, no paging: geometric mean", of = "t0/integer kernel=%w+ mode=bare", side = "fused", figure = "MIPS",
    by = "best", take = "geometric mean", at_least = 650, published = T0 },
  { name = "tier 0, six integer kernels, Sv39: geometric mean", of = "t0/integer kernel=%w+ mode=sv39", side = "fused", figure = "MIPS",
    by = "best", take = "geometric mean", at_least = 500, published = T0 },
  { name = "tier 0, integer kernels: the slowest", of = "t0/integer .*", side = "fused", figure = "MIPS", by = "best", take = "lowest",
    at_least = 380, published = T0 },
  { name = "a hook's condition that never holds, on a hot instruction", of = "hook/never .*", side = "guarded", to = "plain", figure = "ratio", at_most = 1.05,
    published = "docs/perf/2026-11-hook.md" },
  { name = "Linux to power-off, against QEMU", of = "boot/boot", side = "umbra", to = "qemu", figure = "ratio", at_most = 1.5, published = BOOT },
  { name = "Linux to power-off", of = "boot/boot", side = "umbra", figure = "seconds", by = "best", at_most = 4, published = "README.md" },
  { name = "an access to a device in Lua, function without a loop", of = "mmio/Lua, functions", figure = "ns", by = "best", at_most = 300, published = DEVICE },
  { name = "an access to a device in Lua, jit = true", of = "mmio/Lua, functions, jit = true", figure = "ns", by = "best", at_most = 300, published = DEVICE },
  { name = "an access to a device in C", of = "mmio/C", figure = "ns", by = "best", at_most = 150, published = DEVICE },
  { name = "an interval by 100,000 resamples of 100 values", of = "statistics/median", figure = "seconds", at_most = 0.2, published = "docs/bench.md" },
}
