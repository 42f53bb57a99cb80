-- process: what commands do with a program for RISC-V Linux: run it to its end, say what was counted and what it died of.
-- SPDX-License-Identifier: MIT
local clib = require "umbra.clib"
local host = require "umbra.host"

local process = {}

local TOP_CALLS = 12

local function by_count(calls)
  local names = {}
  for name in pairs(calls) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    local x, y = calls[a], calls[b]
    return x > y or x == y and a < b
  end)
  return names
end

-- What was counted, as text for people.
function process.stats(counts, seconds)
  local out = {}
  local function line(name, format, ...) out[#out + 1] = ("%-14s " .. format .. "\n"):format(name, ...) end
  line("instructions", "%.0f", counts.instructions)
  line("seconds", "%.3f", seconds)
  line("MIPS", "%.1f", counts.instructions / seconds / 1e6)
  line("memory", "%.1f MiB mapped", counts.mapped_bytes / 2^20)
  line("blocks", "%.0f decoded, %.0f dropped", counts.blocks.decoded, counts.blocks.invalidated)
  line("threads", "%.0f, forks %.0f, signals %.0f", counts.threads + 1, counts.forks, counts.signals)
  line("system calls", "%.0f, unknown %.0f", counts.calls, counts.unknown_calls)
  local names = by_count(counts.calls_by_name)
  for i = 1, math.min(#names, TOP_CALLS) do line("  " .. names[i], "%.0f", counts.calls_by_name[names[i]]) end
  return table.concat(out)
end

-- Runs `p` (umbra.linux) to its end and closes it; its exit code. show_stats(counts, seconds), if given, is called in between. A
-- program that a signal ended takes this host process with it.
function process.finish(p, show_stats)
  host.restore_sigpipe()
  local start = host.seconds()
  local result = p:run()
  if show_stats then show_stats(p:counters(), host.seconds() - start) end
  if result.fault then io.stderr:write("umbra: ", p.path, ": ", p:report(result), "\n") end
  p:close()
  if result.signal then clib.C.um_linux_die(result.signal) end
  return result.code
end

return process
