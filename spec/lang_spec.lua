-- lang: the language of meanings: what it refuses and where, what it means, and two instruction sets that are not RV64: RV32IM and a
-- toy with flags, whose decoder, tier 0 and lift are printed by the same printers, compiled and run.
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local cpu    = require "umbra.cpu"
local eval   = require "umbra.isa.eval"
local ffi    = require "ffi"
local isa    = require "umbra.isa"
local lang   = require "umbra.isa.lang"
local random = require "spec.support.random"
local tiny   = require "spec.support.tiny"
local tree   = require "spec.support.tree"
local umbra  = require "spec.support.umbra"
local wide   = require "umbra.isa.wide"
local word   = require "umbra.isa.word"

local SEED = random.seed(7)
local EACH = random.soak() and 500 or 60

-- A scope of registers, flags and functions --------------------------------------------------------------------------------------

local function scope()
  local file = { name = "x", count = 32, bits = 64, zero = true }
  local function field(name, width, regs, bits)
    return {
      name = name, as = name, width = width, regs = regs and "x", file = regs and file, bits = regs and 64 or bits or 64,
      raw_bits = math.max(width, regs and 5 or 1), pieces = {}, shift = 0, add = 0,
    }
  end
  return {
    XLEN = 64,
    fields = {
      rd = field("rd", 5, true), rs1 = field("rs1", 5, true), rs2 = field("rs2", 5, true), imm = field("imm", 12), aq = field("aq", 1, false, 1),
    },
    registers = { flag = { bits = 1 }, big = { bits = 256 } },
    functions = {
      two = { name = "two", args = { 64 }, bits = 64, results = { 64, 1 }, kind = "pure" }, one = { name = "one", args = { 32 }, bits = 32, kind = "pure" },
      act = { name = "act", args = {}, bits = 0, kind = "state" },
    },
  }
end

