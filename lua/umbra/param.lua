-- param: the parameters of a machine file: declared where they are used, given on the command line or by a script.
--
--   local ram = param "ram"                                    -- one of the names below, with their usual type and help
--   local size = param { "size", default = "1G" }              -- the same, a default of its own
--   local tune = param { "tune", type = "integer", default = 3, min = 1, max = 9, help = "how eager it is" }
--
-- A row is what umbra.schema takes; the name stands first. param returns the value, nil when none was given and there is no default.
-- Declared twice (a machine and the one it extends), the first declaration holds, so a machine that extends another one can
-- change a default by declaring the parameter itself.
-- Paths that come from outside are relative to the current folder, those that stand in the file to the file's folder.
-- SPDX-License-Identifier: MIT
local fault  = require "umbra.fault"
local host   = require "umbra.host"
local schema = require "umbra.schema"
local units  = require "umbra.units"

local param = {}

local USUAL = {
  { "kernel",   type = "path", help = "Linux Image, ELF file or raw bytes to run" },
  { "initrd",   type = "path", help = "initial RAM disk for the kernel" },
  { "firmware", type = "path", words = { "none" }, help = "firmware that runs first in machine mode, or none" },
  { "append",   type = "string", help = "command line of the kernel" },
  { "drive",    type = "path", help = "disk image" },
  { "symbols",  type = "path", help = "file with more names of addresses: ELF, System.map or Linux Image" },
  { "log",      type = "string", help = "ITEMS:FILE[;ITEMS:FILE]: what to log, of exec,int,mmu,mmio,dev; - is standard error" },
  { "log_limit", type = "size", min = 1, help = "bytes a log may have" },
  { "ring",     type = "integer", default = 0, min = 0, max = 2^20, help = "instructions a hart remembers, to print when the guest comes to grief" },
  { "engine",   type = "enum", values = { "t0", "t1", "auto", "lockstep" },
    help = "what runs guest code: an interpreter, translated code, that where it is hot, or both, compared" },
  { "guest",    type = "string", help = "fetched guest that gives what is not named, or none (umbra fetch lists them)" },
  { "ram",      type = "size", default = 512 * 2^20, min = 2^20, max = 2^40, multiple_of = 4096, help = "guest memory" },
  { "harts",    type = "integer", default = 1, min = 1, max = 8, help = "harts" },
  { "isa",      type = "string", help = "instruction set" },
  { "mmu",      type = "enum", values = { "none", "sv39", "sv48", "sv57" }, help = "widest address translation" },
  { "clock",    type = "enum", values = { "wall", "virtual" }, default = "wall", help = "guest time: the host's, or counted in instructions" },
  { "rate",     type = "integer", min = 1, max = 10^12, help = "virtual clock: instructions a second of guest time, a hart [100000000]" },
  { "seed",     type = "integer", min = 0, max = 2^53, help = "of random numbers for the guest; 0: the host's entropy [0; virtual clock: 1]" },
}

-- What is being loaded: { given = {name = value}, rows = {...}, values = {}, folder = "dir/", lenient = bool }, or nil.
local loading

local function absolute(path, folder)
  if path:sub(1, 1) == "/" then return path end
  return folder .. path
end

-- A path of `row`, made independent of the current folder; a row's `words` ("none") are no paths.
local function located(row, value, folder)
  for _, word in ipairs(row.words or {}) do
    if value == word then return value end
  end
  return absolute(value, folder)
end

local function row_of(declaration)
  if type(declaration) == "string" then declaration = { declaration } end
  if type(declaration) ~= "table" then fault.raise("param takes a name or a row like { \"ram\", type = \"size\" }, not %s", schema.show(declaration)) end
  local row = {}
  local name = declaration.name or declaration[1]
  if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" then fault.raise("param: %s is no name", schema.show(name)) end
  row.name, row.type = name, "string"
  for _, usual in ipairs(USUAL) do
    if usual[1] == name then
      for key, value in pairs(usual) do if key ~= 1 then row[key] = value end end
    end
  end
  local KEYS = { "name", "type", "default", "required", "min", "max", "power_of_two", "multiple_of", "values", "words", "help" }
  for key, value in pairs(declaration) do
    if key ~= 1 then
      local known = false
      for _, k in ipairs(KEYS) do known = known or k == key end
      if not known then fault.raise("param `%s`: unknown key `%s`%s", name, tostring(key), schema.suggest(tostring(key), KEYS)) end
      row[key] = value
    end
  end
  return row
