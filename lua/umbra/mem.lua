-- mem: a guest-physical address space: RAM and ROM that Lua reads and writes, and the windows that devices map into it.
-- SPDX-License-Identifier: MIT
local ffi     = require "ffi"
local address = require "umbra.address"
local bits    = require "umbra.bits"
local clib    = require "umbra.clib"
local fault   = require "umbra.fault"
local handle  = require "umbra.handle"
local schema  = require "umbra.schema"
local units   = require "umbra.units"

local C = clib.C

local mem = {}
local Mem = { noun = "mem" }
Mem.__index = Mem

local why   = ffi.new "struct um_fault"
local value = ffi.new "uint64_t[1]"
local buffer_t, bytes_t = ffi.typeof "uint8_t[?]", ffi.typeof "uint8_t *"

local PAGE_BYTES = 4096
local STRING_BYTES = 2^31 - 1                     -- the most a Lua string holds
local KINDS = { [C.UM_MEM_RAM] = "ram", [C.UM_MEM_ROM] = "rom", [C.UM_MEM_MMIO] = "mmio" }

local function region(name)
  return {
    { "at", type = "address", required = true, multiple_of = PAGE_BYTES, help = "guest-physical address" },
    { "size", type = "size", required = true, min = PAGE_BYTES, multiple_of = PAGE_BYTES, help = "bytes" },
    { "name", type = "string", default = name, help = "name in the memory map" },
  }
end
local RAM, ROM = region "ram", region "rom"

-- mem.new(): an empty address space.
function mem.new()
  local ptr = C.um_mem_new()
  if ptr == nil then fault.raise "mem: the host has no memory for it" end
  return handle.new(Mem, ptr, C.um_mem_free)
end

local function add(self, options, declared, where, rom)
  options = schema.check(options, declared, where)
  fault.check(C.um_mem_add_ram(self.ptr, options.at, options.size, rom, options.name, why), why)
end

-- Zeroed RAM: add_ram { at = 0x80000000, size = "64M", name = "ram" }. The host gives pages as they are touched.
function Mem:add_ram(options) add(self, options, RAM, "ram", 0) end

-- Zeroed ROM: the guest and its devices only read it, `write` fills it.
function Mem:add_rom(options) add(self, options, ROM, "rom", 1) end

-- The bytes at gpa as a string. RAM and ROM only; what lies under a device's window is read from the RAM below.
function Mem:read(gpa, size)
  gpa = address.check(gpa, "gpa")
  address.count(size, "size", 0, STRING_BYTES)
  local host = C.um_mem_view(self.ptr, gpa, size)
  if host ~= nil then return ffi.string(host, size) end
  -- Two regions side by side, or a refusal: without its last byte C refuses before it touches the buffer.
  local whole = size > 0 and C.um_mem_view(self.ptr, gpa + size - 1, 1) ~= nil
  local to = buffer_t(whole and size or 1)
  fault.check(C.um_mem_read(self.ptr, gpa, to, size, why), why)
  return ffi.string(to, size)
end

-- Writes the string `bytes` to RAM or ROM at gpa. All of it, or a refusal and nothing.
function Mem:write(gpa, bytes)
  gpa = address.check(gpa, "gpa")
  if type(bytes) ~= "string" then fault.raise("`bytes` must be a string, not %s", schema.show(bytes)) end
  fault.check(C.um_mem_write(self.ptr, gpa, bytes, #bytes, why), why)
end

-- One access of 1, 2, 4 or 8 bytes as a hart would do it, devices included. Values from 2^53 on are uint64_t.
function Mem:load(gpa, size)
  fault.check(C.um_mem_load(self.ptr, address.check(gpa, "gpa"), address.count(size, "size", 1, 8), value, why), why)
  return bits.number(value[0])
end

function Mem:store(gpa, size, what)
  fault.check(C.um_mem_store(self.ptr, address.check(gpa, "gpa"), address.count(size, "size", 1, 8), address.check(what, "value"), why), why)
end

-- The host's address (uint8_t *) of `size` bytes of RAM or ROM, until close. What is written through it is not seen by code tracking.
function Mem:view(gpa, size)
  gpa = address.check(gpa, "gpa")
  local host = C.um_mem_view(self.ptr, gpa, address.count(size, "size", 0, 2^53))
  if host == nil then fault.raise("no memory of one piece at %s (asked for %.0f bytes)", bits.hex(gpa), size) end
  return ffi.cast(bytes_t, host)
end

-- The memory map, sorted by address: { at, size, kind = "ram" | "rom" | "mmio", name, reads, writes } a row.
function Mem:rows()
  local rows, row = {}, ffi.new "struct um_mem_row"
  for i = 0, C.um_mem_rows(self.ptr) - 1 do
    C.um_mem_row(self.ptr, i, row)
    rows[i + 1] = {
      at     = bits.number(row.at),
      size   = bits.number(row.size),
      kind   = KINDS[row.kind],
      name   = ffi.string(row.name),
      reads  = bits.number(row.reads),
      writes = bits.number(row.writes),
    }
  end
  return rows
end

-- The memory map for people.
function Mem:describe()
  local lines = {}
  for i, row in ipairs(self:rows()) do
    local last = bits.u64(row.at) + bits.u64(row.size) - 1
    lines[i] = ("%-12s .. %-12s %-4s %6s  %s"):format(bits.hex(row.at), bits.hex(last), row.kind, units.format(tonumber(row.size)), row.name)
  end
  return #lines > 0 and table.concat(lines, "\n") or "an empty address space"
end
Mem.__tostring = Mem.describe

Mem.close = handle.close

return mem
