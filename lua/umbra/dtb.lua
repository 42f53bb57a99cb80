-- dtb: writes flattened device trees, with libfdt.
--
--   local tree = dtb.new()
--   tree:begin "" :prop("#address-cells", 2) ... :finish_node()
--   local bytes = tree:close()
--
-- Calls come in the order of the tree: begin a node, its properties, its children, finish it. References by path are not needed:
-- phandles are plain numbers that the caller chooses.
-- SPDX-License-Identifier: MIT
local bit   = require "bit"
local ffi   = require "ffi"
local bits  = require "umbra.bits"
local clib  = require "umbra.clib"
local fault = require "umbra.fault"

local DECLARATIONS = [[
int fdt_create(void *buf, int bufsize);
int fdt_finish_reservemap(void *fdt);
int fdt_begin_node(void *fdt, const char *name);
int fdt_property(void *fdt, const char *name, const void *val, int len);
int fdt_end_node(void *fdt);
int fdt_finish(void *fdt);
const char *fdt_strerror(int errval);
]]

local MOST_BYTES = 65536

local dtb = {}
local Tree = {}
Tree.__index = Tree

local function check(self, status)
  if status < 0 then fault.raise("device tree: %s", ffi.string(self.fdt.fdt_strerror(status))) end
  return self
end

function dtb.new()
  local self = setmetatable({ fdt = clib.host(DECLARATIONS, "libfdt.so.1"), buffer = ffi.new("uint8_t[?]", MOST_BYTES), depth = 0 }, Tree)
  check(self, self.fdt.fdt_create(self.buffer, MOST_BYTES))
  return check(self, self.fdt.fdt_finish_reservemap(self.buffer))
end

-- 32-bit big-endian cell.
local function cell(value)
  return string.char(bit.band(bit.rshift(value, 24), 255), bit.band(bit.rshift(value, 16), 255), bit.band(bit.rshift(value, 8), 255), bit.band(value, 255))
end

-- A 64-bit value as two cells, for use with Tree:bytes.
function dtb.wide(value)
  local wide = bits.u64(value)
  return cell(tonumber(wide / 2^32 % 2^32)) .. cell(tonumber(wide % 2^32))
end

function Tree:begin(name)
  self.depth = self.depth + 1
  return check(self, self.fdt.fdt_begin_node(self.buffer, name))
end

function Tree:finish_node()
  self.depth = self.depth - 1
  return check(self, self.fdt.fdt_end_node(self.buffer))
end

-- A property of raw bytes; none for a property without a value.
function Tree:bytes(name, bytes)
  bytes = bytes or ""
  return check(self, self.fdt.fdt_property(self.buffer, name, bytes, #bytes))
end

-- A property of 32-bit cells (numbers) and zero-ended strings, in the order given.
function Tree:prop(name, ...)
  local pieces = {}
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    pieces[i] = type(value) == "number" and cell(value) or value .. "\0"
  end
  return self:bytes(name, table.concat(pieces))
end

-- reg = address and size pairs, two cells each.
function Tree:reg(...)
  local pieces = {}
  for i = 1, select("#", ...) do pieces[i] = dtb.wide((select(i, ...))) end
  return self:bytes("reg", table.concat(pieces))
end

-- The bytes of the finished tree.
function Tree:close()
  if self.depth ~= 0 then error("device tree: a node is not finished", 0) end
  check(self, self.fdt.fdt_finish(self.buffer))
  local b = self.buffer
  local size = b[4] * 2^24 + b[5] * 2^16 + b[6] * 2^8 + b[7]     -- totalsize
  return ffi.string(self.buffer, size)
end

return dtb
