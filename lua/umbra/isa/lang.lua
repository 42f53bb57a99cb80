-- lang: the language in which an instruction's meaning is written.
-- SPDX-License-Identifier: MIT
--
-- A small typed expression language over bit vectors of 1 to 256 bits, parsed with lpeg into a tree
-- that is checked once (widths, signedness, effects) and then printed as C, evaluated, or lifted.
-- Values carry no sign: operators do (<s <u >>s /s %u). A literal takes the width of its neighbour.
--
--   let t = rs1 + imm            rd = t[31:0]             if rs1 <s rs2 { goto pc + imm }
--   rd = sext32(load.u32(t))     store.64(t, rs2)         rd, flag = add.carry(rs1, rs2)
--
-- Every node is { op = ..., bits = width, at = offset in the text, ... }.
local lpeg = require "lpeg"
local wide = require "umbra.isa.wide"

local P, R, S, V, C, Cc, Cp, Ct, Cf, Cg = lpeg.P, lpeg.R, lpeg.S, lpeg.V, lpeg.C, lpeg.Cc, lpeg.Cp, lpeg.Ct, lpeg.Cf, lpeg.Cg

local lang = {}

-- Grammar -----------------------------------------------------------------------------------------

local furthest                                       -- offset of the furthest failure, for messages
local mark = P(function(_, at) if at > furthest then furthest = at end return true end)
local comment = P "--" * (1 - P "\n") ^ 0
local space = (S " \t\r\n;" + comment) ^ 0 * mark
local letter = R("az", "AZ") + P "_"
local word = letter * (letter + R "09") ^ 0 * P "'" ^ 0

local function token(text) return P(text) * space end
local function keyword(text) return P(text) * -(letter + R "09" + P ".") * space end

local keywords = P "let" + "if" + "else" + "goto"
local identifier = C(word - keywords * -(letter + R "09")) * space
local dotted = C(word * (P "." * (letter + R "09") ^ 1) ^ 0)
local number = (P "0x" * C(R("09", "af", "AF") ^ 1) * Cc(16) + P "0b" * C(S "01" ^ 1) * Cc(2) + C(R "09" ^ 1) * Cc(10)) * space

local function node(op, ...)
  local names = { ... }
  return function(at, ...)
    local made = { op = op, at = at }
    for i, name in ipairs(names) do made[name] = (select(i, ...)) end
    return made
  end
end

-- Left-associative chains of the operators of one precedence.
local function chain(operand, operators)
  local operator = P(false)
  for _, text in ipairs(operators) do
    if text:match "[su]$" then operator = operator + C(P(text:sub(1, -2)) * P(text:sub(-1)) * -(letter + R "09")) * space
    else operator = operator + C(P(text)) * -(S "<>=&|" - (text:match "[<>]" and P "" or P(false))) * space end
  end
  return Cf(operand * Cg(Cp() * operator * operand) ^ 0, function(left, at, op, right)
    return { op = "binary", at = at, name = op, left = left, right = right }
  end)
end

local rules = {
  program   = space * Ct(V "statement" ^ 0) * -1,
  condition = space * V "expression" * -1,
  statement = V "let" + V "branch" + V "goto" + V "assign" + V "effect",
  let       = Cp() * keyword "let" * identifier * token "=" * V "expression" / node("let", "name", "value"),
  branch    = Cp() * keyword "if" * V "expression" * V "block" * (keyword "else" * (V "block" + Ct(V "branch"))) ^ -1
              / node("if", "condition", "yes", "no"),
  block     = token "{" * Ct(V "statement" ^ 0) * token "}",
  ["goto"]  = Cp() * keyword "goto" * V "expression" / node("goto", "target"),
  assign    = Cp() * Ct(identifier * (token "," * identifier) ^ 0) * (token "=" - P "==") * V "expression" / node("assign", "names", "value"),
  effect    = V "call" / function(call) return { op = "effect", at = call.at, value = call } end,
  expression = Cp() * V "level1" * (token "?" * V "expression" * token ":" * V "expression") ^ -1 / function(at, condition, yes, no)
    return yes and { op = "select", at = at, condition = condition, yes = yes, no = no } or condition
  end,
  level1  = chain(V "level2", { "|" }),
  level2  = chain(V "level3", { "^" }),
  level3  = chain(V "level4", { "&" }),
  level4  = chain(V "level5", { "==", "!=" }),
  level5  = chain(V "level6", { "<=s", "<=u", ">=s", ">=u", "<s", "<u", ">s", ">u" }),
  level6  = chain(V "level7", { "<<", ">>s", ">>" }),
  level7  = chain(V "level8", { "+", "-" }),
  level8  = chain(V "unary", { "*", "/s", "/u", "%s", "%u" }),
  unary   = Cp() * C(S "~-!") * space * V "unary" / node("unary", "name", "value") + V "slice",
  slice   = Cf(V "primary" * Cg(Cp() * token "[" * V "index" * (token ":" * V "index") ^ -1 * token "]") ^ 0, function(value, at, high, low)
    return { op = "slice", at = at, value = value, high = high, low = low or high }
  end),
  index   = V "level7",
  primary = V "number" + V "raw" + V "call" + Cp() * identifier / node("name", "name") + token "(" * V "expression" * token ")",
  number  = Cp() * number / function(at, digits, base) return { op = "number", at = at, digits = digits, base = base } end,
  raw     = Cp() * P "#" * identifier / node("raw", "name"),
  call    = Cp() * dotted * P "(" * space * Ct((V "expression" * (token "," * V "expression") ^ 0) ^ -1) * token ")" / node("call", "name", "args"),
}
local function starting(rule)
  rules[1] = rule
  return P(rules)
