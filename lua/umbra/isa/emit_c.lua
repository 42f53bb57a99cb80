-- emit_c: prints checked meanings as C, one instruction or a fused sequence of them.
-- SPDX-License-Identifier: MIT
--
-- The C is made of macros that the including file defines (csrc/cpu/riscv/tier0.c lists them), so one
-- printer serves every tier 0: REG_file(n), SET_file(n, v), FAST_LOAD, SLOW_STORE, NEXT, GOTO_DIRECT ...
-- Values of n bits live in the smallest of uint32_t, uint64_t, u128, u256 and are kept zero-extended.
local bit  = require "bit"
local wide = require "umbra.isa.wide"

local emit_c = {}

local Emitter = {}
Emitter.__index = Emitter

local function ctype(bits)
  return bits <= 32 and "uint32_t" or bits <= 64 and "uint64_t" or bits <= 128 and "u128" or "u256"
end

emit_c.ctype = ctype

local function ibits(bits) return bits <= 32 and 32 or bits <= 64 and 64 or bits <= 128 and 128 or 256 end

local function mask_text(bits)
  if bits == 32 then return "0xffffffffu" elseif bits < 32 then return ("0x%xu"):format(2 ^ bits - 1) end
  if bits == 64 then return "~(uint64_t)0" elseif bits < 64 then return ("(~(uint64_t)0 >> %d)"):format(64 - bits) end
  return ("(~(u128)0 >> %d)"):format(128 - bits)
end

-- `text` computed in the C type of `bits`, its excess bits cleared.
local function wrap(text, bits)
  if bits > 128 then return bits == 256 and text or ("u256_low(%s, %d)"):format(text, bits) end
  if bits == ibits(bits) then return ("(%s)(%s)"):format(ctype(bits), text) end
  return ("((%s)(%s) & %s)"):format(ctype(bits), text, mask_text(bits))
end

-- `text` (zero-extended, `bits` wide) as a signed C integer.
local function signed(text, bits)
  local container = ibits(bits)
  local stype = ({ [32] = "int32_t", [64] = "int64_t", [128] = "i128" })[container]
  if bits == container then return ("(%s)(%s)"):format(stype, text) end
  if bits == 8 then return ("(int8_t)(%s)"):format(text) elseif bits == 16 then return ("(int16_t)(%s)"):format(text) end
  return ("((%s)((%s) << %d) >> %d)"):format(stype, text, container - bits, container - bits)
end

