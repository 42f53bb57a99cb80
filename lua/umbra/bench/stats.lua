-- stats: what repeated measurements say: medians, their bootstrap intervals, ratios of alternated pairs.
-- SPDX-License-Identifier: MIT
local bit   = require "bit"
local fault = require "umbra.fault"

local stats = {}

local RESAMPLES = 10000
local SEED = 0x2545f491

-- xorshift32 (Marsaglia 2003): the same numbers for the same seed on every host. next(n) gives an integer from 1 to n.
function stats.random(seed)
  local x = bit.tobit(seed or SEED)
  if x == 0 then fault.raise("the seed of a xorshift must not be 0") end
  return function(n)
    x = bit.bxor(x, bit.lshift(x, 13))
    x = bit.bxor(x, bit.rshift(x, 17))
    x = bit.bxor(x, bit.lshift(x, 5))
    return x % n + 1                              -- % of Lua is never negative
  end
end

local function sorted(values)
  if #values == 0 then fault.raise("no values to take a median of") end
  local copy = {}
  for i, value in ipairs(values) do copy[i] = value end
  table.sort(copy)
  return copy
end

local function middle(list)
  local half = #list / 2
  if half % 1 ~= 0 then return list[half + 0.5] end
  return (list[half] + list[half + 1]) / 2
end

function stats.median(values) return middle(sorted(values)) end

function stats.geometric_mean(values)
  local sum = 0
  for _, value in ipairs(values) do sum = sum + math.log(value) end
  return math.exp(sum / #values)
end

-- The value at place `at` (1 to n) of a sample given as how often each rank was drawn.
local function at_rank(list, drawn, at)
  local seen = 0
  for rank = 1, #list do
    seen = seen + drawn[rank]
    if seen >= at then return list[rank] end
  end
end

-- The median of `values` and its bootstrap interval: { median =, low =, high =, n = }. options: level (0.95), resamples, seed.
-- Percentile method. Drawing ranks of the sorted sample spares a sort for every resample.
function stats.interval(values, options)
  options = options or {}
  local list, next_random = sorted(values), stats.random(options.seed)
  local n, resamples = #list, options.resamples or RESAMPLES
  local lower, upper = math.floor((n + 1) / 2), math.floor(n / 2) + 1
  local medians, drawn = {}, {}
  for r = 1, resamples do
    for rank = 1, n do drawn[rank] = 0 end
    for _ = 1, n do
      local rank = next_random(n)
      drawn[rank] = drawn[rank] + 1
    end
    medians[r] = (at_rank(list, drawn, lower) + at_rank(list, drawn, upper)) / 2
  end
  table.sort(medians)
  local tail = (1 - (options.level or 0.95)) / 2
  local function quantile(q) return medians[math.min(math.max(math.ceil(q * resamples), 1), resamples)] end
  return { median = middle(list), low = quantile(tail), high = quantile(1 - tail), n = n }
end

-- The ratio of each pair a[i] / b[i], as stats.interval gives it: what alternated runs of two programs are compared by.
function stats.paired(a, b, options)
  if #a ~= #b then fault.raise("pairs need as many values on both sides: %d and %d", #a, #b) end
  local ratios = {}
  for i = 1, #a do ratios[i] = a[i] / b[i] end
  return stats.interval(ratios, options)
end

return stats
