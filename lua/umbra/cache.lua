-- cache: the folder where fetched things lie, ${XDG_CACHE_HOME:-~/.cache}/umbra.
-- SPDX-License-Identifier: MIT
--
-- A thing is a folder there. It is made beside its place and moved in by one rename, so a reader sees all of it or nothing, and
-- whoever already has a file of the old one open keeps it. A lock keeps two makers of one thing apart; the kernel drops it
-- when its holder dies, however that happens.
-- What can fail returns nil and one line of text: callers decide what a missing folder or a full disk means to them.

local uv = require "luv"

local cache = {}

local PROTOTYPES = [[
int um_cache_flock(int fd, int operation) __asm__("flock");
int um_cache_renameat2(int old_dir, const char *old, int new_dir, const char *new, unsigned int flags) __asm__("renameat2");
]]
local LOCK_EX, LOCK_NB, AT_FDCWD, RENAME_EXCHANGE = 2, 4, -100, 2
local MODE_FILE, MODE_DIR = 420, 493                    -- 0644, 0755

-- Only who writes needs it: what was fetched is found without libumbra.so.
local function host() return require("umbra.clib").host(PROTOTYPES) end

local TEXTS = {
  ENOSPC = "no space left on the disk", EDQUOT = "disk quota exceeded", EACCES = "permission denied", EPERM = "not permitted",
  EROFS = "the file system is read-only", ENOENT = "no such file or folder", ENOTDIR = "a part of the path is not a folder",
  EEXIST = "it exists already and is not a folder", EISDIR = "it is a folder", EIO = "input/output error",
}

-- luv reports "ENOSPC: no space left on device: /path"; `doing` says what was tried.
local function refuse(doing, why)
  local name = tostring(why):match "^(%u[%u%d]+)"
  return nil, ("%s: %s"):format(doing, TEXTS[name] or tostring(why))
end

-- The folder itself. XDG_CACHE_HOME counts only when it is absolute, as its specification says.
function cache.root()
  local base = os.getenv "XDG_CACHE_HOME"
  if not base or base:sub(1, 1) ~= "/" then base = (uv.os_homedir() or "") .. "/.cache" end
  return base .. "/umbra"
end

function cache.path(name) return cache.root() .. "/" .. name end

-- Makes a folder and those above it.
function cache.make_dir(path)
  local stat = uv.fs_stat(path)
  if stat and stat.type == "directory" then return true end
  local parent = path:match "^(.+)/[^/]+$"
  if parent then
    local ok, why = cache.make_dir(parent)
    if not ok then return nil, why end
  end
  local ok, why = uv.fs_mkdir(path, MODE_DIR)
  stat = uv.fs_stat(path)
  if ok or (stat and stat.type == "directory") then return true end
  return refuse("cannot make " .. path, why)
end

-- The sorted names in a folder; empty when there is none.
function cache.list(path)
  local names, scan = {}, uv.fs_scandir(path)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- Removes a file or a folder with all that is in it; nothing there is fine. Symbolic links are not followed.
function cache.remove(path)
  local stat = uv.fs_lstat(path)
  if not stat then return true end
  local ok, why
  if stat.type == "directory" then
    for _, name in ipairs(cache.list(path)) do
      ok, why = cache.remove(path .. "/" .. name)
      if not ok then return nil, why end
    end
    ok, why = uv.fs_rmdir(path)
  else
    ok, why = uv.fs_unlink(path)
  end
  if ok then return true end
  return refuse("cannot remove " .. path, why)
end

-- The size of a regular file, or nil.
function cache.size(path)
  local stat = uv.fs_stat(path)
  return stat and stat.type == "file" and stat.size or nil
end

function cache.read(path)
  local file, why = uv.fs_open(path, "r", 0)
  if not file then return refuse("cannot read " .. path, why) end
  local stat = uv.fs_fstat(file)
  local data
  data, why = uv.fs_read(file, stat.size, 0)
  uv.fs_close(file)
  if not data then return refuse("cannot read " .. path, why) end
  return data
end

-- Writes a whole file and waits until the disk has it; `mode` are permission bits, 0644 when nil.
function cache.write(path, data, mode)
  local file, why = uv.fs_open(path, "w", mode or MODE_FILE)
  if not file then return refuse("cannot write " .. path, why) end
  local at = 0
  while at < #data do
    local count
    count, why = uv.fs_write(file, at == 0 and data or data:sub(at + 1), at)
    if not count then break end
    at = at + count
  end
  local ok = at == #data
  if ok then ok, why = uv.fs_fsync(file) end
  local closed, close_why = uv.fs_close(file)
  if ok and closed then return true end
  return refuse("cannot write " .. path, why or close_why)
end

-- Waits until the disk has what some other program wrote to a file.
function cache.sync(path)
  local file, why = uv.fs_open(path, "r", 0)
  if not file then return refuse("cannot read " .. path, why) end
  local ok
  ok, why = uv.fs_fsync(file)
  uv.fs_close(file)
  if ok then return true end
  return refuse("cannot write " .. path, why)
end

-- Bytes that an ordinary user may still write to the file system of `path`, or nil when it does not say.
function cache.free_bytes(path)
  local stat = uv.fs_statfs(path)
  return stat and stat.bavail * stat.bsize
end

-- Tries to become the only maker of `name`: a lock with `:close()`, or false when another process is, or nil and why.
function cache.lock(name)
  local ok, why = cache.make_dir(cache.root())
  if not ok then return nil, why end
  local path = cache.path("." .. name .. ".lock")
  local file
  file, why = uv.fs_open(path, "a", MODE_FILE)
  if not file then return refuse("cannot write " .. path, why) end
  if host().um_cache_flock(file, LOCK_EX + LOCK_NB) ~= 0 then
    uv.fs_close(file)
    return false
  end
  local lock = {}
  function lock.close()
    if file then uv.fs_close(file) end
    file = nil
  end
  return lock
end

-- Puts the finished folder `made` in the place of `name`, whatever was there before; to be called under the lock.
function cache.publish(name, made)
  local place, old = cache.path(name), cache.path("." .. name .. ".old")
  cache.remove(old)
  local ok, why = uv.fs_rename(made, place)
  if not ok and uv.fs_lstat(place) then
    if host().um_cache_renameat2(AT_FDCWD, made, AT_FDCWD, place, RENAME_EXCHANGE) == 0 then
      cache.remove(made)
      return true
    end
    -- A file system that cannot exchange two names: for an instant there is none.
    ok, why = uv.fs_rename(place, old)
    if ok then ok, why = uv.fs_rename(made, place) end
    if ok then cache.remove(old) end
  end
  if ok then return true end
  return refuse("cannot put " .. place .. " in its place", why)
end

return cache