local REFUSED = {
  -- words
  { "rd = rs1 +", "1:11: unfinished at the end" },
  { "rd = (rs1", "1:10: unfinished at the end" },
  { "if flag { rd = rs1", "1:19: unfinished at the end" },
  { "rd = rs1 $ rs2", "1:10: not understood at '$ rs2'" },
  { "rd = rs1 < rs2", "1:10: not understood at '< rs2'" },              -- an order has a sign
  { "rd = load.u64", "1:10: not understood at '.u64'" },
  { "rd = rs1\n  * * rs2", "2:5: not understood at '* rs2'" },
  -- names
  { "rd = rs3", "1:6: unknown name 'rs3'" },
  { "rd = 1 +\n  nothing", "2:3: unknown name 'nothing'" },
  { "foo = rs1", "1:1: unknown register 'foo' (a new name wants 'let')" },
  { "imm = rs1", "1:1: 'imm' is not a register" },
  { "let rd = rs1", "1:1: 'rd' is already there" },
  { "let pc = rs1", "1:1: 'pc' is already there" },
  { "let a = rs1 let a = rs2", "1:13: 'a' is already there" },
  { "if flag { let t = rs1 } rd = t", "1:30: unknown name 't'" },
  { "rd = #none", "1:6: unknown field 'none'" },
  -- widths
  { "rd = rs1[31:0]", "1:1: rd has 64 bits, the value 32" },
  { "rd = rs1 + flag", "1:10: '+' wants equal widths, not 64 and 1" },
  { "flag = rs1", "1:1: flag has 1 bits, the value 64" },
  { "rd = flag ? rs1 : flag", "1:6: '?:' wants equal widths, not 64 and 1" },
  { "rd = rs1 ? rs1 : rs2", "1:6: the condition of '?' has 64 bits, not 1" },
  { "if rs1 { rd = rs2 }", "1:1: a condition has one bit, not 64" },
  { "rd = !rs1", "1:6: '!' wants one bit, not 64" },
  { "rd = 5 == 6 ? rs1 : rs2", "1:8: '==' of two numbers" },
  { "let a = 5", "1:1: let a: the value has no width" },
  { "flag = 2", "1:8: 2 does not fit 1 bits" },
  { "rd = 0x10000000000000000", "1:6: 0x10000000000000000 does not fit 64 bits" },
  { "rd = 18446744073709551616", "1:6: 18446744073709551616 does not fit 64 bits" },
  { "goto flag", "1:1: a target has 64 bits, not 1" },
  -- slices, extensions, joins
  { "rd = rs1[64]", "1:9: slice [64:64] of 64 bits" },
  { "rd = zext(rs1[3:5])", "1:14: slice [3:5] of 64 bits" },
  { "rd = zext(rs1[rs2:0])", "1:15: a slice bound must be a constant" },
  { "rd = sext(5)", "1:6: sext of a number without a width" },
  { "rd = sext(rs1, 32)", "1:6: sext to 32 bits would lose some of 64" },
  { "rd = sext65(rs1)", "1:6: sext65 wants at least 65 bits, not 64" },
  { "rd = zext(rs1, rs2)", "1:16: the width must be a constant" },
  { "rd = zext(rs1, 300)[63:0]", "1:6: 300 bits, 256 is the most" },
  { "rd = trunc(rs1, 65)", "1:6: trunc of 64 bits to 65" },
  { "big = cat(big, flag)", "1:7: cat makes 257 bits, 256 is the most" },
  { "rd = cat(rs1, 5)", "1:15: cat of a number without a width" },
  { "rd = clz(5)", "1:6: clz of a number without a width" },
  { "rd = zext(bswap(rs1[11:0]))", "1:11: bswap of 12 bits, which are no bytes" },
  -- functions and memory
  { "rd = none(rs1)", "1:6: unknown function 'none'" },
  { "rd = one()", "1:6: one wants 1 arguments, not 0" },
  { "rd = one(rs1)", "1:10: one: argument 1 has 32 bits, not 64" },
  { "rd = two(rs1)", "1:6: two gives 2 results: name them all, as in a, b = two(...)" },
  { "rd, flag = one(rs1[31:0])", "1:1: 2 names for 1 results" },
  { "flag, flag = two(rs1)", "1:1: flag has 1 bits, the value 64" },
  { "one(rs1[31:0])", "1:1: the value of one is not used" },
  { "rd = act()", "1:1: rd has 64 bits, the value 0" },
  { "rd = load.u12(rs1)", "1:6: unknown memory operation 'load.u12'" },
  { "rd = load.u512(rs1)", "1:6: unknown memory operation 'load.u512'" },
  { "rd = load.u64(rs1, rs2)", "1:6: load.u64 wants 1 arguments, not 2" },
  { "rd = amo.mul.s64(rs1, rs2, aq, aq)", "1:6: unknown memory operation 'amo.mul.s64'" },
  { "store.64(flag, rs1)", "1:1: an address has 64 bits, not 1" },
  { "store.64(rs1, flag)", "1:1: store.64 of a value of 1 bits" },
  -- order
  { "goto rs1 rd = rs2", "1:10: nothing can follow a goto" },
}

describe("a meaning is refused", function()
  for _, row in ipairs(REFUSED) do
    it((row[1]:gsub("\n", " / ")), function()
      local ok, why = pcall(lang.compile, row[1], scope())
      assert.is_false(ok)
      assert.is_table(why, tostring(why))
      assert.equal(row[2], ("%d:%d: %s"):format(why.line, why.column, why.text))
    end)
  end
  it("as a condition", function()
    local ok, why = pcall(lang.condition, "rd + 1", scope())
    assert.is_false(ok)
    assert.equal("a condition has one bit, not 64", why.text)
    ok, why = pcall(lang.condition, "rd != none", scope())
    assert.is_false(ok)
    assert.equal("1:7: unknown name 'none'", ("%d:%d: %s"):format(why.line, why.column, why.text))
  end)
end)

