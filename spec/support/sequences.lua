-- sequences: cases (spec/support/cases.lua) of several instructions in a row, as tier 0 fuses them.
-- SPDX-License-Identifier: MIT
--
-- A pattern "slli add:10.1" names instructions; after the colon which earlier one made each source (0: none), after the dot
-- whose result is overwritten. Registers are chosen so; operands so that every access stays in the case's own bytes.
local bit    = require "bit"
local ffi    = require "ffi"
local emit_c = require "umbra.isa.emit_c"
local eval   = require "umbra.isa.eval"
local word   = require "umbra.isa.word"
local wide   = require "umbra.isa.wide"

local sequences = {}

local INPUTS, OUTPUTS, SCRATCH, BYTES = 0, 128, 256, 512       -- places in a case's two records

-- The items of a pattern, or nil and the name that the description does not have.
function sequences.parse(description, text)
  local items = {}
  for part in text:gmatch "%S+" do
    local name, digits, over = part:match "^([^:]+):(%d*)%.(%d)$"
    name = name or part
    local insn = description.by_name[name]
    if not insn then return nil, name end
    local item = { insn = insn, links = {}, over = tonumber(over) or 0, regs = {}, imm = 0, sources = emit_c.sources(insn) }
    for i, source in ipairs(item.sources) do item.links[source] = tonumber((digits or ""):sub(i, i)) or 0 end
    item.dest = emit_c.destination(insn)
    items[#items + 1] = item
  end
  return items
end

local function file_of(item, name) return item.insn.scope.fields[name].regs end

-- Registers: fresh ones but for links; now and then x0, or a destination that is one of its own sources.
local function choose_registers(items, random, taken)
  local function fresh(file)
    while true do
      local number = file == "x" and 5 + random(27) or random(32)
      if not taken[file .. number] then
        taken[file .. number] = true
        return number
      end
    end
  end
  for _, item in ipairs(items) do
    for _, name in ipairs(item.sources) do
      local from = item.links[name]
      if from > 0 then item.regs[name] = items[from].regs[items[from].dest]
      elseif name == "rs2" and random(8) == 0 then item.regs[name] = 0
      else item.regs[name] = fresh(file_of(item, name)) end
    end
    if item.dest then
      local own
      for _, name in ipairs(item.sources) do
        if item.links[name] == 0 and file_of(item, name) == file_of(item, item.dest) and item.regs[name] ~= 0 then own = item.regs[name] end
      end
      if item.over > 0 then item.regs[item.dest] = items[item.over].regs[items[item.over].dest]
      elseif own and random(4) == 0 then item.regs[item.dest] = own
      else item.regs[item.dest] = fresh(file_of(item, item.dest)) end
    end
  end
end

-- The registers after the first `count` items, by the evaluator. Loads read the case's bytes.
local function look_ahead(self, count)
  local state = { files = { x = {}, f = {} }, pc = 0 }
  for number = 0, 31 do state.files.x[number], state.files.f[number] = self.inputs["x" .. number] or 0ULL, self.inputs["f" .. number] or 0ULL end
  local functions = setmetatable({}, { __index = function() return function() return 0ULL end end })
  state.functions = functions
  function state.load(_, address, bytes)
    local value, offset = wide.ZERO, tonumber(address) - self.base
    for i = bytes - 1, 0, -1 do value = wide.bor(wide.shl(value, 8), wide.new(self.bytes[offset + i])) end
    return value
  end
  function state.store() end
  for i = 1, count do
    local item = self.items[i]
    eval.run(item.insn, item.values, state, 4)
  end
  return state
end

local function fill(item)
  item.values = { imm = item.imm, shamt = item.shamt, aq = 0, rl = 0, rm = 0, pred = 15, succ = 15, fm = 0 }
  for name, number in pairs(item.regs) do item.values[name] = number end
end

-- Makes source `name` of item `at` hold `target`: true when that was possible. May change an immediate of the item itself.
local function solve(self, at, name, target)
  local item = self.items[at]
  local from = item.links[name]
  if from == 0 then
    if item.regs[name] == 0 then return false end
    self.inputs[file_of(item, name) .. item.regs[name]] = ffi.cast("uint64_t", target)
    return true
  end
  local maker = self.items[from]
  local made_by = maker.insn.name
  if made_by == "addi" or made_by == "addiw" then return solve(self, from, "rs1", target - maker.imm) end
  if made_by == "add" or made_by == "or" then
    local free, other = "rs1", "rs2"
    if maker.links.rs1 > 0 or maker.regs.rs1 == 0 then free, other = other, free end
    if maker.regs.rs1 == maker.regs.rs2 then return false end
    if made_by == "or" and maker.links[other] == 0 and maker.regs[other] ~= 0 then self.inputs["x" .. maker.regs[other]] = 0ULL end
    local value = look_ahead(self, from - 1).files.x[maker.regs[other]]
    if made_by == "or" and value ~= 0 then return false end
    return solve(self, from, free, ffi.cast("int64_t", ffi.cast("uint64_t", target) - ffi.cast("uint64_t", value)))
  end
  if made_by == "lui" then
    local whole = tonumber(target) + item.imm
    maker.imm = bit.band(whole + 2048, -4096)
    item.imm = whole - maker.imm
    fill(maker)
    return true
  end
  if (made_by == "ld" or made_by == "lw") and maker.offset then      -- without one it reads code
    ffi.cast("int64_t *", self.bytes + maker.offset)[0] = ffi.cast("int64_t", target)
    return true
  end
  return false
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

-- Chooses where item `at` reads or writes, and makes its base register say so. False: this pattern cannot be arranged.
local function arrange(self, at, random)
  local item = self.items[at]
  local access = access_of(item.insn)
  if not access then return true end
  local bytes = access.width / 8
  local atomic = access.kind ~= "load" and access.kind ~= "store"
  item.imm = atomic and 0 or random(512) - 256
  fill(item)
  local from = item.links.rs1
  if from > 0 and self.items[from].insn.name == "auipc" then
    self.items[from].imm, item.imm = 0, random(64) * 4        -- reads code
    fill(self.items[from])
    fill(item)
    return access.kind == "load"
  end
  -- Eight bytes of its own: an address that a later item takes from here stays as it is.
  item.offset = SCRATCH + 32 * (at - 1) + (atomic and 0 or random(8))
  if from > 0 and self.fixed[from] then                       -- an access before took its address from there, too
    local value = look_ahead(self, at - 1).files.x[item.regs.rs1]
    item.imm = self.base + item.offset - tonumber(value)
    fill(item)
    return item.imm >= -2048 and item.imm < 2048
  end
  if from > 0 then self.fixed[from] = true end
  if not solve(self, at, "rs1", ffi.cast("int64_t", self.base + item.offset - item.imm)) then return false end
  assert(bytes <= 8)
  fill(item)
  return true
end

local PLAIN_IMMEDIATES = { addi = 12, addiw = 12, andi = 12, xori = 12, ori = 12, slti = 12, sltiu = 12 }

-- Immediates that no access asks for.
local function choose_immediates(items, random)
  for _, item in ipairs(items) do
    local fields, name = item.insn.scope.fields, item.insn.name
    if PLAIN_IMMEDIATES[name] then item.imm = random(3) == 0 and random(4096) - 2048 or random(64) - 32
    elseif name == "lui" or name == "auipc" then item.imm = (random(2 ^ 20) - 2 ^ 19) * 4096 end
    if fields.shamt then item.shamt = random(2 ^ fields.shamt.width) end
    fill(item)
  end
end

-- Adds a case of `items` to a program of spec/support/cases.lua; false when it could not be arranged.
function sequences.add(program, items)
  local random = program.random
  for _, item in ipairs(items) do item.regs, item.imm, item.offset = {}, 0, nil end
  local taken = { x0 = true }
  local base, marker = 5 + random(27), 5 + random(27)
  if base == marker then marker = base == 31 and 5 or base + 1 end
  taken["x" .. base], taken["x" .. marker] = true, true
  choose_registers(items, random, taken)
  choose_immediates(items, random)
  local self = { items = items, inputs = {}, fixed = {}, bytes = ffi.new("uint8_t[?]", BYTES), base = program:next_address() }
  for i = SCRATCH / 8, BYTES / 8 - 1 do ffi.cast("uint64_t *", self.bytes)[i] = program:integer() end
  for _, item in ipairs(items) do
    for _, name in ipairs(item.sources) do
      local register = file_of(item, name) .. item.regs[name]
      if item.links[name] == 0 and item.regs[name] ~= 0 then self.inputs[register] = program:integer() end
    end
  end
  local last = items[#items]
  local effects = last.insn.meaning.effects
  local distance = (effects.direct or effects.indirect) and 12 + 2 * random(8)
  for at = 1, #items do
    if not arrange(self, at, random) then return false end
  end
  if effects.direct then last.imm = distance end
  local jumps_from = effects.indirect and last.links.rs1
  if effects.indirect then
    if jumps_from > 0 and items[jumps_from].insn.name ~= "auipc" then return false end
    if jumps_from > 0 then items[jumps_from].imm, last.imm = 0, distance + 4 * (#items - jumps_from) end
    for _, item in ipairs(items) do fill(item) end
  end
  return program:sequence(self, { base = base, marker = marker, distance = distance, jumps_from = jumps_from, inputs = INPUTS, outputs = OUTPUTS })
end

-- The words of the items.
function sequences.words(items)
  local words = {}
  for i, item in ipairs(items) do
    fill(item)
    words[i] = assert(word.make(item.insn, item.values))
  end
  return words
end

return sequences
