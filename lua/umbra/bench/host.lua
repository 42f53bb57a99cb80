-- host: what is known about the host of a measurement: what it is, its clocks, and who else used it meanwhile.
-- SPDX-License-Identifier: MIT
local ffi  = require "ffi"
local uv   = require "luv"
local clib = require "umbra.clib"

local C = clib.host [[
int um_bench_clock_gettime(int clock, int64_t *seconds_and_ns) __asm__("clock_gettime");
int um_bench_getrusage(int who, int64_t *usage) __asm__("getrusage");
]]

local host = {}

local TICKS = 100                                 -- a second: USER_HZ, the unit of /proc/stat
local LOADED = 0.01                               -- more than this share of steal, other load or waiting: a loaded host
local LEAST = 2                                   -- ticks below which a share of the host's time says nothing

-- Clocks -------------------------------------------------------------------------------------------------------------------

local time = ffi.new "int64_t[2]"

local function read_clock(clock)
  C.um_bench_clock_gettime(clock, time)
  return tonumber(time[0]) * 1e9 + tonumber(time[1])
end

-- Nanoseconds: of the monotonic clock; of CPU time of this process, all threads.
function host.wall() return read_clock(1) end
function host.cpu() return read_clock(2) end

-- Nanoseconds of CPU time, user and system, of children that have ended (-1) or of this process (0).
local usage = ffi.new "int64_t[18]"               -- struct rusage of 64-bit Linux: two struct timeval lead it
function host.used(who)
  C.um_bench_getrusage(who, usage)
  return (tonumber(usage[0] + usage[2]) * 1e6 + tonumber(usage[1] + usage[3])) * 1e3
end

-- Who else used it ---------------------------------------------------------------------------------------------------------

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

-- Ticks since the host started: { busy, steal, total }, all cores together.
local function ticks()
  local fields = {}
  for number in ((read "/proc/stat" or ""):match "^cpu%s+([^\n]*)" or ""):gmatch "%d+" do fields[#fields + 1] = tonumber(number) end
  for i = 1, 8 do fields[i] = fields[i] or 0 end
  local busy = fields[1] + fields[2] + fields[3] + fields[6] + fields[7]      -- user, nice, system, irq, softirq
  return { busy = busy, steal = fields[8], total = busy + fields[4] + fields[5] + fields[8] }
end

-- Nanoseconds this process was ready to run and did not.
local function waited()
  return tonumber((read "/proc/self/schedstat" or ""):match "^%d+ (%d+)" or 0)
end

local function own() return (host.used(0) + host.used(-1)) / 1e9 * TICKS end

-- Whether a load is one: load.loaded. waited: another share of wall time than this process's own.
function host.judge(load, late)
  load.waited = late or load.waited
  local limit = math.max(LOADED, LEAST / load.ticks)
  load.loaded = load.steal > limit or load.other > limit or load.waited > LOADED
  return load
end

-- Starts watching. The function it returns gives what happened since, once or several times: { seconds, ticks, steal, other, waited, loaded },
-- steal and other as shares of the host's time (all cores, ticks), waited as share of wall time.
function host.watch()
  local start, before, mine, late = host.wall(), ticks(), own(), waited()
  return function()
    local elapsed, now = host.wall() - start, ticks()
    local total = math.max(now.total - before.total, 1)
    return host.judge {
      seconds = elapsed / 1e9, ticks = total, steal = math.max(now.steal - before.steal, 0) / total,
      other = math.max(now.busy - before.busy - (own() - mine), 0) / total, waited = (waited() - late) / elapsed,
    }
  end
end

-- What it is ---------------------------------------------------------------------------------------------------------------

-- What one reading of a clock takes, in nanoseconds: the best of several tries.
local function cost(clock)
  local best, count = math.huge, 2000
  for _ = 1, 5 do
    local start = host.wall()
    for _ = 1, count do clock() end
    best = math.min(best, (host.wall() - start) / count)
  end
  return best
end

-- { model, cores, kernel, load, steal, wall_ns, cpu_ns, huge_pages, governor, luajit, umbra }. load: of the last minute; steal: share of
-- the time since the host started; wall_ns and cpu_ns: what a clock costs; governor is nil where the host does not say.
function host.probe()
  local since = ticks()
  return {
    model      = (read "/proc/cpuinfo" or ""):match "model name%s*:%s*([^\n]+)" or "unknown",
    cores      = uv.available_parallelism and uv.available_parallelism() or select(2, (read "/proc/cpuinfo" or ""):gsub("processor%s*:", "")),
    kernel     = jit.os .. " " .. (read "/proc/sys/kernel/osrelease" or "?"):gsub("%s+$", ""),
    load       = tonumber((read "/proc/loadavg" or ""):match "^%S+" or 0),
    steal      = since.steal / math.max(since.total, 1),
    wall_ns    = cost(host.wall),
    cpu_ns     = cost(host.cpu),
    huge_pages = (read "/sys/kernel/mm/transparent_hugepage/enabled" or ""):match "%[(%w+)%]" or "absent",
    governor   = (read "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor" or ""):match "%w+",
    luajit     = jit.version,
    umbra      = ffi.string(clib.C.um_version()),
  }
end

-- The probe as lines of text.
function host.describe(probe)
  return ("%s, %d cores, %s; load %.2f, steal %.2f %%; clocks %.0f ns (wall), %.0f ns (CPU); huge pages %s%s; %s, umbra %s"):format(
    probe.model, probe.cores, probe.kernel, probe.load, probe.steal * 100, probe.wall_ns, probe.cpu_ns, probe.huge_pages,
    probe.governor and "; governor " .. probe.governor or "", probe.luajit, probe.umbra)
end

return host
