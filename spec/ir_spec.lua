-- ir: every operation against a model in Lua; every RISC-V instruction's IR, evaluated, against tier 0; text; what is refused.
-- SPDX-License-Identifier: MIT
-- luacheck: no max line length
local bit     = require "bit"
local ffi     = require "ffi"
local cases   = require "spec.support.cases"
local cpu     = require "umbra.cpu"
local example = require "spec.support.example"
local ir      = require "umbra.ir"
local irgen   = require "spec.support.irgen"
local isa     = require "umbra.isa"
local random  = require "spec.support.random"
local refuses = require "spec.support.refuses"
local tree    = require "spec.support.tree"
local wide    = require "umbra.isa.wide"
local word    = require "umbra.isa.word"

local SEED = random.seed(20261127)
local EACH = random.soak() and 3000 or 150

-- Integers: f(bits, a, b, from) over wide numbers; results are cut to the type --------------------------------------------------

local function truth(condition) return condition and wide.ONE or wide.ZERO end
local function negative(a, bits) return wide.bit(a, bits - 1) == 1 end
local function turned(a, bits) return wide.bxor(a, wide.shl(wide.ONE, bits - 1)) end         -- signed order as unsigned
local function amount(b) return math.min(wide.number(b), 1000) end
local ONES = wide.bnot(wide.ZERO)

local function magnitude(a, bits)
  if negative(a, bits) then return wide.low(wide.neg(a), bits) end
  return a
end

local function high(a, b, bits) return wide.shr(wide.mul(a, b), bits) end

local function rotate(a, n, bits)
  n = n % bits
  return wide.bor(wide.shl(a, n), wide.shr(a, bits - n))
end

local function modulo(b, bits)
  local _, rest = wide.divide(b, wide.new(bits))
  return wide.number(rest)
end

local MODEL = {
  add = function(_, a, b) return wide.add(a, b) end, sub = function(_, a, b) return wide.sub(a, b) end, mul = function(_, a, b) return wide.mul(a, b) end,
  mulhu = function(bits, a, b) return high(a, b, bits) end,
  mulhs = function(bits, a, b) return high(wide.sext(a, bits), wide.sext(b, bits), bits) end,
  mulhsu = function(bits, a, b) return high(wide.sext(a, bits), b, bits) end,
  divu = function(_, a, b) return wide.eq(b, wide.ZERO) and ONES or (wide.divide(a, b)) end,
  remu = function(_, a, b) return wide.eq(b, wide.ZERO) and a or select(2, wide.divide(a, b)) end,
  divs = function(bits, a, b)
    if wide.eq(b, wide.ZERO) then return ONES end
    local quotient = wide.divide(magnitude(a, bits), magnitude(b, bits))
    return negative(a, bits) ~= negative(b, bits) and wide.neg(quotient) or quotient
  end,
  rems = function(bits, a, b)
    if wide.eq(b, wide.ZERO) then return a end
    local _, rest = wide.divide(magnitude(a, bits), magnitude(b, bits))
    return negative(a, bits) and wide.neg(rest) or rest
  end,
  ["and"] = function(_, a, b) return wide.band(a, b) end, ["or"] = function(_, a, b) return wide.bor(a, b) end, xor = function(_, a, b) return wide.bxor(a, b) end,
  ["not"] = function(_, a) return wide.bnot(a) end, neg = function(_, a) return wide.neg(a) end,
  shl = function(bits, a, b) return amount(b) < bits and wide.shl(a, amount(b)) or wide.ZERO end,
  shr = function(_, a, b) return wide.shr(a, amount(b)) end,
  sar = function(bits, a, b)
    local n, sign = math.min(amount(b), bits), negative(a, bits)
    return wide.bor(wide.shr(a, n), sign and wide.shl(ONES, bits - n) or wide.ZERO)
  end,
  rol = function(bits, a, b) return rotate(a, modulo(b, bits), bits) end,
  ror = function(bits, a, b) return rotate(a, bits - modulo(b, bits), bits) end,
  clz = function(bits, a)
    local n = 0
    while n < bits and wide.bit(a, bits - 1 - n) == 0 do n = n + 1 end
    return wide.new(n)
  end,
  ctz = function(bits, a)
    local n = 0
    while n < bits and wide.bit(a, n) == 0 do n = n + 1 end
    return wide.new(n)
  end,
  popcount = function(bits, a)
    local n = 0
    for i = 0, bits - 1 do n = n + wide.bit(a, i) end
    return wide.new(n)
  end,
  bswap = function(bits, a)
    local out = wide.ZERO
    for i = 0, bits - 8, 8 do out = wide.bor(out, wide.shl(wide.low(wide.shr(a, i), 8), bits - 8 - i)) end
    return out
  end,
  eq = function(_, a, b) return truth(wide.eq(a, b)) end, ne = function(_, a, b) return truth(not wide.eq(a, b)) end,
  ltu = function(_, a, b) return truth(wide.less(a, b)) end, leu = function(_, a, b) return truth(not wide.less(b, a)) end,
  lts = function(_, a, b, from) return truth(wide.less(turned(a, from), turned(b, from))) end,
  les = function(_, a, b, from) return truth(not wide.less(turned(b, from), turned(a, from))) end,
  zext = function(_, a) return a end, trunc = function(_, a) return a end,
  sext = function(_, a, _, from) return wide.sext(a, from) end,
}

