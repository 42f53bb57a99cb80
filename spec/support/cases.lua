-- cases: programs that try RISC-V instructions on many operands; umbra and qemu-riscv64 run the same words.
-- SPDX-License-Identifier: MIT
--
-- A case loads its operands from its record, executes the instruction, and stores what came of it there. The program is
-- straight-line; the frame around the instructions is encoded here by hand, so that it does not lean on the descriptions.
local bit  = require "bit"
local ffi  = require "ffi"
local elf  = require "spec.support.elf"
local word = require "umbra.isa.word"

local cases = {}

local CODE, DATA, TRAP = 0x1000000, 0x4000000, 0x1000
local RECORD = 256                                   -- bytes: see `at`
local at = {
  spill = 0,                                         -- bytes a crossing access of the record before may reach
  rs1 = 64, rs2 = 72, fs1 = 80, fs2 = 88, fs3 = 96, fcsr = 104,
  rd_out = 112, fd_out = 120, rs1_out = 128, rs2_out = 136, fcsr_out = 144, marker = 152,
  scratch = 160,
}

local Program = {}
Program.__index = Program

function cases.new(description, random)
  local self = setmetatable({ description = description, random = random, code = {}, size = 0, records = {}, list = {} }, Program)
  for number = 1, 31 do self:addi(number, 0, 0) end
  for number = 0, 31 do self:word(0xf2000053 + number * 128) end            -- fmv.d.x fN, x0
  return self
end

