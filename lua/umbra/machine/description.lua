-- description: what `machine {...}` says, checked: keys, rows of the map, machines that extend others, and the files they stand in.
--
-- description.check reads one table and description.load a machine file with its parameters; both give a Description, which
-- umbra.machine builds. It changes no more after that.
-- SPDX-License-Identifier: MIT
local cpu     = require "umbra.cpu"
local devices = require "devices"
local engine  = require "umbra.cpu.engine"
local fault   = require "umbra.fault"
local image   = require "umbra.image"
local linux   = require "umbra.linux"
local log     = require "umbra.log"
local param   = require "umbra.param"
local ring    = require "umbra.ring"
local schema  = require "umbra.schema"
local uv      = require "luv"

local description = {}

local Description = {}
Description.__index = Description

local WATCHDOG = 5                                -- seconds a machine file may take
local RATE = 100000000                            -- instructions a second of virtual time
local MOST_LEVELS = 8                             -- of machines extending machines

local TOP = {
  { "name", type = "string", default = "machine", help = "what the machine is called" },
  { "extends", type = "string", help = "machine file this one starts from" },
  { "cpu", type = "table", default = {}, help = "the harts" },
  { "ram", type = "table", required = true, help = "ram = { at = 0x80000000, size = \"512M\" }" },
  { "map", type = "table", default = {}, help = "the devices" },
  { "boot", type = "table", default = {}, help = "what runs" },
  { "process", type = "table", help = "instead of all of these: a program for RISC-V Linux (umbra.linux)" },
  { "console", type = "string", help = "row whose text is the machine's; default: the first that has one" },
  { "timebase", type = "integer", default = 10000000, min = 1, max = 1000000000, help = "ticks of the guest's clock a second" },
  { "clock", type = "enum", values = { "wall", "virtual" }, default = "wall", help = "guest time: the host's, or counted in instructions" },
  { "rate", type = "integer", min = 1, max = 10^12, help = "virtual clock: instructions a second of guest time, a hart; 100000000" },
  { "log", type = "string", help = "what is logged: exec,int:FILE;mmio:FILE" },
  { "log_limit", type = "size", min = 1, help = "bytes a log may have" },
  engine.ROWS[1], engine.ROWS[2],
  { "ring", type = "integer", default = 0, min = 0, max = ring.MOST, help = "instructions a hart remembers" },
  { "seed", type = "integer", min = 0, max = 2^53, help = "of random numbers for the guest; 0: the host's entropy; default 0, with a virtual clock 1" },
}

local HARTS = { "harts", type = "integer", default = 1, min = 1, max = 8, help = "they take turns" }

local RAM = {
  { "at", type = "address", default = 0x80000000, max = 2^48, multiple_of = 4096, help = "first address" },
  { "size", type = "size", required = true, min = 4096, max = 2^40, multiple_of = 4096, help = "bytes" },
}

local BOOT = {
  { "firmware", type = "path", words = { "none" }, help = "runs first, in machine mode" },
  { "kernel", type = "path", help = "Linux Image, ELF file or raw bytes" },
  { "initrd", type = "path", help = "initial RAM disk" },
  { "append", type = "string", help = "command line of the kernel" },
  { "symbols", type = "path", help = "more names of addresses" },
  { "guest", type = "string", help = "fetched guest that gives firmware, kernel and initrd where they are not named; or none" },
  { "signature", type = "path", help = "file for the memory from begin_signature to end_signature, once the guest ends" },
  { "signature_granularity", type = "enum", values = { 1, 2, 4, 8, 16, 32, 64 }, default = 16, help = "bytes a line" },
}

local ROW = {
  { "at", type = "address", max = 2^52, help = "first address" },
  { "name", type = "string", required = true, help = "what the row is called" },
}

-- Rows and keys ------------------------------------------------------------------------------------------------------------

-- Splits a row into its named keys and its device, and refuses what is neither.
local function split_row(row, index, name)
  local label = ("map row %s"):format(name or tostring(index))
  if type(row) ~= "table" or devices.is_description(row) then
    fault.raise("%s must be a table like { at = 0x10000000, name = \"uart0\", dev.ns16550a {} }", label)
  end
  local keys, device = {}, row[1]
  for key, value in pairs(row) do
    if key ~= 1 then keys[key] = value end
  end
  if device ~= nil and not devices.is_description(device) then fault.raise("%s: %s is no device: write dev.MODEL {...}", label, schema.show(device)) end
  keys.name = keys.name or name
  return keys, device, label
end

