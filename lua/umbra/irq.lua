-- irq: interrupt lines. A device drives one, an interrupt controller or a hart listens; the line knows neither.
-- SPDX-License-Identifier: MIT
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local handle = require "umbra.handle"
local schema = require "umbra.schema"

local C = clib.C

local irq = {}
local Irq = { noun = "irq" }
Irq.__index = Irq

-- irq.new(): a line at level false. What listens is connected by its own module and must be closed before the line.
function irq.new()
  local ptr = C.um_irq_new()
  if ptr == nil then fault.raise "irq: the host has no memory for it" end
  return handle.new(Irq, ptr, C.um_irq_free)
end

-- Drives the line: true is raised. Only a change is passed on.
function Irq:set(level)
  if type(level) ~= "boolean" then fault.raise("`level` must be true or false, not %s", schema.show(level)) end
  C.um_irq_set(self.ptr, level and 1 or 0)
end

function Irq:raise() C.um_irq_set(self.ptr, 1) end
function Irq:lower() C.um_irq_set(self.ptr, 0) end
function Irq:level() return C.um_irq_level(self.ptr) ~= 0 end
function Irq:edges() return tonumber(C.um_irq_edges(self.ptr)) end    -- how often it was raised

Irq.close = handle.close

return irq
