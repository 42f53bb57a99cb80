-- block: raw images against a string; what is refused; files that change under their user.
-- SPDX-License-Identifier: MIT
local block   = require "umbra.block"
local example = require "spec.support.example"
local refuses = require "spec.support.refuses"
local shadow  = require "spec.support.shadow"
local tree    = require "spec.support.tree"

local function write_file(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

local function as_pattern(text) return (text:gsub("%p", "%%%0")) end

describe("block", function()
  local path, named
  before_each(function()
    path = os.tmpname()
    named = as_pattern(path)
  end)
  after_each(function() os.remove(path) end)

  local function image(bytes, read_only)
    write_file(path, bytes)
    return block.open { path = path, read_only = read_only }
  end

  it("does what its page of docs begins with", function()
    write_file(path, ("\0"):rep(4096))
    local opened = { open = function(options)
      assert.same({ path = "disk.img" }, options)
      return block.open { path = path }
    end }
    example("docs/block.md", { require = function(name) return name == "umbra.block" and opened or require(name) end })
  end)

  it("reads and writes at any byte, and the file has it", function()
    local disk = image(("\0"):rep(4096))
    assert.equal(4096, disk:bytes())
    assert.equal(8, disk:sectors())
    assert.is_false(disk:read_only())
    disk:write(510, "across sectors")
    assert.equal("\0across sectors\0", disk:read(509, 16))
    disk:flush()
    assert.equal("across sectors", tree.read(path):sub(511, 524))
    disk:close()
    assert.equal(4096, #tree.read(path))
  end)

  it("counts", function()
    local disk = image(("\0"):rep(1024))
    disk:write(0, "12345")
    disk:read(0, 7)
    disk:read(0, 3)
    disk:flush()
    pcall(disk.read, disk, 1024, 1)
    assert.same({ reads = 2, writes = 1, flushes = 1, read_bytes = 10, written_bytes = 5, errors = 1 }, disk:counts())
    disk:close()
  end)

  it("stays within the image", function()
    local disk = image(("x"):rep(1024))
    assert.equal("", disk:read(1024, 0))
    refuses(function() disk:read(1024, 1) end, named .. ": 1 bytes at 1024 lie outside of its 1024 bytes")
    refuses(function() disk:read(0, 2^30) end, named .. ": 1073741824 bytes at 0 lie outside of its 1024 bytes")
    refuses(function() disk:write(1020, "12345") end, named .. ": 5 bytes at 1020 lie outside of its 1024 bytes")
    refuses(function() disk:write(2^53, "1") end, named .. ": 1 bytes at 9007199254740992 lie .*")
    refuses(function() disk:read(-1, 1) end, "`at` must be a whole number .*, not %-1")
    refuses(function() disk:write(0, 1) end, "`bytes` must be a string, not 1")
    assert.equal(("x"):rep(1024), disk:read(0, 1024))
    disk:close()
  end)

  it("pads the last sector with zeros and lets the file grow into it", function()
    local disk = image(("x"):rep(1000))
    assert.equal(1024, disk:bytes())
    assert.equal(("x"):rep(10) .. ("\0"):rep(24), disk:read(990, 34))
    assert.equal(("\0"):rep(4), disk:read(1010, 4))
    disk:write(1010, "yz")
    assert.equal("x" .. ("\0"):rep(10) .. "yz" .. ("\0"):rep(12), disk:read(999, 25))
    disk:close()
    assert.equal(1012, #tree.read(path))
    disk = block.open { path = path }
    disk:write(512, ("w"):rep(512))
    disk:close()
    assert.equal(1024, #tree.read(path))
  end)

  it("reports a file that becomes shorter, and survives it", function()
    local disk = image(("x"):rep(64 * 1024))
    assert.equal("x", disk:read(65535, 1))
    write_file(path, ("y"):rep(1000))
    assert.equal("y", disk:read(999, 1))
    refuses(function() disk:read(512, 512) end, "cannot read " .. named .. " at byte 1000: the file has become shorter")
    refuses(function() disk:read(40000, 1) end, "cannot read " .. named .. " at byte 40000: the file has become shorter")
    refuses(function() disk:write(40000, "z") end, "cannot write " .. named .. " at byte 40000: the file has become shorter")
    assert.equal(1000, #tree.read(path))
    assert.equal(3, disk:counts().errors)
    disk:close()
  end)

  it("writes no read-only image", function()
    local disk = image(("x"):rep(512), true)
    assert.is_true(disk:read_only())
    refuses(function() disk:write(0, "y") end, "cannot write " .. named .. ": it was opened read%-only")
    disk:flush()
    assert.equal("x", disk:read(0, 1))
    disk:close()
    os.execute(("chmod 444 '%s'"):format(path))
    refuses(function() block.open { path = path } end,
      "cannot open " .. named .. " for writing: .*; make it writable, or open it with read_only = true")
    block.open { path = path, read_only = true }:close()
  end)

  it("lets several read and one write", function()
    local first = image(("x"):rep(512), true)
    local second = block.open { path = path, read_only = true }
    refuses(function() block.open { path = path } end, named .. " is in use by someone else; several may share it .*")
    first:close()
    second:close()
    local writer = block.open { path = path }
    refuses(function() block.open { path = path } end, named .. " is in use by someone else; .*")
    refuses(function() block.open { path = path, read_only = true } end, named .. " is in use: someone else writes to it")
    writer:close()
    block.open { path = path }:close()
  end)

  it("refuses what is no image in one clear line", function()
    local function refused(given, pattern) refuses(function() block.open { path = given } end, pattern) end
    refused("/nonexistent/disk.img", "cannot open /nonexistent/disk%.img: No such file or directory")
    refused("/", "/ is a directory, not a disk image")
    refused("/dev/null", "/dev/null is neither a file nor a block device")
    write_file(path, "")
    refused(path, named .. " is empty: a disk needs at least one sector of 512 bytes")
    refused("/nonexistent/" .. ("long/"):rep(60) .. "disk.img", "cannot open %.%.%..*/disk%.img: No such file or directory")
    os.remove(path)
    os.execute(("mkfifo '%s'"):format(path))
    refused(path, named .. " is neither a file nor a block device")
    refuses(function() block.open { file = path } end, "unknown key `block%.file`.*")
    refuses(function() block.open {} end, "missing key `block%.path` .*")
    refuses(function() block.open { path = path, readonly = true } end, "unknown key `block%.readonly`, did you mean `read_only`%?")
    refuses(function() block.open { path = path, read_only = 3 } end, "`block%.read_only` must be true or false, not 3")
  end)

  it("is closed once and says so afterwards", function()
    local disk = image(("x"):rep(512))
    disk:close()
    disk:close()
    refuses(function() disk:read(0, 1) end, "this block is closed")
  end)

  it("agrees with a string", function()
    local size = 10000
    local disk = image(("\0"):rep(size))
    local twin = ("\0"):rep(disk:bytes())
    shadow.play(5000, function()
      local at = math.random(0, #twin)
      local count = math.min(math.random(0, 1500), #twin - at)
      if shadow.flip() then
        local bytes = string.char(math.random(0, 255)):rep(count)
        disk:write(at, bytes)
        twin = twin:sub(1, at) .. bytes .. twin:sub(at + count + 1)
      else
        shadow.same(disk:read(at, count), twin:sub(at + 1, at + count), ("read %d %d"):format(at, count))
      end
    end)
    disk:close()
    local held = tree.read(path)
    assert.equal(twin:sub(1, #held), held)
    assert.equal(("\0"):rep(#twin - #held), twin:sub(#held + 1))
  end)
end)
