-- random: a generator of random numbers whose seed can be told, the same on every host.
-- SPDX-License-Identifier: MIT
local bit = require "bit"
local ffi = require "ffi"

local random = {}

-- A function: (n) gives a whole number from 0 to n - 1, () a random uint64_t.
function random.new(seed)
  local state = bit.bxor(bit.tobit(seed * 2654435 % 2 ^ 31), 0x2545f491)
  local function next32()                            -- xorshift
    state = bit.bxor(state, bit.lshift(state, 13))
    state = bit.bxor(state, bit.rshift(state, 17))
    state = bit.bxor(state, bit.lshift(state, 5))
    return state % 2 ^ 32
  end
  for _ = 1, 8 do next32() end
  return function(n)
    if n then return math.floor(next32() / 2 ^ 32 * n) end
    return bit.bor(bit.lshift(ffi.cast("uint64_t", next32()), 32), ffi.cast("uint64_t", next32()))
  end
end

-- The seed of this run: UMBRA_SEED, else `default`.
function random.seed(default) return tonumber(os.getenv "UMBRA_SEED") or default end

-- Whether the long form of the specs is asked for.
function random.soak() return os.getenv "UMBRA_SOAK" == "1" end

return random
