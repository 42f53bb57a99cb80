-- gen_map: writes the linker's version script: libumbra.so exports the um_ functions that *_ffi.h declares, and nothing else.
-- usage: luajit gen_map.lua -o OUT umbra_ffi.h
-- SPDX-License-Identifier: MIT
local flag, out, input = ...
assert(flag == "-o" and input, "usage: gen_map.lua -o OUT umbra_ffi.h")

local names, seen = {}, {}
for line in io.lines(input) do
  for name in line:gmatch "(um_[%w_]+)%s*%(" do
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
end
table.sort(names)

local file = assert(io.open(out, "wb"))
file:write("{\n")
if #names > 0 then file:write("  global:\n    ", table.concat(names, ";\n    "), ";\n") end
file:write("  local: *;\n};\n")
file:close()
