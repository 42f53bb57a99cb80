-- gen_ffi: joins every *_ffi.h into the one text that umbra.clib hands to ffi.cdef.
-- usage: luajit gen_ffi.lua -o OUT LAYERS HEADER...
-- The order is that of csrc/LAYERS, by name within a folder, but a header comes after those that define the types it names.
-- SPDX-License-Identifier: MIT
local out, layers = nil, {}
local headers = {}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

do
  local args, i = { ... }, 1
  while args[i] do
    if args[i] == "-o" then
      out, i = args[i + 1], i + 1
    elseif args[i]:match "LAYERS$" then
      local rank = 0
      for name in read(args[i]):gmatch "%S+" do
        rank = rank + 1
        layers[name] = rank
      end
    else
      headers[#headers + 1] = { path = args[i] }
    end
    i = i + 1
  end
end

for _, header in ipairs(headers) do
  local folder = header.path:match "csrc/([^/]+)/"
  header.rank = assert(layers[folder], header.path .. ": its folder is not in csrc/LAYERS")
  header.text = read(header.path):gsub("#pragma once[^\n]*\n", ""):gsub("//[^\n]*", ""):gsub("/%*.-%*/", "")
    :gsub("[ \t]+\n", "\n"):gsub("\n\n+", "\n"):gsub("^\n", "")
end

table.sort(headers, function(a, b)
  if a.rank ~= b.rank then return a.rank < b.rank end
  return a.path < b.path
end)

local home = {}                                   -- type name -> the header that defines it
for _, header in ipairs(headers) do
  for _, pattern in ipairs { "struct%s+([%w_]+)%s*{", "union%s+([%w_]+)%s*{", "typedef%s[^;{]-([%w_]+)%s*;" } do
    for name in header.text:gmatch(pattern) do home[name] = header end
  end
end

local placed, text = {}, {}
local function place(header)
  if placed[header] then return end
  placed[header] = true
  for name in header.text:gmatch "um_[%w_]+" do
    if home[name] then place(home[name]) end
  end
  local ok, message = pcall(require("ffi").cdef, header.text)     -- better refused here, by name, than by every script later
  if not ok then
    io.stderr:write(("%s: not for LuaJIT: %s\n"):format(header.path, message:gsub("^.-: ", "")))
    os.exit(1)
  end
  text[#text + 1] = header.text
end
for _, header in ipairs(headers) do place(header) end

local file = assert(io.open(out, "wb"))
file:write(table.concat(text))
file:close()
