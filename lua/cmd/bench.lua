-- bench: the command that measures scenarios, compares reports and checks promises.
-- SPDX-License-Identifier: MIT
local argparse  = require "argparse"
local uv        = require "luv"
local baseline  = require "umbra.bench.baseline"
local bench     = require "umbra.bench"
local compare   = require "umbra.bench.compare"
local contract  = require "umbra.bench.contract"
local hosts     = require "umbra.bench.host"
local host      = require "umbra.host"
local html      = require "umbra.bench.html"
local report    = require "umbra.bench.report"
local run       = require "umbra.bench.run"

local REGRESSED, BROKEN, MISUSED = 1, 2, 126

local shipped = debug.getinfo(1, "S").source:match "^@(.*)lua/cmd/[^/]*$" .. "bench"

local function refuse(text, ...) error({ text = text:format(...), code = MISUSED }, 0) end

-- Words --------------------------------------------------------------------------------------------------------------------

-- For an option `name`.
local function at_least_zero(name)
  return function(text)
    local number = tonumber(text)
    if number and number >= 0 and number < math.huge then return number end
    return nil, ("%s: `%s` must be a number of percent from 0"):format(name, text)
  end
end

local function common(p)
  p:option("--filter", "Only cases whose name matches this Lua pattern.")
  p:flag("--quick", "Shorter, and less sure.")
  p:option("--json", "Write the report to this file.")
end

local function limits(p)
  p:option("--threshold", "Exit code 1 when a case became slower by more than this many percent.", "10", at_least_zero "--threshold")
  p:option("--warn", "Say so when a case became slower by more than this many percent.", "5", at_least_zero "--warn")
end

local function parser(name, text)
  local p = argparse(name, text)
  p:add_help(false)
  p:flag("-h --help", "Show this help.")
  return p
end

local function for_run()
  local p = parser("umbra bench", "Measures benchmark scenarios (docs/bench.md). Without a file: those that come along.")
  p:argument("path", "Scenario files, or folders of them."):args "*"
  common(p)
  p:flag("--list", "Only list the cases.")
  p:option("--baseline", "Compare with the report saved under this name, or with a file.")
  p:option("--save-baseline", "Save the report under this name.")
  p:option("--csv", "Write a table of the results to this file.")
  p:option("--html", "Write a page of the results to this file.")
  limits(p)
  p:epilog "umbra bench diff --help, umbra bench contract --help: compare two reports; check published promises."
  return p
end

local function for_diff()
  local p = parser("umbra bench diff", "Compares two reports that --json or --save-baseline wrote.")
  p:argument("before", "A file, or the name of a baseline.")
  p:argument("after", "Likewise.")
  p:flag("--markdown", "Print it as Markdown, for a pull request.")
  limits(p)
  return p
end

local function for_contract()
  local p = parser("umbra bench contract", "Measures what was promised and says which promises hold on this host.")
  p:argument("path", "Scenario files, or folders of them; their contracts count."):args "*"
  common(p)
  p:option("--report", "Do not measure: check this report.")
  return p
end

