-- riscv-virt: the memory map of QEMU's RISC-V `virt` board, so that firmware and kernels made for it boot unchanged.
-- SPDX-License-Identifier: MIT
local machine, dev = require "umbra.machine", require "devices"
local param = machine.param

-- What is not named comes from this guest; `umbra run` fetches it when it is first needed.
local guest = param { "guest", default = "debian-riscv64" }
local serial = param { "console", type = "enum", values = { "uart0", "console0" }, default = "uart0", help = "row whose text is shown" }
local drive = param { "drive", help = "raw disk image" }
local read_only = param { "drive_read_only", type = "boolean", default = false, help = "refuse the guest's writes" }

return machine {
  name    = "riscv-virt",
  cpu     = {
    isa   = param { "isa", default = "rv64gc_zicntr_zihpm_zicond_zicbom_zicboz_zawrs_zba_zbb_zbc_zbs_sstc_svinval_svnapot_svpbmt" },
    mmu   = param { "mmu", default = "sv48" },
    harts = param "harts",
    tlb   = { entries = param { "tlb", type = "integer", default = 512, min = 16, max = 65536, power_of_two = true, help = "TLB entries a kind of access" } },
  },
  ram     = { at = 0x80000000, size = param "ram" },
  clock   = param "clock",
  rate    = param "rate",
  seed    = param "seed",
  console = serial,
  map     = {
    { at = 0x00001000, name = "mrom",     dev.rom { size = 0xf000 } },
    { at = 0x00100000, name = "power",    dev.syscon {} },
    { at = 0x00101000, name = "rtc",      dev.goldfish_rtc { irq = 11 } },
    { at = 0x02000000, name = "clint",    dev.clint {} },
    { at = 0x0c000000, name = "plic",     dev.plic { sources = 95 } },
    { at = 0x10000000, name = "uart0",    dev.ns16550a { irq = 10 } },
    { at = 0x10001000, name = "disk0",    dev.virtio_blk { irq = 1, image = drive, read_only = read_only } },
    { at = 0x10002000, name = "rng0",     dev.virtio_rng { irq = 2 } },
    { at = 0x10003000, name = "console0", dev.virtio_console { irq = 3 } },
  },
  boot    = { guest = guest, firmware = param "firmware", kernel = param "kernel", initrd = param "initrd", append = param "append" },
}
