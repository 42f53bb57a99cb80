-- address: guest addresses and sizes as arguments of methods. Addresses are whole numbers or 64-bit integers; a negative number means
-- its two's complement, as bits has it.
-- SPDX-License-Identifier: MIT
local bits   = require "umbra.bits"
local fault  = require "umbra.fault"
local schema = require "umbra.schema"

local address = {}

-- `value` as uint64_t, or a refusal that calls it `what`.
function address.check(value, what)
  if not bits.is_integer(value) then fault.raise("`%s` must be an address like 0x80000000, not %s", what, schema.show(value)) end
  return bits.u64(value)
end

-- `value` as a number from `low` to `high`, or a refusal that calls it `what`.
function address.count(value, what, low, high)
  if type(value) ~= "number" or value % 1 ~= 0 or value < low or value > high then
    fault.raise("`%s` must be a whole number from %.0f to %.0f, not %s", what, low, high, schema.show(value))
  end
  return value
end

return address
