-- baseline: reports that are kept under a name, ${XDG_DATA_HOME:-~/.local/share}/umbra/bench/NAME.json.
-- SPDX-License-Identifier: MIT
local cjson = require "cjson"
local uv    = require "luv"

local baseline = {}

local MODE_DIR, MODE_FILE = 493, 420              -- 0755, 0644

local MISUSED, FAILED = 126, 125                  -- as words.write of lua/umbra/words.lua has them

local function refuse(text, ...) error({ text = text:format(...), code = MISUSED }, 0) end

local function folder()
  local data = os.getenv "XDG_DATA_HOME"
  if not data or not data:find "^/" then data = (os.getenv "HOME" or ".") .. "/.local/share" end
  return data .. "/umbra/bench/"
end

local function make_folders(path)
  for at in path:gmatch "()/" do
    if at > 1 then uv.fs_mkdir(path:sub(1, at - 1), MODE_DIR) end        -- what is there already is refused; a write will tell
  end
end

-- Writes all of `text` to `path` or nothing, by a rename. Raises one line when it cannot.
function baseline.write(path, text)
  local beside = ("%s.%d"):format(path, uv.os_getpid())
  local file, why = uv.fs_open(path:find "^/dev/" and path or beside, "w", MODE_FILE)
  local ok, code = file, file and FAILED or MISUSED
  if file then
    ok, why = uv.fs_write(file, text, -1)
    if ok and ok ~= #text then ok, why = nil, "the disk is full" end
    uv.fs_close(file)
    if ok and not path:find "^/dev/" then ok, why = uv.fs_rename(beside, path) end
    if not ok then uv.fs_unlink(beside) end
  end
  if ok then return end
  why = tostring(why):gsub("^%u+: ", ""):gsub(": " .. path:gsub("%p", "%%%0") .. ".*", "")
  error({ text = ("cannot write %s: %s"):format(path, why), code = code }, 0)
end

-- A name is a file of its own in the folder; what ends in .json or has a / is the path of a file.
local function path_of(name)
  if name:find "/" or name:find "%.json$" then return name end
  if not name:find "^[%w_.-]+$" or name:find "^%." then refuse("a baseline's name is made of letters, digits, `_`, `-` and `.`, not `%s`", name) end
  return folder() .. name .. ".json"
end

function baseline.save(name, text)
  local path = path_of(name)
  if path:sub(1, #folder()) == folder() then make_folders(folder()) end
  baseline.write(path, text)
  return path
end

-- The report that was saved as `name`; raises one line when there is none.
function baseline.load(name)
  local path = path_of(name)
  local file, why = io.open(path, "rb")
  if not file then error({ text = ("no baseline %s: %s"):format(name, why), code = 127 }, 0) end
  local text = file:read "*a"
  file:close()
  local ok, whole = pcall(cjson.decode, text or "")
  if not ok or type(whole) ~= "table" then refuse("%s: not a benchmark report (%s)", path, ok and "not an object" or whole) end
  whole.name = name
  return whole
end

-- All saved reports that can be read, oldest first: { { name, time, cases, host }, ... }.
function baseline.all()
  local list, scan = {}, uv.fs_scandir(folder())
  if not scan then return list end
  for name in uv.fs_scandir_next, scan do
    local ok, whole = pcall(baseline.load, folder() .. name)
    if name:find "%.json$" and ok and type(whole.time) == "number" then
      whole.name = name:sub(1, -6)
      list[#list + 1] = whole
    end
  end
  table.sort(list, function(a, b) return a.time < b.time or a.time == b.time and a.name < b.name end)
  return list
end

return baseline
