-- virtio: a driver of a virtio-mmio device, written in Lua over a mem: what a guest's kernel does, and what it should not.
-- SPDX-License-Identifier: MIT
local bit = require "bit"

local virtio = {}
local Driver = {}
Driver.__index = Driver

local REG = {
  magic = 0x00, version = 0x04, id = 0x08, vendor = 0x0c, offered = 0x10, offered_select = 0x14, features = 0x20, features_select = 0x24,
  queue = 0x30, queue_max = 0x34, queue_size = 0x38, ready = 0x44, notify = 0x50, interrupts = 0x60, ack = 0x64, status = 0x70,
  descriptors = 0x80, available = 0x90, used = 0xa0, generation = 0xfc, config = 0x100,
}
virtio.REG = REG
virtio.NEXT, virtio.WRITE, virtio.INDIRECT = 1, 2, 4
virtio.INDIRECT_DESC, virtio.EVENT_IDX, virtio.VERSION_1 = 2^28, 2^29, 2^32
virtio.NEEDS_RESET = 64

local RINGS = 0x1000                               -- bytes of RAM for each ring of a queue
local INDIRECT_SLOT = 64 * 16                      -- bytes of an indirect table

-- A driver for the device at `at`; it uses the guest RAM from `ram` on: 64 KiB of rings, tables of indirect descriptors, buffers.
function virtio.new(m, at, ram)
  local tables, data = ram + 0x10000, ram + 0x50000
  return setmetatable({ mem = m, at = at, ram = ram, tables = tables, table_next = tables, data = data, data_next = data, queues = {} }, Driver)
end

function Driver:get(name) return self.mem:load(self.at + REG[name], 4) end
function Driver:put(name, value) self.mem:store(self.at + REG[name], 4, value) end
function Driver:put_wide(name, value)
  self.mem:store(self.at + REG[name], 4, value % 2^32)
  self.mem:store(self.at + REG[name] + 4, 4, math.floor(value / 2^32))
end

function Driver:offered()
  self:put("offered_select", 1)
  local high = self:get "offered"
  self:put("offered_select", 0)
  return high * 2^32 + self:get "offered"
end

function Driver:accept(features)
  self:put("features_select", 1)
  self:put("features", math.floor(features / 2^32))
  self:put("features_select", 0)
  self:put("features", features % 2^32)
end

