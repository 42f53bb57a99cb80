-- isa: reads instruction-set descriptions, the single source of decoder, tier 0, disassembler and what follows.
-- SPDX-License-Identifier: MIT
--
-- A description is a Lua file of rows (docs/isa.md has the whole notation):
--
--   field "rd"    { bits = "11:7",  regs = "x" }
--   field "imm_i" { bits = "31:20", signed = true, as = "imm" }
--   insn "addi" "imm_i rs1 000 rd 0010011" "rd, rs1, imm" [[ rd = rs1 + imm ]]
--   short "c.mv" "100 0 rd rs2c 10" "rd, rs2" "add rd=rd rs1=0 rs2=rs2c" :where "rd != 0"
--
-- An error names the file, the line and, inside a meaning, the column.
local lang = require "umbra.isa.lang"
local fault = require "umbra.fault"

local isa = {}

local Description = {}
Description.__index = Description

local function refuse(self, format, ...)
  error(("%s:%d: %s"):format(self.file, self.line, format:format(...)), 0)
end

-- "31 7 30:25 11:8" -> { { hi = 31, lo = 31 }, { hi = 7, lo = 7 }, ... }
local function pieces(self, name, text)
  local list, width = {}, 0
  for part in text:gmatch "%S+" do
    local hi, lo = part:match "^(%d+):(%d+)$"
    hi = tonumber(hi or part)
    lo = tonumber(lo) or hi
    if not hi or hi < lo then refuse(self, "field %s: '%s' is no bit range", name, part) end
    list[#list + 1] = { hi = hi, lo = lo }
    width = width + hi - lo + 1
  end
  return list, width
end

local function add_field(self, name, row)
  if type(row) ~= "table" or type(row.bits) ~= "string" then refuse(self, "field %s: bits = \"11:7\" expected", name) end
  local list, width = pieces(self, name, row.bits)
  local file = row.regs and self.files[row.regs]
  if row.regs and not file then refuse(self, "field %s: no register file '%s'", name, row.regs) end
  self.fields[name] = {
    name = name, as = row.as or name, pieces = list, width = width, signed = row.signed or false, shift = row.shift or 0, add = row.add or 0,
    regs = row.regs, file = file, raw_bits = math.max(width, row.regs and 5 or 1), bits = file and file.bits or row.value or self.xlen,
  }
end

-- The widths and fields of a picture's parts, and the bits it has in all. A field that appears twice counts once.
local function measure(self, text)
  local parts, width, seen = {}, 0, {}
  for part in text:gmatch "%S+" do
    parts[#parts + 1] = part
    if part:match "^[01.]+$" then width = width + #part
    else
      local field = self.fields[part]
      if not field then refuse(self, "unknown field '%s' in \"%s\"", part, text) end
      if not seen[part] then seen[part], width = true, width + field.width end
    end
  end
  return parts, width
end

-- How many bits of `field` lie below and at `position`, one piece after another, of the pieces that are not used up.
local function run_of_pieces(field, position, used)
  local start = position
  local found
  repeat
    found = false
    for i, piece in ipairs(field.pieces) do
      if piece.hi == position and not used[i] then
        position, found, used[i] = piece.lo - 1, true, true
        break
      end
    end
  until not found
  return start - position
end

-- "imm_b rs2 rs1 000 imm_b 1100011" -> { mask, match, fixed = bits of mask, fields in the order of their first piece, width }
local function read_picture(self, text)
  local parts, width = measure(self, text)
  local row = { mask = 0, match = 0, fixed = 0, fields = {}, width = width }
  local position, placed, used = width - 1, {}, {}
  for _, part in ipairs(parts) do
    if part:match "^[01.]+$" then
      for digit in part:gmatch "." do
        if digit ~= "." then
          row.mask, row.fixed = row.mask + 2 ^ position, row.fixed + 1
          if digit == "1" then row.match = row.match + 2 ^ position end
        end
        position = position - 1
      end
    else
      local field = self.fields[part]
      if not placed[part] then
        row.fields[#row.fields + 1], placed[part], used[part] = field, 0, {}
      end
      local bits = run_of_pieces(field, position, used[part])
      if bits == 0 then refuse(self, "field %s has no piece at bit %d in \"%s\"", part, position, text) end
      position, placed[part] = position - bits, placed[part] + bits
    end
  end
  for _, field in ipairs(row.fields) do
    if placed[field.name] ~= field.width then refuse(self, "field %s is not placed whole in \"%s\"", field.name, text) end
  end
  if position ~= -1 or width % 8 ~= 0 then refuse(self, "\"%s\" has %d bits", text, width) end
  return row
end

local function extend(row, picture)
  for key, value in pairs(picture) do row[key] = value end
  return row
end

local function scope_of(self, fields)
  local scope = { XLEN = self.xlen, fields = {}, registers = self.registers, functions = self.functions }
  for _, field in ipairs(fields) do
    if scope.fields[field.as] then refuse(self, "two fields are called '%s'", field.as) end
    scope.fields[field.as] = field
  end
  return scope
end

-- Line and column in the file of line `row`, `column` of the text that ends at self.line (a meaning, or a condition). A text that is
-- not in the file as it stands was put together there: then only the line is known.
local function place(self, text, row, column)
  local lines, wanted, n = {}, nil, 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    n = n + 1
    if n == row then wanted = line end
  end
  local file = io.open(self.file)
  for line in file and file:lines() or function() end do lines[#lines + 1] = line end
  if file then file:close() end
  for at = self.line - n, self.line + n do
    local found = wanted:match "%S" and lines[at] and lines[at]:find(wanted, 1, true)
    if found then return ("%d:%d"):format(at, found + column - 1) end
  end
  return tostring(self.line)
end

local function compile(self, what, text, scope)
  local ok, result = pcall(lang[what], text, scope)
  if ok then return result end
  if type(result) ~= "table" then error(result, 0) end
  error(("%s:%s: %s"):format(self.file, place(self, text, result.line, result.column), result.text), 0)
end

-- Slots of a decoded instruction: a, b, c, d (bytes) and imm (32 bits), by use. Register numbers that are written have a
-- slot where 0 may be mapped away; all else is plain.
local function place_slots(self, insn)
  local m, slots, bytes = insn.meaning, {}, { "a", "b", "c", "d" }
  local function byte(what)
    local slot = table.remove(bytes, 1)
    if not slot then refuse(self, "%s: more than four small fields", insn.name) end
    slots[what] = slot
  end
  local wide
  for _, field in ipairs(insn.fields) do
    local name = field.as
    if m.writes[name] then byte(name .. ">") end
  end
  for _, field in ipairs(insn.fields) do
    local name = field.as
    local used = m.reads[name] or m.raws[name] and not m.writes[name]
    if used and (field.regs or field.width <= 5 and not field.signed and field.shift == 0 and #bytes > 0) then byte(name)
    elseif used then
      if wide then refuse(self, "%s: both %s and %s want the wide slot", insn.name, wide, name) end
      wide, slots[name] = name, "imm"
    end
  end
  if m.effects.pc and not m.effects.direct then byte "pc" end
  if m.effects.next then byte "next" end
  insn.slots = slots
end

local function add_insn(self, name, picture, operands, text)
  if self.by_name[name] then refuse(self, "instruction %s is there twice (first at line %d)", name, self.by_name[name].line) end
  local insn = { name = name, picture = picture, operands = operands, text = text, extension = self.extension, line = self.line, index = #self.insns + 1 }
  extend(insn, read_picture(self, picture))
  insn.scope = scope_of(self, insn.fields)
  insn.meaning = compile(self, "compile", text, insn.scope)
  place_slots(self, insn)
  self.insns[#self.insns + 1], self.by_name[name] = insn, insn
  return insn
end

-- short: another encoding of an instruction that exists; "addi rd=rdc rs1=2 imm=u_4spn" says which field feeds which.
local function add_short(self, name, picture, operands, expansion)
  local short = { name = name, picture = picture, operands = operands, extension = self.extension, line = self.line, feeds = {}, index = #self.shorts + 1 }
  extend(short, read_picture(self, picture))
  local target, rest = expansion:match "^(%S+)%s*(.*)$"
  short.target = self.by_name[target] or refuse(self, "%s: no instruction '%s'", name, tostring(target))
  short.scope = scope_of(self, short.fields)
  for to, from in rest:gmatch "(%S+)=(%S+)" do
    if not short.target.scope.fields[to] then refuse(self, "%s: %s has no field '%s'", name, target, to) end
    local field = short.scope.fields[from]
    if not field and not tonumber(from) then refuse(self, "%s: no field '%s'", name, from) end
    short.feeds[to] = field or tonumber(from)
  end
  for _, field in ipairs(short.target.fields) do
    if not short.feeds[field.as] then refuse(self, "%s: %s=? is missing for %s", name, field.as, target) end
  end
  self.shorts[#self.shorts + 1], self.short_by_name[name] = short, short
  return short
end

local Row = {}
Row.__index = Row
function Row:where(condition)                -- the encoding is valid only where this holds for the field numbers
  local row = self.row
  self.description.line = row.line
  row.where = compile(self.description, "condition", condition, row.scope)
  return self
end

-- A row of an extension that was not asked for.
local Left = {}
Left.__index = Left
function Left:where() return self end

local function environment(self)
  local env = {}
  local function at_line(f)
    return function(...)
      local level = 2
      repeat
        local info = debug.getinfo(level, "Sl")
        if info and info.source == "@" .. self.file then self.line = info.currentline break end
        level = level + 1
      until not info
      return f(...)
    end
  end
  local function row(adder)
    return at_line(function(name)
      return function(picture)
        return function(operands)
          return at_line(function(text)
            if self.only and not self.only[self.extension] then return setmetatable({}, Left) end
            return setmetatable({ description = self, row = adder(self, name, picture, operands, text) }, Row)
          end)
        end
      end
    end)
  end
  env.file = function(name)
    return at_line(function(r)
      self.files[name] = { name = name, count = r.count, bits = r.bits or self.xlen, zero = r.zero, names = r.names }
    end)
  end
  env.register = function(name) return at_line(function(r) self.registers[name] = { name = name, bits = r.bits or self.xlen } end) end
  env.field = function(name) return at_line(function(r) add_field(self, name, r) end) end
  env.extension = function(name)
    self.extension = name
    if self.extension_bits[name] then return end
    self.extensions[#self.extensions + 1] = name
    self.extension_bits[name] = #self.extensions - 1
  end
  -- func "name" "64 64 -> 64" { kind = "pure"|"fp"|"state", c = "c_function" }
  function env.func(name)
    return function(signature)
      return at_line(function(r)
        local inputs, outputs = signature:match "^(.-)%s*%->%s*(.*)$"
        if not inputs then refuse(self, "func %s: \"64 64 -> 64\" expected", name) end
        local function widths(text)
          local list = {}
          for w in text:gmatch "%S+" do list[#list + 1] = w == "XLEN" and self.xlen or tonumber(w) or refuse(self, "func %s: '%s' is no width", name, w) end
          return list
        end
        local results = widths(outputs)
        local f = { name = name, args = widths(inputs), bits = results[1] or 0, results = #results > 1 and results or nil }
        for key, value in pairs(r) do f[key] = value end
        f.kind = f.kind or "pure"
        self.functions[name] = f
      end)
    end
  end
  function env.keys(r) self.keys = r end
  env.insn, env.short = row(add_insn), row(add_short)
  env.XLEN, env.ipairs, env.string = self.xlen, ipairs, string
  function env.include(file) self:read(self.folder .. file) end
  return env
end

function Description:read(path)
  local chunk, message = loadfile(path)
  if not chunk then fault.raise("%s", message) end
  local saved = self.file
  self.file = path
  setfenv(chunk, self.env)
  chunk()
  self.file = saved
end

-- Reads the description at `path` (a Lua file). options: xlen = 32 or 64 (default); only = { "i", "m" }, the extensions whose
-- rows are wanted (default: all). Returns the description:
--   xlen, files, registers, fields, functions, extensions (in order), insns, shorts, by_name, short_by_name, keys
function isa.load(path, options)
  local self = setmetatable({
    path = path, folder = path:match "^(.*/)" or "", xlen = options and options.xlen or 64, files = {}, registers = {}, fields = {}, functions = {},
    extensions = {}, extension_bits = {}, insns = {}, shorts = {}, by_name = {}, short_by_name = {}, line = 0, keys = {},
  }, Description)
  for _, name in ipairs(options and options.only or {}) do
    self.only = self.only or {}
    self.only[name] = true
  end
  self.env = environment(self)
  local ok, message = pcall(self.read, self, path)
  if not ok then error(message, 0) end                     -- its place is the description's
  return self
end

return isa
