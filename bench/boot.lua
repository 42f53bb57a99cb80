-- boot: how long Debian's Linux takes from the start of the process to BOOT-OK and to its end, beside QEMU with the same files.
--
--   luajit bench/boot.lua [pairs=9] [ram=512M] [append=mode=off]
--
-- The two alternate, one pair after another, each first in every other pair. Same firmware, kernel, initial RAM disk, command
-- line, RAM and one hart on both sides. Every figure is host wall time; process CPU time (user and system) stands beside it.
-- SPDX-License-Identifier: MIT
local root = arg[0]:match "^(.*)bench/[^/]*$" or "./"
package.path = root .. "?.lua;" .. root .. "lua/?.lua;" .. package.path

local ffi   = require "ffi"
local uv    = require "luv"
local clib  = require "umbra.clib"
local fetch = require "umbra.fetch"
local host  = require "umbra.host"
local stats = require "umbra.bench.stats"

local QEMU = "qemu-system-riscv64"
local MARK = "BOOT-OK"
local LIMIT = 120                                 -- seconds a boot may take

local C = clib.host [[
int um_bench_getrusage(int who, int64_t *usage) __asm__("getrusage");
]]

local options = { pairs = "9", ram = "512M", append = "mode=off" }
for _, word in ipairs(arg) do
  local key, value = word:match "^(%w+)=(.*)$"
  if not key or not options[key] or (key == "pairs" and not (tonumber(value) and tonumber(value) >= 1)) then
    io.stderr:write("boot: unknown option or value `", word, "`\n")
    os.exit(126)
  end
  options[key] = value
end

-- User and system seconds of all children that have ended.
local usage = ffi.new "int64_t[18]"               -- struct rusage of 64-bit Linux: two struct timeval lead it
local function children_cpu()
  C.um_bench_getrusage(-1, usage)
  return tonumber(usage[0] + usage[2]) + tonumber(usage[1] + usage[3]) * 1e-6
end

-- Runs a program to its end: { boot = seconds until MARK, wall = seconds, cpu = seconds }. Raises when it fails or is too late.
local function run(words)
  local out, text, code, result = uv.new_pipe(), {}, nil, {}
  local timer = uv.new_timer()
  local cpu, start = children_cpu(), host.seconds()
  local process, why = uv.spawn(words[1], { args = { unpack(words, 2) }, stdio = { nil, out, 2 } }, function(status) code = status end)
  if not process then error(("cannot start %s: %s"):format(words[1], why), 0) end
  local tail = ""
  uv.read_start(out, function(_, bytes)
    if not bytes then
      uv.close(out)
      return
    end
    if not result.boot then
      tail = tail:sub(-#MARK) .. bytes
      if tail:find("\n" .. MARK, 1, true) then result.boot = host.seconds() - start end
    end
    text[#text + 1] = bytes
  end)
  uv.timer_start(timer, LIMIT * 1000, 0, function() uv.process_kill(process, "sigkill") end)
  while code == nil do uv.run "once" end
  result.wall, result.cpu = host.seconds() - start, children_cpu() - cpu
  uv.close(timer)
  uv.close(process)
  uv.run()
  if code ~= 0 or not result.boot then
    error(("%s: exit code %d, %s; it said last: %s"):format(words[1], code, result.boot and "booted" or "no " .. MARK, table.concat(text):sub(-300)), 0)
  end
  return result
end

local guest = fetch.ensure "debian-riscv64"
local commands = {
  umbra = {
    root .. "build/umbra", "run", root .. "machines/riscv-virt.lua", "firmware=" .. guest.firmware, "kernel=" .. guest.kernel,
    "initrd=" .. guest.initrd, "append=" .. options.append, "ram=" .. options.ram,
  },
  qemu = {
    QEMU, "-M", "virt", "-smp", "1", "-m", options.ram, "-nographic", "-no-reboot", "-bios", guest.firmware, "-kernel", guest.kernel,
    "-initrd", guest.initrd, "-append", options.append,
  },
}

local function version()
  local pipe = io.popen(QEMU .. " --version 2>&1")
  local line = pipe:read "*l"
  pipe:close()
  return line
end

print("umbra: " .. table.concat(commands.umbra, " "))
print("qemu:  " .. table.concat(commands.qemu, " "))
print("       " .. tostring(version()))

local values = {}
for _, side in ipairs { "umbra", "qemu" } do values[side] = { boot = {}, wall = {}, cpu = {} } end

local function measure(side)
  local got = run(commands[side])
  for _, key in ipairs { "boot", "wall", "cpu" } do table.insert(values[side][key], got[key]) end
  return got
end

print "\npair   umbra: boot  exit  cpu     qemu: boot  exit  cpu     exit ratio"
for pair = 1, tonumber(options.pairs) do
  local first, second = "umbra", "qemu"
  if pair % 2 == 0 then first, second = second, first end
  local got = { [first] = measure(first) }
  got[second] = measure(second)
  local u, q = got.umbra, got.qemu
  print(("%4d         %5.2f %5.2f %5.2f         %5.2f %5.2f %5.2f         %5.3f"):format(pair, u.boot, u.wall, u.cpu, q.boot, q.wall, q.cpu, u.wall / q.wall))
  io.stdout:flush()
end

print ""
local NAMES = { boot = "to " .. MARK, wall = "to exit", cpu = "process CPU" }
for _, key in ipairs { "boot", "wall", "cpu" } do
  local ratio = stats.paired(values.umbra[key], values.qemu[key])
  print(("%-12s umbra %.2f s, qemu %.2f s (medians); umbra/qemu %.3f (median of %d pairs; 95 %% interval %.3f to %.3f)"):format(
    NAMES[key], stats.median(values.umbra[key]), stats.median(values.qemu[key]), ratio.median, ratio.n, ratio.low, ratio.high))
end