function Emitter:line(format, ...)
  self.out[#self.out + 1] = self.indent .. (select("#", ...) > 0 and format:format(...) or format)
end

function Emitter:temp(bits, text)
  self.count[1] = self.count[1] + 1
  local name = "t" .. self.count[1]
  if text then self:line("%s %s = %s;", ctype(bits), name, text) end
  return name
end

function Emitter:slot(what)
  local slot = self.insn.slots[what]
  return slot and ("ip[%d].%s"):format(self.k, slot)
end

function Emitter:field_number(name)
  local slot = self:slot(name)
  if slot then return slot end
  return ("(%s & 31)"):format(self:slot(name .. ">"))
end

local function literal(e)
  local bits, value = e.bits or 32, wide.parse(e.digits, e.base)
  local function limb(i) return ("0x%sull"):format(bit.tohex(value[i], 16):gsub("^0+(.)", "%1")) end
  if bits > 128 then return ("u256_make(%s, %s, %s, %s)"):format(limb(1), limb(2), limb(3), limb(4)) end
  if bits > 64 then return ("((u128)%s << 64 | %s)"):format(limb(2), limb(1)) end
  local digits = e.base == 16 and "0x" .. e.digits or e.base == 2 and "0b" .. e.digits or e.digits
  return ("(%s)%s"):format(ctype(bits), digits .. (bits > 32 and "ull" or "u"))
end

local emit = {}

function emit.number(_, e) return literal(e) end

function emit:field(e)
  local field, name = e.field, e.name
  if field.regs then
    local forwarded = self.forward and self.forward[name]
    return forwarded or ("REG_%s(%s)"):format(field.regs, self:slot(name))
  end
  local slot = self:slot(name)
  if slot:match "imm$" then
    return e.bits > 32 and ("(%s)(int64_t)%s"):format(ctype(e.bits), slot) or wrap(slot, e.bits)
  end
  return ("(%s)%s"):format(ctype(e.bits), slot)
end

function emit:raw(e) return ("(uint32_t)%s"):format(self:field_number(e.name)) end
emit["local"] = function(self, e) return self.locals[e.name] end
function emit.register(_, e) return "SREG_" .. e.name end
function emit:pc(e) return ("(%s)(pc + 2u * %s)"):format(ctype(e.bits), self:slot "pc") end
emit["next"] = function(self, e) return ("(%s)(pc + 2u * %s)"):format(ctype(e.bits), self:slot "next") end

-- How many bits a shift amount can have at most, to know whether it may exceed the width.
local function amount_bits(e)
  if e.op == "field" and not e.field.regs then return e.field.width + e.field.shift end
  if e.op == "number" then return math.ceil(math.log(tonumber(e.digits, e.base) + 1) / math.log(2)) end
  return e.bits
end

local WIDE = { ["+"] = "add", ["-"] = "sub", ["*"] = "mul", ["&"] = "and", ["|"] = "or", ["^"] = "xor", ["=="] = "eq", ["!="] = "ne",
               ["<<"] = "shl", [">>"] = "shr", [">>s"] = "sar", ["<u"] = "ltu", ["<s"] = "lts" }
local TURNED = { [">u"] = "<u", [">s"] = "<s", ["<=u"] = "<u", ["<=s"] = "<s", [">=u"] = "<u", [">=s"] = "<s" }

-- More than 128 bits: csrc/base/wide.h. There is no division.
local function wide_binary(self, op, a, b, bits, from)
  if op == ">>s" or op:match "^[<>]=?s$" then
    a = ("u256_sext(%s, %d)"):format(a, from)
    if op ~= ">>s" then b = ("u256_sext(%s, %d)"):format(b, from) end
  end
  if TURNED[op] then
    local negate = op:match "="
    if op:sub(1, 1) == (negate and "<" or ">") then a, b = b, a end
    return ("(uint32_t)%su256_%s(%s, %s)"):format(negate and "!" or "", WIDE[TURNED[op]], a, b)
  end
  if not WIDE[op] then error(("%s: '%s' of %d bits is not available in C"):format(self.insn.name, op, from), 0) end
  if op == "<<" or op:match "^>>" then b = ("(unsigned)(%s)"):format(b) end
  local text = ("u256_%s(%s, %s)"):format(WIDE[op], a, b)
  return bits == 1 and text or wrap(text, bits)
end

function emit:binary(e)
  local a, b = self:value(e.left), self:value(e.right)
  local op, bits, from = e.name, e.bits, e.left.bits
  if from > 128 then
    return wide_binary(self, op, a, b, bits, from)
  end
  if op == "<<" or op == ">>" or op == ">>s" then
    local n = ("(unsigned)(%s)"):format(b)
    local safe = 2 ^ amount_bits(e.right) <= bits
    if op == ">>s" then
      if not safe then n = ("SHIFT_CLAMP(%s, %d)"):format(b, bits - 1) end
      return wrap(("%s >> %s"):format(signed(a, bits), n), bits)
    end
    local text = wrap(("(%s) %s %s"):format(a, op, n), bits)
    return safe and text or ("((%s) < %du ? %s : 0)"):format(b, bits, text)
  end
  local compare, sign = op:match "^([<>]=?)([su])$"
  if compare then
    if sign == "s" then a, b = signed(a, from), signed(b, from) end
    return ("(uint32_t)((%s) %s (%s))"):format(a, compare, b)
  elseif op == "==" or op == "!=" then return ("(uint32_t)((%s) %s (%s))"):format(a, op, b)
  elseif op:match "^[/%%]" then
    if op:sub(2) == "s" and bits ~= ibits(bits) then
      a, b = ("(%s)%s"):format(ctype(bits), signed(a, bits)), ("(%s)%s"):format(ctype(bits), signed(b, bits))
    end
    local text = ("%s%s%d(%s, %s)"):format(op:sub(1, 1) == "/" and "bits_div_" or "bits_rem_", op:sub(2), ibits(bits), a, b)
    return bits == ibits(bits) and text or wrap(text, bits)
  elseif op == "&" or op == "|" or op == "^" then return ("((%s) %s (%s))"):format(a, op, b)
  end
  return wrap(("(%s) %s (%s)"):format(a, op, b), bits)
end

function emit:unary(e)
  local value = self:value(e.value)
  if e.name == "!" then return ("(uint32_t)!(%s)"):format(value) end
  if e.bits > 128 then return wrap(("u256_%s(%s)"):format(e.name == "~" and "not" or "neg", value), e.bits) end
  return wrap(("%s(%s)"):format(e.name == "-" and "0 - " or "~", value), e.bits)
end

function emit:select(e)
  local condition = self:value(e.condition)
  local before = #self.out
  local yes, no = self:value(e.yes), self:value(e.no)
  if #self.out ~= before then error(("%s: '?' chooses between values, not between accesses; use if"):format(self.insn.name), 0) end
  return ("((%s) ? (%s) : (%s))"):format(condition, yes, no)
end

function emit:slice(e)
  local value, from = self:value(e.value), e.value.bits
  if from > 128 then
    local text = e.lo > 0 and ("u256_shr(%s, %d)"):format(value, e.lo) or value
    if e.bits > 128 then return wrap(text, e.bits) end
    return wrap(("u256_to_u128(%s)"):format(text), e.bits)
  end
  if e.lo > 0 then value = ("(%s) >> %d"):format(value, e.lo) end
  if e.lo + e.bits == from and from ~= ibits(from) then return ("(%s)(%s)"):format(ctype(e.bits), value) end
  return wrap(value, e.bits)
end

function emit:extend(e)
  local value, from = self:value(e.value), e.value.bits
  if e.bits > 128 then
    if from <= 128 then value = ("u256_from(%s)"):format(value) end
    return e.signed and wrap(("u256_sext(%s, %d)"):format(value, from), e.bits) or value
  end
  if not e.signed or from == e.bits then return ("(%s)(%s)"):format(ctype(e.bits), value) end
  return wrap(("(%s)%s"):format(({ [32] = "int32_t", [64] = "int64_t", [128] = "i128" })[ibits(e.bits)], signed(value, from)), e.bits)
end

function emit:cat(e)
  local text
  for _, part in ipairs(e.args) do
    local value = self:value(part)
    if e.bits > 128 then
      value = part.bits <= 128 and ("u256_from(%s)"):format(value) or value
      text = text and ("u256_or(u256_shl(%s, %d), %s)"):format(text, part.bits, value) or value
    else
      value = ("(%s)(%s)"):format(ctype(e.bits), value)
      text = text and ("((%s) << %d | %s)"):format(text, part.bits, value) or value
    end
  end
  return text
end

function emit:count(e)
  return wrap(("bits_%s%d(%s, %d)"):format(e.name, ibits(e.value.bits), self:value(e.value), e.value.bits), e.bits)
end

function emit:rotate(e)
  return wrap(("bits_%s%d(%s, (unsigned)(%s), %d)"):format(e.name, ibits(e.bits), self:value(e.left), self:value(e.right), e.bits), e.bits)
end

local function mtype(width) return width <= 16 and ("uint%d_t"):format(width) or ctype(width) end

function emit:memory(e)
  local address = self:temp(self.xlen, self:value(e.args[1]))
  local speed = self.slow and "SLOW" or "FAST"
  local tail = self.slow and "" or (", slow_%s, %d"):format(self.cname, self.k)
  local bytes, width = e.width / 8, e.width
  local function convert(name)
    if e.big then name = ("bits_bswap%d(%s, %d)"):format(ibits(width), name, width) end
    if e.bits == width then return name end
    return e.sign == "s" and wrap(("(%s)%s"):format(e.bits > 64 and "i128" or "int64_t", signed(name, width)), e.bits) or ("(%s)%s"):format(ctype(e.bits), name)
  end
  if e.kind == "store" then
    local value = self:value(e.args[2])
    if e.big then value = ("bits_bswap%d(%s, %d)"):format(ibits(width), value, width) end
    self:line("%s_STORE(%s, %s, %s, %d%s)", speed, mtype(width), address, value, bytes, tail)
    return ""
  end
  local result = self:temp()
  if e.kind == "load" then self:line("%s_LOAD(%s, %s, %s, %d%s)", speed, mtype(width), result, address, bytes, tail)
  elseif e.kind == "lr" then self:line("%s_LR(%s, %s, %s, %d%s)", speed, mtype(width), result, address, bytes, tail)
  elseif e.kind == "sc" then
    self:line("%s_SC(%s, %s, %s, %s, %d%s)", speed, mtype(width), result, address, self:value(e.args[2]), bytes, tail)
    return ("(%s)%s"):format(ctype(e.bits), result)
  else
    self:line("%s_AMO(%s, %s, %s, %s, %s, %d%s)", speed, e.operation, mtype(width), result, address, self:value(e.args[2]), bytes, tail)
  end
  return convert(result)
end

-- A function of kind fp whose last argument is the rounding mode.
function Emitter:rounding_call(e, f, args)
  local mode = table.remove(args)
  if f.rounding == "given" then
    args[#args + 1] = self.slow and "rounding" or ("FP_GIVEN(%s)"):format(mode)
    return ("%s(%s)"):format(f.c, table.concat(args, ", "))
  end
  if self.slow then
    while #args < 3 do args[#args + 1] = "0" end
    return wrap(("fp_static(%s, rounding, %s)"):format(f.slow, table.concat(args, ", ")), e.bits)
  end
  return ("%s(%s)"):format(f.c, table.concat(args, ", "))
end

emit["function"] = function(self, e)
  local f, args = e.f, {}
  for i, argument in ipairs(e.args) do args[i] = self:value(argument) end
  if f.kind == "state" or f.kind == "redirect" then
    local result = f.bits > 0 and self:temp()
    local call = table.concat({ f.c, unpack(args) }, ", ")
    if result then
      self:line("uint64_t %s;", result)
      self:line("STATE_VALUE(%s, %s)", result, call)
    else
      self:line("STATE_CALL(%s)", call)
    end
    return result or ""
  elseif f.kind == "fp" then
    local text = f.rounding and self:rounding_call(e, f, args) or ("%s(%s)"):format(f.c, table.concat(args, ", "))
    return self:temp(e.bits, text)
  elseif e.results then
    local names = {}
    for i, bits in ipairs(e.results) do
      names[i] = self:temp()
      self:line("%s %s;", ctype(bits), names[i])
      args[#args + 1] = "&" .. names[i]
    end
    self:line("%s(%s);", f.c, table.concat(args, ", "))
    return names
  end
  local text = ("%s(%s)"):format(f.c, table.concat(args, ", "))
  if f.bits == 0 then self:line("%s;", text) return "" end
  return text
end

function Emitter:value(e)
  local printer = emit[e.op] or error("emit_c: no printer for " .. tostring(e.op))
  return printer(self, e)
end

function Emitter:assign(target, value)
  if target.kind == "register" then
    self:line("SET_SREG_%s(%s)", target.name, value)
    return
  end
  if self.keep and self.depth == 1 then
    value = self:temp(target.bits, value)
    self.result = value
  end
  if not self.dead then self:line("SET_%s(%s, %s)", target.field.regs, self:slot(target.name .. ">"), value)
  else self:line("(void)(%s);", value) end
end

local statement = {}

function statement:let(s) self.locals[s.name] = self:temp(s.value.bits, self:value(s.value)) end

function statement:assign(s)
  local value = self:value(s.value)
  if #s.targets == 1 then return self:assign(s.targets[1], value) end
  for i, target in ipairs(s.targets) do self:assign(target, value[i]) end
end

statement["if"] = function(self, s)
  self:line("if (%s) {", self:value(s.condition))
  self:block(s.yes)
  if s.no then
    self:line "} else {"
    self:block(s.no)
  end
  self:line "}"
end

statement["goto"] = function(self, s)
  if s.direct then self:line("%s(%d)", self.far and "GOTO_FAR" or "GOTO_DIRECT", self.k)
  else self:line("GOTO_INDIRECT(%s)", self:value(s.target)) end
end

function statement:effect(s) self:value(s.value) end

function Emitter:block(statements)
  local indent, outer = self.indent, self.locals
  self.indent, self.depth, self.locals = indent .. "  ", self.depth + 1, setmetatable({}, { __index = outer })
  for _, s in ipairs(statements) do statement[s.op](self, s) end
  self.indent, self.depth, self.locals = indent, self.depth - 1, outer
end

local function cname(name) return (name:gsub("[^%w]", "_")) end
emit_c.cname = cname

-- What an instruction is to a sequence: "plain", "branch" (may go to a place known from its bytes), "indirect", "state".
function emit_c.kind(insn)
  local effects = insn.meaning.effects
  if effects.state or effects.redirect then return "state" end
  return effects.direct and "branch" or effects.indirect and "indirect" or "plain"
end

-- Slots an instruction takes in a decoded block: a branch is followed by its link.
function emit_c.width(insn) return insn.meaning.effects.direct and 2 or 1 end

local function uses_floats(insn)
  if insn.meaning.effects.fp then return true end
  for _, field in ipairs(insn.fields) do
    if field.regs == "f" then return true end
  end
  return false
end
emit_c.uses_floats = uses_floats

function emit_c.needs_slow(insn)
  return (insn.meaning.effects.memory or uses_floats(insn)) and true or false
end

local function rounding_field(insn)
  for _, field in ipairs(insn.fields) do
    if field.as == "rm" and (insn.slots.rm) then return "rm" end
  end
end

local function has_state_rounding(insn)
  local found = false
  local function walk(e)
    if type(e) ~= "table" then return end
    if e.op == "function" and e.f.rounding == "state" then found = true end
    for key, child in pairs(e) do
      if key ~= "f" and key ~= "field" then walk(child) end
    end
  end
  walk(insn.meaning.body)
  return found
end

-- Whether an instruction that completes changes floating-point state.
local function dirties_floats(insn)
  local dirties = insn.meaning.effects.fp or false
  for name in pairs(insn.meaning.writes) do
    if insn.scope.fields[name].regs == "f" then dirties = true end
  end
  return dirties
end

-- Whether an instruction uses floats; whether it changes floating-point state; the name of its rounding field, if it has one.
function emit_c.floats(insn) return uses_floats(insn), dirties_floats(insn), rounding_field(insn) end

local function guard(self, insn)
  if not uses_floats(insn) then return end
  local rm = rounding_field(insn) and self:slot "rm"
  if self.slow then
    self:line "SLOW_FP()"
    if rm then self:line("SLOW_ROUNDING(%s)", rm) end
  elseif rm and has_state_rounding(insn) then self:line("FP_GUARD_ROUNDING(%s, slow_%s, %d)", rm, self.cname, self.k)
  else self:line("FP_GUARD(slow_%s, %d)", self.cname, self.k) end
end

local function emitter(insn, xlen, out, count, options)
  return setmetatable({
    insn = insn, xlen = xlen, out = out, count = count, indent = "  ", depth = 0, locals = {}, cname = cname(insn.name), k = options.k or 0,
    slow = options.slow, far = options.far, forward = options.forward, dead = options.dead, keep = options.keep,
  }, Emitter)
end

-- The body of one instruction's handler as a list of lines. options: slow, far.
function emit_c.single(insn, xlen, options)
  local out, self = {}
  self = emitter(insn, xlen, out, { 0 }, options or {})
  guard(self, insn)
  self.indent = ""
  self:block(insn.meaning.body)
  self.indent = "  "
  if self.slow and dirties_floats(insn) then self:line "FP_DIRTY()" end
  local kind = emit_c.kind(insn)
  if insn.meaning.effects.redirect then self:line "AFTER_REDIRECT()"
  elseif kind == "state" then self:line "AFTER_STATE(1)"
  elseif self.slow and insn.meaning.effects.memory then self:line "AFTER_SLOW(1)"
  else self:line("NEXT(%d)", emit_c.width(insn)) end
  return out
end

local function destination(insn)
  local name = next(insn.meaning.writes)
  if name and next(insn.meaning.writes, name) == nil then return name, insn.scope.fields[name] end
end

-- Register fields an instruction reads, in the order links are given for them.
function emit_c.sources(insn)
  local list = {}
  for _, field in ipairs(insn.fields) do
    if field.regs and insn.meaning.reads[field.as] then list[#list + 1] = field.as end
  end
  return list
end
emit_c.destination = destination

-- Whether an instruction sets its destination on every way through it.
local function always_writes(insn)
  local name = destination(insn)
  for _, s in ipairs(insn.meaning.body) do
    if s.op == "assign" and s.targets[1].name == name then return true end
  end
  return false
end

-- The body of a fused sequence: items = { { insn = ..., links = { [source name] = index of the item that made it or 0 },
-- over = index of the item whose destination this one overwrites, or 0 } }.
function emit_c.sequence(items, xlen)
  local out, count, k, results = {}, { 0 }, 0, {}
  for i, item in ipairs(items) do
    local forward = {}
    for name, from in pairs(item.links) do
      if from > 0 then forward[name] = results[from] end
    end
    -- The store of a result that a later item overwrites is left out if nothing in between can leave the sequence.
    local dead = false
    for j = i + 1, #items do
      local effects = items[j].insn.meaning.effects
      if effects.memory or effects.direct or effects.indirect or uses_floats(items[j].insn) then break end
      if items[j].over == i then dead = always_writes(items[j].insn) and always_writes(item.insn) break end
    end
    local linked = false                               -- does a later item take the result?
    for j = i + 1, #items do
      for _, from in pairs(items[j].links) do linked = linked or from == i end
    end
    local self = emitter(item.insn, xlen, out, count, { k = k, forward = forward, dead = dead, keep = linked })
    guard(self, item.insn)
    self.indent = ""
    self:block(item.insn.meaning.body)
    results[i] = self.result
    k = k + emit_c.width(item.insn)
  end
  out[#out + 1] = ("  NEXT(%d)"):format(k)
  return out
end

-- A condition of lang.condition over field numbers, as C over `word` by field functions.
function emit_c.condition(e)
  local self = setmetatable({ insn = { name = "where", slots = {} }, out = {}, count = { 0 } }, Emitter)
  function self.value(_, node)
    if node.op == "field" or node.op == "raw" then return ("(%s)field_%s(word)"):format(ctype(node.bits), node.field.name:gsub("'", "p")) end
    return emit[node.op](self, node)
  end
  return self:value(e)
end

return emit_c
