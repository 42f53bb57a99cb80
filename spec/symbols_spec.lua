-- symbols: names of addresses from ELF files, System.map and Linux Images, hostile ones among them.
-- SPDX-License-Identifier: MIT
local bits    = require "umbra.bits"
local fetch   = require "umbra.fetch"
local machine = require "umbra.machine"
local random  = require "spec.support.random"
local refuses = require "spec.support.refuses"
local symbols = require "umbra.symbols"
local tree    = require "spec.support.tree"
local umbra   = require "spec.support.umbra"

local SEED = tonumber(os.getenv "UMBRA_SEED") or 7
local SOAK = os.getenv "UMBRA_SOAK" == "1"

local PROGRAM = [[
  .globl _start, main, table
  _start: li sp, 0x80100000
          call main
  .type main, @function
  main:   j 1f
  .Lhidden: nop
  1:      ret
  .size main, . - main
  .type own, @function
  own:    ret
          ret
  .data
  .type table, @object
  table:  .dword 1, 2
  .size table, 16
  .set far, 0xffffffff80000000
  .globl far
]]

local function le(value, bytes)
  local pieces = {}
  for i = 1, bytes do
    pieces[i] = string.char(tonumber(value % 256))
    value = math.floor(value / 256)
  end
  return table.concat(pieces)
end