end
local grammars = { program = starting "program", condition = starting "condition" }

local function place(text, at)
  local line, column = 1, at
  for newline in text:sub(1, at - 1):gmatch "()\n" do line, column = line + 1, at - newline end
  return line, column
end

-- Raises { line, column, text } for the caller to put its own place before it.
local function refuse(text, at, format, ...)
  local line, column = place(text, at)
  error({ line = line, column = column, text = format:format(...) }, 0)
end

-- The tree of `text`: statements, or with kind "condition" one expression.
function lang.parse(text, kind)
  furthest = 1
  local program = grammars[kind or "program"]:match(text)
  if not program then
    local rest = text:sub(furthest):match "^[^\n]*"
    refuse(text, furthest, rest == "" and "unfinished at the end" or "not understood at '%s'", rest)
  end
  return program
end

-- Checker -----------------------------------------------------------------------------------------
-- scope: {
--   XLEN = bits, fields = { name = field }, registers = { name = { bits = } }   (single registers, flags, pc)
--   functions = { name = { args = { bits... }, bits = result or 0, kind = "pure"|"fp"|"state", ... } }
-- }
-- A field is { bits = value width, regs = file or nil, writable = bool, raw_bits = width of the number }.

local function set(names)
  local members = {}
  for name in names:gmatch "%S+" do members[name] = true end
  return members
end
local COMPARE = set "== != <s <u <=s <=u >s >u >=s >=u"
local SHIFT   = set "<< >> >>s"
local ATOMIC  = set "swap add and or xor min max minu maxu"
local BASES   = { [2] = "0b", [10] = "", [16] = "0x" }
local BUILTIN = set "let if else goto pc next XLEN"           -- names with a meaning of their own

local Checker = {}
Checker.__index = Checker

function Checker:refuse(at, ...) refuse(self.text, at, ...) end

-- A compile-time integer: digits and XLEN with + - * (slice bounds, widths of sext).
function Checker:constant(e)
  if e.op == "number" then return tonumber(e.digits, e.base) end
  if e.op == "name" and e.name == "XLEN" then return self.scope.XLEN end
  if e.op == "binary" and (e.name == "+" or e.name == "-" or e.name == "*") then
    local a, b = self:constant(e.left), self:constant(e.right)
    if a and b then return e.name == "+" and a + b or e.name == "-" and a - b or a * b end
  end
end

function Checker:need_constant(e, what)
  local value = self:constant(e)
  if not value then self:refuse(e.at, "%s must be a constant", what) end
  return value
end

-- Gives a width to a literal (or an expression of literals) that has none of its own.
function Checker:fit(e, bits)
  if e.bits or not bits then return end
  e.bits = bits
  if e.op == "number" then
    local value = wide.parse(e.digits, e.base)
    if not wide.eq(wide.low(value, bits), value) then self:refuse(e.at, "%s%s does not fit %d bits", BASES[e.base], e.digits, bits) end
  end
  for _, child in ipairs { "left", "right", "value", "yes", "no" } do
    if e[child] and not (child == "right" and SHIFT[e.name]) then self:fit(e[child], bits) end
  end
end

function Checker:same(e, a, b)
  self:fit(a, b.bits)
  self:fit(b, a.bits)
  if a.bits ~= b.bits then
    self:refuse(e.at, "'%s' wants equal widths, not %s and %s", e.name or "?:", a.bits or "?", b.bits or "?")
  end
  return a.bits
end

local builtin = {}

