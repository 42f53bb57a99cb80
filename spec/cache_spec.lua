-- cache: the folder of fetched things, its lock and its one way of publishing.
-- SPDX-License-Identifier: MIT
local cache   = require "umbra.cache"
local process = require "umbra.fetch.process"
local uv      = require "luv"

describe("the cache", function()
  local base, before

  before_each(function()
    before = os.getenv "XDG_CACHE_HOME"
    base = uv.fs_mkdtemp "/tmp/umbra-spec-XXXXXX"
    uv.os_setenv("XDG_CACHE_HOME", base)
  end)

  after_each(function()
    if before then uv.os_setenv("XDG_CACHE_HOME", before) else uv.os_unsetenv "XDG_CACHE_HOME" end
    cache.remove(base)
  end)

  it("lies where XDG_CACHE_HOME says, if that is absolute", function()
    assert.equal(base .. "/umbra", cache.root())
    uv.os_setenv("XDG_CACHE_HOME", "somewhere")
    assert.equal(uv.os_homedir() .. "/.cache/umbra", cache.root())
    uv.os_unsetenv "XDG_CACHE_HOME"
    assert.equal(uv.os_homedir() .. "/.cache/umbra", cache.root())
  end)

  it("writes and reads files of any bytes, and lists them sorted", function()
    local bytes = ("a\0\r\n\255"):rep(100000)
    assert.is_true(cache.make_dir(base .. "/x/y"))
    assert.is_true(cache.write(base .. "/x/b", bytes))
    assert.is_true(cache.write(base .. "/x/a", ""))
    assert.equal(bytes, cache.read(base .. "/x/b"))
    assert.equal("", cache.read(base .. "/x/a"))
    assert.equal(#bytes, cache.size(base .. "/x/b"))
    assert.is_nil(cache.size(base .. "/x/y"))
    assert.same({ "a", "b", "y" }, cache.list(base .. "/x"))
    assert.same({}, cache.list(base .. "/none"))
  end)

  it("says in one line what could not be done", function()
    local _, full = cache.write("/dev/full", "x")
    assert.equal("cannot write /dev/full: no space left on the disk", full)
    local _, none = cache.read(base .. "/none")
    assert.equal("cannot read " .. base .. "/none: no such file or folder", none)
    assert.is_true(cache.write(base .. "/file", ""))
    local _, blocked = cache.make_dir(base .. "/file/folder")
    assert.matches("^cannot make .*/file: it exists already and is not a folder$", blocked)
  end)

  it("removes a tree but nothing that a link in it points to", function()
    cache.make_dir(base .. "/kept")
    cache.write(base .. "/kept/file", "1")
    cache.make_dir(base .. "/tree/inner")
    cache.write(base .. "/tree/inner/file", "2")
    assert(uv.fs_symlink(base .. "/kept", base .. "/tree/inner/link"))
    assert.is_true(cache.remove(base .. "/tree"))
    assert.is_nil(uv.fs_lstat(base .. "/tree"))
    assert.equal("1", cache.read(base .. "/kept/file"))
    assert.is_true(cache.remove(base .. "/tree"))
  end)

  it("publishes a folder in the place of another, whose open files live on", function()
    for _, text in ipairs { "old", "new" } do
      cache.make_dir(cache.path("." .. text))
      cache.write(cache.path("." .. text .. "/file"), text)
    end
    assert.is_true(cache.publish("thing", cache.path ".old"))
    local open = io.open(cache.path "thing/file", "rb")
    assert.is_true(cache.publish("thing", cache.path ".new"))
    assert.equal("new", cache.read(cache.path "thing/file"))
    assert.equal("old", open:read "*a")
    open:close()
    assert.same({ "thing" }, cache.list(cache.root()))
  end)

  it("publishes in the place of a plain file, too", function()
    cache.make_dir(cache.path ".new")
    cache.write(cache.path "thing", "in the way")
    assert.is_true(cache.publish("thing", cache.path ".new"))
    assert.equal("directory", uv.fs_stat(cache.path "thing").type)
    assert.same({ "thing" }, cache.list(cache.root()))
  end)

  it("gives its lock to one holder at a time", function()
    local lock = cache.lock "thing"
    assert.is_truthy(lock)
    assert.is_false(cache.lock "thing")
    local other = cache.lock "else"
    assert.is_truthy(other)
    other:close()
    lock:close()
    lock:close()
    lock = cache.lock "thing"
    assert.is_truthy(lock)
    lock:close()
  end)

  it("takes the lock from a holder that was killed", function()
    local script = ([[
      package.path = "./lua/?.lua;" .. package.path
      local lock = require("umbra.cache").lock "thing"
      require("luv").kill(require("luv").os_getpid(), "sigkill")
      return lock
    ]])
    local result = assert(process.run({ "luajit", "-e", script }, { env = { LD_PRELOAD = os.getenv "LD_PRELOAD" } }))
    assert.equal(9, result.signal)
    local lock = cache.lock "thing"
    assert.is_truthy(lock)
    lock:close()
  end)
end)
