-- dis: texts and validity of instructions against llvm-mc and objdump, the decoder against the descriptions, sections of files,
-- and the command.
-- SPDX-License-Identifier: MIT
local bit     = require "bit"
local cpu     = require "umbra.cpu"
local dis     = require "umbra.dis"
local elf     = require "spec.support.elf"
local ffi     = require "ffi"
local isa     = require "umbra.isa"
local random  = require "spec.support.random"
local refuses = require "spec.support.refuses"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"
local word    = require "umbra.isa.word"
local C       = require("umbra.clib").C

local SEED = random.seed(19)
local WORDS = random.soak() and 200000 or 20000

local description = isa.load "lua/isa/riscv/riscv.lua"
local EVERYTHING = "rv64gc_zba_zbb_zbc_zbs_zicond_zawrs_zicbom_zicboz_zicntr_zihpm_sstc_svinval"

-- llvm-mc 14 knows rv64gc, Zba to Zbs and the privileged base; GNU's objdump 2.40 is asked for the rest, and neither knows Zicond.
local GNU = { zicbom = true, zicboz = true, zawrs = true, svinval = true }
local NOBODY = { zicond = true }

local rows = {}
for _, list in ipairs { description.insns, description.shorts } do
  for _, row in ipairs(list) do rows[#rows + 1] = row end
end

-- Decoding many words through one buffer; dis.word makes one at each call.
local buffer = ffi.new "char[128]"
local everything = cpu.isa_mask(EVERYTHING)
local function text_of(value, mask)
  return C.um_riscv_disassemble(value, 0, mask or everything, buffer, 128) > 0 and ffi.string(buffer) or nil
end

-- CSRs are compared by number. One that no hart here has is shown by number, whatever others call it.
local csr_numbers = {}
for number = 0, 4095 do
  local name = C.um_riscv_csr_name(number)
  if name ~= nil then csr_numbers[ffi.string(name)] = number end
end

-- Both write operands alike but for the base of numbers. Jumps are shown as distances by llvm-mc, which is where they go from 0.
local function numbers_alike(text)
  return (text:gsub("0x(%x+)", function(digits)
    local value = 0LL
    for digit in digits:gmatch "." do value = value * 16 + tonumber(digit, 16) end
    return tostring(value):gsub("LL", "")
  end))
end

local function alike(text, row)
  text = text:gsub("^%s+", ""):gsub("%s+$", ""):gsub("%s+", " "):gsub(", ", ","):gsub(" *[#<].*$", "")
  if row and row.name:match "^csrr" then
    text = text:gsub("^(%S+ %w+,)([%a][%w]*),", function(head, name) return csr_numbers[name] and head .. csr_numbers[name] .. "," end)
  end
  return numbers_alike(text)
end

-- What llvm-mc prints for each of the words, nil where it says that there is no instruction.
local function llvm(words)
  local base = os.tmpname()
  local file = assert(io.open(base, "w"))
  for _, value in ipairs(words) do
    for i = 0, value % 4 == 3 and 3 or 1 do file:write(("0x%02x "):format(math.floor(value / 256 ^ i) % 256)) end
    file:write "\n"
  end
  file:close()
  local out = tree.run(("( llvm-mc --disassemble -triple=riscv64 -mattr=+m,+a,+f,+d,+c,+zba,+zbb,+zbc,+zbs -M no-aliases < %s 2> %s.err )"):format(base, base))
  local invalid, texts = {}, {}
  for line in io.lines(base .. ".err") do
    local number = line:match "^<stdin>:(%d+):%d+: warning"
    if number then invalid[tonumber(number)] = true end
  end
  os.remove(base)
  os.remove(base .. ".err")
  local next_line = out:gsub("^%s*%.text\n", ""):gmatch "[^\n]+"
  for i = 1, #words do texts[i] = not invalid[i] and assert(next_line(), "llvm-mc said too little") or nil end
  return texts
end

local ARCH = "rv64i2p1_m2p0_a2p1_f2p2_d2p2_c2p0_zicsr2p0_zifencei2p0_zicbom1p0_zicboz1p0_zawrs1p0_svinval1p0"

-- The same of objdump.
local function gnu(words)
  local path, code = os.tmpname(), {}
  for i, value in ipairs(words) do code[i] = elf.le(value, 4) end
  local file = assert(io.open(path, "wb"))
  file:write(elf.write { class = 64, sections = { { ".text", 1, 6, 0, table.concat(code) }, elf.attributes(ARCH) } })
  file:close()
  local out = tree.run("riscv64-unknown-elf-objdump -M no-aliases -d " .. path .. " || riscv64-linux-gnu-objdump -M no-aliases -d " .. path)
  os.remove(path)
  local texts = {}
  for at, text in out:gmatch "\n%s*(%x+):\t%x[%x ]*\t([^\n]*)" do texts[tonumber(at, 16) / 4 + 1] = text end
  return texts
end

-- Bits that a hart ignores and an assembler writes as 0: the reserved fields of fences (unprivileged manual 2.7, 5.1), and the
-- rounding mode of conversions to double that are exact.
local IGNORED = { ["fence"] = 0xf00fff80, ["fence.i"] = 0xffffff80 - 0x7000, ["fcvt.d.w"] = 0x7000, ["fcvt.d.wu"] = 0x7000, ["fcvt.d.s"] = 0x7000 }
local function without_ignored(row, value)
  local ignored = IGNORED[row.name]
  return ignored and bit.band(bit.tobit(value), bit.bnot(bit.tobit(ignored))) % 2 ^ 32 or value
end

describe("texts of instructions", function()
  it(("agree with llvm-mc and objdump on %d random words"):format(WORDS), function()
    local numbers = random.new(SEED)
    local asked = { llvm = { rows = {}, words = {} }, gnu = { rows = {}, words = {} } }
    local count = 0
    while count < WORDS do
      local row = rows[numbers(#rows) + 1]
      if not NOBODY[row.extension] then
        local list = GNU[row.extension] and asked.gnu or asked.llvm
        count = count + 1
        list.rows[#list.rows + 1], list.words[#list.words + 1] = row, without_ignored(row, word.random(row, numbers))
      end
    end
    assert.is_true(#asked.llvm.words > WORDS * 0.9 and #asked.gnu.words > 500)
    for oracle, list in pairs(asked) do
      local theirs = (oracle == "llvm" and llvm or gnu)(list.words)
      for i, row in ipairs(list.rows) do
        local ours = text_of(list.words[i])
        assert(ours, row.name .. " was not decoded")
        ours = alike(ours, row)
        local other = alike(theirs[i] or "nothing", row)
        local csr = row.name:match "^csrr" and other:match "^%S+ %w+,(%a%w*),"
        if csr then other = other:gsub(csr, ours:match "^%S+ %w+,(%d+),", 1) end
        -- A shift by 0 in compressed form is a hint that llvm-mc calls by its name in RV128.
        other = other:gsub("^(c%.%w+)64 (%w+)$", "%1 %2,0")
        -- The immediate of c.lui is shown as 20 bits; with rd = x0, a hint, llvm-mc shows it signed.
        other = other:gsub("^c%.lui zero,%-(%d+)$", function(digits) return "c.lui zero," .. 2 ^ 20 - tonumber(digits) end)
        -- An empty set of a fence, written 0, is "unknown" to llvm-mc.
        other = other:gsub("unknown", "0")
        -- objdump leaves out the 0 before an address in brackets.
        if oracle == "gnu" then other = other:gsub(" %(", " 0(") end
        assert(ours == other, ("0x%s at seed %d: %s, but %s says %s"):format(bit.tohex(list.words[i]), SEED, ours, oracle, other))
      end
    end
  end)

  it("of Zicond, by the manual", function()
    assert.equal("czero.eqz a0, a1, a2", text_of(0x0ec5d533))
    assert.equal("czero.nez a0, a1, a2", text_of(0x0ec5f533))
  end)

  it("show ordering, rounding, fences, CSRs and targets", function()
    for value, text in pairs {
      [0x06b5252f] = "amoadd.w.aqrl a0, a1, (a0)", [0x1005252f] = "lr.w a0, (a0)", [0x1405252f] = "lr.w.aq a0, (a0)",
      [0x02b57553] = "fadd.d fa0, fa0, fa1, dyn", [0x02b51553] = "fadd.d fa0, fa0, fa1, rtz",
      [0x0ff0000f] = "fence iorw, iorw", [0x0100000f] = "fence w, 0", [0x8330000f] = "fence.tso", [0x0000100f] = "fence.i",
      [0x30002573] = "csrrs a0, mstatus, zero", [0x7d002573] = "csrrs a0, 0x7d0, zero", [0x00100073] = "ebreak", [0x12a58073] = "sfence.vma a1, a0",
      [0xd2050553] = "fcvt.d.w fa0, a0", [0xd2051553] = "fcvt.d.w fa0, a0, rtz", [0x000012b7] = "lui t0, 0x1", [0x00051513] = "slli a0, a0, 0",
      [0x0001] = "c.nop", [0x0005] = "c.nop 1", [0x4505] = "c.li a0, 1", [0x8082] = "c.jr ra", [0x9002] = "c.ebreak", [0x6085] = "c.lui ra, 0x1",
    } do assert.equal(text, (dis.word(value))) end
    assert.equal("bne a0, zero, 0x7fffffe8", (dis.word(0xfe0514e3, { at = 0x80000000 })))
    assert.equal("c.j 0xffffffffffffffe0", (dis.word(0xb7c5, { at = 0 })))
    assert.same({ "c.li a0, 1", 2 }, { dis.word(0x4505) })
    assert.same({ "addi a0, a0, 1", 4 }, { dis.word(0x00150513) })
    assert.is_nil(dis.word(0))
    assert.is_nil(dis.word(0xffffffff))
  end)
end)

describe("valid words", function()
  -- Where llvm-mc 14 and the manual differ: it refuses reserved bits that harts ignore; it takes words that are reserved: uret (of the
  -- dropped extension N), c.lui with an immediate 0, and the 16 zero bits that are defined to be illegal.
  local function excused(value, ours)
    if ours then
      local name = ours:match "^%S+"
      return IGNORED[name] ~= nil
    end
    return value == 0x00200073 or value == 0 or value < 0x10000 and bit.band(value, 0xf07f) == 0x6001
  end

  it("are the same for llvm-mc", function()
    local numbers, words = random.new(SEED + 1), {}
    local mask = cpu.isa_mask "rv64gc_zba_zbb_zbc_zbs"
    for i = 1, WORDS do
      local value
      if i % 2 == 0 then                               -- an instruction with one or two bits turned
        local row = rows[numbers(#rows) + 1]
        value = word.random(row, numbers)
        for _ = 0, numbers(2) do value = bit.bxor(bit.tobit(value), bit.lshift(1, numbers(row.width))) % 2 ^ 32 end
        if value % 4 ~= 3 then value = value % 65536 end
      elseif i % 4 == 1 then
        value = numbers(65536)
        if value % 4 == 3 then value = value - 1 end
      else value = numbers(2 ^ 30) * 4 + 3 end
      words[i] = value
    end
    local theirs, valid = llvm(words), 0
    for i, value in ipairs(words) do
      local ours = text_of(value, mask)
      if ours then valid = valid + 1 end
      if (ours ~= nil) ~= (theirs[i] ~= nil) and not excused(value, ours) then
        error(("0x%s at seed %d: %s, but llvm-mc says %s"):format(bit.tohex(value), SEED, ours or "none", theirs[i] or "none"))
      end
    end
    assert.is_true(valid > WORDS / 3 and valid < WORDS * 0.9)
  end)

  it("are those of the descriptions, and have the name the descriptions give", function()
    local numbers = random.new(SEED + 2)
    for _ = 1, random.soak() and 100000 or 5000 do
      local short = numbers(2) == 0
      local value = short and math.floor(numbers(65536) / 4) * 4 + numbers(3) or numbers(2 ^ 30) * 4 + 3
      if not short and numbers(2) == 0 then value = word.random(rows[numbers(#description.insns) + 1], numbers) end
      local row = word.decode(description, value, short and 16 or 32)
      local ours = text_of(value)
      local name = ours and ours:match "^%S+":gsub("%.aq$", ""):gsub("%.rl$", ""):gsub("%.aqrl$", "")
      assert(name == (row and row.name), ("0x%s: %s, but the description says %s"):format(bit.tohex(value), tostring(name), row and row.name or "none"))
    end
  end)

  it("belong to one row: two that fit a word are one inside the other, or exclude each other by a condition", function()
    local function bits(row, other) return bit.band(bit.tobit(row.mask), bit.tobit(other.mask)) end
    for i, a in ipairs(rows) do
      for j = i + 1, #rows do
        local b = rows[j]
        local common = bits(a, b)
        local meet = a.width == b.width and bit.band(bit.bxor(bit.tobit(a.match), bit.tobit(b.match)), common) == 0
        if meet and not a.where and not b.where then
          assert(a.fixed ~= b.fixed and (common == bit.tobit(a.mask) or common == bit.tobit(b.mask)), a.name .. " and " .. b.name .. " meet")
        end
      end
    end
  end)

  it("need their extension, and that of what they stand for", function()
    local numbers = random.new(SEED + 3)
    for _, row in ipairs(rows) do
      local value = word.random(row, numbers)
      local needs = { [row.extension] = true, [(row.target or row).extension] = true }
      for index, name in ipairs(description.extensions) do
        local without = bit.band(everything, bit.bnot(bit.lshift(1ULL, index - 1)))
        local text = text_of(value, without)
        if needs[name] then
          assert(not text or text:match "^%S+" ~= row.name, row.name .. " is there without " .. name)
        else assert(text, row.name .. " is not there without " .. name) end
      end
    end
  end)
end)

describe("bytes", function()
  it("are shown in a row, with what is no instruction among them", function()
    local lines = {}
    for line in dis.bytes("\1\0\19\5\21\0\255\255\255\255\0\0\19\5\1", { at = 0x80000000 }) do lines[#lines + 1] = tostring(line) end
    assert.same({
      "80000000:  0001      c.nop", "80000002:  00150513  addi a0, a0, 1", "80000006:  ffffffff  .4byte 0xffffffff", "8000000a:  0000      .2byte 0x0000",
      "8000000c:  0513      .2byte 0x0513", "8000000e:  01        .byte 0x01",
    }, lines)
  end)

  it("obey the instruction set asked for", function()
    local line = dis.bytes("\5\69", { isa = "rv64i" })()
    assert.is_false(line.known)
    assert.equal(".2byte 0x4505", line.text)
    assert.is_true(dis.bytes("\5\69", { isa = "rv64ic" })().known)
  end)

  it("refuse what makes no sense", function()
    refuses(function() dis.word("13") end, "dis.word: a word of at most 32 bits, not \"13\"")
    refuses(function() dis.word(2 ^ 32) end, "dis.word: a word of at most 32 bits, not 4294967296")
    refuses(function() dis.word(1, { a = 1 }) end, "unknown key `dis%.word%.a`.*")
    refuses(function() dis.word(1, { isa = "rv64z" }) end, "isa `rv64z`.*")
    refuses(function() dis.file("/nowhere") end, "cannot open /nowhere: No such file or directory")
  end)
end)

describe("files", function()
  local folder
  setup(function()
    folder = umbra.folder()
    umbra.assemble([[
      .globl _start, hello
      _start: li a0, 1
      j hello
      .word 0xffffffff
      hello: ret
      .data
      .quad 5
    ]], folder.path .. "/hello.elf")
    folder.write("raw.bin", "\5\69\130\128")
    folder.write("short.elf", tree.read(folder.path .. "/hello.elf"):sub(1, 300))
    folder.write("empty", "")
  end)
  teardown(function() folder.remove() end)

  it("show executable sections and their labels", function()
    local sections = dis.file(folder.path .. "/hello.elf")
    assert.equal(1, #sections)
    assert.equal(".text", sections[1].name)
    assert.equal(0x80000000, sections[1].at)
    local texts = {}
    for line in sections[1]:lines() do
      for _, name in ipairs(sections[1]:labels(line.at)) do texts[#texts + 1] = name .. ":" end
      texts[#texts + 1] = line.text
    end
    assert.same({ "_start:", "c.li a0, 1", "jal zero, 0x8000000a", ".4byte 0xffffffff", "hello:", "c.jr ra" }, texts)
  end)

  it("that are cut off anywhere are refused, or show what is there", function()
    local bytes = tree.read(folder.path .. "/hello.elf")
    for size = 4, #bytes - 1, 7 do
      local ok, why = pcall(dis.parse, bytes:sub(1, size), "cut")
      assert(ok or why:match "cut: broken ELF file" or why:match "cut: .*ELF", why)
    end
  end)

  it("with bytes turned are refused, or shown", function()
    local bytes, numbers = tree.read(folder.path .. "/hello.elf"), random.new(SEED + 4)
    for _ = 1, 300 do
      local at = numbers(#bytes) + 1
      if numbers(2) == 0 then at = numbers(64) + 1 end
      local broken = bytes:sub(1, at - 1) .. string.char(numbers(256)) .. bytes:sub(at + 1)
      local ok, why = pcall(function()
        for _, section in ipairs(dis.parse(broken, "broken")) do
          for line in section:lines() do section:labels(line.at) end
        end
      end)
      assert(ok or why:match "broken: ", why)
    end
  end)

  it("by the command", function()
    local shown = umbra.run { "dis", folder.path .. "/hello.elf" }
    assert.equal(0, shown.code)
    assert.is_truthy(shown.out:find("\n80000000 <_start>:\n80000000:  4505      c.li a0, 1\n80000002:  0080006f  jal zero, 0x8000000a <hello>\n", 1, true))
    shown = umbra.run { "dis", folder.path .. "/raw.bin", "--at=0x1000" }
    assert.equal("\n" .. folder.path .. "/raw.bin: " .. folder.path .. "/raw.bin\n    1000:  4505      c.li a0, 1\n    1002:  8082      c.jr ra\n", shown.out)
    shown = umbra.run { "dis", folder.path .. "/raw.bin", "--at=0xffffffff80000000", "--symbols", folder.write("t.map", "ffffffff80000002 T x\n") }
    assert.is_truthy(shown.out:find("1\n\nffffffff80000002 <x>:\nffffffff80000002:  8082      c.jr ra\n", 1, true))
    shown = umbra.run { "dis", "00150513", "0x4505", "--isa", "rv64gc", "--at", "100" }
    assert.equal("      64:  00150513  addi a0, a0, 1\n      68:  4505      c.li a0, 1\n", shown.out)
    assert.equal(0, shown.code)
    assert.same({ code = 1, out = "       0:  ffffffff  .4byte 0xffffffff\n", err = "" }, umbra.run { "dis", "ffffffff" })
    assert.is_truthy(umbra.run({ "dis", "--help" }).out:find("usage: umbra dis", 1, true))
  end)

  it("refused by the command, each in one line", function()
    for _, row in ipairs {
      { 126, "dis: which file or words%? %(umbra dis %-%-help%)" },
      { 127, "cannot open nothing: No such file or directory, .*", "nothing" },
      { 127, "cannot open 123456789: No such file or directory, .*", "123456789" },
      { 126, "unknown option `%-%-iza=rv64i`, did you mean `%-%-isa`%? %(umbra dis %-%-help%)", "--iza=rv64i" },
      { 126, "%-%-at: a value must follow", "--at" },
      { 126, "`dis%.at` must be an address.*", "--at=x", "13" },
      { 126, "isa `rv64qq`: .*", "--isa=rv64qq", "13" },
      { 126, ".*short%.elf: broken ELF file: .*", folder.path .. "/short.elf" },
      { 126, "/bin/sh: ELF file, but not for RISC%-V", "/bin/sh" },
      { 126, "cannot read .*: Is a directory", folder.path },
    } do
      local result = umbra.run { "dis", unpack(row, 3) }
      assert.equal(row[1], result.code, result.err)
      assert.is_truthy(result.err:match("^umbra: " .. row[2] .. "\n$"), result.err)
    end
    assert.same({ code = 0, out = ("\n%s/empty: %s/empty\n"):format(folder.path, folder.path), err = "" }, umbra.run { "dis", folder.path .. "/empty" })
  end)
end)
