-- gdb.packet: gdb's remote protocol as bytes: "$data#checksum", acknowledged by "+" or asked for again by "-".
--
-- What comes is anybody's: bytes between packets are passed over, a packet that grows too long or whose checksum is wrong is asked
-- for again, and one that is cut off by the next is forgotten.
-- SPDX-License-Identifier: MIT
local bit = require "bit"

local packet = {}
local Reader = {}
Reader.__index = Reader

packet.MOST = 0x4000                              -- bytes of a packet, as qSupported announces

local SPECIAL = "[#$}*]"

local function checksum(data)
  local sum = 0
  for i = 1, #data do sum = sum + data:byte(i) end
  return sum % 256
end

-- The packet that carries `data`.
function packet.wrap(data)
  local safe = data:gsub(SPECIAL, function(c) return "}" .. string.char(bit.bxor(c:byte(), 0x20)) end)
  return ("$%s#%02x"):format(safe, checksum(safe))
end

function packet.hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- The bytes of a text of hexadecimal digits; nil when it is none.
function packet.bytes(hex)
  if #hex % 2 ~= 0 or hex:find "%X" then return end
  return (hex:gsub("..", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- packet.reader(send): takes bytes and gives packets. send(bytes) acknowledges them while `acks` is true.
function packet.reader(send)
  return setmetatable({ rest = "", send = send, acks = true }, Reader)
end

function Reader:feed(bytes) self.rest = self.rest .. bytes end

local function unescape(data)
  return (data:gsub("}(.)", function(c) return string.char(bit.bxor(c:byte(), 0x20)) end))
end

-- The packet at the start of self.rest: its data, or false when there is none yet, or nil when it was none.
local function take(self)
  local stop = self.rest:find("[#$]", 2)
  if not stop and #self.rest <= packet.MOST + 1 or stop and stop + 2 > #self.rest and self.rest:byte(stop) == 35 then return false end
  if not stop or self.rest:byte(stop) == 36 then    -- too long, or the next one begins
    self.rest = stop and self.rest:sub(stop) or ""
    return
  end
  local data, sum = self.rest:sub(2, stop - 1), tonumber(self.rest:sub(stop + 1, stop + 2), 16)
  self.rest = self.rest:sub(stop + 3)
  if #data > packet.MOST then return end
  if not self.acks then return unescape(data) end
  if sum ~= checksum(data) then
    self.send "-"
    return
  end
  self.send "+"
  return unescape(data)
end

-- What came next: "packet" and its data, "interrupt" (byte 3), "again" (the last answer was not understood), or nil.
function Reader:next()
  while self.rest ~= "" do
    local byte = self.rest:byte()
    if byte == 36 then
      local data = take(self)
      if data == false then return end
      if data then return "packet", data end
    else
      self.rest = self.rest:sub(byte == 3 and 2 or byte == 45 and 2 or (self.rest:find("[-$\3]") or #self.rest + 1))
      if byte == 3 then return "interrupt" end
      if byte == 45 and self.acks then return "again" end
    end
  end
end

-- Whether an interrupt waits; it is taken out. For while the guest runs: packets wait meanwhile.
function Reader:interrupted()
  local at = self.rest:find("\3", 1, true)
  if at then self.rest = self.rest:sub(1, at - 1) .. self.rest:sub(at + 1) end
  return at ~= nil
end

return packet
