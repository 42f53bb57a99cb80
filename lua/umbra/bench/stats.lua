-- stats: what repeated measurements say: medians, bootstrap intervals, outliers, ratios of alternated pairs, tests.
--
-- Bootstrap intervals are percentile intervals. A resample of a sorted sample is kept as how often each rank was drawn, so that no
-- resample is sorted, and its median is found by counting. Random numbers are seeded: the same values give the same interval.
-- SPDX-License-Identifier: MIT
local bit   = require "bit"
local ffi   = require "ffi"
local fault = require "umbra.fault"

local bxor, lshift, rshift, tobit = bit.bxor, bit.lshift, bit.rshift, bit.tobit

local stats = {}

local RESAMPLES = 100000
local SEED = 0x2545f491
local LEVEL = 0.95
local CONSISTENT = 1.4826                         -- makes the MAD of a normal distribution its standard deviation

local doubles_t, counts_t = ffi.typeof "double[?]", ffi.typeof "int32_t[?]"

-- xorshift32 (Marsaglia 2003): the same numbers for the same seed on every host. next(n) gives an integer from 1 to n.
function stats.random(seed)
  local x = tobit(seed or SEED)
  if x == 0 then fault.raise("the seed of a xorshift must not be 0") end
  return function(n)
    x = bxor(x, lshift(x, 13))
    x = bxor(x, rshift(x, 17))
    x = bxor(x, lshift(x, 5))
    return x % n + 1                              -- % of Lua is never negative
  end
end

-- Describing a sample ------------------------------------------------------------------------------------------------------

local function sorted(values)
  if #values == 0 then fault.raise("no values to take a median of") end
  local copy = {}
  for i, value in ipairs(values) do copy[i] = value end
  table.sort(copy)
  return copy
end
stats.sorted = sorted

local function middle(list)
  local half = #list / 2
  if half % 1 ~= 0 then return list[half + 0.5] end
  return (list[half] + list[half + 1]) / 2
end

function stats.median(values) return middle(sorted(values)) end

