-- gen_riscv: prints the C of the RISC-V hart from lua/isa/riscv: op numbers, decoder, disassembly tables, tier-0 handlers, lift.
-- SPDX-License-Identifier: MIT
-- Usage: luajit lua/tools/gen_riscv.lua OUTDIR
local root = arg[0]:match "^(.*)lua/tools/" or ""
package.path = root .. "lua/?.lua;" .. package.path
local isa = require "umbra.isa"
local emit_c = require "umbra.isa.emit_c"
local decoder = require "umbra.isa.decoder"
local lift = require "umbra.isa.lift"

local outdir = arg[1] or error "usage: gen_riscv.lua OUTDIR"
local description = isa.load(root .. "lua/isa/riscv/riscv.lua")
decoder.number(description)

local function writer(name)
  local lines = {}
  local function out(format, ...) lines[#lines + 1] = select("#", ...) > 0 and format:format(...) or format end
  local function close()
    local file = assert(io.open(outdir .. "/" .. name, "w"))
    file:write(table.concat(lines, "\n"), "\n")
    file:close()
  end
  return out, close
end

local symbol, cname = decoder.symbol, emit_c.cname
local insns, shorts = description.insns, description.shorts

-- riscv_ops.h -------------------------------------------------------------------------------------
do
  local out, close = writer "riscv_ops.h"
  out "// Generated from lua/isa/riscv: op and extension numbers.\n#pragma once\n"
  out "enum {\n  OP_ILLEGAL,"
  for _, insn in ipairs(insns) do out("  OP_%s,", cname(insn.name)) end
  out "  OPS,          // instructions; what follows is the block builder's own"
  out "  OP_NEXT = OPS, OP_NEXT_FAR, OP_HOOK, OP_RING, OP_HEAT, OP_BAD, OP_DATA,\n  OPS_ALL\n};\n"
  out("enum { ENCODINGS = %d };\n", #insns + #shorts + 1)
  out "enum {"
  for i, name in ipairs(description.extensions) do out("  EXT_%s = %d,", symbol(name):upper(), i - 1) end
  out "};\n"
  out("#define EXTENSION_NAMES \"%s\"", table.concat(description.extensions, " "))
  close()
end

-- riscv_decode.c ----------------------------------------------------------------------------------
local function source_slots(insn)
  local list = {}
  for _, name in ipairs(emit_c.sources(insn)) do list[#list + 1] = { slot = insn.slots[name], file = insn.scope.fields[name].regs } end
  return list
end

local slot_index = { a = 0, b = 1, c = 2, d = 3 }

local SHOWN = { csr = "C", rm = "R", pred = "F", succ = "F" }

-- "rd, imm(rs1)" with every field replaced by \1, how it is shown, and its id + 1. " rm?" is left out when it is 0 and follows
-- after a comma when it is not: \2 instead of \1.
local function template(row, field_ids)
  local direct = (row.target or row).meaning.effects.direct
  local function mark(code, name)
    local field = row.scope.fields[name]
    if not field then return end
    local kind = field.regs or SHOWN[field.name] or field.shift == 12 and "U" or direct and "T" or "D"
    return ("\\%d%s\\x%02x\" \""):format(code, kind, field_ids[field.name] + 1)
  end
  local text = row.operands:gsub("[%a_][%w_']*%f[^%w_'?]", function(name) return mark(1, name) end)
  return (text:gsub("%s*([%a_][%w_']*)%?", function(name) return mark(2, name) end))
end

do
  local out, close = writer "riscv_decode.c"
  out "// Generated from lua/isa/riscv: decoder and disassembly tables.\n"
  out '#include "cpu/riscv/decode.h"\n'
  out "static inline int32_t sink(int32_t number) { return number ? number : 32; }\n"
  local names = decoder.field_functions(description, out)
  out ""
  decoder.decode_function(description, 32, out, "riscv")
  decoder.decode_function(description, 16, out, "riscv")
  out "unsigned riscv_decode(uint32_t word, uint64_t extensions, Decoded *d)\n{"
  out "  if ((word & 3) == 3) return d->length = 4, riscv_decode32(word, extensions, d);"
  out "  return d->length = 2, riscv_decode16(word & 0xffff, extensions, d);\n}\n"
  out "int32_t riscv_field(unsigned id, uint32_t word)\n{\n  switch (id) {"
  local ids = {}
  for i, name in ipairs(names) do
    ids[name] = i
    out("  case %d: return field_%s(word);", i, symbol(name))
  end
  out "  }\n  return 0;\n}\n"
  out "const OpInfo riscv_ops[OPS_ALL] = {"
  for _, insn in ipairs(insns) do
    local effects, flags = insn.meaning.effects, {}
    local kind = emit_c.kind(insn)
    if effects.direct then flags[#flags + 1] = "OPF_DIRECT" end
    if effects.direct and insn.meaning.body[1].op ~= "if" or effects.indirect then flags[#flags + 1] = "OPF_ENDS" end
    if kind == "state" then flags[#flags + 1] = "OPF_STATE" end
    for _, s in ipairs(insn.meaning.body) do
      if s.op == "effect" and s.value.f and s.value.f.ends then flags[#flags + 1] = "OPF_ENDS" break end
    end
    local name, field = emit_c.destination(insn)
    local sources = source_slots(insn)
    local function source(i) return sources[i] and ("%d, '%s'"):format(slot_index[sources[i].slot], sources[i].file) or "0, 0" end
    out("  [OP_%s] = { \"%s\", %s, %d, %d, %s, { %s }, { { %s }, { %s }, { %s } }, %d, %d },", cname(insn.name), insn.name,
      #flags > 0 and table.concat(flags, " | ") or "0", effects.memory or 0, emit_c.width(insn), #sources,
      name and ("%d, '%s'"):format(slot_index[insn.slots[name .. ">"]], field.regs) or "0, 0", source(1), source(2), source(3),
      insn.slots.pc and slot_index[insn.slots.pc] + 1 or 0, insn.slots.next and slot_index[insn.slots.next] + 1 or 0)
  end
  out "  [OP_NEXT] = { .name = \"next\", .flags = OPF_DIRECT | OPF_ENDS, .width = 2 },"
  out "  [OP_NEXT_FAR] = { .name = \"next far\", .flags = OPF_DIRECT | OPF_ENDS, .width = 2 },"
  out "  [OP_HOOK] = { .name = \"hook\", .width = 1 },\n  [OP_RING] = { .name = \"ring\", .width = 1 },\n  [OP_HEAT] = { .name = \"heat\", .width = 1 },"
  out "  [OP_BAD] = { .name = \"bad\", .flags = OPF_ENDS, .width = 1 },"
  out "  [OP_DATA] = { .name = \"data\", .width = 1 },\n};\n"
  out "const Encoding riscv_encodings[ENCODINGS] = {"
  for _, list in ipairs { insns, shorts } do
    for _, row in ipairs(list) do
      local ordered = row.scope.fields.aq and row.scope.fields.rl and "true" or "false"
      out("  [%d] = { OP_%s, \"%s\", \"%s\", %s },", row.encoding, cname((row.target or row).name), row.name, template(row, ids), ordered)
    end
  end
  out "};"
  close()
end

-- riscv_handlers.h --------------------------------------------------------------------------------
local function read_fusion()
  local chunk = loadfile(root .. "lua/isa/riscv/fusion.lua")
  return chunk and chunk() or {}
end

-- "slli add:10.1": names, and for every item after the first one link a source and, after the dot, what it overwrites.
local function parse_pattern(text)
  local items = {}
  for word in text:gmatch "%S+" do
    local name, digits, over = word:match "^([^:]+):(%d*)%.(%d)$"
    local insn = description.by_name[name or word] or error("fusion: no instruction " .. word)
    local item = { insn = insn, links = {}, digits = {}, over = tonumber(over) or 0 }
    for i, source in ipairs(emit_c.sources(insn)) do
      local digit = tonumber((digits or ""):sub(i, i)) or 0
      item.links[source], item.digits[i] = digit, digit
    end
    items[#items + 1] = item
  end
  return items
end

do
  local out, close = writer "riscv_handlers.h"
  out "// Generated from lua/isa/riscv: tier-0 handlers; included by cpu/riscv/tier0.c, which defines the macros.\n"
  for _, insn in ipairs(insns) do
    if emit_c.needs_slow(insn) then out("SLOW_HANDLER(%s);", cname(insn.name)) end
  end
  out ""
  local function body(head, lines)
    out("%s\n{", head)
    for _, line in ipairs(lines) do out("%s", line) end
    out "}\n"
  end
  for _, insn in ipairs(insns) do
    local name = cname(insn.name)
    body(("HANDLER(%s)"):format(name), emit_c.single(insn, description.xlen))
    if emit_c.needs_slow(insn) then body(("SLOW_HANDLER(%s)"):format(name), emit_c.single(insn, description.xlen, { slow = true })) end
    if insn.meaning.effects.direct then body(("HANDLER(%s__far)"):format(name), emit_c.single(insn, description.xlen, { far = true })) end
  end
  local patterns, keys = read_fusion(), {}
  for i, text in ipairs(patterns) do
    local items = parse_pattern(text)
    out("// %s", text)
    body(("HANDLER(fused_%d)"):format(i), emit_c.sequence(items, description.xlen))
    local ops, digits = {}, {}
    for j, item in ipairs(items) do
      ops[j] = "OP_" .. cname(item.insn.name)
      if j > 1 then digits[j - 1] = ("FUSE_LINKS(%d, %d, %d, %d)"):format(item.digits[1] or 0, item.digits[2] or 0, item.digits[3] or 0, item.over) end
    end
    keys[i] = ("{ FUSE_KEY(%s, %s, %s, %s, %s), op_fused_%d }"):format(ops[1], ops[2], ops[3] or "0", digits[1], digits[2] or "0", i)
  end
  out "static Handler *const handlers[OPS_ALL] = {\n  [OP_ILLEGAL] = op_BAD,"
  for _, insn in ipairs(insns) do out("  [OP_%s] = op_%s,", cname(insn.name), cname(insn.name)) end
  out "  [OP_NEXT] = op_NEXT, [OP_NEXT_FAR] = op_NEXT_FAR, [OP_HOOK] = op_HOOK, [OP_RING] = op_RING, [OP_HEAT] = op_HEAT, [OP_BAD] = op_BAD,\n};\n"
  out "static Handler *const far_handlers[OPS] = {"
  for _, insn in ipairs(insns) do
    if insn.meaning.effects.direct then out("  [OP_%s] = op_%s__far,", cname(insn.name), cname(insn.name)) end
  end
  out "};\n"
  out("enum { FUSED = %d };\nstatic const Fused fused[FUSED + 1] = {", #patterns)
  for _, key in ipairs(keys) do out("  %s,", key) end
  out "  { 0, 0 },\n};"
  close()
end

-- riscv_lift.h ------------------------------------------------------------------------------------
do
  local out, close = writer "riscv_lift.h"
  lift.print(description, out)
  close()
end
