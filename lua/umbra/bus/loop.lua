-- loop: runs a machine and serves the accesses to its devices in Lua: the one loop that is shaped for LuaJIT's compiler.
--
-- Loaded anew for each machine, once for each way to run: `um_hart_run`, here, or `um_runner_run`, on another thread. It must stay
-- one trace: no closure, no varargs, no call of what the compiler does not know, and it returns for everything that is rare.
-- SPDX-License-Identifier: MIT
local ffi  = require "ffi"
local bits = require "umbra.bits"
local bus  = require "umbra.bus"
local clib = require "umbra.clib"
local host = require "umbra.host"

local C = clib.C

local MMIO  = C.UM_EXIT_MMIO
local HOOK  = C.UM_EXIT_HOOK
local EXACT = 2^53
local LOOK  = 64                                   -- accesses between two looks at the host's clock
local VALUE = ffi.offsetof("struct um_exit", "value")

local as_word, number = bus.as_word, bits.number

return function(way)
  local run = C[way]

  -- Runs until there is something else to serve than an unwatched access of a whole register, or an unwatched hook that lets the run go
  -- on. True: an access waits for its answer, or a hook for its call. `what` is run, `ptr` its first hart.
  return function(self, what, ptr, exit, ns, deadline)
    local ports, why, budget = self.ports, self.why, self.budget
    local low = ffi.cast("uint32_t *", ffi.cast("char *", exit) + VALUE)
    local looks = 0
    while true do
      if run(what, budget - self.executed, ns, exit) < 0 then return false end
      self.executed = self.executed + tonumber(exit.executed)
      local reason = exit.reason
      if reason == HOOK then
        if self.hooks.take(self) then return true end
      elseif reason ~= MMIO then
        return false
      else
        local port = ports[exit.window + 1]
        local key = (tonumber(exit.gpa) - port.at) * 16 + exit.size
        if exit.write == 0 then
          local entry = port.reads[key]
          if not entry or entry.slow then return true end
          local call, value = entry.call, port.object[entry.name]
          if call then value = call(port.object) end
          if type(value) ~= "number" or value < 0 or value >= EXACT then value = as_word(port, entry, value) end
          C.um_hart_answer(ptr, value, why)
        else
          local entry = port.writes[key]
          if not entry or entry.slow then return true end
          local value
          if entry.size == 4 then
            value = low[0]
          elseif entry.size == 8 then
            value = number(exit.value)
          else
            value = low[0] % entry.modulus
          end
          local call = entry.call
          if call then call(port.object, value) else port.object[entry.name] = value end
          C.um_hart_answer(ptr, 0, why)
        end
      end
      looks = looks + 1
      if looks == LOOK then
        looks = 0
        if host.seconds() >= deadline then return false end
      end
    end
  end
end
