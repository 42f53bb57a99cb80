-- ir: blocks of the intermediate representation: built, printed, read back, verified, evaluated.
--
--   local guest = ir.guest { slots = { { "x", "i64", 32 } } }
--   local b = ir.new(guest)
--   b:set("x", 3, b:add(b:get("x", 1), b:const("i64", 5)))
--   b:go(4)
--
-- Values are numbers that the block gives out. Every step is verified where it is made.
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local handle = require "umbra.handle"
local schema = require "umbra.schema"

local C = clib.C

local ir = {}
local Guest = { noun = "ir.guest" }
Guest.__index = Guest
local State = { noun = "ir.state" }
State.__index = State
local Block = { noun = "ir" }
Block.__index = Block

local why = ffi.new "struct um_fault"
local row, limbs = ffi.new "struct um_ir_row", ffi.new "uint64_t[4]"

-- Types -------------------------------------------------------------------------------------------

local TYPES = { [0] = "void", "i1", "i8", "i16", "i32", "i64", "i128", "i256", "f32", "f64" }
local BITS = { 1, 8, 16, 32, 64, 128, 256, 32, 64 }
local CTYPES = { "uint8_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t", false, false, "uint32_t", "uint64_t" }
local TYPE = {}
for number, name in pairs(TYPES) do TYPE[name] = number end

local function type_of(name, what)
  local number = type(name) == "string" and name ~= "void" and TYPE[name]
  if not number then fault.raise("%s must be a type (i1 i8 i16 i32 i64 i128 i256 f32 f64), not %s", what, schema.show(name)) end
  return number
end