-- The words with a number below zero joined to the option that it follows: argparse takes it for an option of its own.
local function with_numbers(args)
  local joined = {}
  for _, word in ipairs(args) do
    local last = joined[#joined]
    if last and last:find "^%-%-[%w-]+$" and word:find "^%-[%d.]" then joined[#joined] = last .. "=" .. word else joined[#joined + 1] = word end
  end
  return joined
end

-- The options, or nil and an exit code.
local function parse(p, args)
  local ok, options = p:pparse(with_numbers(args))
  if not ok then refuse("%s (%s --help)", options:gsub("%s*\n%s*", "; "), p._name) end
  if options.help then
    io.write(p:get_help(), "\n")
    return nil
  end
  return options
end

-- Scenarios ----------------------------------------------------------------------------------------------------------------

local function files_in(path)
  local stat = uv.fs_stat(path)
  if not stat then error({ text = path .. ": No such file or directory", code = 127 }, 0) end
  if stat.type ~= "directory" then return { path } end
  local files, scan = {}, uv.fs_scandir(path)
  for name in uv.fs_scandir_next, scan do
    if name:find "%.lua$" then files[#files + 1] = path:gsub("/$", "") .. "/" .. name end
  end
  table.sort(files)
  if #files == 0 then refuse("%s: no scenario (*.lua) in this folder", path) end
  return files
end

-- All cases of the files and folders `paths`, their promises, and { file, text } of what could not be loaded.
local function load_all(paths, quick)
  local cases, promises, errors, ids = {}, {}, {}, {}
  for _, path in ipairs(#paths > 0 and paths or { shipped }) do
    for _, file in ipairs(files_in(path)) do
      local ok, why = pcall(function()
        local group, said = bench.load(file)
        for _, promise in ipairs(said or {}) do promises[#promises + 1] = promise end
        for _, case in ipairs(group and bench.expand(group, quick) or {}) do
          if ids[case.id] then error(("%s: there is a case `%s` already, in %s"):format(file, case.id, ids[case.id]), 0) end
          ids[case.id] = file
          cases[#cases + 1] = case
        end
      end)
      if not ok then errors[#errors + 1] = { file = file, text = tostring(why) } end
    end
  end
  return cases, promises, errors
end

local function filtered(cases, wanted)
  local kept = {}
  for _, case in ipairs(cases) do
    if wanted(case.id) then kept[#kept + 1] = case end
  end
  return kept
end

local function by_pattern(pattern)
  if not pattern then return function() return true end end
  if not pcall(string.find, "", pattern) then refuse("--filter %s: not a Lua pattern", pattern) end
  return function(id) return id:find(pattern) ~= nil end
end

-- Measuring ----------------------------------------------------------------------------------------------------------------

local ABOUT = { component = 1, guest = 4, process = 8 }     -- seconds a side takes in a quick run, before we know better

local function clock_text(seconds) return ("%d:%02d"):format(seconds / 60, seconds % 60) end

-- On a terminal: a line that says what is measured and how long all will take. Returns progress(case, number, share) and a function
-- that takes the line away.
local function progress_line(cases, quick)
  if not host.is_terminal(2) then return nil, function() end end
  local start, planned, before = host.seconds(), 0, {}
  for i, case in ipairs(cases) do
    before[i] = planned
    planned = planned + #case.sides * ABOUT[case.kind] * (quick and 1 or 5)
  end
  local function show(case, number, share)
    local done = before[number] + share * ((before[number + 1] or planned) - before[number])
    local left = done > 0 and (host.seconds() - start) / done * (planned - done) or planned
    io.stderr:write(("\r\27[K[%d/%d] %s %.0f %%, %s left"):format(number, #cases, case.id:sub(1, 50), share * 100, clock_text(left)))
  end
  return show, function() io.stderr:write "\r\27[K" end
end

-- Measures `cases` and prints each as it ends. before: a report to compare with. Returns the report, what compare.reports says, and the signal
-- that ended it.
local function measure(cases, errors, options, before)
  local whole = {
    schema = report.SCHEMA, version = report.VERSION, time = os.time(), host = hosts.probe(), cases = {}, errors = errors,
    options = { quick = options.quick or false },
  }
  io.write(hosts.describe(whole.host), "\n\n")
  local progress, clear = progress_line(cases, options.quick)
  local result = { changes = {}, cannot = {} }
  local signal = run.cases(cases, { quick = options.quick, progress = progress }, function(record)
    table.insert(whole.cases, record)
    local changes
    if before then
      local one = { schema = whole.schema, version = whole.version, host = whole.host, options = whole.options, cases = { record } }
      changes = compare.reports(before, one, { warn = options.warn / 100 }).changes
      for _, change in ipairs(changes) do table.insert(result.changes, change) end
    end
    clear()
    io.write(table.concat(report.lines(record, changes), "\n"), "\n")
    io.stdout:flush()
  end)
  if before then result.cannot = compare.reports(before, whole, { warn = options.warn / 100 }).cannot end
  whole.interrupted = signal and true or nil
  return whole, result, signal
end

local function say(text, ...) io.stderr:write("umbra: ", text:format(...):gsub("%s*\n%s*", "; "), "\n") end

local function name_of(change)
  return change.id .. (change.to and (" (%s / %s)"):format(change.side, change.to) or change.side ~= "" and " [" .. change.side .. "]" or "")
end

-- Says what became slower; whether any of it is beyond the threshold.
local function judge(compared, options)
  local beyond = false
  for _, change in ipairs(compared.changes) do
    local slower = (change.ratio - 1) * 100
    if change.verdict == "regressed" and slower > options.warn then
      local over = slower > options.threshold
      beyond = beyond or over
      say("%s: %s: %s slower (%s to %s)", over and "regressed" or "warning", name_of(change), report.percent(change.ratio - 1),
        report.percent(change.low - 1), report.percent(change.high - 1))
    end
  end
  return beyond
end

-- Refuses before anything is measured what could not be written afterwards.
local function check_writable(path)
  if not path then return end
  local stat, folder = uv.fs_stat(path), path:match "^(.*)/[^/]*$" or "."
  if stat and stat.type == "directory" then refuse("cannot write %s: it is a folder", path) end
  local target = stat and path or folder == "" and "/" or folder
  if not uv.fs_stat(target) then refuse("cannot write %s: there is no folder %s", path, folder) end
  if not uv.fs_access(target, "W") then refuse("cannot write %s: permission denied", path) end
end

local function write_all(whole, compared, options)
  local written = {}
  local function write(path, text)
    if not path then return end
    baseline.write(path, text)
    written[#written + 1] = path
  end
  write(options.json, report.json(whole))
  write(options.csv, report.csv(whole))
  if options.html then write(options.html, html.page(whole, compared, baseline.all())) end
  if options.save_baseline then written[#written + 1] = baseline.save(options.save_baseline, report.json(whole)) end
  if #written > 0 then io.write("written: ", table.concat(written, ", "), "\n") end
end

local function count_of(whole)
  local failed, missing, loaded = 0, 0, 0
  for _, record in ipairs(whole.cases) do
    if record.error then failed = failed + 1 end
    if record.load and record.load.loaded then loaded = loaded + 1 end
    for _, side in ipairs(record.sides) do missing = missing + (side.missing and 1 or 0) end
  end
  return failed, missing, loaded
end

-- The last lines and the exit code.
local function finish(whole, compared, signal, options)
  local failed, missing, loaded = count_of(whole)
  io.write(("\n%d cases, %d failed, %d not installed, %d measured on a loaded host\n"):format(#whole.cases, failed, missing, loaded))
  for _, line in ipairs(compared.cannot) do io.write("not compared: ", line, "\n") end
  io.stdout:flush()
  local beyond = judge(compared, options)
  for _, wrong in ipairs(whole.errors) do say("%s", wrong.text) end
  if signal then return 128 + signal end
  if failed > 0 or #whole.errors > 0 then return BROKEN end
  return beyond and REGRESSED or 0
end

local function list(cases, errors)
  for _, case in ipairs(cases) do
    local names = {}
    for i, side in ipairs(case.sides) do names[i] = side.name end
    io.write(("%-44s %-9s %s\n"):format(case.id, case.kind, table.concat(names, ", ")))
  end
  for _, wrong in ipairs(errors) do say("%s", wrong.text) end
  return #errors > 0 and BROKEN or 0
end

local function run_scenarios(args)
  local options = parse(for_run(), args)
  if not options then return 0 end
  local cases, _, errors = load_all(options.path, options.quick)
  cases = filtered(cases, by_pattern(options.filter))
  if options.list then return list(cases, errors) end
  if #cases == 0 and #errors == 0 then refuse("no case matches --filter %s (umbra bench --list)", tostring(options.filter)) end
  for _, path in ipairs { options.json or false, options.csv or false, options.html or false } do check_writable(path) end
  local before = options.baseline and baseline.load(options.baseline)
  local whole, compared, signal = measure(cases, errors, options, before)
  compared.name, compared.before = options.baseline, before
  write_all(whole, compared, options)
  return finish(whole, compared, signal, options)
end

-- Comparing and checking ---------------------------------------------------------------------------------------------------

local function run_diff(args)
  local options = parse(for_diff(), args)
  if not options then return 0 end
  local before, after = baseline.load(options.before), baseline.load(options.after)
  local why = compare.not_a_report(after)
  if why then refuse("%s: %s", options.after, why) end
  local compared = compare.reports(before, after, { warn = options.warn / 100 })
  if options.markdown then
    io.write(report.markdown(compared, options.before, options.after))
  else
    for _, change in ipairs(compared.changes) do io.write(report.change_line(change, name_of(change)), "\n") end
    for _, line in ipairs(compared.cannot) do io.write("not compared: ", line, "\n") end
  end
  io.stdout:flush()
  return judge(compared, options) and REGRESSED or 0
end

local function run_contract(args)
  local options = parse(for_contract(), args)
  if not options then return 0 end
  check_writable(options.json)
  local cases, promises, errors = load_all(options.path, options.quick)
  if #promises == 0 and #errors == 0 then refuse "no contract in these files (bench.contract)" end
  local whole, signal
  if options.report then
    whole = baseline.load(options.report)
    local why = compare.not_a_report(whole)
    if why then refuse("%s: %s", options.report, why) end
  else
    local wanted = by_pattern(options.filter)
    cases = filtered(cases, function(id) return wanted(id) and contract.needs(promises, id) end)
    local _
    whole, _, signal = measure(cases, errors, options)
    if options.json then baseline.write(options.json, report.json(whole)) end
    io.write "\n"
  end
  local missed = false
  for _, row in ipairs(contract.check(promises, whole)) do
    io.write(contract.line(row), "\n")
    missed = missed or row.holds == false
  end
  for _, wrong in ipairs(errors) do say("%s", wrong.text) end
  if signal then return 128 + signal end
  return #errors > 0 and BROKEN or missed and REGRESSED or 0
end

local COMMANDS = { diff = run_diff, contract = run_contract }

local function main(args)
  if args[1] == "--worker" then return run.worker(args[2], args[3], args[4] == "quick", tonumber(args[5])) end
  local command = COMMANDS[args[1]]
  if command then return command { unpack(args, 2) } end
  return run_scenarios(args)
end

return { summary = "measure benchmark scenarios, compare reports", run = main }
