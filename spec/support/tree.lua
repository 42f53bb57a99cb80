-- tree: the files of the source tree, for specs that look at the house itself.
-- SPDX-License-Identifier: MIT
local lfs = require "lfs"

local tree = {}

local SKIP = { [".git"] = true, build = true, ["."] = true, [".."] = true }

-- All files below `root` whose name ends in one of `endings` (a list), sorted; build/ and .git/ left out.
function tree.files(root, endings)
  local found = {}
  local function walk(folder)
    for name in lfs.dir(folder) do
      local path = folder == "." and name or folder .. "/" .. name
      if SKIP[name] then
        path = nil
      elseif lfs.attributes(path, "mode") == "directory" then
        walk(path)
      end
      for _, ending in ipairs(path and endings or {}) do
        if path:sub(-#ending) == ending and lfs.attributes(path, "mode") == "file" then found[#found + 1] = path end
      end
    end
  end
  if lfs.attributes(root, "mode") == "directory" then walk(root) end
  table.sort(found)
  return found
end

-- The folders right below `root`, sorted.
function tree.folders(root)
  local found = {}
  for name in lfs.dir(root) do
    if not SKIP[name] and lfs.attributes(root .. "/" .. name, "mode") == "directory" then found[#found + 1] = name end
  end
  table.sort(found)
  return found
end

function tree.exists(path) return lfs.attributes(path, "mode") ~= nil end

function tree.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- What a shell command prints (stderr included) and its exit code. A sanitizer that is preloaded for the library goes to the
-- commands that load it and to no other: ps, for one, waits for ever under Debian 12's libasan.
function tree.run(command)
  local loads_it = command:find("umbra", 1, true) or command:find("luajit", 1, true)
  if os.getenv "LD_PRELOAD" and not loads_it then command = "unset LD_PRELOAD; " .. command end
  local pipe = assert(io.popen(command .. " 2>&1; printf '\n%d' $?"))
  local text = pipe:read "*a"
  pipe:close()
  local output, code = text:match "^(.*)\n(%d+)$"
  return output, tonumber(code)
end

return tree
