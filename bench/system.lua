-- system: work inside Debian's Linux, beside qemu-system-riscv64 with the same files: what programs ask the system for, and kernels.
--
-- Both boot once, with one hart, and are then told a line a turn (bench/guest/os.c); their start is not measured.
-- SPDX-License-Identifier: MIT
local bench, cpio, fetch = require "umbra.bench", require "umbra.cpio", require "umbra.fetch"
local build = bench.file "guest/build.lua"

local QUICK = 10                                  -- of how many turns a quick run does one
local RAM, APPEND = "512M", "mode=run job=os"
local EXECUTABLE = 493                            -- 0755

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "*a"
  file:close()
  return bytes
end

-- The initial RAM disk with the programs in /bench; made once a process.
local initrd
local function initrd_of(guest)
  if initrd then return initrd end
  local entries = { { path = "bench/os", type = "file", mode = EXECUTABLE, data = read(build.linux_os()) } }
  for _, kernel in ipairs(build.kernels) do
    entries[#entries + 1] = { path = "bench/" .. kernel.name, type = "file", mode = EXECUTABLE, data = read(build.linux_program(kernel.name)) }
  end
  initrd = build.linux_os() .. ".initrd"
  local file = assert(io.open(initrd .. ".new", "wb"))
  assert(file:write(read(guest.initrd), cpio.archive(entries)))
  file:close()
  assert(os.rename(initrd .. ".new", initrd))
  return initrd
end

local function umbra()
  local guest = fetch.ensure "debian-riscv64"
  return { bench.umbra, "run", "riscv-virt", "firmware=" .. guest.firmware, "kernel=" .. guest.kernel, "initrd=" .. initrd_of(guest),
    "append=" .. APPEND, "ram=" .. RAM }
end

local function qemu()
  local guest = fetch.ensure "debian-riscv64"
  return { "qemu-system-riscv64", "-M", "virt", "-smp", "1", "-m", RAM, "-nographic", "-no-reboot", "-bios", guest.firmware,
    "-kernel", guest.kernel, "-initrd", initrd_of(guest), "-append", APPEND }
end

-- Both sides, told `line(p)`, until they say that `name` is done.
local function case(options)
  options.samples, options.limit, options.ready, options.mark = 9, 120, "os: ready", "os: done"
  options.needs = { build.compiler_program }
  options.sides = { { "umbra", command = umbra }, { "qemu", command = qemu } }
  return bench.process(options)
end

-- How often: some 0.2 s under QEMU.
local WORK = { touch = 400000, fault = 8000, call = 80000, pipe = 800, signal = 5000, mprotect = 2000, exec = 20, patch = 15000 }

local function times(p, all) return p.quick and math.max(1, math.floor(all / QUICK)) or all end

local group = {
  help = "work inside Debian's Linux, in umbra and QEMU",
  case { name = "os", quick = { work = { "call", "pipe" } }, params = { work = { "touch", "fault", "call", "pipe", "signal", "mprotect", "exec", "patch" } },
    line = function(p) return p.work .. " " .. times(p, WORK[p.work]) end },
}
for suite, quick in build.suites { integer = "qsort", mixed = "mix", float = "nbody" } do
  group[#group + 1] = case { name = suite, params = { kernel = build.names(suite) }, quick = { kernel = quick },
    line = function(p) return ("run %s %d"):format(p.kernel, times(p, build.kernel(p.kernel).repeats)) end }
end
return bench(group)
