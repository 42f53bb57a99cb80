-- 02-boot-linux: boots Debian's Linux from a script, types a command into its shell, and looks into the machine.
--
--   build/umbra exec examples/02-boot-linux.lua
--
-- SPDX-License-Identifier: MIT
local machine = require "umbra.machine"

local m = machine.load("riscv-virt", { ram = "256M", append = "console=ttyS0" })
local console = m.console

console:expect("BOOT-OK", 120)
console:expect("guest# ", 60)
console:send "uname -srm\n"
print("the guest says: " .. console:match("\n(Linux [^\r\n]*)\r", 20))

local counts = m:counters()
print(("%.0f million instructions, %.0f TLB misses, %.0f page-table walks"):format(
  counts.instructions / 1e6, counts.tlb.misses.read + counts.tlb.misses.write + counts.tlb.misses.execute, counts.walks))
print(("the hart is in %s mode at pc 0x%x"):format(m.hart:privilege(), m.hart:pc()))

console:send "poweroff\n"
local result = m:run { timeout = 60 }
print("it ended with: " .. result.reason)
m:close()
return result.reason == "off" and 0 or 1