end

local function value_of(row)
  local given, default = loading.given[row.name], row.default
  if given ~= nil then
    local value, wanted = schema.convert(row, given)
    if value == nil then
      loading.refuse(("%s=%s: must be %s"):format(row.name, tostring(given), wanted))
    end
    if row.type == "path" then value = located(row, value, loading.cwd) end
    return value
  end
  if default == nil then
    if row.required and not loading.lenient then
      loading.refuse(("missing parameter `%s`%s"):format(row.name, row.help and " (" .. row.help .. ")" or ""))
    end
    return
  end
  local value, wanted = schema.convert(row, default)
  if value == nil then fault.raise("param `%s`: its default must be %s, not %s", row.name, wanted, schema.show(default)) end
  if row.type == "path" then value = located(row, value, loading.folder) end
  return value
end

-- Declares a parameter and returns its value. Outside of a machine file nothing is given, so its default.
function param.declare(declaration)
  local row = row_of(declaration)
  if not loading then
    if row.default == nil then return end
    local value, wanted = schema.convert(row, row.default)
    if value == nil then fault.raise("param `%s`: its default must be %s, not %s", row.name, wanted, schema.show(row.default)) end
    return value
  end
  for _, known in ipairs(loading.rows) do
    if known.name == row.name then return loading.values[row.name] end
  end
  loading.rows[#loading.rows + 1] = row
  loading.values[row.name] = value_of(row)
  return loading.values[row.name]
end

-- Makes the paths among `options`, checked by `declared`, relative to the machine file they stand in.
function param.resolve(options, declared)
  for _, row in ipairs(loading and declared or {}) do
    local name = row.name or row[1]
    if row.type == "path" and options[name] then options[name] = located(row, options[name], loading.folder) end
  end
  return options
end

-- The folder of the machine file being loaded, or the current one.
function param.folder()
  return loading and loading.folder or host.folder()
end

-- Runs f() with parameters `given` for a file in `folder`; a file loaded from within shares what is given and declared.
-- refuse(text) raises what is wrong with a given value; lenient: required ones may be missing (for --help).
-- Returns what f returns, and the rows declared.
function param.scope(options, f)
  local outer = loading
  loading = {
    folder  = absolute(options.folder, host.folder()),
    cwd     = host.folder(),
    given   = outer and outer.given or options.given or {},
    rows    = outer and outer.rows or {},
    values  = outer and outer.values or {},
    refuse  = outer and outer.refuse or options.refuse,
    lenient = outer and outer.lenient or options.lenient,
  }
  local rows = loading.rows
  local ok, result = pcall(f)
  loading = outer
  if not ok then
    if not outer and options.lenient and #rows > 0 then return nil, rows end
    error(result, 0)
  end
  return result, rows
end

-- Refuses names that no row declares.
function param.check_given(given, rows, refuse)
  local names, unknown = {}, {}
  for i, row in ipairs(rows) do names[i] = row.name end
  for name in pairs(given) do
    local known = false
    for _, k in ipairs(names) do known = known or k == name end
    if not known then unknown[#unknown + 1] = tostring(name) end
  end
  table.sort(unknown)
  if unknown[1] then refuse(("unknown parameter `%s`%s"):format(unknown[1], schema.suggest(unknown[1], names))) end
end

-- Lines of help, one a parameter: name, type, default, help.
function param.help(rows)
  local kinds, widest, lines = {}, 0, {}
  for i, row in ipairs(rows) do
    kinds[i] = row.type
    if row.type == "enum" then
      local shown = {}
      for j, value in ipairs(row.values) do shown[j] = tostring(value) end
      kinds[i] = table.concat(shown, "|")
    end
    widest = math.max(widest, #kinds[i])
  end
  for i, row in ipairs(rows) do
    local default = row.default
    if default == nil then
      default = row.required and "(required)" or ""
    else
      local value = schema.convert(row, default)
      default = "[" .. (row.type == "size" and units.format(value) or tostring(value)) .. "]"
    end
    lines[i] = ("  %-22s %-" .. widest .. "s  %s%s"):format(row.name, kinds[i], row.help or "", default ~= "" and " " .. default or "")
  end
  return lines
end

return param
