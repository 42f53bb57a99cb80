-- decoder: prints a C decoder, operand tables and disassembly templates from a description.
-- SPDX-License-Identifier: MIT
local emit_c = require "umbra.isa.emit_c"

local decoder = {}

local function symbol(name) return (name:gsub("'", "p"):gsub("[^%w]", "_")) end

local function has_bit(mask, bit) return math.floor(mask / 2 ^ bit) % 2 == 1 end

local function hex(value) return ("0x%08xu"):format(value) end

-- static inline int32_t field_NAME(uint32_t word)
function decoder.field_functions(description, out)
  local names = {}
  for name in pairs(description.fields) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local field = description.fields[name]
    local parts, at = {}, field.width
    for _, piece in ipairs(field.pieces) do
      local width = piece.hi - piece.lo + 1
      at = at - width
      parts[#parts + 1] = ("(word >> %d & 0x%xu) << %d"):format(piece.lo, 2 ^ width - 1, at + field.shift)
    end
    local value = table.concat(parts, " | ")
    local extent = field.width + field.shift
    if field.signed then value = ("(int32_t)((%s) << %d) >> %d"):format(value, 32 - extent, 32 - extent) end
    if field.add ~= 0 then value = ("(%s) + %d"):format(value, field.add) end
    out("static inline int32_t field_%s(uint32_t word) { return (int32_t)(%s); }", symbol(name), value)
  end
  return names
end

-- Assignments that fill the slots of `insn` from fields (its own, or those a short encoding feeds).
local function fill(insn, feeds)
  local list, names = {}, {}
  for what in pairs(insn.slots) do names[#names + 1] = what end
  table.sort(names)
  for _, what in ipairs(names) do
    local slot = insn.slots[what]
    if what ~= "pc" and what ~= "next" then
      local name = what:gsub(">$", "")
      local source = feeds and feeds[name] or insn.scope.fields[name]
      local value = type(source) == "number" and tostring(source) or ("field_%s(word)"):format(symbol(source.name))
      local field = insn.scope.fields[name]
      if what:match ">$" and field.file.zero then
        value = type(source) == "number" and tostring(source == 0 and field.file.count or source) or ("sink(%s)"):format(value)
      end
      list[#list + 1] = ("d->%s = %s%s;"):format(slot, slot == "imm" and "" or "(uint8_t)", value)
    end
  end
  return table.concat(list, " ")
end

local function key_bits(text)
  local bits = {}
  for part in text:gmatch "%S+" do
    local hi, lo = part:match "^(%d+):?(%d*)$"
    for bit = tonumber(hi), tonumber(lo ~= "" and lo or hi), -1 do bits[#bits + 1] = bit end
  end
  return bits                                          -- most significant first
end

local function candidates(rows, bits, key)
  local list = {}
  for _, row in ipairs(rows) do
    local fits = true
    for i, bit in ipairs(bits) do
      local want = math.floor(key / 2 ^ (#bits - i)) % 2 == 1
      if has_bit(row.mask, bit) and has_bit(row.match, bit) ~= want then fits = false break end
    end
    if fits then list[#list + 1] = row end
  end
  return list
end

local function specificity(mask)
  local n = 0
  for bit = 0, 31 do if has_bit(mask, bit) then n = n + 1 end end
  return n
end

-- unsigned PREFIX_decodeN(uint32_t word, uint64_t extensions, Decoded *d): returns the encoding's index, 0 for none.
function decoder.decode_function(description, width, out, prefix)
  local rows = {}
  for _, list in ipairs { description.insns, description.shorts } do
    for _, row in ipairs(list) do
      if row.width == width then rows[#rows + 1] = row end
    end
  end
  table.sort(rows, function(a, b)
    local sa, sb = specificity(a.mask), specificity(b.mask)
    if sa ~= sb then return sa > sb end
    return a.encoding < b.encoding
  end)
  local bits = key_bits(description.keys[width] or "")
  out("static unsigned %s_decode%d(uint32_t word, uint64_t extensions, Decoded *d)\n{", prefix, width)
  local terms = {}
  for i, bit in ipairs(bits) do terms[i] = ("(word >> %d & 1) << %d"):format(bit, #bits - i) end
  out("  switch (%s) {", #terms > 0 and table.concat(terms, " | ") or "0")
  local groups, order = {}, {}
  for key = 0, 2 ^ #bits - 1 do
    local list = candidates(rows, bits, key)
    local id = {}
    for i, row in ipairs(list) do id[i] = row.encoding end
    id = table.concat(id, ",")
    if id ~= "" then
      if not groups[id] then groups[id] = { keys = {}, rows = list } order[#order + 1] = groups[id] end
      table.insert(groups[id].keys, key)
    end
  end
  for _, group in ipairs(order) do
    local labels = {}
    for i, key in ipairs(group.keys) do labels[i] = ("case %d:"):format(key) end
    out("  %s", table.concat(labels, " "))
    for _, row in ipairs(group.rows) do
      local insn = row.target or row
      local conditions = { ("(word & %s) == %s"):format(hex(row.mask), hex(row.match)) }
      local needs = { [row.extension] = true, [insn.extension] = true }
      for _, name in ipairs(description.extensions) do
        if needs[name] then conditions[#conditions + 1] = ("(extensions >> EXT_%s & 1)"):format(symbol(name):upper()) end
      end
      if row.where then conditions[#conditions + 1] = emit_c.condition(row.where) end
      out("    if (%s) { %s return %d; }", table.concat(conditions, " && "), fill(insn, row.feeds), row.encoding)
    end
    out "    break;"
  end
  out "  }\n  return 0;\n}\n"
end

-- Gives every insn an op number (from 1) and every encoding (insns, then shorts) an index (from 1).
function decoder.number(description)
  for i, insn in ipairs(description.insns) do insn.op, insn.encoding = i, i end
  for i, short in ipairs(description.shorts) do short.encoding = #description.insns + i end
end

decoder.symbol = symbol
return decoder
