-- assembly: one text on its way to bytes: sections, symbols, and the items in them.
-- SPDX-License-Identifier: MIT
--
-- The text is read once, into items (an instruction, data, a label, ...). Then the items are laid out again and again until no
-- address changes: an item that depends on labels begins small and only grows, so this comes to an end. What is encoded in the last
-- pass has its final address.
local cpu         = require "umbra.cpu"
local encode      = require "umbra.isa.encode"
local expression  = require "umbra.asm.expression"
local description = require "umbra.asm.description"
local number      = require "umbra.asm.number"
local operands    = require "umbra.asm.operands"
local parse       = require "umbra.asm.parse"
local pseudo      = require "umbra.asm.pseudo"
local registers   = require "umbra.asm.registers"
local schema      = require "umbra.schema"
local source      = require "umbra.asm.source"

local Assembly = {}
Assembly.__index = Assembly
Assembly.suggest = schema.suggest

local MOST_PASSES = 100
local MOST_BYTES = 2 ^ 26

-- Mnemonics -> { row, aq =, rl = }.
local mnemonics, mnemonic_names = {}, {}
for _, list in ipairs { description.insns, description.shorts } do
  for _, row in ipairs(list) do
    mnemonics[row.name] = { row = row }
    mnemonic_names[#mnemonic_names + 1] = row.name
    if row.scope.fields.aq and row.scope.fields.rl then
      mnemonics[row.name .. ".aq"], mnemonics[row.name .. ".rl"] = { row = row, aq = 1 }, { row = row, rl = 1 }
      mnemonics[row.name .. ".aqrl"] = { row = row, aq = 1, rl = 1 }
    end
  end
end

-- raise(text) takes what is wrong, as "line:column: text".
function Assembly.new(text, options, raise)
  local self = setmetatable({
    raise = raise, at = options.at, isa = options.isa, items = {}, sections = {}, symbols = {}, symbol_names = {}, globals = {},
    near = {}, uppers = {}, rvc = false, options = {}, conditions = {}, pc = 0, final = false,
  }, Assembly)
  if options.isa then
    self.extensions = { s = true, u = true }
    for _, name in ipairs(cpu.parse_isa(options.isa)) do self.extensions[name] = true end
  end
  local clean, where = parse.without_blocks(text)
  if not clean then
    local before = text:sub(1, where - 1)
    raise(("%d:%d: a /* comment that does not end"):format(select(2, before:gsub("\n", "")) + 1, #before:match "[^\n]*$" + 1))
  end
  self.source = source.new(clean, function(line, at, ...)
    self.line = line
    self:fail(at, ...)
  end)
  self:enter(".text")
  return self
end

-- Refuses at column `at` of the current line.
function Assembly:fail(at, format, ...)
  local text, origin = format:format(...), self.line.origin
  if origin then text = ("%s (in macro %s, line %d)"):format(text, origin.name, self.line.number) end
  local place = origin or self.line
  self.raise(("%d:%d: %s"):format(place.number, origin and origin.at or at, text))
end

-- Symbols ------------------------------------------------------------------------------------------------------------------

function Assembly:symbol(name)
  local symbol = self.symbols[name]
  if not symbol then
    symbol = { name = name }
    self.symbols[name] = symbol
    self.symbol_names[#self.symbol_names + 1] = name
  end
  return symbol
end

-- For umbra.asm.expression: the value of a symbol node, nil while it is not known.
function Assembly:value_of(node)
  local symbol = self.symbols[node.name]
  if symbol and symbol.value ~= nil then return symbol.value, symbol.relative end
  if not self.final then return end
  if symbol and symbol.kind then self:fail(node.at, "`%s` depends on itself", node.name) end
  if node.op == "near" then
    self:fail(node.at, "no label %s: %s this line", node.number, node.way == "f" and "below" or "above")
  end
  if registers.find(node.name) then self:fail(node.at, "register `%s` where a number or a symbol is expected", node.name) end
  local names = {}
  for _, name in ipairs(self.symbol_names) do
    if self.symbols[name].kind and name:sub(1, 1) ~= "\1" then names[#names + 1] = name end
  end
  local close = schema.nearest(node.name, names)
  self:fail(node.at, "unknown symbol `%s`%s", node.name, close and (", did you mean `%s`?"):format(close) or "")
end

-- The symbol that 1b or 1f mean here.
function Assembly:nearest(node)
  local count = self.near[node.number] or 0
  return ("\1%s:%d"):format(node.number, node.way == "b" and count or count + 1)
end

-- Whether `name` has been defined so far.
function Assembly:is_known(name)
  local symbol = self.symbols[name]
  return symbol ~= nil and symbol.kind ~= nil
end

local function has_here(node)
  if node.op == "here" or node.op == "modifier" then return true end
  for _, key in ipairs { "value", "left", "right" } do
    if type(node[key]) == "table" and has_here(node[key]) then return true end
  end
  return false
end

-- The value of `node` when it is known while the text is read, and no address is in it.
function Assembly:constant(node)
  if node.op == "number" and node.value then return node.value end
  local value, relative = expression.evaluate(node, self)              -- also where 1b and 1f find their labels
  if relative == 0 and not has_here(node) then return value end
end


-- The value of `node`, which must be known here: for directives that steer how the text is read.
function Assembly:must(node, what)
  local value = self:constant(node)
  if type(value) ~= "number" then self:fail(node.at, "%s must be a number that is known here", what) end
  return value
end

function Assembly:define_label(at, name)
  if name:find "^%d" then
    self.near[name] = (self.near[name] or 0) + 1
    name = ("\1%s:%d"):format(name, self.near[name])
  end
  local symbol = self:symbol(name)
  if symbol.kind then self:fail(at, "`%s` is there already, since line %d", name, symbol.line) end
  symbol.kind, symbol.line, symbol.section = "label", (self.line.origin or self.line).number, self.section
  self:add { kind = "label", symbol = symbol, size = 0 }
end

-- name = node. With `once` it may not be defined already.
function Assembly:define(at, name, node, once)
  if name == "." then return self:add { kind = "org", node = node, size = 0 } end
  local symbol = self:symbol(name)
  if symbol.kind == "label" or symbol.kind and once then self:fail(at, "`%s` is there already, since line %d", name, symbol.line) end
  symbol.kind, symbol.line = "value", (self.line.origin or self.line).number
  local value = self:constant(node)
  symbol.value, symbol.relative = value, 0
  self:add { kind = "value", symbol = symbol, node = node, value = value, size = 0 }
end

-- Sections -----------------------------------------------------------------------------------------------------------------

local KINDS = { { "^%.text", "ax" }, { "^%.rodata", "a" }, { "^%.srodata", "a" }, { "^%.s?data", "aw" }, { "^%.s?bss", "awz" }, { "^%.init$", "ax" } }
local RANK = { ax = 1, awx = 1, a = 2, aw = 3, awz = 4 }

-- Makes `name` the current section. flags: "a", "ax", "aw", "awx", "awz" (without bytes); nil: by its name.
function Assembly:enter(name, flags, at)
  local section = self.sections[name]
  if not section then
    for _, row in ipairs(flags and {} or KINDS) do
      if name:find(row[1]) then flags = row[2] end
    end
    if not flags then self:fail(at, "section `%s` is no known one: its flags are missing, like \"ax\" for code or \"aw\" for data", name) end
    section = { name = name, flags = flags, rank = RANK[flags], index = #self.sections + 1, align = RANK[flags] == 1 and 4 or 8, offset = 0, at = 0 }
    self.sections[name] = section
    self.sections[section.index] = section
  elseif flags and flags ~= section.flags then
    self:fail(at, "section `%s` has the flags \"%s\" already", name, section.flags)
  end
  self.section = section
end

-- Items --------------------------------------------------------------------------------------------------------------------

local WITHOUT_BYTES = { label = true, value = true, extent = true, org = true, align = true, space = true }

function Assembly:add(item)
  item.line, item.section, item.statement = self.line, self.section, self.statement
  if self.section.flags == "awz" and not WITHOUT_BYTES[item.kind] then
    self:fail(self.statement.at, "section `%s` has no bytes, only .space and labels", self.section.name)
  end
  self.items[#self.items + 1] = item
end

function Assembly:expect(name, at, list, count, spoken)
  if #list ~= count then
    self:fail(at, "%s: %d operand%s expected (%s), not %d", name, count, count == 1 and " is" or "s are", spoken, #list)
  end
end

-- Whether `name` is an instruction, and one of the instruction set asked for.
function Assembly.is_insn(_, name) return mnemonics[name] ~= nil end
function Assembly:has_insn(name)
  local row = mnemonics[name] and mnemonics[name].row
  return row ~= nil and (not self.extensions or self.extensions[row.extension] and self.extensions[(row.target or row).extension] or false)
end

-- Short forms that do nothing, or nothing that is asked for, are hints, and are not chosen.
local MAY_BE_ZERO = { ["c.li"] = "i_ci", ["c.andi"] = "i_ci", ["c.addiw"] = "i_ci", ["c.nop"] = "i_ci" }
local function is_no_hint(short, values)
  if values.rd == 0 then return false end
  if short.name == "c.nop" then return values.i_ci == 0 end
  for _, field in ipairs { "i_ci", "u_sh" } do
    if values[field] == 0 and MAY_BE_ZERO[short.name] ~= field then return false end
  end
  return true
end

-- The word of an instruction whose numbers are known, and its bytes. `whole`: not in short form.
function Assembly:encode(row, values, whole)
  if not whole then
    local word = encode.shorten(description, row, values, is_no_hint)
    if word then return word, 2 end
  end
  local word, problem = encode.make(row, values)
  if not word then
    assert(problem == "where", problem)        -- operands.bind has looked at everything else
    self:fail(self.statement.at, "%s: only where %s", row.name, (encode.condition(row.where):gsub("%f[%w_][ui]_[%w_]+", "imm")))
  end
  return word, row.width / 8
end

-- Adds the instruction `name` (its mnemonic at column `at`) with operands as trees.
function Assembly:add_insn(name, at, list)
  local found = mnemonics[name]
  local row = found.row
  if not self:has_insn(row.name) then
    local base = row.target or row
    local wanted = self.extensions[row.extension] and base.extension or row.extension
    self:fail(at, "%s needs the extension %s, which %s has not", name, wanted, self.isa)
  end
  local values, pending = operands.bind(self, row, at, list, { aq = found.aq, rl = found.rl })
  local whole = row.width == 16 or not self.rvc
  for _, p in ipairs(pending) do
    if expression.modified(p.node) then
      whole = true
      if p.node.name == "pcrel_hi" then self.has_uppers = true end
    end
  end
  if #pending == 0 then
    local word, size = self:encode(row, values, whole)
    self:add { kind = "word", word = word, size = size }
  else
    self:add { kind = "insn", row = row, values = values, pending = pending, whole = whole, size = whole and row.width / 8 or 2 }
  end
end

-- Adds what loads a number into the register `node`: for li.
function Assembly:add_constant(node, value)
  self:add { kind = "constant", register = node, node = value, value = self:constant(value), rvc = self.rvc, size = 0 }
  if self.items[#self.items].value then
    local item = self.items[#self.items]
    item.words = self:constant_words(item, item.value)
    item.size = item.bytes
  end
end

local function number_node(n, at) return { op = "number", value = n, at = at } end

-- The words that load `value`, as { word, bytes }; item.bytes becomes their bytes.
function Assembly:constant_words(item, value)
  local words, bytes, from = {}, 0, { op = "symbol", name = "zero", at = item.at }
  for i, step in ipairs(pseudo.load_constant(value)) do
    local row = mnemonics[step[1]].row
    local list = { item.register, from, number_node(step[2], item.at) }
    if step[1] == "lui" then table.remove(list, 2) end
    local word, size = self:encode(row, operands.bind(self, row, item.at, list, {}), not item.rvc)
    words[i] = { word, size }
    bytes, from = bytes + size, item.register
  end
  item.bytes = bytes
  return words
end

-- Reading ------------------------------------------------------------------------------------------------------------------

local directives                                     -- of umbra.asm.directive, which needs this module's methods only

function Assembly:operands(behind)
  local list, next_at, problem = parse.operands(self.line.text, behind)
  if not list then self:fail(next_at, "%s", problem) end
  return list, next_at
end

function Assembly:unknown(at, op)
  local names = {}
  for _, list in ipairs { mnemonic_names, pseudo.names(), self.source.names, op:sub(1, 1) == "." and directives.names or {} } do
    for _, name in ipairs(list) do names[#names + 1] = name end
  end
  local close = schema.nearest(op, names)
  self:fail(at, "unknown %s `%s`%s", op:sub(1, 1) == "." and "directive" or "instruction", op, close and (", did you mean `%s`?"):format(close) or "")
end

-- Reads the statement that begins at column `from`; returns where the next one begins.
function Assembly:read_statement(from)
  local text = self.line.text
  local labels, statement, behind = parse.head(text, from)
  self.statement = statement or { at = behind }
  for _, label in ipairs(labels) do self:define_label(label[1], label[2]) end
  if not statement then
    local next_at = parse.ends(text, behind)
    if not next_at then
      local at = behind
      self:fail(at, "a label, an instruction or a directive is expected, not `%s`", text:match("^[%w_.$]+", at) or text:sub(at, at))
    end
    return next_at
  end
  local op, at = statement.op, statement.at
  if statement.target then
    local list, next_at = self:operands(behind)
    if #list ~= 1 then self:fail(at, "%s = : one value is expected", statement.target) end
    self:define(at, statement.target, list[1])
    return next_at
  end
  if self.source.macros[op] then
    local arguments, next_at = parse.raw(text, behind)
    if next_at <= #text then self:fail(next_at, "macro `%s` must be the last of its line", op) end
    self.source:expand(op, arguments, self.line, at)
    return next_at
  end
  local directive = directives[op]
  if directive then return directive(self, at, behind, op) end
  local list, next_at = self:operands(behind)
  if not pseudo.expand(self, op, at, list) then
    if not mnemonics[op] then self:unknown(at, op) end
    self:add_insn(op, at, list)
  end
  return next_at
end

function Assembly:read()
  directives = directives or require "umbra.asm.directive"
  for line in function() return self.source:line() end do
    self.line = line
    local from, length = 1, #line.text
    while from <= length do
      from = self:read_statement(from)
      self.statement.behind = from
    end
  end
  if #self.conditions > 0 then
    self.line = self.conditions[#self.conditions].line
    self:fail(self.conditions[#self.conditions].at, ".if without its .endif")
  end
end

-- Layout -------------------------------------------------------------------------------------------------------------------

local resize = {}                                    -- kind -> function(self, item): the item's size at self.pc

function resize.label(self, item)
  local symbol = item.symbol
  if symbol.value ~= self.pc then symbol.value, self.changed = self.pc, true end
  symbol.relative = 1
  return 0
end

function resize.value(self, item)
  local symbol = item.symbol
  local value, relative = item.value, 0
  if value == nil then value, relative = expression.evaluate(item.node, self) end
  if item.last ~= value then item.last, self.changed = value, true end
  symbol.value, symbol.relative, symbol.section = value, relative, relative == 1 and item.section or nil
  return 0
end

function resize.insn(self, item)
  if self.has_uppers then
    for _, p in ipairs(item.pending) do
      if p.node.op == "modifier" and p.node.name == "pcrel_hi" then self.uppers[tostring(self.pc)] = p.node end
    end
  end
  if item.whole or item.size == 4 then return item.size end
  local values = {}
  for key, value in pairs(item.values) do values[key] = value end       -- keys only, the order does not show
  for _, p in ipairs(item.pending) do
    local value = expression.evaluate(p.node, self)
    if value == nil then return item.size end
    if p.kind == "target" then value = number.binary("-", value, self.pc) end
    values[p.field.as] = p.kind == "upper" and value * 4096 or value
  end
  return encode.shorten(description, item.row, values, is_no_hint) and 2 or 4
end

function resize.constant(self, item)
  if item.words then return item.size end
  local value = expression.evaluate(item.node, self)
  if value ~= nil then self:constant_words(item, value) end
  return math.max(item.size, item.bytes or 0)
end

function resize.align(self, item)
  local missing = number.bits(number.binary("-", 0, self.pc), 0, 32) % item.align
  return item.most and missing > item.most and 0 or missing
end

function resize.org(self, item)
  local value, relative = expression.evaluate(item.node, self)
  if value == nil then return 0 end
  if relative == 0 then value = number.binary("+", value, self.section.at) end
  local size = number.binary("-", value, self.pc)
  if self.final and size < 0 then self:fail(item.node.at, "%s is %s bytes behind here: .org goes forward only", number.show(value), number.show(-size)) end
  if size > MOST_BYTES then self:fail(item.node.at, "more than %d bytes", MOST_BYTES) end
  return math.max(0, tonumber(size))
end

function resize.space(self, item)
  local value = expression.evaluate(item.node, self)
  if value == nil then return 0 end
  if (value < 0 or value > MOST_BYTES) and self.final then self:fail(item.node.at, "%s bytes: 0 to %d are possible", number.show(value), MOST_BYTES) end
  return value < 0 and 0 or math.min(tonumber(value), MOST_BYTES)
end

-- Lays everything out once. Returns whether an address or a size changed.
function Assembly:pass(emit)
  self.changed = false
  for _, section in ipairs(self.sections) do section.offset = 0 end
  for _, item in ipairs(self.items) do
    local section = item.section
    self.line, self.section = item.line, section
    self.pc = number.binary("+", section.at, section.offset)
    local f = resize[item.kind]
    if f then
      local size = f(self, item)
      if size ~= item.size then item.size, self.changed = size, true end
    end
    if emit then emit(self, item) end
    section.offset = section.offset + item.size
    if section.offset > MOST_BYTES then self:fail(item.statement.at, "section `%s` has more than %d bytes", section.name, MOST_BYTES) end
  end
  return self.changed
end

-- Gives each section its address: code, constants, data, what has no bytes; in the order of appearance within these.
function Assembly:place()
  local order, moved = {}, false
  for i, section in ipairs(self.sections) do order[i] = section end
  table.sort(order, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.index < b.index
  end)
  local at = self.at
  for _, section in ipairs(order) do
    section.size = section.offset
    if section.size > 0 or #self.sections == 1 then
      at = number.binary("+", at, number.bits(number.binary("-", 0, at), 0, 32) % section.align)
    end
    if section.at ~= at then section.at, moved = at, true end
    at = number.binary("+", at, section.size)
  end
  self.order = order
  return moved
end

function Assembly:lay_out()
  for _ = 1, MOST_PASSES do
    local changed = self:pass()
    if not self:place() and not changed then return end
  end
  self.raise "1:1: addresses do not settle: a size depends on what it changes"
end

-- Bytes --------------------------------------------------------------------------------------------------------------------

local NOP, SHORT_NOP = "\19\0\0\0", "\1\0"
local emit = {}

function emit.word(_, item) return number.bytes(item.word, item.size) end

function emit.insn(self, item)
  local values = item.values
  for _, p in ipairs(item.pending) do
    values[p.field.as] = operands.settle(self, item.row, p.field, p.kind, p.node.at, (expression.evaluate(p.node, self)))
  end
  self.statement = { at = item.pending[1].node.at }
  local word, size = self:encode(item.row, values, item.whole or item.size == 4)
  return number.bytes(word, size)
end

local function nops(size, short)
  local odd = size % (short and 2 or 4)
  return ("\0"):rep(odd) .. ((size - odd) % 4 == 2 and SHORT_NOP or "") .. NOP:rep(math.floor((size - odd) / 4))
end

function emit.constant(self, item)
  local bytes = {}
  if not item.words then expression.evaluate(item.node, self) end
  for i, row in ipairs(item.words or self:constant_words(item, (expression.evaluate(item.node, self)))) do bytes[i] = number.bytes(row[1], row[2]) end
  bytes = table.concat(bytes)
  return bytes .. nops(item.size - #bytes, true)
end

function emit.bytes(_, item) return item.bytes end

function emit.data(self, item)
  local bytes = {}
  for i, node in ipairs(item.nodes) do
    local value = expression.evaluate(node, self)
    local limit = 2 ^ (8 * item.width - 1)
    if item.width < 8 and (value < -limit or value >= 2 * limit) then
      self:fail(node.at, "%s does not fit into %d byte%s: %s to %s", number.show(value), item.width, item.width == 1 and "" or "s", number.show(-limit),
        number.show(2 * limit - 1))
    end
    bytes[i] = number.bytes(value, item.width)
    self.pc = number.binary("+", self.pc, item.width)   -- `.` is where the number itself is
  end
  return table.concat(bytes)
end

function emit.align(_, item)
  if item.fill then return string.char(item.fill):rep(item.size) end
  return item.section.rank == 1 and nops(item.size, item.short) or ("\0"):rep(item.size)
end

function emit.space(_, item)
  if item.unit then return item.unit:rep(item.size / #item.unit) end
  return string.char(item.fill or 0):rep(item.size)
end
emit.org = emit.space

local CODE = { word = true, insn = true, constant = true }

local function emit_item(self, item)
  local f = emit[item.kind]
  if item.kind == "extent" then directives.extent(self, item) end
  if CODE[item.kind] and item.size % 4 == 2 then self.short = true end
  if not f or item.size == 0 then return end
  if CODE[item.kind] and number.bits(self.pc, 0, 1) == 1 then
    self:fail(item.statement.at, "an instruction at the odd address %s (.balign 2 before it)", number.show(self.pc))
  end
  local section = item.section
  if section.flags ~= "awz" then table.insert(section.bytes, f(self, item)) end
  local whole = item.line.origin
  table.insert(self.lines, {
    at = number.binary("+", section.at, section.offset), size = item.size, line = (whole or item.line).number, column = whole and 1 or item.statement.at,
    behind = not whole and item.statement.behind or nil, section = section.name, code = CODE[item.kind] or false,
  })
end

-- Encodes everything; sections get their bytes, self.lines what came from where.
function Assembly:emit()
  self.final, self.lines = true, {}
  for _, section in ipairs(self.sections) do section.bytes = {} end
  self:pass(emit_item)
  for _, section in ipairs(self.sections) do section.bytes = table.concat(section.bytes) end
end

return Assembly
