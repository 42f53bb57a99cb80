-- cpio: archives as the kernel reads them.
-- SPDX-License-Identifier: MIT
local cpio = require "umbra.cpio"

-- The entries of an archive, read as buffer-format.rst says, and the offset behind the trailer.
local function parse(text)
  local entries, at = {}, 1
  while true do
    assert.equal("070701", text:sub(at, at + 5))
    local field = {}
    for i = 1, 13 do field[i] = tonumber(text:sub(at + 6 + (i - 1) * 8, at + 13 + (i - 1) * 8), 16) end
    local name = text:sub(at + 110, at + 110 + field[12] - 2)
    assert.equal("\0", text:sub(at + 110 + field[12] - 1, at + 110 + field[12] - 1))
    local data_at = at + 110 + field[12]
    data_at = data_at + (1 - data_at) % 4
    local data = text:sub(data_at, data_at + field[7] - 1)
    at = data_at + field[7]
    at = at + (1 - at) % 4
    if name == "TRAILER!!!" then return entries, at end
    entries[#entries + 1] = { name = name, ino = field[1], mode = field[2], uid = field[3], gid = field[4], links = field[5],
                              time = field[6], data = data, major = field[10], minor = field[11] }
  end
end

local function names(entries)
  local list = {}
  for i, entry in ipairs(entries) do list[i] = entry.name end
  return table.concat(list, " ")
end

describe("a cpio archive", function()
  it("has the documented bytes", function()
    local text = cpio.archive { { path = "a", type = "file", data = "hey" } }
    local head = "070701" .. "00000001" .. "000081a4" .. ("0"):rep(16) .. "00000001" .. "00000000" .. "00000003" .. ("0"):rep(32)
      .. "00000002" .. "00000000"
    assert.equal(head .. "a\0" .. "hey\0" .. "070701", text:sub(1, #head + 2 + 4 + 6))
    assert.equal(0, #text % 512)
  end)

  it("gives back every kind of entry", function()
    local entries, stop = parse(cpio.archive {
      { path = "dev", type = "dir" },
      { path = "dev/console", type = "char", major = 5, minor = 1 },
      { path = "dev/vda", type = "block", major = 254, minor = 16 },
      { path = "sh", type = "link", target = "busybox" },
      { path = "init", type = "file", mode = 493, data = "#!/bin/sh\n" },
      { path = "empty", type = "file", data = "" },
    })
    assert.equal("dev dev/console dev/vda sh init empty", names(entries))
    assert.equal(tonumber("40755", 8), entries[1].mode)
    assert.equal(tonumber("20600", 8), entries[2].mode)
    assert.same({ 5, 1 }, { entries[2].major, entries[2].minor })
    assert.equal(tonumber("60600", 8), entries[3].mode)
    assert.same({ 254, 16 }, { entries[3].major, entries[3].minor })
    assert.equal(tonumber("120777", 8), entries[4].mode)
    assert.equal("busybox", entries[4].data)
    assert.equal(tonumber("100755", 8), entries[5].mode)
    assert.equal("#!/bin/sh\n", entries[5].data)
    assert.equal("", entries[6].data)
    for i, entry in ipairs(entries) do
      assert.same({ i, 0, 0, 1, 0 }, { entry.ino, entry.uid, entry.gid, entry.links, entry.time })
    end
    assert.is_true(stop > 600)
  end)

  it("pads names and data of every length", function()
    local rows = {}
    for length = 1, 9 do rows[length] = { path = ("n"):rep(length), type = "file", data = ("d"):rep(10 - length) } end
    local entries = parse(cpio.archive(rows))
    assert.equal(9, #entries)
    for length, entry in ipairs(entries) do assert.equal(("d"):rep(10 - length), entry.data) end
  end)

  it("makes the folders that are not listed, once", function()
    assert.equal("a a/b a/b/c a/b/d a/e", names(parse(cpio.archive {
      { path = "a/b/c", type = "file", data = "" }, { path = "a/b/d", type = "file", data = "" },
      { path = "a", type = "dir" }, { path = "a/e", type = "dir" } })))
  end)

  it("can be followed by another one", function()
    local first = cpio.archive { { path = "a", type = "file", data = "1" } }
    local second = cpio.archive { { path = "b", type = "file", data = "2" } }
    assert.equal("b", names(parse((first .. second):sub(#first + 1))))
  end)

  it("refuses what is no entry, at the caller's line", function()
    local rows = {
      { { type = "file", data = "" }, "`path` must be a non%-empty string" },
      { { path = "/etc", type = "dir" }, "path `/etc` must be relative" },
      { { path = "a\0b", type = "dir" }, "must be relative and without a zero byte" },
      { { path = "a", type = "fifo" }, "type `fifo` is none of file, dir, link, char, block" },
      { { path = "a", type = "file" }, "a file needs `data`" },
      { { path = "a", type = "link", data = "b" }, "a link needs `target`" },
    }
    for _, row in ipairs(rows) do
      local ok, text = pcall(function() cpio.archive { row[1] } end)
      assert.is_false(ok)
      assert.matches("cpio_spec%.lua:%d+: cpio: entry .*" .. row[2], text)
    end
  end)
end)
