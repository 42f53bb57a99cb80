-- complete: what may stand at the cursor: fields and methods of live objects, options of the call one is in, values of text.
-- SPDX-License-Identifier: MIT
local help = require "umbra.help"

local MOST_SYMBOLS = 200
local MIN_SYMBOL = 3                              -- letters, before the names of a guest are looked through
local KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or", "repeat",
                   "return", "then", "true", "until", "while" }

local function add(set, name, prefix)
  if type(name) == "string" and name:sub(1, #prefix) == prefix and name:find "^[%a_][%w_]*$" and not name:find "^__" then set[name] = true end
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- What an object of the toolkit documents as its calls, and fields that hold something to look at.
local function object_names(set, object, noun, prefix, only_methods)
  local about = help.OBJECTS[noun]
  for _, row in ipairs(help.calls(about.page)) do
    if row.as == about.as then add(set, row.name, prefix) end
  end
  if only_methods then return end
  for key, value in pairs(object) do              -- a set: any order will do
    local kind = type(value)
    if kind ~= "cdata" and kind ~= "userdata" and kind ~= "function" then add(set, key, prefix) end
  end
end

local function names_of(object, prefix, only_methods)
  local set = {}
  if type(object) == "string" then object = string end
  local noun = help.noun(object)
  if noun then
    object_names(set, object, noun, prefix, only_methods)
    return sorted(set)
  end
  for _ = 1, 8 do                                 -- what a metatable says where to look
    if type(object) ~= "table" then break end
    for key, value in pairs(object) do
      if not only_methods or type(value) == "function" then add(set, key, prefix) end
    end
    local meta = getmetatable(object)
    object = type(meta) == "table" and rawget(meta, "__index")
  end
  return sorted(set)
end

local function get(object, key) return object[key] end

-- What `path` ("m.cpu[0]") holds now; nothing is called on the way.
local function value_of(env, path)
  local first, rest = path:match "^([%a_][%w_]*)(.*)$"
  if not first then return end
  local value = env[first]
  while rest ~= "" do
    local name, after = rest:match "^[.:]([%a_][%w_]*)(.*)$"
    if not name then
      name, after = rest:match "^%[(%d+)%](.*)$"
      name = tonumber(name)
    end
    if not name then
      name, after = rest:match '^%["([^"]*)"%](.*)$'
    end
    if not name or value == nil then return end
    local ok, found = pcall(get, value, name)
    if not ok then return end
    value, rest = found, after
  end
  return value
end

-- The call whose braces or parentheses are open at the end of `before`: its path, and "{" or "(". nil: none.
local function open_call(before)
  local stack, quote = {}, nil
  for at = 1, #before do
    local c = before:sub(at, at)
    if quote then
      if c == quote and before:sub(at - 1, at - 1) ~= "\\" then quote = nil end
    elseif c == '"' or c == "'" then
      quote = c
    elseif c == "{" or c == "(" then
      stack[#stack + 1] = at
    elseif c == "}" or c == ")" then
      stack[#stack] = nil
    end
  end
  local at = stack[#stack]
  if not at then return end
  local head = before:sub(1, at - 1)
  if before:sub(at, at) == "{" then head = head:gsub("%(%s*$", "") end
  return head:match "([%a_][%w_.:%[%]]*)%s*$", before:sub(at, at)
end

-- Rows of the options that a call takes in braces, or nil.
local function options_of(env, path)
  local owner, name = path:match "^(.*)[.:]([%a_][%w_]*)$"
  local model = name and value_of(env, path)
  if type(model) == "table" and rawget(model, "options") then return model.options end
  name = name or path
  local noun = owner and help.noun(value_of(env, owner))
  for _, about in pairs(noun and { help.OBJECTS[noun], help.OBJECTS.hook, help.OBJECTS.gdb } or {}) do
    for _, group in ipairs(about.options and about.options() or {}) do
      if group[1]:match "[.:]([%a_][%w_]*)%s*{" == name then return group[2] end
    end
  end
end

-- Words of an unfinished text: what the call takes there, else symbols of the guest.
local function text_words(env, before, prefix, arguments)
  local set, path = {}, before:match '([%a_][%w_.:]*)%s*%(?%s*["\'][^"\']*$'
  local name = path and path:match "[%a_][%w_]*$"
  local known = name and arguments[name]
  if known then
    for _, word in ipairs(type(known) == "function" and known() or known) do
      if word:sub(1, #prefix) == prefix then set[word] = true end
    end
  end
  local m = env.m
  if next(set) == nil and #prefix >= MIN_SYMBOL and help.noun(m) == "machine" then
    local found = 0
    for symbol in m.symbols:each() do
      if symbol.name:sub(1, #prefix) == prefix and not set[symbol.name] then
        set[symbol.name], found = true, found + 1
        if found >= MOST_SYMBOLS then break end
      end
    end
  end
  return sorted(set)
end

local function global_words(env, prefix)
  local set = {}
  for _, word in ipairs(KEYWORDS) do add(set, word, prefix) end
  for _, name in ipairs(names_of(env, prefix)) do set[name] = true end
  return sorted(set)
end

-- The words that may stand at the end of `before`, and what is there of them.
local function words_at(env, before, arguments)
  local quotes = select(2, before:gsub("\\.", ""):gsub('"', ""))
  if quotes % 2 == 1 then
    local prefix = before:match '"([^"]*)$'
    return text_words(env, before, prefix, arguments), prefix
  end
  local command, word = before:match "^%s*([%a_][%w_]*)%s+([%w_]*)$"
  if command and arguments[command] then          -- info reg<Tab>
    return text_words(env, ('%s "%s'):format(command, word), word, arguments), word
  end
  local path, sign, prefix = before:match "([%a_][%w_.:%[%]\"]*)([.:])([%w_]*)$"
  if path then return names_of(value_of(env, path), prefix, sign == ":"), prefix end
  prefix = before:match "[%a_][%w_]*$" or ""
  local call, bracket = open_call(before)
  local rows = call and bracket == "{" and before:find("[{,]%s*" .. prefix .. "$") and options_of(env, call)
  if rows then
    local set = {}
    for _, row in ipairs(rows) do add(set, row[1] or row.name, prefix) end
    return sorted(set), prefix
  end
  return global_words(env, prefix), prefix
end

-- Returns what may be put behind `before` (what all the words have in common, more than is there), and the list of words. arguments:
-- name of a function -> list, or function that returns one, of what its text may be.
return function(env, before, arguments)
  local words, prefix = words_at(env, before, arguments)
  if #words == 0 then return "", words end
  local common = words[1]
  for _, word in ipairs(words) do
    while word:sub(1, #common) ~= common do common = common:sub(1, -2) end
  end
  return common:sub(#prefix + 1), words
end
