-- bounded: whether a Lua function certainly comes to an end, told from its bytecode.
--
-- A compiled loop of LuaJIT's cannot be interrupted, an interpreted one can (by a count hook), at a tenth of the speed. Most
-- functions of a device have no loop at all: those may be compiled, and only the others need watching. A function is bounded when
-- it has no jump backwards and calls only functions that are known and bounded too: the toolkit's, those of Lua's library that
-- call nothing back, and the user's own, which are looked at in turn. What cannot be told counts as unbounded.
-- SPDX-License-Identifier: MIT
local bit  = require "bit"
local util = require "jit.util"

local band, shift = bit.band, bit.rshift

local here = debug.getinfo(1, "S").source:match("^@(.*)umbra/bounded%.lua$")   -- .../lua/

-- Numbers of the bytecodes that matter, or nil where LuaJIT came without its description of them.
local OPCODES
do
  local ok, vmdef = pcall(require, "jit.vmdef")
  if ok then
    OPCODES = {}
    for number = 0, #vmdef.bcnames / 6 - 1 do OPCODES[vmdef.bcnames:sub(number * 6 + 1, number * 6 + 6):match "%S+"] = number end
  end
end

local MODE_JUMP, MODE_DST, MODE_BASE = 13 * 128, 1, 2           -- operand kinds as lj_bc.h has them

-- Functions of Lua's library that end and call nothing back.
local ENDING = {}
for _, name in ipairs { "assert", "error", "next", "rawequal", "rawget", "rawset", "select", "setmetatable", "getmetatable", "tonumber", "type", "unpack" } do
  ENDING[_G[name]] = true
end
for _, library in ipairs { bit, math } do
  for _, f in pairs(library) do ENDING[f] = true end              -- a set: any order will do
end
for _, name in ipairs { "byte", "char", "format", "len", "lower", "reverse", "sub", "upper" } do ENDING[string[name]] = true end
for _, name in ipairs { "concat", "insert", "remove" } do ENDING[table[name]] = true end

-- The instructions of `f`, from 1: { op =, a =, b =, c =, d =, jump = target or nil, kind = of operand a }.
local function code_of(f)
  local code = {}
  for pc = 1, util.funcinfo(f).bytecodes - 1 do
    local word, mode = util.funcbc(f, pc)
    local d = shift(word, 16)
    code[pc] = {
      op = band(word, 255), a = band(shift(word, 8), 255), b = shift(word, 24), c = band(d, 255), d = d,
      jump = band(mode, 15 * 128) == MODE_JUMP and pc + d - 0x7fff or nil, kind = band(mode, 7),
    }
  end
  return code
end

local function writes(ins, slot)
  return ins.kind == MODE_DST and ins.a == slot or ins.kind == MODE_BASE and ins.a <= slot
end

-- Where `slot` got what it holds at `pc`, if there is one such place: no way leads to pc around it.
local function definition(code, slot, pc)
  for from = pc - 1, 1, -1 do
    if writes(code[from], slot) then
      for i, ins in ipairs(code) do
        if ins.jump and ins.jump > from and ins.jump <= pc and (i <= from or i > pc) then return end
      end
      return code[from], from
    end
  end
end

local MOST_STEPS = 8

local function get(container, key) return container[key] end

-- True and the value that `slot` holds at `pc`; false when that cannot be told.
local function value_at(f, code, self, slot, pc, steps)
  local ins, from = definition(code, slot, pc)
  if steps > MOST_STEPS then return false end
  if not ins then
    if slot ~= 0 or self == nil then return false end
    for _, other in ipairs(code) do if writes(other, 0) then return false end end
    return true, self
  end
  local op = ins.op
  if op == OPCODES.MOV then return value_at(f, code, self, ins.d, from, steps + 1) end
  if op == OPCODES.UGET then
    local name, value = debug.getupvalue(f, ins.d + 1)
    return name ~= nil, value
  end
  if op == OPCODES.GGET then
    return true, debug.getfenv(f)[util.funck(f, -ins.d - 1)]
  end
  if op == OPCODES.KSTR then return true, util.funck(f, -ins.d - 1) end
  if op ~= OPCODES.TGETS then return false end
  local known, container = value_at(f, code, self, ins.b, from, steps + 1)
  if type(container) == "string" then container = string end       -- ("%d"):format(x)
  if not known or type(container) ~= "table" then return false end
  return pcall(get, container, util.funck(f, -ins.c - 1))       -- a closed machine raises
end

local examine

local function examine_code(f, self, open)
  local code = code_of(f)
  for pc, ins in ipairs(code) do
    local op = ins.op
    if ins.jump and ins.jump <= pc and ins.jump > 0 and op ~= OPCODES.UCLO then return false end
    if op == OPCODES.JFORL or op == OPCODES.JITERL or op == OPCODES.JLOOP or op == OPCODES.LOOP or op == OPCODES.ILOOP or op == OPCODES.ITERC
      or op == OPCODES.ITERN then return false end
    if op == OPCODES.CALL or op == OPCODES.CALLM or op == OPCODES.CALLT or op == OPCODES.CALLMT then
      local known, callee = value_at(f, code, self, ins.a, pc, 0)
      if not known or type(callee) ~= "function" then return false end
      -- A method of the same object: its `self` is ours. What else is called knows no object.
      local method, object = value_at(f, code, self, ins.a + 2, pc, 0)
      if not examine(callee, method and type(object) == "table" and object or nil, open) then return false end
    end
  end
  return true
end

function examine(f, self, open)
  if ENDING[f] then return true end
  local info = util.funcinfo(f)
  if not info.bytecodes then return false end
  if info.source:sub(2, #here + 1) == here and info.source:sub(1, 1) == "@" then return true end
  if open[f] then return false end                                -- recursion
  open[f] = true
  local ends = examine_code(f, self, open)
  open[f] = nil
  return ends
end

-- Whether `f`, called with `self` as its first argument, certainly comes to an end.
return function(f, self)
  return OPCODES ~= nil and examine(f, self, {})
end