-- The value below which the share q (0 to 1) of a sorted list lies, between two of them by proportion.
function stats.quantile(list, q)
  local at = q * (#list - 1) + 1
  local below = math.floor(at)
  return list[below] + (at - below) * ((list[below + 1] or list[below]) - list[below])
end

function stats.mean(values)
  local sum = 0
  for _, value in ipairs(values) do sum = sum + value end
  return sum / #values
end

-- Standard deviation of the population the sample comes from; 0 for a single value.
function stats.deviation(values)
  local mean, sum = stats.mean(values), 0
  for _, value in ipairs(values) do sum = sum + (value - mean)^2 end
  return #values > 1 and math.sqrt(sum / (#values - 1)) or 0
end

-- Median absolute deviation, scaled so that it is the standard deviation of a normal distribution.
function stats.mad(values)
  local median, off = stats.median(values), {}
  for i, value in ipairs(values) do off[i] = math.abs(value - median) end
  return CONSISTENT * stats.median(off)
end

function stats.geometric_mean(values)
  local sum = 0
  for _, value in ipairs(values) do sum = sum + math.log(value) end
  return math.exp(sum / #values)
end

-- The values as shares of the median of their cluster: what is left when the processes' own levels are taken away.
local function levelled(values, clusters)
  local result, at = {}, 0
  for _, count in ipairs(clusters) do
    local median = stats.median { unpack(values, at + 1, at + count) }
    for i = at + 1, at + count do result[i] = values[i] / median end
    at = at + count
  end
  return result
end

-- Tukey's fences: how many values lie more than 1.5 (mild) or 3 (severe) interquartile ranges outside the quartiles. With clusters: after
-- their levels are taken away.
function stats.outliers(values, clusters)
  local list = sorted(clusters and levelled(values, clusters) or values)
  local q1, q3 = stats.quantile(list, 0.25), stats.quantile(list, 0.75)
  local range, found = q3 - q1, { low_severe = 0, low_mild = 0, high_mild = 0, high_severe = 0 }
  for _, value in ipairs(list) do
    local name
    if value < q1 - 3 * range then name = "low_severe"
    elseif value < q1 - 1.5 * range then name = "low_mild"
    elseif value > q3 + 3 * range then name = "high_severe"
    elseif value > q3 + 1.5 * range then name = "high_mild" end
    if name then found[name] = found[name] + 1 end
  end
  return found
end

-- The line through the origin that fits y over x best: its slope, and R2, the share of y's variation that it explains.
function stats.slope(x, y)
  local xx, xy, rest, total, mean = 0, 0, 0, 0, stats.mean(y)
  for i = 1, #x do
    xx = xx + x[i] * x[i]
    xy = xy + x[i] * y[i]
  end
  local slope = xy / xx
  for i = 1, #x do
    rest = rest + (y[i] - slope * x[i])^2
    total = total + (y[i] - mean)^2
  end
  return slope, total > 0 and 1 - rest / total or 1
end

-- Bootstrap ----------------------------------------------------------------------------------------------------------------

-- Samples of several processes hang together: clusters = their numbers, in order, adding up to n (nil: one cluster of all). A resample then
-- draws clusters first and values within them, as many clusters as there are. Returns first place and size of each.
local function layout(n, clusters)
  clusters = clusters or { n }
  local first, size, at = counts_t(#clusters), counts_t(#clusters), 0
  for i, count in ipairs(clusters) do
    first[i - 1], size[i - 1] = at, count
    at = at + count
  end
  if at ~= n then fault.raise("clusters of %d values, but there are %d", at, n) end
  return first, size, #clusters
end

-- Fills to[0] to to[resamples - 1] with the medians of resamples of `values`; returns the generator's next state.
local function medians(values, clusters, to, resamples, x)
  local n, order = #values, {}
  local first, size, groups = layout(n, clusters)
  for i = 1, n do order[i] = i end
  table.sort(order, function(a, b) return values[a] < values[b] or values[a] == values[b] and a < b end)
  local value, rank_of, drawn = doubles_t(n), counts_t(n), counts_t(n)
  for rank, i in ipairs(order) do value[rank - 1], rank_of[i - 1] = values[i], rank - 1 end
  for r = 0, resamples - 1 do
    ffi.fill(drawn, 4 * n)
    local total = 0
    for _ = 1, groups do
      x = bxor(x, lshift(x, 13))
      x = bxor(x, rshift(x, 17))
      x = bxor(x, lshift(x, 5))
      local group = math.floor(rshift(x, 1) * (groups / 2^31))
      local base, count = first[group], size[group]
      local scale = count / 2^31
      total = total + count
      for _ = 1, count do
        x = bxor(x, lshift(x, 13))
        x = bxor(x, rshift(x, 17))
        x = bxor(x, lshift(x, 5))
        local rank = rank_of[base + math.floor(rshift(x, 1) * scale)]
        drawn[rank] = drawn[rank] + 1
      end
    end
    local lower, upper = math.floor((total + 1) / 2), math.floor(total / 2) + 1
    local rank, seen = 0, drawn[0]
    while seen < lower do
      rank = rank + 1
      seen = seen + drawn[rank]
    end
    local low = value[rank]
    while seen < upper do
      rank = rank + 1
      seen = seen + drawn[rank]
    end
    to[r] = (low + value[rank]) / 2
  end
  return x
end

-- Likewise for the ratio of two sums over the drawn places: means (below all ones) and slopes.
local function ratios_of_sums(above, below, clusters, to, resamples, x)
  local n = #above
  local first, size, groups = layout(n, clusters)
  local a, b = doubles_t(n), doubles_t(n)
  for i = 1, n do a[i - 1], b[i - 1] = above[i], below[i] end
  for r = 0, resamples - 1 do
    local sum_a, sum_b = 0, 0
    for _ = 1, groups do
      x = bxor(x, lshift(x, 13))
      x = bxor(x, rshift(x, 17))
      x = bxor(x, lshift(x, 5))
      local group = math.floor(rshift(x, 1) * (groups / 2^31))
      local base, count = first[group], size[group]
      local scale = count / 2^31
      for _ = 1, count do
        x = bxor(x, lshift(x, 13))
        x = bxor(x, rshift(x, 17))
        x = bxor(x, lshift(x, 5))
        local at = base + math.floor(rshift(x, 1) * scale)
        sum_a, sum_b = sum_a + a[at], sum_b + b[at]
      end
    end
    to[r] = sum_a / sum_b
  end
  return x
end

-- The k-th smallest (from 0) of values[0] to values[n - 1], which it reorders (Hoare's quickselect).
local function select_kth(values, n, k)
  local low, high = 0, n - 1
  while low < high do
    local pivot, i, j = values[math.floor((low + high) / 2)], low, high
    while i <= j do
      while values[i] < pivot do i = i + 1 end
      while values[j] > pivot do j = j - 1 end
      if i <= j then
        values[i], values[j] = values[j], values[i]
        i, j = i + 1, j - 1
      end
    end
    if k <= j then high = j elseif k >= i then low = i else break end
  end
  return values[k]
end

-- The middle `level` of n bootstrapped values: low, high.
local function bounds(values, n, level)
  local tail = (1 - level) / 2
  local function quantile(q) return select_kth(values, n, math.min(math.max(math.ceil(q * n), 1), n) - 1) end
  return quantile(tail), quantile(1 - tail)
end

local function settings(options)
  options = options or {}
  local seed = tobit(options.seed or SEED)
  if seed == 0 then fault.raise("the seed of a xorshift must not be 0") end
  return options.resamples or RESAMPLES, seed, options.level or LEVEL, options.clusters
end

-- Two-sided: twice the share of resampled ratios on the far side of 1.
local function p_of(ratios, resamples)
  local below, above = 0, 0
  for r = 0, resamples - 1 do
    if ratios[r] <= 1 then below = below + 1 end
    if ratios[r] >= 1 then above = above + 1 end
  end
  return math.min(1, 2 * math.min(below, above) / resamples)
end

-- The median of `values` and its bootstrap interval: { median =, low =, high =, n = }. options, here and below: level (0.95), resamples
-- (100000), seed, clusters (how many of the values, one after the other, come from each process).
function stats.interval(values, options)
  local resamples, seed, level, clusters = settings(options)
  local median, to = stats.median(values), doubles_t(resamples)
  medians(values, clusters, to, resamples, seed)
  local low, high = bounds(to, resamples, level)
  return { median = median, low = low, high = high, n = #values }
end

-- The same for the mean: { mean =, low =, high =, n = }.
function stats.mean_interval(values, options)
  local resamples, seed, level, clusters = settings(options)
  local ones, to = {}, doubles_t(resamples)
  for i = 1, #values do ones[i] = 1 end
  ratios_of_sums(values, ones, clusters, to, resamples, seed)
  local low, high = bounds(to, resamples, level)
  return { mean = stats.mean(values), low = low, high = high, n = #values }
end

-- The slope of y over x through the origin: { slope =, low =, high =, r2 =, n = }.
function stats.slope_interval(x, y, options)
  local resamples, seed, level, clusters = settings(options)
  local xy, xx, to = {}, {}, doubles_t(resamples)
  for i = 1, #x do xy[i], xx[i] = x[i] * y[i], x[i] * x[i] end
  ratios_of_sums(xy, xx, clusters, to, resamples, seed)
  local slope, r2 = stats.slope(x, y)
  local low, high = bounds(to, resamples, level)
  return { slope = slope, low = low, high = high, r2 = r2, n = #x }
end

-- The ratio of each pair a[i] / b[i]: what alternated runs of two programs are compared by. As stats.interval, and p: how likely a
-- difference this large is if there is none.
function stats.paired(a, b, options)
  if #a ~= #b then fault.raise("pairs need as many values on both sides: %d and %d", #a, #b) end
  local resamples, seed, level, clusters = settings(options)
  local ratios, to = {}, doubles_t(resamples)
  for i = 1, #a do ratios[i] = a[i] / b[i] end
  local median = stats.median(ratios)
  medians(ratios, clusters, to, resamples, seed)
  local p = p_of(to, resamples)
  local low, high = bounds(to, resamples, level)
  return { median = median, low = low, high = high, p = p, n = #ratios }
end

-- How the median of `after` relates to that of `before`, which were not measured in pairs: { ratio =, low =, high =, p =, n = }. Both
-- are resampled. options.clusters and options.clusters_before: of each.
function stats.compare(before, after, options)
  local resamples, seed, level, clusters = settings(options)
  local a, b = doubles_t(resamples), doubles_t(resamples)
  local ratio = stats.median(after) / stats.median(before)
  medians(after, clusters, b, resamples, medians(before, options and options.clusters_before, a, resamples, seed))
  for r = 0, resamples - 1 do b[r] = b[r] / a[r] end
  local p = p_of(b, resamples)
  local low, high = bounds(b, resamples, level)
  return { ratio = ratio, low = low, high = high, p = p, n = #after }
end

return stats
