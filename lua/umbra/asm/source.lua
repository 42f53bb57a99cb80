-- source: the lines of a text, with macros expanded, repetitions repeated, and lines under a false condition left out.
-- SPDX-License-Identifier: MIT
--
-- A line is { text =, number =, origin = }: one that a macro made has as origin { number =, at =, name = }, the line and column of the
-- outermost use of a macro and that macro's name, which is where messages point.
local source = {}

local MOST_LINES, MOST_DEPTH = 2000000, 200

local Source = {}
Source.__index = Source

local function split(text)
  local lines = {}
  for line in (text:sub(-1) == "\n" and text or text .. "\n"):gmatch "(.-)\r?\n" do lines[#lines + 1] = { text = line, number = #lines + 1 } end
  return lines
end

-- fail(line, column, format, ...) raises.
function source.new(text, fail)
  return setmetatable({ frames = { { lines = split(text), next = 1 } }, macros = {}, names = {}, fail = fail, made = 0, uses = 0 }, Source)
end

-- The next line, or nil at the end of everything.
function Source:line()
  local frame = self.frames[#self.frames]
  while frame do
    local line = frame.lines[frame.next]
    if line then
      frame.next = frame.next + 1
      return line
    end
    if #self.frames == 1 then return end
    self.frames[#self.frames] = nil
    frame = self.frames[#self.frames]
  end
end

function Source:push(lines, line, at)
  self.made = self.made + #lines
  if self.made > MOST_LINES then self.fail(line, at, "macros and repetitions make more than %d lines", MOST_LINES) end
  if #self.frames >= MOST_DEPTH then self.fail(line, at, "macros within macros, %d deep: does one use itself?", MOST_DEPTH) end
  self.frames[#self.frames + 1] = { lines = lines, next = 1 }
end

-- The lines up to the `closing` directive that belongs to an opening one at `line`; nested ones stay in.
function Source:body(opening, closing, line, at)
  local lines, depth = {}, 0
  while true do
    local got = self:line()
    if not got then self.fail(line, at, "%s without its %s", opening, closing) end
    local word = got.text:match "^%s*([%w_.]+)"
    if word == opening or opening ~= ".macro" and (word == ".rept" or word == ".irp") then depth = depth + 1
    elseif word == closing then
      if depth == 0 then return lines end
      depth = depth - 1
    end
    lines[#lines + 1] = got
  end
end

-- "a, b=1, rest:vararg" -> { { name =, default =, vararg = }, ... }; nil and what is wrong.
local function parameters(text)
  local list = {}
  for part in text:gmatch "[^,%s]+" do
    local name, kind, default = part:match "^([%a_][%w_]*):?(%a*)=?(.*)$"
    if not name or kind ~= "" and kind ~= "vararg" and kind ~= "req" then return nil, part end
    if part:find "=" == nil then default = nil end
    list[#list + 1] = { name = name, vararg = kind == "vararg", required = kind == "req", default = default }
  end
  return list
end

-- Defines a macro from "name a, b" and the lines that follow.
function Source:define(text, line, at)
  local name, rest = text:match "^([%a_.][%w_.]*)%s*,?%s*(.*)$"
  if not name then self.fail(line, at, ".macro: a name is expected") end
  if self.macros[name] then self.fail(line, at, "macro `%s` is there already, since line %d", name, self.macros[name].number) end
  local list, wrong = parameters(rest)
  if not list then self.fail(line, at, ".macro %s: `%s` is no parameter (name, name=default, name:req or name:vararg)", name, wrong) end
  self.macros[name] = { name = name, parameters = list, number = line.number, lines = self:body(".macro", ".endm", line, at) }
  self.names[#self.names + 1] = name
end

-- Arguments between commas that are in no brackets and no quotes; the last of `most` takes the rest when `open`.
local function arguments(text, most, open)
  local list, depth, start, quoted, i = {}, 0, 1, false, 1
  while i <= #text do
    local c = text:sub(i, i)
    if quoted then
      if c == "\\" then i = i + 1 elseif c == '"' then quoted = false end
    elseif c == '"' then quoted = true
    elseif c == "(" then depth = depth + 1
    elseif c == ")" then depth = depth - 1
    elseif c == "," and depth == 0 and not (open and #list + 1 == most) then
      list[#list + 1] = text:sub(start, i - 1)
      start = i + 1
    end
    i = i + 1
  end
  if text:find "%S" then list[#list + 1] = text:sub(start) end
  for n, argument in ipairs(list) do list[n] = argument:match "^%s*(.-)%s*$" end
  return list
end

local function substituted(lines, values, line, at, name, count)
  local out = {}
  local origin = line.origin or { number = line.number, at = at, name = name }
  for i, each in ipairs(lines) do
    local text = each.text:gsub("\\([%a_][%w_]*)", values):gsub("\\@", tostring(count)):gsub("\\%(%)", "")
    out[i] = { text = text, number = each.number, origin = origin }
  end
  return out
end

-- Expands the macro `name` with the arguments in `text`.
function Source:expand(name, text, line, at)
  local macro = self.macros[name]
  local list = macro.parameters
  local open = list[#list] and list[#list].vararg
  local given = arguments(text, #list, open)
  local values, named, place = {}, {}, 1
  for _, parameter in ipairs(list) do named[parameter.name] = true end
  for _, argument in ipairs(given) do
    local key, value = argument:match "^([%a_][%w_]*)%s*=%s*([^=].*)$"
    if key and named[key] then values[key] = value
    else
      if not list[place] then self.fail(line, at, "macro `%s` takes %d argument%s, not %d", name, #list, #list == 1 and "" or "s", #given) end
      if argument ~= "" then values[list[place].name] = argument end
      place = place + 1
    end
  end
  for _, parameter in ipairs(list) do
    if values[parameter.name] == nil then
      if parameter.required then self.fail(line, at, "macro `%s`: argument `%s` is missing", name, parameter.name) end
      values[parameter.name] = parameter.default or ""
    end
  end
  self.uses = self.uses + 1
  self:push(substituted(macro.lines, values, line, at, name, self.uses), line, at)
end

-- .rept: the lines up to .endr, `count` times.
function Source:repeat_lines(count, line, at)
  local body = self:body(".rept", ".endr", line, at)
  if count * #body > MOST_LINES then self.fail(line, at, "macros and repetitions make more than %d lines", MOST_LINES) end
  local lines = {}
  for _ = 1, count do
    for _, each in ipairs(body) do lines[#lines + 1] = each end
  end
  self:push(lines, line, at)
end

-- .irp name, a, b, c: the lines up to .endr, once for each.
function Source:each(text, line, at)
  local name, rest = text:match "^([%a_][%w_]*)%s*,?%s*(.*)$"
  if not name then self.fail(line, at, ".irp: a name and what it stands for are expected, like .irp reg, a0, a1") end
  local body, lines = self:body(".irp", ".endr", line, at), {}
  for _, value in ipairs(arguments(rest, 0)) do
    for _, made in ipairs(substituted(body, { [name] = value }, line, at, ".irp", self.uses)) do lines[#lines + 1] = made end
  end
  self:push(lines, line, at)
end

-- Leaves out lines up to the .else, .elseif or .endif of the condition at `line`; returns the word and the line it is on.
function Source:skip(line, at)
  local depth = 0
  while true do
    local got = self:line()
    if not got then self.fail(line, at, ".if without its .endif") end
    local word = got.text:match "^%s*(%.[%w_]+)"
    if word and word:find "^%.if" then depth = depth + 1
    elseif depth == 0 and (word == ".else" or word == ".elseif" or word == ".endif") then return word, got
    elseif word == ".endif" then depth = depth - 1 end
  end
end

return source
