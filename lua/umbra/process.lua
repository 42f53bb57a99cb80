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
  local children, all = counts.children, {}
  if children.ended > 0 then line("children", "%.0f ended, instructions %.0f, system calls %.0f", children.ended, children.instructions, children.calls) end
  for _, calls in ipairs { counts.calls_by_name, children.calls_by_name } do
    for name, count in pairs(calls) do all[name] = (all[name] or 0) + count end            -- each by itself: any order will do
  end
  local names = by_count(all)
  for i = 1, math.min(#names, TOP_CALLS) do
    local name = names[i]
    local theirs = children.calls_by_name[name]
    line("  " .. name, theirs and "%.0f, of children %.0f" or "%.0f", counts.calls_by_name[name] or 0, theirs)
  end
  return table.concat(out)
end

-- Runs `p` (umbra.linux) to its end and closes it; its exit code. show_stats(counts, seconds), if given, is called in between. A
-- program that a signal ended takes this host process with it.
function process.finish(p, show_stats)
  host.restore_sigpipe()
  local start, take_back = host.seconds(), host.give_back_standard_files()
  local result = p:run()
  take_back()
  if show_stats then show_stats(p:counters(), host.seconds() - start) end
  if result.fault then io.stderr:write("umbra: ", p.path, ": ", p:report(result), "\n") end
  p:close()
  if result.signal then clib.C.um_linux_die(result.signal) end
  return result.code
end

return process
