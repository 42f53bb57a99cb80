-- report: what was measured, as data, and as text for people: table, CSV, Markdown.
--
-- A report is { schema, version, time, host, options, cases = { record, ... }, errors }; docs/bench.md has all of it.
-- SPDX-License-Identifier: MIT
local cjson  = require "cjson"
local sample = require "umbra.bench.sample"
local stats  = require "umbra.bench.stats"

local report = {}

report.SCHEMA, report.VERSION = "umbra.bench", 1

-- Two equal sides differ by as much, by the clock they are compared by (docs/perf/2026-11-noise.md). All of 6 pairs fall on one side by
-- chance in 1 of 32 cases, so less say nothing.
local PAIR_NOISE = { cpu = 0.02, wall = 0.05, sure = 0.05 }
local PAIR_NOISE_LOADED = { cpu = 0.05, wall = 0.15, sure = 0.01 }
local FEWEST_PAIRS = 6

-- Records ------------------------------------------------------------------------------------------------------------------

local function head(case)
  return { id = case.id, group = case.group, name = case.name, kind = case.kind, params = case.params, unit = case.unit, clock = case.clock,
    file = case.file, help = case.help, sides = {} }
end

function report.failed(case, text)
  local record = head(case)
  record.error = tostring(text)
  return record
end

