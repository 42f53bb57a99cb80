-- example: runs the example that a page of docs begins with and compares what it prints with what the page says.
--
-- The first ```lua block is the program, the ```text block after it its output. A line of the page that ends in "..." stands for
-- every line that begins so.
-- SPDX-License-Identifier: MIT
local assert = require "luassert"
local tree   = require "spec.support.tree"

-- `path` of the page; `globals` may replace what the program sees (a table).
return function(path, globals)
  local program, wanted = tree.read(path):match "\n```lua\n(.-)```\n.-\n```text\n(.-)```\n"
  assert.is_string(program, path .. " has no ```lua block with a ```text block after it")
  local printed = {}
  local function print_line(...)
    local words = { ... }
    for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
    for line in (table.concat(words, "\t") .. "\n"):gmatch "(.-)\n" do printed[#printed + 1] = line end
  end
  local chunk = assert(loadstring(program, "@" .. path))
  globals = globals or {}
  globals.print = print_line
  setfenv(chunk, setmetatable(globals, { __index = _G }))()
  local lines = {}
  for line in wanted:gmatch "(.-)\n" do
    local number = #lines + 1
    local start = line:match "^(.-)%.%.%.$"
    lines[number] = start and (printed[number] or ""):sub(1, #start) == start and printed[number] or line
  end
  assert.equal(table.concat(lines, "\n"), table.concat(printed, "\n"))
end
