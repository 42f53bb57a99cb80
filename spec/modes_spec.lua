-- modes: random programs over machine, supervisor and user mode leave the same here and under qemu-system-riscv64 -M virt.
-- SPDX-License-Identifier: MIT
local modes  = require "spec.support.modes"
local random = require "spec.support.random"

describe("programs over machine, supervisor and user mode, as QEMU", function()
  -- A program comes from its number: UMBRA_SEED=N looks at program N and those after it.
  local first, BATCH = random.seed(1), 60
  local count = random.soak() and 10000 or 300

  it(("leave the same registers, CSRs, page tables, memory and traps, %d of them"):format(count), function()
    local causes = {}
    local function run(batch) return modes.compare(first + batch * BATCH, BATCH, batch % 3 == 0 and 1 or 2, batch % modes.WAYS + 1) end
    for batch = 0, math.ceil(count / BATCH) - 1 do
      for cause, times in pairs(run(batch)) do causes[cause] = (causes[cause] or 0) + times end
    end
    -- Every exception that such programs can have, and every interrupt but machine external, came.
    for _, cause in ipairs { 1, 2, 3, 5, 7, 8, 9, 11, 12, 13, 15, 64 + 1, 64 + 3, 64 + 5, 64 + 7, 64 + 9 } do
      assert(causes[cause] and causes[cause] >= 10, "cause " .. cause % 64 .. ": " .. tostring(causes[cause]))
    end
  end)
end)
