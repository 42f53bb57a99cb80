-- translated: what runs of a machine as translated code: counters, and a block shown as guest code, IR and host code.
--
--   print(m.jit:show(m:pc()))
-- SPDX-License-Identifier: MIT
local bits = require "umbra.bits"

local translated = {}
local Translated = {}
Translated.__index = Translated

local WIDTH = 46                                  -- of the column for IR

-- hart: the first of those that share translated code.
function translated.new(hart) return setmetatable({ hart = hart }, Translated) end

-- What was translated and how it ran (docs/tier1.md), as numbers; nil with engine = "t0".
function Translated:counters() return self.hart:translations() end

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

-- Host instructions by their offset, as objdump has them where there is one, else as bytes.
local function host_lines(bytes, marks, count)
  local lines, path = {}, os.tmpname()
  local file = io.open(path, "wb")
  if file then
    file:write(bytes)
    file:close()
    local pipe = io.popen("LC_ALL=C objdump -D -b binary -m i386:x86-64 -M intel --no-show-raw-insn " .. quote(path) .. " 2>/dev/null")
    for line in pipe:lines() do
      local at, text = line:match "^%s*(%x+):%s+(.-)%s*$"
      if at then lines[#lines + 1] = { at = tonumber(at, 16), text = text:gsub("%s+", " ") } end
    end
    pipe:close()
    os.remove(path)
  end
  if #lines > 0 then return lines end
  for i = -1, count do
    local from, to = i < 0 and 0 or marks[i], i < count and marks[i + 1] or #bytes
    for at = from, to - 1, 12 do
      lines[#lines + 1] = { at = at, text = bytes:sub(at + 1, math.min(at + 12, to)):gsub(".", function(c) return ("%02x "):format(c:byte()) end) }
    end
  end
  return lines
end

-- The lines of a block's IR by guest instruction, and the instructions' distances from the block.
local function ir_lines(block)
  local parts, deltas = {}, {}
  for line in tostring(block):gmatch "[^\n]+" do
    local delta = line:match "^%s*insn %+(%w+)"
    if delta then
      parts[#parts + 1] = {}
      deltas[#deltas + 1] = tonumber(delta)
    elseif #parts > 0 then table.insert(parts[#parts], (line:gsub("^%s+", ""))) end
  end
  return parts, deltas
end

local function beside(out, left, right)
  for i = 1, math.max(#left, #right) do
    local host = right[i] and ("%4x  %s"):format(right[i].at, right[i].text) or ""
    out[#out + 1] = ("    %-" .. WIDTH .. "s| %s"):format(left[i] or "", host):gsub("%s+$", "")
  end
end

-- The translated block that stands at `pc`: each guest instruction, below it its IR and beside that the host's code; then the ways out.
function Translated:show(pc)
  local hart, at = self.hart, bits.u64(pc)
  local block, bytes, marks, count = hart:translated(pc)
  local size = #bytes
  local parts, deltas = ir_lines(block)
  block:close()
  local host, out, from = host_lines(bytes, marks, count), {}, 1
  local function host_to(limit)
    local part = {}
    while host[from] and host[from].at < limit do
      part[#part + 1] = host[from]
      from = from + 1
    end
    return part
  end
  out[1] = ("block 0x%s: %d instructions, %d bytes"):format(bits.hex(at):gsub("^0x", ""), count, size)
  beside(out, {}, host_to(marks[0]))
  for i = 1, count do
    local place = at + deltas[i]
    local ok, word = pcall(function() return hart:read(place, 4) end)
    if not ok then word = hart:read(place, 2) .. "\0\0" end
    local low, high = word:byte(1) + 256 * word:byte(2), word:byte(3) + 256 * word:byte(4)
    local text = hart:disassemble(low % 4 == 3 and low + 65536 * high or low, place)
    out[#out + 1] = ("%s  %s"):format(bits.hex(place), text or "?")
    beside(out, parts[i], host_to(marks[i]))
  end
  out[#out + 1] = "ways out"
  beside(out, {}, host_to(size))
  return table.concat(out, "\n") .. "\n"
end

return translated
