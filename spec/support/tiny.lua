-- tiny: makes a program from a description, with the same decoder and printers as a product's tier 0 and lift, and runs states
-- through it, by handlers or by evaluated IR.
-- SPDX-License-Identifier: MIT
local bit     = require "bit"
local clib    = require "umbra.clib"
local decoder = require "umbra.isa.decoder"
local emit_c  = require "umbra.isa.emit_c"
local lift    = require "umbra.isa.lift"
local tree    = require "spec.support.tree"
local wide    = require "umbra.isa.wide"

local tiny = {}

tiny.MEMORY = 1024

local BYTES = { uint32_t = 4, uint64_t = 8, u128 = 16, u256 = 32 }

local function sorted(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- The state's parts in the order they are read and written: { name, count, bytes, bits, zero = the register that reads 0 or nil }.
local function parts_of(description)
  local parts = {}
  for _, name in ipairs(sorted(description.files)) do
    local file = description.files[name]
    parts[#parts + 1] = { file = name, count = file.count, bits = file.bits, bytes = BYTES[emit_c.ctype(file.bits)], zero = file.zero }
  end
  for _, name in ipairs(sorted(description.registers)) do
    local bits = description.registers[name].bits
    parts[#parts + 1] = { register = name, count = 1, bits = bits, bytes = BYTES[emit_c.ctype(bits)] }
  end
  return parts
end

local function print_state(description, parts, out)
  out "struct State {"
  for _, part in ipairs(parts) do
    if part.file then out("  %s %s[%d];", emit_c.ctype(part.bits), part.file, part.count + 1)
    else out("  %s sreg_%s;", emit_c.ctype(part.bits), part.register) end
  end
  out "  uint64_t pc;\n  unsigned length;\n  uint8_t memory[MEMORY], rounding, flags;\n};"
  for _, part in ipairs(parts) do
    if part.file then
      out("#define REG_%s(n) s->%s[n]\n#define SET_%s(n, value) s->%s[n] = (value);", part.file, part.file, part.file, part.file)
    else out("#define SREG_%s s->sreg_%s\n#define SET_SREG_%s(value) s->sreg_%s = (value);", part.register, part.register, part.register, part.register) end
  end
  out("typedef uint%d_t XLEN_TYPE;\n#define XLEN_IR IR_I%d", description.xlen, description.xlen)
  for _, part in ipairs(parts) do
    local name = part.file or part.register
    if part.file then out("#define PLACE_%s offsetof(State, %s), sizeof(%s)", name, name, emit_c.ctype(part.bits))
    else out("#define PLACE_%s offsetof(State, sreg_%s), 0", name, name) end
  end
end

local function print_decoder(description, out)
  out "static inline int32_t sink(int32_t number) { return number ? number : 32; }\nenum {"
  for _, name in ipairs(description.extensions) do out("  EXT_%s,", decoder.symbol(name):upper()) end
  out "};"
  decoder.field_functions(description, out)
  decoder.decode_function(description, 32, out, "tiny")
  decoder.decode_function(description, 16, out, "tiny")
end

local function print_handlers(description, out)
  local function body(head, lines) out("%s\n{\n%s\n}\n", head, table.concat(lines, "\n")) end
  for _, insn in ipairs(description.insns) do
    local name = emit_c.cname(insn.name)
    if emit_c.needs_slow(insn) then body(("SLOW_HANDLER(%s)"):format(name), emit_c.single(insn, description.xlen, { slow = true })) end
    body(("HANDLER(%s)"):format(name), emit_c.single(insn, description.xlen))
  end
  local place = { a = 0, b = 1, c = 2, d = 3 }
  out "static const struct { Handler *fn; int8_t pc, next; } encodings[] = {\n  { NULL, -1, -1 },"
  for _, list in ipairs { description.insns, description.shorts } do
    for _, row in ipairs(list) do
      local insn = row.target or row
      out("  { op_%s, %d, %d },", emit_c.cname(insn.name), place[insn.slots.pc] or -1, place[insn.slots.next] or -1)
    end
  end
  out "};"
end

local function print_lift(description, out)
  lift.print(description, out)
  out "static const uint16_t ops[] = {\n  0,"
  for _, list in ipairs { description.insns, description.shorts } do
    for _, row in ipairs(list) do out("  %d,", (row.target or row).op) end
  end
  out "};\n#include \"tiny_lift.h\""
end

local function print_main(parts, out)
  for _, how in ipairs { { "read", "fread", "stdin" }, { "write", "fwrite", "stdout" } } do
    out("static bool %s_state(State *s)\n{\n  bool ok = true;", how[1])
    for _, part in ipairs(parts) do
      out("  ok = ok && %s(&s->%s%s, %d, 1, %s) == 1;", how[2], part.file and "" or "sreg_", part.file or part.register, part.count * part.bytes, how[3])
    end
    out("  return ok && %s(&s->pc, 8, 1, %s) == 1 && %s(s->memory, MEMORY, 1, %s) == 1;\n}\n", how[2], how[3], how[2], how[3])
  end
  out [[
int main(int argc, char **argv)
{
  uint64_t extensions = argc > 1 ? strtoull(argv[1], NULL, 16) : ~0ull;
  static State s;
  uint32_t word, length;
  while (fread(&word, 4, 1, stdin) == 1 && fread(&length, 4, 1, stdin) == 1 && read_state(&s)) {
    Decoded d = { 0 };
    uint32_t encoding = length == 4 ? tiny_decode32(word, extensions, &d) : tiny_decode16(word, extensions, &d);
    s.length = length;
    uint8_t *slots[] = { &d.a, &d.b, &d.c, &d.d };
    if (encodings[encoding].next >= 0) *slots[encodings[encoding].next] = (uint8_t)(length / 2);
    if (encoding && argc > 2) evaluate(ops[encoding], &d, &s);
    else if (encoding) encodings[encoding].fn(&d, &s, s.pc);
    if (fwrite(&encoding, 4, 1, stdout) != 1 || !write_state(&s)) return 1;
  }
  return 0;
}]]
end

local Tiny = {}
Tiny.__index = Tiny

-- Builds the program of a description; `c` is the C of its functions. Raises what the compiler says.
function tiny.build(description, c)
  decoder.number(description)
  local self = setmetatable({ description = description, parts = parts_of(description), path = os.tmpname() }, Tiny)
  local lines = {}
  local function out(format, ...) lines[#lines + 1] = select("#", ...) > 0 and format:format(...) or format end
  out '#include "tiny.h"\n'
  print_state(description, self.parts, out)
  out(c or "")
  print_decoder(description, out)
  print_handlers(description, out)
  print_lift(description, out)
  print_main(self.parts, out)
  local file = assert(io.open(self.path .. ".c", "w"))
  file:write(table.concat(lines, "\n"), "\n")
  file:close()
  local flags = "-std=gnu11 -O1 -Wall -Wextra -Werror -Wno-unused-function -Wno-unused-parameter -fsanitize=undefined -fno-sanitize-recover"
  local objects = clib.path:gsub("[^/]*$", "") .. "obj/csrc/"              -- those of the library that is tested
  local output, code = tree.run(("gcc -D_GNU_SOURCE %s %s -Icsrc -Ispec/support -o %s %s.c %sir/*.o %sbase/fault.o %sbase/fp.o"):format(flags,
    clib.path:find "/asan/" and "-fsanitize=address" or "", self.path, self.path, objects, objects, objects))
  assert(code == 0, output)
  return self
end

function Tiny:close()
  for _, ending in ipairs { "", ".c", ".in", ".out" } do os.remove(self.path .. ending) end
end

local function bytes_of(value, count)
  value = wide.new(value)
  local out = {}
  for i = 0, count - 1 do out[i + 1] = string.char(tonumber(bit.band(bit.rshift(value[math.floor(i / 8) + 1], i % 8 * 8), 0xffULL))) end
  return table.concat(out)
end

local function value_of(text, at, count)
  local limbs = { 0ULL, 0ULL, 0ULL, 0ULL }
  for i = count - 1, 0, -1 do
    local limb = math.floor(i / 8) + 1
    limbs[limb] = limbs[limb] * 256 + text:byte(at + i)
  end
  return limbs
end

-- Four limbs of a random value of `bits`, often at a corner.
function tiny.value(random, bits)
  local kind = random(6)
  local limbs = { random(), random(), random(), random() }
  if kind == 0 then limbs = wide.new(random(2)) elseif kind == 1 then limbs = wide.sub(wide.ZERO, wide.new(1 + random(3)))
  elseif kind == 2 then limbs = wide.shl(wide.ONE, random(bits))
  elseif kind == 3 then limbs = wide.shr(limbs, random(256)) end
  return wide.low(limbs, bits)
end

-- A random state.
function Tiny:state(random)
  local state = { files = {}, registers = {}, pc = random(2 ^ 20) * 4, memory = {} }
  local function value(bits) return tiny.value(random, bits) end
  for _, part in ipairs(self.parts) do
    if part.file then
      state.files[part.file] = {}
      for i = 0, part.count - 1 do state.files[part.file][i] = (part.zero and i == 0 or part.bits == nil) and wide.ZERO or value(part.bits) end
    else state.registers[part.register] = value(part.bits) end
  end
  for i = 0, tiny.MEMORY - 1 do state.memory[i] = random(256) end
  return state
end

-- Memory as umbra.isa.eval asks for it.
function tiny.give_memory(state)
  function state.load(_, address, bytes)
    local value = wide.ZERO
    for i = bytes - 1, 0, -1 do value = wide.bor(wide.shl(value, 8), wide.new(state.memory[tonumber((address + i) % tiny.MEMORY)])) end
    return value
  end
  function state.store(_, address, bytes, value)
    value = wide.new(value)
    for i = 0, bytes - 1 do state.memory[tonumber((address + i) % tiny.MEMORY)] = tonumber(wide.shr(value, 8 * i)[1] % 256) end
  end
end

function Tiny:encode(state)
  local out = {}
  for _, part in ipairs(self.parts) do
    for i = 0, part.count - 1 do
      out[#out + 1] = bytes_of(part.file and state.files[part.file][i] or state.registers[part.register], part.bytes)
    end
  end
  out[#out + 1] = bytes_of(state.pc, 8)
  for i = 0, tiny.MEMORY - 1 do out[#out + 1] = string.char(state.memory[i]) end
  return table.concat(out)
end

-- Runs { word =, length =, state = } cases; returns { encoding, state's bytes } for each. `extensions`: hexadecimal mask; how: "lift"
-- evaluates the IR.
function Tiny:run(list, extensions, how)
  local file = assert(io.open(self.path .. ".in", "wb"))
  local size
  for _, case in ipairs(list) do
    local bytes = self:encode(case.state)
    size = #bytes
    file:write(bytes_of(case.word, 4), bytes_of(case.length, 4), bytes)
  end
  file:close()
  local output, code = tree.run(("%s %s %s < %s.in > %s.out"):format(self.path, extensions or "ffffffffffffffff", how or "", self.path, self.path))
  local text = tree.read(self.path .. ".out")
  assert(code == 0, output .. text:sub(1, 500))
  local results = {}
  for i = 1, #list do
    local at = (i - 1) * (size + 4) + 1
    results[i] = { encoding = tonumber(value_of(text, at, 4)[1]), bytes = text:sub(at + 4, at + 3 + size) }
  end
  return results
end

-- What of a state differs from its bytes, as text.
function Tiny:differences(state, bytes)
  local out, at = {}, 1
  for _, part in ipairs(self.parts) do
    for i = 0, part.count - 1 do
      local ours, theirs = wide.new(part.file and state.files[part.file][i] or state.registers[part.register]), value_of(bytes, at, part.bytes)
      if not wide.eq(ours, theirs) then
        out[#out + 1] = ("%s: %s, C has %s"):format(part.file and part.file .. i or part.register, wide.hex(ours), wide.hex(theirs))
      end
      at = at + part.bytes
    end
  end
  local pc = value_of(bytes, at, 8)
  if not wide.eq(wide.new(state.pc), pc) then out[#out + 1] = ("pc: %s, C has %s"):format(wide.hex(wide.new(state.pc)), wide.hex(pc)) end
  for i = 0, tiny.MEMORY - 1 do
    if state.memory[i] ~= bytes:byte(at + 8 + i) then out[#out + 1] = ("memory %d: %d, C has %d"):format(i, state.memory[i], bytes:byte(at + 8 + i)) end
  end
  return table.concat(out, "; ")
end

return tiny
