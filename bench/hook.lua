-- hook: what hooks cost: one with a condition that never holds on a hot instruction, and one that calls Lua.
--
--   luajit bench/hook.lua [pairs=9] [boot=on|off] [KERNEL...]
--
-- A run with the hook and one without alternate, each first in every other pair; the figure is the median ratio of their process CPU
-- times. Each kernel of bench/guest is hooked at its hottest function or loop, Debian's Linux where it enters every trap.
-- SPDX-License-Identifier: MIT
local root = arg[0]:match "^(.*)bench/[^/]*$" or "./"
package.path = root .. "?.lua;" .. root .. "lua/?.lua;" .. package.path

local build   = require "bench.build"
local dev     = require "devices"
local fetch   = require "umbra.fetch"
local machine = require "umbra.machine"
local stats   = require "umbra.bench.stats"

local options, chosen = { pairs = 9, boot = "on" }, {}
local NEVER = "a7 == 0x1234567"

-- Where a kernel spends its time: a function's first instruction, or what follows it.
local PLACES = {
  { kernel = "fib", symbol = "fib", what = "entry of the recursive function" },
  { kernel = "qsort", symbol = "by_value", what = "entry of the comparison function" },
  { kernel = "bytecode", symbol = "kernel", jump = "c.jr", what = "the jump of the dispatch loop" },
  { kernel = "matrix", symbol = "kernel", hottest = true, what = "one instruction of a loop of six" },
}

for _, word in ipairs(arg) do
  local key, value = word:match "^(%w+)=(.*)$"
  local known
  for _, place in ipairs(PLACES) do known = known or place.kernel == word end
  if key == "pairs" and tonumber(value) and tonumber(value) >= 1 then options.pairs = tonumber(value)
  elseif key == "boot" and (value == "on" or value == "off") then options.boot = value
  elseif known then chosen[word] = true
  else
    io.stderr:write("hook: unknown kernel or option `", word, "`\n")
    os.exit(126)
  end
end

local function board(path)
  return machine.build(machine {
    name = "hook", cpu = { isa = "rv64gc_zicntr", mmu = "sv39" }, ram = { at = 0x80000000, size = "64M" },
    map = { { name = "htif", dev.htif {} } }, boot = { kernel = path },
  })
end

-- The most frequent place of a kernel, by looking where it stands now and then.
local function hottest(m)
  local seen, best = {}, nil
  for _ = 1, 300 do
    m:run { instructions = 9973 }
    local pc = m.hart:pc()
    seen[pc] = (seen[pc] or 0) + 1
    if not best or seen[pc] > seen[best] then best = pc end
  end
  return best
end

local function place_of(m, place)
  if place.hottest then return hottest(m) end
  local pc = m.files.kernel:symbol(place.symbol)
  while place.jump do
    local word = 0
    for i, byte in ipairs { m.mem:read(pc, 4):byte(1, 4) } do word = word + byte * 256 ^ (i - 1) end
    local text, length = m.hart:disassemble(word, pc)
    if text:match "^%S+" == place.jump then break end
    pc = pc + length
  end
  return pc
end

-- CPU seconds of a whole run and what it retired; `hooked(m)` comes before it.
local function run(make, hooked, limits)
  local m = make()
  local h = hooked and hooked(m)
  collectgarbage()
  local cpu = os.clock()
  local result = m:run(limits)
  cpu = os.clock() - cpu
  local out = { cpu = cpu, instructions = m.hart:counters().instructions, reason = result.reason, counters = h and h:counters() }
  m:close()
  return out
end

local function line(...) print(("%-10s %-36s %12s %8s  %-18s"):format(...)) end

local function compare(name, what, make, hook_at, limits)
  local count = run(make, function(m) return m:hook { pc = hook_at(m), call = function() end } end, limits)
  local with, without = {}, {}
  for i = 1, options.pairs do
    for j = 1, 2 do
      local hooked = (i + j) % 2 == 0
      local got = run(make, hooked and function(m) return m:hook { pc = hook_at(m), when = NEVER, call = function() end } end, limits)
      local list = hooked and with or without
      list[#list + 1] = got.cpu
      assert(not hooked or got.counters.hits == 0)
    end
  end
  local ratio = stats.paired(with, without)
  line(name, what, ("%.1f"):format(count.instructions / count.counters.hits), ("%.3f"):format(ratio.median), ("[%.3f, %.3f]"):format(ratio.low, ratio.high))
  local base = stats.median(without)
  return (count.cpu - base) / count.counters.hits * 1e9, count.counters.ns
end

print(("A hook with the condition %q, %d pairs: CPU time with / without"):format(NEVER, options.pairs))
line("program", "hooked instruction", "insns apart", "median", "95 %")
local costs = {}
for _, place in ipairs(PLACES) do
  if next(chosen) == nil or chosen[place.kernel] then
    local kernel
    for _, each in ipairs(build.kernels) do if each.name == place.kernel then kernel = each end end
    local path = build.program(place.kernel, "bare", math.ceil(kernel.repeats / 2))
    local at
    local function make() return board(path) end
    local m = make()
    at = place_of(m, place)
    m:close()
    local cost, ns = compare(place.kernel, place.what, make, function() return at end, { timeout = 120 })
    costs[#costs + 1] = { name = place.kernel, cost = cost, ns = ns }
  end
end

if options.boot == "on" and next(chosen) == nil then
  local guest = fetch.ensure "debian-riscv64"
  local function make()
    return machine.load(root .. "machines/riscv-virt.lua", {
      firmware = guest.firmware, kernel = guest.kernel, initrd = guest.initrd, append = "mode=off", clock = "virtual",
    })
  end
  local m = make()
  m:hook { trap = "ecall from user", stop = true }
  m:run { timeout = 60 }
  local entry = m.hart:csr "stvec"
  m:close()
  local cost, ns = compare("linux", "where the kernel enters a trap", make, function() return entry end, { timeout = 60 })
  costs[#costs + 1] = { name = "linux", cost = cost, ns = ns }
end

print "\nA hook that calls an empty function: nanoseconds a hit"
for _, row in ipairs(costs) do print(("%-10s %8.0f in all, %6.0f in the call"):format(row.name, row.cost, row.ns)) end