-- Floats: f(a, b, c) over Lua numbers, rounded by the host to nearest; a NaN result is the canonical one ------------------------

local double, single = ffi.new "union { double real; uint64_t bits; }", ffi.new "union { float real; uint32_t bits; }"
-- A NaN of any payload would be taken for a tagged value by LuaJIT, so all are one.
local function real(kind, bits)
  local size, infinity = bit.band(bits, kind == "f64" and 0x7fffffffffffffffULL or 0x7fffffffULL), kind == "f64" and 0x7ff0000000000000ULL or 0x7f800000ULL
  if size > infinity then return 0 / 0 end
  if kind == "f64" then double.bits = bits return double.real end
  single.bits = bits
  return single.real
end
local CANONICAL = { f32 = 0x7fc00000ULL, f64 = 0x7ff8000000000000ULL }
local function bits_of(kind, value)
  if value ~= value then return CANONICAL[kind] end
  if kind == "f64" then double.real = value return 0ULL + double.bits end
  single.real = value
  return 0ULL + single.bits
end

local FLOAT = {
  fadd = function(a, b) return a + b end, fsub = function(a, b) return a - b end, fmul = function(a, b) return a * b end, fdiv = function(a, b) return a / b end,
  fsqrt = math.sqrt,
}
local FLOAT_COMPARE = { feq = function(a, b) return a == b end, flt = function(a, b) return a < b end, fle = function(a, b) return a <= b end }

local function pick_float(less)
  return function(a, b)
    if a ~= a then return b elseif b ~= b then return a end
    if a == 0 and b == 0 then return (1 / a < 1 / b) == less and a or b end
    return (a < b) == less and a or b
  end
end
FLOAT.fmin, FLOAT.fmax = pick_float(true), pick_float(false)

-- One block with one operation on constants; the value it gave.
local guest = ir.guest { slots = { { "x", "i64", 32 }, { "n", "i1" }, { "v", "i256", 2 }, { "d", "f64", 2 } } }

local function evaluated(row, operands, rounding)
  local block, state = ir.new(guest), guest:state()
  state:set_rounding(rounding or 0)
  for i, operand in ipairs(operands) do row[("abc"):sub(i, i)] = block:const(operand.type, operand.value) end
  local ref = block:emit(row)
  block:go(4)
  block:eval { state = state }
  local value = block:value(ref)
  block:close()
  return wide.new(value), state:flags()
end

local COMPARISON = { eq = true, ne = true, ltu = true, leu = true, lts = true, les = true }
local TYPES = { "i1", "i8", "i16", "i32", "i64", "i128", "i256" }
local BITS = irgen.BITS

local function accepts(row, operands) return pcall(evaluated, row, operands) end

describe("an integer operation", function()
  for _, op in ipairs(ir.ops) do
    local model = MODEL[op.name]
    if model then
      it(op.name .. " does what the model does, in every width", function()
        local numbers, widths = random.new(SEED + op.number), 0
        for _, from in ipairs(TYPES) do
          for _, to in ipairs(COMPARISON[op.name] and { "i1" } or { from, "i8", "i64", "i128", "i256" }) do
            local changes = op.name:match "ext$" or op.name == "trunc"
            local row = { op = op.name, type = to }
            local fits = changes and to ~= from or not changes and (to == from or COMPARISON[op.name])
            local shift = op.signature:match "I:TI"
            if fits and accepts(row, { { type = from, value = 0 }, { type = shift and "i8" or from, value = 0 } }) then
              widths = widths + 1
              for _ = 1, EACH / 5 do
                local a, other = irgen.value(numbers, BITS[from]), shift and TYPES[2 + numbers(6)] or from
                local b = irgen.value(numbers, BITS[other])
                if shift and numbers(3) > 0 then b = wide.low(wide.new(numbers(2 * BITS[from])), BITS[other]) end
                local got = evaluated(row, { { type = from, value = a }, { type = other, value = b } })
                local wanted = wide.low(model(BITS[to], a, b, BITS[from]), BITS[to])
                assert(wide.eq(got, wanted), ("%s %s %s, %s (UMBRA_SEED=%d): %s, not %s"):format(op.name, from, wide.hex(a), wide.hex(b), SEED,
                  wide.hex(got), wide.hex(wanted)))
              end
            end
          end
        end
        assert.is_true(widths >= 2)
      end)
    end
  end

  it("select takes one of two, bitcast and box keep bits", function()
    for _, kind in ipairs(irgen.TYPES) do
      local a, b = { type = kind, value = 1 }, { type = kind, value = 0 }
      assert.equal(1ULL, evaluated({ op = "select", type = kind }, { { type = "i1", value = 1 }, a, b })[1])
      assert.equal(0ULL, evaluated({ op = "select", type = kind }, { { type = "i1", value = 0 }, a, b })[1])
    end
    assert.equal(0x7ff4000000000001ULL, evaluated({ op = "bitcast", type = "i64" }, { { type = "f64", value = 0x7ff4000000000001ULL } })[1])
    assert.equal(0x7fa00000ULL, evaluated({ op = "bitcast", type = "f32" }, { { type = "i32", value = 0x7fa00000 } })[1])
    assert.equal(0xffffffff3f800000ULL, evaluated({ op = "box", type = "i64" }, { { type = "f32", value = 0x3f800000 } })[1])
    assert.equal(0x3f800000ULL, evaluated({ op = "unbox", type = "f32" }, { { type = "i64", value = 0xffffffff3f800000ULL } })[1])
    assert.equal(0x7fc00000ULL, evaluated({ op = "unbox", type = "f32" }, { { type = "i64", value = 0xfffffffe3f800000ULL } })[1])
  end)
end)

