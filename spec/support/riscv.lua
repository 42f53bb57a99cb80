-- riscv: makes programs for riscv64 Linux of C, and runs them by umbra exec.
-- SPDX-License-Identifier: MIT
local tree  = require "spec.support.tree"
local umbra = require "spec.support.umbra"

local riscv = {}

-- Compiles `source`, a path, or C text of more than one line, to `path`; static if not told otherwise.
function riscv.compile(source, path, flags)
  local text = source:find "\n" and source
  if text then
    source = path .. ".c"
    local file = assert(io.open(source, "w"))
    file:write(text)
    file:close()
  end
  local output, code = tree.run(("riscv64-linux-gnu-gcc -O1 -w -pthread %s %s -o %s"):format(flags or "-static", umbra.quote(source), umbra.quote(path)))
  assert(code == 0, output)
  return path
end

-- The same for the host, as an oracle.
function riscv.native(source, path)
  local output, code = tree.run(("gcc -O1 -w -pthread %s -o %s"):format(umbra.quote(source), umbra.quote(path)))
  assert(code == 0, output)
  return path
end

-- umbra exec WORDS...: { code =, out =, err = }; options as for umbra.run.
function riscv.exec(words, options)
  local all = { "exec", umbra.without_preload() }
  for _, word in ipairs(words) do all[#all + 1] = word end
  options = options or {}
  options.seconds = options.seconds or 120
  return umbra.run(all, options)
end

return riscv
