-- Traces the files that a RISC-V Linux program opens and what it prints: umbra exec examples/08-system-calls.lua PROGRAM [arguments]
local linux = require "umbra.linux"

local process = linux.new { elf = arg[1], args = { unpack(arg, 2) }, sysroot = os.getenv "SYSROOT" }
process:on("openat", function(call)
  if call.returned then print("open", process:text(call[2]), call.result) end
end)
process:on("write", function(call)
  if call.returned then return end
  process:write(call[2], process:read(call[2], call[3]):upper())     -- the program shouts from now on
end)
local result = process:run()
print("exit", result.code, process:counters().calls .. " system calls")
process:close()
