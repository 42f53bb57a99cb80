-- bench: benchmark scenarios: what a scenario file says, and how it is loaded and run. The command is lua/cmd/bench.lua.
--
--   return bench {
--     bench.component { name = "load", params = { size = { 1, 8 } }, setup = ..., routine = function(s, i) ... end },
--   }
-- SPDX-License-Identifier: MIT
local uv     = require "luv"
local fault  = require "umbra.fault"
local schema = require "umbra.schema"
local report = require "umbra.bench.report"
local sample = require "umbra.bench.sample"

local bench = {}

-- The umbra command, for scenarios that run whole processes.
local here = debug.getinfo(1, "S").source:match "^@(.*)lua/umbra/bench%.lua$"
bench.umbra = uv.exepath():find "/umbra$" and uv.exepath() or here .. "build/umbra"

local Group, Case, Contract = {}, {}, {}          -- metatables: how the results of bench{}, bench.KIND{} and bench.contract{} are known

local LOAD_SECONDS = 10                           -- that a scenario file may take to say what it has

-- What a case may say ------------------------------------------------------------------------------------------------------

local COMMON = {
  { "name", type = "string", required = true, help = "what is measured" },
  { "help", type = "string", help = "one line about it" },
  { "params", type = "table", default = {}, help = "name = value or list of values; every combination becomes a row" },
  { "quick", type = "table", default = {}, help = "of `params`, the values of a quick run where those are fewer" },
  { "sides", type = "table", help = "settings that are measured turn by turn: a list of { \"name\", key = value }" },
  { "clock", type = "enum", values = { "wall", "cpu" }, help = "which time counts" },
  { "limit", type = "number", default = 60, min = 0.001, help = "seconds that a call, a run or a command may take" },
  { "samples", type = "integer", min = 1, max = 1000, help = "most samples; less when they take long" },
  { "needs", type = "table", default = {}, help = "programs without which the case is left out" },
}

local KINDS = {
  component = {
    { "setup", type = "function", help = "setup(p) gives the state s" },
    { "routine", type = "function", help = "routine(s, i) is measured; i counts from 0" },
    { "teardown", type = "function", help = "teardown(s, p)" },
    { "per", type = "any", default = 1, help = "units of work a call: a number or function(p)" },
    { "unit", type = "string", default = "call", help = "what a call does `per` of: call, access, byte, ..." },
  },
  guest = {
    { "machine", type = "function", help = "machine(p) gives a machine that is ready to run; not measured" },
    { "from", type = "any", help = "where measuring starts: console text, a pc or { instructions = n }; nil: at once" },
    { "to", type = "any", help = "where it ends; nil: when the guest ends with exit code 0 or switches off" },
  },
  process = {
    { "command", type = "any", help = "a list of words, or function(p) that gives one" },
    { "mark", type = "string", help = "text whose printing ends the measured time; nil: the end of the command" },
    { "ready", type = "string", help = "text with which the command, started once, asks for `line`; nil: it is run for every sample" },
    { "line", type = "any", help = "what it is told then, or function(p) that gives it; `mark` is measured from there" },
    { "code", type = "integer", default = 0, min = 0, max = 255, help = "exit code that is expected" },
  },
}
local MUST = { component = "routine", guest = "machine", process = "command" }
local UNITS = { guest = "instruction", process = "run" }
local CLOCKS = { component = "cpu", guest = "cpu", process = "wall" }