describe("a meaning", function()
  -- rd = TEXT with rs1 and rs2, by the evaluator.
  local function value(text, rs1, rs2)
    local s = scope()
    local insn = { meaning = lang.compile("rd = " .. text, s) }
    local state = { files = { x = { [1] = rs1 or 0ULL, [2] = rs2 or 0ULL } }, registers = { flag = 1, big = 0 }, pc = 0x1000 }
    eval.run(insn, { rd = 3, rs1 = 1, rs2 = 2, imm = -1, aq = 1 }, state, 4)
    return state.files.x[3]
  end
  local MIN = 0x8000000000000000ULL

  it("has the usual precedence", function()
    for text, wanted in pairs {
      ["1 + 2 * 3"] = 7, ["(1 + 2) * 3"] = 9, ["10 - 3 - 2"] = 5, ["1 << 2 + 1"] = 8, ["6 & 3 ^ 5 | 8"] = 15, ["zext(1 + 1 == rs1 + 2 & 1 <u rs1 + 2)"] = 1,
      ["rs1 == 0 ? 1 : rs1 == 1 ? 2 : 3"] = 1, ["~0 >> 63"] = 1, ["-1 & 0xff"] = 255, ["0b101 * 0x10"] = 80, ["zext(!flag)"] = 0, ["imm + 2"] = 1,
      ["zext(#rd) + zext(#rs2)"] = 5, ["pc + next"] = 0x2004, ["zext(aq)"] = 1, ["XLEN"] = 64, ["zext(imm[11:0])"] = 4095,
    } do assert.equal(ffi.cast("uint64_t", wanted), value(text), text) end
  end)

  it("divides by zero and overflows as RISC-V does", function()
    for _, row in ipairs {
      { "rs1 /u rs2", 5, 0, -1ULL }, { "rs1 %u rs2", 5, 0, 5ULL }, { "rs1 /s rs2", -5, 0, -1ULL }, { "rs1 %s rs2", -5, 0, -5ULL },
      { "rs1 /s rs2", MIN, -1, MIN }, { "rs1 %s rs2", MIN, -1, 0ULL }, { "rs1 /s rs2", -7, 2, -3ULL }, { "rs1 %s rs2", -7, 2, -1ULL },
      { "rs1 %s rs2", 7, -2, 1ULL }, { "rs1 /u rs2", -1, 2, 0x7fffffffffffffffULL },
    } do assert.equal(row[4], value(row[1], row[2], row[3]), row[1]) end
  end)

  it("shifts by more than it has: zeros, or copies of the sign", function()
    assert.equal(0ULL, value("rs1 << rs2", -1, 64))
    assert.equal(0ULL, value("rs1 >> rs2", -1, 1000))
    assert.equal(-1ULL, value("rs1 >>s rs2", MIN, 64))
    assert.equal(0ULL, value("rs1 >>s rs2", 1, 64))
    assert.equal(0x3fULL, value("zext(rs1[5:0] >>s rs2)", 0x20, 9))
  end)

  it("says what it reads, writes and does", function()
    local m = lang.compile("if rs1 == 0 { rd = load.u64(rs2 + imm)  act() } else { goto pc + imm }", scope())
    assert.same({ rs1 = true, rs2 = true, imm = true }, m.reads)
    assert.same({ rd = true }, m.writes)
    assert.equal(1, m.effects.memory)
    assert.is_true(m.effects.state and m.effects.direct and m.effects.faults)
    assert.is_nil(m.effects.indirect)
    m = lang.compile("let t = rs1  rd = zext(#rd)  goto t", scope())
    assert.is_true(m.effects.indirect)
    assert.same({ rd = true }, m.raws)
    assert.same({ aq = true }, lang.compile("rd = lr.u64(rs1, aq, aq)", scope()).orders)
  end)
end)

-- Descriptions -------------------------------------------------------------------------------------------------------------------

local HEAD = [[
file "x" { count = 32, zero = true }
field "rd" { bits = "11:7", regs = "x" }
field "rs1" { bits = "19:15", regs = "x" }
field "imm" { bits = "31:20", signed = true }
extension "i"
]]