-- A value of any width into `limbs`: a number, a 64-bit integer, a hexadecimal string, or four limbs, lowest first.
local function to_limbs(value, what)
  limbs[1], limbs[2], limbs[3] = 0, 0, 0
  if type(value) == "table" then
    for i = 0, 3 do limbs[i] = value[i + 1] or 0 end
  elseif type(value) == "string" and value:match "^0x%x+$" and #value <= 66 then
    local digits = ("0"):rep(66 - #value) .. value:sub(3)
    for i = 0, 3 do
      local part = digits:sub(49 - 16 * i, 64 - 16 * i)
      limbs[i] = bit.bor(bit.lshift(0ULL + tonumber(part:sub(1, 8), 16), 32), 0ULL + tonumber(part:sub(9), 16))
    end
  elseif type(value) == "boolean" then limbs[0] = value and 1 or 0
  elseif bits.is_integer(value) then limbs[0] = bits.u64(value)
  else fault.raise("%s must be a whole number, a string like \"0x1f\" or four limbs, not %s", what, schema.show(value)) end
end

-- What `limbs` hold, by type: uint64_t, or four limbs.
local function from_limbs(kind)
  if BITS[kind] <= 64 then return limbs[0] end
  return { limbs[0], limbs[1], limbs[2], limbs[3] }
end

-- Cuts what was given to the width; negative numbers are their two's complement.
local function cut(kind, value)
  local width = BITS[kind]
  if width < 64 then limbs[0] = bit.band(limbs[0], bit.lshift(1ULL, width) - 1) end
  if width > 64 and (type(value) == "number" or ffi.istype("int64_t", value)) and value < 0 then
    for i = 1, width / 64 - 1 do limbs[i] = bit.bnot(0ULL) end
  end
  for i = math.max(1, width / 64), 3 do limbs[i] = 0 end
end

-- Operations --------------------------------------------------------------------------------------

local EXTRA = { [0] = "none", "const", "delta", "slot", "mem", "amo", "round", "helper", "index", "insn", "cause", "fence" }
local EFFECTS = { "read", "write", "load", "store", "fault", "flags", "order", "control", "last", "call" }
local ROUND = { rne = 0, rtz = 1, rdn = 2, rup = 3, rmm = 4, dyn = 7 }
local AMO = { swap = 0, add = 1, ["and"] = 2, ["or"] = 3, xor = 4, min = 5, max = 6, minu = 7, maxu = 8 }

-- Every operation as { name, signature, text, extra, effects = { name = true }, number }, in the order of csrc/ir/ops.h and by name.
ir.ops = {}
do
  local info, number = ffi.new "struct um_ir_op", 0
  while C.um_ir_op(number, info) do
    local op = {
      name = ffi.string(info.name), signature = ffi.string(info.signature), text = ffi.string(info.text), extra = EXTRA[info.extra],
      effects = {}, number = number,
    }
    for i, name in ipairs(EFFECTS) do
      if bit.band(info.effects, bit.lshift(1, i - 1)) ~= 0 then op.effects[name] = true end
    end
    ir.ops[#ir.ops + 1], ir.ops[op.name] = op, op
    number = number + 1
  end
end

-- Guests ------------------------------------------------------------------------------------------

local GUEST = {
  { "slots", type = "table", default = {}, help = "rows { name, type, count = 1 }" },
  { "helpers", type = "table", default = {}, help = "rows { name, \"i64 i64 -> i64\", function(state, ...), effects = \"read write\" }" },
  { "address", type = "enum", values = { "i64", "i32" }, default = "i64", help = "type of addresses" },
}

-- "i64 i1 -> i64" as the digits of um_ir_guest_helper.
local function digits(name, text)
  local from, to = text:match "^(.-)%s*%->%s*(.*)$"
  if not from then fault.raise("helper %s: \"i64 i64 -> i64\" expected, not %s", name, schema.show(text)) end
  local function each(list) return (list:gsub("%S+", function(word) return type_of(word, "helper " .. name) end):gsub("%s", "")) end
  return each(from) .. ":" .. each(to)
end

local function add_helper(self, given)
  local name, signature, run = given[1], given[2], given[3]
  if type(name) ~= "string" or type(signature) ~= "string" or type(run) ~= "function" then
    fault.raise("a helper is { name, \"i64 i64 -> i64\", function }")
  end
  local mask = 0
  for effect in (given.effects or ""):gmatch "%S+" do
    local found
    for i = 1, 6 do
      if EFFECTS[i] == effect then found = bit.lshift(1, i - 1) end
    end
    if not found then fault.raise("helper %s: unknown effect %s, known: %s", name, effect, table.concat(EFFECTS, " ", 1, 6)) end
    mask = bit.bor(mask, found)
  end
  local number = fault.check(C.um_ir_guest_helper(self.ptr, name, digits(name, signature), mask, why), why)
  self.run[number] = run
end

-- ir.guest { slots = { { "x", "i64", 32 }, { "carry", "i1" } }, helpers = { ... }, address = "i64" }
function ir.guest(options)
  options = schema.check(options, GUEST, "guest")
  local ptr = C.um_ir_guest_new(options.address == "i64", why)
  if ptr == nil then fault.check(why.status, why) end
  local self = handle.new(Guest, ptr, C.um_ir_guest_free, { run = {} })
  for _, given in ipairs(options.slots) do
    if type(given) ~= "table" or type(given[1]) ~= "string" then fault.raise("a slot is { name, type, count }") end
    fault.check(C.um_ir_guest_slot(ptr, given[1], type_of(given[2], "slot " .. given[1]), given[3] or 1, why), why)
  end
  for _, given in ipairs(options.helpers) do add_helper(self, given) end
  return self
end

-- The guest around what C has (cpu.guest), which is not freed.
function ir.wrap_guest(ptr) return handle.new(Guest, ptr, C.um_ir_guest_free, { run = {} }) end

Guest.close = handle.close

-- A state of zeros: its slots are read and written by name.
function Guest:state()
  local size = C.um_ir_guest_size(self.ptr)
  return setmetatable({ guest = self, bytes = ffi.new("uint8_t[?]", size), size = size }, State)
end

local function place(self, name, element)
  local number = fault.check(C.um_ir_guest_find(self.guest.ptr, name, why), why)
  local offset = fault.check(C.um_ir_guest_place(self.guest.ptr, number, element or 0, why), why)
  return self.bytes + offset, C.um_ir_guest_slot_type(self.guest.ptr, number)
end

-- uint64_t, or four limbs where the slot is wider.
function State:get(name, element)
  local from, kind = place(self, name, element)
  if CTYPES[kind] then return 0ULL + ffi.cast("const " .. CTYPES[kind] .. " *", from)[0] end
  ffi.fill(limbs, 32)
  ffi.copy(limbs, from, BITS[kind] / 8)
  return from_limbs(kind)
end

function State:set(name, element, value)
  local to, kind = place(self, name, element)
  to_limbs(value, name)
  cut(kind, value)
  ffi.copy(to, limbs, math.max(1, BITS[kind] / 8))
end

-- The rounding mode (0 to 4) of `dyn`, and the flags raised so far: bits 0 inexact, 1 underflow, 2 overflow, 3 by zero, 4 invalid.
function State:rounding() return self.bytes[C.um_ir_guest_fp(self.guest.ptr)] end
function State:set_rounding(mode) self.bytes[C.um_ir_guest_fp(self.guest.ptr)] = mode end
function State:flags() return self.bytes[C.um_ir_guest_fp(self.guest.ptr) + 1] end
function State:set_flags(flags) self.bytes[C.um_ir_guest_fp(self.guest.ptr) + 1] = flags end

-- Blocks ------------------------------------------------------------------------------------------

-- ir.new(guest): an empty block.
function ir.new(guest)
  local ptr = C.um_ir_new(handle.pointer(guest, "ir.guest", "guest"), why)
  if ptr == nil then fault.check(why.status, why) end
  return handle.new(Block, ptr, C.um_ir_free, { guest = guest })
end

Block.close = handle.close

function Block:clear() C.um_ir_clear(self.ptr) end

-- Instructions in the block.
function Block:count() return C.um_ir_count(self.ptr) - 1 end

local function emit(self) return fault.check(C.um_ir_emit(self.ptr, row, why), why) end

local function type_at(self, ref)
  local of = ffi.new "struct um_ir_row"
  C.um_ir_row_of(self.ptr, type(ref) == "number" and ref or 0, of)
  return of.type
end

-- Appends { op = "add", type = "i64", a = 1, b = 2 } as Block:at tells them: for who walks over ir.ops. Returns its number.
function Block:emit(given)
  local op = ir.ops[given.op]
  if not op or op.extra == "helper" then fault.raise("emit: no op %s", schema.show(given.op)) end
  ffi.fill(row, ffi.sizeof(row))
  row.op, row.type, row.aux = op.number, TYPE[given.type or "void"] or 255, given.aux or 0
  row.a, row.b, row.c, row.imm = given.a or 0, given.b or 0, given.c or 0, given.imm or 0
  return emit(self)
end

-- What an instruction of the block is: { op = "add", type = "i64", aux =, a =, b =, c =, imm = }.
function Block:at(ref)
  local of = ffi.new "struct um_ir_row"
  C.um_ir_row_of(self.ptr, ref, of)
  return { op = ir.ops[of.op + 1].name, type = TYPES[of.type], aux = of.aux, a = of.a, b = of.b, c = of.c, imm = of.imm }
end

-- "s32.be", "u64.aq.rl", "add.s32" into the aux of an access.
local function access(op, text)
  local aux, rest = 0, text
  if op.extra == "amo" then
    local name, more = tostring(text):match "^(%a+)%.(.*)$"
    if not AMO[name] then fault.raise("%s: an access like \"add.s32\" expected, not %s", op.name, schema.show(text)) end
    aux, rest = AMO[name] * 256, more
  end
  local sign, size, flags = tostring(rest):match "^([su]?)(%d+)(.*)$"
  local log = size and math.log(tonumber(size) / 8) / math.log(2)
  if not size or log % 1 ~= 0 or log < 0 then fault.raise("%s: an access like \"s32\" expected, not %s", op.name, schema.show(text)) end
  aux = aux + log + (sign == "s" and 8 or 0)
  for flag in flags:gmatch "[^.]+" do
    local value = ({ be = 16, aq = 32, rl = 64 })[flag]
    if not value then fault.raise("%s: .be, .aq or .rl, not %s", op.name, flag) end
    aux = bit.bor(aux, value)
  end
  return aux
end

-- Takes from `args` what belongs to an op before its operands.
local leading = {
  mem    = function(_, op, args) row.aux = access(op, table.remove(args, 1)) end,
  round  = function(_, op, args)
    local mode = table.remove(args, 1)
    row.aux = ROUND[mode] or fault.raise("%s: a rounding (rne rtz rdn rup rmm dyn) expected, not %s", op.name, schema.show(mode))
  end,
  slot   = function(self, _, args)
    local name, element = table.remove(args, 1), table.remove(args, 1)
    local number = fault.check(C.um_ir_guest_find(self.guest.ptr, tostring(name), why), why)
    row.imm = number * 256 + (element or 0)
    return number
  end,
  cause  = function(_, _, args) row.imm = table.remove(args, 1) end,
  index  = function(_, _, args) row.a, row.imm = args[1], args[2] or 0 args[1], args[2] = nil, nil end,
  insn   = function(_, _, args) row.imm, row.aux = args[1], args[2] args[1], args[2] = nil, nil end,
  fence  = function(_, _, args) row.aux = args[1] * 16 + args[2] args[1], args[2] = nil, nil end,
}
leading.amo = leading.mem

-- The type of the result: an operand's where the signature says so, else the first argument.
local function result_type(self, op, args)
  local result, operands = op.signature:match "^(.):(.*)$"
  if result == "-" then return 0 end
  if result == "B" then return 1 end
  if result == "A" then return C.um_ir_guest_address(self.guest.ptr) end
  local same = operands:find("T", 1, true)
  if op.name == "get" then
    return C.um_ir_guest_slot_type(self.guest.ptr, fault.check(C.um_ir_guest_find(self.guest.ptr, tostring(args[1]), why), why))
  end
  if same and op.extra ~= "amo" then return type_at(self, args[same + (op.extra == "round" and 1 or 0)]) end
  return type_of(table.remove(args, 1), op.name)
end

local SHOWN = { ["goto"] = "go", ["and"] = "band", ["or"] = "bor", ["not"] = "bnot", ["end"] = "done" }     -- words of Lua's own

for _, op in ipairs(ir.ops) do
  local operands = #op.signature - 2
  if op.extra ~= "helper" and op.extra ~= "const" then
    Block[SHOWN[op.name] or op.name] = function(self, ...)
      local args = { ... }
      ffi.fill(row, ffi.sizeof(row))
      row.op, row.type = op.number, result_type(self, op, args)
      if leading[op.extra] then leading[op.extra](self, op, args) end
      local given = args[operands + 1]
      if op.extra == "delta" then row.imm = given or 0 end
      for i = 1, operands do
        if type(args[i]) ~= "number" then fault.raise("%s: operand %d must be a value of this block, not %s", op.name, i, schema.show(args[i])) end
      end
      if operands > 0 then row.a = args[1] end
      if operands > 1 then row.b, row.c = args[2], args[3] or 0 end
      return emit(self)
    end
  end
end

-- const(type, value): a number, a 64-bit integer, a string "0x...", or four limbs.
function Block:const(name, value)
  local kind = type_of(name, "const")
  to_limbs(value, "const")
  cut(kind, value)
  return fault.check(C.um_ir_emit_wide(self.ptr, kind, limbs, why), why)
end

-- call(helper, arguments...): the values of its results.
function Block:call(name, ...)
  local helper = fault.check(C.um_ir_guest_find_helper(self.guest.ptr, tostring(name), why), why)
  local count = select("#", ...)
  local args = ffi.new("uint32_t[?]", math.max(1, count))
  for i = 1, count do args[i - 1] = (select(i, ...)) end
  local call, results, index = fault.check(C.um_ir_emit_call(self.ptr, helper, args, count, why), why), {}, 0
  while C.um_ir_guest_helper_result(self.guest.ptr, helper, index) ~= 0 do
    results[index + 1] = self:result(TYPES[C.um_ir_guest_helper_result(self.guest.ptr, helper, index)], call, index)
    index = index + 1
  end
  return unpack(results)
end

-- Raises what is wrong with the block; a block that is built here or parsed can only be unfinished.
function Block:verify() fault.check(C.um_ir_verify(self.ptr, why), why) end

-- Appends what the text says; refused with its line, nothing is appended.
function Block:parse(text)
  if type(text) ~= "string" then fault.raise("parse: a string expected, not %s", schema.show(text)) end
  fault.check(C.um_ir_parse(self.ptr, text, #text, why), why)
  return self
end

function Block.__tostring(self)
  local size = tonumber(C.um_ir_print(self.ptr, nil, 0))
  local text = ffi.new("char[?]", size + 1)
  C.um_ir_print(self.ptr, text, size + 1)
  return (ffi.string(text, size):gsub("\n$", ""))
end

-- Evaluation --------------------------------------------------------------------------------------

local REASONS = { [C.UM_IR_NEXT] = "next", [C.UM_IR_LEAVE] = "leave", [C.UM_IR_TRAP] = "trap", [C.UM_IR_FAULT] = "fault", [C.UM_IR_CALL] = "call" }

local EVAL = {
  { "state", type = "table", required = true, help = "what guest:state() made" },
  { "pc", type = "any", default = 0, help = "address of the block" },
  { "memory", type = "any", help = "bytes (cdata) that addresses from `at` on reach; all others fault" },
  { "at", type = "any", default = 0, help = "address of the first of them" },
  { "size", type = "integer", min = 0, help = "how many; what ffi.sizeof says" },
}

local function serve(self, exit, state)
  local helper = exit.helper
  local run = self.guest.run[helper]
  local name = ffi.string(C.um_ir_guest_helper_name(self.guest.ptr, helper))
  local args, index = {}, 0
  while C.um_ir_argument(self.ptr, exit.at, index, limbs, why) >= 0 do
    args[index + 1] = limbs[1] + limbs[2] + limbs[3] == 0 and limbs[0] or { limbs[0], limbs[1], limbs[2], limbs[3] }
    index = index + 1
  end
  local results = { run(state, unpack(args)) }
  index = 0
  while C.um_ir_guest_helper_result(self.guest.ptr, helper, index) ~= 0 do
    local kind, value = C.um_ir_guest_helper_result(self.guest.ptr, helper, index), results[index + 1]
    if value == nil then fault.raise("helper %s gave %d results", name, index) end
    to_limbs(value, name)
    cut(kind, value)
    fault.check(C.um_ir_answer(self.ptr, exit.at, index, limbs, why), why)
    index = index + 1
  end
end

-- The struct um_ir_world of checked options, whose state must be of `guest`.
function ir.world(options, guest)
  options = schema.check(options, EVAL, "eval")
  local state = options.state
  if getmetatable(state) ~= State or state.guest ~= guest then fault.raise("`eval.state` must be a state of the block's guest") end
  local world = ffi.new "struct um_ir_world"
  world.state = state.bytes
  if options.memory ~= nil then
    world.memory, world.at = options.memory, bits.u64(options.at)
    world.size = options.size or ffi.sizeof(options.memory)
  end
  return world, options
end

-- A struct um_ir_exit as a table.
function ir.left(exit)
  return {
    reason = REASONS[exit.reason], pc = bits.number(exit.pc), insns = exit.insns, cause = exit.reason == C.UM_IR_TRAP and bits.number(exit.cause) or nil,
    value = (exit.reason == C.UM_IR_TRAP or exit.reason == C.UM_IR_FAULT) and bits.number(exit.value) or nil,
  }
end

-- eval { state = s, pc = 0x1000, memory = bytes, at = 0x8000 }: how the block is left: { reason = "next", pc =, insns = }; with
-- reason "trap" cause and value, with "fault" the address as value.
function Block:eval(options)
  local world, checked = ir.world(options, self.guest)
  local exit = ffi.new "struct um_ir_exit"
  repeat
    fault.check(C.um_ir_eval(self.ptr, world, bits.u64(checked.pc), exit, why), why)
    if exit.reason == C.UM_IR_CALL then serve(self, exit, checked.state) end
  until exit.reason ~= C.UM_IR_CALL
  return ir.left(exit)
end

-- What instruction `ref` gave in the last evaluation.
function Block:value(ref)
  C.um_ir_value(self.ptr, ref, limbs)
  local kind = type_at(self, ref)
  return kind ~= 0 and from_limbs(kind) or nil
end

return ir
