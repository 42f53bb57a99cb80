-- analyse: how far equal things measure apart, from many reports of the same A/A scenario.
--
--   for n in $(seq 100); do umbra bench bench/noise/aa.lua --quick --json aa-$n.json; done
--   umbra exec bench/noise/analyse.lua aa-*.json
--
-- SPDX-License-Identifier: MIT
local baseline, compare = require "umbra.bench.baseline", require "umbra.bench.compare"
local report, stats = require "umbra.bench.report", require "umbra.bench.stats"

local KINDS = { "component", "guest", "process" }
local WARN = 0.05                                 -- umbra bench's --warn

local function values_of(record, side, clock)
  local values = {}
  for i, count in ipairs(side.counts) do values[i] = side[clock][i] / (side.units and side.units[i] or count * (record.per or 1)) end
  return values
end

local function least(values) return stats.sorted(values)[1] end

-- name, and what a run says under it; `paired` ones are ratios of the two sides.
local ESTIMATORS = {
  { "median, wall", function(r) return stats.median(values_of(r, r.sides[1], "wall")) end },
  { "minimum, wall", function(r) return least(values_of(r, r.sides[1], "wall")) end },
  { "median, CPU", function(r) return stats.median(values_of(r, r.sides[1], "cpu")) end },
  { "minimum, CPU", function(r) return least(values_of(r, r.sides[1], "cpu")) end },
}
for _, clock in ipairs { "wall", "cpu" } do
  ESTIMATORS[#ESTIMATORS + 1] = { "pairs, " .. (clock == "cpu" and "CPU" or clock), function(r)
    local a, b, ratios = values_of(r, r.sides[1], clock), values_of(r, r.sides[2], clock), {}
    for i = 1, math.min(#a, #b) do ratios[i] = a[i] / b[i] end
    return stats.median(ratios)
  end, paired = true }
end

local off, verdicts, load, runs = {}, {}, { other = {}, steal = {}, waited = {} }, {}

local function count(what, verdict)
  verdicts[what] = verdicts[what] or {}
  verdicts[what][verdict] = (verdicts[what][verdict] or 0) + 1
end

-- How far off: between the sides of one run, or from one run to the next.
local function note_estimates(record, before)
  for i, estimator in ipairs(ESTIMATORS) do
    local key = record.kind .. i
    off[key] = off[key] or {}
    if estimator.paired then
      table.insert(off[key], math.abs(math.log(estimator[2](record))))
    elseif before then
      table.insert(off[key], math.abs(math.log(estimator[2](record) / estimator[2](before))))
    end
  end
end

for i, path in ipairs(arg) do
  runs[i] = baseline.load(path)
  local before = {}
  for _, record in ipairs(i > 1 and runs[i - 1].cases or {}) do before[record.id] = record end
  for _, record in ipairs(runs[i].cases) do
    if record.ratios and not record.interrupted then
      note_estimates(record, before[record.id])
      for name, list in pairs(load) do table.insert(list, record.load[name]) end
      local verdict = report.ratio_verdict(record.ratios[1], record)
      count("pairs, " .. record.kind, verdict:find "is faster" and "false" or verdict:match "^[^,]*")
    end
  end
  for _, change in ipairs(i > 1 and compare.reports(runs[i - 1], runs[i], { warn = WARN }).changes or {}) do
    count("runs", change.verdict)
    count("runs, as if never loaded", compare.verdict(change, compare.NOISE.component, WARN, false))
  end
end

print(("%d reports"):format(#runs))
for _, name in ipairs { "other", "steal", "waited" } do
  local list = stats.sorted(load[name])
  print(("%-8s median %.1f %%, 10 %% below %.1f %%, 10 %% above %.1f %%"):format(name, stats.quantile(list, 0.5) * 100, stats.quantile(list, 0.1) * 100,
    stats.quantile(list, 0.9) * 100))
end
print "\nhow far equal things measure apart, in percent: half of the time below the first, one time in twenty above the second"
for i, estimator in ipairs(ESTIMATORS) do
  local cells = {}
  for k, kind in ipairs(KINDS) do
    local list = stats.sorted(off[kind .. i])
    cells[k] = ("%s %5.1f %6.1f"):format(kind, stats.quantile(list, 0.5) * 100, stats.quantile(list, 0.95) * 100)
  end
  print(("%-14s %s"):format(estimator[1], table.concat(cells, "    ")))
end
print "\nverdicts"
local names = {}
for what in pairs(verdicts) do names[#names + 1] = what end
table.sort(names)
for _, what in ipairs(names) do
  local words = {}
  for verdict, n in pairs(verdicts[what]) do words[#words + 1] = ("%s %d"):format(verdict, n) end
  table.sort(words)
  print(("%-26s %s"):format(what, table.concat(words, ", ")))
end