-- The rows of a map in order: its numbered rows, then the named ones sorted. A value of false takes a row of the base out.
local function list_rows(map)
  local list, names = {}, {}
  for key in pairs(map) do
    if type(key) == "string" then
      names[#names + 1] = key
    elseif type(key) ~= "number" or key < 1 or key % 1 ~= 0 then
      fault.raise("`map` takes rows, not a key %s", schema.show(key))
    end
  end
  table.sort(names)
  for index = 1, table.maxn(map) do               -- a row may be nil or false: `drive and {...}`
    if map[index] then list[#list + 1] = { index = index, row = map[index] } end
  end
  for _, name in ipairs(names) do list[#list + 1] = { name = name, row = map[name] } end
  return list
end

-- Adds the rows of `map` to `rows`; a row whose name is there already overrides what it says.
local function merge_rows(rows, map)
  local own = {}
  for _, entry in ipairs(list_rows(map)) do
    local place
    if entry.row == false then
      for i, row in ipairs(rows) do if row.name == entry.name then place = i end end
      if not place then fault.raise("map.%s = false: there is no such row to take out", entry.name) end
      table.remove(rows, place)
    else
      local keys, device, label = split_row(entry.row, entry.index, entry.name)
      keys = schema.check(keys, ROW, label)
      for i, row in ipairs(rows) do if row.name == keys.name then place = i end end
      local base = place and rows[place]
      if own[keys.name] then fault.raise("%s: there is a row named `%s` already", label, keys.name) end
      own[keys.name] = true
      if not device and not base then fault.raise("%s (`%s`): its device is missing, like dev.ns16550a {}", label, keys.name) end
      device = device or base.device
      local row = { name = keys.name, at = keys.at or base and base.at, device = device, model = device.model, options = device.options }
      if row.at == nil and not row.model.place then fault.raise("%s (`%s`): missing key `at`", label, row.name) end
      if #row.name > 27 then fault.raise("%s: the name `%s` is longer than 27 bytes", label, row.name) end
      if base then rows[place] = row else rows[#rows + 1] = row end
    end
  end
  return rows
end

local function over(base, own)
  local all = {}
  for key, value in pairs(base or {}) do all[key] = value end
  for key, value in pairs(own or {}) do all[key] = value end
  return all
end

local function with_harts(declared)
  local rows = { HARTS }
  for i, row in ipairs(declared) do rows[i + 1] = row end
  return rows
end

local level = 0                                   -- how deep in extended machines

local function base_of(options)
  if options.extends == nil then return end
  if type(options.extends) ~= "string" then fault.raise("`extends` must name a machine file, not %s", schema.show(options.extends)) end
  if level >= MOST_LEVELS then fault.raise("extends = %q: machines extend one another in a circle", options.extends) end
  level = level + 1
  local ok, base = pcall(description.load, options.extends, nil, { folder = param.folder() })
  level = level - 1
  if not ok then error(base, 0) end
  return base
end

local function check_cpu(options)
  local own = schema.check(options, with_harts(cpu.OPTIONS), "cpu")
  local harts = own.harts
  own.harts = nil
  return cpu.check(own, "cpu"), harts
end

-- A process instead of harts, RAM and devices: machines/linux-user.lua.
local function check_process(raw)
  local names = {}
  for key in pairs(raw) do names[#names + 1] = key end
  table.sort(names)
  for _, key in ipairs(names) do
    if not (key == "name" or key == "extends" or key == "process") then fault.raise("a machine with a `process` takes no `%s`", tostring(key)) end
  end
  local process = linux.check(param.resolve(raw.process, linux.OPTIONS), "process")
  return setmetatable({ raw = raw, name = schema.check({ name = raw.name }, { TOP[1] }).name, process = process }, Description)
end

-- Checks a description. What a script gets back can be built by machine.build; a machine file returns it.
function description.check(options)
  if type(options) ~= "table" then fault.raise("machine takes a table, not %s", schema.show(options)) end
  local base = base_of(options)
  local raw = over(base and base.raw, options)
  for _, key in ipairs { "cpu", "ram", "boot", "process" } do
    local own = options[key]
    if own ~= nil and type(own) ~= "table" then fault.raise("`%s` must be a table, not %s", key, schema.show(own)) end
    if raw[key] ~= nil then raw[key] = over(base and base.raw[key], own) end
  end
  if raw.process then return check_process(raw) end
  if raw.boot then                                -- paths are found from the file they stand in
    local own = {}
    for key in pairs(options.boot or {}) do own[key] = raw.boot[key] end
    own = param.resolve(schema.check(own, BOOT, "boot"), BOOT)
    for key in pairs(options.boot or {}) do raw.boot[key] = own[key] end
  end
  raw.boot = raw.boot or {}
  if raw.boot.symbols == nil then raw.boot.symbols = param.declare "symbols" end       -- what every machine has
  for _, name in ipairs { "log", "log_limit", "ring", "engine" } do
    if raw[name] == nil then raw[name] = param.declare(name) end
  end
  local checked = schema.check(raw, TOP)
  if options.log ~= nil then log.parse(checked.log) end                                -- a parameter is the fault of who gave it
  if checked.rate and checked.clock ~= "virtual" then fault.raise("rate = %d needs clock = \"virtual\": a wall clock counts no instructions", checked.rate) end
  local self = setmetatable({
    raw = raw, name = checked.name, log = checked.log, log_limit = checked.log_limit, ring = checked.ring,
    timebase = checked.timebase, rate = checked.clock == "virtual" and (checked.rate or RATE) or nil, seed = checked.seed,
  }, Description)
  self.engine, self.jit = checked.engine, engine.check_jit(checked.jit, "jit")
  self.cpu, self.harts = check_cpu(checked.cpu)
  self.ram = schema.check(checked.ram, RAM, "ram")
  self.boot = schema.check(checked.boot, BOOT, "boot")
  if options.map ~= nil and type(options.map) ~= "table" then fault.raise("`map` must be a table of rows, not %s", schema.show(options.map)) end
  local rows = {}
  for i, row in ipairs(base and base.rows or {}) do rows[i] = row end
  self.rows = merge_rows(rows, options.map or {})
  self.console = checked.console
  local names = {}
  for _, row in ipairs(self.rows) do if row.model.console then names[#names + 1] = row.name end end
  local has = self.console == nil
  for _, name in ipairs(names) do has = has or name == self.console end
  if not has then
    fault.raise("console = %s: no row with a console has that name%s", schema.show(self.console), schema.suggest(self.console, names))
  end
  return self
end

-- Loading ------------------------------------------------------------------------------------------------------------------

local stock = debug.getinfo(1, "S").source:match("^@(.*)umbra/machine/description%.lua$") .. "../machines/"

local function is_file(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- The file meant by `name`: a path (relative to `folder` or the current one), or the name of a machine that umbra brings along.
function description.find(name, folder)
  local path = (name:sub(1, 1) == "/" or not folder) and name or folder .. name
  if is_file(path) or name:find "/" then return path end
  local own = stock .. name:gsub("%.lua$", "") .. ".lua"
  return is_file(own) and own or path
end

-- ", did you mean `riscv-virt`?": which machines come along, for a name that is none of them and no file.
local function suggestion(name)
  if name:find "/" or is_file(name) then return "" end
  local names = {}
  for file in uv.fs_scandir_next, uv.fs_scandir(stock) do names[#names + 1] = file:match "^(.*)%.lua$" end
  table.sort(names)
  return schema.suggest(name, names)
end

local function read(path, name)
  local text, why = image.read(path)
  if not text then fault.raise("%s%s", why, suggestion(name)) end
  local chunk, message = load(text:gsub("^#[^\n]*", ""), "@" .. path, "t")
  if not chunk then error(message:find("^[^\n]*:%d+: ") and message or path .. ": " .. message, 0) end
  setfenv(chunk, setmetatable({}, { __index = _G }))               -- globals of a machine file are its own
  return chunk, select(2, text:gsub("\n", "\n")) + (text:sub(-1) == "\n" and 0 or 1)
end

-- Runs a machine file with parameters ({ name = value }, text or the type declared) and returns its description and the rows
-- of its parameters. lenient: a missing required parameter is no refusal; the description may be nil then.
function description.load(name, given, options)
  options = options or {}
  local path = description.find(name, options.folder)
  local chunk, lines = read(path, name)
  local _, here = pcall(fault.raise, "")          -- a wrong parameter is the fault of who gave it, not of the file
  local function refuse(text) error(here .. text, 0) end
  local scope = { folder = path:match "^(.*/)" or "", given = given, refuse = refuse, lenient = options.lenient }
  local found, rows = param.scope(scope, function()
    local ok, result = pcall(fault.run, chunk, WATCHDOG)
    if not ok then error(type(result) == "string" and result or ("%s: raised %s"):format(path, schema.show(result)), 0) end
    if getmetatable(result) ~= Description then
      error(("%s:%d: the file returns %s: a machine file ends with `return machine {...}`"):format(path, lines, schema.show(result)), 0)
    end
    return result
  end)
  if level == 0 then param.check_given(given or {}, rows, refuse) end
  return found, rows
end

-- Whether `value` is a description that was checked.
function description.is(value) return getmetatable(value) == Description end

-- What is checked by which rows, for help: { title, rows } each.
description.OPTIONS = {
  { "machine {...}", TOP }, { "cpu = {...}", with_harts(cpu.OPTIONS) }, { "ram = {...}", RAM }, { "boot = {...}", BOOT },
  { "process = {...}", linux.OPTIONS }, { "map = { {...} }", ROW },
}

return description
