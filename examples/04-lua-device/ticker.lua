-- ticker: raises its line every `period` microseconds of guest time. SPDX-License-Identifier: MIT
local device = require "umbra.device"

local Ticker = device {
  name = "ticker", help = "raises its line again and again",
  config = { { "irq", required = true } },
  regs = {
    { at = 0x0, name = "count",  access = "r", help = "ticks so far" },
    { at = 0x4, name = "period", unit = "us",  help = "time between two ticks; 0: none" },
    { at = 0x8, name = "clear",  access = "w", help = "any value lowers the line" },
  },
}

function Ticker:write_period(us)
  self.period = us
  self:cancel "tick"
  if us > 0 then self:after(us * 1e-6, "tick") end
end
function Ticker:tick()
  self.count = self.count + 1
  self.irq:raise()
  self:after(self.period * 1e-6, "tick")
end
function Ticker:write_clear() self.irq:lower() end
return Ticker
