-- block: disk images. Raw files and block devices, read and written in bytes of any alignment.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local address = require "umbra.address"
local clib    = require "umbra.clib"
local fault   = require "umbra.fault"
local handle  = require "umbra.handle"
local schema  = require "umbra.schema"

local C = clib.C

local block = {}
local Block = { noun = "block" }
Block.__index = Block

local why = ffi.new "struct um_fault"
local buffer_t = ffi.typeof "uint8_t[?]"
local SECTOR_BYTES = 512
local STRING_BYTES = 2^31 - 1

local OPTIONS = {
  { "path", type = "path", required = true, help = "a file or a block device" },
  { "read_only", type = "boolean", default = false, help = "share it with other readers, never write" },
}

-- block.open { path = "disk.img", read_only = true }
function block.open(options)
  options = schema.check(options, OPTIONS, "block")
  local ptr = C.um_block_open(options.path, options.read_only and 1 or 0, why)
  if ptr == nil then fault.check(why.status, why) end
  return handle.new(Block, ptr, C.um_block_close)
end

function Block:bytes() return tonumber(C.um_block_bytes(self.ptr)) end            -- a multiple of 512
function Block:sectors() return self:bytes() / SECTOR_BYTES end                   -- of 512 bytes
function Block:read_only() return C.um_block_read_only(self.ptr) ~= 0 end

-- `size` bytes at byte `at` as a string.
function Block:read(at, size)
  at = address.count(at, "at", 0, 2^53)
  address.count(size, "size", 0, STRING_BYTES)
  local fits = at + size <= self:bytes()          -- else C refuses before it touches the buffer
  local to = buffer_t(fits and size or 1)
  fault.check(C.um_block_read(self.ptr, at, to, size, why), why)
  return ffi.string(to, size)
end

-- Writes the string `bytes` at byte `at`.
function Block:write(at, bytes)
  at = address.count(at, "at", 0, 2^53)
  if type(bytes) ~= "string" then fault.raise("`bytes` must be a string, not %s", schema.show(bytes)) end
  fault.check(C.um_block_write(self.ptr, at, bytes, #bytes, why), why)
end

-- Comes back when everything written is on the medium.
function Block:flush()
  fault.check(C.um_block_flush(self.ptr, why), why)
end

-- { reads, writes, flushes, read_bytes, written_bytes, errors } since it was opened.
function Block:counts()
  local counts = ffi.new "struct um_block_counts"
  C.um_block_counts(self.ptr, counts)
  return {
    reads         = tonumber(counts.reads),
    writes        = tonumber(counts.writes),
    flushes       = tonumber(counts.flushes),
    read_bytes    = tonumber(counts.read_bytes),
    written_bytes = tonumber(counts.written_bytes),
    errors        = tonumber(counts.errors),
  }
end

Block.close = handle.close

return block