-- Places queue `index` and makes it ready; `place` may say other addresses than the driver's own.
function Driver:setup(index, size, place)
  place = place or {}
  local base = self.ram + index * 3 * RINGS
  local queue = {
    index = index, size = size, descriptors = place.descriptors or base, available = place.available or base + RINGS,
    used = place.used or base + 2 * RINGS, next_available = 0, next_used = 0, free = {}, chains = {},
  }
  for i = size - 1, 0, -1 do queue.free[#queue.free + 1] = i end
  self:put("queue", index)
  self:put("queue_size", size)
  self:put_wide("descriptors", queue.descriptors)
  self:put_wide("available", queue.available)
  self:put_wide("used", queue.used)
  self:put("ready", 1)
  self.queues[index] = queue
  return queue
end

-- Reset to DRIVER_OK: the features that are offered and in `wanted` (default: VERSION_1), `queues` queues of `size`.
function Driver:start(queues, size, wanted)
  self:put("status", 0)
  self.mem:write(self.ram, ("\0"):rep(0x10000))
  self.data_next, self.table_next = self.data, self.tables
  self:put("status", 1)
  self:put("status", 3)
  self:accept(wanted or virtio.VERSION_1)
  self.event_idx = (wanted or 0) % 2^30 >= 2^29
  self:put("status", 11)
  for index = 0, queues - 1 do self:setup(index, size) end
  self:put("status", 15)
end

-- Room for `size` bytes in guest RAM, anywhere; reused round and round.
function Driver:room(size)
  if self.data_next + size > self.data + 0x100000 then self.data_next = self.data end
  local at = self.data_next
  self.data_next = at + size
  return at
end

local function half(value) return string.char(value % 256, math.floor(value / 256) % 256) end
local function word(value) return half(value % 65536) .. half(math.floor(value / 65536) % 65536) end

-- The sixteen bytes of a descriptor. `at` may be a uint64_t.
function virtio.descriptor(at, size, flags, next)
  local low, high
  if type(at) == "cdata" then low, high = tonumber(bit.band(at, 0xffffffffULL)), tonumber(bit.rshift(at, 32))
  else low, high = at % 2^32, math.floor(at / 2^32) end
  return word(low) .. word(high) .. word(size) .. half(flags) .. half(next or 0)
end

function Driver:write_descriptor(queue, index, at, size, flags, next)
  self.mem:write(queue.descriptors + 16 * index, virtio.descriptor(at, size, flags, next))
end

-- Puts a chain's head into the available ring, without a notification.
function Driver:offer(queue, head)
  self.mem:store(queue.available + 4 + 2 * (queue.next_available % queue.size), 2, head)
  queue.next_available = (queue.next_available + 1) % 65536
  self.mem:store(queue.available + 2, 2, queue.next_available)
end

-- Offers a chain of buffers: strings (for the device to read) before sizes (for it to write). Returns its head, or nil when the
-- queue has no room. `indirect`: through a table of its own.
function Driver:add(index, buffers, indirect)
  local queue = self.queues[index]
  if #queue.free < (indirect and 1 or #buffers) then return end
  local chain, list = { heads = {}, writable = {} }, {}
  for i, buffer in ipairs(buffers) do
    local size = type(buffer) == "string" and #buffer or buffer
    local at = self:room(size)
    if type(buffer) == "string" then self.mem:write(at, buffer)
    else
      self.mem:write(at, ("\170"):rep(size))
      chain.writable[#chain.writable + 1] = { at = at, size = size }
    end
    list[i] = { at = at, size = size, flags = type(buffer) == "string" and 0 or virtio.WRITE }
  end
  if indirect then
    if self.table_next + INDIRECT_SLOT > self.data then self.table_next = self.tables end
    local at = self.table_next
    self.table_next = at + INDIRECT_SLOT
    for i, one in ipairs(list) do
      self.mem:write(at + 16 * (i - 1), virtio.descriptor(one.at, one.size, one.flags + (i < #list and virtio.NEXT or 0), i))
    end
    list = { { at = at, size = 16 * #list, flags = virtio.INDIRECT } }
  end
  for i = 1, #list do chain.heads[i] = table.remove(queue.free) end
  for i, one in ipairs(list) do
    self:write_descriptor(queue, chain.heads[i], one.at, one.size, one.flags + (i < #list and virtio.NEXT or 0), chain.heads[i + 1])
  end
  queue.chains[chain.heads[1]] = chain
  self:offer(queue, chain.heads[1])
  return chain.heads[1]
end

function Driver:kick(index) self:put("notify", index) end

-- The next chain that the device has used: its head, the bytes of all its writable buffers as one string, and how many of them the
-- device says it wrote. nil: none.
function Driver:done(index)
  local queue = self.queues[index]
  if self.mem:load(queue.used + 2, 2) == queue.next_used then return end
  local slot = queue.used + 4 + 8 * (queue.next_used % queue.size)
  local head, written = self.mem:load(slot, 4), self.mem:load(slot + 4, 4)
  queue.next_used = (queue.next_used + 1) % 65536
  local chain = assert(queue.chains[head], "the device used a chain that it was not given")
  queue.chains[head] = nil
  for _, number in ipairs(chain.heads) do queue.free[#queue.free + 1] = number end
  local pieces = {}
  for i, buffer in ipairs(chain.writable) do pieces[i] = self.mem:read(buffer.at, buffer.size) end
  return head, table.concat(pieces), written
end

return virtio