describe("a description is refused", function()
  local folder
  setup(function() folder = umbra.folder() end)
  teardown(function() folder.remove() end)

  local function refused(text, why)
    local path = folder.write("bad.lua", HEAD .. text)
    local ok, message = pcall(isa.load, path)
    assert.is_false(ok, "not refused")
    assert.equal(path .. ":" .. why, message)
  end

  for name, row in pairs {
    ["unknown name in a meaning"] = { [[insn "a" "imm rs1 000 rd 0010011" "rd" "rd = rs1 + rs2"]], "6:52: unknown name 'rs2'" },
    ["a meaning of several lines"] = { "insn \"a\" \"imm rs1 000 rd 0010011\" \"rd\" [[\n  let t = rs1\n  rd = t[64:0]\n]]", "8:9: slice [64:0] of 64 bits" },
    ["a meaning that was put together"] = { [[insn "a" "imm rs1 000 rd 0010011" "rd" ("rd = " .. "rs9")]], "6: unknown name 'rs9'" },
    ["a condition"] = { [[insn "a" "imm rs1 000 rd 0010011" "rd" "rd = rs1" :where "rs1 != rx"]], "6:66: unknown name 'rx'" },
    ["unknown field"] = { [[insn "a" "imm rs2 000 rd 0010011" "rd" "rd = imm"]], [[6: unknown field 'rs2' in "imm rs2 000 rd 0010011"]] },
    ["too few bits"] = { [[insn "a" "imm rs1 00 rd 0010011" "rd" "rd = imm"]], [[6: field imm has no piece at bit 30 in "imm rs1 00 rd 0010011"]] },
    ["a field at the wrong place"] = {
      [[insn "a" "rs1 imm 000 rd 0010011" "rd" "rd = imm"]], [[6: field rs1 has no piece at bit 31 in "rs1 imm 000 rd 0010011"]],
    },
    ["no bit range"] = { [[field "z" { bits = "3-1" }]], "6: field z: '3-1' is no bit range" },
    ["a field without bits"] = { [[field "z" { regs = "x" }]], [[6: field z: bits = "11:7" expected]] },
    ["unknown register file"] = { [[field "z" { bits = "3:0", regs = "y" }]], "6: field z: no register file 'y'" },
    ["two of one name"] = { ([[insn "a" "imm rs1 000 rd 0010011" "rd" "rd = imm"]] .. "\n"):rep(2), "7: instruction a is there twice (first at line 6)" },
    ["a function's width"] = { [[func "f" "64 6x -> 64" { c = "f" }]], "6: func f: '6x' is no width" },
    ["a function's arrow"] = { [[func "f" "64 64" { c = "f" }]], [[6: func f: "64 64 -> 64" expected]] },
    ["a typing error"] = { "insm \"a\"", "6: attempt to call global 'insm' (a nil value)" },
  } do
    it(name, function() refused(row[1], row[2]) end)
  end

  it("shorts of what is not there", function()
    local insn = "field \"rc\" { bits = \"11:7\", regs = \"x\" }\n" .. [[insn "a" "imm rs1 000 rd 0010011" "rd" "rd = rs1 + imm"]] .. "\n"
    refused(insn .. [[short "s" "0000 rc 0000001" "rc" "b rd=rc"]], "8: s: no instruction 'b'")
    refused(insn .. [[short "s" "0000 rc 0000001" "rc" "a rx=rc"]], "8: s: a has no field 'rx'")
    refused(insn .. [[short "s" "0000 rc 0000001" "rc" "a rd=rx"]], "8: s: no field 'rx'")
    refused(insn .. [[short "s" "0000 rc 0000001" "rc" "a rd=rc rs1=rc"]], "8: s: imm=? is missing for a")
  end)

  it("that is not there, at the caller's line", function()
    local ok, why = pcall(isa.load, folder.path .. "/none.lua")
    assert.is_false(ok)
    assert.is_truthy(why:match "^%.?/?spec/lang_spec%.lua:%d+: cannot open .*none%.lua")
  end)
end)

