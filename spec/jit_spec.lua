-- jit: every form of the encoder against objdump; random blocks translated against the evaluator; RISC-V code translated against tier 0.
-- SPDX-License-Identifier: MIT
-- luacheck: no max line length
local bit     = require "bit"
local cpu     = require "umbra.cpu"
local example = require "spec.support.example"
local ffi     = require "ffi"
local ir      = require "umbra.ir"
local irgen   = require "spec.support.irgen"
local isa     = require "umbra.isa"
local jit     = require "umbra.jit"
local random  = require "spec.support.random"
local refuses = require "spec.support.refuses"
local tree    = require "spec.support.tree"
local word    = require "umbra.isa.word"
local x64     = require "umbra.jit.x64"

local SEED = random.seed(8664)

-- The encoder ---------------------------------------------------------------------------------------------------------------------

local LOW = {
  [1] = "al cl dl bl spl bpl sil dil", [2] = "ax cx dx bx sp bp si di", [4] = "eax ecx edx ebx esp ebp esi edi", [8] = "rax rcx rdx rbx rsp rbp rsi rdi",
}
local SUFFIX = { [1] = "b", [2] = "w", [4] = "d", [8] = "" }
local NAMES = {}
for width, text in pairs(LOW) do
  NAMES[width] = {}
  for name in text:gmatch "%S+" do NAMES[width][x64.REGISTERS[#NAMES[width]] and #NAMES[width] + 1 or 0] = name end
end
local function register(width, name)
  local number = name:match "^r(1?%d)$"
  if number then return name .. SUFFIX[width] end
  for i = 0, 7 do
    if x64.REGISTERS[i] == name then return NAMES[width][i + 1] end
  end
end

local SIZES = { [1] = "BYTE PTR ", [2] = "WORD PTR ", [4] = "DWORD PTR ", [8] = "QWORD PTR " }

local function address(m, size)
  local parts = {}
  if m.base then parts[1] = m.base end
  if m.index then parts[#parts + 1] = m.index .. "*" .. (m.scale or 1) end
  local disp = m.disp or 0
  if #parts == 0 then return SIZES[size] .. ("ds:0x%s"):format(bit.tohex(0LL + disp, 16):gsub("^0+(.)", "%1")) end
  local text = table.concat(parts, "+")
  local shown = disp ~= 0 or not m.base or m.base == "rbp" or m.base == "r13"
  if shown then text = text .. (disp < 0 and ("-0x%x"):format(-disp) or ("+0x%x"):format(disp)) end
  return SIZES[size] .. "[" .. text .. "]"
end

-- A constant as it is shown in an operand of `width`.
local function constant(k, width)
  if width == 8 and k < 0 then return "0x" .. bit.tohex(0LL + k, 16) end
  if k < 0 then k = k + 2 ^ (8 * width) end
  return ("0x%x"):format(k)
end

local MNEMONIC = {
  movabs = "movabs", movzx8 = "movzx", movzx16 = "movzx", movsx8 = "movsx", movsx16 = "movsx", movsx32 = "movsxd", lock_cmpxchg = "lock cmpxchg", lock_xadd = "lock xadd",
}
local SOURCE = { RV1 = 1, RV2 = 2, RV4 = 4, RM1 = 1, RM2 = 2, RM4 = 4 }          -- width of a narrower source

-- What objdump must say of an instruction: `given` are its operands by kind.
local function expected(form, given)
  local name, w, kind = form.name:match "^(.-)_[rmxci]+$" or form.name, given.w, form.kind
  local text = MNEMONIC[name] or name
  if kind == "CR" or kind == "CRV" then text = text .. given.cc end
  if name == "cqo" then return w == 8 and "cqo" or "cdq" end
  if name == "movd" and w == 8 then text = "movq" end
  local list = {}
  local pointer = kind == "M" and form.widths[1] or kind:match "^[XM][MX]$" and form.widths[1] or w
  for _, what in ipairs(form.shape) do
    local v = given[what]
    if what == "a" or what == "b" or what == "c" then
      local width = what == "b" and SOURCE[kind] or kind == "CR" and 1 or (kind == "R4" or kind == "O4") and 8 or w
      list[#list + 1] = register(width, v)
    elseif what:match "x$" then list[#list + 1] = v
    elseif what == "m" then
      list[#list + 1] = name == "lea" and address(v, 8):gsub("^QWORD PTR ", "") or address(v, SOURCE[kind] or pointer)
    elseif what == "k" then
      local byte = kind == "R8" or kind == "XX8" or kind == "VRM8"
      list[#list + 1] = kind == "OK" and "0x" .. bit.tohex(v, 16):gsub("^0+(.)", "%1") or constant(v, byte and 1 or w)
    end
  end
  if kind == "RC" then list[#list + 1] = "cl" end
  return #list > 0 and text .. " " .. table.concat(list, ",") or text
end

local CONSTANTS = { 0, 1, -1, 127, -128, 128, -129, 2^31 - 1, -2^31, 0x1234567 }
local DISPLACEMENTS = { 0, 1, -1, 127, -128, 128, -129, 2^31 - 1, -2^31 }

-- Operands of a form, for the n-th try: every register meets every place, every base every displacement.
local function operands(form, n, numbers)
  local given = {}
  local function reg(step) return x64.REGISTERS[math.floor(n / step) % 16] end
  given.w = form.widths[n % math.max(1, #form.widths) + 1]
  given.a, given.b, given.c = reg(1), reg(16), x64.REGISTERS[numbers(16)]
  given.ax, given.bx, given.cx = "xmm" .. n % 16, "xmm" .. math.floor(n / 16) % 16, "xmm" .. numbers(16)
  given.cc = x64.CONDITIONS[numbers(16)]
  given.k = CONSTANTS[numbers(#CONSTANTS) + 1]
  if form.kind == "R8" or form.kind == "XX8" or form.kind == "VRM8" then given.k = numbers(128)
  elseif form.kind == "OK" then given.k = numbers()
  elseif given.w == 1 then given.k = numbers(256) - 128
  elseif given.w == 2 then given.k = numbers(65536) - 32768 end
  local m = { disp = DISPLACEMENTS[numbers(#DISPLACEMENTS) + 1] }
  if numbers(8) > 0 then m.base = reg(16) end
  if numbers(3) == 0 then
    m.index, m.scale = x64.REGISTERS[numbers(16)], 2 ^ numbers(4)
    if m.index == "rsp" then m.index, m.scale = nil, nil end
  end
  given.m = m
  return given
end

describe("the encoder", function()
  it("agrees with objdump in every form, with every register", function()
    local numbers, parts, wanted = random.new(SEED), {}, {}
    for _, form in ipairs(x64.forms) do
      for n = 0, (#form.shape > 1 or form.shape[1] == "w" and #form.shape > 0) and 255 * math.max(1, #form.widths) or 31 do
        local given, args = operands(form, n, numbers), {}
        for _, what in ipairs(form.shape) do
          if not (what == "w" and #form.widths == 1) then args[#args + 1] = given[what] end
        end
        local assembler = x64.new()
        assembler[form.name](assembler, unpack(args))
        parts[#parts + 1] = assembler:bytes()
        wanted[#wanted + 1] = expected(form, given)
      end
    end
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(table.concat(parts))
    file:close()
    local text = tree.run(("objdump -D -b binary -m i386:x86-64 -M intel --no-show-raw-insn -w %s"):format(path))
    os.remove(path)
    local index, wrong, at = 0, {}, 0
    for offset, line in text:gmatch "\n%s*(%x+):%s*([^\n]*)" do
      index = index + 1
      local seen = line:gsub("%s+", " "):gsub(" $", ""):gsub(" *#.*$", "")
      if tonumber(offset, 16) ~= at or seen ~= wanted[index] then
        wrong[#wrong + 1] = ("%s: wanted %s, objdump says %s"):format((parts[index] or ""):gsub(".", function(c) return ("%02x"):format(c:byte()) end), tostring(wanted[index]), seen)
        if #wrong == 10 then break end
      end
      at = at + #(parts[index] or "")
    end
    assert.equal("", table.concat(wrong, "\n"))
    assert.equal(#wanted, index)
    assert.is_true(index > 20000)
  end)

  it("refuses what there is not, at the caller's line", function()
    refuses(function() x64.new():add_rr(3, "rax", "rbx") end, "add_rr: no operand of 3 bytes")
    refuses(function() x64.new():add_rr(8, "rax", "ebx") end, 'add_rr: no register "ebx"')
    refuses(function() x64.new():add_rr(8, "rax") end, "add_rr: no register nil")
    refuses(function() x64.new():ret(1) end, "ret: 0 operands, not 1")
    refuses(function() x64.new():mov_rm(8, "rax", { base = "rbp", index = "rsp" }) end, "mov_rm: no such address")
    refuses(function() x64.new():mov_rm(8, "rax", { scale = 3 }) end, "mov_rm: a scale of 1, 2, 4 or 8, not 3")
    refuses(function() x64.new():mov_ri(8, "rax", 1.5) end, "mov_ri: a whole number expected, not 1.5")
    refuses(function() x64.new():set_r("q", "rax") end, 'set_r: no condition "q"')
    refuses(function() x64.new():addsd_xx("xmm1", "xmm16") end, 'addsd_xx: no XMM register "xmm16"')
  end)
end)

-- Blocks --------------------------------------------------------------------------------------------------------------------------

local TYPES = { "i1", "i8", "i16", "i32", "i64", "f32", "f64" }
local PINS = { { "si64", 0, "rbx" }, { "si64", 1, "r12" }, { "sf64", 0, "xmm3" }, { "sf64", 2, "xmm9" } }

-- Evaluates and runs `block` on two equal states; what differs, or nil.
local function difference(block, guest, slots, options, seed)
  local j = jit.new(options)
  local code = j:translate(block, 0x1000)
  local states, memories, left = {}, {}, {}
  for i = 1, 2 do
    states[i], memories[i] = guest:state(), irgen.memory(random.new(seed))
    irgen.fill(states[i], slots, random.new(seed + 1))
    states[i]:set_rounding(seed % 4)
  end
  left[1] = block:eval { state = states[1], pc = 0x1000, memory = memories[1], at = irgen.AT }
  left[2] = code:run { state = states[2], memory = memories[2], at = irgen.AT }
  j:close()
  for _, key in ipairs { "reason", "pc", "insns", "cause", "value" } do
    if left[1][key] ~= left[2][key] then return ("%s: %s, not %s"):format(key, tostring(left[2][key]), tostring(left[1][key])) end
  end
  if ffi.string(memories[1], irgen.SIZE) ~= ffi.string(memories[2], irgen.SIZE) then return "memory" end
  for _, slot in ipairs(slots) do
    for i = 0, slot.count - 1 do
      local evaluated, ran = states[1]:get(slot.name, i), states[2]:get(slot.name, i)
      if evaluated ~= ran then return ("%s[%d]: %s, not %s"):format(slot.name, i, bit.tohex(ran, 16), bit.tohex(evaluated, 16)) end
    end
  end
  if states[1]:flags() ~= states[2]:flags() then return ("flags: %d, not %d"):format(states[2]:flags(), states[1]:flags()) end
end

describe("a translated block", function()
  it("does what the evaluator does: every operation, with and without pins, host features and a second mapping", function()
    local guest, slots = irgen.guest(TYPES)
    local made = {}
    for n = 1, random.soak() and 60000 or 2500 do
      local seed = SEED + n
      local block = irgen.block(guest, slots, random.new(seed), 4 + n % 90, { types = TYPES })
      local options = { guest = guest, size = 2 ^ 16, pins = n % 2 == 0 and PINS or {}, features = n % 3 == 0 and {} or nil, backing = n % 5 == 0 and "private" or "dual",
                        bias = n % 7 == 0 and 0 or 128 }
      local found = difference(block, guest, slots, options, seed)
      assert(not found, ("UMBRA_SEED=%d, block %d: %s\n%s"):format(SEED, n, tostring(found), tostring(block)))
      for op in tostring(block):gmatch "\n%s*[%%%d= ]*(%a+)" do made[op] = true end
      block:close()
    end
    for _, op in ipairs(ir.ops) do
      local elsewhere = op.name == "call" or op.name == "result" or op.name == "trap" or op.name == "leave" or op.name == "insn"
      assert.is_true(made[op.name] or elsewhere or false, op.name .. " was never translated")
    end
  end)

  it("leaves by trap and leave", function()
    local guest = ir.guest { slots = { { "x", "i64", 4 } } }
    local j = jit.new { guest = guest }
    local left = j:translate(ir.new(guest):parse "insn +0, 4\ninsn +4, 4\n%1 = get.i64 x[1]\ntrap 5, %1", 0x1000)
    local state = guest:state()
    state:set("x", 1, -2)
    assert.same({ reason = "trap", pc = 0x1004, insns = 2, cause = 5, value = -2ULL }, left:run { state = state })
    assert.same({ reason = "leave", pc = 0x2000, insns = 0 }, j:translate(ir.new(guest):parse "leave", 0x2000):run { state = state })
    assert.equal(2, j:counters().blocks)
    j:close()
  end)

  it("holds more values than there are registers", function()
    local guest = ir.guest { slots = { { "x", "i64", 64 } } }
    local b, values = ir.new(guest), {}
    for i = 0, 63 do values[i] = b:add(b:get("x", i), b:const("i64", i)) end
    for i = 0, 63 do b:set("x", i, values[63 - i]) end
    b:go(4)
    local j, state = jit.new { guest = guest, pins = { { "x", 5, "rbx" }, { "x", 60, "rsi" } } }, guest:state()
    for i = 0, 63 do state:set("x", i, 1000 * i) end
    j:translate(b):run { state = state }
    for i = 0, 63 do assert.equal(1001ULL * (63 - i), state:get("x", i)) end
  end)

  it("refuses what it cannot do, by name", function()
    local guest = ir.guest { slots = { { "x", "i64", 4 }, { "v", "i128" }, { "b", "i8" } }, helpers = { { "h", "->", function() end } } }
    local j = jit.new { guest = guest }
    local function block(text) return ir.new(guest):parse(text) end
    refuses(function() j:translate(block "%1 = get.i128 v\nset v, %1\ngoto +4") end, "cannot translate %%1 %(get%): more than 64 bits")
    refuses(function() j:translate(block "%1 = const.i64 1\n%2 = load.i128.u128 %1\ngoto +4") end, "cannot translate %%2 %(load%): more than 64 bits")
    refuses(function() j:translate(block "call h\ngoto +4") end, "cannot translate %%1 %(call%): its helper is Lua's")
    refuses(function() j:translate(block "%1 = const.i64 1") end, "the block does not end: .*")
    refuses(function() j:translate(ir.new(ir.guest {}):parse "goto +4") end, "the block is another guest's")
    refuses(function() jit.new { guest = guest, size = 100 } end, "`jit.size` must be 4K to 1G, not 100")
    refuses(function() jit.new { guest = guest, features = { "mmx" } } end, '`jit.features`: no feature "mmx"')
    refuses(function() jit.new { guest = guest, pins = { { "x", 1, "rax" } } } end, "rax is no register for a pin")
    refuses(function() jit.new { guest = guest, pins = { { "x", 4, "rbx" } } } end, "no such slot for a pin")
    refuses(function() jit.new { guest = guest, pins = { { "b", 0, "rbx" } } } end, "b: a pin is a slot of 64 bits")
    refuses(function() jit.new { guest = guest, pins = { { "x", 1, "rbx" }, { "x", 2, "rbx" } } } end, "rbx is a pin already")
    refuses(function() jit.new { guest = guest, pins = { { "x", 1, "rbx" }, { "x", 1, "rsi" } } } end, "x%[1%] has a pin already")
    local code = j:translate(block "goto +4")
    j:close()
    refuses(function() code:run { state = guest:state() } end, "this jit is closed")
  end)

  it("rounds by the host only where the host can", function()
    local guest = ir.guest { slots = { { "d", "f64", 4 } } }
    local j, state = jit.new { guest = guest }, guest:state()
    local code = j:translate(ir.new(guest):parse "%1 = get.f64 d[0]\n%2 = fadd.f64.dyn %1, %1\nset d[1], %2\ngoto +4")
    state:set_rounding(4)
    refuses(function() code:run { state = state } end, "rounding mode 4 is not the host's: evaluate the block")
    local static = j:translate(ir.new(guest):parse "%1 = get.f64 d[0]\n%2 = fadd.f64.rmm %1, %1\nset d[1], %2\ngoto +4")
    assert.equal("next", static:run { state = state }.reason)
  end)
end)

describe("code memory", function()
  local guest = ir.guest { slots = { { "x", "i64", 32 } } }
  local function big()
    local b = ir.new(guest)
    for i = 0, 400 do b:set("x", i % 32, b:add(b:get("x", (i + 1) % 32), b:get("x", (i + 2) % 32))) end
    b:go(4)
    return b
  end

  it("is filled until it is full, in both backings", function()
    for _, backing in ipairs { "dual", "private" } do
      local j, block, done = jit.new { guest = guest, size = 2 ^ 16, backing = backing }, big(), 0
      local ok, message, codes = true, nil, {}
      while ok do
        ok, message = pcall(j.translate, j, block, 0x1000)
        if ok then done, codes[#codes + 1] = done + 1, message end
      end
      assert.is_truthy(message:find("code memory is full", 1, true))
      assert.is_true(done > 5)
      assert.equal("next", codes[1]:run { state = guest:state() }.reason)         -- what was there still runs
      assert.equal("next", codes[done]:run { state = guest:state() }.reason)
      assert.same({ backing, done }, { j:counters().backing, j:counters().blocks })
      assert.is_true(j:counters().used <= j:counters().size)
      j:close()
    end
  end)

  it("is never writable where it is executable", function()
    for _, backing in ipairs { "dual", "private" } do
      local j = jit.new { guest = guest, backing = backing }
      j:translate(ir.new(guest):parse "goto +4"):run { state = guest:state() }
      assert.is_nil(tree.read("/proc/self/maps"):match "%f[%x]%x+%-%x+ rwx")
      j:close()
    end
  end)

  -- A child that may not call memfd_create (a seccomp filter in eight bytes a row).
  it("is private, with a line that says so, where memory files are forbidden", function()
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write [[
package.path = "./lua/?.lua;" .. package.path
local ffi = require "ffi"
ffi.cdef "int prctl(int, unsigned long, ...);"
local row = ffi.typeof "struct { uint16_t code; uint8_t jt, jf; uint32_t k; }"
local rows = ffi.new(ffi.typeof("$[5]", row), { { 0x20, 0, 0, 0 }, { 0x15, 0, 1, 319 }, { 0x06, 0, 0, 0x50001 }, { 0x06, 0, 0, 0x7fff0000 }, { 0x06, 0, 0, 0x7fff0000 } })
local program = ffi.new("struct { unsigned short len; void *filter; }", { 4, rows })
local long = ffi.typeof "unsigned long"
assert(ffi.C.prctl(38, 1, long(0), long(0), long(0)) == 0)
assert(ffi.C.prctl(22, 2, ffi.cast("void *", program)) == 0)
local ir, jit = require "umbra.ir", require "umbra.jit"
local guest = ir.guest { slots = { { "x", "i64", 4 } } }
local j = jit.new { guest = guest }
local state = guest:state()
j:translate(ir.new(guest):parse "%1 = const.i64 42\nset x[1], %1\ngoto +4"):run { state = state }
print(j:counters().backing, tostring(state:get("x", 1)))
]]
    file:close()
    local text, code = tree.run("luajit " .. script)
    os.remove(script)
    assert.equal("umbra: no executable memory file (Operation not permitted): code memory is private\nprivate\t42ULL\n", text)
    assert.equal(0, code)
  end)
end)

-- RISC-V --------------------------------------------------------------------------------------------------------------------------

describe("RISC-V code, translated, is tier 0:", function()
  local description = isa.load "lua/isa/riscv/riscv.lua"
  local RAM, DATA = 0x80000000, 0x80002000

  local function new_hart()
    local clock, control, mem = require "umbra.clock", require "umbra.control", require "umbra.mem"
    local memory = mem.new()
    memory:add_ram { at = RAM, size = 0x3000 }
    return cpu.new { mem = memory, clock = clock.new { rate = 1000000 }, control = control.new(), isa = "rv64gc_zba_zbb_zbc_zbs_zicond", reset_pc = RAM }, memory
  end

  local function rows_of(wanted)
    local rows = {}
    for _, list in ipairs { description.insns, description.shorts } do
      for _, row in ipairs(list) do
        local insn = row.target or row
        local effects = insn.meaning.effects
        local floats = effects.fp or row.operands:find "f[ds%d]" or false
        if not (effects.state or effects.redirect or effects.direct or effects.indirect) and wanted(row, effects, floats) then rows[#rows + 1] = row end
      end
    end
    return rows
  end

  local KNOWN = { i = true, m = true, a = true, f = true, d = true, c = true, zba = true, zbb = true, zbc = true, zbs = true, zicond = true }
  local WAYS = {
    { "integers in a row", function(row, effects, floats) return KNOWN[row.extension] and not floats and not effects.memory end },
    { "with loads, stores and atomics", function(row, effects, floats) return KNOWN[row.extension] and not floats and (effects.memory or row.name:find "^add") end },
    { "floating point", function(row, effects, floats) return KNOWN[row.extension] and floats and not effects.memory end },
    { "everything", function(row) return KNOWN[row.extension] end },
  }

  local function text_of(code)
    local hart, at, lines = new_hart(), 1, {}
    while at <= #code do
      local value = code:byte(at) + 256 * code:byte(at + 1)
      if value % 4 == 3 then value = value + 65536 * code:byte(at + 2) + 16777216 * code:byte(at + 3) end
      local text, length = hart:disassemble(value, at - 1)
      lines[#lines + 1], at = tostring(text), at + (length or 2)
    end
    return table.concat(lines, "\n")
  end

  -- A random instruction; most take addresses from x8 to x15, which hold some, and leave those alone.
  local function tame(rows, numbers)
    local row, value
    for _ = 1, numbers(8) == 0 and 1 or 20 do
      row = rows[numbers(#rows) + 1]
      value = word.random(row, numbers)
      local given = row.target and word.expand(row, value) or word.values(row, value)
      local memory = (row.target or row).meaning.effects.memory
      if (not memory or given.rs1 > 7 and given.rs1 < 16) and not (given.rd and given.rd > 7 and given.rd < 16) then break end
    end
    return row, value
  end

  -- A hart with memory in a window where the machine's has it.
  local function new_user()
    local user, pages = cpu.user { isa = "rv64gc_zba_zbb_zbc_zbs_zicond" }, {}
    pages.code, pages.data = user:map(RAM, 0x2000), user:map(DATA, 0x1000)
    return user, pages
  end

  -- What differs between a block's end in a window and in a machine. What the one calls a page fault is an access fault there.
  local function in_window(user, processed, machine, left)
    local wrong = {}
    local function same(what, a, b)
      if a ~= b then wrong[#wrong + 1] = ("%s (%s, not %s)"):format(what, tostring(a), tostring(b)) end
    end
    same("reason", processed.reason, left.reason)
    same("insns", processed.insns, left.insns)
    for i = 1, 31 do same("x" .. i, user:reg(i), machine:reg(i)) end
    for i = 0, 31 do same("f" .. i, user:freg(i), machine:freg(i)) end
    same("fflags", user:csr "fflags", machine:csr "fflags")
    same("pc", user:pc(), left.reason == "fault" and machine:csr "mepc" or left.reason == "trap" and user:pc() or machine:pc())
    if left.reason == "fault" then
      local cause = machine:csr "mcause"
      same("cause", processed.cause, (cause == 5 or cause == 7) and cause + 8 or cause)
      same("value", processed.value, machine:csr "mtval")
    end
    return table.concat(wrong, ", ")
  end

  for index, way in ipairs(WAYS) do
    it(way[1], function()
      local rows, numbers = rows_of(way[2]), random.new(SEED + index)
      local translator = cpu.jit { size = "64M" }
      local tier0, memory0 = new_hart()
      local translated, memory1 = new_hart()
      local first = index % 2 == 0 and cpu.user {}               -- a second window lies at another address
      local user, pages = new_user()
      local windowed = cpu.jit { size = "64M", window = user }
      assert.is_true(#rows > 20)
      for n = 1, random.soak() and 20000 or 400 do
        local parts, names, count = {}, {}, 1 + numbers(30)
        for i = 1, count do
          local row, value = tame(rows, numbers)
          names[i] = (row.target or row).name
          parts[i] = string.char(value % 256, math.floor(value / 256) % 256)
          if row.width == 32 then parts[i] = parts[i] .. string.char(math.floor(value / 65536) % 256, math.floor(value / 16777216)) end
        end
        local code, data, registers, floats = table.concat(parts), {}, {}, {}
        for i = 1, 64 do data[i] = string.char(numbers(256)) end
        data = table.concat(data):rep(64)
        for i = 1, 31 do registers[i] = (i > 7 and i < 16 or numbers(3) > 0) and DATA + 2048 + 8 * numbers(64) or irgen.value(numbers, 64)[1] end
        for i = 0, 31 do floats[i] = numbers(2) == 0 and irgen.float(numbers, "f64") or bit.bor(irgen.float(numbers, "f32"), 0xffffffff00000000ULL) end
        for _, one in ipairs { { tier0, memory0 }, { translated, memory1 } } do
          local hart, memory = one[1], one[2]
          hart:reset()
          memory:write(RAM, code .. "\1\0\1\0")
          memory:write(RAM + 0x1000, ("\1\0"):rep(8))
          memory:write(DATA, data)
          hart:set_csr("mtvec", RAM + 0x1000)
          hart:set_csr("mstatus", 0x6000)
          hart:set_csr("frm", n % 4)
          for i = 1, 31 do hart:set_reg(i, registers[i]) end
          for i = 0, 31 do hart:set_freg(i, floats[i]) end
        end
        local block, insns = cpu.lift(code, { isa = "rv64gc_zba_zbb_zbc_zbs_zicond", fp_ready = n % 2 == 0 })
        assert.equal(count, insns)
        for i = 1, 31 do user:set_reg(i, registers[i]) end
        for i = 0, 31 do user:set_freg(i, floats[i]) end
        user:set_csr("fcsr", 32 * (n % 4))
        ffi.copy(pages.data, data, #data)
        ffi.copy(pages.code, code .. "\1\0\1\0", #code + 4)
        ffi.copy(pages.code + 0x1000, ("\1\0"):rep(8), 16)
        local processed = user:run_code(windowed:translate(block, RAM))
        local left = translated:run_code(translator:translate(block, RAM))
        block:close()
        -- A store-conditional that has no reservation looks at no page of a window.
        local unreserved = left.reason == "fault" and names[left.insns]:find "^sc%."
        local differs = unreserved and "" or in_window(user, processed, translated, left)
        if differs ~= "" or not unreserved and ffi.string(pages.data, 0x1000) ~= memory1:read(DATA, 0x1000) then
          error(("block %d (UMBRA_SEED=%d), in a window: %s differs\n%s"):format(n, SEED, differs == "" and "memory" or differs, text_of(code)), 0)
        end
        local executed = left.reason == "next" and left.insns or left.insns - 1
        if executed > 0 then tier0:run(executed) end
        if left.reason ~= "next" then                       -- the trap, and one instruction of its handler
          tier0:run(1)
          translated:evaluate(1)
        end
        local theirs = translated:state()
        for i, row in ipairs(tier0:state()) do
          if row.bytes ~= theirs[i].bytes then
            error(("block %d (UMBRA_SEED=%d), left by %s after %d of %d: %s differs\n%s"):format(n, SEED, left.reason, executed, count, row.name, text_of(code)), 0)
          end
        end
        assert.equal(memory0:read(DATA, 0x1000), memory1:read(DATA, 0x1000))
      end
      translator:close()
      windowed:close()
      user:close()
      if first then first:close() end
    end)
  end
end)

describe("the page of docs", function()
  it("begins with an example that runs", function() example "docs/jit.md" end)
end)
