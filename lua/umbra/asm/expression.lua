-- expression: what the trees of umbra.asm.parse come to.
-- SPDX-License-Identifier: MIT
--
-- Every expression is evaluated at least once while its statement is read, and every part of it: that is when 1f and 1b find their
-- labels. What is not known yet (a label further down) makes the result nil; in the last pass (env.final) that is an error.
local number = require "umbra.asm.number"

local expression = {}

local LIMIT = 2 ^ 31

-- The signed low 12 bits, which an addi adds to what a lui or auipc made.
local function low(value)
  local n = number.bits(value, 0, 12)
  return n >= 2048 and n - 4096 or n
end
expression.low = low

-- Bits 31:12 for a lui or auipc, when low(value) is added afterwards; nil when the two cannot make `value`.
local function high(value)
  if type(value) ~= "number" or value < -LIMIT - 2048 or value >= LIMIT - 2048 then return end
  return number.bits(value + 2048, 12, 20)
end
expression.high = high

local modifiers = {}

function modifiers.hi(env, node, value)
  local n = high(value)
  if not n and env.final then env:fail(node.at, "%%hi(%s): a lui cannot make this address, which is not within 2 GiB of 0 (la can)", number.show(value)) end
  return n or 0
end

function modifiers.lo(_, _, value) return low(value) end

function modifiers.pcrel_hi(env, node, value)
  local distance = number.binary("-", value, env.pc)
  local n = high(distance)
  if not n and env.final then env:fail(node.at, "%s is further than 2 GiB away", number.show(value)) end
  return n or 0
end

-- %pcrel_lo(label): the low part of what the %pcrel_hi at `label` points to.
function modifiers.pcrel_lo(env, node, value)
  local upper = env.uppers[tostring(value)]
  if not upper then
    if env.final then env:fail(node.at, "%%pcrel_lo takes the label of an instruction with %%pcrel_hi, and there is none at %s", number.show(value)) end
    return
  end
  local pc = env.pc
  env.pc = value
  local target = expression.evaluate(upper.value, env)
  env.pc = pc
  return target and low(number.binary("-", target, value))
end

local MODIFIERS = { "hi", "lo", "pcrel_hi", "pcrel_lo" }

local evaluate
local ops = {}

function ops.number(node, env)
  if node.value == false then env:fail(node.at, "a number of more than 64 bits") end
  return node.value, 0
end

function ops.here(_, env) return env.pc, 1 end

function ops.symbol(node, env) return env:value_of(node) end

function ops.near(node, env)
  node.name = node.name or env:nearest(node)
  return env:value_of(node)
end

function ops.unary(node, env)
  local a, relative = evaluate(node.value, env)
  if a == nil then return end
  return number.unary(node.name, a), node.name == "-" and -relative or node.name == "+" and relative or 0
end

function ops.binary(node, env)
  local a, a_relative = evaluate(node.left, env)
  local b, b_relative = evaluate(node.right, env)
  if a == nil or b == nil then return end
  local value, why = number.binary(node.name, a, b)
  if not value then env:fail(node.at, "%s", why) end
  if node.name == "+" then return value, a_relative + b_relative end
  if node.name == "-" then return value, a_relative - b_relative end
  return value, 0
end

function ops.modifier(node, env)
  if node.name == "pair_lo" then                      -- the second half of la, call and the like: the first is 4 bytes before it
    env.pc = number.binary("-", env.pc, 4)
    local value = evaluate(node.value, env)
    local result = value and low(number.binary("-", value, env.pc))
    env.pc = number.binary("+", env.pc, 4)
    return result, 0
  end
  local modifier = modifiers[node.name]
  if not modifier then env:fail(node.at, "unknown modifier `%%%s`%s", node.name, env.suggest(node.name, MODIFIERS)) end
  local value = evaluate(node.value, env)
  if value == nil then return end
  return modifier(env, node, value), 0
end

function ops.float(node, env) env:fail(node.at, "a whole number is expected, not %g", node.value) end
function ops.memory(node, env) env:fail(node.at, "a number is expected, not an address in brackets") end
function ops.string(node, env) env:fail(node.at, "a number is expected, not a string") end
function ops.tag(node, env) env:fail(node.at, "a number is expected, not @%s", node.name) end

-- The value of `node` and how many addresses are in it (a label is 1, a difference of two is 0); nil when it is not known yet.
-- env: pc, final, uppers, suggest, and methods fail(at, ...), value_of(node), nearest(node).
function evaluate(node, env) return ops[node.op](node, env) end
expression.evaluate = evaluate

-- Whether there is a modifier in `node`.
function expression.modified(node)
  if node.op == "modifier" then return true end
  for _, key in ipairs { "value", "left", "right", "offset" } do
    if type(node[key]) == "table" and expression.modified(node[key]) then return true end
  end
  return false
end

return expression