describe("a float operation", function()
  for _, op in ipairs(ir.ops) do
    local model, compare = FLOAT[op.name], FLOAT_COMPARE[op.name]
    if model or compare then
      it(op.name .. " does what the host does, NaNs canonical", function()
        local numbers = random.new(SEED + op.number)
        for _, kind in ipairs { "f32", "f64" } do
          for _ = 1, EACH do
            local a, b = irgen.float(numbers, kind), irgen.float(numbers, kind)
            local x, y = real(kind, a), real(kind, b)
            local wanted = compare and (compare(x, y) and 1ULL or 0ULL) or bits_of(kind, model(x, y))
            local got = evaluated({ op = op.name, type = compare and "i1" or kind }, { { type = kind, value = a }, { type = kind, value = b } })
            assert(got[1] == wanted, ("%s.%s 0x%s, 0x%s (UMBRA_SEED=%d): 0x%s, not 0x%s"):format(op.name, kind, bit.tohex(a, 16), bit.tohex(b, 16), SEED,
              bit.tohex(got[1], 16), bit.tohex(wanted, 16)))
          end
        end
      end)
    end
  end

  it("fma rounds once", function()
    local function fma(a, b, c)
      local list = {}
      for i, value in ipairs { a, b, c } do list[i] = { type = "f64", value = bits_of("f64", value) } end
      return real("f64", evaluated({ op = "fma", type = "f64" }, list)[1])
    end
    assert.equal(10, fma(2, 3, 4))
    assert.equal(2^-60, fma(1 + 2^-30, 1 - 2^-30, -1) * -1)            -- 1 - 2^-60 is no double: two roundings would give 0
  end)

  it("rounds as it says, or as the state says, and raises flags", function()
    local third = { { type = "f64", value = bits_of("f64", 1) }, { type = "f64", value = bits_of("f64", 3) } }
    local down, up = 0x3fd5555555555555ULL, 0x3fd5555555555556ULL
    for mode, wanted in pairs { [0] = down, [1] = down, [2] = down, [3] = up, [4] = down } do
      local value, flags = evaluated({ op = "fdiv", type = "f64", aux = mode }, third, 3)
      assert.same({ wanted, 1 }, { value[1], flags })
      assert.equal(wanted, evaluated({ op = "fdiv", type = "f64", aux = 7 }, third, mode)[1])
    end
    local zero = { { type = "f64", value = bits_of("f64", 1) }, { type = "f64", value = 0 } }
    assert.equal(8, (select(2, evaluated({ op = "fdiv", type = "f64" }, zero))))
  end)

  it("converts, saturating, in every rounding mode", function()
    local cases_of = {
      -- from, value, to, op, mode, wanted, flags
      { "f64", 2.5, "i32", "ftoi", 0, 2ULL, 1 }, { "f64", 2.5, "i32", "ftoi", 4, 3ULL, 1 }, { "f64", -2.5, "i64", "ftoi", 1, -2ULL, 1 }, { "f64", -2.5, "i64", "ftoi", 2, -3ULL, 1 },
      { "f64", 3e9, "i32", "ftoi", 0, 0x7fffffffULL, 16 }, { "f64", 0/0, "i32", "ftoi", 0, 0x7fffffffULL, 16 }, { "f64", -1e30, "i64", "ftoi", 0, 0x8000000000000000ULL, 16 },
      { "f64", 3e9, "i32", "ftou", 0, 3000000000ULL, 0 }, { "f64", -1, "i64", "ftou", 0, 0ULL, 16 }, { "f64", 0/0, "i64", "ftou", 0, -1ULL, 16 }, { "f64", -0.5, "i64", "ftou", 1, 0ULL, 1 },
      { "f32", 1.5, "i64", "ftoi", 3, 2ULL, 1 }, { "f32", 1.5, "f64", "ftof", 0, bits_of("f64", 1.5), 0 }, { "f64", 1/3, "f32", "ftof", 0, 0x3eaaaaabULL, 1 },
    }
    for _, c in ipairs(cases_of) do
      local value, flags = evaluated({ op = c[4], type = c[3], aux = c[5] }, { { type = c[1], value = bits_of(c[1], c[2]) } })
      assert.same({ c[6], c[7] }, { value[1], flags }, c[4] .. " " .. c[2])
    end
    for _, c in ipairs {
      { "i32", -1, "itof", "f64", -1, 0 }, { "i32", -1, "utof", "f64", 4294967295, 0 }, { "i64", -1, "utof", "f64", 2^64, 1 }, { "i64", -1, "itof", "f32", -1, 0 }, { "i64", 2^53 + 2, "itof", "f64", 2^53 + 2, 0 },
    } do
      local value, flags = evaluated({ op = c[3], type = c[4] }, { { type = c[1], value = c[2] } })
      assert.same({ bits_of(c[4], c[5]), c[6] }, { value[1], flags }, c[3])
    end
  end)
end)

