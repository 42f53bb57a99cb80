-- refuses: a call is refused at the line of the spec that made it, with a given text.
-- (error_matches of luassert cuts "file:line: " off before it compares, so it cannot see where an error points.)
-- SPDX-License-Identifier: MIT
local assert = require "luassert"

-- `f` raises "FILE:LINE: text", FILE being the calling spec and `text` matching `pattern` from end to end.
return function(f, pattern)
  local file = debug.getinfo(2, "S").short_src:gsub("^%./", "")
  local ok, message = pcall(f)
  assert.is_false(ok, "not refused: " .. pattern)
  assert.is_string(message)
  local place, text = message:match "^%.?/?(.-):%d+: (.*)$"
  assert.equal(file, place, message)
  assert.is_truthy(text:find("^" .. pattern .. "$"), ("%q does not match %q"):format(text, pattern))
end
