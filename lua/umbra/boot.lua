-- boot: what lies in memory when a machine starts: firmware, kernel, initial RAM disk, device tree, reset vector.
--
-- The places are QEMU's for its `virt` board: firmware at the start of RAM, the kernel 2 MiB aligned behind it, the device tree at
-- the end of RAM (below 3 GiB), the initial RAM disk right below that. Without firmware the kernel starts in machine mode.
-- Entry of every hart: a0 = hart id, a1 = device tree, a2 = struct fw_dynamic_info of OpenSBI (docs/firmware/fw_dynamic.md there).
-- SPDX-License-Identifier: MIT
local ffi   = require "ffi"
local bits  = require "umbra.bits"
local clib  = require "umbra.clib"
local fault = require "umbra.fault"
local image = require "umbra.image"
local units = require "umbra.units"

local C = clib.C

local boot = {}

local MiB = 2^20
local TREE_LIMIT = 3 * 2^30                       -- address that the device tree and the RAM disk stay below
local FW_DYNAMIC_MAGIC, FW_DYNAMIC_VERSION, MODE_S = 0x4942534f, 2, 1

local function up(value, to) return math.ceil(value / to) * to end
local function down(value, to) return math.floor(value / to) * to end

local function open(key, path)
  local ok, file = pcall(image.open, path)
  if not ok then fault.raise("%s: %s", key, (tostring(file):gsub("^[^:]*:%d+: ", ""))) end
  if file.bits == 32 then fault.raise("%s: %s: not for RISC-V 64: RISC-V 32", key, path) end
  return file
end

-- The fetched guest that a boot table needs, nil when it needs none; nil and { text =, code = } when it cannot be had.
function boot.guest(options)
  if not options.guest or options.guest == "none" or options.kernel and options.firmware then return nil end
  return require("umbra.fetch").try(options.guest)
end

