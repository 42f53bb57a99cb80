-- directive: the directives of GNU's assembler that are known here.
-- SPDX-License-Identifier: MIT
--
-- Each is a function(self, at, behind, name) of an assembly: `at` is its column, `behind` the column after it; it returns where the
-- next statement begins.
local ffi        = require "ffi"
local expression = require "umbra.asm.expression"
local number     = require "umbra.asm.number"
local parse      = require "umbra.asm.parse"

local directive = {}

local MOST_BYTES = 2 ^ 26                            -- of one directive
local BEHIND_ALL = math.huge                         -- no more statements in this line (another one may be the current one by now)

-- A directive whose operands are read before: f(self, operands, at, name).
local function with_operands(least, most, spoken, f)
  return function(self, at, behind, name)
    local list, next_at = self:operands(behind)
    if #list < least or #list > most then self:fail(at, "%s: expected is %s", name, spoken) end
    f(self, list, at, name)
    return next_at
  end
end

local function name_of(self, node, what)
  if not node or node.op ~= "symbol" then self:fail(node and node.at or self.statement.at, "%s: the name of a symbol is expected here", what) end
  return node.name
end

-- Data ---------------------------------------------------------------------------------------------------------------------

for name, width in pairs { [".byte"] = 1, [".half"] = 2, [".2byte"] = 2, [".short"] = 2, [".hword"] = 2, [".word"] = 4, [".4byte"] = 4,
                           [".long"] = 4, [".dword"] = 8, [".8byte"] = 8, [".quad"] = 8 } do
  directive[name] = with_operands(1, math.huge, "a list of numbers", function(self, list)
    for _, node in ipairs(list) do
      if node.op ~= "number" then self:constant(node) end
    end
    self:add { kind = "data", width = width, nodes = list, size = width * #list }
  end)
end

for name, ending in pairs { [".ascii"] = "", [".asciz"] = "\0", [".string"] = "\0" } do
  directive[name] = with_operands(1, math.huge, "a list of strings", function(self, list)
    local texts = {}
    for i, node in ipairs(list) do
      if node.op ~= "string" then self:fail(node.at, "%s: a string in \"quotes\" is expected here", name) end
      texts[i] = node.text .. ending
    end
    local bytes = table.concat(texts)
    self:add { kind = "bytes", bytes = bytes, size = #bytes }
  end)
end

-- A float or a whole number, with signs before it.
local function float_of(self, node, name)
  if node.op == "unary" and (node.name == "-" or node.name == "+") then
    local value = float_of(self, node.value, name)
    return node.name == "-" and -value or value
  end
  if node.op == "symbol" and (node.name == "inf" or node.name == "nan") then return node.name == "inf" and math.huge or math.abs(0 / 0) end
  if node.op ~= "float" and node.op ~= "number" then self:fail(node.at, "%s: a number is expected here, like 1.5, inf or nan", name) end
  return tonumber(node.value)
end

for name, type in pairs { [".float"] = "float", [".single"] = "float", [".double"] = "double" } do
  local cell = ffi.typeof(type .. "[1]")
  local size = ffi.sizeof(type)
  directive[name] = with_operands(1, math.huge, "a list of numbers", function(self, list)
    local texts = {}
    for i, node in ipairs(list) do texts[i] = ffi.string(cell(float_of(self, node, name)), size) end
    self:add { kind = "bytes", bytes = table.concat(texts), size = size * #list }
  end)
end

local function fill_of(self, node, name)
  if not node then return end
  local value = self:must(node, name .. ": what to fill with")
  if value < -128 or value > 255 then self:fail(node.at, "%s: %s is no byte to fill with", name, number.show(value)) end
  return value % 256
end

for _, name in ipairs { ".space", ".skip", ".zero" } do
  directive[name] = with_operands(1, 2, "a number of bytes, and what to fill them with", function(self, list)
    local size = self:constant(list[1])
    if size and (type(size) ~= "number" or size < 0 or size > MOST_BYTES) then
      self:fail(list[1].at, "%s: %s bytes: 0 to %d are possible", name, number.show(size), MOST_BYTES)
    end
    self:add { kind = "space", node = list[1], fill = fill_of(self, list[2], name), size = size or 0 }
  end)
end

directive[".fill"] = with_operands(1, 3, "how often, of how many bytes, which value", function(self, list)
  local width = list[2] and self:must(list[2], ".fill: the number of bytes") or 1
  local value = list[3] and self:must(list[3], ".fill: the value") or 0
  if width < 1 or width > 8 then self:fail(list[2].at, ".fill: %s bytes: 1 to 8 are possible", number.show(width)) end
  local count = list[1]
  self:add { kind = "space", unit = number.bytes(value, 8):sub(1, width), size = 0,
    node = { op = "binary", name = "*", at = count.at, left = count, right = { op = "number", value = width, at = count.at } } }
  self:constant(count)
end)

-- Places -------------------------------------------------------------------------------------------------------------------

local MOST_ALIGN = 2 ^ 24

local function align(self, list, bytes, name)
  if bytes < 1 or bytes > MOST_ALIGN or math.log(bytes) / math.log(2) % 1 ~= 0 then
    self:fail(list[1].at, "%s: %s: a power of two from 1 to %d is expected", name, number.show(bytes), MOST_ALIGN)
  end
  local most = list[3] and self:must(list[3], name .. ": the most bytes to skip")
  self.section.align = math.max(self.section.align, bytes)
  self:add { kind = "align", align = bytes, fill = fill_of(self, list[2], name), most = most, short = not self.extensions or self.extensions.c, size = 0 }
end

for _, name in ipairs { ".align", ".p2align" } do
  directive[name] = with_operands(1, 3, "an exponent of two, what to fill with, the most bytes to skip", function(self, list)
    local exponent = self:must(list[1], name .. ": the exponent")
    if exponent < 0 or exponent > 24 then self:fail(list[1].at, "%s: %s: an exponent of two from 0 to 24 is expected", name, number.show(exponent)) end
    align(self, list, 2 ^ exponent, name)
  end)
end

directive[".balign"] = with_operands(1, 3, "a power of two, what to fill with, the most bytes to skip", function(self, list)
  align(self, list, self:must(list[1], ".balign: the alignment"), ".balign")
end)

directive[".org"] = with_operands(1, 2, "an address, and what to fill with", function(self, list)
  self:constant(list[1])
  self:add { kind = "org", node = list[1], fill = fill_of(self, list[2], ".org"), size = 0 }
end)

for _, name in ipairs { ".text", ".data", ".bss", ".rodata" } do
  directive[name] = with_operands(0, 0, "nothing more", function(self, _, at) self:enter(name, nil, at) end)
end

local FLAGS = { a = "a", aw = "aw", wa = "aw", ax = "ax", xa = "ax", awx = "awx", axw = "awx", wax = "awx" }

directive[".section"] = with_operands(1, 3, "a name, its flags like \"ax\", and @progbits or @nobits", function(self, list, at)
  local name, flags = name_of(self, list[1], ".section"), nil
  if list[2] then
    flags = list[2].op == "string" and FLAGS[list[2].text]
    if not flags then self:fail(list[2].at, ".section: \"a\", \"ax\", \"aw\" or \"awx\" is expected here") end
  end
  if list[3] then
    local kind = list[3].op == "tag" and list[3].name
    if kind ~= "progbits" and kind ~= "nobits" then self:fail(list[3].at, ".section: @progbits or @nobits is expected here") end
    if kind == "nobits" then
      if flags ~= "aw" then self:fail(list[3].at, ".section: @nobits goes with \"aw\"") end
      flags = "awz"
    end
  end
  self:enter(name, flags, at)
end)

-- Symbols ------------------------------------------------------------------------------------------------------------------

for name, once in pairs { [".equ"] = false, [".set"] = false, [".equiv"] = true } do
  directive[name] = with_operands(2, 2, "a name and a value", function(self, list)
    self:define(list[1].at, list[1].op == "here" and "." or name_of(self, list[1], name), list[2], once)
  end)
end

for name, key in pairs { [".globl"] = "global", [".global"] = "global", [".local"] = "own", [".weak"] = "weak" } do
  directive[name] = with_operands(1, math.huge, "a list of names", function(self, list)
    for _, node in ipairs(list) do
      local symbol = self:symbol(name_of(self, node, name))
      symbol.bind, symbol.bind_at, symbol.bind_line = key, node.at, self.line
    end
  end)
end

local TYPES = { ["function"] = "function", object = "object", notype = "notype" }

directive[".type"] = with_operands(2, 2, "a name and @function or @object", function(self, list)
  local kind = list[2].op == "tag" and TYPES[list[2].name]
  if not kind then self:fail(list[2].at, ".type: @function, @object or @notype is expected here") end
  self:symbol(name_of(self, list[1], ".type")).type = kind
end)

directive[".size"] = with_operands(2, 2, "a name and a number of bytes", function(self, list)
  local symbol = self:symbol(name_of(self, list[1], ".size"))
  self:constant(list[2])
  self:add { kind = "extent", symbol = symbol, node = list[2], size = 0 }
end)

-- Short forms --------------------------------------------------------------------------------------------------------------

local OPTIONS = { "rvc", "norvc", "push", "pop", "norelax", "nopic" }
local options = {}

function options.rvc(self, node)
  if self.extensions and not self.extensions.c then self:fail(node.at, ".option rvc needs the extension c, which %s has not", self.isa) end
  self.rvc = true
end
function options.norvc(self) self.rvc = false end
function options.push(self) table.insert(self.options, self.rvc) end
function options.pop(self, node)
  if #self.options == 0 then self:fail(node.at, ".option pop without its .option push") end
  self.rvc = table.remove(self.options)
end
function options.norelax() end                       -- how it always is: nothing is moved by a linker
function options.nopic() end

directive[".option"] = with_operands(1, 1, "one of " .. table.concat(OPTIONS, ", "), function(self, list)
  local name = name_of(self, list[1], ".option")
  if not options[name] then self:fail(list[1].at, ".option: unknown option `%s`%s", name, self.suggest(name, OPTIONS)) end
  options[name](self, list[1])
end)

-- Macros and conditions ----------------------------------------------------------------------------------------------------

directive[".macro"] = function(self, at, behind)
  self.source:define((parse.raw(self.line.text, behind)), self.line, at)
  return BEHIND_ALL
end

directive[".rept"] = with_operands(1, 1, "how often", function(self, list, at)
  local count, line = self:must(list[1], ".rept: how often"), self.line
  if count < 0 then self:fail(list[1].at, ".rept: %s times: 0 or more are possible", number.show(count)) end
  self.source:repeat_lines(count, line, at)
end)

directive[".irp"] = function(self, at, behind)
  self.source:each((parse.raw(self.line.text, behind)), self.line, at)
  return BEHIND_ALL
end

for opening, name in pairs { [".endm"] = ".macro", [".endr"] = ".rept or .irp" } do
  directive[opening] = function(self, at) self:fail(at, "%s without its %s", opening, name) end
end

local conditions = {}

conditions[".if"] = function(self, behind)
  local list = self:operands(behind)
  if #list ~= 1 then self:fail(self.statement.at, ".if: one condition is expected") end
  return self:must(list[1], "the condition") ~= 0
end
conditions[".ifdef"] = function(self, behind) return self:is_known(name_of(self, self:operands(behind)[1], ".ifdef")) end
conditions[".ifndef"] = function(self, behind) return not self:is_known(name_of(self, self:operands(behind)[1], ".ifndef")) end
conditions[".ifb"] = function(self, behind) return (parse.raw(self.line.text, behind)) == "" end
conditions[".ifnb"] = function(self, behind) return (parse.raw(self.line.text, behind)) ~= "" end
conditions[".elseif"] = conditions[".if"]


-- Goes on behind the next .else, true .elseif, or .endif of the condition on top.
local function leave_out(self)
  local top = self.conditions[#self.conditions]
  while true do
    local word, line = self.source:skip(top.line, top.at)
    self.line = line
    local at, behind = line.text:match "^%s*()%.[%w_]+()"
    if word == ".endif" then
      table.remove(self.conditions)
      return
    end
    if top.last then self:fail(at, "%s behind the .else", word) end
    if word == ".else" then
      top.last = true
      if not top.done then return end
    else
      self.statement = { at = at }
      if not top.done and conditions[".elseif"](self, behind) then
        top.done = true
        return
      end
    end
  end
end

for _, name in ipairs { ".if", ".ifdef", ".ifndef", ".ifb", ".ifnb" } do
  directive[name] = function(self, at, behind)
    local holds = conditions[name](self, behind)
    table.insert(self.conditions, { line = self.line, at = at, done = holds })
    if not holds then leave_out(self) end
    return BEHIND_ALL
  end
end

for _, name in ipairs { ".else", ".elseif" } do
  directive[name] = function(self, at)
    local top = self.conditions[#self.conditions]
    if not top then self:fail(at, "%s without its .if", name) end
    if top.last then self:fail(at, "%s behind the .else", name) end
    top.last = name == ".else"
    leave_out(self)
    return BEHIND_ALL
  end
end

directive[".endif"] = function(self, at, behind)
  if #self.conditions == 0 then self:fail(at, ".endif without its .if") end
  table.remove(self.conditions)
  return self:operands(behind) and BEHIND_ALL
end

directive[".error"] = with_operands(0, 1, "a text", function(self, list, at)
  self:fail(at, "%s", list[1] and list[1].text or ".error")
end)

local names = {}
for name in pairs(directive) do names[#names + 1] = name end
table.sort(names)
directive.names = names                              -- no directive: those begin with a dot

-- Evaluates .size when all addresses are known.
function directive.extent(self, item)
  local value = expression.evaluate(item.node, self)
  if type(value) == "number" and value >= 0 then item.symbol.size = value end
end

return directive
