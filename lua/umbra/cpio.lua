-- cpio: writes "newc" archives, the format of a Linux initramfs.
-- SPDX-License-Identifier: MIT
--
-- Following Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel. The same entries give the
-- same bytes on every host: times are zero, owners are root, inode numbers count from one. Device nodes are plain
-- entries here, so no rights are needed to make one.

local bit   = require "bit"
local fault = require "umbra.fault"

local cpio = {}

local TYPES = { file = 0x8000, dir = 0x4000, link = 0xa000, char = 0x2000, block = 0x6000 }
local MODES = { file = 420, dir = 493, link = 511, char = 384, block = 384 }   -- 0644, 0755, 0777, 0600, 0600
local CONTENT = { file = "data", link = "target" }

local function padding(length) return ("\0"):rep(-length % 4) end

local function header(number, entry, size)
  local fields = { number, bit.bor(TYPES[entry.type], entry.mode or MODES[entry.type]), 0, 0, 1, 0, size, 0, 0,
                   entry.major or 0, entry.minor or 0, #entry.path + 1, 0 }
  for i, value in ipairs(fields) do fields[i] = ("%08x"):format(value) end
  return "070701" .. table.concat(fields)
end

local function record(number, entry, data)
  local head = header(number, entry, #data) .. entry.path .. "\0"
  return head .. padding(#head) .. data .. padding(#data)
end

-- Refuses an entry that is no entry.
local function check(entry, index)
  local path, kind = entry.path, entry.type
  if type(path) ~= "string" or path == "" then fault.raise("cpio: entry %d: `path` must be a non-empty string", index) end
  if path:find "%z" or path:sub(1, 1) == "/" then
    fault.raise("cpio: entry %d: path `%s` must be relative and without a zero byte", index, path)
  end
  if not TYPES[kind] then
    fault.raise("cpio: entry `%s`: type `%s` is none of file, dir, link, char, block", path, tostring(kind))
  end
  local content = CONTENT[kind]
  if content and type(entry[content]) ~= "string" then
    fault.raise("cpio: entry `%s`: a %s needs `%s`, a string", path, kind, content)
  end
end

-- The missing parent folders of `path`, outermost first: the kernel drops an entry whose folder does not exist.
local function add_parents(rows, seen, path)
  for stop in path:gmatch("()/") do
    local parent = path:sub(1, stop - 1)
    if not seen[parent] then
      seen[parent] = true
      rows[#rows + 1] = { path = parent, type = "dir" }
    end
  end
end

-- An archive as a string. `entries` is a list, written in its order, of
--   { path = "bin/sh", type = "link", target = "busybox" }
--   { path = "init", type = "file", data = "...", mode = 493 }      mode: permission bits, 0755 here
--   { path = "dev/console", type = "char", major = 5, minor = 1 }
--   { path = "proc", type = "dir" }
-- Parent folders that are not listed before are added. Archives may be concatenated: the kernel unpacks one after the
-- other, compressed or not, so a second archive adds files to an initramfs.
function cpio.archive(entries)
  local rows, seen = {}, {}
  for index, entry in ipairs(entries) do
    check(entry, index)
    add_parents(rows, seen, entry.path)
    if not (entry.type == "dir" and seen[entry.path]) then rows[#rows + 1] = entry end
    seen[entry.path] = true
  end
  local out = {}
  for number, row in ipairs(rows) do out[number] = record(number, row, row.data or row.target or "") end
  out[#out + 1] = record(0, { path = "TRAILER!!!", type = "file", mode = 0 }, "")
  local text = table.concat(out)
  return text .. ("\0"):rep(-#text % 512)
end

return cpio
