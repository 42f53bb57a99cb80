-- help: what a thing is, its calls, and its options with type, unit, range and default, as text.
--
--   local help = require "umbra.help"
--   help(m)  help(m.hart)  help(dev.ns16550a)  help "machine"
--
-- Nothing is said here: calls are the rows of the tables in docs/PAGE.md, options are the rows that check them.
-- SPDX-License-Identifier: MIT
local lfs     = require "lfs"
local bits    = require "umbra.bits"
local device  = require "umbra.device"
local devices = require "devices"
local fault   = require "umbra.fault"
local image   = require "umbra.image"
local schema  = require "umbra.schema"

local folder = debug.getinfo(1, "S").source:match("^@(.*)umbra/help%.lua$") .. "../docs/"

local help = {}

-- Noun of an object -> the page that tells of it, and what it is called there. `options`: what is checked by which rows.
help.OBJECTS = {
  block    = { page = "block", as = "disk" },
  chardev  = { page = "dev", as = "port" },
  clock    = { page = "clock", as = "m.clock", options = function() return { { "clock.new {...}", require("umbra.clock").OPTIONS } } end },
  console  = { page = "machine", as = "m.console" },
  dev      = { page = "dev", as = "d" },
  gdb      = { page = "gdb", as = "server", options = function() return { { "m:gdb {...}", require("umbra.gdb").OPTIONS } } end },
  hart     = { page = "cpu", as = "hart", options = function() return { { "cpu = {...}", require("umbra.cpu").OPTIONS } } end },
  hook     = { page = "hook", as = "h", options = function() return { { "m:hook {...}", require("umbra.hook").OPTIONS } } end },
  irq      = { page = "irq", as = "line" },
  linux    = { page = "linux", as = "process", options = function() return { { "linux.new {...}", require("umbra.linux").OPTIONS } } end },
  machine  = { page = "machine", as = "m", options = function() return require("umbra.machine").OPTIONS end },
  mem      = { page = "mem", as = "m" },
  mmu      = { page = "mmu", as = "w" },
  symbols  = { page = "symbols", as = "names" },
  tlb      = { page = "tlb", as = "t" },
}

-- Pages ----------------------------------------------------------------------------------------------------------------------

local function plain(text)
  return (text:gsub("%[([^%]]*)%]%([^)]*%)", "%1"):gsub("`", ""):gsub("\\|", "|"):gsub("%*%*", ""))
end

