-- t0: how fast tier 0 runs bare-metal kernels: guest instructions a second, without paging and under Sv39, fused and not.
--
--   luajit bench/t0.lua [runs=9] [fuse=on|off|both] [KERNEL...]
--
-- Counting is on. A figure is the best of `runs` runs: the ways alternate, so what the host does meanwhile hits all of them.
-- SPDX-License-Identifier: MIT
local root = arg[0]:match "^(.*)bench/[^/]*$" or "./"
package.path = root .. "?.lua;" .. root .. "lua/?.lua;" .. package.path

local build   = require "bench.build"
local dev     = require "devices"
local host    = require "umbra.host"
local machine = require "umbra.machine"
local stats   = require "umbra.bench.stats"

local options = { runs = 9, fuse = "both" }
local chosen = {}
for _, word in ipairs(arg) do
  local key, value = word:match "^(%w+)=(.*)$"
  if key == "runs" and tonumber(value) and tonumber(value) >= 1 then
    options.runs = tonumber(value)
  elseif key == "fuse" and (value == "on" or value == "off" or value == "both") then
    options.fuse = value
  else
    local known
    for _, kernel in ipairs(build.kernels) do known = known or kernel.name == word end
    if not known then
      io.stderr:write("t0: unknown kernel or option `", word, "`\n")
      os.exit(126)
    end
    chosen[word] = true
  end
end

-- Runs a program once: { instructions =, cpu = process seconds, wall = seconds }.
local function run(path, fuse)
  local m = machine.build(machine {
    name = "t0",
    cpu  = { isa = "rv64gc_zicntr", mmu = "sv39", fuse = fuse },
    ram  = { at = 0x80000000, size = "64M" },
    map  = { { name = "htif", dev.htif {} } },
    boot = { kernel = path },
  })
  local cpu, wall = os.clock(), host.seconds()
  local result = m:run { timeout = 120 }
  cpu, wall = os.clock() - cpu, host.seconds() - wall
  local instructions = m.hart:counters().instructions
  m:close()
  if result.reason ~= "exit" or result.code ~= 0 then
    error(("%s: ended with %s %s instead of exit 0"):format(path, result.reason, tostring(result.code)), 0)
  end
  return { instructions = instructions, cpu = cpu, wall = wall }
end

local ways = {}                                   -- the columns
for _, mode in ipairs(build.modes) do
  if options.fuse ~= "off" then ways[#ways + 1] = { name = mode, mode = mode, fuse = true } end
  if options.fuse ~= "on" then ways[#ways + 1] = { name = mode .. " unfused", mode = mode, fuse = false } end
end

-- The best of all runs of a kernel, by way.
local function measure(kernel)
  local best, programs = {}, {}
  for i, way in ipairs(ways) do programs[i] = build.program(kernel.name, way.mode, kernel.repeats) end
  for _ = 1, options.runs do
    for i, way in ipairs(ways) do
      local got = run(programs[i], way.fuse)
      local b = best[i] or got
      b.wall, b.cpu = math.min(b.wall, got.wall), math.min(b.cpu, got.cpu)
      best[i] = b
    end
  end
  return best
end

local function line(name, cells)
  for i, cell in ipairs(cells) do cells[i] = ("%17s"):format(cell) end
  print(("%-16s"):format(name) .. table.concat(cells))
end

local function mips(best, time) return best.instructions / best[time] / 1e6 end

local suites, order = {}, {}
local heads = { "Minsns" }
for _, way in ipairs(ways) do heads[#heads + 1] = way.name end
print(("guest MIPS by wall time / by process CPU time, best of %d"):format(options.runs))
line("", heads)
for _, kernel in ipairs(build.kernels) do
  if next(chosen) == nil or chosen[kernel.name] then
    local best = measure(kernel)
    local cells = { ("%.0f"):format(best[1].instructions / 1e6) }
    for i in ipairs(ways) do cells[#cells + 1] = ("%.0f / %.0f"):format(mips(best[i], "wall"), mips(best[i], "cpu")) end
    line(kernel.name, cells)
    io.stdout:flush()
    if not suites[kernel.suite] then
      suites[kernel.suite] = {}
      order[#order + 1] = kernel.suite
    end
    table.insert(suites[kernel.suite], best)
  end
end
local function lowest(values) return math.min(unpack(values)) end

for _, suite in ipairs(order) do
  local rows = suites[suite]
  for _, summary in ipairs { { "mean", stats.geometric_mean }, { "lowest", lowest } } do
    local cells = { "" }
    for i in ipairs(ways) do
      local wall, cpu = {}, {}
      for k, best in ipairs(rows) do wall[k], cpu[k] = mips(best[i], "wall"), mips(best[i], "cpu") end
      cells[#cells + 1] = ("%.0f / %.0f"):format(summary[2](wall), summary[2](cpu))
    end
    if #rows > 1 then line(suite .. " " .. summary[1], cells) end
  end
end
