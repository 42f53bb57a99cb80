-- statistics: what the statistics of umbra bench themselves take.
-- SPDX-License-Identifier: MIT
local bench, stats = require "umbra.bench", require "umbra.bench.stats"

local function values()
  local list, next_random = {}, stats.random(1)
  for i = 1, 100 do list[i] = 1000 + next_random(100) end
  return list
end

return bench {
  help = "bootstrap intervals of 100 values, 100,000 resamples",
  bench.component { name = "median", unit = "interval", setup = values, routine = function(list) return stats.interval(list).low end },
  bench.component { name = "mean", unit = "interval", setup = values, routine = function(list) return stats.mean_interval(list).low end },
  bench.component { name = "comparison", unit = "interval", setup = values, routine = function(list) return stats.compare(list, list).low end },
}