local function align8(text) return text .. ("\0"):rep(-#text % 8) end

-- The text of a Linux Image whose kallsyms hold `list` ({ offset, "Tname" }), relative to 0xffffffff80000000, after `before` bytes.
local TOKENS = { [1] = "_start", [2] = "kernel", [3] = "Tdo_", [4] = "__" }
local function linux(list, before)
  local texts, number = {}, {}
  for i = 0, 255 do
    texts[i] = TOKENS[i] or i > 32 and i < 127 and string.char(i) or ""
    if texts[i] ~= "" and #texts[i] == 1 then number[texts[i]] = i end
  end
  local function encode(name)
    local out = {}
    while name ~= "" do
      local best = number[name:sub(1, 1)]
      for i, text in pairs(TOKENS) do if name:sub(1, #text) == text then best = i end end
      out[#out + 1] = string.char(best)
      name = name:sub(#texts[best] + 1)
    end
    local count = #out
    return (count < 128 and string.char(count) or string.char(128 + count % 128, math.floor(count / 128))) .. table.concat(out)
  end
  local names, marks, offsets, tokens, index, size = {}, {}, {}, {}, {}, 0
  for i, row in ipairs(list) do
    if i % 256 == 1 then marks[#marks + 1] = le(size, 4) end
    names[i], offsets[i] = encode(row[2]), le(row[1], 4)
    size = size + #names[i]
  end
  local place = 0
  for i = 0, 255 do
    tokens[i + 1], index[i + 1] = texts[i] .. "\0", le(place, 2)
    place = place + #texts[i] + 1
  end
  return "MZ\0\0" .. ("\0"):rep(0x34) .. "RSC\5" .. ("\0"):rep(4) .. ("\165"):rep(before or 512) .. align8(le(#list, 4)) .. align8(table.concat(names)) ..
    align8(table.concat(marks)) .. align8(table.concat(tokens)) .. table.concat(index) .. align8(table.concat(offsets)) ..
    le(0x80000000, 4) .. "\255\255\255\255" .. ("\90"):rep(64)
end

local function many(count)
  local list = { { 0, "T_start" }, { 0, "t_same" }, { 0x40, "Tstart_kernel" }, { 0x80, "t__" .. ("x"):rep(200) } }
  for i = #list + 1, count do list[i] = { i * 0x40, "Tdo_thing_" .. i } end
  return list
end

-- A table of what `bytes` name.
local function parsed(bytes, offset)
  local names = symbols.new()
  finally(function() names:close() end)
  return names, names:parse(bytes, "t", offset)
end

describe("the symbols of an ELF file", function()
  local folder, path
  setup(function()
    folder = umbra.folder()
    path = umbra.assemble(PROGRAM, folder.path .. "/t.elf")
  end)
  teardown(function() folder.remove() end)

  it("are those that nm prints", function()
    local names, ours = symbols.open(path), {}
    finally(function() names:close() end)
    for symbol in names:each() do ours[#ours + 1] = ("%016x %s %s"):format(bits.u64(symbol.at), symbol.kind, symbol.name) end
    local theirs = {}
    for line in tree.run("nm -n " .. path):gmatch "[^\n]+" do
      if not line:find " %.L" then theirs[#theirs + 1] = (line:gsub(" a ", " A "):gsub(" A ", " A ")) end
    end
    table.sort(ours)
    table.sort(theirs)
    assert.is_true(#ours >= 5)
    assert.same(theirs, ours)
  end)

  it("name addresses up to their ends", function()
    local names = symbols.open(path)
    finally(function() names:close() end)
    local main = names:address "main"
    assert.equal("_start", names:name(0x80000000))
    assert.equal("_start+0x4", names:name(0x80000004))
    assert.equal("main+0x2", names:name(main + 2))
    assert.equal("table+0xf", names:name(names:address "table" + 15))
    assert.is_nil(names:name(names:address "table" + 16))
    assert.is_nil(names:name(0x7fffffff))
    assert.is_nil(names:name(0))
    assert.is_true(names:address "far" == 0xffffffff80000000ULL)
    assert.equal("far+0x10", names:name(0xffffffff80000010ULL))
    assert.equal(bits.hex(main + 2) .. " <main+0x2>", names:show(main + 2))
    assert.equal("0x10", names:show(16))
    assert.is_nil(names:address "mai")
    assert.is_nil(names:address ".Lhidden")
  end)

  it("are found by what people write", function()
    local names = symbols.open(path)
    finally(function() names:close() end)
    assert.equal(0x80000000, names:resolve("_start", "pc"))
    assert.equal(0x80000010, names:resolve("_start+0x10", "pc"))
    assert.equal(names:address "main" - 2, names:resolve("main-2", "pc"))
    assert.equal(18, names:resolve("0x12", "pc"))
    assert.is_true(names:resolve("0xffffffff80000000", "pc") == 0xffffffff80000000ULL)
    refuses(function() names:resolve("_strat", "pc") end, 'pc: no symbol "_strat", did you mean `_start`%?')
    refuses(function() names:resolve({}, "pc") end, "pc must be an address or the name of a symbol, not a table")
    refuses(function() symbols.new():resolve("x", "pc") end, 'pc: no symbol "x": there are none here %(symbols = FILE gives some%)')
  end)

  it("make an ELF file that nm reads", function()
    local out = folder.path .. "/names.elf"
    assert.same({ code = 0, out = "", err = "" }, umbra.run { "symbols", path, "-o", out })
    local theirs = {}
    for _, file in ipairs { path, out } do
      theirs[#theirs + 1] = {}
      for line in tree.run("nm -n " .. file):gmatch "[^\n]+" do
        local at, name = line:match "^(%x+) . (.*)$"
        if not name:find "^%.L" then table.insert(theirs[#theirs], at .. " " .. name) end
      end
      table.sort(theirs[#theirs])
    end
    assert.same(theirs[1], theirs[2])
    assert.is_true(#tree.read(out) < 8192)
  end)

  it("of a later file hide those of an earlier one", function()
    local names = symbols.open(path)
    finally(function() names:close() end)
    assert.equal(1, names:parse("90000000 T main\n", "map"))
    assert.equal(0x90000000, names:address "main")
    assert.equal(1, names:parse("80000000 t entry\n", "map"))
    assert.equal("entry", names:name(0x80000000))
    assert.equal(0x80000000, names:address "_start")
  end)
end)

describe("a System.map", function()
  it("is read, with offset and alias", function()
    local text = "ffffffff80000000 T _start\nffffffff80002000 T _text\nffffffff80002000 t also\r\nffffffff80003000 d data\t[module]"
    local names, count = parsed(text, 0x1000)
    assert.equal(4, count)
    assert.equal("_text+0x8", names:name(0xffffffff80003008ULL))
    assert.is_true(names:address "data" == 0xffffffff80004000ULL)
    names:alias(0x80200000, 0x3000, 0xffffffff80001000ULL)
    assert.equal("_start+0x4", names:name(0x80200004))
    assert.equal("_text", names:name(0x80202000))
    assert.is_nil(names:name(0x80203000))
  end)

  it("that only says where the real one is has no names", function()
    local _, count = parsed "ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n"
    assert.equal(0, count)
  end)

  it("is refused with the line that is none", function()
    refuses(function() symbols.new():parse("80000000 T a\nnonsense\n", "t.map") end, "symbols: t.map: line 2 of a System.map must look like: .*")
    refuses(function() symbols.new():parse("hello", "t") end, "symbols: t: no file with symbols: neither ELF nor a Linux Image nor a System.map")
    refuses(function() symbols.new():add "/nothing" end, "symbols: cannot open /nothing: No such file or directory")
    refuses(function() symbols.new():add(5) end, "symbols: the path of a file is needed, not 5")
    refuses(function() symbols.new():alias(0, "x", 0) end, "`size` must be an address .*")
  end)
end)

describe("a Linux Image", function()
  it("says its symbols itself, however many they are", function()
    for _, count in ipairs { 4, 255, 256, 257, 512, 1000 } do
      local list = many(count)
      local names, got = parsed(linux(list))
      assert.equal(count, got)
      local seen = {}
      for symbol in names:each() do seen[symbol.kind .. symbol.name] = symbol.at end
      for _, row in ipairs(list) do assert.is_true(seen[row[2]] == 0xffffffff80000000ULL + row[1], row[2]) end
      assert.equal("start_kernel+0x2", names:name(0xffffffff80000042ULL))
      assert.equal("_start", names:name(0xffffffff80000000ULL))
    end
  end)

  it("that is cut off or turned anywhere has symbols or none, and does no harm", function()
    local whole, numbers = linux(many(300)), random.new(SEED)
    for _ = 1, SOAK and 20000 or 1500 do
      local bytes, at = whole, numbers(#whole) + 1
      if numbers(4) == 0 then bytes = bytes:sub(1, at)
      else bytes = bytes:sub(1, at - 1) .. string.char(numbers(256)) .. bytes:sub(at + 1) end
      local names = symbols.new()
      local ok, count = pcall(names.parse, names, bytes, "t")
      assert(not ok and count:find "t: no file with symbols" or ok and (count == 0 or count == 300), count)
      names:close()
    end
  end)

  it("made to keep the search busy does not", function()
    local step = {}
    for i = 0, 255 do step[i + 1] = le(i * 2, 2) end
    local index = table.concat(step)
    local start = os.clock()
    for _, piece in ipairs { ("\0"):rep(2^22), index:rep(2^22 / #index), ("\1"):rep(2^16) .. index:rep(1000), (le(1, 4) .. le(0, 4)):rep(2^19) } do
      local _, count = parsed("MZ\0\0" .. ("\0"):rep(0x34) .. "RSC\5" .. ("\0"):rep(4) .. piece)
      assert.equal(0, count)
    end
    assert.is_true(os.clock() - start < 5)
  end)
end)

describe("the symbols of a machine", function()
  it("are its program's, and those of the file given", function()
    local folder = umbra.folder()
    finally(folder.remove)
    local path = umbra.assemble(PROGRAM, folder.path .. "/t.elf")
    local map = folder.write("more.map", "80000004 T inside\n")
    local m = machine.load("bare", { kernel = path, symbols = map })
    finally(function() m:close() end)
    assert.equal("inside", m.symbols:name(0x80000004))
    assert.equal(0x80000000, m.symbols:address "_start")
    local result = m:run { until_pc = "main", instructions = 100 }
    assert.equal("pc", result.reason)
    assert.equal(m.symbols:address "main", result.pc)
    assert.equal("pc at " .. bits.hex(result.pc) .. " <main>", tostring(result))
    refuses(function() m:run { until_pc = "mian" } end, 'run: until_pc: no symbol "mian", did you mean `main`%?')
    refuses(function() machine.load("bare", { kernel = path, symbols = path .. "x" }).symbols:count() end, "symbols: cannot open .*")
  end)

  it("that has none are none", function()
    local folder = umbra.folder()
    finally(folder.remove)
    local m = machine.load("bare", { kernel = folder.write("t.bin", "\1\0\1\0") })
    finally(function() m:close() end)
    assert.equal(0, m.symbols:count())
    assert.is_nil(m.symbols:name(0x80000000))
    refuses(function() m:run { until_pc = "main" } end, 'run: until_pc: no symbol "main": there are none here .*')
  end)

  it("booting Linux are the kernel's, before and after it is mapped", function()
    local guest = fetch.ensure "debian-riscv64"
    local m = machine.load("riscv-virt", { kernel = guest.kernel, initrd = guest.initrd, firmware = guest.firmware, clock = "virtual" })
    finally(function() m:close() end)
    assert.is_true(m.symbols:count() > 50000)
    assert.equal("_start", m.symbols:name(0x80200000))
    assert.equal("_start_kernel", m.symbols:name(m:run({ until_pc = 0x80200000 + tonumber(bits.u64(m.symbols:address "_start_kernel") -
      bits.u64(m.symbols:address "_start")), instructions = 10^8 }).pc))
    local result = m:run { until_pc = "start_kernel", instructions = 10^8 }
    assert.equal("pc at 0xffffffff80c008bc <start_kernel>", (tostring(result):gsub("0x%x+", "0xffffffff80c008bc")))
    if not SOAK then return end
    -- What the kernel itself says of all of them.
    assert.equal("text", m:run({ until_text = "guest# ", timeout = 120 }).reason)
    m.console:send "grep -v '\\[' /proc/kallsyms | sort | md5sum\n"
    local found = m:run({ until_text = "(%x+)  %-\r?\n", is_pattern = true, timeout = 120 }).found
    local lines = {}
    for symbol in m.symbols:each() do lines[#lines + 1] = ("%016x %s %s\n"):format(bits.u64(symbol.at), symbol.kind, symbol.name) end
    local folder = umbra.folder()
    finally(folder.remove)
    table.sort(lines)
    assert.equal(tree.run("md5sum < " .. folder.write("all", table.concat(lines))):match "%x+", found[1])
  end)
end)

describe("symbols at one address", function()
  it("are found as fast as any, the first of them", function()
    local names, lines = symbols.new(), { "80000000 T before" }
    finally(function() names:close() end)
    for i = 1, 200000 do lines[#lines + 1] = "80001000 t same" .. i end
    names:parse(table.concat(lines, "\n") .. "\n", "many")
    local start = os.clock()
    for _ = 1, 20000 do assert(names:name(0x80001004) == "same1+0x4") end
    assert.is_true(os.clock() - start < 2)
  end)
end)

describe("umbra symbols", function()
  it("prints all, or what is asked for", function()
    local folder = umbra.folder()
    finally(folder.remove)
    local path = umbra.assemble(PROGRAM, folder.path .. "/t.elf")
    local all = umbra.run { "symbols", path }
    assert.equal(0, all.code)
    assert.is_truthy(all.out:find("0000000080000000 T _start\n", 1, true))
    assert.same({ code = 0, out = "0x80000000 <_start>\n0x80000002 <_start+0x2>\n", err = "" }, umbra.run { "symbols", path, "_start", "0x80000002" })
    assert.same({ code = 1, out = "0x10\n", err = "" }, umbra.run { "symbols", path, "0x10" })
    assert.equal("0x80001000 <_start>\n", umbra.run({ "symbols", path, "--offset=0x1000", "_start" }).out)
    assert.equal("0x7ffff000 <_start>\n", umbra.run({ "symbols", path, "--offset=-0x1000", "_start" }).out)
    assert.equal(all.out, umbra.run({ "symbols", folder.write("t.map", all.out) }).out)
    assert.is_truthy(umbra.run({ "symbols", "--help" }).out:find("usage: umbra symbols", 1, true))
  end)

  it("refuses in one line", function()
    local folder = umbra.folder { ["one.map"] = "80000004 T inside\n" }
    finally(folder.remove)
    local one = folder.path .. "/one.map"
    for _, row in ipairs {
      { 126, "symbols: of which file%? %(umbra symbols %-%-help%)" },
      { 127, "symbols: cannot open nothing: No such file or directory", "nothing" },
      { 126, "symbols: README%.md: no file with symbols: .*", "README.md" },
      { 126, "unknown option `%-%-ofset=1`, did you mean `%-%-offset`%? .*", "--ofset=1" },
      { 126, "%-%-offset x: must be an address like 0x80000000", "README.md", "--offset=x" },
      { 126, "%-o: a value must follow", "x", "-o" },
      { 126, "symbols: cannot open /no/where: No such file or directory", one, "-o", "/no/where" },
      { 125, "symbols: cannot write /dev/full: No space left on device", one, "-o", "/dev/full" },
    } do
      local result = umbra.run { "symbols", unpack(row, 3) }
      assert.equal(row[1], result.code, result.err)
      assert.is_truthy(result.err:match("^umbra: " .. row[2] .. "\n$"), result.err)
    end
  end)
end)
