-- image: what a machine boots: ELF files, Linux Images for RISC-V, and raw bytes.
--
-- The file is read once, checked in C (csrc/image), and copied into guest memory from there.
-- SPDX-License-Identifier: MIT
local ffi   = require "ffi"
local bits  = require "umbra.bits"
local clib  = require "umbra.clib"
local fault = require "umbra.fault"
local units = require "umbra.units"

local C = clib.C

local image = {}
local Image = {}
Image.__index = Image

local MOST_BYTES = 2^30                           -- a Lua string holds less than 2 GiB, and a guest's files are smaller by far
local PIECE = 2^20

local KINDS = { [C.UM_IMAGE_RAW] = "raw", [C.UM_IMAGE_ELF] = "elf", [C.UM_IMAGE_LINUX] = "linux" }

-- The bytes of a file, or nil and why not. Pipes are read to their end; folders and endless devices are refused.
function image.read(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, "cannot open " .. why end
  local ok, refused = file:read(0)
  if not ok and refused then
    file:close()
    return nil, "cannot read " .. path .. ": " .. (refused:match ": (.*)$" or refused)
  end
  local size = file:seek "end"
  if size then file:seek "set" end
  local pieces, total = {}, 0
  while total <= MOST_BYTES and not (size and size > MOST_BYTES) do
    local piece = file:read(PIECE)
    if not piece then break end
    pieces[#pieces + 1] = piece
    total = total + #piece
  end
  file:close()
  if total > MOST_BYTES or size and size > MOST_BYTES then
    return nil, ("cannot read %s: larger than %s"):format(path, units.format(MOST_BYTES))
  end
  return table.concat(pieces)
end

-- image.parse(bytes, name): what `bytes` are. `name` stands for them in refusals.
function image.parse(bytes, name)
  local why, info = ffi.new "struct um_fault", ffi.new "struct um_image"
  if C.um_image_probe(bytes, #bytes, info, why) < 0 then fault.raise("%s: %s", name, ffi.string(why.text)) end
  local self = setmetatable({
    name         = name,
    bytes        = bytes,
    kind         = KINDS[info.kind],              -- "elf" (with low and high, the addresses it covers), "linux" or "raw"
    bits         = info.bits,
    memory_bytes = bits.number(info.memory_bytes),
    segments     = {},
  }, Image)
  if self.kind == "linux" then self.text_offset = bits.number(info.text_offset) end
  if self.kind ~= "elf" then return self end
  self.entry = bits.number(info.entry)
  local segment = ffi.new "struct um_image_segment"
  for i = 0, info.segments - 1 do
    if C.um_image_segment(bytes, #bytes, i, segment, why) < 0 then fault.raise("%s: %s", name, ffi.string(why.text)) end
    self.segments[i + 1] = {
      at           = bits.number(segment.at),
      virtual_at   = bits.number(segment.virtual_at),
      offset       = tonumber(segment.offset),
      file_bytes   = tonumber(segment.file_bytes),
      memory_bytes = bits.number(segment.memory_bytes),
      flags        = segment.flags,
      -- Linkers that are not told otherwise make a segment of the ELF headers, at an address of their own choice.
      headers      = segment.offset == 0 and segment.memory_bytes <= info.header_bytes,
    }
    if not self.segments[i + 1].headers then
      self.low  = self.low and bits.least(self.low, segment.at) or bits.number(segment.at)
      self.high = self.high and bits.most(self.high, segment.at + segment.memory_bytes) or bits.number(segment.at + segment.memory_bytes)
    end
  end
  if not self.low then fault.raise("%s: ELF file without segments to load (an object file?)", name) end
  return self
end

-- image.open(path): reads and parses a file. Refuses what is not there, is no file, or is not for RISC-V.
function image.open(path)
  local bytes, why = image.read(path)
  if not bytes then fault.raise("%s", why) end
  return image.parse(bytes, path)
end

-- ELF: the value of a symbol, or nil when there is none of that name.
function Image:symbol(name)
  local why, value = ffi.new "struct um_fault", ffi.new "uint64_t[1]"
  local status = C.um_image_symbol(self.bytes, #self.bytes, name, value, why)
  if status == C.UM_EINVAL then return end
  if status < 0 then fault.raise("%s: %s", self.name, ffi.string(why.text)) end
  return bits.number(value[0])
end

-- Calls put(gpa, pointer, file_bytes, memory_bytes) for each piece to be copied: the segments of an ELF at their physical
-- addresses (one that holds ELF headers alone is left out), anything else as one piece at `at`. The pointer is good during the call only.
function Image:each_piece(at, put)
  local bytes = ffi.cast("const uint8_t *", self.bytes)
  if self.kind ~= "elf" then return put(at, bytes, #self.bytes, self.memory_bytes) end
  for _, segment in ipairs(self.segments) do
    if not segment.headers then put(segment.at, bytes + segment.offset, segment.file_bytes, segment.memory_bytes) end
  end
end

return image