local function extension(signed)
  return function(self, e)
    local value, width = e.args[1], self.scope.XLEN
    if #e.args < 1 or #e.args > 2 then self:refuse(e.at, "%s wants a value and perhaps a width", e.name) end
    self:expression(value)
    if e.args[2] then width = self:need_constant(e.args[2], "the width") end
    if e.from then
      self:fit(value, math.max(e.from, self.scope.XLEN))
      if value.bits < e.from then self:refuse(e.at, "%s wants at least %d bits, not %d", e.name, e.from, value.bits) end
      if value.bits > e.from then value = { op = "slice", at = e.at, value = value, lo = 0, bits = e.from } end
    end
    if not value.bits then self:refuse(e.at, "%s of a number without a width", e.name) end
    if width < value.bits then self:refuse(e.at, "%s to %d bits would lose some of %d", e.name, width, value.bits) end
    e.op, e.value, e.signed, e.bits, e.args = "extend", value, signed, width, nil
  end
end
builtin.sext, builtin.zext = extension(true), extension(false)

function builtin:trunc(e)
  if #e.args ~= 2 then self:refuse(e.at, "trunc wants a value and a width") end
  local from, width = self:expression(e.args[1]), self:need_constant(e.args[2], "the width")
  if not from or width > from or width < 1 then self:refuse(e.at, "trunc of %s bits to %d", from or "a number without", width) end
  e.op, e.value, e.lo, e.bits = "slice", e.args[1], 0, width
end

function builtin:cat(e)
  local bits = 0
  for _, part in ipairs(e.args) do
    self:expression(part)
    if not part.bits then self:refuse(part.at, "cat of a number without a width") end
    bits = bits + part.bits
  end
  if bits > 256 then self:refuse(e.at, "cat makes %d bits, 256 is the most", bits) end
  e.op, e.bits = "cat", bits
end

local function counting(name)
  builtin[name] = function(self, e)
    if #e.args ~= 1 then self:refuse(e.at, "%s wants one value", name) end
    local bits = self:expression(e.args[1])
    if not bits then self:refuse(e.at, "%s of a number without a width", name) end
    if name == "bswap" and bits % 8 ~= 0 then self:refuse(e.at, "bswap of %d bits, which are no bytes", bits) end
    e.op, e.name, e.value, e.bits = "count", name, e.args[1], bits
  end
end
counting "clz" counting "ctz" counting "popcount" counting "bswap"

local function rotating(name)
  builtin[name] = function(self, e)
    if #e.args ~= 2 then self:refuse(e.at, "%s wants a value and an amount", name) end
    local bits = self:expression(e.args[1])
    if not bits then self:refuse(e.at, "%s of a number without a width", name) end
    self:expression(e.args[2])
    self:fit(e.args[2], 8)
    e.op, e.name, e.left, e.right, e.bits = "rotate", name, e.args[1], e.args[2], bits
  end
end
rotating "rol" rotating "ror"

-- load.[us]N[.be](address) store.N[.be](address, value) amo.OP.sN(address, value, aq, rl) lr.sN(address, aq, rl) sc.N(address, value, aq, rl)
local function memory_call(self, e)
  local kind, rest = e.name:match "^(%a+)%.(.+)$"
  local sign, width, endian, operation
  if kind == "load" then sign, width, endian = rest:match "^([us])(%d+)(.*)$"
  elseif kind == "store" then width, endian = rest:match "^(%d+)(.*)$"
  elseif kind == "amo" then operation, sign, width = rest:match "^(%a+)%.([us])(%d+)$" endian = ""
  elseif kind == "lr" then sign, width = rest:match "^([us])(%d+)$" endian = ""
  elseif kind == "sc" then width, endian = rest:match "^(%d+)$", "" end
  width = tonumber(width)
  local log = width and math.log(width) / math.log(2)
  if not width or width < 8 or width > 256 or log ~= math.floor(log) or not (endian == "" or endian == ".be" or endian == ".le")
    or operation and not ATOMIC[operation] then
    self:refuse(e.at, "unknown memory operation '%s'", e.name)
  end
  local wants = ({ load = 1, store = 2, amo = 4, lr = 3, sc = 4 })[kind]
  if #e.args ~= wants then self:refuse(e.at, "%s wants %d arguments, not %d", e.name, wants, #e.args) end
  local reads = self.reads
  for i, argument in ipairs(e.args) do
    -- aq and rl order the access; who executes in order has no use for them.
    local ordering = i > 2 or kind == "lr" and i > 1
    if ordering then self.reads = self.orders end
    self:expression(argument)
    self:fit(argument, i == 1 and self.scope.XLEN or i == 2 and wants > 2 and width or 1)
  end
  self.reads = reads
  if e.args[1].bits ~= self.scope.XLEN then self:refuse(e.at, "an address has %d bits, not %d", self.scope.XLEN, e.args[1].bits) end
  e.op, e.kind, e.width, e.sign, e.big, e.operation = "memory", kind, width, sign, endian == ".be", operation
  local value = (kind == "store" or kind == "amo" or kind == "sc") and e.args[2]
  if value then
    self:fit(value, width)
    if value.bits < width then self:refuse(e.at, "%s of a value of %d bits", e.name, value.bits) end
    if value.bits > width then e.args[2] = { op = "slice", at = e.at, value = value, lo = 0, bits = width } end
  end
  e.bits = kind == "store" and 0 or kind == "sc" and self.scope.XLEN or math.max(width, self.scope.XLEN)
  if kind == "load" and width > self.scope.XLEN then e.bits = width end
  self.effects.memory = (self.effects.memory or 0) + 1
  self.effects.faults = true
