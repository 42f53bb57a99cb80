-- units: sizes in bytes, as people write them.
-- SPDX-License-Identifier: MIT
local units = {}

local FACTOR = { [""] = 1, K = 2^10, M = 2^20, G = 2^30, T = 2^40, P = 2^50 }
local ORDER = { "P", "T", "G", "M", "K" }

function units.KiB(n) return n * FACTOR.K end
function units.MiB(n) return n * FACTOR.M end
function units.GiB(n) return n * FACTOR.G end

-- Bytes of `text`: a decimal or 0x number, optionally followed by K, M, G, T or P (each also as KiB or KB: always powers of 1024).
-- nil and what a size looks like when it is none, negative, not whole, or above 2^53 (where Lua's numbers stop being exact).
function units.parse(text)
  local number, suffix = text:match "^%s*(0[xX]%x+)%s*$", ""
  if not number then
    number, suffix = text:match "^%s*(%d+%.?%d*)%s*([KMGTPkmgtp]?)[iI]?[bB]?%s*$"
    if not number or suffix == "" and text:find "[iIbB]" then
      return nil, "a size like 65536, 64K, 512M or 2G"
    end
  end
  local bytes = tonumber(number) * FACTOR[suffix:upper()]
  if bytes > 2^53 then return nil, "a size below 8P" end
  if bytes % 1 ~= 0 then return nil, "a whole number of bytes" end
  return bytes
end

-- The shortest exact text that units.parse reads back: 536870912 is "512M", 65537 is "65537".
function units.format(bytes)
  if bytes > 0 then
    for _, suffix in ipairs(ORDER) do
      local n = bytes / FACTOR[suffix]
      if n >= 1 and n % 1 == 0 then return ("%.0f%s"):format(n, suffix) end
    end
  end
  return ("%.0f"):format(bytes)
end

return units