describe("memory", function()
  local AT = 0x4000
  local function run(text, bytes, state)
    local block, memory = ir.new(guest), ffi.new "uint8_t[64]"
    ffi.copy(memory, bytes or "", #(bytes or ""))
    state = state or guest:state()
    local left = block:parse(text .. "\ngoto +4"):eval { state = state, memory = memory, at = AT, pc = 0x1000 }
    return state, ffi.string(memory, 64), left
  end

  it("is loaded with width, sign and order", function()
    for _, c in ipairs {
      { "load.i64.u8", 0x81ULL }, { "load.i64.s8", -0x7fULL }, { "load.i64.s16", 0x8281ULL - 0x10000 }, { "load.i64.u16.be", 0x8182ULL }, { "load.i64.u32", 0x84838281ULL },
      { "load.i64.s32.be", 0xffffffff81828384ULL }, { "load.i64.u64", 0x8887868584838281ULL }, { "load.i64.u64.be", 0x8182838485868788ULL },
    } do
      local state = run(("%%1 = const.i64 0x4000\n%%2 = %s %%1\nset x[1], %%2"):format(c[1]), "\x81\x82\x83\x84\x85\x86\x87\x88")
      assert.equal(c[2], state:get("x", 1), c[1])
    end
    local bytes = ""
    for i = 1, 32 do bytes = bytes .. string.char(i) end
    local state = run("%1 = const.i64 0x4000\n%2 = load.i256.u256 %1\n%3 = load.i256.s128.be %1\nset v[0], %2\nset v[1], %3", bytes)
    assert.equal("0x201f1e1d1c1b1a191817161514131211100f0e0d0c0b0a090807060504030201", wide.hex(state:get("v", 0)))
    assert.equal("0x102030405060708090a0b0c0d0e0f10", wide.hex(state:get("v", 1)))
  end)

  it("is stored with width and order", function()
    local _, memory = run("%1 = const.i64 0x4004\n%2 = const.i64 0x1122334455667788\nstore.32 %1, %2\n%4 = const.i64 0x4010\nstore.16.be %4, %2")
    assert.equal("\0\0\0\0\x88\x77\x66\x55\0\0\0\0\0\0\0\0\x77\x88\0", memory:sub(1, 19))
  end)

  it("is changed in one step, reserved and stored conditionally", function()
    local old, v = 0xfffffff0ULL, 5
    for name, wanted in pairs { swap = 5, add = 0xfffffff5, ["and"] = 0, ["or"] = 0xfffffff5, xor = 0xfffffff5, min = 0xfffffff0, max = 5, minu = 5, maxu = 0xfffffff0 } do
      local state, memory = run(("%%1 = const.i64 0x4000\n%%2 = const.i64 %d\n%%3 = amo.i64.%s.s32 %%1, %%2\nset x[1], %%3"):format(v, name), "\xf0\xff\xff\xff")
      assert.equal(bit.bor(old, 0xffffffff00000000ULL), state:get("x", 1))
      assert.equal(wanted, ffi.cast("uint32_t *", memory)[0], name)
    end
    local text = "%1 = const.i64 0x4000\n%2 = const.i64 7\n%3 = lr.i64.u64 %1\n%4 = sc.64 %1, %2\n%5 = sc.64 %1, %3\n%6 = zext.i64 %4\n%7 = zext.i64 %5\nset x[1], %6\nset x[2], %7"
    local state, memory = run(text)
    assert.same({ 0ULL, 1ULL, 7 }, { state:get("x", 1), state:get("x", 2), memory:byte(1) })
  end)

  it("faults outside of what there is, with nothing done after", function()
    for _, at in ipairs { "0x3fff", "0x403d", "0x0", "0xffffffffffffffff" } do
      local state, _, left = run(("insn +0, 4\ninsn +4, 4\n%%1 = const.i64 %s\nset x[2], %%1\n%%2 = load.i64.u32 %%1\nset x[1], %%1"):format(at))
      assert.equal("fault", left.reason)
      assert.same({ 0x1004, 2, 0ULL }, { left.pc, left.insns, state:get("x", 1) })
      assert.is_true(state:get("x", 2) == left.value + 0ULL)
    end
    local _, _, left = run("%1 = const.i64 0x4002\n%2 = lr.i64.u32 %1")
    assert.equal("fault", left.reason)                                    -- atomics are aligned
  end)
end)

describe("control", function()
  local function left(text, pc)
    local state = guest:state()
    return ir.new(guest):parse(text):eval { state = state, pc = pc or 0x1000 }, state
  end
  it("leaves by each way", function()
    assert.same({ reason = "next", pc = 0xff8, insns = 0 }, (left "goto -8"))
    assert.same({ reason = "next", pc = 0x1010, insns = 1 }, (left "insn +0, 2\n%1 = const.i1 1\nbranch %1, +16\ngoto +2"))
    assert.same({ reason = "next", pc = 0x1002, insns = 1 }, (left "insn +0, 2\n%1 = const.i1 0\nbranch %1, +16\ngoto +2"))
    assert.same({ reason = "next", pc = 0x1234, insns = 0 }, (left "%1 = const.i64 0x1234\njump %1"))
    assert.same({ reason = "next", pc = 0x1008, insns = 0 }, (left "%1 = pc.i64 +8\njump %1"))
    assert.same({ reason = "trap", pc = 0x1004, insns = 2, cause = 5, value = 7 }, (left "insn +0, 4\ninsn +4, 4\n%1 = const.i64 7\ntrap 5, %1"))
    assert.same({ reason = "leave", pc = 0x1000, insns = 0 }, (left "leave"))
  end)
  it("goes one way of when, nested", function()
    for a = 0, 1 do
      for b = 0, 1 do
        local _, state = left(([[
%%1 = const.i1 %d
%%2 = const.i1 %d
%%3 = const.i64 3
when %%1
  when %%2
    set x[1], %%3
  otherwise
    set x[2], %%3
  end
otherwise
  when %%2
    set x[3], %%3
  end
  set x[4], %%3
end
goto +4]]):format(a, b))
        assert.same({ a * b * 3, a * (1 - b) * 3, (1 - a) * b * 3, (1 - a) * 3 }, { tonumber(state:get("x", 1)), tonumber(state:get("x", 2)),
          tonumber(state:get("x", 3)), tonumber(state:get("x", 4)) })
      end
    end
  end)
  it("serves helpers of Lua, several in a block", function()
    local seen = {}
    local other = ir.guest {
      slots = { { "x", "i64", 4 } },
      helpers = {
        { "sum", "i64 i128 -> i64 i1", function(state, a, b) seen[#seen + 1] = { state:get("x", 0), a, b } return a + (type(b) == "table" and b[2] or b), true end },
        { "act", "->", function(state) state:set("x", 3, 9) end, effects = "write" },
      },
    }
    local block, state = ir.new(other), other:state()
    state:set("x", 0, 77)
    local sum, over = block:call("sum", block:const("i64", 4), block:const("i128", "0x50000000000000000"))
    block:call "act"
    local again = block:call("sum", sum, block:const("i128", 1))
    block:set("x", 1, again)
    block:set("x", 2, block:zext("i64", over))
    block:go(4)
    assert.equal("next", block:eval { state = state }.reason)
    assert.same({ 10ULL, 1ULL, 9ULL }, { state:get("x", 1), state:get("x", 2), state:get("x", 3) })
    assert.same({ 77ULL, 4ULL, { 0ULL, 5ULL, 0ULL, 0ULL } }, seen[1])
    assert.same({ 77ULL, 9ULL, 1ULL }, seen[2])
  end)
end)

describe("text", function()
  it("of random blocks reads back as itself and means the same", function()
    local numbers, any, slots = random.new(SEED), irgen.guest()
    local left, used = {}, {}
    for n = 1, random.soak() and 5000 or 300 do
      local block = irgen.block(any, slots, numbers, 5 + numbers(60))
      local text = tostring(block)
      local copy = ir.new(any):parse(text)
      assert.equal(text, tostring(copy))
      block:verify()
      copy:verify()
      local states, memories = {}, {}
      for i, one in ipairs { block, copy } do
        states[i], memories[i] = any:state(), irgen.memory(random.new(n))
        irgen.fill(states[i], slots, random.new(n))
        left[i] = one:eval { state = states[i], pc = 0x1000, memory = memories[i], at = irgen.AT }
      end
      assert.same(left[1], left[2])
      assert.equal(ffi.string(states[1].bytes, states[1].size), ffi.string(states[2].bytes, states[2].size))
      assert.equal(ffi.string(memories[1], irgen.SIZE), ffi.string(memories[2], irgen.SIZE))
      for op in text:gmatch "\n%s*[%%%d= ]*(%a+)" do used[op] = true end
      block:close()
      copy:close()
    end
    for _, op in ipairs(ir.ops) do
      local elsewhere = op.name == "call" or op.name == "result" or op.name == "trap" or op.name == "leave" or op.name == "insn"
      assert.is_true(used[op.name] or elsewhere or false, op.name .. " was never made")
    end
  end)

  it("may have other numbers, blanks and comments", function()
    local block = ir.new(guest):parse "  %500 = get.i64   x[ 1 ] ; a comment\r\n\n; another\n%7=const.i64 12\n\t%9 = add.i64 %500,%7\ngoto +4 ; end"
    assert.equal("%1 = get.i64 x[1]\n%2 = const.i64 0xc\n%3 = add.i64 %1, %2\ngoto +4", tostring(block))
  end)
end)

local I64 = "%1 = const.i64 1\n%2 = const.i32 1\n%3 = const.f64 1\n%4 = const.i1 1\n"
local BROKEN = {
  { "frob %1", "line 5: unknown op frob" },
  { "%9 = add %1, %1", "line 5: add: a type expected, like add.i64" },
  { "%9 = add.i63 %1, %1", "line 5: add: a type expected, like add.i64" },
  { "%9 = add.i64.s32 %1, %1", "line 5: add: nothing more belongs to its name" },
  { "%9 = add.i64 %1 %1", "line 5: a comma expected" },
  { "%9 = add.i64 %1, %1, %1", "line 5: nothing more expected at ', %1'" },
  { "%9 = add.i64 %1, %8", "line 5: %8 was not made" },
  { "%1 = add.i64 %1, %1", "line 5: %1 is made twice" },
  { "%0 = add.i64 %1, %1", "line 5: %0 names nothing" },
  { "%9 = set x[1], %1", "line 5: set gives no value" },
  { "%70000 = const.i64 1", "line 5: a number of at most 65535 expected" },
  { "%9 = add.i64 %1, %2", "line 5: add: operand 2 must be i64, not i32" },
  { "%9 = add.f64 %3, %3", "line 5: add: the result must be an integer, not f64" },
  { "%9 = fadd.f64 %3, %3", "line 5: fadd: a rounding (rne rtz rdn rup rmm dyn) expected" },
  { "%9 = fadd.f32.rne %3, %3", "line 5: fadd: operand 1 must be f32, not f64" },
  { "%9 = ltu %1, %2", "line 5: ltu: operand 2 must be i64, not i32" },
  { "%9 = zext.i32 %1", "line 5: zext: from i64 to i32 is no extension" },
  { "%9 = trunc.i64 %1", "line 5: trunc: from i64 to i64 cuts nothing" },
  { "%9 = bitcast.f64 %2", "line 5: bitcast: from i32 to f64" },
  { "%9 = mulhu.i1 %4, %4", "line 5: mulhu: i32 or i64, not i1" },
  { "%9 = const.i8 256", "line 5: the number does not fit i8" },
  { "%9 = const.i256 0x1" .. ("0"):rep(64), "line 5: a number of at most 256 bits expected" },
  { "%9 = const.i8 -1", "line 5: a number of at most 256 bits expected" },
  { "%9 = get.i64 y", "line 5: the guest has no slot y" },
  { "%9 = get.i64 x[32]", "line 5: get: x has 32 elements, not 33" },
  { "%9 = get.i64 x", "line 5: x[...] expected" },
  { "%9 = get.i32 x[1]", "line 5: get: x is i64, not i32" },
  { "set n, %1", "line 5: set: n is i1, not i64" },
  { "%9 = load.i32.u64 %1", "line 5: load: 64 bits do not fit i32" },
  { "%9 = load.i64.u24 %1", "line 5: the bits of the access expected, like .u32" },
  { "%9 = load.i64.u32.rl.aq %1", "line 5: .be, .aq and .rl follow, in this order" },
  { "%9 = load.i64.u32 %2", "line 5: load: operand 1 must be i64, not i32" },
  { "%9 = amo.i64.add.u16 %1, %1", "line 5: amo: 4 or 8 bytes, not 2" },
  { "%9 = amo.i64.add.u32.be %1, %1", "line 5: amo: atomics are little-endian" },
  { "store.u32 %1, %2", "line 5: the bits of the access expected, like .32" },
  { "%9 = result.i64 %1, 0", "line 5: result: it must stand behind its call" },
  { "call none", "line 5: the guest has no helper none" },
  { "when %1", "line 5: when: operand 1 must be i1, not i64" },
  { "end", "line 5: end without when" },
  { "when %4\notherwise\notherwise", "line 7: otherwise twice" },
  { "when %4\n%9 = const.i64 1\nend\nset x[1], %9", "line 8: set: %6 was made inside a `when` that has ended" },
  { "when %4\n%9 = const.i64 1\notherwise\nset x[1], %9", "line 8: set: %6 was made inside a `when` that has ended" },
  { "when %4\ninsn +0, 4", "line 6: insn inside when" },
  { ("when %4\n"):rep(17), "line 21: when: nested more than 16 deep" },
  { "insn +4, 4\ninsn +4, 4", "line 6: insn: delta 4 does not come after 4" },
  { "goto +4\n%9 = const.i64 1", "line 6: const: nothing can follow the end of a way" },
  { "goto 4", "line 5: a delta like +4 expected" },
  { "trap 1, %2", "line 5: trap: operand 1 must be i64, not i32" },
  { "fence 16, 0", "line 5: a number of at most 15 expected" },
}

describe("broken IR is refused", function()
  for _, c in ipairs(BROKEN) do
    it((c[1]:sub(1, 60):gsub("\n", " / ")), function()
      local block = ir.new(guest)
      local ok, why = pcall(block.parse, block, I64 .. c[1])
      assert.is_false(ok, "not refused")
      assert.equal(c[2], (why:gsub("^.-:%d+: ", "", 1)))
      assert.equal(0, block:count())                                       -- nothing of it was appended
    end)
  end

  it("when it is not finished", function()
    local block = ir.new(guest)
    refuses(function() block:verify() end, "the block does not end: goto, jump, trap or leave is missing")
    block:when(block:const("i1", 1))
    block:go(4)
    refuses(function() block:verify() end, "when without end")
    refuses(function() block:eval { state = guest:state() } end, "when without end")
  end)

  it("at the line that builds it", function()
    local block, other = ir.new(guest), ir.guest { slots = { { "x", "i64" } } }
    local a, b = block:const("i64", 1), block:const("i32", 1)
    refuses(function() block:add(a, b) end, "add: operand 2 must be i64, not i32")
    refuses(function() block:add(a, 99) end, "add: operand %%99 is not there yet")
    refuses(function() block:add(a) end, "add: operand 2 must be a value of this block, not nil")
    refuses(function() block:load("i64", "q32", a) end, 'load: an access like "s32" expected, not "q32"')
    refuses(function() block:fadd("up", a, a) end, 'fadd: a rounding .* expected, not "up"')
    refuses(function() block:get("y", 0) end, "the guest has no slot y")
    refuses(function() block:const("i65", 0) end, "const must be a type .*, not \"i65\"")
    refuses(function() block:const("i64", "12") end, "const must be a whole number, .*")
    refuses(function() block:emit { op = "frob" } end, 'emit: no op "frob"')
    refuses(function() ir.guest { slots = { { "x", "i64" }, { "x", "i1" } } } end, "slot x is there twice")
    refuses(function() ir.guest { slots = { { "a b", "i64" } } } end, '"a b" is no name of a slot')
    refuses(function() ir.guest { slots = { { "x", "i64", 257 } } } end, "slot x: 1 to 256 elements, not 257")
    refuses(function() ir.guest { helpers = { { "h", "i64", function() end } } } end, 'helper h: "i64 i64 %-> i64" expected, not "i64"')
    refuses(function() ir.guest { helpers = { { "h", "->", function() end, effects = "magic" } } } end, "helper h: unknown effect magic, known: .*")
    block:go(4)
    refuses(function() block:go(4) end, "goto: nothing can follow the end of a way")
    refuses(function() block:eval { state = other:state() } end, "`eval.state` must be a state of the block's guest")
    block:close()
    refuses(function() block:go(4) end, "this ir is closed")
  end)
end)

describe("the page of docs", function()
  it("begins with an example that runs", function() example "docs/ir.md" end)
  it("lists every operation", function()
    local page, wanted = tree.read "docs/ir.md", {}
    for _, op in ipairs(ir.ops) do wanted[#wanted + 1] = ("| `%s` | `%s` | %s |"):format(op.name, op.signature, op.text) end
    assert.is_truthy(page:find(table.concat(wanted, "\n"), 1, true), "the table in docs/ir.md should be:\n" .. table.concat(wanted, "\n"))
  end)
end)

-- The lift ------------------------------------------------------------------------------------------------------------------------

describe("the IR of RISC-V, evaluated, is tier 0:", function()
  local description = isa.load "lua/isa/riscv/riscv.lua"

  for index, extension in ipairs(description.extensions) do
    local rows = {}
    for _, list in ipairs { description.insns, description.shorts } do
      for _, row in ipairs(list) do
        local kind = row.extension == extension and cases.kind(row)
        if kind and kind ~= "cache" then rows[#rows + 1] = row end
      end
    end
    if #rows > 0 then
      it(("%s, %d encodings"):format(extension, #rows), function()
        local program = cases.new(description, random.new(SEED + index))
        for _, row in ipairs(rows) do
          for _ = 1, EACH / 3 do program:add(row) end
          program:dump()
        end
        local code, data, stop = program:finish()
        local tier0 = assert(cases.umbra(code, data, stop))
        local lifted = assert(cases.umbra(code, data, stop, { evaluate = true }))
        local lines, count = program:compare(lifted, tier0, 5)
        assert(count == 0, ("%d cases differ (UMBRA_SEED=%d; the second line is tier 0's)\n%s"):format(count, SEED, table.concat(lines, "\n")))
      end)
    end
  end

  -- Two harts with random code in RAM, traps and privileged instructions included, one step at a time.
  local function pair(isa_string, misaligned)
    local clock, control, mem = require "umbra.clock", require "umbra.control", require "umbra.mem"
    local both = {}
    for i = 1, 2 do
      local memory = mem.new()
      memory:add_ram { at = 0x80000000, size = 0x4000 }
      both[i] = { memory = memory, hart = cpu.new { mem = memory, clock = clock.new { rate = 1000000 }, control = control.new(), isa = isa_string, mmu = "sv39",
        reset_pc = 0x80000000, misaligned = misaligned } }
    end
    return both
  end

  local function hex(text) return (text:reverse():gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

  local SKIPPED = { wfi = true, ["wrs.nto"] = true, ["wrs.sto"] = true }
  local TIME = { [0xc01] = true, [0xb00] = true, [0xb02] = true, [0xc00] = true, [0xc02] = true }

  local function random_code(numbers, rows)
    local parts, size = {}, 0
    while size < 0x1000 do
      local row = rows[numbers(#rows) + 1]
      local value = word.random(row, numbers)
      local csr = row.fields[1] and row.scope.fields.csr and word.values(row, value).csr
      if csr and numbers(3) > 0 then
        value = value % 2^20 + 2^20 * ({ 0x300, 0x305, 0x341, 0x342, 0x343, 0x304, 0x344, 0x100, 0x105, 0x141, 0x180, 0x001, 0x002, 0x003, 0x302, 0x303, 0x340 })[numbers(17) + 1]
        csr = nil
      end
      if numbers(20) == 0 then value = numbers(2 ^ 32) end
      if not (csr and TIME[csr]) then
        parts[#parts + 1] = string.char(value % 256, math.floor(value / 256) % 256)
        if value % 4 == 3 then parts[#parts + 1] = string.char(math.floor(value / 65536) % 256, math.floor(value / 16777216) % 256) end
        size = size + #parts[#parts] + (value % 4 == 3 and 2 or 0)
      end
    end
    return table.concat(parts)
  end

  for _, way in ipairs { { "rv64gc_zba_zbb_zbc_zbs_zicond_zicbom_zicboz_svinval", "fast" }, { "rv64imafd_zicond", "trap" } } do
    it(way[1] .. ", misaligned " .. way[2] .. ", with traps and CSRs, step by step", function()
      local numbers, rows = random.new(SEED), {}
      local short = way[1]:find "gc"
      for _, list in ipairs { description.insns, short and description.shorts or {} } do
        for _, row in ipairs(list) do
          if not SKIPPED[row.name] then rows[#rows + 1] = row end
        end
      end
      local traps, steps = 0, 0
      for round = 1, random.soak() and 400 or 25 do
        local both, code = pair(way[1], way[2]), random_code(numbers, rows)
        local registers = {}
        for n = 1, 31 do registers[n] = numbers(3) == 0 and numbers() or 0x80000000ULL + numbers(0x4000) end
        for _, one in ipairs(both) do
          for page = 0, 3 do one.memory:write(0x80000000 + 0x1000 * page, code:sub(1, 0x1000)) end
          one.hart:set_csr("mtvec", 0x80000000 + 0x40 * (round % 64))
          one.hart:set_csr("mstatus", 0x6000)
          if round % 2 == 0 then one.hart:set_csr("pmpaddr0", -1) one.hart:set_csr("pmpcfg0", 0x1f) end
          for n, value in pairs(registers) do one.hart:set_reg(n, value) end
        end
        for step = 1, 200 do
          local a, b = both[1].hart, both[2].hart
          local instruction = bit.tohex(a:pc(), 16) .. " " .. (pcall(a.read, a, a:pc(), 4) and hex(a:read(a:pc(), 4)) or "?")
          local _, executed = a:run(1, 1)                                  -- with traps before it, and one where it leads to
          if executed == 0 then break end                                  -- a handler that traps for ever
          for _ = 1, 10000 do
            b:evaluate(1)
            if b:counters().instructions == a:counters().instructions and b:pc() == a:pc() then break end
            if b:counters().instructions > a:counters().instructions then break end
          end
          steps = steps + 1
          for i, row in ipairs(a:state()) do
            local other = b:state()[i]
            if row.bytes ~= other.bytes then
              error(("round %d, step %d (UMBRA_SEED=%d): after %s %s is\n%s, not\n%s"):format(round, step, SEED, instruction, row.name,
                hex(other.bytes), hex(row.bytes)), 0)
            end
          end
        end
        for _, count in pairs(both[1].hart:counters().exceptions) do traps = traps + count end
        assert.equal(both[1].memory:read(0x80000000, 0x4000), both[2].memory:read(0x80000000, 0x4000))
      end
      assert.is_true(steps > 300 and traps > 100, ("%d steps, %d traps"):format(steps, traps))
    end)
  end
end)