local function rows_of(kind)
  local rows = {}
  for _, list in ipairs { COMMON, KINDS[kind] } do
    for _, row in ipairs(list) do rows[#rows + 1] = row end
  end
  return rows
end

-- The sides of a case: { name, params = own settings, and what they say of the case's own keys }.
local function sides_of(kind, options)
  local own, sides, names = { needs = true }, {}, {}
  for _, row in ipairs(KINDS[kind]) do own[row[1]] = true end
  for i, said in ipairs(options.sides or { { "" } }) do
    if type(said) ~= "table" or type(said[1]) ~= "string" then fault.raise("`%s.sides[%d]` must be { \"name\", key = value }", kind, i) end
    if names[said[1]] then fault.raise("`%s.sides[%d]`: there are two sides %s", kind, i, schema.show(said[1])) end
    names[said[1]] = true
    local side = { name = said[1], params = {} }
    for _, row in ipairs(KINDS[kind]) do side[row[1]] = options[row[1]] end
    side.needs = options.needs
    for key, value in pairs(said) do              -- into tables: any order will do
      if own[key] then side[key] = value elseif key ~= 1 then side.params[key] = value end
    end
    if side[MUST[kind]] == nil then fault.raise("missing key `%s.%s`", kind, MUST[kind]) end
    for _, key in ipairs { "line", "mark" } do
      if side.ready and side[key] == nil then fault.raise("missing key `%s.%s`: with `ready` there is a line to send and a mark to wait for", kind, key) end
    end
    if side.line and not side.ready then fault.raise("`%s.line` without `%s.ready`, the text it waits for", kind, kind) end
    sides[i] = side
  end
  if #sides == 0 then fault.raise("`%s.sides` must be a list of { \"name\", key = value }", kind) end
  return sides
end

for kind in pairs(KINDS) do                       -- bench.component, bench.guest, bench.process: any order will do
  local rows = rows_of(kind)
  bench[kind] = function(options)
    options = schema.check(options, rows, kind)
    for name in pairs(options.quick) do           -- one of them is named: any order will do
      if options.params[name] == nil then fault.raise("`%s.quick.%s`: no such parameter in `params`", kind, tostring(name)) end
    end
    options.kind, options.sides = kind, sides_of(kind, options)
    options.unit, options.clock = options.unit or UNITS[kind], options.clock or CLOCKS[kind]
    return setmetatable(options, Case)
  end
end

local GROUP = {
  { "name", type = "string", help = "name of the group; default: the file's" },
  { "help", type = "string", help = "one line about it" },
}

-- bench { name =, help =, case, case, ... }: what a scenario file returns.
local function group_of(said)
  local named, cases = {}, {}
  for key, value in pairs(said) do                -- into tables: any order will do
    if type(key) == "number" then cases[key] = value else named[key] = value end
  end
  local group = schema.check(named, GROUP, "bench")
  group.cases = {}
  for i = 1, table.maxn(cases) do
    if cases[i] then
      if getmetatable(cases[i]) ~= Case then fault.raise("`bench[%d]` must be bench.component, bench.guest or bench.process", i) end
      table.insert(group.cases, cases[i])
    end
  end
  if #group.cases == 0 then fault.raise("bench {...} without a case") end
  return setmetatable(group, Group)
end

local PROMISE = {
  { "name", type = "string", required = true, help = "what is promised" },
  { "of", type = "string", required = true, help = "ids of the cases it is measured by: a Lua pattern" },
  { "side", type = "string", help = "whose figure; default: the first side" },
  { "to", type = "string", help = "the other side of a ratio" },
  { "figure", type = "enum", values = { "ns", "seconds", "MIPS", "ratio" }, required = true, help = "of a unit of work; ratio: side / to" },
  { "by", type = "enum", values = { "median", "best" }, default = "median", help = "of the samples" },
  { "take", type = "enum", values = { "geometric mean", "lowest", "highest" }, default = "highest", help = "how several cases become one figure" },
  { "at_least", type = "number", help = "bound" },
  { "at_most", type = "number", help = "bound" },
  { "published", type = "string", required = true, help = "where it is promised" },
}

-- bench.contract { {...}, ... }: published promises, each with a bound and the cases that measure it.
function bench.contract(said)
  local list = {}
  for i, row in ipairs(said) do
    list[i] = schema.check(row, PROMISE, ("contract[%d]"):format(i))
    if (list[i].at_least == nil) == (list[i].at_most == nil) then fault.raise("`contract[%d]` needs either `at_least` or `at_most`", i) end
  end
  return setmetatable(list, Contract)
end

-- Files --------------------------------------------------------------------------------------------------------------------

local function folder_of(path) return path:match "^(.*/)[^/]*$" or "" end

local loaded = {}

-- bench.file "support.lua": what a Lua file returns, its path being seen from the file that asks. Read once.
function bench.file(name)
  local path = name:find "^/" and name or folder_of(debug.getinfo(2, "S").source:sub(2)) .. name
  if loaded[path] == nil then
    local chunk, why = loadfile(path)
    if not chunk then fault.raise("%s", why) end
    loaded[path] = chunk()
  end
  return loaded[path]
end

-- The group or contract that a scenario file returns; raises what is wrong with it as "file:line: text".
function bench.load(path)
  local chunk, why = loadfile(path)
  if not chunk then error(why, 0) end
  local got = fault.run(chunk, LOAD_SECONDS)
  local kind = getmetatable(got)
  if kind ~= Group and kind ~= Contract then error(("%s: returned %s: bench {...} was expected"):format(path, schema.show(got)), 0) end
  if kind == Contract then return nil, got end
  got.name, got.file = got.name or path:match "([^/]*)%.lua$" or path, path
  return got
end

-- Cases --------------------------------------------------------------------------------------------------------------------

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- All combinations of the values of `params`, as lists of { name, value } in the order of the names.
local function combinations(params)
  local list = { {} }
  for _, name in ipairs(sorted_keys(params)) do
    local values, longer = type(params[name]) == "table" and params[name] or { params[name] }, {}
    for _, sofar in ipairs(list) do
      for _, value in ipairs(values) do
        local next_one = { unpack(sofar) }
        next_one[#next_one + 1] = { name, value }
        longer[#longer + 1] = next_one
      end
    end
    list = longer
  end
  return list
end

local function expand_one(group, said, combination, quick)
  local words, params = {}, {}
  for i, pair in ipairs(combination) do
    words[i] = (" %s=%s"):format(pair[1], tostring(pair[2]))
    params[pair[1]] = pair[2]
  end
  local case = {
    id = group.name .. "/" .. said.name .. table.concat(words), group = group.name, file = group.file, name = said.name, kind = said.kind,
    help = said.help, params = params, unit = said.unit, clock = said.clock, limit = said.limit, samples = said.samples, sides = {},
  }
  for i, side in ipairs(said.sides) do
    local own = setmetatable({}, { __index = side })
    own.params = { quick = quick }
    for _, from in ipairs { params, side.params } do
      for key, value in pairs(from) do own.params[key] = value end       -- any order will do
    end
    case.sides[i] = own
  end
  if said.kind == "component" then
    case.per = type(said.per) == "function" and said.per(case.sides[1].params) or said.per
    if type(case.per) ~= "number" or case.per <= 0 then fault.raise("%s: `per` must be a number above 0, not %s", case.id, schema.show(case.per)) end
  end
  return case
end

-- The cases of a group, one for every combination of parameters.
function bench.expand(group, quick)
  local cases = {}
  for _, said in ipairs(group.cases) do
    local params = {}
    for name, values in pairs(said.params) do params[name] = quick and said.quick[name] or values end       -- into a table: any order will do
    for _, combination in ipairs(combinations(params)) do cases[#cases + 1] = expand_one(group, said, combination, quick or false) end
  end
  return cases
end

local SECOND = 1e9
-- warm and target: nanoseconds for a side; samples: at most; fewest: of runs that take long.
local FULL  = { warm = 0.5 * SECOND, target = 3 * SECOND, samples = 100, fewest = 9 }
local QUICK = { warm = 0.1 * SECOND, target = 0.25 * SECOND, samples = 50, fewest = 7 }

local function never() return false end

-- Takes the times of one case (umbra.bench.sample), or raises. options: quick, stop, progress, watch = false (nothing need be stopped from
-- within), share (this is one of so many processes), and whatever FULL has.
function bench.sample(case, options)
  options = options or {}
  local context = { stop = options.stop or never, progress = options.progress, limit = case.limit, watch = options.watch ~= false }
  for key, value in pairs(options.quick and QUICK or FULL) do context[key] = options[key] or value end      -- any order will do
  context.samples = math.min(case.samples or context.samples, context.samples)
  context.fewest = math.min(context.fewest, context.samples)
  if options.share then                           -- one of several processes
    for _, key in ipairs { "warm", "target", "samples", "fewest" } do context[key] = context[key] / options.share end
    context.samples, context.fewest = math.ceil(context.samples), math.ceil(context.fewest)
  end
  return sample.run(case, context)
end

-- Measures one case in this process: a record of a report (umbra.bench.report).
function bench.measure(case, options)
  local ok, got = pcall(bench.sample, case, options)
  if not ok then return report.failed(case, got) end
  return report.record(case, got)
end

-- Interactive --------------------------------------------------------------------------------------------------------------

local INTERACTIVE = { target = 0.5 * SECOND }

local function one(name, sides)
  local group = group_of { name = "bench", bench.component { name = name, sides = sides } }
  local record = bench.measure(bench.expand(group)[1], INTERACTIVE)
  if record.error then fault.raise("%s", record.error) end
  return setmetatable(record, { __tostring = report.text })
end

-- bench.time(f): how long f(nil, i) takes, as a record that prints itself.
function bench.time(f)
  if type(f) ~= "function" then fault.raise("bench.time takes a function, not %s", schema.show(f)) end
  return one("time", { { "f", routine = f } })
end

-- bench.compare(f, g): which one is faster.
function bench.compare(f, g)
  if type(f) ~= "function" or type(g) ~= "function" then fault.raise("bench.compare takes two functions") end
  return one("compare", { { "f", routine = f }, { "g", routine = g } })
end

return setmetatable(bench, { __call = function(_, said) return group_of(said) end })
