-- progress: tells how a fetch goes, on one changing line of a terminal or in plain lines elsewhere.
-- SPDX-License-Identifier: MIT

local uv = require "luv"

local progress = {}

local BAR = 24                                          -- characters
local INTERVAL_MS = 100                                 -- between two drawings of a bar

local Progress = {}
Progress.__index = Progress

-- A reporter that calls `write` with text. `terminal`: whether a line can be drawn over.
function progress.new(write, terminal)
  return setmetatable({ write = write, terminal = terminal, drawn = false, last_ms = 0 }, Progress)
end

-- The reporter on standard error, where guests never write.
function progress.stderr()
  return progress.new(function(text)
    io.stderr:write(text)
    io.stderr:flush()
  end, uv.guess_handle(2) == "tty")
end

function progress.silent() return progress.new(function() end, false) end

-- Says what happens next.
function Progress:step(text)
  self:clear()
  self.text = text
  if self.terminal then
    self.write(text)
    self.drawn = true
  else
    self.write("umbra: " .. text .. "\n")
  end
end

-- Shows how far the step is, 0 to 100.
function Progress:percent(percent)
  local now = uv.hrtime() / 1e6
  if not self.terminal or now - self.last_ms < INTERVAL_MS then return end
  self.last_ms = now
  local full = math.floor(percent * BAR / 100 + 0.5)
  self.write(("\r\27[K%s [%s%s] %3.0f %%"):format(self.text, ("#"):rep(full), ("."):rep(BAR - full), percent))
  self.drawn = true
end

-- Leaves no half line behind.
function Progress:clear()
  if self.drawn then self.write "\r\27[K" end
  self.drawn = false
end

-- The last word.
function Progress:done(text)
  self:clear()
  self.write((self.terminal and "" or "umbra: ") .. text .. "\n")
end

return progress