-- The ratio of two sides that were measured turn by turn. The last pair may lack its second half.
local function ratio_of(one, other, a, b)
  local n, left, right = math.min(#a, #b), {}, {}
  for k = 1, n do left[k], right[k] = a[k], b[k] end
  local ratio = stats.paired(left, right, { clusters = #a == #b and one.processes or nil })
  return { side = one.name, to = other.name, median = ratio.median, low = ratio.low, high = ratio.high, p = ratio.p, pairs = ratio.n }
end

-- The record of a case: what sample.run gave, with what follows from it.
function report.record(case, got)
  local record, values = head(case), {}
  record.load, record.interrupted, record.per = got.load, got.interrupted, case.per or (case.kind == "process" and 1 or nil)
  for i, side in ipairs(got.sides) do
    local mine = { name = side.name, params = side.params, missing = side.missing, command = side.command, counters = side.counters,
      counts = side.counts, wall = side.wall, cpu = side.cpu, units = next(side.units) and side.units or nil,
      processes = side.processes }
    if #side.counts > 0 then
      local ok, estimate, list = pcall(sample.estimate, side, case.clock, record.per)
      if not ok then return report.failed(case, estimate) end
      mine.estimate, values[i] = estimate, list
    end
    record.sides[i] = mine
  end
  for i = 2, #record.sides do
    if values[1] and values[i] then
      record.ratios = record.ratios or {}
      table.insert(record.ratios, ratio_of(record.sides[1], record.sides[i], values[1], values[i]))
    end
  end
  return record
end

-- Numbers ------------------------------------------------------------------------------------------------------------------

local TIMES = { { 1e9, "s" }, { 1e6, "ms" }, { 1e3, "us" }, { 1, "ns" }, { 1e-3, "ps" } }

local function digits(value) return value >= 99.95 and "%.0f" or value >= 9.995 and "%.1f" or "%.2f" end

-- "12.3 ns": at least three digits that count.
function report.time(ns)
  for _, row in ipairs(TIMES) do
    if ns >= row[1] then return digits(ns / row[1]):format(ns / row[1]) .. " " .. row[2] end
  end
  return ("%.3g ns"):format(ns)
end

local function scaled(value)
  local scale, letter = 1, ""
  for _, row in ipairs { { 1e9, "G " }, { 1e6, "M " }, { 1e3, "k " } } do
    if value >= row[1] then scale, letter = row[1], row[2] break end
  end
  return digits(value / scale):format(value / scale) .. " " .. letter
end

-- What is done a second: "685 MIPS", "13.1 GiB/s", "152 M access/s"; nil for whole runs.
function report.rate(record, ns)
  if record.kind == "process" then return end
  if record.unit == "instruction" and record.kind == "guest" then return ("%.0f MIPS"):format(1e3 / ns) end
  if record.unit == "byte" then return digits(1e9 / ns / 2^30):format(1e9 / ns / 2^30) .. " GiB/s" end
  return ("%s%s/s"):format(scaled(1e9 / ns), record.unit)
end

local function percent(share) return ("%+.1f %%"):format(share * 100) end

local function p_text(p) return p < 0.001 and "p < 0.001" or ("p = %.3f"):format(p) end
report.percent, report.p_text = percent, p_text

-- Which side of a record's ratio is faster, and how sure that is.
function report.ratio_verdict(ratio, record)
  local noise = record.load and record.load.loaded and PAIR_NOISE_LOADED or PAIR_NOISE
  local edge, sure = 1 + noise[record.clock], ratio.p < noise.sure
  if ratio.pairs < FEWEST_PAIRS then return "too few pairs to tell" end
  if sure and ratio.low > edge then return ("%s is faster, %s"):format(ratio.to, p_text(ratio.p)) end
  if sure and ratio.high < 1 / edge then return ("%s is faster, %s"):format(ratio.side, p_text(ratio.p)) end
  return ratio.p < 0.05 and "no difference beyond noise, " .. p_text(ratio.p) or "no difference seen, " .. p_text(ratio.p)
end

-- Table --------------------------------------------------------------------------------------------------------------------

local WIDE = 44

local function label(text) return text .. (" "):rep(math.max(WIDE - #text, 0)) end

local function estimate_line(record, side, name)
  local e = side.estimate
  local o = e.outliers
  local far = o.low_severe + o.high_severe
  return ("%s %10s  [%s, %s]  %s%s"):format(label(name), report.time(e.median.value), report.time(e.median.low), report.time(e.median.high),
    report.rate(record, e.median.value) or "", far > 0 and ("  (%d of %d far out)"):format(far, e.samples) or "")
end

function report.change_line(change, name)
  return ("%s %10s  [%s, %s]  %s, %s"):format(label(name), percent(change.ratio - 1), percent(change.low - 1), percent(change.high - 1),
    p_text(change.p), change.verdict)
end

-- The lines about a record. changes: those of it (umbra.bench.compare), if there is a baseline.
function report.lines(record, changes)
  local lines, many = {}, #record.sides > 1
  if record.error then return { ("%s failed: %s"):format(label(record.id), record.error) } end
  if many then lines[1] = record.id end
  for _, side in ipairs(record.sides) do
    local name = many and "  " .. side.name or record.id
    if side.missing then
      lines[#lines + 1] = ("%s not installed: %s"):format(label(name), side.missing)
    elseif side.estimate then
      lines[#lines + 1] = estimate_line(record, side, name)
    else
      lines[#lines + 1] = label(name) .. " interrupted before there was a result"
    end
  end
  for _, ratio in ipairs(record.ratios or {}) do
    lines[#lines + 1] = ("%s %10.3f  [%.3f, %.3f]  %s"):format(label(("  %s / %s"):format(ratio.side, ratio.to)), ratio.median, ratio.low, ratio.high,
      report.ratio_verdict(ratio, record))
  end
  for _, change in ipairs(changes or {}) do
    local what = change.to and ("%s / %s"):format(change.side, change.to) or change.side
    lines[#lines + 1] = report.change_line(change, "    " .. (what == "" and "change" or what .. ": change"))
  end
  local load = record.load
  if load and load.loaded then
    lines[#lines + 1] = ("    loaded host: steal %.1f %%, others %.1f %%, waited %.1f %%"):format(load.steal * 100, load.other * 100, load.waited * 100)
  end
  if record.interrupted then lines[#lines + 1] = "    interrupted: what was measured until then" end
  return lines
end

function report.text(record) return table.concat(report.lines(record), "\n") end

-- Files --------------------------------------------------------------------------------------------------------------------

function report.json(whole) return cjson.encode(whole) .. "\n" end

local function cell(value)
  local text = value == nil and "" or type(value) == "number" and ("%.9g"):format(value) or tostring(value)
  return text:find '[",\r\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

local COLUMNS = { "id", "side", "kind", "unit", "clock", "median_ns", "low_ns", "high_ns", "mean_ns", "deviation_ns", "mad_ns", "least_ns", "slope_ns",
  "r2", "samples", "mild", "severe", "loaded", "missing", "error" }

-- One line a side (RFC 4180), times in nanoseconds a unit.
function report.csv(whole)
  local lines = { table.concat(COLUMNS, ",") }
  for _, record in ipairs(whole.cases) do
    for _, side in ipairs(#record.sides > 0 and record.sides or { {} }) do
      local e, row = side.estimate, { id = record.id, side = side.name, kind = record.kind, unit = record.unit, clock = record.clock,
        loaded = record.load and record.load.loaded, missing = side.missing, error = record.error }
      if e then
        local o = e.outliers
        row.median_ns, row.low_ns, row.high_ns, row.mean_ns = e.median.value, e.median.low, e.median.high, e.mean.value
        row.deviation_ns, row.mad_ns, row.least_ns, row.samples = e.deviation, e.mad, e.least, e.samples
        row.slope_ns, row.r2 = e.slope and e.slope.value, e.slope and e.slope.r2
        row.mild, row.severe = o.low_mild + o.high_mild, o.low_severe + o.high_severe
      end
      local cells = {}
      for i, name in ipairs(COLUMNS) do cells[i] = cell(row[name]) end
      lines[#lines + 1] = table.concat(cells, ",")
    end
  end
  return table.concat(lines, "\r\n") .. "\r\n"
end

local ORDER = { regressed = 1, improved = 2, ["cannot tell"] = 3, loaded = 4, ["no change"] = 5 }

local function escaped(text) return (text:gsub("|", "\\|")) end

-- A comparison for a pull request. compared: what umbra.bench.compare gave; before, after: names of the two.
function report.markdown(compared, before, after)
  local count, changes = {}, {}
  for i, change in ipairs(compared.changes) do
    changes[i] = change
    count[change.verdict] = (count[change.verdict] or 0) + 1
  end
  table.sort(changes, function(a, b)
    if ORDER[a.verdict] ~= ORDER[b.verdict] then return ORDER[a.verdict] < ORDER[b.verdict] end
    if a.ratio ~= b.ratio then return a.ratio > b.ratio end
    return a.id .. (a.side or "") < b.id .. (b.side or "")
  end)
  local words = {}
  for _, verdict in ipairs { "regressed", "improved", "cannot tell", "loaded", "no change" } do
    if count[verdict] then words[#words + 1] = ("%d %s"):format(count[verdict], verdict) end
  end
  local summary = #words > 0 and table.concat(words, ", ") or "nothing compared"
  local lines = { ("**Benchmarks**, %s against %s: %s"):format(escaped(after), escaped(before), summary), "" }
  local shown = 0
  for _, change in ipairs(changes) do
    if change.verdict ~= "no change" then
      if shown == 0 then
        lines[#lines + 1] = "| case | change | 95 % interval | p | verdict |"
        lines[#lines + 1] = "|---|--:|---|--:|---|"
      end
      shown = shown + 1
      local name = change.id .. (change.to and (" (%s / %s)"):format(change.side, change.to) or change.side ~= "" and " (" .. change.side .. ")" or "")
      lines[#lines + 1] = ("| %s | %s | %s to %s | %.3f | %s |"):format(escaped(name), percent(change.ratio - 1), percent(change.low - 1),
        percent(change.high - 1), change.p, change.verdict == "regressed" and "**regressed**" or change.verdict)
    end
  end
  if shown > 0 then lines[#lines + 1] = "" end
  for _, line in ipairs(compared.cannot) do lines[#lines + 1] = "* " .. escaped(line) end
  return table.concat(lines, "\n") .. "\n"
end

return report