describe("the example of docs/isa.md", function()
  it("prints what the page says", function()
    local blocks = {}
    for block in tree.read("docs/isa.md"):gmatch "```%a+\n(.-)```" do blocks[#blocks + 1] = block end
    local folder = umbra.folder { ["countdown.lua"] = blocks[1] }
    local text, out = blocks[2]:gsub("countdown%.lua", folder.path .. "/countdown.lua"), {}
    local run = assert(loadstring(text))
    setfenv(run, setmetatable({
      print = function(...)
        local words = {}
        for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
        out[#out + 1] = table.concat(words, "\t") .. "\n"
      end,
    }, { __index = _G }))
    run()
    folder.remove()
    assert.equal(blocks[3], table.concat(out))
  end)
end)

-- Two instruction sets -----------------------------------------------------------------------------------------------------------

-- Random states through the compiled program and through the evaluator: results, flags, memory, pc and the encoding found.
local function prove(description, program, functions, each, left)
  local numbers, list = random.new(SEED), {}
  for _, rows in ipairs { description.insns, description.shorts } do
    for _, row in ipairs(rows) do
      for _ = 1, left[row.name] and 0 or each do
        list[#list + 1] = { row = row, word = word.random(row, numbers), length = row.width / 8, state = program:state(numbers) }
      end
    end
  end
  local results, lifted = program:run(list), program:run(list, nil, "lift")
  for i, case in ipairs(list) do
    local row, state = case.row, case.state
    tiny.give_memory(state)
    state.functions = functions
    local values = row.target and word.expand(row, case.word) or word.values(row, case.word)
    eval.run(row.target or row, values, state, case.length, description.xlen)
    local found = program:differences(state, results[i].bytes)
    if found == "" then
      found = program:differences(state, lifted[i].bytes)
      if found ~= "" then found = "by its IR: " .. found end
    end
    assert(found == "" and results[i].encoding == row.encoding, ("%s 0x%s (UMBRA_SEED=%d): %s, encoding %d"):format(row.name, bit.tohex(case.word),
      SEED, found, results[i].encoding))
  end
  return #list
end

-- Words of every kind: the compiled decoder finds what the descriptions say.
local function prove_decoder(description, program)
  local numbers, list, valid = random.new(SEED + 1), {}, 0
  local blank = program:state(numbers)
  for i = 1, 2000 do
    local rows = (i % 3 == 0 and #description.shorts > 0) and description.shorts or description.insns
    local row = rows[numbers(#rows) + 1]
    local value = word.random(row, numbers)
    if i % 2 == 0 then value = bit.bxor(bit.tobit(value), bit.lshift(1, numbers(row.width))) % 2 ^ 32 end
    list[i] = { word = value, length = row.width / 8, state = blank }
  end
  for i, result in ipairs(program:run(list)) do
    local row = word.decode(description, list[i].word, list[i].length * 8)
    if row then valid = valid + 1 end
    assert(result.encoding == (row and row.encoding or 0), ("0x%s (UMBRA_SEED=%d) decodes to %d, not %s"):format(bit.tohex(list[i].word), SEED,
      result.encoding, row and row.name or "nothing"))
  end
  return valid
end

describe("RV32IM from the same rows", function()
  local description, program
  local C = [[
static bool do_ecall(State *s) { s->pc = 1; return false; }
static bool do_ebreak(State *s) { s->pc = 2; return false; }
static bool hart_mret(State *s) { s->pc = 3; return true; }
static bool hart_wfi(State *s) { (void)s; return true; }
static inline void do_fence(uint32_t pred, uint32_t succ) { (void)pred; (void)succ; }
]]
  local LEFT = { ecall = true, ebreak = true, mret = true }
  setup(function()
    description = isa.load("lua/isa/riscv/riscv.lua", { xlen = 32, only = { "i", "m" } })
    program = tiny.build(description, C)
  end)
  teardown(function() program:close() end)

  it("runs as the evaluator says", function()
    local nothing = function() end
    assert.is_true(prove(description, program, { fence = nothing, wfi = nothing }, EACH, LEFT) >= 45 * EACH)
  end)
  it("decodes what the rows say, slli by 32 not among it", function()
    assert.is_true(prove_decoder(description, program) > 1000)
    assert.is_nil(word.decode(description, 0x02051513, 32))
    assert.equal("slli", word.decode(description, 0x01f51513, 32).name)
    assert.is_nil(description.by_name.ld)
    assert.is_nil(description.by_name["fadd.s"])
  end)

  it("agrees with the manual", function()
    local function result(name, rs1, rs2, imm)
      local insn = description.by_name[name]
      local values = { rd = 3, rs1 = 1, rs2 = 2, imm = imm, shamt = imm }
      local state = program:state(random.new(1))
      state.files.x[1], state.files.x[2], state.pc = wide.new(rs1), wide.new(rs2 or 0), 0xfffff000
      local out = program:run({ { word = assert(word.make(insn, values)), length = 4, state = state } })[1].bytes
      local function number(at) return out:byte(at) + out:byte(at + 1) * 2 ^ 8 + out:byte(at + 2) * 2 ^ 16 + out:byte(at + 3) * 2 ^ 24 end
      return number(32 * 8 + 3 * 4 + 1), number(#out - tiny.MEMORY - 7)                    -- f0 to f31 come before x
    end
    -- name, rs1, rs2, imm, rd, pc
    for _, row in ipairs {
      { "add", 0xffffffff, 2, nil, 1 }, { "sll", 1, 33, nil, 2 }, { "sra", 0x80000000, 31, nil, 0xffffffff }, { "srl", 0x80000000, 31, nil, 1 },
      { "slli", 1, 0, 31, 0x80000000 }, { "lui", 0, 0, -4096, 0xfffff000 }, { "auipc", 0, 0, 0x2000, 0x1000 }, { "slt", 0x80000000, 0, nil, 1 },
      { "sltu", 0x80000000, 0, nil, 0 }, { "mulh", 0x80000000, 0x80000000, nil, 0x40000000 }, { "mulhu", 0xffffffff, 0xffffffff, nil, 0xfffffffe },
      { "mulhsu", 0xffffffff, 0xffffffff, nil, 0xffffffff }, { "div", 0x80000000, 0xffffffff, nil, 0x80000000 }, { "rem", 0x80000000, 0xffffffff, nil, 0 },
      { "div", 7, 0, nil, 0xffffffff }, { "remu", 7, 0, nil, 7 }, { "jal", 0, 0, 0x1004, 0xfffff004, 4 }, { "jalr", 0xfffffffe, 0, 3, 0xfffff004, 0 },
    } do
      local rd, pc = result(row[1], row[2], row[3], row[4])
      assert.equal(row[5], rd, row[1])
      assert.equal(row[6] or 0xfffff004, pc, row[1])
    end
  end)
end)

describe("a toy with flags, big-endian memory, 128-bit pairs and 256-bit vectors", function()
  local description, program
  local C = [[
static inline void toy_add_flags(uint64_t a, uint64_t b, uint32_t carry, uint64_t *sum, uint32_t *n, uint32_t *z, uint32_t *c, uint32_t *o)
{
  u128 whole = (u128)a + b + carry;
  *sum = (uint64_t)whole;
  *n = *sum >> 63;
  *z = *sum == 0;
  *c = (uint32_t)(whole >> 64);
  *o = (~(a ^ b) & (a ^ *sum)) >> 63;
}
]]
  local function add_flags(_, a, b, carry)
    local sum = a + b + carry
    local over = sum < a or carry == 1 and sum == a
    return sum, bit.rshift(sum, 63), sum == 0, over, bit.rshift(bit.band(bit.bnot(bit.bxor(a, b)), bit.bxor(a, sum)), 63)
  end
  setup(function()
    description = isa.load "spec/support/toy/toy.lua"
    program = tiny.build(description, C)
  end)
  teardown(function() program:close() end)

  it("runs as the evaluator says", function()
    assert.equal(36 * EACH, prove(description, program, { ["add.flags"] = add_flags }, EACH, {}))
  end)
  it("decodes what the rows say", function() assert.is_true(prove_decoder(description, program) > 1000) end)

  it("needs the extensions it names", function()
    local numbers = random.new(SEED)
    local insn = description.by_name.addq
    local case = { { word = insn.match, length = 4, state = program:state(numbers) } }
    assert.equal(insn.encoding, program:run(case, "2")[1].encoding)
    assert.equal(0, program:run(case, "d")[1].encoding)
  end)

  it("sets flags, branches and selects by them, reads most significant bytes first", function()
    local function run(name, values, registers, before)
      local insn = description.by_name[name]
      local state = program:state(random.new(2))
      for number, value in pairs(registers) do state.files.r[number] = wide.new(value) end
      state.registers.n, state.registers.z, state.registers.c, state.registers.o = 0, 0, 0, 0
      for flag, value in pairs(before or {}) do state.registers[flag] = value end
      state.pc = 0x1000
      for i = 0, 15 do state.memory[i] = i + 1 end
      local out = program:run({ { word = assert(word.make(insn, values)), length = 4, state = state } })[1].bytes
      -- q: 8 * 16 bytes, r: 16 * 8, v: 8 * 32, then c, n, o, wide (32), z, pc.
      local at = 8 * 16 + 16 * 8 + 8 * 32
      local function number(place, count)
        local value = 0ULL
        for i = count, 1, -1 do value = value * 256 + out:byte(place + i) end
        return value
      end
      return {
        r = function(n) return number(8 * 16 + 8 * n, 8) end, memory = out:sub(-tiny.MEMORY), pc = tonumber(number(at + 48, 8)),
        c = tonumber(number(at, 4)), n = tonumber(number(at + 4, 4)), o = tonumber(number(at + 8, 4)), z = tonumber(number(at + 44, 4)),
      }
    end
    local sum = run("adds", { rd = 3, rn = 1, rm = 2 }, { [1] = -1ULL, [2] = 1ULL })
    assert.same({ 0, 1, 1, 0 }, { sum.n, sum.z, sum.c, sum.o })
    assert.equal(0ULL, sum.r(3))
    local over = run("adds", { rd = 3, rn = 1, rm = 2 }, { [1] = 0x7fffffffffffffffULL, [2] = 1ULL })
    assert.same({ 1, 0, 0, 1 }, { over.n, over.z, over.c, over.o })
    local less = run("subs", { rd = 3, rn = 1, rm = 2 }, { [1] = 1ULL, [2] = 2ULL })
    assert.same({ 1, 0, 0, 0 }, { less.n, less.z, less.c, less.o })
    assert.equal(-1ULL, less.r(3))
    assert.equal(0x1000 - 0x20, run("b.cond", { cond = 0, imm = -0x20 }, {}, { z = 1 }).pc)       -- eq
    assert.equal(0x1004, run("b.cond", { cond = 0, imm = -0x20 }, {}).pc)
    assert.equal(0x1020, run("b.cond", { cond = 1, imm = 0x20 }, {}).pc)                         -- ne
    assert.equal(0x1020, run("b.cond", { cond = 11, imm = 0x20 }, {}, { n = 1 }).pc)             -- lt
    assert.equal(0x1004, run("b.cond", { cond = 10, imm = 0x20 }, {}, { n = 1 }).pc)             -- ge
    assert.equal(0x1020, run("b.cond", { cond = 14, imm = 0x20 }, {}).pc)                        -- always
    assert.equal(8ULL, run("csel", { rd = 3, rn = 1, rm = 2, cond = 8 }, { [1] = 8ULL, [2] = 9ULL }, { c = 1 }).r(3))       -- hi
    assert.equal(9ULL, run("csel", { rd = 3, rn = 1, rm = 2, cond = 8 }, { [1] = 8ULL, [2] = 9ULL }, { c = 1, z = 1 }).r(3))
    assert.equal(0x02030405ULL, run("ldr.be", { rd = 3, rn = 1, imm = 1 }, { [1] = 0ULL }).r(3))
    assert.equal("\1\2\3\4\5\6\7\8", run("str.be", { rn = 1, rm = 2, imm = 8 }, { [1] = 0ULL, [2] = 0x0102030405060708ULL }).memory:sub(9, 16))
  end)
end)

-- The evaluator against the hart -------------------------------------------------------------------------------------------------

describe("the evaluator", function()
  local CODE, DATA, SIZE = 0x200000, 0x2000, 0x400000         -- jal reaches 1 MiB both ways

  local function clmul(shift)
    return function(_, a, b)
      local product, x = wide.ZERO, wide.new(a)
      for i = 0, 63 do
        if bit.band(bit.rshift(b, i), 1ULL) == 1 then product = wide.bxor(product, wide.shl(x, i)) end
      end
      return wide.shr(product, shift)[1]
    end
  end
  local FUNCTIONS = {
    fence = function() end,
    box = function(_, single) return bit.bor(0xffffffff00000000ULL, single) end,
    unbox = function(_, value) return bit.rshift(value, 32) == 0xffffffffULL and bit.band(value, 0xffffffffULL) or 0x7fc00000ULL end,
    clmul = clmul(0), clmulh = clmul(64), clmulr = clmul(63),
    ["orc.b"] = function(_, value)
      local out = 0ULL
      for i = 0, 56, 8 do
        if bit.band(bit.rshift(value, i), 0xffULL) ~= 0 then out = bit.bor(out, bit.lshift(0xffULL, i)) end
      end
      return out
    end,
  }

  it("agrees with the hart on every instruction that is whole in the language", function()
    local description = isa.load "lua/isa/riscv/riscv.lua"
    local clock, control, mem = require "umbra.clock", require "umbra.control", require "umbra.mem"
    local memory = mem.new()
    memory:add_ram { at = 0, size = SIZE }
    memory:write(0, ("\1\0"):rep(SIZE / 2))                    -- c.nop
    local hart = cpu.new { mem = memory, clock = clock.new(), control = control.new(), isa = "rv64gc_zba_zbb_zbc_zbs_zicond_zawrs", reset_pc = CODE }
    hart:set_csr("mstatus", 0x6000)
    local numbers, tried = random.new(SEED), 0

    local function try(row)
      local value = word.random(row, numbers)
      local values = row.target and word.expand(row, value) or word.values(row, value)
      local insn = row.target or row
      local state = { files = { x = {}, f = {} }, registers = {}, pc = CODE, functions = FUNCTIONS, bytes = {} }
      for i = 0, 31 do
        state.files.x[i] = i == 0 and 0ULL or bit.arshift(numbers(), numbers(64))
        state.files.f[i] = numbers(2) == 0 and numbers() or bit.bor(numbers(), 0xffffffff00000000ULL)
      end
      if insn.meaning.effects.memory then
        if values.rs1 == 0 then return end
        state.files.x[values.rs1] = DATA + 0x800 + numbers(16) * 8 - ffi.cast("int64_t", values.imm or 0)
      end
      if insn.meaning.effects.indirect and values.rs1 ~= 0 then state.files.x[values.rs1] = CODE + numbers(2 ^ 16) + 0ULL end
      if insn.meaning.effects.indirect and values.rs1 == 0 then return end
      memory:write(CODE, ffi.string(ffi.new("uint32_t[1]", value), row.width / 8) .. "\1\0")
      for i = 0, 255 do state.bytes[i] = numbers(256) end
      local text = {}
      for i = 0, 255 do text[i + 1] = string.char(state.bytes[i]) end
      memory:write(DATA + 0x780, table.concat(text))
      tiny.give_memory(state)
      state.memory = setmetatable({}, {                  -- tiny's memory repeats every 1,024 bytes
        __index = function(_, i) return state.bytes[(i - 0x380) % tiny.MEMORY] end,
        __newindex = function(_, i, v) state.bytes[(i - 0x380) % tiny.MEMORY] = v end,
      })
      for i = 0, 31 do
        hart:set_reg(i, state.files.x[i])
        hart:set_freg(i, state.files.f[i])
      end
      hart:set_pc(CODE)
      hart:run(1, 10)
      eval.run(insn, values, state, row.width / 8)
      tried = tried + 1
      local function same(what, ours, theirs)
        ours, theirs = ffi.cast("uint64_t", ours), ffi.cast("uint64_t", theirs)
        assert(ours == theirs, ("%s 0x%s (UMBRA_SEED=%d): %s is %s, the hart has %s"):format(row.name, bit.tohex(value), SEED, what,
          bit.tohex(ours), bit.tohex(theirs)))
      end
      for i = 0, 31 do
        same("x" .. i, state.files.x[i], hart:reg(i))
        same("f" .. i, state.files.f[i], hart:freg(i))
      end
      same("pc", state.pc, hart:pc())
      for i = 0, 255 do text[i + 1] = string.char(state.bytes[i]) end
      assert(table.concat(text) == memory:read(DATA + 0x780, 256), row.name .. ": memory")
    end

    for _, rows in ipairs { description.insns, description.shorts } do
      for _, row in ipairs(rows) do
        local insn = row.target or row
        local effects = insn.meaning.effects
        if not (effects.state or effects.redirect or effects.fp or insn.name:match "^fc[lv]" or insn.name:match "^sc%.") then
          for _ = 1, EACH / 4 do try(row) end
        end
      end
    end
    hart:close()
    memory:close()
    assert.is_true(tried > 170 * EACH / 4)
  end)
end)
