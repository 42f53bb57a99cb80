-- jit: blocks of IR as host code: translated, run on a state, shown.
--
--   local j = jit.new { guest = guest, pins = { { "x", 1, "rbx" } } }
--   local code = j:translate(block, 0x1000)
--   local left = code:run { state = state }
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local handle = require "umbra.handle"
local schema = require "umbra.schema"

local C = clib.C

local jit = {}
local Jit = { noun = "jit" }
Jit.__index = Jit
local Code = {}
Code.__index = Code

local why = ffi.new "struct um_fault"

local BACKING = { dual = C.UM_CODE_DUAL, private = C.UM_CODE_PRIVATE }

-- Features of the host beyond plain x86-64, those this one has: { bmi2 = true, ... }.
function jit.features()
  local found, index, here = {}, 1, C.um_jit_features()
  while C.um_jit_feature(index) ~= nil do
    if bit.band(here, bit.lshift(1, index)) ~= 0 then found[ffi.string(C.um_jit_feature(index))] = true end
    index = index + 1
  end
  return found
end

local function feature_mask(names)
  if not names then return 0xffffffff end
  local mask = 1
  for _, name in ipairs(names) do
    local index, found = 1, false
    while C.um_jit_feature(index) ~= nil do
      if ffi.string(C.um_jit_feature(index)) == name then mask, found = mask + 2 ^ index, true end
      index = index + 1
    end
    if not found then fault.raise("`jit.features`: no feature %s", schema.show(name)) end
  end
  return mask
end

local OPTIONS = {
  { "guest", type = "table", required = true, help = "what ir.guest or cpu.guest made" },
  { "size", type = "size", default = 2 ^ 20, min = 4096, max = 2 ^ 30, help = "bytes of code memory" },
  { "backing", type = "enum", values = { "dual", "private" }, default = "dual", help = "how code memory is writable and executable" },
  { "pins", type = "table", default = {}, help = "slots that live in registers: { \"x\", 1, \"rbx\" }" },
  { "bias", type = "integer", default = 128, min = 0, max = 2 ^ 20, help = "bytes into a state where its register points" },
  { "features", type = "table", help = "names of host features that may be used; without it all there are" },
}

-- jit.new { guest = guest, size = "1M", backing = "dual", pins = { { "x", 1, "rbx" } }, features = { "bmi2" } }
function jit.new(options)
  options = schema.check(options, OPTIONS, "jit")
  local given = ffi.new "struct um_jit_options"
  given.size, given.backing, given.bias, given.features = options.size, BACKING[options.backing], options.bias, feature_mask(options.features)
  local guest = handle.pointer(options.guest, "ir.guest", "jit.guest")
  local ptr = C.um_jit_new(guest, given, why)
  if ptr == nil then fault.check(why.status, why) end
  local self = handle.new(Jit, ptr, C.um_jit_free, { guest = options.guest, notice = ffi.string(C.um_jit_notice(ptr)) })
  if self.notice ~= "" then io.stderr:write("umbra: ", self.notice, "\n") end
  for _, pin in ipairs(options.pins) do
    local row = fault.check(C.um_ir_guest_find(guest, tostring(pin[1]), why), why)
    fault.check(C.um_jit_pin(ptr, row, pin[2] or 0, tostring(pin[3]), why), why)
  end
  return self
end

Jit.close = handle.close

-- The block, standing at guest address `pc` (default 0), as code. What cannot be translated is refused by name.
function Jit:translate(block, pc)
  local number = C.um_jit_translate(self.ptr, handle.pointer(block, "ir", "block"), bits.u64(pc or 0), why)
  if number < 0 then fault.check(tonumber(number), why) end
  return setmetatable({ jit = self, number = number, pc = pc or 0 }, Code)
end

-- { blocks =, bytes =, instructions =, size =, used =, backing = "dual" }: what was translated, and the code memory.
function Jit:counters()
  local counts = ffi.new "struct um_jit_counts"
  C.um_jit_counts(self.ptr, counts)
  return {
    blocks = tonumber(counts.blocks), bytes = tonumber(counts.bytes), instructions = tonumber(counts.instructions), size = tonumber(counts.size),
    used = tonumber(counts.used), backing = counts.backing == C.UM_CODE_DUAL and "dual" or "private",
  }
end

-- The host's bytes.
function Code:bytes()
  local size = tonumber(C.um_jit_bytes(self.jit.ptr, self.number, nil, 0, why))
  local to = ffi.new("uint8_t[?]", math.max(1, size))
  C.um_jit_bytes(self.jit.ptr, self.number, to, size, why)
  return ffi.string(to, size)
end

-- run { state = s, memory = bytes, at = 0x8000, size = n }: as block:eval, which it must agree with; reason, pc, insns, cause, value.
function Code:run(options)
  local ir = require "umbra.ir"
  local world, exit = ir.world(options, self.jit.guest), ffi.new "struct um_ir_exit"
  fault.check(C.um_jit_run(self.jit.ptr, self.number, world, exit, why), why)
  return ir.left(exit)
end

return jit
