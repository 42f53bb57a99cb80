-- contract: whether published promises (bench/contract.lua) hold by a report.
-- SPDX-License-Identifier: MIT
local stats = require "umbra.bench.stats"

local contract = {}

local FROM_NS = {
  ns      = function(ns) return ns end,
  seconds = function(ns) return ns / 1e9 end,
  MIPS    = function(ns) return 1e3 / ns end,
}

local TAKE = {
  ["geometric mean"] = stats.geometric_mean,
  lowest  = function(values) return math.min(unpack(values)) end,
  highest = function(values) return math.max(unpack(values)) end,
}

-- What one record says to a promise: a number, or nil and why not.
local function figure_of(promise, record)
  if record.error then return nil, record.error end
  if promise.figure == "ratio" then
    for _, ratio in ipairs(record.ratios or {}) do
      if ratio.to == promise.to and ratio.side == (promise.side or ratio.side) then return ratio.median end
    end
  end
  for _, side in ipairs(record.sides) do
    if side.missing and (side.name == promise.to or side.name == promise.side) then return nil, "not installed: " .. side.missing end
    if promise.figure ~= "ratio" and side.estimate and side.name == (promise.side or record.sides[1].name) then
      return FROM_NS[promise.figure](promise.by == "best" and side.estimate.least or side.estimate.median.value)
    end
  end
  return nil, "no such side"
end

-- Whether a promise needs a case.
function contract.needs(promises, id)
  for _, promise in ipairs(promises) do
    if id:find("^" .. promise.of .. "$") then return true end
  end
  return false
end

-- Rows { promise, figure, holds, loaded, why }: holds is nil where nothing can be said (why). A loaded host makes nothing faster: what holds
-- there holds, what does not may.
function contract.check(promises, report)
  local rows = {}
  for i, promise in ipairs(promises) do
    local row, values = { promise = promise, loaded = false }, {}
    for _, record in ipairs(report.cases) do
      if record.id:find("^" .. promise.of .. "$") then
        local figure, why = figure_of(promise, record)
        values[#values + 1], row.why = figure, row.why or why
        row.loaded = row.loaded or record.load and record.load.loaded or false
      end
    end
    if #values == 0 or row.why then
      row.why = row.why or "no case of that name was measured"
    else
      row.figure = TAKE[promise.take](values)
      if promise.at_least then row.holds = row.figure >= promise.at_least else row.holds = row.figure <= promise.at_most end
      if not row.holds and row.loaded then row.holds, row.why = nil, "the host was loaded" end
    end
    rows[i] = row
  end
  return rows
end

local function number(value) return value >= 99.5 and ("%.0f"):format(value) or ("%.3g"):format(value) end

-- A line of text for a row.
function contract.line(row)
  local p = row.promise
  local unit = p.figure == "ratio" and "" or " " .. (p.figure == "seconds" and "s" or p.figure)
  local bound = ("%s %s%s"):format(p.at_least and "at least" or "at most", number(p.at_least or p.at_most), unit)
  local verdict = row.holds and "holds" or row.holds == false and "MISSED" or (row.figure and "cannot tell: " or "not measured: ") .. row.why
  return ("%-56s %-18s %10s  %s (%s)"):format(p.name, bound, row.figure and number(row.figure) .. unit or "", verdict, p.published)
end

return contract
