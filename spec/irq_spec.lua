-- irq: lines keep a level, count rising edges, and close once.
-- SPDX-License-Identifier: MIT
local irq     = require "umbra.irq"
local example = require "spec.support.example"
local refuses = require "spec.support.refuses"
local shadow  = require "spec.support.shadow"

describe("irq", function()
  it("does what its page of docs begins with", function() example "docs/irq.md" end)

  local line
  before_each(function() line = irq.new() end)
  after_each(function() line:close() end)

  it("starts lowered and keeps what it is set to", function()
    assert.is_false(line:level())
    line:set(true)
    assert.is_true(line:level())
    line:lower()
    assert.is_false(line:level())
    line:raise()
    assert.is_true(line:level())
  end)

  it("counts rising edges, not settings", function()
    local level, edges = false, 0
    shadow.play(2000, function()
      local wanted = shadow.flip()
      if wanted and not level then edges = edges + 1 end
      level = wanted
      line:set(wanted)
      shadow.same(line:level(), level, "level")
      shadow.same(line:edges(), edges, "edges")
    end)
  end)

  it("takes true and false only", function()
    refuses(function() line:set(1) end, "`level` must be true or false, not 1")
    refuses(function() line:set() end, "`level` must be true or false, not nil")
  end)

  it("is closed once and says so afterwards", function()
    local other = irq.new()
    other:close()
    other:close()
    refuses(function() other:raise() end, "this irq is closed")
    refuses(function() other.sink = 1 end, "this irq is closed")
  end)
end)