-- The frame's own instructions.
function Program:half(value)
  self.code[#self.code + 1] = string.char(value % 256, math.floor(value / 256) % 256)
  self.size = self.size + 2
end
function Program:word(value)
  self:half(value % 65536)
  self:half(math.floor(value / 65536))
end
function Program:lui(rd, page) self:word(page * 4096 + rd * 128 + 0x37) end
function Program:addi(rd, rs1, imm) self:word(imm % 4096 * 2 ^ 20 + rs1 * 2 ^ 15 + rd * 128 + 0x13) end
function Program:load(funct3, opcode, rd, base, offset) self:word(offset * 2 ^ 20 + base * 2 ^ 15 + funct3 * 4096 + rd * 128 + opcode) end
function Program:store(funct3, opcode, rs2, base, offset)
  self:word(math.floor(offset / 32) * 2 ^ 25 + rs2 * 2 ^ 20 + base * 2 ^ 15 + funct3 * 4096 + offset % 32 * 128 + opcode)
end
function Program:ld(rd, base, offset) self:load(3, 0x03, rd, base, offset) end
function Program:sd(rs2, base, offset) self:store(3, 0x23, rs2, base, offset) end
function Program:fld(fd, base, offset) self:load(3, 0x07, fd, base, offset) end
function Program:fsd(fs2, base, offset) self:store(3, 0x27, fs2, base, offset) end
function Program:csrw(csr, rs1) self:word(csr * 2 ^ 20 + rs1 * 2 ^ 15 + 0x1073) end
function Program:csrr(rd, csr) self:word(csr * 2 ^ 20 + 0x2073 + rd * 128) end
local function scatter(value, ...)                    -- { from, count, to } ...
  local out = 0
  for _, piece in ipairs { ... } do out = out + math.floor(value / 2 ^ piece[1]) % 2 ^ piece[2] * 2 ^ piece[3] end
  return out
end
function Program:jump(offset) self:word(scatter(offset % 2 ^ 21, { 20, 1, 31 }, { 1, 10, 21 }, { 11, 1, 20 }, { 12, 8, 12 }) + 0x6f) end
function Program:branch(funct3, rs1, rs2, offset)
  self:word(scatter(offset % 8192, { 12, 1, 31 }, { 5, 6, 25 }, { 1, 4, 8 }, { 11, 1, 7 }) + rs2 * 2 ^ 20 + rs1 * 2 ^ 15 + funct3 * 4096 + 0x63)
end

-- Operands -----------------------------------------------------------------------------------------

local INTEGERS = {
  0ULL, 1ULL, 2ULL, -1ULL, -2ULL, 0x7fffffffULL, 0x80000000ULL, 0xffffffffULL, 0x100000000ULL, 0x7fffffffffffffffULL, 0x8000000000000000ULL,
  0xffffffff80000000ULL, 0xffffffff7fffffffULL, 0x8000000000000001ULL, 31ULL, 32ULL, 63ULL, 64ULL, 0x0101010101010101ULL,
  0x8080808080808080ULL, 0xff00ff00ff00ff00ULL, 0x00ff0000000000ffULL, 0x123456789abcdef0ULL, 0x8000ULL, 0x7fffULL, 0x80ULL,
}
local DOUBLES = {
  0ULL, 0x8000000000000000ULL, 0x3ff0000000000000ULL, 0xbff0000000000000ULL, 0x7ff0000000000000ULL, 0xfff0000000000000ULL,
  0x7ff8000000000000ULL, 0xfff8000000000000ULL, 0x7ff4000000000001ULL, 0x7ff0000000000001ULL, 0x7fffffffffffffffULL, 1ULL, 0x8000000000000001ULL,
  0x000fffffffffffffULL, 0x0010000000000000ULL, 0x8010000000000000ULL, 0x7fefffffffffffffULL, 0xffefffffffffffffULL, 0x3fe0000000000000ULL,
  0x3ff8000000000000ULL, 0x4004000000000000ULL, 0xbfe0000000000000ULL, 0x41dfffffffc00000ULL, 0x41e0000000000000ULL, 0xc1e0000000000000ULL,
  0xc1e0000000200000ULL, 0x41efffffffe00000ULL, 0x41f0000000000000ULL, 0x43e0000000000000ULL, 0xc3e0000000000000ULL, 0x43dfffffffffffffULL,
  0x43f0000000000000ULL, 0x43efffffffffffffULL, 0xbfefffffffffffffULL, 0x3ca0000000000000ULL, 0x380fffffffffffffULL, 0x47efffffe0000000ULL,
  0x47effffff0000000ULL, 0x36a0000000000000ULL, 0x3690000000000000ULL, 0x380fffffe0000000ULL,
}
local SINGLES = {
  0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7fa00000, 0x7f800001, 0x7fffffff, 1, 0x80000001,
  0x007fffff, 0x00800000, 0x80800000, 0x7f7fffff, 0xff7fffff, 0x3f000000, 0x3fc00000, 0x40200000, 0xbf000000, 0x4effffff, 0x4f000000,
  0xcf000000, 0xcf000001, 0x4f7fffff, 0x4f800000, 0x5effffff, 0x5f000000, 0xdf000000, 0x5f7fffff, 0x5f800000, 0xbf7fffff, 0x33800000,
}
local BOX = 0xffffffff00000000ULL

function Program:pick(list) return list[self.random(#list) + 1] end

function Program:integer()
  local random, kind = self.random, self.random(8)
  if kind < 3 then return self:pick(INTEGERS) end
  if kind == 3 then return bit.lshift(1ULL, random(64)) - random(2) end
  if kind == 4 then return ffi.cast("uint64_t", ffi.cast("int64_t", ffi.cast("int32_t", random()))) end
  if kind == 5 then return bit.rshift(random(), random(64)) end
  return random()
end

function Program:double()
  local random, kind = self.random, self.random(8)
  if kind < 3 then return self:pick(DOUBLES) end
  if kind == 3 then return random() end
  -- Numbers near one another, so that sums cancel and products stay finite.
  local exponent = kind < 6 and 1023 - 40 + random(80) or kind == 6 and random(60) or 2047 - 60 + random(60)
  local fraction = random(2) == 0 and random() or bit.lshift(random(), 30 + random(22))
  return bit.bor(bit.lshift(ffi.cast("uint64_t", random(2)), 63), bit.lshift(ffi.cast("uint64_t", exponent), 52), bit.band(fraction, 0xfffffffffffffULL))
end

function Program:single()
  local random, kind = self.random, self.random(8)
  local value
  if kind < 3 then value = self:pick(SINGLES)
  elseif kind == 3 then value = random(2 ^ 32)
  else
    local exponent = kind < 6 and 127 - 25 + random(50) or kind == 6 and random(30) or 255 - 30 + random(30)
    local fraction = random(2 ^ 23)
    if random(2) == 0 then fraction = math.floor(fraction / 2 ^ 14) * 2 ^ 14 end
    value = random(2) * 2 ^ 31 + exponent * 2 ^ 23 + fraction
  end
  local box = random(10) == 0 and bit.lshift(random(), 32) or BOX       -- now and then one that is not boxed
  return bit.bor(box, ffi.cast("uint64_t", value))
end

-- Cases --------------------------------------------------------------------------------------------

-- A register among x5 to x31 that is not in `taken`, and notes it there.
function Program:free(taken)
  while true do
    local number = 5 + self.random(27)
    if not taken[number] then
      taken[number] = true
      return number
    end
  end
end

local function record_address(index) return DATA + index * RECORD end

-- The lui and addi that put the address of record `index` into `register`: its low 12 bits may need the next page.
function Program:point(register, index)
  local address = record_address(index)
  local low = address % 4096
  if low >= 2048 then low = low - 4096 end
  self:lui(register, (address - low) / 4096)
  self:addi(register, register, low)
end

local function is_single(name) return name:match "%.s$" or name:match "%.s%." or name == "fsw" or name:match "^fmv%.x%.w$" end

-- Field numbers of an instruction by the names of its meaning, whatever its encoding is.
local function expanded(row, value) return row.target and word.expand(row, value) or word.values(row, value) end

local function fields_of(row) return (row.target or row).scope.fields end

-- What of `row` can be tried: nil when it cannot be (it needs more than operands).
local UNTRIED = { ecall = true, ebreak = true, ["c.ebreak"] = true }
function cases.kind(row)
  local insn = row.target or row
  local effects, name = insn.meaning.effects, insn.name
  if UNTRIED[row.name] or row.extension == "s" or row.extension == "svinval" or name == "mret" or name == "wfi" then return end
  if effects.direct then return "branch" elseif effects.indirect then return "jump" end
  if name:match "^csrr" then return "csr" elseif name:match "^sc%." then return "conditional" end
  if name:match "^cbo" then return "cache" end
  return effects.memory and "memory" or "plain"
end

function Program:begin(row, value)
  local case = { row = row, value = value, numbers = expanded(row, value), index = #self.records, fields = fields_of(row), taken = { [0] = true } }
  self.records[#self.records + 1] = ffi.new("uint8_t[?]", RECORD)
  self.list[#self.list + 1] = case
  for name, field in pairs(case.fields) do
    if field.regs == "x" then case.taken[case.numbers[name]] = true end
  end
  return case
end

function Program:set(case, place, value) ffi.cast("uint64_t *", self.records[case.index + 1] + at[place])[0] = value end

-- Loads the operands; `given` has values that must be so.
function Program:operands(case, given)
  case.base, case.temp = self:free(case.taken), self:free(case.taken)
  self:point(case.base, case.index)
  local reads, insn = (case.row.target or case.row).meaning.reads, case.row.target or case.row
  local previous
  case.inputs = {}
  for _, name in ipairs { "rs1", "rs2", "fs1", "fs2", "fs3" } do
    local field = case.fields[name]
    if field and reads[name] then
      local value = given and given[name]
      if not value then
        if field.regs == "f" then value = is_single(insn.name) and not insn.name:match "^fcvt%.s%.d" and self:single() or self:double()
        else value = self:integer() end
        if insn.name == "fcvt.d.s" then value = self:single() end
        if previous and self.random(6) == 0 then value = previous end
        if name == "rs1" then value = bit.bor(value, self.always) end
      end
      previous = value
      self:set(case, name, value)
      case.inputs[name] = value
      if field.regs == "f" then self:fld(case.numbers[name], case.base, at[name])
      elseif case.numbers[name] ~= 0 then self:ld(case.numbers[name], case.base, at[name]) end
    end
  end
  if cases.uses_fcsr(case.row) then
    local rm = case.numbers.rm
    local mode = case.row.name:match "csr" and self.random(8) or rm == 7 and self.random(5) or rm and self.random(8) or self.random(5)
    case.fcsr = mode * 32 + (self.random(3) == 0 and self.random(32) or 0)
    self:set(case, "fcsr", case.fcsr)
    self:ld(case.temp, case.base, at.fcsr)
    self:csrw(3, case.temp)
  end
end

function cases.uses_fcsr(row)
  local insn = row.target or row
  if insn.name:match "^csrr" then return true end
  for _, field in ipairs(insn.fields) do
    if field.regs == "f" then return true end
  end
  return false
end

function Program:execute(row, value)
  if row.width == 16 then self:half(value) else self:word(value) end
end

function Program:results(case)
  if cases.uses_fcsr(case.row) then
    self:csrr(case.temp, 3)
    self:sd(case.temp, case.base, at.fcsr_out)
  end
  for _, pair in ipairs { { "rd", "rd_out" }, { "fd", "fd_out" }, { "rs1", "rs1_out" }, { "rs2", "rs2_out" } } do
    local field, number = case.fields[pair[1]], case.numbers[pair[1]]
    if field and field.regs == "x" then self:sd(number, case.base, at[pair[2]])
    elseif field and field.regs == "f" then self:fsd(number, case.base, at[pair[2]]) end
  end
end

local add = {}

function add:plain(row)
  local value
  repeat value = word.random(row, self.random) until (expanded(row, value).rm or 0) <= 4 or expanded(row, value).rm == 7
  local case = self:begin(row, value)
  self:operands(case)
  self:execute(row, value)
  self:results(case)
end

function add:csr(row)
  local value = word.random(row, self.random)
  value = value % 2 ^ 20 + (1 + self.random(3)) * 2 ^ 20            -- fflags, frm, fcsr
  local case = self:begin(row, value)
  self:operands(case)
  self:execute(row, value)
  self:results(case)
end

-- Where an access of this case may go: within the scratch bytes, misaligned unless it is atomic, now and then over a page's end.
local function choose_place(self, case, bytes, atomic)
  local base = record_address(case.index)
  if not atomic and (case.index + 1) * RECORD % 4096 == 0 then return base + RECORD - self.random(bytes) end
  local room = RECORD - at.scratch - bytes
  return base + at.scratch + (atomic and math.floor(self.random(room) / bytes) * bytes or self.random(room))
end

function Program:fill_scratch(case)
  local words = ffi.cast("uint64_t *", self.records[case.index + 1] + at.scratch)
  for i = 0, (RECORD - at.scratch) / 8 - 1 do words[i] = self:integer() end
end

local function access_of(insn)
  local found
  local function walk(e)
    if type(e) ~= "table" or found then return end
    if e.op == "memory" then found = e return end
    for key, child in pairs(e) do
      if key ~= "f" and key ~= "field" then walk(child) end
    end
  end
  walk(insn.meaning.body)
  return found
end

-- A word of `row` whose base register can hold any address, and what that register holds for the access at `address(case)`.
local function memory_case(self, row)
  local access = access_of(row.target or row)
  local value
  repeat value = word.random(row, self.random) until expanded(row, value).rs1 ~= 0
  local case = self:begin(row, value)
  self:fill_scratch(case)
  local where = choose_place(self, case, access.width / 8, access.kind ~= "load" and access.kind ~= "store")
  local given = { rs1 = ffi.cast("uint64_t", where) - ffi.cast("int64_t", case.numbers.imm or 0) }
  if case.numbers.rs2 == case.numbers.rs1 then given.rs2 = given.rs1 end
  self:operands(case, given)
  return case, value
end

function add:memory(row)
  local case, value = memory_case(self, row)
  self:execute(row, value)
  self:results(case)
end

-- sc: after lr of the same place, of another, or of none; and once more after the first.
function add:conditional(row)
  local case, value = memory_case(self, row)
  local wide = row.name:match "d$" and 3 or 2
  local reserve = self.random(4)
  local lr = 0x1000002f + case.temp * 128 + wide * 4096
  if reserve ~= 0 then
    local base = case.numbers.rs1
    if reserve == 1 then
      self:addi(case.temp, base, base == case.base and 0 or 0)
      self:point(case.temp, case.index)
      self:addi(case.temp, case.temp, at.rs1)
      base = case.temp
    end
    self:word(lr + base * 2 ^ 15)
  end
  self:execute(row, value)
  local twice = case.numbers.rd ~= case.numbers.rs1 and self.random(3) == 0
  if twice then
    self:sd(case.numbers.rd, case.base, at.marker)
    self:execute(row, value)
  end
  self:results(case)
end

local function widest(field) return 2 ^ (field.width + field.shift - 1) - 2 ^ field.shift end

-- Branches, forward and back, near and far: the marker tells which way was taken, 1 on, 2 to the target.
function add:branch(row)
  local random = self.random
  local insn = row.target or row
  local source = row.feeds and row.feeds.imm or row.scope.fields.imm
  local most = math.min(widest(source), 4000)
  local length = row.width / 8
  local gap = random(6) == 0 and random((most - 16) / 2) * 2 or random(8) * 2
  local forward = random(2) == 0
  local distance = forward and length + 8 + gap or -(8 + gap)
  local value = word.random(row, random)
  local part = word.bits(source, distance)
  if not part then error(("%s: no branch over %d bytes"):format(row.name, distance)) end
  value = value - word.bits(source, word.field(source, value)) + part
  local case = self:begin(row, value)
  local marker = self:free(case.taken)
  self:operands(case)
  if insn.name:match "^b" and random(2) == 0 and case.numbers.rs1 ~= 0 and case.numbers.rs2 ~= 0 then
    self:addi(case.numbers.rs2, case.numbers.rs1, random(3) - 1)                  -- equal, or one apart
  end
  self:addi(marker, 0, 0)
  if forward then
    self:execute(row, value)
    self:addi(marker, marker, 1)
    self:jump(4 + gap + 4)
    for _ = 1, gap, 2 do self:half(0) end
    self:addi(marker, marker, 2)
  else
    self:jump(12 + gap)
    self:addi(marker, marker, 2)
    self:jump(4 + gap + length + 4)
    for _ = 1, gap, 2 do self:half(0) end
    self:execute(row, value)
    self:addi(marker, marker, 1)
  end
  self:sd(marker, case.base, at.marker)
  self:results(case)
end

function add:jump(row)
  local value
  repeat value = word.random(row, self.random) until expanded(row, value).rs1 ~= 0
  local case = self:begin(row, value)
  local marker = self:free(case.taken)
  local before = self.size
  self:operands(case, { rs1 = 0ULL })
  local gap = self.random(8) * 2
  self:addi(marker, 0, 0)
  local target = CODE + self.size + row.width / 8 + 8 + gap + self.random(2)      -- the lowest bit is dropped
  self:set(case, "rs1", ffi.cast("uint64_t", target) - ffi.cast("int64_t", case.numbers.imm))
  self:execute(row, value)
  self:addi(marker, marker, 1)
  self:jump(4 + gap + 4)
  for _ = 1, gap, 2 do self:half(0) end
  self:addi(marker, marker, 2)
  self:sd(marker, case.base, at.marker)
  self:results(case)
  assert(self.size > before)
end

-- Adds a case of `row`, a row of the description whose kind is not nil. Bits of `always` are set in every operand rs1.
function Program:add(row, always)
  self.always = always or 0ULL
  add[cases.kind(row)](self, row)
end

-- Adds a record with every register in it, to see what no case looked at.
function Program:dump()
  local case = self:begin({ name = "dump", fields = {}, scope = { fields = {} }, meaning = { reads = {}, effects = {} } }, 0)
  case.whole = true
  self.records[#self.records + 1] = ffi.new("uint8_t[?]", RECORD)
  for number = 0, 31 do
    if number ~= 31 then self:point(31, case.index) self:sd(number, 31, 8 * number) end
  end
  for number = 0, 31 do self:fsd(number, 31, 256 + 8 * number) end
end

-- Sequences (spec/support/sequences.lua) ----------------------------------------------------------

-- Where the next case's bytes will be.
function Program:next_address() return record_address(#self.records) end

-- Adds a case of several instructions: `plan` has items, inputs by register ("x10") and bytes for two records; `how` the frame's
-- registers and places.
function Program:sequence(plan, how)
  local sequences = require "spec.support.sequences"
  local case = self:begin({ name = "sequence", fields = {}, scope = { fields = {} }, meaning = { reads = {}, effects = {} } }, 0)
  local names = {}
  for i, item in ipairs(plan.items) do names[i] = item.insn.name end
  case.whole, case.row = true, { name = table.concat(names, "; "), width = 32 }
  self.records[case.index + 1] = plan.bytes
  self.records[#self.records + 1] = false                       -- its second half
  local registers = {}
  for name in pairs(plan.inputs) do registers[#registers + 1] = name end
  table.sort(registers)
  local place = how.inputs
  self:point(how.base, case.index)
  self:addi(how.marker, 0, 0)
  local jump_register = how.jumps_from == 0 and plan.items[#plan.items].regs.rs1
  local jump_place
  for _, name in ipairs(registers) do
    ffi.cast("uint64_t *", plan.bytes + place)[0] = plan.inputs[name]
    local number = tonumber(name:sub(2))
    if name:sub(1, 1) == "f" then self:fld(number, how.base, place) else self:ld(number, how.base, place) end
    if name == "x" .. tostring(jump_register) then jump_place = place end
    place = place + 8
  end
  local words = sequences.words(plan.items)
  self:csrr(0, 3)                                    -- nothing is fused across it
  if jump_place then
    local target = CODE + self.size + 4 * (#words - 1) + how.distance
    ffi.cast("uint64_t *", plan.bytes + jump_place)[0] = target - plan.items[#plan.items].imm
  end
  for _, value in ipairs(words) do self:word(value) end
  if not how.distance then self:csrr(0, 3) end
  if how.distance then
    self:addi(how.marker, how.marker, 1)
    self:jump(4 + (how.distance - 12) + 4)
    for _ = 1, how.distance - 12, 2 do self:half(0) end
    self:addi(how.marker, how.marker, 2)
  end
  place = how.outputs
  for _, item in ipairs(plan.items) do
    local number = item.dest and item.regs[item.dest]
    if item.dest then
      if item.insn.scope.fields[item.dest].regs == "f" then self:fsd(number, how.base, place) else self:sd(number, how.base, place) end
    end
    place = place + 8
  end
  self:sd(how.marker, how.base, place)
  return true
end

-- Running ------------------------------------------------------------------------------------------

-- The code; a last part writes the records to standard output and exits, under Linux. The second result is where that begins.
function Program:finish()
  local size = #self.records * RECORD
  local stop = CODE + self.size
  self:lui(11, DATA / 4096)
  self:lui(12, math.floor((size + 2048) / 4096))
  self:addi(12, 12, (size + 2048) % 4096 - 2048)
  self:addi(10, 0, 1)                                -- write(1, a1, a2)
  self:addi(17, 0, 64)
  self:word(0x73)
  self:branch(5, 0, 10, 24)                          -- blez a0
  self:word(0x00a585b3)                              -- add a1, a1, a0
  self:word(0x40a60633)                              -- sub a2, a2, a0
  self:branch(1, 12, 0, -24)                         -- bnez a2: the rest
  self:addi(10, 0, 0)
  self:jump(8)
  self:addi(10, 0, 1)                                -- what blez reaches: exit(1)
  self:addi(17, 0, 94)
  self:word(0x73)
  for _ = 1, 64 do self:half(1) end                  -- sequences may read so far behind themselves
  local data = {}
  for i, record in ipairs(self.records) do
    if record then
      local whole = self.records[i + 1] == false
      data[#data + 1] = ffi.string(record, whole and 2 * RECORD or RECORD)
    end
  end
  return table.concat(self.code), table.concat(data), stop
end

-- What qemu-riscv64 makes of the program; raises with its words when it does not come to its end.
function cases.qemu(code, data, path)
  local file = assert(io.open(path, "wb"))
  file:write(elf.write { class = 64, entry = CODE, segments = { { at = CODE, bytes = code, flags = "rx" }, { at = DATA, bytes = data, flags = "rw" } } })
  file:close()
  local pipe = assert(io.popen(("chmod +x %s && qemu-riscv64 -cpu rv64,zba=true,zbb=true,zbc=true,zbs=true %s 2>&1"):format(path, path), "r"))
  local out = pipe:read "*a"
  pipe:close()
  if #out ~= #data then error(("qemu-riscv64 wrote %d bytes, not %d: %s"):format(#out, #data, out:sub(1, 200)), 0) end
  return out
end

local ISA = "rv64gc_zba_zbb_zbc_zbs_zicond_zawrs_zicbom_zicboz"

-- What a process of umbra makes of the program that `cases.qemu` left at `path`; raises as that does.
function cases.process(path, size, options)
  local result = require("umbra.linux").run { elf = path, isa = ISA, fuse = options.fuse, capture = true }
  if result.code ~= 0 or #result.out ~= size then
    error(("the process ended with %s after %d of %d bytes: %s"):format(tostring(result), #result.out, size, result.err:sub(1, 200)), 0)
  end
  return result.out
end

-- What umbra makes of it in a hart of a machine. `options` are those of umbra.cpu; with evaluate = true the hart's IR is evaluated.
function cases.umbra(code, data, stop, options)
  local clock, control, cpu, mem = require "umbra.clock", require "umbra.control", require "umbra.cpu", require "umbra.mem"
  local memory, timer, buttons = mem.new(), clock.new(), control.new()
  memory:add_rom { at = CODE, size = math.ceil(#code / 4096) * 4096 }
  memory:add_ram { at = DATA, size = math.ceil(#data / 4096) * 4096 }
  memory:add_rom { at = TRAP, size = 4096 }
  memory:write(CODE, code)
  memory:write(DATA, data)
  local given = { mem = memory, clock = timer, control = buttons, isa = ISA, reset_pc = CODE }
  for key, value in pairs(options or {}) do given[key] = value end
  local evaluate = given.evaluate
  given.evaluate = nil
  local hart = cpu.new(given)
  hart:set_csr("mstatus", 0x6000)
  hart:set_csr("mtvec", TRAP)
  hart:stop_at(TRAP)
  hart:stop_at(stop)
  local why
  if evaluate then
    for _ = 1, #code do
      if hart:pc() == stop or hart:pc() == TRAP then
        why = "stop"
        break
      end
      hart:evaluate(1)
    end
  else why = hart:run(#code, 60) end
  local out, pc = memory:read(DATA, #data), hart:pc()
  local place = ("at 0x%x"):format(tonumber(pc))
  if pc == TRAP then place = ("trapped at 0x%x, cause %d, 0x%s"):format(hart:csr "mepc", hart:csr "mcause", bit.tohex(hart:csr "mtval")) end
  hart:close()
  memory:close()
  if why ~= "stop" or pc ~= stop then return nil, ("umbra came back with %s, %s"):format(why, place) end
  return out
end

local function show(record, case)
  local words = ffi.cast("const uint64_t *", record)
  local parts = {}
  for _, name in ipairs { "rs1", "rs2", "fs1", "fs2", "fs3", "fcsr", "rd_out", "fd_out", "rs1_out", "rs2_out", "fcsr_out", "marker" } do
    local input = case.inputs and case.inputs[name]
    local value = input or words[at[name] / 8]
    if value ~= 0 then parts[#parts + 1] = ("%s=%s"):format(name, bit.tohex(value, 16)) end
  end
  return table.concat(parts, " ")
end

-- Cases whose records differ, as lines of text, at most `most`; and how many there are in all.
function Program:compare(ours, theirs, most)
  local lines, count = {}, 0
  for _, case in ipairs(self.list) do
    local from, size = case.index * RECORD, RECORD * (case.whole and 2 or 1)
    local a, b = ours:sub(from + 1, from + size), theirs:sub(from + 1, from + size)
    if a ~= b then
      count = count + 1
      if count <= most then
        local digits = case.row.width == 16 and 4 or 8
        lines[#lines + 1] = ("%s 0x%s\n  umbra %s\n  qemu  %s"):format(case.row.name, bit.tohex(case.value, digits), show(a, case), show(b, case))
      end
    end
  end
  return lines, count
end

return cases
