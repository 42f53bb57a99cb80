-- fault: refusals point at the user's line.
-- SPDX-License-Identifier: MIT
local fault = require "umbra.fault"
local ffi = require "ffi"

-- A chunk that counts as part of the toolkit: its source lies below lua/.
local function toolkit(code)
  return assert(loadstring(code, "@./lua/umbra/pretend.lua"))(fault)
end

local function message_of(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

describe("a fault", function()
  it("blames the first frame outside the toolkit", function()
    local inner = toolkit "local fault = ... return function() fault.raise('bad %s', 'size') end"
    local outer = toolkit "return function(f) f() return 1 end"
    assert.matches("^spec/fault_spec%.lua:%d+: bad size$", (message_of(function() outer(inner) end):gsub("^%./", "")))
  end)

  it("takes a text without arguments as it is", function()
    local raise = toolkit "local fault = ... return function() fault.raise('100 %d') end"
    assert.matches(": 100 %%d$", message_of(function() raise() end))
  end)

  it("passes a status that is no refusal through", function()
    assert.equal(7, fault.check(7, nil))
  end)

  it("raises the text of C's fault", function()
    local why = ffi.new("struct um_fault", { -1, "cannot open root.img: No such file or directory" })
    local open = toolkit "local fault = ... return function(why) fault.check(why.status, why) end"
    assert.matches("fault_spec%.lua:%d+: cannot open root%.img: No such file or directory$", message_of(function() open(why) end))
  end)

  it("blames the script whose `return machine {...}` left no frame", function()
    local machine = toolkit "local fault = ... return function() fault.raise('no ram') end"
    local script = assert(loadstring("local machine = ...\n\nreturn machine {\n  ram = 0,\n}\n", "@board.lua"))
    assert.matches("^board%.lua:[345]: no ram$", message_of(fault.run, script, 5, machine))
  end)

  it("gives what the script returns, and restores the hook and the JIT", function()
    local was_on = jit.status()
    local script = assert(loadstring("return 1, nil, 3", "@board.lua"))
    assert.same({ 1, nil, 3 }, { fault.run(script) })
    assert.equal(was_on, (jit.status()))
    assert.is_nil((debug.gethook()))
  end)

  it("stops a script that never returns", function()
    local script = assert(loadstring("local n = 0\nwhile true do\n  n = n + 1\nend", "@board.lua"))
    assert.matches("^board%.lua:[234]: still running after 0%.2 seconds$", message_of(fault.run, script, 0.2))
  end)
end)
