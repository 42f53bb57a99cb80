-- asm: words against the disassembler and GNU's assembler, numbers, layout, short forms, ELF files, what is refused, and the command.
-- SPDX-License-Identifier: MIT
local asm     = require "umbra.asm"
local bit     = require "bit"
local cpu     = require "umbra.cpu"
local example = require "spec.support.example"
local ffi     = require "ffi"
local guest   = require "spec.support.guest"
local image   = require "umbra.image"
local isa     = require "umbra.isa"
local random  = require "spec.support.random"
local refuses = require "spec.support.refuses"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"
local word    = require "umbra.isa.word"
local C       = require("umbra.clib").C

local SEED = random.seed(23)
local WORDS = random.soak() and 100000 or 5000

local description = isa.load "lua/isa/riscv/riscv.lua"
local rows = {}
for _, list in ipairs { description.insns, description.shorts } do
  for _, row in ipairs(list) do rows[#rows + 1] = row end
end

local folder
setup(function() folder = umbra.folder() end)
teardown(function() folder.remove() end)

local buffer = ffi.new "char[128]"
local everything = cpu.isa_mask("rv64i_" .. table.concat(cpu.extensions(), "_"))
local function text_of(value, at)
  local length = C.um_riscv_disassemble(value, at or 0, everything, buffer, 128)
  assert(length > 0, bit.tohex(value))
  return ffi.string(buffer), length
end

local function number_of(bytes, from, size)
  local value = 0
  for i = size, 1, -1 do value = value * 256 + bytes:byte(from + i - 1) end
  return value
end

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

-- What text does not show: the mode and the two registers of a fence, and all operands of a fence.i. Harts ignore them (unprivileged
-- manual 2.7 and 5.1); an assembler writes 0.
local UNSEEN = { ["fence"] = 0xf00fff80, ["fence.i"] = 0xffff8f80 }
local function as_written(row, value)
  return UNSEEN[row.name] and bit.band(bit.tobit(value), bit.bnot(bit.tobit(UNSEEN[row.name]))) % 2 ^ 32 or value
end

describe("what the disassembler prints", function()
  for _, at in ipairs { 0, 0x80000000 } do
    it(("at 0x%x gives the same words, %d of them"):format(at, WORDS), function()
      local numbers, lines, words, sizes, seen = random.new(SEED), {}, {}, {}, 0
      local pc = at
      for i = 1, WORDS do
        local row = rows[i] or rows[numbers(#rows) + 1]              -- each of them at least once
        seen = math.max(seen, rows[i] and i or 0)
        local value = word.random(row, numbers)
        words[i] = as_written(row, value)
        lines[i], sizes[i] = text_of(value, pc)
        pc = pc + sizes[i]
      end
      assert.equal(#rows, seen)
      local result = asm.assemble(table.concat(lines, "\n"), { at = at })
      assert.equal(pc - at, #result.bytes)
      local place = 1
      for i, value in ipairs(words) do
        local ours = number_of(result.bytes, place, sizes[i])
        assert(ours == value, ("%s at seed %d: 0x%s, not 0x%s"):format(lines[i], SEED, bit.tohex(ours), bit.tohex(value)))
        place = place + sizes[i]
      end
    end)
  end
end)

-- Against GNU's assembler --------------------------------------------------------------------------------------------------

local MARCH = "rv64gc_zba_zbb_zbc_zbs_zicbom_zicboz_zawrs_svinval_zihintpause"
local UNKNOWN_TO_GNU = { zicond = true }

-- The bytes of `text` by GNU's assembler and linker at 0x80000000.
local function gnu(text, march)
  local path = folder.write("gnu.s", text)
  local output, code = tree.run((("{ riscv64-unknown-elf-as -march=%s -mno-relax -o PATH.o PATH && riscv64-unknown-elf-ld -N --no-relax " ..
    "--no-warn-rwx-segments -Ttext=0x80000000 -e 0 -o PATH.elf PATH.o && riscv64-unknown-elf-objcopy -O binary PATH.elf PATH.bin; }")
    :format(march or MARCH):gsub("PATH", path)))
  assert(code == 0, output)
  return tree.read(path .. ".bin")
end

-- The first line of `text` where the bytes differ.
local function compare(text, result, theirs)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  for _, line in ipairs(result.lines) do
    local from = line.at - result.at + 1
    local a, b = result.bytes:sub(from, from + line.size - 1), theirs:sub(from, from + line.size - 1)
    if line.section ~= ".bss" and a ~= b then error(("line %d: %s: %s, but GNU has %s"):format(line.line, lines[line.line], hex(a), hex(b))) end
  end
  assert.equal(#theirs, #result.bytes)
end

-- What GNU's assembler does not take: a mode for conversions that are exact, an empty set of a fence, a short shift by 0 (a hint).
local EXACT = { ["fcvt.d.w"] = true, ["fcvt.d.wu"] = true, ["fcvt.d.s"] = true }
local function gnu_takes(row, text)
  return not UNKNOWN_TO_GNU[row.extension] and not (EXACT[row.name] and text:find ", .*, ") and not text:find "^fence 0" and not text:find "^fence .* 0$"
    and not text:find "^c%.s%a+ .* 0$"
end

-- `count` random instructions as text, those that go somewhere left out: GNU turns far ones into two instructions.
local function random_lines(numbers, list, count)
  local lines = {}
  while #lines < count do
    local row = list[numbers(#list) + 1]
    local text = text_of(word.random(row, numbers))
    if gnu_takes(row, text) and not (row.target or row).meaning.effects.direct then lines[#lines + 1] = " " .. text end
  end
  return lines
end

-- Random words of both lengths: 100,000 in soak.
local LONG, SHORT = random.soak() and 75000 or 4000, random.soak() and 25000 or 2000

describe("GNU's assembler", function()
  it("agrees on every pseudo-instruction and directive", function()
    local text = tree.read "spec/support/asm.s"
    compare(text, asm.assemble(text, { at = 0x80000000 }), gnu(text))
    local named = {}
    for name in text:gmatch "[%a][%w.]*" do named[name] = true end
    local missing = {}
    for _, name in ipairs(require("umbra.asm.pseudo").names()) do
      if not named[name] then missing[#missing + 1] = name end
    end
    assert.equal("", table.concat(missing, " "))
  end)

  it(("agrees on %d random instructions"):format(LONG), function()
    local numbers = random.new(SEED + 1)
    local text = " .option norvc\n" .. table.concat(random_lines(numbers, description.insns, LONG), "\n") .. "\n"
    compare(text, asm.assemble(text, { at = 0x80000000 }), gnu(text))
  end)

  it(("agrees on %d random short instructions"):format(SHORT), function()
    local numbers = random.new(SEED + 2)
    local text = " .option rvc\n" .. table.concat(random_lines(numbers, description.shorts, SHORT), "\n") .. "\n"
    compare(text, asm.assemble(text, { at = 0x80000000 }), gnu(text))
  end)

  it("agrees on jumps and branches near and far", function()
    local numbers, lines = random.new(SEED + 3), { " .option norvc" }
    for i = 1, 400 do
      lines[#lines + 1] = ("l%d:"):format(i)
      local near = ("l%d"):format(math.min(400, math.max(1, i + numbers(200) - 100)))
      lines[#lines + 1] = (" %s s%d, a%d, %s"):format(({ "beq", "bne", "blt", "bge", "bltu", "bgeu" })[numbers(6) + 1], numbers(12), numbers(8), near)
      lines[#lines + 1] = (" jal t%d, l%d"):format(numbers(7), numbers(400) + 1)
      lines[#lines + 1] = (" call l%d\n la a0, l%d"):format(numbers(400) + 1, numbers(400) + 1)
    end
    local text = table.concat(lines, "\n") .. "\n"
    compare(text, asm.assemble(text, { at = 0x80000000 }), gnu(text))
  end)
end)

-- li -----------------------------------------------------------------------------------------------------------------------

local u64 = ffi.typeof "uint64_t"

-- What the instructions in `bytes`, those of li a0, leave in a0.
local function run_constant(bytes)
  local state = {}
  for i = 1, #bytes, 4 do
    local text = text_of(number_of(bytes, i, 4))
    local op, from, operand = text:match "^(%S+) a0, (%l+%d*), (%S+)$"
    if not op then op, operand = text:match "^(%S+) a0, (%S+)$" end
    local n = ffi.cast("int64_t", tonumber(operand))
    local a = from == "zero" and 0LL or state.a0
    if op == "lui" then state.a0 = ffi.cast("int64_t", ffi.cast("int32_t", n * 4096))
    elseif op == "addi" then state.a0 = a + n
    elseif op == "addiw" then state.a0 = ffi.cast("int64_t", ffi.cast("int32_t", a + n))
    elseif op == "slli" then state.a0 = bit.lshift(a, tonumber(n))
    else error(text) end
  end
  return ffi.cast(u64, state.a0)
end

describe("li", function()
  it("makes the number, never with more instructions than GNU's", function()
    local numbers, values, lines = random.new(SEED + 4), { 0ULL, -1LL, 2047ULL, 2048ULL, -2048LL, -2049LL, 0x7ffff800ULL, 0x7fffffffULL, 0x80000000ULL }, {}
    for i = #values + 1, random.soak() and 20000 or 2000 do
      local value, kind = numbers(), numbers(6)
      if kind == 0 then value = bit.arshift(ffi.cast("int64_t", value), numbers(64))
      elseif kind == 1 then value = bit.lshift(value, numbers(64))
      elseif kind == 2 then value = bit.lshift(bit.rshift(value, numbers(64)), numbers(64))
      elseif kind == 3 then value = bit.lshift(1ULL, numbers(64)) - numbers(3) end
      values[i] = value
    end
    for i, value in ipairs(values) do lines[i] = (" .balign 32\n li a0, 0x%s"):format(bit.tohex(ffi.cast(u64, value), 16)) end
    lines[#lines + 1] = " .balign 32\n"
    local text = " .option norvc\n" .. table.concat(lines, "\n")
    local ours, theirs = asm.assemble(text).bytes, gnu(text)
    local shorter = 0
    for i, value in ipairs(values) do
      local function code(bytes)
        bytes = bytes:sub(i * 32 - 31, i * 32)
        while bytes:sub(-4) == "\19\0\0\0" do bytes = bytes:sub(1, -5) end
        return bytes
      end
      local a, b = code(ours), code(theirs)
      assert(run_constant(a) == ffi.cast(u64, value), ("0x%s at seed %d"):format(bit.tohex(ffi.cast(u64, value), 16), SEED))
      assert(#a <= #b, ("0x%s at seed %d: %d bytes, GNU needs %d"):format(bit.tohex(ffi.cast(u64, value), 16), SEED, #a, #b))
      if #a < #b then shorter = shorter + 1 end
    end
    assert.is_true(shorter > 0)
  end)

  it("takes differences of labels further down, and waits for them", function()
    local result = asm.assemble("li a0, last - first; first: .space 5000; last: nop", { at = 0x1000 })
    assert.equal("lui a0, 0x1", (text_of(number_of(result.bytes, 1, 4))))
    assert.equal("addiw a0, a0, 904", (text_of(number_of(result.bytes, 5, 4))))
    assert.equal(0x1008, result.symbols.first)
    assert.equal(5000, result.symbols.last - result.symbols.first)
  end)
end)

-- Short forms --------------------------------------------------------------------------------------------------------------

describe("short forms", function()
  it("are what was asked for, and chosen under .option rvc alone", function()
    local numbers, lines, wanted = random.new(SEED + 5), {}, {}
    while #lines < 2000 do
      local short = description.shorts[numbers(#description.shorts) + 1]
      local values = word.expand(short, word.random(short, numbers))
      for _, field in ipairs(short.target.fields) do
        if field.regs and numbers(4) == 0 then values[field.as] = numbers(32) end
      end
      if not short.target.meaning.effects.direct then
        lines[#lines + 1] = " " .. text_of(word.make(short.target, values))
        wanted[#lines] = { short.target.name, values }
      end
    end
    local text = table.concat(lines, "\n")
    assert.equal(4 * #lines, #asm.assemble(text).bytes)
    local result, shorts = asm.assemble(" .option rvc\n" .. text), 0
    for i, line in ipairs(result.lines) do
      local value = number_of(result.bytes, line.at + 1, line.size)
      local row = word.decode(description, value, line.size * 8)
      assert.equal(wanted[i][1], (row.target or row).name, lines[i])
      assert.same(wanted[i][2], line.size == 2 and word.expand(row, value) or word.values(row, value), lines[i])
      if line.size == 2 then shorts = shorts + 1 end
    end
    assert.is_true(shorts > #lines / 2 and shorts < #lines)
  end)

  it("are GNU's where both choose one", function()
    local numbers = random.new(SEED + 6)
    local lines = random_lines(numbers, description.insns, 1000)
    for i = 1, 3000 do
      local short = description.shorts[numbers(#description.shorts) + 1]
      local made = not short.target.meaning.effects.direct and word.make(short.target, word.expand(short, word.random(short, numbers)))
      local text = made and text_of(made) or "nop"
      lines[1000 + i] = " " .. (gnu_takes(short.target, text) and text or "nop")
    end
    local text = " .option rvc\n" .. table.concat(lines, "\n") .. "\n"
    local result = asm.assemble(text)
    local listing = folder.path .. "/listing"
    gnu(text)
    local output, code = tree.run(("riscv64-unknown-elf-as -march=%s -mno-relax -al=%s -o /dev/null %s/gnu.s"):format(MARCH, listing, folder.path))
    assert.equal(0, code, output)
    local theirs, both = {}, 0
    for line in io.lines(listing) do
      local number, digits = line:match "^%s*(%d+) %x%x%x%x (%x+)"
      if number then theirs[tonumber(number)] = digits:lower() end
    end
    for _, line in ipairs(result.lines) do
      local ours = hex(result.bytes:sub(line.at + 1, line.at + line.size))
      if #ours == #theirs[line.line] then
        both = both + 1
        -- of two sources that may change places GNU's takes the one that is the destination
        assert(ours == theirs[line.line], lines[line.line - 1] .. ": " .. ours .. ", but GNU has " .. theirs[line.line])
      else
        local name, a, b, c = lines[line.line - 1]:match "^ (%S+) ([^,]+), ([^,]+),? ?(.*)$"
        local swapped = a == c and ("add and or xor addw"):find(name, 1, true)
        local moved = name == "addi" and c == "0"                     -- for GNU a mv, of which c.mv is the short form
        local jumped = name == "jalr" and b:find "^0%("               -- short for GNU only when written jr
        assert(swapped or moved or jumped, lines[line.line - 1] .. ": " .. ours .. ", but GNU has " .. theirs[line.line])
      end
    end
    assert.is_true(both > 3500)
  end)

  it("of branches give way when the label is too far", function()
    for _, row in ipairs { { 254, 2 }, { 256, 4 } } do
      local result = asm.assemble((".option rvc; beqz a0, away; .space %d; away: ret"):format(row[1] - 2))
      assert.equal(row[2], result.lines[1].size)
    end
  end)

  it("of branches are as many as can be", function()
    local numbers, lines, targets = random.new(SEED + 8), {}, {}
    for i = 1, 600 do
      local far = numbers(4) == 0 and 600 or 90
      targets[2 * i - 1] = "l" .. math.max(1, math.min(600, i + numbers(2 * far) - far))
      targets[2 * i] = "l" .. math.max(1, math.min(600, i + numbers(2 * far) - far))
      lines[i] = ("l%d: beqz a%d, %s; j %s"):format(i, numbers(6), targets[2 * i - 1], targets[2 * i])
    end
    local result = asm.assemble(".option rvc\n" .. table.concat(lines, "\n"))
    local sizes = { 0, 0, 0, 0 }
    for i, line in ipairs(result.lines) do
      local target = result.symbols[targets[i]]
      local reach = i % 2 == 1 and 256 or 2048
      assert.equal(target - line.at >= -reach and target - line.at < reach and 2 or 4, line.size)
      assert.equal(target, tonumber((text_of(number_of(result.bytes, line.at + 1, line.size), line.at):match "(%S+)$")))
      sizes[line.size] = sizes[line.size] + 1
    end
    assert.is_true(sizes[2] > 300 and sizes[4] > 100)
  end)

  it("of mv is c.mv", function()
    assert.equal("2e85", hex(asm.assemble(".option rvc; mv a0, a1").bytes))
    assert.equal("9305050093850500", hex(asm.assemble("mv a1, a0; mv a1, a1").bytes))
  end)

  it("are pushed and popped", function()
    assert.same({ 4, 2, 4, 2, 4 }, (function()
      local sizes = {}
      for i, line in ipairs(asm.assemble("nop; .option rvc; nop; .option push; .option norvc; nop; .option pop; nop; .option norvc; nop").lines) do
        sizes[i] = line.size
      end
      return sizes
    end)())
  end)
end)

-- Layout -------------------------------------------------------------------------------------------------------------------

describe("a program", function()
  it("is laid out section by section", function()
    local result = asm.assemble([[
        .data
      d:  .word 1
        .bss
      b:  .space 100
        .text
      t:  nop
        .section .rodata
      r:  .byte 7
        .text
      t2: nop
    ]], { at = 0x1000 })
    assert.same({ t = 0x1000, t2 = 0x1004, r = 0x1008, d = 0x1010, b = 0x1018 }, result.symbols)
    assert.equal(0x14, #result.bytes)
    assert.equal(0x18 + 100, result.memory_bytes)
    assert.equal("1300000013000000070000000000000001000000", hex(result.bytes))
    assert.equal(0x1000, result.at)
  end)

  it("tells which line and column became which bytes", function()
    local lines = asm.assemble("nop; x: li a0, 1\n  .macro m\n nop\n nop\n .endm\n  m").lines
    local got = {}
    for i, line in ipairs(lines) do got[i] = ("%d %d:%d"):format(line.at, line.line, line.column) end
    assert.same({ "0 1:1", "4 1:9", "8 6:1", "12 6:1" }, got)
  end)

  it("leaves out what is under a false condition, and repeats and expands", function()
    local function numbers(text) return hex(asm.assemble(text).bytes) end
    assert.equal("03", numbers ".ifdef NO_SUCH_THING\n.byte 1\n.if 1\n.byte 2\n.else\n.endif\n.endif\n.byte 3")
    assert.equal("0205", numbers ".equ K, 2\n.if K == 1\n.byte 1\n.elseif K == 2\n.byte 2\n.elseif K == 2\n.byte 3\n.else\n.byte 4\n.endif\n.byte 5")
    assert.equal("04", numbers ".ifndef K\n.byte 4\n.else\n.byte 5\n.endif")
    assert.equal("010201020102", numbers ".rept 3\n.irp n, 1, 2\n.byte \\n\n.endr\n.endr")
    assert.equal("07090501", numbers ".macro m a, b=9, c:req, d:vararg\n.byte \\a, \\b\n.byte \\c\n.byte \\d\n.endm\nm 7, , 5, 1")
    assert.equal("0102", numbers ".macro m a\n.ifb \\a\n.byte 1\n.else\n.byte 2\n.endif\n.endm\nm\nm x")
    assert.equal("6f0040006f000000", numbers ".macro m\nj l\\@\nl\\@\\():\n.endm\nm\nj .")
  end)

  it("computes as GNU does", function()
    for text, value in pairs {
      ["1 << 3 + 1"] = 9, ["2 + 3 * 4"] = 14, ["1 | 2 + 4"] = 7, ["-7 / 2"] = -3, ["-7 % 4"] = -3, ["~0 >> 60"] = 15, ["1 << 64"] = 0, ["3 == 3"] = -1,
      ["3 < 2"] = 0, ["2 && 0"] = 0, ["2 || 0"] = 1, ["!5"] = 0, ["0x10 - 010"] = 8, ["'a' + 1"] = 98, ["0b101 ^ 1"] = 4, ["-(1 - 2)"] = 1, ["6 & 3"] = 2,
      ["0xffffffffffffffff + 2"] = 1, ["(1 << 62) * 4"] = 0, ["5 <> 5"] = 0, ["5 != 4"] = -1, ["1 <= 1"] = -1, ["1 >= 2"] = 0, ["2 > 1"] = -1,
    } do
      local bytes = asm.assemble(".dword " .. text).bytes
      assert.equal(value, tonumber(ffi.cast("const int64_t *", bytes)[0]), text)
      assert.equal(hex(bytes), hex(gnu(" .data\n .dword " .. text .. "\n"):sub(-8)), text)
    end
  end)

  it("becomes an ELF file with symbols and rights", function()
    local text = [[
        .globl main, data
        .type main, @function
        .size main, . - main
        .equ K, 7
      main: la a0, data
        ret
        .size main, . - main
        .balign 4096
        .data
      data: .dword 5
        .bss
      room: .space 8192
    ]]
    local result = asm.assemble(text, { at = 0x80000000 })
    local path = folder.write("program.elf", asm.elf(result, { entry = "main" }))
    local file = image.parse(tree.read(path), path)
    assert.equal(0x80000000, file.entry)
    assert.equal(2, #file.segments)
    assert.equal(5, file.segments[1].flags)
    assert.equal(6, file.segments[2].flags)
    local shown = tree.run("riscv64-linux-gnu-readelf -SsW " .. path)
    for _, row in ipairs {
      "0000000080000000%s+12 FUNC%s+GLOBAL DEFAULT%s+1 main", "0000000080001000%s+0 NOTYPE%s+GLOBAL DEFAULT%s+2 data",
      "0000000000000007%s+0 NOTYPE%s+LOCAL%s+DEFAULT%s+ABS K", "0000000080001008%s+0 NOTYPE%s+LOCAL%s+DEFAULT%s+3 room",
      "%.bss%s+NOBITS%s+0000000080001008%s+%x+ 002000", "%.text%s+PROGBITS%s+0000000080000000 001000 001000 00%s+AX",
    } do assert.matches(row, shown) end
    assert.equal("", (tree.run("riscv64-linux-gnu-readelf -aW " .. path .. " 2>&1 >/dev/null")))
    refuses(function() asm.elf(result, { entry = "mian" }) end, "asm%.elf: no symbol `mian`, did you mean `main`%?")
  end)

  it("is read as fast as one types, 10,000 lines and more", function()
    local lines = {}
    for i = 1, 2000 do
      lines[i] = ("l%d:  addi a0, a0, %d\n  lw a1, 8(sp)      # comment\n  beqz a0, l%d\n  li a2, 0x%x\n  call l%d"):format(
        i, i % 2048, math.max(1, i - 20), i * 77777, i)
    end
    local text = table.concat(lines, "\n")
    local before = os.clock()
    assert.equal(56000, #asm.assemble(text).bytes)
    assert.is_true(os.clock() - before < 1)
  end)

  it("of the specs assembles here too, and runs", function()
    local text = tree.read "spec/guest/prelude.s" .. "main: li a0, 5\n note a0\n try csrr a0, mhartid\n in_mode_at U, SPACE\n j finish\n"
    local path = folder.write("guest.elf", asm.elf(asm.assemble(text, { at = 0x80000000, name = "guest.s" })))
    local ours = guest.run(path)
    local theirs = guest.run(guest.build(text:sub(#tree.read "spec/guest/prelude.s" + 1)))
    assert.equal("exit", ours.reason)
    assert.equal("0000000000000005", ours.notes[1])
    assert.equal(#theirs.notes, #ours.notes)
    assert.is_true(#ours.notes >= 3)
  end)
end)

-- What is refused ----------------------------------------------------------------------------------------------------------

describe("errors", function()
  local CASES = {
    { "addi a0, a0", "1:1: addi: 3 operands are expected (rd, rs1, imm), not 2" },
    { "nop\n  addi a0, a0, 5000", "2:16: addi: 5000 is out of range: -2048 to 2047" },
    { "adi a0, a0, 1", "1:1: unknown instruction `adi`, did you mean `addi`?" },
    { "lw a0, a1", "1:8: lw: an address like 8(sp) is expected here" },
    { "lw a0, 4(fa1)", "1:10: lw: `fa1` is no x register" },
    { "fadd.s fa0, fa0, fa1, foo", "1:23: fadd.s: a rounding mode is expected here: rne, rtz, rdn, rup, rmm or dyn" },
    { "add a0, a1, a22", "1:13: add: `a22` is no x register, did you mean `a2`?" },
    { "beq a0, a1, away\n.space 5000\naway:", "1:13: beq: 5004 is too far: 5004 bytes from here, and it reaches -4096 to 4094" },
    { "j 3", "1:3: jal: 3 is an odd address" },
    { "j nowhere", "1:3: unknown symbol `nowhere`" },
    { "la a0, fooo; foo:", "1:8: unknown symbol `fooo`, did you mean `foo`?" },
    { "j 1f", "1:3: no label 1: below this line" },
    { "1: nop\nj 2b", "2:3: no label 2: above this line" },
    { "foo: nop\nfoo: nop", "2:1: `foo` is there already, since line 1" },
    { "lui a0, 0x100000", "1:9: lui: 0x100000 is out of range: 0 to 0xfffff" },
    { "slli a0, a0, 64", "1:14: slli: 64 is out of range: 0 to 63" },
    { "csrr a0, mstatsu", "1:10: csrrs: unknown CSR `mstatsu`, did you mean `mstatus`?" },
    { "csrr a0, 0x1000", "1:10: csrrs: 4096 is out of range: a CSR is 0 to 0xfff" },
    { "fence q, w", "1:7: fence: a set of i, o, r, w is expected here, like rw, or 0" },
    { "c.lw a0, 2(a1)", "1:10: c.lw: 2 is out of range: a multiple of 4 from 0 to 124" },
    { "c.lw t0, 0(a1)", "1:6: c.lw: `t0` does not fit: s0, s1 and a0 to a5" },
    { "c.addi zero, 1", "1:1: c.addi: only where rd != 0" },
    { "c.lui a0, 0", "1:1: c.lui: only where imm != 0 and rd != 2" },
    { "c.addi16sp a0, 16", "1:12: c.addi16sp: only sp can be here" },
    { "amoadd.w a0, a1, 4(a2)", "1:18: amoadd.w: an address without an offset is expected here, like (a2)" },
    { "nop nop", "1:1: nop: no operands are expected, not 1" },
    { "mv a0", "1:1: mv: 2 operands are expected, not 1" },
    { "csrw a0, mie, 3", "1:1: csrw: 2 operands are expected, not 3" },
    { "li a0", "1:1: li: 2 operands are expected (rd, number), not 1" },
    { "call", "1:1: call: 1 operand is expected (symbol), not 0" },
    { "li a0, a1", "1:8: register `a1` where a number or a symbol is expected" },
    { ".wrd 1", "1:1: unknown directive `.wrd`, did you mean `.word`?" },
    { ".byte 256", "1:7: 256 does not fit into 1 byte: -128 to 255" },
    { ".word 1.5", "1:7: a whole number is expected, not 1.5" },
    { ".ascii \"abc", "1:8: a string that does not end, or has an unknown escape" },
    { ".ascii 5", "1:8: .ascii: a string in \"quotes\" is expected here" },
    { ".align 99", "1:8: .align: 99: an exponent of two from 0 to 24 is expected" },
    { ".balign 3", "1:9: .balign: 3: a power of two from 1 to 16777216 is expected" },
    { ".org 8\n.org 4", "2:6: 4 is 4 bytes behind here: .org goes forward only" },
    { ".space -1", "1:8: .space: -1 bytes: 0 to 67108864 are possible" },
    { ".space end + 1\nend:", "1:1: addresses do not settle: a size depends on what it changes" },
    { ".section .foo", "1:1: section `.foo` is no known one: its flags are missing, like \"ax\" for code or \"aw\" for data" },
    { ".bss; nop", "1:7: section `.bss` has no bytes, only .space and labels" },
    { ".option foo", "1:9: .option: unknown option `foo`; known: rvc, norvc, push, pop, norelax, nopic" },
    { ".option pop", "1:9: .option pop without its .option push" },
    { ".if 1", "1:1: .if without its .endif" },
    { "nop\n .else", "2:2: .else without its .if" },
    { ".macro foo\nnop", "1:1: .macro without its .endm" },
    { ".macro t a\nadi \\a, \\a, 1\n.endm\n  t a0", "4:3: unknown instruction `adi`, did you mean `addi`? (in macro t, line 2)" },
    { ".macro t\nt\n.endm\nt", "4:1: macros within macros, 200 deep: does one use itself? (in macro t, line 2)" },
    { ".macro m a\n.endm\nm 1, 2", "3:1: macro `m` takes 1 argument, not 2" },
    { ".macro m a:req\n.endm\nm", "3:1: macro `m`: argument `a` is missing" },
    { ".rept 1000000\nnop\nnop\nnop\n.endr", "1:1: macros and repetitions make more than 2000000 lines" },
    { "addi a0, a0, 1/0", "1:15: division by zero" },
    { "addi a0, a0, 0x1ffffffffffffffff", "1:14: a number of more than 64 bits" },
    { "addi a0, a0, (1", "1:16: something is missing at the end of the line" },
    { "addi a0, , 1", "1:10: unexpected `,`" },
    { "addi a0, a0, 09", "1:14: unexpected `09`" },
    { "addi a0, a0, %foo(1)", "1:14: unknown modifier `%foo`; known: hi, lo, pcrel_hi, pcrel_lo" },
    { "addi a0, a0, %pcrel_lo(x); x: nop", "1:14: %pcrel_lo takes the label of an instruction with %pcrel_hi, and there is none at 4" },
    { "lui a0, %hi(0x80000000)", "1:9: %hi(0x80000000): a lui cannot make this address, which is not within 2 GiB of 0 (la can)" },
    { "nop\n/* foo", "2:1: a /* comment that does not end" },
    { ".byte 1; nop", "1:10: an instruction at the odd address 1 (.balign 2 before it)" },
    { ".set a, b; .set b, a; .word a", "1:9: `b` depends on itself" },
    { ".globl foo", "1:8: `foo` is global, but defined nowhere" },
    { ".dword " .. ("("):rep(5000) .. "1", "1:%d+: an expression of too many parts", pattern = true },
    { ".dword 1" .. ("+1"):rep(5000), "1:%d+: an expression of too many parts", pattern = true },
    { ".error \"no such thing\"", "1:1: no such thing" },
    { "5 nop", "1:1: a label, an instruction or a directive is expected, not `5`" },
  }

  it("name line, column and what would be right", function()
    assert.is_true(#CASES >= 30)
    for _, row in ipairs(CASES) do
      refuses(function() asm.assemble(row[1], { name = "bad.s" }) end, "bad%.s:" .. (row.pattern and row[2] or row[2]:gsub("%p", "%%%0")))
    end
  end)

  it("name extensions that the instruction set lacks", function()
    refuses(function() asm.assemble("mul a0, a0, a0", { isa = "rv64i" }) end, "asm:1:1: mul needs the extension m, which rv64i has not")
    refuses(function() asm.assemble("c.fld fa0, (a0)", { isa = "rv64ic" }) end, "asm:1:1: c%.fld needs the extension d, which rv64ic has not")
    refuses(function() asm.assemble(".option rvc", { isa = "rv64i" }) end, "asm:1:9: %.option rvc needs the extension c, which rv64i has not")
    assert.equal("3b850508", hex(asm.assemble("zext.w a0, a1", { isa = "rv64gc_zba" }).bytes))
    assert.equal("1395050213550502", hex(asm.assemble("zext.w a0, a1", { isa = "rv64gc" }).bytes))
    assert.equal("1395050313550503", hex(asm.assemble("zext.h a0, a1", { isa = "rv64gc" }).bytes))
    assert.equal("1395850313558543", hex(asm.assemble("sext.b a0, a1", { isa = "rv64gc" }).bytes))
  end)

  it("are raised for options that make no sense", function()
    refuses(function() asm.assemble(5) end, "asm%.assemble: the text must be a string, not 5")
    refuses(function() asm.assemble("", { att = 1 }) end, "unknown key `asm%.att`, did you mean `at`%?")
    refuses(function() asm.assemble("", { isa = "rv64q" }) end, "isa `rv64q`.*")
    assert.equal("", asm.assemble("").bytes)
  end)

  it("are all that broken text leads to", function()
    local numbers, text = random.new(SEED + 7), tree.read "spec/support/asm.s" .. tree.read "spec/guest/prelude.s"
    local pieces = {}
    for line in text:gmatch "[^\n]+" do pieces[#pieces + 1] = line end
    local BYTES = " \n,;:()\"'#/\\.%+-*01ax\0\255@=~<"
    for _ = 1, random.soak() and 20000 or 600 do
      local first = numbers(#pieces - 12) + 1
      local broken = table.concat(pieces, "\n", first, first + numbers(12))
      for _ = 0, numbers(4) do
        local at, way = numbers(#broken) + 1, numbers(3)
        local byte = numbers(#BYTES) + 1
        broken = broken:sub(1, at - 1) .. (way == 0 and "" or BYTES:sub(byte, byte)) .. broken:sub(at + (way == 2 and 0 or 1))
      end
      local ok, why = pcall(asm.assemble, broken, { name = "broken" })
      assert(ok or tostring(why):match "broken:%d+:%d+: ", ("seed %d: %s\n%s"):format(SEED, tostring(why), broken))
    end
  end)
end)

-- The command --------------------------------------------------------------------------------------------------------------

describe("umbra asm", function()
  it("shows what became of a text", function()
    local shown = umbra.run { "asm", "li a0, 0x12345; j .; .data; x: .asciz \"hello\"", "--at", "0x1000" }
    assert.same({ code = 0, err = "", out = [[
    1000:  00012537  li a0, 0x12345
    1004:  3455051b
    1008:  0000006f  j .
    1010:  6c6c6568  .asciz "hello"
    1014:  006f
]] }, shown)
    assert.equal("00150513\n4505\n", umbra.run({ "asm", "--hex", "addi a0, a0, 1; c.li a0, 1" }).out)
    assert.equal("       0:  00008067  ret\n", umbra.run({ "asm", "ret" }).out)
    assert.equal("       0:  00008067  ret\n", umbra.run({ "asm", "-" }, { input = "ret\n" }).out)
    assert.is_truthy(umbra.run({ "asm", "--help" }).out:find("usage: umbra asm", 1, true))
  end)

  it("writes bytes and programs", function()
    local source = folder.write("hello.s", " .globl go\n .word 0\ngo: li a0, 1\n j go\n")
    assert.same({ code = 0, out = "", err = "" }, umbra.run { "asm", source, "-o", folder.path .. "/raw" })
    assert.equal("00000000" .. "13051000" .. "6ff0dfff", hex(tree.read(folder.path .. "/raw")))
    assert.equal(0, umbra.run({ "asm", source, "-o", folder.path .. "/elf", "--elf", "--at=0x80000000", "--entry=go", "--isa=rv64i" }).code)
    assert.equal(0x80000004, image.parse(tree.read(folder.path .. "/elf"), "elf").entry)
    assert.equal("00000000  .4byte 0x00000000", (umbra.run({ "dis", folder.path .. "/elf" }).out:match "80000000:  (%x+  .-)\n"):gsub("0000      .2byte 0x0000",
      "00000000  .4byte 0x00000000"))
  end)

  it("refuses in one line", function()
    local bad = folder.write("bad.s", "nop\n  addi a0, a0, 5000\n")
    for _, row in ipairs {
      { 126, "asm: which text or file%? %(umbra asm %-%-help%)" },
      { 127, "cannot open nothing%.s: No such file or directory", "nothing.s" },
      { 127, "cannot open no/thing: No such file or directory", "no/thing" },
      { 126, ".*bad%.s:2:16: addi: 5000 is out of range: %-2048 to 2047", bad },
      { 126, "text:1:1: unknown instruction `nopp`, did you mean `nop`%?", "nopp" },
      { 126, "unknown option `%-%-elff`, did you mean `%-%-elf`%? %(umbra asm %-%-help%)", "--elff", "nop" },
      { 126, "%-o: a value must follow", "nop", "-o" },
      { 126, "%-%-elf: %-o OUT says where to", "--elf", "nop" },
      { 126, "%-%-entry goes with %-%-elf", "--entry=x", "nop" },
      { 126, "%-%-hex shows, %-o writes: one of them", "--hex", "-o", "x", "nop" },
      { 126, "asm: one text or file at a time, not also `ret` .*", "nop", "ret" },
      { 126, "asm%.elf: no symbol `x`; none is known here", "--elf", "-o", folder.path .. "/x", "--entry=x", "nop" },
      { 126, "cannot open /no/where: No such file or directory", "-o", "/no/where", "nop" },
      { 125, "cannot write /dev/full: No space left on device", "-o", "/dev/full", "nop" },
      { 126, "`asm%.at` must be an address.*", "--at=x", "nop" },
      { 126, "isa `rv64qq`: .*", "--isa=rv64qq", "nop" },
    } do
      local result = umbra.run { "asm", unpack(row, 3) }
      assert.is_truthy(result.err:match("^umbra: " .. row[2] .. "\n$"), result.err)
      if not row[2]:find "/no/where" then assert.equal(row[1], result.code, result.err) end
    end
  end)
end)

describe("the page", function()
  it("has an example that works", function() example "docs/asm.md" end)

  it("names every directive", function()
    local text = tree.read "docs/asm.md"
    for _, name in ipairs(require("umbra.asm.directive").names) do
      if name:sub(1, 1) == "." then assert.is_truthy(text:find("`" .. name:gsub("%p", "%%%0") .. "[` ]"), name) end
    end
  end)
end)
