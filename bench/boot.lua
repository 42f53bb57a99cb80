-- boot: Debian's Linux from the start of the process to its end, beside QEMU with the same files.
--
-- Same firmware, kernel, initial RAM disk, command line, RAM and one hart on both sides.
-- SPDX-License-Identifier: MIT
local bench, fetch = require "umbra.bench", require "umbra.fetch"

local RAM, APPEND = "512M", "mode=off"

local function umbra()
  local guest = fetch.ensure "debian-riscv64"
  return { bench.umbra, "run", "riscv-virt", "firmware=" .. guest.firmware, "kernel=" .. guest.kernel, "initrd=" .. guest.initrd,
    "append=" .. APPEND, "ram=" .. RAM }
end

local function qemu()
  local guest = fetch.ensure "debian-riscv64"
  return { "qemu-system-riscv64", "-M", "virt", "-smp", "1", "-m", RAM, "-nographic", "-no-reboot", "-bios", guest.firmware,
    "-kernel", guest.kernel, "-initrd", guest.initrd, "-append", APPEND }
end

return bench {
  help = "Debian's Linux boots and powers off",
  bench.process { name = "boot", limit = 120, samples = 20, sides = { { "umbra", command = umbra }, { "qemu", command = qemu } } },
}
