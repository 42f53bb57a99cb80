-- syscalls: counts what Debian's Linux is asked for while it boots, with one hook.
-- SPDX-License-Identifier: MIT
local machine = require "umbra.machine"

local NAMES = { [29] = "ioctl", [40] = "mount", [49] = "chdir", [56] = "openat", [57] = "close", [63] = "read", [64] = "write", [79] = "newfstatat",
  [80] = "fstat", [96] = "set_tid_address", [99] = "set_robust_list", [214] = "brk", [220] = "clone", [221] = "execve", [222] = "mmap" }

local m = machine.load("riscv-virt", { append = "mode=off" })
local calls = {}
local h = m:hook { trap = "ecall from user", call = function(hit)
  local number = hit.cpu:reg "a7"
  calls[number] = (calls[number] or 0) + 1
end }
local result = m:run { timeout = 120 }

local numbers = {}
for number in pairs(calls) do numbers[#numbers + 1] = number end
table.sort(numbers, function(a, b) return calls[a] > calls[b] or calls[a] == calls[b] and a < b end)
print(("%d system calls until it ended with: %s"):format(h:counters().hits, result.reason))
for i = 1, math.min(#numbers, 8) do print(("%6d  %s"):format(calls[numbers[i]], NAMES[numbers[i]] or "number " .. numbers[i])) end
m:close()
