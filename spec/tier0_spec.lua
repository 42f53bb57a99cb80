-- tier0: what its handlers were compiled to.
-- SPDX-License-Identifier: MIT
local clib = require "umbra.clib"
local tree = require "spec.support.tree"

describe("a handler of tier 0", function()
  -- One that calls the next instead leaves a frame on the host's stack for every instruction it runs.
  it("ends in a jump to the next one", function()
    if os.getenv "UMBRA_LIB" then return pending "sanitizer builds return to a loop instead" end
    local name, handlers, wrong = nil, 0, {}
    for line in tree.run("objdump -d --no-show-raw-insn " .. clib.path):gmatch "[^\n]+" do
      local symbol = line:match "^%x+ <([%w_.]+)>:"
      if symbol then
        name = (symbol:match "^op_" or symbol:match "^slow_" or symbol == "arrive" or symbol == "branch_slow") and symbol
        handlers = handlers + (name and 1 or 0)
      elseif name and (line:match "call +%*" or line:match "call +%x+ <op_" or line:match "call +%x+ <slow_") then
        wrong[#wrong + 1] = name
      end
    end
    assert.is_true(handlers > 500)
    assert.same({}, wrong)
  end)
end)
