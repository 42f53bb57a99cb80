-- compare: what a difference means: verdicts, and two reports against each other.
-- SPDX-License-Identifier: MIT
local schema = require "umbra.schema"
local report = require "umbra.bench.report"
local stats  = require "umbra.bench.stats"

local compare = {}

-- Differences that two measurements of the same thing show: shares of the time. From docs/perf/2026-11-noise.md.
compare.NOISE = { component = 0.05, guest = 0.05, process = 0.05 }
local SURE = 0.05                                 -- p above which a difference may be chance

-- The verdict on `change` ({ ratio, low, high, p } of times, after / before):
--   "loaded"     somebody else used the host meanwhile: the times of two runs say nothing about each other
--   "regressed"  the whole interval lies above noise and chance; "improved": below it
--   "no change"  the whole interval lies within +- warn
--   "cannot tell" otherwise: more samples would be needed
function compare.verdict(change, noise, warn, loaded)
  if loaded then return "loaded" end
  local edge = 1 + noise
  if change.p < SURE and change.low > edge then return "regressed" end
  if change.p < SURE and change.high < 1 / edge then return "improved" end
  if change.high < 1 + math.max(warn, noise) and change.low > 1 / (1 + math.max(warn, noise)) then return "no change" end
  return "cannot tell"
end

-- The times a unit, or the ratios of the pairs, that a report's record holds.
local function times_of(record, side)
  local values = {}
  for i, count in ipairs(side.counts) do
    values[i] = side[record.clock][i] / (side.units and side.units[i] or count * (record.per or 1))
  end
  return values
end
compare.times_of = times_of

local function pairs_of(record, name)
  local first, other
  for _, side in ipairs(record.sides) do
    if side.name == name then other = side end
  end
  first = times_of(record, record.sides[1])
  if not other or not other.counts then return end
  local values = {}
  for i, value in ipairs(times_of(record, other)) do
    if first[i] then values[#values + 1] = first[i] / value end
  end
  return values
end

local HOST = { { "model", "processor" }, { "cores", "cores" }, { "kernel", "kernel" }, { "luajit", "LuaJIT" } }

-- Why `whole` is no report that this version reads, or nil.
function compare.not_a_report(whole)
  if whole.schema ~= report.SCHEMA then
    return ("not a benchmark report: its schema is %s, not %s"):format(schema.show(whole.schema), schema.show(report.SCHEMA))
  end
  if whole.version ~= report.VERSION then return ("its schema has version %s, not %d"):format(schema.show(whole.version), report.VERSION) end
  if type(whole.cases) ~= "table" or type(whole.host) ~= "table" or type(whole.options) ~= "table" then return "a part of it is missing" end
end

-- What differs between the hosts of two reports, as text, or nil: their times mean something else then.
function compare.other_host(before, after)
  local words = {}
  for _, row in ipairs(HOST) do
    local old, new = before.host[row[1]], after.host[row[1]]
    if old ~= new then words[#words + 1] = ("%s %s, not %s"):format(row[2], tostring(old), tostring(new)) end
  end
  return #words > 0 and table.concat(words, "; ") or nil
end

local function by_id(whole)
  local found = {}
  for _, record in ipairs(whole.cases) do found[record.id] = record end
  return found
end

local function loaded(record) return record.load and record.load.loaded or false end

local function note(list, ...) list[#list + 1] = (...):format(select(2, ...)) end

local function compare_sides(old, new, limits, changes, cannot)
  for _, side in ipairs(new.sides) do
    local before
    for _, candidate in ipairs(old.sides) do
      if candidate.name == side.name then before = candidate end
    end
    local what = new.id .. (side.name ~= "" and " [" .. side.name .. "]" or "")
    if not before then
      note(cannot, "%s: not there before", what)
    elseif side.estimate and before.estimate then
      local change = stats.compare(times_of(old, before), times_of(new, side), { clusters = side.processes, clusters_before = before.processes })
      change.id, change.side = new.id, side.name
      change.verdict = compare.verdict(change, compare.NOISE[new.kind], limits.warn, loaded(old) or loaded(new))
      changes[#changes + 1] = change
    elseif side.missing ~= before.missing then
      note(cannot, "%s: %s is not installed on one of the two", what, side.missing or before.missing)
    end
  end
end

-- On another machine only ratios between sides that were measured turn by turn mean the same.
local function compare_ratios(old, new, limits, changes)
  for _, ratio in ipairs(new.ratios or {}) do
    local before, after = pairs_of(old, ratio.to), pairs_of(new, ratio.to)
    if before and after and #before > 0 and #after > 0 then
      local change = stats.compare(before, after)
      change.id, change.side, change.to = new.id, ratio.side, ratio.to
      change.verdict = compare.verdict(change, compare.NOISE[new.kind], limits.warn, loaded(old) or loaded(new))
      changes[#changes + 1] = change
    end
  end
end

-- Two reports: { changes = { { id, side, to, ratio, low, high, p, verdict } }, cannot = lines about what cannot be compared }. limits:
-- warn, a share.
function compare.reports(before, after, limits)
  local changes, cannot = {}, {}
  local why = compare.not_a_report(before)
  if not why and before.options.quick ~= after.options.quick then why = "one of the two was measured with --quick" end
  if why then return { changes = changes, cannot = { "nothing can be compared: " .. why } } end
  local other_host = compare.other_host(before, after)
  if other_host then note(cannot, "times cannot be compared, ratios between sides can: measured on another host (%s)", other_host) end
  local old, new = by_id(before), by_id(after)
  for _, record in ipairs(after.cases) do
    local partner = old[record.id]
    if not partner then
      note(cannot, "%s: not there before", record.id)
    elseif record.error or partner.error then
      note(cannot, "%s: %s", record.id, record.error and "failed now" or "failed before")
    elseif partner.kind ~= record.kind or partner.unit ~= record.unit or partner.clock ~= record.clock then
      note(cannot, "%s: measured as something else before", record.id)
    elseif other_host then
      compare_ratios(partner, record, limits, changes)
    else
      compare_sides(partner, record, limits, changes, cannot)
    end
  end
  for _, record in ipairs(before.cases) do
    if not new[record.id] then note(cannot, "%s: not measured now", record.id) end
  end
  return { changes = changes, cannot = cannot }
end

return compare
