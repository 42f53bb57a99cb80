-- tree: the device tree of a machine, from the rows of its map.
--
-- As Linux's Documentation/devicetree/bindings ask for it. Phandles: the cpu node of hart i is 2i + 1, its interrupt controller
-- 2i + 2; the rows follow.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local dtb     = require "umbra.dtb"
local devices = require "devices"

local tree = {}

local CACHE_BLOCK = 64                            -- bytes that cbo.zero clears

-- "rv64imac_zicsr": the string form that older kernels read.
local function isa_string(extensions)
  local singles, others = {}, {}
  for _, name in ipairs(extensions) do
    local list = #name == 1 and singles or others
    list[#list + 1] = name
  end
  return "rv64" .. table.concat(singles) .. (#others > 0 and "_" .. table.concat(others, "_") or "")
end

local function cpu_phandle(i) return 2 * i + 1 end
local function intc_phandle(i) return 2 * i + 2 end

local function cpu_node(t, i, hart)
  local has = {}
  for _, name in ipairs(hart.extensions) do has[name] = true end
  t:begin("cpu@" .. i):prop("device_type", "cpu"):prop("reg", i):prop("status", "okay"):prop("compatible", "riscv"):prop("phandle", cpu_phandle(i))
  t:prop("riscv,isa", isa_string(hart.extensions)):prop("riscv,isa-base", "rv64i"):prop("riscv,isa-extensions", unpack(hart.extensions))
  if hart.mmu ~= "none" then t:prop("mmu-type", "riscv," .. hart.mmu) end
  if has.zicbom then t:prop("riscv,cbom-block-size", CACHE_BLOCK) end
  if has.zicboz then t:prop("riscv,cboz-block-size", CACHE_BLOCK) end
  t:begin "interrupt-controller":prop("compatible", "riscv,cpu-intc"):prop("#interrupt-cells", 1):prop("#address-cells", 0):bytes("interrupt-controller")
    :prop("phandle", intc_phandle(i)):finish_node()
  t:finish_node()
end

local function cpus_node(t, m)
  t:begin "cpus":prop("#address-cells", 1):prop("#size-cells", 0):prop("timebase-frequency", m.timebase)
  for i = 0, m.harts - 1 do cpu_node(t, i, m.cpu[i]) end
  if m.harts > 1 then
    t:begin "cpu-map":begin "cluster0"
    for i = 0, m.harts - 1 do t:begin("core" .. i):prop("cpu", cpu_phandle(i)):finish_node() end
    t:finish_node():finish_node()
  end
  t:finish_node()
end

-- 32 bytes for the kernel's random numbers: the host's, or from the seed of a machine that is to run the same every time.
local function rng_seed(m)
  if m.rng_bytes then return m.rng_bytes end
  if m.seed == 0 then
    local file = io.open("/dev/urandom", "rb")
    m.rng_bytes = file and file:read(32)
    if file then file:close() end
  end
  if not m.rng_bytes then
    local state, bytes = ffi.cast("uint64_t", m.seed) + 1, {}
    for i = 1, 32 do
      state = state * 6364136223846793005ULL + 1442695040888963407ULL       -- Knuth's multiplier
      bytes[i] = string.char(tonumber(state / 2^56))
    end
    m.rng_bytes = table.concat(bytes)
  end
  return m.rng_bytes
end

local function chosen_node(t, m, plan, stdout)
  t:begin "chosen":bytes("rng-seed", rng_seed(m))
  if m.files.append ~= "" then t:prop("bootargs", m.files.append) end
  if stdout then t:prop("stdout-path", stdout) end
  if m.files.initrd then
    t:bytes("linux,initrd-start", dtb.wide(plan.initrd or 0))
    t:bytes("linux,initrd-end", dtb.wide((plan.initrd or 0) + #m.files.initrd.bytes))
  end
  t:finish_node()
end

local function device_node(t, m, row)
  t:begin(("%s@%x"):format(row.model.node, row.at)):reg(row.at, row.bytes)
  row.model.tree(t, row, m)
  if row.options.irq then t:prop("interrupts", row.options.irq):prop("interrupt-parent", m.plic.phandle) end
  t:finish_node()
end

-- The bytes of the tree of machine `m` with things in memory where `plan` (umbra.boot) says. Its length depends on `m` alone.
function tree.of(m, plan)
  local rows, stdout, next_phandle = {}, nil, cpu_phandle(m.harts)
  for _, row in ipairs(m.rows) do
    if row.model.node then
      rows[#rows + 1] = row
      row.phandle, next_phandle = next_phandle, next_phandle + 1
      if row.model == devices.models.ns16550a and not stdout then stdout = ("/soc/%s@%x"):format(row.model.node, row.at) end
    end
  end
  table.sort(rows, function(a, b) return a.at < b.at end)
  m.intc_phandles = {}
  for i = 0, m.harts - 1 do m.intc_phandles[i] = intc_phandle(i) end
  local t = dtb.new()
  t:begin "":prop("#address-cells", 2):prop("#size-cells", 2):prop("compatible", "riscv-virtio"):prop("model", "umbra," .. m.name)
  chosen_node(t, m, plan, stdout)
  cpus_node(t, m)
  t:begin(("memory@%x"):format(m.ram.at)):prop("device_type", "memory"):reg(m.ram.at, m.ram.size):finish_node()
  t:begin "soc":prop("#address-cells", 2):prop("#size-cells", 2):prop("compatible", "simple-bus"):bytes("ranges")
  for _, row in ipairs(rows) do device_node(t, m, row) end
  t:finish_node()
  for _, row in ipairs(rows) do
    if row.model.root then row.model.root(t, row) end
  end
  return t:finish_node():close()
end

return tree