-- The files of a boot table, opened: { firmware =, kernel =, initrd =, append = }. What is not named comes from the guest.
function boot.open(options)
  local files = { append = options.append or "" }
  local firmware, kernel, initrd = options.firmware, options.kernel, options.initrd
  local guest, problem = boot.guest(options)
  if problem then fault.raise("%s", problem.text) end
  if guest then
    firmware = firmware or guest.firmware
    if not kernel then kernel, initrd = guest.kernel, initrd or guest.initrd end
  end
  if firmware and firmware ~= "none" then files.firmware = open("firmware", firmware) end
  if kernel then files.kernel = open("kernel", kernel) end
  if initrd then
    local bytes, why = image.read(initrd)
    if not bytes then fault.raise("initrd: %s", why) end
    if #bytes == 0 then fault.raise("initrd: %s: empty file", initrd) end
    files.initrd = { name = initrd, bytes = bytes, memory_bytes = #bytes }
  end
  return files
end

-- The value of a symbol of the program that runs, or nil.
function boot.symbol(files, name)
  for _, key in ipairs { "kernel", "firmware" } do
    local value = files[key] and files[key].kind == "elf" and files[key]:symbol(name)
    if value then return value end
  end
end

local function no_room(key, file, at, size, ram)
  fault.raise("%s: %s: needs %s bytes at %s, which do not all lie in RAM (%s at %s)", key, file.name, units.format(tonumber(size)),
    bits.hex(at), units.format(ram.size), bits.hex(ram.at))
end

-- Addresses of everything, for a device tree of `tree_size` bytes.
function boot.plan(files, ram, tree_size)
  local plan, last = {}, ram.at
  if files.firmware then
    local elf = files.firmware.kind == "elf"
    plan.firmware = elf and files.firmware.low or ram.at
    plan.start    = elf and files.firmware.entry or ram.at
    last = (elf and files.firmware.high or ram.at + files.firmware.memory_bytes)
  end
  local kernel = files.kernel
  if kernel then
    if kernel.kind == "elf" then
      plan.kernel, plan.next = kernel.low, kernel.entry
      last = math.max(tonumber(last), tonumber(kernel.high))
    else
      plan.kernel = files.firmware and up(last, 2 * MiB) or ram.at
      if kernel.kind == "linux" then plan.kernel = math.max(plan.kernel, ram.at + kernel.text_offset) end
      plan.next = plan.kernel
      last = plan.kernel + kernel.memory_bytes
    end
  end
  plan.start = plan.start or plan.next or ram.at
  local top = ram.at + ram.size
  if ram.at < TREE_LIMIT then top = math.min(top, TREE_LIMIT) end
  plan.tree = down(top - tree_size, 2 * MiB)
  if plan.tree < last then plan.tree = down(top - tree_size, 4096) end       -- little RAM
  plan.info = plan.tree - 4096
  local below = plan.tree
  if files.initrd then
    plan.initrd = down(plan.tree - files.initrd.memory_bytes, 4096)
    plan.info = plan.initrd - 4096
    below = plan.initrd
  end
  plan.last, plan.below = last, below
  return plan
end

-- Refuses what does not fit. A program without firmware may do without a device tree when RAM is that small: plan.tree is nil then.
local function check_room(files, plan, ram)
  local top = ram.at + ram.size
  if files.kernel and files.kernel.kind ~= "elf" and plan.kernel + files.kernel.memory_bytes > top then
    no_room("kernel", files.kernel, plan.kernel, files.kernel.memory_bytes, ram)
  end
  if files.initrd and plan.below < plan.last then no_room("initrd", files.initrd, plan.last, files.initrd.memory_bytes, ram) end
  if plan.below >= plan.last and plan.info >= ram.at then return end
  if files.firmware then fault.raise("ram: %s are too little for firmware, kernel and device tree", units.format(ram.size)) end
  plan.tree = nil
end

local zeros = ("\0"):rep(65536)

-- Copies `file` into guest memory, the part that the file does not hold as zeros.
local function put(m, key, file, at)
  file:each_piece(at, function(gpa, from, size, memory_bytes)
    if C.um_mem_write(m.mem.ptr, bits.u64(gpa), from, size, m.why) < 0 then no_room(key, file, gpa, size, m.ram) end
    local rest = bits.u64(gpa) + size
    local left = tonumber(memory_bytes) - size
    if left > m.ram.size then no_room(key, file, gpa, memory_bytes, m.ram) end
    while left > 0 do
      local count = math.min(left, #zeros)
      if C.um_mem_write(m.mem.ptr, rest, zeros, count, m.why) < 0 then no_room(key, file, gpa, memory_bytes, m.ram) end
      rest, left = rest + count, left - count
    end
  end)
end

local function overlap(files, ram)
  local a, b = files.firmware, files.kernel
  if not a or not b or b.kind ~= "elf" then return end
  local low, high = ram.at, ram.at + a.memory_bytes
  if a.kind == "elf" then low, high = a.low, a.high end
  if low < b.high and b.low < high then
    fault.raise("kernel: %s lies at %s, over the firmware (firmware=none runs it in machine mode)", b.name, bits.hex(b.low))
  end
end

local function words64(...)
  local n = select("#", ...)
  local array = ffi.new("uint64_t[?]", n)
  for i = 1, n do array[i - 1] = bits.u64((select(i, ...))) end
  return ffi.string(array, 8 * n)
end

local function fw_dynamic_info(plan, hartid)
  return words64(FW_DYNAMIC_MAGIC, FW_DYNAMIC_VERSION, plan.next or 0, MODE_S, 0, hartid)
end

-- The first instructions of a hart: where it goes is data behind them, as on QEMU's board.
local function reset_vector(plan)
  local code = ffi.new("uint32_t[6]",
    0x00000297,                                   -- auipc t0, 0
    0x02828613,                                   -- addi  a2, t0, 40      fw_dynamic_info
    0xf1402573,                                   -- csrr  a0, mhartid
    0x0202b583,                                   -- ld    a1, 32(t0)      device tree
    0x0182b283,                                   -- ld    t0, 24(t0)      first program
    0x00028067)                                   -- jr    t0
  return ffi.string(code, 24) .. words64(plan.start, plan.tree or 0) .. fw_dynamic_info(plan, 0)
end

local function write(m, gpa, bytes)
  fault.check(C.um_mem_write(m.mem.ptr, bits.u64(gpa), bytes, #bytes, m.why), m.why)
end

-- Puts everything into the memory of machine `m` and its harts at the start. `tree(plan)` gives the device tree's bytes.
-- Returns the plan.
function boot.place(m, files, tree)
  local size = #tree(boot.plan(files, m.ram, 0))                 -- its length does not depend on the addresses in it
  local plan = boot.plan(files, m.ram, size)
  overlap(files, m.ram)
  check_room(files, plan, m.ram)
  if files.firmware then put(m, "firmware", files.firmware, plan.firmware) end
  if files.kernel then put(m, "kernel", files.kernel, plan.kernel) end
  if files.initrd then write(m, plan.initrd, files.initrd.bytes) end
  if plan.tree then write(m, plan.tree, tree(plan)) end
  if m.rom then
    write(m, m.rom.at, reset_vector(plan))
    return plan
  end
  if files.firmware then write(m, plan.info, fw_dynamic_info(plan, 0)) end
  for i = 0, m.harts - 1 do
    local hart = m.cpu[i]
    hart:set_pc(plan.start)
    hart:set_reg("a0", i)
    hart:set_reg("a1", plan.tree or 0)
    if files.firmware then hart:set_reg("a2", plan.info) end
  end
  return plan
end

return boot
