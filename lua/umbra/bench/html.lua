-- html: a report as one page that needs nothing else: no network, no library; drawings are SVG. Well-formed as XML, too.
-- SPDX-License-Identifier: MIT
local compare = require "umbra.bench.compare"
local hosts   = require "umbra.bench.host"
local report  = require "umbra.bench.report"
local stats   = require "umbra.bench.stats"

local html = {}

-- Text ---------------------------------------------------------------------------------------------------------------------

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

-- Text for the page. What XML cannot hold (control characters) becomes "?".
local function text(value)
  return (tostring(value):gsub('[&<>"]', ESCAPES):gsub("[%z\1-\8\11\12\14-\31\127]", "?"))
end

-- An element: e("td", { class = "n" }, "text or markup already escaped", ...). Attributes are sorted: the same report, the same page.
local function e(name, attributes, ...)
  local names, parts = {}, { "<" .. name }
  for key in pairs(attributes or {}) do names[#names + 1] = key end
  table.sort(names)
  for _, key in ipairs(names) do
    local value = attributes[key]
    parts[#parts + 1] = (' %s="%s"'):format(key, text(type(value) == "number" and ("%.6g"):format(value) or value))
  end
  local inside = table.concat({ ... })
  parts[#parts + 1] = inside == "" and (name ~= "td" and name ~= "th" and name ~= "script") and " />" or (">%s</%s>"):format(inside, name)
  return table.concat(parts)
end

local STYLE = [[
:root { color-scheme: light dark; --back: #fff; --fore: #1b1f24; --soft: #667080; --line: #d8dee6; --one: #2f6fdb; --two: #d9822b; --band: #2f6fdb33;
  --good: #1f8a4c; --bad: #c8372d; --doubt: #9a7a10; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --fore: #e3e7ec; --soft: #98a3b0; --line: #333b45; --one: #6ea3ff; --two: #f0a35b;
  --band: #6ea3ff33; --good: #5dc888; --bad: #ff7a70; --doubt: #d9bb55; } }
body { background: var(--back); color: var(--fore); font: 14px/1.45 system-ui, sans-serif; }
body { margin: 2em auto; max-width: 84em; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid var(--line); } h3 { font-size: 1em; margin: 1.5em 0 0.3em; }
p { color: var(--soft); margin: 0.3em 0; } table { border-collapse: collapse; width: 100%; } svg { display: block; max-width: 100%; height: auto; }
th, td { text-align: left; padding: 0.2em 0.6em; border-bottom: 1px solid var(--line); } .n { text-align: right; white-space: nowrap; }
.n { font-variant-numeric: tabular-nums; }
th[data-sort] { cursor: pointer; } th[data-sort]:hover { color: var(--one); } a { color: var(--one); text-decoration: none; }
.regressed, .failed { color: var(--bad); } .improved { color: var(--good); } .loaded, .cannot { color: var(--doubt); } .soft { color: var(--soft); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(22em, 1fr)); gap: 0 2em; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } .axis { stroke: var(--line); fill: none; } .bar { fill: var(--one); opacity: 0.75; }
.bar.old { fill: var(--two); opacity: 0.55; } .mark { stroke: var(--fore); stroke-width: 1.5; } .range { fill: var(--band); }
.curve { fill: none; stroke-width: 1.5; } .c1 { stroke: var(--one); } .c2 { stroke: var(--two); } .c3 { stroke: var(--good); } .c4 { stroke: var(--bad); }
.d1 { fill: var(--one); } .d2 { fill: var(--two); } .d3 { fill: var(--good); } .d4 { fill: var(--bad); }
]]

-- Sorts a table by the column whose head is clicked; again: the other way round.
local SCRIPT = [[
document.querySelectorAll('th[data-sort]').forEach(function (head) {
  head.addEventListener('click', function () {
    var body = head.closest('table').tBodies[0], column = head.cellIndex, way = head.dataset.way === 'up' ? -1 : 1;
    head.dataset.way = way === 1 ? 'up' : 'down';
    function key(row) { var cell = row.cells[column]; return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v); }
    Array.from(body.rows).sort(function (a, b) { var x = key(a), y = key(b); return x === y ? 0 : (x > y ? way : -way); })
      .forEach(function (row) { body.appendChild(row); });
  });
});
]]

-- Drawings -----------------------------------------------------------------------------------------------------------------

local WIDE, HIGH, MARGIN, FOOT = 360, 110, 8, 18

local function svg(width, height, title, ...)
  return e("svg", { viewBox = ("0 0 %d %d"):format(width, height), width = width, height = height, role = "img" }, e("title", nil, text(title)), ...)
end

local function line(x1, y1, x2, y2, class) return e("line", { x1 = x1, y1 = y1, x2 = x2, y2 = y2, class = class }) end
local function words(x, y, anchor, value) return e("text", { x = x, y = y, ["text-anchor"] = anchor }, text(value)) end

-- A function that maps low..high to from..to.
local function scale(low, high, from, to)
  local span = high > low and high - low or 1
  return function(value) return from + (math.min(math.max(value, low), high) - low) / span * (to - from) end
end

local BINS = 40

local function histogram(values, low, high)
  local counts, most = {}, 0
  for i = 1, BINS do counts[i] = 0 end
  for _, value in ipairs(values) do
    local bin = math.floor((value - low) / (high - low) * BINS) + 1
    bin = math.min(math.max(bin, 1), BINS)        -- what is far out stands in the last bin
    counts[bin] = counts[bin] + 1
    most = math.max(most, counts[bin])
  end
  return counts, most
end

-- Where most of the samples lie: 1.5 interquartile ranges around the quartiles.
local function window(...)
  local low, high = math.huge, -math.huge
  for _, values in ipairs { ... } do
    local list = stats.sorted(values)
    local q1, q3 = stats.quantile(list, 0.25), stats.quantile(list, 0.75)
    low = math.min(low, math.max(list[1], q1 - 1.5 * (q3 - q1)))
    high = math.max(high, math.min(list[#list], q3 + 1.5 * (q3 - q1)))
  end
  if high <= low then low, high = low * 0.99, high * 1.01 + 1e-9 end
  return low, high
end

-- The distribution of a side's samples: bars, the median's interval as a band; `before`: the baseline's, beside it.
local function distribution(side, values, before, title)
  local low, high = window(values, before or values)
  local x, step, parts = scale(low, high, MARGIN, WIDE - MARGIN), (WIDE - 2 * MARGIN) / BINS, {}
  local m = side.estimate.median
  parts[1] = e("rect", { x = x(m.low), y = 4, width = math.max(x(m.high) - x(m.low), 1), height = HIGH - FOOT - 4, class = "range" })
  for _, row in ipairs { { before, "bar old" }, { values, "bar" } } do
    if row[1] then
      local counts, most = histogram(row[1], low, high)
      for i, count in ipairs(counts) do
        local height = count / most * (HIGH - FOOT - 8)
        if count > 0 then
          parts[#parts + 1] = e("rect", { x = MARGIN + (i - 1) * step, y = HIGH - FOOT - height, width = step - 1, height = height, class = row[2] })
        end
      end
    end
  end
  parts[#parts + 1] = line(x(m.value), 2, x(m.value), HIGH - FOOT, "mark")
  parts[#parts + 1] = line(MARGIN, HIGH - FOOT, WIDE - MARGIN, HIGH - FOOT, "axis")
  parts[#parts + 1] = words(MARGIN, HIGH - 4, "start", report.time(low)) .. words(WIDE - MARGIN, HIGH - 4, "end", report.time(high))
  parts[#parts + 1] = words(WIDE / 2, HIGH - 4, "middle", "median " .. report.time(m.value))
  return svg(WIDE, HIGH, title, table.concat(parts))
end

-- Lines over x: curves = { { name, points = { { x, y } } } }; x is spread by its order, labels say what it is.
local function chart(curves, labels, title)
  local width, height, left = 520, 200, 62
  local low, high = math.huge, -math.huge
  for _, curve in ipairs(curves) do
    for _, point in ipairs(curve.points) do low, high = math.min(low, point[2]), math.max(high, point[2]) end
  end
  local x = scale(1, math.max(#labels, 2), left, width - 20)
  local y = scale(0, high * 1.05, height - 34, 14)
  local parts = { line(left, height - 34, width - 20, height - 34, "axis"), line(left, 14, left, height - 34, "axis"),
    words(left - 4, y(high) + 4, "end", report.time(high)) }
  if y(low) - y(high) > 14 then parts[#parts + 1] = words(left - 4, y(low) + 4, "end", report.time(low)) end
  for i, label in ipairs(labels) do parts[#parts + 1] = words(x(i), height - 20, "middle", label) end
  for n, curve in ipairs(curves) do
    local place, dots = {}, {}
    for i, point in ipairs(curve.points) do
      place[i] = ("%.1f,%.1f"):format(x(point[1]), y(point[2]))
      dots[i] = e("circle", { cx = x(point[1]), cy = y(point[2]), r = 3, class = "d" .. (n - 1) % 4 + 1 }, e("title", nil, text(report.time(point[2]))))
    end
    parts[#parts + 1] = e("polyline", { points = table.concat(place, " "), class = "curve c" .. (n - 1) % 4 + 1 }) .. table.concat(dots)
    if curve.name ~= "" then
      parts[#parts + 1] = e("circle", { cx = left + 110 * (n - 1), cy = height - 6, r = 4, class = "d" .. (n - 1) % 4 + 1 })
        .. words(left + 8 + 110 * (n - 1), height - 2, "start", curve.name)
    end
  end
  return svg(width, height, title, table.concat(parts))
end

-- A row each: a ratio with its interval, around 1.
local function forest(rows, title)
  local low, high, row_high, left = 0.9, 1.1, 18, 330
  for _, row in ipairs(rows) do low, high = math.min(low, row.low), math.max(high, row.high) end
  low, high = math.max(low, 0.01), math.min(high, 100)
  local width = 760
  local at = scale(math.log(low), math.log(high), left, width - 60)
  local function x(value) return at(math.log(math.max(value, 1e-9))) end
  local parts = { line(x(1), 0, x(1), #rows * row_high, "axis") }
  for i, row in ipairs(rows) do
    local y = (i - 0.5) * row_high
    parts[#parts + 1] = words(left - 8, y + 4, "end", #row.name > 56 and row.name:sub(1, 53) .. "..." or row.name)
      .. line(x(row.low), y, x(row.high), y, "curve c1") .. e("circle", { cx = x(row.ratio), cy = y, r = 3.5, class = "d1" })
      .. words(width, y + 4, "end", ("%.3f"):format(row.ratio))
  end
  return svg(width, #rows * row_high + 4, title, table.concat(parts))
end

-- Parts of the page --------------------------------------------------------------------------------------------------------

local function full_name(record, side) return record.id .. (side.name ~= "" and " [" .. side.name .. "]" or "") end

local function key_of(id, side) return id .. "\0" .. (side or "") end

local function class_of(verdict) return (verdict:match "^%w+") end

local function side_row(record, side, change)
  local cells = { e("td", nil, text(full_name(record, side))) }
  local est = side.estimate
  if not est then
    local why = side.missing and "not installed: " .. side.missing or "interrupted"
    return e("tr", nil, cells[1], e("td", { class = "cannot", colspan = "7" }, text(why)))
  end
  local o = est.outliers
  local load = record.load
  cells[2] = e("td", { class = "n", ["data-v"] = est.median.value }, text(report.time(est.median.value)))
  cells[3] = e("td", { class = "n", ["data-v"] = (est.median.high - est.median.low) / est.median.value },
    text(("%s to %s"):format(report.time(est.median.low), report.time(est.median.high))))
  cells[4] = e("td", { class = "n", ["data-v"] = 1 / est.median.value }, text(report.rate(record, est.median.value) or ""))
  cells[5] = e("td", { class = "n", ["data-v"] = est.samples }, text(est.samples))
  cells[6] = e("td", { class = "n", ["data-v"] = o.low_severe + o.high_severe },
    text(("%d, %d"):format(o.low_mild + o.high_mild, o.low_severe + o.high_severe)))
  cells[7] = e("td", { class = load.loaded and "loaded" or "soft" }, load.loaded
    and text(("loaded: steal %.1f %%, others %.0f %%"):format(load.steal * 100, load.other * 100)) or "quiet")
  cells[8] = change and e("td", { class = class_of(change.verdict), ["data-v"] = change.ratio },
    text(report.percent(change.ratio - 1) .. ", " .. change.verdict)) or e("td", { ["data-v"] = 1 }, "")
  return e("tr", nil, table.concat(cells))
end

local HEADS = { "case", "median", "95 % interval", "rate", "samples", "outliers", "host", "change" }

local function results(whole, changes)
  local heads, rows = {}, {}
  for i, name in ipairs(HEADS) do heads[i] = e("th", { ["data-sort"] = "", title = "sort by this" }, text(name)) end
  for _, record in ipairs(whole.cases) do
    if record.error then
      rows[#rows + 1] = e("tr", nil, e("td", nil, text(record.id)), e("td", { class = "failed", colspan = "7" }, text(record.error)))
    end
    for _, side in ipairs(record.sides) do rows[#rows + 1] = side_row(record, side, changes[key_of(record.id, side.name)]) end
  end
  for _, wrong in ipairs(whole.errors) do rows[#rows + 1] = e("tr", nil, e("td", { class = "failed", colspan = "8" }, text(wrong.text))) end
  return e("h2", nil, "Results") .. e("table", nil, e("thead", nil, e("tr", nil, table.concat(heads))), e("tbody", nil, table.concat(rows)))
    .. e("p", nil, "Times are for one unit of work. Outliers: mild, severe, by Tukey's fences. A click on a head sorts.")
end

local function ratios(whole)
  local rows = {}
  for _, record in ipairs(whole.cases) do
    for _, ratio in ipairs(record.ratios or {}) do
      rows[#rows + 1] = { name = ("%s: %s / %s"):format(record.id, ratio.side, ratio.to), ratio = ratio.median, low = ratio.low, high = ratio.high }
    end
  end
  if #rows == 0 then return "" end
  return e("h2", nil, "Sides against each other")
    .. e("p", nil, "Ratio of the times, pair by pair; below 1 the first side is faster. Median and 95 % interval.")
    .. forest(rows, "ratios of sides")
end

local function comparison(compared)
  if not compared.name then return "" end
  local rows, notes = {}, {}
  for i, change in ipairs(compared.changes) do
    rows[i] = { name = change.id .. (change.side ~= "" and " [" .. change.side .. "]" or ""), ratio = change.ratio, low = change.low, high = change.high }
  end
  for i, note in ipairs(compared.cannot) do notes[i] = e("p", nil, text("not compared: " .. note)) end
  return e("h2", nil, text("Against " .. compared.name)) .. e("p", nil, "Time now / time then; below 1 it is faster now. Median and 95 % interval.")
    .. (#rows > 0 and forest(rows, "changes") or "") .. table.concat(notes)
end

-- Cases that differ in one numeric parameter only: a chart each.
local function sweeps(whole)
  local found, order = {}, {}
  for _, record in ipairs(whole.cases) do
    for name, value in pairs(record.error and {} or record.params) do      -- several charts of a case are sorted below
      if type(value) == "number" then
        local key = record.id:gsub(" " .. name:gsub("%W", "%%%0") .. "=%S+", "") .. ", by " .. name
        if not found[key] then
          found[key] = {}
          order[#order + 1] = key
        end
        table.insert(found[key], { value = value, record = record })
      end
    end
  end
  table.sort(order)
  local parts = {}
  for _, key in ipairs(order) do
    local list, labels, curves = found[key], {}, {}
    if #list > 1 then
      table.sort(list, function(a, b) return a.value < b.value end)
      for i, point in ipairs(list) do
        labels[i] = ("%.6g"):format(point.value)
        for n, side in ipairs(point.record.sides) do
          curves[n] = curves[n] or { name = side.name, points = {} }
          if side.estimate then table.insert(curves[n].points, { i, side.estimate.median.value }) end
        end
      end
      local high = 0
      for _, curve in ipairs(curves) do high = math.max(high, #curve.points) end
      if high > 0 then parts[#parts + 1] = e("div", nil, e("h3", nil, text(key)), chart(curves, labels, key)) end
    end
  end
  if #parts == 0 then return "" end
  return e("h2", nil, "Sweeps") .. e("div", { class = "grid" }, table.concat(parts))
end

local function sides_by_key(whole)
  local found = {}
  for _, record in ipairs(whole.cases) do
    for _, side in ipairs(record.sides or {}) do
      if side.estimate then found[key_of(record.id, side.name)] = { record = record, side = side } end
    end
  end
  return found
end

local function distributions(whole, before)
  local parts, old = {}, before and sides_by_key(before) or {}
  for _, record in ipairs(whole.cases) do
    for _, side in ipairs(record.sides) do
      if side.estimate then
        local name, was = full_name(record, side), old[key_of(record.id, side.name)]
        local values = was and compare.times_of(was.record, was.side)
        parts[#parts + 1] = e("div", nil, e("h3", nil, text(name)), distribution(side, compare.times_of(record, side), values, name))
      end
    end
  end
  if #parts == 0 then return "" end
  return e("h2", nil, "Distributions") .. e("p", nil, "The line is the median, the band its interval; what is far out stands in the outermost bars."
    .. (before and " The baseline's samples stand behind." or "")) .. e("div", { class = "grid" }, table.concat(parts))
end

-- Medians of saved baselines from this host, oldest first, and of this report.
local function history(whole, saved)
  local list = {}
  for _, old in ipairs(saved) do
    if not compare.not_a_report(old) and not compare.other_host(old, whole) and old.options.quick == whole.options.quick then list[#list + 1] = old end
  end
  if #list == 0 then return "" end
  list[#list + 1] = whole
  local labels, parts, found = {}, {}, {}
  for i, one in ipairs(list) do labels[i], found[i] = one.name or "now", sides_by_key(one) end
  for _, record in ipairs(whole.cases) do
    local curves = {}
    for n, side in ipairs(record.sides) do
      curves[n] = { name = side.name, points = {} }
      for i in ipairs(list) do
        local one = found[i][key_of(record.id, side.name)]
        if one then table.insert(curves[n].points, { i, one.side.estimate.median.value }) end
      end
    end
    local most = 0
    for _, curve in ipairs(curves) do most = math.max(most, #curve.points) end
    if most > 1 then parts[#parts + 1] = e("div", nil, e("h3", nil, text(record.id)), chart(curves, labels, record.id)) end
  end
  if #parts == 0 then return "" end
  return e("h2", nil, "History") .. e("p", nil, "Medians of the saved baselines of this host.") .. e("div", { class = "grid" }, table.concat(parts))
end

-- The page of a report. compared: umbra.bench.compare's, with `name` and `before` (the baseline) if there is one; saved: umbra.bench.baseline's list.
function html.page(whole, compared, saved)
  local changes = {}
  for _, change in ipairs(compared.changes) do changes[key_of(change.id, change.side)] = change end
  local body = {
    e("h1", nil, "umbra bench"), e("p", nil, text(os.date("!%Y-%m-%d %H:%M UTC", whole.time) .. (whole.options.quick and ", quick" or "")
      .. (whole.interrupted and ", interrupted" or ""))), e("p", nil, text(hosts.describe(whole.host))),
    results(whole, changes), ratios(whole), comparison(compared), sweeps(whole), history(whole, saved), distributions(whole, compared.before),
    e("script", nil, SCRIPT),
  }
  return "<!DOCTYPE html>\n" .. e("html", { lang = "en", xmlns = "http://www.w3.org/1999/xhtml" }, e("head", nil, e("meta", { charset = "utf-8" }),
    e("meta", { name = "viewport", content = "width=device-width" }), e("title", nil, "umbra bench"), e("style", nil, STYLE)),
    e("body", nil, table.concat(body, "\n"))) .. "\n"
end

return html
