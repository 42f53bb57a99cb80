-- lift: prints checked meanings as C that builds IR: for every instruction a function that appends what it means to a block.
-- SPDX-License-Identifier: MIT
--
-- A value of n bits lies zero-extended in the smallest IR type that holds it. The C is included by a file that says where slots are
-- (PLACE_file: offset and stride), defines what functions are called by their `c`, and lift_goto, lift_jump, lift_fp ...
-- (csrc/ir/lift.h). A `func` row with `ir = "op"` is that operation; the others are helpers.
local bit    = require "bit"
local emit_c = require "umbra.isa.emit_c"
local wide   = require "umbra.isa.wide"

local lift = {}

local Lifter = {}
Lifter.__index = Lifter

local cname, ctype = emit_c.cname, emit_c.ctype

local function container(bits)
  for _, width in ipairs { 1, 8, 16, 32, 64, 128, 256 } do
    if bits <= width then return width end
  end
end

local function itype(bits) return "IR_I" .. container(bits) end

local function sorted(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

function Lifter:line(format, ...)
  self.out[#self.out + 1] = self.indent .. (select("#", ...) > 0 and format:format(...) or format)
end

-- A variable for the Ref that the C expression gives.
function Lifter:ref(format, ...)
  self.count = self.count + 1
  self:line("Ref t%d = %s;", self.count, format:format(...))
  return "t" .. self.count
end

function Lifter:unary(op, bits, a) return self:ref("ir_unary(ir, IR_%s, %s, %s)", op, itype(bits), a) end
function Lifter:binary(op, bits, a, b) return self:ref("ir_binary(ir, IR_%s, %s, %s, %s)", op, itype(bits), a, b) end
function Lifter:constant(bits, text) return self:ref("ir_const(ir, %s, %s)", itype(bits), text) end

-- 2^bits - 1 in the container of `bits`.
function Lifter:mask(bits)
  local ones = wide.low(wide.bnot(wide.ZERO), bits)
  return self:literal(ones, bits)
end

function Lifter:literal(value, bits)
  local function limb(i) return ("0x%sull"):format(bit.tohex(value[i], 16):gsub("^0+(.)", "%1")) end
  if bits <= 64 then return self:constant(bits, limb(1)) end
  return self:ref("ir_wide_const(ir, %s, u256_make(%s, %s, %s, %s))", itype(bits), limb(1), limb(2), limb(3), limb(4))
end

-- `ref`, computed in the container of `bits`, with its excess bits cleared.
function Lifter:wrap(ref, bits)
  if bits == container(bits) then return ref end
  return self:binary("AND", bits, ref, self:mask(bits))
end

-- `ref` with copies of its sign up to the end of its container.
function Lifter:signed(ref, bits)
  local excess = container(bits) - bits
  if excess == 0 then return ref end
  local by = self:constant(8, excess)
  return self:binary("SAR", bits, self:binary("SHL", bits, ref, by), by)
end

-- `ref` from the container of `from` in that of `bits`, zeros above; the excess of a narrower one is cut with the container only.
function Lifter:fit(ref, from, bits)
  if container(from) == container(bits) then return ref end
  return self:unary(container(bits) > container(from) and "ZEXT" or "TRUNC", bits, ref)
end

local emit = {}

function emit:number(e) return self:literal(wide.parse(e.digits, e.base), e.bits or 32) end

function Lifter:slot(what) return "d->" .. self.insn.slots[what] end

-- The C expression of a field's number, or of a literal.
function Lifter:known(e)
  if e.op == "number" then return ("%d"):format(tonumber(e.digits, e.base)) end
  if e.op == "field" and not e.field.regs then return self:slot(e.name) end
  error(("%s: only a field's number or a literal can stand here"):format(self.insn.name), 0)
end

function emit:field(e)
  local field = e.field
  if field.regs then
    local n, zero = self:slot(e.name), field.file.zero
    local get = ("ir_get(ir, %s, SLOT_%s, %s)"):format(itype(e.bits), field.regs, n)
    if zero then get = ("%s ? %s : ir_const(ir, %s, 0)"):format(n, get, itype(e.bits)) end
    return self:ref("%s", get)
  end
  local text = ("(uint64_t)(int64_t)%s"):format(self:slot(e.name))
  if e.bits < 64 and e.bits ~= container(e.bits) then text = ("%s & 0x%x"):format(text, 2 ^ e.bits - 1) end
  if e.bits > 64 then return self:wrap(self:unary("SEXT", e.bits, self:constant(64, text)), e.bits) end
  return self:constant(e.bits, text)
end

function emit:raw(e)
  local slots = self.insn.slots
  return self:constant(e.bits, slots[e.name] and self:slot(e.name) or ("(%s & 31u)"):format(self:slot(e.name .. ">")))
end

emit["local"] = function(self, e) return self.locals[e.name] end
function emit:register(e) return self:ref("ir_get(ir, %s, SLOT_%s, 0)", itype(e.bits), e.name) end
function emit:pc(e) return self:ref("ir_delta(ir, IR_PC, %s, 0, l->at)", itype(e.bits)) end
emit["next"] = function(self, e) return self:ref("ir_delta(ir, IR_PC, %s, 0, l->at + l->length)", itype(e.bits)) end

local ARITHMETIC = { ["+"] = "ADD", ["-"] = "SUB", ["*"] = "MUL" }
local BITWISE = { ["&"] = "AND", ["|"] = "OR", ["^"] = "XOR" }
local DIVISION = { ["/u"] = "DIVU", ["/s"] = "DIVS", ["%u"] = "REMU", ["%s"] = "REMS" }
local SHIFT = { ["<<"] = "SHL", [">>"] = "SHR", [">>s"] = "SAR" }
-- op, whether the sides are turned
local COMPARE = { ["=="] = { "EQ" }, ["!="] = { "NE" }, ["<u"] = { "LTU" }, ["<s"] = { "LTS" }, ["<=u"] = { "LEU" }, ["<=s"] = { "LES" },
                  [">u"] = { "LTU", true }, [">s"] = { "LTS", true }, [">=u"] = { "LEU", true }, [">=s"] = { "LES", true } }

function emit:binary(e)
  local a, b = self:value(e.left), self:value(e.right)
  local name, bits, from = e.name, e.bits, e.left.bits
  local is_signed = name:match "^[<>/%%].-s$" or name == ">>s"
  if is_signed then a = self:signed(a, from) end
  if is_signed and name ~= ">>s" then b = self:signed(b, from) end
  if COMPARE[name] then
    if COMPARE[name][2] then a, b = b, a end
    return self:binary(COMPARE[name][1], 1, a, b)
  end
  local op = ARITHMETIC[name] or BITWISE[name] or DIVISION[name] or SHIFT[name]
  local value = self:binary(op, bits, a, b)
  if BITWISE[name] or name == ">>" then return value end
  return self:wrap(value, bits)
end

function emit:unary(e)
  return self:wrap(self:unary(e.name == "-" and "NEG" or "NOT", e.bits, self:value(e.value)), e.bits)
end

function emit:select(e)
  local condition, yes, no = self:value(e.condition), self:value(e.yes), self:value(e.no)
  return self:ref("ir_select(ir, %s, %s, %s, %s)", itype(e.bits), condition, yes, no)
end

-- The upper half of a product of two extended values, which hosts have in one step; nil when e is none.
local function high_half(self, e)
  local product, width = e.value, e.bits
  if e.lo ~= width or product.op ~= "binary" or product.name ~= "*" or product.bits ~= 2 * width or (width ~= 32 and width ~= 64) then return end
  local left, right = product.left, product.right
  if left.op ~= "extend" or right.op ~= "extend" or left.value.bits ~= width or right.value.bits ~= width then return end
  local a, b = self:value(left.value), self:value(right.value)
  if left.signed ~= right.signed then return self:binary("MULHSU", width, left.signed and a or b, left.signed and b or a) end
  return self:binary(left.signed and "MULHS" or "MULHU", width, a, b)
end

function emit:slice(e)
  local high = high_half(self, e)
  if high then return high end
  local value, from = self:value(e.value), e.value.bits
  if e.lo > 0 then value = self:binary("SHR", from, value, self:constant(16, e.lo)) end
  value = self:fit(value, from, e.bits)
  return e.lo + e.bits == from and value or self:wrap(value, e.bits)
end

function emit:extend(e)
  local value, from = self:value(e.value), e.value.bits
  if not e.signed or from == e.bits then return self:fit(value, from, e.bits) end
  value = self:signed(value, from)
  if container(from) ~= container(e.bits) then value = self:unary("SEXT", e.bits, value) end
  return self:wrap(value, e.bits)
end

function emit:cat(e)
  local whole
  for _, part in ipairs(e.args) do
    local value = self:fit(self:value(part), part.bits, e.bits)
    whole = whole and self:binary("OR", e.bits, self:binary("SHL", e.bits, whole, self:constant(16, part.bits)), value) or value
  end
  return whole
end

function emit:count(e)
  local bits, value = e.value.bits, self:value(e.value)
  local excess = container(bits) - bits
  if e.name == "bswap" then
    value = self:unary("BSWAP", bits, value)
    return excess > 0 and self:binary("SHR", bits, value, self:constant(8, excess)) or value
  end
  if e.name == "ctz" and excess > 0 then                      -- a one above stops the count at the width
    value = self:binary("OR", bits, value, self:literal(wide.shl(wide.ONE, bits), container(bits)))
  end
  local count = self:unary(e.name:upper(), bits, value)
  if e.name == "clz" and excess > 0 then count = self:binary("SUB", bits, count, self:constant(bits, excess)) end
  return self:wrap(count, bits)
end

function emit:rotate(e)
  local value, n, bits = self:value(e.left), self:value(e.right), e.bits
  if bits == container(bits) then return self:binary(e.name:upper(), bits, value, n) end
  local width = math.max(32, e.right.bits)
  n = self:binary("REMU", width, self:fit(n, e.right.bits, width), self:constant(width, bits))
  local rest = self:binary("SUB", width, self:constant(width, bits), n)
  local left, right = n, rest
  if e.name == "ror" then left, right = rest, n end
  return self:wrap(self:binary("OR", bits, self:binary("SHL", bits, value, left), self:binary("SHR", bits, value, right)), bits)
end

local LOG = { [8] = 0, [16] = 1, [32] = 2, [64] = 3, [128] = 4, [256] = 5 }

-- The value that is stored: only its low bits count, so a slice of them need not be cut.
function Lifter:stored(e)
  if e.op == "slice" and e.lo == 0 then e = e.value end
  return self:value(e), e.bits
end

function emit:memory(e)
  local address = self:value(e.args[1])
  local mem = ("ir_mem(%d, %s, %s)"):format(LOG[e.width], e.sign == "s" and "true" or "false", e.big and "true" or "false")
  if e.kind == "store" then
    self:line("ir_add(ir, (IrIns){ .op = IR_STORE, .aux = %s, .a = %s, .b = %s });", mem, address, (self:stored(e.args[2])))
    return
  end
  if e.kind == "load" then return self:ref("ir_add(ir, (IrIns){ .op = IR_LOAD, .type = %s, .aux = %s, .a = %s })", itype(e.bits), mem, address) end
  mem = mem .. " | MEM_ACQUIRE | MEM_RELEASE"                 -- aq and rl are not decoded: as if both stood there
  if e.kind == "lr" then return self:ref("ir_add(ir, (IrIns){ .op = IR_LR, .type = %s, .aux = %s, .a = %s })", itype(e.bits), mem, address) end
  local value, bits = self:stored(e.args[2])
  if e.kind == "sc" then
    local failed = self:ref("ir_add(ir, (IrIns){ .op = IR_SC, .type = IR_I1, .aux = %s, .a = %s, .b = %s })", mem, address, value)
    return self:fit(failed, 1, e.bits)
  end
  return self:ref("ir_add(ir, (IrIns){ .op = IR_AMO, .type = %s, .aux = (uint16_t)(%s | AMO_%s << 8), .a = %s, .b = %s })", itype(e.bits), mem,
    e.operation:upper(), address, self:fit(value, bits, e.bits))
end

-- Functions ---------------------------------------------------------------------------------------

-- An integer of 32 or 64 bits as a float, and back.
function Lifter:to_float(e) return self:ref("ir_unary(ir, IR_BITCAST, IR_F%d, %s)", e.bits, self:value(e)) end
function Lifter:from_float(ref, bits) return self:unary("BITCAST", bits, ref) end

function Lifter:float(op, type, args, rm)
  return self:ref("ir_add(ir, (IrIns){ .op = IR_%s, .type = IR_%s, .aux = %s, .a = %s, .b = %s, .c = %s })", op:upper(), type, rm or "0",
    args[1], args[2] or "0", args[3] or "0")
end

local FLOAT_COMPARE = { feq = true, flt = true, fle = true }

-- Calls whose row says which operation they are: "fadd", "ftoi i32".
local function operation(self, e)
  local f, args = e.f, {}
  local op, narrow = f.ir:match "^(%S+)%s*i?(%d*)$"
  if op == "fence" then
    self:line("ir_add(ir, (IrIns){ .op = IR_FENCE, .aux = (uint16_t)(%s << 4 | %s) });", self:known(e.args[1]), self:known(e.args[2]))
    return
  end
  if op == "box" then return self:ref("ir_unary(ir, IR_BOX, IR_I64, %s)", self:to_float(e.args[1])) end
  if op == "unbox" then return self:from_float(self:ref("ir_unary(ir, IR_UNBOX, IR_F32, %s)", self:value(e.args[1])), 32) end
  local operands, rm = #e.args, nil
  if f.args[operands] == 3 then operands, rm = operands - 1, self:known(e.args[operands]) end
  if op == "itof" or op == "utof" then
    local bits = tonumber(narrow)
    local value = self:fit(self:value(e.args[1]), e.args[1].bits, bits)
    return self:from_float(self:float(op, "F" .. e.bits, { value }, rm), e.bits)
  end
  for i = 1, operands do args[i] = self:to_float(e.args[i]) end
  if op == "ftoi" or op == "ftou" then
    local bits = tonumber(narrow)
    local value = self:float(op, "I" .. bits, args, rm)
    return bits < e.bits and self:unary("SEXT", e.bits, value) or value
  end
  if FLOAT_COMPARE[op] then return self:fit(self:float(op, "I1", args), 1, e.bits) end
  return self:from_float(self:float(op, "F" .. e.bits, args, rm), e.bits)
end

emit["function"] = function(self, e)
  local f = e.f
  if f.ir then return operation(self, e) end
  local args = {}
  for i, argument in ipairs(e.args) do args[i] = self:value(argument) end
  local name = "HELPER_" .. cname(f.name)
  local call = #args > 0 and self:ref("ir_call(ir, %s, (Ref[]){ %s }, %d)", name, table.concat(args, ", "), #args) or self:ref("ir_call(ir, %s, NULL, 0)", name)
  local results = e.results or f.bits > 0 and { f.bits } or {}
  local refs = {}
  for i, bits in ipairs(results) do refs[i] = self:ref("ir_result(ir, %s, %s, %d)", itype(bits), call, i - 1) end
  if #results == 0 then self:line("(void)%s;", call) end
  return e.results and refs or refs[1]
end

function Lifter:value(e) return emit[e.op](self, e) end

-- Statements --------------------------------------------------------------------------------------

function Lifter:assign(target, value)
  if target.kind == "register" then return self:line("ir_set(ir, SLOT_%s, 0, %s);", target.name, value) end
  local file, n = target.field.file, self:slot(target.name .. ">")
  self:line("%sir_set(ir, SLOT_%s, %s, %s);", file.zero and ("if (%s != %d) "):format(n, file.count) or "", target.field.regs, n, value)
end

local statement = {}

function statement:let(s) self.locals[s.name] = self:value(s.value) end

function statement:assign(s)
  local value = self:value(s.value)
  if #s.targets == 1 then return self:assign(s.targets[1], value) end
  for i, target in ipairs(s.targets) do self:assign(target, value[i]) end
end

statement["if"] = function(self, s)
  local condition = self:value(s.condition)
  if #s.yes == 1 and s.yes[1].op == "goto" and s.yes[1].direct and not s.no then
    return self:line("lift_branch(l, %s, %s);", condition, self:slot(s.yes[1].direct.name))
  end
  self:line("ir_add(ir, (IrIns){ .op = IR_WHEN, .a = %s });", condition)
  self:block(s.yes)
  if s.no then
    self:line "ir_add(ir, (IrIns){ .op = IR_OTHERWISE });"
    self:block(s.no)
  end
  self:line "ir_add(ir, (IrIns){ .op = IR_END });"
end

statement["goto"] = function(self, s)
  if s.direct then self:line("lift_goto(l, %s);", self:slot(s.direct.name))
  else self:line("lift_jump(l, %s);", self:value(s.target)) end
  if self.depth == 1 then self:line "l->ended = true;" end
end

function statement:effect(s)
  self:value(s.value)
  local f = s.value.f
  if not f or not f.ends then return end
  if f.kind == "redirect" then self:line "ir_add(ir, (IrIns){ .op = IR_LEAVE });"
  else self:line "ir_delta(ir, IR_GOTO, IR_VOID, 0, l->at + l->length);" end
  if self.depth == 1 then self:line "l->ended = true;" end
end

function Lifter:block(statements)
  local indent, outer = self.indent, self.locals
  self:line "{"
  self.indent, self.depth, self.locals = indent .. "  ", self.depth + 1, setmetatable({}, { __index = outer })
  for _, s in ipairs(statements) do statement[s.op](self, s) end
  self.indent, self.depth, self.locals = indent, self.depth - 1, outer
  self:line "}"
end

local function lifter(insn)
  local self = setmetatable({ insn = insn, out = {}, count = 0, indent = "  ", depth = 0, locals = {} }, Lifter)
  local uses, dirties, rounding = emit_c.floats(insn)
  self:line "Ir *ir = l->ir;\n  (void)ir, (void)d;"
  if uses then self:line("lift_fp(l, %s);", rounding and self:slot(rounding) or "-1") end
  self:block(insn.meaning.body)
  if uses and dirties then self:line "lift_fp_dirty(l);" end
  return self.out
end

-- Helpers -----------------------------------------------------------------------------------------

local STATE = "EFFECT_READ | EFFECT_WRITE | EFFECT_LOAD | EFFECT_STORE | EFFECT_FAULT | EFFECT_FLAGS"

local function argument(bits, i)
  if bits <= 64 then return ("(%s)args[%d].w[0]"):format(ctype(bits), i - 1) end
  return bits <= 128 and ("u256_to_u128(args[%d])"):format(i - 1) or ("args[%d]"):format(i - 1)
end

local function result(bits, i, value) return ("results[%d] = %s;"):format(i - 1, bits <= 128 and ("u256_from(%s)"):format(value) or value) end

-- The C of a helper that calls the function of a row.
local function thunk(f, out)
  local args, after = {}, {}
  for i, bits in ipairs(f.args) do args[i] = argument(bits, i) end
  out("static bool helper_%s(void *state, const IrValue *args, IrValue *results)\n{\n  (void)state, (void)args, (void)results;", cname(f.name))
  if f.kind == "state" or f.kind == "redirect" then
    table.insert(args, 1, "state")
    if f.bits > 0 then
      out "  uint64_t value = 0;"
      args[#args + 1] = "&value"
      after[1] = result(f.bits, 1, "value")
    end
    out("  if (!%s(%s)) return false;", f.c, table.concat(args, ", "))
  elseif f.results then
    for i, bits in ipairs(f.results) do
      out("  %s r%d;", ctype(bits), i)
      args[#args + 1] = "&r" .. i
      after[i] = result(bits, i, "r" .. i)
    end
    out("  %s(%s);", f.c, table.concat(args, ", "))
  elseif f.bits == 0 then out("  %s(%s);", f.c, table.concat(args, ", "))
  else after[1] = result(f.bits, 1, ("%s(%s)"):format(f.c, table.concat(args, ", "))) end
  for _, line in ipairs(after) do out("  %s", line) end
  out "  return true;\n}\n"
end

-- Functions that meanings call and that are no operations, by name.
local function helpers_of(description)
  local used = {}
  local function walk(e)
    if type(e) ~= "table" then return end
    if e.op == "function" then
      if e.f.kind == "fp" and not e.f.ir then error(("func %s: kind fp wants an `ir`"):format(e.f.name), 0) end
      if not e.f.ir then used[e.f.name] = e.f end
    end
    for key, child in pairs(e) do
      if key ~= "f" and key ~= "field" then walk(child) end
    end
  end
  for _, insn in ipairs(description.insns) do walk(insn.meaning.body) end
  return used
end

local function types(list)
  local out = {}
  for i, bits in ipairs(list) do out[i] = itype(bits) end
  return #out > 0 and table.concat(out, ", ") or "0"
end

-- Prints slots, helpers and a lift function for each instruction: lift_slots[], lift_helpers[], lifters[] by op number (decoder.number).
-- What the including file adds itself stands in EXTRA_HELPERS (rows of the table) with numbers from HELPERS on.
function lift.print(description, out)
  out "// Generated: slots, helpers and the lift of every instruction; included by a file that defines their words (lua/umbra/isa/lift.lua).\n"
  local files, registers, helpers = sorted(description.files), sorted(description.registers), helpers_of(description)
  out "enum {"
  for _, list in ipairs { files, registers } do
    for _, name in ipairs(list) do out("  SLOT_%s,", name) end
  end
  out "  SLOTS\n};\nenum {"
  for _, name in ipairs(sorted(helpers)) do out("  HELPER_%s,", cname(name)) end
  out "  HELPERS\n};\n"
  for _, name in ipairs(sorted(helpers)) do thunk(helpers[name], out) end
  for _, insn in ipairs(description.insns) do
    out("static void lift_%s(Lift *l, const Decoded *d)\n{\n%s\n}\n", cname(insn.name), table.concat(lifter(insn), "\n"))
  end
  out "static const IrSlot lift_slots[SLOTS] = {"
  for _, name in ipairs(files) do
    local file = description.files[name]
    out("  [SLOT_%s] = { \"%s\", %s, %d, PLACE_%s },", name, name, itype(file.bits), file.count, name)
  end
  for _, name in ipairs(registers) do out("  [SLOT_%s] = { \"%s\", %s, 1, PLACE_%s },", name, name, itype(description.registers[name].bits), name) end
  out "};\n\nstatic const IrHelper lift_helpers[] = {"
  for _, name in ipairs(sorted(helpers)) do
    local f = helpers[name]
    local results = f.results or f.bits > 0 and { f.bits } or {}
    out("  [HELPER_%s] = { \"%s\", helper_%s, %s, %d, %d, { %s }, { %s } },", cname(name), name, cname(name),
      f.kind == "pure" and "0" or STATE, #f.args, #results, types(f.args), types(results))
  end
  out "  EXTRA_HELPERS\n};\n\nstatic Lifter *const lifters[] = {"
  for _, insn in ipairs(description.insns) do out("  [%d] = lift_%s,", insn.op, cname(insn.name)) end
  out "};"
end

return lift
