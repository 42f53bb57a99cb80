-- condition: from the text of a hook's condition to the program that C checks (csrc/cpu/hook_ffi.h).
--
-- Operators are C's, on 64-bit words that wrap around, unsigned unless an operand is signed: s8(x) to s64(x), s8[x] to s64[x].
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local ffi    = require "ffi"
local clib   = require "umbra.clib"
local cpu    = require "umbra.cpu"
local schema = require "umbra.schema"

local C = clib.C

local DEEPEST = 100                                -- operations within operations
local MOST    = 256                                -- ops; C takes no more

local OPERATORS = { "||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "|", "^", "&", "<", ">", "+", "-", "*", "/", "%", "!", "~", "(", ")", "[", "]" }
local BINDS = { ["||"] = 1, ["&&"] = 2, ["|"] = 3, ["^"] = 4, ["&"] = 5, ["=="] = 6, ["!="] = 6, ["<"] = 7, ["<="] = 7, [">"] = 7, [">="] = 7,
  ["<<"] = 8, [">>"] = 8, ["+"] = 9, ["-"] = 9, ["*"] = 10, ["/"] = 10, ["%"] = 10 }

-- The op of an operator: of unsigned and of signed words.
local BINARY = {
  ["|"] = { C.UM_COND_OR }, ["^"] = { C.UM_COND_XOR }, ["&"] = { C.UM_COND_AND }, ["<<"] = { C.UM_COND_SHL },
  [">>"] = { C.UM_COND_SHR, C.UM_COND_SAR }, ["+"] = { C.UM_COND_ADD }, ["-"] = { C.UM_COND_SUB }, ["*"] = { C.UM_COND_MUL },
  ["/"] = { C.UM_COND_DIVU, C.UM_COND_DIV }, ["%"] = { C.UM_COND_REMU, C.UM_COND_REM }, ["=="] = { C.UM_COND_EQ }, ["!="] = { C.UM_COND_NE },
  ["<"] = { C.UM_COND_LTU, C.UM_COND_LT }, [">="] = { C.UM_COND_GEU, C.UM_COND_GE },
}
local COMPARES = { ["=="] = "==", ["!="] = "!=", ["<"] = ">", [">"] = "<", ["<="] = ">=", [">="] = "<=" }    -- with the operands the other way around
local UNARY = { ["!"] = C.UM_COND_NOT, ["-"] = C.UM_COND_NEG, ["~"] = C.UM_COND_INVERT }
local FIELDS = {
  addr = C.UM_FIELD_ADDR, size = C.UM_FIELD_SIZE, value = C.UM_FIELD_VALUE, old = C.UM_FIELD_OLD, write = C.UM_FIELD_WRITE,
  cause = C.UM_FIELD_CAUSE, tval = C.UM_FIELD_TVAL,
}
local PLAIN = { pc = C.UM_COND_PC, priv = C.UM_COND_PRIV, hart = C.UM_COND_HART }
local ACCESS = { "addr", "size", "value", "old", "write" }
local HAS = { access = ACCESS, trap = { "cause", "tval" }, pc = {} }        -- fields of an event, by kind

-- Reading ------------------------------------------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

function Reader:fail(at, text, ...)
  error({ text = ("when: `%s`: column %d: %s"):format(self.text:gsub("%c", " "), at, text:format(...)) })
end

local function number_of(text)
  local base, digits = 10, text
  if text:find "^0[xX]" then base, digits = 16, text:sub(3) elseif text:find "^0[bB]" then base, digits = 2, text:sub(3) end
  local value, most = 0ULL, 0xffffffffffffffffULL
  if digits == "" then return end
  for digit in digits:gmatch "." do
    local n = tonumber(digit, base)
    if not n or value > (most - n) / base then return end
    value = value * base + n
  end
  return value
end

-- The next token: self.kind ("number", "name", an operator, "end"), self.at, self.value.
function Reader:next()
  local text = self.text
  local at = text:find("%S", self.place) or #text + 1
  self.at = at
  local word = text:match("^[%w_.$]+", at)
  if at > #text then
    self.kind = "end"
  elseif word then
    self.place = at + #word
    self.kind = word:find "^%d" and "number" or "name"
    self.value = word
    if self.kind == "number" then self.value = number_of(word) or self:fail(at, "`%s` is no whole number of at most 64 bits", word) end
  else
    self.kind = nil
    for _, sign in ipairs(OPERATORS) do
      if not self.kind and text:sub(at, at + #sign - 1) == sign then self.kind = sign end
    end
    if not self.kind then self:fail(at, "unexpected `%s`", text:sub(at, at)) end
    self.place = at + #self.kind
  end
end

function Reader:expect(kind, what)
  if self.kind ~= kind then self:unexpected(what) end
  self:next()
end

function Reader:unexpected(wanted)
  if self.kind == "end" then self:fail(self.at, "%s is missing", wanted) end
  self:fail(self.at, "unexpected `%s`, %s is expected", self.text:sub(self.at, self.place - 1), wanted)
end

-- Trees: { op =, signed =, value =, index =, [1], [2] }; op "const", "leaf" (code and index given), "load", "cast", "unary", "binary".
local function constant(value) return { op = "const", value = value } end

function Reader:named(name, at)
  local x, f, csr = cpu.registers[name], cpu.float_registers[name], cpu.csr_number(name)
  if x then return { op = "leaf", code = C.UM_COND_X, index = x } end
  if f then return { op = "leaf", code = C.UM_COND_F, index = f } end
  if PLAIN[name] then return { op = "leaf", code = PLAIN[name], index = 0 } end
  if FIELDS[name] then
    for _, known in ipairs(HAS[self.event]) do
      if known == name then return { op = "leaf", code = C.UM_COND_FIELD, index = FIELDS[name] } end
    end
    self:fail(at, "`%s` is of %s, and this hook waits for something else", name, (name == "cause" or name == "tval") and "traps" or "accesses")
  end
  if csr then return { op = "leaf", code = C.UM_COND_CSR, index = csr } end
  local symbol = self.symbol(name)
  if symbol then return constant(symbol) end
  local names = {}
  for _, set in ipairs { cpu.registers, FIELDS, PLAIN } do
    for known in pairs(set) do names[#names + 1] = known end
  end
  table.sort(names)
  local near = schema.nearest(name, names)
  self:fail(at, "`%s` is no register, CSR or symbol%s", name, near and (", did you mean `%s`?"):format(near) or "")
end

function Reader:primary(depth)
  local at, kind, value = self.at, self.kind, self.value
  if kind == "number" then
    self:next()
    return constant(value)
  elseif kind == "(" then
    self:next()
    local inner = self:expression(1, depth + 1)
    self:expect(")", "`)`")
    return inner
  elseif kind ~= "name" then
    self:unexpected "a value"
  end
  self:next()
  local sign, bits = value:match "^([us])(%d+)$"
  local sized = bits == "8" or bits == "16" or bits == "32" or bits == "64"
  if sized and (self.kind == "[" or self.kind == "(") then
    local close, op = self.kind == "[" and "]" or ")", self.kind == "[" and "load" or "cast"
    self:next()
    local inner = self:expression(1, depth + 1)
    self:expect(close, ("`%s`"):format(close))
    return { op = op, bits = tonumber(bits), signed = sign == "s", inner }
  end
  return self:named(value, at)
end

function Reader:unary(depth)
  local sign = self.kind
  if depth > DEEPEST then self:fail(self.at, "too many operations within one another") end
  if not UNARY[sign] then return self:primary(depth) end
  self:next()
  local inner = self:unary(depth + 1)
  if inner.op == "const" and sign == "-" then return constant(0 - inner.value) end
  if inner.op == "const" and sign == "~" then return constant(bit.bnot(inner.value)) end
  return { op = "unary", sign = sign, signed = sign ~= "!" and inner.signed, inner }
end

local function join(sign, left, right)
  if left.op == "const" and right.op == "const" then
    if sign == "+" then return constant(left.value + right.value) end
    if sign == "-" then return constant(left.value - right.value) end
  end
  if left.op == "const" and COMPARES[sign] then left, right, sign = right, left, COMPARES[sign] end
  local reads_signed = left.signed or (right.signed and sign ~= "<<" and sign ~= ">>")
  local gives_truth = COMPARES[sign] or sign == "&&" or sign == "||"
  return { op = "binary", sign = sign, reads_signed = reads_signed, signed = reads_signed and not gives_truth, left, right }
end

function Reader:expression(least, depth)
  local left = self:unary(depth)
  while (BINDS[self.kind] or 0) >= least do
    local sign = self.kind
    depth = depth + 1
    self:next()
    left = join(sign, left, self:expression(BINDS[sign] + 1, depth))
  end
  return left
end

-- Code ---------------------------------------------------------------------------------------------------------------------

local Writer = {}
Writer.__index = Writer

function Writer:put(op, index, value)
  self[#self + 1] = { op = op, index = index or 0, value = value or 0 }
  return self[#self]
end

local emit = {}

function emit.const(w, node) w:put(C.UM_COND_CONST, 0, node.value) end
function emit.leaf(w, node) w:put(node.code, node.index) end

function emit.load(w, node)
  w:tree(node[1])
  w:put(C.UM_COND_LOAD, node.bits / 8)
  if node.signed and node.bits < 64 then w:put(C.UM_COND_SEXT, node.bits) end
end

function emit.cast(w, node)
  w:tree(node[1])
  if node.bits < 64 then w:put(node.signed and C.UM_COND_SEXT or C.UM_COND_ZEXT, node.bits) end
end

function emit.unary(w, node)
  w:tree(node[1])
  w:put(UNARY[node.sign])
end

-- truth: only whether it is 0 counts.
function emit.binary(w, node, truth)
  local sign, left, right = node.sign, node[1], node[2]
  if sign == "&&" or sign == "||" then
    w:tree(left, truth)
    local jump = w:put(sign == "&&" and C.UM_COND_AND_THEN or C.UM_COND_OR_ELSE)
    w:tree(right, truth)
    jump.index = #w
    if not truth then w:put(C.UM_COND_BOOL) end
    return
  end
  if right.op == "const" and (sign == ">" or sign == "<=") then       -- as < or >=, for tier 0's guards
    local last = node.reads_signed and 0x7fffffffffffffffULL or 0xffffffffffffffffULL
    if right.value == last then return w:tree(constant(sign == "<=" and 1ULL or 0ULL)) end
    sign, right = sign == ">" and ">=" or "<", constant(right.value + 1)
  elseif sign == ">" or sign == "<=" then
    left, right, sign = right, left, COMPARES[sign]
  end
  w:tree(left)
  w:tree(right)
  w:put(BINARY[sign][node.reads_signed and 2 or 1] or BINARY[sign][1])
end

function Writer:tree(node, truth) emit[node.op](self, node, truth) end

-- Compiles `text` for a hook on an event: "pc", "access" or "trap". symbol(name) gives an address or nil. Returns the ops and their
-- number; nil and what is wrong.
local function compile(text, event, symbol)
  local reader = setmetatable({ text = text, event = event, symbol = symbol, place = 1 }, Reader)
  local ok, result = pcall(function()
    reader:next()
    local tree = reader:expression(1, 0)
    if reader.kind ~= "end" then reader:unexpected "an operator" end
    return tree
  end)
  if not ok then
    if type(result) == "table" then return nil, result.text end
    error(result, 0)
  end
  local writer = setmetatable({}, Writer)
  writer:tree(result, true)
  if #writer > MOST then return nil, ("when: `%s`: more than %d operations"):format(text, MOST) end
  local ops = ffi.new("struct um_condition_op[?]", #writer)
  for i, op in ipairs(writer) do ops[i - 1].op, ops[i - 1].index, ops[i - 1].value = op.op, op.index, op.value end
  return ops, #writer
end

return compile
