-- clock: guest time; one clock a machine, which its timers and harts share.
--
-- A wall clock follows the host's; a virtual one (with a `rate`) passes as the harts run instructions, and jumps while all sleep.
-- SPDX-License-Identifier: MIT
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local handle = require "umbra.handle"
local schema = require "umbra.schema"

local C = clib.C

local clock = {}
local Clock = { noun = "clock" }
Clock.__index = Clock

clock.OPTIONS = {
  { "hertz", type = "integer", default = 10000000, min = 1, max = 1000000000, help = "ticks a second" },
  { "rate", type = "integer", min = 1, max = 10^12, help = "makes it virtual: instructions a second of guest time" },
}

-- clock.new { hertz = 10000000 }: starts at 0 and follows the host's monotonic clock; with rate = 100000000 it counts instructions.
function clock.new(options)
  options = schema.check(options, clock.OPTIONS, "clock")
  local ptr = options.rate and C.um_clock_new_virtual(options.hertz, options.rate) or C.um_clock_new(options.hertz)
  if ptr == nil then fault.raise "clock: the host has no memory for it" end
  return handle.new(Clock, ptr, C.um_clock_free)
end

function Clock:now() return bits.number(C.um_clock_now(self.ptr)) end          -- ticks
function Clock:hertz() return tonumber(C.um_clock_hertz(self.ptr)) end
function Clock:is_virtual() return C.um_clock_is_virtual(self.ptr) end

-- What a virtual clock has counted: instructions of one hart, and the time when all slept as if they had been run. 0 of a wall clock.
function Clock:instructions() return bits.number(C.um_clock_instructions(self.ptr)) end

-- Time is 0 again. What waits for a time must be reset too: a machine's reset does all of it.
function Clock:reset() C.um_clock_reset(self.ptr) end

-- A wall clock stands still from now on (on == false: it goes on where it stood).
function Clock:hold(on) C.um_clock_hold(self.ptr, on ~= false) end

-- One line for people.
function Clock:describe()
  local ticks, hertz = self:now(), self:hertz()
  local kind = self:is_virtual() and ("virtual: %s instructions so far"):format(tostring(self:instructions())) or "wall: the host's time"
  return ("clock: %s ticks of %d a second (%.6f s); %s"):format(tostring(ticks), hertz, tonumber(ticks) / hertz, kind)
end

Clock.close = handle.close

return clock
