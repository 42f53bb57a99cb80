-- bare: harts and RAM, for programs without an operating system: tests of an instruction set, benchmarks, a first hello.
--
-- The program talks to the host through HTIF (symbols `tohost` and `fromhost`) or through semihosting; its exit code becomes umbra's.
-- SPDX-License-Identifier: MIT
local machine, dev = require "umbra.machine", require "devices"
local param = machine.param

return machine {
  name = "bare",
  cpu  = {
    isa = param { "isa", default = "rv64gc_zicntr_zihpm_zicond_zicbom_zicboz_zawrs_zba_zbb_zbc_zbs_sstc_svinval_svnapot_svpbmt" },
    mmu = param { "mmu", default = "sv57" },
    harts = param "harts",
    misaligned = param { "misaligned", type = "enum", values = { "fast", "trap" }, default = "fast", help = "misaligned accesses" },
    semihosting = true,
  },
  clock = param "clock",
  rate = param "rate",
  ram  = { at = 0x80000000, size = param { "ram", default = "128M" } },
  map  = {
    { at = 0x02000000, name = "clint", dev.clint {} },
    { name = "htif", dev.htif {} },
  },
  boot = {
    kernel = param { "kernel", required = true, help = "ELF file or raw bytes to run" },
    signature = param { "signature", type = "path", help = "file for the memory from begin_signature to end_signature" },
    signature_granularity = param { "signature_granularity", type = "enum", values = { 1, 2, 4, 8, 16, 32, 64 }, default = 16, help = "bytes a line" },
  },
}