local function pages()
  local list = {}
  for name in lfs.dir(folder) do list[#list + 1] = name:match "^([%w-]+)%.md$" end
  table.sort(list)
  return list
end

help.pages = pages

local function read(page) return (image.read(folder .. page .. ".md")) end

-- The cells of a table's row, or nil. A | within ` ` is none that separates.
local function cells_of(line)
  if not line:find "^|.*|%s*$" or line:find "^|[-|: ]+|$" then return end
  local list, code, from = {}, false, 2
  for i = 2, #line do
    local c = line:sub(i, i)
    if c == "`" then code = not code end
    if c == "|" and not code and line:sub(i - 1, i - 1) ~= "\\" then
      list[#list + 1] = line:sub(from, i - 1):match "^%s*(.-)%s*$"
      from = i + 1
    end
  end
  return list
end

-- The calls that a page tells of: { call = text, name = of the method or nil, as = whose, says = text } each.
function help.calls(page)
  local list = {}
  for line in (read(page) or ""):gmatch "[^\n]+" do
    local cells, as = cells_of(line), nil
    for code in (cells and #cells == 2 and cells[1] or ""):gmatch "`([^`]+)`" do
      local whose, name = code:match "^([%w_.]+)[:.]([%a_][%w_]*)"
      if not whose then name = code:match "^[:.]([%a_][%w_]*)" end
      as = whose or as
      if name and as then
        list[#list + 1] = { call = whose and code or as .. code, name = name, as = as, says = cells[2], is_method = code:find "^[%w_.]*:" ~= nil }
      end
    end
  end
  return list
end

-- The title of a page and the text up to its first example, table or heading.
local function head(page)
  local text = read(page)
  local title, rest = text:match "^# ([^\n]*)\n(.*)$"
  local lines = {}
  for line in (rest or ""):gmatch "([^\n]*)\n" do
    if line:find "^```" or line:find "^|" or line:find "^#" or line:find "^    " then break end
    lines[#lines + 1] = plain(line)
  end
  if lines[#lines] and lines[#lines]:find ":%s*$" then lines[#lines] = "" end            -- what led to an example
  return title or page, (table.concat(lines, "\n"):match "^%s*(.-)%s*$")
end

local function add_calls(lines, page, as)
  local said, any
  for _, row in ipairs(help.calls(page)) do
    if not as or row.as == as then
      if not any then lines[#lines + 1] = "" lines[#lines + 1] = "calls" end
      any = true
      if said and said ~= row.says then lines[#lines + 1] = "      " .. plain(said) end
      lines[#lines + 1] = "  " .. row.call
      said = row.says
    end
  end
  if said then lines[#lines + 1] = "      " .. plain(said) end
end

-- Options --------------------------------------------------------------------------------------------------------------------

-- "integer, 16 to 65536, default 512" of a row.
local function kind_of(row)
  local parts = { row.type or "any" }
  if row.unit then parts[#parts + 1] = row.unit end
  if row.values then
    local values = {}
    for i, value in ipairs(row.values) do values[i] = schema.show(value) end
    parts[#parts + 1] = table.concat(values, " ")
  end
  local range = schema.range(row)
  if range then parts[#parts + 1] = range end
  local show = row.type == "address" and bits.hex or schema.show
  if row.default ~= nil and type(row.default) ~= "table" then parts[#parts + 1] = "default " .. show(row.default) end
  if row.required then parts[#parts + 1] = "required" end
  return table.concat(parts, ", ")
end

-- Rows of options as lines of text.
function help.options(rows, title)
  local lines = { title }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = ("  %-22s %s%s"):format(row[1] or row.name, kind_of(row), row.help and ": " .. row.help or "")
  end
  return table.concat(lines, "\n")
end

-- Things ---------------------------------------------------------------------------------------------------------------------

local function see(page) return "\nsee docs/" .. page .. ".md" end

local function page_text(page)
  local title, text = head(page)
  local lines = { title, text ~= "" and "\n" .. text or nil }
  add_calls(lines, page)
  for _, object in pairs(help.OBJECTS) do         -- at most one has the options of a page
    if object.page == page and object.options then
      for _, group in ipairs(object.options()) do lines[#lines + 1] = "\n" .. help.options(group[2], group[1]) end
    end
  end
  lines[#lines + 1] = see(page)
  return table.concat(lines, "\n")
end

local function object_text(object, noun)
  local about = help.OBJECTS[noun]
  local lines = { object.describe and object:describe() or (head(about.page)) }
  add_calls(lines, about.page, about.as)
  for _, group in ipairs(about.options and about.options() or {}) do lines[#lines + 1] = "\n" .. help.options(group[2], group[1]) end
  lines[#lines + 1] = see(about.page)
  return table.concat(lines, "\n")
end

local function model_text(name)
  local rows = devices.models[name].options
  local says
  for line in read("machine"):gmatch "[^\n]+" do
    local cells = cells_of(line)
    if cells and #cells == 3 and cells[1] == "`" .. name .. "`" then says = plain(cells[3]) end
  end
  local lines = { ("dev.%s: %s"):format(name, says or "a device") }
  lines[#lines + 1] = #rows > 0 and help.options(rows, "options") or "no options"
  lines[#lines + 1] = see "machine"
  return table.concat(lines, "\n")
end

local function all_text()
  local lines = { "help(THING) of an object or a device, help \"PAGE\" of:" }
  for _, page in ipairs(pages()) do lines[#lines + 1] = ("  %-16s %s"):format(page, (head(page))) end
  return table.concat(lines, "\n")
end

-- What `page` says of the function that is called by its bare name: the rows of its tables whose call begins with it. nil: nothing.
function help.word(page, name)
  local lines = {}
  for line in (read(page) or ""):gmatch "[^\n]+" do
    local cells = cells_of(line)
    for code in (cells and #cells == 2 and cells[1] or ""):gmatch "`([^`]+)`" do
      if code:match "^[%a_][%w_.]*" == name then lines[#lines + 1] = ("%s\n    %s"):format(plain(cells[1]), plain(cells[2])) break end
    end
  end
  if lines[1] then return table.concat(lines, "\n") .. see(page) end
end

-- Where a function was written, and the comment above it.
local function function_text(f)
  local info = debug.getinfo(f, "S")
  if info.what == "C" then
    for library, t in pairs(package.loaded) do    -- at most one of Lua's own names is it
      for name, value in pairs(type(t) == "table" and rawequal(package.loaded[library], t) and t or {}) do
        if value == f then return ("%s%s: a function of Lua's library"):format(library == "_G" and "" or library .. ".", name) end
      end
    end
    return "a function in C"
  end
  local lines, above = {}, {}
  for line in ((info.source:match "^@(.*)" and image.read(info.source:sub(2)) or "") .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  for at = info.linedefined - 1, 1, -1 do
    local text = lines[at] and lines[at]:match "^%s*%-%-%s?(.*)$"
    if not text then break end
    table.insert(above, 1, text)
  end
  above[#above + 1] = ("function at %s:%d"):format(info.short_src, info.linedefined)
  local first = lines[info.linedefined] and lines[info.linedefined]:match "^%s*(.-)%s*$"
  if first then table.insert(above, 1, first) end
  return table.concat(above, "\n")
end

-- Noun of an object that umbra made, or nil.
function help.noun(object)
  local meta = type(object) == "table" and getmetatable(object)
  local noun = type(meta) == "table" and rawget(meta, "noun")
  return help.OBJECTS[noun] and noun or nil
end

local function name_text(name)
  if rawget(devices.models, name) then return model_text(name) end
  local known = pages()
  for _, page in ipairs(known) do if page == name then return page_text(name) end end
  if help.OBJECTS[name] then return page_text(help.OBJECTS[name].page) end
  fault.raise("help: there is no page %s%s", schema.show(name), schema.suggest(name, known))
end

-- The text about a thing: an object, a device of `devices`, a device written in Lua or its class, or the name of a page.
function help.text(thing)
  if thing == nil then return all_text() end
  if type(thing) == "string" then return name_text(thing) end
  local noun = help.noun(thing)
  if noun then return object_text(thing, noun) end
  if device.is_class(thing) or device.is_object(thing) then return thing:describe() .. "\n" .. see "device" end
  local model = devices.name_of(thing)
  if model then return model_text(model) end
  for name, module in pairs(package.loaded) do    -- a module of umbra's: at most one is it
    local page = module == thing and name:match "^umbra%.([%w_]+)$"
    if page and read(page) then return page_text(page) end
  end
  if type(thing) == "function" then return function_text(thing) end
  fault.raise("help: nothing is known about %s; help() lists what is", schema.show(thing))
end

return setmetatable(help, { __call = function(_, thing) print(help.text(thing)) end })
