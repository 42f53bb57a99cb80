-- pseudo: the RISC-V pseudo-instructions (assembly programmer's manual; unprivileged manual, chapter 27).
-- SPDX-License-Identifier: MIT
local bit        = require "bit"
local ffi        = require "ffi"
local expression = require "umbra.asm.expression"
local number     = require "umbra.asm.number"
local parse      = require "umbra.asm.parse"
local registers  = require "umbra.asm.registers"

local pseudo = {}

-- What is written, and what it stands for. Names that stand on the left are operands; with the same name, their number decides.
local ROWS = [[
  nop                      addi zero, zero, 0
  mv D, S                  addi D, S, 0
  move D, S                addi D, S, 0
  not D, S                 xori D, S, -1
  neg D, S                 sub D, zero, S
  negw D, S                subw D, zero, S
  sext.w D, S              addiw D, S, 0
  zext.b D, S              andi D, S, 255
  seqz D, S                sltiu D, S, 1
  snez D, S                sltu D, zero, S
  sltz D, S                slt D, S, zero
  sgtz D, S                slt D, zero, S
  sgt D, S, T              slt D, T, S
  sgtu D, S, T             sltu D, T, S
  beqz S, L                beq S, zero, L
  bnez S, L                bne S, zero, L
  blez S, L                bge zero, S, L
  bgez S, L                bge S, zero, L
  bltz S, L                blt S, zero, L
  bgtz S, L                blt zero, S, L
  bgt S, T, L              blt T, S, L
  ble S, T, L              bge T, S, L
  bgtu S, T, L             bltu T, S, L
  bleu S, T, L             bgeu T, S, L
  j L                      jal zero, L
  jal L                    jal ra, L
  ret                      jalr zero, 0(ra)
  csrr D, C                csrrs D, C, zero
  csrw C, S                csrrw zero, C, S
  csrs C, S                csrrs zero, C, S
  csrc C, S                csrrc zero, C, S
  csrwi C, I               csrrwi zero, C, I
  csrsi C, I               csrrsi zero, C, I
  csrci C, I               csrrci zero, C, I
  rdcycle D                csrrs D, cycle, zero
  rdtime D                 csrrs D, time, zero
  rdinstret D              csrrs D, instret, zero
  frcsr D                  csrrs D, fcsr, zero
  fscsr D, S               csrrw D, fcsr, S
  fscsr S                  csrrw zero, fcsr, S
  frrm D                   csrrs D, frm, zero
  fsrm D, S                csrrw D, frm, S
  fsrm S                   csrrw zero, frm, S
  fsrmi D, I               csrrwi D, frm, I
  fsrmi I                  csrrwi zero, frm, I
  frflags D                csrrs D, fflags, zero
  fsflags D, S             csrrw D, fflags, S
  fsflags S                csrrw zero, fflags, S
  fsflagsi D, I            csrrwi D, fflags, I
  fsflagsi I               csrrwi zero, fflags, I
  fmv.s D, S               fsgnj.s D, S, S
  fabs.s D, S              fsgnjx.s D, S, S
  fneg.s D, S              fsgnjn.s D, S, S
  fmv.d D, S               fsgnj.d D, S, S
  fabs.d D, S              fsgnjx.d D, S, S
  fneg.d D, S              fsgnjn.d D, S, S
  fgt.s D, S, T            flt.s D, T, S
  fge.s D, S, T            fle.s D, T, S
  fgt.d D, S, T            flt.d D, T, S
  fge.d D, S, T            fle.d D, T, S
  fmv.x.s D, S             fmv.x.w D, S
  fmv.s.x D, S             fmv.w.x D, S
  fence                    fence iorw, iorw
  pause                    fence w, 0
  sfence.vma               sfence.vma zero, zero
  sfence.vma S             sfence.vma S, zero
  unimp                    csrrw zero, cycle, zero
  zext.w D, S              add.uw D, S, zero
]]

-- Without the extension that has them, these are two shifts.
local SHIFTS = { ["sext.b"] = { "srai", 56 }, ["sext.h"] = { "srai", 48 }, ["zext.h"] = { "srli", 48 }, ["zext.w"] = { "srli", 32 } }
local SHIFTS_NEED = { ["zext.w"] = "add.uw" }

-- Written with a number as their last operand, these mean another instruction.
local IMMEDIATE = {
  add = "addi", addw = "addiw", ["and"] = "andi", ["or"] = "ori", xor = "xori", sll = "slli", srl = "srli", sra = "srai", sllw = "slliw",
  srlw = "srliw", sraw = "sraiw", slt = "slti", sltu = "sltiu", ror = "rori", rorw = "roriw", bclr = "bclri", bext = "bexti", binv = "binvi",
  bset = "bseti", csrrw = "csrrwi", csrrs = "csrrsi", csrrc = "csrrci", csrw = "csrwi", csrs = "csrsi", csrc = "csrci",
}

local rows = {}                                      -- name -> { [number of operands] = { op, operands } }
local special = {}                                   -- name -> function(self, at, operands): what is more than other words

for line in ROWS:gmatch "[^\n]+" do
  local name, wanted, op, given = line:match "^%s*(%S+)%s?(.-)%s%s+(%S+)%s*(.*)$"
  local places, count = {}, 0
  for letter in wanted:gmatch "%u" do
    count = count + 1
    places[letter] = count
  end
  local row = { op = op, operands = {} }
  for i, node in ipairs((parse.operands(given, 1))) do row.operands[i] = places[node.name or ""] or node end
  rows[name] = rows[name] or {}
  rows[name][count] = row
end

local function symbol(name, at) return { op = "symbol", name = name, at = at } end
local function memory(node, offset)
  return { op = "memory", at = node.at, register = node.name, register_at = node.at, offset = offset }
end
local function is_register(node) return node.op == "symbol" and registers.find(node.name) ~= nil end
local function plain(value, at) return { op = "number", value = value, at = at } end
local function modified(name, node) return { op = "modifier", name = name, at = node.at, value = node } end

-- li -----------------------------------------------------------------------------------------------------------------------

local i64 = ffi.typeof "int64_t"

local function zeros_below(value)
  local n = 0
  while bit.band(bit.rshift(value, n), i64(1)) == 0 do n = n + 1 end
  return n
end

local function fits(value, bits) return value >= -2LL ^ (bits - 1) and value < 2LL ^ (bits - 1) end

-- A list of { op, number } that makes `value` (int64_t) in a register: lui and addiw up to 32 bits; above, what makes the upper bits,
-- shifted, and the low 12 bits added. Bits for a lui may stay where they are instead of being shifted all the way, which saves one.
local function sequence(value)
  if fits(value, 12) then return { { "addi", tonumber(value) } } end
  local n = expression.low(value)
  if fits(value, 32) then
    local list = { { "lui", number.bits(value + 2048, 12, 20) } }
    if n ~= 0 then list[2] = { "addiw", n } end
    return list
  end
  local upper = value - n
  local shift = zeros_below(upper)
  local list, by = sequence(bit.arshift(upper, shift)), shift
  if shift > 12 then
    local other = bit.arshift(upper, shift - 12)
    local shorter = fits(other, 32) and { { "lui", number.bits(other, 12, 20) } }
    if shorter and #shorter < #list then list, by = shorter, shift - 12 end
  end
  list[#list + 1] = { "slli", by }
  if n ~= 0 then list[#list + 1] = { "addi", n } end
  return list
end

-- The instructions that put `value` into a register, as { op, number }.
function pseudo.load_constant(value)
  return sequence(ffi.cast(i64, type(value) == "number" and i64(value) or value))
end

function special.li(self, at, list)
  self:expect("li", at, list, 2, "rd, number")
  self:add_constant(list[1], list[2])
end

-- Addresses ----------------------------------------------------------------------------------------------------------------

-- auipc with the upper part of the distance to `target`, then `op` with the lower part.
local function pair(self, at, through, target, op, operands)
  self:constant(target)
  self:add_insn("auipc", at, { through, modified("pcrel_hi", target) })
  self:add_insn(op, at, operands(modified("pair_lo", target)))
end

function special.la(self, at, list)
  self:expect("la", at, list, 2, "rd, symbol")
  if self:constant(list[2]) then return self:add_constant(list[1], list[2]) end
  pair(self, at, list[1], list[2], "addi", function(lower) return { list[1], list[1], lower } end)
end
special.lla = special.la

local function jump(self, at, through, link, target)
  pair(self, at, through, target, "jalr", function(lower) return { link, memory(through, lower) } end)
end

function special.call(self, at, list)
  local link = #list == 2 and list[1] or symbol("ra", at)
  self:expect("call", at, list, #list == 2 and 2 or 1, "symbol")
  jump(self, at, link, link, list[#list])
end

function special.tail(self, at, list)
  self:expect("tail", at, list, 1, "symbol")
  jump(self, at, symbol("t1", at), symbol("zero", at), list[1])
end

function special.jump(self, at, list)
  self:expect("jump", at, list, 2, "symbol, register")
  jump(self, at, list[2], symbol("zero", at), list[1])
end

function special.jr(self, at, list)
  local node = list[1]
  if #list == 2 and is_register(node) then node = memory(node, list[2])
  else
    self:expect("jr", at, list, 1, "register")
    if is_register(node) then node = memory(node) end
  end
  self:add_insn("jalr", at, { symbol("zero", at), node })
end

function special.jalr(self, at, list)
  local a, b, c = list[1], list[2], list[3]
  if #list == 1 then b, a = is_register(a) and memory(a) or a, symbol("ra", at)
  elseif #list == 2 and b.op ~= "memory" then
    if is_register(b) then b = memory(b) else a, b = symbol("ra", at), is_register(a) and memory(a, b) or a end
  elseif #list == 3 and is_register(b) then b, c = memory(b, c), nil end
  self:add_insn("jalr", at, { a, b, c })
end

-- Loads and stores of a symbol: through the register that is loaded, or one that is named for it.
local LOADS = { lb = true, lbu = true, lh = true, lhu = true, lw = true, lwu = true, ld = true }
local THROUGH = { flw = true, fld = true, sb = true, sh = true, sw = true, sd = true, fsw = true, fsd = true }

local function is_address(node) return node and node.op ~= "memory" and not is_register(node) end

local function symbol_access(self, op, at, list)
  local through = LOADS[op] and #list == 2 and list[1] or THROUGH[op] and list[3]
  if not through or not is_address(list[2]) or not is_register(through) then return false end
  pair(self, at, through, list[2], op, function(lower) return { list[1], memory(through, lower) } end)
  return true
end

-- Expands ------------------------------------------------------------------------------------------------------------------

-- The immediate form of `op` when its last operand is a number.
local function immediate(self, op, list)
  local node = list[#list]
  if not IMMEDIATE[op] or not node or node.op == "memory" or is_register(node) then return end
  if node.op == "symbol" and not self:is_known(node.name) then return end
  return IMMEDIATE[op]
end

-- mv is an addi; where short forms are wanted, the one for it is that of an add.
local function is_short_move(self, op, list)
  local _, from = registers.find(list[2] and list[2].name or "")
  local file, to = registers.find(list[1] and list[1].name or "")
  return self.rvc and (op == "mv" or op == "move") and file == "x" and from ~= 0 and to ~= 0
end

-- Adds what the pseudo-instruction `op` stands for to the assembly; false when it is none.
function pseudo.expand(self, op, at, list)
  if special[op] then
    special[op](self, at, list)
    return true
  end
  if (LOADS[op] or THROUGH[op]) and symbol_access(self, op, at, list) then return true end
  local shift = SHIFTS[op]
  if shift and #list == 2 and not self:has_insn(SHIFTS_NEED[op] or op) then
    self:add_insn("slli", at, { list[1], list[2], plain(shift[2], at) })
    self:add_insn(shift[1], at, { list[1], list[1], plain(shift[2], at) })
    return true
  end
  local other = immediate(self, op, list)
  local row = rows[other or op] and rows[other or op][#list]
  if not row and other and self:is_insn(other) then
    self:add_insn(other, at, list)
    return true
  end
  if not row then
    if not rows[op] or self:is_insn(op) then return false end
    local wanted = {}
    for count = 0, 3 do if rows[op][count] then wanted[#wanted + 1] = tostring(count) end end
    local count = table.concat(wanted, " or ")
    self:fail(at, "%s: %s operand%s expected, not %d", op, count == "0" and "no" or count, count == "1" and " is" or "s are", #list)
  end
  if is_short_move(self, op, list) then
    self:add_insn("add", at, { list[1], symbol("zero", at), list[2] })
    return true
  end
  local given = {}
  for i, node in ipairs(row.operands) do given[i] = type(node) == "number" and list[node] or node end
  self:add_insn(row.op, at, given)
  return true
end

-- All names, for suggestions.
function pseudo.names()
  local list = {}
  for name in pairs(rows) do list[#list + 1] = name end
  for name in pairs(special) do list[#list + 1] = name end
  table.sort(list)
  return list
end

return pseudo