end

function Checker:call(e)
  local base, from = e.name:match "^([sz]ext)(%d+)$"
  if base then
    e.from = tonumber(from)
    return builtin[base](self, e)
  end
  if builtin[e.name] then return builtin[e.name](self, e) end
  if e.name:match "^load%." or e.name:match "^store%." or e.name:match "^amo%." or e.name:match "^lr%." or e.name:match "^sc%." then
    return memory_call(self, e)
  end
  local f = self.scope.functions[e.name]
  if not f then self:refuse(e.at, "unknown function '%s'", e.name) end
  if #e.args ~= #f.args then self:refuse(e.at, "%s wants %d arguments, not %d", e.name, #f.args, #e.args) end
  for i, argument in ipairs(e.args) do
    self:expression(argument)
    self:fit(argument, f.args[i])
    if argument.bits ~= f.args[i] then self:refuse(argument.at, "%s: argument %d has %d bits, not %s", e.name, i, f.args[i], argument.bits) end
  end
  e.op, e.f, e.bits, e.results = "function", f, f.bits, f.results
  if e.results and self.several ~= e then self:refuse(e.at, "%s gives %d results: name them all, as in a, b = %s(...)", e.name, #e.results, e.name) end
  if f.kind ~= "pure" then self.effects[f.kind] = true end
  if f.kind == "state" then self.effects.faults = true end
end

function Checker:name_expression(e)
  local name = e.name
  if self.locals[name] then e.op, e.bits = "local", self.locals[name]
  elseif name == "XLEN" then e.op, e.digits, e.base = "number", tostring(self.scope.XLEN), 10
  elseif name == "pc" or name == "next" then e.op, e.bits = name, self.scope.XLEN self.effects[name] = true
  elseif self.scope.registers[name] then e.op, e.bits = "register", self.scope.registers[name].bits
  elseif self.scope.fields[name] then
    e.op, e.field, e.bits = "field", self.scope.fields[name], self.scope.fields[name].bits
    self.reads[name] = true
  else self:refuse(e.at, "unknown name '%s'", name) end
end

function Checker:expression(e)
  if e.checked then return e.bits end
  e.checked = true
  if e.op == "number" then return
  elseif e.op == "name" then self:name_expression(e)
  elseif e.op == "raw" then
    e.field = self.scope.fields[e.name]
    if not e.field then self:refuse(e.at, "unknown field '%s'", e.name) end
    e.bits = e.field.raw_bits
    self.raws[e.name] = true
  elseif e.op == "binary" then self:binary(e)
  elseif e.op == "unary" then
    self:expression(e.value)
    e.bits = e.value.bits
    if e.name == "!" and e.bits ~= 1 then self:refuse(e.at, "'!' wants one bit, not %s", e.bits or "?") end
  elseif e.op == "select" then
    self:expression(e.condition)
    self:expression(e.yes)
    self:expression(e.no)
    if e.condition.bits ~= 1 then self:refuse(e.at, "the condition of '?' has %s bits, not 1", e.condition.bits or "?") end
    e.bits = self:same(e, e.yes, e.no)
  elseif e.op == "slice" then
    self:expression(e.value)
    local high, low = self:need_constant(e.high, "a slice bound"), self:need_constant(e.low, "a slice bound")
    if not e.value.bits then self:refuse(e.at, "slice of a number without a width") end
    if high < low or high >= e.value.bits then self:refuse(e.at, "slice [%d:%d] of %d bits", high, low, e.value.bits) end
    e.lo, e.bits = low, high - low + 1
  elseif e.op == "call" then self:call(e) end
  if e.bits and e.bits > 256 then self:refuse(e.at, "%d bits, 256 is the most", e.bits) end
  return e.bits
end

function Checker:binary(e)
  self:expression(e.left)
  self:expression(e.right)
  if SHIFT[e.name] then
    self:fit(e.right, 16)
    e.bits = e.left.bits
  elseif COMPARE[e.name] then
    if not self:same(e, e.left, e.right) then self:refuse(e.at, "'%s' of two numbers", e.name) end
    e.bits = 1
  else
    e.bits = self:same(e, e.left, e.right)
  end
end

function Checker:assign_one(at, name, bits, value)
  local target = { name = name }
  if self.scope.registers[name] then target.kind, target.bits = "register", self.scope.registers[name].bits
  elseif self.scope.fields[name] then
    target.kind, target.field, target.bits = "field", self.scope.fields[name], self.scope.fields[name].bits
    if not target.field.regs then self:refuse(at, "'%s' is not a register", name) end
    self.writes[name] = true
  else self:refuse(at, "unknown register '%s' (a new name wants 'let')", name) end
  if value then self:fit(value, target.bits) bits = value.bits end
  if bits ~= target.bits then self:refuse(at, "%s has %d bits, the value %s", name, target.bits, bits or "?") end
  return target
end

function Checker:statement(s)
  if s.op == "let" then
    if (self:expression(s.value) or 0) == 0 then self:refuse(s.at, "let %s: the value has no width", s.name) end
    if self.locals[s.name] or self.scope.fields[s.name] or self.scope.registers[s.name] or BUILTIN[s.name] then
      self:refuse(s.at, "'%s' is already there", s.name)
    end
    self.locals[s.name] = s.value.bits
  elseif s.op == "assign" then
    self.several = #s.names > 1 and s.value or nil
    self:expression(s.value)
    s.targets = {}
    if #s.names == 1 then s.targets[1] = self:assign_one(s.at, s.names[1], nil, s.value)
    else
      local results = s.value.results
      if not results or #results ~= #s.names then self:refuse(s.at, "%d names for %d results", #s.names, results and #results or 1) end
      for i, name in ipairs(s.names) do
        s.targets[i] = self:assign_one(s.at, name, results[i])
        for j = 1, i - 1 do
          if s.names[j] == name then self:refuse(s.at, "'%s' is named twice", name) end
        end
      end
    end
  elseif s.op == "if" then
    self:expression(s.condition)
    if s.condition.bits ~= 1 then self:refuse(s.at, "a condition has one bit, not %s", s.condition.bits or "?") end
    self:block(s.yes)
    if s.no then self:block(s.no) end
  elseif s.op == "goto" then
    self:expression(s.target)
    self:fit(s.target, self.scope.XLEN)
    if s.target.bits ~= self.scope.XLEN then self:refuse(s.at, "a target has %d bits, not %s", self.scope.XLEN, s.target.bits or "?") end
    local t = s.target
    s.direct = t.op == "binary" and t.name == "+" and t.left.op == "pc" and t.right.op == "field" and not t.right.field.regs and t.right or nil
    self.effects[s.direct and "direct" or "indirect"] = true
  elseif s.op == "effect" then
    self:expression(s.value)
    if (s.value.bits or 1) ~= 0 then self:refuse(s.at, "the value of %s is not used", s.value.name or "this call") end
  end
end

-- A name that a block makes ends with it.
function Checker:block(statements)
  local outer = self.locals
  self.locals = setmetatable({}, { __index = outer })
  for i, s in ipairs(statements) do
    if i > 1 and statements[i - 1].op == "goto" then self:refuse(s.at, "nothing can follow a goto") end
    self:statement(s)
  end
  self.locals = outer
end

local function new_checker(text, scope)
  return setmetatable({ text = text, scope = scope, locals = {}, reads = {}, writes = {}, raws = {}, orders = {}, effects = {} }, Checker)
end

-- Parses and checks; returns { body, reads, writes, raws, orders, effects }: names of the fields whose register is read,
-- written, whose number is used, that order an access; effects: memory (count), fp, state, redirect, faults, direct,
-- indirect, pc, next. Raises { line, column, text }.
function lang.compile(text, scope)
  local checker = new_checker(text, scope)
  local body = lang.parse(text)
  checker:block(body)
  return { body = body, reads = checker.reads, writes = checker.writes, raws = checker.raws, orders = checker.orders, effects = checker.effects }
end

-- A condition over field numbers ("rd != 0"): every name means the field's number.
function lang.condition(text, scope)
  local checker = new_checker(text, scope)
  local value = lang.parse(text, "condition")
  checker:expression(value)
  if value.bits ~= 1 then refuse(text, 1, "a condition has one bit, not %s", value.bits or "?") end
  return value
end

return lang
