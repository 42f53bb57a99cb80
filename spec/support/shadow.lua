-- shadow: random operations on a real object and on a naive twin, compared after each one.
--
-- The seed changes from run to run; a failure prints it, and UMBRA_SEED=N plays that run again.
-- SPDX-License-Identifier: MIT
local shadow = {}

function shadow.seed()
  return tonumber(os.getenv "UMBRA_SEED") or os.time() % 1000000
end

-- A random 64-bit integer, of any length: most bugs live near 0 and near all ones.
function shadow.u64()
  local value = 0ULL
  for _ = 1, 4 do value = value * 65536 + math.random(0, 65535) end
  local roll = math.random(4)
  if roll == 1 then return value / 2ULL^math.random(0, 63) end
  if roll == 2 then return 0ULL - value / 2ULL^math.random(0, 63) end
  return value
end

function shadow.pick(list) return list[math.random(#list)] end
function shadow.flip() return math.random(2) == 1 end

-- Calls `step(n)` for n = 1 .. steps with a fresh random sequence. An error is raised again with the seed and the step.
function shadow.play(steps, step)
  local seed = shadow.seed()
  math.randomseed(seed)
  for n = 1, steps do
    local ok, err = pcall(step, n)
    if not ok then
      if type(err) == "table" then err = err.message or tostring(err) end
      error(("%s\n(step %d of the run with UMBRA_SEED=%d)"):format(tostring(err), n, seed), 0)
    end
  end
end

-- The same values in the same order, or an error that shows both and `what` was asked.
function shadow.same(real, twin, what)
  if real ~= twin then error(("%s: real %s, twin %s"):format(what, tostring(real), tostring(twin)), 2) end
end

return shadow
