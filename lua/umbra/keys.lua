-- keys: what is typed at the console of a guest: all of it is the guest's but Ctrl-A and the key after it.
--
--   local k = keys.new { { "x", "end the run" } }
--   local for_guest, key = k:take(bytes, write)
-- SPDX-License-Identifier: MIT
local keys = {}
local Keys = {}
Keys.__index = Keys

local ESCAPE = "\1"                               -- Ctrl-A

-- known: { key, what it does } each. Ctrl-A h shows them, Ctrl-A Ctrl-A sends Ctrl-A.
function keys.new(known)
  local self, lines = setmetatable({ known = {}, escaped = false }, Keys), {}
  for i, row in ipairs(known) do
    self.known[row[1]] = true
    lines[i] = ("\r\nCtrl-A %s    %s"):format(row[1], row[2])
  end
  self.help = table.concat(lines) .. "\r\nCtrl-A h    this help\r\nCtrl-A Ctrl-A    send Ctrl-A\r\n"
  return self
end

-- Returns the bytes for the guest up to the first key of `known` that came behind Ctrl-A, and that key, or nil. write(text) shows help.
function Keys:take(bytes, write)
  local for_guest = {}
  for i = 1, #bytes do
    local byte = bytes:sub(i, i)
    if not self.escaped then
      if byte == ESCAPE then self.escaped = true else for_guest[#for_guest + 1] = byte end
    else
      self.escaped = false
      if byte == ESCAPE then for_guest[#for_guest + 1] = byte end
      if byte == "h" or byte == "?" then write(self.help) end
      if self.known[byte] then return table.concat(for_guest), byte end
    end
  end
  return table.concat(for_guest)
end

return keys
